/* Events: what a commit writes, and the newest event of a topic or key. */
#include "storage/event_document.h"
#include "storage/regex.h"
#include "storage/sqlite_priv.h"

#include "base/auto.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum {
    KEYS_CACHED_MAX = 50000,
    CACHE_KEY_MAX = 4096,
    PURGE_ROWS = 500,
    QUERY_TIME_MAX_MS = 2000,
};

/* --- writing: by the holder of the writer's role --- */

struct event_key {
    int64_t topic_id, key_id;
};

struct append {
    struct write_request request;
    const struct storage_event *event;
    const char *routing_key;
    struct message_id id;
};

static const char *const writer_sql[] = {
    "INSERT INTO event_rows VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    "INSERT OR IGNORE INTO event_topics(topic) VALUES(?1)",
    "SELECT id FROM event_topics WHERE topic = ?1",
    "INSERT OR IGNORE INTO event_keys(topic_id, routing_key, full_key, last_time, last_seq)"
    " VALUES(?1, ?2, ?3, -9223372036854775808, 0)",
    "SELECT id FROM event_keys WHERE topic_id = ?1 AND routing_key = ?2 AND full_key = ?3",
    "SELECT id FROM event_topics WHERE id > ?1 ORDER BY id LIMIT 1",
    "DELETE FROM event_rows WHERE seq IN"
    " (SELECT seq FROM event_rows WHERE topic_id = ?1 AND time < ?2 LIMIT ?3)",
    "DELETE FROM event_keys WHERE topic_id = ?1 AND last_time < ?2",
    "INSERT OR REPLACE INTO meta VALUES('sequence', ?1)",
    "UPDATE event_keys SET last_time = ?1, last_seq = ?2 WHERE id = ?3 AND last_time <= ?1",
};

static sqlite3_stmt **writer_statement(struct event_writer *w, size_t i)
{
    sqlite3_stmt **const slots[] = {
        &w->insert,     &w->insert_topic, &w->find_topic, &w->insert_key,    &w->find_key,
        &w->next_topic, &w->purge_rows,   &w->purge_keys, &w->keep_sequence, &w->set_newest};
    return slots[i];
}

int event_writer_init(struct sqlite_storage *sq, struct error *err)
{
    struct event_writer *w = &sq->events;
    int64_t last, kept;
    map_init(&w->keys);
    int result = 0;
    for (size_t i = 0; i < sizeof writer_sql / sizeof *writer_sql && !result; i++)
        result = db_prepare(sq->db, writer_sql[i], writer_statement(w, i), err);
    /* Numbers of events that retention has deleted are not given again. */
    if (!result)
        result = db_get_int(sq->db, "SELECT max(seq) FROM event_rows", 0, &last, err);
    if (!result)
        result =
            db_get_int(sq->db, "SELECT value FROM meta WHERE name = 'sequence'", 0, &kept, err);
    if (!result)
        w->next_sequence = (last > kept ? last : kept) + 1;
    return result;
}

void event_writer_release(struct sqlite_storage *sq)
{
    for (size_t i = 0; i < sizeof writer_sql / sizeof *writer_sql; i++)
        sqlite3_finalize(*writer_statement(&sq->events, i));
    map_release(&sq->events.keys, free);
}

void event_writer_forget_keys(struct sqlite_storage *sq)
{
    map_release(&sq->events.keys, free);
    map_init(&sq->events.keys);
}

static void bind_text(sqlite3_stmt *stmt, int at, const char *text)
{
    sqlite3_bind_text(stmt, at, text, -1, SQLITE_STATIC); /* NULL binds null */
}

/* Insert what `insert` inserts unless it is there, and have its id from `find`; both are bound. */
static int find_or_insert(struct sqlite_storage *sq, sqlite3_stmt *insert, sqlite3_stmt *find,
                          int64_t *ret_id, struct error *err)
{
    int rc = sqlite3_step(find);
    if (rc == SQLITE_DONE) {
        sqlite3_reset(find);
        int result = db_run(insert, err);
        if (result)
            return result;
        rc = sqlite3_step(find);
    }
    int result = 0;
    if (rc == SQLITE_ROW)
        *ret_id = sqlite3_column_int64(find, 0);
    else
        result = db_error(sq->db, rc, err, "cannot look up an event key");
    sqlite3_reset(find);
    return result;
}

static int look_up_key(struct sqlite_storage *sq, const struct append *a, struct event_key *ret,
                       struct error *err)
{
    struct event_writer *w = &sq->events;
    bind_text(w->find_topic, 1, a->event->topic);
    bind_text(w->insert_topic, 1, a->event->topic);
    int result = find_or_insert(sq, w->insert_topic, w->find_topic, &ret->topic_id, err);
    if (result)
        return result;
    sqlite3_stmt *const both[] = {w->find_key, w->insert_key};
    for (int i = 0; i < 2; i++) {
        sqlite3_bind_int64(both[i], 1, ret->topic_id);
        bind_text(both[i], 2, a->routing_key);
        bind_text(both[i], 3, a->event->full_key);
    }
    return find_or_insert(sq, w->insert_key, w->find_key, &ret->key_id, err);
}

/* The key's number, from memory where it was used before.  A key that memory has no room for is
 * only looked up. */
static int get_key(struct sqlite_storage *sq, const struct append *a, struct event_key *ret,
                   struct error *err)
{
    struct event_writer *w = &sq->events;
    char name[CACHE_KEY_MAX];
    const char *const parts[] = {a->event->topic, a->routing_key, a->event->full_key};
    size_t len = 0;
    for (int i = 0; i < 3; i++) {
        size_t n = strlen(parts[i]) + 1;
        if (n > sizeof name - len)
            return look_up_key(sq, a, ret, err);
        memcpy(name + len, parts[i], n);
        len += n;
    }
    const struct event_key *known = map_get(&w->keys, name, len);
    if (known) {
        *ret = *known;
        return 0;
    }
    int result = look_up_key(sq, a, ret, err);
    if (result)
        return result;
    if (w->keys.n >= KEYS_CACHED_MAX)
        event_writer_forget_keys(sq);
    struct event_key *kept = malloc(sizeof *kept);
    if (!kept)
        return 0;
    *kept = *ret;
    if (map_set(&w->keys, name, len, kept, NULL))
        free(kept);
    return 0;
}

static int apply_append(struct sqlite_storage *sq, struct write_request *request, struct error *err)
{
    struct append *a = (struct append *)request; /* its first member */
    struct event_writer *w = &sq->events;
    struct event_key key;
    int result = get_key(sq, a, &key, err);
    if (result)
        return result;
    /* A number is used up even if the commit fails: what failed may still have reached the disk,
     * and no id may ever name two events. */
    a->id = (struct message_id){sq->base.origin, sq->base.epoch, (uint64_t)w->next_sequence++};
    sqlite3_stmt *stmt = w->insert;
    sqlite3_bind_int64(stmt, 1, (int64_t)a->id.sequence);
    sqlite3_bind_int64(stmt, 2, (int64_t)a->id.epoch);
    sqlite3_bind_int64(stmt, 3, key.topic_id);
    sqlite3_bind_int64(stmt, 4, key.key_id);
    sqlite3_bind_int64(stmt, 5, a->event->time_us);
    bind_text(stmt, 6, a->event->posted_by);
    sqlite3_bind_text64(stmt, 7, a->event->payload, a->event->payload_len, SQLITE_STATIC,
                        SQLITE_UTF8);
    result = db_run(stmt, err);
    sqlite3_bind_int64(w->set_newest, 1, a->event->time_us);
    sqlite3_bind_int64(w->set_newest, 2, (int64_t)a->id.sequence);
    sqlite3_bind_int64(w->set_newest, 3, key.key_id);
    if (!result)
        result = db_run(w->set_newest, err);
    message_set_id(request->message, &a->id);
    return result;
}

int sqlite_event_append(struct storage *st, const struct storage_event *event, int64_t deadline_ms,
                        struct message_id *ret_id, struct error *err)
{
    struct event_document doc = {
        .topic = event->topic,
        .routing_key =
            event->routing_key && event->routing_key[0] ? event->routing_key : event->topic,
        .payload = event->payload,
        .payload_len = event->payload_len,
        .posted_by = event->posted_by,
        .time_us = event->time_us,
    };
    AUTO(buf) text = BUF_INIT(event_document_size_max(&doc));
    struct message *message = NULL;
    if (!event_document_write(&text, &doc))
        message = message_new(NULL, event->time_us, text.data, text.len);
    if (!message)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    struct append a = {
        .request = {.apply = apply_append, .message = message, .full_key = event->full_key},
        .event = event,
        .routing_key = doc.routing_key,
    };
    int result = writer_submit(sqlite_of(st), &a.request, deadline_ms, err);
    if (!result && ret_id)
        *ret_id = a.id;
    message_unref(message);
    return result;
}

/* --- retention --- */

/* The next topic to purge, after the one purged last; 0: none left. */
static int next_topic(struct sqlite_storage *sq, struct error *err)
{
    struct event_writer *w = &sq->events;
    sqlite3_bind_int64(w->next_topic, 1, w->purge_topic);
    int rc = sqlite3_step(w->next_topic);
    w->purge_topic = rc == SQLITE_ROW ? sqlite3_column_int64(w->next_topic, 0) : 0;
    int result = rc == SQLITE_ROW || rc == SQLITE_DONE
                     ? 0
                     : db_error(sq->db, rc, err, "cannot read the topics");
    sqlite3_reset(w->next_topic);
    return result;
}

static int purge_topic(struct sqlite_storage *sq, int64_t before_us, int *ret_rows,
                       struct error *err)
{
    struct event_writer *w = &sq->events;
    sqlite3_bind_int64(w->purge_rows, 1, w->purge_topic);
    sqlite3_bind_int64(w->purge_rows, 2, before_us);
    sqlite3_bind_int(w->purge_rows, 3, PURGE_ROWS);
    sqlite3_bind_int64(w->purge_keys, 1, w->purge_topic);
    sqlite3_bind_int64(w->purge_keys, 2, before_us);
    sqlite3_bind_int64(w->keep_sequence, 1, w->next_sequence - 1);
    int result = db_run(sq->writer.begin, err);
    if (!result)
        result = db_run(w->purge_rows, err);
    *ret_rows = sqlite3_changes(sq->db);
    /* Keys whose newest event has expired go with the topic's last batch. */
    if (!result && *ret_rows < PURGE_ROWS)
        result = db_run(w->purge_keys, err);
    if (!result)
        result = db_run(w->keep_sequence, err);
    if (!result)
        result = db_run(sq->writer.commit, err);
    if (result && !sqlite3_get_autocommit(sq->db))
        db_run(sq->writer.rollback, NULL);
    event_writer_forget_keys(sq);
    return result;
}

int event_writer_purge(struct sqlite_storage *sq, int64_t before_us, struct error *err)
{
    struct event_writer *w = &sq->events;
    int rows = 0;
    if (w->purge_topic == 0) {
        int result = next_topic(sq, err);
        if (result || w->purge_topic == 0)
            return result;
    }
    int result = purge_topic(sq, before_us, &rows, err);
    if (result)
        return result;
    if (rows == PURGE_ROWS)
        return 1;
    result = next_topic(sq, err);
    return result ? result : w->purge_topic != 0;
}

/* --- the newest event --- */

static const char *column_text(sqlite3_stmt *stmt, int at)
{
    return (const char *)sqlite3_column_text(stmt, at);
}

/* The row of routing_key, payload, time, posted_by as a document. */
static int write_row(sqlite3_stmt *stmt, const char *topic, struct buf *out, struct error *err)
{
    struct event_document doc = {
        .topic = topic,
        .routing_key = column_text(stmt, 0),
        .payload = column_text(stmt, 1),
        .payload_len = (size_t)sqlite3_column_bytes(stmt, 1),
        .time_us = sqlite3_column_int64(stmt, 2),
        .posted_by = column_text(stmt, 3),
    };
    if (!doc.routing_key || !doc.payload)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    int result = event_document_write(out, &doc);
    return result ? error_set(err, result, "the events are too large for one answer") : 0;
}

/* Step once and write the row; ERR_NOT_FOUND without one. */
static int write_newest(struct reader *reader, sqlite3_stmt *stmt, const char *topic,
                        struct buf *out, struct error *err)
{
    int rc = sqlite3_step(stmt);
    int result = rc == SQLITE_ROW    ? write_row(stmt, topic, out, err)
                 : rc == SQLITE_DONE ? error_set(err, ERR_NOT_FOUND, "no event found")
                                     : reader_error(reader, rc, err);
    sqlite3_reset(stmt);
    return result;
}

int sqlite_event_last(struct storage *st, const char *topic, const char *routing_key,
                      struct buf *out, struct error *err)
{
    struct reader *reader;
    sqlite3_stmt *stmt;
    int result = reader_acquire(sqlite_of(st), &reader, err);
    if (result)
        return result;
    result =
        reader_statement(reader, routing_key ? READ_LAST_OF_KEY : READ_LAST_OF_TOPIC, &stmt, err);
    if (!result) {
        bind_text(stmt, 1, topic);
        if (routing_key)
            bind_text(stmt, 2, routing_key);
        result = write_newest(reader, stmt, topic, out, err);
    }
    reader_return(sqlite_of(st), reader);
    return result;
}

/* 1: wanted, 0: not, negative. */
static int key_matches(struct regex *re, sqlite3_stmt *keys, struct error *err)
{
    const char *key = column_text(keys, 1);
    if (!key)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    return re ? regex_search(re, key, (size_t)sqlite3_column_bytes(keys, 1), err) : 1;
}

static int query_keys(struct reader *reader, const char *topic, struct regex *re, struct buf *out,
                      size_t *ret_n, struct error *err)
{
    sqlite3_stmt *keys = NULL, *last = NULL;
    int64_t deadline_ms = time_monotonic_ms() + QUERY_TIME_MAX_MS;
    size_t n = 0;
    int rc = SQLITE_DONE;
    int result = reader_statement(reader, READ_KEYS, &keys, err);
    if (!result)
        result = reader_statement(reader, READ_LAST_OF_KEY_ID, &last, err);
    if (result)
        return result;
    bind_text(keys, 1, topic);
    while (!result && (rc = sqlite3_step(keys)) == SQLITE_ROW) {
        if (time_monotonic_ms() > deadline_ms)
            result = error_set(err, ERR_LIMIT, "the search takes too long");
        else
            result = key_matches(re, keys, err);
        if (result <= 0)
            continue;
        size_t before = out->len;
        if (n)
            buf_append_char(out, ',');
        sqlite3_bind_int64(last, 1, sqlite3_column_int64(keys, 0));
        result = write_newest(reader, last, topic, out, err);
        if (!result) {
            n++;
        } else if (result == ERR_NOT_FOUND) { /* its events have expired */
            out->len = before;
            result = 0;
        }
    }
    if (!result && rc != SQLITE_DONE)
        result = reader_error(reader, rc, err);
    sqlite3_reset(keys);
    if (!result)
        *ret_n = n;
    return result;
}

int sqlite_event_query(struct storage *st, const char *topic, const char *regex, struct buf *out,
                       size_t *ret_n, struct error *err)
{
    struct regex *re = NULL;
    struct reader *reader = NULL;
    int result = 0;
    if (regex)
        result = regex_new(regex, strlen(regex), REGEX_IGNORE_CASE, &re, err);
    if (!result)
        result = reader_acquire(sqlite_of(st), &reader, err);
    if (!result) {
        result = query_keys(reader, topic, re, out, ret_n, err);
        reader_return(sqlite_of(st), reader);
    }
    regex_free(re);
    return result;
}
