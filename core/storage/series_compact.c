/* Chunks in the database: writing, overlays and folding, retention.  All [writer]. */
#include "storage/series_store.h"

#include "base/log.h"
#include "base/time.h"

#include <stdlib.h>

enum {
    SMALL_CHUNK = 256,            /* a chunk below it grows when samples follow */
    PIECE_TEXT_MAX = 1024 * 1024, /* bytes of texts that end a chunk */
    OVERLAYS_MAX = 8,             /* of a span, before they are folded */
    FOLD_SAMPLES = CHUNK_SAMPLES_MAX / 2,
    EXPIRE_CHUNKS = 256, /* a step */
    EXPIRE_SERIES = 64,
};

/* --- looking up --- */

static int read_tail(struct series_store *ss, enum series_statement which, struct series_tail *ret,
                     struct error *err)
{
    sqlite3_stmt *stmt = ss->sql[which];
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return series_sql_error(ss, which, err);
    *ret = (struct series_tail){.any = rc == SQLITE_ROW};
    if (ret->any) {
        ret->id = sqlite3_column_int64(stmt, 0);
        ret->start = sqlite3_column_int64(stmt, 1);
        ret->end = sqlite3_column_int64(stmt, 2);
        ret->n = (size_t)sqlite3_column_int64(stmt, 3);
    }
    sqlite3_reset(stmt);
    return 0;
}

int series_load_tail(struct series_store *ss, int64_t id, struct series_tail *ret,
                     struct error *err)
{
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_TAIL], 1, id);
    return read_tail(ss, SQL_CHUNK_TAIL, ret, err);
}

/* The last span that starts at or before `time_us`. */
static int span_at(struct series_store *ss, int64_t series, int64_t time_us,
                   struct series_tail *ret, struct error *err)
{
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_AT], 1, series);
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_AT], 2, time_us);
    return read_tail(ss, SQL_CHUNK_AT, ret, err);
}

/* Where the first span after `time_us` starts, INT64_MAX if there is none. */
static int span_after(struct series_store *ss, int64_t series, int64_t time_us, int64_t *ret,
                      struct error *err)
{
    sqlite3_stmt *stmt = ss->sql[SQL_CHUNK_AFTER];
    sqlite3_bind_int64(stmt, 1, series);
    sqlite3_bind_int64(stmt, 2, time_us);
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        return series_sql_error(ss, SQL_CHUNK_AFTER, err);
    *ret = sqlite3_column_type(stmt, 0) == SQLITE_NULL ? INT64_MAX : sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return 0;
}

/* Keep the bytes of a chunk that cannot be read apart.  Its row stays as an empty span: overlays may
 * rely on it. */
static int set_aside(struct series_store *ss, int64_t series, int64_t id, struct error *err)
{
    atomic_fetch_add_explicit(&ss->n_damaged, 1, memory_order_relaxed);
    log_error("hyprxa.storage", "series.db: chunk %lld of series %lld is damaged; set aside",
              (long long)id, (long long)series);
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_ASIDE], 1, time_now_us());
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_ASIDE], 2, id);
    int rc = db_run(ss->sql[SQL_CHUNK_ASIDE], err);
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_BLANK], 1, id);
    return rc ? rc : db_run(ss->sql[SQL_CHUNK_BLANK], err);
}

/* Append the samples of a row to ss->group, texts to ss->group_texts. */
static int add_row(struct series_store *ss, sqlite3_stmt *stmt, bool *ret_damaged)
{
    size_t len = (size_t)sqlite3_column_bytes(stmt, 1), n;
    const void *blob = sqlite3_column_blob(stmt, 1);
    *ret_damaged = false;
    if (!blob) /* an empty span */
        return 0;
    if (chunk_unseal(blob, len, &len)) {
        *ret_damaged = true;
        return 0;
    }
    const char *copy = text_keep(&ss->group_texts, blob, len + CODEC_PAD);
    if (!copy || sample_array_reserve(&ss->group, ss->group.n + CHUNK_SAMPLES_MAX))
        return ERR_NOMEM;
    if (chunk_decode(ss->coder, (const uint8_t *)copy, len, ss->group.v + ss->group.n, &n))
        *ret_damaged = true;
    else
        ss->group.n += n;
    return 0;
}

static void forget_group(struct series_store *ss)
{
    ss->group.n = 0;
    text_release(&ss->group_texts);
}

/* Read the chunks of a span (with `overlays` or its first only) into ss->group, not sorted. */
static int load_group(struct series_store *ss, int64_t series, int64_t start, bool overlays,
                      struct error *err)
{
    int64_t damaged[OVERLAYS_MAX + 1];
    size_t n_damaged = 0;
    forget_group(ss);
    sqlite3_stmt *stmt = ss->sql[SQL_GROUP];
    sqlite3_bind_int64(stmt, 1, series);
    sqlite3_bind_int64(stmt, 2, start);
    int step = 0, rc = 0;
    while (!rc && (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        bool bad;
        rc = add_row(ss, stmt, &bad);
        if (!rc && bad && n_damaged < OVERLAYS_MAX + 1)
            damaged[n_damaged++] = sqlite3_column_int64(stmt, 0);
        if (!overlays) {
            step = SQLITE_DONE;
            break;
        }
    }
    if (rc)
        error_set(err, rc, "no memory to read a chunk");
    else if (step != SQLITE_DONE)
        return series_sql_error(ss, SQL_GROUP, err);
    sqlite3_reset(stmt);
    for (size_t i = 0; i < n_damaged && !rc; i++)
        rc = set_aside(ss, series, damaged[i], err);
    return rc;
}

/* --- writing --- */

static int insert_chunk(struct series_store *ss, int64_t series, int64_t start, int64_t seq,
                        const struct sample *s, size_t n, struct error *err)
{
    buf_clear(&ss->chunk);
    if (chunk_encode(ss->coder, s, n, &ss->chunk) || chunk_seal(&ss->chunk, 0))
        return error_set(err, ERR_NOMEM, "no memory for a chunk");
    sqlite3_stmt *stmt = ss->sql[SQL_CHUNK_ADD];
    sqlite3_bind_int64(stmt, 1, series);
    sqlite3_bind_int64(stmt, 2, start);
    sqlite3_bind_int64(stmt, 3, seq);
    sqlite3_bind_int64(stmt, 4, s[n - 1].time_us);
    sqlite3_bind_int64(stmt, 5, (int64_t)n);
    sqlite3_bind_blob64(stmt, 6, ss->chunk.data, ss->chunk.len, SQLITE_STATIC);
    int rc = db_run(stmt, err);
    if (!rc)
        atomic_fetch_add_explicit(&ss->n_chunks, 1, memory_order_relaxed);
    return rc;
}

/* How many of the samples make the next chunk: equal parts, and not too many bytes of text. */
static size_t piece_of(const struct sample *s, size_t n, size_t max)
{
    size_t pieces = (n + max - 1) / max, len = (n + pieces - 1) / pieces, text = 0;
    for (size_t i = 0; i < len; i++) {
        text += s[i].value.type >= VALUE_STRING ? s[i].value.len : 0;
        if (text > PIECE_TEXT_MAX)
            return i ? i : 1;
    }
    return len;
}

/* Write samples that lie in a gap between spans (or behind the last) as spans of their own. */
static int insert_spans(struct series_store *ss, struct series_head *h, const struct sample *s,
                        size_t n, size_t max, struct error *err)
{
    for (size_t at = 0, len; at < n; at += len) {
        len = piece_of(s + at, n - at, max);
        int rc = insert_chunk(ss, h->id, s[at].time_us, 0, s + at, len, err);
        if (rc)
            return rc;
        int64_t end = s[at + len - 1].time_us;
        if (!h->planned_tail.any || end >= h->planned_tail.end)
            h->planned_tail = (struct series_tail){true, sqlite3_last_insert_rowid(ss->db),
                                                   s[at].time_us, end, len};
    }
    return 0;
}

static int drop_chunk(struct series_store *ss, int64_t id, struct error *err)
{
    sqlite3_bind_int64(ss->sql[SQL_CHUNK_DROP], 1, id);
    return db_run(ss->sql[SQL_CHUNK_DROP], err);
}

static size_t text_of(const struct sample *s, size_t n)
{
    size_t text = 0;
    for (size_t i = 0; i < n; i++)
        text += s[i].value.type >= VALUE_STRING ? s[i].value.len : 0;
    return text;
}

/* How many of v, which rises in time, are not after `end`. */
static size_t count_until(const struct sample *v, size_t n, int64_t end)
{
    return end == INT64_MAX ? n : samples_find(v, n, end + 1);
}

/* As insert_spans(), but a few samples behind a small span are joined with it. */
static int put_in_gap(struct series_store *ss, struct series_head *h,
                      const struct series_tail *before, const struct sample *s, size_t n,
                      struct error *err)
{
    /* A chunk that lasts long would keep old samples from being dropped. */
    bool long_lasting = ss->options.expire_after_us > 0 && before->any &&
                        (uint64_t)s[n - 1].time_us - (uint64_t)before->start >
                            (uint64_t)ss->options.expire_after_us / 8;
    if (!before->any || before->n >= SMALL_CHUNK || n >= SMALL_CHUNK || long_lasting)
        return insert_spans(ss, h, s, n, CHUNK_SAMPLES_MAX, err);
    int rc = load_group(ss, h->id, before->start, false, err);
    /* The joined must be one chunk: overlays rely on its start and end. */
    if (!rc &&
        (ss->group.n == 0 || text_of(ss->group.v, ss->group.n) + text_of(s, n) > PIECE_TEXT_MAX))
        rc = insert_spans(ss, h, s, n, CHUNK_SAMPLES_MAX, err);
    else if (!rc && sample_array_reserve(&ss->group, ss->group.n + n))
        rc = error_set(err, ERR_NOMEM, "no memory to join chunks");
    else if (!rc) {
        memcpy(ss->group.v + ss->group.n, s, n * sizeof *s);
        ss->group.n += n;
        rc = drop_chunk(ss, before->id, err);
        if (!rc)
            rc = insert_spans(ss, h, ss->group.v, ss->group.n, CHUNK_SAMPLES_MAX, err);
    }
    forget_group(ss);
    return rc;
}

/* Chunks and samples of the span that starts at `start`. */
static int group_size(struct series_store *ss, int64_t series, int64_t start, int64_t *ret_top,
                      size_t *ret_overlaid, struct error *err)
{
    sqlite3_stmt *stmt = ss->sql[SQL_GROUP_SIZE];
    sqlite3_bind_int64(stmt, 1, series);
    sqlite3_bind_int64(stmt, 2, start);
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return series_sql_error(ss, SQL_GROUP_SIZE, err);
    *ret_top = sqlite3_column_int64(stmt, 0);
    *ret_overlaid = (size_t)sqlite3_column_int64(stmt, 1);
    sqlite3_reset(stmt);
    return 0;
}

/* Write the span anew, with its overlays and the samples `s`. */
static int fold(struct series_store *ss, struct series_head *h, const struct series_tail *span,
                const struct sample *s, size_t n, struct error *err)
{
    size_t doubled;
    int rc = load_group(ss, h->id, span->start, true, err);
    if (!rc && sample_array_reserve(&ss->group, ss->group.n + n))
        rc = error_set(err, ERR_NOMEM, "no memory to fold chunks");
    if (!rc) {
        memcpy(ss->group.v + ss->group.n, s, n * sizeof *s);
        ss->group.n += n;
        if (samples_sort(&ss->group, &ss->sorted, &doubled))
            rc = error_set(err, ERR_NOMEM, "no memory to fold chunks");
    }
    if (!rc) {
        sqlite3_bind_int64(ss->sql[SQL_GROUP_DROP], 1, h->id);
        sqlite3_bind_int64(ss->sql[SQL_GROUP_DROP], 2, span->start);
        rc = db_run(ss->sql[SQL_GROUP_DROP], err);
    }
    if (!rc && h->planned_tail.any && h->planned_tail.start == span->start)
        h->planned_tail = (struct series_tail){0};
    if (!rc)
        rc = insert_spans(ss, h, ss->group.v, ss->group.n, FOLD_SAMPLES, err);
    forget_group(ss);
    return rc;
}

/* Samples that lie in a span, none of them stored: an overlay, or the span is folded. */
static int put_in_span(struct series_store *ss, struct series_head *h,
                       const struct series_tail *span, const struct sample *s, size_t n,
                       struct error *err)
{
    int64_t top = 0;
    size_t overlaid = 0;
    int rc = group_size(ss, h->id, span->start, &top, &overlaid, err);
    if (rc)
        return rc;
    if (top >= OVERLAYS_MAX || overlaid + n >= FOLD_SAMPLES || text_of(s, n) > PIECE_TEXT_MAX)
        return fold(ss, h, span, s, n, err);
    return insert_chunk(ss, h->id, span->start, top + 1, s, n, err);
}

/* Samples not after the last span: each into the span or the gap where it belongs. */
static int put_late(struct series_store *ss, struct series_head *h, const struct sample *s,
                    size_t n, struct error *err)
{
    for (size_t at = 0, len; at < n; at += len) {
        struct series_tail span;
        int rc = span_at(ss, h->id, s[at].time_us, &span, err);
        if (rc)
            return rc;
        if (span.any && span.end >= s[at].time_us) {
            len = count_until(s + at, n - at, span.end);
            rc = put_in_span(ss, h, &span, s + at, len, err);
        } else {
            int64_t next = INT64_MAX;
            rc = span_after(ss, h->id, s[at].time_us, &next, err);
            if (rc)
                return rc;
            len = samples_find(s + at, n - at, next);
            rc = put_in_gap(ss, h, &span, s + at, len, err);
        }
        if (rc)
            return rc;
    }
    return 0;
}

int series_put_chunks(struct series_store *ss, struct series_head *h, const struct sample *s,
                      size_t n, struct error *err)
{
    h->planned_tail = h->tail;
    size_t late = 0;
    if (h->tail.any && n && s[0].time_us <= h->tail.end) {
        late = count_until(s, n, h->tail.end);
        int rc = put_late(ss, h, s, late, err);
        /* What was folded or set aside may have been the last span. */
        if (!rc)
            rc = series_load_tail(ss, h->id, &h->planned_tail, err);
        if (rc)
            return rc;
    }
    return late == n ? 0 : put_in_gap(ss, h, &h->planned_tail, s + late, n - late, err);
}

/* --- what is stored already --- */

int series_drop_stored(struct series_store *ss, const struct series_head *h, struct sample *v,
                       size_t *n, struct error *err)
{
    size_t kept = 0, at = 0;
    int rc = 0;
    while (at < *n && h->tail.any && v[at].time_us <= h->tail.end && !rc) {
        struct series_tail span;
        rc = span_at(ss, h->id, v[at].time_us, &span, err);
        if (rc)
            break;
        if (!span.any || span.end < v[at].time_us) {
            v[kept++] = v[at++];
            continue;
        }
        size_t doubled;
        rc = load_group(ss, h->id, span.start, true, err);
        if (!rc && samples_sort(&ss->group, &ss->sorted, &doubled))
            rc = error_set(err, ERR_NOMEM, "no memory to sort samples");
        for (size_t i = 0; !rc && at < *n && v[at].time_us <= span.end; at++) {
            while (i < ss->group.n && ss->group.v[i].time_us < v[at].time_us)
                i++;
            if (i == ss->group.n || ss->group.v[i].time_us != v[at].time_us)
                v[kept++] = v[at];
        }
    }
    forget_group(ss);
    if (rc)
        return rc;
    memmove(v + kept, v + at, (*n - at) * sizeof *v);
    *n -= at - kept;
    return 0;
}

/* --- retention --- */

/* Drop chunks of one series that end before `before`, overlays before what they lie on. */
static int expire_series(struct series_store *ss, int64_t series, int64_t before, size_t *budget,
                         size_t *samples, struct error *err)
{
    int64_t ids[EXPIRE_CHUNKS];
    size_t n = 0;
    sqlite3_stmt *stmt = ss->sql[SQL_EXPIRED];
    sqlite3_bind_int64(stmt, 1, series);
    sqlite3_bind_int64(stmt, 2, before);
    sqlite3_bind_int64(stmt, 3, (int64_t)*budget);
    int step;
    while ((step = sqlite3_step(stmt)) == SQLITE_ROW && n < EXPIRE_CHUNKS) {
        ids[n++] = sqlite3_column_int64(stmt, 0);
        *samples += (size_t)sqlite3_column_int64(stmt, 1);
    }
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return series_sql_error(ss, SQL_EXPIRED, err);
    sqlite3_reset(stmt);
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = drop_chunk(ss, ids[i], err);
    *budget -= n;
    return rc;
}

/* After chunks went, a head must not point at one that is gone. */
static int refresh_head(struct series_store *ss, int64_t series, struct error *err)
{
    struct series_head *h = (size_t)series < ss->n_heads ? ss->heads[series] : NULL;
    if (!h)
        return 0;
    struct series_tail tail;
    int rc = series_load_tail(ss, series, &tail, err);
    if (rc)
        return rc;
    h->tail = tail;
    if (!tail.any && !h->old.n && !h->fresh.n) {
        pthread_mutex_lock(&ss->heads_lock);
        h->has_last = false;
        pthread_mutex_unlock(&ss->heads_lock);
    }
    return 0;
}

static int next_series(struct series_store *ss, int64_t after, int64_t *ret, struct error *err)
{
    sqlite3_stmt *stmt = ss->sql[SQL_NEXT_SERIES];
    sqlite3_bind_int64(stmt, 1, after);
    if (sqlite3_step(stmt) != SQLITE_ROW)
        return series_sql_error(ss, SQL_NEXT_SERIES, err);
    *ret = sqlite3_column_int64(stmt, 0); /* NULL, no further series: 0 */
    sqlite3_reset(stmt);
    return 0;
}

/* One short transaction.  *ret_more: the round over all series is not done. */
int series_expire_step(struct series_store *ss, bool *ret_more, struct error *err)
{
    int64_t before = time_now_us() - ss->options.expire_after_us;
    size_t budget = EXPIRE_CHUNKS;
    int64_t touched[EXPIRE_SERIES], series = ss->expire_series;
    size_t n = 0, samples = 0;
    bool more = true;
    int rc = db_run(ss->sql[SQL_BEGIN], err);
    if (rc)
        return rc;
    while (!rc && more && budget && n < EXPIRE_SERIES) {
        int64_t next = 0;
        rc = next_series(ss, series, &next, err);
        more = next != 0;
        if (rc || !more)
            break;
        size_t had = budget;
        rc = expire_series(ss, next, before, &budget, &samples, err);
        if (budget != had)
            touched[n++] = next;
        /* With the budget used up this series may have more: it is the next step's first. */
        series = budget ? next : next - 1;
    }
    if (!rc)
        rc = db_run(ss->sql[SQL_COMMIT], err);
    if (rc) {
        if (!sqlite3_get_autocommit(ss->db))
            db_run(ss->sql[SQL_ROLLBACK], NULL);
        return rc;
    }
    ss->expire_series = more ? series : 0;
    *ret_more = more;
    for (size_t i = 0; i < n && !rc; i++)
        rc = refresh_head(ss, touched[i], err);
    /* Counted when no reader sees them any more. */
    atomic_fetch_add_explicit(&ss->n_expired, samples, memory_order_release);
    return rc;
}
