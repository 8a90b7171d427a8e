/* What a schema costs an event: a typical one of 300 bytes against its compiled schema.
 *
 * Prints a JSON object: nanoseconds for validation alone, and for all that an event's text goes
 * through before it is stored (scan, parse, validate). */
#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char schema_text[] =
    "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\","
    "\"required\":[\"id\",\"at\",\"kind\",\"level\",\"source\"],\"additionalProperties\":false,"
    "\"properties\":{"
    "\"id\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]{8}-[0-9a-f]{4}$\"},"
    "\"at\":{\"type\":\"string\",\"minLength\":19,\"maxLength\":32},"
    "\"kind\":{\"enum\":[\"trip\",\"alarm\",\"warning\",\"cleared\"]},"
    "\"level\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":10},"
    "\"source\":{\"$ref\":\"#/$defs/source\"},"
    "\"values\":{\"type\":\"array\",\"maxItems\":20,\"items\":{\"type\":\"number\"}},"
    "\"text\":{\"type\":\"string\",\"maxLength\":200},"
    "\"acknowledged\":{\"type\":\"boolean\"}},"
    "\"$defs\":{\"source\":{\"type\":\"object\",\"required\":[\"plant\",\"unit\"],"
    "\"properties\":{\"plant\":{\"type\":\"string\"},\"unit\":{\"type\":\"string\"},"
    "\"tag\":{\"type\":\"string\",\"maxLength\":64}}}}}";

static const char event_text[] =
    "{\"id\":\"0a1b2c3d-4e5f\",\"at\":\"2024-05-17T09:21:33.125000\",\"kind\":\"alarm\",\"level\":"
    "7,"
    "\"source\":{\"plant\":\"north\",\"unit\":\"boiler-2\",\"tag\":\"B2.STEAM.PRESSURE.PV\"},"
    "\"values\":[12.75,12.9,13.05,13.3],\"text\":\"Steam pressure above the high limit of 13 bar "
    "for more than 30 seconds\",\"acknowledged\":false}";

static double ns_each(int64_t began_ns, long n)
{
    return (double)(time_monotonic_ns() - began_ns) / (double)n;
}

static int compile(struct json_schema **ret)
{
    AUTO_JSON *document = NULL;
    struct error err = ERROR_INIT;
    int rc = json_parse(schema_text, sizeof schema_text - 1, &document, &err);
    if (!rc)
        rc = json_schema_compile(document, 0, ret, &err);
    if (rc)
        fprintf(stderr, "validate_event: the schema: %s\n", err.message);
    return rc;
}

/* Scan, parse and validate; false: not valid. */
static bool take(const struct json_schema *schema)
{
    AUTO_JSON *event = NULL;
    return json_parse(event_text, sizeof event_text - 1, &event, NULL) == 0 &&
           json_schema_validate(schema, event, NULL) == 0;
}

int main(int argc, char **argv)
{
    const long n = argc > 1 ? atol(argv[1]) : 1000000;
    struct json_schema *schema = NULL;
    AUTO_JSON *event = NULL;
    if (n <= 0 || compile(&schema) || json_parse(event_text, sizeof event_text - 1, &event, NULL))
        return EXIT_FAILURE;
    bool good = true;
    int64_t began_ns = time_monotonic_ns();
    for (long i = 0; i < n; i++)
        good &= json_schema_validate(schema, event, NULL) == 0;
    const double validate_ns = ns_each(began_ns, n);
    began_ns = time_monotonic_ns();
    for (long i = 0; i < n; i++)
        good &= take(schema);
    const double all_ns = ns_each(began_ns, n);
    json_schema_unref(schema);
    if (!good) {
        fputs("validate_event: the event is not valid\n", stderr);
        return EXIT_FAILURE;
    }
    printf("{\"bytes\":%zu,\"validate_ns\":%.0f,\"all_ns\":%.0f}\n", sizeof event_text - 1,
           validate_ns, all_ns);
    return EXIT_SUCCESS;
}
