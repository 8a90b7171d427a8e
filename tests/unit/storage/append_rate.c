/* storage_append_rate [threads] [seconds] [folder]: durable appends per second, how long one takes,
 * and how fast they are read back.  Not a test: run by hand. */
#include "storage/storage.h"

#include "base/thread.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MAX = 1024, LATENCIES_MAX = 4000000 };

static struct storage *st;
static int64_t end_ns;
static atomic_uint n_latencies;
static unsigned latencies_us[LATENCIES_MAX];
static atomic_ullong published;

static void count_published(void *ctx, const char *const *keys, struct message *const *messages,
                            size_t n)
{
    (void)ctx, (void)keys, (void)messages;
    atomic_fetch_add(&published, n);
}

static void *append(void *arg)
{
    char full_key[32], payload[128];
    int number = (int)(intptr_t)arg;
    snprintf(full_key, sizeof full_key, "alarms.tank%d", number);
    for (int64_t i = 0, now; (now = time_monotonic_ns()) < end_ns; i++) {
        int n =
            snprintf(payload, sizeof payload,
                     "{\"level\":%d,\"number\":%lld,\"text\":\"the level is too high in here\"}",
                     number, (long long)i);
        struct storage_event event = {.topic = "alarms",
                                      .routing_key = full_key + strlen("alarms."),
                                      .full_key = full_key,
                                      .payload = payload,
                                      .payload_len = (size_t)n,
                                      .posted_by = "ada",
                                      .time_us = time_now_us()};
        struct error err = ERROR_INIT;
        if (storage_event_append(st, &event, INT64_MAX, NULL, &err)) {
            fprintf(stderr, "append: %s\n", err.message);
            exit(1);
        }
        unsigned at = atomic_fetch_add(&n_latencies, 1);
        if (at < LATENCIES_MAX)
            latencies_us[at] = (unsigned)((time_monotonic_ns() - now) / 1000);
    }
    return NULL;
}

static void read_back(void)
{
    struct storage_event_cursor *cursor;
    struct storage_event_row row;
    size_t n = 0;
    int64_t start_ns = time_monotonic_ns();
    if (storage_event_range(st, "alarms", "tank", 0, INT64_MAX, &cursor, NULL))
        exit(1);
    while (storage_event_next(cursor, &row, NULL) == 1)
        n++;
    storage_event_cursor_close(cursor);
    printf("range: %zu events, %.0f a second\n", n,
           (double)n * 1e9 / (double)(time_monotonic_ns() - start_ns));
}

static int ascending(const void *a, const void *b)
{
    unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int n_threads = argc > 1 ? atoi(argv[1]) : 64;
    int seconds = argc > 2 ? atoi(argv[2]) : 3;
    char uri[512];
    snprintf(uri, sizeof uri, "sqlite://%s/hyprxa.db", argc > 3 ? argv[3] : ".");
    struct error err = ERROR_INIT;
    struct storage_options options = {.uri = uri};
    static pthread_t threads[THREADS_MAX];
    if (n_threads < 1 || n_threads > THREADS_MAX || storage_open(&options, &st, &err)) {
        fprintf(stderr, "storage_append_rate: %s\n", err.message);
        return 1;
    }
    storage_on_event_commit(st, count_published, NULL);
    end_ns = time_monotonic_ns() + seconds * INT64_C(1000000000);
    for (int i = 0; i < n_threads; i++)
        if (thread_start(&threads[i], "append", append, (void *)(intptr_t)i, &err))
            return 1;
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
    struct storage_stats stats;
    storage_get_stats(st, &stats);
    size_t n = n_latencies < LATENCIES_MAX ? n_latencies : LATENCIES_MAX;
    qsort(latencies_us, n, sizeof *latencies_us, ascending);
    printf("%d threads: %.0f appends/s, %.1f a commit, p50 %u us, p99 %u us, max %u us\n",
           n_threads, (double)stats.events_committed / seconds,
           (double)stats.events_committed / (double)stats.event_commits, latencies_us[n / 2],
           latencies_us[n * 99 / 100], latencies_us[n - 1]);
    read_back();
    storage_close(st);
    return published == stats.events_committed ? 0 : 1;
}
