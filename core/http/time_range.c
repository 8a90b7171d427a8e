#include "http/time_range.h"

#include "base/time.h"
#include "base/time_zone.h"
#include "http/http.h"

#include <stddef.h>

const struct http_param http_time_params[] = {
    {.name = "startTime",
     .type = HTTP_TIME,
     .otherwise = "-1h",
     .summary = "Start of the range, inclusive: a date-time, or relative to now as -15m"},
    {.name = "start_time", .type = HTTP_TIME, .alias_of = "startTime"},
    {.name = "endTime",
     .type = HTTP_TIME,
     .otherwise = "now",
     .summary = "End of the range, inclusive"},
    {.name = "end_time", .type = HTTP_TIME, .alias_of = "endTime"},
    {.name = "timezone",
     .summary = "IANA name of the zone of times without an offset; by default the server's"},
    {0},
};

enum { DEFAULT_RANGE_S = 3600 };

/* False: answered.  The contract has one string for every unreadable time. */
static bool read_time(struct http_request *r, const char *const *names, const char *zone,
                      int64_t now_us, int64_t *ret_us)
{
    struct error err = ERROR_INIT;
    const char *text = http_query_any(r, names);
    int rc = text ? time_parse(text, zone, now_us, ret_us, &err) : 0;
    if (rc == ERR_INVALID)
        http_respond_detail(r, 422, "Unprocessable Entity");
    else if (rc)
        http_respond_error(r, &err);
    return rc == 0;
}

/* Also where no time needs it.  False: answered. */
static bool check_zone(struct http_request *r, const char *name)
{
    struct time_zone *zone = NULL;
    struct error err = ERROR_INIT;
    int rc = name ? time_zone_open(name, &zone, &err) : 0;
    time_zone_free(zone);
    if (rc == ERR_NOT_FOUND)
        http_respond_detail(r, 422, err.message);
    else if (rc)
        http_respond_error(r, &err);
    return rc == 0;
}

bool http_query_time_bounds(struct http_request *r, struct http_time_range *ret)
{
    static const char *const start_names[] = {"startTime", "start_time", NULL};
    static const char *const end_names[] = {"endTime", "end_time", NULL};
    const char *zone = http_query(r, "timezone");
    int64_t now_us = time_now_us();
    if (!check_zone(r, zone) || !read_time(r, start_names, zone, now_us, &ret->start_us) ||
        !read_time(r, end_names, zone, now_us, &ret->end_us))
        return false;
    if (ret->start_us > ret->end_us) {
        http_respond_detail(r, 422, "startTime must not be after endTime.");
        return false;
    }
    return true;
}

bool http_query_time_range(struct http_request *r, struct http_time_range *ret)
{
    ret->end_us = time_now_us();
    ret->start_us = ret->end_us - DEFAULT_RANGE_S * TIME_US_PER_SECOND;
    return http_query_time_bounds(r, ret);
}
