/* The thread that streams and stores the documents. */
#include "logs/logs_priv.h"

#include "base/time.h"
#include "storage/storage.h"

#include <stdlib.h>

enum {
    BATCH_MAX = 500,
    PURGE_INTERVAL_MS = 60 * 1000,
    COMPLAIN_INTERVAL_MS = 60 * 1000,
    RETRY_MS = 1000,
};

static const char logger[] = "hyprxa.logs";

_Thread_local bool logs_is_worker;

/* What the worker holds: streamed, not yet stored. */
struct pending {
    struct entry *first, **last;
    size_t n;
    bool urgent;
    bool failing;        /* the last write did: the next one waits for its time */
    int64_t store_at_ms; /* INT64_MAX: there is nothing to store */
    int64_t purge_at_ms;
    int64_t complain_at_ms;
    uint64_t told_dropped;
    struct storage_log batch[BATCH_MAX]; /* of the write at hand */
};

/* --- storing --- */

/* Up to BATCH_MAX of the pending ones; those stored are released. */
static int store_batch(struct logs *l, struct pending *p, struct error *err)
{
    size_t n = 0, bytes = 0;
    for (struct entry *e = p->first; e && n < BATCH_MAX; e = e->next) {
        struct message_frame body = message_body(e->message);
        p->batch[n++] = (struct storage_log){message_time_us(e->message), body.data, body.len};
        bytes += body.len;
    }
    int rc = storage_logs_append(l->options.storage, p->batch, n, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++) {
        struct entry *e = p->first;
        p->first = e->next;
        message_unref(e->message);
        free(e);
    }
    if (!p->first)
        p->last = &p->first;
    p->n -= n;
    atomic_fetch_add_explicit(&l->n_stored, n, memory_order_relaxed);
    pthread_mutex_lock(&l->lock);
    l->n_held -= n;
    l->held_bytes -= bytes;
    l->n_done += n;
    pthread_cond_broadcast(&l->stored);
    pthread_mutex_unlock(&l->lock);
    return 0;
}

/* Said to the console only, and not for each attempt. */
static void note_failure(struct logs *l, struct pending *p, const struct error *err)
{
    int64_t now_ms = time_monotonic_ms();
    pthread_mutex_lock(&l->lock);
    l->n_failed++;
    l->flush_to = 0; /* whoever waits has waited long enough */
    pthread_cond_broadcast(&l->stored);
    pthread_mutex_unlock(&l->lock);
    if (now_ms < p->complain_at_ms)
        return;
    p->complain_at_ms = now_ms + COMPLAIN_INTERVAL_MS;
    log_cause(LOG_LEVEL_ERROR, logger, err, "logs cannot be stored, trying again: %s",
              err->message);
}

/* After a success: whoever reads the logs must see that some are missing. */
static void tell_dropped(struct logs *l, struct pending *p)
{
    uint64_t dropped = atomic_load(&l->n_dropped[LOGS_DROPPED_FULL]) +
                       atomic_load(&l->n_dropped[LOGS_DROPPED_MEMORY]);
    if (dropped == p->told_dropped)
        return;
    log_mute_sink(false);
    log_warning(logger, "%llu logs were not stored: more came than could be written",
                (unsigned long long)(dropped - p->told_dropped));
    log_mute_sink(true);
    p->told_dropped = dropped;
}

static void store(struct logs *l, struct pending *p)
{
    struct error err = ERROR_INIT;
    int rc = 0;
    while (p->n && !rc)
        rc = store_batch(l, p, &err);
    p->urgent = false;
    p->failing = rc != 0;
    p->store_at_ms = INT64_MAX;
    if (rc) {
        note_failure(l, p, &err);
        p->store_at_ms = time_monotonic_ms() + RETRY_MS;
    } else {
        tell_dropped(l, p);
    }
}

static void purge(struct logs *l, struct pending *p)
{
    struct error err = ERROR_INIT;
    size_t n = 0;
    int more = storage_logs_purge(l->options.storage, time_now_us(), &n, &err);
    atomic_fetch_add_explicit(&l->n_expired, n, memory_order_relaxed);
    if (more < 0)
        note_failure(l, p, &err);
    p->purge_at_ms = more > 0 ? 0 : time_monotonic_ms() + PURGE_INTERVAL_MS;
}

/* --- the loop --- */

/* Pass on to the streams what was taken from the queue, and keep it for the storage. */
static void stream(struct logs *l, struct pending *p, struct entry *taken)
{
    for (struct entry *e = taken; e; e = e->next) {
        channel_publish(l->channel, e->message);
        *p->last = e;
        p->last = &e->next;
        p->n++;
        p->urgent |= e->urgent;
    }
    if (p->n && p->store_at_ms == INT64_MAX)
        p->store_at_ms = time_monotonic_ms() + l->options.flush_interval_us / 1000;
}

/* The queue's entries, waiting for some, for a time to do something else, or for the end. */
static struct entry *take_locked(struct logs *l, const struct pending *p)
{
    int64_t until_ms = p->store_at_ms < p->purge_at_ms ? p->store_at_ms : p->purge_at_ms;
    while (!l->first && !l->stopping && l->flush_to <= l->n_done) {
        l->sleeping = true;
        bool in_time = cond_wait_until(&l->work, &l->lock, until_ms);
        l->sleeping = false;
        if (!in_time)
            break;
    }
    struct entry *taken = l->first;
    l->first = NULL;
    l->last = &l->first;
    return taken;
}

static void give_up(struct logs *l, struct pending *p)
{
    if (p->n)
        log_error(logger, "%zu logs are lost: they could not be stored", p->n);
    atomic_fetch_add(&l->n_dropped[LOGS_DROPPED_STORAGE], p->n);
    for (struct entry *next; p->first; p->first = next) {
        next = p->first->next;
        message_unref(p->first->message);
        free(p->first);
    }
}

void *logs_run(void *arg)
{
    struct logs *l = arg;
    struct pending p = {.store_at_ms = INT64_MAX};
    p.last = &p.first;
    logs_is_worker = true;
    log_mute_sink(true);
    for (bool stopping = false; !stopping;) {
        pthread_mutex_lock(&l->lock);
        struct entry *taken = take_locked(l, &p);
        stopping = l->stopping;
        bool asked = l->flush_to > l->n_done;
        pthread_mutex_unlock(&l->lock);
        stream(l, &p, taken);
        int64_t now_ms = time_monotonic_ms();
        bool at_once = asked || (p.urgent && !p.failing);
        if (p.n && (stopping || at_once || now_ms >= p.store_at_ms))
            store(l, &p);
        if (!stopping && now_ms >= p.purge_at_ms)
            purge(l, &p);
    }
    give_up(l, &p);
    pthread_mutex_lock(&l->lock);
    l->running = false;
    pthread_cond_broadcast(&l->stored);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}
