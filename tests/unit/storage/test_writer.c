#include "folder.h"
#include "storage/sqlite_priv.h"

#include "base/auto.h"
#include "base/thread.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

TestSuite(writer, .timeout = 60);

static int post(struct storage *st, const char *payload, int64_t time_us, int64_t deadline_ms,
                struct error *err)
{
    struct storage_event event = {.topic = "alarms",
                                  .routing_key = "a",
                                  .full_key = "alarms.a",
                                  .payload = payload,
                                  .payload_len = strlen(payload),
                                  .time_us = time_us};
    return storage_event_append(st, &event, deadline_ms, NULL, err);
}

static int64_t get_int(struct folder *f, const char *sql)
{
    sqlite3 *db;
    int64_t value = 0;
    cr_assert_eq(db_open_reader(f->database, &db, NULL), 0);
    cr_assert_eq(db_get_int(db, sql, 0, &value, NULL), 0);
    db_close(db);
    return value;
}

static void count(void *ctx, const char *const *keys, struct message *const *messages, size_t n)
{
    (void)keys, (void)messages;
    atomic_fetch_add((atomic_size_t *)ctx, n);
}

/* --- errors of the disk --- */

static char *large_payload(void)
{
    char *large = malloc(250001);
    cr_assert_not_null(large);
    memset(large, '1', 250000);
    large[250000] = '\0';
    return large;
}

Test(writer, full_storage_fails_the_event_and_recovers)
{
    struct folder f;
    struct error err = ERROR_INIT;
    struct storage_stats stats;
    atomic_size_t published = 0;
    char *large = large_payload();
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    storage_on_event_commit(st, count, &published);
    cr_assert_eq(post(st, "1", 1, INT64_MAX, &err), 0);
    cr_assert_eq(db_exec(sqlite_of(st)->db, "PRAGMA max_page_count=30", &err), 0);
    cr_expect_eq(post(st, large, 2, INT64_MAX, &err), ERR_AGAIN);
    cr_expect_str_eq(err.message, "Event storage is full.");
    cr_expect_eq(published, 1);
    cr_assert_eq(db_exec(sqlite_of(st)->db, "PRAGMA max_page_count=100000", &err), 0);
    cr_expect_eq(post(st, large, 3, INT64_MAX, &err), 0, "%s", err.message);
    storage_get_stats(st, &stats);
    cr_expect_eq(stats.events_committed, 2);
    cr_expect_eq(stats.events_failed, 1);
    cr_expect_eq(published, 2);
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM events"), 2);
    storage_close(st);
    folder_remove(&f);
    free(large);
}

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

Test(writer, failing_disk_fails_the_event_and_a_new_key_with_it)
{
    struct folder f;
    struct error err = ERROR_INIT;
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    limit_files(4096);
    cr_expect_lt(post(st, "1", 1, INT64_MAX, &err), 0);
    cr_expect_neq(err.message[0], '\0');
    limit_files(RLIM_INFINITY);
    cr_expect_eq(post(st, "2", 2, INT64_MAX, &err), 0, "%s", err.message);
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM events"), 1);
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM event_keys"), 1);
    storage_close(st);
    folder_remove(&f);
}

/* --- the queue --- */

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool reached, open;
};

/* Holds up the committer until the gate opens. */
static void pass_gate(void *ctx, const char *const *keys, struct message *const *messages, size_t n)
{
    struct gate *g = ctx;
    (void)keys, (void)messages, (void)n;
    pthread_mutex_lock(&g->lock);
    g->reached = true;
    pthread_cond_broadcast(&g->changed);
    while (!g->open)
        pthread_cond_wait(&g->changed, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void *post_one(void *st)
{
    cr_expect_eq(post(st, "1", 1, INT64_MAX, NULL), 0);
    return NULL;
}

static void await_queued(struct storage *st, uint64_t n)
{
    struct storage_stats stats;
    do {
        sched_yield();
        storage_get_stats(st, &stats);
    } while (stats.events_queued < n);
}

Test(writer, full_queue_refuses_after_the_deadline_and_takes_nothing)
{
    enum { ROOM = 3 };
    struct folder f;
    struct error err = ERROR_INIT;
    struct gate gate = {.open = false};
    pthread_t committer, queued[ROOM];
    folder_make(&f);
    lock_init(&gate.lock);
    cond_init(&gate.changed);
    struct storage *st = folder_open(&f, (struct storage_options){.max_queued_events = ROOM});
    storage_on_event_commit(st, pass_gate, &gate);
    cr_assert_eq(thread_start(&committer, "commit", post_one, st, NULL), 0);
    pthread_mutex_lock(&gate.lock);
    while (!gate.reached)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    for (int i = 0; i < ROOM; i++)
        cr_assert_eq(thread_start(&queued[i], "queued", post_one, st, NULL), 0);
    await_queued(st, ROOM); /* the first one is committed, and counted no more */
    cr_expect_eq(post(st, "2", 1, time_monotonic_ms() + 20, &err), ERR_AGAIN);
    cr_expect_str_eq(err.message, "Event storage is full.");
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    pthread_join(committer, NULL);
    for (int i = 0; i < ROOM; i++)
        pthread_join(queued[i], NULL);
    struct storage_stats stats;
    storage_get_stats(st, &stats);
    cr_expect_eq(stats.events_committed, ROOM + 1);
    cr_expect_eq(stats.event_commits, 2); /* those that queued shared one */
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM events WHERE payload = '2'"), 0);
    storage_close(st);
    folder_remove(&f);
}

/* --- retention --- */

Test(writer, expired_events_and_their_keys_go_and_numbers_are_not_given_again)
{
    enum { OLD = 1200 };
    struct folder f;
    struct error err = ERROR_INIT;
    int64_t now_us = time_now_us(), hour_us = 3600 * TIME_US_PER_SECOND;
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    for (int i = 0; i < OLD; i++)
        cr_assert_eq(post(st, "1", now_us - 2 * hour_us, INT64_MAX, &err), 0);
    struct storage_event event = {.topic = "batches",
                                  .full_key = "batches",
                                  .payload = "1",
                                  .payload_len = 1,
                                  .time_us = now_us};
    cr_assert_eq(storage_event_append(st, &event, INT64_MAX, NULL, &err), 0);
    storage_close(st);
    st = folder_open(&f, (struct storage_options){.expire_after_us = hour_us});
    while (get_int(&f, "SELECT count(*) FROM event_keys") > 1)
        sched_yield();
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM events"), 1);
    cr_expect_eq(get_int(&f, "SELECT value FROM meta WHERE name = 'sequence'"), OLD + 1);
    storage_close(st);
    folder_remove(&f);
}

/* --- the WAL --- */

Test(writer, wal_is_checkpointed_and_used_again)
{
    struct folder f;
    struct error err = ERROR_INIT;
    char *large = large_payload();
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    for (int i = 0; i < 600; i++) /* 62 pages each: more than two rounds of 16,000 */
        cr_assert_eq(post(st, large, i, INT64_MAX, &err), 0, "%s", err.message);
    cr_expect_lt(db_bytes_on_disk(f.database), UINT64_C(600) * 250000 + 80 * 1024 * 1024);
    storage_close(st);
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM events"), 600);
    folder_remove(&f);
    free(large);
}

Test(writer, long_reader_delays_the_checkpoint_and_fails_no_event)
{
    struct folder f;
    struct error err = ERROR_INIT;
    char *large = large_payload();
    sqlite3 *reader;
    folder_make(&f);
    struct storage *st = folder_open(&f, (struct storage_options){0});
    cr_assert_eq(post(st, "1", 1, INT64_MAX, &err), 0);
    cr_assert_eq(db_open_reader(f.database, &reader, &err), 0);
    cr_assert_eq(db_exec(reader, "BEGIN; SELECT count(*) FROM event_rows", &err), 0);
    for (int i = 0; i < 1100; i++) /* past the point where readers are waited for */
        cr_assert_eq(post(st, large, i, INT64_MAX, &err), 0, "%s", err.message);
    cr_expect_gt(sqlite_of(st)->writer.wal_frames, 64000);
    cr_assert_eq(db_exec(reader, "COMMIT", &err), 0);
    db_close(reader);
    for (int i = 0; i < 600; i++)
        cr_assert_eq(post(st, large, i, INT64_MAX, &err), 0, "%s", err.message);
    cr_expect_lt(sqlite_of(st)->writer.wal_frames, 64000);
    storage_close(st);
    cr_expect_eq(get_int(&f, "SELECT count(*) FROM events"), 1701);
    folder_remove(&f);
    free(large);
}
