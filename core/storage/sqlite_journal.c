/* The embedded events as a journal: how far the database and the broker behind it have them. */
#include "storage/sqlite_priv.h"

#include "base/time.h"

#include <stdio.h>

enum { FORGET_ROWS = 5000, WRITE_WAIT_MS = 5000 };

struct forget {
    struct write_request request;
    uint64_t forwarded, done;
    int64_t before_us;
};

static int run_bound(struct sqlite_storage *sq, const char *sql, int64_t a, int64_t b, int64_t c,
                     struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = db_prepare(sq->db, sql, &stmt, err);
    const int64_t values[] = {a, b, c};
    for (int i = 0; !rc && i < sqlite3_bind_parameter_count(stmt); i++)
        sqlite3_bind_int64(stmt, i + 1, values[i]);
    if (!rc)
        rc = db_run(stmt, err);
    sqlite3_finalize(stmt);
    return rc;
}

static int apply_forget(struct sqlite_storage *sq, struct write_request *request, struct error *err)
{
    struct forget *f = (struct forget *)request; /* its first member */
    int rc = run_bound(sq, "INSERT OR REPLACE INTO meta VALUES('forwarded', ?1)",
                       (int64_t)f->forwarded, 0, 0, err);
    if (!rc)
        rc = run_bound(sq,
                       "DELETE FROM event_rows WHERE seq IN (SELECT seq FROM event_rows"
                       " WHERE seq <= ?1 AND time < ?2 ORDER BY seq LIMIT ?3)",
                       (int64_t)f->done, f->before_us, FORGET_ROWS, err);
    return rc;
}

int sqlite_event_forget(struct sqlite_storage *sq, uint64_t forwarded, uint64_t done,
                        int64_t before_us, struct error *err)
{
    struct forget f = {{.apply = apply_forget}, forwarded, done, before_us};
    return writer_submit(sq, &f.request, time_monotonic_ms() + WRITE_WAIT_MS, err);
}

struct mark {
    struct write_request request;
    int64_t sequence; /* negative: read it */
};

static int apply_mark(struct sqlite_storage *sq, struct write_request *request, struct error *err)
{
    struct mark *m = (struct mark *)request; /* its first member */
    int64_t found = -1;
    int rc = 0;
    if (m->sequence < 0) {
        rc = db_get_int(sq->db, "SELECT value FROM meta WHERE name = 'published'", -1, &found, err);
        m->sequence = found >= 0 ? found : sq->events.next_sequence - 1;
    }
    if (!rc && found < 0)
        rc = run_bound(sq, "INSERT OR REPLACE INTO meta VALUES('published', ?1)", m->sequence, 0, 0,
                       err);
    return rc;
}

int sqlite_event_published(struct storage *st, uint64_t *ret_sequence, struct error *err)
{
    struct mark m = {{.apply = apply_mark}, -1};
    int rc = writer_submit(sqlite_of(st), &m.request, time_monotonic_ms() + WRITE_WAIT_MS, err);
    if (!rc)
        *ret_sequence = (uint64_t)m.sequence;
    return rc;
}

int sqlite_event_set_published(struct storage *st, uint64_t sequence, struct error *err)
{
    struct mark m = {{.apply = apply_mark}, (int64_t)sequence};
    return writer_submit(sqlite_of(st), &m.request, time_monotonic_ms() + WRITE_WAIT_MS, err);
}

int sqlite_event_mark(struct sqlite_storage *sq, unsigned overhead, uint64_t *ret_forwarded,
                      uint64_t *ret_newest, uint64_t *ret_bytes, struct error *err)
{
    char sql[192];
    int64_t forwarded = 0, bytes = 0;
    int rc =
        db_get_int(sq->db, "SELECT value FROM meta WHERE name = 'forwarded'", 0, &forwarded, err);
    if (!rc) {
        snprintf(sql, sizeof sql,
                 "SELECT sum(length(CAST(payload AS BLOB)) + %u) FROM event_rows WHERE seq > %lld",
                 overhead, (long long)forwarded);
        rc = db_get_int(sq->db, sql, 0, &bytes, err);
    }
    *ret_forwarded = (uint64_t)forwarded;
    *ret_newest = (uint64_t)sq->events.next_sequence - 1;
    *ret_bytes = (uint64_t)bytes;
    return rc;
}
