/* Time buckets: an interval of time cut into equal parts.
 *
 * A bucket is named by its start and ends before its end.  Buckets shorter than a day, or no whole
 * number of days, are counted from 1970-01-01T00:00:00 UTC.  Whole days are local days of a zone, from
 * midnight to midnight (a day may have 23 or 25 hours); several days together are counted from the
 * local 1970-01-01.  Immutable after buckets_init(). */
#ifndef HYPRXA_TIMESERIES_BUCKETS_H
#define HYPRXA_TIMESERIES_BUCKETS_H

#include "base/error.h"

#include <stdint.h>

struct time_zone;

/* The longest interval: 9999 years. */
#define BUCKETS_INTERVAL_MAX_US INT64_C(315537897600000000)

struct buckets {
    int64_t interval_us;
    int64_t days;           /* the interval as whole days; 0: it is none */
    struct time_zone *zone; /* of days */
};

struct bucket {
    int64_t start_us, end_us; /* end: the next one's start */
};

/* `zone`: an IANA name; NULL or empty: the server's own.  ERR_INVALID: the interval is not between
 * 1 us and the longest; ERR_NOT_FOUND: there is no such zone. */
int buckets_init(struct buckets *b, int64_t interval_us, const char *zone, struct error *err);
void buckets_release(struct buckets *b); /* zeroed is fine */

struct bucket buckets_of(const struct buckets *b,
                         int64_t time_us); /* the one with that time in it */
struct bucket buckets_after(const struct buckets *b, struct bucket bucket);
/* How many buckets the times from start to end lie in. */
int64_t buckets_count(const struct buckets *b, int64_t start_us, int64_t end_us);

#endif
