/* A journal in front of a database outside this process: accepted is durable here, and stays here
 * until the database has it.
 *
 * Events are committed to an embedded storage (journal.db), which numbers them; samples and plugin
 * states go to the spool.  One thread, the forwarder (journal_forward.c), writes both to the database,
 * in order, again and again until it has them.  Reads (journal_read.c) come from the database; a read
 * first waits until what was accepted before it has got there. */
#ifndef HYPRXA_STORAGE_JOURNAL_PRIV_H
#define HYPRXA_STORAGE_JOURNAL_PRIV_H

#include "base/backoff.h"
#include "storage/spool.h"
#include "storage/sqlite_priv.h"

enum {
    JOURNAL_ROWS = 500,           /* events of one write */
    JOURNAL_EVENT_OVERHEAD = 200, /* bytes of a row beside its payload, about */
};

struct journal {
    struct storage base;
    /* set at open, then const */
    struct storage *local;
    const struct remote_ops *ops;
    void *remote;
    struct spool *spool; /* the forwarder's */
    char *refused_path;  /* events that the database refuses for good, a line each */
    int64_t flush_interval_us, event_interval_ms;
    size_t max_queued_samples;
    uint64_t max_bytes;
    pthread_t thread;
    bool started;

    /* set before the first append */
    storage_committed_fn *committed;
    void *committed_ctx;

    pthread_mutex_t lock;
    pthread_cond_t wake;    /* the forwarder has work */
    pthread_cond_t changed; /* something became durable or got there, or failed */
    /* guarded by lock */
    uint64_t newest, forwarded; /* numbers of events */
    uint64_t recovered;         /* what was forwarded by the last run */
    double rate;                /* of forwarding, measured once in RATE_MS */
    uint64_t rate_forwarded;
    int64_t rate_ms;
    int64_t events_since_ms; /* when the oldest that is not forwarded came */
    struct sample_block **queue;
    size_t n_queue, cap_queue, queued_samples;
    int64_t queue_since_ms;                /* when the oldest in the queue came */
    uint64_t appended, durable, delivered; /* blocks */
    uint64_t asked;                        /* reads and flushes that wait */
    bool sleeping, stopping;
    struct error failure; /* code 0: the last attempt succeeded */
    uint64_t attempts;    /* counted when one ends */

    /* the forwarder's own */
    struct backoff backoff;
    int64_t retry_ms, tend_ms, forget_ms;
    uint64_t spooled; /* blocks behind the rows of the spool */

    /* atomic */
    atomic_ullong event_bytes;     /* waiting for the database */
    atomic_ullong held_bytes;      /* and for the broker only, about */
    atomic_ullong weight, weighed; /* of the events accepted since the start */
    atomic_ullong published; /* what the broker had a while ago; without one, the highest number */

    /* of who keeps that mark */
    uint64_t published_next;
    int64_t published_next_ms;
    atomic_ullong samples_stored, samples_duplicate, samples_dropped, samples_failed, refused;
    atomic_ullong spool_bytes;
};

static inline struct journal *journal_of(struct storage *st)
{
    return (struct journal *)st; /* its first member */
}

/* What a waiting event counts for, in bytes. */
static inline uint64_t journal_weight(size_t payload_len)
{
    return payload_len + JOURNAL_EVENT_OVERHEAD;
}

static inline void journal_wake_locked(struct journal *j)
{
    if (j->sleeping)
        pthread_cond_signal(&j->wake);
}

/* --- journal_forward.c --- */
void *journal_forward(void *journal); /* the forwarder */

/* --- journal_read.c: operations of the table, storage.h says what they do --- */
int journal_document_save(struct storage *st, enum storage_collection c, const char *key,
                          struct json_object *document, bool *ret_inserted, struct error *err);
int journal_document_get(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err);
int journal_document_find(struct storage *st, enum storage_collection c, struct json_object *filter,
                          storage_document_fn *each, void *ctx, struct error *err);
int journal_event_last(struct storage *st, const char *topic, const char *routing_key,
                       struct buf *out, struct error *err);
int journal_event_query(struct storage *st, const char *topic, const char *regex, struct buf *out,
                        size_t *ret_n, struct error *err);
int journal_event_range(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                        int64_t end_us, struct storage_event_cursor **ret, struct error *err);
int journal_event_next(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                       struct error *err);
void journal_event_cursor_close(struct storage_event_cursor *cursor);
int journal_event_follow(struct storage *st, uint64_t after, int64_t since_us,
                         storage_key_wanted_fn *wanted, void *ctx,
                         struct storage_event_cursor **ret, struct error *err);
bool journal_event_followed(const struct storage_event_cursor *cursor, uint64_t *ret_sequence);
int journal_event_since(struct storage *st, int64_t time_us, uint64_t *ret_after,
                        struct error *err);
int journal_event_place(struct storage *st, const struct message_id *id,
                        struct storage_event_place *ret, struct error *err);
int journal_event_published(struct storage *st, uint64_t *ret_sequence, struct error *err);
int journal_event_set_published(struct storage *st, uint64_t sequence, struct error *err);
int journal_samples_range(struct storage *st, struct series *series, int64_t start_us,
                          int64_t end_us, enum storage_order order,
                          struct storage_sample_cursor **ret, struct error *err);
long journal_samples_next(struct storage_sample_cursor *cursor, const struct sample **ret,
                          struct error *err);
void journal_samples_cursor_close(struct storage_sample_cursor *cursor);
int journal_samples_last_time(struct storage *st, struct series *series, int64_t *ret_us,
                              struct error *err);
int journal_state_get(struct storage *st, const char *source, const char *key, struct buf *out,
                      struct error *err);

#endif
