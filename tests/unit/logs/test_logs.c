#include "logs/logs.h"

#include "http_fixture.h"

#include "base/auto.h"
#include "base/thread.h"
#include "base/time.h"
#include "storage/storage.h"

#include "unit/storage/folder.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(logs, .timeout = 60);

struct fixture {
    struct folder folder;
    struct storage *storage;
    struct http_server *server;
    struct logs *logs;
};

static void set_up(struct fixture *f, struct logs_options options)
{
    static const char *const address[] = {"127.0.0.1:0"};
    struct http_options http = {.listen = address, .n_listen = 1, .workers = 8};
    struct error err = ERROR_INIT;
    log_set_level(LOG_LEVEL_CRITICAL);
    folder_make(&f->folder);
    f->storage = folder_open(&f->folder, (struct storage_options){0});
    cr_assert_eq(http_server_new(&http, &f->server, &err), 0, "%s", err.message);
    options.storage = f->storage;
    options.streamer = http_server_streamer(f->server);
    cr_assert_eq(logs_new(&options, &f->logs, &err), 0, "%s", err.message);
    cr_assert_eq(logs_add_routes(f->logs, f->server, &err), 0, "%s", err.message);
    cr_assert_eq(http_server_start(f->server, &err), 0, "%s", err.message);
}

static void tear_down(struct fixture *f)
{
    http_server_stop(f->server, 2000);
    logs_stop(f->logs);
    storage_stop(f->storage);
    logs_free(f->logs);
    http_server_free(f->server);
    storage_close(f->storage);
    folder_remove(&f->folder);
}

static struct logs_options enabled(size_t max_buffered, int64_t flush_interval_us)
{
    return (struct logs_options){.enabled = true,
                                 .level = LOG_LEVEL_INFO,
                                 .max_buffered = max_buffered,
                                 .flush_interval_us = flush_interval_us};
}

static bool info_has(struct fixture *f, const char *member)
{
    AUTO(buf) out = BUF_INIT(4096);
    logs_info(f->logs, &out);
    return strstr(out.data, member) != NULL;
}

static void await_info(struct fixture *f, const char *member)
{
    for (int64_t end_ms = time_monotonic_ms() + 20000; !info_has(f, member);) {
        cr_assert_lt(time_monotonic_ms(), end_ms, "%s", member);
        usleep(2000);
    }
}

Test(logs, routes_say_when_logs_are_switched_off)
{
    struct fixture f;
    struct answer a;
    set_up(&f, (struct logs_options){.enabled = false});
    log_error("hyprxa.test", "goes nowhere");
    client_get(f.server, "/admin/logs/recorded", "", &a);
    check_answer(&a, 501, "{\"detail\":\"Logging to database is not configured.\"}");
    answer_release(&a);
    client_get(f.server, "/admin/logs/stream", "", &a);
    check_answer(&a, 501, "{\"detail\":\"Logging to database is not configured.\"}");
    answer_release(&a);
    tear_down(&f);
}

Test(logs, routes_say_when_the_worker_does_not_run)
{
    struct fixture f;
    static const char *const paths[] = {"/admin/logs", "/admin/logs/stream",
                                        "/admin/logs/recorded"};
    set_up(&f, enabled(0, 1000));
    logs_stop(f.logs);
    for (int i = 0; i < 3; i++) {
        struct answer a;
        client_get(f.server, paths[i], "", &a);
        check_answer(&a, 503, "{\"detail\":\"Log worker is not running.\"}");
        cr_expect_str_eq(answer_header(&a, "Retry-After"), "2");
        answer_release(&a);
    }
    tear_down(&f);
}

Test(logs, an_error_is_stored_at_once_with_what_came_before)
{
    struct fixture f;
    set_up(&f, enabled(0, 3600 * TIME_US_PER_SECOND));
    log_info("hyprxa.test", "waits");
    log_info("hyprxa.test", "waits too");
    cr_expect(info_has(&f, "\"storage_buffer_size\":2,\"total_stored\":0"));
    log_critical("hyprxa.test", "above error counts too");
    await_info(&f, "\"storage_buffer_size\":0,\"total_stored\":3");
    tear_down(&f);
}

Test(logs, others_are_stored_after_the_interval_and_at_the_end)
{
    struct fixture f;
    set_up(&f, enabled(0, 100000));
    log_info("hyprxa.test", "first");
    await_info(&f, "\"total_stored\":1");
    tear_down(&f);
    set_up(&f, enabled(0, 3600 * TIME_US_PER_SECOND));
    log_info("hyprxa.test", "last words");
    logs_stop(f.logs);
    cr_expect(info_has(&f, "\"total_stored\":1"));
    tear_down(&f);
}

Test(logs, a_reader_sees_what_was_logged_before)
{
    struct fixture f;
    struct answer a;
    set_up(&f, enabled(0, 3600 * TIME_US_PER_SECOND));
    log_warning("hyprxa.test", "just now");
    client_get(f.server, "/admin/logs/recorded", "", &a);
    cr_expect_eq(a.status, 200);
    cr_expect_not_null(strstr(a.body, "\"original\": \"just now\""), "%s", a.body);
    answer_release(&a);
    tear_down(&f);
}

/* Hold the database's lock, as a shell would. */
static sqlite3 *lock_database(struct fixture *f)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof path, "%s/logs.db", f->folder.path);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

Test(logs, what_has_no_room_is_dropped_counted_and_told_and_nobody_waits)
{
    struct fixture f;
    struct answer a;
    set_up(&f, enabled(100, 1000));
    log_error("hyprxa.test", "makes the file");
    await_info(&f, "\"total_stored\":1");
    sqlite3 *db = lock_database(&f);
    int64_t begin_ms = time_monotonic_ms();
    for (int i = 0; i < 100000; i++)
        log_error("hyprxa.test", "record %d", i);
    cr_expect_lt(time_monotonic_ms() - begin_ms, 10000);
    cr_expect(info_has(&f, "\"storage_buffer_size\":100,"));
    cr_expect(info_has(&f, "\"dropped\":{\"full\":99900,"));
    client_get(f.server, "/admin/logs/recorded", "", &a); /* what is stored can still be read */
    cr_expect_eq(a.status, 200);
    cr_expect_not_null(strstr(a.body, "makes the file"));
    answer_release(&a);
    sqlite3_close(db);
    await_info(&f, "\"storage_buffer_size\":0,\"total_stored\":102");
    client_get(f.server, "/admin/logs/recorded", "", &a);
    cr_expect_not_null(strstr(a.body, "\"99900 logs were not stored: "), "%s", a.body);
    answer_release(&a);
    tear_down(&f);
}

Test(logs, what_cannot_be_stored_until_the_end_is_counted)
{
    struct fixture f;
    set_up(&f, enabled(0, 1000));
    log_error("hyprxa.test", "makes the file");
    await_info(&f, "\"total_stored\":1");
    sqlite3 *db = lock_database(&f);
    log_error("hyprxa.test", "is lost");
    logs_stop(f.logs);
    cr_expect(info_has(&f, "\"storage\":1}"));
    sqlite3_close(db);
    tear_down(&f);
}

static void *flood(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5000; i++)
        log_info("hyprxa.test", "%d", i);
    return NULL;
}

Test(logs, of_many_threads_every_record_is_stored_or_counted)
{
    struct fixture f;
    struct error err = ERROR_INIT;
    pthread_t threads[4];
    static const char notice[] = " were not stored";
    unsigned long long stored = 0, full = 0, told = 0;
    set_up(&f, enabled(1000, 10000));
    for (int i = 0; i < 4; i++)
        cr_assert_eq(thread_start(&threads[i], "flood", flood, NULL, &err), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(logs_flush(f.logs, 20000, &err), 0, "%s", err.message);
    logs_stop(f.logs);
    AUTO(buf) out = BUF_INIT(4096);
    logs_info(f.logs, &out);
    const char *text = strstr(out.data, "\"total_stored\":");
    cr_assert_eq(sscanf(text, "\"total_stored\":%llu,\"dropped\":{\"full\":%llu", &stored, &full),
                 2);
    struct storage_log_cursor *cursor = NULL;
    struct storage_log log;
    cr_assert_eq(storage_logs_range(f.storage, 0, TIME_US_MAX, NULL, &cursor, &err), 0);
    while (storage_logs_next(cursor, &log, &err) > 0)
        told += memmem(log.document, log.len, notice, strlen(notice)) != NULL;
    storage_logs_cursor_close(cursor);
    cr_expect_eq(stored + full, 20000 + told);
    tear_down(&f);
}
