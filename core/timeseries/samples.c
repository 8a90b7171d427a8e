/* Reading back as JSON: /samples of one item, /last of all.  Files are in recorded.c. */
#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"
#include "http/http.h"
#include "storage/storage.h"
#include "timeseries/lttb.h"
#include "timeseries/reading.h"
#include "timeseries/timeseries_priv.h"

#include <string.h>

enum { ANSWER_MAX = 64 << 20 };

const char *timeseries_quality_name(uint32_t quality)
{
    static const char *const names[] = {"good", "uncertain", "bad"};
    return quality <= QUALITY_BAD ? names[quality] : "bad";
}

/* "timestamp":…,"value":… and, where it is not good, the quality. */
static void write_members(struct buf *out, const struct sample *s, bool with_quality)
{
    char time[TIME_ISO_SIZE];
    buf_append_lit(out, "\"timestamp\":\"");
    buf_append(out, time, time_format_iso(s->time_us, time));
    buf_append_lit(out, "\",\"value\":");
    value_write_json(out, &s->value);
    if (with_quality && s->quality != QUALITY_GOOD)
        buf_printf(out, ",\"quality\":\"%s\"", timeseries_quality_name(s->quality));
}

void timeseries_write_sample(struct buf *out, const struct sample *s, bool with_quality)
{
    buf_append_char(out, '{');
    write_members(out, s, with_quality);
    buf_append_char(out, '}');
}

static void respond(struct http_request *r, int rc, const struct buf *out, struct error *err)
{
    if (!rc && out->failed)
        rc = error_set(err, ERR_INVALID, "The answer is too large: ask for less at a time.");
    if (rc)
        http_respond_error(r, err);
    else
        http_respond_json(r, 200, out);
}

/* --- /samples --- */

struct answer {
    struct timeseries *ts;
    const struct selected_item *item;
    struct reading reading;
    struct buf *out;
    size_t written;
};

static void write_item(struct answer *a, const struct sample *s)
{
    if (a->written++)
        buf_append_char(a->out, ',');
    timeseries_write_sample(a->out, s, !a->ts->options.hash_hyprxa);
}

static int open_range(struct answer *a, enum storage_order order,
                      struct storage_sample_cursor **ret, struct error *err)
{
    const struct column_query *q = &a->reading.query;
    return storage_samples_range(a->ts->options.storage, a->item->series, q->start_us, q->end_us,
                                 order, ret, err);
}

/* Where the newest `limit` samples of the range begin; they are then read in ascending order. */
static int find_start(struct answer *a, struct error *err)
{
    struct storage_sample_cursor *cursor = NULL;
    const struct sample *samples;
    size_t seen = 0, limit = a->reading.limit;
    long n = open_range(a, STORAGE_DESCENDING, &cursor, err);
    if (n)
        return (int)n;
    while (seen < limit && (n = storage_samples_next(cursor, &samples, err)) > 0) {
        size_t left = limit - seen;
        size_t last = (size_t)n < left ? (size_t)n : left;
        seen += last;
        if (seen == limit)
            a->reading.query.start_us = samples[last - 1].time_us;
    }
    storage_samples_cursor_close(cursor);
    return n < 0 ? (int)n : 0;
}

static int write_samples(struct answer *a, struct error *err)
{
    struct storage_sample_cursor *cursor = NULL;
    const struct sample *samples;
    long n = find_start(a, err);
    if (!n)
        n = open_range(a, STORAGE_ASCENDING, &cursor, err);
    if (n)
        return (int)n;
    while ((n = storage_samples_next(cursor, &samples, err)) > 0)
        for (long i = 0; i < n && a->written < a->reading.limit; i++)
            write_item(a, &samples[i]);
    storage_samples_cursor_close(cursor);
    return (int)n;
}

/* --- by buckets --- */

static int write_column(struct answer *a, struct column *c, struct error *err)
{
    const struct column_query *q = &a->reading.query;
    int rc = 0;
    if (q->fill == FILL_NONE) {
        for (; !rc && !c->at_end; rc = column_next(c, err))
            write_item(a, c->head);
        return rc;
    }
    struct bucket bucket = buckets_of(q->buckets, q->start_us);
    for (; !rc && bucket.start_us <= q->end_us; bucket = buckets_after(q->buckets, bucket)) {
        struct sample filled = {.time_us = bucket.start_us};
        if (!c->at_end && c->head->time_us == bucket.start_us) {
            write_item(a, c->head);
            rc = column_next(c, err);
        } else {
            column_fill(c, bucket.start_us, &filled.value);
            write_item(a, &filled);
        }
    }
    return rc;
}

static int write_buckets(struct answer *a, struct error *err)
{
    struct column column;
    column_init(&column, a->item->name, &a->reading.query);
    int rc = column_open(&column, a->ts->options.storage, a->item->series, 0, err);
    if (!rc)
        rc = write_column(a, &column, err);
    column_release(&column);
    return rc;
}

/* --- by points --- */

/* One pass over the range; each sample goes to `step`, which may be NULL. */
static int pass_over(struct answer *a, struct lttb *l,
                     void (*step)(struct lttb *, const struct sample *), size_t *ret_n,
                     struct sample *ret_last, struct error *err)
{
    struct storage_sample_cursor *cursor = NULL;
    const struct sample *samples;
    long n = open_range(a, STORAGE_ASCENDING, &cursor, err);
    if (n)
        return (int)n;
    *ret_n = 0;
    while ((n = storage_samples_next(cursor, &samples, err)) > 0) {
        for (long i = 0; i < n; i++) {
            if (sample_has_value(&samples[i]) && !value_is_number(&samples[i].value)) {
                n = error_set(err, ERR_INVALID,
                              "'%.200s' holds values that are no numbers: points are of numbers "
                              "and booleans.",
                              a->item->name);
                break;
            }
            if (step)
                step(l, &samples[i]);
        }
        if (n < 0)
            break;
        *ret_n += (size_t)n;
        *ret_last = samples[n - 1];
    }
    storage_samples_cursor_close(cursor);
    return (int)n;
}

static int write_points(struct answer *a, struct error *err)
{
    struct lttb l;
    struct sample last = {0};
    size_t n;
    int rc = pass_over(a, NULL, NULL, &n, &last, err);
    if (rc || n == 0)
        return rc;
    a->reading.limit = a->reading.points;
    if (n <= a->reading.points)
        return write_samples(a, err);
    a->reading.query.end_us = last.time_us; /* what comes behind it meanwhile is not ours */
    if (lttb_init(&l, n, a->reading.points))
        return error_set(err, ERR_NOMEM, "no memory for the points");
    rc = pass_over(a, &l, lttb_measure, &n, &last, err);
    lttb_rewind(&l);
    if (!rc)
        rc = pass_over(a, &l, lttb_select, &n, &last, err);
    if (!rc && n)
        lttb_finish(&l, &last);
    for (size_t i = 0; !rc && i < l.n_kept; i++)
        write_item(a, &l.kept[i]);
    lttb_release(&l);
    return rc;
}

static int write_answer(struct answer *a, struct error *err)
{
    const struct series *series = a->item->series;
    buf_append_lit(a->out, "{\"subscription\":");
    buf_append(a->out, series->json, series->json_len);
    buf_append_lit(a->out, ",\"items\":[");
    int rc = a->reading.points                              ? write_points(a, err)
             : a->reading.query.aggregate != AGGREGATE_NONE ? write_buckets(a, err)
                                                            : write_samples(a, err);
    buf_append_lit(a->out, "]}");
    return rc;
}

void timeseries_samples(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    struct selection selection;
    const char *item = http_query(r, "dataItem");
    AUTO(buf) out = BUF_INIT(ANSWER_MAX);
    struct answer a = {.ts = ts, .out = &out};
    if (!item)
        http_invalid_at(r, "query", "dataItem", "field required", "value_error.missing");
    if (!reading_parse(&a.reading, r, false, ts->options.max_samples))
        return;
    if (selection_read_item(ts, r, item, &selection)) {
        a.item = &selection.items[0];
        respond(r, write_answer(&a, &err), &out, &err);
        selection_release(&selection);
    }
    reading_release(&a.reading);
}

/* --- /last --- */

/* {"dataItem":…,"subscription":…,"timestamp":…,"value":…} of the newest sample; without one the last
 * two are null. */
static int write_last(struct timeseries *ts, const struct selected_item *item, struct buf *out,
                      struct error *err)
{
    struct storage_sample_cursor *cursor = NULL;
    const struct sample *sample;
    int64_t time_us;
    long n = storage_samples_last_time(ts->options.storage, item->series, &time_us, err);
    if (n == 0)
        n = storage_samples_range(ts->options.storage, item->series, time_us, time_us,
                                  STORAGE_ASCENDING, &cursor, err);
    if (n == 0)
        n = storage_samples_next(cursor, &sample, err);
    if (n >= 0 || n == ERR_NOT_FOUND) {
        buf_append_lit(out, "{\"dataItem\":");
        json_write_string(out, item->name, strlen(item->name));
        buf_append_lit(out, ",\"subscription\":");
        buf_append(out, item->series->json, item->series->json_len);
        buf_append_char(out, ',');
        if (n > 0)
            write_members(out, sample, !ts->options.hash_hyprxa);
        else
            buf_append_lit(out, "\"timestamp\":null,\"value\":null");
        buf_append_char(out, '}');
        n = 0;
    }
    storage_samples_cursor_close(cursor);
    return (int)n;
}

void timeseries_last(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    struct selection selection;
    AUTO(buf) out = BUF_INIT(ANSWER_MAX);
    if (!selection_read(ts, r, &selection))
        return;
    int rc = 0;
    buf_append_lit(&out, "{\"items\":[");
    for (size_t i = 0; i < selection.n && !rc; i++) {
        if (i)
            buf_append_char(&out, ',');
        rc = write_last(ts, &selection.items[i], &out, &err);
    }
    buf_append_lit(&out, "]}");
    respond(r, rc, &out, &err);
    selection_release(&selection);
}
