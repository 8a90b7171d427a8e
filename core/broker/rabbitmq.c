/* RabbitMQ as the broker: the back end's table.  A module of its own, loaded when configured. */
#include "broker/rabbitmq_priv.h"

#include "base/time.h"

#include <stdlib.h>
#include <string.h>

struct rabbitmq {
    struct broker broker;
    struct rabbitmq_uri uri;
    char *names[BROKER_EXCHANGES];
    struct publisher publishers[BROKER_EXCHANGES];
    struct consumer consumers[BROKER_EXCHANGES];
    int n_publishers, n_consumers; /* started */
    bool stopped;
};

static struct rabbitmq *rabbitmq_of(struct broker *broker)
{
    return (struct rabbitmq *)broker; /* its first member */
}

int rabbitmq_declare(struct link *l, enum broker_exchange exchange, const char *name,
                     struct error *err)
{
    amqp_exchange_declare(l->conn, LINK_CHANNEL, amqp_cstring_bytes(name),
                          amqp_cstring_bytes(exchange == BROKER_EVENTS ? "topic" : "direct"), 0, 0,
                          0, 0, amqp_empty_table);
    return link_check(l, "declaring the exchange", err);
}

/* --- life cycle [control] --- */

/* What is queued is sent first, then what comes back of it is delivered. */
static void rabbitmq_stop(struct broker *broker)
{
    struct rabbitmq *q = rabbitmq_of(broker);
    if (q->stopped)
        return;
    q->stopped = true;
    for (int i = 0; i < q->n_publishers; i++)
        publisher_stop(&q->publishers[i]);
    for (int i = 0; i < q->n_consumers; i++)
        consumer_stop(&q->consumers[i]);
}

static void rabbitmq_close(struct broker *broker)
{
    struct rabbitmq *q = rabbitmq_of(broker);
    for (int i = 0; i < q->n_publishers; i++)
        publisher_release(&q->publishers[i]);
    for (int i = 0; i < q->n_consumers; i++)
        consumer_release(&q->consumers[i]);
    for (int i = 0; i < BROKER_EXCHANGES; i++)
        free(q->names[i]);
    rabbitmq_uri_release(&q->uri);
    free(q);
}

/* A server that is away is no error: it may come later. */
static int rabbitmq_open(const struct broker_options *options, struct broker **ret,
                         struct error *err)
{
    struct rabbitmq *q = calloc(1, sizeof *q);
    if (!q)
        return error_set(err, ERR_NOMEM, "out of memory for the broker");
    q->broker.ops = &broker_rabbitmq_ops;
    int rc = rabbitmq_uri_parse(options->uri, &q->uri, err);
    for (int i = 0; i < BROKER_EXCHANGES && !rc; i++) {
        q->names[i] = strdup(options->exchange_names[i]);
        if (!q->names[i])
            rc = error_set(err, ERR_NOMEM, "out of memory for the broker");
    }
    for (int i = 0; i < BROKER_EXCHANGES && !rc; i++) {
        q->publishers[i].consumer = &q->consumers[i];
        rc = publisher_init(&q->publishers[i], &q->uri, options, (enum broker_exchange)i,
                            q->names[i], err);
        q->n_publishers += rc == 0;
    }
    for (int i = 0; i < BROKER_EXCHANGES && !rc; i++) {
        q->consumers[i].publisher = &q->publishers[i].link;
        q->consumers[i].origin = options->origin;
        rc = consumer_start(&q->consumers[i], &q->uri, options, (enum broker_exchange)i,
                            q->names[i], err);
        q->n_consumers += rc == 0;
    }
    for (int i = 0; i < BROKER_EXCHANGES && !rc; i++)
        rc = publisher_start(&q->publishers[i], err);
    if (rc) {
        rabbitmq_stop(&q->broker);
        rabbitmq_close(&q->broker);
        return rc;
    }
    *ret = &q->broker;
    return 0;
}

/* --- operations --- */

static int rabbitmq_publish(struct broker *broker, enum broker_exchange exchange,
                            const char *const *keys, struct message *const *messages, size_t n,
                            size_t *ret_taken)
{
    return publisher_put(&rabbitmq_of(broker)->publishers[exchange], NULL, keys, messages, n,
                         ret_taken);
}

static int rabbitmq_subscribe(struct broker *broker, enum broker_exchange exchange,
                              struct broker_subscription *s, struct error *err)
{
    return consumer_subscribe(&rabbitmq_of(broker)->consumers[exchange], s, err);
}

static void rabbitmq_unsubscribe(struct broker *broker, struct broker_subscription *s)
{
    consumer_unsubscribe(&rabbitmq_of(broker)->consumers[s->exchange], s);
}

static void rabbitmq_set_filter(struct broker *broker, enum broker_exchange exchange,
                                broker_filter_fn *filter, void *ctx)
{
    struct fanout *f = &rabbitmq_of(broker)->consumers[exchange].fanout;
    f->filter = filter;
    f->filter_ctx = ctx;
}

static void rabbitmq_get_stats(struct broker *broker, enum broker_exchange exchange,
                               struct broker_stats *ret)
{
    struct publisher *p = &rabbitmq_of(broker)->publishers[exchange];
    struct consumer *c = &rabbitmq_of(broker)->consumers[exchange];
    fanout_get_stats(&c->fanout, ret);
    ret->connected = atomic_load(&p->connected) && atomic_load(&c->connected);
    ret->published = atomic_load(&p->confirmed);
    ret->dropped += atomic_load(&p->lost);
    ret->malformed = atomic_load(&c->malformed);
    pthread_mutex_lock(&p->lock);
    ret->queued = ring_length(&p->ring) + atomic_load(&p->unconfirmed);
    pthread_mutex_unlock(&p->lock);
}

static void rabbitmq_watch(struct broker *broker, enum broker_exchange exchange, broker_news_fn *fn,
                           void *ctx)
{
    struct consumer *c = &rabbitmq_of(broker)->consumers[exchange];
    pthread_mutex_lock(&c->lock);
    c->news = fn;
    c->news_ctx = ctx;
    pthread_mutex_unlock(&c->lock);
}

static void rabbitmq_on_resend(struct broker *broker, broker_resend_fn *fn, void *ctx)
{
    struct consumer *c = &rabbitmq_of(broker)->consumers[BROKER_EVENTS];
    pthread_mutex_lock(&c->lock);
    c->on_resend = fn;
    c->on_resend_ctx = ctx;
    pthread_mutex_unlock(&c->lock);
}

static int rabbitmq_publish_to(struct broker *broker, const char *queue, const char *key,
                               struct message *m)
{
    const char *keys[] = {key ? key : RESEND_KEY};
    size_t taken;
    return publisher_put(&rabbitmq_of(broker)->publishers[BROKER_EVENTS], queue, keys, &m, 1,
                         &taken);
}

static int rabbitmq_tell(struct broker *broker, const char *text)
{
    const char *keys[] = {TOLD_KEY};
    struct message_id id = {.origin = rabbitmq_of(broker)->consumers[BROKER_EVENTS].origin};
    struct message *m = message_new(&id, time_now_us(), text, strlen(text));
    size_t taken;
    int rc = m ? publisher_put(&rabbitmq_of(broker)->publishers[BROKER_EVENTS], NULL, keys, &m, 1,
                               &taken)
               : ERR_NOMEM;
    message_unref(m);
    return rc;
}

static void rabbitmq_on_told(struct broker *broker, broker_told_fn *fn, void *ctx)
{
    struct consumer *c = &rabbitmq_of(broker)->consumers[BROKER_EVENTS];
    pthread_mutex_lock(&c->lock);
    c->on_told = fn;
    c->on_told_ctx = ctx;
    pthread_mutex_unlock(&c->lock);
}

static uint64_t rabbitmq_confirmed(struct broker *broker, enum broker_exchange exchange)
{
    return atomic_load(&rabbitmq_of(broker)->publishers[exchange].confirmed_sequence);
}

__attribute__((visibility("default"))) const struct broker_ops broker_rabbitmq_ops = {
    .scheme = "amqp",
    .open = rabbitmq_open,
    .stop = rabbitmq_stop,
    .close = rabbitmq_close,
    .publish = rabbitmq_publish,
    .subscribe = rabbitmq_subscribe,
    .unsubscribe = rabbitmq_unsubscribe,
    .set_filter = rabbitmq_set_filter,
    .get_stats = rabbitmq_get_stats,
    .watch = rabbitmq_watch,
    .on_resend = rabbitmq_on_resend,
    .publish_to = rabbitmq_publish_to,
    .tell = rabbitmq_tell,
    .on_told = rabbitmq_on_told,
    .confirmed = rabbitmq_confirmed,
};
