/* Samples and states from several threads, read beside, stopped in the middle: a plain program,
 * because Criterion's sandbox does not start under TSan.  Exit 0: readers saw, in order and once, all
 * that was appended before they asked, and so does a reader after reopening. */
#include "storage/storage.h"

#include "base/thread.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SOURCES = 3, READERS = 3, RUN_MS = 1500, SAMPLES_MAX = 400000 };

struct source {
    struct series *series;
    atomic_llong appended; /* samples 0 .. appended - 1, at times of their numbers */
    char (*states)[24];
};

static struct storage *st;
static struct source sources[SOURCES];
static atomic_bool over;

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "race_series: %s: %s\n", what, err ? err->message : "");
    exit(1);
}

static void *append(void *arg)
{
    struct source *source = arg;
    struct error err = ERROR_INIT;
    unsigned seed = 1;
    for (long long at = 0; at < SAMPLES_MAX - 100;) {
        uint32_t n = 1 + (uint32_t)rand_r(&seed) % 40;
        struct sample_block *b = sample_block_new(1, n, 1, 0, NULL);
        if (!b)
            die("block", NULL);
        b->source = source->series->source;
        b->runs[0] = (struct sample_run){series_ref(source->series), 0, n};
        for (uint32_t i = 0; i < n; i++, at++)
            b->samples[i] =
                (struct sample){.time_us = at, .value = {.type = VALUE_INT64, .as.i64 = at * at}};
        int len = snprintf(source->states[at], 24, "%lld", at);
        b->states[0] = (struct sample_state){"count", source->states[at], (size_t)len};
        int rc = storage_samples_append(st, b, time_monotonic_ms() + 5000, &err);
        sample_block_unref(b);
        if (rc == ERR_CLOSED)
            return NULL;
        if (rc)
            die("append", &err);
        atomic_store(&source->appended, at);
    }
    return NULL;
}

static void check(struct source *source, bool down)
{
    struct error err = ERROR_INIT;
    struct buf state = BUF_INIT(100);
    struct storage_sample_cursor *cursor;
    const struct sample *some;
    long long sure = atomic_load(&source->appended), seen = 0, newest = 0, step = down ? -1 : 1;
    int64_t last = 0;
    int rc = storage_state_get(st, source->series->source, "count", &state, &err);
    if (sure && (rc || strtoll(state.data, NULL, 10) < sure))
        die("state", &err);
    rc = storage_samples_last_time(st, source->series, &last, &err);
    if (sure && (rc || last < sure - 1))
        die("last time", &err);
    if (storage_samples_range(st, source->series, 0, INT64_MAX,
                              down ? STORAGE_DESCENDING : STORAGE_ASCENDING, &cursor, &err))
        die("range", &err);
    long n;
    for (int64_t expected = 0; (n = storage_samples_next(cursor, &some, &err)) > 0;) {
        for (long i = 0; i < n; i++, expected += step) {
            if (!seen++)
                newest = expected = some[i].time_us;
            if (some[i].time_us != expected || some[i].value.as.i64 != expected * expected)
                die("a sample is missing, doubled or changed", NULL);
            newest = expected > newest ? expected : newest;
        }
    }
    if (n < 0)
        die("next", &err);
    if (seen < sure || seen != (seen ? newest + 1 : 0))
        die("samples are missing", NULL);
    storage_samples_cursor_close(cursor);
    buf_release(&state);
}

static void *read_on(void *arg)
{
    for (unsigned i = (unsigned)(uintptr_t)arg; !atomic_load(&over); i++) {
        struct storage_stats stats;
        struct error err = ERROR_INIT;
        check(&sources[i % SOURCES], i & 1);
        storage_get_stats(st, &stats);
        int rc = i % 8 ? 0 : storage_samples_flush(st, &err);
        if (rc && rc != ERR_CLOSED)
            die("flush", &err);
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *arg)
{
    struct error err = ERROR_INIT;
    if (thread_start(thread, "race", run, arg, &err))
        die("thread", &err);
}

static void open_storage(const char *folder)
{
    char uri[128];
    struct error err = ERROR_INIT;
    snprintf(uri, sizeof uri, "sqlite://%s/hyprxa.db", folder);
    struct storage_options options = {
        .uri = uri, .flush_interval_us = 10000, .max_queued_samples = 20000};
    if (storage_open(&options, &st, &err))
        die("open", &err);
}

int main(void)
{
    char folder[] = "/tmp/hyprxa-race-XXXXXX";
    pthread_t appenders[SOURCES], readers[READERS];
    if (!mkdtemp(folder))
        die("folder", NULL);
    open_storage(folder);
    for (int i = 0; i < SOURCES; i++) {
        char name[16];
        snprintf(name, sizeof name, "source%d", i);
        sources[i].series = series_new(name, "{}", "{}", i);
        sources[i].states = calloc(SAMPLES_MAX, sizeof *sources[i].states);
        if (!sources[i].series || !sources[i].states)
            die("series", NULL);
        start(&appenders[i], append, &sources[i]);
    }
    for (size_t i = 0; i < READERS; i++)
        start(&readers[i], read_on, (void *)(uintptr_t)i);
    usleep(RUN_MS * 1000);
    storage_stop(st);
    for (int i = 0; i < SOURCES; i++)
        pthread_join(appenders[i], NULL);
    atomic_store(&over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    storage_close(st);
    open_storage(folder);
    for (int i = 0; i < SOURCES; i++) {
        check(&sources[i], false);
        if (atomic_load(&sources[i].appended) == 0)
            die("nothing was appended", NULL);
    }
    storage_close(st);
    for (int i = 0; i < SOURCES; i++) {
        series_unref(sources[i].series);
        free(sources[i].states);
    }
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) != 0;
}
