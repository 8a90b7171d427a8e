#include "timeseries/reading.h"

#include "base/buf.h"
#include "base/time.h"
#include "http/http.h"
#include "http/time_range.h"
#include "timeseries/lttb.h"

#include <stdio.h>
#include <string.h>

/* NULL behind the last, for the table below. */
static const char *const fill_names[] = {[FILL_NONE] = "none",
                                         [FILL_NULL] = "null",
                                         [FILL_PREVIOUS] = "previous",
                                         [FILL_LINEAR] = "linear",
                                         [FILL_LINEAR + 1] = NULL};

const struct http_param reading_params[] = {
    {.name = "interval",
     .summary = "Cut the range into intervals (<int>us|ms|s|m|h|d) and give one value for each; "
                "whole days are local days of `timezone`"},
    {.name = "aggregate",
     .values = aggregate_names + 1,
     .summary = "What is given for an interval"},
    {.name = "fill",
     .values = fill_names + 1,
     .summary = "What is given for an interval without values; default: it is left out"},
    {.also = http_time_params},
};

/* --- single parameters --- */

static void invalid(struct http_request *r, const char *name, const char *msg)
{
    http_invalid_at(r, "query", name, msg, "value_error");
}

/* The index of the parameter's value among the words; 0, whose word is never asked for: not given, or
 * (collected) none of them. */
static int read_word(struct http_request *r, const char *name, const char *const *words, size_t n)
{
    const struct http_loc loc[] = {{"query", 0}, {name, 0}};
    char msg[256], ctx[256];
    const char *text = http_query(r, name);
    if (!text)
        return 0;
    int m = snprintf(msg, sizeof msg, "value is not a valid enumeration member; permitted: ");
    int c = snprintf(ctx, sizeof ctx, "{\"enum_values\":[");
    for (size_t i = 1; i < n; i++) {
        if (strcmp(text, words[i]) == 0)
            return (int)i;
        m += snprintf(msg + m, sizeof msg - (size_t)m, "%s'%s'", i > 1 ? ", " : "", words[i]);
        c += snprintf(ctx + c, sizeof ctx - (size_t)c, "%s\"%s\"", i > 1 ? "," : "", words[i]);
    }
    snprintf(ctx + c, sizeof ctx - (size_t)c, "]}");
    http_invalid(r, loc, 2, msg, "type_error.enum", ctx);
    return 0;
}

/* 0: not given, or (collected) no interval. */
static int64_t read_interval(struct http_request *r)
{
    struct error err = ERROR_INIT;
    int64_t interval_us = 0;
    const char *text = http_query(r, "interval");
    if (!text)
        return 0;
    if (time_parse_duration(text, &interval_us, &err)) {
        invalid(r, "interval", err.message);
        return 0;
    }
    if (interval_us > 0 && interval_us <= BUCKETS_INTERVAL_MAX_US)
        return interval_us;
    invalid(r, "interval", "an interval lies between 1us and 9999 years");
    return 0;
}

static void read_points(struct reading *ret, struct http_request *r)
{
    if (!http_query(r, "points"))
        return;
    char msg[80];
    int64_t points = http_query_int(r, "points", LTTB_POINTS_MIN);
    if (points < LTTB_POINTS_MIN || points > LTTB_POINTS_MAX) {
        snprintf(msg, sizeof msg, "ensure this value is between %d and %d", LTTB_POINTS_MIN,
                 LTTB_POINTS_MAX);
        invalid(r, "points", msg);
        return;
    }
    ret->points = (size_t)points;
}

static int64_t read_limit(struct http_request *r, int64_t otherwise)
{
    int64_t limit = http_query_int(r, "limit", 0);
    if (limit < 0)
        http_invalid_at(r, "query", "limit", "ensure this value is greater than or equal to 0",
                        "value_error.number.not_ge");
    return limit > 0 ? limit : otherwise;
}

/* Taken for compatibility: rows need no expected rate here. */
static void check_scan_rate(struct http_request *r)
{
    static const char *const names[] = {"scanRate", "scan_rate"};
    for (size_t i = 0; i < 2; i++)
        if (http_query_int(r, names[i], 1) < 1)
            http_invalid_at(r, "query", names[i], "ensure this value is greater than 0",
                            "value_error.number.not_gt");
}

/* --- all together --- */

/* What goes with what; looked at only where each parameter alone is fine. */
static void check_combination(struct reading *ret, struct http_request *r, int64_t interval_us)
{
    if (http_is_invalid(r))
        return;
    bool aggregated = ret->query.aggregate != AGGREGATE_NONE;
    if (interval_us && !aggregated)
        invalid(r, "aggregate", "an interval needs an aggregate");
    if (!interval_us && aggregated)
        invalid(r, "interval", "an aggregate needs an interval");
    if (!interval_us && ret->query.fill != FILL_NONE)
        invalid(r, "fill", "there is nothing to fill without an interval");
    if (ret->points && interval_us)
        invalid(r, "points", "points cannot be combined with an interval");
    if (ret->points && http_query(r, "limit"))
        invalid(r, "points", "points cannot be combined with a limit");
    if (ret->quality && interval_us)
        invalid(r, "quality", "buckets have no quality");
}

/* False: answered. */
static bool open_buckets(struct reading *ret, struct http_request *r, int64_t interval_us,
                         int64_t most)
{
    struct error err = ERROR_INIT;
    char msg[160];
    if (buckets_init(&ret->buckets, interval_us, http_query(r, "timezone"), &err)) {
        http_respond_detail(r, 422, err.message);
        return false;
    }
    ret->query.buckets = &ret->buckets;
    int64_t n = buckets_count(&ret->buckets, ret->query.start_us, ret->query.end_us);
    if (n <= most)
        return true;
    snprintf(msg, sizeof msg, "the range has %lld intervals, at most %lld are allowed",
             (long long)n, (long long)most);
    invalid(r, "interval", msg);
    http_respond_if_invalid(r);
    reading_release(ret);
    return false;
}

bool reading_parse(struct reading *ret, struct http_request *r, bool is_file, int64_t max_samples)
{
    struct http_time_range range;
    *ret = (struct reading){0};
    int64_t interval_us = read_interval(r);
    ret->query.aggregate = (enum aggregate)read_word(r, "aggregate", aggregate_names, AGGREGATES);
    ret->query.fill = (enum fill)read_word(r, "fill", fill_names, FILL_LINEAR + 1);
    int64_t limit = 0;
    if (is_file) {
        check_scan_rate(r);
        ret->quality = http_query_bool(r, "quality", false);
        if (http_query(r, "points"))
            invalid(r, "points", "points are of one item: see /samples");
    } else {
        read_points(ret, r);
        int64_t usual = max_samples < SAMPLES_LIMIT_DEFAULT ? max_samples : SAMPLES_LIMIT_DEFAULT;
        limit = read_limit(r, interval_us ? max_samples : usual);
    }
    check_combination(ret, r, interval_us);
    if (http_respond_if_invalid(r))
        return false;
    if (limit > max_samples) {
        char detail[80];
        snprintf(detail, sizeof detail, "Limit cannot be greater than %lld.",
                 (long long)max_samples);
        http_respond_detail(r, 400, detail);
        return false;
    }
    if (!http_query_time_range(r, &range))
        return false;
    ret->limit = (size_t)limit;
    ret->query.start_us = range.start_us;
    ret->query.end_us = range.end_us;
    if (!interval_us)
        return true;
    int64_t most = !is_file ? limit : ret->query.fill ? RECORDED_BUCKETS_MAX : INT64_MAX;
    return open_buckets(ret, r, interval_us, most);
}

void reading_release(struct reading *reading)
{
    buckets_release(&reading->buckets);
}
