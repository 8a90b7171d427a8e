#include "timeseries/aggregate.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <string.h>

TestSuite(aggregate, .timeout = 30);

static struct sample of(struct value v)
{
    return (struct sample){.value = v};
}

static struct value integer(int64_t i)
{
    return (struct value){.type = VALUE_INT64, .as.i64 = i};
}

static struct value real(double d)
{
    return (struct value){.type = VALUE_DOUBLE, .as.f64 = d};
}

static struct value boolean(bool b)
{
    return (struct value){.type = VALUE_BOOL, .as.boolean = b};
}

static struct value text(const char *t)
{
    return (struct value){.type = VALUE_STRING, .len = (uint32_t)strlen(t), .as.ptr = t};
}

/* The aggregate of values as JSON; "" for none. */
static const char *shown(enum aggregate what, const struct value *v, size_t n)
{
    static struct buf out = BUF_INIT(4096);
    struct accumulator a;
    struct value result;
    buf_clear(&out);
    buf_append_lit(&out, "");
    accumulator_init(&a, what);
    for (size_t i = 0; i < n; i++) {
        struct sample s = of(v[i]);
        cr_assert_eq(accumulator_add(&a, &s), 0);
    }
    if (accumulator_result(&a, &result))
        value_write_json(&out, &result);
    accumulator_release(&a);
    return out.data;
}

#define SHOWN(what, ...)                             \
    shown(what, (const struct value[]){__VA_ARGS__}, \
          sizeof((const struct value[]){__VA_ARGS__}) / sizeof(struct value))

Test(aggregate, nothing_has_no_result)
{
    for (int what = AGGREGATE_AVG; what < AGGREGATES; what++)
        cr_expect_str_eq(shown((enum aggregate)what, NULL, 0), "", "%s", aggregate_names[what]);
}

Test(aggregate, what_has_no_value_is_left_out)
{
    const struct value none[] = {{.type = VALUE_NULL}, real(NAN), real(INFINITY), real(-INFINITY)};
    for (int what = AGGREGATE_AVG; what < AGGREGATES; what++)
        cr_expect_str_eq(shown((enum aggregate)what, none, 4), "", "%s", aggregate_names[what]);
    struct sample bad = of(integer(1));
    bad.quality = QUALITY_BAD;
    cr_expect_not(sample_has_value(&bad));
    bad.quality = QUALITY_UNCERTAIN;
    cr_expect(sample_has_value(&bad));
}

Test(aggregate, values_keep_their_type)
{
    cr_expect_str_eq(SHOWN(AGGREGATE_MIN, integer(3), real(2.5), boolean(true)), "true");
    cr_expect_str_eq(SHOWN(AGGREGATE_MAX, integer(3), real(2.5), boolean(true)), "3");
    cr_expect_str_eq(SHOWN(AGGREGATE_FIRST, text("a"), integer(3)), "\"a\"");
    cr_expect_str_eq(SHOWN(AGGREGATE_LAST, integer(3), text("b")), "\"b\"");
    cr_expect_str_eq(SHOWN(AGGREGATE_COUNT, integer(3), text("b"), real(NAN)), "2");
}

Test(aggregate, of_equal_ones_the_first_is_the_least_and_greatest)
{
    cr_expect_str_eq(SHOWN(AGGREGATE_MIN, real(1.0), integer(1), boolean(true)), "1.0");
    cr_expect_str_eq(SHOWN(AGGREGATE_MAX, integer(1), real(1.0)), "1");
}

Test(aggregate, integers_and_doubles_are_compared_exactly)
{
    /* 2^63 - 1 is less than the double 2^63, though it converts to it. */
    cr_expect_str_eq(SHOWN(AGGREGATE_MIN, real(0x1p63), integer(INT64_MAX)), "9223372036854775807");
    cr_expect_str_eq(SHOWN(AGGREGATE_MAX, integer(INT64_MAX), real(0x1p63)),
                     "9.223372036854776e18");
    cr_expect_str_eq(SHOWN(AGGREGATE_MIN, real(-1.5), integer(-1)), "-1.5");
    cr_expect_str_eq(SHOWN(AGGREGATE_MAX, real(-1.5), integer(-1)), "-1");
    cr_expect_str_eq(SHOWN(AGGREGATE_MAX, real(-1e300), integer(INT64_MIN)),
                     "-9223372036854775808");
}

Test(aggregate, sums_of_integers_are_exact)
{
    cr_expect_str_eq(SHOWN(AGGREGATE_SUM, integer(INT64_MAX), integer(1), integer(-2)),
                     "9223372036854775806");
    cr_expect_str_eq(SHOWN(AGGREGATE_SUM, integer(INT64_MIN), integer(0)), "-9223372036854775808");
    cr_expect_str_eq(SHOWN(AGGREGATE_SUM, boolean(true), boolean(true), boolean(false)), "2");
}

Test(aggregate, a_sum_beyond_64_bits_is_a_double)
{
    cr_expect_str_eq(SHOWN(AGGREGATE_SUM, integer(INT64_MAX), integer(INT64_MAX)),
                     "1.8446744073709552e19");
    cr_expect_str_eq(SHOWN(AGGREGATE_AVG, integer(INT64_MAX), integer(INT64_MAX)),
                     "9.223372036854776e18");
}

Test(aggregate, sums_of_doubles_do_not_lose_small_ones)
{
    cr_expect_str_eq(SHOWN(AGGREGATE_SUM, real(1e100), real(1.0), real(-1e100)), "1.0");
    cr_expect_str_eq(SHOWN(AGGREGATE_SUM, real(1e308), real(1e308)), "null"); /* infinite */
}

Test(aggregate, deviation_is_of_the_sample)
{
    cr_expect_str_eq(SHOWN(AGGREGATE_STDDEV, integer(7)), "");
    cr_expect_str_eq(SHOWN(AGGREGATE_STDDEV, integer(7), integer(7)), "0.0");
    cr_expect_str_eq(SHOWN(AGGREGATE_STDDEV, integer(1), integer(3)), "1.4142135623730951");
}

Test(aggregate, deviation_of_large_numbers_close_together_is_exact)
{
    const char *near = SHOWN(AGGREGATE_STDDEV, integer(INT64_MAX), integer(INT64_MAX - 2));
    cr_expect_str_eq(near, "1.4142135623730951");
    near = SHOWN(AGGREGATE_STDDEV, real(1e15 + 1), real(1e15 + 3));
    cr_expect_str_eq(near, "1.4142135623730951");
}

struct refused_case {
    enum aggregate what;
    uint32_t type;
    int code;
};

ParameterizedTestParameters(aggregate, texts_have_no_arithmetic)
{
    static struct refused_case cases[] = {
        {AGGREGATE_AVG, VALUE_STRING, ERR_INVALID},
        {AGGREGATE_MIN, VALUE_STRING, ERR_INVALID},
        {AGGREGATE_MAX, VALUE_JSON, ERR_INVALID},
        {AGGREGATE_SUM, VALUE_BYTES, ERR_INVALID},
        {AGGREGATE_STDDEV, VALUE_STRING, ERR_INVALID},
        {AGGREGATE_FIRST, VALUE_STRING, 0},
        {AGGREGATE_LAST, VALUE_JSON, 0},
        {AGGREGATE_COUNT, VALUE_BYTES, 0},
    };
    return cr_make_param_array(struct refused_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct refused_case *c, aggregate, texts_have_no_arithmetic)
{
    struct accumulator a;
    struct sample s = of((struct value){.type = c->type, .len = 2, .as.ptr = "[]"});
    accumulator_init(&a, c->what);
    cr_expect_eq(accumulator_add(&a, &s), c->code);
    accumulator_release(&a);
}

Test(aggregate, a_text_outlives_its_sample)
{
    struct accumulator a;
    struct value result;
    char memory[] = "first";
    struct sample s = of(text(memory));
    accumulator_init(&a, AGGREGATE_FIRST);
    cr_assert_eq(accumulator_add(&a, &s), 0);
    memset(memory, 'x', sizeof memory - 1);
    cr_assert(accumulator_result(&a, &result));
    cr_expect(result.len == 5 && memcmp(result.as.ptr, "first", 5) == 0);
    accumulator_clear(&a);
    cr_expect_not(accumulator_result(&a, &result));
    accumulator_release(&a);
}
