#include "storage/document_cache.h"

#include "base/json.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

struct document_cache {
    struct storage *storage; /* set at init, then const */
    const struct document_cache_type *type;
    size_t max_entries;
    pthread_rwlock_t lock;
    /* guarded by lock */
    struct map entries;
    uint64_t generation; /* counts saves: a build that began before one is not kept */
};

int document_cache_new(struct storage *st, const struct document_cache_type *type,
                       size_t max_entries, struct document_cache **ret, struct error *err)
{
    struct document_cache *c = calloc(1, sizeof *c);
    if (!c || pthread_rwlock_init(&c->lock, NULL) != 0) {
        free(c);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    c->storage = st;
    c->type = type;
    c->max_entries = max_entries;
    map_init(&c->entries);
    *ret = c;
    return 0;
}

void document_cache_free(struct document_cache *c)
{
    if (!c)
        return;
    map_release(&c->entries, c->type->unref);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

static void *find(struct document_cache *c, const char *key, uint64_t *ret_generation)
{
    pthread_rwlock_rdlock(&c->lock);
    void *object = map_get(&c->entries, key, strlen(key));
    if (object)
        c->type->ref(object);
    *ret_generation = c->generation;
    pthread_rwlock_unlock(&c->lock);
    return object;
}

/* Keep `object` unless a save came between; failing to keep it costs only time. */
static void keep(struct document_cache *c, const char *key, void *object, uint64_t generation)
{
    void *old = NULL;
    pthread_rwlock_wrlock(&c->lock);
    if (generation == c->generation) {
        if (c->entries.n >= c->max_entries) {
            map_release(&c->entries, c->type->unref);
            map_init(&c->entries);
        }
        c->type->ref(object);
        if (map_set(&c->entries, key, strlen(key), object, &old) != 0)
            old = object;
    }
    pthread_rwlock_unlock(&c->lock);
    if (old)
        c->type->unref(old);
}

int document_cache_get(struct document_cache *c, const char *key, void **ret, struct error *err)
{
    uint64_t generation;
    void *object = find(c, key, &generation);
    if (!object) {
        struct json_object *document = NULL;
        int rc = storage_document_get(c->storage, c->type->collection, key, &document, err);
        if (!rc)
            rc = c->type->build(key, document, &object, err);
        json_object_put(document);
        if (rc)
            return rc;
        keep(c, key, object, generation);
    }
    *ret = object;
    return 0;
}

int document_cache_save(struct document_cache *c, const char *key, struct json_object *document,
                        struct error *err)
{
    int rc = storage_document_save(c->storage, c->type->collection, key, document, NULL, err);
    pthread_rwlock_wrlock(&c->lock);
    c->generation++;
    void *old = map_remove(&c->entries, key, strlen(key));
    pthread_rwlock_unlock(&c->lock);
    if (old)
        c->type->unref(old);
    return rc;
}

int document_cache_save_stamped(struct document_cache *c, const char *key, const char *name_member,
                                const char *user, struct json_object *document, struct error *err)
{
    struct json_object *name = json_object_new_string(key);
    struct json_object *by = user ? json_object_new_string(user) : NULL;
    struct json_object *at = json_object_new_int64(time_now_us());
    if (!name || !at || (user && !by) || json_object_object_add(document, name_member, name) ||
        json_object_object_add(document, "modified_by", by) ||
        json_object_object_add(document, "modified_at", at))
        return error_set(err, ERR_NOMEM, "out of memory");
    return document_cache_save(c, key, document, err);
}

int document_write_stamp(struct buf *out, struct json_object *document)
{
    const char *by = json_get_string(document, "modified_by", NULL);
    char at[TIME_ISO_SIZE];
    time_format_iso(json_get_int(document, "modified_at", 0), at);
    buf_append_lit(out, ",\"modified_by\":");
    if (by)
        json_write_string(out, by, strlen(by));
    else
        buf_append_lit(out, "null");
    return buf_printf(out, ",\"modified_at\":\"%s\"}", at);
}
