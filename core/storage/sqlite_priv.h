/* The embedded back end: hyprxa.db with one committing writer and a few readers.
 *
 * sqlite.c opens and closes; writer.c commits; sqlite_readers.c lends connections;
 * sqlite_events.c and sqlite_documents.c say what is written and read.  Lock order: none of these
 * locks is held together with another, or while SQLite works. */
#ifndef HYPRXA_STORAGE_SQLITE_PRIV_H
#define HYPRXA_STORAGE_SQLITE_PRIV_H

#include "storage/log_store.h"
#include "storage/sqlite_db.h"
#include "storage/storage_priv.h"

#include "base/map.h"
#include "base/thread.h"

#include <sqlite3.h>
#include <stdatomic.h>

struct batch;
struct reader;
struct sqlite_storage;

/* --- writer.c --- */

/* One thing to write; lives on the stack of the thread that waits for it. */
struct write_request {
    /* Run inside the shared transaction, on the committing thread. */
    int (*apply)(struct sqlite_storage *sq, struct write_request *request, struct error *err);
    struct message *message; /* an event: passed on after the commit, with its full key */
    const char *full_key;
    struct write_request *next;
};

struct writer {
    /* set at open, then const */
    size_t max_queued;
    int64_t expire_after_us;
    storage_committed_fn *committed;
    void *committed_ctx;
    pthread_t thread;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t work; /* the writer thread waits: something queued, or stopping */
    pthread_cond_t room; /* appenders wait: the open batch is full */
    struct batch *open;  /* takes what arrives */
    struct batch *spare; /* batches to use again */
    bool committing;     /* somebody holds the role: the writer thread or a lone caller */
    bool wanted;         /* the writer thread waits for the role */
    bool started, stopping;
    size_t n_waiting; /* for room */

    /* owned by the holder of the role */
    sqlite3_stmt *begin, *commit, *rollback;
    int wal_frames; /* after the last commit */
    int checkpoint_at;
    struct db_wal_ahead wal_ahead;

    /* atomic */
    atomic_ullong events_committed, events_failed, commits;
    atomic_ullong queued;
};

int writer_start(struct sqlite_storage *sq, const struct storage_options *options,
                 struct error *err);
/* Commit what is queued, join; later requests get ERR_CLOSED.  Idempotent. */
void writer_stop(struct sqlite_storage *sq);
void writer_release(struct sqlite_storage *sq);
/* Wait for room until `deadline_ms` (ERR_AGAIN: nothing was taken), then until the request is
 * durable or has failed with its whole batch.  A lone caller commits on its own thread.  [worker] */
int writer_submit(struct sqlite_storage *sq, struct write_request *request, int64_t deadline_ms,
                  struct error *err);

/* --- sqlite_readers.c --- */

enum read_statement {
    READ_DOCUMENT,
    READ_DOCUMENTS,
    READ_TOPIC_ID,
    READ_KEYS,
    READ_KEY,
    READ_LAST_OF_TOPIC,
    READ_LAST_OF_KEY,
    READ_LAST_OF_KEY_ID,
    READ_RANGE,
    READ_AFTER,
    READ_SINCE,
    READ_PLACE,
    READ_NEXT_PLACE,
    READ_NEWEST,
    READ_STATEMENTS
};

enum { READERS_MAX = 8 };

struct reader {
    sqlite3 *db;
    sqlite3_stmt *statements[READ_STATEMENTS];
    struct reader *next;
};

struct readers {
    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t returned;
    struct reader *idle;
    unsigned n_open, n_waiting;
};

void readers_init(struct readers *r);
void readers_release(struct readers *r);
/* Borrow a connection, opening one where fewer than READERS_MAX are; else wait for one. */
int reader_acquire(struct sqlite_storage *sq, struct reader **ret, struct error *err);
void reader_return(struct sqlite_storage *sq, struct reader *reader);
/* A statement of this connection, reset and unbound; reset it before the reader goes back. */
int reader_statement(struct reader *reader, enum read_statement which, sqlite3_stmt **ret,
                     struct error *err);
int reader_error(struct reader *reader, int rc, struct error *err);

/* --- sqlite_events.c --- */

struct event_writer { /* owned by the holder of the role */
    int64_t next_sequence;
    struct map keys; /* "topic\0routing_key\0full_key" to struct event_key */
    sqlite3_stmt *insert, *set_newest, *insert_topic, *find_topic, *insert_key, *find_key;
    sqlite3_stmt *next_topic, *purge_rows, *purge_keys, *keep_sequence;
    int64_t purge_topic; /* the topic being purged */
};

int event_writer_init(struct sqlite_storage *sq, struct error *err);
void event_writer_release(struct sqlite_storage *sq);
void event_writer_forget_keys(struct sqlite_storage *sq); /* after a rollback */
/* Delete a few hundred expired events in a transaction of its own: 1 more may be left, 0 done,
 * negative.  By the holder of the role. */
int event_writer_purge(struct sqlite_storage *sq, int64_t before_us, struct error *err);

int sqlite_event_append(struct storage *st, const struct storage_event *event, int64_t deadline_ms,
                        struct message_id *ret_id, struct error *err);
int sqlite_event_last(struct storage *st, const char *topic, const char *routing_key,
                      struct buf *out, struct error *err);
int sqlite_event_query(struct storage *st, const char *topic, const char *regex, struct buf *out,
                       size_t *ret_n, struct error *err);

/* --- sqlite_range.c --- */

int sqlite_event_range(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                       int64_t end_us, struct storage_event_cursor **ret, struct error *err);
int sqlite_event_next(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                      struct error *err);
void sqlite_event_cursor_close(struct storage_event_cursor *cursor);
int sqlite_event_follow(struct storage *st, uint64_t after, int64_t since_us,
                        storage_key_wanted_fn *wanted, void *ctx, struct storage_event_cursor **ret,
                        struct error *err);
bool sqlite_event_followed(const struct storage_event_cursor *cursor, uint64_t *ret_sequence);

/* --- sqlite_place.c --- */

int sqlite_event_since(struct storage *st, int64_t time_us, uint64_t *ret_after, struct error *err);
int sqlite_event_place(struct storage *st, const struct message_id *id,
                       struct storage_event_place *ret, struct error *err);

/* --- sqlite_journal.c: events that wait for a database or a broker --- */

int sqlite_event_published(struct storage *st, uint64_t *ret_sequence, struct error *err);
int sqlite_event_set_published(struct storage *st, uint64_t sequence, struct error *err);

/* Remember how far the database behind this one has them, and delete some of those up to `done` that
 * are older than `before_us`. */
int sqlite_event_forget(struct sqlite_storage *sq, uint64_t forwarded, uint64_t done,
                        int64_t before_us, struct error *err);
/* At open: that mark, the newest number given, and the bytes of payloads behind the mark with
 * `overhead` for each. */
int sqlite_event_mark(struct sqlite_storage *sq, unsigned overhead, uint64_t *ret_forwarded,
                      uint64_t *ret_newest, uint64_t *ret_bytes, struct error *err);

/* --- sqlite_documents.c --- */

int document_writer_init(struct sqlite_storage *sq, struct error *err);
void document_writer_release(struct sqlite_storage *sq);
int sqlite_document_save(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object *document, bool *ret_inserted, struct error *err);
int sqlite_document_get(struct storage *st, enum storage_collection c, const char *key,
                        struct json_object **ret, struct error *err);
int sqlite_document_find(struct storage *st, enum storage_collection c, struct json_object *filter,
                         storage_document_fn *each, void *ctx, struct error *err);

/* --- the back end --- */

struct sqlite_storage {
    struct storage base;
    /* set at open, then const */
    char *path; /* of hyprxa.db */
    int lock_fd;
    struct series_store *series;
    struct log_store *logs;

    sqlite3 *db; /* used by the holder of the writer's role */
    struct writer writer;
    struct event_writer events;
    sqlite3_stmt *save_document, *has_document;
    sqlite3_stmt *touch;

    struct readers readers;
};

static inline struct sqlite_storage *sqlite_of(struct storage *st)
{
    return (struct sqlite_storage *)st; /* its first member */
}

#endif
