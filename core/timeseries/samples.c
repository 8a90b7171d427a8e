/* Reading back: /samples of one item, /recorded of many aligned on time. */
#include "base/auto.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "http/http.h"
#include "http/table.h"
#include "http/time_range.h"
#include "storage/storage.h"
#include "timeseries/timeseries_priv.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_DEFAULT = 5000, LIMIT_MAX = 15000, SAMPLES_TEXT_MAX = 512 << 20 };

static const char logger[] = "hyprxa.timeseries";

/* --- /samples --- */

void timeseries_write_sample(struct buf *out, const struct sample *s, bool with_quality)
{
    static const char *const qualities[] = {"good", "uncertain", "bad"};
    char time[TIME_ISO_SIZE];
    buf_append_lit(out, "{\"timestamp\":\"");
    buf_append(out, time, time_format_iso(s->time_us, time));
    buf_append_lit(out, "\",\"value\":");
    value_write_json(out, &s->value);
    if (with_quality && s->quality != QUALITY_GOOD && s->quality <= QUALITY_BAD)
        buf_printf(out, ",\"quality\":\"%s\"", qualities[s->quality]);
    buf_append_char(out, '}');
}

/* Where the newest `limit` samples of the range begin; they are then read in ascending order. */
static int find_start(struct storage *st, struct series *series, struct http_time_range *range,
                      size_t limit, struct error *err)
{
    struct storage_sample_cursor *cursor = NULL;
    const struct sample *samples;
    size_t seen = 0;
    long n = storage_samples_range(st, series, range->start_us, range->end_us, STORAGE_DESCENDING,
                                   &cursor, err);
    if (n)
        return (int)n;
    while (seen < limit && (n = storage_samples_next(cursor, &samples, err)) > 0) {
        size_t left = limit - seen;
        size_t last = (size_t)n < left ? (size_t)n : left;
        seen += last;
        if (seen == limit)
            range->start_us = samples[last - 1].time_us;
    }
    storage_samples_cursor_close(cursor);
    return n < 0 ? (int)n : 0;
}

static int write_samples(struct timeseries *ts, struct series *series, struct http_time_range range,
                         size_t limit, struct buf *out, struct error *err)
{
    struct storage_sample_cursor *cursor = NULL;
    const struct sample *samples;
    long n = find_start(ts->options.storage, series, &range, limit, err);
    if (n)
        return (int)n;
    n = storage_samples_range(ts->options.storage, series, range.start_us, range.end_us,
                              STORAGE_ASCENDING, &cursor, err);
    if (n)
        return (int)n;
    size_t written = 0;
    buf_append_lit(out, "{\"subscription\":");
    buf_append(out, series->json, series->json_len);
    buf_append_lit(out, ",\"items\":[");
    while ((n = storage_samples_next(cursor, &samples, err)) > 0) {
        for (long i = 0; i < n && written < limit; i++) {
            if (written++)
                buf_append_char(out, ',');
            timeseries_write_sample(out, &samples[i], !ts->options.hash_hyprxa);
        }
    }
    buf_append_lit(out, "]}");
    storage_samples_cursor_close(cursor);
    return n < 0 ? (int)n : 0;
}

void timeseries_samples(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    struct http_time_range range;
    struct selection selection;
    const char *item = http_query(r, "dataItem");
    int64_t limit = http_query_int(r, "limit", LIMIT_DEFAULT);
    if (!item)
        http_invalid_at(r, "query", "dataItem", "field required", "value_error.missing");
    if (limit < 0)
        http_invalid_at(r, "query", "limit", "ensure this value is greater than or equal to 0",
                        "value_error.number.not_ge");
    if (http_respond_if_invalid(r))
        return;
    if (limit > LIMIT_MAX) {
        http_respond_detail(r, 400, "Limit cannot be greater than 15000.");
        return;
    }
    if (!http_query_time_range(r, &range) || !selection_read_item(ts, r, item, &selection))
        return;
    AUTO(buf) out = BUF_INIT(SAMPLES_TEXT_MAX);
    if (write_samples(ts, selection.items[0].series, range,
                      limit ? (size_t)limit : (size_t)LIMIT_DEFAULT, &out, &err))
        http_respond_error(r, &err);
    else
        http_respond_json(r, 200, &out);
    selection_release(&selection);
}

/* --- /recorded --- */

/* One column: where its series is being read. */
struct column {
    const struct selected_item *item;
    struct storage_sample_cursor *cursor;
    const struct sample *samples;
    long n, at; /* at == n: the end */
};

static int compare_columns(const void *a, const void *b)
{
    const struct selected_item *x = ((const struct column *)a)->item;
    const struct selected_item *y = ((const struct column *)b)->item;
    if (x->series->hash != y->series->hash)
        return x->series->hash < y->series->hash ? -1 : 1;
    int by_source = strcmp(x->source->name, y->source->name);
    return by_source ? by_source : (x > y) - (x < y); /* then as the unitop has them */
}

static int column_fill(struct column *c, struct error *err)
{
    c->at = 0;
    c->n = storage_samples_next(c->cursor, &c->samples, err);
    return c->n < 0 ? (int)c->n : 0;
}

static int columns_open(struct timeseries *ts, const struct selection *s,
                        const struct http_time_range *range, struct column *columns,
                        struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < s->n; i++)
        columns[i].item = &s->items[i];
    qsort(columns, s->n, sizeof *columns, compare_columns);
    for (size_t i = 0; i < s->n && !rc; i++) {
        rc = storage_samples_range(ts->options.storage, columns[i].item->series, range->start_us,
                                   range->end_us, STORAGE_ASCENDING, &columns[i].cursor, err);
        if (!rc)
            rc = column_fill(&columns[i], err);
    }
    return rc;
}

/* The smallest time any column stands at; false: all are at their end. */
static bool next_time(const struct column *columns, size_t n, int64_t *ret)
{
    int64_t least = INT64_MAX;
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (columns[i].at < columns[i].n && columns[i].samples[columns[i].at].time_us <= least) {
            least = columns[i].samples[columns[i].at].time_us;
            any = true;
        }
    }
    *ret = least;
    return any;
}

/* An outer join on exact times.  1: the client is gone; negative: reading failed. */
static int write_rows(struct table *t, struct column *columns, size_t n, struct error *err)
{
    int64_t time_us;
    int rc = 0;
    while (!rc && next_time(columns, n, &time_us)) {
        table_time(t, time_us);
        for (size_t i = 0; i < n && !rc; i++) {
            struct column *c = &columns[i];
            if (c->at == c->n || c->samples[c->at].time_us != time_us) {
                table_null(t);
                continue;
            }
            table_value(t, &c->samples[c->at].value);
            if (++c->at == c->n)
                rc = column_fill(c, err);
        }
        if (!rc && table_end_row(t))
            return 1;
    }
    return rc;
}

static void send_table(struct http_request *r, enum table_format format, struct column *columns,
                       size_t n)
{
    struct error err = ERROR_INIT;
    struct table t;
    if (table_begin(&t, r, format))
        return;
    table_text(&t, "timestamp", strlen("timestamp"));
    for (size_t i = 0; i < n; i++)
        table_text(&t, columns[i].item->name, strlen(columns[i].item->name));
    int rc = table_end_row(&t) ? 1 : write_rows(&t, columns, n, &err);
    if (rc < 0)
        log_error(logger, "a download of samples broke off: %s", err.message);
    table_finish(&t, rc == 0);
}

void timeseries_recorded(struct http_request *r, void *ctx)
{
    static const char *const scan_rate_names[] = {"scanRate", "scan_rate"};
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    struct http_time_range range;
    struct selection selection;
    enum table_format format;
    for (size_t i = 0; i < 2; i++) /* taken for compatibility: rows need no expected rate here */
        if (http_query_int(r, scan_rate_names[i], 5) < 1)
            http_invalid_at(r, "query", scan_rate_names[i], "ensure this value is greater than 0",
                            "value_error.number.not_gt");
    if (http_respond_if_invalid(r) || !http_query_time_range(r, &range))
        return;
    if (!table_negotiate(http_header(r, "Accept"), &format)) {
        http_respond_detail(r, 415, "Unsupported Media Type");
        return;
    }
    if (!selection_read(ts, r, &selection))
        return;
    struct column *columns = calloc(selection.n, sizeof *columns);
    int rc = columns ? columns_open(ts, &selection, &range, columns, &err)
                     : error_set(&err, ERR_NOMEM, "out of memory");
    if (rc)
        http_respond_error(r, &err);
    else
        send_table(r, format, columns, selection.n);
    for (size_t i = 0; columns && i < selection.n; i++)
        storage_samples_cursor_close(columns[i].cursor);
    free(columns);
    selection_release(&selection);
}
