/* What every back end of storage promises of samples and plugin states. */
#include "contract/storage_fixture.h"

#include "base/auto.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(storage_samples, .timeout = 60);

static struct series *series(const char *source, int number)
{
    char canonical[64];
    snprintf(canonical, sizeof canonical, "{\"n\":%d,\"source\":\"%s\"}", number, source);
    struct series *s = series_new(source, canonical, canonical, number * 7919 + 1);
    cr_assert_not_null(s);
    return s;
}

static struct sample number(int64_t time_us, double value)
{
    return (struct sample){.time_us = time_us, .value = {.type = VALUE_DOUBLE, .as.f64 = value}};
}

static struct sample text(int64_t time_us, enum value_type type, const char *bytes)
{
    return (struct sample){
        .time_us = time_us,
        .value = {.type = type, .len = (uint32_t)strlen(bytes), .as.ptr = bytes}};
}

/* One block of one run; texts outlive it, for they are literals. */
static void append(struct fixture *f, struct series *s, const struct sample *samples, size_t n)
{
    struct error err = ERROR_INIT;
    struct sample_block *b = sample_block_new(1, n, 0, 0, NULL);
    cr_assert_not_null(b);
    b->source = s->source;
    b->runs[0] = (struct sample_run){series_ref(s), 0, (uint32_t)n};
    memcpy(b->samples, samples, n * sizeof *samples);
    cr_assert_eq(storage_samples_append(f->st, b, INT64_MAX, &err), 0, "%s", err.message);
    sample_block_unref(b);
}

/* The values of a range as text: "time-offset-in-ms=value ..." */
static void expect_range(struct fixture *f, struct series *s, int from, int to,
                         enum storage_order order, const char *expected)
{
    struct error err = ERROR_INIT;
    struct storage_sample_cursor *cursor;
    const struct sample *samples;
    AUTO(buf) seen = BUF_INIT(65536);
    long n;
    buf_append_lit(&seen, "");
    cr_assert_eq(storage_samples_range(f->st, s, at(from), at(to), order, &cursor, &err), 0, "%s",
                 err.message);
    while ((n = storage_samples_next(cursor, &samples, &err)) > 0) {
        for (long i = 0; i < n; i++) {
            buf_printf(&seen, "%s%lld=", seen.len ? " " : "",
                       (long long)((samples[i].time_us - at(0)) / 1000));
            value_write_json(&seen, &samples[i].value);
            if (samples[i].quality != QUALITY_GOOD)
                buf_printf(&seen, "/%u", samples[i].quality);
        }
    }
    cr_assert_eq(n, 0, "%s", err.message);
    cr_assert_eq(storage_samples_next(cursor, &samples, &err), 0);
    storage_samples_cursor_close(cursor);
    cr_expect_str_eq(seen.data, expected);
}

Test(storage_samples, every_type_of_value_comes_back_as_it_went)
{
    struct fixture f;
    set_up(&f);
    struct series *s = series("a", 1);
    struct sample samples[] = {
        number(at(1), 2.0),
        number(at(2), -1.5e300),
        {.time_us = at(3), .value = {.type = VALUE_INT64, .as.i64 = INT64_MAX}},
        {.time_us = at(4), .value = {.type = VALUE_BOOL, .as.boolean = 1}},
        {.time_us = at(5), .value = {.type = VALUE_NULL}},
        text(at(6), VALUE_STRING, "gr\xC3\xBC\xC3\x9F\x65"),
        text(at(7), VALUE_JSON, "{\"a\":[1,2.5,\"x\",null,true],\"b\":{}}"),
        text(at(8), VALUE_BYTES, "bytes"),
        {.time_us = at(9), .value = {.type = VALUE_INT64, .as.i64 = -7}, .quality = QUALITY_BAD},
    };
    append(&f, s, samples, sizeof samples / sizeof *samples);
    expect_range(&f, s, 0, 100, STORAGE_ASCENDING,
                 "1000=2.0 2000=-1.5e300 3000=9223372036854775807 4000=true 5000=null "
                 "6000=\"gr\xC3\xBC\xC3\x9F\x65\" 7000={\"a\":[1,2.5,\"x\",null,true],\"b\":{}} "
                 "8000=\"Ynl0ZXM=\" 9000=-7/2");
    series_unref(s);
    tear_down(&f);
}

Test(storage_samples, range_includes_both_ends_in_either_order)
{
    struct fixture f;
    set_up(&f);
    struct series *s = series("a", 1), *other = series("a", 2), *none = series("b", 1);
    struct sample samples[] = {number(at(1), 1), number(at(2), 2), number(at(3), 3),
                               number(at(4), 4)};
    append(&f, s, samples, 4);
    append(&f, other, samples, 1);
    expect_range(&f, s, 2, 3, STORAGE_ASCENDING, "2000=2.0 3000=3.0");
    expect_range(&f, s, 2, 4, STORAGE_DESCENDING, "4000=4.0 3000=3.0 2000=2.0");
    expect_range(&f, s, 5, 9, STORAGE_ASCENDING, "");
    expect_range(&f, other, 0, 9, STORAGE_ASCENDING, "1000=1.0");
    expect_range(&f, none, 0, 9, STORAGE_ASCENDING, "");
    series_unref(s);
    series_unref(other);
    series_unref(none);
    tear_down(&f);
}

Test(storage_samples, first_write_of_a_time_wins_and_the_second_is_counted)
{
    struct fixture f;
    struct storage_stats stats;
    set_up(&f);
    struct series *s = series("a", 1);
    struct sample first[] = {number(at(1), 1), number(at(2), 2)};
    struct sample second[] = {number(at(2), 20), number(at(3), 3)};
    append(&f, s, first, 2);
    expect_range(&f, s, 0, 9, STORAGE_ASCENDING, "1000=1.0 2000=2.0");
    append(&f, s, second, 2);
    expect_range(&f, s, 0, 9, STORAGE_ASCENDING, "1000=1.0 2000=2.0 3000=3.0");
    cr_assert_eq(storage_samples_flush(f.st, NULL), 0);
    expect_range(&f, s, 0, 9, STORAGE_ASCENDING, "1000=1.0 2000=2.0 3000=3.0");
    storage_get_stats(f.st, &stats);
    cr_expect_eq(stats.samples_stored, 3);
    cr_expect_eq(stats.samples_duplicate, 1);
    series_unref(s);
    tear_down(&f);
}

Test(storage_samples, newest_time_is_that_of_the_series)
{
    struct fixture f;
    int64_t newest = 0;
    set_up(&f);
    struct series *s = series("a", 1), *none = series("a", 2);
    struct sample samples[] = {number(at(1), 1), number(at(7), 7)};
    append(&f, s, samples, 2);
    cr_assert_eq(storage_samples_last_time(f.st, s, &newest, NULL), 0);
    cr_expect_eq(newest, at(7));
    cr_expect_eq(storage_samples_last_time(f.st, none, &newest, NULL), ERR_NOT_FOUND);
    series_unref(s);
    series_unref(none);
    tear_down(&f);
}

Test(storage_samples, flushed_samples_survive_a_restart)
{
    struct fixture f;
    set_up(&f);
    struct series *s = series("a", 1);
    for (int i = 0; i < 3000; i++) {
        struct sample one = number(at(i), i);
        append(&f, s, &one, 1);
    }
    cr_assert_eq(storage_samples_flush(f.st, NULL), 0);
    reopen(&f);
    expect_range(&f, s, 2998, 9999, STORAGE_ASCENDING, "2998000=2998.0 2999000=2999.0");
    expect_range(&f, s, 0, 1, STORAGE_ASCENDING, "0=0.0 1000=1.0");
    series_unref(s);
    tear_down(&f);
}

Test(storage_samples, state_is_saved_with_the_block_that_holds_it)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(100);
    struct series *s = series("csv", 1);
    cr_expect_eq(storage_state_get(f.st, "csv", "position", &out, NULL), ERR_NOT_FOUND);
    for (int i = 0; i < 2; i++) {
        struct sample_block *b = sample_block_new(1, 1, 1, 0, NULL);
        b->source = "csv";
        b->runs[0] = (struct sample_run){series_ref(s), 0, 1};
        b->samples[0] = number(at(i), i);
        b->states[0] = (struct sample_state){"position", i ? "b\0c" : "a", i ? 3 : 1};
        cr_assert_eq(storage_samples_append(f.st, b, INT64_MAX, NULL), 0);
        sample_block_unref(b);
        cr_assert_eq(storage_samples_flush(f.st, NULL), 0);
    }
    cr_assert_eq(storage_state_get(f.st, "csv", "position", &out, NULL), 0);
    cr_expect(out.len == 3 && memcmp(out.data, "b\0c", 3) == 0);
    reopen(&f);
    buf_clear(&out);
    cr_assert_eq(storage_state_get(f.st, "csv", "position", &out, NULL), 0);
    cr_expect(out.len == 3 && memcmp(out.data, "b\0c", 3) == 0);
    cr_expect_eq(storage_state_get(f.st, "csv", "other", &out, NULL), ERR_NOT_FOUND);
    series_unref(s);
    tear_down(&f);
}
