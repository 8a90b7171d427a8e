#include "base/json.h"

#include "base/json_scan.h"
#include "base/utf8.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* Values made here nest JSON_DEPTH_MAX deep at most; those of our own code a little deeper. */
enum { WRITE_DEPTH_MAX = 2 * JSON_DEPTH_MAX };

static const int64_t exact_integer_max = INT64_C(1) << 53;

/* --- strings --- */

static bool needs_escape(unsigned char c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* How many bytes at the start of `text` need no escape. */
static size_t plain_run(const char *text, size_t len)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, text + i, 8);
        const uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
        const uint64_t below = (word - ones * 0x20) | (quote - ones) | (backslash - ones);
        if (below & ~word & tops)
            break;
    }
    while (i < len && !needs_escape((unsigned char)text[i]))
        i++;
    return i;
}

static int write_escape(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[0x20] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    if (c >= 0x20)
        text[1] = (char)c;
    else if (letters[c])
        text[1] = letters[c];
    else
        return buf_append(b, text, 6);
    return buf_append(b, text, 2);
}

static void write_escaped(struct buf *b, const char *text, size_t len)
{
    for (;;) {
        size_t n = plain_run(text, len);
        buf_append(b, text, n);
        if (n == len)
            return;
        write_escape(b, (unsigned char)text[n]);
        text += n + 1;
        len -= n + 1;
    }
}

int json_write_string(struct buf *b, const char *text, size_t len)
{
    buf_append_char(b, '"');
    write_escaped(b, text, len);
    return buf_append_char(b, '"');
}

int json_write_text(struct buf *b, const char *text, size_t len)
{
    buf_append_char(b, '"');
    while (len > 0) {
        size_t n = 0, more = 1;
        while (n < len && (more = utf8_first(text + n, len - n)) > 0)
            n += more;
        write_escaped(b, text, n);
        if (n < len) {
            buf_append_lit(b, "\xEF\xBF\xBD");
            n++;
        }
        text += n;
        len -= n;
    }
    return buf_append_char(b, '"');
}

int json_write_bool(struct buf *b, bool value)
{
    return value ? buf_append_lit(b, "true") : buf_append_lit(b, "false");
}

/* --- values --- */

static int write_scalar(struct buf *b, struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return buf_append_lit(b, "null");
    case json_type_boolean:
        return json_write_bool(b, json_object_get_boolean(value));
    case json_type_double:
        return json_write_double(b, json_object_get_double(value));
    case json_type_int: {
        int64_t n = json_object_get_int64(value);
        if (n == INT64_MAX && json_object_get_uint64(value) != INT64_MAX)
            return buf_printf(b, "%llu", (unsigned long long)json_object_get_uint64(value));
        return buf_append_int(b, n);
    }
    default:
        return json_write_string(b, json_object_get_string(value),
                                 (size_t)json_object_get_string_len(value));
    }
}

static int write_value(struct buf *b, struct json_object *value, unsigned depth)
{
    const enum json_type type = json_object_get_type(value);
    if (type != json_type_object && type != json_type_array)
        return write_scalar(b, value);
    if (depth == 0) {
        b->failed = true;
        return ERR_LIMIT;
    }
    if (type == json_type_array) {
        const size_t n = json_object_array_length(value);
        buf_append_char(b, '[');
        for (size_t i = 0; i < n && !b->failed; i++) {
            if (i)
                buf_append_char(b, ',');
            write_value(b, json_object_array_get_idx(value, i), depth - 1);
        }
        return buf_append_char(b, ']');
    }
    buf_append_char(b, '{');
    const struct lh_table *members = json_object_get_object(value);
    for (const struct lh_entry *e = members->head; e && !b->failed; e = e->next) {
        if (e != members->head)
            buf_append_char(b, ',');
        json_write_string(b, e->k, strlen(e->k));
        buf_append_char(b, ':');
        write_value(b, (struct json_object *)(uintptr_t)e->v, depth - 1);
    }
    return buf_append_char(b, '}');
}

int json_write_value(struct buf *b, struct json_object *value)
{
    return write_value(b, value, WRITE_DEPTH_MAX);
}

/* --- text with blanks --- */

/* The code point at `text`, which is UTF-8; *ret_len: its bytes. */
static unsigned code_point(const char *text, size_t len, size_t *ret_len)
{
    unsigned char lead = (unsigned char)text[0];
    size_t n = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    unsigned code = lead & (0xFFu >> (n + 1));
    n = n < len ? n : len;
    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)text[i] & 0x3Fu);
    *ret_len = n;
    return code;
}

static void escape_code_point(struct buf *b, unsigned code)
{
    if (code < 0x10000)
        buf_printf(b, "\\u%04x", code);
    else
        buf_printf(b, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10),
                   0xDC00 + ((code - 0x10000) & 0x3FF));
}

/* How many bytes may be copied as they are. */
static size_t copied_run(const char *text, size_t len, bool quoted, bool ascii)
{
    size_t n = 0;
    for (; n < len; n++) {
        char c = text[n];
        if (c == '"' || (quoted ? c == '\\' : c == ',' || c == ':') ||
            (ascii && (unsigned char)c >= 0x80))
            break;
    }
    return n;
}

int json_write_spaced(struct buf *b, const char *json, size_t len, bool ascii)
{
    bool quoted = false;
    for (size_t i = 0; i < len;) {
        size_t n = copied_run(json + i, len - i, quoted, ascii);
        buf_append(b, json + i, n);
        i += n;
        if (i == len)
            break;
        n = 1;
        if ((unsigned char)json[i] >= 0x80) {
            escape_code_point(b, code_point(json + i, len - i, &n));
        } else if (json[i] == '\\') {
            n = len - i < 2 ? 1 : 2;
            buf_append(b, json + i, n);
        } else {
            quoted ^= json[i] == '"';
            buf_append(b, json + i, 1);
            if (json[i] != '"')
                buf_append_char(b, ' ');
        }
        i += n;
    }
    return b->failed ? ERR_LIMIT : 0;
}

/* --- the canonical form --- */

static int compare_entries(const void *a, const void *b)
{
    const struct lh_entry *const *x = a, *const *y = b;
    return strcmp((*x)->k, (*y)->k); /* as unsigned bytes; no key holds a NUL */
}

static int write_canonical(struct buf *b, struct json_object *value, unsigned depth,
                           struct error *err);

static int write_members_sorted(struct buf *b, struct json_object *value, unsigned depth,
                                struct error *err)
{
    const struct lh_table *members = json_object_get_object(value);
    size_t n = (size_t)json_object_object_length(value), i = 0;
    const struct lh_entry **sorted = malloc((n + !n) * sizeof *sorted);
    if (!sorted)
        return error_set(err, ERR_NOMEM, "out of memory");
    for (const struct lh_entry *e = members->head; e && i < n; e = e->next)
        sorted[i++] = e;
    qsort(sorted, n, sizeof *sorted, compare_entries);
    int rc = buf_append_char(b, '{');
    for (i = 0; i < n && !rc; i++) {
        if (i)
            buf_append_char(b, ',');
        json_write_string(b, sorted[i]->k, strlen(sorted[i]->k));
        buf_append_char(b, ':');
        rc = write_canonical(b, (struct json_object *)(uintptr_t)sorted[i]->v, depth - 1, err);
    }
    free(sorted);
    return rc ? rc : buf_append_char(b, '}');
}

static int write_canonical(struct buf *b, struct json_object *value, unsigned depth,
                           struct error *err)
{
    const enum json_type type = json_object_get_type(value);
    if (depth == 0 && (type == json_type_object || type == json_type_array))
        return error_set(err, ERR_LIMIT, "nested more than %d deep", WRITE_DEPTH_MAX);
    if (type == json_type_object)
        return write_members_sorted(b, value, depth, err);
    if (type == json_type_array) {
        int rc = buf_append_char(b, '[');
        for (size_t i = 0; i < json_object_array_length(value) && !rc; i++) {
            if (i)
                buf_append_char(b, ',');
            rc = write_canonical(b, json_object_array_get_idx(value, i), depth - 1, err);
        }
        return rc ? rc : buf_append_char(b, ']');
    }
    if (type == json_type_int) {
        const int64_t n = json_object_get_int64(value);
        if (n > exact_integer_max || n < -exact_integer_max)
            return error_set(err, ERR_INVALID, "integer %lld is beyond 2^53 in magnitude",
                             (long long)n);
    }
    return write_scalar(b, value);
}

int json_write_canonical(struct buf *b, struct json_object *value, struct error *err)
{
    int rc = write_canonical(b, value, WRITE_DEPTH_MAX, err);
    if (rc && err && err->code == 0)
        error_set(err, rc, "%s", rc == ERR_NOMEM ? "out of memory" : "the text is too long");
    return rc;
}

/* --- reading --- */

int json_parse(const char *text, size_t len, struct json_object **ret, struct error *err)
{
    if (len > INT32_MAX)
        return error_set(err, ERR_LIMIT, "%zu bytes of JSON are too many", len);
    struct json_scan_error e;
    int rc = json_scan(text, len, JSON_DEPTH_MAX, NULL, NULL, 0, &e);
    if (rc == ERR_INVALID)
        return error_set(err, rc, "%s: line %zu column %zu (char %zu)", e.message, e.line, e.column,
                         e.characters);
    struct json_tokener *tokener = rc ? NULL : json_tokener_new_ex(JSON_DEPTH_MAX + 2);
    if (!tokener)
        return error_set(err, ERR_NOMEM, "out of memory");
    struct json_object *value = json_tokener_parse_ex(tokener, text, (int)len);
    enum json_tokener_error failure = json_tokener_get_error(tokener);
    /* A bare number at the very end waits for what might follow it. */
    if (failure == json_tokener_continue) {
        value = json_tokener_parse_ex(tokener, "", 1);
        failure = json_tokener_get_error(tokener);
    }
    json_tokener_free(tokener);
    if (failure != json_tokener_success) {
        json_object_put(value);
        return error_set(err, ERR_INVALID, "%s", json_tokener_error_desc(failure));
    }
    *ret = value;
    return 0;
}

static struct json_object *member(struct json_object *object, const char *key, enum json_type type)
{
    struct json_object *value;
    if (!json_object_is_type(object, json_type_object) ||
        !json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
        return NULL;
    return value;
}

const char *json_get_string(struct json_object *object, const char *key, const char *otherwise)
{
    struct json_object *value = member(object, key, json_type_string);
    return value ? json_object_get_string(value) : otherwise;
}

int64_t json_get_int(struct json_object *object, const char *key, int64_t otherwise)
{
    struct json_object *value = member(object, key, json_type_int);
    return value ? json_object_get_int64(value) : otherwise;
}

bool json_get_bool(struct json_object *object, const char *key, bool otherwise)
{
    struct json_object *value = member(object, key, json_type_boolean);
    return value ? json_object_get_boolean(value) : otherwise;
}
