#include "broker/broker.h"

#include "base/module.h"
#include "broker/broker_priv.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_MAX = 255 };

/* --- life cycle --- */

static int find_back_end(const char *uri, const struct broker_ops **ret, struct error *err)
{
    const void *symbol = NULL;
    if (strncmp(uri, broker_memory_ops.scheme, strlen(broker_memory_ops.scheme)) == 0) {
        *ret = &broker_memory_ops;
        return 0;
    }
    if (strncmp(uri, "amqp://", 7) != 0 && strncmp(uri, "amqps://", 8) != 0)
        /* Only the scheme: what follows may hold a password. */
        return error_set(err, ERR_UNSUPPORTED,
                         "broker '%.*s:...': neither 'memory:' nor 'amqp(s)://...'",
                         (int)strcspn(uri, ":"), uri);
    int rc = module_open_back_end("rabbitmq", "broker_rabbitmq_ops", &symbol, err);
    if (!rc)
        *ret = symbol;
    return rc;
}

int broker_open(const struct broker_options *options, struct broker **ret, struct error *err)
{
    struct broker_options given = *options;
    const struct broker_ops *ops = NULL;
    if (!given.uri)
        given.uri = broker_memory_ops.scheme;
    int rc = find_back_end(given.uri, &ops, err);
    return rc ? rc : ops->open(&given, ret, err);
}

void broker_stop(struct broker *broker)
{
    broker->ops->stop(broker);
}

void broker_close(struct broker *broker)
{
    if (!broker)
        return;
    broker->ops->stop(broker);
    broker->ops->close(broker);
}

/* --- keys --- */

/* A topic key is words between dots, none empty and none a wildcard; a direct key is any text. */
static bool key_valid(enum broker_exchange exchange, const char *key)
{
    size_t len = strnlen(key, KEY_MAX + 1);
    if (len == 0 || len > KEY_MAX)
        return false;
    if (exchange != BROKER_EVENTS)
        return true;
    return !strpbrk(key, "*#") && key[0] != '.' && key[len - 1] != '.' && !strstr(key, "..");
}

static int bind_key_check(const char *key, struct error *err)
{
    size_t len = strnlen(key, KEY_MAX + 1);
    if (len == 0)
        return error_set(err, ERR_INVALID, "a key to bind is empty");
    if (len > KEY_MAX)
        return error_set(err, ERR_INVALID, "a key to bind is longer than %d bytes", KEY_MAX);
    return 0;
}

/* --- operations --- */

int broker_publish(struct broker *broker, enum broker_exchange exchange, const char *const *keys,
                   struct message *const *messages, size_t n, size_t *ret_taken)
{
    size_t taken = 0;
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = key_valid(exchange, keys[i]) ? 0 : ERR_INVALID;
    if (!rc)
        rc = broker->ops->publish(broker, exchange, keys, messages, n, &taken);
    if (ret_taken)
        *ret_taken = taken;
    return rc;
}

static void subscription_free(struct broker_subscription *s)
{
    for (size_t i = 0; s && i < s->n_keys; i++)
        free(s->keys[i]);
    free(s);
}

static struct broker_subscription *subscription_new(const char *const *keys, size_t n)
{
    struct broker_subscription *s = calloc(1, sizeof *s + n * sizeof s->keys[0]);
    if (!s)
        return NULL;
    for (s->n_keys = 0; s->n_keys < n; s->n_keys++) {
        s->keys[s->n_keys] = strdup(keys[s->n_keys]);
        if (!s->keys[s->n_keys]) {
            subscription_free(s);
            return NULL;
        }
    }
    return s;
}

int broker_subscribe(struct broker *broker, enum broker_exchange exchange, const char *const *keys,
                     size_t n_keys, broker_sink_fn *sink, void *ctx,
                     struct broker_subscription **ret, struct error *err)
{
    for (size_t i = 0; i < n_keys; i++) {
        int rc = bind_key_check(keys[i], err);
        if (rc)
            return rc;
    }
    struct broker_subscription *s = subscription_new(keys, n_keys);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory for a broker subscription");
    s->broker = broker;
    s->exchange = exchange;
    s->sink = sink;
    s->ctx = ctx;
    int rc = broker->ops->subscribe(broker, exchange, s, err);
    if (rc)
        subscription_free(s);
    else
        *ret = s;
    return rc;
}

void broker_unsubscribe(struct broker_subscription *subscription)
{
    if (!subscription)
        return;
    subscription->broker->ops->unsubscribe(subscription->broker, subscription);
    subscription_free(subscription);
}

void broker_set_filter(struct broker *broker, enum broker_exchange exchange,
                       broker_filter_fn *filter, void *ctx)
{
    broker->ops->set_filter(broker, exchange, filter, ctx);
}

bool broker_wanted(struct broker *broker, enum broker_exchange exchange, const char *key)
{
    return !broker->ops->wanted || broker->ops->wanted(broker, exchange, key);
}

void broker_watch(struct broker *broker, enum broker_exchange exchange, broker_news_fn *fn,
                  void *ctx)
{
    if (broker->ops->watch)
        broker->ops->watch(broker, exchange, fn, ctx);
}

void broker_on_resend(struct broker *broker, broker_resend_fn *fn, void *ctx)
{
    if (broker->ops->on_resend)
        broker->ops->on_resend(broker, fn, ctx);
}

int broker_publish_to(struct broker *broker, const char *queue, const char *key, struct message *m)
{
    return broker->ops->publish_to ? broker->ops->publish_to(broker, queue, key, m)
                                   : ERR_UNSUPPORTED;
}

int broker_tell(struct broker *broker, const char *text)
{
    return broker->ops->tell ? broker->ops->tell(broker, text) : 0;
}

void broker_on_told(struct broker *broker, broker_told_fn *fn, void *ctx)
{
    if (broker->ops->on_told)
        broker->ops->on_told(broker, fn, ctx);
}

/* --- queries --- */

bool broker_confirmed(struct broker *broker, enum broker_exchange exchange, uint64_t *ret_sequence)
{
    if (!broker->ops->confirmed)
        return false;
    *ret_sequence = broker->ops->confirmed(broker, exchange);
    return true;
}

int broker_ping(struct broker *broker, struct error *err)
{
    for (int i = 0; i < BROKER_EXCHANGES; i++) {
        struct broker_stats stats;
        broker_get_stats(broker, (enum broker_exchange)i, &stats);
        if (!stats.connected)
            return error_set(err, ERR_UNAVAILABLE, "Broker is unavailable.");
    }
    return 0;
}

void broker_get_stats(struct broker *broker, enum broker_exchange exchange,
                      struct broker_stats *ret)
{
    memset(ret, 0, sizeof *ret);
    broker->ops->get_stats(broker, exchange, ret);
}
