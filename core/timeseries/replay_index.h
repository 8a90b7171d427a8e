/* The replay index: which samples went live, in the order in which they did.
 *
 * An entry is a message: its sequence number, its series, and the times of its first and last sample.
 * The samples themselves are read again from storage.  The index is bounded by size and age; what is
 * older cannot be replayed exactly.  Sequence numbers are microseconds since 1970, pushed on where two
 * would be equal or the clock has gone back: they strictly rise, also over a restart that could load
 * the index, and tell about when they were given.
 *
 * Who publishes holds the index's lock over taking a number, adding the entry and the hand-over to
 * the broker, so that all three have one order. */
#ifndef HYPRXA_TIMESERIES_REPLAY_INDEX_H
#define HYPRXA_TIMESERIES_REPLAY_INDEX_H

#include "base/error.h"
#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replay_index;

struct replay_index_options {
    uint64_t origin, epoch; /* of this run of the node */
    size_t max_bytes;       /* of entries */
    int64_t max_age_us;
};

/* --- life cycle [control] --- */
int replay_index_new(const struct replay_index_options *options, struct replay_index **ret,
                     struct error *err);
void replay_index_free(struct replay_index *ix); /* NULL is fine */
/* Write all to `path`, for replay_index_load() after a restart.  ERR_IO. */
int replay_index_save(struct replay_index *ix, const char *path, struct error *err);
/* Take what the run before saved, into an index that is still empty, and remove the file, so that no
 * later run can mistake it.  ERR_NOT_FOUND: there is none; ERR_CORRUPT: damaged, or of another origin
 * or a later run; the index stays empty then. */
int replay_index_load(struct replay_index *ix, const char *path, struct error *err);

/* --- publishing [any], one thread per series --- */

/* Before the samples of `block` are stored: from now on whoever replays by time leaves to the entries
 * what is not before them.  ERR_NOMEM. */
int replay_index_announce(struct replay_index *ix, const struct sample_block *block);

struct replay_entry {
    uint64_t sequence;
    int64_t first_us, last_us;
    uint32_t slot; /* the series' number in the index */
    uint32_t n;    /* samples */
};
void replay_index_lock(struct replay_index *ix);
/* Add an announced series' samples; returns the sequence number.  Without memory the index begins anew
 * behind it: whoever resumes from before is told of a gap. */
uint64_t replay_index_add_locked(struct replay_index *ix, const struct series *series,
                                 const struct sample *samples, size_t n);
void replay_index_unlock(struct replay_index *ix);

/* --- replaying [any] --- */

/* The series that one replay wants. */
struct replay_want {
    struct series *const *series;
    size_t n;
    uint32_t *slots;  /* of each; REPLAY_NO_SLOT: not seen yet */
    uint32_t *wanted; /* slot -> number in `series` + 1, or 0 */
    size_t n_wanted;
};
#define REPLAY_NO_SLOT UINT32_MAX
int replay_want_init(struct replay_want *w, struct series *const *series, size_t n); /* ERR_NOMEM */
void replay_want_release(struct replay_want *w); /* zeroed is fine */

/* Where the index stands. */
struct replay_span {
    uint64_t floor; /* behind this number every message is there */
    uint64_t head;  /* the last number given; all that was published has it or an earlier one */
    uint64_t epoch; /* the first run that the index covers */
};
/* `ret_last_us` (may be NULL) gets for each wanted series the time of its last entry, or of the last
 * sample before the first one announced; it is left alone where nothing was announced. */
struct replay_span replay_index_span(struct replay_index *ix, struct replay_want *w,
                                     int64_t *ret_last_us);
/* Entries of the wanted series behind number `after`, oldest first; `slot` is their number in
 * w->series.  *ret_reached is how far was looked, *ret_end whether that is the head.  ERR_NOT_FOUND:
 * `after` lies before the floor.  ERR_NOMEM. */
int replay_index_read(struct replay_index *ix, struct replay_want *w, uint64_t after,
                      struct replay_entry *out, size_t max, size_t *ret_n, uint64_t *ret_reached,
                      bool *ret_end);

struct replay_index_stats {
    size_t entries, bytes;
    uint64_t dropped; /* entries given up for want of room or for their age */
    int64_t age_us;   /* of the oldest */
};
void replay_index_get_stats(struct replay_index *ix, struct replay_index_stats *ret);

#endif
