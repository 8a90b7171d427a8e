/* What the tests of the store of series share: a folder of their own, series, blocks, reading. */
#ifndef HYPRXA_TESTS_SERIES_KIT_H
#define HYPRXA_TESTS_SERIES_KIT_H

#include "storage/series_store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct kit {
    char folder[64];
    char path[96];
    struct series_store_options options;
    struct series_tuning tuning;
    struct series_store *store;
};

static inline void kit_open(struct kit *k)
{
    struct error err = ERROR_INIT;
    if (!k->path[0]) {
        snprintf(k->folder, sizeof k->folder, "/tmp/hyprxa-series-XXXXXX");
        cr_assert_not_null(mkdtemp(k->folder));
        snprintf(k->path, sizeof k->path, "%s/series.db", k->folder);
    }
    k->options.path = k->path;
    if (!k->options.flush_interval_us)
        k->options.flush_interval_us = 60 * 1000000; /* when asked only */
    if (!k->options.max_queued_samples)
        k->options.max_queued_samples = 1000000;
    int rc = series_store_open_tuned(&k->options, &k->tuning, &k->store, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
}

static inline void kit_reopen(struct kit *k)
{
    series_store_close(k->store);
    kit_open(k);
}

static inline void kit_close(struct kit *k)
{
    char wal[112];
    series_store_close(k->store);
    k->store = NULL;
    unlink(k->path);
    snprintf(wal, sizeof wal, "%s-wal", k->path);
    unlink(wal);
    snprintf(wal, sizeof wal, "%s-shm", k->path);
    unlink(wal);
    rmdir(k->folder);
}

static inline struct series *kit_series(const char *source, int number)
{
    char canonical[64];
    snprintf(canonical, sizeof canonical, "{\"n\":%d,\"source\":\"%s\"}", number, source);
    struct series *s = series_new(source, canonical, canonical, number * 7919 + 1);
    cr_assert_not_null(s);
    return s;
}

static inline struct sample kit_double(int64_t time_us, double value)
{
    return (struct sample){.time_us = time_us, .value = {.type = VALUE_DOUBLE, .as.f64 = value}};
}

/* A block of one run.  Texts are not copied: they must outlive the block. */
static inline struct sample_block *kit_block(struct series *series, const struct sample *samples,
                                             size_t n)
{
    struct sample_block *b = sample_block_new(1, n, 0, 0, NULL);
    cr_assert_not_null(b);
    b->source = series->source;
    b->runs[0] = (struct sample_run){series_ref(series), 0, (uint32_t)n};
    memcpy(b->samples, samples, n * sizeof *samples);
    return b;
}

static inline void kit_append_block(struct kit *k, struct sample_block *b)
{
    struct error err = ERROR_INIT;
    int rc = series_store_append(k->store, b, INT64_MAX, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
    sample_block_unref(b);
}

static inline void kit_append(struct kit *k, struct series *series, const struct sample *samples,
                              size_t n)
{
    kit_append_block(k, kit_block(series, samples, n));
}

static inline void kit_flush(struct kit *k)
{
    struct error err = ERROR_INIT;
    int rc = series_store_flush(k->store, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
}

/* Everything of the range, texts copied and never freed (a test is a process). */
static inline struct sample *kit_read(struct kit *k, struct series *series, int64_t start,
                                      int64_t end, enum storage_order order, size_t *ret_n)
{
    struct error err = ERROR_INIT;
    struct storage_sample_cursor *cursor;
    int rc = series_store_range(k->store, series, start, end, order, &cursor, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
    struct sample *all = NULL;
    const struct sample *some;
    size_t n = 0;
    long got;
    while ((got = series_store_next(cursor, &some, &err)) > 0) {
        all = realloc(all, (n + (size_t)got) * sizeof *all);
        for (long i = 0; i < got; i++) {
            struct sample *s = &all[n++];
            *s = some[i];
            if (s->value.type >= VALUE_STRING) {
                void *copy = malloc(s->value.len + 1u);
                memcpy(copy, s->value.as.ptr, s->value.len);
                s->value.as.ptr = copy;
            }
        }
    }
    cr_assert_eq(got, 0, "%s", err.message);
    series_store_cursor_close(cursor);
    *ret_n = n;
    return all;
}

static inline void kit_free(struct sample *samples, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (samples[i].value.type >= VALUE_STRING)
            free((void *)(uintptr_t)samples[i].value.as.ptr);
    free(samples);
}

static inline bool kit_same(const struct sample *a, const struct sample *b)
{
    if (a->time_us != b->time_us || a->quality != b->quality || a->source_code != b->source_code ||
        a->value.type != b->value.type)
        return false;
    switch (a->value.type) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->value.as.boolean == b->value.as.boolean;
    case VALUE_INT64:
    case VALUE_DOUBLE: /* every bit */
        return a->value.as.i64 == b->value.as.i64;
    default:
        return a->value.len == b->value.len &&
               (!a->value.len || memcmp(a->value.as.ptr, b->value.as.ptr, a->value.len) == 0);
    }
}

static inline void kit_expect(struct kit *k, struct series *series, const struct sample *expected,
                              size_t n)
{
    size_t got_n;
    struct sample *got = kit_read(k, series, INT64_MIN, INT64_MAX, STORAGE_ASCENDING, &got_n);
    cr_assert_eq(got_n, n, "%zu samples instead of %zu", got_n, n);
    for (size_t i = 0; i < n; i++)
        cr_assert(kit_same(&got[i], &expected[i]), "sample %zu differs", i);
    kit_free(got, got_n);
}

static inline struct storage_stats kit_stats(struct kit *k)
{
    struct storage_stats stats = {0};
    series_store_stats(k->store, &stats);
    return stats;
}

/* A small generator whose sequence is the same on every machine. */
static inline uint64_t kit_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
