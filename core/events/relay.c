/* From the storage to a broker outside this process, until that has confirmed.
 *
 * There are two ways, and one of them at a time.  Live: a commit hands its messages over itself.
 * Behind: the broker's queue was full, or the last run left something; then commits only note how far
 * they got, and the relay's thread reads back what is stored and hands it over in order, until
 * nothing is left.  A node that missed some is answered in between, so that what is new follows.
 * How far the broker has confirmed is kept with the storage once a second: after a crash that much
 * may be sent again, and consumers drop it by its id. */
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "events/events_priv.h"
#include "storage/storage.h"

#include <stdlib.h>
#include <string.h>

/* A node that missed events of ours: those are sent to it alone, again, before anything new. */
struct wish {
    struct wish *next;
    char *queue;
    uint64_t after;
    int64_t since_us;
    size_t n_keys;
    char *keys[];
};

enum {
    WISHES_MAX = 256,
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
    uint64_t relayed, resent;
    struct wish *wishes;
    size_t n_wishes;
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

/* Into the broker's queue, once it has room: for whoever bound `key`, or for one `queue`. */
static int put(struct relay *r, const char *queue, const char *key, struct message *m)
{
    int rc = ERR_AGAIN;
    while (rc == ERR_AGAIN) {
        if (has_room(r))
            rc = queue ? broker_publish_to(r->broker, queue, key, m)
                       : broker_publish(r->broker, BROKER_EVENTS, &key, &m, 1, NULL);
        save_mark(r);
        if (rc == ERR_AGAIN && pause_relay(r, time_monotonic_ms() + FULL_MS))
            rc = ERR_CLOSED;
    }
    return rc;
}

static int put_row(struct relay *r, const char *queue, const struct storage_event_row *row,
                   struct error *err)
{
    char full_key[EVENT_KEY_MAX + 1];
    int rc = event_publish_key(row->topic, row->routing_key, full_key, err);
    if (rc) /* it was published under its key before: cannot be */
        return 0;
    struct message *m = event_message(row);
    rc = m ? put(r, queue, full_key, m) : error_set(err, ERR_NOMEM, "out of memory");
    message_unref(m);
    return rc;
}

/* --- what another node has missed --- */

static void wish_free(struct wish *w)
{
    for (size_t i = 0; i < w->n_keys; i++)
        free(w->keys[i]);
    free(w->queue);
    free(w);
}

static struct wish *wish_new(const struct broker_resend *request)
{
    struct wish *w = calloc(1, sizeof *w + request->n_keys * sizeof w->keys[0]);
    if (!w)
        return NULL;
    w->after = request->after;
    w->since_us = request->since_us;
    w->queue = strdup(request->queue);
    bool failed = !w->queue;
    for (; w->n_keys < request->n_keys && !failed; w->n_keys++)
        failed = !(w->keys[w->n_keys] = strdup(request->keys[w->n_keys]));
    if (!failed)
        return w;
    wish_free(w);
    return NULL;
}

/* On the broker's dispatcher.  What is not taken is asked for again. */
static void on_resend(void *ctx, const struct broker_resend *request)
{
    struct relay *r = ctx;
    struct wish *w = wish_new(request);
    if (!w)
        return;
    pthread_mutex_lock(&r->lock);
    struct wish **end = &r->wishes;
    while (*end && strcmp((*end)->queue, w->queue) != 0)
        end = &(*end)->next;
    bool taken = !*end && r->n_wishes < WISHES_MAX;
    if (taken) {
        *end = w;
        r->n_wishes++;
        r->behind = true; /* nothing new is to overtake the answer */
        pthread_cond_signal(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    if (!taken)
        wish_free(w);
}

static bool is_wished(void *ctx, const char *full_key)
{
    const struct wish *w = ctx;
    bool wished = w->n_keys == 0;
    for (size_t i = 0; i < w->n_keys && !wished; i++)
        wished = topic_match(w->keys[i], full_key);
    return wished;
}

/* Where the answer begins; *ret_lost: some of what it should give is not stored any more. */
static int find_start(struct relay *r, const struct wish *w, uint64_t *ret_after, bool *ret_lost,
                      struct error *err)
{
    struct message_id id = {storage_origin(r->storage), storage_epoch(r->storage), w->after};
    struct storage_event_place place;
    uint64_t since = 0;
    int rc = storage_event_since(r->storage, w->since_us, &since, err);
    if (!rc)
        rc = storage_event_place(r->storage, &id, &place, err);
    if (rc)
        return rc;
    /* By number, if it knows one: the time of an event says nothing about when it was sent. */
    *ret_after = w->after ? w->after : since;
    *ret_lost = w->after && place.oldest > w->after + 1 && place.oldest_us > w->since_us;
    if (*ret_after > r->handed)
        *ret_after = r->handed;
    return 0;
}

static int put_marker(struct relay *r, const struct wish *w, uint64_t after, bool lost,
                      struct error *err)
{
    struct message_id id = {storage_origin(r->storage), storage_epoch(r->storage), after};
    struct message *m = message_new(&id, time_now_us(), lost ? "1" : "0", 1);
    int rc = m ? put(r, w->queue, NULL, m) : error_set(err, ERR_NOMEM, "out of memory");
    message_unref(m);
    return rc;
}

/* All behind `after` that has been handed over. */
static int resend(struct relay *r, struct wish *w, uint64_t after, struct error *err)
{
    struct storage_event_cursor *cursor = NULL;
    struct storage_event_row row;
    uint64_t reached = after, sent = 0;
    bool caught_up = after >= r->handed;
    int rc = storage_event_follow(r->storage, after, INT64_MIN, is_wished, w, &cursor, err);
    while (!rc && !caught_up) {
        while ((rc = storage_event_next(cursor, &row, err)) > 0) {
            bool due = row.id.sequence <= r->handed;
            rc = due ? put_row(r, w->queue, &row, err) : 0;
            if (rc)
                break;
            sent += due;
        }
        caught_up = !rc && (storage_event_followed(cursor, &reached) || reached >= r->handed);
    }
    storage_event_cursor_close(cursor);
    pthread_mutex_lock(&r->lock);
    r->resent += sent;
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* Every wish; one that failed is answered again, from its marker on. */
static int fulfil_wishes(struct relay *r, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&r->lock);
    struct wish *w = r->wishes;
    while (w && !rc) {
        pthread_mutex_unlock(&r->lock);
        uint64_t after = 0;
        bool lost = false;
        rc = find_start(r, w, &after, &lost, err);
        if (!rc)
            rc = put_marker(r, w, after, lost, err);
        if (!rc)
            rc = resend(r, w, after, err);
        pthread_mutex_lock(&r->lock);
        if (!rc) {
            r->wishes = w->next;
            r->n_wishes--;
            wish_free(w);
        }
        w = r->wishes;
    }
    pthread_mutex_unlock(&r->lock);
    return rc;
}

/* --- what is not handed over yet --- */

static int hand_over(struct relay *r, const struct storage_event_row *row, struct error *err)
{
    int rc = put_row(r, NULL, row, err);
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
    r->behind = r->handed < r->newest || r->wishes;
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
    int rc = fulfil_wishes(r, err);
    if (!rc)
        rc = storage_event_follow(r->storage, r->handed, INT64_MIN, every_key, NULL, &cursor, err);
    while (!rc && !done) {
        while ((rc = storage_event_next(cursor, &row, err)) > 0 && !(rc = hand_over(r, &row, err)))
            ;
        if (!rc && storage_event_followed(cursor, &reached))
            done = go_live(r, reached);
        if (!rc && !done)
            rc = fulfil_wishes(r, err);
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
    broker_on_resend(r->broker, on_resend, r);
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
    while (r->wishes) {
        struct wish *next = r->wishes->next;
        wish_free(r->wishes);
        r->wishes = next;
    }
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
    ret->resent = r->resent;
    pthread_mutex_unlock(&r->lock);
}
