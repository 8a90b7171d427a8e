/* Events of a time range, or after a number, window by window: a window is read and copied, its read
 * transaction ends, and only then are its rows handed out.  The next one starts after the last (time,
 * number), or number. */
#include "storage/regex.h"
#include "storage/sqlite_priv.h"

#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum {
    WINDOW_ROWS = 1000,
    WINDOW_BYTES = 4 * 1024 * 1024, /* passed by one row at most */
    WINDOW_MS = 100,
    ROWS_PER_CLOCK = 32, /* rows stepped over between two looks at the clock */
    KEYS_MAX = 100000,   /* remembered at a time */
};

/* A stored key, as the cursor remembers it. */
struct known_key {
    bool wanted;
    const char *topic; /* behind routing_key, in the same memory */
    char routing_key[];
};

struct row {
    int64_t seq, epoch, time_us;
    const struct known_key *key;
    size_t posted_by, payload, payload_len; /* offsets into text */
    bool has_posted_by;
};

struct event_cursor {
    struct storage_event_cursor base;
    /* set at open, then const */
    struct sqlite_storage *sq;
    struct regex *re; /* NULL: all */
    char *topic;      /* NULL: it follows all topics */
    int64_t topic_id, end_us;
    int64_t since_us;
    storage_key_wanted_fn *wanted; /* of one that follows */
    void *ctx;
    /* where the next window starts: after this row */
    int64_t last_time_us, last_seq;
    bool at_end;     /* the window was the last one; of one that follows, for now */
    bool handed_out; /* one that follows says so with a 0 before it reads on */
    struct map keys; /* key_id to struct known_key */
    /* the window */
    struct row *rows;
    size_t n_rows, next_row;
    struct buf text;
};

/* --- keys --- */

/* What the cursor wants to know of a row of READ_KEY.  NULL: no memory. */
static struct known_key *make_key(sqlite3_stmt *stmt)
{
    const char *routing_key = (const char *)sqlite3_column_text(stmt, 0);
    const char *topic = (const char *)sqlite3_column_text(stmt, 2);
    if (!routing_key || !topic)
        return NULL;
    size_t key_size = strlen(routing_key) + 1, topic_size = strlen(topic) + 1;
    struct known_key *key = malloc(sizeof *key + key_size + topic_size);
    if (!key)
        return NULL;
    memcpy(key->routing_key, routing_key, key_size);
    memcpy(key->routing_key + key_size, topic, topic_size);
    key->topic = key->routing_key + key_size;
    return key;
}

/* 1: wanted, 0: not, negative. */
static int is_wanted(struct event_cursor *c, sqlite3_stmt *stmt, struct error *err)
{
    const char *full_key = (const char *)sqlite3_column_text(stmt, 1);
    if (!full_key)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    if (c->wanted)
        return c->wanted(c->ctx, full_key);
    const char *key = (const char *)sqlite3_column_text(stmt, 0);
    return c->re ? regex_search(c->re, key, (size_t)sqlite3_column_bytes(stmt, 0), err) : 1;
}

static int load_key(struct event_cursor *c, struct reader *reader, int64_t key_id,
                    const struct known_key **ret, struct error *err)
{
    sqlite3_stmt *stmt;
    int result = reader_statement(reader, READ_KEY, &stmt, err);
    if (result)
        return result;
    sqlite3_bind_int64(stmt, 1, key_id);
    int rc = sqlite3_step(stmt);
    struct known_key *key = NULL;
    if (rc == SQLITE_DONE)
        result = error_set(err, ERR_CORRUPT, "an event's key is missing");
    else if (rc != SQLITE_ROW)
        result = reader_error(reader, rc, err);
    else if (!(key = make_key(stmt)))
        result = error_set(err, ERR_NOMEM, "storage: out of memory");
    else
        result = is_wanted(c, stmt, err);
    if (result >= 0 && key) {
        key->wanted = result == 1;
        result = map_set(&c->keys, &key_id, sizeof key_id, key, NULL)
                     ? error_set(err, ERR_NOMEM, "storage: out of memory")
                     : 0;
    }
    sqlite3_reset(stmt);
    if (result)
        free(key);
    else
        *ret = key;
    return result;
}

static int find_key(struct event_cursor *c, struct reader *reader, int64_t key_id,
                    const struct known_key **ret, struct error *err)
{
    *ret = map_get(&c->keys, &key_id, sizeof key_id);
    return *ret ? 0 : load_key(c, reader, key_id, ret, err);
}

/* --- windows --- */

/* Append the text and its NUL; *ret_at is where it starts. */
static int keep_text(struct buf *text, const void *bytes, size_t len, size_t *ret_at)
{
    *ret_at = text->len;
    buf_append(text, bytes, len);
    return buf_append_char(text, '\0');
}

static int keep_row(struct event_cursor *c, sqlite3_stmt *stmt, const struct known_key *key,
                    struct error *err)
{
    struct row *row = &c->rows[c->n_rows];
    *row = (struct row){
        .seq = c->last_seq,
        .epoch = sqlite3_column_int64(stmt, 1),
        .time_us = c->last_time_us,
        .key = key,
    };
    const void *posted_by = sqlite3_column_text(stmt, 4);
    int result = 0;
    if (posted_by) {
        row->has_posted_by = true;
        result =
            keep_text(&c->text, posted_by, (size_t)sqlite3_column_bytes(stmt, 4), &row->posted_by);
    }
    const void *payload = sqlite3_column_text(stmt, 5);
    row->payload_len = (size_t)sqlite3_column_bytes(stmt, 5);
    if (!result)
        result =
            payload ? keep_text(&c->text, payload, row->payload_len, &row->payload) : ERR_NOMEM;
    if (result)
        return error_set(err, result, "storage: out of memory");
    c->n_rows++;
    return 0;
}

static int step_row(struct event_cursor *c, struct reader *reader, sqlite3_stmt *stmt,
                    struct error *err)
{
    const struct known_key *key;
    int result = find_key(c, reader, sqlite3_column_int64(stmt, 3), &key, err);
    if (result)
        return result;
    c->last_seq = sqlite3_column_int64(stmt, 0);
    c->last_time_us = sqlite3_column_int64(stmt, 2);
    return key->wanted && c->last_time_us >= c->since_us ? keep_row(c, stmt, key, err) : 0;
}

static int bind_window(struct event_cursor *c, struct reader *reader, sqlite3_stmt **ret,
                       struct error *err)
{
    int result = reader_statement(reader, c->topic ? READ_RANGE : READ_AFTER, ret, err);
    if (result)
        return result;
    if (!c->topic) {
        sqlite3_bind_int64(*ret, 1, c->last_seq);
        return 0;
    }
    sqlite3_bind_int64(*ret, 1, c->topic_id);
    sqlite3_bind_int64(*ret, 2, c->last_time_us);
    sqlite3_bind_int64(*ret, 3, c->last_seq);
    sqlite3_bind_int64(*ret, 4, c->end_us);
    return 0;
}

static int fill_window(struct event_cursor *c, struct reader *reader, struct error *err)
{
    sqlite3_stmt *stmt;
    int64_t deadline_ms = time_monotonic_ms() + WINDOW_MS;
    int rc = SQLITE_ROW;
    c->n_rows = c->next_row = 0;
    buf_clear(&c->text);
    if (c->keys.n > KEYS_MAX) {
        map_release(&c->keys, free);
        map_init(&c->keys);
    }
    int result = bind_window(c, reader, &stmt, err);
    if (result)
        return result;
    for (unsigned n = 1; !result && c->n_rows < WINDOW_ROWS && c->text.len < WINDOW_BYTES; n++) {
        if (n % ROWS_PER_CLOCK == 0 && time_monotonic_ms() >= deadline_ms)
            break;
        rc = sqlite3_step(stmt);
        if (rc != SQLITE_ROW)
            break;
        result = step_row(c, reader, stmt, err);
    }
    if (!result && rc != SQLITE_ROW && rc != SQLITE_DONE)
        result = reader_error(reader, rc, err);
    c->at_end = rc == SQLITE_DONE;
    sqlite3_reset(stmt);
    return result;
}

/* --- the cursor --- */

static int find_topic(struct event_cursor *c, struct error *err)
{
    struct reader *reader;
    sqlite3_stmt *stmt;
    int result = reader_acquire(c->sq, &reader, err);
    if (result)
        return result;
    result = reader_statement(reader, READ_TOPIC_ID, &stmt, err);
    if (!result) {
        sqlite3_bind_text(stmt, 1, c->topic, -1, SQLITE_STATIC);
        int rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW)
            c->topic_id = sqlite3_column_int64(stmt, 0);
        else if (rc == SQLITE_DONE)
            c->at_end = true;
        else
            result = reader_error(reader, rc, err);
        sqlite3_reset(stmt);
    }
    reader_return(c->sq, reader);
    return result;
}

void sqlite_event_cursor_close(struct storage_event_cursor *cursor)
{
    struct event_cursor *c = (struct event_cursor *)cursor; /* its first member */
    regex_free(c->re);
    map_release(&c->keys, free);
    buf_release(&c->text);
    free(c->rows);
    free(c->topic);
    free(c);
}

static struct event_cursor *cursor_new(struct storage *st)
{
    struct event_cursor *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->sq = sqlite_of(st);
    c->since_us = INT64_MIN;
    map_init(&c->keys);
    buf_init(&c->text, SIZE_MAX);
    c->rows = malloc(WINDOW_ROWS * sizeof *c->rows);
    if (c->rows)
        return c;
    sqlite_event_cursor_close(&c->base);
    return NULL;
}

int sqlite_event_range(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                       int64_t end_us, struct storage_event_cursor **ret, struct error *err)
{
    struct event_cursor *c = cursor_new(st);
    if (!c)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    c->end_us = end_us;
    c->last_time_us = start_us; /* the row before all of that time: numbers begin at 1 */
    c->topic = strdup(topic);
    int result = c->topic ? 0 : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (!result && regex)
        result = regex_new(regex, strlen(regex), REGEX_IGNORE_CASE, &c->re, err);
    if (!result)
        result = find_topic(c, err);
    if (result) {
        sqlite_event_cursor_close(&c->base);
        return result;
    }
    *ret = &c->base;
    return 0;
}

int sqlite_event_follow(struct storage *st, uint64_t after, int64_t since_us,
                        storage_key_wanted_fn *wanted, void *ctx, struct storage_event_cursor **ret,
                        struct error *err)
{
    struct event_cursor *c = cursor_new(st);
    if (!c)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    c->last_seq = after > INT64_MAX ? INT64_MAX : (int64_t)after;
    c->since_us = since_us;
    c->wanted = wanted;
    c->ctx = ctx;
    c->handed_out = true;
    *ret = &c->base;
    return 0;
}

bool sqlite_event_followed(const struct storage_event_cursor *cursor, uint64_t *ret_sequence)
{
    const struct event_cursor *c = (const struct event_cursor *)cursor; /* its first member */
    *ret_sequence = (uint64_t)c->last_seq;
    return c->at_end;
}

static int read_window(struct event_cursor *c, struct error *err)
{
    struct reader *reader;
    int result = reader_acquire(c->sq, &reader, err);
    if (result)
        return result;
    result = fill_window(c, reader, err);
    reader_return(c->sq, reader);
    return result;
}

int sqlite_event_next(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                      struct error *err)
{
    struct event_cursor *c = (struct event_cursor *)cursor; /* its first member */
    while (c->next_row == c->n_rows) {
        bool follows = !c->topic;
        if (follows && !c->handed_out) {
            c->handed_out = true;
            return 0;
        }
        if (!follows && c->at_end)
            return 0;
        int result = read_window(c, err);
        if (result)
            return result;
        c->handed_out = false;
    }
    const struct row *row = &c->rows[c->next_row++];
    *ret = (struct storage_event_row){
        .time_us = row->time_us,
        .posted_by = row->has_posted_by ? c->text.data + row->posted_by : NULL,
        .topic = row->key->topic,
        .routing_key = row->key->routing_key,
        .payload = c->text.data + row->payload,
        .payload_len = row->payload_len,
        .id = {c->sq->base.origin, (uint64_t)row->epoch, (uint64_t)row->seq},
    };
    return 1;
}
