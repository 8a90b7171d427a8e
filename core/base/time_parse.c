#include "base/time.h"

#include "base/time_zone.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* What a text said; what it did not say is -1. */
struct said {
    int year, month, day;
    int hour, minute, second, us;
    bool has_time, has_offset;
    int offset_s;
};

static void skip_spaces(const char **p)
{
    while (**p == ' ' || **p == '\t')
        (*p)++;
}

/* Between `min` and `max` digits. */
static bool read_digits(const char **p, int min, int max, int *ret)
{
    int n = 0, value = 0;
    for (; n < max && (*p)[n] >= '0' && (*p)[n] <= '9'; n++)
        value = value * 10 + ((*p)[n] - '0');
    if (n < min)
        return false;
    *p += n;
    *ret = value;
    return true;
}

static bool read_char(const char **p, char c)
{
    if (**p != c)
        return false;
    (*p)++;
    return true;
}

static size_t count_digits(const char *p)
{
    return strspn(p, "0123456789");
}

/* Which of the names, or of the first three letters of one, stands here; negative: none. */
static int read_name(const char **p, const char *const *names, int n)
{
    size_t len = 0;
    while (isalpha((unsigned char)(*p)[len]))
        len++;
    for (int i = 0; len >= 3 && i < n; i++) {
        if (strncasecmp(*p, names[i], len) == 0 && (len == 3 || names[i][len] == '\0')) {
            *p += len;
            read_char(p, '.');
            return i;
        }
    }
    return -1;
}

static bool read_month_name(const char **p, int *ret)
{
    static const char *const names[] = {"January",   "February", "March",    "April",
                                        "May",       "June",     "July",     "August",
                                        "September", "October",  "November", "December"};
    *ret = read_name(p, names, 12) + 1;
    return *ret > 0;
}

/* `Tue, `: says nothing the date does not. */
static void skip_weekday(const char **p)
{
    static const char *const names[] = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                        "Friday", "Saturday", "Sunday"};
    if (read_name(p, names, 7) < 0)
        return;
    read_char(p, ',');
    skip_spaces(p);
}

static bool read_day_in_words(const char **p, int *ret)
{
    static const char *const endings[] = {"st", "nd", "rd", "th"};
    if (!read_digits(p, 1, 2, ret))
        return false;
    for (size_t i = 0; i < 4; i++)
        if (strncasecmp(*p, endings[i], 2) == 0)
            *p += 2;
    return true;
}

/* `July 4 2023`, `July 4, 2023`, `4 July 2023`. */
static bool read_date_in_words(const char **p, struct said *s)
{
    bool day_first = isdigit((unsigned char)**p);
    if (day_first && !read_day_in_words(p, &s->day))
        return false;
    skip_spaces(p);
    if (!read_month_name(p, &s->month))
        return false;
    skip_spaces(p);
    if (!day_first && !read_day_in_words(p, &s->day))
        return false;
    read_char(p, ',');
    skip_spaces(p);
    return count_digits(*p) == 4 && read_digits(p, 4, 4, &s->year);
}

/* `10:00`, `5pm`, `5 pm` */
static bool is_time(const char *p)
{
    size_t digits = count_digits(p);
    p += digits;
    if (digits == 0 || digits > 2 || *p == ':')
        return digits > 0 && digits <= 2;
    skip_spaces(&p);
    return strncasecmp(p, "am", 2) == 0 || strncasecmp(p, "pm", 2) == 0;
}

/* True with nothing read when the text begins with a time. */
static bool read_date(const char **p, struct said *s)
{
    size_t digits = count_digits(*p);
    char after = (*p)[digits];
    if (digits == 8)
        return read_digits(p, 4, 4, &s->year) && read_digits(p, 2, 2, &s->month) &&
               read_digits(p, 2, 2, &s->day);
    if (digits == 4 && after == '/')
        return read_digits(p, 4, 4, &s->year) && read_char(p, '/') &&
               read_digits(p, 1, 2, &s->month) && read_char(p, '/') && count_digits(*p) <= 2 &&
               read_digits(p, 1, 2, &s->day);
    if (digits == 4 && after == '-') {
        if (!read_digits(p, 4, 4, &s->year) || !read_char(p, '-') || count_digits(*p) > 2 ||
            !read_digits(p, 1, 2, &s->month))
            return false;
        return !read_char(p, '-') || (count_digits(*p) <= 2 && read_digits(p, 1, 2, &s->day));
    }
    if ((digits == 1 || digits == 2) && after == '/')
        return read_digits(p, 1, 2, &s->month) && read_char(p, '/') &&
               read_digits(p, 1, 2, &s->day) && read_char(p, '/') && count_digits(*p) == 4 &&
               read_digits(p, 4, 4, &s->year);
    if (is_time(*p))
        return true;
    return digits <= 2 && read_date_in_words(p, s);
}

/* `am` or `pm` after an hour; *ret_twelve tells whether there was one. */
static bool read_half(const char **p, struct said *s, bool *ret_twelve)
{
    const char *q = *p;
    skip_spaces(&q);
    bool pm = strncasecmp(q, "pm", 2) == 0;
    *ret_twelve = (pm || strncasecmp(q, "am", 2) == 0) && !isalpha((unsigned char)q[2]);
    if (!*ret_twelve)
        return true;
    *p = q + 2;
    if (s->hour < 1 || s->hour > 12)
        return false;
    s->hour = s->hour % 12 + (pm ? 12 : 0);
    return true;
}

static bool read_fraction(const char **p, struct said *s)
{
    if (**p != '.' && **p != ',')
        return true;
    (*p)++;
    size_t digits = count_digits(*p);
    int us = 0;
    for (size_t i = 0; i < 6; i++)
        us = us * 10 + (i < digits ? (*p)[i] - '0' : 0);
    s->us = us;
    *p += digits;
    return digits > 0;
}

/* `17`, `17:30`, `17:30:05.25`, `1730`, `173005`, each with am or pm; an hour alone needs one of them,
 * or a `T` before it. */
static bool read_time(const char **p, struct said *s, bool after_t)
{
    bool twelve = false, colons;
    size_t digits = count_digits(*p);
    s->minute = s->second = s->us = 0;
    s->has_time = true;
    if (!read_digits(p, 1, 2, &s->hour))
        return false;
    colons = **p == ':';
    if (colons || (after_t && digits >= 4)) {
        if ((colons && !read_char(p, ':')) || !read_digits(p, 2, 2, &s->minute))
            return false;
        if (colons ? read_char(p, ':') : digits >= 6) {
            if (!read_digits(p, 2, 2, &s->second) || !read_fraction(p, s))
                return false;
        }
    }
    if (isdigit((unsigned char)**p) || !read_half(p, s, &twelve))
        return false;
    return (colons || twelve || after_t) && s->hour < 24 && s->minute < 60 && s->second < 60;
}

/* `Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`. */
static bool read_offset(const char **p, struct said *s)
{
    if (**p == 'Z' || **p == 'z') {
        (*p)++;
        s->has_offset = true;
        return true;
    }
    if (strncasecmp(*p, "UTC", 3) == 0 || strncasecmp(*p, "GMT", 3) == 0) {
        *p += 3;
        s->has_offset = true;
        return true;
    }
    if (**p != '+' && **p != '-')
        return true;
    int sign = *(*p)++ == '-' ? -1 : 1, hours, minutes = 0;
    size_t digits = count_digits(*p);
    if (!read_digits(p, 2, 2, &hours) || (digits != 2 && digits != 4))
        return false;
    if ((digits == 4 || read_char(p, ':')) && !read_digits(p, 2, 2, &minutes))
        return false;
    s->has_offset = true;
    s->offset_s = sign * (hours * 3600 + minutes * 60);
    return hours < 24 && minutes < 60;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool read_all(const char *p, struct said *s)
{
    *s = (struct said){.year = -1, .month = -1, .day = -1};
    skip_spaces(&p);
    skip_weekday(&p);
    if (!read_date(&p, s))
        return false;
    bool after_t = s->year >= 0 && (*p == 'T' || *p == 't');
    if (after_t)
        p++;
    else if (s->year >= 0)
        read_char(&p, ',');
    skip_spaces(&p);
    if (after_t || isdigit((unsigned char)*p)) {
        if (!read_time(&p, s, after_t))
            return false;
        /* The '+' of an offset, sent unescaped in a URL, arrives as a space; the original system
         * then takes the last time it finds. */
        if (*p == ' ' && count_digits(p + 1) == 2 && p[3] == ':') {
            int us = s->us; /* which that time has none of its own to replace */
            p++;
            if (!read_time(&p, s, false))
                return false;
            s->us = us;
        }
        skip_spaces(&p);
        if (!read_offset(&p, s))
            return false;
        skip_spaces(&p);
    }
    return *p == '\0' && (s->year >= 0 || s->has_time);
}

/* `now`, or `-15m`: so long before now. */
static bool read_relative(const char *text, int64_t now_us, int64_t *ret_us)
{
    int64_t back_us = 0;
    if (strcasecmp(text, "now") != 0 &&
        (text[0] != '-' || time_parse_duration(text + 1, &back_us, NULL) != 0))
        return false;
    *ret_us = back_us > now_us - TIME_US_MIN ? TIME_US_MIN : now_us - back_us;
    return true;
}

/* The date in the zone, now: what a text leaves out of a date is today's. */
static void fill_in_today(struct said *s, const struct time_zone *zone, int64_t now_us)
{
    if (s->year >= 0 && s->day >= 0)
        return;
    int64_t now_s = now_us / TIME_US_PER_SECOND;
    int64_t offset_s = s->has_offset ? s->offset_s : time_zone_offset_s(zone, now_s);
    char today[TIME_ISO_SIZE];
    time_format_iso((now_s + offset_s) * TIME_US_PER_SECOND, today);
    struct said t = {0};
    const char *p = today;
    read_date(&p, &t);
    if (s->year < 0) {
        s->year = t.year;
        s->month = t.month;
        s->day = t.day;
    } else if (s->month >= 1 && s->month <= 12) {
        int last = days_in(s->year, s->month);
        s->day = t.day < last ? t.day : last;
    }
}

int time_parse(const char *text, const char *zone_name, int64_t now_us, int64_t *ret_us,
               struct error *err)
{
    struct said s;
    struct time_zone *zone = NULL;
    if (read_relative(text, now_us, ret_us))
        return 0;
    if (!read_all(text, &s))
        return error_set(err, ERR_INVALID, "'%.64s' cannot be read as a time", text);
    int rc = time_zone_open(zone_name, &zone, err);
    if (rc)
        return rc;
    fill_in_today(&s, zone, now_us);
    if (s.year < 1 || s.month < 1 || s.month > 12 || s.day < 1 ||
        s.day > days_in(s.year, s.month)) {
        rc = error_set(err, ERR_INVALID, "'%.64s' is a date that does not exist", text);
        goto out;
    }
    int64_t local_s =
        time_from_civil(s.year, s.month, s.day, s.hour, s.minute, s.second, 0) / TIME_US_PER_SECOND;
    int64_t utc_s = s.has_offset ? local_s - s.offset_s : time_zone_to_utc_s(zone, local_s);
    int64_t us = utc_s * TIME_US_PER_SECOND + s.us;
    if (us < TIME_US_MIN || us > TIME_US_MAX)
        rc = error_set(err, ERR_INVALID, "'%.64s' is outside the years 1 to 9999", text);
    else
        *ret_us = us;
out:
    time_zone_free(zone);
    return rc;
}

int time_parse_duration(const char *text, int64_t *ret_us, struct error *err)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {
        {"us", 1},
        {"ms", 1000},
        {"s", TIME_US_PER_SECOND},
        {"m", 60 * TIME_US_PER_SECOND},
        {"h", 3600 * TIME_US_PER_SECOND},
        {"d", 86400 * TIME_US_PER_SECOND},
    };
    const char *p = text;
    int64_t count = 0;
    bool digits = false, overflow = false;
    for (; *p >= '0' && *p <= '9'; p++) {
        digits = true;
        overflow |= __builtin_mul_overflow(count, 10, &count) ||
                    __builtin_add_overflow(count, *p - '0', &count);
    }
    for (size_t i = 0; digits && i < sizeof units / sizeof *units; i++) {
        if (strcmp(p, units[i].unit) != 0)
            continue;
        int64_t us;
        if (overflow || __builtin_mul_overflow(count, units[i].us, &us))
            return error_set(err, ERR_INVALID, "duration '%.40s' is too long", text);
        *ret_us = us;
        return 0;
    }
    return error_set(err, ERR_INVALID,
                     "'%.40s' is not a duration: expected a whole number and us, ms, s, m, h or d, "
                     "as in 500ms",
                     text);
}
