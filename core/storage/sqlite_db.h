/* SQLite connections as storage uses them: opening, schema, statements, errors in our codes.
 *
 * A connection is used by one thread at a time (SQLITE_OPEN_NOMUTEX): its owner sees to that. */
#ifndef HYPRXA_STORAGE_SQLITE_DB_H
#define HYPRXA_STORAGE_SQLITE_DB_H

#include "base/error.h"

#include <sqlite3.h>
#include <stdint.h>

enum { DB_BUSY_TIMEOUT_MS = 5000 }; /* how long another process (a shell, a backup) may lock */

/* What `db_open_writer` makes of a file. */
struct db_schema {
    int32_t application_id; /* tells our files from others' */
    int version;            /* of the schema; a file with a newer one is refused */
    const char *create;     /* statements for an empty file */
};

/* Open (making it with mode 0600) for writing: WAL, synchronous FULL, autocheckpoint 16,000 pages;
 * check it lightly and bring it to `schema`.  ERR_CORRUPT: not a database or damaged;
 * ERR_UNSUPPORTED: made by a newer version, or by another program; else ERR_UNAVAILABLE.
 * The message names the path. */
int db_open_writer(const char *path, const struct db_schema *schema, sqlite3 **ret,
                   struct error *err);
/* A read-only connection to a file that a writer has opened. */
int db_open_reader(const char *path, sqlite3 **ret, struct error *err);
void db_close(sqlite3 *db); /* its statements must be finalized; NULL is fine */

int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct error *err);
int db_exec(sqlite3 *db, const char *sql, struct error *err);
/* Run to the end a statement that returns no rows we want, and reset it. */
int db_run(sqlite3_stmt *stmt, struct error *err);
/* The integer of the first row and column; `otherwise` without a row or for NULL. */
int db_get_int(sqlite3 *db, const char *sql, int64_t otherwise, int64_t *ret, struct error *err);

/* The code for SQLite's result `rc` (not ROW, DONE or OK), with the connection's message:
 * ERR_AGAIN for a full disk, ERR_NOMEM, ERR_CORRUPT, else
 * ERR_UNAVAILABLE. */
int db_error(sqlite3 *db, int rc, struct error *err, const char *doing);

/* Keeping the WAL longer than what is in use of it, so that commits overwrite bytes that are there:
 * growing the file by each commit more than doubles what an fsync costs.  SQLite takes the zeros for
 * what they are, no frames. */
struct db_wal_ahead {
    int fd; /* -1: not opened */
    int64_t zeroed_to;
};
/* After a commit that left `frames` frames in the WAL, before the next begins.  A failure costs
 * speed, no more. */
void db_zero_wal_ahead(struct db_wal_ahead *ahead, sqlite3 *db, int frames);

/* Bytes of the file and its WAL. */
uint64_t db_bytes_on_disk(const char *path);

#endif
