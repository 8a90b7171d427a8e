/* Reading stored series for a replay: one at a time, or many merged on time. */
#ifndef HYPRXA_TIMESERIES_REPLAY_READING_H
#define HYPRXA_TIMESERIES_REPLAY_READING_H

#include "base/error.h"
#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct storage;
struct storage_sample_cursor;

struct reading {
    int64_t from_us, to_us;
    bool wanted;    /* for reading_open(), which clears it */
    uint64_t order; /* among series of the same time */
    struct storage_sample_cursor *cursor;
    const struct sample *samples;
    long n, at;
};

int reading_open(struct reading *r, struct storage *st, struct series *series, struct error *err);
void reading_close(struct reading *r);
const struct sample *reading_head(const struct reading *r); /* NULL: the end */
int reading_advance(struct reading *r, struct error *err);

/* The readings that have a head, the one of the smallest (time, order) first. */
struct reading_heap {
    struct reading *readings;
    size_t *items; /* numbers of readings */
    size_t n;
};
int reading_heap_init(struct reading_heap *h, struct reading *readings, size_t n); /* ERR_NOMEM */
void reading_heap_release(struct reading_heap *h); /* zeroed is fine */
size_t reading_heap_first(const struct reading_heap *h);
/* The first one has advanced: has it more, and is that still the smallest? */
bool reading_heap_stays_first(const struct reading_heap *h);
void reading_heap_settle(struct reading_heap *h); /* after it has advanced */

#endif
