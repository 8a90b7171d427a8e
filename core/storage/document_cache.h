/* Documents by name, compiled once and shared by requests: what topics and unitops keep in memory.
 *
 * An entry is built from the stored document at its first use and dropped when the document is saved
 * or the cache is full.  A build that raced with a save is handed out but not kept.  An entry that was
 * not looked at in the storage for a while is compared with it when it is asked for: where other
 * processes write there, too, by a thread of the cache, and no request waits for that.  It is handed
 * out as it is where the storage is away.  [any] */
#ifndef HYPRXA_STORAGE_DOCUMENT_CACHE_H
#define HYPRXA_STORAGE_DOCUMENT_CACHE_H

#include "base/error.h"
#include "storage/storage.h"

#include <stddef.h>

struct document_cache;

struct document_cache_type {
    enum storage_collection collection;
    /* Make the shared object of a document (borrowed), with one reference for the caller. */
    int (*build)(const char *key, struct json_object *document, void **ret, struct error *err);
    void (*ref)(void *object);
    void (*unref)(void *object);
};

struct document_cache_options {
    int64_t ttl_ms;   /* after which a document is read again, whoever wrote it; 0: a day */
    int64_t stale_ms; /* the same where other processes write in the storage, too; 0: 5 s */
    /* A document was saved here: tell other nodes.  NULL: nobody. */
    void (*saved)(void *ctx, enum storage_collection c, const char *key);
    void *ctx;
};

int document_cache_new(struct storage *st, const struct document_cache_type *type,
                       size_t max_entries, const struct document_cache_options *options,
                       struct document_cache **ret, struct error *err);
void document_cache_free(struct document_cache *c);

/* *ret is the caller's to unref.  ERR_NOT_FOUND and the storage's errors; 404s are not cached. */
int document_cache_get(struct document_cache *c, const char *key, void **ret, struct error *err);
/* Save through the cache: stored first, then forgotten here. */
int document_cache_save(struct document_cache *c, const char *key, struct json_object *document,
                        struct error *err);

/* Another node saved it: compare it with the storage.  Does not wait for that. */
void document_cache_recheck(struct document_cache *c, const char *key);

/* --- what every such document carries: its name, who saved it and when --- */

/* Save `document`, whose members `name_member`, `modified_by` (`user`; NULL: null) and `modified_at`
 * (now) are set here. */
int document_cache_save_stamped(struct document_cache *c, const char *key, const char *name_member,
                                const char *user, struct json_object *document, struct error *err);
/* Append `,"modified_by":…,"modified_at":"<ISO>"}`, which ends every document as clients see it. */
int document_write_stamp(struct buf *out, struct json_object *document);

#endif
