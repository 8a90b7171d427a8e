#include "storage/mongodb_priv.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"

#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 90, INDEX_TEXT = 16, OID_TEXT = 25 };

/* --- JSON to BSON --- */

static int append_value(bson_t *out, const char *key, size_t key_len, struct json_object *value,
                        int depth, struct error *err);

static int append_members(bson_t *out, struct json_object *object, int depth, struct error *err)
{
    int rc = 0;
    json_object_object_foreach (object, key, value) {
        if (!rc)
            rc = append_value(out, key, strlen(key), value, depth, err);
    }
    return rc;
}

static int append_elements(bson_t *out, struct json_object *array, int depth, struct error *err)
{
    size_t n = json_object_array_length(array);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        char room[INDEX_TEXT];
        const char *index;
        size_t len = bson_uint32_to_string((uint32_t)i, &index, room, sizeof room);
        rc = append_value(out, index, len, json_object_array_get_idx(array, i), depth, err);
    }
    return rc;
}

static int append_container(bson_t *out, const char *key, size_t key_len, struct json_object *value,
                            int depth, struct error *err)
{
    bson_t child;
    bool array = json_object_is_type(value, json_type_array);
    if (depth == DEPTH_MAX)
        return error_set(err, ERR_INVALID, "a value is nested deeper than %d", DEPTH_MAX);
    bool begun = array ? bson_append_array_begin(out, key, (int)key_len, &child)
                       : bson_append_document_begin(out, key, (int)key_len, &child);
    if (!begun)
        return error_set(err, ERR_INVALID, "a value is too large for BSON");
    int rc = array ? append_elements(&child, value, depth + 1, err)
                   : append_members(&child, value, depth + 1, err);
    bool ended = array ? bson_append_array_end(out, &child) : bson_append_document_end(out, &child);
    return rc || ended ? rc : error_set(err, ERR_INVALID, "a value is too large for BSON");
}

static int append_value(bson_t *out, const char *key, size_t key_len, struct json_object *value,
                        int depth, struct error *err)
{
    int len = (int)key_len;
    bool ok = false;
    switch (json_object_get_type(value)) {
    case json_type_null:
        ok = bson_append_null(out, key, len);
        break;
    case json_type_boolean:
        ok = bson_append_bool(out, key, len, json_object_get_boolean(value));
        break;
    case json_type_double:
        ok = bson_append_double(out, key, len, json_object_get_double(value));
        break;
    case json_type_int: {
        int64_t i = json_object_get_int64(value);
        /* As the original's driver does: what fits is 32 bits wide. */
        ok = i >= INT32_MIN && i <= INT32_MAX ? bson_append_int32(out, key, len, (int32_t)i)
                                              : bson_append_int64(out, key, len, i);
        break;
    }
    case json_type_string:
        ok = bson_append_utf8(out, key, len, json_object_get_string(value),
                              json_object_get_string_len(value));
        break;
    case json_type_object:
    case json_type_array:
        return append_container(out, key, key_len, value, depth, err);
    }
    return ok ? 0 : error_set(err, ERR_INVALID, "a value is too large for BSON");
}

int bson_append_json(bson_t *out, const char *key, size_t key_len, struct json_object *value,
                     struct error *err)
{
    return append_value(out, key, key_len, value, 0, err);
}

int bson_append_json_text(bson_t *out, const char *key, const char *text, size_t len,
                          struct error *err)
{
    AUTO_JSON *value = NULL;
    int rc = json_parse(text, len, &value, err);
    return rc ? rc : bson_append_json(out, key, strlen(key), value, err);
}

int bson_from_json(struct json_object *object, bson_t *ret, struct error *err)
{
    return append_members(ret, object, 0, err);
}

/* --- BSON to JSON --- */

static int write_members(struct buf *out, const bson_iter_t *container, bool array)
{
    bson_iter_t child;
    bool first = true;
    buf_append_char(out, array ? '[' : '{');
    if (bson_iter_recurse(container, &child)) {
        while (bson_iter_next(&child)) {
            if (!first)
                buf_append_char(out, ',');
            first = false;
            if (!array) {
                json_write_string(out, bson_iter_key(&child), strlen(bson_iter_key(&child)));
                buf_append_char(out, ':');
            }
            bson_write_json(out, &child);
        }
    }
    return buf_append_char(out, array ? ']' : '}');
}

static int write_text(struct buf *out, const char *text)
{
    return json_write_string(out, text, strlen(text));
}

static int write_time(struct buf *out, int64_t ms)
{
    char text[TIME_ISO_SIZE];
    time_format_iso(ms * 1000, text);
    return write_text(out, text);
}

static int write_oid(struct buf *out, const bson_oid_t *oid)
{
    char text[OID_TEXT];
    bson_oid_to_string(oid, text);
    return write_text(out, text);
}

static int write_binary(struct buf *out, const bson_iter_t *value)
{
    uint32_t len = 0;
    const uint8_t *bytes = NULL;
    bson_iter_binary(value, NULL, &len, &bytes);
    struct value v = {.type = VALUE_BYTES, .len = len, .as.ptr = bytes};
    return value_write_json(out, &v);
}

static int write_decimal(struct buf *out, const bson_iter_t *value)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t decimal;
    bson_iter_decimal128(value, &decimal);
    bson_decimal128_to_string(&decimal, text);
    return write_text(out, text);
}

int bson_write_json(struct buf *out, const bson_iter_t *value)
{
    uint32_t len = 0;
    const char *text;
    switch (bson_iter_type(value)) {
    case BSON_TYPE_DOUBLE:
        return json_write_double(out, bson_iter_double(value));
    case BSON_TYPE_UTF8:
        text = bson_iter_utf8(value, &len);
        return json_write_string(out, text, len);
    case BSON_TYPE_DOCUMENT:
        return write_members(out, value, false);
    case BSON_TYPE_ARRAY:
        return write_members(out, value, true);
    case BSON_TYPE_BINARY:
        return write_binary(out, value);
    case BSON_TYPE_OID:
        return write_oid(out, bson_iter_oid(value));
    case BSON_TYPE_BOOL:
        return json_write_bool(out, bson_iter_bool(value));
    case BSON_TYPE_DATE_TIME:
        return write_time(out, bson_iter_date_time(value));
    case BSON_TYPE_INT32:
        return buf_append_int(out, bson_iter_int32(value));
    case BSON_TYPE_INT64:
        return buf_append_int(out, bson_iter_int64(value));
    case BSON_TYPE_DECIMAL128:
        return write_decimal(out, value);
    default: /* null, and what JSON has no word for */
        return buf_append_lit(out, "null");
    }
}

int bson_to_json(const bson_iter_t *value, struct json_object **ret)
{
    AUTO(buf) text = BUF_INIT(64 << 20);
    struct error err = ERROR_INIT;
    *ret = NULL;
    int rc = bson_write_json(&text, value);
    return rc ? rc : json_parse(text.data, text.len, ret, &err);
}

/* --- members --- */

bool bson_find(const bson_t *document, const char *name, bson_iter_t *ret)
{
    return bson_iter_init_find(ret, document, name);
}

const char *bson_text(const bson_t *document, const char *name)
{
    bson_iter_t i;
    return bson_find(document, name, &i) && BSON_ITER_HOLDS_UTF8(&i) ? bson_iter_utf8(&i, NULL)
                                                                     : NULL;
}

int64_t bson_int(const bson_t *document, const char *name, int64_t otherwise)
{
    bson_iter_t i;
    return bson_find(document, name, &i) && BSON_ITER_HOLDS_NUMBER(&i) ? bson_iter_as_int64(&i)
                                                                       : otherwise;
}

int64_t bson_time_us(const bson_t *document, const char *name, int64_t otherwise)
{
    bson_iter_t i;
    return bson_find(document, name, &i) && BSON_ITER_HOLDS_DATE_TIME(&i)
               ? bson_iter_date_time(&i) * 1000
               : otherwise;
}
