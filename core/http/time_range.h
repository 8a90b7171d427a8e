/* The time range of a query: `startTime`, `endTime` and `timezone`, with the client's aliases. */
#ifndef HYPRXA_HTTP_TIME_RANGE_H
#define HYPRXA_HTTP_TIME_RANGE_H

#include "http/route.h"

#include <stdbool.h>
#include <stdint.h>

struct http_request;

struct http_time_range {
    int64_t start_us, end_us; /* both inclusive, start <= end */
};

/* Its parameters, for the `also` of a route's. */
extern const struct http_param http_time_params[];

/* Defaults: an hour ago, and now.  False: a time or zone could not be read, or the start is after
 * the end; the 422 was sent.  [worker] */
bool http_query_time_range(struct http_request *r, struct http_time_range *ret);
/* The same with the defaults that *ret comes with. */
bool http_query_time_bounds(struct http_request *r, struct http_time_range *ret);

#endif
