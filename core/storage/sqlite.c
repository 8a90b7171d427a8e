#include "storage/sqlite_priv.h"

#include "base/auto.h"
#include "base/time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

enum { PING_MS = 2000 };

static const char uri_prefix[] = "sqlite://";

/* Events are kept by number: their keys stand once in event_keys, with the newest event of each, for
 * an index of the rows by key would touch a page of the file for every key in a commit.  Rows are
 * numbered in order of commit, and event_by_topic ends in that number.  The view `events` is the
 * flat picture, for people with a shell. */
static const struct db_schema schema = {
    .application_id = 0x68797831, /* "hyx1" */
    .version = 1,
    .create = "CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
              "CREATE TABLE documents(collection TEXT NOT NULL, key TEXT NOT NULL,"
              " json TEXT NOT NULL, modified_at INTEGER NOT NULL, PRIMARY KEY(collection, key));"
              "CREATE TABLE event_topics(id INTEGER PRIMARY KEY, topic TEXT NOT NULL UNIQUE);"
              "CREATE TABLE event_keys(id INTEGER PRIMARY KEY AUTOINCREMENT,"
              " topic_id INTEGER NOT NULL,"
              " routing_key TEXT NOT NULL, full_key TEXT NOT NULL,"
              " last_time INTEGER NOT NULL, last_seq INTEGER NOT NULL,"
              " UNIQUE(topic_id, routing_key, full_key));"
              "CREATE INDEX event_key_by_full_key ON event_keys(topic_id, full_key);"
              "CREATE TABLE event_rows(seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL,"
              " topic_id INTEGER NOT NULL, key_id INTEGER NOT NULL, time INTEGER NOT NULL,"
              " posted_by TEXT, payload TEXT NOT NULL);"
              "CREATE INDEX event_by_topic ON event_rows(topic_id, time);"
              "CREATE VIEW events(seq, epoch, topic, full_key, routing_key, time, posted_by,"
              " payload) AS SELECT r.seq, r.epoch, t.topic, k.full_key, k.routing_key, r.time,"
              " r.posted_by, r.payload FROM event_rows r JOIN event_topics t ON t.id = r.topic_id"
              " JOIN event_keys k ON k.id = r.key_id;",
};

/* --- life cycle --- */

/* Two processes would give the same sequence numbers: one only. */
static int lock_folder(struct sqlite_storage *sq, struct error *err)
{
    AUTO(buf) name = BUF_INIT(4096);
    if (buf_printf(&name, "%s.lock", sq->path))
        return error_set(err, ERR_INVALID, "the path is too long");
    sq->lock_fd = open(name.data, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (sq->lock_fd < 0) {
        error_set_errno(err, errno, "cannot open '%s'", name.data);
        return ERR_UNAVAILABLE;
    }
    if (flock(sq->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return error_set(err, ERR_UNAVAILABLE, "another hyprxad is using '%s'", sq->path);
    return error_set_errno(err, errno, "cannot lock '%s'", name.data);
}

/* A path that sqlite3 would read as a URI or as "in memory" is not one of ours. */
static int take_path(const char *uri, char **ret, struct error *err)
{
    if (strncmp(uri, uri_prefix, sizeof uri_prefix - 1) != 0 || !uri[sizeof uri_prefix - 1] ||
        uri[sizeof uri_prefix - 1] == ':')
        return error_set(err, ERR_INVALID, "'%s' is not sqlite:///path/hyprxa.db", uri);
    *ret = strdup(uri + sizeof uri_prefix - 1);
    return *ret ? 0 : error_set(err, ERR_NOMEM, "out of memory");
}

static int read_meta(sqlite3 *db, const char *name, int64_t *ret, struct error *err)
{
    char sql[96];
    snprintf(sql, sizeof sql, "SELECT value FROM meta WHERE name='%s'", name);
    return db_get_int(db, sql, 0, ret, err);
}

static int write_meta(sqlite3 *db, const char *name, int64_t value, struct error *err)
{
    char sql[128];
    snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO meta VALUES('%s', %lld)", name,
             (long long)value);
    return db_exec(db, sql, err);
}

/* Raise the epoch durably before the first id is given; make the node's number if there is none. */
static int begin_epoch(struct sqlite_storage *sq, uint64_t origin, struct error *err)
{
    int64_t epoch = 0, kept_origin = 0;
    int result = read_meta(sq->db, "epoch", &epoch, err);
    if (!result)
        result = read_meta(sq->db, "origin", &kept_origin, err);
    if (result)
        return result;
    if (kept_origin == 0)
        while (kept_origin == 0)
            if (getrandom(&kept_origin, sizeof kept_origin, 0) != (ssize_t)sizeof kept_origin)
                return error_set_errno(err, errno, "no random number for this node");
    result = db_exec(sq->db, "BEGIN IMMEDIATE", err);
    if (!result)
        result = write_meta(sq->db, "epoch", epoch + 1, err);
    if (!result)
        result = write_meta(sq->db, "origin", kept_origin, err);
    if (!result)
        result = db_exec(sq->db, "COMMIT", err);
    sq->base.origin = origin ? origin : (uint64_t)kept_origin;
    sq->base.epoch = (uint64_t)epoch + 1;
    return result;
}

/* A file beside hyprxa.db. */
static int path_beside(const struct sqlite_storage *sq, const char *name, struct buf *path,
                       struct error *err)
{
    const char *slash = strrchr(sq->path, '/');
    if (slash)
        buf_append(path, sq->path, (size_t)(slash - sq->path) + 1);
    return buf_append_str(path, name) ? error_set(err, ERR_INVALID, "the path is too long") : 0;
}

static int open_series(struct sqlite_storage *sq, const struct storage_options *options,
                       struct error *err)
{
    AUTO(buf) path = BUF_INIT(4096);
    int result = path_beside(sq, "series.db", &path, err);
    if (result)
        return result;
    struct series_store_options series = {
        .path = path.data,
        .flush_interval_us = options->flush_interval_us ? options->flush_interval_us : 500000,
        .max_queued_samples = options->max_queued_samples ? options->max_queued_samples : 1000000,
        .expire_after_us = options->expire_after_us,
    };
    return series_store_open(&series, &sq->series, err);
}

static int open_logs(struct sqlite_storage *sq, const struct storage_options *options,
                     struct error *err)
{
    AUTO(buf) path = BUF_INIT(4096);
    int result = path_beside(sq, "logs.db", &path, err);
    return result ? result
                  : log_store_new(path.data, options->logs_expire_after_us, &sq->logs, err);
}

static void sqlite_stop(struct storage *st)
{
    struct sqlite_storage *sq = sqlite_of(st);
    writer_stop(sq);
    if (sq->series)
        series_store_stop(sq->series);
}

static void sqlite_close(struct storage *st)
{
    struct sqlite_storage *sq = sqlite_of(st);
    series_store_close(sq->series);
    log_store_free(sq->logs);
    readers_release(&sq->readers);
    writer_release(sq);
    event_writer_release(sq);
    document_writer_release(sq);
    sqlite3_finalize(sq->touch);
    db_close(sq->db);
    if (sq->lock_fd >= 0)
        close(sq->lock_fd);
    free(sq->path);
    free(sq);
}

static int open_database(struct sqlite_storage *sq, const struct storage_options *options,
                         struct error *err)
{
    int result = db_open_writer(sq->path, &schema, &sq->db, err);
    if (!result)
        result = begin_epoch(sq, options->origin, err);
    if (!result)
        result = db_prepare(sq->db, "INSERT OR REPLACE INTO meta VALUES('touched', ?1)", &sq->touch,
                            err);
    if (!result)
        result = document_writer_init(sq, err);
    if (!result)
        result = event_writer_init(sq, err);
    return result;
}

static int sqlite_open(const struct storage_options *options, struct storage **ret,
                       struct error *err)
{
    struct sqlite_storage *sq = calloc(1, sizeof *sq);
    if (!sq)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    sq->base.ops = &storage_sqlite_ops;
    sq->lock_fd = -1;
    readers_init(&sq->readers);
    int result = take_path(options->uri, &sq->path, err);
    if (!result)
        result = lock_folder(sq, err);
    if (!result)
        result = open_database(sq, options, err);
    if (!result && !options->events_only)
        result = open_series(sq, options, err);
    if (!result)
        result = open_logs(sq, options, err);
    if (!result)
        result = writer_start(sq, options, err);
    if (result) {
        error_prefix(err, "storage");
        sqlite_stop(&sq->base);
        sqlite_close(&sq->base);
        return result;
    }
    *ret = &sq->base;
    return 0;
}

static void sqlite_on_event_commit(struct storage *st, storage_committed_fn *fn, void *ctx)
{
    sqlite_of(st)->writer.committed = fn;
    sqlite_of(st)->writer.committed_ctx = ctx;
}

/* --- queries --- */

static int apply_touch(struct sqlite_storage *sq, struct write_request *request, struct error *err)
{
    (void)request;
    sqlite3_bind_int64(sq->touch, 1, time_now_us());
    return db_run(sq->touch, err);
}

static int sqlite_ping(struct storage *st, struct error *err)
{
    struct sqlite_storage *sq = sqlite_of(st);
    struct write_request touch = {.apply = apply_touch};
    struct reader *reader;
    int64_t value;
    int result = writer_submit(sq, &touch, time_monotonic_ms() + PING_MS, err);
    if (!result)
        result = reader_acquire(sq, &reader, err);
    if (result)
        return result;
    result =
        db_get_int(reader->db, "SELECT value FROM meta WHERE name = 'touched'", 0, &value, err);
    reader_return(sq, reader);
    return result || !sq->series ? result : series_store_ping(sq->series, err);
}

static void sqlite_get_stats(struct storage *st, struct storage_stats *ret)
{
    struct sqlite_storage *sq = sqlite_of(st);
    ret->events_committed =
        atomic_load_explicit(&sq->writer.events_committed, memory_order_relaxed);
    ret->events_failed = atomic_load_explicit(&sq->writer.events_failed, memory_order_relaxed);
    ret->event_commits = atomic_load_explicit(&sq->writer.commits, memory_order_relaxed);
    ret->events_queued = atomic_load_explicit(&sq->writer.queued, memory_order_relaxed);
    ret->bytes_on_disk = db_bytes_on_disk(sq->path) + log_store_bytes(sq->logs);
    if (sq->series)
        series_store_stats(sq->series, ret);
}

/* --- series: passed on --- */

static int sqlite_samples_append(struct storage *st, struct sample_block *block,
                                 int64_t deadline_ms, struct error *err)
{
    return series_store_append(sqlite_of(st)->series, block, deadline_ms, err);
}

static int sqlite_samples_flush(struct storage *st, struct error *err)
{
    return series_store_flush(sqlite_of(st)->series, err);
}

static int sqlite_samples_range(struct storage *st, struct series *series, int64_t start_us,
                                int64_t end_us, enum storage_order order,
                                struct storage_sample_cursor **ret, struct error *err)
{
    return series_store_range(sqlite_of(st)->series, series, start_us, end_us, order, ret, err);
}

static int sqlite_samples_last_time(struct storage *st, struct series *series, int64_t *ret_us,
                                    struct error *err)
{
    return series_store_last_time(sqlite_of(st)->series, series, ret_us, err);
}

static int sqlite_state_get(struct storage *st, const char *source, const char *key,
                            struct buf *out, struct error *err)
{
    return series_store_state_get(sqlite_of(st)->series, source, key, out, err);
}

/* --- logs: passed on --- */

static int sqlite_logs_append(struct storage *st, const struct storage_log *logs, size_t n,
                              struct error *err)
{
    return log_store_append(sqlite_of(st)->logs, logs, n, err);
}

static int sqlite_logs_purge(struct storage *st, int64_t now_us, size_t *ret_n, struct error *err)
{
    return log_store_purge(sqlite_of(st)->logs, now_us, ret_n, err);
}

static int sqlite_logs_range(struct storage *st, int64_t start_us, int64_t end_us,
                             struct json_object *filter, struct storage_log_cursor **ret,
                             struct error *err)
{
    return log_store_range(sqlite_of(st)->logs, start_us, end_us, filter, ret, err);
}

const struct storage_ops storage_sqlite_ops = {
    .name = "sqlite",
    .scheme = "sqlite:",
    .open = sqlite_open,
    .stop = sqlite_stop,
    .close = sqlite_close,
    .on_event_commit = sqlite_on_event_commit,
    .document_save = sqlite_document_save,
    .document_get = sqlite_document_get,
    .document_find = sqlite_document_find,
    .event_append = sqlite_event_append,
    .event_last = sqlite_event_last,
    .event_query = sqlite_event_query,
    .event_range = sqlite_event_range,
    .event_next = sqlite_event_next,
    .event_cursor_close = sqlite_event_cursor_close,
    .event_follow = sqlite_event_follow,
    .event_followed = sqlite_event_followed,
    .event_since = sqlite_event_since,
    .event_place = sqlite_event_place,
    .event_published = sqlite_event_published,
    .event_set_published = sqlite_event_set_published,
    .samples_append = sqlite_samples_append,
    .samples_flush = sqlite_samples_flush,
    .samples_range = sqlite_samples_range,
    .samples_next = series_store_next,
    .samples_cursor_close = series_store_cursor_close,
    .samples_last_time = sqlite_samples_last_time,
    .state_get = sqlite_state_get,
    .logs_append = sqlite_logs_append,
    .logs_purge = sqlite_logs_purge,
    .logs_range = sqlite_logs_range,
    .logs_next = log_store_next,
    .logs_cursor_close = log_store_cursor_close,
    .get_stats = sqlite_get_stats,
    .ping = sqlite_ping,
};
