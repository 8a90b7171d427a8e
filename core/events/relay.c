/* From the storage to a broker outside this process, until that has confirmed.
 *
 * There are two ways, and one of them at a time.  Live: a commit hands its messages over itself.
 * Behind: the broker's queue was full, or the last run left something; then commits only note how far
 * they got, and the relay's thread reads back what is stored and hands it over in order, until
 * nothing is left.  How far the broker has confirmed is kept with the storage once a second: after a
 * crash that much may be sent again, and consumers drop it by its id. */
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "events/events_priv.h"
#include "storage/storage.h"

#include <stdlib.h>

enum {
    SAVE_MS = 1000,
    FULL_MS = 20,       /* between looks at a full queue */
    RETRY_MS = 1000,    /* after an error of the storage */
    CONFIRM_MS = 2000,  /* what stop waits for confirms */
    QUEUED_MAX = 10000, /* messages handed over and not confirmed, while behind */
};

static const char logger[] = "hyprxa.events";

struct relay {
    struct storage *storage; /* set at init, then const */
    struct broker *broker;
    pthread_t thread;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* it fell behind, or stopping was set */
    /* guarded by lock */
    uint64_t newest; /* committed, as far as we were told */
    uint64_t handed; /* in the broker's queue; changed by the thread only, while behind */
    uint64_t relayed;
    bool behind, stopping;

    /* the thread's own */
    uint64_t saved;
    int64_t save_ms;
    bool reported; /* an error */
};

/* --- live --- */

void relay_committed(struct relay *r, const char *const *keys, struct message *const *messages,
                     size_t n)
{
    size_t first = 0, taken = 0;
    pthread_mutex_lock(&r->lock);
    r->newest = message_id(messages[n - 1])->sequence;
    if (!r->behind) {
        /* The thread may have read back what was committed and not told yet. */
        while (first < n && message_id(messages[first])->sequence <= r->handed)
            first++;
        if (first < n)
            broker_publish(r->broker, BROKER_EVENTS, keys + first, messages + first, n - first,
                           &taken);
        if (taken)
            r->handed = message_id(messages[first + taken - 1])->sequence;
        if (first + taken < n) {
            r->behind = true;
            pthread_cond_signal(&r->changed);
        }
    }
    pthread_mutex_unlock(&r->lock);
}

/* --- behind: [the thread] --- */

static void save_mark(struct relay *r)
{
    struct error err = ERROR_INIT;
    uint64_t confirmed = 0;
    int64_t now_ms = time_monotonic_ms();
    broker_confirmed(r->broker, BROKER_EVENTS, &confirmed);
    if (now_ms < r->save_ms || confirmed <= r->saved)
        return;
    r->save_ms = now_ms + SAVE_MS;
    if (storage_event_set_published(r->storage, confirmed, &err))
        log_debug(logger, "how far events were published is not kept: %s", err.message);
    else
        r->saved = confirmed;
}

/* Until `deadline_ms`, or stopping; true: stopping. */
static bool pause_relay(struct relay *r, int64_t deadline_ms)
{
    pthread_mutex_lock(&r->lock);
    while (!r->stopping && cond_wait_until(&r->changed, &r->lock, deadline_ms))
        ;
    bool stopping = r->stopping;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

static bool has_room(struct relay *r)
{
    struct broker_stats stats;
    broker_get_stats(r->broker, BROKER_EVENTS, &stats);
    return stats.queued < QUEUED_MAX;
}

static void note_handed(struct relay *r, uint64_t sequence)
{
    pthread_mutex_lock(&r->lock);
    r->handed = sequence;
    r->relayed++;
    pthread_mutex_unlock(&r->lock);
}

static int hand_over(struct relay *r, const struct storage_event_row *row, struct error *err)
{
    char full_key[EVENT_KEY_MAX + 1];
    int rc = event_publish_key(row->topic, row->routing_key, full_key, err);
    if (rc) /* it was published under its key before: cannot be */
        return rc == ERR_INVALID ? 0 : rc;
    struct message *m = event_message(row);
    const char *keys[] = {full_key};
    rc = m ? ERR_AGAIN : error_set(err, ERR_NOMEM, "out of memory");
    while (rc == ERR_AGAIN) {
        if (has_room(r))
            rc = broker_publish(r->broker, BROKER_EVENTS, keys, &m, 1, NULL);
        save_mark(r);
        if (rc == ERR_AGAIN && pause_relay(r, time_monotonic_ms() + FULL_MS))
            rc = ERR_CLOSED;
    }
    message_unref(m);
    if (!rc)
        note_handed(r, row->id.sequence);
    return rc;
}

/* All up to `reached` is handed over: true, and live again, unless more was committed. */
static bool go_live(struct relay *r, uint64_t reached)
{
    pthread_mutex_lock(&r->lock);
    if (reached > r->handed)
        r->handed = reached;
    r->behind = r->handed < r->newest;
    bool live = !r->behind;
    pthread_mutex_unlock(&r->lock);
    return live;
}

static bool every_key(void *ctx, const char *full_key)
{
    (void)ctx, (void)full_key;
    return true;
}

static int catch_up(struct relay *r, struct error *err)
{
    struct storage_event_cursor *cursor = NULL;
    struct storage_event_row row;
    uint64_t reached = 0;
    bool done = false;
    int rc = storage_event_follow(r->storage, r->handed, INT64_MIN, every_key, NULL, &cursor, err);
    while (!rc && !done) {
        while ((rc = storage_event_next(cursor, &row, err)) > 0 && !(rc = hand_over(r, &row, err)))
            ;
        if (!rc && storage_event_followed(cursor, &reached))
            done = go_live(r, reached);
    }
    storage_event_cursor_close(cursor);
    return rc;
}

static void work(struct relay *r)
{
    struct error err = ERROR_INIT;
    int rc = catch_up(r, &err);
    if (rc && rc != ERR_CLOSED) {
        if (!r->reported)
            log_warning(logger, "stored events cannot be read for the broker: %s; trying again",
                        err.message);
        pause_relay(r, time_monotonic_ms() + RETRY_MS);
    }
    r->reported = rc && rc != ERR_CLOSED;
}

static void *run(void *arg)
{
    struct relay *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping) {
        bool behind = r->behind;
        if (!behind)
            cond_wait_until(&r->changed, &r->lock, time_monotonic_ms() + SAVE_MS);
        pthread_mutex_unlock(&r->lock);
        if (behind)
            work(r);
        save_mark(r);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- life cycle --- */

int relay_new(const struct events_options *options, struct relay **ret, struct error *err)
{
    uint64_t confirmed, published = 0;
    *ret = NULL;
    if (!broker_confirmed(options->broker, BROKER_EVENTS, &confirmed))
        return 0;
    int rc = storage_event_published(options->storage, &published, err);
    if (rc)
        return rc;
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NOMEM, "out of memory");
    r->storage = options->storage;
    r->broker = options->broker;
    r->handed = r->newest = r->saved = published;
    r->behind = true; /* until it is known that nothing was left */
    lock_init(&r->lock);
    cond_init(&r->changed);
    rc = thread_start(&r->thread, "events-relay", run, r, err);
    if (rc) {
        free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

/* A clean end sends nothing again: wait for what is under way, where the server is there. */
static void await_confirms(struct relay *r)
{
    struct broker_stats stats;
    int64_t deadline_ms = time_monotonic_ms() + CONFIRM_MS;
    do {
        broker_get_stats(r->broker, BROKER_EVENTS, &stats);
    } while (stats.connected && stats.queued && time_monotonic_ms() < deadline_ms &&
             !pause_relay(r, time_monotonic_ms() + FULL_MS));
}

void relay_stop(struct relay *r)
{
    await_confirms(r);
    pthread_mutex_lock(&r->lock);
    bool again = r->stopping;
    r->stopping = true;
    r->behind = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (again)
        return;
    pthread_join(r->thread, NULL);
    r->save_ms = 0;
    save_mark(r);
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    relay_stop(r);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void relay_get_stats(struct relay *r, struct relay_stats *ret)
{
    *ret = (struct relay_stats){0};
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    ret->behind = r->newest > r->handed ? r->newest - r->handed : 0;
    ret->relayed = r->relayed;
    pthread_mutex_unlock(&r->lock);
}
