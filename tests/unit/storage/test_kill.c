/* What was acknowledged before kill -9 is there once; what was never sent is not. */
#include "folder.h"

#include "base/thread.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TestSuite(kill, .timeout = 120);

enum {
    ROUNDS = 20,
    THREADS = 64,
    EVENTS_MAX = 4000, /* of one thread in one round */
};

/* Written by the child: thread and number of an event, before it is sent and after its answer. */
struct record {
    uint16_t thread;
    uint16_t answered;
    uint32_t number;
};

struct sender {
    struct storage *st;
    int round, thread, fd;
};

static void *send_events(void *arg)
{
    const struct sender *s = arg;
    for (uint32_t i = 0; i < EVENTS_MAX; i++) {
        struct record r = {(uint16_t)s->thread, 0, i};
        char payload[64];
        int n = snprintf(payload, sizeof payload, "%d/%d/%u", s->round, s->thread, i);
        struct storage_event event = {.topic = "storm",
                                      .routing_key = "k",
                                      .full_key = "storm.k",
                                      .payload = payload,
                                      .payload_len = (size_t)n,
                                      .time_us = time_now_us()};
        if (write(s->fd, &r, sizeof r) != (ssize_t)sizeof r)
            _exit(1);
        if (storage_event_append(s->st, &event, INT64_MAX, NULL, NULL))
            _exit(2);
        r.answered = 1;
        if (write(s->fd, &r, sizeof r) != (ssize_t)sizeof r)
            _exit(1);
    }
    return NULL;
}

static void run_child(const char *uri, int round, int fd)
{
    struct storage_options options = {.uri = uri};
    struct sender senders[THREADS];
    pthread_t threads[THREADS];
    struct storage *st;
    if (storage_open(&options, &st, NULL))
        _exit(3);
    for (int i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){st, round, i, fd};
        if (thread_start(&threads[i], "send", send_events, &senders[i], NULL))
            _exit(4);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    _exit(0);
}

struct tally {
    uint32_t sent[THREADS], answered[THREADS]; /* a thread sends in order: its first n events */
};

static void kill_a_storm(struct folder *f, int round, unsigned *seed, struct tally *t)
{
    int pipe_fds[2], status;
    cr_assert_eq(pipe(pipe_fds), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        close(pipe_fds[0]);
        run_child(f->uri, round, pipe_fds[1]);
    }
    close(pipe_fds[1]);
    int64_t kill_at_ns = time_monotonic_ns() + 20000000 + rand_r(seed) % 200 * INT64_C(1000000);
    *t = (struct tally){.sent = {0}};
    struct record r; /* smaller than PIPE_BUF: written whole or not at all */
    bool killed = false;
    while (read(pipe_fds[0], &r, sizeof r) == (ssize_t)sizeof r) {
        *(r.answered ? &t->answered[r.thread] : &t->sent[r.thread]) = r.number + 1;
        if (!killed && time_monotonic_ns() >= kill_at_ns) {
            kill(child, SIGKILL);
            killed = true;
        }
    }
    close(pipe_fds[0]);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(killed && WIFSIGNALED(status), "status %d", status);
}

/* How often each event of the round is stored. */
static void count_stored(struct folder *f, int round, unsigned char (*stored)[EVENTS_MAX])
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    char pattern[16];
    snprintf(pattern, sizeof pattern, "%d/*", round);
    memset(stored, 0, (size_t)THREADS * EVENTS_MAX);
    cr_assert_eq(sqlite3_open_v2(f->database, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    cr_assert_eq(
        sqlite3_prepare_v2(db, "SELECT payload FROM events WHERE payload GLOB ?1", -1, &stmt, NULL),
        SQLITE_OK);
    sqlite3_bind_text(stmt, 1, pattern, -1, SQLITE_STATIC);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        int of_round, thread;
        unsigned number;
        cr_assert_eq(sscanf((const char *)sqlite3_column_text(stmt, 0), "%d/%d/%u", &of_round,
                            &thread, &number),
                     3);
        cr_assert(of_round == round && thread >= 0 && thread < THREADS && number < EVENTS_MAX);
        stored[thread][number]++;
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

Test(kill, acknowledged_events_survive_once_and_nothing_else_appears)
{
    static unsigned char stored[THREADS][EVENTS_MAX];
    struct folder f;
    struct tally tally;
    unsigned seed = (unsigned)time(NULL);
    uint64_t epoch = 0, n_answered = 0;
    folder_make(&f);
    for (int round = 0; round < ROUNDS; round++) {
        kill_a_storm(&f, round, &seed, &tally);
        struct storage *st = folder_open(&f, (struct storage_options){0});
        cr_assert_gt(storage_epoch(st), epoch + 1, "the child's start raised it too");
        epoch = storage_epoch(st);
        count_stored(&f, round, stored);
        for (int thread = 0; thread < THREADS; thread++) {
            n_answered += tally.answered[thread];
            for (uint32_t i = 0; i < EVENTS_MAX; i++) {
                cr_assert_leq(stored[thread][i], i < tally.sent[thread] ? 1 : 0,
                              "round %d thread %d event %u (seed %u)", round, thread, i, seed);
                cr_assert_geq(stored[thread][i], i < tally.answered[thread] ? 1 : 0,
                              "round %d thread %d event %u (seed %u)", round, thread, i, seed);
            }
        }
        storage_close(st);
    }
    cr_expect_gt(n_answered, ROUNDS * THREADS);
    folder_remove(&f);
}
