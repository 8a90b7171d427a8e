/* The formats that are checked when a schema asks for it (JSON_SCHEMA_ASSERT_FORMAT). */
#include "base/json_schema_priv.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- small readers: each passes what it accepts --- */

struct reader {
    const char *p, *end;
};

static bool take(struct reader *r, char c)
{
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

static bool take_any(struct reader *r, const char *set)
{
    if (r->p == r->end || !*r->p || !strchr(set, *r->p))
        return false;
    r->p++;
    return true;
}

/* Exactly n digits as a number; -1: they are not there. */
static int take_number(struct reader *r, int n)
{
    int value = 0;
    if (r->end - r->p < n)
        return -1;
    for (int i = 0; i < n; i++) {
        if (!isdigit((unsigned char)r->p[i]))
            return -1;
        value = 10 * value + (r->p[i] - '0');
    }
    r->p += n;
    return value;
}

static size_t skip_digits(struct reader *r)
{
    const char *start = r->p;
    while (r->p < r->end && isdigit((unsigned char)*r->p))
        r->p++;
    return (size_t)(r->p - start);
}

/* --- RFC 3339 --- */

static bool take_date(struct reader *r)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_number(r, 4);
    if (year < 0 || !take(r, '-'))
        return false;
    int month = take_number(r, 2);
    if (month < 1 || month > 12 || !take(r, '-'))
        return false;
    int day = take_number(r, 2);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

static bool take_time(struct reader *r)
{
    int hour = take_number(r, 2);
    if (hour < 0 || hour > 23 || !take(r, ':'))
        return false;
    int minute = take_number(r, 2);
    if (minute < 0 || minute > 59 || !take(r, ':'))
        return false;
    int second = take_number(r, 2);
    if (second < 0 || second > 60 || (take(r, '.') && skip_digits(r) == 0))
        return false;
    int offset = 0; /* in minutes */
    if (!take_any(r, "Zz")) {
        int sign = take(r, '+') ? 1 : take(r, '-') ? -1 : 0;
        int offset_hour = sign ? take_number(r, 2) : -1;
        if (offset_hour < 0 || offset_hour > 23 || !take(r, ':'))
            return false;
        int offset_minute = take_number(r, 2);
        if (offset_minute < 0 || offset_minute > 59)
            return false;
        offset = sign * (60 * offset_hour + offset_minute);
    }
    /* A leap second is 23:59:60 in UTC. */
    return second < 60 || ((hour * 60 + minute - offset) % 1440 + 1440) % 1440 == 1439;
}

static bool is_date(const char *text, size_t len)
{
    struct reader r = {text, text + len};
    return take_date(&r) && r.p == r.end;
}

static bool is_time(const char *text, size_t len)
{
    struct reader r = {text, text + len};
    return take_time(&r) && r.p == r.end;
}

static bool is_date_time(const char *text, size_t len)
{
    struct reader r = {text, text + len};
    return take_date(&r) && take_any(&r, "Tt") && take_time(&r) && r.p == r.end;
}

/* ISO 8601 as RFC 3339, appendix A: P1Y2M3DT4H5M6S, P4W. */
static bool is_duration(const char *text, size_t len)
{
    struct reader r = {text, text + len};
    const char *units = "YMWD";
    bool in_time = false, any = false;
    if (!take(&r, 'P'))
        return false;
    while (r.p < r.end) {
        if (!in_time && take(&r, 'T')) {
            in_time = true;
            any = false;
            units = "HMS";
        }
        if (skip_digits(&r) == 0 || r.p == r.end)
            return false;
        const char *unit = strchr(units, *r.p);
        if (!unit || !*unit)
            return false;
        if (*unit == 'W' && (any || r.p + 1 != r.end))
            return false; /* weeks stand alone */
        units = unit + 1;
        r.p++;
        any = true;
    }
    return any;
}

/* --- hosts --- */

static bool is_hostname(const char *text, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    size_t label = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i == len || text[i] == '.') {
            if (label == 0 || label > 63 || text[i - 1] == '-')
                return false;
            label = 0;
        } else {
            if (!isalnum((unsigned char)text[i]) && (text[i] != '-' || label == 0))
                return false;
            label++;
        }
    }
    return true;
}

static bool is_ip(int family, const char *text, size_t len)
{
    char copy[64];
    unsigned char address[16];
    if (len >= sizeof copy || memchr(text, '\0', len))
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return inet_pton(family, copy, address) == 1;
}

static bool is_ipv4(const char *text, size_t len)
{
    return is_ip(AF_INET, text, len);
}

static bool is_ipv6(const char *text, size_t len)
{
    return is_ip(AF_INET6, text, len);
}

/* local@domain, the local part of RFC 5321's dots and atoms or quoted. */
static bool is_email(const char *text, size_t len)
{
    const char *at = memrchr(text, '@', len);
    if (!at || at == text)
        return false;
    const size_t local = (size_t)(at - text), domain = len - local - 1;
    if (at[1] == '[') {
        const char *literal = at + 2;
        if (domain < 3 || text[len - 1] != ']')
            return false;
        if (domain > 7 && memcmp(literal, "IPv6:", 5) == 0)
            return is_ipv6(literal + 5, domain - 7);
        return is_ipv4(literal, domain - 2);
    }
    if (!is_hostname(at + 1, domain))
        return false;
    if (local >= 2 && text[0] == '"' && at[-1] == '"')
        return !memchr(text + 1, '"', local - 2);
    char before = '.';
    for (size_t i = 0; i < local; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '.' ? before == '.' : c < 0x80 && !isalnum(c) && !strchr("!#$%&'*+-/=?^_`{|}~", c))
            return false;
        before = (char)c;
    }
    return before != '.';
}

/* --- identifiers --- */

static bool is_uuid(const char *text, size_t len)
{
    if (len != 36)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return true;
}

/* The characters of RFC 3986 and whole percent escapes; at most one '#'. */
static bool has_uri_characters(const char *text, size_t len)
{
    bool in_fragment = false;
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '%') {
            if (len - i < 3 || !isxdigit((unsigned char)text[i + 1]) ||
                !isxdigit((unsigned char)text[i + 2]))
                return false;
        } else if (c == '#') {
            if (in_fragment)
                return false;
            in_fragment = true;
        } else if (c >= 0x80 || (!isalnum(c) && (!c || !strchr("-._~:/?[]@!$&'()*+,;=", c)))) {
            return false;
        }
    }
    return true;
}

static bool has_scheme(const char *text, size_t len, size_t *ret_after)
{
    size_t i = 0;
    while (i < len && (isalnum((unsigned char)text[i]) ||
                       (i && (text[i] == '+' || text[i] == '-' || text[i] == '.'))))
        i++;
    *ret_after = i + 1;
    return i && i < len && text[i] == ':' && isalpha((unsigned char)text[0]);
}

/* Brackets belong around an IPv6 host, a port is a number. */
static bool has_good_authority(const char *text, size_t len)
{
    const char *end = text + len;
    if (len < 2 || text[0] != '/' || text[1] != '/')
        return !memchr(text, '[', len) && !memchr(text, ']', len);
    const char *host = text + 2;
    const char *stop = host;
    while (stop < end && *stop != '/' && *stop != '?' && *stop != '#')
        stop++;
    if (memchr(stop, '[', (size_t)(end - stop)) || memchr(stop, ']', (size_t)(end - stop)))
        return false;
    const char *at = memchr(host, '@', (size_t)(stop - host));
    host = at ? at + 1 : host;
    const char *port;
    if (host < stop && *host == '[') {
        const char *close = memchr(host, ']', (size_t)(stop - host));
        if (!close || !is_ipv6(host + 1, (size_t)(close - host - 1)))
            return false;
        port = close + 1;
        if (port < stop && *port != ':')
            return false;
    } else {
        if (memchr(host, '[', (size_t)(stop - host)) || memchr(host, ']', (size_t)(stop - host)))
            return false;
        port = memchr(host, ':', (size_t)(stop - host));
    }
    for (port = port && port < stop ? port + 1 : stop; port < stop; port++)
        if (!isdigit((unsigned char)*port))
            return false;
    return true;
}

static bool is_uri(const char *text, size_t len)
{
    size_t after;
    return has_uri_characters(text, len) && has_scheme(text, len, &after) &&
           has_good_authority(text + after, len - after);
}

static bool is_uri_reference(const char *text, size_t len)
{
    size_t after;
    if (!has_uri_characters(text, len))
        return false;
    if (!has_scheme(text, len, &after)) {
        after = 0;
        const char *colon = memchr(text, ':', len);
        if (colon && !memchr(text, '/', (size_t)(colon - text)) &&
            !memchr(text, '?', (size_t)(colon - text)) &&
            !memchr(text, '#', (size_t)(colon - text)))
            return false; /* the first segment of a relative path has no colon */
    }
    return has_good_authority(text + after, len - after);
}

static bool is_json_pointer(const char *text, size_t len)
{
    if (len && text[0] != '/')
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] == '~' && (i + 1 == len || (text[i + 1] != '0' && text[i + 1] != '1')))
            return false;
    return true;
}

static bool is_regex(const char *text, size_t len)
{
    struct pattern *p = pattern_compile(text, len, NULL);
    pattern_free(p);
    return p != NULL;
}

format_fn *format_find(const char *name)
{
    static const struct {
        const char *name;
        format_fn *is;
    } formats[] = {
        {"date-time", is_date_time},
        {"date", is_date},
        {"time", is_time},
        {"duration", is_duration},
        {"email", is_email},
        {"hostname", is_hostname},
        {"ipv4", is_ipv4},
        {"ipv6", is_ipv6},
        {"uri", is_uri},
        {"uri-reference", is_uri_reference},
        {"uuid", is_uuid},
        {"json-pointer", is_json_pointer},
        {"regex", is_regex},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (strcmp(formats[i].name, name) == 0)
            return formats[i].is;
    return NULL;
}
