/* The queue between the connections of an integration and its taker, bounded in samples and bytes.
 *
 * Room is reserved before a block is built, so that a full queue costs no work and filling the block
 * needs no lock.  Publishers that wait are served in the order they came.  News (no samples) always
 * fit.  One taker. */
#ifndef HYPRXA_PLUGIN_HOST_QUEUE_H
#define HYPRXA_PLUGIN_HOST_QUEUE_H

#include "base/sample.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct news; /* an announcement of the integration; integration_priv.h */

struct queue_entry { /* exactly one is set */
    struct sample_block *block;
    struct news *news;
};

/* One per publisher; waits for room. */
struct queue_waiter {
    pthread_cond_t room;
    struct queue_waiter *next;
    bool canceled; /* guarded by the queue's lock; for good */
};

struct queue {
    /* set at init, then const */
    size_t max_samples, max_bytes;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t filled;
    struct queue_entry *ring;
    size_t cap, first, n;
    size_t promised; /* places in the ring that a push may rely on */
    size_t samples, bytes;
    struct queue_waiter *waiters, **waiters_end;
    bool woken, closed;
};

void queue_init(struct queue *q, size_t max_samples, size_t max_bytes);
void queue_release(struct queue *q); /* of an empty or a full one; unrefs blocks, leaves news */

void queue_waiter_init(struct queue_waiter *w);
void queue_waiter_release(struct queue_waiter *w);
/* End w's wait, and every later one, with ERR_CLOSED.  [any] */
void queue_cancel(struct queue *q, struct queue_waiter *w);

/* Reserve room and a place for one block, waiting up to `timeout_ms` (-1: for ever).  ERR_AGAIN: full;
 * ERR_CLOSED: canceled or closed; ERR_LIMIT: could never fit; ERR_NOMEM.  [any] */
int queue_reserve(struct queue *q, struct queue_waiter *w, size_t samples, size_t bytes,
                  int64_t timeout_ms);
/* Use a reservation: `block` (taken over; NULL: give the room back) weighs what it says itself, which
 * is no more than was reserved. */
void queue_push(struct queue *q, struct sample_block *block, size_t samples, size_t bytes);

/* A place for one announcement, whenever it comes.  ERR_NOMEM. */
int queue_promise(struct queue *q);
void queue_unpromise(struct queue *q);
void queue_push_news(struct queue *q, struct news *news); /* uses a promise */

/* Take the oldest, waiting until `deadline_ms`.  ERR_TIMEOUT (also after queue_wake()); ERR_CLOSED:
 * closed and empty.  One taker. */
int queue_take(struct queue *q, int64_t deadline_ms, struct queue_entry *ret);
void queue_wake(struct queue *q);
void queue_close(struct queue *q);
void queue_level(struct queue *q, size_t *ret_samples, size_t *ret_bytes);

#endif
