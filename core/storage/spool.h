/* The spool: samples and plugin states on disk until the database has them.
 *
 * A file of rows in the order of arrival.  Used by one thread. */
#ifndef HYPRXA_STORAGE_SPOOL_H
#define HYPRXA_STORAGE_SPOOL_H

#include "storage/remote.h"

struct spool;

/* ERR_UNAVAILABLE, ERR_CORRUPT and so on, as db_open_writer(). */
int spool_open(const char *path, struct spool **ret, struct error *err);
void spool_close(struct spool *s); /* NULL is fine */

/* Make the blocks durable, in their order.  ERR_AGAIN: the disk is full. */
int spool_append(struct spool *s, struct sample_block *const *blocks, size_t n, struct error *err);

/* The oldest row, valid until the next call.  1: there is one, 0: none, negative.  A damaged row is
 * counted, kept aside in the file, and passed over. */
struct spool_row {
    const struct remote_samples *runs;
    size_t n_runs, n_samples;
    const struct remote_state *states; /* of the time after the samples */
    size_t n_states;
};
int spool_oldest(struct spool *s, struct spool_row *ret, struct error *err);
int spool_drop_oldest(struct spool *s, struct error *err);

uint64_t spool_bytes(const struct spool *s);
uint64_t spool_damaged(const struct spool *s);

#endif
