#include "base/time_zone.h"

#include "base/auto.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ZONE_FILE_MAX = 256 * 1024,
    ZONE_NAME_MAX = 64,
    HEADER_SIZE = 44,
    DAY_S = 86400,
};

/* When a rule of the footer falls in a year. */
struct rule {
    char kind; /* 'M': day of week; 'J': day 1-365, no 29 February; 'D': day 0-365 */
    int month, week, day;
    int time_s; /* of local time */
};

struct transition {
    int64_t at_s; /* UTC */
    int32_t offset_s;
};

struct time_zone {
    struct transition *transitions;
    size_t n;
    int32_t first_offset_s; /* before the first of them */
    /* After the last of them. */
    bool has_rule, has_dst;
    int32_t std_offset_s, dst_offset_s;
    struct rule dst_start, dst_end;
};

/* --- the footer: a POSIX TZ string, such as CET-1CEST,M3.5.0,M10.5.0/3 --- */

static bool read_number(const char **p, int max, int *ret)
{
    if (**p < '0' || **p > '9')
        return false;
    int n = 0;
    for (; **p >= '0' && **p <= '9' && n <= max; (*p)++)
        n = n * 10 + (**p - '0');
    *ret = n;
    return n <= max;
}

static bool read_name(const char **p)
{
    const char *start = *p;
    if (*start == '<') {
        const char *end = strchr(start, '>');
        *p = end ? end + 1 : start;
    } else {
        while ((**p >= 'A' && **p <= 'Z') || (**p >= 'a' && **p <= 'z'))
            (*p)++;
    }
    return *p > start;
}

/* [+-]h[:m[:s]] in seconds. */
static bool read_hms(const char **p, int *ret)
{
    int sign = **p == '-' ? -1 : 1, hours, minutes = 0, seconds = 0;
    if (**p == '-' || **p == '+')
        (*p)++;
    if (!read_number(p, 167, &hours))
        return false;
    if (**p == ':' && ((*p)++, !read_number(p, 59, &minutes)))
        return false;
    if (**p == ':' && ((*p)++, !read_number(p, 59, &seconds)))
        return false;
    *ret = sign * (hours * 3600 + minutes * 60 + seconds);
    return true;
}

static bool read_rule(const char **p, struct rule *rule)
{
    *rule = (struct rule){.kind = 'D', .time_s = 2 * 3600};
    if (*(*p)++ != ',')
        return false;
    if (**p == 'M' || **p == 'J')
        rule->kind = *(*p)++;
    if (rule->kind == 'M') {
        if (!read_number(p, 12, &rule->month) || rule->month < 1 || *(*p)++ != '.' ||
            !read_number(p, 5, &rule->week) || rule->week < 1 || *(*p)++ != '.' ||
            !read_number(p, 6, &rule->day))
            return false;
    } else if (!read_number(p, 365, &rule->day)) {
        return false;
    }
    return **p != '/' || ((*p)++, read_hms(p, &rule->time_s));
}

/* RFC 8536: more than -25 hours, less than 26. */
static bool is_offset(int64_t offset_s)
{
    return offset_s > -25 * 3600 && offset_s < 26 * 3600;
}

static bool read_footer(struct time_zone *zone, const char *text)
{
    const char *p = text;
    int west_s;
    if (!read_name(&p) || !read_hms(&p, &west_s))
        return false;
    zone->std_offset_s = -west_s;
    zone->has_rule = true;
    if (!is_offset(zone->std_offset_s))
        return false;
    if (*p == '\0')
        return true;
    zone->has_dst = true;
    zone->dst_offset_s = zone->std_offset_s + 3600;
    if (!read_name(&p))
        return false;
    if (*p && *p != ',') {
        if (!read_hms(&p, &west_s))
            return false;
        zone->dst_offset_s = -west_s;
    }
    return is_offset(zone->dst_offset_s) && read_rule(&p, &zone->dst_start) &&
           read_rule(&p, &zone->dst_end) && *p == '\0';
}

static int64_t day_of(int year, int month, int day)
{
    return time_from_civil(year, month, day, 0, 0, 0, 0) / TIME_US_PER_SECOND / DAY_S;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* When the rule falls in `year`, as local seconds. */
static int64_t rule_local_s(const struct rule *rule, int year)
{
    int64_t day = day_of(year, 1, 1);
    if (rule->kind == 'M') {
        int64_t first = day_of(year, rule->month, 1);
        int64_t next =
            rule->month == 12 ? day_of(year + 1, 1, 1) : day_of(year, rule->month + 1, 1);
        /* 1970-01-01 was a Thursday. */
        int64_t weekday = ((first + 4) % 7 + 7) % 7;
        day = first + (rule->day - weekday + 7) % 7 + (rule->week - 1) * 7;
        if (day >= next)
            day -= 7;
    } else if (rule->kind == 'J') {
        day += rule->day - 1 + (is_leap(year) && rule->day >= 60);
    } else {
        day += rule->day;
    }
    return day * DAY_S + rule->time_s;
}

static int year_of(int64_t local_s)
{
    /* Good to a day, which is near enough: no rule changes at New Year's Eve in both directions. */
    int64_t day = local_s / DAY_S - (local_s % DAY_S < 0);
    int year = (int)(1970 + day * 400 / 146097);
    while (day < day_of(year, 1, 1))
        year--;
    while (day >= day_of(year + 1, 1, 1))
        year++;
    return year;
}

static int32_t rule_offset_s(const struct time_zone *zone, int64_t utc_s)
{
    if (!zone->has_dst)
        return zone->std_offset_s;
    int year = year_of(utc_s + zone->std_offset_s);
    int64_t start = rule_local_s(&zone->dst_start, year) - zone->std_offset_s;
    int64_t end = rule_local_s(&zone->dst_end, year) - zone->dst_offset_s;
    bool dst = start < end ? utc_s >= start && utc_s < end : utc_s >= start || utc_s < end;
    return dst ? zone->dst_offset_s : zone->std_offset_s;
}

/* --- the file --- */

struct header {
    unsigned char version;
    uint32_t isut, isstd, leap, time, type, chars;
};

static uint32_t big32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t big64(const unsigned char *p)
{
    return (int64_t)((uint64_t)big32(p) << 32 | big32(p + 4));
}

static bool read_header(const unsigned char *p, size_t len, struct header *h)
{
    if (len < HEADER_SIZE || memcmp(p, "TZif", 4) != 0)
        return false;
    *h = (struct header){p[4],          big32(p + 20), big32(p + 24), big32(p + 28),
                         big32(p + 32), big32(p + 36), big32(p + 40)};
    return h->isut <= ZONE_FILE_MAX && h->isstd <= ZONE_FILE_MAX && h->leap <= ZONE_FILE_MAX &&
           h->time <= ZONE_FILE_MAX && h->type <= 256 && h->type > 0 && h->chars <= ZONE_FILE_MAX;
}

static size_t body_size(const struct header *h, size_t time_size)
{
    return (size_t)h->time * (time_size + 1) + (size_t)h->type * 6 + h->chars +
           (size_t)h->leap * (time_size + 4) + h->isstd + h->isut;
}

static bool read_transitions(struct time_zone *zone, const struct header *h,
                             const unsigned char *body, size_t time_size)
{
    const unsigned char *indices = body + h->time * time_size, *types = indices + h->time;
    zone->transitions = calloc(h->time + 1, sizeof *zone->transitions);
    if (!zone->transitions)
        return false;
    zone->first_offset_s = (int32_t)big32(types);
    zone->n = h->time;
    if (!is_offset(zone->first_offset_s))
        return false;
    for (size_t i = 0; i < zone->n; i++) {
        const unsigned char *at = body + i * time_size;
        if (indices[i] >= h->type)
            return false;
        zone->transitions[i].at_s = time_size == 8 ? big64(at) : (int32_t)big32(at);
        zone->transitions[i].offset_s = (int32_t)big32(types + 6 * (size_t)indices[i]);
        if (!is_offset(zone->transitions[i].offset_s) ||
            (i > 0 && zone->transitions[i].at_s < zone->transitions[i - 1].at_s))
            return false;
    }
    return true;
}

static bool read_file(struct time_zone *zone, const unsigned char *p, size_t len)
{
    struct header h;
    if (!read_header(p, len, &h) || body_size(&h, 4) > len - HEADER_SIZE)
        return false;
    if (h.version == 0)
        return read_transitions(zone, &h, p + HEADER_SIZE, 4);
    size_t skip = HEADER_SIZE + body_size(&h, 4);
    p += skip;
    len -= skip;
    if (!read_header(p, len, &h) || body_size(&h, 8) > len - HEADER_SIZE)
        return false;
    if (!read_transitions(zone, &h, p + HEADER_SIZE, 8))
        return false;
    skip = HEADER_SIZE + body_size(&h, 8);
    p += skip;
    len -= skip;
    const unsigned char *end = len >= 2 && p[0] == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;
    char footer[128];
    if (!end || (size_t)(end - p) > sizeof footer)
        return false;
    size_t n = (size_t)(end - p) - 1;
    memcpy(footer, p + 1, n);
    footer[n] = '\0';
    return n == 0 || read_footer(zone, footer);
}

int time_zone_parse(const unsigned char *bytes, size_t len, struct time_zone **ret,
                    struct error *err)
{
    *ret = NULL;
    struct time_zone *zone = calloc(1, sizeof *zone);
    if (!zone)
        return error_set(err, ERR_NOMEM, "out of memory");
    if (!read_file(zone, bytes, len)) {
        time_zone_free(zone);
        return error_set(err, ERR_CORRUPT, "a damaged time zone file");
    }
    *ret = zone;
    return 0;
}

void time_zone_free(struct time_zone *zone)
{
    if (!zone)
        return;
    free(zone->transitions);
    free(zone);
}

/* --- finding it --- */

static bool is_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/");
    return len > 0 && len <= ZONE_NAME_MAX && name[len] == '\0' && name[0] != '/' &&
           !strstr(name, "//");
}

/* The whole file, or nothing when it cannot be one of the database. */
static int read_bytes(const char *path, struct buf *content)
{
    struct stat st;
    int rc = ERR_NOT_FOUND, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return rc;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= ZONE_FILE_MAX)
        rc = buf_reserve(content, (size_t)st.st_size);
    while (rc == 0 && content->len < (size_t)st.st_size) {
        ssize_t n = read(fd, content->data + content->len, (size_t)st.st_size - content->len);
        if (n > 0)
            content->len += (size_t)n;
        else if (n == 0 || errno != EINTR)
            rc = ERR_NOT_FOUND;
    }
    close(fd);
    return rc;
}

static int zone_utc(struct time_zone **ret, struct error *err)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : error_set(err, ERR_NOMEM, "out of memory");
}

int time_zone_open(const char *name, struct time_zone **ret, struct error *err)
{
    *ret = NULL;
    bool own = !name || !*name;
    if (own && (name = getenv("TZ")) != NULL && *name == ':')
        name++;
    bool named = name && *name;
    if (named && (strcmp(name, "UTC") == 0 || strcmp(name, "Etc/UTC") == 0))
        return zone_utc(ret, err);
    if (named && !own && !is_name(name))
        return error_set(err, ERR_NOT_FOUND, "unknown time zone '%.64s'", name);

    char path[512] = "/etc/localtime";
    if (named && *name == '/')
        snprintf(path, sizeof path, "%s", name);
    else if (named)
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", name);
    AUTO(buf) content = BUF_INIT(ZONE_FILE_MAX);
    int rc = read_bytes(path, &content);
    bool is_tzif = rc == 0 && content.len >= 4 && memcmp(content.data, "TZif", 4) == 0;
    if (rc != ERR_NOMEM && !is_tzif)
        return own ? zone_utc(ret, err) /* as libc does */
                   : error_set(err, ERR_NOT_FOUND, "unknown time zone '%.64s'", name);
    if (rc)
        return error_set(err, rc, "out of memory");
    rc = time_zone_parse((const unsigned char *)content.data, content.len, ret, err);
    if (rc)
        error_prefix(err, "%s", path);
    return rc;
}

/* --- using it --- */

int64_t time_zone_offset_s(const struct time_zone *zone, int64_t utc_s)
{
    size_t low = 0, high = zone->n; /* the first transition after utc_s */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->transitions[middle].at_s <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->n && zone->has_rule)
        return rule_offset_s(zone, utc_s);
    return low == 0 ? zone->first_offset_s : zone->transitions[low - 1].offset_s;
}

int64_t time_zone_to_utc_s(const struct time_zone *zone, int64_t local_s)
{
    /* No zone is further than a day from UTC, and none changes twice within two. */
    int64_t before = local_s - time_zone_offset_s(zone, local_s - DAY_S);
    int64_t after = local_s - time_zone_offset_s(zone, local_s + DAY_S);
    bool before_fits = before + time_zone_offset_s(zone, before) == local_s;
    bool after_fits = after + time_zone_offset_s(zone, after) == local_s;
    if (before_fits != after_fits)
        return before_fits ? before : after;
    return before > after ? before : after;
}
