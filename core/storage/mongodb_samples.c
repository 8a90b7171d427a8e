/* Samples: a document each, as the original system has them (contract section 8). */
#include "storage/mongodb_priv.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum { INSERT_MAX = 1000, READ_MAX = 1000 };

static const char *const qualities[] = {"good", "uncertain", "bad"};

/* --- writing --- */

static int append_sample_value(bson_t *doc, const struct value *v, struct error *err)
{
    static const char name[] = "value";
    switch (v->type) {
    case VALUE_BOOL:
        bson_append_bool(doc, name, -1, v->as.boolean);
        return 0;
    case VALUE_INT64:
        bson_append_int64(doc, name, -1, v->as.i64);
        return 0;
    case VALUE_DOUBLE:
        bson_append_double(doc, name, -1, v->as.f64);
        return 0;
    case VALUE_STRING:
        bson_append_utf8(doc, name, -1, v->as.ptr, (int)v->len);
        return 0;
    case VALUE_BYTES:
        bson_append_binary(doc, name, -1, BSON_SUBTYPE_BINARY, v->as.ptr, v->len);
        return 0;
    case VALUE_JSON:
        return bson_append_json_text(doc, name, v->as.ptr, v->len, err);
    default:
        bson_append_null(doc, name, -1);
        return 0;
    }
}

/* A value that BSON refuses is stored as null: its time is kept, and the rest goes on. */
static void add_sample(mongoc_bulk_operation_t *bulk, const struct mongodb *m,
                       const struct remote_series *series, const struct sample *s,
                       int64_t expire_ms)
{
    bson_t doc = BSON_INITIALIZER;
    bson_append_utf8(&doc, "source", -1, series->source, -1);
    bson_append_int64(&doc, "subscription", -1, series->hash);
    bson_append_date_time(&doc, "timestamp", -1, to_ms(s->time_us));
    if (append_sample_value(&doc, &s->value, NULL))
        bson_append_null(&doc, "value", -1);
    bson_append_date_time(&doc, "expire", -1, expire_ms);
    if (m->with_quality && s->quality != QUALITY_GOOD && s->quality <= QUALITY_BAD)
        bson_append_utf8(&doc, "quality", -1, qualities[s->quality], -1);
    mongoc_bulk_operation_insert_with_opts(bulk, &doc, NULL, NULL);
    bson_destroy(&doc);
}

static int execute_inserts(mongoc_bulk_operation_t *bulk, size_t *ret_duplicate, struct error *err)
{
    bson_t reply;
    bson_error_t e;
    struct bulk_failures failures;
    int rc = 0;
    if (!mongoc_bulk_operation_execute(bulk, &reply, &e)) {
        mongodb_read_failures(&reply, &failures);
        *ret_duplicate += failures.duplicates;
        if (failures.other.code)
            rc = mongodb_error(&failures.other, "writing samples", err);
        else if (!failures.duplicates)
            rc = mongodb_error(&e, "writing samples", err);
    }
    bson_destroy(&reply);
    return rc;
}

int mongodb_samples_write(void *self, const struct remote_samples *runs, size_t n,
                          size_t *ret_duplicate, struct error *err)
{
    struct mongodb *m = self;
    struct use u;
    int rc = 0;
    size_t pending = 0;
    int64_t now_ms = to_ms(time_now_us());
    bson_t *opts = BCON_NEW("ordered", BCON_BOOL(false));
    mongoc_bulk_operation_t *bulk = NULL;
    *ret_duplicate = 0;
    use_begin(m, STORAGE_REMOTE_TIMESERIES, &u);
    for (size_t r = 0; r < n && !rc; r++) {
        for (size_t i = 0; i < runs[r].n && !rc; i++) {
            if (!bulk)
                bulk = mongoc_collection_create_bulk_operation_with_opts(u.collection, opts);
            add_sample(bulk, m, &runs[r].series, &runs[r].samples[i], now_ms);
            if (++pending == INSERT_MAX) {
                rc = execute_inserts(bulk, ret_duplicate, err);
                mongoc_bulk_operation_destroy(bulk);
                bulk = NULL;
                pending = 0;
            }
        }
    }
    if (!rc && bulk)
        rc = execute_inserts(bulk, ret_duplicate, err);
    if (bulk)
        mongoc_bulk_operation_destroy(bulk);
    use_end(&u);
    bson_destroy(opts);
    return rc;
}

/* --- reading --- */

struct remote_sample_cursor {
    struct use use;
    mongoc_cursor_t *cursor;
    bool ended;
    struct sample *samples; /* READ_MAX */
    struct buf texts; /* of the values of one batch: their pointers hold offsets until its end */
};

/* `filter` and `opts` are consumed. */
static mongoc_cursor_t *find_samples(struct mongodb *m, struct use *u,
                                     const struct remote_series *series, int64_t start_us,
                                     int64_t end_us, enum storage_order order, int64_t limit)
{
    bson_t *filter =
        BCON_NEW("subscription", BCON_INT64(series->hash), "source", BCON_UTF8(series->source),
                 "timestamp", "{", "$gte", BCON_DATE_TIME(to_ms_up(start_us)), "$lte",
                 BCON_DATE_TIME(to_ms(end_us)), "}");
    bson_t *opts =
        BCON_NEW("sort", "{", "timestamp", BCON_INT32(order == STORAGE_ASCENDING ? 1 : -1), "}",
                 "projection", "{", "_id", BCON_INT32(0), "timestamp", BCON_INT32(1), "value",
                 BCON_INT32(1), "quality", BCON_INT32(1), "}", "batchSize", BCON_INT32(READ_MAX));
    if (limit)
        bson_append_int64(opts, "limit", -1, limit);
    use_begin(m, STORAGE_REMOTE_TIMESERIES, u);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(u->collection, filter, opts, NULL);
    bson_destroy(opts);
    bson_destroy(filter);
    return cursor;
}

int mongodb_samples_range(void *self, const struct remote_series *series, int64_t start_us,
                          int64_t end_us, enum storage_order order,
                          struct remote_sample_cursor **ret, struct error *err)
{
    struct remote_sample_cursor *c = calloc(1, sizeof *c);
    struct sample *samples = malloc(READ_MAX * sizeof *samples);
    if (!c || !samples) {
        free(c);
        free(samples);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    c->samples = samples;
    buf_init(&c->texts, SIZE_MAX / 2);
    c->cursor = find_samples(self, &c->use, series, start_us, end_us, order, 0);
    *ret = c;
    return 0;
}

/* A text of the batch, by offset until all of it is there. */
static void keep_text(struct buf *texts, struct value *v, enum value_type type, const void *bytes,
                      size_t len)
{
    v->type = type;
    v->len = (uint32_t)len;
    v->as.ptr = (const void *)(uintptr_t)texts->len;
    buf_append(texts, bytes, len);
    buf_append_char(texts, '\0');
}

static void read_value(struct buf *texts, const bson_iter_t *i, struct value *v)
{
    uint32_t len = 0;
    const uint8_t *bytes = NULL;
    switch (bson_iter_type(i)) {
    case BSON_TYPE_BOOL:
        *v = (struct value){.type = VALUE_BOOL, .as.boolean = bson_iter_bool(i)};
        return;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        *v = (struct value){.type = VALUE_INT64, .as.i64 = bson_iter_as_int64(i)};
        return;
    case BSON_TYPE_DOUBLE:
        *v = (struct value){.type = VALUE_DOUBLE, .as.f64 = bson_iter_double(i)};
        return;
    case BSON_TYPE_UTF8: {
        const char *text = bson_iter_utf8(i, &len);
        keep_text(texts, v, VALUE_STRING, text, len);
        return;
    }
    case BSON_TYPE_BINARY:
        bson_iter_binary(i, NULL, &len, &bytes);
        keep_text(texts, v, VALUE_BYTES, bytes, len);
        return;
    case BSON_TYPE_NULL:
        *v = (struct value){.type = VALUE_NULL};
        return;
    default: {
        size_t from = texts->len;
        bson_write_json(texts, i);
        *v = (struct value){.type = VALUE_JSON,
                            .len = (uint32_t)(texts->len - from),
                            .as.ptr = (const void *)(uintptr_t)from};
        buf_append_char(texts, '\0');
    }
    }
}

static uint32_t read_quality(const bson_t *doc)
{
    const char *text = bson_text(doc, "quality");
    for (uint32_t q = QUALITY_UNCERTAIN; text && q <= QUALITY_BAD; q++)
        if (strcmp(text, qualities[q]) == 0)
            return q;
    return QUALITY_GOOD;
}

static void read_sample(struct buf *texts, const bson_t *doc, struct sample *s)
{
    bson_iter_t value;
    *s =
        (struct sample){.time_us = bson_time_us(doc, "timestamp", 0), .quality = read_quality(doc)};
    if (bson_find(doc, "value", &value))
        read_value(texts, &value, &s->value);
}

long mongodb_samples_next(struct remote_sample_cursor *c, const struct sample **ret,
                          struct error *err)
{
    const bson_t *found = NULL;
    bson_error_t e;
    long n = 0;
    buf_clear(&c->texts);
    if (c->ended)
        return 0;
    while (n < READ_MAX && mongoc_cursor_next(c->cursor, &found))
        read_sample(&c->texts, found, &c->samples[n++]);
    c->ended = n < READ_MAX;
    if (mongoc_cursor_error(c->cursor, &e))
        return mongodb_error(&e, "reading samples", err);
    if (c->texts.failed)
        return error_set(err, ERR_NOMEM, "out of memory");
    for (long i = 0; i < n; i++) {
        struct value *v = &c->samples[i].value;
        if (v->type >= VALUE_STRING)
            v->as.ptr = c->texts.data + (uintptr_t)v->as.ptr;
    }
    *ret = c->samples;
    return n;
}

void mongodb_samples_cursor_close(struct remote_sample_cursor *c)
{
    mongoc_cursor_destroy(c->cursor);
    use_end(&c->use);
    buf_release(&c->texts);
    free(c->samples);
    free(c);
}

int mongodb_samples_last_time(void *self, const struct remote_series *series, int64_t *ret_us,
                              struct error *err)
{
    struct use u;
    const bson_t *found = NULL;
    bson_error_t e;
    mongoc_cursor_t *cursor =
        find_samples(self, &u, series, TIME_US_MIN, TIME_US_MAX, STORAGE_DESCENDING, 1);
    int rc = 0;
    if (mongoc_cursor_next(cursor, &found))
        *ret_us = bson_time_us(found, "timestamp", 0);
    else if (mongoc_cursor_error(cursor, &e))
        rc = mongodb_error(&e, "reading the newest sample", err);
    else
        rc = error_set(err, ERR_NOT_FOUND, "no sample");
    mongoc_cursor_destroy(cursor);
    use_end(&u);
    return rc;
}
