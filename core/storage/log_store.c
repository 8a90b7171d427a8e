#include "storage/log_store.h"

#include "storage/filter.h"
#include "storage/sqlite_db.h"
#include "storage/storage_priv.h"

#include "base/json.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    PURGE_ROWS = 2000,
    WINDOW_ROWS = 1000,
    WINDOW_BYTES = 1024 * 1024, /* passed by one row at most */
    WINDOW_MS = 100,
    ROWS_PER_CLOCK = 32,   /* rows stepped over between two looks at the clock */
    BUSY_TIMEOUT_MS = 250, /* a shell or a backup holds the lock: the caller tries again */
};

/* Rows are numbered in order of arrival; log_by_time ends in that number. */
static const struct db_schema schema = {
    .application_id = 0x68796c31, /* "hyl1" */
    .version = 1,
    .create = "CREATE TABLE logs(id INTEGER PRIMARY KEY, time INTEGER NOT NULL,"
              " document TEXT NOT NULL);"
              "CREATE INDEX log_by_time ON logs(time);",
};

enum { BEGIN, COMMIT, ROLLBACK, INSERT, PURGE, STATEMENTS };

static const char *const writer_sql[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT] = "INSERT INTO logs(time, document) VALUES(?1, ?2)",
    [PURGE] = "DELETE FROM logs WHERE id IN (SELECT id FROM logs WHERE time < ?1 LIMIT ?2)",
};

static const char window_sql[] = "SELECT id, time, document FROM logs"
                                 " WHERE (time, id) > (?1, ?2) AND time <= ?3 ORDER BY time, id";

struct log_store {
    char *path; /* set at init, then const, as is the next */
    int64_t expire_after_us;
    pthread_mutex_t opening; /* for the time of the first opening only */
    atomic_bool is_open;
    /* then used by the appending thread */
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENTS];
};

/* --- life cycle --- */

int log_store_new(const char *path, int64_t expire_after_us, struct log_store **ret,
                  struct error *err)
{
    struct log_store *ls = calloc(1, sizeof *ls);
    if (!ls || !(ls->path = strdup(path))) {
        free(ls);
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    }
    ls->expire_after_us = expire_after_us;
    lock_init(&ls->opening);
    *ret = ls;
    return 0;
}

static void close_file(struct log_store *ls)
{
    for (int i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(ls->statements[i]);
        ls->statements[i] = NULL;
    }
    db_close(ls->db);
    ls->db = NULL;
}

void log_store_free(struct log_store *ls)
{
    if (!ls)
        return;
    close_file(ls);
    pthread_mutex_destroy(&ls->opening);
    free(ls->path);
    free(ls);
}

uint64_t log_store_bytes(const struct log_store *ls)
{
    return db_bytes_on_disk(ls->path);
}

static int open_file(struct log_store *ls, struct error *err)
{
    int result = db_open_writer(ls->path, &schema, &ls->db, err);
    if (!result)
        result = db_exec(ls->db, "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=1000;", err);
    for (int i = 0; i < STATEMENTS && !result; i++)
        result = db_prepare(ls->db, writer_sql[i], &ls->statements[i], err);
    if (result)
        close_file(ls);
    else
        sqlite3_busy_timeout(ls->db, BUSY_TIMEOUT_MS);
    return result;
}

static int ensure_open(struct log_store *ls, struct error *err)
{
    int result = 0;
    if (atomic_load_explicit(&ls->is_open, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&ls->opening);
    if (!atomic_load_explicit(&ls->is_open, memory_order_relaxed)) {
        result = open_file(ls, err);
        atomic_store_explicit(&ls->is_open, result == 0, memory_order_release);
    }
    pthread_mutex_unlock(&ls->opening);
    return result;
}

/* --- writing --- */

static int insert_all(struct log_store *ls, const struct storage_log *logs, size_t n,
                      struct error *err)
{
    sqlite3_stmt *insert = ls->statements[INSERT];
    int result = 0;
    for (size_t i = 0; i < n && !result; i++) {
        sqlite3_bind_int64(insert, 1, logs[i].time_us);
        sqlite3_bind_text64(insert, 2, logs[i].document, logs[i].len, SQLITE_STATIC, SQLITE_UTF8);
        result = db_run(insert, err);
    }
    sqlite3_clear_bindings(insert);
    return result;
}

int log_store_append(struct log_store *ls, const struct storage_log *logs, size_t n,
                     struct error *err)
{
    int result = ensure_open(ls, err);
    if (result)
        return result;
    result = db_run(ls->statements[BEGIN], err);
    if (!result)
        result = insert_all(ls, logs, n, err);
    if (!result)
        result = db_run(ls->statements[COMMIT], err);
    if (result && !sqlite3_get_autocommit(ls->db))
        db_run(ls->statements[ROLLBACK], NULL);
    return result;
}

int log_store_purge(struct log_store *ls, int64_t now_us, size_t *ret_n, struct error *err)
{
    *ret_n = 0;
    if (ls->expire_after_us <= 0)
        return 0;
    int result = ensure_open(ls, err);
    if (result)
        return result;
    sqlite3_stmt *purge = ls->statements[PURGE];
    sqlite3_bind_int64(purge, 1, now_us - ls->expire_after_us);
    sqlite3_bind_int(purge, 2, PURGE_ROWS);
    result = db_run(purge, err);
    if (result)
        return result;
    *ret_n = (size_t)sqlite3_changes(ls->db);
    return *ret_n == PURGE_ROWS;
}

/* --- reading: a window is read and copied, its read transaction ends, then it is handed out --- */

struct row {
    int64_t time_us;
    size_t at, len; /* in text */
};

struct log_cursor {
    struct storage_log_cursor base;
    sqlite3 *db;
    sqlite3_stmt *stmt;
    struct filter *filter; /* NULL: all */
    int64_t end_us;
    /* where the next window starts: after this row */
    int64_t last_time_us, last_id;
    bool at_end;
    /* the window */
    struct row *rows;
    size_t n_rows, next_row;
    struct buf text;
};

static int is_wanted(struct log_cursor *c, const char *text, size_t len, struct error *err)
{
    if (!c->filter)
        return 1;
    AUTO_JSON *document = NULL;
    int result = json_parse(text, len, &document, err);
    if (result == ERR_INVALID)
        return error_set(err, ERR_CORRUPT, "a stored log is damaged");
    return result ? result : filter_match(c->filter, document, err);
}

static int take_row(struct log_cursor *c, struct error *err)
{
    const char *text = (const char *)sqlite3_column_text(c->stmt, 2);
    size_t len = (size_t)sqlite3_column_bytes(c->stmt, 2);
    if (!text)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    c->last_id = sqlite3_column_int64(c->stmt, 0);
    c->last_time_us = sqlite3_column_int64(c->stmt, 1);
    int wanted = is_wanted(c, text, len, err);
    if (wanted <= 0)
        return wanted;
    c->rows[c->n_rows++] = (struct row){c->last_time_us, c->text.len, len};
    return buf_append(&c->text, text, len) ? error_set(err, ERR_NOMEM, "storage: out of memory")
                                           : 0;
}

static int fill_window(struct log_cursor *c, struct error *err)
{
    int64_t deadline_ms = time_monotonic_ms() + WINDOW_MS;
    int rc = SQLITE_ROW, result = 0;
    c->n_rows = c->next_row = 0;
    buf_clear(&c->text);
    sqlite3_bind_int64(c->stmt, 1, c->last_time_us);
    sqlite3_bind_int64(c->stmt, 2, c->last_id);
    sqlite3_bind_int64(c->stmt, 3, c->end_us);
    for (unsigned n = 1; !result && c->n_rows < WINDOW_ROWS && c->text.len < WINDOW_BYTES; n++) {
        if (n % ROWS_PER_CLOCK == 0 && time_monotonic_ms() >= deadline_ms)
            break;
        rc = sqlite3_step(c->stmt);
        if (rc != SQLITE_ROW)
            break;
        result = take_row(c, err);
    }
    if (!result && rc != SQLITE_ROW && rc != SQLITE_DONE)
        result = db_error(c->db, rc, err, "cannot read the logs");
    c->at_end = rc == SQLITE_DONE;
    sqlite3_reset(c->stmt);
    return result;
}

void log_store_cursor_close(struct storage_log_cursor *cursor)
{
    struct log_cursor *c = (struct log_cursor *)cursor; /* its first member */
    sqlite3_finalize(c->stmt);
    db_close(c->db);
    filter_free(c->filter);
    buf_release(&c->text);
    free(c->rows);
    free(c);
}

int log_store_range(struct log_store *ls, int64_t start_us, int64_t end_us,
                    struct json_object *filter, struct storage_log_cursor **ret, struct error *err)
{
    struct log_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    c->end_us = end_us;
    c->last_time_us = start_us; /* the row before all of that time: numbers begin at 1 */
    buf_init(&c->text, SIZE_MAX);
    c->rows = malloc(WINDOW_ROWS * sizeof *c->rows);
    int result = c->rows ? 0 : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (!result && filter)
        result = filter_new(filter, &c->filter, err);
    if (!result)
        result = ensure_open(ls, err);
    if (!result)
        result = db_open_reader(ls->path, &c->db, err);
    if (!result)
        result = db_prepare(c->db, window_sql, &c->stmt, err);
    if (result) {
        log_store_cursor_close(&c->base);
        return result;
    }
    *ret = &c->base;
    return 0;
}

int log_store_next(struct storage_log_cursor *cursor, struct storage_log *ret, struct error *err)
{
    struct log_cursor *c = (struct log_cursor *)cursor; /* its first member */
    while (c->next_row == c->n_rows) {
        if (c->at_end)
            return 0;
        int result = fill_window(c, err);
        if (result)
            return result;
    }
    const struct row *row = &c->rows[c->next_row++];
    *ret = (struct storage_log){row->time_us, c->text.data + row->at, row->len};
    return 1;
}
