/* The YAML reader must neither crash nor hang, whatever it reads; what it accepts must be valid for
 * the rest of us: every node has a place, and its text passes as JSON. */
#include "base/json.h"
#include "config/config.h"
#include "fuzz.h"

#include <json-c/json.h>

static void visit(const struct yaml_document *doc, struct json_object *value, struct buf *pointer)
{
    unsigned line = 0, column = 0;
    yaml_place(doc, pointer->data ? pointer->data : "", &line, &column);
    if (line == 0 || column == 0)
        abort();
    size_t len = pointer->len;
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            buf_printf(pointer, "/%zu", i);
            visit(doc, json_object_array_get_idx(value, i), pointer);
            pointer->len = len;
        }
    } else if (json_object_is_type(value, json_type_object)) {
        json_object_object_foreach (value, key, member) {
            buf_append_char(pointer, '/');
            buf_append_str(pointer, key);
            visit(doc, member, pointer);
            pointer->len = len;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_document *doc;
    struct error err = ERROR_INIT;
    setenv("FUZZ", "a: [1, 2]", 1);
    if (yaml_read_text("fuzz", (const char *)data, size, &doc, &err) != 0)
        return err.message[0] == '\0' ? abort(), 0 : 0;
    struct buf pointer = BUF_INIT(1 << 22), text = BUF_INIT(64 << 20);
    visit(doc, yaml_value(doc), &pointer);

    struct json_object *copy = NULL;
    if (json_write_value(&text, yaml_value(doc)) != 0 ||
        json_parse(text.data, text.len, &copy, NULL) != 0)
        abort();
    json_object_put(copy);
    buf_release(&pointer);
    buf_release(&text);
    yaml_document_free(doc);
    return 0;
}
