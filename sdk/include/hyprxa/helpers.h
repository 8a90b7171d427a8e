/* Small inline helpers for plugins: values, errors, logging, publishing, and reading JSON.
 *
 * Nothing here is part of the binary contract; use what you like.  ISO C11 and C++17, no library but
 * the standard one. */
#ifndef HYPRXA_HELPERS_H
#define HYPRXA_HELPERS_H

#include "plugin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__GNUC__)
#define HYPRXA_PRINTF_(text, first) __attribute__((format(printf, text, first)))
#else
#define HYPRXA_PRINTF_(text, first)
#endif

/* --- errors and log --- */

/* Fill `err` (NULL is fine) and return `code`: `return hyprxa_error_set(err, HYPRXA_E_SOURCE, ...)`. */
HYPRXA_PRINTF_(3, 4)
static inline hyprxa_status hyprxa_error_set(struct hyprxa_error *err, hyprxa_status code,
                                             const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->code = code;
    }
    return code;
}

/* Log a formatted line of at most 1,000 bytes. */
HYPRXA_PRINTF_(3, 4)
static inline void hyprxa_log(struct hyprxa_ctx *ctx, int32_t level, const char *format, ...)
{
    char line[1001];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    ctx->host->log(ctx, level, line);
}

/* --- time and values --- */

/* The wall clock, in microseconds UTC. */
static inline int64_t hyprxa_now_us(void)
{
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline struct hyprxa_value hyprxa_null(void)
{
    struct hyprxa_value v;
    memset(&v, 0, sizeof v);
    return v;
}
static inline struct hyprxa_value hyprxa_bool(bool b)
{
    struct hyprxa_value v = hyprxa_null();
    v.type = HYPRXA_BOOL;
    v.as.boolean = b ? 1 : 0;
    return v;
}
static inline struct hyprxa_value hyprxa_int64(int64_t i)
{
    struct hyprxa_value v = hyprxa_null();
    v.type = HYPRXA_INT64;
    v.as.i64 = i;
    return v;
}
static inline struct hyprxa_value hyprxa_double(double d)
{
    struct hyprxa_value v = hyprxa_null();
    v.type = HYPRXA_DOUBLE;
    v.as.f64 = d;
    return v;
}
/* The bytes are borrowed until they are published.  `type`: STRING, BYTES or JSON. */
static inline struct hyprxa_value hyprxa_text(uint32_t type, const void *bytes, size_t len)
{
    struct hyprxa_value v = hyprxa_null();
    v.type = type;
    v.len = len > UINT32_MAX ? UINT32_MAX : (uint32_t)len;
    v.as.ptr = bytes;
    return v;
}
static inline struct hyprxa_value hyprxa_string(const char *text)
{
    return hyprxa_text(HYPRXA_STRING, text, strlen(text));
}

/* A good sample. */
static inline struct hyprxa_sample hyprxa_sample_at(int64_t time_us, struct hyprxa_value value)
{
    struct hyprxa_sample s;
    s.time_us = time_us;
    s.value = value;
    s.quality = HYPRXA_GOOD;
    s.source_code = 0;
    return s;
}

/* --- calls of the host, with less typing --- */

static inline hyprxa_status hyprxa_publish(struct hyprxa_link *link,
                                           const struct hyprxa_batch *batches, size_t n,
                                           int32_t timeout_ms)
{
    return link->host->publish(link, batches, n, timeout_ms);
}
/* One sample of one subscription, waiting for room. */
static inline hyprxa_status hyprxa_publish_one(struct hyprxa_link *link,
                                               const struct hyprxa_subscription *subscription,
                                               int64_t time_us, struct hyprxa_value value)
{
    struct hyprxa_sample sample = hyprxa_sample_at(time_us, value);
    struct hyprxa_batch batch;
    batch.subscription = subscription;
    batch.samples = &sample;
    batch.n = 1;
    return link->host->publish(link, &batch, 1, -1);
}
static inline bool hyprxa_wait(struct hyprxa_link *link, int32_t timeout_ms)
{
    return link->host->wait(link, timeout_ms);
}

/* --- reading JSON ---
 *
 * For texts the host has checked: options and subscriptions.  A span is the text of one value. */

struct hyprxa_json {
    const char *text; /* NULL: absent */
    size_t len;
};

static inline struct hyprxa_json hyprxa_json_of(const char *text)
{
    struct hyprxa_json span;
    span.text = text;
    span.len = text ? strlen(text) : 0;
    return span;
}

static inline size_t hyprxa_json_space_(struct hyprxa_json in, size_t at)
{
    while (at < in.len && (in.text[at] == ' ' || in.text[at] == '\n' || in.text[at] == '\r' ||
                           in.text[at] == '\t' || in.text[at] == ',' || in.text[at] == ':'))
        at++;
    return at;
}
/* The end of the value that begins at `at`. */
static inline size_t hyprxa_json_skip_(struct hyprxa_json in, size_t at)
{
    size_t depth = 0;
    bool quoted = false;
    for (; at < in.len; at++) {
        char c = in.text[at];
        if (quoted) {
            if (c == '\\')
                at++;
            else if (c == '"')
                quoted = false;
            if (!quoted && depth == 0)
                return at + 1;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (depth <= 1)
                return depth ? at + 1 : at;
            depth--;
        } else if (depth == 0 && (c == ',' || c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
            return at;
        }
    }
    return in.len;
}
static inline struct hyprxa_json hyprxa_json_cut_(struct hyprxa_json in, size_t from, size_t to)
{
    struct hyprxa_json span;
    span.text = in.text + from;
    span.len = to > in.len ? in.len - from : to - from;
    return span;
}

/* Walk an array or the members of an object: start with *at == 0, false at the end.  For an object
 * `key` (NULL is fine) gets the member's quoted name; for an array it stays as it was. */
static inline bool hyprxa_json_next(struct hyprxa_json in, size_t *at, struct hyprxa_json *key,
                                    struct hyprxa_json *ret)
{
    size_t begin;
    if (!in.text)
        return false;
    if (*at == 0) {
        *at = hyprxa_json_space_(in, 0);
        if (*at >= in.len || (in.text[*at] != '{' && in.text[*at] != '['))
            return false;
        ++*at;
    }
    begin = hyprxa_json_space_(in, *at);
    if (begin >= in.len || in.text[begin] == '}' || in.text[begin] == ']')
        return false;
    *at = hyprxa_json_skip_(in, begin);
    if (in.text[hyprxa_json_space_(in, 0)] == '{') {
        if (key)
            *key = hyprxa_json_cut_(in, begin, *at);
        begin = hyprxa_json_space_(in, *at);
        *at = hyprxa_json_skip_(in, begin);
    }
    *ret = hyprxa_json_cut_(in, begin, *at);
    return true;
}

/* The member `key` of an object; absent, or null: text is NULL.  A key written with escapes is not
 * found. */
static inline struct hyprxa_json hyprxa_json_get(struct hyprxa_json object, const char *key)
{
    struct hyprxa_json name = {NULL, 0}, value = {NULL, 0}, none = {NULL, 0};
    size_t at = 0, len = strlen(key);
    while (hyprxa_json_next(object, &at, &name, &value))
        if (name.text && name.len == len + 2 && memcmp(name.text + 1, key, len) == 0)
            return value.len == 4 && memcmp(value.text, "null", 4) == 0 ? none : value;
    return none;
}

static inline int hyprxa_json_hex_(const char *text, unsigned *ret)
{
    int i;
    *ret = 0;
    for (i = 0; i < 4; i++) {
        char c = text[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return -1;
        *ret = *ret * 16 + digit;
    }
    return 0;
}
static inline size_t hyprxa_json_utf8_(unsigned code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}
/* The character after a backslash at *at, which is moved past it. */
static inline size_t hyprxa_json_escape_(struct hyprxa_json in, size_t *at, char out[4])
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *known;
    unsigned code, low;
    char c = *at < in.len ? in.text[(*at)++] : '\\';
    if (c == 'u' && *at + 4 <= in.len && hyprxa_json_hex_(in.text + *at, &code) == 0) {
        *at += 4;
        if (code >= 0xD800 && code < 0xDC00 && *at + 6 <= in.len &&
            hyprxa_json_hex_(in.text + *at + 2, &low) == 0) {
            *at += 6;
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        }
        return hyprxa_json_utf8_(code, out);
    }
    known = c ? strchr(from, c) : NULL;
    out[0] = known ? to[known - from] : c;
    return 1;
}

/* Decode a string value into `out` with a NUL.  E_NOT_FOUND: absent; E_INVALID: not a string, or one
 * with U+0000; E_CAPACITY: longer than cap - 1 bytes. */
static inline hyprxa_status hyprxa_json_string(struct hyprxa_json value, char *out, size_t cap)
{
    size_t at = 1, used = 0;
    if (!value.text)
        return HYPRXA_E_NOT_FOUND;
    if (value.len < 2 || value.text[0] != '"')
        return HYPRXA_E_INVALID;
    while (at < value.len - 1) {
        char piece[4];
        size_t n = 1;
        piece[0] = value.text[at++];
        if (piece[0] == '\\')
            n = hyprxa_json_escape_(value, &at, piece);
        if (piece[0] == '\0')
            return HYPRXA_E_INVALID;
        if (n >= cap || used > cap - n - 1)
            return HYPRXA_E_CAPACITY;
        memcpy(out + used, piece, n);
        used += n;
    }
    if (cap == 0)
        return HYPRXA_E_CAPACITY;
    out[used] = '\0';
    return HYPRXA_OK;
}

/* A number.  E_NOT_FOUND: absent; E_INVALID: not a number.  Uses strtod(): the "C" locale. */
static inline hyprxa_status hyprxa_json_double(struct hyprxa_json value, double *ret)
{
    char copy[400], *end;
    double d;
    if (!value.text)
        return HYPRXA_E_NOT_FOUND;
    if (value.len == 0 || value.len >= sizeof copy ||
        (value.text[0] != '-' && (value.text[0] < '0' || value.text[0] > '9')))
        return HYPRXA_E_INVALID;
    memcpy(copy, value.text, value.len);
    copy[value.len] = '\0';
    d = strtod(copy, &end);
    if (*end)
        return HYPRXA_E_INVALID;
    *ret = d;
    return HYPRXA_OK;
}

/* A whole number; `2.0` and `2e3` are whole too.  E_NOT_FOUND; E_INVALID: not one, or beyond int64. */
static inline hyprxa_status hyprxa_json_int(struct hyprxa_json value, int64_t *ret)
{
    double d;
    uint64_t magnitude = 0;
    bool negative;
    size_t at;
    hyprxa_status status = hyprxa_json_double(value, &d);
    if (status != HYPRXA_OK)
        return status;
    negative = value.text[0] == '-';
    for (at = negative ? 1 : 0; at < value.len; at++) {
        unsigned digit = (unsigned)(value.text[at] - '0');
        if (digit > 9) { /* a fraction or exponent */
            if (!(d >= -9007199254740992.0 && d <= 9007199254740992.0) || (double)(int64_t)d != d)
                return HYPRXA_E_INVALID;
            *ret = (int64_t)d;
            return HYPRXA_OK;
        }
        if (magnitude > ((uint64_t)INT64_MAX + negative - digit) / 10)
            return HYPRXA_E_INVALID;
        magnitude = magnitude * 10 + digit;
    }
    *ret = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return HYPRXA_OK;
}

/* true or false.  E_NOT_FOUND; E_INVALID: neither. */
static inline hyprxa_status hyprxa_json_bool(struct hyprxa_json value, bool *ret)
{
    if (!value.text)
        return HYPRXA_E_NOT_FOUND;
    if (value.len == 4 && memcmp(value.text, "true", 4) == 0)
        *ret = true;
    else if (value.len == 5 && memcmp(value.text, "false", 5) == 0)
        *ret = false;
    else
        return HYPRXA_E_INVALID;
    return HYPRXA_OK;
}

#endif
