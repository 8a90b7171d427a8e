#include "storage/spool.h"

#include "base/time.h"
#include "storage/sqlite_db.h"

#include <stdlib.h>
#include <string.h>

/* A row's data, in this machine's byte order, for it never leaves it:
 *   'S' u32 n, text source, text canonical, i64 hash, then n times
 *       i64 time, u32 quality, u32 source_code, u32 type, u32 len, and 8 bytes or len bytes
 *   'P' text source, text key, u32 len, bytes          a plugin's state
 * where text is u32 length, bytes, NUL. */
enum { KIND_SAMPLES = 'S', KIND_STATE = 'P', ROW_BYTES_MAX = 1 << 20, ROW_LIMIT = 512 << 20 };

static const struct db_schema schema = {
    .application_id = 0x68787370, /* "hxsp" */
    .version = 1,
    .create = "CREATE TABLE spool(id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB NOT NULL);"
              "CREATE TABLE damaged(id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, data BLOB);",
};

enum { SQL_BEGIN, SQL_COMMIT, SQL_ROLLBACK, SQL_ADD, SQL_OLDEST, SQL_DROP, SQL_ASIDE, SQL_COUNT };

static const char *const statements[SQL_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_ADD] = "INSERT INTO spool(data) VALUES(?1)",
    [SQL_OLDEST] = "SELECT id, data FROM spool ORDER BY id LIMIT 1",
    [SQL_DROP] = "DELETE FROM spool WHERE id = ?1",
    [SQL_ASIDE] = "INSERT INTO damaged(at_us, data) SELECT ?1, data FROM spool WHERE id = ?2",
};

struct spool {
    sqlite3 *db;
    sqlite3_stmt *sql[SQL_COUNT];
    uint64_t bytes, damaged;
    struct buf row; /* being written */
    /* the oldest row */
    int64_t id; /* 0: not read */
    struct buf data;
    struct remote_samples *runs;
    struct remote_state *states;
    struct sample *samples;
    size_t cap_runs, cap_states, cap_samples;
    struct spool_row oldest;
};

/* --- life --- */

int spool_open(const char *path, struct spool **ret, struct error *err)
{
    struct spool *s = calloc(1, sizeof *s);
    int64_t bytes = 0;
    if (!s)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    buf_init(&s->row, ROW_LIMIT);
    buf_init(&s->data, ROW_LIMIT);
    int rc = db_open_writer(path, &schema, &s->db, err);
    for (int i = 0; i < SQL_COUNT && !rc; i++)
        rc = db_prepare(s->db, statements[i], &s->sql[i], err);
    if (!rc)
        rc = db_get_int(s->db, "SELECT sum(length(data)) FROM spool", 0, &bytes, err);
    if (rc) {
        spool_close(s);
        return rc;
    }
    s->bytes = (uint64_t)bytes;
    *ret = s;
    return 0;
}

void spool_close(struct spool *s)
{
    if (!s)
        return;
    for (int i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(s->sql[i]);
    db_close(s->db);
    buf_release(&s->row);
    buf_release(&s->data);
    free(s->runs);
    free(s->states);
    free(s->samples);
    free(s);
}

uint64_t spool_bytes(const struct spool *s)
{
    return s->bytes;
}

uint64_t spool_damaged(const struct spool *s)
{
    return s->damaged;
}

/* --- writing --- */

static void put_u32(struct buf *b, size_t n)
{
    uint32_t value = (uint32_t)n;
    buf_append(b, &value, sizeof value);
}

static void put_text(struct buf *b, const char *text)
{
    size_t len = strlen(text);
    put_u32(b, len);
    buf_append(b, text, len + 1);
}

static void put_sample(struct buf *b, const struct sample *s)
{
    const struct value *v = &s->value;
    bool text = v->type >= VALUE_STRING;
    int64_t scalar = v->type == VALUE_BOOL ? v->as.boolean : v->as.i64;
    buf_append(b, &s->time_us, sizeof s->time_us);
    put_u32(b, s->quality);
    put_u32(b, s->source_code);
    put_u32(b, v->type);
    put_u32(b, text ? v->len : 0);
    if (text)
        buf_append(b, v->as.ptr, v->len);
    else
        buf_append(b, &scalar, sizeof scalar);
}

static void put_block(struct buf *b, const struct sample_block *block)
{
    for (size_t r = 0; r < block->n_runs; r++) {
        const struct sample_run *run = &block->runs[r];
        buf_append_char(b, KIND_SAMPLES);
        put_u32(b, run->n);
        put_text(b, run->series->source);
        put_text(b, run->series->canonical);
        buf_append(b, &run->series->hash, sizeof run->series->hash);
        for (uint32_t i = 0; i < run->n; i++)
            put_sample(b, &block->samples[run->first + i]);
    }
    for (size_t i = 0; i < block->n_states; i++) {
        buf_append_char(b, KIND_STATE);
        put_text(b, block->source);
        put_text(b, block->states[i].key);
        put_u32(b, block->states[i].len);
        buf_append(b, block->states[i].bytes, block->states[i].len);
    }
}

static int write_row(struct spool *s, uint64_t *bytes, struct error *err)
{
    if (s->row.failed)
        return error_set(err, ERR_NOMEM, "no memory to save samples");
    sqlite3_bind_blob64(s->sql[SQL_ADD], 1, s->row.data, s->row.len, SQLITE_STATIC);
    int rc = db_run(s->sql[SQL_ADD], err);
    if (!rc)
        *bytes += s->row.len;
    buf_clear(&s->row);
    return rc;
}

static int write_blocks(struct spool *s, struct sample_block *const *blocks, size_t n,
                        uint64_t *bytes, struct error *err)
{
    int rc = 0;
    buf_clear(&s->row);
    for (size_t i = 0; i < n && !rc; i++) {
        put_block(&s->row, blocks[i]);
        if (s->row.len >= ROW_BYTES_MAX || s->row.failed)
            rc = write_row(s, bytes, err);
    }
    if (!rc && s->row.len)
        rc = write_row(s, bytes, err);
    return rc;
}

int spool_append(struct spool *s, struct sample_block *const *blocks, size_t n, struct error *err)
{
    uint64_t bytes = 0;
    int rc = db_run(s->sql[SQL_BEGIN], err);
    if (rc)
        return rc;
    rc = write_blocks(s, blocks, n, &bytes, err);
    if (!rc)
        rc = db_run(s->sql[SQL_COMMIT], err);
    if (!rc)
        s->bytes += bytes;
    else if (!sqlite3_get_autocommit(s->db))
        db_run(s->sql[SQL_ROLLBACK], NULL);
    return rc;
}

/* --- reading --- */

struct cut {
    const char *at, *end;
    bool bad;
};

static const char *get(struct cut *c, size_t n)
{
    const char *at = c->at;
    if (c->bad || (size_t)(c->end - c->at) < n) {
        c->bad = true;
        return NULL;
    }
    c->at += n;
    return at;
}

static uint32_t get_u32(struct cut *c)
{
    uint32_t value = 0;
    const char *at = get(c, sizeof value);
    if (at)
        memcpy(&value, at, sizeof value);
    return value;
}

static int64_t get_i64(struct cut *c)
{
    int64_t value = 0;
    const char *at = get(c, sizeof value);
    if (at)
        memcpy(&value, at, sizeof value);
    return value;
}

static const char *get_text(struct cut *c)
{
    size_t len = get_u32(c);
    const char *at = get(c, len + 1);
    if (at && at[len] != '\0')
        c->bad = true;
    return at ? at : "";
}

static void get_sample(struct cut *c, struct sample *s)
{
    s->time_us = get_i64(c);
    s->quality = get_u32(c);
    s->source_code = get_u32(c);
    s->value.type = get_u32(c);
    s->value.len = get_u32(c);
    if (s->value.type > VALUE_JSON)
        c->bad = true;
    else if (s->value.type >= VALUE_STRING)
        s->value.as.ptr = get(c, s->value.len);
    else if (s->value.type == VALUE_BOOL)
        s->value.as.boolean = get_i64(c) != 0;
    else
        s->value.as.i64 = get_i64(c);
}

/* Room for one more of `size` bytes; NULL: no memory, and the cut is bad. */
static void *grow(struct cut *c, void *array, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return array;
    size_t more = *cap ? *cap * 2 : 64;
    void *grown = realloc(array, more * size);
    if (grown)
        *cap = more;
    else
        c->bad = true;
    return grown ? grown : array;
}

static void decode_samples(struct spool *s, struct cut *c)
{
    struct spool_row *o = &s->oldest;
    uint32_t n = get_u32(c);
    struct remote_samples run = {.n = n};
    run.series.source = get_text(c);
    run.series.canonical = get_text(c);
    run.series.hash = get_i64(c);
    s->runs = grow(c, s->runs, o->n_runs, &s->cap_runs, sizeof *s->runs);
    if (!c->bad)
        s->runs[o->n_runs++] = run;
    for (uint32_t i = 0; i < n && !c->bad; i++) {
        s->samples = grow(c, s->samples, o->n_samples, &s->cap_samples, sizeof *s->samples);
        if (!c->bad)
            get_sample(c, &s->samples[o->n_samples++]);
    }
}

static void decode_state(struct spool *s, struct cut *c)
{
    struct remote_state state = {.source = get_text(c)};
    state.key = get_text(c);
    state.len = get_u32(c);
    state.bytes = get(c, state.len);
    s->states = grow(c, s->states, s->oldest.n_states, &s->cap_states, sizeof *s->states);
    if (!c->bad)
        s->states[s->oldest.n_states++] = state;
}

static int decode(struct spool *s)
{
    struct cut c = {s->data.data, s->data.data + s->data.len, false};
    s->oldest = (struct spool_row){0};
    while (!c.bad && c.at < c.end) {
        const char *kind = get(&c, 1);
        if (*kind == KIND_SAMPLES)
            decode_samples(s, &c);
        else if (*kind == KIND_STATE)
            decode_state(s, &c);
        else
            c.bad = true;
    }
    /* The arrays do not move any more. */
    size_t at = 0;
    for (size_t i = 0; i < s->oldest.n_runs; i++) {
        s->runs[i].samples = s->samples + at;
        at += s->runs[i].n;
    }
    s->oldest.runs = s->runs;
    s->oldest.states = s->states;
    return c.bad ? ERR_CORRUPT : 0;
}

/* The bytes of the oldest row.  1, 0 or negative. */
static int load_oldest(struct spool *s, struct error *err)
{
    sqlite3_stmt *stmt = s->sql[SQL_OLDEST];
    int rc = sqlite3_step(stmt), result = 0;
    if (rc == SQLITE_ROW) {
        s->id = sqlite3_column_int64(stmt, 0);
        buf_clear(&s->data);
        result = buf_append(&s->data, sqlite3_column_blob(stmt, 1),
                            (size_t)sqlite3_column_bytes(stmt, 1))
                     ? error_set(err, ERR_NOMEM, "storage: out of memory")
                     : 1;
    } else if (rc != SQLITE_DONE) {
        result = db_error(s->db, rc, err, "cannot read the spool");
    }
    sqlite3_reset(stmt);
    return result;
}

int spool_drop_oldest(struct spool *s, struct error *err)
{
    sqlite3_bind_int64(s->sql[SQL_DROP], 1, s->id);
    int rc = db_run(s->sql[SQL_DROP], err);
    if (!rc) {
        s->bytes -= s->data.len < s->bytes ? s->data.len : s->bytes;
        s->id = 0;
    }
    return rc;
}

static int set_aside(struct spool *s, struct error *err)
{
    s->damaged++;
    sqlite3_bind_int64(s->sql[SQL_ASIDE], 1, time_now_us());
    sqlite3_bind_int64(s->sql[SQL_ASIDE], 2, s->id);
    int rc = db_run(s->sql[SQL_ASIDE], err);
    return rc ? rc : spool_drop_oldest(s, err);
}

int spool_oldest(struct spool *s, struct spool_row *ret, struct error *err)
{
    while (!s->id) {
        int rc = load_oldest(s, err);
        if (rc <= 0)
            return rc;
        if (decode(s) && (rc = set_aside(s, err)))
            return rc;
    }
    *ret = s->oldest;
    return 1;
}
