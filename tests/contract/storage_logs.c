/* What every back end of storage promises about logs.  SQLite runs in a folder under /tmp. */
#include "storage/storage.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"

#include "unit/storage/folder.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(storage_logs, .timeout = 60);

enum { TEXT_SIZE = 256 };

struct fixture {
    struct folder folder;
    struct storage_options options;
    struct storage *st;
};

static void reopen(struct fixture *f)
{
    storage_close(f->st);
    f->st = folder_open(&f->folder, f->options);
}

static void set_up(struct fixture *f)
{
    *f = (struct fixture){.options = {.logs_expire_after_us = 3600 * TIME_US_PER_SECOND}};
    folder_make(&f->folder);
    reopen(f);
}

static void tear_down(struct fixture *f)
{
    storage_close(f->st);
    folder_remove(&f->folder);
}

static int64_t at(int64_t seconds)
{
    return INT64_C(1677658560000000) + seconds * TIME_US_PER_SECOND;
}

/* Append `n` documents {"n": first}, ..., one a second from at(first) on. */
static void append(struct fixture *f, int first, size_t n)
{
    struct storage_log *logs = calloc(n, sizeof *logs);
    char *texts = malloc(n * TEXT_SIZE);
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < n; i++) {
        char *text = texts + i * TEXT_SIZE;
        int number = first + (int)i;
        int len = snprintf(text, TEXT_SIZE, "{\"n\":%d,\"log\":{\"level\":\"%s\"}}", number,
                           number % 10 ? "info" : "error");
        logs[i] = (struct storage_log){at(number), text, (size_t)len};
    }
    cr_assert_eq(storage_logs_append(f->st, logs, n, &err), 0, "%s", err.message);
    free(texts);
    free(logs);
}

/* Count what a range gives, and check that it ascends from the document `first`. */
static size_t count(struct fixture *f, int64_t start_us, int64_t end_us, const char *filter,
                    int first)
{
    struct error err = ERROR_INIT;
    AUTO_JSON *query = filter ? json_tokener_parse(filter) : NULL;
    struct storage_log_cursor *cursor = NULL;
    struct storage_log log;
    int rc = storage_logs_range(f->st, start_us, end_us, query, &cursor, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
    size_t n = 0;
    int64_t last_us = INT64_MIN;
    while ((rc = storage_logs_next(cursor, &log, &err)) > 0) {
        char begin[32];
        int len = snprintf(begin, sizeof begin, "{\"n\":%d,", first);
        if (n++ == 0)
            cr_expect_eq(strncmp(log.document, begin, (size_t)len), 0, "%.*s", (int)log.len,
                         log.document);
        cr_expect_geq(log.time_us, last_us);
        last_us = log.time_us;
    }
    cr_assert_eq(rc, 0, "%s", err.message);
    storage_logs_cursor_close(cursor);
    return n;
}

Test(storage_logs, a_store_without_logs_has_an_empty_range)
{
    struct fixture f;
    set_up(&f);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, NULL, 0), 0);
    tear_down(&f);
}

Test(storage_logs, documents_come_back_byte_for_byte_after_a_restart)
{
    static const char text[] = "{\"log\":{\"original\":\"Z\\u00fcrich \xC3\xA9 \\n\"},\"n\":1}";
    struct fixture f;
    struct storage_log_cursor *cursor = NULL;
    struct storage_log log = {at(0), text, sizeof text - 1};
    set_up(&f);
    cr_assert_eq(storage_logs_append(f.st, &log, 1, NULL), 0);
    reopen(&f);
    cr_assert_eq(storage_logs_range(f.st, at(0), at(0), NULL, &cursor, NULL), 0);
    cr_assert_eq(storage_logs_next(cursor, &log, NULL), 1);
    cr_expect_eq(log.time_us, at(0));
    cr_expect_eq(log.len, sizeof text - 1);
    cr_expect_eq(memcmp(log.document, text, sizeof text - 1), 0);
    cr_expect_eq(storage_logs_next(cursor, &log, NULL), 0);
    storage_logs_cursor_close(cursor);
    tear_down(&f);
}

Test(storage_logs, both_ends_of_a_range_are_in_it)
{
    struct fixture f;
    set_up(&f);
    append(&f, 0, 10);
    cr_expect_eq(count(&f, at(2), at(5), NULL, 2), 4);
    cr_expect_eq(count(&f, at(2) + 1, at(5) - 1, NULL, 3), 2);
    cr_expect_eq(count(&f, at(10), at(20), NULL, 0), 0);
    tear_down(&f);
}

Test(storage_logs, they_are_given_by_time_and_equal_times_as_they_came)
{
    struct fixture f;
    set_up(&f);
    append(&f, 100, 2000); /* more than a window of equal and later ones */
    append(&f, 0, 100);
    struct storage_log same[] = {{at(50), "{\"n\":-1}", 8}, {at(50), "{\"n\":-2}", 8}};
    cr_assert_eq(storage_logs_append(f.st, same, 2, NULL), 0);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, NULL, 0), 2102);
    struct storage_log_cursor *cursor = NULL;
    struct storage_log log;
    cr_assert_eq(storage_logs_range(f.st, at(50), at(50), NULL, &cursor, NULL), 0);
    for (int i = 0; i < 3; i++) {
        static const char *const begins[] = {"{\"n\":50", "{\"n\":-1", "{\"n\":-2"};
        cr_assert_eq(storage_logs_next(cursor, &log, NULL), 1);
        cr_expect_eq(strncmp(log.document, begins[i], strlen(begins[i])), 0, "%s", begins[i]);
    }
    storage_logs_cursor_close(cursor);
    tear_down(&f);
}

Test(storage_logs, a_filter_sees_the_whole_document)
{
    struct fixture f;
    set_up(&f);
    append(&f, 1, 5000);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, "{\"log.level\":\"error\"}", 10), 500);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, "{\"n\":{\"$gt\":4990}}", 4991), 10);
    cr_expect_eq(count(&f, at(0), at(1000), "{\"log.level\":{\"$in\":[\"error\"]}}", 10), 100);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, "{\"_id\":{\"$exists\":true}}", 0), 0);
    tear_down(&f);
}

Test(storage_logs, a_filter_that_is_not_offered_is_named_before_anything_is_read)
{
    struct fixture f;
    struct error err = ERROR_INIT;
    struct storage_log_cursor *cursor = NULL;
    AUTO_JSON *query = json_tokener_parse("{\"log.level\":{\"$near\":1}}");
    set_up(&f);
    cr_expect_eq(storage_logs_range(f.st, 0, 1, query, &cursor, &err), ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "'$near'"));
    cr_expect_null(cursor);
    tear_down(&f);
}

Test(storage_logs, purge_deletes_what_has_expired_and_nothing_else)
{
    struct fixture f;
    size_t n, purged = 0;
    int more;
    set_up(&f);
    append(&f, 0, 7000);
    do {
        more = storage_logs_purge(f.st, at(3600 + 5000), &n, NULL);
        purged += n;
    } while (more > 0);
    cr_expect_eq(more, 0);
    cr_expect_eq(purged, 5000);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, NULL, 5000), 2000);
    tear_down(&f);
}

Test(storage_logs, without_a_retention_nothing_expires)
{
    struct fixture f;
    size_t n = 1;
    set_up(&f);
    f.options.logs_expire_after_us = 0;
    reopen(&f);
    append(&f, 0, 10);
    cr_expect_eq(storage_logs_purge(f.st, TIME_US_MAX, &n, NULL), 0);
    cr_expect_eq(n, 0);
    cr_expect_eq(count(&f, TIME_US_MIN, TIME_US_MAX, NULL, 0), 10);
    tear_down(&f);
}

Test(storage_logs, a_cursor_sees_what_is_appended_behind_its_window)
{
    struct fixture f;
    struct storage_log_cursor *cursor = NULL;
    struct storage_log log;
    size_t n = 1;
    set_up(&f);
    append(&f, 0, 3000);
    cr_assert_eq(storage_logs_range(f.st, TIME_US_MIN, TIME_US_MAX, NULL, &cursor, NULL), 0);
    cr_assert_eq(storage_logs_next(cursor, &log, NULL), 1);
    append(&f, 3000, 100); /* no read transaction is open meanwhile */
    while (storage_logs_next(cursor, &log, NULL) > 0)
        n++;
    cr_expect_eq(n, 3100);
    storage_logs_cursor_close(cursor);
    tear_down(&f);
}
