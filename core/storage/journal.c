/* The journal's table, and what it accepts. */
#include "storage/journal_priv.h"

#include "base/auto.h"
#include "base/module.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EVENT_INTERVAL_MS = 100, BACKOFF_FIRST_MS = 200, BACKOFF_MAX_MS = 3000 };
static const uint64_t JOURNAL_MAX = UINT64_C(1) << 30;

/* --- events --- */

/* The local storage has committed: pass on, then forward. */
static void on_commit(void *ctx, const char *const *keys, struct message *const *messages, size_t n)
{
    struct journal *j = ctx;
    if (j->committed)
        j->committed(j->committed_ctx, keys, messages, n);
    pthread_mutex_lock(&j->lock);
    if (j->forwarded == j->newest) {
        j->events_since_ms = time_monotonic_ms();
        journal_wake_locked(j);
    }
    j->newest = message_id(messages[n - 1])->sequence;
    if (j->newest - j->forwarded >= JOURNAL_ROWS)
        journal_wake_locked(j);
    pthread_mutex_unlock(&j->lock);
}

static void journal_on_event_commit(struct storage *st, storage_committed_fn *fn, void *ctx)
{
    journal_of(st)->committed = fn;
    journal_of(st)->committed_ctx = ctx;
}

static int journal_event_append(struct storage *st, const struct storage_event *event,
                                int64_t deadline_ms, struct message_id *ret_id, struct error *err)
{
    struct journal *j = journal_of(st);
    uint64_t bytes = journal_weight(event->payload_len);
    if (atomic_load(&j->event_bytes) + atomic_load(&j->held_bytes) + bytes > j->max_bytes)
        return error_set(err, ERR_AGAIN, "Event storage is full.");
    atomic_fetch_add(&j->event_bytes, bytes);
    int rc = storage_event_append(j->local, event, deadline_ms, ret_id, err);
    if (rc) {
        atomic_fetch_sub(&j->event_bytes, bytes);
    } else {
        atomic_fetch_add_explicit(&j->weight, bytes, memory_order_relaxed);
        atomic_fetch_add_explicit(&j->weighed, 1, memory_order_relaxed);
    }
    return rc;
}

/* --- samples --- */

static int journal_samples_append(struct storage *st, struct sample_block *block,
                                  int64_t deadline_ms, struct error *err)
{
    struct journal *j = journal_of(st);
    int rc = 0;
    pthread_mutex_lock(&j->lock);
    while (!rc && !j->stopping && j->queued_samples &&
           j->queued_samples + block->n_samples > j->max_queued_samples) {
        journal_wake_locked(j);
        if (!cond_wait_until(&j->changed, &j->lock, deadline_ms))
            rc = error_set(err, ERR_AGAIN, "the queue of samples is full");
    }
    if (!rc && j->stopping)
        rc = error_set(err, ERR_CLOSED, "storage is stopped");
    if (!rc && j->n_queue == j->cap_queue) {
        size_t cap = j->cap_queue ? j->cap_queue * 2 : 64;
        struct sample_block **grown = realloc(j->queue, cap * sizeof(struct sample_block *));
        if (grown) {
            j->queue = grown;
            j->cap_queue = cap;
        } else {
            rc = error_set(err, ERR_NOMEM, "storage: out of memory");
        }
    }
    if (!rc) {
        if (!j->n_queue) {
            j->queue_since_ms = time_monotonic_ms();
            journal_wake_locked(j);
        }
        j->queue[j->n_queue++] = sample_block_ref(block);
        j->queued_samples += block->n_samples;
        j->appended++;
    }
    pthread_mutex_unlock(&j->lock);
    return rc;
}

static int journal_samples_flush(struct storage *st, struct error *err)
{
    struct journal *j = journal_of(st);
    int rc = 0;
    pthread_mutex_lock(&j->lock);
    uint64_t block = j->appended, attempts = j->attempts;
    j->asked++;
    journal_wake_locked(j);
    while (!rc && j->durable < block) {
        if (j->stopping || (j->failure.code == ERR_AGAIN && j->attempts > attempts + 1)) {
            rc = ERR_UNAVAILABLE;
            if (err)
                *err = j->failure;
        } else {
            cond_wait_until(&j->changed, &j->lock, INT64_MAX);
        }
    }
    j->asked--;
    pthread_mutex_unlock(&j->lock);
    return rc;
}

/* --- queries --- */

static void journal_get_stats(struct storage *st, struct storage_stats *ret)
{
    struct journal *j = journal_of(st);
    storage_get_stats(j->local, ret);
    ret->samples_stored = atomic_load(&j->samples_stored);
    ret->samples_duplicate = atomic_load(&j->samples_duplicate);
    ret->samples_failed = atomic_load(&j->samples_failed) + atomic_load(&j->samples_dropped);
    ret->journal_bytes =
        atomic_load(&j->event_bytes) + atomic_load(&j->held_bytes) + atomic_load(&j->spool_bytes);
    ret->bytes_on_disk += atomic_load(&j->spool_bytes);
    ret->journal_refused = atomic_load(&j->refused);
    pthread_mutex_lock(&j->lock);
    ret->samples_queued = j->queued_samples;
    ret->journal_events = j->newest - j->forwarded;
    ret->journal_forwarded = j->forwarded - j->recovered;
    ret->journal_age_ms = ret->journal_events ? time_monotonic_ms() - j->events_since_ms : 0;
    ret->journal_rate = j->rate;
    pthread_mutex_unlock(&j->lock);
}

static int journal_ping(struct storage *st, struct error *err)
{
    struct journal *j = journal_of(st);
    int rc = storage_ping(j->local, err);
    if (!rc)
        rc = j->ops->ping(j->remote, err);
    if (rc == ERR_UNAVAILABLE)
        error_set(err, rc, "Application database is unavailable.");
    return rc;
}

/* --- life cycle --- */

static void journal_stop(struct storage *st)
{
    struct journal *j = journal_of(st);
    storage_stop(j->local); /* commits what is queued; the forwarder still reads */
    if (!j->started)
        return;
    pthread_mutex_lock(&j->lock);
    bool again = j->stopping;
    j->stopping = true;
    pthread_cond_broadcast(&j->wake);
    pthread_cond_broadcast(&j->changed);
    pthread_mutex_unlock(&j->lock);
    if (!again)
        pthread_join(j->thread, NULL);
}

static void journal_close(struct storage *st)
{
    struct journal *j = journal_of(st);
    for (size_t i = 0; i < j->n_queue; i++)
        sample_block_unref(j->queue[i]);
    free(j->queue);
    spool_close(j->spool);
    if (j->remote)
        j->ops->close(j->remote);
    storage_close(j->local);
    free(j->refused_path);
    pthread_cond_destroy(&j->wake);
    pthread_cond_destroy(&j->changed);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static int path_in(const char *dir, const char *name, char **ret, struct error *err)
{
    size_t len = strlen(dir) + strlen(name) + 2;
    *ret = malloc(len);
    if (!*ret)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    snprintf(*ret, len, "%s/%s", dir, name);
    return 0;
}

static int open_local(struct journal *j, const struct storage_options *options, struct error *err)
{
    AUTO(buf) uri = BUF_INIT(4096);
    AUTO_FREE char *spool = NULL;
    if (buf_printf(&uri, "sqlite://%s/journal.db", options->remote.data_dir))
        return error_set(err, ERR_INVALID, "storage: the path of the journal is too long");
    struct storage_options local = *options;
    local.uri = uri.data;
    local.expire_after_us = 0; /* by what the database has, not by age alone */
    local.events_only = true;
    int rc = storage_open(&local, &j->local, err);
    if (!rc)
        rc = path_in(options->remote.data_dir, "spool.db", &spool, err);
    if (!rc)
        rc = spool_open(spool, &j->spool, err);
    if (!rc)
        rc = path_in(options->remote.data_dir, "refused.jsonl", &j->refused_path, err);
    return rc;
}

/* Where the last run ended: what is behind the mark is forwarded (again). */
static int recover(struct journal *j, struct error *err)
{
    uint64_t bytes = 0;
    int rc = sqlite_event_mark(sqlite_of(j->local), JOURNAL_EVENT_OVERHEAD, &j->forwarded,
                               &j->newest, &bytes, err);
    atomic_store(&j->event_bytes, bytes);
    j->recovered = j->rate_forwarded = j->forwarded;
    j->events_since_ms = j->rate_ms = time_monotonic_ms();
    j->durable = spool_bytes(j->spool) ? 1 : 0; /* as one block that has not got there */
    j->appended = j->durable;
    return rc;
}

static int journal_open(const struct storage_options *options, const struct remote_ops *ops,
                        struct storage **ret, struct error *err)
{
    struct journal *j = calloc(1, sizeof *j);
    if (!j)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    j->base.ops = &storage_journal_ops;
    j->ops = ops;
    j->flush_interval_us = options->flush_interval_us ? options->flush_interval_us : 500000;
    j->event_interval_ms =
        options->remote.event_interval_ms ? options->remote.event_interval_ms : EVENT_INTERVAL_MS;
    j->max_queued_samples = options->max_queued_samples ? options->max_queued_samples : 1000000;
    j->max_bytes = options->remote.journal_max ? options->remote.journal_max : JOURNAL_MAX;
    atomic_store(&j->published, UINT64_MAX);
    lock_init(&j->lock);
    cond_init(&j->wake);
    cond_init(&j->changed);
    backoff_init(&j->backoff, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
    int rc = ops->open(options, &j->remote, err);
    if (!rc)
        rc = open_local(j, options, err);
    if (!rc)
        rc = recover(j, err);
    if (!rc) {
        j->base.origin = storage_origin(j->local);
        j->base.epoch = storage_epoch(j->local);
        storage_on_event_commit(j->local, on_commit, j);
        rc = thread_start(&j->thread, "storage-forward", journal_forward, j, err);
        j->started = rc == 0;
    }
    if (rc) {
        journal_close(&j->base);
        return rc;
    }
    *ret = &j->base;
    return 0;
}

static int open_mongodb(const struct storage_options *options, struct storage **ret,
                        struct error *err)
{
    const void *ops = NULL;
    int rc = module_open_back_end("mongodb", "remote_mongodb_ops", &ops, err);
    return rc ? rc : journal_open(options, ops, ret, err);
}

/* --- logs: of this node, kept here, so that they are there when the database is not --- */

static int journal_logs_append(struct storage *st, const struct storage_log *logs, size_t n,
                               struct error *err)
{
    return storage_logs_append(journal_of(st)->local, logs, n, err);
}

static int journal_logs_purge(struct storage *st, int64_t now_us, size_t *ret_n, struct error *err)
{
    return storage_logs_purge(journal_of(st)->local, now_us, ret_n, err);
}

static int journal_logs_range(struct storage *st, int64_t start_us, int64_t end_us,
                              struct json_object *filter, struct storage_log_cursor **ret,
                              struct error *err)
{
    return storage_logs_range(journal_of(st)->local, start_us, end_us, filter, ret, err);
}

const struct storage_ops storage_journal_ops = {
    .name = "mongodb",
    .scheme = "mongodb",
    .shared = true,
    .open = open_mongodb,
    .stop = journal_stop,
    .close = journal_close,
    .on_event_commit = journal_on_event_commit,
    .document_save = journal_document_save,
    .document_get = journal_document_get,
    .document_find = journal_document_find,
    .event_append = journal_event_append,
    .event_last = journal_event_last,
    .event_query = journal_event_query,
    .event_range = journal_event_range,
    .event_next = journal_event_next,
    .event_cursor_close = journal_event_cursor_close,
    .event_follow = journal_event_follow,
    .event_followed = journal_event_followed,
    .event_since = journal_event_since,
    .event_place = journal_event_place,
    .event_published = journal_event_published,
    .event_set_published = journal_event_set_published,
    .samples_append = journal_samples_append,
    .samples_flush = journal_samples_flush,
    .samples_range = journal_samples_range,
    .samples_next = journal_samples_next,
    .samples_cursor_close = journal_samples_cursor_close,
    .samples_last_time = journal_samples_last_time,
    .state_get = journal_state_get,
    .logs_append = journal_logs_append,
    .logs_purge = journal_logs_purge,
    .logs_range = journal_logs_range,
    .logs_next = log_store_next,
    .logs_cursor_close = log_store_cursor_close,
    .get_stats = journal_get_stats,
    .ping = journal_ping,
};
