/* Group commit.
 *
 * Whoever has something to write links it to the open batch and waits.  The batch is then one
 * transaction and one fsync, committed by the holder of the role `committing`: the writer thread,
 * or, when nobody holds it and nothing else is queued, the caller itself, which saves two thread
 * changes.  While one batch commits the next one fills.
 *
 * The waiters of a batch sleep on the batch's own futex word and need no lock to leave: one system
 * call wakes them all, and none of them meets the appenders of the next batch. */
#include "storage/sqlite_priv.h"

#include "base/log.h"
#include "base/time.h"

#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_QUEUED_DEFAULT = 10000,
    CHECKPOINT_FRAMES = 16000,
    CHECKPOINT_RETRY_FRAMES = 2000,
    CHECKPOINT_WAIT_FRAMES = 4 * CHECKPOINT_FRAMES,
    CHECKPOINT_WAIT_MS = 250, /* a window of a cursor takes 100 */
    PURGE_INTERVAL_MS = 60 * 1000,
};

struct batch {
    /* guarded by the writer's lock while open, then owned by the role until done */
    struct write_request *first, **last;
    size_t n;
    /* the events among them, for the callback */
    const char **keys;
    struct message **messages;
    size_t n_events, cap_events;
    /* set before done, then const */
    int result;
    struct error error;
    /* atomic */
    atomic_uint done;     /* the futex word */
    atomic_bool heralded; /* one waiter has woken the others */
    atomic_size_t left;   /* waiters that have not yet read the result */

    struct batch *next; /* in the spare list */
};

static void futex_wait(atomic_uint *word, unsigned expected)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* --- batches --- */

static void batch_free(struct batch *b)
{
    if (!b)
        return;
    free(b->keys);
    free(b->messages);
    free(b);
}

static void batch_put_back(struct writer *w, struct batch *b)
{
    pthread_mutex_lock(&w->lock);
    b->next = w->spare;
    w->spare = b;
    pthread_mutex_unlock(&w->lock);
}

static void batch_make_open_locked(struct writer *w, struct batch *b)
{
    b->first = NULL;
    b->last = &b->first;
    b->n = b->n_events = 0;
    atomic_store_explicit(&b->done, 0, memory_order_relaxed);
    atomic_store_explicit(&b->heralded, false, memory_order_relaxed);
    w->open = b;
}

/* Before the first request enters the open batch: make sure that another can follow it, so that
 * taking a batch cannot fail. */
static int batch_prepare_next_locked(struct writer *w)
{
    if (w->spare)
        return 0;
    w->spare = calloc(1, sizeof *w->spare);
    return w->spare ? 0 : ERR_NOMEM;
}

/* The open batch, not empty, for its committer; a spare one takes its place. */
static struct batch *batch_take_locked(struct writer *w)
{
    struct batch *b = w->open, *next = w->spare;
    w->spare = next->next;
    batch_make_open_locked(w, next);
    atomic_store_explicit(&b->left, b->n, memory_order_relaxed);
    if (w->n_waiting)
        pthread_cond_broadcast(&w->room);
    w->committing = true;
    return b;
}

/* --- committing: by the holder of the role --- */

static int reserve_events(struct batch *b)
{
    if (b->n <= b->cap_events)
        return 0;
    size_t cap = b->n + b->n / 2;
    const char **keys = realloc(b->keys, cap * sizeof *keys);
    if (keys)
        b->keys = keys;
    struct message **messages = realloc(b->messages, cap * sizeof *messages);
    if (messages)
        b->messages = messages;
    if (!keys || !messages)
        return ERR_NOMEM;
    b->cap_events = cap;
    return 0;
}

static int transact(struct sqlite_storage *sq, struct batch *b)
{
    struct writer *w = &sq->writer;
    if (reserve_events(b))
        return error_set(&b->error, ERR_NOMEM, "storage: out of memory");
    int result = db_run(w->begin, &b->error);
    for (struct write_request *r = b->first; r && !result; r = r->next) {
        result = r->apply(sq, r, &b->error);
        if (!result && r->message) {
            b->keys[b->n_events] = r->full_key;
            b->messages[b->n_events++] = r->message;
        }
    }
    if (!result)
        result = db_run(w->commit, &b->error);
    if (!result)
        return 0;
    if (!sqlite3_get_autocommit(sq->db))
        db_run(w->rollback, NULL);
    event_writer_forget_keys(sq);
    if (result == ERR_AGAIN)
        return error_set(&b->error, ERR_AGAIN, "Event storage is full.");
    error_prefix(&b->error, "storage");
    /* What is wrong with the file is no fault of the writers: they may try again elsewhere. */
    b->error.code = result == ERR_NOMEM ? ERR_NOMEM : ERR_UNAVAILABLE;
    return b->error.code;
}

static void batch_commit(struct sqlite_storage *sq, struct batch *b)
{
    struct writer *w = &sq->writer;
    size_t n_events = 0;
    for (struct write_request *r = b->first; r; r = r->next)
        n_events += r->message != NULL;
    b->result = transact(sq, b);
    atomic_fetch_sub_explicit(&w->queued, n_events, memory_order_relaxed);
    if (b->result) {
        atomic_fetch_add_explicit(&w->events_failed, n_events, memory_order_relaxed);
        return;
    }
    atomic_fetch_add_explicit(&w->events_committed, n_events, memory_order_relaxed);
    atomic_fetch_add_explicit(&w->commits, 1, memory_order_relaxed);
    if (n_events && w->committed)
        w->committed(w->committed_ctx, b->keys, b->messages, n_events);
}

/* Instead of SQLite's own automatic checkpoint, which works while the committer's clients wait. */
static int note_wal(void *arg, sqlite3 *db, const char *name, int frames)
{
    struct writer *w = arg;
    (void)db, (void)name;
    w->wal_frames = frames;
    return SQLITE_OK;
}

/* Copy the WAL into the database.  Readers that come and go without a pause can keep it from being
 * used again; when it has become long, they are waited for. */
static void checkpoint(struct sqlite_storage *sq)
{
    struct writer *w = &sq->writer;
    bool wait = w->wal_frames >= CHECKPOINT_WAIT_FRAMES;
    if (wait)
        sqlite3_busy_timeout(sq->db, CHECKPOINT_WAIT_MS);
    int rc = sqlite3_wal_checkpoint_v2(
        sq->db, NULL, wait ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (wait)
        sqlite3_busy_timeout(sq->db, DB_BUSY_TIMEOUT_MS);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        log_warning("hyprxa.storage", "checkpoint: %s", sqlite3_errmsg(sq->db));
    w->checkpoint_at = w->wal_frames + (wait ? CHECKPOINT_FRAMES : CHECKPOINT_RETRY_FRAMES);
}

/* After the answers are out: what would make the next commits slow. */
static void tend_wal(struct sqlite_storage *sq)
{
    struct writer *w = &sq->writer;
    if (w->wal_frames < CHECKPOINT_FRAMES)
        w->checkpoint_at = CHECKPOINT_FRAMES; /* it has begun anew */
    if (w->wal_frames >= w->checkpoint_at)
        checkpoint(sq);
    else
        db_zero_wal_ahead(&w->wal_ahead, sq->db, w->wal_frames);
}

static int batch_result(const struct batch *b, struct error *err)
{
    if (b->result && err)
        *err = b->error;
    return b->result;
}

/* --- callers --- */

static int wait_for_room_locked(struct writer *w, int64_t deadline_ms, struct error *err)
{
    while (!w->stopping && w->open->n >= w->max_queued) {
        w->n_waiting++;
        bool in_time = cond_wait_until(&w->room, &w->lock, deadline_ms);
        w->n_waiting--;
        if (!in_time && w->open->n >= w->max_queued && !w->stopping)
            return error_set(err, ERR_AGAIN, "Event storage is full.");
    }
    return w->stopping ? error_set(err, ERR_CLOSED, "storage is stopped") : 0;
}

static void release_role(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->committing = false;
    if (w->open->n || w->wanted || w->stopping)
        pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
}

static int wait_for_batch(struct writer *w, struct batch *b, struct error *err)
{
    while (!atomic_load_explicit(&b->done, memory_order_acquire))
        futex_wait(&b->done, 0);
    if (!atomic_exchange_explicit(&b->heralded, true, memory_order_relaxed))
        futex_wake(&b->done, INT_MAX);
    int result = batch_result(b, err);
    if (atomic_fetch_sub_explicit(&b->left, 1, memory_order_acq_rel) == 1)
        batch_put_back(w, b);
    return result;
}

int writer_submit(struct sqlite_storage *sq, struct write_request *request, int64_t deadline_ms,
                  struct error *err)
{
    struct writer *w = &sq->writer;
    struct batch *own = NULL;
    request->next = NULL;
    pthread_mutex_lock(&w->lock);
    int result = wait_for_room_locked(w, deadline_ms, err);
    if (!result && batch_prepare_next_locked(w))
        result = error_set(err, ERR_NOMEM, "storage: out of memory");
    if (result) {
        pthread_mutex_unlock(&w->lock);
        return result;
    }
    if (request->message)
        atomic_fetch_add_explicit(&w->queued, 1, memory_order_relaxed);
    struct batch *b = w->open;
    *b->last = request;
    b->last = &request->next;
    if (++b->n == 1 && !w->committing)
        own = batch_take_locked(w);
    pthread_mutex_unlock(&w->lock);
    if (!own)
        return wait_for_batch(w, b, err);

    batch_commit(sq, own);
    tend_wal(sq);
    release_role(w);
    result = batch_result(own, err);
    batch_put_back(w, own);
    return result;
}

/* --- the writer thread --- */

/* Some of what expired, while nobody waits.  *next_ms: when to look again. */
static void purge(struct sqlite_storage *sq, int64_t *next_ms)
{
    struct error err = ERROR_INIT;
    int more = event_writer_purge(sq, time_now_us() - sq->writer.expire_after_us, &err);
    if (more < 0)
        log_warning("hyprxa.storage", "cannot purge expired events: %s", err.message);
    *next_ms = more > 0 ? 0 : time_monotonic_ms() + PURGE_INTERVAL_MS;
}

static void commit_and_wake(struct sqlite_storage *sq, struct batch *b)
{
    batch_commit(sq, b);
    atomic_store_explicit(&b->done, 1, memory_order_release);
    futex_wake(&b->done, 1);
    tend_wal(sq);
}

static void *run_writer(void *arg)
{
    struct sqlite_storage *sq = arg;
    struct writer *w = &sq->writer;
    int64_t purge_at_ms = w->expire_after_us > 0 ? 0 : INT64_MAX;
    pthread_mutex_lock(&w->lock);
    while (w->committing || w->open->n || !w->stopping) {
        bool purge_due = !w->stopping && time_monotonic_ms() >= purge_at_ms;
        if (w->committing || (!w->open->n && !purge_due)) {
            w->wanted = w->committing;
            cond_wait_until(&w->work, &w->lock, w->committing ? INT64_MAX : purge_at_ms);
            w->wanted = false;
            continue;
        }
        struct batch *b = w->open->n ? batch_take_locked(w) : NULL;
        w->committing = true;
        pthread_mutex_unlock(&w->lock);
        if (b)
            commit_and_wake(sq, b);
        else
            purge(sq, &purge_at_ms);
        pthread_mutex_lock(&w->lock);
        w->committing = false;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- life cycle --- */

int writer_start(struct sqlite_storage *sq, const struct storage_options *options,
                 struct error *err)
{
    struct writer *w = &sq->writer;
    w->max_queued = options->max_queued_events ? options->max_queued_events : MAX_QUEUED_DEFAULT;
    w->expire_after_us = options->expire_after_us;
    int result = db_prepare(sq->db, "BEGIN IMMEDIATE", &w->begin, err);
    if (!result)
        result = db_prepare(sq->db, "COMMIT", &w->commit, err);
    if (!result)
        result = db_prepare(sq->db, "ROLLBACK", &w->rollback, err);
    if (result)
        return result;
    struct batch *first = calloc(1, sizeof *first);
    if (!first)
        return error_set(err, ERR_NOMEM, "out of memory");
    lock_init(&w->lock);
    cond_init(&w->work);
    cond_init(&w->room);
    batch_make_open_locked(w, first);
    w->wal_ahead.fd = -1;
    sqlite3_wal_hook(sq->db, note_wal, w);
    w->started = true;
    result = thread_start(&w->thread, "storage-events", run_writer, sq, err);
    if (result)
        w->stopping = true; /* there is nothing to join */
    return result;
}

void writer_stop(struct sqlite_storage *sq)
{
    struct writer *w = &sq->writer;
    if (!w->started)
        return;
    pthread_mutex_lock(&w->lock);
    bool first = !w->stopping;
    w->stopping = true;
    pthread_cond_signal(&w->work);
    pthread_cond_broadcast(&w->room);
    pthread_mutex_unlock(&w->lock);
    if (first)
        pthread_join(w->thread, NULL);
}

void writer_release(struct sqlite_storage *sq)
{
    struct writer *w = &sq->writer;
    sqlite3_finalize(w->begin);
    sqlite3_finalize(w->commit);
    sqlite3_finalize(w->rollback);
    if (!w->started)
        return;
    if (w->wal_ahead.fd >= 0)
        close(w->wal_ahead.fd);
    batch_free(w->open);
    while (w->spare) {
        struct batch *b = w->spare;
        w->spare = b->next;
        batch_free(b);
    }
    pthread_cond_destroy(&w->room);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
}
