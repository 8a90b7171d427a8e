/* Reading: cursors over a range of one series, the newest time, states.
 *
 * A cursor copies what is in memory when it is made, then reads the database a window at a time:
 * blobs are copied inside a short transaction and decoded outside.  In the database's order spans do
 * not overlap, so a window is a few whole spans, each with its overlays; what memory holds is merged
 * in by time. */
#include "storage/series_store.h"

#include "base/log.h"
#include "base/time.h"

#include <stdlib.h>

enum {
    READERS_IDLE_MAX = 4,
    SAMPLES_PER_NEXT = 4096,
    WINDOW_BYTES_MIN = 64 * 1024, /* the first window; each next is twice as large */
    WINDOW_BYTES_MAX = 2 * 1024 * 1024,
    WINDOW_MS = 50,
};

/* --- readers: a connection and what it needs --- */

enum reader_statement {
    READ_ASCENDING,
    READ_DESCENDING,
    READ_ID,
    READ_LAST,
    READ_STATE,
    READ_COUNT
};

struct series_reader {
    struct series_reader *next;
    sqlite3 *db;
    sqlite3_stmt *sql[READ_COUNT];
    struct chunk_coder *coder;
};

#define SPANS                                                                               \
    "SELECT start, end, id, data FROM chunks WHERE series=?1 AND start<=?3 AND end>=?2 AND" \
    " start>=coalesce((SELECT max(start) FROM chunks WHERE series=?1 AND start<=?2), ?2)"

static const char *const statements[READ_COUNT] = {
    [READ_ASCENDING] = SPANS " ORDER BY start, seq",
    [READ_DESCENDING] = SPANS " ORDER BY start DESC, seq DESC",
    [READ_ID] = "SELECT id FROM series WHERE source=?1 AND canonical=?2",
    [READ_LAST] = ("SELECT max(end) FROM chunks WHERE series=?1 AND"
                   " start=(SELECT max(start) FROM chunks WHERE series=?1)"),
    [READ_STATE] = "SELECT bytes FROM state WHERE source=?1 AND key=?2",
};

static void free_reader(struct series_reader *r)
{
    for (size_t i = 0; i < READ_COUNT; i++)
        sqlite3_finalize(r->sql[i]);
    db_close(r->db);
    chunk_coder_free(r->coder);
    free(r);
}

static int take_reader(struct series_store *ss, struct series_reader **ret, struct error *err)
{
    pthread_mutex_lock(&ss->pool_lock);
    struct series_reader *r = ss->pool;
    if (r) {
        ss->pool = r->next;
        ss->pool_n--;
    }
    pthread_mutex_unlock(&ss->pool_lock);
    if (r) {
        *ret = r;
        return 0;
    }
    r = calloc(1, sizeof *r);
    if (!r)
        return error_set(err, ERR_NOMEM, "no memory for a reader");
    r->coder = chunk_coder_new();
    int rc = r->coder ? db_open_reader(ss->path, &r->db, err)
                      : error_set(err, ERR_NOMEM, "no memory for a reader");
    for (size_t i = 0; i < READ_COUNT && !rc; i++)
        rc = db_prepare(r->db, statements[i], &r->sql[i], err);
    if (rc) {
        free_reader(r);
        return rc;
    }
    *ret = r;
    return 0;
}

static void give_reader(struct series_store *ss, struct series_reader *r)
{
    pthread_mutex_lock(&ss->pool_lock);
    bool keep = ss->pool_n < READERS_IDLE_MAX;
    if (keep) {
        r->next = ss->pool;
        ss->pool = r;
        ss->pool_n++;
    }
    pthread_mutex_unlock(&ss->pool_lock);
    if (!keep)
        free_reader(r);
}

void series_readers_close(struct series_store *ss)
{
    while (ss->pool) {
        struct series_reader *r = ss->pool;
        ss->pool = r->next;
        free_reader(r);
    }
}

static int reader_error(struct series_reader *r, enum reader_statement which, int step,
                        struct error *err)
{
    int rc = db_error(r->db, step, err, "cannot read samples");
    sqlite3_reset(r->sql[which]);
    return rc;
}

/* --- what is in memory --- */

static struct series_head *find_head_locked(struct series_store *ss, struct series *series)
{
    int64_t id = series_token_id(ss, series);
    if (id)
        return (size_t)id < ss->n_heads ? ss->heads[id] : NULL;
    struct buf key = BUF_INIT(SIZE_MAX / 2);
    struct series_head *h = NULL;
    if (!series_identity(series->source, series->canonical, series->canonical_len, &key))
        h = map_get(&ss->by_identity, key.data, key.len);
    buf_release(&key);
    if (h)
        series_set_token(ss, series, h->id);
    return h;
}

/* The id of the series in the database; 0: never written. */
static int find_id(struct series_store *ss, struct series *series, int64_t *ret, struct error *err)
{
    *ret = series_token_id(ss, series);
    if (*ret)
        return 0;
    struct series_reader *r;
    int rc = take_reader(ss, &r, err);
    if (rc)
        return rc;
    sqlite3_stmt *stmt = r->sql[READ_ID];
    sqlite3_bind_text(stmt, 1, series->source, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, series->canonical, (int)series->canonical_len, SQLITE_STATIC);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        *ret = sqlite3_column_int64(stmt, 0);
        series_set_token(ss, series, *ret);
    } else if (step != SQLITE_DONE) {
        rc = reader_error(r, READ_ID, step, err);
    }
    sqlite3_reset(stmt);
    give_reader(ss, r);
    return rc;
}

struct memory {
    struct sample_array samples, scratch;
    struct text_piece *texts;
};

static int copy_samples(struct memory *m, const struct sample *v, size_t n, int64_t lo, int64_t hi)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i].time_us < lo || v[i].time_us > hi)
            continue;
        if (sample_array_reserve(&m->samples, m->samples.n + 1))
            return ERR_NOMEM;
        struct sample *copy = &m->samples.v[m->samples.n];
        *copy = v[i];
        if (copy->value.type >= VALUE_STRING) {
            copy->value.as.ptr = text_keep(&m->texts, v[i].value.as.ptr, v[i].value.len);
            if (!copy->value.as.ptr)
                return ERR_NOMEM;
        }
        m->samples.n++;
    }
    return 0;
}

static int copy_head(struct series_store *ss, struct series *series, int64_t lo, int64_t hi,
                     struct memory *m)
{
    pthread_mutex_lock(&ss->heads_lock);
    const struct series_head *h = find_head_locked(ss, series);
    int rc = 0;
    if (h) {
        size_t from = samples_find(h->old.v, h->old.n, lo);
        rc = copy_samples(m, h->old.v + from, h->old.n - from, lo, hi);
        if (!rc)
            rc = copy_samples(m, h->fresh.v, h->fresh.n, lo, hi);
    }
    pthread_mutex_unlock(&ss->heads_lock);
    return rc;
}

static int copy_block(struct memory *m, const struct sample_block *b, const struct series *series,
                      int64_t lo, int64_t hi)
{
    int rc = 0;
    for (size_t i = 0; i < b->n_runs && !rc; i++)
        if (series_same(b->runs[i].series, series))
            rc = copy_samples(m, b->samples + b->runs[i].first, b->runs[i].n, lo, hi);
    return rc;
}

static void release_blocks(struct sample_block **blocks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sample_block_unref(blocks[i]);
    free(blocks);
}

/* The samples of the queue and the head, in order, each time once. */
static int copy_memory(struct series_store *ss, struct series *series, int64_t lo, int64_t hi,
                       struct memory *m)
{
    struct sample_block **blocks;
    size_t n, dropped;
    int rc = series_queue_snapshot(ss, &blocks, &n);
    if (rc)
        return rc;
    /* The head is looked at later but was written earlier: its samples come first. */
    rc = copy_head(ss, series, lo, hi, m);
    for (size_t i = 0; i < n && !rc; i++)
        rc = copy_block(m, blocks[i], series, lo, hi);
    release_blocks(blocks, n);
    return rc ? rc : samples_sort(&m->samples, &m->scratch, &dropped);
}

/* --- cursors --- */

struct span_part {
    int64_t start, end, id;
    const uint8_t *bytes; /* NULL: an empty span */
    size_t len;
};

struct series_cursor {
    struct storage_sample_cursor base;
    struct series_store *store;
    int64_t id, lo, hi; /* what is still to be read from the database */
    bool descending, read_all;
    size_t window_bytes;

    struct memory memory;
    size_t memory_at;
    struct sample_array merged;

    /* the window */
    struct text_piece *blobs;
    struct span_part *parts;
    size_t parts_n, parts_cap, parts_at;
    int64_t window_lo, window_hi;
    struct sample_array span, scratch; /* the decoded span, in the asked order */
    size_t span_at;
};

static void reverse(struct sample *v, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        struct sample swap = v[i];
        v[i] = v[n - 1 - i];
        v[n - 1 - i] = swap;
    }
}

int series_store_range(struct series_store *ss, struct series *series, int64_t start_us,
                       int64_t end_us, enum storage_order order, struct storage_sample_cursor **ret,
                       struct error *err)
{
    struct series_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, ERR_NOMEM, "no memory for a cursor");
    c->store = ss;
    c->lo = start_us;
    c->hi = end_us;
    c->descending = order == STORAGE_DESCENDING;
    c->window_bytes = WINDOW_BYTES_MIN;
    int rc = 0;
    if (start_us <= end_us && copy_memory(ss, series, start_us, end_us, &c->memory))
        rc = error_set(err, ERR_NOMEM, "no memory for a cursor");
    if (!rc)
        rc = find_id(ss, series, &c->id, err);
    if (rc) {
        series_store_cursor_close(&c->base);
        return rc;
    }
    c->read_all = c->id == 0 || start_us > end_us;
    if (c->descending)
        reverse(c->memory.samples.v, c->memory.samples.n);
    *ret = &c->base;
    return 0;
}

void series_store_cursor_close(struct storage_sample_cursor *cursor)
{
    struct series_cursor *c = (struct series_cursor *)cursor;
    if (!c)
        return;
    free(c->memory.samples.v);
    free(c->memory.scratch.v);
    text_release(&c->memory.texts);
    free(c->merged.v);
    text_release(&c->blobs);
    free(c->parts);
    free(c->span.v);
    free(c->scratch.v);
    free(c);
}

static int add_part(struct series_cursor *c, sqlite3_stmt *stmt, size_t *bytes)
{
    if (c->parts_n == c->parts_cap) {
        size_t cap = c->parts_cap ? c->parts_cap * 2 : 32;
        struct span_part *parts = realloc(c->parts, cap * sizeof *parts);
        if (!parts)
            return ERR_NOMEM;
        c->parts = parts;
        c->parts_cap = cap;
    }
    struct span_part part = {.start = sqlite3_column_int64(stmt, 0),
                             .end = sqlite3_column_int64(stmt, 1),
                             .id = sqlite3_column_int64(stmt, 2)};
    const void *blob = sqlite3_column_blob(stmt, 3);
    if (blob) {
        part.len = (size_t)sqlite3_column_bytes(stmt, 3);
        part.bytes = (const uint8_t *)text_keep(&c->blobs, blob, part.len);
        if (!part.bytes)
            return ERR_NOMEM;
        *bytes += part.len;
    }
    c->parts[c->parts_n++] = part;
    return 0;
}

/* What comes behind the spans of the window just read. */
static void move_on(struct series_cursor *c, bool all)
{
    c->read_all = all || !c->parts_n;
    if (c->read_all)
        return;
    int64_t start = c->parts[c->parts_n - 1].start, end = INT64_MIN;
    for (size_t i = c->parts_n; i-- > 0 && c->parts[i].start == start;)
        end = c->parts[i].end > end ? c->parts[i].end : end;
    if (c->descending ? start == INT64_MIN : end == INT64_MAX)
        c->read_all = true;
    else if (c->descending)
        c->hi = start - 1;
    else
        c->lo = end + 1;
    if (c->lo > c->hi)
        c->read_all = true;
}

static int read_window(struct series_cursor *c, struct series_reader *r, struct error *err)
{
    text_release(&c->blobs);
    c->parts_n = c->parts_at = 0;
    c->window_lo = c->lo;
    c->window_hi = c->hi;
    enum reader_statement which = c->descending ? READ_DESCENDING : READ_ASCENDING;
    sqlite3_stmt *stmt = r->sql[which];
    sqlite3_bind_int64(stmt, 1, c->id);
    sqlite3_bind_int64(stmt, 2, c->lo);
    sqlite3_bind_int64(stmt, 3, c->hi);
    int64_t until = time_monotonic_ms() + WINDOW_MS;
    size_t bytes = 0, most = c->base.window_bytes ? c->base.window_bytes : WINDOW_BYTES_MAX;
    size_t window = c->window_bytes < most ? c->window_bytes : most;
    int step, rc = 0;
    while (!rc && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        bool full = bytes >= window || time_monotonic_ms() >= until;
        if (full && c->parts_n && c->parts[c->parts_n - 1].start != sqlite3_column_int64(stmt, 0))
            break;
        rc = add_part(c, stmt, &bytes);
    }
    if (!rc && step != SQLITE_ROW && step != SQLITE_DONE)
        return reader_error(r, which, step, err);
    sqlite3_reset(stmt);
    if (rc)
        return error_set(err, rc, "no memory to read samples");
    move_on(c, step == SQLITE_DONE);
    if (c->window_bytes < WINDOW_BYTES_MAX)
        c->window_bytes *= 2;
    return 0;
}

/* Tell of a chunk that cannot be read, once. */
static void report_damage(struct series_cursor *c, int64_t chunk)
{
    struct series_store *ss = c->store;
    c->base.incomplete = true;
    size_t i = 0, max = sizeof ss->damaged / sizeof *ss->damaged;
    pthread_mutex_lock(&ss->pool_lock);
    while (i < ss->damaged_n && ss->damaged[i] != chunk)
        i++;
    bool first = i == ss->damaged_n && i < max;
    if (first)
        ss->damaged[ss->damaged_n++] = chunk;
    pthread_mutex_unlock(&ss->pool_lock);
    if (!first)
        return;
    atomic_fetch_add_explicit(&ss->n_damaged, 1, memory_order_relaxed);
    log_error("hyprxa.storage",
              "series.db: chunk %lld of series %lld is damaged; reads leave it out",
              (long long)chunk, (long long)c->id);
}

static int decode_part(struct series_cursor *c, struct series_reader *r,
                       const struct span_part *part, struct error *err)
{
    size_t len, n;
    if (!part->bytes)
        return 0;
    if (sample_array_reserve(&c->span, c->span.n + CHUNK_SAMPLES_MAX))
        return error_set(err, ERR_NOMEM, "no memory to read samples");
    if (chunk_unseal(part->bytes, part->len, &len) ||
        chunk_decode(r->coder, part->bytes, len, c->span.v + c->span.n, &n))
        report_damage(c, part->id);
    else
        c->span.n += n;
    return 0;
}

/* Decode the next span of the window with its overlays into c->span. */
static int decode_span(struct series_cursor *c, struct series_reader *r, struct error *err)
{
    int64_t start = c->parts[c->parts_at].start;
    size_t parts = 0, dropped;
    c->span.n = c->span_at = 0;
    for (; c->parts_at < c->parts_n && c->parts[c->parts_at].start == start; parts++) {
        int rc = decode_part(c, r, &c->parts[c->parts_at++], err);
        if (rc)
            return rc;
    }
    if (parts > 1 && samples_sort(&c->span, &c->scratch, &dropped))
        return error_set(err, ERR_NOMEM, "no memory to read samples");
    size_t from = samples_find(c->span.v, c->span.n, c->window_lo);
    size_t end = c->span.n;
    if (end && c->span.v[end - 1].time_us > c->window_hi)
        end = samples_find(c->span.v, end, c->window_hi + 1);
    if (c->descending)
        reverse(c->span.v + from, end - from);
    c->span_at = from;
    c->span.n = end;
    return 0;
}

static int next_span(struct series_cursor *c, struct error *err)
{
    struct series_reader *r;
    int rc = take_reader(c->store, &r, err);
    if (rc)
        return rc;
    if (c->parts_at == c->parts_n)
        rc = read_window(c, r, err);
    if (!rc && c->parts_at < c->parts_n)
        rc = decode_span(c, r, err);
    give_reader(c->store, r);
    return rc;
}

static bool comes_before(const struct series_cursor *c, const struct sample *a,
                         const struct sample *b)
{
    return c->descending ? a->time_us > b->time_us : a->time_us < b->time_us;
}

static long hand_out(const struct sample *v, size_t *at, size_t n, const struct sample **ret)
{
    n = n < SAMPLES_PER_NEXT ? n : SAMPLES_PER_NEXT;
    *ret = v + *at;
    *at += n;
    return (long)n;
}

/* Both sides have samples and overlap: merge until the span is used up; the database's win. */
static long merge(struct series_cursor *c, const struct sample **ret, struct error *err)
{
    const struct sample_array *memory = &c->memory.samples, *span = &c->span;
    if (sample_array_reserve(&c->merged, SAMPLES_PER_NEXT))
        return error_set(err, ERR_NOMEM, "no memory to merge samples");
    size_t n = 0;
    while (n < SAMPLES_PER_NEXT && c->span_at < span->n) {
        const struct sample *stored = &span->v[c->span_at];
        const struct sample *held = c->memory_at < memory->n ? &memory->v[c->memory_at] : NULL;
        if (held && comes_before(c, held, stored)) {
            c->merged.v[n++] = *held;
            c->memory_at++;
        } else {
            c->memory_at += held && held->time_us == stored->time_us;
            c->merged.v[n++] = *stored;
            c->span_at++;
        }
    }
    *ret = c->merged.v;
    return (long)n;
}

long series_store_next(struct storage_sample_cursor *cursor, const struct sample **ret,
                       struct error *err)
{
    struct series_cursor *c = (struct series_cursor *)cursor;
    while (c->span_at == c->span.n && (c->parts_at < c->parts_n || !c->read_all)) {
        int rc = next_span(c, err);
        if (rc)
            return rc;
    }
    const struct sample_array *memory = &c->memory.samples, *span = &c->span;
    size_t held = memory->n - c->memory_at, stored = span->n - c->span_at;
    if (!held && !stored)
        return 0;
    if (!stored)
        return hand_out(memory->v, &c->memory_at, held, ret);
    if (!held || comes_before(c, &span->v[span->n - 1], &memory->v[c->memory_at]))
        return hand_out(span->v, &c->span_at, stored, ret);
    return merge(c, ret, err);
}

/* --- single values --- */

static int stored_last(struct series_store *ss, struct series *series, bool *ret_any, int64_t *ret,
                       struct error *err)
{
    int64_t id;
    int rc = find_id(ss, series, &id, err);
    if (rc || !id)
        return rc;
    struct series_reader *r;
    rc = take_reader(ss, &r, err);
    if (rc)
        return rc;
    sqlite3_bind_int64(r->sql[READ_LAST], 1, id);
    int step = sqlite3_step(r->sql[READ_LAST]);
    if (step != SQLITE_ROW) {
        rc = reader_error(r, READ_LAST, step, err);
    } else if (sqlite3_column_type(r->sql[READ_LAST], 0) != SQLITE_NULL) {
        *ret_any = true;
        *ret = sqlite3_column_int64(r->sql[READ_LAST], 0);
    }
    sqlite3_reset(r->sql[READ_LAST]);
    give_reader(ss, r);
    return rc;
}

static void queued_last(struct sample_block *const *blocks, size_t n, const struct series *series,
                        bool *any, int64_t *last)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < blocks[i]->n_runs; j++) {
            const struct sample_run *run = &blocks[i]->runs[j];
            if (!run->n || !series_same(run->series, series))
                continue;
            int64_t time = blocks[i]->samples[run->first + run->n - 1].time_us;
            *last = *any && *last > time ? *last : time;
            *any = true;
        }
}

int series_store_last_time(struct series_store *ss, struct series *series, int64_t *ret_us,
                           struct error *err)
{
    struct sample_block **blocks;
    size_t n;
    bool any = false, known = false;
    int64_t last = 0;
    if (series_queue_snapshot(ss, &blocks, &n))
        return error_set(err, ERR_NOMEM, "no memory to look for samples");
    queued_last(blocks, n, series, &any, &last);
    release_blocks(blocks, n);
    pthread_mutex_lock(&ss->heads_lock);
    const struct series_head *h = find_head_locked(ss, series);
    if (h) {
        known = true; /* a head knows of its chunks */
        if (h->has_last && (!any || h->last_time > last))
            last = h->last_time;
        any = any || h->has_last;
    }
    pthread_mutex_unlock(&ss->heads_lock);
    int rc = 0;
    if (!known) {
        bool stored = false;
        int64_t time = 0;
        rc = stored_last(ss, series, &stored, &time, err);
        if (stored && (!any || time > last))
            last = time;
        any = any || stored;
    }
    if (rc)
        return rc;
    if (!any)
        return error_set(err, ERR_NOT_FOUND, "the series has no samples");
    *ret_us = last;
    return 0;
}

static int append_state(struct buf *out, const void *bytes, size_t len, struct error *err)
{
    int rc = buf_append(out, len ? bytes : "", len);
    return rc ? error_set(err, rc, "no room for the state (%zu bytes)", len) : 0;
}

/* 1: appended, 0: not there. */
static int queued_state(struct sample_block *const *blocks, size_t n, const char *source,
                        const char *key, struct buf *out, struct error *err)
{
    for (size_t i = n; i-- > 0;) {
        const struct sample_block *b = blocks[i];
        if (!b->n_states || strcmp(b->source, source) != 0)
            continue;
        for (size_t j = b->n_states; j-- > 0;)
            if (strcmp(b->states[j].key, key) == 0) {
                int rc = append_state(out, b->states[j].bytes, b->states[j].len, err);
                return rc ? rc : 1;
            }
    }
    return 0;
}

static int pending_state(struct series_store *ss, const char *source, const char *key,
                         struct buf *out, struct error *err)
{
    struct buf name = BUF_INIT(SIZE_MAX / 2);
    int rc = series_identity(source, key, strlen(key), &name);
    if (rc) {
        buf_release(&name);
        return error_set(err, rc, "no memory to look for a state");
    }
    pthread_mutex_lock(&ss->heads_lock);
    const struct pending_state *state = map_get(&ss->states, name.data, name.len);
    if (state) {
        rc = append_state(out, state->bytes, state->len, err);
        rc = rc ? rc : 1;
    }
    pthread_mutex_unlock(&ss->heads_lock);
    buf_release(&name);
    return rc;
}

static int stored_state(struct series_store *ss, const char *source, const char *key,
                        struct buf *out, struct error *err)
{
    struct series_reader *r;
    int rc = take_reader(ss, &r, err);
    if (rc)
        return rc;
    sqlite3_stmt *stmt = r->sql[READ_STATE];
    sqlite3_bind_text(stmt, 1, source, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, key, -1, SQLITE_STATIC);
    int step = sqlite3_step(stmt);
    if (step == SQLITE_ROW) {
        const void *bytes = sqlite3_column_blob(stmt, 0);
        rc = append_state(out, bytes, (size_t)sqlite3_column_bytes(stmt, 0), err);
    } else if (step == SQLITE_DONE) {
        rc = error_set(err, ERR_NOT_FOUND, "source '%s' has no state '%s'", source, key);
    } else {
        rc = reader_error(r, READ_STATE, step, err);
    }
    sqlite3_reset(stmt);
    give_reader(ss, r);
    return rc;
}

int series_store_state_get(struct series_store *ss, const char *source, const char *key,
                           struct buf *out, struct error *err)
{
    struct sample_block **blocks;
    size_t n;
    if (series_queue_snapshot(ss, &blocks, &n))
        return error_set(err, ERR_NOMEM, "no memory to look for a state");
    int rc = queued_state(blocks, n, source, key, out, err);
    release_blocks(blocks, n);
    if (!rc)
        rc = pending_state(ss, source, key, out, err);
    if (rc)
        return rc < 0 ? rc : 0;
    return stored_state(ss, source, key, out, err);
}
