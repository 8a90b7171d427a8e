/* Largest-triangle-three-buckets: a few samples that look, plotted, as all of them.
 *
 * Steinarsson's algorithm with buckets of equal numbers of samples, in two passes over samples that
 * need not be in memory: lttb_measure() each, then lttb_select() each, in order of time.  Memory is that of
 * the points kept.  Samples without a value (sample_has_value()) are never chosen in a bucket that has
 * one; a bucket without any gives a null, so that a plot shows the gap. */
#ifndef HYPRXA_TIMESERIES_LTTB_H
#define HYPRXA_TIMESERIES_LTTB_H

#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LTTB_POINTS_MIN = 3, LTTB_POINTS_MAX = 15000 };

/* Of the samples of a bucket that have a value. */
struct lttb_average {
    double x, y;
    size_t n;
};

struct lttb {
    size_t n, points;
    double every; /* samples of a bucket */
    struct lttb_average *averages;
    struct sample *kept; /* the result */
    size_t n_kept;
    /* of the pass under way */
    size_t at;             /* samples seen */
    size_t bucket, border; /* the bucket of the next sample, and the first sample behind it */
    int64_t origin_us;
    double x, y; /* the last point kept that has a value */
    struct sample candidate;
    double area;
    bool any, has_value; /* of the bucket: has a candidate; it has a value */
};

/* `n` samples will come, of which `points` (LTTB_POINTS_MIN to LTTB_POINTS_MAX, less than n) are to be
 * kept.  ERR_NOMEM.  More or fewer may come than said: the borders are then a little off. */
int lttb_init(struct lttb *l, size_t n, size_t points);
void lttb_release(struct lttb *l);
/* Values must be numbers, booleans or absent. */
void lttb_measure(struct lttb *l, const struct sample *s);
void lttb_rewind(struct lttb *l); /* between the passes */
void lttb_select(struct lttb *l, const struct sample *s);
/* After the last sample: l->kept[0] to l->kept[l->n_kept - 1] are the points. */
void lttb_finish(struct lttb *l, const struct sample *last);

#endif
