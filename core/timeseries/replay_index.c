#include "base/buf.h"
#include "base/time.h"
#include "timeseries/replay_index_priv.h"

#include <stdlib.h>
#include <string.h>

enum { SCAN_AT_ONCE = 16 * 1024 }; /* entries looked at under one lock */

/* --- life cycle --- */

int replay_index_new(const struct replay_index_options *options, struct replay_index **ret,
                     struct error *err)
{
    struct replay_index *ix = calloc(1, sizeof *ix);
    if (!ix)
        return error_set(err, ERR_NOMEM, "out of memory for the replay index");
    ix->options = *options;
    ix->max_blocks = options->max_bytes / sizeof(struct replay_block);
    if (ix->max_blocks < 2)
        ix->max_blocks = 2;
    ix->blocks = calloc(ix->max_blocks, sizeof *ix->blocks);
    if (!ix->blocks) {
        free(ix);
        return error_set(err, ERR_NOMEM, "out of memory for the replay index");
    }
    ix->floor = ix->last = (uint64_t)time_now_us();
    ix->floor_epoch = options->epoch;
    lock_init(&ix->lock);
    map_init(&ix->by_identity);
    map_init(&ix->by_series);
    *ret = ix;
    return 0;
}

void replay_index_free(struct replay_index *ix)
{
    if (!ix)
        return;
    for (size_t i = 0; i < ix->max_blocks; i++)
        free(ix->blocks[i]);
    free(ix->blocks);
    free(ix->slots);
    map_release(&ix->by_identity, NULL);
    map_release(&ix->by_series, NULL);
    pthread_mutex_destroy(&ix->lock);
    free(ix);
}

/* --- slots --- */

static void *as_value(uint32_t slot)
{
    return (void *)((uintptr_t)slot + 1);
}

static uint32_t from_value(const void *value)
{
    return value ? (uint32_t)((uintptr_t)value - 1) : REPLAY_NO_SLOT;
}

static int add_slot(struct replay_index *ix, const char *identity, size_t len)
{
    if (ix->n_slots == ix->cap_slots) {
        size_t cap = ix->cap_slots ? ix->cap_slots * 2 : 64;
        struct replay_slot *slots = realloc(ix->slots, cap * sizeof *slots);
        if (!slots)
            return ERR_NOMEM;
        ix->slots = slots;
        ix->cap_slots = cap;
    }
    if (map_set(&ix->by_identity, identity, len, as_value((uint32_t)ix->n_slots), NULL))
        return ERR_NOMEM;
    ix->slots[ix->n_slots++] = (struct replay_slot){.last_us = INT64_MIN};
    return 0;
}

int replay_slot_of(struct replay_index *ix, const char *identity, size_t len, uint32_t *ret)
{
    uint32_t slot = from_value(map_get(&ix->by_identity, identity, len));
    if (slot == REPLAY_NO_SLOT) {
        slot = (uint32_t)ix->n_slots;
        if (add_slot(ix, identity, len))
            return ERR_NOMEM;
    }
    *ret = slot;
    return 0;
}

/* By the series itself, or the first time by what it is.  REPLAY_NO_SLOT: there is none, and none was
 * to be made, or no memory. */
static uint32_t find_slot(struct replay_index *ix, const struct series *series, bool make)
{
    uint32_t slot = from_value(map_get(&ix->by_series, &series, sizeof(const struct series *)));
    if (slot != REPLAY_NO_SLOT)
        return slot;
    struct buf identity = BUF_INIT(SIZE_MAX / 2);
    buf_append(&identity, series->source, strlen(series->source) + 1);
    if (buf_append(&identity, series->canonical, series->canonical_len) == 0) {
        slot = from_value(map_get(&ix->by_identity, identity.data, identity.len));
        if (slot == REPLAY_NO_SLOT && make &&
            replay_slot_of(ix, identity.data, identity.len, &slot))
            slot = REPLAY_NO_SLOT;
    }
    buf_release(&identity);
    if (slot != REPLAY_NO_SLOT)
        map_set(&ix->by_series, &series, sizeof(const struct series *), as_value(slot), NULL);
    return slot;
}

int replay_index_announce(struct replay_index *ix, const struct sample_block *block)
{
    int rc = 0;
    pthread_mutex_lock(&ix->lock);
    for (size_t i = 0; i < block->n_runs && !rc; i++) {
        const struct sample_run *run = &block->runs[i];
        uint32_t slot = find_slot(ix, run->series, true);
        if (slot == REPLAY_NO_SLOT)
            rc = ERR_NOMEM;
        else if (ix->slots[slot].last_us == INT64_MIN && run->n)
            ix->slots[slot].last_us = block->samples[run->first].time_us - 1;
    }
    pthread_mutex_unlock(&ix->lock);
    return rc;
}

/* --- entries --- */

/* Give up the oldest block; it may be the one being filled. */
static void drop_block(struct replay_index *ix)
{
    uint64_t end = ix->base + REPLAY_BLOCK < ix->head ? ix->base + REPLAY_BLOCK : ix->head;
    struct replay_block **block = &ix->blocks[ix->base / REPLAY_BLOCK % ix->max_blocks];
    ix->floor = replay_entry_at(ix, end - 1)->sequence;
    ix->dropped += end - ix->base;
    free(*block);
    *block = NULL;
    ix->base += REPLAY_BLOCK;
    if (ix->head < ix->base)
        ix->head = ix->base;
}

static bool is_too_old(const struct replay_index *ix, int64_t now_us)
{
    return ix->head - ix->base > REPLAY_BLOCK &&
           (int64_t)replay_entry_at(ix, ix->base + REPLAY_BLOCK - 1)->sequence <
               now_us - ix->options.max_age_us;
}

int replay_index_append(struct replay_index *ix, const struct replay_entry *e)
{
    if (ix->head % REPLAY_BLOCK == 0) {
        while (ix->head - ix->base >= ix->max_blocks * REPLAY_BLOCK ||
               is_too_old(ix, (int64_t)e->sequence))
            drop_block(ix);
        struct replay_block *block = malloc(sizeof *block);
        if (!block)
            return ERR_NOMEM;
        ix->blocks[ix->head / REPLAY_BLOCK % ix->max_blocks] = block;
    }
    *replay_entry_at(ix, ix->head++) = *e;
    return 0;
}

void replay_index_lock(struct replay_index *ix)
{
    pthread_mutex_lock(&ix->lock);
}

void replay_index_unlock(struct replay_index *ix)
{
    pthread_mutex_unlock(&ix->lock);
}

/* Nothing up to the last number can be replayed any more. */
static void begin_anew(struct replay_index *ix)
{
    while (ix->base < ix->head)
        drop_block(ix);
    ix->floor = ix->last;
}

uint64_t replay_index_add_locked(struct replay_index *ix, const struct series *series,
                                 const struct sample *samples, size_t n)
{
    uint64_t now = (uint64_t)time_now_us();
    ix->last = now > ix->last ? now : ix->last + 1;
    struct replay_entry e = {.sequence = ix->last,
                             .first_us = samples[0].time_us,
                             .last_us = samples[n - 1].time_us,
                             .slot = find_slot(ix, series, true),
                             .n = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX};
    if (e.slot == REPLAY_NO_SLOT || replay_index_append(ix, &e))
        begin_anew(ix);
    else
        ix->slots[e.slot].last_us = e.last_us;
    return ix->last;
}

/* --- what a replay wants --- */

int replay_want_init(struct replay_want *w, struct series *const *series, size_t n)
{
    *w = (struct replay_want){.series = series, .n = n};
    w->slots = malloc((n ? n : 1) * sizeof *w->slots);
    if (!w->slots)
        return ERR_NOMEM;
    memset(w->slots, 0xff, n * sizeof *w->slots); /* REPLAY_NO_SLOT */
    return 0;
}

void replay_want_release(struct replay_want *w)
{
    free(w->slots);
    free(w->wanted);
    *w = (struct replay_want){0};
}

static int grow_wanted(struct replay_want *w, size_t n_slots)
{
    if (n_slots <= w->n_wanted)
        return 0;
    uint32_t *wanted = realloc(w->wanted, n_slots * sizeof *wanted);
    if (!wanted)
        return ERR_NOMEM;
    memset(wanted + w->n_wanted, 0, (n_slots - w->n_wanted) * sizeof *wanted);
    w->wanted = wanted;
    w->n_wanted = n_slots;
    return 0;
}

/* Find the slots of those series that had none when looked at last. */
static int resolve(struct replay_index *ix, struct replay_want *w)
{
    if (grow_wanted(w, ix->n_slots))
        return ERR_NOMEM;
    for (size_t i = 0; i < w->n; i++) {
        if (w->slots[i] != REPLAY_NO_SLOT)
            continue;
        w->slots[i] = find_slot(ix, w->series[i], false);
        if (w->slots[i] != REPLAY_NO_SLOT)
            w->wanted[w->slots[i]] = (uint32_t)i + 1;
    }
    return 0;
}

struct replay_span replay_index_span(struct replay_index *ix, struct replay_want *w,
                                     int64_t *ret_last_us)
{
    pthread_mutex_lock(&ix->lock);
    struct replay_span span = {ix->floor, ix->last, ix->floor_epoch};
    for (size_t i = 0; i < w->n && ret_last_us; i++) {
        uint32_t slot = find_slot(ix, w->series[i], false);
        if (slot != REPLAY_NO_SLOT && ix->slots[slot].last_us != INT64_MIN)
            ret_last_us[i] = ix->slots[slot].last_us;
    }
    pthread_mutex_unlock(&ix->lock);
    return span;
}

/* The first entry whose number is greater than `after`. */
static uint64_t find_behind(const struct replay_index *ix, uint64_t after)
{
    uint64_t from = ix->base, to = ix->head;
    while (from < to) {
        uint64_t middle = from + (to - from) / 2;
        if (replay_entry_at(ix, middle)->sequence <= after)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

static int read_locked(struct replay_index *ix, struct replay_want *w, uint64_t after,
                       struct replay_entry *out, size_t max, size_t *ret_n, uint64_t *ret_reached,
                       bool *ret_end)
{
    if (after < ix->floor)
        return ERR_NOT_FOUND;
    if (resolve(ix, w))
        return ERR_NOMEM;
    size_t n = 0, scanned = 0;
    uint64_t reached = after, p = find_behind(ix, after);
    for (; p < ix->head && n < max && scanned < SCAN_AT_ONCE; p++, scanned++) {
        const struct replay_entry *e = replay_entry_at(ix, p);
        reached = e->sequence;
        if (!w->wanted[e->slot])
            continue;
        out[n] = *e;
        out[n++].slot = w->wanted[e->slot] - 1;
    }
    *ret_n = n;
    *ret_end = p == ix->head;
    *ret_reached = *ret_end ? ix->last : reached;
    return 0;
}

int replay_index_read(struct replay_index *ix, struct replay_want *w, uint64_t after,
                      struct replay_entry *out, size_t max, size_t *ret_n, uint64_t *ret_reached,
                      bool *ret_end)
{
    pthread_mutex_lock(&ix->lock);
    int rc = read_locked(ix, w, after, out, max, ret_n, ret_reached, ret_end);
    pthread_mutex_unlock(&ix->lock);
    return rc;
}

void replay_index_get_stats(struct replay_index *ix, struct replay_index_stats *ret)
{
    pthread_mutex_lock(&ix->lock);
    size_t n = (size_t)(ix->head - ix->base);
    *ret = (struct replay_index_stats){
        .entries = n,
        .bytes = n * sizeof(struct replay_entry),
        .dropped = ix->dropped,
        .age_us = n ? time_now_us() - (int64_t)replay_entry_at(ix, ix->base)->sequence : 0,
    };
    pthread_mutex_unlock(&ix->lock);
}
