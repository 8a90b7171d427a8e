/* What the files of the MongoDB module share: the pool, errors, and BSON from and to our values. */
#ifndef HYPRXA_STORAGE_MONGODB_PRIV_H
#define HYPRXA_STORAGE_MONGODB_PRIV_H

#include "base/map.h"
#include "storage/remote.h"

#include <mongoc/mongoc.h>
#include <stdatomic.h>

struct mongodb {
    /* set at open, then const */
    mongoc_client_pool_t *pool;
    const char *names[STORAGE_REMOTE_COLLECTIONS][2]; /* database, collection */
    int64_t expire_after_us;
    bool with_quality;          /* else documents are exactly the original system's */
    atomic_bool no_array_index; /* the server cannot tell the place of an element */
    /* the writing thread's own */
    struct map buckets; /* "topic\0routing_key" -> struct bucket: where its next event goes */
    bool indexed;
    bool has_ttl; /* the server expires documents by itself */
    int64_t purge_ms;
};

/* --- mongodb.c: a connection for the time of one operation --- */

struct use {
    mongoc_client_t *client;
    mongoc_collection_t *collection;
    mongoc_client_pool_t *pool;
};
void use_begin(struct mongodb *m, enum storage_remote_collection c, struct use *ret);
void use_begin_named(struct mongodb *m, const char *database, const char *collection,
                     struct use *ret);
void use_end(struct use *u);

/* ERR_UNAVAILABLE, ERR_INVALID, or ERR_UNSUPPORTED (the server does not implement it). */
int mongodb_error(const bson_error_t *e, const char *what, struct error *err);
enum { MONGODB_DUPLICATE_KEY = 11000 };
/* Of a bulk's reply: how many writes failed because their key is there, and the index of the first of
 * them; the first other failure is in *ret_other (code 0: none). */
struct bulk_failures {
    size_t duplicates;
    bson_error_t other;
};
void mongodb_read_failures(const bson_t *reply, struct bulk_failures *ret);

/* --- mongodb_bson.c --- */

static inline int64_t to_ms(int64_t time_us) /* rounds down, before 1970, too */
{
    return time_us >= 0 ? time_us / 1000 : (time_us - 999) / 1000;
}
static inline int64_t to_ms_up(int64_t time_us)
{
    return -to_ms(-time_us);
}

/* Append a json-c value.  ERR_INVALID: a key with U+0000, which BSON cannot hold; too deep. */
int bson_append_json(bson_t *out, const char *key, size_t key_len, struct json_object *value,
                     struct error *err);
int bson_append_json_text(bson_t *out, const char *key, const char *text, size_t len,
                          struct error *err);
/* A document of an object's members, as they are. */
int bson_from_json(struct json_object *object, bson_t *ret, struct error *err);
/* The value as compact JSON: dates as ISO text, ObjectIds as hexadecimal, binary as base64. */
int bson_write_json(struct buf *out, const bson_iter_t *value);
/* The same as a json-c value; ERR_NOMEM.  NULL is null. */
int bson_to_json(const bson_iter_t *value, struct json_object **ret);
/* A member of a document, of any nesting, by name; false: there is none. */
bool bson_find(const bson_t *document, const char *name, bson_iter_t *ret);
const char *bson_text(const bson_t *document, const char *name); /* NULL: no text there; borrowed */
int64_t bson_int(const bson_t *document, const char *name, int64_t otherwise);
int64_t bson_time_us(const bson_t *document, const char *name, int64_t otherwise);

/* --- mongodb_documents.c --- */
int mongodb_document_save(void *self, enum storage_collection c, const char *key,
                          struct json_object *document, bool *ret_inserted, struct error *err);
int mongodb_document_get(void *self, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err);
int mongodb_document_find(void *self, enum storage_collection c, struct json_object *filter,
                          storage_document_fn *each, void *ctx, struct error *err);
int mongodb_state_put(void *self, const struct remote_state *state, struct error *err);
int mongodb_state_get(void *self, const char *source, const char *key, struct buf *out,
                      struct error *err);

/* --- mongodb_buckets.c: writing events --- */
int mongodb_events_write(void *self, const struct storage_event_row *rows, size_t n,
                         size_t *ret_done, struct error *err);

/* --- mongodb_events.c: reading them --- */
int mongodb_event_last(void *self, const char *topic, const char *routing_key, struct buf *out,
                       struct error *err);
int mongodb_event_query(void *self, const char *topic, const char *regex, struct buf *out,
                        size_t *ret_n, struct error *err);
int mongodb_event_range(void *self, const char *topic, const char *regex, int64_t start_us,
                        int64_t end_us, struct remote_event_cursor **ret, struct error *err);
int mongodb_event_next(struct remote_event_cursor *cursor, struct storage_event_row *ret,
                       struct error *err);
void mongodb_event_cursor_close(struct remote_event_cursor *cursor);

/* --- mongodb_samples.c --- */
int mongodb_samples_write(void *self, const struct remote_samples *runs, size_t n,
                          size_t *ret_duplicate, struct error *err);
int mongodb_samples_range(void *self, const struct remote_series *series, int64_t start_us,
                          int64_t end_us, enum storage_order order,
                          struct remote_sample_cursor **ret, struct error *err);
long mongodb_samples_next(struct remote_sample_cursor *cursor, const struct sample **ret,
                          struct error *err);
void mongodb_samples_cursor_close(struct remote_sample_cursor *cursor);
int mongodb_samples_last_time(void *self, const struct remote_series *series, int64_t *ret_us,
                              struct error *err);

#endif
