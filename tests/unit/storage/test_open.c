#include "folder.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(open, .timeout = 30);

static void run_sql(struct folder *f, const char *sql)
{
    sqlite3 *db;
    char *message = NULL;
    cr_assert_eq(sqlite3_open(f->database, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s", message);
    sqlite3_close(db);
}

static void expect_refused(struct folder *f, const char *uri, int code, const char *words)
{
    struct storage *st = NULL;
    struct error err = ERROR_INIT;
    struct storage_options options = {.uri = uri ? uri : f->uri};
    cr_expect_eq(storage_open(&options, &st, &err), code, "%d %s", err.code, err.message);
    cr_expect_not_null(strstr(err.message, words), "%s", err.message);
    cr_expect_null(st);
}

Test(open, files_are_readable_by_their_owner_only)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    struct folder f;
    umask(0);
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    cr_assert_eq(storage_ping(st, NULL), 0);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        char path[128];
        struct stat file;
        snprintf(path, sizeof path, "%s%s", f.database, suffixes[i]);
        cr_assert_eq(stat(path, &file), 0, "%s", path);
        cr_expect_eq(file.st_mode & 0777, 0600, "%s %o", path, file.st_mode);
    }
    storage_close(st);
    folder_remove(&f);
}

Test(open, newer_schema_is_refused_and_left_alone)
{
    struct folder f;
    folder_make(&f);
    storage_close(folder_open(&f, (struct storage_options){0}));
    run_sql(&f, "PRAGMA user_version=999");
    expect_refused(&f, NULL, ERR_UNSUPPORTED, "schema version 999, this one knows 1");
    expect_refused(&f, NULL, ERR_UNSUPPORTED, f.database);
    folder_remove(&f);
}

Test(open, database_of_another_program_is_refused)
{
    struct folder f;
    folder_make(&f);
    run_sql(&f, "CREATE TABLE moz_places(id INTEGER)");
    expect_refused(&f, NULL, ERR_UNSUPPORTED, "another program");
    folder_remove(&f);
}

Test(open, file_that_is_no_database_is_refused)
{
    struct folder f;
    char junk[8192];
    folder_make(&f);
    memset(junk, 'x', sizeof junk);
    int fd = open(f.database, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, junk, sizeof junk), (ssize_t)sizeof junk);
    close(fd);
    expect_refused(&f, NULL, ERR_CORRUPT, "file is not a database");
    folder_remove(&f);
}

Test(open, damaged_page_is_noticed)
{
    struct folder f;
    char junk[2048];
    folder_make(&f);
    storage_close(folder_open(&f, (struct storage_options){0}));
    memset(junk, 'x', sizeof junk);
    int fd = open(f.database, O_WRONLY);
    cr_assert_eq(pwrite(fd, junk, sizeof junk, 2 * 4096), (ssize_t)sizeof junk);
    close(fd);
    expect_refused(&f, NULL, ERR_CORRUPT, f.database);
    folder_remove(&f);
}

Test(open, second_process_is_refused)
{
    struct folder f;
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    expect_refused(&f, NULL, ERR_UNAVAILABLE, "another hyprxad is using");
    storage_close(st);
    storage_close(folder_open(&f, (struct storage_options){0}));
    folder_remove(&f);
}

Test(open, absent_folder_is_named)
{
    struct folder f;
    folder_make(&f);
    expect_refused(&f, "sqlite:///nowhere/at/all/hyprxa.db", ERR_UNAVAILABLE, "/nowhere/at/all");
    folder_remove(&f);
}

Test(open, unknown_scheme_is_refused_without_showing_secrets)
{
    struct storage *st = NULL;
    struct error err = ERROR_INIT;
    struct storage_options options = {.uri = "postgres://ada:secret@host/db"};
    cr_expect_eq(storage_open(&options, &st, &err), ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "'postgres:'"), "%s", err.message);
    cr_expect_null(strstr(err.message, "secret"));
    options.uri = "sqlite://:memory:";
    cr_expect_eq(storage_open(&options, &st, &err), ERR_INVALID);
}

Test(open, origin_is_kept_unless_one_is_given)
{
    struct folder f;
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    uint64_t origin = storage_origin(st), epoch = storage_epoch(st);
    storage_close(st);
    st = folder_open(&f, (struct storage_options){.origin = 42});
    cr_expect_eq(storage_origin(st), 42);
    cr_expect_eq(storage_epoch(st), epoch + 1);
    storage_close(st);
    st = folder_open(&f, (struct storage_options){0});
    cr_expect_eq(storage_origin(st), origin);
    cr_expect_eq(storage_epoch(st), epoch + 2);
    storage_close(st);
    folder_remove(&f);
}
