#include "base/json_scan.h"

#include "base/json_scan_keys.h"
#include "base/map.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* What a byte means inside a string. */
enum { PLAIN, QUOTE, BACKSLASH, CONTROL, LEAD2, LEAD3, LEAD4, BAD };

/* clang-format off */
#define X4(class)  class, class, class, class
#define X16(class) X4(class), X4(class), X4(class), X4(class)
static const unsigned char string_class[256] = {
    X16(CONTROL), X16(CONTROL),
    PLAIN, PLAIN, QUOTE, PLAIN, X4(PLAIN), X4(PLAIN), X4(PLAIN), X16(PLAIN),
    X16(PLAIN), X4(PLAIN), X4(PLAIN), X4(PLAIN), BACKSLASH, PLAIN, PLAIN, PLAIN,
    X16(PLAIN), X16(PLAIN),
    X16(BAD), X16(BAD), X16(BAD), X16(BAD),
    BAD, BAD, LEAD2, LEAD2, X4(LEAD2), X4(LEAD2), X4(LEAD2), X16(LEAD2),
    X16(LEAD3),
    X4(LEAD4), LEAD4, BAD, BAD, BAD, X4(BAD), X4(BAD),
};
#undef X4
#undef X16
/* clang-format on */

struct scan {
    const unsigned char *start, *end;
    const unsigned char *p; /* next byte to read */
    char *out;              /* where the compact text goes; NULL: only check */
    size_t n;               /* bytes of compact text so far */
    struct json_span *spans;
    size_t n_spans;
    struct json_span *open_span; /* its value is being read */
    const char *message;
    const unsigned char *where;
    struct scan_keys keys;
    unsigned depth;
    unsigned max_depth;
    unsigned n_objects;
    bool is_object[JSON_DEPTH_MAX + 1];
    size_t first_key[JSON_DEPTH_MAX + 1]; /* of the object at that depth */
};

static int fail(struct scan *s, const unsigned char *where, const char *message)
{
    s->where = where;
    s->message = message;
    return ERR_INVALID;
}

static inline void put(struct scan *s, char c)
{
    if (s->out)
        s->out[s->n] = c;
    s->n++;
}

static inline const unsigned char *skip_space(const unsigned char *p, const unsigned char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

/* --- strings --- */

static inline bool is_continuation(unsigned char c)
{
    return (c & 0xC0) == 0x80;
}

/* The length of the UTF-8 sequence at p whose class is given; 0: it is not one (RFC 3629). */
static size_t utf8_length(const unsigned char *p, const unsigned char *end, unsigned char class)
{
    const size_t room = (size_t)(end - p);
    switch (class) {
    case LEAD2:
        return room >= 2 && is_continuation(p[1]) ? 2 : 0;
    case LEAD3:
        if (room < 3 || !is_continuation(p[1]) || !is_continuation(p[2]))
            return 0;
        if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F))
            return 0; /* overlong, or a surrogate */
        return 3;
    case LEAD4:
        if (room < 4 || !is_continuation(p[1]) || !is_continuation(p[2]) || !is_continuation(p[3]))
            return 0;
        if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
            return 0; /* overlong, or beyond U+10FFFF */
        return 4;
    default:
        return 0;
    }
}

static int hex4(const unsigned char *p, const unsigned char *end)
{
    if (end - p < 4)
        return -1;
    int code = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* The escape at s->p (a backslash) is checked, copied and passed. */
static int scan_escape(struct scan *s, const unsigned char *string_start, bool is_key)
{
    const unsigned char *p = s->p;
    if (s->end - p < 2)
        return fail(s, string_start, "Unterminated string starting at");
    size_t len = 2;
    switch (p[1]) {
    case '/':
        put(s, '/');
        s->p = p + 2;
        return 0;
    case '"':
    case '\\':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        break;
    case 'u': {
        int code = hex4(p + 2, s->end);
        if (code < 0)
            return fail(s, p + 1, "Invalid \\uXXXX escape");
        if (code == 0 && is_key)
            return fail(s, p, "Invalid NUL in property name");
        len = 6;
        if (code >= 0xDC00 && code <= 0xDFFF)
            return fail(s, p, "Unpaired surrogate escape");
        if (code >= 0xD800 && code <= 0xDBFF) {
            int low = s->end - p >= 8 && p[6] == '\\' && p[7] == 'u' ? hex4(p + 8, s->end) : -1;
            if (low < 0xDC00 || low > 0xDFFF)
                return fail(s, p, "Unpaired surrogate escape");
            len = 12;
        }
        break;
    }
    default:
        return fail(s, p, "Invalid \\escape");
    }
    if (s->out)
        memcpy(s->out + s->n, p, len);
    s->n += len;
    s->p = p + len;
    return 0;
}

/* Eight bytes at once: the top bit of each byte that is a quote, a backslash, a control character or
 * outside ASCII is set.  Borrows may set more of them, but never below the first one. */
static inline uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = UINT64_C(0x8080808080808080);
    const uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    return ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & tops;
}

/* Pass (and copy to `out` unless NULL) the bytes from p on that stand for themselves. */
static inline const unsigned char *skip_plain(const unsigned char *p, const unsigned char *end,
                                              char *out)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        if (out) { /* the compact text lags behind its source: there is room */
            memcpy(out, &word, 8);
            out += 8;
        }
        const uint64_t special = special_bytes(word);
        if (special)
            return p + __builtin_ctzll(special) / 8;
        p += 8;
    }
#endif
    while (p < end && string_class[*p] == PLAIN) {
        if (out)
            *out++ = (char)*p;
        p++;
    }
    return p;
}

/* The rest of a string, from its first byte that needs a look (s->p). */
__attribute__((noinline)) static int scan_string_rest(struct scan *s,
                                                      const unsigned char *string_start,
                                                      bool is_key, bool *ret_escaped)
{
    for (;;) {
        const unsigned char *const p = s->p;
        if (p == s->end)
            return fail(s, string_start, "Unterminated string starting at");
        const unsigned char class = string_class[*p];
        if (class == QUOTE) {
            put(s, '"');
            s->p++;
            return 0;
        }
        if (class == CONTROL)
            return fail(s, p, "Invalid control character at");
        if (class == BACKSLASH) {
            *ret_escaped = true;
            int rc = scan_escape(s, string_start, is_key);
            if (rc)
                return rc;
        } else {
            const size_t len = utf8_length(p, s->end, class);
            if (len == 0)
                return fail(s, p, "Invalid UTF-8");
            if (s->out)
                memcpy(s->out + s->n, p, len);
            s->n += len;
            s->p += len;
        }
        const unsigned char *const run = s->p;
        s->p = skip_plain(run, s->end, s->out ? s->out + s->n : NULL);
        s->n += (size_t)(s->p - run);
    }
}

/* The string at s->p (a quote).  *ret_escaped is set when it holds an escape. */
static inline int scan_string(struct scan *s, bool is_key, bool *ret_escaped)
{
    const unsigned char *const string_start = s->p;
    char *const out = s->out ? s->out + s->n : NULL;
    const unsigned char *const stop = skip_plain(string_start + 1, s->end, out ? out + 1 : NULL);
    const size_t len = (size_t)(stop - string_start);
    if (out)
        out[0] = '"';
    s->p = stop;
    s->n += len;
    if (stop == s->end || *stop != '"')
        return scan_string_rest(s, string_start, is_key, ret_escaped);
    if (out)
        out[len] = '"';
    s->p++;
    s->n++;
    return 0;
}

/* --- numbers --- */

static inline bool is_digit(unsigned char c)
{
    return (unsigned)(c - '0') < 10;
}

/* A number written as digits [. digits] [e exponent], of which only the first one can say whether
 * it is finite: beyond 1e309 it is not, below 1e308 it is, and in between strtod decides. */
static bool is_finite(const unsigned char *digits, const unsigned char *end, int64_t exponent)
{
    char text[400]; /* enough significant digits to tell 2^1024 - 2^970 (309 digits) exactly */
    size_t n = 0;
    int64_t magnitude = exponent; /* the number is below 10^magnitude */
    bool after_point = false;
    for (const unsigned char *p = digits; p < end; p++) {
        if (*p == '.') {
            after_point = true;
            continue;
        }
        if (!is_digit(*p))
            break;
        if (n == 0 && *p == '0') {
            magnitude -= after_point;
            continue;
        }
        if (n < 320)
            text[n++] = (char)*p;
        magnitude += !after_point;
    }
    if (n == 0 || magnitude < 309)
        return true;
    if (magnitude > 309)
        return false;
    size_t significant = n;
    memcpy(text + n, "e", 1);
    int rest = 309 - (int)significant;
    n++;
    if (rest < 0) {
        text[n++] = '-';
        rest = -rest;
    }
    text[n++] = (char)('0' + rest / 100);
    text[n++] = (char)('0' + rest / 10 % 10);
    text[n++] = (char)('0' + rest % 10);
    text[n] = '\0';
    return isfinite(strtod(text, NULL));
}

static bool fits_int64(const unsigned char *digits, size_t n, bool negative)
{
    return n < 19 ||
           (n == 19 &&
            memcmp(digits, negative ? "9223372036854775808" : "9223372036854775807", 19) <= 0);
}

static int scan_number(struct scan *s)
{
    const unsigned char *const start = s->p, *const end = s->end;
    const unsigned char *p = start;
    const bool negative = *p == '-';
    if (negative)
        p++;
    const unsigned char *const digits = p;
    if (p == end || !is_digit(*p))
        return fail(s, start, "Expecting value");
    if (*p == '0')
        p++;
    else
        while (p < end && is_digit(*p))
            p++;
    const size_t n_digits = (size_t)(p - digits);
    bool is_integer = true;
    if (end - p >= 2 && *p == '.' && is_digit(p[1])) {
        is_integer = false;
        p += 2;
        while (p < end && is_digit(*p))
            p++;
    }
    int64_t exponent = 0;
    if (end - p >= 2 && (*p == 'e' || *p == 'E')) {
        const unsigned char *e = p + 1;
        const bool minus = *e == '-';
        if (*e == '-' || *e == '+')
            e++;
        if (e < end && is_digit(*e)) {
            is_integer = false;
            for (; e < end && is_digit(*e); e++)
                if (exponent < INT64_C(1) << 50)
                    exponent = exponent * 10 + (*e - '0');
            if (minus)
                exponent = -exponent;
            p = e;
        }
    }
    if (is_integer ? !fits_int64(digits, n_digits, negative)
                   : (exponent > 0 || n_digits > 300) && !is_finite(digits, p, exponent))
        return fail(s, start, is_integer ? "Integer out of range" : "Number out of range");
    if (s->out)
        memcpy(s->out + s->n, start, (size_t)(p - start));
    s->n += (size_t)(p - start);
    s->p = p;
    return 0;
}

static int scan_literal(struct scan *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
        return fail(s, s->p, "Expecting value");
    if (s->out)
        memcpy(s->out + s->n, word, len);
    s->n += len;
    s->p += len;
    return 0;
}

/* --- structure --- */

static int scan_scalar(struct scan *s)
{
    switch (s->p < s->end ? *s->p : 0) {
    case '"': {
        bool escaped;
        return scan_string(s, false, &escaped);
    }
    case 't':
        return scan_literal(s, "true", 4);
    case 'f':
        return scan_literal(s, "false", 5);
    case 'n':
        return scan_literal(s, "null", 4);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return scan_number(s);
    default:
        return fail(s, s->p, "Expecting value");
    }
}

static void find_span(struct scan *s, const struct scan_key *key)
{
    const char *name = scan_key_text(&s->keys, key);
    for (size_t i = 0; i < s->n_spans; i++)
        if (strlen(s->spans[i].name) == key->len && memcmp(s->spans[i].name, name, key->len) == 0) {
            s->open_span = &s->spans[i];
            s->open_span->offset = s->n;
            return;
        }
}

/* `"name":` of a member; leaves s->p at the value. */
static int scan_member_name(struct scan *s)
{
    s->p = skip_space(s->p, s->end);
    const unsigned char *const name = s->p;
    if (name == s->end || *name != '"')
        return fail(s, name, "Expecting property name enclosed in double quotes");
    bool escaped = false;
    int rc = scan_string(s, true, &escaped);
    if (rc)
        return rc;
    const size_t first = s->first_key[s->depth];
    rc = scan_keys_add(&s->keys, first, name + 1, (size_t)(s->p - name) - 2, escaped);
    if (rc == ERR_EXISTS)
        return fail(s, name, "Duplicate property name");
    if (rc)
        return rc;
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end || *s->p != ':')
        return fail(s, s->p, "Expecting ':' delimiter");
    s->p++;
    put(s, ':');
    if (s->depth == 1 && s->n_spans)
        find_span(s, &s->keys.items[s->keys.n - 1]);
    return 0;
}

/* Enter the container at s->p.  *ret_closed: it was empty and is left again. */
static int open_container(struct scan *s, bool *ret_closed)
{
    const bool is_object = *s->p == '{';
    const char close = is_object ? '}' : ']';
    if (s->depth == s->max_depth)
        return fail(s, s->p, "Nesting is too deep");
    if (is_object && ++s->n_objects > JSON_OBJECTS_MAX)
        return fail(s, s->p, "Too many objects");
    put(s, (char)*s->p);
    s->p = skip_space(s->p + 1, s->end);
    if (s->p < s->end && *s->p == (unsigned char)close) {
        put(s, close);
        s->p++;
        *ret_closed = true;
        return 0;
    }
    s->depth++;
    s->is_object[s->depth] = is_object;
    s->first_key[s->depth] = s->keys.n;
    *ret_closed = false;
    return is_object ? scan_member_name(s) : 0;
}

/* After a value: pass `,` (and the next name) or leave containers as long as they end here. */
static int after_value(struct scan *s)
{
    while (s->depth) {
        if (s->depth == 1 && s->open_span) {
            s->open_span->len = s->n - s->open_span->offset;
            s->open_span = NULL;
        }
        const bool is_object = s->is_object[s->depth];
        s->p = skip_space(s->p, s->end);
        const unsigned char c = s->p < s->end ? *s->p : 0;
        if (c == ',') {
            s->p++;
            put(s, ',');
            return is_object ? scan_member_name(s) : 0;
        }
        if (c != (is_object ? '}' : ']'))
            return fail(s, s->p, "Expecting ',' delimiter");
        if (is_object) {
            const unsigned char *duplicate;
            int rc = scan_keys_close(&s->keys, s->first_key[s->depth], &duplicate);
            if (rc == ERR_EXISTS)
                return fail(s, duplicate - 1, "Duplicate property name");
            if (rc)
                return rc;
        }
        s->p++;
        put(s, (char)c);
        s->depth--;
    }
    return 0;
}

static int scan_document(struct scan *s)
{
    do {
        s->p = skip_space(s->p, s->end);
        bool is_whole = true;
        int rc;
        if (s->p < s->end && (*s->p == '{' || *s->p == '['))
            rc = open_container(s, &is_whole);
        else
            rc = scan_scalar(s);
        if (!rc && is_whole)
            rc = after_value(s);
        if (rc)
            return rc;
    } while (s->depth);
    s->p = skip_space(s->p, s->end);
    return s->p == s->end ? 0 : fail(s, s->p, "Extra data");
}

static void describe(const struct scan *s, struct json_scan_error *e)
{
    *e = (struct json_scan_error){
        .position = (size_t)(s->where - s->start), .line = 1, .column = 1, .message = s->message};
    for (const unsigned char *p = s->start; p < s->where; p++) {
        if (is_continuation(*p))
            continue;
        e->characters++;
        e->column++;
        if (*p == '\n') {
            e->line++;
            e->column = 1;
        }
    }
}

int json_scan(const char *text, size_t len, unsigned max_depth, struct buf *compact,
              struct json_span *spans, size_t n_spans, struct json_scan_error *ret_error)
{
    struct scan s; /* its arrays need no zeroes */
    s.spans = spans;
    s.n_spans = n_spans;
    s.open_span = NULL;
    s.out = NULL;
    s.n = 0;
    s.depth = 0;
    s.n_objects = 0;
    s.start = s.p = (const unsigned char *)text;
    s.end = s.start + len;
    s.max_depth = max_depth < JSON_DEPTH_MAX ? max_depth : JSON_DEPTH_MAX;
    scan_keys_init(&s.keys);
    for (size_t i = 0; i < n_spans; i++)
        spans[i].offset = spans[i].len = 0;

    /* The compact text is never longer than its source, but only its own length counts. */
    char *apart = NULL;
    int rc = 0;
    if (compact && compact->failed) {
        rc = ERR_LIMIT;
    } else if (compact && compact->max - compact->len < len) {
        apart = s.out = malloc(len);
        rc = apart ? 0 : ERR_NOMEM;
    } else if (compact) {
        rc = buf_reserve(compact, len);
        s.out = rc ? NULL : compact->data + compact->len;
    }
    if (!rc)
        rc = scan_document(&s);
    if (rc == ERR_INVALID && ret_error)
        describe(&s, ret_error);
    const size_t before = compact ? compact->len : 0;
    if (!rc && apart)
        rc = buf_append(compact, apart, s.n);
    else if (!rc && compact)
        compact->len += s.n;
    if (compact && compact->data && !compact->failed)
        compact->data[compact->len] = '\0';
    for (size_t i = 0; i < n_spans; i++) {
        spans[i].len = rc ? 0 : spans[i].len;
        spans[i].offset = spans[i].len ? spans[i].offset + before : 0;
    }
    scan_keys_release(&s.keys);
    free(apart);
    return rc;
}
