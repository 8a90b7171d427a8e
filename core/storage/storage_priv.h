/* What the files of storage/ share: the table a back end fills, and the store of series.
 *
 * storage.c holds the public functions; each looks up `ops` and nothing else.  A back end embeds
 * struct storage (and the cursors) as its first member.  Required operations come first and are
 * checked at open. */
#ifndef HYPRXA_STORAGE_STORAGE_PRIV_H
#define HYPRXA_STORAGE_STORAGE_PRIV_H

#include "storage/storage.h"

struct storage_ops {
    const char *name;
    const char *scheme; /* "sqlite:" */
    bool shared;        /* with other processes */
    int (*open)(const struct storage_options *options, struct storage **ret, struct error *err);
    void (*stop)(struct storage *st);
    void (*close)(struct storage *st); /* after stop */
    void (*on_event_commit)(struct storage *st, storage_committed_fn *fn, void *ctx);

    int (*document_save)(struct storage *st, enum storage_collection c, const char *key,
                         struct json_object *document, bool *ret_inserted, struct error *err);
    int (*document_get)(struct storage *st, enum storage_collection c, const char *key,
                        struct json_object **ret, struct error *err);
    int (*document_find)(struct storage *st, enum storage_collection c, struct json_object *filter,
                         storage_document_fn *each, void *ctx, struct error *err);

    int (*event_append)(struct storage *st, const struct storage_event *event, int64_t deadline_ms,
                        struct message_id *ret_id, struct error *err);
    int (*event_last)(struct storage *st, const char *topic, const char *routing_key,
                      struct buf *out, struct error *err);
    int (*event_query)(struct storage *st, const char *topic, const char *regex, struct buf *out,
                       size_t *ret_n, struct error *err);
    int (*event_range)(struct storage *st, const char *topic, const char *regex, int64_t start_us,
                       int64_t end_us, struct storage_event_cursor **ret, struct error *err);
    int (*event_next)(struct storage_event_cursor *cursor, struct storage_event_row *ret,
                      struct error *err);
    void (*event_cursor_close)(struct storage_event_cursor *cursor);
    int (*event_follow)(struct storage *st, uint64_t after, int64_t since_us,
                        storage_key_wanted_fn *wanted, void *ctx, struct storage_event_cursor **ret,
                        struct error *err);
    bool (*event_followed)(const struct storage_event_cursor *cursor, uint64_t *ret_sequence);
    int (*event_since)(struct storage *st, int64_t time_us, uint64_t *ret_after, struct error *err);
    int (*event_place)(struct storage *st, const struct message_id *id,
                       struct storage_event_place *ret, struct error *err);
    int (*event_published)(struct storage *st, uint64_t *ret_sequence, struct error *err);
    int (*event_set_published)(struct storage *st, uint64_t sequence, struct error *err);

    int (*samples_append)(struct storage *st, struct sample_block *block, int64_t deadline_ms,
                          struct error *err);
    int (*samples_flush)(struct storage *st, struct error *err);
    int (*samples_range)(struct storage *st, struct series *series, int64_t start_us,
                         int64_t end_us, enum storage_order order,
                         struct storage_sample_cursor **ret, struct error *err);
    long (*samples_next)(struct storage_sample_cursor *cursor, const struct sample **ret,
                         struct error *err);
    void (*samples_cursor_close)(struct storage_sample_cursor *cursor);
    int (*samples_last_time)(struct storage *st, struct series *series, int64_t *ret_us,
                             struct error *err);
    int (*state_get)(struct storage *st, const char *source, const char *key, struct buf *out,
                     struct error *err);

    int (*logs_append)(struct storage *st, const struct storage_log *logs, size_t n,
                       struct error *err);
    int (*logs_purge)(struct storage *st, int64_t now_us, size_t *ret_n, struct error *err);
    int (*logs_range)(struct storage *st, int64_t start_us, int64_t end_us,
                      struct json_object *filter, struct storage_log_cursor **ret,
                      struct error *err);
    int (*logs_next)(struct storage_log_cursor *cursor, struct storage_log *ret, struct error *err);
    void (*logs_cursor_close)(struct storage_log_cursor *cursor);

    void (*get_stats)(struct storage *st, struct storage_stats *ret); /* `ret` comes zeroed */
    int (*ping)(struct storage *st, struct error *err);
};

struct storage {
    const struct storage_ops *ops;
    uint64_t origin, epoch;
};

/* First members of a back end's cursors; storage.c sets them. */
struct storage_event_cursor {
    const struct storage_ops *ops;
};
struct storage_sample_cursor {
    const struct storage_ops *ops;
    size_t window_bytes; /* asked for; 0: the back end's choice */
    bool incomplete;     /* the back end left damaged data out */
};
struct storage_log_cursor {
    const struct storage_ops *ops;
};

extern const struct storage_ops storage_sqlite_ops;
extern const struct storage_ops storage_journal_ops; /* a database elsewhere, behind a journal */

/* --- the store of series: samples and plugin state in series.db (series*.c) --- */

struct series_store;

struct series_store_options {
    const char *path;          /* of series.db; the folder is there, and locked by us */
    int64_t flush_interval_us; /* as in struct storage_options, defaults filled in */
    size_t max_queued_samples;
    int64_t expire_after_us;
};

/* Each does what the storage_ function of its name promises in storage.h. */
int series_store_open(const struct series_store_options *options, struct series_store **ret,
                      struct error *err);
void series_store_stop(struct series_store *ss);  /* flush, join; idempotent */
void series_store_close(struct series_store *ss); /* after stop; NULL is fine */
int series_store_append(struct series_store *ss, struct sample_block *block, int64_t deadline_ms,
                        struct error *err);
int series_store_flush(struct series_store *ss, struct error *err);
int series_store_range(struct series_store *ss, struct series *series, int64_t start_us,
                       int64_t end_us, enum storage_order order, struct storage_sample_cursor **ret,
                       struct error *err);
long series_store_next(struct storage_sample_cursor *cursor, const struct sample **ret,
                       struct error *err);
void series_store_cursor_close(struct storage_sample_cursor *cursor);
int series_store_last_time(struct series_store *ss, struct series *series, int64_t *ret_us,
                           struct error *err);
int series_store_state_get(struct series_store *ss, const char *source, const char *key,
                           struct buf *out, struct error *err);
/* Set the members of samples, chunks and log; add to bytes_on_disk. */
void series_store_stats(struct series_store *ss, struct storage_stats *ret);
int series_store_ping(struct series_store *ss, struct error *err);

#endif
