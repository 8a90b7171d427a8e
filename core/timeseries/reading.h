/* The parameters of reading back: how /samples and /recorded show what is stored. */
#ifndef HYPRXA_TIMESERIES_READING_H
#define HYPRXA_TIMESERIES_READING_H

#include "http/route.h"
#include "timeseries/column.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_request;

enum {
    SAMPLES_LIMIT_DEFAULT = 5000,
    RECORDED_BUCKETS_MAX = 10 * 1000 * 1000, /* with `fill` */
};

struct reading {
    struct column_query query; /* its `buckets` are the ones below */
    struct buckets buckets;
    size_t limit;  /* /samples: the newest so many */
    size_t points; /* /samples: 0, or by largest-triangle-three-buckets */
    bool quality;  /* /recorded: with columns of quality */
};

/* What it reads beside `limit`, `points`, `quality` and `scanRate`: for the `also` of the routes'. */
extern const struct http_param reading_params[];

/* From the query of the request; `is_file`: of /recorded, else `max_samples` is the largest limit.  Bad values and combinations are answered
 * (422; a limit too large 400 as the original does).  True: release it.  [worker] */
bool reading_parse(struct reading *ret, struct http_request *r, bool is_file, int64_t max_samples);
void reading_release(struct reading *reading);

#endif
