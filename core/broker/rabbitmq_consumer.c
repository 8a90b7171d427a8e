#include "broker/rabbitmq_priv.h"

#include "base/json_scan.h"
#include "base/log.h"
#include "base/time.h"

#include <amqp_framing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 255, TOLD_MAX = 4096, BODY_MAX = 128 << 20 };
/* The fan-out's positions are times here: of a message sent again, and of the subscriptions. */
static const uint64_t POSITION_LIVE = UINT64_MAX - FANOUT_BATCH;

static const char logger[] = "hyprxa.broker";

/* --- bindings: asked for by any thread, made by this one --- */

/* The next binding that the server does not know of, or that nobody uses; its key is copied. */
static bool next_work_locked(struct consumer *c, char key[KEY_MAX + 1], bool *ret_bind)
{
    for (struct map_entry *e = map_next(&c->bindings, NULL); e; e = map_next(&c->bindings, e)) {
        struct binding *b = e->value;
        if (b->users == 0 && !b->bound) {
            free(map_remove(&c->bindings, e->key, e->key_len));
        } else if ((b->users > 0) != b->bound) {
            memcpy(key, e->key, e->key_len + 1);
            *ret_bind = b->users > 0;
            return true;
        }
    }
    return false;
}

static bool take_work(struct consumer *c, char key[KEY_MAX + 1], bool *ret_bind)
{
    pthread_mutex_lock(&c->lock);
    bool any = c->work && next_work_locked(c, key, ret_bind);
    c->work = any;
    pthread_mutex_unlock(&c->lock);
    return any;
}

static void note_bound(struct consumer *c, const char *key, bool bound)
{
    pthread_mutex_lock(&c->lock);
    struct binding *b = map_get(&c->bindings, key, strlen(key));
    if (b)
        b->bound = bound;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static int bind_key(struct consumer *c, const char *key, bool bind, struct error *err)
{
    amqp_bytes_t queue = amqp_cstring_bytes(c->queue), name = amqp_cstring_bytes(c->exchange_name);
    if (bind)
        amqp_queue_bind(c->link.conn, LINK_CHANNEL, queue, name, amqp_cstring_bytes(key),
                        amqp_empty_table);
    else
        amqp_queue_unbind(c->link.conn, LINK_CHANNEL, queue, name, amqp_cstring_bytes(key),
                          amqp_empty_table);
    int rc = link_check(&c->link, bind ? "binding a key" : "unbinding a key", err);
    if (!rc)
        note_bound(c, key, bind);
    return rc;
}

static int bind_wanted(struct consumer *c, struct error *err)
{
    char key[KEY_MAX + 1];
    bool bind;
    int rc = 0;
    while (!rc && take_work(c, key, &bind))
        rc = bind_key(c, key, bind, err);
    return rc;
}

/* --- deliveries --- */

static bool bytes_are(amqp_bytes_t bytes, const char *text)
{
    return bytes.len == strlen(text) && memcmp(bytes.bytes, text, bytes.len) == 0;
}

static void read_id(const amqp_basic_properties_t *p, struct message_id *ret)
{
    char text[MESSAGE_ID_SIZE];
    *ret = (struct message_id){0};
    if (!(p->_flags & AMQP_BASIC_MESSAGE_ID_FLAG) || p->message_id.len >= sizeof text)
        return;
    memcpy(text, p->message_id.bytes, p->message_id.len);
    text[p->message_id.len] = '\0';
    message_id_parse(text, ret); /* the original system's are random: none of ours */
}

static void deliver_batch(struct consumer *c)
{
    struct fanout_item items[FANOUT_BATCH];
    if (c->n_batch == 0)
        return;
    for (size_t i = 0; i < c->n_batch; i++)
        items[i] = (struct fanout_item){c->batch[i].key, c->batch[i].message};
    fanout_deliver(&c->fanout, items, c->n_batch, c->position);
    for (size_t i = 0; i < c->n_batch; i++)
        ring_item_release(&c->batch[i]);
    c->n_batch = 0;
}

static void pass_on_told(struct consumer *c, const struct message_id *id, amqp_bytes_t body)
{
    char text[TOLD_MAX];
    if (id->origin == c->origin || body.len >= sizeof text)
        return;
    memcpy(text, body.bytes, body.len);
    text[body.len] = '\0';
    pthread_mutex_lock(&c->lock);
    broker_told_fn *told = c->on_told;
    void *ctx = c->on_told_ctx;
    pthread_mutex_unlock(&c->lock);
    if (told)
        told(ctx, text);
}

/* A message of our own between nodes; true: it was one. */
static bool read_control(struct consumer *c, const amqp_envelope_t *e, const struct message_id *id)
{
    const amqp_basic_properties_t *p = &e->message.properties;
    if (e->exchange.len == 0 && !(p->_flags & AMQP_BASIC_TYPE_FLAG))
        c->drained = true; /* all that had reached the queue has been taken */
    else if (e->exchange.len == 0 && bytes_are(p->type, RESEND_KEY))
        resend_answered(c, id, e->message.body);
    else if (bytes_are(e->routing_key, RESEND_KEY))
        resend_requested(c, e->message.body);
    else if (bytes_are(e->routing_key, TOLD_KEY))
        pass_on_told(c, id, e->message.body);
    else
        return false;
    return true;
}

/* Live messages are for all who have bound their key; one sent again is for who had bound it then. */
static uint64_t position_of(const amqp_envelope_t *e)
{
    bool again = e->exchange.len == 0;
    return again ? e->message.properties.timestamp : POSITION_LIVE;
}

/* Anybody may publish to the exchange, and a body goes to streams as it is: it must be a JSON object,
 * and hold no line break, which would end the event of a stream. */
static struct message *new_message(struct consumer *c, const struct message_id *id,
                                   amqp_bytes_t body)
{
    buf_clear(&c->body);
    int rc = json_scan(body.bytes, body.len, JSON_DEPTH_MAX, &c->body, NULL, 0, NULL);
    if (!rc && c->body.data[0] == '{')
        return message_new(id, time_now_us(), c->body.data, c->body.len);
    if (atomic_fetch_add_explicit(&c->malformed, 1, memory_order_relaxed) == 0)
        log_warning(logger, "%s: a message of %zu bytes is no JSON object; such are dropped",
                    c->link.name, body.len);
    return NULL;
}

static void add_to_batch(struct consumer *c, const amqp_envelope_t *e)
{
    struct message_id id;
    read_id(&e->message.properties, &id);
    if (read_control(c, e, &id))
        return;
    switch (resend_sight(c, &id)) {
    case SIGHT_SEEN:
        atomic_fetch_add_explicit(&c->duplicates, 1, memory_order_relaxed);
        return;
    case SIGHT_SUSPENDED:
        atomic_fetch_add_explicit(&c->suspended, 1, memory_order_relaxed);
        return;
    case SIGHT_NEW:
        break;
    }
    uint64_t position = position_of(e);
    if (position != c->position) {
        deliver_batch(c);
        c->position = position;
    }
    amqp_bytes_t key = position == POSITION_LIVE ? e->routing_key : e->message.properties.type;
    struct ring_item *item = &c->batch[c->n_batch];
    item->message = new_message(c, &id, e->message.body);
    item->key = strndup(key.bytes, key.len);
    if (item->message && item->key)
        c->n_batch++;
    else
        ring_item_release(item);
}

/* A frame that is no delivery. */
static int read_other(struct consumer *c, struct error *err)
{
    amqp_frame_t frame;
    struct timeval none = {0};
    int status = amqp_simple_wait_frame_noblock(c->link.conn, &frame, &none);
    if (status == AMQP_STATUS_TIMEOUT)
        return 0;
    if (status != AMQP_STATUS_OK)
        return link_status(status, "receiving", err);
    return link_unexpected(&c->link, &frame, err);
}

/* Deliver what has come, up to one batch.  *ret_more: there may be more. */
static int receive(struct consumer *c, bool *ret_more, struct error *err)
{
    int rc = 0;
    *ret_more = false;
    while (!rc && c->n_batch < FANOUT_BATCH) {
        amqp_envelope_t envelope;
        struct timeval none = {0};
        amqp_maybe_release_buffers(c->link.conn);
        amqp_rpc_reply_t reply = amqp_consume_message(c->link.conn, &envelope, &none, 0);
        if (reply.reply_type == AMQP_RESPONSE_NORMAL) {
            add_to_batch(c, &envelope);
            amqp_destroy_envelope(&envelope);
            continue;
        }
        if (reply.library_error == AMQP_STATUS_TIMEOUT)
            break;
        if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION &&
            reply.library_error == AMQP_STATUS_UNEXPECTED_STATE)
            rc = read_other(c, err);
        else
            rc = link_status(reply.library_error, "receiving", err);
    }
    *ret_more = c->n_batch == FANOUT_BATCH;
    deliver_batch(c);
    return rc;
}

/* --- the thread --- */

void consumer_tell(struct consumer *c, const struct broker_news *news)
{
    deliver_batch(c); /* what came before it */
    pthread_mutex_lock(&c->lock);
    broker_news_fn *tell = c->news;
    void *ctx = c->news_ctx;
    pthread_mutex_unlock(&c->lock);
    if (tell)
        tell(ctx, news);
}

/* Nothing is bound at a new connection. */
static void forget_bound(struct consumer *c)
{
    pthread_mutex_lock(&c->lock);
    for (struct map_entry *e = map_next(&c->bindings, NULL); e; e = map_next(&c->bindings, e))
        ((struct binding *)e->value)->bound = false;
    c->work = true;
    pthread_mutex_unlock(&c->lock);
}

static int declare_queue(struct consumer *c, struct error *err)
{
    amqp_queue_declare_ok_t *ok = amqp_queue_declare(c->link.conn, LINK_CHANNEL, amqp_empty_bytes,
                                                     0, 0, 1, 1, amqp_empty_table);
    int rc = link_check(&c->link, "declaring a queue", err);
    if (rc)
        return rc;
    if (!ok || ok->queue.len >= sizeof c->queue)
        return error_set(err, ERR_UNAVAILABLE, "the server gave the queue an impossible name");
    memcpy(c->queue, ok->queue.bytes, ok->queue.len);
    c->queue[ok->queue.len] = '\0';
    return 0;
}

/* What the nodes tell each other, beside the subscriptions' keys. */
static int bind_control(struct consumer *c, struct error *err)
{
    if (c->exchange != BROKER_EVENTS)
        return 0;
    amqp_queue_bind(c->link.conn, LINK_CHANNEL, amqp_cstring_bytes(c->queue),
                    amqp_cstring_bytes(c->exchange_name), amqp_cstring_bytes(CONTROL_KEYS ".#"),
                    amqp_empty_table);
    return link_check(&c->link, "binding a key", err);
}

static int connect_consumer(struct consumer *c, struct error *err)
{
    int rc = link_open(&c->link, err);
    if (!rc)
        rc = rabbitmq_declare(&c->link, c->exchange, c->exchange_name, err);
    if (!rc)
        rc = declare_queue(c, err);
    if (rc)
        return rc;
    forget_bound(c);
    rc = bind_control(c, err);
    if (!rc)
        rc = bind_wanted(c, err);
    if (rc)
        return rc;
    amqp_basic_consume(c->link.conn, LINK_CHANNEL, amqp_cstring_bytes(c->queue), amqp_empty_bytes,
                       0, 1, 1, amqp_empty_table);
    return link_check(&c->link, "consuming", err);
}

/* When stopping: a message to the own queue, behind everything that has reached it. */
static int send_marker(struct consumer *c, struct error *err)
{
    return link_status(amqp_basic_publish(c->link.conn, LINK_CHANNEL, amqp_empty_bytes,
                                          amqp_cstring_bytes(c->queue), 0, 0, NULL,
                                          amqp_empty_bytes),
                       "publishing", err);
}

static bool is_stopping(struct consumer *c)
{
    pthread_mutex_lock(&c->lock);
    bool stopping = c->stopping;
    pthread_mutex_unlock(&c->lock);
    return stopping;
}

static int serve(struct consumer *c, struct error *err)
{
    bool more = false;
    int rc = bind_wanted(c, err);
    if (!rc)
        rc = resend_ask_when_due(c, err);
    if (!rc && is_stopping(c) && !c->deadline_ms) {
        c->deadline_ms = time_monotonic_ms() + DRAIN_MS;
        rc = send_marker(c, err);
    }
    if (!rc)
        rc = receive(c, &more, err);
    if (!rc && !more && !c->drained) {
        int64_t left_ms = c->ask_ms ? c->ask_ms - time_monotonic_ms() : 0;
        if (c->deadline_ms)
            link_wait_ms(&c->link, 100);
        else if (c->ask_ms)
            link_wait_ms(&c->link, left_ms > 0 ? left_ms : 0);
        else
            link_wait(&c->link);
    }
    return rc;
}

static bool is_done(struct consumer *c)
{
    return is_stopping(c) && (!c->link.conn || c->drained ||
                              (c->deadline_ms && time_monotonic_ms() >= c->deadline_ms));
}

/* The first connection, or one after an outage. */
static int come_back(struct consumer *c, struct error *err)
{
    int rc = connect_consumer(c, err);
    if (!rc && c->away && c->exchange == BROKER_EVENTS)
        rc = resend_ask(c, true, err);
    if (rc)
        return rc;
    atomic_store(&c->connected, true);
    link_ready(&c->link);
    link_wake(c->publisher);
    if (c->away) {
        consumer_tell(c, &(struct broker_news){.kind = BROKER_BACK});
        if (c->exchange != BROKER_EVENTS) /* nobody has it stored for us */
            consumer_tell(c, &(struct broker_news){BROKER_GAP, c->away_us, time_now_us()});
    }
    c->away = false;
    return 0;
}

static void go_away(struct consumer *c, const struct error *err)
{
    if (atomic_exchange(&c->connected, false)) {
        c->away = true;
        c->away_us = time_now_us();
        if (c->exchange == BROKER_EVENTS) /* nobody has samples stored for us */
            resend_outage(c);
        consumer_tell(c, &(struct broker_news){.kind = BROKER_AWAY});
    }
    link_failed(&c->link, err);
}

static void *run_consumer(void *arg)
{
    struct consumer *c = arg;
    struct error err = ERROR_INIT;
    do {
        int rc = c->link.conn ? 0 : come_back(c, &err);
        if (!rc)
            rc = serve(c, &err);
        if (rc)
            go_away(c, &err);
    } while (!is_done(c));
    atomic_store(&c->connected, false);
    return NULL;
}

/* --- for the back end --- */

int consumer_start(struct consumer *c, const struct rabbitmq_uri *uri,
                   const struct broker_options *options, enum broker_exchange exchange,
                   const char *name, struct error *err)
{
    bool events = exchange == BROKER_EVENTS;
    c->exchange = exchange;
    c->exchange_name = name;
    c->position = POSITION_LIVE;
    c->subscription_timeout_ms = option_ms(options->subscription_timeout_ms, 5000);
    int rc = link_init(&c->link, uri, events ? "events consumer" : "timeseries consumer",
                       option_ms(options->initial_backoff_ms, 1000),
                       option_ms(options->max_backoff_ms, 3000), err);
    if (rc)
        return rc;
    if (fanout_init(&c->fanout, events)) {
        link_release(&c->link);
        return error_set(err, ERR_NOMEM, "out of memory for a broker exchange");
    }
    lock_init(&c->lock);
    cond_init(&c->changed);
    map_init(&c->bindings);
    buf_init(&c->body, BODY_MAX);
    map_init(&c->marks);
    rc = thread_start(&c->thread, events ? "amqp-events-in" : "amqp-series-in", run_consumer, c,
                      err);
    if (rc)
        consumer_release(c);
    return rc;
}

static int add_users_locked(struct consumer *c, const struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        const char *key = s->keys[i];
        struct binding *b = map_get(&c->bindings, key, strlen(key));
        if (!b) {
            b = calloc(1, sizeof *b);
            if (!b || map_set(&c->bindings, key, strlen(key), b, NULL)) {
                free(b);
                while (i-- > 0)
                    ((struct binding *)map_get(&c->bindings, s->keys[i], strlen(s->keys[i])))
                        ->users--;
                return ERR_NOMEM;
            }
        }
        b->users++;
    }
    c->work = true;
    return 0;
}

static bool all_bound_locked(struct consumer *c, const struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        const struct binding *b = map_get(&c->bindings, s->keys[i], strlen(s->keys[i]));
        if (!b || !b->bound)
            return false;
    }
    return true;
}

/* Wait until the server has every binding. */
static int await_bound(struct consumer *c, const struct broker_subscription *s, struct error *err)
{
    int64_t deadline_ms = time_monotonic_ms() + c->subscription_timeout_ms;
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    while (!rc && !all_bound_locked(c, s)) {
        if (c->stopping)
            rc = error_set(err, ERR_CLOSED, "the broker was stopped");
        else if (!cond_wait_until(&c->changed, &c->lock, deadline_ms))
            rc = error_set(err, ERR_TIMEOUT, "RabbitMQ was not reached within %lld ms",
                           (long long)c->subscription_timeout_ms);
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

int consumer_subscribe(struct consumer *c, struct broker_subscription *s, struct error *err)
{
    if (is_stopping(c))
        return error_set(err, ERR_CLOSED, "the broker was stopped");
    s->from = (uint64_t)time_now_us();
    int rc = fanout_subscribe(&c->fanout, s);
    if (rc)
        return error_set(err, rc, "out of memory for a broker subscription");
    pthread_mutex_lock(&c->lock);
    rc = add_users_locked(c, s);
    pthread_mutex_unlock(&c->lock);
    if (rc) {
        fanout_unsubscribe(&c->fanout, s);
        return error_set(err, rc, "out of memory for a broker subscription");
    }
    link_wake(&c->link);
    rc = await_bound(c, s, err);
    if (rc)
        consumer_unsubscribe(c, s);
    return rc;
}

void consumer_unsubscribe(struct consumer *c, struct broker_subscription *s)
{
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < s->n_keys; i++)
        ((struct binding *)map_get(&c->bindings, s->keys[i], strlen(s->keys[i])))->users--;
    c->work = true;
    pthread_mutex_unlock(&c->lock);
    link_wake(&c->link);
    fanout_unsubscribe(&c->fanout, s);
}

void consumer_stop(struct consumer *c)
{
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    link_wake(&c->link);
    if (!thread_join_within(c->thread, DRAIN_MS + 1000)) {
        log_warning(logger, "%s: the server does not answer: cut off", c->link.name);
        link_interrupt(&c->link);
        pthread_join(c->thread, NULL);
    }
}

void consumer_release(struct consumer *c)
{
    map_release(&c->bindings, free);
    buf_release(&c->body);
    map_release(&c->marks, free);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    fanout_release(&c->fanout);
    link_release(&c->link);
}
