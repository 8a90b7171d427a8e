#include "timeseries/buckets.h"

#include "base/time.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <string.h>

TestSuite(buckets, .timeout = 30);

#define HOUR_US (3600 * TIME_US_PER_SECOND)
#define DAY_US  (24 * HOUR_US)

static int64_t at(const char *text)
{
    int64_t us = 0;
    struct error err = ERROR_INIT;
    cr_assert_eq(time_parse(text, "UTC", 0, &us, &err), 0, "%s", err.message);
    return us;
}

struct bucket_case {
    char zone[32];
    int64_t interval_us;
    char time[32], start[32], end[32]; /* UTC */
};

ParameterizedTestParameters(buckets, hold_their_times)
{
    static struct bucket_case cases[] = {
        {"UTC", 10 * TIME_US_PER_SECOND, "2023-11-14T22:13:27", "2023-11-14T22:13:20",
         "2023-11-14T22:13:30"},
        {"UTC", 7 * TIME_US_PER_SECOND, "1970-01-01T00:00:00", "1970-01-01T00:00:00",
         "1970-01-01T00:00:07"},
        {"UTC", 7 * TIME_US_PER_SECOND, "1969-12-31T23:59:59", "1969-12-31T23:59:53",
         "1970-01-01T00:00:00"},
        /* Not of whole days: counted from the epoch in every zone. */
        {"Asia/Kolkata", HOUR_US, "2023-01-01T10:15:00", "2023-01-01T10:00:00",
         "2023-01-01T11:00:00"},
        {"America/New_York", 36 * HOUR_US, "1970-01-02T13:00:00", "1970-01-02T12:00:00",
         "1970-01-04T00:00:00"},
        /* Local days, of 24, 23 and 25 hours. */
        {"Asia/Kolkata", DAY_US, "2023-01-01T20:00:00", "2023-01-01T18:30:00",
         "2023-01-02T18:30:00"},
        {"America/New_York", DAY_US, "2023-03-12T12:00:00", "2023-03-12T05:00:00",
         "2023-03-13T04:00:00"},
        {"America/New_York", DAY_US, "2023-11-05T05:30:00", "2023-11-05T04:00:00",
         "2023-11-06T05:00:00"},
        {"America/New_York", DAY_US, "2023-11-06T04:59:59", "2023-11-05T04:00:00",
         "2023-11-06T05:00:00"},
        {"UTC", 24 * HOUR_US, "2023-11-06T04:59:59", "2023-11-06T00:00:00", "2023-11-07T00:00:00"},
        /* Several days are counted from the local 1970-01-01. */
        {"Asia/Kolkata", 7 * DAY_US, "1970-01-08T00:00:00", "1970-01-07T18:30:00",
         "1970-01-14T18:30:00"},
        {"Asia/Kolkata", 7 * DAY_US, "1970-01-07T18:29:59", "1969-12-31T18:30:00",
         "1970-01-07T18:30:00"},
        /* A midnight that is skipped (the clock jumps from 00:00 to 01:00) ... */
        {"America/Sao_Paulo", DAY_US, "2018-11-04T12:00:00", "2018-11-04T03:00:00",
         "2018-11-05T02:00:00"},
        /* ... and one that comes twice (back from 01:00 to 00:00). */
        {"America/Havana", DAY_US, "2023-11-05T04:30:00", "2023-11-05T04:00:00",
         "2023-11-06T05:00:00"},
        {"America/Havana", DAY_US, "2023-11-05T05:30:00", "2023-11-05T04:00:00",
         "2023-11-06T05:00:00"},
        /* A day that a zone left out belongs to the one before: there is none of length 0. */
        {"Pacific/Apia", DAY_US, "2011-12-30T09:00:00", "2011-12-29T10:00:00",
         "2011-12-30T10:00:00"},
        {"Pacific/Apia", DAY_US, "2011-12-30T10:00:00", "2011-12-30T10:00:00",
         "2011-12-31T10:00:00"},
    };
    return cr_make_param_array(struct bucket_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct bucket_case *c, buckets, hold_their_times)
{
    struct buckets b;
    struct error err = ERROR_INIT;
    char start[TIME_ISO_SIZE], end[TIME_ISO_SIZE];
    cr_assert_eq(buckets_init(&b, c->interval_us, c->zone, &err), 0, "%s", err.message);
    struct bucket bucket = buckets_of(&b, at(c->time));
    time_format_iso(bucket.start_us, start);
    time_format_iso(bucket.end_us, end);
    cr_expect_str_eq(start, c->start, "%s %s: starts at %s", c->zone, c->time, start);
    cr_expect_str_eq(end, c->end, "%s %s: ends at %s", c->zone, c->time, end);
    buckets_release(&b);
}

/* Walking from bucket to bucket misses no time and visits none twice, whatever the zone does. */
static void walk(const char *zone, int64_t interval_us)
{
    struct buckets b;
    struct error err = ERROR_INIT;
    cr_assert_eq(buckets_init(&b, interval_us, zone, &err), 0, "%s", err.message);
    int64_t from = at("2005-01-01"), to = at("2025-01-01");
    struct bucket bucket = buckets_of(&b, from);
    cr_expect(bucket.start_us <= from && from < bucket.end_us);
    int64_t n = 1;
    for (; bucket.end_us <= to; n++) {
        struct bucket next = buckets_after(&b, bucket);
        cr_assert_eq(next.start_us, bucket.end_us);
        cr_assert(next.end_us > next.start_us);
        struct bucket last = buckets_of(&b, next.end_us - 1);
        cr_assert_eq(last.start_us, next.start_us, "%s", zone);
        bucket = next;
    }
    int64_t counted = buckets_count(&b, from, to);
    cr_expect(n <= counted && counted <= n + 1, "%s: %lld of %lld", zone, (long long)n,
              (long long)counted);
    buckets_release(&b);
}

Test(buckets, follow_one_another)
{
    static const char *const zones[] = {"UTC",           "America/New_York",  "America/Sao_Paulo",
                                        "Asia/Kolkata",  "America/Havana",    "Pacific/Apia",
                                        "Europe/Dublin", "Africa/Casablanca", "Asia/Beirut"};
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        walk(zones[i], DAY_US);
        walk(zones[i], 3 * DAY_US);
        walk(zones[i], 11 * HOUR_US);
    }
}

Test(buckets, intervals_at_their_edges)
{
    struct buckets b;
    cr_expect_eq(buckets_init(&b, 0, "UTC", NULL), ERR_INVALID);
    cr_expect_eq(buckets_init(&b, -1, "UTC", NULL), ERR_INVALID);
    cr_expect_eq(buckets_init(&b, BUCKETS_INTERVAL_MAX_US + 1, "UTC", NULL), ERR_INVALID);
    cr_expect_eq(buckets_init(&b, DAY_US, "No/Where", NULL), ERR_NOT_FOUND);
    const int64_t intervals[] = {1, BUCKETS_INTERVAL_MAX_US, BUCKETS_INTERVAL_MAX_US - 1};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(buckets_init(&b, intervals[i], "America/New_York", NULL), 0);
        const int64_t times[] = {TIME_US_MIN, -1, 0, TIME_US_MAX};
        for (size_t k = 0; k < 4; k++) {
            struct bucket bucket = buckets_of(&b, times[k]);
            cr_expect(bucket.start_us <= times[k] && times[k] < bucket.end_us);
        }
        cr_expect_geq(buckets_count(&b, TIME_US_MIN, TIME_US_MAX), 2);
        buckets_release(&b);
    }
}
