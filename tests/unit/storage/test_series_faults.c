/* The store of series when things go wrong: a kill, a full disk, damage, too much at once. */
#include "series_kit.h"

#include "base/thread.h"
#include "base/time.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

TestSuite(series_faults, .timeout = 200);

/* --- kill -9 --- */

enum { KILL_SERIES = 40 };

/* What a plugin does that reads a file: row n of the file is sample n of each series, and the state
 * after it says n + 1. */
static struct sample_block *rows_block(struct series *const *series, int64_t row, char state[24])
{
    struct sample_block *b = sample_block_new(KILL_SERIES, KILL_SERIES, 1, 0, NULL);
    b->source = "file";
    for (uint32_t i = 0; i < KILL_SERIES; i++) {
        b->runs[i] = (struct sample_run){series_ref(series[i]), i, 1};
        b->samples[i] = kit_double(row, (double)row * i);
    }
    int len = snprintf(state, 24, "%lld", (long long)(row + 1));
    b->states[0] = (struct sample_state){"row", state, (size_t)len};
    return b;
}

static int64_t read_row(struct kit *k)
{
    struct buf out = BUF_INIT(100);
    struct error err = ERROR_INIT;
    int rc = series_store_state_get(k->store, "file", "row", &out, &err);
    cr_assert(rc == 0 || rc == ERR_NOT_FOUND, "%s", err.message);
    int64_t row = rc ? 0 : strtoll(out.data, NULL, 10);
    buf_release(&out);
    return row;
}

/* `going`: a byte tells that some rows are durable. */
static void pump_until_killed(struct kit *k, struct series *const *series, int going)
{
    static char states[1000000][24];
    kit_open(k);
    int64_t row = read_row(k);
    for (size_t i = 0; i < sizeof states / sizeof *states; i++, row++) {
        kit_append_block(k, rows_block(series, row, states[i]));
        if (i == 20) {
            kit_flush(k);
            if (write(going, "", 1) != 1)
                _exit(1);
        }
    }
    kit_flush(k);
    _exit(0);
}

Test(series_faults, a_kill_loses_and_doubles_no_row_before_the_saved_state)
{
    struct kit k = {.options = {.flush_interval_us = 5000, .max_queued_samples = 200000},
                    .tuning = {.chunk_samples = 256, .chunk_after_ms = 40}};
    struct series *series[KILL_SERIES];
    for (int i = 0; i < KILL_SERIES; i++)
        series[i] = kit_series("file", i);
    kit_open(&k);
    series_store_close(k.store);
    int64_t before = 0;
    uint64_t seed = 4711;
    for (int round = 0; round < 12; round++) {
        int going[2];
        char byte;
        cr_assert_eq(pipe(going), 0);
        pid_t child = fork();
        if (child == 0)
            pump_until_killed(&k, series, going[1]);
        cr_assert_eq(read(going[0], &byte, 1), 1);
        close(going[0]);
        close(going[1]);
        usleep((useconds_t)(kit_random(&seed) % 150000)); /* any moment will do */
        kill(child, SIGKILL);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        kit_open(&k);
        int64_t row = read_row(&k);
        cr_assert_geq(row, before);
        before = row;
        for (int i = 0; i < KILL_SERIES; i += 13) {
            size_t n;
            struct sample *got =
                kit_read(&k, series[i], INT64_MIN, INT64_MAX, STORAGE_ASCENDING, &n);
            cr_assert_eq((int64_t)n, row, "series %d: %zu samples, state %lld", i, n,
                         (long long)row);
            for (size_t j = 0; j < n; j++)
                cr_assert(got[j].time_us == (int64_t)j && got[j].value.as.f64 == (double)j * i);
            kit_free(got, n);
        }
        series_store_close(k.store);
    }
    cr_assert_gt(before, 0);
    for (int i = 0; i < KILL_SERIES; i++)
        series_unref(series[i]);
    k.store = NULL;
    kit_close(&k);
}

/* --- a disk that refuses --- */

Test(series_faults, what_a_full_disk_refuses_is_kept_counted_and_saved_later)
{
    struct kit k = {.options = {.max_queued_samples = 3000}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[2000];
    for (int i = 0; i < 2000; i++)
        v[i] = kit_double(i, (double)i / 7);
    kit_append(&k, s, v, 1000);
    kit_flush(&k);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit all, none;
    getrlimit(RLIMIT_FSIZE, &all);
    none = all;
    none.rlim_cur = 1;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    kit_append(&k, s, v + 1000, 1000);
    struct error err = ERROR_INIT;
    cr_assert_lt(series_store_flush(k.store, &err), 0);
    cr_assert_neq(err.message[0], '\0');
    cr_assert_lt(series_store_ping(k.store, &err), 0);
    cr_assert_eq(kit_stats(&k).samples_failed, 1000);
    cr_assert_eq(kit_stats(&k).samples_queued, 1000);
    cr_assert_lt(series_store_flush(k.store, &err), 0);
    cr_assert_eq(kit_stats(&k).samples_failed, 1000, "counted once");
    kit_expect(&k, s, v, 2000);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    kit_flush(&k);
    cr_assert_eq(series_store_ping(k.store, &err), 0);
    cr_assert_eq(kit_stats(&k).samples_queued, 0);
    cr_assert_eq(kit_stats(&k).samples_stored, 2000);
    kit_expect(&k, s, v, 2000);
    kit_reopen(&k);
    kit_expect(&k, s, v, 2000);
    series_unref(s);
    kit_close(&k);
}

/* --- too much at once --- */

Test(series_faults, a_full_queue_takes_nothing_and_frees_itself)
{
    struct kit k = {.options = {.max_queued_samples = 100}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[250];
    for (int i = 0; i < 250; i++)
        v[i] = kit_double(i, i);
    struct error err = ERROR_INIT;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit all, none;
    getrlimit(RLIMIT_FSIZE, &all);
    none = all;
    none.rlim_cur = 1;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    kit_append(&k, s, v, 90);
    struct sample_block *b = kit_block(s, v + 90, 20);
    cr_assert_eq(series_store_append(k.store, b, time_monotonic_ms() + 20, &err), ERR_AGAIN);
    cr_assert_eq(atomic_load(&b->refs), 1u);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &all), 0);
    cr_assert_eq(series_store_append(k.store, b, INT64_MAX, &err), 0); /* waits for a flush */
    sample_block_unref(b);
    kit_append(&k, s, v + 110, 140); /* larger than the bound: alone, but taken */
    kit_flush(&k);
    kit_expect(&k, s, v, 250);
    series_store_stop(k.store);
    b = kit_block(s, v, 1);
    cr_assert_eq(series_store_append(k.store, b, INT64_MAX, &err), ERR_CLOSED);
    sample_block_unref(b);
    kit_expect(&k, s, v, 250);
    series_unref(s);
    kit_close(&k);
}

/* --- damage --- */

static void damage(const struct kit *k, const char *sql)
{
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(k->path, &db), SQLITE_OK);
    char *message = NULL;
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, &message), SQLITE_OK, "%s", message);
    sqlite3_close(db);
}

Test(series_faults, a_damaged_log_row_is_set_aside_and_the_others_served)
{
    struct kit k = {0};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[3] = {kit_double(1, 1), kit_double(2, 2), kit_double(3, 3)};
    for (int i = 0; i < 3; i++) {
        kit_append(&k, s, v + i, 1);
        kit_flush(&k);
    }
    series_store_close(k.store);
    damage(&k, "UPDATE log SET data=substr(data, 1, 10) WHERE seq=2");
    kit_open(&k);
    struct sample left[2] = {v[0], v[2]};
    kit_expect(&k, s, left, 2);
    cr_assert_eq(atomic_load(&k.store->n_damaged), 1u);
    kit_append(&k, s, v + 1, 1); /* sent again */
    kit_flush(&k);
    kit_reopen(&k);
    kit_expect(&k, s, v, 3);
    cr_assert_eq(atomic_load(&k.store->n_damaged), 0u);
    series_unref(s);
    kit_close(&k);
}

Test(series_faults, a_damaged_chunk_is_left_out_and_can_be_filled_again)
{
    struct kit k = {.tuning = {.chunk_samples = 300}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[900], left[600];
    for (int i = 0; i < 900; i++)
        v[i] = kit_double(i, i);
    for (int i = 0; i < 900; i += 300) {
        kit_append(&k, s, v + i, 300);
        kit_flush(&k);
    }
    series_store_close(k.store);
    damage(&k, "UPDATE chunks SET data=zeroblob(length(data)) WHERE start=300");
    kit_open(&k);
    memcpy(left, v, 300 * sizeof *v);
    memcpy(left + 300, v + 600, 300 * sizeof *v);
    kit_expect(&k, s, left, 600);
    kit_expect(&k, s, left, 600);
    cr_assert_eq(atomic_load(&k.store->n_damaged), 1u, "told once");
    kit_append(&k, s, v, 900);
    kit_flush(&k);
    kit_expect(&k, s, v, 900);
    cr_assert_eq(kit_stats(&k).samples_duplicate, 600);
    kit_reopen(&k);
    kit_expect(&k, s, v, 900);
    series_unref(s);
    kit_close(&k);
}

/* --- readers beside the writer --- */

struct race {
    struct kit *k;
    struct series *series;
    atomic_llong appended; /* times below it were appended before */
    atomic_bool done;
};

static void *read_on(void *arg)
{
    struct race *race = arg;
    bool down = false;
    while (!atomic_load(&race->done)) {
        int64_t sure = atomic_load(&race->appended);
        size_t n;
        struct sample *got = kit_read(race->k, race->series, 0, INT64_MAX,
                                      down ? STORAGE_DESCENDING : STORAGE_ASCENDING, &n);
        cr_assert_geq((int64_t)n, sure, "%zu samples of %lld", n, (long long)sure);
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(got[i].time_us, (int64_t)(down ? n - 1 - i : i));
        free(got);
        down = !down;
    }
    return NULL;
}

Test(series_faults, a_reader_beside_the_writer_misses_and_doubles_nothing)
{
    struct kit k = {.options = {.flush_interval_us = 3000},
                    .tuning = {.chunk_samples = 64, .chunk_after_ms = 10}};
    struct race race = {.k = &k, .series = kit_series("boiler", 1)};
    struct series *other = kit_series("boiler", 2);
    pthread_t readers[2];
    struct error err = ERROR_INIT;
    kit_open(&k);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(thread_start(&readers[i], "reader", read_on, &race, &err), 0);
    int64_t until = time_monotonic_ms() + 3000, time = 0;
    uint64_t seed = 99;
    while (time_monotonic_ms() < until && time < 60000) {
        struct sample v[40];
        size_t n = 1 + kit_random(&seed) % 40;
        for (size_t i = 0; i < n; i++)
            v[i] = kit_double(time++, 1);
        kit_append(&k, race.series, v, n);
        kit_append(&k, other, v, n);
        atomic_store(&race.appended, time);
        if (kit_random(&seed) % 64 == 0)
            kit_flush(&k);
    }
    atomic_store(&race.done, true);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    series_unref(race.series);
    series_unref(other);
    kit_close(&k);
}
