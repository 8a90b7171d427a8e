#include "storage/sqlite_priv.h"

#include <stdlib.h>

#define TOPIC_ID     "(SELECT id FROM event_topics WHERE topic = ?1)"
#define EVENT_FIELDS "k.routing_key, r.payload, r.time, r.posted_by"
static const char *const statements[READ_STATEMENTS] = {
    [READ_DOCUMENT] = "SELECT json FROM documents WHERE collection = ?1 AND key = ?2",
    [READ_DOCUMENTS] = "SELECT key, json FROM documents WHERE collection = ?1 AND key > ?2"
                       " ORDER BY key LIMIT ?3",
    [READ_TOPIC_ID] = "SELECT id FROM event_topics WHERE topic = ?1",
    [READ_KEYS] = "SELECT id, routing_key FROM event_keys WHERE topic_id = " TOPIC_ID
                  " ORDER BY routing_key, full_key",
    [READ_KEY] = "SELECT k.routing_key, k.full_key, t.topic FROM event_keys k"
                 " JOIN event_topics t ON t.id = k.topic_id WHERE k.id = ?1",
    [READ_LAST_OF_TOPIC] = "SELECT " EVENT_FIELDS " FROM event_rows r JOIN event_keys k"
                           " ON k.id = r.key_id WHERE r.topic_id = " TOPIC_ID
                           " ORDER BY r.time DESC, r.seq DESC LIMIT 1",
    [READ_LAST_OF_KEY] = "SELECT " EVENT_FIELDS " FROM event_keys k JOIN event_rows r"
                         " ON r.seq = k.last_seq WHERE k.id IN"
                         " (SELECT id FROM event_keys"
                         " WHERE topic_id = " TOPIC_ID " AND routing_key = ?2"
                         " UNION ALL SELECT id FROM event_keys"
                         " WHERE topic_id = " TOPIC_ID " AND full_key = ?2)"
                         " ORDER BY r.time DESC, r.seq DESC LIMIT 1",
    [READ_LAST_OF_KEY_ID] = "SELECT " EVENT_FIELDS " FROM event_keys k JOIN event_rows r"
                            " ON r.seq = k.last_seq WHERE k.id = ?1",
    [READ_RANGE] = "SELECT seq, epoch, time, key_id, posted_by, payload FROM event_rows"
                   " WHERE topic_id = ?1 AND (time, seq) > (?2, ?3) AND time <= ?4"
                   " ORDER BY time, seq",
    [READ_AFTER] = "SELECT seq, epoch, time, key_id, posted_by, payload FROM event_rows"
                   " WHERE seq > ?1 ORDER BY seq",
    /* Times rise with numbers but for events that were on their way at once: as many of each topic
     * as there can be requests are looked at. */
    [READ_SINCE] = "SELECT min((SELECT min(seq) FROM (SELECT seq FROM event_rows"
                   " WHERE topic_id = t.id AND time >= ?1 ORDER BY time LIMIT 4096)))"
                   " FROM event_topics t",
    [READ_PLACE] = "SELECT seq, time FROM event_rows WHERE seq = ?1 AND epoch <= ?2",
    [READ_NEXT_PLACE] = "SELECT seq, time FROM event_rows WHERE seq > ?1 ORDER BY seq LIMIT 1",
    [READ_NEWEST] = "SELECT max(coalesce((SELECT max(seq) FROM event_rows), 0),"
                    " coalesce((SELECT value FROM meta WHERE name = 'sequence'), 0)), 0",
};

void readers_init(struct readers *r)
{
    lock_init(&r->lock);
    cond_init(&r->returned);
}

static void reader_close(struct reader *reader)
{
    for (int i = 0; i < READ_STATEMENTS; i++)
        sqlite3_finalize(reader->statements[i]);
    db_close(reader->db);
    free(reader);
}

void readers_release(struct readers *r)
{
    while (r->idle) {
        struct reader *reader = r->idle;
        r->idle = reader->next;
        reader_close(reader);
    }
    pthread_cond_destroy(&r->returned);
    pthread_mutex_destroy(&r->lock);
}

static int reader_open(struct sqlite_storage *sq, struct reader **ret, struct error *err)
{
    struct reader *reader = calloc(1, sizeof *reader);
    int result = reader ? db_open_reader(sq->path, &reader->db, err)
                        : error_set(err, ERR_NOMEM, "storage: out of memory");
    if (result) {
        free(reader);
        pthread_mutex_lock(&sq->readers.lock);
        sq->readers.n_open--;
        pthread_cond_signal(&sq->readers.returned);
        pthread_mutex_unlock(&sq->readers.lock);
        return result;
    }
    *ret = reader;
    return 0;
}

int reader_acquire(struct sqlite_storage *sq, struct reader **ret, struct error *err)
{
    struct readers *r = &sq->readers;
    pthread_mutex_lock(&r->lock);
    while (!r->idle && r->n_open == READERS_MAX) {
        r->n_waiting++;
        pthread_cond_wait(&r->returned, &r->lock);
        r->n_waiting--;
    }
    struct reader *reader = r->idle;
    if (reader)
        r->idle = reader->next;
    else
        r->n_open++;
    pthread_mutex_unlock(&r->lock);
    if (!reader)
        return reader_open(sq, ret, err);
    *ret = reader;
    return 0;
}

void reader_return(struct sqlite_storage *sq, struct reader *reader)
{
    struct readers *r = &sq->readers;
    pthread_mutex_lock(&r->lock);
    reader->next = r->idle;
    r->idle = reader;
    if (r->n_waiting)
        pthread_cond_signal(&r->returned);
    pthread_mutex_unlock(&r->lock);
}

int reader_statement(struct reader *reader, enum read_statement which, sqlite3_stmt **ret,
                     struct error *err)
{
    sqlite3_stmt **slot = &reader->statements[which];
    int result = *slot ? 0 : db_prepare(reader->db, statements[which], slot, err);
    if (result)
        return result;
    sqlite3_clear_bindings(*slot);
    *ret = *slot;
    return 0;
}

int reader_error(struct reader *reader, int rc, struct error *err)
{
    return db_error(reader->db, rc, err, "cannot read the database");
}
