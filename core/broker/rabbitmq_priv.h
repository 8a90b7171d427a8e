/* What the files of the RabbitMQ back end share.
 *
 * Each exchange has a publisher and a consumer, each a thread with a connection of its own.  The
 * publisher sends what is queued in order, keeps what the server has not confirmed, and sends that
 * again over a new connection.  The consumer holds this node's one exclusive queue, binds what the
 * subscriptions need, and is the dispatcher of the fan-out. */
#ifndef HYPRXA_BROKER_RABBITMQ_PRIV_H
#define HYPRXA_BROKER_RABBITMQ_PRIV_H

#include "base/buf.h"
#include "base/map.h"
#include "base/thread.h"
#include "broker/broker_priv.h"
#include "broker/fanout.h"
#include "broker/rabbitmq_link.h"
#include "broker/ring.h"

#include <stdatomic.h>

enum {
    PUBLISH_WINDOW = 1024, /* sent and not confirmed: a power of two */
    DRAIN_MS = 5000,       /* what stop waits for a server that answers */
    QUEUED_BYTES_MAX = 64 << 20,
};

struct consumer;

struct sent {
    struct ring_item item;
    bool confirmed;
};

struct publisher {
    /* set at init, then const */
    enum broker_exchange exchange;
    const char *exchange_name;
    struct consumer *consumer; /* of this node and exchange: it must be bound before we send */
    pthread_t thread;
    bool started; /* [control] */
    struct link link;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct ring ring;
    bool sleeping; /* the thread waits: wake it */
    bool stopping;

    /* the thread's own */
    struct sent window[PUBLISH_WINDOW]; /* position p lies at p & (PUBLISH_WINDOW - 1) */
    uint64_t first, next;               /* oldest unconfirmed; next to send */
    uint64_t tag_offset;                /* position = delivery tag of this connection + this */
    int64_t deadline_ms;                /* of draining */

    /* atomic */
    atomic_ullong confirmed, lost, unconfirmed;
    atomic_ullong confirmed_sequence; /* number of the last confirmed without a gap */
    atomic_bool connected;
};

/* `name`, of the exchange, outlives it. */
int publisher_init(struct publisher *p, const struct rabbitmq_uri *uri,
                   const struct broker_options *options, enum broker_exchange exchange,
                   const char *name, struct error *err);
int publisher_start(struct publisher *p, struct error *err);
/* `queue`: of one node, or NULL.  [any] */
int publisher_put(struct publisher *p, const char *queue, const char *const *keys,
                  struct message *const *messages, size_t n, size_t *ret_taken);
/* Send what is queued while the server answers, up to DRAIN_MS; join.  Once; also where it was not
 * started. */
void publisher_stop(struct publisher *p);
void publisher_release(struct publisher *p);

/* A bound key of the consumer's queue. */
struct binding {
    unsigned users; /* keys of subscriptions */
    bool bound;     /* at the server, by this connection */
};

/* The newest message seen of a node: what a publisher sent twice is dropped. */
struct origin_mark {
    uint64_t epoch, sequence;
    bool suspended; /* it owes us what we missed (rabbitmq_resend.c): nothing else is taken */
    unsigned asked; /* times, since it was heard first */
};

struct consumer {
    /* set at init, then const */
    enum broker_exchange exchange;
    const char *exchange_name;
    uint64_t origin;        /* this node */
    struct link *publisher; /* is woken when the bindings are made */
    int64_t subscription_timeout_ms;
    pthread_t thread;
    struct link link;
    struct fanout fanout;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* something was bound, or stopping was set */
    /* guarded by lock */
    struct map bindings; /* key -> struct binding */
    bool work;           /* a binding was added or lost its last user */
    bool stopping;
    broker_news_fn *news;
    void *news_ctx;
    broker_resend_fn *on_resend;
    void *on_resend_ctx;
    broker_told_fn *on_told;
    void *on_told_ctx;

    /* the thread's own */
    char queue[64];
    struct ring_item batch[FANOUT_BATCH];
    size_t n_batch;
    struct buf body; /* of the message at hand, compact */
    uint64_t position;
    struct map marks; /* the origin's 8 bytes -> struct origin_mark */
    bool drained;     /* the marker came back */
    int64_t deadline_ms;
    unsigned outages;
    bool away; /* the connection was lost, and is not back */
    int64_t away_us;
    int64_t since_us;         /* what is older was not missed in the last one */
    int64_t ask_ms, asked_ms; /* when to ask again, 0: not at all; when we did */
    int64_t strangers_ms;     /* until then, nodes not seen before may owe us messages, too */

    /* atomic */
    atomic_bool connected;
    atomic_ullong malformed;
    atomic_ullong duplicates, suspended;
};

int consumer_start(struct consumer *c, const struct rabbitmq_uri *uri,
                   const struct broker_options *options, enum broker_exchange exchange,
                   const char *name, struct error *err);
int consumer_subscribe(struct consumer *c, struct broker_subscription *s, struct error *err);
void consumer_unsubscribe(struct consumer *c, struct broker_subscription *s);
/* Deliver what has reached the queue, up to DRAIN_MS; join.  Once. */
void consumer_stop(struct consumer *c);
void consumer_release(struct consumer *c);

void consumer_tell(struct consumer *c, const struct broker_news *news); /* [the thread] */

/* --- rabbitmq_resend.c: what was missed in an outage; [the consumer's thread] --- */

#define CONTROL_KEYS "$hyprxa" /* a topic's key never begins so */
#define RESEND_KEY   CONTROL_KEYS ".resend"
#define TOLD_KEY     CONTROL_KEYS ".told"

void resend_outage(struct consumer *c); /* the connection was lost */
/* Ask all nodes, or those that owe something. */
int resend_ask(struct consumer *c, bool all, struct error *err);
int resend_ask_when_due(struct consumer *c, struct error *err);
enum sighting { SIGHT_NEW, SIGHT_SEEN, SIGHT_SUSPENDED };
enum sighting resend_sight(struct consumer *c, const struct message_id *id);
/* A marker, and a request, have come. */
void resend_answered(struct consumer *c, const struct message_id *id, amqp_bytes_t body);
void resend_requested(struct consumer *c, amqp_bytes_t body);

/* Declare the exchange as contract section 6 says. */
int rabbitmq_declare(struct link *l, enum broker_exchange exchange, const char *name,
                     struct error *err);

static inline int64_t option_ms(int64_t given, int64_t otherwise)
{
    return given ? given : otherwise;
}

#endif
