/* The replay index from the inside: a queue of blocks of entries. */
#ifndef HYPRXA_TIMESERIES_REPLAY_INDEX_PRIV_H
#define HYPRXA_TIMESERIES_REPLAY_INDEX_PRIV_H

#include "base/map.h"
#include "base/thread.h"
#include "timeseries/replay_index.h"

enum { REPLAY_BLOCK = 4096 }; /* entries */

struct replay_block {
    struct replay_entry entries[REPLAY_BLOCK];
};

struct replay_slot {
    int64_t last_us;
};

struct replay_index {
    struct replay_index_options options; /* set at init, then const */
    size_t max_blocks;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct replay_block **blocks; /* the block of entry p is at p / REPLAY_BLOCK % max_blocks */
    uint64_t base, head;          /* positions of the oldest entry (begins a block), the next one */
    uint64_t floor, last;         /* sequence numbers: see struct replay_span */
    uint64_t floor_epoch;
    struct replay_slot *slots;
    size_t n_slots, cap_slots;
    struct map by_identity; /* -> slot number + 1, as a pointer */
    struct map by_series;   /* the pointer's bytes -> slot number + 1 */
    uint64_t dropped;
};

static inline struct replay_entry *replay_entry_at(const struct replay_index *ix, uint64_t position)
{
    return &ix->blocks[position / REPLAY_BLOCK % ix->max_blocks]->entries[position % REPLAY_BLOCK];
}

/* The slot of an identity, made if there is none.  ERR_NOMEM. */
int replay_slot_of(struct replay_index *ix, const char *identity, size_t len, uint32_t *ret);
/* Add an entry that has its number already.  ERR_NOMEM. */
int replay_index_append(struct replay_index *ix, const struct replay_entry *e);

#endif
