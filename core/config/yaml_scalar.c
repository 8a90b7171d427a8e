#include "config/yaml_priv.h"

#include <errno.h>
#include <json-c/json.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *text, size_t len, const char *const *words)
{
    for (; *words; words++)
        if (strlen(*words) == len && memcmp(*words, text, len) == 0)
            return true;
    return false;
}

static bool all_in(const char *text, size_t len, const char *set)
{
    if (len == 0)
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '\0' || !strchr(set, text[i]))
            return false;
    return true;
}

/* [-+]? [0-9]+ | 0o [0-7]+ | 0x [0-9a-fA-F]+ */
static int integer_base(const char *text, size_t len)
{
    const char digits[] = "0123456789";
    if (len > 2 && text[0] == '0' && text[1] == 'o' && all_in(text + 2, len - 2, "01234567"))
        return 8;
    if (len > 2 && text[0] == '0' && text[1] == 'x' &&
        all_in(text + 2, len - 2, "0123456789abcdefABCDEF"))
        return 16;
    size_t sign = len > 0 && (text[0] == '-' || text[0] == '+');
    return all_in(text + sign, len - sign, digits) ? 10 : 0;
}

static size_t count_digits(const char *text, size_t len)
{
    size_t n = 0;
    while (n < len && text[n] >= '0' && text[n] <= '9')
        n++;
    return n;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(const char *text, size_t len)
{
    size_t i = len > 0 && (text[0] == '-' || text[0] == '+');
    size_t whole = count_digits(text + i, len - i), fraction = 0;
    i += whole;
    if (i < len && text[i] == '.') {
        i++;
        fraction = count_digits(text + i, len - i);
        i += fraction;
    }
    if (whole + fraction == 0)
        return false;
    if (i < len && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < len && (text[i] == '-' || text[i] == '+'))
            i++;
        size_t exponent = count_digits(text + i, len - i);
        if (exponent == 0)
            return false;
        i += exponent;
    }
    return i == len;
}

static int made(struct json_object *value, struct json_object **ret, struct error *err)
{
    if (!value)
        return error_set(err, ERR_NOMEM, "out of memory");
    *ret = value;
    return 0;
}

int yaml_resolve_plain(const char *text, size_t len, struct json_object **ret, struct error *err)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const not_finite[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf",
                                             "+.INF", "-.inf", "-.Inf", "-.INF", ".nan",
                                             ".NaN",  ".NAN",  NULL};
    *ret = NULL;
    if (is_one_of(text, len, nulls))
        return 0;
    if (is_one_of(text, len, trues))
        return made(json_object_new_boolean(1), ret, err);
    if (is_one_of(text, len, falses))
        return made(json_object_new_boolean(0), ret, err);
    if (is_one_of(text, len, not_finite))
        return error_set(err, ERR_INVALID, "infinity and not-a-number cannot be used here");

    int base = integer_base(text, len);
    if (base) {
        errno = 0;
        long long n = strtoll(base == 10 ? text : text + 2, NULL, base);
        if (errno)
            return error_set(err, ERR_INVALID, "an integer beyond 64 bits");
        return made(json_object_new_int64(n), ret, err);
    }
    if (is_float(text, len)) {
        double d = strtod(text, NULL);
        if (!isfinite(d))
            return error_set(err, ERR_INVALID, "a number beyond the range of a double");
        return made(json_object_new_double(d), ret, err);
    }
    return made(json_object_new_string_len(text, (int)len), ret, err);
}

static bool is_name_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (!first && c >= '0' && c <= '9');
}

/* Well-formed UTF-8 without NUL, overlong forms and surrogates. */
static bool is_utf8(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        unsigned follow = *p < 0x80 ? 0 : *p < 0xC2 ? 9 : *p < 0xE0 ? 1 : *p < 0xF0 ? 2 : 3;
        unsigned char lead = *p++;
        if (follow == 9 || lead > 0xF4)
            return false;
        for (unsigned i = 0; i < follow; i++, p++) {
            unsigned char low = 0x80, high = 0xBF;
            if (i == 0 && lead == 0xE0)
                low = 0xA0;
            else if (i == 0 && lead == 0xED)
                high = 0x9F;
            else if (i == 0 && lead == 0xF0)
                low = 0x90;
            else if (i == 0 && lead == 0xF4)
                high = 0x8F;
            if (*p < low || *p > high)
                return false;
        }
    }
    return true;
}

/* One reference: `text` is what stands between the braces. */
static int expand_one(const char *text, size_t len, struct buf *out, struct error *err)
{
    char name[YAML_VARIABLE_NAME_MAX + 1];
    size_t n = 0;
    while (n < len && is_name_char(text[n], n == 0))
        n++;
    if (n == 0 || n > YAML_VARIABLE_NAME_MAX)
        return error_set(err, ERR_INVALID,
                         "malformed variable reference: expected ${NAME}, ${NAME:-default} or "
                         "${NAME:?message} ($${ for a literal ${)");
    memcpy(name, text, n);
    name[n] = '\0';
    const char *rest = text + n;
    size_t rest_len = len - n;
    char choice = '\0';
    if (rest_len >= 2 && rest[0] == ':' && (rest[1] == '-' || rest[1] == '?')) {
        choice = rest[1];
        rest += 2;
        rest_len -= 2;
    } else if (rest_len > 0) {
        return error_set(err, ERR_INVALID,
                         "malformed reference to variable %s: expected '}', ':-default' or "
                         "':?message' after the name",
                         name);
    }
    if (memmem(rest, rest_len, "${", 2))
        return error_set(err, ERR_INVALID, "a reference within the reference to variable %s", name);

    const char *value = getenv(name);
    bool usable = choice ? value && value[0] : value != NULL;
    if (!usable && choice == '-')
        return buf_append(out, rest, rest_len);
    if (!usable && choice == '?' && rest_len > 0)
        return error_set(err, ERR_INVALID, "variable %s is not set: %.*s", name, (int)rest_len,
                         rest);
    if (!usable)
        return error_set(err, ERR_INVALID, "variable %s is not set and has no default", name);
    if (!is_utf8(value))
        return error_set(err, ERR_INVALID, "variable %s is not UTF-8", name);
    return buf_append_str(out, value);
}

int yaml_expand(const char *text, size_t len, struct buf *out, bool *ret_expanded,
                struct error *err)
{
    *ret_expanded = false;
    int rc = 0;
    for (size_t i = 0; i < len && rc == 0;) {
        const char *dollar = memchr(text + i, '$', len - i);
        size_t plain = dollar ? (size_t)(dollar - text) - i : len - i;
        rc = buf_append(out, text + i, plain);
        i += plain;
        if (rc || !dollar)
            break;
        if (len - i >= 3 && memcmp(text + i, "$${", 3) == 0) {
            rc = buf_append_lit(out, "${");
            i += 3;
        } else if (len - i >= 2 && text[i + 1] == '{') {
            const char *end = memchr(text + i, '}', len - i);
            if (!end)
                return error_set(err, ERR_INVALID,
                                 "'${' without a closing '}' "
                                 "($${ for a literal ${)");
            size_t start = i + 2;
            i = (size_t)(end - text) + 1;
            *ret_expanded = true;
            rc = expand_one(text + start, i - 1 - start, out, err);
            if (rc == ERR_INVALID)
                return rc;
        } else {
            rc = buf_append_char(out, '$');
            i++;
        }
    }
    if (rc == ERR_LIMIT)
        return error_set(err, ERR_INVALID, "more than %d bytes after expansion", YAML_FILE_MAX);
    return rc ? error_set(err, rc, "out of memory") : 0;
}
