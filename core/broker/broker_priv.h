/* What the back ends of the broker share: the operations table and a subscription. */
#ifndef HYPRXA_BROKER_BROKER_PRIV_H
#define HYPRXA_BROKER_BROKER_PRIV_H

#include "broker/broker.h"

/* One back end.  Keys reach it checked; `ret` arguments are never NULL. */
struct broker_ops {
    const char *scheme; /* of the URI, with the colon */
    /* required */
    int (*open)(const struct broker_options *options, struct broker **ret, struct error *err);
    void (*stop)(struct broker *broker);
    void (*close)(struct broker *broker); /* after stop */
    int (*publish)(struct broker *broker, enum broker_exchange exchange, const char *const *keys,
                   struct message *const *messages, size_t n, size_t *ret_taken);
    int (*subscribe)(struct broker *broker, enum broker_exchange exchange,
                     struct broker_subscription *subscription, struct error *err);
    void (*unsubscribe)(struct broker *broker, struct broker_subscription *subscription);
    void (*set_filter)(struct broker *broker, enum broker_exchange exchange,
                       broker_filter_fn *filter, void *ctx);
    void (*get_stats)(struct broker *broker, enum broker_exchange exchange,
                      struct broker_stats *ret);
    /* --- optional --- */
    bool (*wanted)(struct broker *broker, enum broker_exchange exchange,
                   const char *key); /* NULL: always true */
    void (*watch)(struct broker *broker, enum broker_exchange exchange, broker_news_fn *fn,
                  void *ctx); /* NULL: there is no news */
    void (*on_resend)(struct broker *broker, broker_resend_fn *fn, void *ctx);
    int (*publish_to)(struct broker *broker, const char *queue, const char *key, struct message *m);
    int (*tell)(struct broker *broker, const char *text);
    void (*on_told)(struct broker *broker, broker_told_fn *fn, void *ctx);
    uint64_t (*confirmed)(struct broker *broker,
                          enum broker_exchange exchange); /* NULL: nothing is */
};

/* Every back end's object begins with this. */
struct broker {
    const struct broker_ops *ops;
};

extern const struct broker_ops broker_memory_ops;
/* In a module of its own (build/backends/rabbitmq.so), loaded when configured. */
extern const struct broker_ops broker_rabbitmq_ops;

enum { BROKER_MAX_QUEUED = 100000 };
static inline size_t broker_max_queued(const struct broker_options *options)
{
    return options->max_queued ? options->max_queued : BROKER_MAX_QUEUED;
}

struct broker_subscription {
    /* set at init, then const */
    struct broker *broker;
    enum broker_exchange exchange;
    broker_sink_fn *sink;
    void *ctx;
    uint64_t from; /* earlier positions of the exchange are not for it; set by the back end */

    /* the fan-out's, guarded by its lock */
    struct broker_subscription *next, *previous;
    uint64_t stamp; /* the last visit of the bindings */
    uint64_t lost;  /* matching messages not delivered; written by the dispatcher only */

    size_t n_keys;
    char *keys[]; /* owned */
};

#endif
