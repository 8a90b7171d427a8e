/* Aggregates: the samples of a bucket as one value, in one pass and constant memory.
 *
 * What has no value is left out everywhere, in `count` too: null, NaN and infinities (JSON shows them
 * as null) and samples of bad quality.  Of the rest:
 *
 *   first, last   the value itself, of any type
 *   count         how many, of any type
 *   min, max      the value itself; of equal ones the first
 *   sum           an integer while all are whole and the sum fits 64 bits, else a double
 *   avg           a double
 *   stddev        of the sample (n - 1), a double, by Welford's method; none for less than two
 *
 * Booleans are 0 and 1 in sum, avg and stddev.  Integers are summed exactly in 128 bits, doubles with
 * compensation.  A text, bytes or a container has no min, max, sum, avg, stddev: ERR_INVALID. */
#ifndef HYPRXA_TIMESERIES_AGGREGATE_H
#define HYPRXA_TIMESERIES_AGGREGATE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum aggregate {
    AGGREGATE_NONE,
    AGGREGATE_AVG,
    AGGREGATE_MIN,
    AGGREGATE_MAX,
    AGGREGATE_SUM,
    AGGREGATE_COUNT,
    AGGREGATE_FIRST,
    AGGREGATE_LAST,
    AGGREGATE_STDDEV,
    AGGREGATES
};

extern const char *const aggregate_names[AGGREGATES + 1]; /* "none", "avg", ..., NULL */

__extension__ typedef __int128 aggregate_int;

struct accumulator {
    enum aggregate what;
    int64_t n;
    bool fractional; /* a double was among them */
    aggregate_int whole;
    double sum, compensation;
    double mean, squares; /* of the distances from `origin` */
    struct value origin;
    struct value kept; /* of first, last, min, max */
    struct buf text;   /* what `kept` points to, if it is a text */
};

/* A value that counts at all, and whether it is a number (or a boolean). */
bool sample_has_value(const struct sample *s);
bool value_is_number(const struct value *v);
double value_number(const struct value *v); /* of a number; booleans are 0 and 1 */

void accumulator_init(struct accumulator *a, enum aggregate what);
void accumulator_release(struct accumulator *a);
void accumulator_clear(struct accumulator *a); /* for the next bucket */
/* ERR_INVALID: the value cannot be aggregated so; ERR_NOMEM, ERR_LIMIT: it could not be kept. */
int accumulator_add(struct accumulator *a, const struct sample *s);
/* False: there is none.  Borrowed until the next call. */
bool accumulator_result(const struct accumulator *a, struct value *ret);

#endif
