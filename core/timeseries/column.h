/* A column: one series being read in order of time, as stored or as buckets.
 *
 *     column_init(&c, name, query); column_open(&c, ...); while (!c.at_end) { use c.head; column_next(&c) }
 *
 * Memory is that of a window of the series, however long the range.  Used by one thread. */
#ifndef HYPRXA_TIMESERIES_COLUMN_H
#define HYPRXA_TIMESERIES_COLUMN_H

#include "base/buf.h"
#include "base/error.h"
#include "base/sample.h"
#include "timeseries/aggregate.h"
#include "timeseries/buckets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct storage;
struct storage_sample_cursor;

/* What an empty bucket is shown as; `count` of it is 0 with every one but FILL_NONE. */
enum fill { FILL_NONE /* it is left out */, FILL_NULL, FILL_PREVIOUS, FILL_LINEAR };

struct column_query {
    int64_t start_us, end_us; /* inclusive */
    enum aggregate aggregate; /* AGGREGATE_NONE: the samples themselves */
    enum fill fill;
    const struct buckets *buckets;
};

struct column {
    const struct column_query *query; /* set at init, then const */
    const char *name;                 /* of the data item, for messages */
    const struct sample *head;        /* the sample or bucket it stands at; not set at the end */
    bool at_end;
    struct storage_sample_cursor *cursor;
    const struct sample *samples; /* what the cursor gave last */
    long n, at;
    /* of buckets */
    struct accumulator accumulator;
    struct sample bucket, previous; /* `previous`: the head before; its text is in previous_text */
    struct buf previous_text;
    bool has_previous;
};

void column_init(struct column *c, const char *name, const struct column_query *query);
/* Start reading; stands at the first sample or non-empty bucket afterwards.  `window`: encoded bytes
 * to hold at a time; 0: what storage thinks best. */
int column_open(struct column *c, struct storage *st, struct series *series, size_t window,
                struct error *err);
void column_release(struct column *c);

/* Go to the next sample or non-empty bucket.  ERR_INVALID names an item that cannot be aggregated so;
 * else what storage says. */
int column_next_slow(struct column *c, struct error *err);
static inline int column_next(struct column *c, struct error *err)
{
    if (c->at + 1 < c->n && c->query->aggregate == AGGREGATE_NONE) {
        c->head = &c->samples[++c->at];
        return 0;
    }
    return column_next_slow(c, err);
}

/* The value of an empty bucket that lies before the head, as `fill` says.  Borrowed until the next
 * call. */
void column_fill(const struct column *c, int64_t time_us, struct value *ret);
/* Something in the range was damaged and left out. */
bool column_is_incomplete(const struct column *c);

#endif
