#include "timeseries/aggregate.h"

#include <math.h>
#include <string.h>

enum { TEXT_MAX = 16 << 20 };

const char *const aggregate_names[AGGREGATES + 1] = {
    [AGGREGATE_NONE] = "none",   [AGGREGATE_AVG] = "avg",   [AGGREGATE_MIN] = "min",
    [AGGREGATE_MAX] = "max",     [AGGREGATE_SUM] = "sum",   [AGGREGATE_COUNT] = "count",
    [AGGREGATE_FIRST] = "first", [AGGREGATE_LAST] = "last", [AGGREGATE_STDDEV] = "stddev",
};

/* --- values --- */

bool sample_has_value(const struct sample *s)
{
    if (s->quality == QUALITY_BAD || s->value.type == VALUE_NULL)
        return false;
    return s->value.type != VALUE_DOUBLE || isfinite(s->value.as.f64);
}

bool value_is_number(const struct value *v)
{
    return v->type == VALUE_BOOL || v->type == VALUE_INT64 || v->type == VALUE_DOUBLE;
}

static int64_t whole_number(const struct value *v)
{
    return v->type == VALUE_BOOL ? v->as.boolean != 0 : v->as.i64;
}

double value_number(const struct value *v)
{
    return v->type == VALUE_DOUBLE ? v->as.f64 : (double)whole_number(v);
}

/* Exact, also of an integer that no double holds. */
static int compare_int_double(int64_t i, double d)
{
    if (d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    int64_t below = (int64_t)floor(d);
    if (i != below)
        return i < below ? -1 : 1;
    return d > floor(d) ? -1 : 0;
}

static int compare(const struct value *a, const struct value *b)
{
    bool a_double = a->type == VALUE_DOUBLE, b_double = b->type == VALUE_DOUBLE;
    if (a_double && b_double)
        return (a->as.f64 > b->as.f64) - (a->as.f64 < b->as.f64);
    if (a_double)
        return -compare_int_double(whole_number(b), a->as.f64);
    if (b_double)
        return compare_int_double(whole_number(a), b->as.f64);
    int64_t x = whole_number(a), y = whole_number(b);
    return (x > y) - (x < y);
}

/* --- accumulating --- */

void accumulator_init(struct accumulator *a, enum aggregate what)
{
    *a = (struct accumulator){.what = what};
    buf_init(&a->text, TEXT_MAX);
}

void accumulator_release(struct accumulator *a)
{
    buf_release(&a->text);
}

void accumulator_clear(struct accumulator *a)
{
    a->n = 0;
    a->fractional = false;
    a->whole = 0;
    a->sum = a->compensation = 0.0;
    a->mean = a->squares = 0.0;
}

static int keep(struct accumulator *a, const struct value *v)
{
    a->kept = *v;
    if (v->type < VALUE_STRING)
        return 0;
    buf_clear(&a->text);
    int rc = buf_append(&a->text, v->as.ptr, v->len);
    a->kept.as.ptr = a->text.data;
    return rc;
}

static void add_to_sum(struct accumulator *a, const struct value *v)
{
    if (v->type != VALUE_DOUBLE) {
        a->whole += whole_number(v);
        return;
    }
    /* Neumaier: what an addition loses is kept beside. */
    double x = v->as.f64, sum = a->sum + x;
    if (fabs(a->sum) >= fabs(x))
        a->compensation += (a->sum - sum) + x;
    else
        a->compensation += (x - sum) + a->sum;
    a->sum = sum;
    a->fractional = true;
}

/* From the first value, so that large numbers close together keep their differences. */
static double distance(const struct value *v, const struct value *origin)
{
    if (v->type != VALUE_DOUBLE && origin->type != VALUE_DOUBLE)
        return (double)((aggregate_int)whole_number(v) - whole_number(origin));
    return value_number(v) - value_number(origin);
}

static void add_to_deviation(struct accumulator *a, const struct value *v)
{
    if (a->n == 1)
        a->origin = *v;
    double x = distance(v, &a->origin), delta = x - a->mean;
    a->mean += delta / (double)a->n;
    a->squares += delta * (x - a->mean);
}

int accumulator_add(struct accumulator *a, const struct sample *s)
{
    const struct value *v = &s->value;
    if (!sample_has_value(s))
        return 0;
    a->n++;
    switch (a->what) {
    case AGGREGATE_COUNT:
        return 0;
    case AGGREGATE_FIRST:
        return a->n == 1 ? keep(a, v) : 0;
    case AGGREGATE_LAST:
        return keep(a, v);
    default:
        break;
    }
    if (!value_is_number(v))
        return ERR_INVALID;
    if (a->what == AGGREGATE_STDDEV)
        add_to_deviation(a, v);
    else if (a->what == AGGREGATE_SUM || a->what == AGGREGATE_AVG)
        add_to_sum(a, v);
    else if (a->n == 1 ||
             (a->what == AGGREGATE_MIN ? compare(v, &a->kept) < 0 : compare(v, &a->kept) > 0))
        a->kept = *v;
    return 0;
}

/* --- results --- */

static struct value of_double(double x)
{
    return (struct value){.type = VALUE_DOUBLE, .as.f64 = x};
}

static double total(const struct accumulator *a)
{
    double sum = a->sum + a->compensation;
    /* Once the sum is infinite the compensation is not a number. */
    return (double)a->whole + (isnan(sum) ? a->sum : sum);
}

static struct value sum_of(const struct accumulator *a)
{
    if (a->fractional || a->whole > INT64_MAX || a->whole < INT64_MIN)
        return of_double(total(a));
    return (struct value){.type = VALUE_INT64, .as.i64 = (int64_t)a->whole};
}

bool accumulator_result(const struct accumulator *a, struct value *ret)
{
    if (a->n < (a->what == AGGREGATE_STDDEV ? 2 : 1))
        return false;
    switch (a->what) {
    case AGGREGATE_COUNT:
        *ret = (struct value){.type = VALUE_INT64, .as.i64 = a->n};
        break;
    case AGGREGATE_SUM:
        *ret = sum_of(a);
        break;
    case AGGREGATE_AVG:
        *ret = of_double(total(a) / (double)a->n);
        break;
    case AGGREGATE_STDDEV:
        *ret = of_double(sqrt(a->squares / (double)(a->n - 1)));
        break;
    default:
        *ret = a->kept;
    }
    return true;
}
