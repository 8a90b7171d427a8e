#include "http/http_priv.h"

#include "base/utf8.h"

#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode text[0..len) into the arena. */
static int decode(struct arena *a, const char *text, size_t len, bool plus_is_space,
                  const char **ret, size_t *ret_len, struct error *err)
{
    char *out = arena_alloc(a, len + 1);
    if (!out)
        return error_set(err, ERR_NOMEM, "out of memory");
    size_t n = 0;
    bool ascii = true;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '%') {
            int high = len - i > 2 ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0)
                return error_set(err, ERR_INVALID, "Malformed percent-encoding in the URL.");
            c = (char)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        if (c == '\0' || c == '\r' || c == '\n')
            return error_set(err, ERR_INVALID, "Forbidden character in the URL.");
        ascii &= (unsigned char)c < 0x80;
        out[n++] = c;
    }
    out[n] = '\0';
    if (!ascii && !utf8_is_valid(out, n))
        return error_set(err, ERR_INVALID, "The URL is not valid UTF-8.");
    *ret = out;
    *ret_len = n;
    return 0;
}

int url_split_path(struct arena *a, const char *path, const char *ret_segments[URL_MAX_SEGMENTS],
                   size_t *ret_n, struct error *err)
{
    size_t n = 0;
    bool too_many = false;
    const char *at = path;
    while (*at == '/') {
        const char *begin = ++at;
        at += strcspn(at, "/");
        const char *segment = NULL;
        size_t len = 0;
        int code = decode(a, begin, (size_t)(at - begin), false, &segment, &len, err);
        if (code)
            return code;
        if (memchr(segment, '/', len))
            return error_set(err, ERR_INVALID, "Encoded slash in the URL.");
        if (n == URL_MAX_SEGMENTS)
            too_many = true;
        else
            ret_segments[n++] = segment;
    }
    if (*at)
        return error_set(err, ERR_INVALID, "The URL does not start with a slash.");
    if (too_many)
        return error_set(err, ERR_NOT_FOUND, "Not Found");
    *ret_n = n;
    return 0;
}

int url_split_pairs(struct arena *a, const char *text, size_t len, struct http_pair **ret,
                    size_t *ret_n, struct error *err)
{
    size_t room = 1;
    for (size_t i = 0; i < len; i++)
        room += text[i] == '&';
    if (room > HTTP_MAX_QUERY)
        return error_set(err, ERR_LIMIT, "Too many parameters.");
    struct http_pair *pairs = arena_alloc(a, room * sizeof *pairs);
    if (!pairs)
        return error_set(err, ERR_NOMEM, "out of memory");
    size_t n = 0;
    const char *end = text + len;
    for (const char *at = text; at < end;) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        if (!stop)
            stop = end;
        const char *equals = memchr(at, '=', (size_t)(stop - at));
        const char *key_end = equals ? equals : stop;
        const char *value = equals ? equals + 1 : stop;
        size_t key_len = 0, value_len = 0;
        int code = decode(a, at, (size_t)(key_end - at), true, &pairs[n].name, &key_len, err);
        if (!code)
            code = decode(a, value, (size_t)(stop - value), true, &pairs[n].value, &value_len, err);
        if (code)
            return code;
        if (key_len > 0 && value_len > 0)
            n++;
        at = stop + 1;
    }
    *ret = pairs;
    *ret_n = n;
    return 0;
}
