/* The store of series: opening, the queue, and the writer's loop. */
#include "storage/series_store.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdlib.h>

enum {
    CHUNK_SAMPLES = 512,
    CHUNK_AFTER_MS = 10 * 60 * 1000,
    LOG_BYTES_MAX = 64 * 1024 * 1024,
    HEAD_BYTES_MAX = 64 * 1024 * 1024,
    QUEUE_BYTES_MAX = 256 * 1024 * 1024, /* of blocks that are not durable */
    INGEST_AT = 32 * 1024,               /* samples in the queue that wake the writer */
    RETRY_MS = 500,                      /* between attempts while the disk refuses */
    STOP_ATTEMPTS = 5,
    TIDY_MS = 60 * 1000,
    EXPIRE_ROUND_MS = 60 * 1000, /* between rounds of retention */
    EXPIRE_STEP_MS = 100,        /* between its steps */
};

static const struct db_schema schema = {
    .application_id = 0x68787372, /* "hxsr" */
    .version = 1,
    .create =
        "CREATE TABLE series(id INTEGER PRIMARY KEY, source TEXT NOT NULL, canonical TEXT NOT NULL,"
        " hash INTEGER NOT NULL, UNIQUE(source, canonical));"
        "CREATE TABLE log(seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, data BLOB NOT NULL);"
        "CREATE TABLE marks(series INTEGER PRIMARY KEY, seq INTEGER NOT NULL);"
        "CREATE TABLE chunks(id INTEGER PRIMARY KEY, series INTEGER NOT NULL,"
        " start INTEGER NOT NULL, seq INTEGER NOT NULL, end INTEGER NOT NULL, n INTEGER NOT NULL,"
        " data BLOB);"
        "CREATE UNIQUE INDEX chunks_by_time ON chunks(series, start, seq, end, n);"
        "CREATE TABLE state(source TEXT NOT NULL, key TEXT NOT NULL, bytes BLOB,"
        " PRIMARY KEY(source, key)) WITHOUT ROWID;"
        "CREATE TABLE damaged(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, series INTEGER,"
        " row INTEGER, data BLOB);",
};

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SERIES_GET] = "SELECT id FROM series WHERE source=?1 AND canonical=?2",
    [SQL_SERIES_IDENTITY] = "SELECT source, canonical FROM series WHERE id=?1",
    [SQL_SERIES_ADD] = "INSERT INTO series(id, source, canonical, hash) VALUES(?1, ?2, ?3, ?4)",
    [SQL_LOG_ADD] = "INSERT INTO log(seq, at_us, data) VALUES(?1, ?2, ?3)",
    [SQL_LOG_DROP] = "DELETE FROM log WHERE seq<?1",
    [SQL_LOG_ASIDE] = "INSERT INTO damaged(at_us, row, data)"
                      " SELECT ?1, seq, data FROM log WHERE seq=?2",
    [SQL_LOG_DROP_ONE] = "DELETE FROM log WHERE seq=?1",
    [SQL_MARK] = "INSERT OR REPLACE INTO marks(series, seq) VALUES(?1, ?2)",
    [SQL_MARKS_DROP] = "DELETE FROM marks WHERE seq<?1",
    [SQL_CHUNK_ADD] = "INSERT INTO chunks(series, start, seq, end, n, data)"
                      " VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [SQL_CHUNK_DROP] = "DELETE FROM chunks WHERE id=?1",
    [SQL_CHUNK_ASIDE] = "INSERT INTO damaged(at_us, series, row, data)"
                        " SELECT ?1, series, id, data FROM chunks WHERE id=?2",
    [SQL_CHUNK_BLANK] = "UPDATE chunks SET data=NULL, n=0 WHERE id=?1",
    [SQL_CHUNK_TAIL] = "SELECT id, start, end, n FROM chunks WHERE series=?1 AND"
                       " start=(SELECT max(start) FROM chunks WHERE series=?1) AND seq=0",
    [SQL_CHUNK_AT] = "SELECT id, start, end, n FROM chunks WHERE series=?1 AND start=(SELECT"
                     " max(start) FROM chunks WHERE series=?1 AND start<=?2) AND seq=0",
    [SQL_CHUNK_AFTER] = "SELECT min(start) FROM chunks WHERE series=?1 AND start>?2",
    [SQL_GROUP] = "SELECT id, data FROM chunks WHERE series=?1 AND start=?2 ORDER BY seq",
    [SQL_GROUP_SIZE] = "SELECT coalesce(max(seq), 0), coalesce(sum(CASE WHEN seq>0 THEN n END), 0)"
                       " FROM chunks WHERE series=?1 AND start=?2",
    [SQL_GROUP_DROP] = "DELETE FROM chunks WHERE series=?1 AND start=?2",
    [SQL_EXPIRED] = "SELECT id, n FROM chunks WHERE series=?1 AND start<?2 AND end<?2"
                    " ORDER BY start DESC, seq DESC LIMIT ?3",
    [SQL_NEXT_SERIES] = "SELECT min(series) FROM chunks WHERE series>?1",
    [SQL_STATE_PUT] = "INSERT INTO state(source, key, bytes) VALUES(?1, ?2, ?3)"
                      " ON CONFLICT(source, key) DO UPDATE SET bytes=excluded.bytes",
};

int series_sql_error(struct series_store *ss, enum series_statement which, struct error *err)
{
    int code = sqlite3_reset(ss->sql[which]);
    return db_error(ss->db, code == SQLITE_OK ? SQLITE_ERROR : code, err, "cannot read samples");
}

/* --- the writer --- */

static bool must_flush_locked(const struct series_store *ss, int64_t now)
{
    if (ss->stopping || ss->flush_asked > ss->flush_answered)
        return true;
    if (now < ss->retry_ms || ss->first_ms == INT64_MAX)
        return false;
    return now >= ss->first_ms + ss->options.flush_interval_us / 1000 || ss->waiting ||
           ss->held_samples >= ss->options.max_queued_samples / 2;
}

/* When the writer has something to do at the latest, were nothing to come. */
static int64_t next_duty_locked(const struct series_store *ss, int64_t now)
{
    int64_t due = ss->tidy_ms;
    if (ss->expire_ms < due)
        due = ss->expire_ms;
    if (ss->first_ms != INT64_MAX && ss->first_ms + ss->options.flush_interval_us / 1000 < due)
        due = ss->first_ms + ss->options.flush_interval_us / 1000;
    if (ss->oldest) {
        int64_t aged =
            series_chunks_due(ss, now) ? now : ss->oldest->logged_at_ms + ss->tuning.chunk_after_ms;
        due = aged < due ? aged : due;
    }
    return ss->retry_ms > now ? ss->retry_ms : due;
}

/* Sleep until there is work.  True: flush; false: only take in what is queued and tidy. */
static bool await_work_locked(struct series_store *ss)
{
    for (;;) {
        int64_t now = time_monotonic_ms();
        if (must_flush_locked(ss, now))
            return true;
        if (now >= ss->retry_ms && series_chunks_due(ss, now))
            return true;
        if ((ss->queue_samples >= INGEST_AT && now >= ss->retry_ms) || now >= ss->tidy_ms ||
            now >= ss->expire_ms)
            return false;
        ss->wake_at = ss->first_ms == INT64_MAX ? 0 : INGEST_AT;
        cond_wait_until(&ss->wake, &ss->queue_lock, next_duty_locked(ss, now));
    }
}

static void saved_locked(struct series_store *ss)
{
    ss->held_samples -= ss->taken_samples;
    ss->held_bytes -= ss->taken_bytes;
    ss->durable += ss->taken_blocks;
    ss->taken_blocks = ss->taken_samples = ss->taken_bytes = ss->counted_failed = 0;
    ss->first_ms = ss->durable < ss->appended ? time_monotonic_ms() : INT64_MAX;
    ss->retry_ms = 0;
    ss->failure.code = 0;
    if (ss->waiting)
        pthread_cond_broadcast(&ss->room);
}

static void failed_locked(struct series_store *ss, const struct error *err)
{
    ss->failure = *err;
    ss->retry_ms = time_monotonic_ms() + RETRY_MS;
    atomic_fetch_add_explicit(&ss->n_failed, ss->taken_samples - ss->counted_failed,
                              memory_order_relaxed);
    ss->counted_failed = ss->taken_samples;
}

/* One attempt to make all durable that was appended before.  False: it failed. */
static bool flush_once(struct series_store *ss)
{
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&ss->queue_lock);
    uint64_t asked = ss->flush_asked;
    bool failing = ss->failure.code != 0;
    pthread_mutex_unlock(&ss->queue_lock);
    int rc = series_ingest(ss, &err);
    if (!rc)
        rc = series_commit(ss, &err);
    if (rc && !failing)
        log_cause(LOG_LEVEL_ERROR, "hyprxa.storage", &err,
                  "samples cannot be saved, trying again: %s", err.message);
    else if (!rc && failing)
        log_info("hyprxa.storage", "samples are saved again");
    pthread_mutex_lock(&ss->queue_lock);
    if (rc)
        failed_locked(ss, &err);
    else
        saved_locked(ss);
    ss->flush_answered = asked;
    pthread_cond_broadcast(&ss->saved);
    pthread_mutex_unlock(&ss->queue_lock);
    return rc == 0;
}

/* Give back the memory of series that have been idle for a while. */
static void tidy_heads(struct series_store *ss)
{
    pthread_mutex_lock(&ss->heads_lock);
    for (size_t i = 0; i < ss->n_heads; i++) {
        struct series_head *h = ss->heads[i];
        if (!h)
            continue;
        if (!h->touched && !h->dirty) { /* so `fresh` is empty */
            free(h->fresh.v);
            h->fresh = (struct sample_array){0};
            if (!h->old.n) {
                free(h->old.v);
                h->old = (struct sample_array){0};
            }
        }
        h->touched = false;
    }
    pthread_mutex_unlock(&ss->heads_lock);
}

static void keep_house(struct series_store *ss)
{
    int64_t now = time_monotonic_ms();
    if (now >= ss->tidy_ms) {
        tidy_heads(ss);
        ss->tidy_ms = now + TIDY_MS;
    }
    if (now >= ss->expire_ms) {
        struct error err = ERROR_INIT;
        bool more = false;
        if (series_expire_step(ss, &more, &err))
            log_warning("hyprxa.storage", "old samples cannot be dropped: %s", err.message);
        ss->expire_ms = now + (more ? EXPIRE_STEP_MS : EXPIRE_ROUND_MS);
    }
}

static void *run_writer(void *arg)
{
    struct series_store *ss = arg;
    int attempts = 0;
    pthread_mutex_lock(&ss->queue_lock);
    while (!ss->stopping) {
        bool flush = await_work_locked(ss);
        pthread_mutex_unlock(&ss->queue_lock);
        struct error err = ERROR_INIT;
        /* What cannot be taken in fails again at a flush, which tells. */
        if (flush || series_ingest(ss, &err))
            flush_once(ss);
        keep_house(ss);
        pthread_mutex_lock(&ss->queue_lock);
    }
    pthread_mutex_unlock(&ss->queue_lock);
    while (!flush_once(ss) && ++attempts < STOP_ATTEMPTS)
        ;
    pthread_mutex_lock(&ss->queue_lock);
    if (ss->held_samples)
        log_error("hyprxa.storage", "%zu samples are lost: %s", ss->held_samples,
                  ss->failure.message);
    ss->stopped = true;
    pthread_cond_broadcast(&ss->saved);
    pthread_cond_broadcast(&ss->room);
    pthread_mutex_unlock(&ss->queue_lock);
    return NULL;
}

/* --- life cycle --- */

static void fill_defaults(struct series_store *ss)
{
    struct series_tuning *t = &ss->tuning;
    t->chunk_samples = t->chunk_samples ? t->chunk_samples : CHUNK_SAMPLES;
    t->chunk_after_ms = t->chunk_after_ms ? t->chunk_after_ms : CHUNK_AFTER_MS;
    t->log_bytes_max = t->log_bytes_max ? t->log_bytes_max : LOG_BYTES_MAX;
    t->head_bytes_max = t->head_bytes_max ? t->head_bytes_max : HEAD_BYTES_MAX;
}

static struct series_store *new_store(const struct series_store_options *options,
                                      const struct series_tuning *tuning)
{
    static atomic_llong generations;
    struct series_store *ss = calloc(1, sizeof *ss);
    if (!ss)
        return NULL;
    ss->options = *options;
    ss->tuning = tuning ? *tuning : (struct series_tuning){0};
    fill_defaults(ss);
    ss->generation = atomic_fetch_add(&generations, 1) + 1;
    lock_init(&ss->queue_lock);
    lock_init(&ss->heads_lock);
    lock_init(&ss->pool_lock);
    cond_init(&ss->wake);
    cond_init(&ss->room);
    cond_init(&ss->saved);
    map_init(&ss->by_identity);
    map_init(&ss->states);
    buf_init(&ss->chunk, SIZE_MAX / 4);
    buf_init(&ss->row, SIZE_MAX / 4);
    ss->first_ms = INT64_MAX;
    ss->tidy_ms = time_monotonic_ms() + TIDY_MS;
    ss->expire_ms = options->expire_after_us > 0 ? 0 : INT64_MAX;
    ss->path = strdup(options->path);
    ss->options.path = ss->path;
    ss->coder = chunk_coder_new();
    if (!ss->path || !ss->coder) {
        series_store_close(ss);
        return NULL;
    }
    return ss;
}

int series_store_open_tuned(const struct series_store_options *options,
                            const struct series_tuning *tuning, struct series_store **ret,
                            struct error *err)
{
    struct error own = ERROR_INIT;
    err = err ? err : &own;
    struct series_store *ss = new_store(options, tuning);
    if (!ss)
        return error_set(err, ERR_NOMEM, "no memory for the store of series");
    int rc = db_open_writer(ss->path, &schema, &ss->db, err);
    for (size_t i = 0; i < SQL_COUNT && !rc; i++)
        rc = db_prepare(ss->db, statements[i], &ss->sql[i], err);
    if (!rc)
        rc = series_recover(ss, err);
    if (!rc)
        rc = thread_start(&ss->writer, "series-writer", run_writer, ss, err);
    if (rc) {
        series_store_close(ss);
        return rc;
    }
    ss->writer_started = true;
    *ret = ss;
    return 0;
}

int series_store_open(const struct series_store_options *options, struct series_store **ret,
                      struct error *err)
{
    return series_store_open_tuned(options, NULL, ret, err);
}

void series_store_stop(struct series_store *ss)
{
    if (!ss || !ss->writer_started)
        return;
    pthread_mutex_lock(&ss->queue_lock);
    ss->stopping = true;
    pthread_cond_signal(&ss->wake);
    pthread_cond_broadcast(&ss->room);
    pthread_mutex_unlock(&ss->queue_lock);
    pthread_join(ss->writer, NULL);
    ss->writer_started = false;
}

void series_store_close(struct series_store *ss)
{
    if (!ss)
        return;
    series_store_stop(ss);
    series_readers_close(ss);
    for (size_t i = 0; i < ss->queue_n; i++)
        sample_block_unref(ss->queue[(ss->queue_first + i) % ss->queue_cap]);
    free(ss->queue);
    series_heads_release(ss);
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(ss->sql[i]);
    db_close(ss->db);
    chunk_coder_free(ss->coder);
    buf_release(&ss->chunk);
    buf_release(&ss->row);
    free(ss->gathered.v);
    free(ss->sorted.v);
    free(ss->group.v);
    text_release(&ss->group_texts);
    free(ss->dirty.v);
    free(ss->chunking.v);
    free(ss->rows);
    free(ss->path);
    pthread_mutex_destroy(&ss->queue_lock);
    pthread_mutex_destroy(&ss->heads_lock);
    pthread_mutex_destroy(&ss->pool_lock);
    pthread_cond_destroy(&ss->wake);
    pthread_cond_destroy(&ss->room);
    pthread_cond_destroy(&ss->saved);
    free(ss);
}

/* --- the queue --- */

static bool has_room_locked(const struct series_store *ss, const struct sample_block *b)
{
    /* A block larger than the bound is taken alone. */
    if (ss->held_bytes == 0)
        return true;
    return ss->held_samples + b->n_samples <= ss->options.max_queued_samples &&
           ss->held_bytes + b->n_bytes <= QUEUE_BYTES_MAX;
}

static int grow_queue_locked(struct series_store *ss)
{
    if (ss->queue_n < ss->queue_cap)
        return 0;
    size_t cap = ss->queue_cap ? ss->queue_cap * 2 : 64;
    struct sample_block **queue = malloc(cap * sizeof(struct sample_block *));
    if (!queue)
        return ERR_NOMEM;
    for (size_t i = 0; i < ss->queue_n; i++)
        queue[i] = ss->queue[(ss->queue_first + i) % ss->queue_cap];
    free(ss->queue);
    ss->queue = queue;
    ss->queue_first = 0;
    ss->queue_cap = cap;
    return 0;
}

static int await_room_locked(struct series_store *ss, const struct sample_block *block,
                             int64_t deadline_ms)
{
    bool in_time = true;
    while (in_time && !ss->stopping && !has_room_locked(ss, block)) {
        ss->waiting++;
        pthread_cond_signal(&ss->wake);
        in_time = cond_wait_until(&ss->room, &ss->queue_lock, deadline_ms);
        ss->waiting--;
    }
    if (ss->stopping)
        return ERR_CLOSED;
    return has_room_locked(ss, block) ? 0 : ERR_AGAIN;
}

int series_store_append(struct series_store *ss, struct sample_block *block, int64_t deadline_ms,
                        struct error *err)
{
    pthread_mutex_lock(&ss->queue_lock);
    int rc = await_room_locked(ss, block, deadline_ms);
    if (!rc)
        rc = grow_queue_locked(ss);
    if (!rc) {
        sample_block_ref(block);
        ss->queue[(ss->queue_first + ss->queue_n++) % ss->queue_cap] = block;
        ss->queue_samples += block->n_samples;
        ss->held_samples += block->n_samples;
        ss->held_bytes += block->n_bytes;
        ss->appended++;
        if (ss->first_ms == INT64_MAX)
            ss->first_ms = time_monotonic_ms();
        if (ss->queue_samples >= ss->wake_at) {
            ss->wake_at = SIZE_MAX; /* awake until it waits again */
            pthread_cond_signal(&ss->wake);
        }
    }
    pthread_mutex_unlock(&ss->queue_lock);
    switch (rc) {
    case 0:
        return 0;
    case ERR_CLOSED:
        return error_set(err, rc, "storage is stopped");
    case ERR_AGAIN:
        return error_set(err, rc, "the queue of samples stayed full (%zu)",
                         ss->options.max_queued_samples);
    default:
        return error_set(err, rc, "no memory to queue samples");
    }
}

int series_store_flush(struct series_store *ss, struct error *err)
{
    pthread_mutex_lock(&ss->queue_lock);
    uint64_t target = ss->appended, ticket = 0;
    if (ss->durable < target && !ss->stopped) {
        ticket = ++ss->flush_asked;
        pthread_cond_signal(&ss->wake);
    }
    while (ss->durable < target && ss->flush_answered < ticket && !ss->stopped)
        cond_wait_until(&ss->saved, &ss->queue_lock, INT64_MAX);
    int rc = ss->durable >= target ? 0 : ss->failure.code ? ss->failure.code : ERR_CLOSED;
    if (rc)
        error_set(err, rc, "%s", ss->failure.code ? ss->failure.message : "storage is stopped");
    pthread_mutex_unlock(&ss->queue_lock);
    return rc;
}

int series_queue_snapshot(struct series_store *ss, struct sample_block ***ret, size_t *ret_n)
{
    struct sample_block **blocks = NULL;
    size_t n = 0;
    pthread_mutex_lock(&ss->queue_lock);
    if (ss->queue_n) {
        blocks = malloc(ss->queue_n * sizeof(struct sample_block *));
        for (; blocks && n < ss->queue_n; n++)
            blocks[n] = sample_block_ref(ss->queue[(ss->queue_first + n) % ss->queue_cap]);
    }
    int rc = ss->queue_n && !blocks ? ERR_NOMEM : 0;
    pthread_mutex_unlock(&ss->queue_lock);
    if (rc)
        return rc;
    *ret = blocks;
    *ret_n = n;
    return 0;
}

/* --- queries --- */

void series_store_stats(struct series_store *ss, struct storage_stats *ret)
{
    ret->samples_stored = atomic_load_explicit(&ss->n_stored, memory_order_relaxed);
    ret->samples_duplicate = atomic_load_explicit(&ss->n_duplicate, memory_order_relaxed);
    ret->samples_failed = atomic_load_explicit(&ss->n_failed, memory_order_relaxed);
    ret->chunks_written = atomic_load_explicit(&ss->n_chunks, memory_order_relaxed);
    ret->log_rows = atomic_load_explicit(&ss->n_rows, memory_order_relaxed);
    ret->samples_expired = atomic_load_explicit(&ss->n_expired, memory_order_relaxed);
    ret->damaged = atomic_load_explicit(&ss->n_damaged, memory_order_relaxed);
    pthread_mutex_lock(&ss->queue_lock);
    ret->samples_queued = ss->held_samples;
    pthread_mutex_unlock(&ss->queue_lock);
    ret->bytes_on_disk += db_bytes_on_disk(ss->path);
}

int series_store_ping(struct series_store *ss, struct error *err)
{
    pthread_mutex_lock(&ss->queue_lock);
    int rc = ss->stopping ? ERR_CLOSED : ss->failure.code;
    if (rc)
        error_set(err, rc, "%s", ss->stopping ? "storage is stopped" : ss->failure.message);
    pthread_mutex_unlock(&ss->queue_lock);
    return rc;
}
