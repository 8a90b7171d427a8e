/* A database outside this process, as the journal in front of it (journal.c) uses it.
 *
 * Writes come from one thread and in order; they may come twice, after a crash or a lost answer, and
 * must then change nothing.  Reads come from any thread.  Every operation may say ERR_UNAVAILABLE:
 * the server cannot be reached, try again later.  ERR_INVALID: it is there and refuses this very
 * write, which will never succeed.  A module implements one const table (backends/mongodb.so). */
#ifndef HYPRXA_STORAGE_REMOTE_H
#define HYPRXA_STORAGE_REMOTE_H

#include "storage/storage.h"

/* A sample series as the database knows it. */
struct remote_series {
    const char *source, *canonical; /* the subscription as canonical JSON */
    int64_t hash;
};

struct remote_samples {
    struct remote_series series;
    const struct sample *samples; /* rising in time */
    size_t n;
};

struct remote_state {
    const char *source, *key;
    const void *bytes;
    size_t len;
};

struct remote_event_cursor;
struct remote_sample_cursor;

struct remote_ops {
    const char *name;
    /* A server that is away is no error.  Opens no connection before it is needed.  [control] */
    int (*open)(const struct storage_options *options, void **ret, struct error *err);
    void (*close)(void *self);
    int (*ping)(void *self, struct error *err);
    /* Make indexes, drop what has expired where the server does not by itself.  Now and then, by the
     * thread that writes. */
    int (*tend)(void *self, struct error *err);

    int (*document_save)(void *self, enum storage_collection c, const char *key,
                         struct json_object *document, bool *ret_inserted, struct error *err);
    int (*document_get)(void *self, enum storage_collection c, const char *key,
                        struct json_object **ret, struct error *err);
    int (*document_find)(void *self, enum storage_collection c, struct json_object *filter,
                         storage_document_fn *each, void *ctx, struct error *err);

    /* Events of this node in order of their number.  *ret_done: how many of them are in the database
     * now; on ERR_INVALID the next one is what it refuses. */
    int (*events_write)(void *self, const struct storage_event_row *rows, size_t n,
                        size_t *ret_done, struct error *err);
    int (*event_last)(void *self, const char *topic, const char *routing_key, struct buf *out,
                      struct error *err);
    int (*event_query)(void *self, const char *topic, const char *regex, struct buf *out,
                       size_t *ret_n, struct error *err);
    int (*event_range)(void *self, const char *topic, const char *regex, int64_t start_us,
                       int64_t end_us, struct remote_event_cursor **ret, struct error *err);
    int (*event_next)(struct remote_event_cursor *cursor, struct storage_event_row *ret,
                      struct error *err);
    void (*event_cursor_close)(struct remote_event_cursor *cursor);

    /* *ret_duplicate: how many (series, time) were there already, in milliseconds as the database
     * keeps them. */
    int (*samples_write)(void *self, const struct remote_samples *runs, size_t n,
                         size_t *ret_duplicate, struct error *err);
    int (*samples_range)(void *self, const struct remote_series *series, int64_t start_us,
                         int64_t end_us, enum storage_order order,
                         struct remote_sample_cursor **ret, struct error *err);
    long (*samples_next)(struct remote_sample_cursor *cursor, const struct sample **ret,
                         struct error *err);
    void (*samples_cursor_close)(struct remote_sample_cursor *cursor);
    int (*samples_last_time)(void *self, const struct remote_series *series, int64_t *ret_us,
                             struct error *err);

    int (*state_put)(void *self, const struct remote_state *state, struct error *err);
    int (*state_get)(void *self, const char *source, const char *key, struct buf *out,
                     struct error *err);
};

extern const struct remote_ops remote_mongodb_ops;

#endif
