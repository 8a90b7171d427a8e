/* Random use of the store against a plain model: a map from (series, time) to the first sample. */
#include "series_kit.h"

TestSuite(series_model, .timeout = 280);

enum { SERIES = 4, TIMES = 6000, STEPS = 500 };

struct model {
    bool known[SERIES][TIMES];
    struct sample samples[SERIES][TIMES];
    int64_t newest[SERIES];
    uint64_t seed;
    size_t counted; /* different samples */
    size_t offered;
};

static const char texts[] = "abcdefghijklmnopqrstuvwxyz0123456789";

static struct sample make_sample(struct model *m, int series, int64_t time)
{
    uint64_t r = kit_random(&m->seed);
    struct sample s = {.time_us = time * 1000,
                       .quality = r % 17 == 0 ? 2 : 0,
                       .source_code = r % 19 == 0 ? (uint32_t)(r >> 33) : 0};
    switch (series == 3 ? r % 7 : (unsigned)series) {
    case 0:
        s.value = (struct value){.type = VALUE_DOUBLE, .as.f64 = (double)(r % 10000) / 100};
        break;
    case 1:
        s.value = (struct value){
            .type = VALUE_STRING, .len = (uint32_t)(r >> 20) % 30, .as.ptr = texts + (r >> 40) % 5};
        break;
    case 2:
        s.value = (struct value){.type = VALUE_INT64, .as.i64 = (int64_t)r};
        break;
    case 3:
        s.value = (struct value){.type = VALUE_BOOL, .as.boolean = r >> 50 & 1};
        break;
    case 4:
        s.value = (struct value){.type = VALUE_NULL};
        break;
    default:
        s.value = (struct value){.type = VALUE_DOUBLE, .as.f64 = (double)r / 7};
    }
    return s;
}

/* A run of rising times, new ones or (history) anywhere. */
static void append_run(struct kit *k, struct model *m, struct series *series, int which)
{
    static struct sample run[600];
    uint64_t r = kit_random(&m->seed);
    bool history = r % 3 == 0;
    size_t n = 0, want = 1 + (r >> 8) % (r % 5 ? 20 : 600);
    int64_t time = history ? (int64_t)((r >> 20) % TIMES) : m->newest[which] + 1;
    for (; n < want && time < TIMES; time += 1 + (int64_t)(kit_random(&m->seed) % 3)) {
        struct sample s = make_sample(m, which, time);
        run[n++] = s;
        m->offered++;
        if (!m->known[which][time]) {
            m->known[which][time] = true;
            m->samples[which][time] = s;
            m->counted++;
        }
        if (time > m->newest[which])
            m->newest[which] = time;
    }
    if (!n)
        return;
    struct sample_block *b = kit_block(series, run, n);
    b->flags = history ? SAMPLE_BLOCK_HISTORY : 0;
    kit_append_block(k, b);
}

static void compare(struct kit *k, struct model *m, struct series *series, int which)
{
    int64_t lo = (int64_t)(kit_random(&m->seed) % TIMES),
            hi = (int64_t)(kit_random(&m->seed) % TIMES);
    if (kit_random(&m->seed) % 4 == 0) {
        lo = 0;
        hi = TIMES - 1;
    }
    bool down = kit_random(&m->seed) & 1;
    size_t n, at = 0;
    struct sample *got = kit_read(k, series, lo * 1000, hi * 1000,
                                  down ? STORAGE_DESCENDING : STORAGE_ASCENDING, &n);
    for (int64_t i = lo; i <= hi; i++) {
        int64_t time = down ? hi - (i - lo) : i;
        if (!m->known[which][time])
            continue;
        cr_assert_lt(at, n, "%zu samples, and time %d is missing", n, (int)time);
        cr_assert(kit_same(&got[at], &m->samples[which][time]),
                  "series %d: at %d stands a sample of %d or with another value", which, (int)time,
                  (int)(got[at].time_us / 1000));
        at++;
    }
    cr_assert_eq(at, n, "series %d: %zu samples too many", which, n - at);
    kit_free(got, n);
}

static void compare_last(struct kit *k, struct model *m, struct series *series, int which)
{
    struct error err = ERROR_INIT;
    int64_t last = -1;
    int rc = series_store_last_time(k->store, series, &last, &err);
    if (m->newest[which] < 0)
        cr_assert_eq(rc, ERR_NOT_FOUND);
    else
        cr_assert_eq(last, m->newest[which] * 1000);
}

static int64_t ask(struct kit *k, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    cr_assert_eq(sqlite3_open(k->path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return value;
}

/* Let all leave the log; then chunks hold each sample once, in spans that keep the rules. */
static void check_chunks(struct kit *k, const struct model *m)
{
    int64_t known = 0;
    for (int i = 0; i < SERIES; i++)
        for (int time = 0; time < TIMES; time++)
            known += m->known[i][time];
    struct series_tuning tuning = k->tuning;
    k->tuning.chunk_after_ms = 1;
    kit_reopen(k);
    while (ask(k, "SELECT count(*) FROM log"))
        usleep(1000);
    cr_assert_eq(ask(k, "SELECT sum(n) FROM chunks"), known);
    cr_assert_eq(ask(k, "SELECT count(*) FROM chunks a JOIN chunks b ON a.series=b.series AND"
                        " a.seq=0 AND b.seq=0 AND a.start<b.start AND a.end>=b.start"),
                 0);
    cr_assert_eq(ask(k, "SELECT count(*) FROM chunks o WHERE o.seq>0 AND NOT EXISTS(SELECT 1 FROM"
                        " chunks c WHERE c.series=o.series AND c.start=o.start AND c.seq=0 AND"
                        " o.end<=c.end)"),
                 0);
    k->tuning = tuning;
}

static void play(uint64_t seed, struct series_tuning tuning)
{
    struct kit k = {.tuning = tuning};
    struct model *m = calloc(1, sizeof *m);
    struct series *series[SERIES];
    m->seed = seed;
    kit_open(&k);
    for (int i = 0; i < SERIES; i++) {
        series[i] = kit_series(i % 2 ? "a" : "b", i);
        m->newest[i] = -1;
    }
    for (int step = 0; step < STEPS; step++) {
        uint64_t r = kit_random(&m->seed);
        int which = (int)(r >> 40) % SERIES;
        switch (r % 16) {
        case 0:
        case 1:
            kit_flush(&k);
            break;
        case 2:
            if (r % 5 == 0) {
                /* Duplicates are counted by the store that found them: all, once flushed. */
                kit_flush(&k);
                struct storage_stats stats = kit_stats(&k);
                cr_assert_eq(stats.samples_stored, m->counted);
                cr_assert_eq(stats.samples_duplicate, m->offered - m->counted);
                m->counted = m->offered = 0;
                kit_reopen(&k);
            }
            break;
        case 3:
        case 4:
        case 5:
            compare(&k, m, series[which], which);
            compare_last(&k, m, series[which], which);
            break;
        default:
            append_run(&k, m, series[which], which);
        }
    }
    kit_reopen(&k);
    for (int i = 0; i < SERIES; i++)
        compare(&k, m, series[i], i);
    check_chunks(&k, m);
    for (int i = 0; i < SERIES; i++) {
        for (int n = 0; n < 10; n++)
            compare(&k, m, series[i], i);
        series_unref(series[i]);
    }
    kit_close(&k);
    free(m);
}

Test(series_model, random_use_gives_what_the_model_holds)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        play(seed * 7919, (struct series_tuning){.chunk_samples = seed % 3 ? 64 : 512});
}

Test(series_model, random_use_holds_when_everything_leaves_the_log_early)
{
    for (uint64_t seed = 1; seed <= 6; seed++)
        play(seed * 104729, (struct series_tuning){.chunk_samples = 512, .log_bytes_max = 2000});
    for (uint64_t seed = 1; seed <= 6; seed++)
        play(seed * 1299709, (struct series_tuning){.chunk_samples = 512, .chunk_after_ms = 1});
}
