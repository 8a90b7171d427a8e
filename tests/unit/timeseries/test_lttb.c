#include "timeseries/lttb.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

TestSuite(lttb, .timeout = 60);

static struct sample point(int64_t time_us, double y)
{
    return (struct sample){.time_us = time_us, .value = {.type = VALUE_DOUBLE, .as.f64 = y}};
}

static void run(struct lttb *l, const struct sample *s, size_t n, size_t points)
{
    cr_assert_eq(lttb_init(l, n, points), 0);
    for (size_t i = 0; i < n; i++)
        lttb_measure(l, &s[i]);
    lttb_rewind(l);
    for (size_t i = 0; i < n; i++)
        lttb_select(l, &s[i]);
    lttb_finish(l, &s[n - 1]);
}

/* --- the reference: the algorithm as published, over arrays --- */

static void mean_of(const struct sample *s, size_t from, size_t end, double *x, double *y)
{
    *x = *y = 0.0;
    for (size_t i = from; i < end; i++) {
        *x += (double)(s[i].time_us - s[0].time_us);
        *y += s[i].value.as.f64;
    }
    *x /= (double)(end - from);
    *y /= (double)(end - from);
}

static void reference(const struct sample *s, size_t n, size_t points, size_t *kept)
{
    double every = (double)(n - 2) / (double)(points - 2);
    size_t a = 0, k = 0;
    kept[k++] = 0;
    for (size_t i = 0; i + 2 < points; i++) {
        size_t from = (size_t)((double)i * every) + 1;
        /* Rounding must not leave the last but one sample out. */
        size_t next = i + 3 == points ? n - 1 : (size_t)((double)(i + 1) * every) + 1;
        size_t behind = (size_t)((double)(i + 2) * every) + 1;
        double mean_x, mean_y, best = -1.0;
        size_t chosen = from;
        mean_of(s, next, behind < n ? behind : n, &mean_x, &mean_y);
        for (size_t j = from; j < next; j++) {
            double ax = (double)(s[a].time_us - s[0].time_us), ay = s[a].value.as.f64;
            double x = (double)(s[j].time_us - s[0].time_us), y = s[j].value.as.f64;
            double area = fabs((ax - mean_x) * (y - ay) - (ax - x) * (mean_y - ay)) * 0.5;
            if (area > best) {
                best = area;
                chosen = j;
            }
        }
        kept[k++] = a = chosen;
    }
    kept[k] = n - 1;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

Test(lttb, chooses_what_the_published_algorithm_chooses)
{
    enum { MOST = 3000 };
    static struct sample s[MOST];
    static size_t expected[MOST];
    uint64_t random = 7;
    for (int round = 0; round < 200; round++) {
        size_t n = 4 + (size_t)(next_random(&random) % (MOST - 4));
        size_t points = 3 + (size_t)(next_random(&random) % (n - 3));
        int64_t time_us = (int64_t)next_random(&random) - 1000000000;
        for (size_t i = 0; i < n; i++) {
            time_us += 1 + (int64_t)(next_random(&random) % 100000);
            s[i] = point(time_us, (double)(next_random(&random) % 1000) / 7.0);
        }
        struct lttb l;
        run(&l, s, n, points);
        reference(s, n, points, expected);
        cr_assert_eq(l.n_kept, points);
        for (size_t i = 0; i < points; i++)
            cr_assert_eq(l.kept[i].time_us, s[expected[i]].time_us, "round %d, point %zu", round,
                         i);
        lttb_release(&l);
    }
}

Test(lttb, a_spike_is_kept)
{
    static struct sample s[10000];
    for (size_t i = 0; i < 10000; i++)
        s[i] = point((int64_t)i, i == 7123 ? 100.0 : 0.0);
    struct lttb l;
    run(&l, s, 10000, 50);
    bool found = false;
    for (size_t i = 0; i < l.n_kept; i++)
        found = found || l.kept[i].time_us == 7123;
    cr_expect(found);
    lttb_release(&l);
}

Test(lttb, values_that_overflow_an_area_are_still_kept_in_order)
{
    static struct sample s[1000];
    for (size_t i = 0; i < 1000; i++)
        s[i] = point((int64_t)i * 1000000000, i % 2 ? 1e308 : -1e308);
    struct lttb l;
    run(&l, s, 1000, 100);
    cr_expect_eq(l.n_kept, 100);
    for (size_t i = 1; i < l.n_kept; i++)
        cr_expect(l.kept[i].time_us > l.kept[i - 1].time_us);
    lttb_release(&l);
}

Test(lttb, without_any_value_all_is_null)
{
    static struct sample s[100];
    for (size_t i = 0; i < 100; i++)
        s[i] = i % 2 ? point((int64_t)i, NAN) : (struct sample){.time_us = (int64_t)i};
    struct lttb l;
    run(&l, s, 100, 10);
    cr_expect_eq(l.n_kept, 10);
    for (size_t i = 0; i < l.n_kept; i++)
        cr_expect_eq(l.kept[i].value.type, VALUE_NULL);
    lttb_release(&l);
}

/* Between the passes samples may come or expire. */
Test(lttb, survives_more_or_fewer_samples_than_said)
{
    enum { SAID = 100, POINTS = 10 };
    static struct sample s[2 * SAID];
    for (size_t i = 0; i < 2 * SAID; i++)
        s[i] = point((int64_t)i, (double)(i * 7 % 13));
    for (size_t measured = 1; measured <= 2 * SAID; measured += 9) {
        for (size_t selected = 1; selected <= 2 * SAID; selected++) {
            struct lttb l;
            cr_assert_eq(lttb_init(&l, SAID, POINTS), 0);
            for (size_t i = 0; i < measured; i++)
                lttb_measure(&l, &s[i]);
            lttb_rewind(&l);
            for (size_t i = 0; i < selected; i++)
                lttb_select(&l, &s[i]);
            lttb_finish(&l, &s[selected - 1]);
            cr_assert(l.n_kept >= 1 && l.n_kept <= POINTS);
            cr_assert_eq(l.kept[0].time_us, 0);
            cr_assert_eq(l.kept[l.n_kept - 1].time_us, s[selected - 1].time_us);
            for (size_t i = 1; i < l.n_kept; i++)
                cr_assert(l.kept[i].time_us > l.kept[i - 1].time_us);
            lttb_release(&l);
        }
    }
}
