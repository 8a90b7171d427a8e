/* The fan-out of one exchange: who has bound what, and one dispatcher that hands messages to sinks.
 *
 * A back end owns the dispatcher thread; it calls fanout_deliver() with a batch in publishing order.
 * Sinks run without the lock held, so that one may publish, and a subscriber may come or go
 * meanwhile; fanout_unsubscribe() waits for the batch under way. */
#ifndef HYPRXA_BROKER_FANOUT_H
#define HYPRXA_BROKER_FANOUT_H

#include "base/thread.h"
#include "broker/bindings.h"

enum { FANOUT_BATCH = 128 };

struct fanout_item {
    const char *key;
    struct message *message;
};

struct fanout {
    broker_filter_fn *filter; /* set before the first subscription, then const; NULL: none */
    void *filter_ctx;
    pthread_mutex_t lock;
    pthread_cond_t batch_done;

    /* guarded by lock */
    struct bindings bindings;
    struct broker_subscription *subscriptions;
    uint64_t n_subscriptions;
    uint64_t batch; /* number of the batch under way or done last */
    bool delivering;
    uint64_t delivered, unroutable, dropped;

    /* atomic: lets a publisher whom nobody listens to pass without the lock */
    _Atomic uint64_t any;
};

int fanout_init(struct fanout *f, bool topic);
void fanout_release(struct fanout *f); /* no subscription is left */

/* `s->from` is set; ERR_NOMEM.  [any] */
int fanout_subscribe(struct fanout *f, struct broker_subscription *s);
void fanout_unsubscribe(struct fanout *f, struct broker_subscription *s);
bool fanout_wanted(struct fanout *f, const char *key);

/* Deliver `n` (at most FANOUT_BATCH) messages, the first at `position`.  [the dispatcher] */
void fanout_deliver(struct fanout *f, const struct fanout_item *items, size_t n, uint64_t position);

void fanout_get_stats(struct fanout *f, struct broker_stats *ret); /* its part of them */

#endif
