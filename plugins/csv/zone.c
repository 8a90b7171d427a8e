#include "zone.h"

#include "civil.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ZONE_FILE_MAX = 1 << 20,
    ZONE_LAST_YEAR = 2500,
    ZONE_HEADER_SIZE = 44,
    SECONDS_PER_DAY = 86400,
};

struct transition {
    int64_t at_s;     /* UTC */
    int32_t offset_s; /* east of Greenwich, from `at_s` on */
};

struct zone {
    int32_t first_offset_s; /* before the first transition */
    size_t n;
    struct transition *transitions;
};

/* A day of the year in the notation of POSIX TZ. */
struct rule_day {
    char kind; /* 'M': week and weekday of a month, 'J': 1-365 without 29 February, 'n': 0-365 */
    int month, week, day;
    int32_t time_s; /* local time of day; may be negative or beyond a day */
};

struct rule {
    int32_t standard_s, daylight_s; /* offsets east of Greenwich */
    bool has_daylight;
    struct rule_day start, end;
};

/* --- the TZif file --- */

static uint32_t big_endian_32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t big_endian_64(const unsigned char *p)
{
    return (int64_t)((uint64_t)big_endian_32(p) << 32 | big_endian_32(p + 4));
}

struct tzif {
    uint32_t n_utc, n_standard, n_leap, n_times, n_types, n_chars;
};

/* False unless `p` starts with a TZif header whose counts a file of this size can hold. */
static bool read_header(const unsigned char *p, size_t len, struct tzif *ret)
{
    if (len < ZONE_HEADER_SIZE || memcmp(p, "TZif", 4) != 0) {
        return false;
    }
    ret->n_utc = big_endian_32(p + 20);
    ret->n_standard = big_endian_32(p + 24);
    ret->n_leap = big_endian_32(p + 28);
    ret->n_times = big_endian_32(p + 32);
    ret->n_types = big_endian_32(p + 36);
    ret->n_chars = big_endian_32(p + 40);
    return ret->n_utc <= len && ret->n_standard <= len && ret->n_leap <= len &&
           ret->n_times <= len && ret->n_types <= len && ret->n_chars <= len && ret->n_types > 0;
}

static size_t body_size(const struct tzif *h, size_t time_size)
{
    return h->n_times * (time_size + 1) + (size_t)h->n_types * 6 + h->n_chars +
           h->n_leap * (time_size + 4) + h->n_standard + h->n_utc;
}

/* --- the closing rule, a POSIX TZ text such as EST5EDT,M3.2.0,M11.1.0 --- */

static bool parse_number(const char **text, int max, int *ret)
{
    const char *p = *text;
    int value = 0;
    if (!isdigit((unsigned char)*p)) {
        return false;
    }
    for (; isdigit((unsigned char)*p); p++) {
        value = value * 10 + (*p - '0');
        if (value > max) {
            return false;
        }
    }
    *text = p;
    *ret = value;
    return true;
}

/* [+-]hh[:mm[:ss]] */
static bool parse_clock(const char **text, int32_t *ret_s)
{
    int sign = 1, hours = 0, minutes = 0, seconds = 0;
    if (**text == '+' || **text == '-') {
        sign = *(*text)++ == '-' ? -1 : 1;
    }
    if (!parse_number(text, 167, &hours)) {
        return false;
    }
    if (**text == ':') {
        (*text)++;
        if (!parse_number(text, 59, &minutes)) {
            return false;
        }
        if (**text == ':') {
            (*text)++;
            if (!parse_number(text, 60, &seconds)) {
                return false;
            }
        }
    }
    *ret_s = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool skip_name(const char **text)
{
    const char *p = *text;
    if (*p == '<') {
        p = strchr(p, '>');
        if (!p) {
            return false;
        }
        *text = p + 1;
        return true;
    }
    while (isalpha((unsigned char)*p)) {
        p++;
    }
    bool found = p > *text;
    *text = p;
    return found;
}

static bool parse_day(const char **text, struct rule_day *ret)
{
    ret->time_s = 2 * 3600;
    ret->kind = 'n';
    if (**text == 'M' || **text == 'J') {
        ret->kind = *(*text)++;
    }
    if (ret->kind == 'M') {
        if (!parse_number(text, 12, &ret->month) || *(*text)++ != '.' ||
            !parse_number(text, 5, &ret->week) || *(*text)++ != '.' ||
            !parse_number(text, 6, &ret->day) || ret->month < 1 || ret->week < 1) {
            return false;
        }
    } else if (!parse_number(text, 365, &ret->day)) {
        return false;
    }
    if (**text == '/') {
        (*text)++;
        return parse_clock(text, &ret->time_s);
    }
    return true;
}

static bool parse_rule(const char *text, struct rule *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (!skip_name(&text) || !parse_clock(&text, &ret->standard_s)) {
        return false;
    }
    ret->standard_s = -ret->standard_s; /* POSIX counts west of Greenwich */
    if (*text == '\0') {
        return true;
    }
    ret->has_daylight = true;
    ret->daylight_s = ret->standard_s + 3600;
    if (!skip_name(&text)) {
        return false;
    }
    if (*text != ',') {
        if (!parse_clock(&text, &ret->daylight_s)) {
            return false;
        }
        ret->daylight_s = -ret->daylight_s;
    }
    return *text++ == ',' && parse_day(&text, &ret->start) && *text++ == ',' &&
           parse_day(&text, &ret->end) && *text == '\0';
}

/* Local midnight of the day that `d` names in `year`, plus its time of day. */
static int64_t rule_local_s(const struct rule_day *d, int year)
{
    int64_t day;
    if (d->kind == 'M') {
        int64_t first = civil_days(year, d->month, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* day 0 was a Thursday */
        day = first + (d->day - weekday + 7) % 7 + (int64_t)(d->week - 1) * 7;
        while (day >= first + civil_month_days(year, d->month)) {
            day -= 7; /* week 5 means the last one */
        }
    } else {
        day = civil_days(year, 1, 1) + d->day;
        if (d->kind == 'J') {
            day += d->day > 59 && civil_is_leap(year) ? 0 : -1;
        }
    }
    return day * SECONDS_PER_DAY + d->time_s;
}

/* Append the transitions of `rule` after the last explicit one. */
static bool expand_rule(struct zone *z, const struct rule *rule)
{
    int64_t last_s = z->n ? z->transitions[z->n - 1].at_s : INT64_MIN;
    int year = 1970;
    while (z->n && year < ZONE_LAST_YEAR &&
           civil_days(year + 1, 1, 1) * SECONDS_PER_DAY <= last_s) {
        year++;
    }
    size_t room = z->n + 2 * (size_t)(ZONE_LAST_YEAR - year + 1);
    struct transition *grown = realloc(z->transitions, room * sizeof(*grown));
    if (!grown) {
        return false;
    }
    z->transitions = grown;
    for (; year <= ZONE_LAST_YEAR; year++) {
        struct transition pair[2] = {
            {rule_local_s(&rule->start, year) - rule->standard_s, rule->daylight_s},
            {rule_local_s(&rule->end, year) - rule->daylight_s, rule->standard_s}};
        int first = pair[0].at_s <= pair[1].at_s ? 0 : 1; /* south of the equator it ends first */
        for (int i = 0; i < 2; i++) {
            const struct transition *t = &pair[i ^ first];
            if (t->at_s > last_s) {
                z->transitions[z->n++] = *t;
                last_s = t->at_s;
            }
        }
    }
    return true;
}

/* --- building --- */

/* The 64-bit body `p` and the footer behind it.  Returns NULL or what is wrong. */
static const char *read_body(struct zone *z, const struct tzif *h, const unsigned char *p,
                             size_t len)
{
    size_t size = body_size(h, 8);
    if (size + 2 > len) {
        return "the zone file is cut short";
    }
    const unsigned char *kinds = p + (size_t)h->n_times * 8;
    const unsigned char *types = kinds + h->n_times;
    z->first_offset_s = (int32_t)big_endian_32(types);
    z->transitions = calloc(h->n_times ? h->n_times : 1, sizeof(*z->transitions));
    if (!z->transitions) {
        return "out of memory";
    }
    for (size_t i = 0; i < h->n_times; i++) {
        if (kinds[i] >= h->n_types) {
            return "the zone file is damaged";
        }
        z->transitions[i].at_s = big_endian_64(p + i * 8);
        z->transitions[i].offset_s = (int32_t)big_endian_32(types + (size_t)kinds[i] * 6);
        if (i > 0 && z->transitions[i].at_s <= z->transitions[i - 1].at_s) {
            return "the zone file is damaged";
        }
    }
    z->n = h->n_times;
    const unsigned char *footer = p + size + 1;
    const unsigned char *end = memchr(footer, '\n', len - size - 1);
    char text[128];
    if (p[size] != '\n' || !end || (size_t)(end - footer) >= sizeof(text)) {
        return "the zone file is damaged";
    }
    memcpy(text, footer, (size_t)(end - footer));
    text[end - footer] = '\0';
    struct rule rule;
    if (text[0] == '\0') {
        return NULL; /* the zone makes no promise for the future: its last offset stays */
    }
    if (!parse_rule(text, &rule)) {
        return "the zone file has an unreadable rule";
    }
    if (rule.has_daylight && !expand_rule(z, &rule)) {
        return "out of memory";
    }
    return NULL;
}

static const char *read_file(struct zone *z, const unsigned char *p, size_t len)
{
    struct tzif h;
    if (!read_header(p, len, &h)) {
        return "not a zone file";
    }
    size_t skip = ZONE_HEADER_SIZE + body_size(&h, 4);
    if (p[4] < '2' || skip > len || !read_header(p + skip, len - skip, &h)) {
        return "the zone file is of the old 32-bit kind or damaged";
    }
    return read_body(z, &h, p + skip + ZONE_HEADER_SIZE, len - skip - ZONE_HEADER_SIZE);
}

static bool is_plain_name(const char *name)
{
    if (name[0] == '\0' || name[0] == '/' || strstr(name, "..")) {
        return false;
    }
    for (const char *p = name; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("_+-/", *p)) {
            return false;
        }
    }
    return true;
}

struct zone *zone_open(const char *dir, const char *name, char *message, size_t message_size)
{
    struct zone *z = calloc(1, sizeof(*z));
    unsigned char *bytes = NULL;
    FILE *file = NULL;
    const char *problem = NULL;
    if (!z) {
        problem = "out of memory";
        goto out;
    }
    if (strcmp(name, "UTC") == 0) {
        goto out;
    }
    char path[512];
    int n = snprintf(path, sizeof(path), "%s/%s", dir ? dir : "/usr/share/zoneinfo", name);
    if (!is_plain_name(name) || n < 0 || (size_t)n >= sizeof(path)) {
        problem = "not the name of a time zone";
        goto out;
    }
    file = fopen(path, "rbe");
    bytes = malloc(ZONE_FILE_MAX);
    if (!file || !bytes) {
        problem = file ? "out of memory" : strerror(errno);
        goto out;
    }
    problem = read_file(z, bytes, fread(bytes, 1, ZONE_FILE_MAX, file));
out:
    if (file) {
        fclose(file);
    }
    free(bytes);
    if (problem) {
        snprintf(message, message_size, "time zone '%s': %s", name, problem);
        zone_free(z);
        return NULL;
    }
    return z;
}

void zone_free(struct zone *zone)
{
    if (zone) {
        free(zone->transitions);
        free(zone);
    }
}

static int32_t offset_at(const struct zone *z, int64_t utc_s)
{
    size_t low = 0, high = z->n; /* the number of transitions at or before utc_s */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->transitions[middle].at_s <= utc_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low ? z->transitions[low - 1].offset_s : z->first_offset_s;
}

void zone_to_utc(const struct zone *zone, int64_t local_s, int64_t *ret_earlier_s,
                 int64_t *ret_later_s)
{
    int32_t before = offset_at(zone, local_s - SECONDS_PER_DAY);
    int32_t after = offset_at(zone, local_s + SECONDS_PER_DAY);
    int64_t with_before = local_s - before, with_after = local_s - after;
    bool before_fits = offset_at(zone, with_before) == before;
    bool after_fits = offset_at(zone, with_after) == after;
    if (before_fits == after_fits) {
        int64_t low = with_before < with_after ? with_before : with_after;
        int64_t high = with_before < with_after ? with_after : with_before;
        *ret_later_s = high;
        *ret_earlier_s = before_fits ? low : high;
    } else {
        *ret_earlier_s = *ret_later_s = before_fits ? with_before : with_after;
    }
}
