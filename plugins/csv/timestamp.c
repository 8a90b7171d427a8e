#include "timestamp.h"

#include "civil.h"

#include <limits.h>
#include <string.h>
#include <time.h>

#define US_PER_SECOND INT64_C(1000000)
#define US_MIN        INT64_C(-62135596800000000) /* 0001-01-01 */
#define US_MAX        INT64_C(253402300799999999) /* the last microsecond of 9999 */

enum { NO_OFFSET = INT_MIN };

/* What a text says, before the zone is applied. */
struct reading {
    int64_t local_s; /* the clock's reading, as if it were UTC */
    int32_t us;
    int offset_s; /* east of Greenwich, or NO_OFFSET */
};

struct text {
    const char *at, *end;
};

static bool is_digit(const struct text *t)
{
    return t->at < t->end && *t->at >= '0' && *t->at <= '9';
}

/* Exactly `n` digits. */
static bool take_digits(struct text *t, int n, int *ret)
{
    int value = 0;
    for (int i = 0; i < n; i++) {
        if (!is_digit(t)) {
            return false;
        }
        value = value * 10 + (*t->at++ - '0');
    }
    *ret = value;
    return true;
}

static bool take_char(struct text *t, char c)
{
    if (t->at < t->end && *t->at == c) {
        t->at++;
        return true;
    }
    return false;
}

/* The digits of a fraction of a second; what is finer than a microsecond is cut off. */
static bool take_fraction(struct text *t, int32_t *ret_us)
{
    int32_t value = 0, unit = 100000;
    if (!is_digit(t)) {
        return false;
    }
    while (is_digit(t)) {
        value += (*t->at++ - '0') * unit;
        unit /= 10;
    }
    *ret_us = value;
    return true;
}

/* Z, +HH, +HHMM or +HH:MM, or nothing. */
static bool take_offset(struct text *t, int *ret_s)
{
    int hours = 0, minutes = 0, sign = 1;
    *ret_s = NO_OFFSET;
    if (t->at == t->end) {
        return true;
    }
    if (take_char(t, 'Z') || take_char(t, 'z')) {
        *ret_s = 0;
        return true;
    }
    if (take_char(t, '-')) {
        sign = -1;
    } else if (!take_char(t, '+')) {
        return false;
    }
    if (!take_digits(t, 2, &hours)) {
        return false;
    }
    if ((take_char(t, ':') || is_digit(t)) && !take_digits(t, 2, &minutes)) {
        return false;
    }
    *ret_s = sign * (hours * 3600 + minutes * 60);
    return hours <= 24 && minutes <= 59;
}

/* The clock part of an ISO text: HH:MM[:SS[.fraction]] or HHMM[SS[.fraction]]. */
static bool take_clock(struct text *t, bool extended, int *ret_s, int32_t *ret_us)
{
    int hour, minute, second = 0;
    if (!take_digits(t, 2, &hour) || (extended && !take_char(t, ':')) ||
        !take_digits(t, 2, &minute)) {
        return false;
    }
    if (extended ? take_char(t, ':') : is_digit(t)) {
        if (!take_digits(t, 2, &second)) {
            return false;
        }
        if ((take_char(t, '.') || take_char(t, ',')) && !take_fraction(t, ret_us)) {
            return false;
        }
    }
    *ret_s = hour * 3600 + minute * 60 + second;
    /* Second 60 is a leap second, hour 24 the end of the day: both run on into the next. */
    return hour <= 24 && minute <= 59 && second <= 60 &&
           (hour < 24 || (minute == 0 && second == 0 && *ret_us == 0));
}

static bool read_iso8601(struct text t, struct reading *ret)
{
    int year, month, day, clock_s = 0;
    if (!take_digits(&t, 4, &year)) {
        return false;
    }
    bool extended = take_char(&t, '-');
    if (!take_digits(&t, 2, &month) || (extended && !take_char(&t, '-')) ||
        !take_digits(&t, 2, &day) || year < 1 || month < 1 || month > 12 || day < 1 ||
        day > civil_month_days(year, month)) {
        return false;
    }
    ret->us = 0;
    if ((take_char(&t, 'T') || take_char(&t, ' ') || take_char(&t, 't')) &&
        !take_clock(&t, extended, &clock_s, &ret->us)) {
        return false;
    }
    take_char(&t, ' '); /* "2024-01-31 12:00:00 +0100", as many programs print it */
    if (!take_offset(&t, &ret->offset_s) || t.at != t.end) {
        return false;
    }
    ret->local_s = civil_days(year, month, day) * 86400 + clock_s;
    return true;
}

/* A decimal number of units, each of `unit_us` microseconds. */
static bool read_count(struct text t, int64_t unit_us, struct reading *ret)
{
    bool negative = take_char(&t, '-');
    int64_t whole = 0, us = 0;
    if (!is_digit(&t)) {
        return false;
    }
    while (is_digit(&t)) {
        whole = whole * 10 + (*t.at++ - '0');
        if (whole > US_MAX / unit_us) {
            return false;
        }
    }
    us = whole * unit_us;
    if (take_char(&t, '.')) {
        for (int64_t unit = unit_us / 10; is_digit(&t); unit /= 10) {
            us += (*t.at++ - '0') * unit;
        }
    }
    if (t.at != t.end) {
        return false;
    }
    us = negative ? -us : us;
    int64_t below = us % US_PER_SECOND;
    ret->us = (int32_t)(below < 0 ? below + US_PER_SECOND : below);
    ret->local_s = (us - ret->us) / US_PER_SECOND;
    ret->offset_s = 0;
    return true;
}

/* One stretch of a pattern without %f.  strptime() needs closed texts: `pattern` is copied. */
static const char *match_stretch(const char *text, const char *pattern, size_t len, struct tm *tm)
{
    char stretch[TIMESTAMP_TEXT_MAX];
    if (len >= sizeof(stretch)) {
        return NULL;
    }
    memcpy(stretch, pattern, len);
    stretch[len] = '\0';
    return strptime(text, stretch, tm);
}

/* The next %f of a pattern, passing over %%, or NULL. */
static const char *find_fraction(const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        if (*p == '%') {
            if (*++p == 'f') {
                return p - 1;
            }
            if (*p == '\0') {
                return NULL;
            }
        }
    }
    return NULL;
}

static bool tells_offset(const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        if (*p == '%') {
            p++;
            if (*p == 'z' || *p == 's') {
                return true;
            }
            if (*p == '\0') {
                return false;
            }
        }
    }
    return false;
}

static bool read_pattern(const struct text *t, const char *pattern, struct reading *ret)
{
    char text[TIMESTAMP_TEXT_MAX];
    size_t len = (size_t)(t->end - t->at);
    memcpy(text, t->at, len);
    text[len] = '\0';
    struct tm tm = {.tm_mday = 1, .tm_year = 70};
    const char *at = text, *rest = pattern, *fraction;
    ret->us = 0;
    while (at && (fraction = find_fraction(rest)) != NULL) {
        at = match_stretch(at, rest, (size_t)(fraction - rest), &tm);
        if (at) {
            struct text digits = {at, text + len};
            at = take_fraction(&digits, &ret->us) ? digits.at : NULL;
        }
        rest = fraction + 2;
    }
    at = at ? match_stretch(at, rest, strlen(rest), &tm) : NULL;
    int year = tm.tm_year + 1900;
    if (!at || at != text + len || year < 1 || year > 9999 || tm.tm_mon < 0 || tm.tm_mon > 11 ||
        tm.tm_mday < 1 || tm.tm_mday > civil_month_days(year, tm.tm_mon + 1)) {
        return false;
    }
    ret->local_s = civil_days(year, tm.tm_mon + 1, tm.tm_mday) * 86400 + tm.tm_hour * 3600 +
                   tm.tm_min * 60 + tm.tm_sec;
    ret->offset_s = tells_offset(pattern) ? (int)tm.tm_gmtoff : NO_OFFSET;
    return true;
}

static bool read_text(const struct timestamp_format *format, const struct text *t,
                      struct reading *ret)
{
    switch (format->kind) {
    case TIMESTAMP_ISO8601:
        return read_iso8601(*t, ret);
    case TIMESTAMP_UNIX:
        return read_count(*t, US_PER_SECOND, ret);
    case TIMESTAMP_UNIX_MS:
        return read_count(*t, 1000, ret);
    case TIMESTAMP_PATTERN:
        return read_pattern(t, format->pattern, ret);
    }
    return false;
}

bool timestamp_parse(const struct timestamp_format *format, const char *text, size_t len,
                     int64_t after_us, int64_t *ret_us)
{
    struct text t = {text, text + len};
    struct reading r;
    while (t.at < t.end && *t.at == ' ') {
        t.at++;
    }
    while (t.end > t.at && t.end[-1] == ' ') {
        t.end--;
    }
    if (t.at == t.end || t.end - t.at >= TIMESTAMP_TEXT_MAX || !read_text(format, &t, &r)) {
        return false;
    }
    int64_t earlier_s, later_s, us;
    if (r.offset_s != NO_OFFSET) {
        earlier_s = later_s = r.local_s - r.offset_s;
    } else {
        zone_to_utc(format->zone, r.local_s, &earlier_s, &later_s);
    }
    us = earlier_s * US_PER_SECOND + r.us;
    if (us <= after_us && later_s != earlier_s) {
        us = later_s * US_PER_SECOND + r.us;
    }
    if (us < US_MIN || us > US_MAX) {
        return false;
    }
    *ret_us = us;
    return true;
}
