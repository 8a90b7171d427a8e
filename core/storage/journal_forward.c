/* The forwarder: from the journal to the database, until it is there. */
#include "storage/journal_priv.h"

#include "base/auto.h"
#include "base/log.h"
#include "base/time.h"
#include "storage/event_document.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEND_MS = 1000, FORGET_MS = 1000, RATE_MS = 10000 };
static const int64_t KEEP_US =
    INT64_C(900) * TIME_US_PER_SECOND; /* events, for streams that resume */

static const char logger[] = "hyprxa.storage";

/* --- forwarding events: [the forwarder] --- */

/* What the database will never take is kept in a file, for a person to look at. */
static void set_aside(struct journal *j, const struct storage_event_row *row, const char *why)
{
    struct event_document document = {.topic = row->topic,
                                      .routing_key = row->routing_key,
                                      .payload = row->payload,
                                      .payload_len = row->payload_len,
                                      .time_us = row->time_us,
                                      .posted_by = row->posted_by};
    AUTO(buf) line = BUF_INIT(event_document_size_max(&document) + 1);
    event_document_write(&line, &document);
    buf_append_char(&line, '\n');
    int fd = open(j->refused_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool kept = fd >= 0 && !line.failed && write(fd, line.data, line.len) == (ssize_t)line.len;
    if (fd >= 0)
        close(fd);
    atomic_fetch_add(&j->refused, 1);
    log_error(logger, "the database refuses an event of topic '%s' (%s); it is %s '%s'", row->topic,
              why, kept ? "kept in" : "lost: it cannot be kept in", j->refused_path);
}

static void note_forwarded(struct journal *j, uint64_t number)
{
    pthread_mutex_lock(&j->lock);
    if (number > j->forwarded)
        j->forwarded = number;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
}

static int write_events(struct journal *j, struct storage_event_row *rows, size_t n,
                        struct error *err)
{
    size_t at = 0;
    int rc = 0;
    while (at < n && !rc) {
        size_t done = 0;
        rc = j->ops->events_write(j->remote, rows + at, n - at, &done, err);
        at += done;
        if (rc == ERR_INVALID && at < n) {
            set_aside(j, &rows[at++], err ? err->message : "");
            rc = 0;
        }
        for (size_t i = at - done; i < at; i++)
            atomic_fetch_sub(&j->event_bytes, journal_weight(rows[i].payload_len));
        if (at)
            note_forwarded(j, rows[at - 1].id.sequence);
    }
    return rc;
}

/* Rows of a window, copied: the cursor's own are valid one at a time. */
struct row_copies {
    struct storage_event_row rows[JOURNAL_ROWS];
    char *texts[JOURNAL_ROWS];
    size_t n;
};

static int copy_row(struct row_copies *c, const struct storage_event_row *row)
{
    size_t topic = strlen(row->topic) + 1, key = strlen(row->routing_key) + 1,
           by = row->posted_by ? strlen(row->posted_by) + 1 : 0;
    char *text = malloc(topic + key + by + row->payload_len + 1);
    if (!text)
        return ERR_NOMEM;
    struct storage_event_row *copy = &c->rows[c->n];
    *copy = *row;
    copy->topic = memcpy(text, row->topic, topic);
    copy->routing_key = memcpy(text + topic, row->routing_key, key);
    if (by)
        copy->posted_by = memcpy(text + topic + key, row->posted_by, by);
    copy->payload = memcpy(text + topic + key + by, row->payload, row->payload_len);
    text[topic + key + by + row->payload_len] = '\0';
    c->texts[c->n++] = text;
    return 0;
}

static int flush_copies(struct journal *j, struct row_copies *c, struct error *err)
{
    int rc = c->n ? write_events(j, c->rows, c->n, err) : 0;
    for (size_t i = 0; i < c->n; i++)
        free(c->texts[i]);
    c->n = 0;
    return rc;
}

static bool every_key(void *ctx, const char *full_key)
{
    (void)ctx, (void)full_key;
    return true;
}

/* All events behind the mark, window by window. */
static int forward_events(struct journal *j, struct error *err)
{
    struct storage_event_cursor *cursor = NULL;
    struct storage_event_row row;
    uint64_t reached = 0;
    pthread_mutex_lock(&j->lock);
    uint64_t after = j->forwarded;
    bool any = j->forwarded < j->newest;
    pthread_mutex_unlock(&j->lock);
    if (!any)
        return 0;
    struct row_copies *copies = calloc(1, sizeof *copies);
    int rc = copies
                 ? storage_event_follow(j->local, after, TIME_US_MIN, every_key, NULL, &cursor, err)
                 : error_set(err, ERR_NOMEM, "storage: out of memory");
    bool more = true;
    while (!rc && more) {
        while ((rc = storage_event_next(cursor, &row, err)) > 0) {
            rc = copy_row(copies, &row);
            if (!rc && copies->n == JOURNAL_ROWS)
                rc = flush_copies(j, copies, err);
            if (rc)
                break;
        }
        if (!rc)
            rc = flush_copies(j, copies, err);
        more = !storage_event_followed(cursor, &reached);
    }
    if (copies)
        for (size_t i = 0; i < copies->n; i++)
            free(copies->texts[i]);
    free(copies);
    if (cursor)
        storage_event_cursor_close(cursor);
    return rc;
}

/* --- samples --- */

/* The queue, taken out.  [the forwarder] */
static size_t take_queue(struct journal *j, struct sample_block ***ret, size_t *ret_samples)
{
    pthread_mutex_lock(&j->lock);
    size_t n = j->n_queue;
    *ret = j->queue;
    *ret_samples = j->queued_samples;
    j->queue = NULL;
    j->n_queue = j->cap_queue = j->queued_samples = 0;
    pthread_mutex_unlock(&j->lock);
    return n;
}

/* It could not be saved: back in front of what came meanwhile. */
static void return_queue(struct journal *j, struct sample_block **blocks, size_t n, size_t samples)
{
    pthread_mutex_lock(&j->lock);
    struct sample_block **all = realloc(blocks, (n + j->n_queue) * sizeof(struct sample_block *));
    if (all) {
        if (j->n_queue)
            memcpy(all + n, j->queue, j->n_queue * sizeof(struct sample_block *));
        free(j->queue);
        j->queue = all;
        j->n_queue = j->cap_queue = n + j->n_queue;
        j->queued_samples += samples;
    }
    pthread_mutex_unlock(&j->lock);
    if (all)
        return;
    for (size_t i = 0; i < n; i++)
        sample_block_unref(blocks[i]);
    free(blocks);
    atomic_fetch_add(&j->samples_failed, samples);
}

/* The bound of the disk: the oldest samples go, counted. */
static int bound_spool(struct journal *j, struct error *err)
{
    struct spool_row row;
    int rc = 0;
    while (!rc && spool_bytes(j->spool) > j->max_bytes && spool_oldest(j->spool, &row, err) > 0) {
        if (atomic_fetch_add(&j->samples_dropped, row.n_samples) == 0)
            log_warning(logger, "the journal is full: the oldest samples are dropped");
        rc = spool_drop_oldest(j->spool, err);
    }
    return rc;
}

static int save_samples(struct journal *j, struct error *err)
{
    struct sample_block **blocks;
    size_t samples, n = take_queue(j, &blocks, &samples);
    if (!n)
        return 0;
    int rc = spool_append(j->spool, blocks, n, err);
    if (rc) {
        return_queue(j, blocks, n, samples);
        return rc;
    }
    for (size_t i = 0; i < n; i++)
        sample_block_unref(blocks[i]);
    free(blocks);
    pthread_mutex_lock(&j->lock);
    j->durable += n;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    return bound_spool(j, err);
}

/* The spool's rows into the database; when none is left, all that is durable has got there. */
static int forward_samples(struct journal *j, struct error *err)
{
    struct spool_row row;
    int rc = 0;
    while ((rc = spool_oldest(j->spool, &row, err)) > 0) {
        size_t duplicate = 0;
        rc = j->ops->samples_write(j->remote, row.runs, row.n_runs, &duplicate, err);
        for (size_t i = 0; i < row.n_states && !rc; i++)
            rc = j->ops->state_put(j->remote, &row.states[i], err);
        if (rc == ERR_INVALID) { /* it will never take this: go on */
            log_error(logger, "the database refuses samples: %s", err->message);
            atomic_fetch_add(&j->samples_failed, row.n_samples);
            rc = 0;
        } else if (!rc) {
            atomic_fetch_add(&j->samples_duplicate, duplicate);
            atomic_fetch_add(&j->samples_stored, row.n_samples - duplicate);
        }
        if (!rc)
            rc = spool_drop_oldest(j->spool, err);
        if (rc)
            return rc;
    }
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&j->lock);
    j->delivered = j->durable;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    return 0;
}

/* --- the forwarder --- */

static void note_attempt(struct journal *j, int rc, const struct error *err)
{
    pthread_mutex_lock(&j->lock);
    bool was_failing = j->failure.code != 0;
    j->failure = rc ? *err : (struct error){0};
    j->attempts++;
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    if (rc && !was_failing)
        log_warning(logger, "%s; what is accepted waits in the journal", err->message);
    else if (!rc && was_failing)
        log_warning(logger, "the database is back");
}

/* What the database and the broker have, and streams no longer ask for. */
static int forget_events(struct journal *j, struct error *err)
{
    pthread_mutex_lock(&j->lock);
    uint64_t forwarded = j->forwarded, published = atomic_load(&j->published);
    bool stopping = j->stopping; /* the local storage takes no more writes then */
    pthread_mutex_unlock(&j->lock);
    return stopping ? 0
                    : sqlite_event_forget(sqlite_of(j->local), forwarded,
                                          published < forwarded ? published : forwarded,
                                          time_now_us() - KEEP_US, err);
}

/* The rate, and the bytes of events that the database has and the broker has not, by the events'
 * average. */
static void measure(struct journal *j)
{
    pthread_mutex_lock(&j->lock);
    uint64_t forwarded = j->forwarded, published = atomic_load(&j->published);
    int64_t now_ms = time_monotonic_ms();
    if (now_ms - j->rate_ms >= RATE_MS) {
        j->rate = (double)(forwarded - j->rate_forwarded) * 1000 / (double)(now_ms - j->rate_ms);
        j->rate_forwarded = forwarded;
        j->rate_ms = now_ms;
    }
    pthread_mutex_unlock(&j->lock);
    uint64_t n = atomic_load(&j->weighed);
    uint64_t average = n ? atomic_load(&j->weight) / n : JOURNAL_EVENT_OVERHEAD;
    atomic_store(&j->held_bytes, published < forwarded ? (forwarded - published) * average : 0);
}

static int attempt(struct journal *j, struct error *err)
{
    int64_t now_ms = time_monotonic_ms();
    int rc = 0;
    if (now_ms >= j->tend_ms) {
        rc = j->ops->tend(j->remote, err);
        j->tend_ms = now_ms + TEND_MS;
    }
    if (!rc)
        rc = forward_events(j, err);
    if (!rc)
        rc = forward_samples(j, err);
    if (!rc && now_ms >= j->forget_ms) {
        rc = forget_events(j, err);
        j->forget_ms = now_ms + FORGET_MS;
    }
    return rc;
}

static void run_once(struct journal *j)
{
    struct error err = ERROR_INIT;
    measure(j);
    int rc = save_samples(j, &err);
    if (rc) {
        note_attempt(j, rc, &err);
        j->retry_ms = time_monotonic_ms() + backoff_next_ms(&j->backoff);
        return;
    }
    atomic_store(&j->spool_bytes, spool_bytes(j->spool));
    if (time_monotonic_ms() < j->retry_ms)
        return;
    rc = attempt(j, &err);
    atomic_store(&j->spool_bytes, spool_bytes(j->spool));
    if (rc) {
        j->retry_ms = time_monotonic_ms() + backoff_next_ms(&j->backoff);
    } else {
        backoff_reset(&j->backoff);
        j->retry_ms = 0;
    }
    note_attempt(j, rc, &err);
}

/* Sleep until there is something to do. */
static void await_work_locked(struct journal *j)
{
    int64_t now_ms = time_monotonic_ms();
    int64_t until_ms = now_ms + TEND_MS;
    bool pending = j->delivered < j->durable;
    if (j->forwarded < j->newest) { /* few events wait a moment for more */
        int64_t flush_ms = j->events_since_ms + j->event_interval_ms;
        if (j->asked || j->failure.code || j->newest - j->forwarded >= JOURNAL_ROWS)
            pending = true;
        else if (flush_ms < until_ms)
            until_ms = flush_ms;
    }
    if (j->n_queue) {
        int64_t flush_ms = j->queue_since_ms + j->flush_interval_us / 1000;
        until_ms = j->asked || flush_ms < until_ms ? (j->asked ? now_ms : flush_ms) : until_ms;
    }
    if (pending)
        until_ms = j->retry_ms > now_ms ? j->retry_ms < until_ms ? j->retry_ms : until_ms : now_ms;
    if (until_ms <= now_ms)
        return;
    j->sleeping = true;
    cond_wait_until(&j->wake, &j->lock, until_ms);
    j->sleeping = false;
}

void *journal_forward(void *arg)
{
    struct journal *j = arg;
    pthread_mutex_lock(&j->lock);
    while (!j->stopping) {
        await_work_locked(j);
        pthread_mutex_unlock(&j->lock);
        run_once(j);
        pthread_mutex_lock(&j->lock);
    }
    pthread_mutex_unlock(&j->lock);
    run_once(j); /* what came last is durable, and forwarded where the database is there */
    return NULL;
}
