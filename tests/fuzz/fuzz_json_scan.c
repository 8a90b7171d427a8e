/* What the scanner lets through: json-c accepts it, its compact form scans to itself, holds no byte
 * below 0x20 and is what json-c understood; and what it refuses is refused alike with and without
 * an output. */
#include "base/auto.h"
#include "base/json.h"
#include "base/json_scan.h"
#include "fuzz.h"

#include <json-c/json.h>

static struct json_object *parse(const char *text, size_t len)
{
    struct json_object *value = NULL;
    struct error err = ERROR_INIT;
    int rc = json_parse(text, len, &value, &err);
    require(rc == 0 || rc == ERR_NOMEM, "json-c accepts what passed");
    return value;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    AUTO(buf) compact = BUF_INIT(1 << 20);
    struct json_span span = {.name = "a"};
    struct json_scan_error error = {.message = NULL};
    int rc = json_scan(text, size, JSON_DEPTH_MAX, &compact, &span, 1, &error);
    int alone = json_scan(text, size, JSON_DEPTH_MAX, NULL, NULL, 0, NULL);
    require(rc == alone, "the same answer without an output");
    if (rc) {
        require(error.message && error.position <= size, "an error has a message and a position");
        require(compact.len == 0, "nothing is written on failure");
        return 0;
    }
    require(compact.len <= size, "compact text is not longer");
    for (size_t i = 0; i < compact.len; i++)
        require((unsigned char)compact.data[i] >= 0x20, "no byte below 0x20");
    require(span.offset + span.len <= compact.len, "a span lies in the text");

    AUTO(buf) again = BUF_INIT(compact.len);
    require(json_scan(compact.data, compact.len, JSON_DEPTH_MAX, &again, NULL, 0, NULL) == 0 &&
                again.len == compact.len && memcmp(again.data, compact.data, again.len) == 0,
            "compact text scans to itself");

    AUTO_JSON *value = parse(text, size);
    AUTO_JSON *from_compact = parse(compact.data, compact.len);
    require(json_object_equal(value, from_compact), "compact text means the same");
    AUTO(buf) written = BUF_INIT(8 << 20);
    require(json_write_value(&written, value) == 0, "it can be written");
    AUTO_JSON *back = parse(written.data, written.len);
    require(json_object_equal(value, back), "what is written means the same");
    return 0;
}
