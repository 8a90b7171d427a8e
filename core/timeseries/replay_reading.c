#include "timeseries/replay_reading.h"

#include "storage/storage.h"

#include <stdlib.h>

static int fill(struct reading *r, struct error *err)
{
    r->at = 0;
    r->n = storage_samples_next(r->cursor, &r->samples, err);
    return r->n < 0 ? (int)r->n : 0;
}

int reading_open(struct reading *r, struct storage *st, struct series *series, struct error *err)
{
    reading_close(r);
    int rc =
        storage_samples_range(st, series, r->from_us, r->to_us, STORAGE_ASCENDING, &r->cursor, err);
    return rc ? rc : fill(r, err);
}

void reading_close(struct reading *r)
{
    storage_samples_cursor_close(r->cursor);
    r->cursor = NULL;
    r->n = r->at = 0;
    r->wanted = false;
}

const struct sample *reading_head(const struct reading *r)
{
    return r->at < r->n ? &r->samples[r->at] : NULL;
}

int reading_advance(struct reading *r, struct error *err)
{
    return ++r->at < r->n ? 0 : fill(r, err);
}

/* --- the heap --- */

static bool is_before(const struct reading_heap *h, size_t a, size_t b)
{
    const struct reading *x = &h->readings[h->items[a]], *y = &h->readings[h->items[b]];
    int64_t x_us = reading_head(x)->time_us, y_us = reading_head(y)->time_us;
    return x_us != y_us ? x_us < y_us : x->order < y->order;
}

static void sift_down(struct reading_heap *h, size_t at)
{
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < h->n; child++)
            if (is_before(h, child, least))
                least = child;
        if (least == at)
            return;
        size_t swap = h->items[at];
        h->items[at] = h->items[least];
        h->items[least] = swap;
        at = least;
    }
}

int reading_heap_init(struct reading_heap *h, struct reading *readings, size_t n)
{
    *h = (struct reading_heap){.readings = readings};
    h->items = malloc((n ? n : 1) * sizeof *h->items);
    if (!h->items)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (reading_head(&readings[i]))
            h->items[h->n++] = i;
    for (size_t i = h->n / 2; i-- > 0;)
        sift_down(h, i);
    return 0;
}

void reading_heap_release(struct reading_heap *h)
{
    free(h->items);
    *h = (struct reading_heap){0};
}

size_t reading_heap_first(const struct reading_heap *h)
{
    return h->items[0];
}

bool reading_heap_stays_first(const struct reading_heap *h)
{
    if (!reading_head(&h->readings[h->items[0]]))
        return false;
    for (size_t child = 1; child <= 2 && child < h->n; child++)
        if (is_before(h, child, 0))
            return false;
    return true;
}

void reading_heap_settle(struct reading_heap *h)
{
    if (!reading_head(&h->readings[h->items[0]]))
        h->items[0] = h->items[--h->n];
    if (h->n)
        sift_down(h, 0);
}
