/* The flush: one transaction with a log row, chunks and states; and reading the log at open.
 *
 * A log row is: u8 version, then for each series varint id, varint length, the samples as
 * chunk_encode() writes them; a checksum.  A row is dropped when no series has samples of it left
 * that are not in chunks.  Until then the table `marks` says up to which row the samples of a series
 * went to chunks: they are not read again. */
#include "storage/series_store.h"

#include "base/log.h"
#include "base/time.h"

#include <stdlib.h>

enum {
    LOG_VERSION = 1,
    ROW_BYTES_MAX = 4 * 1024 * 1024, /* then another row begins */
    HEAD_TEXT_MAX = 256 * 1024,      /* bytes of texts that make a chunk */
    AGED_MAX = 1024,                 /* series made chunks because of age in one flush */
};

/* --- rows --- */

static int remember_row(struct series_store *ss, int64_t seq, size_t bytes)
{
    if (ss->rows_n == ss->rows_cap) {
        size_t cap = ss->rows_cap ? ss->rows_cap * 2 : 64;
        struct log_row *rows = malloc(cap * sizeof *rows);
        if (!rows)
            return ERR_NOMEM;
        for (size_t i = 0; i < ss->rows_n; i++)
            rows[i] = ss->rows[(ss->rows_first + i) % ss->rows_cap];
        free(ss->rows);
        ss->rows = rows;
        ss->rows_first = 0;
        ss->rows_cap = cap;
    }
    ss->rows[(ss->rows_first + ss->rows_n++) % ss->rows_cap] = (struct log_row){seq, bytes};
    ss->log_bytes += bytes;
    return 0;
}

static void forget_rows(struct series_store *ss, int64_t before)
{
    while (ss->rows_n && ss->rows[ss->rows_first].seq < before) {
        ss->log_bytes -= ss->rows[ss->rows_first].bytes;
        ss->rows_first = (ss->rows_first + 1) % ss->rows_cap;
        ss->rows_n--;
    }
}

/* --- the list of heads with samples in the log --- */

static void list_append(struct series_store *ss, struct series_head *h)
{
    h->older = ss->newest;
    h->newer = NULL;
    *(ss->newest ? &ss->newest->newer : &ss->oldest) = h;
    ss->newest = h;
}

static void list_remove(struct series_store *ss, struct series_head *h)
{
    *(h->older ? &h->older->newer : &ss->oldest) = h->newer;
    *(h->newer ? &h->newer->older : &ss->newest) = h->older;
    h->older = h->newer = NULL;
}

/* --- what goes where --- */

static bool head_is_due(const struct series_store *ss, const struct series_head *h, int64_t now_ms)
{
    return h &&
           (now_ms - h->logged_at_ms >= ss->tuning.chunk_after_ms ||
            ss->log_bytes > ss->tuning.log_bytes_max || ss->head_bytes > ss->tuning.head_bytes_max);
}

bool series_chunks_due(const struct series_store *ss, int64_t now_ms)
{
    return head_is_due(ss, ss->oldest, now_ms);
}

/* A flush that finds half a chunk writes it at once; less waits in the log for more. */
static bool makes_chunk(const struct series_store *ss, const struct series_head *h)
{
    size_t enough = ss->tuning.chunk_samples;
    return h->fresh.n >= (enough + 1) / 2 || h->old.n + h->fresh.n >= enough ||
           h->text_bytes > HEAD_TEXT_MAX;
}

static int plan(struct series_store *ss, int64_t now_ms, struct error *err)
{
    ss->chunking.n = 0;
    for (size_t i = 0; i < ss->dirty.n; i++) {
        struct series_head *h = ss->dirty.v[i];
        int rc = series_head_normalise(ss, h, err);
        if (rc)
            return rc;
        h->plan = !h->fresh.n ? PLAN_NONE : makes_chunk(ss, h) ? PLAN_CHUNK : PLAN_LOG;
        if (h->plan == PLAN_CHUNK && head_list_add(&ss->chunking, h))
            return error_set(err, ERR_NOMEM, "no memory to flush samples");
    }
    struct series_head *h = ss->oldest;
    for (size_t n = 0; n < AGED_MAX && head_is_due(ss, h, now_ms); h = h->newer) {
        if (h->plan == PLAN_CHUNK)
            continue;
        h->plan = PLAN_CHUNK;
        n++;
        if (head_list_add(&ss->chunking, h))
            return error_set(err, ERR_NOMEM, "no memory to flush samples");
    }
    return 0;
}

static void forget_plan(struct series_store *ss)
{
    for (size_t i = 0; i < ss->dirty.n; i++)
        ss->dirty.v[i]->plan = PLAN_NONE;
    for (size_t i = 0; i < ss->chunking.n; i++)
        ss->chunking.v[i]->plan = PLAN_NONE;
}

/* --- writing --- */

static int save_series(struct series_store *ss, const struct series_head *h, struct error *err)
{
    sqlite3_stmt *stmt = ss->sql[SQL_SERIES_ADD];
    sqlite3_bind_int64(stmt, 1, h->id);
    sqlite3_bind_text(stmt, 2, h->identity, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, h->identity + h->source_len + 1, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, h->hash);
    return db_run(stmt, err);
}

/* Both parts of a head in one rising run. */
static int gather(struct series_store *ss, const struct series_head *h, const struct sample **ret,
                  size_t *ret_n, struct error *err)
{
    const struct sample_array *only = !h->old.n ? &h->fresh : !h->fresh.n ? &h->old : NULL;
    if (only) {
        *ret = only->v;
        *ret_n = only->n;
        return 0;
    }
    struct sample_array *all = &ss->gathered;
    size_t none;
    if (sample_array_reserve(all, h->old.n + h->fresh.n))
        return error_set(err, ERR_NOMEM, "no memory to gather samples");
    memcpy(all->v, h->old.v, h->old.n * sizeof *all->v);
    memcpy(all->v + h->old.n, h->fresh.v, h->fresh.n * sizeof *all->v);
    all->n = h->old.n + h->fresh.n;
    if (samples_sort(all, &ss->sorted, &none))
        return error_set(err, ERR_NOMEM, "no memory to gather samples");
    *ret = all->v;
    *ret_n = all->n;
    return 0;
}

static int write_chunks(struct series_store *ss, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < ss->chunking.n && !rc; i++) {
        struct series_head *h = ss->chunking.v[i];
        const struct sample *samples = NULL;
        size_t n = 0;
        rc = gather(ss, h, &samples, &n, err);
        if (!rc)
            rc = series_put_chunks(ss, h, samples, n, err);
        if (!rc && h->log_row) {
            sqlite3_bind_int64(ss->sql[SQL_MARK], 1, h->id);
            sqlite3_bind_int64(ss->sql[SQL_MARK], 2, ss->next_row - 1);
            rc = db_run(ss->sql[SQL_MARK], err);
        }
    }
    return rc;
}

/* End the row being built, if it holds anything, and write it as number *seq. */
static int write_row(struct series_store *ss, int64_t *seq, struct error *err)
{
    if (!ss->row.len)
        return 0;
    if (chunk_seal(&ss->row, 0))
        return error_set(err, ERR_NOMEM, "no memory for a log row");
    sqlite3_stmt *stmt = ss->sql[SQL_LOG_ADD];
    sqlite3_bind_int64(stmt, 1, *seq);
    sqlite3_bind_int64(stmt, 2, time_now_us());
    sqlite3_bind_blob64(stmt, 3, ss->row.data, ss->row.len, SQLITE_STATIC);
    int rc = db_run(stmt, err);
    if (!rc && remember_row(ss, *seq, ss->row.len))
        rc = error_set(err, ERR_NOMEM, "no memory for a log row");
    buf_clear(&ss->row);
    *seq += !rc;
    return rc;
}

static int write_log(struct series_store *ss, int64_t *seq, struct error *err)
{
    buf_clear(&ss->row);
    for (size_t i = 0; i < ss->dirty.n; i++) {
        struct series_head *h = ss->dirty.v[i];
        if (h->plan != PLAN_LOG)
            continue;
        buf_clear(&ss->chunk);
        if (!ss->row.len)
            codec_put_u8(&ss->row, LOG_VERSION);
        h->planned_row = *seq;
        if (chunk_encode(ss->coder, h->fresh.v, h->fresh.n, &ss->chunk) ||
            codec_put_varint(&ss->row, (uint64_t)h->id) ||
            codec_put_varint(&ss->row, ss->chunk.len) ||
            buf_append(&ss->row, ss->chunk.data, ss->chunk.len))
            return error_set(err, ERR_NOMEM, "no memory for a log row");
        if (ss->row.len > ROW_BYTES_MAX) {
            int rc = write_row(ss, seq, err);
            if (rc)
                return rc;
        }
    }
    return write_row(ss, seq, err);
}

/* The oldest row that is still needed when the plan is carried out; `next` if none is. */
static int64_t oldest_needed(const struct series_store *ss, int64_t next)
{
    for (const struct series_head *h = ss->oldest; h; h = h->newer)
        if (h->plan != PLAN_CHUNK)
            return h->log_row;
    for (size_t i = 0; i < ss->dirty.n; i++)
        if (ss->dirty.v[i]->plan == PLAN_LOG)
            return ss->dirty.v[i]->planned_row;
    return next;
}

static int drop_rows(struct series_store *ss, int64_t before, struct error *err)
{
    if (!ss->rows_n || ss->rows[ss->rows_first].seq >= before)
        return 0;
    sqlite3_bind_int64(ss->sql[SQL_LOG_DROP], 1, before);
    sqlite3_bind_int64(ss->sql[SQL_MARKS_DROP], 1, before);
    int rc = db_run(ss->sql[SQL_LOG_DROP], err);
    return rc ? rc : db_run(ss->sql[SQL_MARKS_DROP], err);
}

static int save_states(struct series_store *ss, struct error *err)
{
    int rc = 0;
    for (struct map_entry *e = map_next(&ss->states, NULL); e && !rc;
         e = map_next(&ss->states, e)) {
        const struct pending_state *state = e->value;
        sqlite3_stmt *stmt = ss->sql[SQL_STATE_PUT];
        sqlite3_bind_text(stmt, 1, e->key, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, e->key + strlen(e->key) + 1, -1, SQLITE_STATIC);
        sqlite3_bind_blob64(stmt, 3, state->bytes, state->len, SQLITE_STATIC);
        rc = db_run(stmt, err);
    }
    return rc;
}

/* --- after the commit --- */

static void empty_head(struct series_store *ss, struct series_head *h)
{
    if (h->log_row) {
        list_remove(ss, h);
        h->log_row = 0;
    }
    ss->head_bytes -= h->old.n * sizeof *h->old.v + h->text_bytes;
    h->text_bytes = 0;
    h->old.n = h->fresh.n = 0;
    text_release(&h->texts);
    h->tail = h->planned_tail;
}

/* Room in `old` for what a flush will move there: taken before the commit, which cannot fail after. */
static int reserve_old(struct series_store *ss, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&ss->heads_lock);
    for (size_t i = 0; i < ss->dirty.n && !rc; i++) {
        struct series_head *h = ss->dirty.v[i];
        if (h->plan != PLAN_LOG || !h->old.n)
            continue;
        rc = sample_array_reserve(&h->old, h->old.n + h->fresh.n);
    }
    pthread_mutex_unlock(&ss->heads_lock);
    return rc ? error_set(err, rc, "no memory to flush samples") : 0;
}

/* Move `fresh` behind (or, when late, among) `old`. */
static void age_samples(struct series_head *h)
{
    if (!h->old.n) {
        struct sample_array swap = h->old;
        h->old = h->fresh;
        h->fresh = swap;
        h->fresh.n = 0;
        return;
    }
    struct sample *to = h->old.v;
    size_t i = h->old.n, j = h->fresh.n;
    h->old.n += h->fresh.n;
    h->fresh.n = 0;
    /* From the end, in place; the times of both are distinct. */
    for (size_t at = h->old.n; j > 0;) {
        const struct sample *from = h->fresh.v;
        bool late = i > 0 && to[i - 1].time_us > from[j - 1].time_us;
        at--;
        to[at] = late ? to[--i] : from[--j];
    }
}

static void carry_out(struct series_store *ss, int64_t now_ms)
{
    size_t stored = 0;
    pthread_mutex_lock(&ss->heads_lock);
    for (size_t i = 0; i < ss->dirty.n; i++) {
        struct series_head *h = ss->dirty.v[i];
        h->dirty = false;
        stored += h->fresh.n;
        free(h->identity);
        h->identity = NULL;
        if (h->plan != PLAN_LOG)
            continue;
        h->plan = PLAN_NONE;
        ss->head_bytes += h->fresh.n * sizeof *h->fresh.v;
        age_samples(h);
        if (!h->log_row) {
            h->log_row = h->planned_row;
            h->logged_at_ms = now_ms;
            list_append(ss, h);
        }
    }
    for (size_t i = 0; i < ss->chunking.n; i++) {
        ss->chunking.v[i]->plan = PLAN_NONE;
        empty_head(ss, ss->chunking.v[i]);
    }
    map_release(&ss->states, free);
    map_init(&ss->states);
    pthread_mutex_unlock(&ss->heads_lock);
    ss->dirty.n = ss->chunking.n = 0;
    atomic_fetch_add_explicit(&ss->n_stored, stored, memory_order_relaxed);
}

/* --- the transaction --- */

static int write_all(struct series_store *ss, int64_t *ret_next_row, int64_t *ret_needed,
                     struct error *err)
{
    int64_t seq = ss->next_row;
    int rc = plan(ss, time_monotonic_ms(), err);
    for (size_t i = 0; i < ss->dirty.n && !rc; i++)
        if (ss->dirty.v[i]->identity)
            rc = save_series(ss, ss->dirty.v[i], err);
    if (!rc)
        rc = write_chunks(ss, err);
    if (!rc)
        rc = write_log(ss, &seq, err);
    if (!rc)
        rc = reserve_old(ss, err);
    if (!rc)
        rc = save_states(ss, err);
    *ret_needed = oldest_needed(ss, seq);
    if (!rc)
        rc = drop_rows(ss, *ret_needed, err);
    *ret_next_row = seq;
    return rc;
}

int series_commit(struct series_store *ss, struct error *err)
{
    if (!ss->dirty.n && !ss->states.n && !series_chunks_due(ss, time_monotonic_ms()))
        return 0;
    size_t had_rows = ss->rows_n, had_bytes = ss->log_bytes;
    unsigned long long had_chunks = atomic_load(&ss->n_chunks);
    int64_t next_row = ss->next_row, needed = 0;
    int rc = db_run(ss->sql[SQL_BEGIN], err);
    if (!rc)
        rc = write_all(ss, &next_row, &needed, err);
    if (!rc)
        rc = db_run(ss->sql[SQL_COMMIT], err);
    if (rc) {
        if (!sqlite3_get_autocommit(ss->db))
            db_run(ss->sql[SQL_ROLLBACK], NULL);
        forget_plan(ss);
        ss->rows_n = had_rows;
        ss->log_bytes = had_bytes;
        atomic_store(&ss->n_chunks, had_chunks);
        return rc;
    }
    atomic_fetch_add_explicit(&ss->n_rows, (unsigned long long)(next_row - ss->next_row),
                              memory_order_relaxed);
    ss->next_row = next_row;
    carry_out(ss, time_monotonic_ms());
    forget_rows(ss, needed);
    return 0;
}

/* --- recovery --- */

struct recovery {
    struct series_store *ss;
    int64_t seq, age_ms;
    sqlite3_stmt *mark;
    struct sample *samples; /* CHUNK_SAMPLES_MAX */
};

/* The head of a series that the log names.  *ret NULL: the series has no row, its samples no owner. */
static int recovered_head(struct series_store *ss, int64_t id, struct series_head **ret,
                          struct error *err)
{
    *ret = (size_t)id < ss->n_heads ? ss->heads[id] : NULL;
    if (*ret)
        return 0;
    sqlite3_stmt *stmt = ss->sql[SQL_SERIES_IDENTITY];
    sqlite3_bind_int64(stmt, 1, id);
    int step = sqlite3_step(stmt);
    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return series_sql_error(ss, SQL_SERIES_IDENTITY, err);
    int rc = 0;
    if (step == SQLITE_ROW) {
        struct buf identity = BUF_INIT(SIZE_MAX / 2);
        if (series_identity((const char *)sqlite3_column_text(stmt, 0),
                            (const char *)sqlite3_column_text(stmt, 1),
                            (size_t)sqlite3_column_bytes(stmt, 1), &identity))
            rc = error_set(err, ERR_NOMEM, "out of memory for a series");
        else if (!(*ret = series_head_add(ss, id, &identity, err)))
            rc = err->code;
        buf_release(&identity);
    }
    sqlite3_reset(stmt);
    return rc;
}

static int take_recovered(struct recovery *r, struct series_head *h, size_t n, struct error *err)
{
    struct series_store *ss = r->ss;
    if (sample_array_reserve(&h->old, h->old.n + n))
        return error_set(err, ERR_NOMEM, "no memory to read the log");
    ss->head_bytes += n * sizeof *h->old.v;
    for (size_t i = 0; i < n; i++) {
        struct sample *s = &h->old.v[h->old.n + i];
        *s = r->samples[i];
        if (s->value.type < VALUE_STRING)
            continue;
        char *copy = text_keep(&h->texts, s->value.as.ptr, s->value.len);
        if (!copy)
            return error_set(err, ERR_NOMEM, "no memory to read the log");
        s->value.as.ptr = copy;
        h->text_bytes += s->value.len;
        ss->head_bytes += s->value.len;
    }
    bool late = h->old.n && h->old.v[h->old.n].time_us <= h->old.v[h->old.n - 1].time_us;
    h->old.n += n;
    size_t doubled;
    if (late && samples_sort(&h->old, &ss->sorted, &doubled))
        return error_set(err, ERR_NOMEM, "no memory to read the log");
    int64_t last = h->old.v[h->old.n - 1].time_us;
    if (!h->has_last || last > h->last_time)
        h->last_time = last;
    h->has_last = true;
    if (!h->log_row) {
        h->log_row = r->seq;
        h->logged_at_ms = time_monotonic_ms() - r->age_ms;
        list_append(ss, h);
    }
    return 0;
}

static int is_in_chunks(struct recovery *r, int64_t id, bool *ret, struct error *err)
{
    sqlite3_bind_int64(r->mark, 1, id);
    int step = sqlite3_step(r->mark);
    *ret = step == SQLITE_ROW && sqlite3_column_int64(r->mark, 0) >= r->seq;
    int rc = step == SQLITE_ROW || step == SQLITE_DONE
                 ? 0
                 : db_error(r->ss->db, step, err, "cannot read the log");
    sqlite3_reset(r->mark);
    return rc;
}

/* ERR_CORRUPT: the row is damaged from here on; what came before is taken. */
static int recover_row(struct recovery *r, const uint8_t *bytes, size_t len, struct error *err)
{
    struct bytes_in in = {bytes, bytes + len};
    unsigned version;
    if (codec_get_u8(&in, &version) || version != LOG_VERSION)
        return error_set(err, ERR_CORRUPT, "unknown version");
    while (in.at < in.end) {
        uint64_t id, part_len;
        const uint8_t *part;
        size_t n;
        bool moved;
        struct series_head *h;
        if (codec_get_varint(&in, &id) || codec_get_varint(&in, &part_len) ||
            id >= (uint64_t)r->ss->next_series || codec_get_bytes(&in, (size_t)part_len, &part))
            return error_set(err, ERR_CORRUPT, "not a list of series");
        int rc = is_in_chunks(r, (int64_t)id, &moved, err);
        if (rc)
            return rc;
        if (moved)
            continue;
        if (chunk_decode(r->ss->coder, part, (size_t)part_len, r->samples, &n))
            return error_set(err, ERR_CORRUPT, "the samples of series %llu cannot be read",
                             (unsigned long long)id);
        rc = recovered_head(r->ss, (int64_t)id, &h, err);
        if (!rc && h)
            rc = take_recovered(r, h, n, err);
        if (rc)
            return rc;
    }
    return 0;
}

/* Keep a copy of a row that cannot be read, and go on.  One of which a part was taken stays in the
 * log as well, until its samples are in chunks. */
static int set_row_aside(struct series_store *ss, int64_t seq, bool whole, const char *why,
                         struct error *err)
{
    atomic_fetch_add_explicit(&ss->n_damaged, 1, memory_order_relaxed);
    log_error("hyprxa.storage", "series.db: row %lld of the log is damaged (%s); set aside",
              (long long)seq, why);
    sqlite3_bind_int64(ss->sql[SQL_LOG_ASIDE], 1, time_now_us());
    sqlite3_bind_int64(ss->sql[SQL_LOG_ASIDE], 2, seq);
    int rc = db_run(ss->sql[SQL_LOG_ASIDE], err);
    if (rc || !whole)
        return rc;
    sqlite3_bind_int64(ss->sql[SQL_LOG_DROP_ONE], 1, seq);
    return db_run(ss->sql[SQL_LOG_DROP_ONE], err);
}

static int recover_rows(struct recovery *r, sqlite3_stmt *rows, struct error *err)
{
    struct series_store *ss = r->ss;
    int64_t now_us = time_now_us();
    int step, rc = 0;
    while (!rc && (step = sqlite3_step(rows)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            return db_error(ss->db, step, err, "cannot read the log");
        r->seq = sqlite3_column_int64(rows, 0);
        r->age_ms = (now_us - sqlite3_column_int64(rows, 1)) / 1000;
        r->age_ms = r->age_ms < 0 ? 0 : r->age_ms;
        const void *blob = sqlite3_column_blob(rows, 2);
        size_t len = (size_t)sqlite3_column_bytes(rows, 2);
        if (remember_row(ss, r->seq, len))
            return error_set(err, ERR_NOMEM, "no memory to read the log");
        bool torn = !blob || chunk_unseal(blob, len, &len);
        rc = torn ? error_set(err, ERR_CORRUPT, "its checksum is wrong")
                  : recover_row(r, blob, len, err);
        if (rc == ERR_CORRUPT)
            rc = set_row_aside(ss, r->seq, torn, err->message, err);
    }
    return rc;
}

int series_recover(struct series_store *ss, struct error *err)
{
    int64_t log, marks, series;
    struct recovery r = {.ss = ss};
    sqlite3_stmt *rows = NULL;
    int rc = db_get_int(ss->db, "SELECT max(seq) FROM log", 0, &log, err);
    if (!rc)
        rc = db_get_int(ss->db, "SELECT max(seq) FROM marks", 0, &marks, err);
    if (!rc)
        rc = db_get_int(ss->db, "SELECT max(id) FROM series", 0, &series, err);
    if (rc)
        return rc;
    ss->next_row = (log > marks ? log : marks) + 1;
    ss->next_series = series + 1;
    r.samples = malloc(CHUNK_SAMPLES_MAX * sizeof *r.samples);
    if (!r.samples)
        rc = error_set(err, ERR_NOMEM, "no memory to read the log");
    if (!rc)
        rc = db_prepare(ss->db, "SELECT seq FROM marks WHERE series=?1", &r.mark, err);
    if (!rc)
        rc = db_prepare(ss->db, "SELECT seq, at_us, data FROM log ORDER BY seq", &rows, err);
    if (!rc)
        rc = recover_rows(&r, rows, err);
    sqlite3_finalize(rows);
    sqlite3_finalize(r.mark);
    free(r.samples);
    return rc;
}
