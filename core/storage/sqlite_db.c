#include "storage/sqlite_db.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUSY_TIMEOUT_MS = 5000, /* another process (a shell, a backup) holds the lock */
    WAL_FRAME_SIZE = 4096 + 24,
    WAL_AHEAD = 256 * 1024,        /* written at a time */
    WAL_AHEAD_LEFT = 64 * 1024,    /* more is written when less than this is left */
    QUICK_CHECK_MAX = 1024 * 1024, /* bytes a start may spend on a full check */
};

/* SQLite counts its allocations under one global lock unless told not to. */
static void configure_library(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int db_error(sqlite3 *db, int rc, struct error *err, const char *doing)
{
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return error_set(err, ERR_AGAIN, "%s: the disk is full", doing);
    case SQLITE_NOMEM:
        return error_set(err, ERR_NOMEM, "%s: out of memory", doing);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return error_set(err, ERR_CORRUPT, "%s: %s", doing, sqlite3_errstr(rc));
    default:
        return error_set(err, ERR_UNAVAILABLE, "%s: %s (SQLite code %d)", doing,
                         db ? sqlite3_errmsg(db) : sqlite3_errstr(rc),
                         db ? sqlite3_extended_errcode(db) : rc);
    }
}

int db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL);
    if (rc != SQLITE_OK)
        return db_error(db, rc, err, "cannot prepare a statement");
    *ret = stmt;
    return 0;
}

int db_exec(sqlite3 *db, const char *sql, struct error *err)
{
    int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : db_error(db, rc, err, "cannot use the database");
}

int db_run(sqlite3_stmt *stmt, struct error *err)
{
    int rc;
    do
        rc = sqlite3_step(stmt);
    while (rc == SQLITE_ROW);
    int result = rc == SQLITE_DONE ? 0 : db_error(sqlite3_db_handle(stmt), rc, err, "cannot write");
    sqlite3_reset(stmt);
    return result;
}

int db_get_int(sqlite3 *db, const char *sql, int64_t otherwise, int64_t *ret, struct error *err)
{
    sqlite3_stmt *stmt;
    int result = db_prepare(db, sql, &stmt, err);
    if (result)
        return result;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *ret =
            sqlite3_column_type(stmt, 0) == SQLITE_NULL ? otherwise : sqlite3_column_int64(stmt, 0);
    else if (rc == SQLITE_DONE)
        *ret = otherwise;
    else
        result = db_error(db, rc, err, "cannot read the database");
    sqlite3_finalize(stmt);
    return result;
}

/* The file must be ours alone from its first byte on: SQLite would make it by the umask.  The WAL
 * and its index inherit the mode. */
static int create_private(const char *path, struct error *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        error_set_errno(err, errno, "cannot open");
        return ERR_UNAVAILABLE;
    }
    int result = 0;
    if (fchmod(fd, 0600) != 0)
        result = error_set_errno(err, errno, "cannot set the mode");
    close(fd);
    return result;
}

static int connect_file(const char *path, int flags, sqlite3 **ret, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_library);
    sqlite3 *db = NULL;
    int rc =
        sqlite3_open_v2(path, &db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (rc != SQLITE_OK) {
        int result = db_error(db, rc, err, "cannot open");
        sqlite3_close(db);
        return result;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, DB_BUSY_TIMEOUT_MS);
    *ret = db;
    return 0;
}

static int create_schema(sqlite3 *db, const struct db_schema *schema, struct error *err)
{
    char pragmas[128];
    snprintf(pragmas, sizeof pragmas, "PRAGMA application_id=%d; PRAGMA user_version=%d;",
             (int)schema->application_id, schema->version);
    int result = db_exec(db, "BEGIN IMMEDIATE", err);
    if (!result)
        result = db_exec(db, schema->create, err);
    if (!result)
        result = db_exec(db, pragmas, err);
    if (!result)
        result = db_exec(db, "COMMIT", err);
    return result;
}

static int check_schema(sqlite3 *db, const struct db_schema *schema, struct error *err)
{
    int64_t application, version, tables;
    int result = db_get_int(db, "PRAGMA application_id", 0, &application, err);
    if (!result)
        result = db_get_int(db, "PRAGMA user_version", 0, &version, err);
    if (!result)
        result = db_get_int(db, "SELECT count(*) FROM sqlite_schema", 0, &tables, err);
    if (result)
        return result;
    if (tables == 0 && application == 0 && version == 0)
        return create_schema(db, schema, err);
    if (application != schema->application_id)
        return error_set(err, ERR_UNSUPPORTED, "this is a database of another program");
    if (version > schema->version)
        return error_set(err, ERR_UNSUPPORTED,
                         "made by a newer hyprxa (schema version %d, this one knows %d)",
                         (int)version, schema->version);
    return 0;
}

/* A small file is checked whole; of a large one only what start-up reads is looked at. */
static int check_integrity(sqlite3 *db, struct error *err)
{
    int64_t pages, page_size;
    int result = db_get_int(db, "PRAGMA page_count", 0, &pages, err);
    if (!result)
        result = db_get_int(db, "PRAGMA page_size", 0, &page_size, err);
    if (result || pages * page_size > QUICK_CHECK_MAX)
        return result;
    sqlite3_stmt *stmt;
    result = db_prepare(db, "PRAGMA quick_check(1)", &stmt, err);
    if (result)
        return result;
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        result = db_error(db, rc, err, "cannot check the database");
    else if (sqlite3_stricmp((const char *)sqlite3_column_text(stmt, 0), "ok") != 0)
        result = error_set(err, ERR_CORRUPT, "damaged: %.200s",
                           (const char *)sqlite3_column_text(stmt, 0));
    sqlite3_finalize(stmt);
    return result;
}

int db_open_writer(const char *path, const struct db_schema *schema, sqlite3 **ret,
                   struct error *err)
{
    sqlite3 *db = NULL;
    int result = create_private(path, err);
    if (!result)
        result = connect_file(path, SQLITE_OPEN_READWRITE, &db, err);
    if (!result)
        result = db_exec(db,
                         "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                         "PRAGMA wal_autocheckpoint=16000; PRAGMA cache_size=-8000;"
                         "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;",
                         err);
    if (!result)
        result = check_schema(db, schema, err);
    if (!result)
        result = check_integrity(db, err);
    if (result) {
        error_prefix(err,
                     result == ERR_CORRUPT ? "database '%s' (restore it or move it away)"
                                           : "database '%s'",
                     path);
        sqlite3_close(db);
        return result;
    }
    *ret = db;
    return 0;
}

int db_open_reader(const char *path, sqlite3 **ret, struct error *err)
{
    sqlite3 *db = NULL;
    int result = connect_file(path, SQLITE_OPEN_READONLY, &db, err);
    if (!result)
        result = db_exec(db,
                         "PRAGMA query_only=ON; PRAGMA cache_size=-2000;"
                         "PRAGMA trusted_schema=OFF;",
                         err);
    if (result) {
        error_prefix(err, "database '%s'", path);
        sqlite3_close(db);
        return result;
    }
    *ret = db;
    return 0;
}

void db_close(sqlite3 *db)
{
    sqlite3_close_v2(db);
}

void db_zero_wal_ahead(struct db_wal_ahead *ahead, sqlite3 *db, int frames)
{
    static const char zeros[WAL_AHEAD];
    int64_t used = (int64_t)frames * WAL_FRAME_SIZE;
    struct stat st;
    if (used + WAL_AHEAD_LEFT <= ahead->zeroed_to)
        return;
    if (ahead->fd < 0)
        ahead->fd = open(sqlite3_filename_wal(sqlite3_db_filename(db, "main")),
                         O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (ahead->fd < 0 || fstat(ahead->fd, &st) != 0)
        return;
    ahead->zeroed_to = st.st_size;
    if (used + WAL_AHEAD_LEFT <= st.st_size)
        return;
    ssize_t n = pwrite(ahead->fd, zeros, sizeof zeros, st.st_size);
    if (n > 0)
        ahead->zeroed_to += n;
}

static uint64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

uint64_t db_bytes_on_disk(const char *path)
{
    char wal[4096];
    int n = snprintf(wal, sizeof wal, "%s-wal", path);
    return file_size(path) + (n > 0 && (size_t)n < sizeof wal ? file_size(wal) : 0);
}
