#include "plugin_host/queue.h"

#include "base/thread.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

void queue_init(struct queue *q, size_t max_samples, size_t max_bytes)
{
    *q = (struct queue){.max_samples = max_samples, .max_bytes = max_bytes};
    q->waiters_end = &q->waiters;
    lock_init(&q->lock);
    cond_init(&q->filled);
}

void queue_release(struct queue *q)
{
    for (size_t i = 0; i < q->n; i++)
        sample_block_unref(q->ring[(q->first + i) & (q->cap - 1)].block);
    free(q->ring);
    pthread_cond_destroy(&q->filled);
    pthread_mutex_destroy(&q->lock);
}

void queue_waiter_init(struct queue_waiter *w)
{
    *w = (struct queue_waiter){0};
    cond_init(&w->room);
}

void queue_waiter_release(struct queue_waiter *w)
{
    pthread_cond_destroy(&w->room);
}

void queue_cancel(struct queue *q, struct queue_waiter *w)
{
    pthread_mutex_lock(&q->lock);
    w->canceled = true;
    pthread_cond_signal(&w->room);
    pthread_mutex_unlock(&q->lock);
}

/* Make sure that one more push finds a place. */
static int promise_locked(struct queue *q)
{
    if (q->n + q->promised + 1 > q->cap) {
        size_t cap = q->cap ? q->cap * 2 : 64;
        struct queue_entry *ring = malloc(cap * sizeof *ring);
        if (!ring)
            return ERR_NOMEM;
        for (size_t i = 0; i < q->n; i++)
            ring[i] = q->ring[(q->first + i) & (q->cap - 1)];
        free(q->ring);
        q->ring = ring;
        q->cap = cap;
        q->first = 0;
    }
    q->promised++;
    return 0;
}

/* Fill a promised place. */
static void push_locked(struct queue *q, struct queue_entry entry)
{
    q->promised--;
    q->ring[(q->first + q->n++) & (q->cap - 1)] = entry;
    pthread_cond_signal(&q->filled);
}

static bool fits(const struct queue *q, size_t samples, size_t bytes)
{
    return q->samples + samples <= q->max_samples && q->bytes + bytes <= q->max_bytes;
}

/* Whoever is first looks again whether there is room for it now. */
static void call_first_waiter(struct queue *q)
{
    if (q->waiters)
        pthread_cond_signal(&q->waiters->room);
}

static void leave_waiters(struct queue *q, struct queue_waiter *w)
{
    struct queue_waiter **at = &q->waiters;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (!*at)
        q->waiters_end = at;
    call_first_waiter(q);
}

static int wait_for_room(struct queue *q, struct queue_waiter *w, size_t samples, size_t bytes,
                         int64_t timeout_ms)
{
    int64_t deadline_ms = timeout_ms < 0 ? INT64_MAX : time_monotonic_ms() + timeout_ms;
    bool in_time = true;
    w->next = NULL;
    *q->waiters_end = w;
    q->waiters_end = &w->next;
    while (!w->canceled && !q->closed && in_time && !(q->waiters == w && fits(q, samples, bytes)))
        in_time = cond_wait_until(&w->room, &q->lock, deadline_ms);
    int rc = w->canceled || q->closed                     ? ERR_CLOSED
             : q->waiters == w && fits(q, samples, bytes) ? promise_locked(q)
                                                          : ERR_AGAIN;
    if (!rc) {
        q->samples += samples;
        q->bytes += bytes;
    }
    leave_waiters(q, w);
    return rc;
}

int queue_reserve(struct queue *q, struct queue_waiter *w, size_t samples, size_t bytes,
                  int64_t timeout_ms)
{
    if (samples > q->max_samples || bytes > q->max_bytes)
        return ERR_LIMIT;
    int rc;
    pthread_mutex_lock(&q->lock);
    if (w->canceled || q->closed) {
        rc = ERR_CLOSED;
    } else if (!q->waiters && fits(q, samples, bytes)) {
        rc = promise_locked(q);
        if (!rc) {
            q->samples += samples;
            q->bytes += bytes;
        }
    } else {
        rc = timeout_ms ? wait_for_room(q, w, samples, bytes, timeout_ms) : ERR_AGAIN;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

void queue_push(struct queue *q, struct sample_block *block, size_t samples, size_t bytes)
{
    pthread_mutex_lock(&q->lock);
    q->samples -= samples - (block ? block->n_samples : 0);
    q->bytes -= bytes - (block ? block->n_bytes : 0);
    if (block)
        push_locked(q, (struct queue_entry){.block = block});
    else
        q->promised--;
    if (!block || block->n_samples < samples || block->n_bytes < bytes)
        call_first_waiter(q);
    pthread_mutex_unlock(&q->lock);
}

int queue_promise(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    int rc = promise_locked(q);
    pthread_mutex_unlock(&q->lock);
    return rc;
}

void queue_unpromise(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->promised--;
    pthread_mutex_unlock(&q->lock);
}

void queue_push_news(struct queue *q, struct news *news)
{
    pthread_mutex_lock(&q->lock);
    push_locked(q, (struct queue_entry){.news = news});
    pthread_mutex_unlock(&q->lock);
}

int queue_take(struct queue *q, int64_t deadline_ms, struct queue_entry *ret)
{
    int rc = 0;
    bool in_time = true;
    pthread_mutex_lock(&q->lock);
    while (!q->n && !q->closed && !q->woken && in_time)
        in_time = cond_wait_until(&q->filled, &q->lock, deadline_ms);
    if (q->n) {
        *ret = q->ring[q->first];
        q->first = (q->first + 1) & (q->cap - 1);
        q->n--;
        if (ret->block) {
            q->samples -= ret->block->n_samples;
            q->bytes -= ret->block->n_bytes;
            call_first_waiter(q);
        }
    } else if (q->woken) {
        q->woken = false;
        rc = ERR_TIMEOUT;
    } else {
        rc = q->closed ? ERR_CLOSED : ERR_TIMEOUT;
    }
    pthread_mutex_unlock(&q->lock);
    return rc;
}

void queue_wake(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->woken = true;
    pthread_cond_signal(&q->filled);
    pthread_mutex_unlock(&q->lock);
}

void queue_close(struct queue *q)
{
    pthread_mutex_lock(&q->lock);
    q->closed = true;
    pthread_cond_signal(&q->filled);
    for (struct queue_waiter *w = q->waiters; w; w = w->next)
        pthread_cond_signal(&w->room);
    pthread_mutex_unlock(&q->lock);
}

void queue_level(struct queue *q, size_t *ret_samples, size_t *ret_bytes)
{
    pthread_mutex_lock(&q->lock);
    *ret_samples = q->samples;
    *ret_bytes = q->bytes;
    pthread_mutex_unlock(&q->lock);
}
