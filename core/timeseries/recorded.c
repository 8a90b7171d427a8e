/* Reading back as files: /recorded, the items of a unitop aligned on time. */
#include "base/auto.h"
#include "base/log.h"
#include "http/http.h"
#include "http/table.h"
#include "storage/storage.h"
#include "timeseries/reading.h"
#include "timeseries/timeseries_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GROUP = 32,                /* columns under one least time */
    WINDOWS_BYTES = 2 << 20,   /* of encoded samples in memory, for all columns together */
    WINDOW_BYTES_MIN = 4 << 10 /* but so much for each */
};

static const char logger[] = "hyprxa.timeseries";

/* The columns of a file and the times they stand at.  The least time is found in two steps, over
 * groups and then in those that have it: rows of few columns among many are as cheap as full ones. */
struct file {
    struct timeseries *ts;
    struct selection selection;
    struct reading reading;
    const struct selected_item **items; /* in the order of columns */
    struct column *columns;
    size_t n;
    int64_t *times;  /* of the columns' heads; INT64_MAX: at the end */
    int64_t *groups; /* the least of each GROUP of them */
    struct table table;
};

static void file_release(struct file *f)
{
    for (size_t i = 0; f->columns && i < f->n; i++)
        column_release(&f->columns[i]);
    free(f->columns);
    free(f->items);
    free(f->times);
    free(f->groups);
    selection_release(&f->selection);
    reading_release(&f->reading);
}

/* --- columns --- */

static int compare_items(const void *a, const void *b)
{
    const struct selected_item *x = *(const struct selected_item *const *)a;
    const struct selected_item *y = *(const struct selected_item *const *)b;
    if (x->series->hash != y->series->hash)
        return x->series->hash < y->series->hash ? -1 : 1;
    int by_source = strcmp(x->source->name, y->source->name);
    return by_source ? by_source : (x > y) - (x < y); /* then as the unitop has them */
}

static void set_time(struct file *f, size_t column)
{
    const struct column *c = &f->columns[column];
    f->times[column] = c->at_end ? INT64_MAX : c->head->time_us;
}

static void set_group(struct file *f, size_t group)
{
    size_t from = group * GROUP, end = from + GROUP < f->n ? from + GROUP : f->n;
    int64_t least = INT64_MAX;
    for (size_t i = from; i < end; i++)
        least = f->times[i] < least ? f->times[i] : least;
    f->groups[group] = least;
}

static int allocate(struct file *f, struct error *err)
{
    f->n = f->selection.n;
    f->items = calloc(f->n, sizeof(const struct selected_item *));
    f->columns = calloc(f->n, sizeof *f->columns);
    f->times = calloc(f->n, sizeof *f->times);
    f->groups = calloc((f->n + GROUP - 1) / GROUP, sizeof *f->groups);
    if (!f->items || !f->columns || !f->times || !f->groups)
        return error_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < f->n; i++)
        f->items[i] = &f->selection.items[i];
    qsort(f->items, f->n, sizeof *f->items, compare_items);
    for (size_t i = 0; i < f->n; i++)
        column_init(&f->columns[i], f->items[i]->name, &f->reading.query);
    return 0;
}

static int open_columns(struct file *f, struct error *err)
{
    size_t window = WINDOWS_BYTES / f->n;
    int rc = 0;
    for (size_t i = 0; i < f->n && !rc; i++) {
        rc = column_open(&f->columns[i], f->ts->options.storage, f->items[i]->series,
                         window > WINDOW_BYTES_MIN ? window : WINDOW_BYTES_MIN, err);
        set_time(f, i);
    }
    for (size_t g = 0; g * GROUP < f->n; g++)
        set_group(f, g);
    return rc;
}

/* --- rows --- */

static void write_header(struct file *f)
{
    AUTO(buf) name = BUF_INIT(1 << 20);
    table_text(&f->table, "timestamp", strlen("timestamp"));
    for (size_t i = 0; i < f->n; i++) {
        const char *item = f->items[i]->name;
        table_text(&f->table, item, strlen(item));
        if (!f->reading.quality)
            continue;
        buf_clear(&name);
        buf_printf(&name, "%s.quality", item);
        table_text(&f->table, name.data, name.len);
    }
}

static void write_nulls(struct file *f, size_t n_columns)
{
    table_nulls(&f->table, f->reading.quality ? 2 * n_columns : n_columns);
}

/* The cells of the column at its head, and on to the next. */
static int write_head(struct file *f, size_t column, struct error *err)
{
    struct column *c = &f->columns[column];
    table_value(&f->table, &c->head->value);
    if (f->reading.quality) {
        const char *quality = timeseries_quality_name(c->head->quality);
        table_text(&f->table, quality, strlen(quality));
    }
    int rc = column_next(c, err);
    set_time(f, column);
    return rc;
}

static int64_t next_time(const struct file *f)
{
    int64_t least = INT64_MAX;
    for (size_t g = 0; g * GROUP < f->n; g++)
        least = f->groups[g] < least ? f->groups[g] : least;
    return least;
}

/* A row of what stands at `time_us`: an outer join on exact times. */
static int write_row(struct file *f, int64_t time_us, struct error *err)
{
    size_t written = 0; /* columns */
    int rc = 0;
    table_time(&f->table, time_us);
    for (size_t g = 0; g * GROUP < f->n; g++) {
        if (f->groups[g] != time_us)
            continue;
        size_t end = (g + 1) * GROUP < f->n ? (g + 1) * GROUP : f->n;
        for (size_t i = g * GROUP; i < end && !rc; i++) {
            if (f->times[i] != time_us)
                continue;
            write_nulls(f, i - written);
            rc = write_head(f, i, err);
            written = i + 1;
        }
        set_group(f, g);
    }
    write_nulls(f, f->n - written);
    return rc;
}

/* A row of a bucket in which some columns, or all, have nothing. */
static int write_filled(struct file *f, int64_t time_us, struct error *err)
{
    int rc = 0;
    table_time(&f->table, time_us);
    for (size_t i = 0; i < f->n && !rc; i++) {
        struct value value;
        if (f->times[i] == time_us) {
            rc = write_head(f, i, err);
            continue;
        }
        column_fill(&f->columns[i], time_us, &value);
        table_value(&f->table, &value);
    }
    return rc;
}

/* 1: the client is gone; negative: reading failed. */
static int write_rows(struct file *f, struct error *err)
{
    const struct column_query *q = &f->reading.query;
    int rc = 0;
    if (q->fill == FILL_NONE) {
        int64_t time_us;
        while (!rc && (time_us = next_time(f)) != INT64_MAX) {
            rc = write_row(f, time_us, err);
            if (!rc)
                rc = table_end_row(&f->table) ? 1 : 0;
        }
        return rc;
    }
    struct bucket bucket = buckets_of(q->buckets, q->start_us);
    for (; !rc && bucket.start_us <= q->end_us; bucket = buckets_after(q->buckets, bucket)) {
        rc = write_filled(f, bucket.start_us, err);
        if (!rc)
            rc = table_end_row(&f->table) ? 1 : 0;
    }
    return rc;
}

/* Whether nothing was damaged and left out: else a client must not take the file for whole. */
static bool is_whole(const struct file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (column_is_incomplete(&f->columns[i])) {
            log_error(logger, "a download lacks damaged samples of '%s'", f->items[i]->name);
            return false;
        }
    }
    return true;
}

static void send_file(struct file *f, struct http_request *r, enum table_format format)
{
    struct error err = ERROR_INIT;
    if (table_begin(&f->table, r, format))
        return;
    int rc = allocate(f, &err);
    if (!rc)
        rc = open_columns(f, &err);
    if (!rc) {
        write_header(f);
        rc = table_end_row(&f->table) ? 1 : write_rows(f, &err);
    }
    if (rc >= 0) {
        table_finish(&f->table, rc == 0 && is_whole(f));
        return;
    }
    if (err.code != ERR_INVALID)
        log_error(logger, "a download of samples broke off: %s", err.message);
    table_fail(&f->table, &err);
}

void timeseries_recorded(struct http_request *r, void *ctx)
{
    struct file f = {.ts = ctx};
    enum table_format format;
    char detail[96];
    if (!reading_parse(&f.reading, r, true, 0))
        return;
    if (!table_negotiate(http_header(r, "Accept"), &format)) {
        http_respond_detail(r, 415, "Unsupported Media Type");
    } else if (selection_read(f.ts, r, &f.selection)) {
        if (f.selection.n <= f.ts->options.max_columns) {
            send_file(&f, r, format);
        } else {
            snprintf(detail, sizeof detail, "A file has at most %zu data items, these are %zu.",
                     f.ts->options.max_columns, f.selection.n);
            http_respond_detail(r, 422, detail);
        }
    }
    file_release(&f);
}
