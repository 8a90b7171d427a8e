#include "timeseries/column.h"

#include "storage/storage.h"

enum { PREVIOUS_TEXT_MAX = 16 << 20 };

void column_init(struct column *c, const char *name, const struct column_query *query)
{
    *c = (struct column){.query = query, .name = name};
    accumulator_init(&c->accumulator, query->aggregate);
    buf_init(&c->previous_text, PREVIOUS_TEXT_MAX);
}

void column_release(struct column *c)
{
    storage_samples_cursor_close(c->cursor);
    accumulator_release(&c->accumulator);
    buf_release(&c->previous_text);
}

/* The next samples of the cursor; n is 0 at the end. */
static int refill(struct column *c, struct error *err)
{
    c->at = 0;
    c->n = storage_samples_next(c->cursor, &c->samples, err);
    return c->n < 0 ? (int)c->n : 0;
}

/* --- samples as they are --- */

static int next_sample(struct column *c, struct error *err)
{
    int rc = ++c->at < c->n ? 0 : refill(c, err);
    c->at_end = rc || c->n == 0;
    c->head = c->at_end ? NULL : &c->samples[c->at];
    return rc;
}

/* --- buckets --- */

static int respond_to(const struct column *c, int rc, const struct sample *s, struct error *err)
{
    static const char *const kinds[] = {
        [VALUE_STRING] = "a text", [VALUE_BYTES] = "bytes", [VALUE_JSON] = "an object or list"};
    if (rc != ERR_INVALID)
        return error_set(err, rc, "no memory to aggregate samples");
    return error_set(err, rc,
                     "'%.200s' holds %s: '%s' is of numbers and booleans; 'first', 'last' and "
                     "'count' are of any values.",
                     c->name, kinds[s->value.type], aggregate_names[c->query->aggregate]);
}

/* Accumulate the samples of one bucket, the one of the sample at hand. */
static int read_bucket(struct column *c, struct error *err)
{
    struct bucket bucket = buckets_of(c->query->buckets, c->samples[c->at].time_us);
    int rc = 0;
    accumulator_clear(&c->accumulator);
    while (c->n && c->samples[c->at].time_us < bucket.end_us) {
        rc = accumulator_add(&c->accumulator, &c->samples[c->at]);
        if (rc)
            return respond_to(c, rc, &c->samples[c->at], err);
        if (++c->at == c->n) {
            rc = refill(c, err);
            if (rc)
                return rc;
        }
    }
    c->bucket = (struct sample){.time_us = bucket.start_us};
    return 0;
}

static int keep_previous(struct column *c, struct error *err)
{
    c->previous = c->bucket;
    c->has_previous = true;
    if (c->bucket.value.type < VALUE_STRING)
        return 0;
    buf_clear(&c->previous_text);
    if (buf_append(&c->previous_text, c->bucket.value.as.ptr, c->bucket.value.len))
        return error_set(err, ERR_NOMEM, "no memory to keep a value");
    c->previous.value.as.ptr = c->previous_text.data;
    return 0;
}

static int next_bucket(struct column *c, struct error *err)
{
    int rc = c->head && c->query->fill >= FILL_PREVIOUS ? keep_previous(c, err) : 0;
    c->head = NULL;
    while (!rc && c->n && !c->head) {
        rc = read_bucket(c, err);
        if (!rc && accumulator_result(&c->accumulator, &c->bucket.value))
            c->head = &c->bucket;
    }
    c->at_end = !c->head;
    if (c->head && c->query->fill == FILL_LINEAR && !value_is_number(&c->bucket.value))
        return error_set(err, ERR_INVALID,
                         "'%.200s' holds values that are no numbers: there is no "
                         "line between them.",
                         c->name);
    return rc;
}

/* --- both --- */

int column_next_slow(struct column *c, struct error *err)
{
    return c->query->aggregate == AGGREGATE_NONE ? next_sample(c, err) : next_bucket(c, err);
}

int column_open(struct column *c, struct storage *st, struct series *series, size_t window,
                struct error *err)
{
    int rc = storage_samples_range(st, series, c->query->start_us, c->query->end_us,
                                   STORAGE_ASCENDING, &c->cursor, err);
    if (rc)
        return rc;
    storage_samples_cursor_window(c->cursor, window);
    rc = refill(c, err);
    c->at = c->query->aggregate == AGGREGATE_NONE ? -1 : 0;
    return rc ? rc : column_next_slow(c, err);
}

static bool between(const struct column *c, int64_t time_us, struct value *ret)
{
    if (!c->has_previous || c->at_end)
        return false;
    double from = value_number(&c->previous.value), to = value_number(&c->head->value);
    double share =
        (double)(time_us - c->previous.time_us) / (double)(c->head->time_us - c->previous.time_us);
    *ret = (struct value){.type = VALUE_DOUBLE, .as.f64 = from * (1.0 - share) + to * share};
    return true;
}

void column_fill(const struct column *c, int64_t time_us, struct value *ret)
{
    *ret = (struct value){.type = VALUE_NULL};
    if (c->query->aggregate == AGGREGATE_COUNT)
        *ret = (struct value){.type = VALUE_INT64};
    else if (c->query->fill == FILL_PREVIOUS && c->has_previous)
        *ret = c->previous.value;
    else if (c->query->fill == FILL_LINEAR)
        between(c, time_us, ret);
}

bool column_is_incomplete(const struct column *c)
{
    return c->cursor && storage_samples_incomplete(c->cursor);
}
