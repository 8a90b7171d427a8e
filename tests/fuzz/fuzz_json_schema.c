/* Input: a schema and an instance, a line each.  Nothing crashes, and the two ways to validate agree. */
#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *schema_text = fuzz_text(&data, &size);
    AUTO_FREE char *text = fuzz_text(&data, &size);
    AUTO_JSON *document = NULL;
    AUTO_JSON *instance = NULL;
    if (json_parse(schema_text, strlen(schema_text), &document, NULL))
        return 0;
    if (*text && json_parse(text, strlen(text), &instance, NULL))
        return 0;
    struct json_schema *schema = NULL;
    struct error err = ERROR_INIT;
    int rc = json_schema_compile(document, JSON_SCHEMA_ASSERT_FORMAT, &schema, &err);
    require(rc == 0 || err.message[0], "a schema is refused with a reason");
    if (rc)
        return 0;
    rc = json_schema_validate(schema, instance, &err);
    require(rc == 0 || err.message[0], "a value is refused with a reason");
    const int n = json_schema_validate_all(schema, instance, NULL, NULL);
    require(rc == ERR_LIMIT || (rc == 0) == (n == 0) || n == 1, "both ways agree");
    /* The document itself is a value, too. */
    json_schema_validate(schema, document, &err);
    json_schema_apply_defaults(schema, instance);
    json_schema_unref(schema);
    return 0;
}
