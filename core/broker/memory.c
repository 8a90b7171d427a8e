/* The broker inside this process: per exchange a bounded queue and a dispatcher thread. */
#include "base/thread.h"
#include "broker/broker_priv.h"
#include "broker/fanout.h"
#include "broker/ring.h"

#include <stdlib.h>
#include <string.h>

struct exchange {
    struct fanout fanout;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* taken alone, never with the fan-out's */
    pthread_cond_t news;
    /* guarded by lock */
    struct ring ring;
    bool waiting, stopping;
};

struct memory_broker {
    struct broker broker;
    struct exchange exchanges[BROKER_EXCHANGES];
};

static struct exchange *exchange_of(struct broker *broker, enum broker_exchange exchange)
{
    return &((struct memory_broker *)broker)->exchanges[exchange];
}

/* --- the dispatcher --- */

/* Wait for news and move up to FANOUT_BATCH of it out.  0: stopped, and nothing is left. */
static size_t take_batch(struct exchange *x, struct ring_item *out, uint64_t *ret_position)
{
    pthread_mutex_lock(&x->lock);
    x->waiting = true;
    while (ring_length(&x->ring) == 0 && !x->stopping)
        cond_wait_until(&x->news, &x->lock, INT64_MAX);
    x->waiting = false;
    *ret_position = x->ring.head;
    size_t n = ring_take(&x->ring, out, FANOUT_BATCH);
    pthread_mutex_unlock(&x->lock);
    return n;
}

static void *dispatch(void *arg)
{
    struct exchange *x = arg;
    struct ring_item batch[FANOUT_BATCH];
    struct fanout_item items[FANOUT_BATCH];
    uint64_t position;
    size_t n;
    while ((n = take_batch(x, batch, &position)) > 0) {
        for (size_t i = 0; i < n; i++)
            items[i] = (struct fanout_item){batch[i].key, batch[i].message};
        fanout_deliver(&x->fanout, items, n, position);
        for (size_t i = 0; i < n; i++)
            ring_item_release(&batch[i]);
    }
    return NULL;
}

/* --- life cycle --- */

static int exchange_start(struct exchange *x, bool topic, size_t max, struct error *err)
{
    if (fanout_init(&x->fanout, topic))
        return error_set(err, ERR_NOMEM, "out of memory for a broker exchange");
    lock_init(&x->lock);
    cond_init(&x->news);
    x->ring.max = max;
    int rc = thread_start(&x->thread, topic ? "broker-events" : "broker-series", dispatch, x, err);
    if (rc) {
        pthread_cond_destroy(&x->news);
        pthread_mutex_destroy(&x->lock);
        fanout_release(&x->fanout);
    }
    x->started = rc == 0;
    return rc;
}

static void exchange_stop(struct exchange *x)
{
    if (!x->started)
        return;
    pthread_mutex_lock(&x->lock);
    bool stopped = x->stopping;
    x->stopping = true;
    pthread_cond_signal(&x->news);
    pthread_mutex_unlock(&x->lock);
    if (!stopped)
        pthread_join(x->thread, NULL);
}

static void exchange_release(struct exchange *x)
{
    if (!x->started)
        return;
    ring_release(&x->ring);
    pthread_cond_destroy(&x->news);
    pthread_mutex_destroy(&x->lock);
    fanout_release(&x->fanout);
}

static void memory_stop(struct broker *broker)
{
    for (int i = 0; i < BROKER_EXCHANGES; i++)
        exchange_stop(exchange_of(broker, (enum broker_exchange)i));
}

static void memory_close(struct broker *broker)
{
    for (int i = 0; i < BROKER_EXCHANGES; i++)
        exchange_release(exchange_of(broker, (enum broker_exchange)i));
    free(broker);
}

static int memory_open(const struct broker_options *options, struct broker **ret, struct error *err)
{
    if (strcmp(options->uri, "memory:") != 0)
        return error_set(err, ERR_INVALID, "broker '%s': nothing may follow 'memory:'",
                         options->uri);
    struct memory_broker *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(err, ERR_NOMEM, "out of memory for the broker");
    m->broker.ops = &broker_memory_ops;
    size_t max = broker_max_queued(options);
    for (int i = 0; i < BROKER_EXCHANGES; i++) {
        int rc = exchange_start(&m->exchanges[i], i == BROKER_EVENTS, max, err);
        if (rc) {
            memory_stop(&m->broker);
            memory_close(&m->broker);
            return rc;
        }
    }
    *ret = &m->broker;
    return 0;
}

/* --- operations --- */

static int memory_publish(struct broker *broker, enum broker_exchange exchange,
                          const char *const *keys, struct message *const *messages, size_t n,
                          size_t *ret_taken)
{
    struct exchange *x = exchange_of(broker, exchange);
    int rc = 0;
    pthread_mutex_lock(&x->lock);
    for (*ret_taken = 0; *ret_taken < n; ++*ret_taken) {
        rc = x->stopping ? ERR_CLOSED
                         : ring_put(&x->ring, NULL, keys[*ret_taken], messages[*ret_taken]);
        if (rc)
            break;
    }
    if (x->waiting && *ret_taken > 0)
        pthread_cond_signal(&x->news);
    pthread_mutex_unlock(&x->lock);
    return rc;
}

static int memory_subscribe(struct broker *broker, enum broker_exchange exchange,
                            struct broker_subscription *s, struct error *err)
{
    struct exchange *x = exchange_of(broker, exchange);
    pthread_mutex_lock(&x->lock);
    s->from = x->ring.tail;
    bool stopping = x->stopping;
    pthread_mutex_unlock(&x->lock);
    if (stopping)
        return error_set(err, ERR_CLOSED, "the broker was stopped");
    if (fanout_subscribe(&x->fanout, s))
        return error_set(err, ERR_NOMEM, "out of memory for a broker subscription");
    return 0;
}

static void memory_unsubscribe(struct broker *broker, struct broker_subscription *s)
{
    fanout_unsubscribe(&exchange_of(broker, s->exchange)->fanout, s);
}

static bool memory_wanted(struct broker *broker, enum broker_exchange exchange, const char *key)
{
    return fanout_wanted(&exchange_of(broker, exchange)->fanout, key);
}

static void memory_set_filter(struct broker *broker, enum broker_exchange exchange,
                              broker_filter_fn *filter, void *ctx)
{
    struct fanout *f = &exchange_of(broker, exchange)->fanout;
    f->filter = filter;
    f->filter_ctx = ctx;
}

static void memory_get_stats(struct broker *broker, enum broker_exchange exchange,
                             struct broker_stats *ret)
{
    struct exchange *x = exchange_of(broker, exchange);
    fanout_get_stats(&x->fanout, ret);
    pthread_mutex_lock(&x->lock);
    ret->connected = !x->stopping;
    ret->published = x->ring.tail;
    ret->queued = ring_length(&x->ring);
    pthread_mutex_unlock(&x->lock);
}

const struct broker_ops broker_memory_ops = {
    .scheme = "memory:",
    .open = memory_open,
    .stop = memory_stop,
    .close = memory_close,
    .publish = memory_publish,
    .subscribe = memory_subscribe,
    .unsubscribe = memory_unsubscribe,
    .set_filter = memory_set_filter,
    .get_stats = memory_get_stats,
    .wanted = memory_wanted,
};
