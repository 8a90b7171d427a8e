/* Hand-over: a node that gives up leases in good order tells the others at once, so that one of them
 * need not wait until the leases end.  The message goes by the exchange of samples under a key that
 * nothing else binds: {"leases":[{"subscription":H,"last":microseconds},…]}. */
#include "base/auto.h"
#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "broker/broker.h"
#include "cache/cache.h"
#include "timeseries/timeseries_priv.h"

#include <json-c/json.h>
#include <stdlib.h>

enum { BODY_MAX = 16 << 20, RETRY_MS = 1000 };

static const char logger[] = "hyprxa.timeseries";
static const char key_of_handovers[] = "hyprxa.handover";

struct handover {
    struct leases *leases; /* set at init, then const */
    struct broker *broker;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;                            /* guarded by lock */
    struct broker_subscription *subscription; /* the thread's, until it is joined */
};

/* --- receiving: on the broker's dispatcher --- */

static void take_message(void *ctx, struct message *message, uint64_t lost)
{
    struct handover *h = ctx;
    struct error err = ERROR_INIT;
    struct message_frame body = message_body(message);
    AUTO_JSON *root = NULL;
    struct json_object *list = NULL;
    (void)lost;
    if (json_parse(body.data, body.len, &root, &err) ||
        !json_object_object_get_ex(root, "leases", &list) ||
        !json_object_is_type(list, json_type_array)) {
        log_warning(logger, "a hand-over that cannot be read: %s", err.message);
        return;
    }
    size_t n = json_object_array_length(list);
    AUTO_FREE struct handed *items = calloc(n ? n : 1, sizeof *items);
    for (size_t i = 0; items && i < n; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        items[i] =
            (struct handed){json_get_int(item, "subscription", -1), json_get_int(item, "last", 0)};
    }
    /* Without memory the leases are found gone a little later. */
    if (items && n)
        leases_handed_over(h->leases, items, n);
}

/* A broker that is away may come later; nobody waits for it. */
static void *run_handover(void *arg)
{
    struct handover *h = arg;
    const char *keys[] = {key_of_handovers};
    int rc = 0;
    pthread_mutex_lock(&h->lock);
    while (!h->stopping) {
        pthread_mutex_unlock(&h->lock);
        rc = broker_subscribe(h->broker, BROKER_TIMESERIES, keys, 1, take_message, h,
                              &h->subscription, NULL);
        pthread_mutex_lock(&h->lock);
        if (rc != ERR_TIMEOUT && rc != ERR_NOMEM)
            break;
        if (!h->stopping)
            cond_wait_until(&h->wake, &h->lock, time_monotonic_ms() + RETRY_MS);
    }
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* --- sending --- */

void handover_send(struct timeseries *ts, const struct handed *items, size_t n)
{
    AUTO(buf) body = BUF_INIT(BODY_MAX);
    if (!ts->handover)
        return;
    buf_append_lit(&body, "{\"leases\":[");
    for (size_t i = 0; i < n; i++)
        buf_printf(&body, "%s{\"subscription\":%lld,\"last\":%lld}", i ? "," : "",
                   (long long)items[i].hash, (long long)items[i].last_us);
    buf_append_lit(&body, "]}");
    struct message *message =
        body.failed ? NULL : message_new(NULL, time_now_us(), body.data, body.len);
    const char *key = key_of_handovers;
    if (!message || broker_publish(ts->options.broker, BROKER_TIMESERIES, &key, &message, 1, NULL))
        log_warning(logger, "%zu leases are given up without telling the other nodes", n);
    message_unref(message);
}

/* --- life --- */

int handover_open(struct timeseries *ts, struct error *err)
{
    if (!cache_is_shared(ts->options.cache))
        return 0;
    struct handover *h = calloc(1, sizeof *h);
    if (!h)
        return error_set(err, ERR_NOMEM, "out of memory");
    h->leases = ts->leases;
    h->broker = ts->options.broker;
    lock_init(&h->lock);
    cond_init(&h->wake);
    int rc = thread_start(&h->thread, "handover", run_handover, h, err);
    if (rc)
        free(h);
    else
        ts->handover = h;
    return rc;
}

void handover_close(struct timeseries *ts)
{
    struct handover *h = ts->handover;
    if (!h)
        return;
    pthread_mutex_lock(&h->lock);
    h->stopping = true;
    pthread_cond_broadcast(&h->wake);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    broker_unsubscribe(h->subscription);
    pthread_cond_destroy(&h->wake);
    pthread_mutex_destroy(&h->lock);
    free(h);
    ts->handover = NULL;
}
