#include "value.h"

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_TEXT_MAX = 512 }; /* a longer run of digits is a text */

struct number {
    bool negative, is_integer;
    bool exact;      /* `digits` holds every digit */
    uint64_t digits; /* without sign and point */
    int exponent;    /* of ten */
};

/* Read [+-] digits [. digits] [(e|E) [+-] digits]; a digit before or behind the point is needed. */
static bool scan_number(const char *p, const char *end, struct number *ret)
{
    struct number n = {.is_integer = true, .exact = true};
    int n_digits = 0;
    if (p < end && (*p == '-' || *p == '+')) {
        n.negative = *p++ == '-';
    }
    for (bool behind_point = false; p < end; p++) {
        if (*p == '.' && !behind_point) {
            behind_point = true;
            n.is_integer = false;
        } else if (*p >= '0' && *p <= '9') {
            n_digits++;
            if (n.digits > (UINT64_MAX - 9) / 10) {
                n.exact = false;
            } else {
                n.digits = n.digits * 10 + (uint64_t)(*p - '0');
            }
            n.exponent -= behind_point ? 1 : 0;
        } else {
            break;
        }
    }
    if (n_digits == 0) {
        return false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool minus = false;
        int exponent = 0, n_exponent = 0;
        n.is_integer = false;
        p++;
        if (p < end && (*p == '-' || *p == '+')) {
            minus = *p++ == '-';
        }
        for (; p < end && *p >= '0' && *p <= '9'; p++, n_exponent++) {
            exponent = exponent < 100000 ? exponent * 10 + (*p - '0') : exponent;
        }
        if (n_exponent == 0) {
            return false;
        }
        n.exponent += minus ? -exponent : exponent;
    }
    *ret = n;
    return p == end;
}

/* The C library's conversion, in the C locale whatever the process has set. */
static double slow_double(const char *text, size_t len)
{
    char closed[NUMBER_TEXT_MAX];
    memcpy(closed, text, len);
    closed[len] = '\0';
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a constant of the library */
    double value = strtod_l(closed, NULL, c_locale);
    freelocale(c_locale);
    return value;
}

static bool read_number(const char *text, size_t len, struct hyprxa_value *ret)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    struct number n;
    if (len >= NUMBER_TEXT_MAX || !scan_number(text, text + len, &n)) {
        return false;
    }
    uint64_t int_max = (uint64_t)INT64_MAX + (n.negative ? 1 : 0);
    if (n.is_integer && n.exact && n.digits <= int_max) {
        ret->type = HYPRXA_INT64;
        ret->as.i64 = n.negative ? (int64_t)(0 - n.digits) : (int64_t)n.digits;
        return true;
    }
    ret->type = HYPRXA_DOUBLE;
    if (n.exact && n.digits <= (UINT64_C(1) << 53) && n.exponent >= -22 && n.exponent <= 22) {
        /* Both operands are exact, so one rounding gives the nearest double. */
        double value = (double)n.digits;
        value = n.exponent < 0 ? value / powers[-n.exponent] : value * powers[n.exponent];
        ret->as.f64 = n.negative ? -value : value;
    } else {
        ret->as.f64 = slow_double(text, len);
    }
    return true;
}

static bool is_word(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(text, word, len) == 0;
}

static bool is_any(const char *text, size_t len, const char *const *words)
{
    for (; *words; words++) {
        if (is_word(text, len, *words)) {
            return true;
        }
    }
    return false;
}

static bool read_word(const char *text, size_t len, struct hyprxa_value *ret)
{
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const nans[] = {"NaN", "nan", "NAN", NULL};
    static const char *const infinities[] = {"Inf",      "inf",      "INF", "Infinity",
                                             "infinity", "INFINITY", NULL};
    if (is_any(text, len, trues) || is_any(text, len, falses)) {
        ret->type = HYPRXA_BOOL;
        ret->as.boolean = text[0] == 't' || text[0] == 'T';
        return true;
    }
    bool negative = text[0] == '-';
    if (len > 1 && (text[0] == '-' || text[0] == '+')) {
        text++;
        len--;
    }
    if (is_any(text, len, nans) || is_any(text, len, infinities)) {
        double value = is_any(text, len, nans) ? (double)NAN : (double)INFINITY;
        ret->type = HYPRXA_DOUBLE;
        ret->as.f64 = negative ? -value : value;
        return true;
    }
    return false;
}

/* Well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        int more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : 1;
        if (*p < 0xc2 || *p > 0xf4 || end - p <= more) {
            return false;
        }
        if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
            (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f)) {
            return false;
        }
        for (int i = 1; i <= more; i++) {
            if ((p[i] & 0xc0) != 0x80) {
                return false;
            }
        }
        p += more + 1;
    }
    return true;
}

enum cell_verdict cell_read(const char *text, size_t len, struct hyprxa_value *ret)
{
    if (len == 0) {
        return CELL_EMPTY;
    }
    const char *bare = text, *end = text + len;
    while (bare < end && *bare == ' ') {
        bare++;
    }
    while (end > bare && end[-1] == ' ') {
        end--;
    }
    size_t bare_len = (size_t)(end - bare);
    if (bare_len == 0) {
        return CELL_EMPTY;
    }
    ret->len = 0;
    if ((*bare <= '9' && read_number(bare, bare_len, ret)) ||
        (bare_len <= 9 && read_word(bare, bare_len, ret))) {
        return CELL_VALUE;
    }
    if (!is_utf8(text, len)) {
        return CELL_BAD;
    }
    ret->type = HYPRXA_STRING;
    ret->len = (uint32_t)len;
    ret->as.ptr = text;
    return CELL_VALUE;
}
