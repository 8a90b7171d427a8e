#include "timeseries/buckets.h"

#include "base/time.h"
#include "base/time_zone.h"

#include <stddef.h>

enum { DAY_S = 86400 };
#define DAY_US (DAY_S * TIME_US_PER_SECOND)

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int buckets_init(struct buckets *b, int64_t interval_us, const char *zone, struct error *err)
{
    *b = (struct buckets){.interval_us = interval_us};
    if (interval_us <= 0 || interval_us > BUCKETS_INTERVAL_MAX_US)
        return error_set(err, ERR_INVALID, "an interval lies between 1us and 9999 years");
    if (interval_us % DAY_US)
        return 0;
    b->days = interval_us / DAY_US;
    return time_zone_open(zone, &b->zone, err);
}

void buckets_release(struct buckets *b)
{
    time_zone_free(b->zone);
    b->zone = NULL;
}

/* --- local days --- */

static int64_t local_day(const struct time_zone *zone, int64_t time_us)
{
    int64_t utc_s = floor_divide(time_us, TIME_US_PER_SECOND);
    return floor_divide(utc_s + time_zone_offset_s(zone, utc_s), DAY_S);
}

/* The first moment of a local day.  A midnight that comes twice is the first of the two, one that is
 * skipped is the moment of the jump. */
static int64_t day_start_us(const struct time_zone *zone, int64_t day)
{
    int64_t local_s = day * DAY_S;
    int64_t start_s = time_zone_to_utc_s(zone, local_s);
    int64_t earlier_s = local_s - time_zone_offset_s(zone, start_s - 1);
    if (earlier_s < start_s && earlier_s + time_zone_offset_s(zone, earlier_s) == local_s)
        start_s = earlier_s;
    return start_s * TIME_US_PER_SECOND;
}

/* The bucket of days from `first` on.  Days that a zone left out have no length: they belong to the
 * bucket behind them. */
static struct bucket days_bucket(const struct buckets *b, int64_t first)
{
    struct bucket bucket = {day_start_us(b->zone, first), 0};
    do {
        first += b->days;
        bucket.end_us = day_start_us(b->zone, first);
    } while (bucket.end_us <= bucket.start_us);
    return bucket;
}

/* --- any bucket --- */

struct bucket buckets_of(const struct buckets *b, int64_t time_us)
{
    if (!b->days) {
        int64_t start_us = floor_divide(time_us, b->interval_us) * b->interval_us;
        return (struct bucket){start_us, start_us + b->interval_us};
    }
    return days_bucket(b, floor_divide(local_day(b->zone, time_us), b->days) * b->days);
}

struct bucket buckets_after(const struct buckets *b, struct bucket bucket)
{
    return buckets_of(b, bucket.end_us);
}

int64_t buckets_count(const struct buckets *b, int64_t start_us, int64_t end_us)
{
    if (!b->days)
        return floor_divide(end_us, b->interval_us) - floor_divide(start_us, b->interval_us) + 1;
    return floor_divide(local_day(b->zone, end_us), b->days) -
           floor_divide(local_day(b->zone, start_us), b->days) + 1;
}
