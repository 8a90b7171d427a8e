#include "series_kit.h"

#include "base/time.h"

TestSuite(series, .timeout = 120);

enum { SECOND = 1000000 };

Test(series, samples_are_read_before_and_after_the_flush_and_after_reopening)
{
    struct kit k = {0};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[3] = {kit_double(10, 1.5), kit_double(20, -2), kit_double(30, 1e300)};
    kit_append(&k, s, v, 2);
    kit_append(&k, s, v + 2, 1);
    kit_expect(&k, s, v, 3);
    kit_flush(&k);
    kit_expect(&k, s, v, 3);
    kit_reopen(&k);
    kit_expect(&k, s, v, 3);
    struct series *other = kit_series("boiler", 2);
    kit_expect(&k, other, NULL, 0);
    series_unref(other);
    series_unref(s);
    kit_close(&k);
}

Test(series, a_range_has_both_ends_and_either_order)
{
    struct kit k = {.tuning = {.chunk_samples = 100}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[1000];
    for (int i = 0; i < 1000; i++)
        v[i] = kit_double(i * 10, i);
    for (int i = 0; i < 1000; i += 130) {
        kit_append(&k, s, v + i, i + 130 < 1000 ? 130 : (size_t)(1000 - i));
        if (i % 3 == 0)
            kit_flush(&k);
    }
    const int64_t ranges[][2] = {{0, 9990}, {10, 10}, {11, 19}, {-5, 50}, {5000, 99999}, {7, 3}};
    for (size_t r = 0; r < sizeof ranges / sizeof *ranges; r++)
        for (int order = 0; order < 2; order++) {
            size_t n, at = 0;
            struct sample *got =
                kit_read(&k, s, ranges[r][0], ranges[r][1], (enum storage_order)order, &n);
            for (int i = 0; i < 1000; i++) {
                const struct sample *e = &v[order == STORAGE_ASCENDING ? i : 999 - i];
                if (e->time_us < ranges[r][0] || e->time_us > ranges[r][1])
                    continue;
                cr_assert_lt(at, n);
                cr_assert(kit_same(&got[at++], e));
            }
            cr_assert_eq(at, n);
            kit_free(got, n);
        }
    series_unref(s);
    kit_close(&k);
}

Test(series, the_first_write_of_a_time_wins_and_later_ones_are_counted)
{
    struct kit k = {.tuning = {.chunk_samples = 4}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[4] = {kit_double(10, 1), kit_double(20, 2), kit_double(30, 3),
                          kit_double(40, 4)};
    struct sample again[4] = {kit_double(10, -1), kit_double(20, -2), kit_double(30, -3),
                              kit_double(40, -4)};
    kit_append(&k, s, v, 2);
    kit_append(&k, s, again, 2); /* both in memory */
    kit_expect(&k, s, v, 2);
    kit_flush(&k);
    cr_assert_eq(kit_stats(&k).samples_duplicate, 2);
    kit_append(&k, s, again, 2); /* one in the log or a chunk */
    kit_append(&k, s, v + 2, 2);
    kit_expect(&k, s, v, 4);
    kit_flush(&k);
    kit_append(&k, s, again, 4); /* all in chunks */
    kit_expect(&k, s, v, 4);
    kit_flush(&k);
    cr_assert_eq(kit_stats(&k).samples_duplicate, 8);
    cr_assert_eq(kit_stats(&k).samples_stored, 4);
    kit_reopen(&k);
    kit_append(&k, s, again, 4); /* of an earlier start */
    kit_flush(&k);
    kit_expect(&k, s, v, 4);
    cr_assert_eq(kit_stats(&k).samples_duplicate, 4);
    series_unref(s);
    kit_close(&k);
}

Test(series, texts_survive_the_block_they_came_in)
{
    struct kit k = {.tuning = {.chunk_samples = 8}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample expected[20];
    char texts[20][32];
    for (int i = 0; i < 20; i++) {
        char *arena;
        struct sample_block *b = sample_block_new(1, 1, 0, 32, &arena);
        int len = snprintf(texts[i], sizeof texts[i], "state %d", i % 3 ? i : 0);
        memcpy(arena, texts[i], (size_t)len);
        unsigned type = i % 4 == 0 ? VALUE_BYTES : i % 4 == 1 ? VALUE_JSON : VALUE_STRING;
        expected[i] = (struct sample){
            .time_us = i, .value = {.type = type, .len = (uint32_t)len, .as.ptr = texts[i]}};
        b->source = s->source;
        b->runs[0] = (struct sample_run){series_ref(s), 0, 1};
        b->samples[0] = expected[i];
        b->samples[0].value.as.ptr = arena;
        kit_append_block(&k, b);
        if (i % 2)
            kit_flush(&k);
        kit_expect(&k, s, expected, (size_t)i + 1);
    }
    kit_reopen(&k);
    kit_expect(&k, s, expected, 20);
    series_unref(s);
    kit_close(&k);
}

Test(series, the_last_time_is_known_wherever_the_sample_is)
{
    struct kit k = {.tuning = {.chunk_samples = 2}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    int64_t last = 0;
    struct error err = ERROR_INIT;
    cr_assert_eq(series_store_last_time(k.store, s, &last, &err), ERR_NOT_FOUND);
    struct sample v[] = {kit_double(10, 1), kit_double(20, 2)};
    kit_append(&k, s, v, 1);
    cr_assert_eq(series_store_last_time(k.store, s, &last, &err), 0);
    cr_assert_eq(last, 10);
    kit_flush(&k);
    kit_reopen(&k);
    cr_assert_eq(series_store_last_time(k.store, s, &last, &err), 0);
    cr_assert_eq(last, 10);
    kit_append(&k, s, v + 1, 1);
    kit_flush(&k);
    kit_reopen(&k);
    cr_assert_eq(series_store_last_time(k.store, s, &last, &err), 0);
    cr_assert_eq(last, 20);
    series_unref(s);
    kit_close(&k);
}

static struct sample_block *with_state(struct series *s, struct sample v, const char *key,
                                       const char *bytes)
{
    struct sample_block *b = sample_block_new(1, 1, 1, 0, NULL);
    b->source = s->source;
    b->runs[0] = (struct sample_run){series_ref(s), 0, 1};
    b->samples[0] = v;
    b->states[0] = (struct sample_state){key, bytes, strlen(bytes)};
    return b;
}

static void expect_state(struct kit *k, const char *source, const char *key, const char *expected)
{
    struct buf out = BUF_INIT(1024);
    struct error err = ERROR_INIT;
    int rc = series_store_state_get(k->store, source, key, &out, &err);
    if (!expected) {
        cr_assert_eq(rc, ERR_NOT_FOUND);
    } else {
        cr_assert_eq(rc, 0, "%s", err.message);
        cr_assert_str_eq(out.data, expected);
    }
    buf_release(&out);
}

Test(series, the_newest_state_is_seen_pending_saved_and_after_reopening)
{
    struct kit k = {0};
    kit_open(&k);
    struct series *s = kit_series("csv", 1);
    expect_state(&k, "csv", "position", NULL);
    kit_append_block(&k, with_state(s, kit_double(1, 1), "position", "100"));
    kit_append_block(&k, with_state(s, kit_double(2, 1), "position", "200"));
    expect_state(&k, "csv", "position", "200");
    kit_flush(&k);
    expect_state(&k, "csv", "position", "200");
    kit_append_block(&k, with_state(s, kit_double(3, 1), "position", ""));
    expect_state(&k, "csv", "other", NULL);
    expect_state(&k, "csv2", "position", NULL);
    kit_flush(&k);
    kit_append_block(&k, with_state(s, kit_double(4, 1), "position", "300"));
    kit_reopen(&k);
    expect_state(&k, "csv", "position", "300");
    series_unref(s);
    kit_close(&k);
}

Test(series, old_chunks_are_dropped_and_new_ones_kept)
{
    struct kit k = {.tuning = {.chunk_samples = 10}};
    kit_open(&k);
    int64_t now = time_now_us();
    struct sample v[600]; /* fewer would be joined into one chunk, which is kept whole */
    for (int i = 0; i < 300; i++) {
        v[i] = kit_double(now - INT64_C(7200) * SECOND + i, i);
        v[300 + i] = kit_double(now - 10 * SECOND + i, i);
    }
    struct series *s[2] = {kit_series("boiler", 1), kit_series("boiler", 2)};
    for (int i = 0; i < 2; i++) {
        kit_append(&k, s[i], v, 300);
        kit_flush(&k);
        kit_append(&k, s[i], v + 300, 300);
        kit_flush(&k);
    }
    /* A round begins at the start of the store. */
    k.options.expire_after_us = INT64_C(3600) * SECOND;
    kit_reopen(&k);
    for (size_t n = 0; n != 600;) {
        n = (size_t)atomic_load(&k.store->n_expired);
        usleep(1000);
    }
    kit_expect(&k, s[0], v + 300, 300);
    kit_expect(&k, s[1], v + 300, 300);
    series_unref(s[0]);
    series_unref(s[1]);
    kit_close(&k);
}
