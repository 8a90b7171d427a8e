#include "broker/fanout.h"

#include <stdatomic.h>
#include <string.h>

int fanout_init(struct fanout *f, bool topic)
{
    *f = (struct fanout){0};
    if (bindings_init(&f->bindings, topic))
        return ERR_NOMEM;
    lock_init(&f->lock);
    cond_init(&f->batch_done);
    return 0;
}

void fanout_release(struct fanout *f)
{
    bindings_release(&f->bindings);
    pthread_cond_destroy(&f->batch_done);
    pthread_mutex_destroy(&f->lock);
}

int fanout_subscribe(struct fanout *f, struct broker_subscription *s)
{
    pthread_mutex_lock(&f->lock);
    int rc = bindings_add(&f->bindings, s);
    if (!rc) {
        s->next = f->subscriptions;
        if (s->next)
            s->next->previous = s;
        f->subscriptions = s;
        atomic_store(&f->any, ++f->n_subscriptions);
    }
    pthread_mutex_unlock(&f->lock);
    return rc;
}

void fanout_unsubscribe(struct fanout *f, struct broker_subscription *s)
{
    pthread_mutex_lock(&f->lock);
    bindings_remove(&f->bindings, s);
    if (s->previous)
        s->previous->next = s->next;
    else
        f->subscriptions = s->next;
    if (s->next)
        s->next->previous = s->previous;
    atomic_store(&f->any, --f->n_subscriptions);
    /* A later batch cannot route to it any more. */
    uint64_t batch = f->batch;
    while (f->delivering && f->batch == batch)
        cond_wait_until(&f->batch_done, &f->lock, INT64_MAX);
    pthread_mutex_unlock(&f->lock);
}

bool fanout_wanted(struct fanout *f, const char *key)
{
    if (atomic_load(&f->any) == 0)
        return false;
    pthread_mutex_lock(&f->lock);
    struct route *route = bindings_match(&f->bindings, key);
    bool wanted = !route || route->n > 0;
    route_unref(route);
    pthread_mutex_unlock(&f->lock);
    return wanted;
}

/* There was no memory to route a message: tell each subscription that would have got it. */
static void count_lost_locked(struct fanout *f, const char *key)
{
    f->dropped++;
    for (struct broker_subscription *s = f->subscriptions; s; s = s->next) {
        bool matches = false;
        for (size_t i = 0; i < s->n_keys && !matches; i++)
            matches = f->bindings.topic ? topic_match(s->keys[i], key) : !strcmp(s->keys[i], key);
        s->lost += matches;
    }
}

static uint64_t deliver_one(const struct route *route, struct message *message, uint64_t position)
{
    uint64_t delivered = 0;
    for (size_t i = 0; i < route->n; i++) {
        struct broker_subscription *s = route->subscriptions[i];
        if (position < s->from)
            continue;
        uint64_t lost = s->lost;
        s->lost = 0;
        s->sink(s->ctx, message, lost);
        delivered++;
    }
    return delivered;
}

static uint64_t filter_and_deliver(struct fanout *f, const struct route *route,
                                   const struct fanout_item *item, uint64_t position)
{
    if (!f->filter)
        return deliver_one(route, item->message, position);
    struct message *message = f->filter(f->filter_ctx, item->key, item->message);
    uint64_t delivered = message ? deliver_one(route, message, position) : 0;
    message_unref(message);
    return delivered;
}

void fanout_deliver(struct fanout *f, const struct fanout_item *items, size_t n, uint64_t position)
{
    struct route *routes[FANOUT_BATCH];
    pthread_mutex_lock(&f->lock);
    f->batch++;
    f->delivering = true;
    for (size_t i = 0; i < n; i++) {
        routes[i] = bindings_match(&f->bindings, items[i].key);
        if (!routes[i])
            count_lost_locked(f, items[i].key);
        else if (routes[i]->n == 0)
            f->unroutable++;
    }
    pthread_mutex_unlock(&f->lock);

    uint64_t delivered = 0;
    for (size_t i = 0; i < n; i++) {
        if (routes[i])
            delivered += filter_and_deliver(f, routes[i], &items[i], position + i);
    }

    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < n; i++)
        route_unref(routes[i]);
    f->delivered += delivered;
    f->delivering = false;
    pthread_cond_broadcast(&f->batch_done);
    pthread_mutex_unlock(&f->lock);
}

void fanout_get_stats(struct fanout *f, struct broker_stats *ret)
{
    pthread_mutex_lock(&f->lock);
    ret->delivered = f->delivered;
    ret->unroutable = f->unroutable;
    ret->dropped = f->dropped;
    ret->subscriptions = f->n_subscriptions;
    pthread_mutex_unlock(&f->lock);
}
