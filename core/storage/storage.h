/* Storage: documents, events, samples, logs and plugin state, durable when a call returns 0.
 *
 * One interface, two back ends (sqlite, mongodb), opened by URI.  A `struct storage` is shared by all
 * threads.  Writers group what arrives together into one transaction and one fsync; readers use
 * connections of their own and never hold a read transaction while the caller works: a cursor reads
 * a window, closes it, then hands out its rows.
 *
 * ERR_UNAVAILABLE: the back end cannot be reached or the disk refuses; ERR_AGAIN: a bounded queue
 * stayed full past the deadline; ERR_CLOSED: after storage_stop(). */
#ifndef HYPRXA_STORAGE_STORAGE_H
#define HYPRXA_STORAGE_STORAGE_H

#include "base/buf.h"
#include "base/error.h"
#include "base/message.h"
#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;
struct storage;

enum storage_remote_collection {
    STORAGE_REMOTE_TOPICS,
    STORAGE_REMOTE_UNITOPS,
    STORAGE_REMOTE_EVENTS,
    STORAGE_REMOTE_TIMESERIES,
    STORAGE_REMOTE_COLLECTIONS
};

/* Of a database outside this process.  Names are borrowed and outlive the storage. */
struct storage_remote {
    const char *data_dir; /* of the journal in front of it */
    uint64_t journal_max; /* bytes that may wait in the journal; 0: 1 GiB */
    const char *app_name; /* shown to the server */
    const char *collections[STORAGE_REMOTE_COLLECTIONS][2];           /* database, collection */
    int64_t server_selection_ms, connect_ms, socket_ms, heartbeat_ms; /* 0: 2, 10, 10, 20 s */
    size_t max_pool_size;                                             /* 0: 25 */
    int64_t event_interval_ms; /* between writes of a few events; 0: 100 */
    bool original_documents;   /* nothing in them that the original system does not write */
};

struct storage_options {
    const char *uri; /* sqlite:///path/hyprxa.db (series.db beside it) or mongodb://... */
    struct storage_remote remote;
    uint64_t origin; /* this node; 0: read from, or made and kept in, the data directory */
    int64_t flush_interval_us; /* samples: longest time in memory only; 0.2-1 s */
    size_t max_queued_events;  /* storage_event_append() waits beyond this; default 10,000 */
    size_t max_queued_samples; /* storage_samples_append() waits beyond this; default 1,000,000 */
    int64_t expire_after_us;   /* samples and events older than this are dropped; 0: never */
    int64_t logs_expire_after_us; /* the same of logs */
    bool events_only;             /* no samples and no states: of a journal */
};

/* --- life cycle [control] --- */
int storage_open(const struct storage_options *options, struct storage **ret, struct error *err);
/* Called by the committing writer after each commit, in commit order, with the messages of the
 * events just made durable (references lent for the call).  It must only pass them on (broker_publish
 * queues).  Set before the first append. */
typedef void storage_committed_fn(void *ctx, const char *const *keys,
                                  struct message *const *messages, size_t n);
void storage_on_event_commit(struct storage *st, storage_committed_fn *fn, void *ctx);
void storage_stop(struct storage *st); /* flush everything, join the writers; idempotent */
void storage_close(struct storage *st);

/* --- documents: topics and unitops (and later users) --- */
enum storage_collection { STORAGE_TOPICS, STORAGE_UNITOPS };

/* Insert or replace the document `key`.  `document` is an object; member `modified_at` is int64
 * microseconds, handed back the same way.  *ret_inserted (may be NULL): there was none before. */
int storage_document_save(struct storage *st, enum storage_collection c, const char *key,
                          struct json_object *document, bool *ret_inserted, struct error *err);
/* ERR_NOT_FOUND; the caller puts *ret. */
int storage_document_get(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err);
/* `each` gets the documents in order of key, returns false to stop.  `filter` is a Mongo-style query
 * object or NULL.  ERR_UNSUPPORTED names an operator that is not offered. */
typedef bool storage_document_fn(void *ctx, const char *key, struct json_object *document);
int storage_document_find(struct storage *st, enum storage_collection c, struct json_object *filter,
                          storage_document_fn *each, void *ctx, struct error *err);

/* --- events --- */
struct storage_event {
    const char *topic, *routing_key; /* routing_key as posted; absent: the topic */
    const char *full_key;            /* topic or topic.<routing_key>: what is published and bound */
    const char *payload;             /* compact JSON */
    size_t payload_len;
    const char *posted_by; /* NULL: null */
    int64_t time_us;
};

/* Append and wait until durable.  The body of the message published after the commit is the event
 * document: {"topic","routing_key","payload","timestamp","posted_by"}.  Concurrent callers share a
 * commit; a lone caller commits itself when the writer is idle.  ERR_AGAIN: no room until
 * `deadline_ms`, nothing was taken.  [worker] */
int storage_event_append(struct storage *st, const struct storage_event *event, int64_t deadline_ms,
                         struct message_id *ret_id, struct error *err);

/* The newest event of `topic`, or of one key in it (raw or full; NULL: any). The document is compact
 * JSON text appended to `out`.  ERR_NOT_FOUND. */
int storage_event_last(struct storage *st, const char *topic, const char *routing_key,
                       struct buf *out, struct error *err);
/* For each distinct stored key of `topic` that matches the regular expression (PCRE2, search,
 * case-insensitive; NULL: all) the newest event, documents joined by ',' in order of key.
 * ERR_INVALID: bad expression; ERR_LIMIT: matching takes too many steps or too long, or `out` is
 * full. */
int storage_event_query(struct storage *st, const char *topic, const char *regex, struct buf *out,
                        size_t *ret_n, struct error *err);

/* A row of a range, borrowed until the next call on the cursor. */
struct storage_event_row {
    int64_t time_us;
    const char *posted_by; /* NULL: null */
    const char *topic, *routing_key;
    const char *payload; /* compact JSON */
    size_t payload_len;
    struct message_id id;
};
struct storage_event_cursor;
/* Events with start <= time <= end, by time then id.  `regex` as above.  ERR_INVALID;
 * storage_event_next() may say ERR_LIMIT. */
int storage_event_range(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                        int64_t end_us, struct storage_event_cursor **ret, struct error *err);
/* 1: a row, 0: the end, negative: an error. */
int storage_event_next(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                       struct error *err);
void storage_event_cursor_close(struct storage_event_cursor *cursor);

/* Follow the events of all topics in order of their number: those after `after` whose full key
 * `wanted` picks (asked once per key or a few times) and whose time is not before `since_us`.  Such a
 * cursor reads one window of at most 100 ms at a time: storage_event_next() says 1 for each row of
 * it, then 0; the next call reads on, as often as the caller likes. */
typedef bool storage_key_wanted_fn(void *ctx, const char *full_key);
int storage_event_follow(struct storage *st, uint64_t after, int64_t since_us,
                         storage_key_wanted_fn *wanted, void *ctx,
                         struct storage_event_cursor **ret, struct error *err);
/* Up to which number the window reached, wanted or not; true: nothing later was stored then. */
bool storage_event_followed(const struct storage_event_cursor *cursor, uint64_t *ret_sequence);
/* The number behind which to follow all events that are not before `time_us`. */
int storage_event_since(struct storage *st, int64_t time_us, uint64_t *ret_after,
                        struct error *err);
/* What is known of the place of an event. */
struct storage_event_place {
    bool stored;       /* it is there; else it has expired, or never was */
    int64_t time_us;   /* of it */
    uint64_t oldest;   /* first number stored after it; 0: none */
    int64_t oldest_us; /* time of that */
    uint64_t newest;   /* last number given */
};
int storage_event_place(struct storage *st, const struct message_id *id,
                        struct storage_event_place *ret, struct error *err);
/* How far the events have reached who must get them live, kept durably by its user: of the first call
 * ever, the last number given.  A journal keeps the events behind it. */
int storage_event_published(struct storage *st, uint64_t *ret_sequence, struct error *err);
int storage_event_set_published(struct storage *st, uint64_t sequence, struct error *err);

/* --- samples --- */

/* Queue a block (a reference is taken on success).  Readers see it at once; it is durable after the
 * next flush, together with its states.  The first write of (series, time) wins.  Waits for room
 * until `deadline_ms`: ERR_AGAIN, nothing taken.  [any], one thread per source */
int storage_samples_append(struct storage *st, struct sample_block *block, int64_t deadline_ms,
                           struct error *err);
/* Wait until all that was appended before is durable.  [any] */
int storage_samples_flush(struct storage *st, struct error *err);

/* What reads of a series hand out.  `samples` are borrowed until the next call. */
struct storage_sample_cursor;
enum storage_order { STORAGE_ASCENDING, STORAGE_DESCENDING };
/* Samples of `series` with start <= time <= end.  A series never written has none. */
int storage_samples_range(struct storage *st, struct series *series, int64_t start_us,
                          int64_t end_us, enum storage_order order,
                          struct storage_sample_cursor **ret, struct error *err);
/* Up to a few thousand samples at a time in the asked order: > 0 how many, 0 the end, negative. */
long storage_samples_next(struct storage_sample_cursor *cursor, const struct sample **ret,
                          struct error *err);
void storage_samples_cursor_close(struct storage_sample_cursor *cursor);
/* Hold about `bytes` of the series in memory at a time; for who reads many side by side.  Before the
 * first storage_samples_next(). */
void storage_samples_cursor_window(struct storage_sample_cursor *cursor, size_t bytes);
/* Whether damaged data was left out of what the cursor handed out so far. */
bool storage_samples_incomplete(const struct storage_sample_cursor *cursor);
/* Time of the newest stored sample; ERR_NOT_FOUND when there is none. */
int storage_samples_last_time(struct storage *st, struct series *series, int64_t *ret_us,
                              struct error *err);

/* --- logs: documents of contract 8.1 as compact JSON texts, kept in a place of their own --- */
struct storage_log {
    int64_t time_us; /* of its `timestamp` */
    const char *document;
    size_t len;
};
/* Append all or none; safe from then on from a crash of this process.  The documents come back as
 * they are; what a back end adds (a date for a TTL index) is its own.  One thread at a time, also
 * with the next. */
int storage_logs_append(struct storage *st, const struct storage_log *logs, size_t n,
                        struct error *err);
/* Delete a few thousand of those that have expired: 1 more may be left, 0 done (at once where the
 * back end does it by itself), negative. */
int storage_logs_purge(struct storage *st, int64_t now_us, size_t *ret_n, struct error *err);
/* Logs with start <= time <= end that match `filter` (NULL: all; as for
 * documents), by time, then order of arrival.  ERR_INVALID, ERR_UNSUPPORTED: of the filter. */
struct storage_log_cursor;
int storage_logs_range(struct storage *st, int64_t start_us, int64_t end_us,
                       struct json_object *filter, struct storage_log_cursor **ret,
                       struct error *err);
/* 1: a log, borrowed until the next call on the cursor; 0: the end; negative. */
int storage_logs_next(struct storage_log_cursor *cursor, struct storage_log *ret,
                      struct error *err);
void storage_logs_cursor_close(struct storage_log_cursor *cursor);

/* --- plugin state --- */
int storage_state_get(struct storage *st, const char *source, const char *key, struct buf *out,
                      struct error *err); /* ERR_NOT_FOUND */

/* --- queries [any] --- */
struct storage_stats {
    uint64_t events_committed, events_failed, event_commits; /* event_commits: transactions */
    uint64_t events_queued;
    uint64_t samples_stored, samples_duplicate, samples_failed, samples_queued;
    uint64_t chunks_written, log_rows;
    uint64_t bytes_on_disk;
    uint64_t samples_expired; /* dropped by retention */
    uint64_t damaged;         /* chunks and log rows that could not be read */
    /* Of a journal: events and bytes that the database does not have yet; events it refused. */
    uint64_t journal_events, journal_bytes, journal_refused, journal_forwarded;
    int64_t journal_age_ms; /* of the oldest, about */
    double journal_rate;    /* events a second that the database took, of the last ten */
};
void storage_get_stats(struct storage *st, struct storage_stats *ret);
int storage_ping(struct storage *st, struct error *err); /* can it be written and read now? */
bool storage_shared(const struct storage *st); /* may other processes write documents in it? */
uint64_t storage_origin(const struct storage *st);
uint64_t storage_epoch(const struct storage *st); /* raised durably by each storage_open() */

#endif
