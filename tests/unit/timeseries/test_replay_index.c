#include "timeseries/replay_index_priv.h"

#include "base/time.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct series *made[8];
static size_t n_made;

static void free_series(void)
{
    while (n_made)
        series_unref(made[--n_made]);
}

TestSuite(replay_index, .timeout = 60, .fini = free_series);

static const size_t block_bytes = sizeof(struct replay_block);

static struct replay_index *make(uint64_t epoch, size_t blocks, int64_t max_age_us)
{
    struct replay_index_options options = {
        .origin = 7, .epoch = epoch, .max_bytes = blocks * block_bytes, .max_age_us = max_age_us};
    struct replay_index *ix;
    cr_assert_eq(replay_index_new(&options, &ix, NULL), 0);
    return ix;
}

static struct series *series(const char *name)
{
    struct series *s = series_new("plant", name, name, 1);
    cr_assert(s && n_made < sizeof made / sizeof *made);
    made[n_made++] = s;
    return s;
}

static uint64_t add(struct replay_index *ix, struct series *s, int64_t first_us, int64_t last_us)
{
    struct sample samples[2] = {{.time_us = first_us}, {.time_us = last_us}};
    replay_index_lock(ix);
    uint64_t sequence = replay_index_add_locked(ix, s, samples, first_us == last_us ? 1 : 2);
    replay_index_unlock(ix);
    return sequence;
}

/* All entries of `s` behind `after`: how many; *first_us of the first. */
static long count(struct replay_index *ix, struct series **s, size_t n, uint64_t after,
                  int64_t *first_us)
{
    struct replay_want w;
    struct replay_entry out[100];
    long total = 0;
    bool end = false;
    cr_assert_eq(replay_want_init(&w, s, n), 0);
    while (!end) {
        size_t got;
        uint64_t reached;
        int rc = replay_index_read(ix, &w, after, out, 100, &got, &reached, &end);
        if (rc) {
            replay_want_release(&w);
            return rc;
        }
        for (size_t i = 0; i < got; i++) {
            cr_assert(out[i].sequence > after && out[i].sequence <= reached);
            cr_assert(i == 0 || out[i].sequence > out[i - 1].sequence);
            if (total++ == 0 && first_us)
                *first_us = out[i].first_us;
        }
        cr_assert_geq(reached, after);
        after = reached;
    }
    replay_want_release(&w);
    return total;
}

Test(replay_index, entries_behind_a_number_come_in_order_for_the_wanted_series_only)
{
    struct replay_index *ix = make(1, 4, INT64_MAX / 2);
    struct series *a = series("a"), *b = series("b"), *c = series("c");
    struct series *both[] = {a, b};
    struct replay_want none = {0};
    uint64_t floor = replay_index_span(ix, &none, NULL).floor, middle = 0;
    int64_t first_us = 0;
    for (int i = 0; i < 300; i++) {
        uint64_t sequence = add(ix, i % 3 == 0 ? a : i % 3 == 1 ? b : c, i, i);
        if (i == 149)
            middle = sequence;
    }
    cr_expect_eq(count(ix, both, 2, floor, &first_us), 200);
    cr_expect_eq(first_us, 0);
    cr_expect_eq(count(ix, both, 1, middle, &first_us), 50);
    cr_expect_eq(first_us, 150);
    cr_expect_eq(count(ix, &c, 1, replay_index_span(ix, &none, NULL).head, NULL), 0);
    cr_expect_eq(count(ix, &c, 1, floor - 1, NULL), ERR_NOT_FOUND);
    replay_index_free(ix);
}

Test(replay_index, full_ring_gives_up_its_oldest_block_and_knows_from_where_it_is_whole)
{
    struct replay_index *ix = make(1, 2, INT64_MAX / 2);
    struct series *a = series("a");
    struct replay_want none = {0};
    struct replay_index_stats stats;
    uint64_t sequences[2 * REPLAY_BLOCK + 1];
    for (int i = 0; i < 2 * REPLAY_BLOCK; i++)
        sequences[i] = add(ix, a, i, i);
    replay_index_get_stats(ix, &stats);
    cr_expect_eq(stats.dropped, 0);
    cr_expect_eq(count(ix, &a, 1, sequences[0], NULL), 2 * REPLAY_BLOCK - 1);
    sequences[2 * REPLAY_BLOCK] = add(ix, a, 2 * REPLAY_BLOCK, 2 * REPLAY_BLOCK);
    replay_index_get_stats(ix, &stats);
    cr_expect_eq(stats.dropped, REPLAY_BLOCK);
    cr_expect_eq(stats.bytes, (REPLAY_BLOCK + 1) * sizeof(struct replay_entry));
    cr_expect_eq(replay_index_span(ix, &none, NULL).floor, sequences[REPLAY_BLOCK - 1]);
    cr_expect_eq(count(ix, &a, 1, sequences[REPLAY_BLOCK - 2], NULL), ERR_NOT_FOUND);
    cr_expect_eq(count(ix, &a, 1, sequences[REPLAY_BLOCK - 1], NULL), REPLAY_BLOCK + 1);
    replay_index_free(ix);
}

Test(replay_index, entries_past_their_age_are_given_up)
{
    struct replay_index *ix = make(1, 100, 1000);
    struct series *a = series("a");
    struct replay_index_stats stats;
    for (int i = 0; i < 2 * REPLAY_BLOCK; i++)
        add(ix, a, i, i);
    int64_t until_us = time_now_us() + 3000;
    while (time_now_us() < until_us) {}
    add(ix, a, 2 * REPLAY_BLOCK, 2 * REPLAY_BLOCK);
    replay_index_get_stats(ix, &stats);
    cr_expect_eq(stats.entries, REPLAY_BLOCK + 1); /* the block last filled stays */
    replay_index_free(ix);
}

Test(replay_index, announced_series_is_bounded_before_its_first_sample)
{
    struct replay_index *ix = make(1, 2, INT64_MAX / 2);
    struct series *a = series("a"), *b = series("b");
    struct series *both[] = {a, b};
    struct replay_want w;
    int64_t last_us[2] = {-5, -5};
    cr_assert_eq(replay_want_init(&w, both, 2), 0);
    struct sample sample = {.time_us = 100};
    struct sample_run run = {.series = a, .n = 1};
    struct sample_block block = {.n_runs = 1, .n_samples = 1, .runs = &run, .samples = &sample};
    cr_assert_eq(replay_index_announce(ix, &block), 0);
    replay_index_span(ix, &w, last_us);
    cr_expect_eq(last_us[0], 99);
    cr_expect_eq(last_us[1], -5);
    add(ix, a, 100, 120);
    cr_assert_eq(replay_index_announce(ix, &block), 0);
    replay_index_span(ix, &w, last_us);
    cr_expect_eq(last_us[0], 120);
    replay_want_release(&w);
    replay_index_free(ix);
}

/* --- the file --- */

static void path_of(char path[64])
{
    strcpy(path, "/tmp/hyprxa-replay-XXXXXX");
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
}

Test(replay_index, saved_index_goes_on_in_the_next_run_and_its_file_is_gone)
{
    char path[64];
    path_of(path);
    struct replay_index *ix = make(1, 4, INT64_MAX / 2);
    struct series *a = series("a"), *b = series("{\"b\":1}");
    struct replay_want none = {0};
    uint64_t first = add(ix, a, 1, 2);
    for (int i = 0; i < REPLAY_BLOCK + 10; i++)
        add(ix, i % 2 ? a : b, 3 + i, 3 + i);
    struct replay_span before = replay_index_span(ix, &none, NULL);
    cr_assert_eq(replay_index_save(ix, path, NULL), 0);
    replay_index_free(ix);

    ix = make(3, 4, INT64_MAX / 2);
    struct error err = ERROR_INIT;
    cr_assert_eq(replay_index_load(ix, path, &err), 0, "%s", err.message);
    cr_expect_neq(access(path, F_OK), 0);
    struct series *again = series("a"); /* another object, the same series */
    struct replay_span after = replay_index_span(ix, &none, NULL);
    cr_expect_eq(after.floor, before.floor);
    cr_expect_eq(after.epoch, 1);
    cr_expect_geq(after.head, before.head);
    cr_expect_eq(count(ix, &again, 1, first, NULL), (REPLAY_BLOCK + 10) / 2);
    cr_expect_gt(add(ix, again, 9000, 9000), before.head);
    cr_expect_eq(count(ix, &again, 1, first, NULL), (REPLAY_BLOCK + 10) / 2 + 1);
    replay_index_free(ix);
}

static void overwrite(const char *path, long at, char byte, long cut)
{
    FILE *file = fopen(path, "r+");
    cr_assert_not_null(file);
    if (at >= 0) {
        fseek(file, at, SEEK_SET);
        int old = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(old ^ byte, file);
    }
    fflush(file);
    if (cut > 0)
        cr_assert_eq(ftruncate(fileno(file), cut), 0);
    fclose(file);
}

Test(replay_index, damaged_file_costs_the_index_only)
{
    char path[64];
    path_of(path);
    struct series *a = series("a");
    static const long places[] = {0, 17, 30, 60, 100, 130, 200};
    for (size_t i = 0; i < 2 * sizeof places / sizeof *places; i++) {
        struct replay_index *ix = make(1, 4, INT64_MAX / 2);
        for (int k = 0; k < 10; k++)
            add(ix, a, k, k);
        cr_assert_eq(replay_index_save(ix, path, NULL), 0);
        replay_index_free(ix);
        long place = places[i / 2];
        overwrite(path, i % 2 ? -1 : place, 1, i % 2 ? place + 1 : 0);
        ix = make(2, 4, INT64_MAX / 2);
        struct replay_want none = {0};
        uint64_t floor = replay_index_span(ix, &none, NULL).floor;
        cr_expect_eq(replay_index_load(ix, path, NULL), ERR_CORRUPT, "%zu", i);
        cr_expect_eq(replay_index_span(ix, &none, NULL).floor, floor);
        add(ix, a, 10, 10);
        cr_expect_eq(count(ix, &a, 1, floor, NULL), 1);
        replay_index_free(ix);
    }
}

Test(replay_index, file_of_another_node_or_a_later_run_is_not_taken)
{
    char path[64];
    struct series *a = series("a");
    path_of(path);
    for (uint64_t epoch = 4; epoch <= 6; epoch++) {
        struct replay_index *ix = make(5, 4, INT64_MAX / 2);
        add(ix, a, 1, 1);
        cr_assert_eq(replay_index_save(ix, path, NULL), 0);
        replay_index_free(ix);
        ix = make(epoch, 4, INT64_MAX / 2);
        cr_expect_eq(replay_index_load(ix, path, NULL), epoch > 5 ? 0 : ERR_CORRUPT);
        cr_expect_eq(replay_index_load(ix, path, NULL), ERR_NOT_FOUND);
        replay_index_free(ix);
    }
}
