/* The embedded events as a journal: how far the database behind it has them. */
#include "storage/sqlite_priv.h"

#include "base/time.h"

#include <stdio.h>

enum { FORGET_ROWS = 5000, FORGET_WAIT_MS = 5000 };

struct forget {
    struct write_request request;
    uint64_t forwarded;
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
                       (int64_t)f->forwarded, f->before_us, FORGET_ROWS, err);
    return rc;
}

int sqlite_event_forget(struct sqlite_storage *sq, uint64_t forwarded, int64_t before_us,
                        struct error *err)
{
    struct forget f = {{.apply = apply_forget}, forwarded, before_us};
    return writer_submit(sq, &f.request, time_monotonic_ms() + FORGET_WAIT_MS, err);
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
