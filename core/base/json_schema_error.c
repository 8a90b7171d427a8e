#include "base/json.h"
#include "base/json_schema_priv.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPR_MAX = 320 }; /* of one value: what is said about it has to fit as well */

void text_put(struct message_text *t, const char *bytes, size_t len)
{
    const size_t room = sizeof t->text - 1 - t->len;
    if (len > room) {
        len = room;
        while (len && ((unsigned char)bytes[len] & 0xC0) == 0x80)
            len--; /* never half a character */
    }
    memcpy(t->text + t->len, bytes, len);
    t->len += len;
    t->text[t->len] = '\0';
}

void text_printf(struct message_text *t, const char *format, ...)
{
    char part[SCHEMA_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(part, sizeof part, format, args);
    va_end(args);
    if (n > 0)
        text_put(t, part, strnlen(part, sizeof part));
}

/* --- repr() --- */

static bool is_full(const struct message_text *t, size_t limit)
{
    return t->len >= limit || t->len >= sizeof t->text - 1;
}

static void repr_string(struct message_text *t, const char *text, size_t len, size_t limit)
{
    const bool double_quotes = memchr(text, '\'', len) && !memchr(text, '"', len);
    const char quote = double_quotes ? '"' : '\'';
    text_put(t, &quote, 1);
    for (size_t i = 0; i < len && !is_full(t, limit);) {
        const unsigned char c = (unsigned char)text[i];
        size_t n = 1;
        if (c == '\\' || c == (unsigned char)quote) {
            const char escape[2] = {'\\', (char)c};
            text_put(t, escape, 2);
        } else if (c == '\n' || c == '\r' || c == '\t') {
            text_put(t, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t", 2);
        } else if (c < 0x20 || c == 0x7F) {
            text_printf(t, "\\x%02x", c);
        } else {
            while (i + n < len && ((unsigned char)text[i + n] & 0xC0) == 0x80)
                n++;
            text_put(t, text + i, n);
        }
        i += n;
    }
    text_put(t, &quote, 1);
}

/* Python's notation differs from ours outside 1e-4 <= |x| < 1e16: 1e-05, 1e+16. */
static void repr_double(struct message_text *t, double value)
{
    if (!isfinite(value)) {
        text_printf(t, "%s", isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
        return;
    }
    char text[JSON_DOUBLE_SIZE + 1];
    text[json_format_double(value, text)] = '\0';
    const char *e = strchr(text, 'e');
    if (e) {
        int exponent = atoi(e + 1);
        text_printf(t, "%.*se%c%02d", (int)(e - text), text, exponent < 0 ? '-' : '+',
                    abs(exponent));
    } else if (value != 0 && fabs(value) < 1e-4) { /* 0.0000ddd */
        const char *digits = text + strspn(text, "-0.");
        text_printf(t, "%s%c%s%se-05", value < 0 ? "-" : "", digits[0], digits[1] ? "." : "",
                    digits + 1);
    } else {
        text_put(t, text, strlen(text));
    }
}

static void repr(struct message_text *t, struct json_object *value, size_t limit, unsigned depth);

static void repr_container(struct message_text *t, struct json_object *value, size_t limit,
                           unsigned depth)
{
    if (json_object_is_type(value, json_type_array)) {
        text_put(t, "[", 1);
        for (size_t i = 0; i < json_object_array_length(value) && !is_full(t, limit); i++) {
            if (i)
                text_put(t, ", ", 2);
            repr(t, json_object_array_get_idx(value, i), limit, depth - 1);
        }
        text_put(t, "]", 1);
        return;
    }
    const struct lh_table *members = json_object_get_object(value);
    text_put(t, "{", 1);
    for (const struct lh_entry *e = members->head; e && !is_full(t, limit); e = e->next) {
        if (e != members->head)
            text_put(t, ", ", 2);
        repr_string(t, e->k, strlen(e->k), limit);
        text_put(t, ": ", 2);
        repr(t, (struct json_object *)(uintptr_t)e->v, limit, depth - 1);
    }
    text_put(t, "}", 1);
}

static void repr(struct message_text *t, struct json_object *value, size_t limit, unsigned depth)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        text_put(t, "None", 4);
        break;
    case json_type_boolean:
        if (json_object_get_boolean(value))
            text_put(t, "True", 4);
        else
            text_put(t, "False", 5);
        break;
    case json_type_int:
        text_printf(t, "%lld", (long long)json_object_get_int64(value));
        break;
    case json_type_double:
        repr_double(t, json_object_get_double(value));
        break;
    case json_type_string:
        repr_string(t, json_object_get_string(value), (size_t)json_object_get_string_len(value),
                    limit);
        break;
    default:
        if (depth == 0)
            text_put(t, "...", 3);
        else
            repr_container(t, value, limit, depth);
    }
}

/* What was appended after `start` is cut to REPR_MAX, with a mark. */
static void cut_repr(struct message_text *t, size_t start)
{
    if (t->len - start <= REPR_MAX)
        return;
    size_t len = start + REPR_MAX - 3;
    while (len > start && ((unsigned char)t->text[len] & 0xC0) == 0x80)
        len--;
    t->len = len;
    text_put(t, "...", 3);
}

void text_repr(struct message_text *t, struct json_object *value)
{
    const size_t start = t->len;
    repr(t, value, start + REPR_MAX + 1, 24);
    cut_repr(t, start);
}

void text_repr_string(struct message_text *t, const char *text, size_t len)
{
    const size_t start = t->len;
    repr_string(t, text, len, start + REPR_MAX + 1);
    cut_repr(t, start);
}

/* --- paths --- */

void text_deque(struct message_text *t, const struct step *path)
{
    const struct step *steps[SCHEMA_PATH_MAX];
    size_t n = 0;
    for (; path && n < SCHEMA_PATH_MAX; path = path->previous)
        steps[n++] = path;
    text_printf(t, "deque([");
    for (size_t i = n; i-- > 0;) {
        if (steps[i]->key)
            text_repr_string(t, steps[i]->key, strlen(steps[i]->key));
        else
            text_printf(t, "%zu", steps[i]->index);
        if (i)
            text_put(t, ", ", 2);
    }
    text_printf(t, "])");
}

int schema_error(struct error *err, const struct step *path, const struct message_text *message)
{
    struct message_text where = {.len = 0};
    text_deque(&where, path);
    return error_set(err, ERR_INVALID, "%s-%s", where.text, message->text);
}
