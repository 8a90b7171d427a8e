/* The store of series with much of everything: windows of reading, texts, rows, retention of all. */
#include "series_kit.h"

#include "base/time.h"

TestSuite(series_large, .timeout = 120);

enum { LONG = 200000 };

static void append_every_second(struct kit *k, struct series *s, int64_t first, int64_t n)
{
    static struct sample v[LONG];
    uint64_t seed = 5;
    for (int64_t i = 0; i < n; i++)
        v[i] = kit_double(first + 2 * i, (double)kit_random(&seed) / 3);
    kit_append(k, s, v, (size_t)n);
}

Test(series_large, a_long_series_is_read_in_windows_either_way_while_it_grows)
{
    struct kit k = {0};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct error err = ERROR_INIT;
    append_every_second(&k, s, 0, LONG);
    kit_flush(&k);
    for (int order = 0; order < 2; order++) {
        struct storage_sample_cursor *cursor;
        const struct sample *some;
        cr_assert_eq(
            series_store_range(k.store, s, 0, 2 * LONG, (enum storage_order)order, &cursor, &err),
            0);
        int64_t even = 0, odd = 0, last = order == STORAGE_ASCENDING ? -1 : INT64_MAX;
        long n;
        for (int calls = 0; (n = series_store_next(cursor, &some, &err)) > 0; calls++) {
            for (long i = 0; i < n; i++) {
                cr_assert(order == STORAGE_ASCENDING ? some[i].time_us > last
                                                     : some[i].time_us < last);
                last = some[i].time_us;
                *(last % 2 ? &odd : &even) += 1;
            }
            /* Late samples between those that are being read: spans are folded and split. */
            if (calls % 5 == 0) {
                append_every_second(&k, s, 40001 + calls * 7919 % 200000, 700);
                kit_flush(&k);
            }
        }
        cr_assert_eq(n, 0, "%s", err.message);
        cr_assert_eq(even, LONG, "%lld read", (long long)even);
        series_store_cursor_close(cursor);
    }
    series_unref(s);
    kit_close(&k);
}

Test(series_large, no_sample_is_lost_where_windows_meet)
{
    struct kit k = {0};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    static struct sample v[LONG];
    uint64_t seed = 5;
    for (int64_t i = 0; i < LONG; i++)
        v[i] = kit_double(i, (double)kit_random(&seed) / 3);
    kit_append(&k, s, v, LONG);
    kit_flush(&k);
    kit_expect(&k, s, v, LONG);
    size_t n;
    struct sample *got = kit_read(&k, s, 1, LONG - 2, STORAGE_DESCENDING, &n);
    cr_assert_eq(n, LONG - 2);
    for (size_t i = 0; i < n; i++)
        cr_assert(kit_same(&got[i], &v[LONG - 2 - i]));
    kit_free(got, n);
    series_unref(s);
    kit_close(&k);
}

Test(series_large, large_texts_are_split_into_chunks_and_rows)
{
    enum { TEXT = 60000, N = 120 };
    struct kit k = {0};
    kit_open(&k);
    char *text = malloc(TEXT + N);
    uint64_t seed = 6;
    for (size_t i = 0; i < TEXT + N; i++)
        text[i] = (char)kit_random(&seed);
    struct sample v[N];
    for (uint32_t i = 0; i < N; i++)
        v[i] = (struct sample){.time_us = i,
                               .value = {.type = VALUE_BYTES, .len = TEXT, .as.ptr = text + i}};
    struct series *much = kit_series("boiler", 0);
    kit_append(&k, much, v, 40); /* more than a chunk takes: several */
    struct series *s[N];
    for (int i = 0; i < N; i++) {
        s[i] = kit_series("boiler", i + 1);
        kit_append(&k, s[i], v + i, 1); /* more than a row takes, together */
    }
    kit_flush(&k);
    cr_assert_gt(kit_stats(&k).chunks_written, 2);
    cr_assert_gt(kit_stats(&k).log_rows, 1);
    kit_append(&k, much, v + 40, N - 40);
    for (int reopened = 0; reopened < 2; reopened++) {
        kit_expect(&k, much, v, N);
        for (int i = 0; i < N; i++)
            kit_expect(&k, s[i], v + i, 1);
        kit_reopen(&k);
    }
    for (int i = 0; i < N; i++)
        series_unref(s[i]);
    series_unref(much);
    free(text);
    kit_close(&k);
}

Test(series_large, a_small_budget_of_memory_turns_heads_into_chunks)
{
    struct kit k = {.tuning = {.head_bytes_max = 1000 * sizeof(struct sample)}};
    kit_open(&k);
    struct series *s[100];
    for (int i = 0; i < 100; i++)
        s[i] = kit_series("boiler", i);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 100; i++) {
            struct sample v = kit_double(round, round * i);
            kit_append(&k, s[i], &v, 1);
        }
        kit_flush(&k);
    }
    cr_assert_leq(k.store->head_bytes, 1300 * sizeof(struct sample));
    for (int i = 0; i < 100; i++) {
        size_t n;
        struct sample *got = kit_read(&k, s[i], 0, 100, STORAGE_DESCENDING, &n);
        cr_assert_eq(n, 50);
        kit_free(got, n);
        series_unref(s[i]);
    }
    kit_close(&k);
}

Test(series_large, a_series_whose_samples_all_expired_can_be_written_anew)
{
    struct kit k = {.tuning = {.chunk_samples = 4}};
    kit_open(&k);
    struct series *s = kit_series("boiler", 1);
    struct sample v[4] = {kit_double(1, 1), kit_double(2, 2), kit_double(3, 3), kit_double(4, 4)};
    kit_append(&k, s, v, 4);
    kit_flush(&k);
    /* A round begins at the start of the store. */
    k.options.expire_after_us = 1000000;
    kit_reopen(&k);
    struct error err = ERROR_INIT;
    int64_t last;
    while (series_store_last_time(k.store, s, &last, &err) != ERR_NOT_FOUND)
        usleep(1000);
    kit_expect(&k, s, NULL, 0);
    kit_append(&k, s, v + 1, 1);
    kit_flush(&k);
    kit_expect(&k, s, v + 1, 1);
    cr_assert_eq(kit_stats(&k).samples_duplicate, 0);
    series_unref(s);
    kit_close(&k);
}

Test(series_large, the_same_subscription_made_anew_is_the_same_series)
{
    struct kit k = {0};
    kit_open(&k);
    struct series *old = kit_series("boiler", 1), *new = kit_series("boiler", 1);
    struct series *other = kit_series("kettle", 1);
    struct sample v[2] = {kit_double(1, 1), kit_double(2, 2)};
    kit_append(&k, old, v, 1);
    kit_expect(&k, new, v, 1); /* queued */
    kit_flush(&k);
    kit_expect(&k, new, v, 1);
    kit_append(&k, new, v + 1, 1);
    kit_append(&k, other, v + 1, 1);
    kit_expect(&k, old, v, 2);
    kit_reopen(&k);
    kit_expect(&k, old, v, 2);
    kit_expect(&k, other, v + 1, 1);
    series_unref(old);
    series_unref(new);
    series_unref(other);
    kit_close(&k);
}
