/* Input: a query and a document, a line each.  A query that is refused is refused with a reason; what
 * matches, $nor refuses; $and and $or of one query are that query. */
#include "base/auto.h"
#include "base/json.h"
#include "fuzz.h"
#include "storage/filter.h"

#include <json-c/json.h>

/* {"$nor": [query]} */
static int match_wrapped(const char *op, struct json_object *query, struct json_object *document)
{
    AUTO_JSON *wrapped = json_object_new_object();
    struct json_object *list = json_object_new_array();
    json_object_array_add(list, json_object_get(query));
    json_object_object_add(wrapped, op, list);
    struct filter *f = NULL;
    int rc = filter_new(wrapped, &f, NULL);
    if (!rc)
        rc = filter_match(f, document, NULL);
    filter_free(f);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *query_text = fuzz_text(&data, &size);
    AUTO_FREE char *document_text = fuzz_text(&data, &size);
    AUTO_JSON *query = NULL;
    AUTO_JSON *document = NULL;
    if (json_parse(query_text, strlen(query_text), &query, NULL))
        return 0;
    struct filter *f = NULL;
    struct error err = ERROR_INIT;
    int rc = filter_new(query, &f, &err);
    require(rc == 0 || (err.code == rc && strncmp(err.message, "filter: ", 8) == 0),
            "a query is refused with a reason");
    if (rc || json_parse(document_text, strlen(document_text), &document, NULL)) {
        filter_free(f);
        return 0;
    }
    rc = filter_match(f, document, &err);
    require(rc == 0 || rc == 1 || err.message[0], "a limit is told");
    require(filter_match(f, document, NULL) == rc, "the same answer twice");
    filter_free(f);
    if (rc < 0)
        return 0;
    const int nor = match_wrapped("$nor", query, document);
    const int both = match_wrapped("$and", query, document);
    const int any = match_wrapped("$or", query, document);
    require(nor < 0 || nor == !rc, "$nor is the opposite");
    require(both < 0 || both == rc, "$and of one is that one");
    require(any < 0 || any == rc, "$or of one is that one");
    return 0;
}
