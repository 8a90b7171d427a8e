/* Broker: messages from whoever publishes to whoever bound a key.
 *
 * Two exchanges as in AMQP: `events` is a topic exchange ('*' one word, '#' any number), `timeseries`
 * a direct one.  Delivery runs on the broker's own dispatcher thread, in publishing order per
 * exchange.  A publisher never waits for the fan-out; a sink never waits for a subscriber: it only
 * appends a reference to a shared log.
 *
 * Back ends, by URI.  memory: in this process.  amqp://, amqps://: RabbitMQ, shared by several nodes;
 * the fan-out to subscriptions stays in the node.  While its server is away, publishers queue up to
 * `max_queued`, subscriptions stay and their bindings are made again when it is back.  What others
 * published meanwhile is asked for again where messages are stored (events), else told as a gap. */
#ifndef HYPRXA_BROKER_BROKER_H
#define HYPRXA_BROKER_BROKER_H

#include "base/error.h"
#include "base/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;
struct broker_subscription;

enum broker_exchange { BROKER_EVENTS, BROKER_TIMESERIES, BROKER_EXCHANGES };

struct broker_options {
    const char *uri; /* memory: or amqp(s)://... */
    const char *exchange_names[BROKER_EXCHANGES];
    uint64_t origin;   /* this node, in the ids of its messages */
    size_t max_queued; /* messages between publishers and dispatcher; default 100,000 */
    /* Of a server outside this process: */
    int64_t subscription_timeout_ms;            /* a new subscription waits for it; 0: 5 s */
    int64_t initial_backoff_ms, max_backoff_ms; /* between attempts to connect; 0: 1 s, 3 s */
};

/* --- life cycle [control] --- */
int broker_open(const struct broker_options *options, struct broker **ret, struct error *err);
void broker_stop(struct broker *broker); /* deliver what is queued, join; idempotent */
void broker_close(struct broker *broker);

/* --- operations --- */

/* Queue `n` messages with their keys (references are taken; keys copied).  On any error the first
 * *ret_taken (may be NULL) were taken.  ERR_AGAIN: the queue is full.  ERR_INVALID: a key that is
 * empty or longer than 255 bytes or, for events, has '*', '#' or an empty word; nothing was taken.
 * ERR_CLOSED: stopped.  ERR_NOMEM.  [any] */
int broker_publish(struct broker *broker, enum broker_exchange exchange, const char *const *keys,
                   struct message *const *messages, size_t n, size_t *ret_taken);

/* A sink gets each message that matches any of its subscription's keys, once; lent for the call.
 * It runs on the dispatcher and must not block.  `lost` > 0: that many matching messages could not
 * be delivered before this one. */
typedef void broker_sink_fn(void *ctx, struct message *message, uint64_t lost);

/* Bind; when it returns 0 every message published from now on is delivered.  (One published before may
 * be, too, where it is still on its way through a server.)  ERR_TIMEOUT: the server was not reached in
 * time.  ERR_CLOSED, ERR_INVALID, ERR_NOMEM.  [worker] */
int broker_subscribe(struct broker *broker, enum broker_exchange exchange, const char *const *keys,
                     size_t n_keys, broker_sink_fn *sink, void *ctx,
                     struct broker_subscription **ret, struct error *err);
/* When it returns, the sink is not running and never runs again.  Not from a sink.  [worker] */
void broker_unsubscribe(struct broker_subscription *subscription);

/* Looks at each message of an exchange that has come for this node, before any sink does.  Returns it, or
 * another one in its place, as a new reference (the given one is lent), or NULL to drop it.  Runs on the
 * dispatcher and must not block. */
typedef struct message *broker_filter_fn(void *ctx, const char *key, struct message *message);
/* Before the first subscription; NULL: none.  [control] */
void broker_set_filter(struct broker *broker, enum broker_exchange exchange,
                       broker_filter_fn *filter, void *ctx);

/* False only when it is certain that nobody anywhere has bound a matching key: then a publisher may
 * spare itself the encoding.  [any] */
bool broker_wanted(struct broker *broker, enum broker_exchange exchange, const char *key);

/* --- a server outside this process that was away; the memory broker has nothing to tell --- */

enum broker_news_kind {
    BROKER_AWAY, /* the connection was lost */
    BROKER_BACK, /* and is there again, with all bindings */
    BROKER_GAP,  /* messages between two times may have been missed for good */
};
struct broker_news {
    enum broker_news_kind kind;
    int64_t from_us, to_us;
};
/* Told on the exchange's dispatcher, in order with its messages; must not block.  One for each
 * exchange.  [control] */
typedef void broker_news_fn(void *ctx, const struct broker_news *news);
void broker_watch(struct broker *broker, enum broker_exchange exchange, broker_news_fn *fn,
                  void *ctx);

/* A node, perhaps this one, has missed messages of this one.  It wants, by broker_publish_to(), first
 * the marker: the id behind which the others follow; then, in order, those of the given keys that are
 * behind `after`, or not before `since_us`.  What is published after that follows the last of them. */
struct broker_resend {
    const char *queue;
    uint64_t after;          /* number; 0: it has seen none */
    int64_t since_us;        /* where it has seen none: what is older is not missed */
    const char *const *keys; /* to be matched by topic_match(); none: all */
    size_t n_keys;
};
/* `fn` is called on a dispatcher, copies the request and must not block.  [control] */
typedef void broker_resend_fn(void *ctx, const struct broker_resend *request);
void broker_on_resend(struct broker *broker, broker_resend_fn *fn, void *ctx);
/* To one node's queue; as broker_publish() otherwise.  `key` NULL: the marker, whose body is 1 where
 * messages behind it are lost, else 0.  [any] */
int broker_publish_to(struct broker *broker, const char *queue, const char *key, struct message *m);

/* A short line of text to all other nodes; where the broker is in this process there are none, and it
 * does nothing.  It may be lost in an outage.  [any] */
int broker_tell(struct broker *broker, const char *text);
/* What is told.  On a dispatcher; must not block.  [control] */
typedef void broker_told_fn(void *ctx, const char *text);
void broker_on_told(struct broker *broker, broker_told_fn *fn, void *ctx);

/* --- queries [any] --- */

/* How far the server has what this node published: the highest number of a message that it confirmed
 * with all before it, 0 where none yet.  False: delivery is in this process, there is nothing to
 * confirm. */
bool broker_confirmed(struct broker *broker, enum broker_exchange exchange, uint64_t *ret_sequence);

struct broker_stats {
    bool connected;
    uint64_t published, delivered, unroutable, queued, dropped;
    uint64_t malformed; /* from other publishers, and no JSON object: dropped */
    uint64_t subscriptions;
};
/* ERR_UNAVAILABLE: no connection to the server, of one exchange or more. */
int broker_ping(struct broker *broker, struct error *err);
void broker_get_stats(struct broker *broker, enum broker_exchange exchange,
                      struct broker_stats *ret);

/* Words of `key` against `pattern` as a topic exchange matches them.  [any] */
bool topic_match(const char *pattern, const char *key);

#endif
