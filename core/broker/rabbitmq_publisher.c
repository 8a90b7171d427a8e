#include "broker/rabbitmq_priv.h"

#include "base/log.h"
#include "base/time.h"

#include <amqp_framing.h>
#include <string.h>

enum { SEND_BATCH = 128, BINDINGS_WAIT_MS = 5000 };

static const char logger[] = "hyprxa.broker";

static struct sent *sent_at(struct publisher *p, uint64_t position)
{
    return &p->window[position & (PUBLISH_WINDOW - 1)];
}

/* --- confirms --- */

static void confirm_one(struct publisher *p, uint64_t position)
{
    if (position >= p->first && position < p->next)
        sent_at(p, position)->confirmed = true;
}

/* Let go of the confirmed at the beginning of the window. */
static void advance(struct publisher *p)
{
    uint64_t before = p->first;
    for (; p->first < p->next && sent_at(p, p->first)->confirmed; p->first++) {
        struct ring_item *item = &sent_at(p, p->first)->item;
        const struct message_id *id = message_id(item->message);
        if (id->sequence && !item->queue) /* what is sent again to one node says nothing */
            atomic_store_explicit(&p->confirmed_sequence, id->sequence, memory_order_release);
        ring_item_release(item);
    }
    atomic_fetch_add_explicit(&p->confirmed, p->first - before, memory_order_relaxed);
    atomic_store_explicit(&p->unconfirmed, p->next - p->first, memory_order_relaxed);
}

static void on_ack(struct publisher *p, const amqp_basic_ack_t *ack)
{
    uint64_t position = ack->delivery_tag + p->tag_offset;
    for (uint64_t i = ack->multiple ? p->first : position; i <= position; i++)
        confirm_one(p, i);
    advance(p);
}

/* Handle what the server said; never waits. */
static int read_confirms(struct publisher *p, struct error *err)
{
    for (;;) {
        amqp_frame_t frame;
        struct timeval none = {0};
        int status = amqp_simple_wait_frame_noblock(p->link.conn, &frame, &none);
        if (status == AMQP_STATUS_TIMEOUT)
            return 0;
        if (status != AMQP_STATUS_OK)
            return link_status(status, "waiting for confirms", err);
        bool method = frame.frame_type == AMQP_FRAME_METHOD;
        if (method && frame.payload.method.id == AMQP_BASIC_ACK_METHOD) {
            on_ack(p, frame.payload.method.decoded);
        } else if (method && frame.payload.method.id == AMQP_BASIC_NACK_METHOD) {
            /* The server could not take it: all that is unconfirmed is sent again, in order. */
            return error_set(err, ERR_UNAVAILABLE, "the server refused a message");
        } else {
            int rc = link_unexpected(&p->link, &frame, err);
            if (rc)
                return rc;
        }
        amqp_maybe_release_buffers(p->link.conn);
    }
}

/* --- sending --- */

static int send_one(struct publisher *p, const struct ring_item *item, struct error *err)
{
    char id[MESSAGE_ID_SIZE];
    size_t id_len = message_id_format(message_id(item->message), id);
    struct message_frame body = message_body(item->message);
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
        .delivery_mode = AMQP_DELIVERY_NONPERSISTENT,
        .message_id = {.len = id_len, .bytes = id},
    };
    const char *exchange = p->exchange_name, *key = item->key;
    if (item->queue) { /* by the default exchange: the key goes beside it */
        properties._flags |= AMQP_BASIC_TYPE_FLAG | AMQP_BASIC_TIMESTAMP_FLAG;
        properties.type = amqp_cstring_bytes(item->key);
        properties.timestamp = (uint64_t)message_time_us(item->message);
        exchange = "";
        key = item->queue;
    }
    return link_status(amqp_basic_publish(p->link.conn, LINK_CHANNEL, amqp_cstring_bytes(exchange),
                                          amqp_cstring_bytes(key), 0, 0, &properties,
                                          (amqp_bytes_t){body.len, (void *)(uintptr_t)body.data}),
                       "publishing", err);
}

/* Send all that was sent over an earlier connection and not confirmed.  What the server got of it
 * arrives twice; consumers drop the second by its id. */
static int send_again(struct publisher *p, struct error *err)
{
    int rc = 0;
    p->tag_offset = p->first - 1; /* the first tag of a channel is 1 */
    for (uint64_t i = p->first; i < p->next && !rc; i++) {
        sent_at(p, i)->confirmed = false;
        rc = send_one(p, &sent_at(p, i)->item, err);
    }
    return rc;
}

/* Move queued items into the window's room.  False: none, and the thread may sleep. */
static size_t take(struct publisher *p, struct ring_item *items)
{
    size_t room = PUBLISH_WINDOW - (size_t)(p->next - p->first);
    pthread_mutex_lock(&p->lock);
    size_t n = ring_take(&p->ring, items, room < SEND_BATCH ? room : SEND_BATCH);
    p->sleeping = n == 0;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static int send_queued(struct publisher *p, size_t *ret_n, struct error *err)
{
    struct ring_item items[SEND_BATCH];
    int rc = 0;
    *ret_n = take(p, items);
    /* In the window first: what fails to be sent is sent over the next connection. */
    uint64_t begin = p->next;
    for (size_t i = 0; i < *ret_n; i++)
        *sent_at(p, p->next++) = (struct sent){.item = items[i]};
    for (uint64_t i = begin; i < p->next && !rc; i++)
        rc = send_one(p, &sent_at(p, i)->item, err);
    return rc;
}

/* --- the thread --- */

static bool is_stopping(struct publisher *p, bool *ret_empty)
{
    pthread_mutex_lock(&p->lock);
    bool stopping = p->stopping;
    *ret_empty = ring_length(&p->ring) == 0;
    pthread_mutex_unlock(&p->lock);
    if (stopping && !p->deadline_ms)
        p->deadline_ms = time_monotonic_ms() + DRAIN_MS;
    return stopping;
}

/* What is sent before this node's own bindings are back would not reach its streams.  Not for ever: a
 * consumer that cannot come back must not stop the others' messages. */
static void await_bindings(struct publisher *p)
{
    int64_t deadline_ms = time_monotonic_ms() + BINDINGS_WAIT_MS;
    int64_t left_ms = BINDINGS_WAIT_MS;
    bool empty;
    while (!atomic_load(&p->consumer->connected) && left_ms > 0 && !is_stopping(p, &empty)) {
        link_wait_ms(&p->link, left_ms);
        left_ms = deadline_ms - time_monotonic_ms();
    }
}

static int connect_publisher(struct publisher *p, struct error *err)
{
    int rc = link_open(&p->link, err);
    if (rc)
        return rc;
    rc = rabbitmq_declare(&p->link, p->exchange, p->exchange_name, err);
    if (!rc) {
        amqp_confirm_select(p->link.conn, LINK_CHANNEL);
        rc = link_check(&p->link, "asking for confirms", err);
    }
    if (rc)
        return rc;
    await_bindings(p);
    return send_again(p, err);
}

/* Stopped, and nothing is left, or too little time. */
static bool is_done(struct publisher *p)
{
    bool empty;
    if (!is_stopping(p, &empty))
        return false;
    return !p->link.conn || (empty && p->first == p->next) || time_monotonic_ms() >= p->deadline_ms;
}

static void *run_publisher(void *arg)
{
    struct publisher *p = arg;
    struct error err = ERROR_INIT;
    int rc = 0;
    do {
        if (!p->link.conn) {
            rc = connect_publisher(p, &err);
            atomic_store(&p->connected, rc == 0);
            if (!rc)
                link_ready(&p->link);
        }
        /* Confirms first: they make room for what is queued, and nothing else would wake us for it. */
        size_t n = 0;
        if (!rc)
            rc = read_confirms(p, &err);
        if (!rc)
            rc = send_queued(p, &n, &err);
        if (rc) {
            atomic_store(&p->connected, false);
            link_failed(&p->link, &err);
            rc = 0;
        } else if (n == 0) {
            bool empty;
            if (is_stopping(p, &empty))
                link_wait_ms(&p->link, 100);
            else
                link_wait(&p->link);
        }
    } while (!is_done(p));
    atomic_store(&p->connected, false);
    return NULL;
}

/* --- for the back end --- */

int publisher_init(struct publisher *p, const struct rabbitmq_uri *uri,
                   const struct broker_options *options, enum broker_exchange exchange,
                   const char *name, struct error *err)
{
    p->exchange = exchange;
    p->exchange_name = name;
    p->first = p->next = 1;
    p->ring.max = broker_max_queued(options);
    p->ring.max_bytes = QUEUED_BYTES_MAX;
    int rc = link_init(&p->link, uri,
                       exchange == BROKER_EVENTS ? "events publisher" : "timeseries publisher",
                       option_ms(options->initial_backoff_ms, 1000),
                       option_ms(options->max_backoff_ms, 3000), err);
    if (!rc)
        lock_init(&p->lock);
    return rc;
}

int publisher_start(struct publisher *p, struct error *err)
{
    int rc = thread_start(&p->thread,
                          p->exchange == BROKER_EVENTS ? "amqp-events-out" : "amqp-series-out",
                          run_publisher, p, err);
    p->started = rc == 0;
    return rc;
}

int publisher_put(struct publisher *p, const char *queue, const char *const *keys,
                  struct message *const *messages, size_t n, size_t *ret_taken)
{
    int rc = 0;
    pthread_mutex_lock(&p->lock);
    for (*ret_taken = 0; *ret_taken < n; ++*ret_taken) {
        rc = p->stopping ? ERR_CLOSED
                         : ring_put(&p->ring, queue, keys[*ret_taken], messages[*ret_taken]);
        if (rc)
            break;
    }
    bool wake = p->sleeping && *ret_taken > 0;
    if (wake)
        p->sleeping = false;
    pthread_mutex_unlock(&p->lock);
    if (wake)
        link_wake(&p->link);
    return rc;
}

void publisher_stop(struct publisher *p)
{
    if (!p->started)
        return;
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    link_wake(&p->link);
    if (!thread_join_within(p->thread, DRAIN_MS + 1000)) {
        link_interrupt(&p->link); /* it waits for a server that does not read */
        pthread_join(p->thread, NULL);
    }
    size_t left = ring_length(&p->ring) + (size_t)(p->next - p->first);
    atomic_fetch_add(&p->lost, left);
    if (left)
        log_warning(logger, "%s: %zu messages could not be sent before the end", p->link.name,
                    left);
}

void publisher_release(struct publisher *p)
{
    for (; p->first < p->next; p->first++)
        ring_item_release(&sent_at(p, p->first)->item);
    ring_release(&p->ring);
    link_release(&p->link);
    pthread_mutex_destroy(&p->lock);
}
