/* How fast samples go through storage to disk and back: blocks of one sample for each of many
 * series, straight into storage_samples_append(), then every series read whole.
 *
 *     ingest_storage [--series N] [--blocks N] [--walk | --decimal] [--keep DIR]
 *
 * Prints one JSON object.  --walk (default): random walks with every bit of the mantissa in use,
 * times with a jitter of 1 ms; --decimal: readings with two decimals. */
#include "base/thread.h"
#include "base/time.h"
#include "storage/storage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct plan {
    size_t n_series, n_blocks;
    bool decimal;
    char folder[256];
    struct series **series;
    double *walk;
    uint64_t seed;
};

static void give_up(const char *what, const struct error *err)
{
    fprintf(stderr, "ingest_storage: %s: %s\n", what, err ? err->message : "out of memory");
    exit(1);
}

static uint64_t next_random(struct plan *p)
{
    p->seed ^= p->seed << 13;
    p->seed ^= p->seed >> 7;
    p->seed ^= p->seed << 17;
    return p->seed;
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double seconds_since(int64_t start_ns)
{
    return (double)(time_monotonic_ns() - start_ns) / 1e9;
}

static void make_series(struct plan *p)
{
    p->series = calloc(p->n_series, sizeof(struct series *));
    p->walk = calloc(p->n_series, sizeof *p->walk);
    if (!p->series || !p->walk)
        give_up("series", NULL);
    for (size_t i = 0; i < p->n_series; i++) {
        char canonical[64];
        snprintf(canonical, sizeof canonical, "{\"item\":%zu,\"source\":\"bench\"}", i);
        p->series[i] = series_new("bench", canonical, canonical, (int64_t)i + 1);
        if (!p->series[i])
            give_up("series", NULL);
        p->walk[i] = 20 + (double)i;
    }
}

static struct sample_block *make_block(struct plan *p, size_t number, int64_t start_us)
{
    struct sample_block *b = sample_block_new(p->n_series, p->n_series, 0, 0, NULL);
    if (!b)
        give_up("block", NULL);
    b->source = "bench";
    for (size_t i = 0; i < p->n_series; i++) {
        uint64_t r = next_random(p);
        p->walk[i] += (double)(int64_t)r / 9.3e20;
        double value = p->walk[i];
        if (p->decimal)
            value = (double)(int64_t)(value * 100) / 100;
        b->runs[i] = (struct sample_run){series_ref(p->series[i]), (uint32_t)i, 1};
        b->samples[i] =
            (struct sample){.time_us = start_us + (int64_t)number * 10000 + (int64_t)(r % 1000),
                            .value = {.type = VALUE_DOUBLE, .as.f64 = value}};
    }
    return b;
}

static size_t scan(struct plan *p, struct storage *st)
{
    struct error err = ERROR_INIT;
    size_t total = 0;
    for (size_t i = 0; i < p->n_series; i++) {
        struct storage_sample_cursor *cursor;
        const struct sample *samples;
        long n;
        if (storage_samples_range(st, p->series[i], INT64_MIN, INT64_MAX, STORAGE_ASCENDING,
                                  &cursor, &err))
            give_up("range", &err);
        while ((n = storage_samples_next(cursor, &samples, &err)) > 0)
            total += (size_t)n;
        if (n < 0)
            give_up("scan", &err);
        storage_samples_cursor_close(cursor);
    }
    return total;
}

static struct storage *open_storage(const struct plan *p)
{
    char uri[300];
    struct error err = ERROR_INIT;
    struct storage *st;
    snprintf(uri, sizeof uri, "sqlite://%s/hyprxa.db", p->folder);
    struct storage_options options = {.uri = uri, .flush_interval_us = 500000};
    if (storage_open(&options, &st, &err))
        give_up("open", &err);
    return st;
}

static void run(struct plan *p)
{
    struct error err = ERROR_INIT;
    struct storage *st = open_storage(p);
    /* Made before, so that the time of making them is not measured; memory bounds a run. */
    struct sample_block **blocks = calloc(p->n_blocks, sizeof(struct sample_block *));
    if (!blocks)
        give_up("blocks", NULL);
    int64_t start_us = time_now_us() - INT64_C(86400000000);
    for (size_t i = 0; i < p->n_blocks; i++)
        blocks[i] = make_block(p, i, start_us);
    size_t samples = p->n_blocks * p->n_series;
    double cpu = cpu_seconds();
    int64_t start = time_monotonic_ns();
    for (size_t i = 0; i < p->n_blocks; i++) {
        if (storage_samples_append(st, blocks[i], INT64_MAX, &err))
            give_up("append", &err);
        sample_block_unref(blocks[i]);
    }
    double queued = seconds_since(start);
    if (storage_samples_flush(st, &err))
        give_up("flush", &err);
    double stored = seconds_since(start);
    cpu = cpu_seconds() - cpu;
    start = time_monotonic_ns();
    size_t read = scan(p, st);
    double scanned = seconds_since(start);
    storage_close(st);
    st = open_storage(p);
    start = time_monotonic_ns();
    size_t reread = scan(p, st);
    double rescanned = seconds_since(start);
    struct storage_stats stats = {0};
    storage_get_stats(st, &stats);
    printf("{\"series\":%zu,\"samples\":%zu,\"append_per_s\":%.0f,\"stored_per_s\":%.0f,"
           "\"cpu_us_per_sample\":%.4f,\"bytes_per_sample\":%.2f,\"scan_per_s\":%.0f,"
           "\"scan_after_reopen_per_s\":%.0f,\"read\":%zu}\n",
           p->n_series, samples, (double)samples / queued, (double)samples / stored,
           cpu * 1e6 / (double)samples, (double)stats.bytes_on_disk / (double)samples,
           (double)read / scanned, (double)reread / rescanned, reread);
    storage_close(st);
    free(blocks);
    if (read != samples || reread != samples)
        give_up("samples are missing", &(struct error){.message = "see \"read\""});
}

static void remove_files(const struct plan *p)
{
    static const char *const names[] = {"hyprxa.db",     "hyprxa.db-wal", "hyprxa.db-shm",
                                        "series.db",     "series.db-wal", "series.db-shm",
                                        "hyprxa.db.lock"};
    char path[300];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", p->folder, names[i]);
        unlink(path);
    }
    rmdir(p->folder);
}

int main(int argc, char **argv)
{
    struct plan p = {.n_series = 1000, .n_blocks = 8000, .seed = UINT64_C(88172645463325252)};
    bool keep = false;
    snprintf(p.folder, sizeof p.folder, "/tmp/hyprxa-ingest-XXXXXX");
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--series") == 0)
            p.n_series = strtoul(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--blocks") == 0)
            p.n_blocks = strtoul(value, NULL, 10), i++;
        else if (strcmp(argv[i], "--keep") == 0)
            keep = snprintf(p.folder, sizeof p.folder, "%s", value) > 0, i++;
        else if (strcmp(argv[i], "--decimal") == 0)
            p.decimal = true;
        else if (strcmp(argv[i], "--walk") == 0)
            p.decimal = false;
        else
            p.n_series = 0;
    }
    if (!p.n_series || !p.n_blocks || (!keep && !mkdtemp(p.folder))) {
        fprintf(stderr, "usage: ingest_storage [--series N] [--blocks N] [--walk | --decimal]"
                        " [--keep DIR]\n");
        return 2;
    }
    make_series(&p);
    run(&p);
    for (size_t i = 0; i < p.n_series; i++)
        series_unref(p.series[i]);
    free(p.series);
    free(p.walk);
    if (!keep)
        remove_files(&p);
    return 0;
}
