#include "storage/document_cache.h"

#include "base/json.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TTL_MS = 86400 * 1000, STALE_MS = 5000 };

struct entry {
    void *object;
    int64_t modified_at;
    _Atomic int64_t due_ms; /* when it is to be compared with the storage */
};

struct document_cache {
    /* set at init, then const */
    struct storage *storage;
    const struct document_cache_type *type;
    struct document_cache_options options;
    size_t max_entries;
    int64_t fresh_ms;

    pthread_rwlock_t lock;
    /* guarded by lock */
    struct map entries;
    uint64_t generation; /* counts saves: a build that began before one is not kept */

    pthread_mutex_t due_lock;
    pthread_cond_t changed; /* something is due, or stopping was set */
    /* guarded by due_lock */
    struct map due; /* keys whose entries are to be compared with the storage, by the thread */
    bool stopping;

    pthread_t thread; /* where others write in the storage, too: no request waits for that */
    bool started;
};

static void *compare_due(void *cache);

int document_cache_new(struct storage *st, const struct document_cache_type *type,
                       size_t max_entries, const struct document_cache_options *options,
                       struct document_cache **ret, struct error *err)
{
    struct document_cache *c = calloc(1, sizeof *c);
    if (!c || pthread_rwlock_init(&c->lock, NULL) != 0) {
        free(c);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    c->storage = st;
    c->type = type;
    c->options = *options;
    c->max_entries = max_entries;
    c->fresh_ms = options->ttl_ms ? options->ttl_ms : TTL_MS;
    int64_t stale_ms = options->stale_ms ? options->stale_ms : STALE_MS;
    if (storage_shared(st) && stale_ms < c->fresh_ms)
        c->fresh_ms = stale_ms;
    map_init(&c->entries);
    map_init(&c->due);
    lock_init(&c->due_lock);
    cond_init(&c->changed);
    int rc = storage_shared(st) ? thread_start(&c->thread, "documents", compare_due, c, err) : 0;
    c->started = storage_shared(st) && !rc;
    if (rc)
        document_cache_free(c);
    else
        *ret = c;
    return rc;
}

static void entry_free(struct document_cache *c, struct entry *e)
{
    if (e)
        c->type->unref(e->object);
    free(e);
}

static void clear(struct document_cache *c)
{
    for (struct map_entry *e = map_next(&c->entries, NULL); e; e = map_next(&c->entries, e))
        entry_free(c, e->value);
    map_release(&c->entries, NULL);
    map_init(&c->entries);
}

void document_cache_free(struct document_cache *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->due_lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->due_lock);
    if (c->started)
        pthread_join(c->thread, NULL);
    clear(c);
    map_release(&c->due, NULL);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->due_lock);
    pthread_rwlock_destroy(&c->lock);
    free(c);
}

/* What is kept of a key, and whether it is to be compared with the storage: told to one of those who
 * ask when that is due. */
struct found {
    void *object; /* NULL: nothing; else with a reference */
    int64_t modified_at;
    bool due;
    uint64_t generation;
};

static struct found find(struct document_cache *c, const char *key)
{
    struct found found = {0};
    int64_t now_ms = time_monotonic_ms();
    pthread_rwlock_rdlock(&c->lock);
    struct entry *e = map_get(&c->entries, key, strlen(key));
    if (e) {
        c->type->ref(e->object);
        found.object = e->object;
        found.modified_at = e->modified_at;
        int64_t due_ms = atomic_load_explicit(&e->due_ms, memory_order_relaxed);
        found.due = now_ms >= due_ms &&
                    atomic_compare_exchange_strong(&e->due_ms, &due_ms, now_ms + c->fresh_ms);
    }
    found.generation = c->generation;
    pthread_rwlock_unlock(&c->lock);
    return found;
}

/* Keep `object` unless a save came between; failing to keep it costs only time. */
static void keep(struct document_cache *c, const char *key, void *object, int64_t modified_at,
                 uint64_t generation)
{
    void *old = NULL;
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return;
    *e = (struct entry){.object = object, .modified_at = modified_at};
    atomic_init(&e->due_ms, time_monotonic_ms() + c->fresh_ms);
    c->type->ref(object);
    pthread_rwlock_wrlock(&c->lock);
    if (generation == c->generation) {
        if (c->entries.n >= c->max_entries)
            clear(c);
        if (map_set(&c->entries, key, strlen(key), e, &old) == 0)
            e = NULL;
    }
    pthread_rwlock_unlock(&c->lock);
    entry_free(c, e); /* not kept */
    entry_free(c, old);
}

static void forget(struct document_cache *c, const char *key)
{
    pthread_rwlock_wrlock(&c->lock);
    c->generation++;
    struct entry *old = map_remove(&c->entries, key, strlen(key));
    pthread_rwlock_unlock(&c->lock);
    entry_free(c, old);
}

/* Have the thread compare it.  False: there is no thread. */
static bool compare_later(struct document_cache *c, const char *key)
{
    if (!c->started)
        return false;
    pthread_mutex_lock(&c->due_lock);
    /* Without memory it is due again later. */
    if (!map_get(&c->due, key, strlen(key)) && c->due.n < c->max_entries &&
        map_set(&c->due, key, strlen(key), c, NULL) == 0)
        pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->due_lock);
    return true;
}

void document_cache_recheck(struct document_cache *c, const char *key)
{
    pthread_rwlock_wrlock(&c->lock);
    c->generation++;
    struct entry *e = map_get(&c->entries, key, strlen(key));
    if (e) {
        e->modified_at = INT64_MIN; /* whatever is stored differs */
        atomic_store(&e->due_ms, 0);
    }
    pthread_rwlock_unlock(&c->lock);
    if (e)
        compare_later(c, key);
}

/* Read the document, and build what is kept of it unless `found` is that already. */
static int read_anew(struct document_cache *c, const char *key, struct found *found, void **ret,
                     struct error *err)
{
    struct json_object *document = NULL;
    int rc = storage_document_get(c->storage, c->type->collection, key, &document, err);
    int64_t modified_at = rc ? 0 : json_get_int(document, "modified_at", 0);
    if (found->object && (rc == ERR_UNAVAILABLE || (!rc && modified_at == found->modified_at))) {
        *ret = found->object;
        found->object = NULL;
        json_object_put(document);
        return 0;
    }
    if (!rc)
        rc = c->type->build(key, document, ret, err);
    else if (rc == ERR_NOT_FOUND && found->object)
        forget(c, key);
    if (!rc)
        keep(c, key, *ret, modified_at, found->generation);
    json_object_put(document);
    return rc;
}

int document_cache_get(struct document_cache *c, const char *key, void **ret, struct error *err)
{
    struct found found = find(c, key);
    if (found.object && (!found.due || compare_later(c, key))) {
        *ret = found.object;
        return 0;
    }
    int rc = read_anew(c, key, &found, ret, err);
    if (found.object)
        c->type->unref(found.object);
    return rc;
}

static void compare(struct document_cache *c, const char *key)
{
    struct error err = ERROR_INIT;
    struct found found = find(c, key);
    void *object = NULL;
    if (found.object && read_anew(c, key, &found, &object, &err) == 0)
        c->type->unref(object);
    if (found.object)
        c->type->unref(found.object);
}

static void *compare_due(void *cache)
{
    struct document_cache *c = cache;
    pthread_mutex_lock(&c->due_lock);
    while (!c->stopping) {
        struct map_entry *e = map_next(&c->due, NULL);
        char *key = e ? strdup(e->key) : NULL;
        if (e)
            map_remove(&c->due, e->key, e->key_len);
        else
            cond_wait_until(&c->changed, &c->due_lock, INT64_MAX);
        pthread_mutex_unlock(&c->due_lock);
        if (key)
            compare(c, key);
        free(key);
        pthread_mutex_lock(&c->due_lock);
    }
    pthread_mutex_unlock(&c->due_lock);
    return NULL;
}

int document_cache_save(struct document_cache *c, const char *key, struct json_object *document,
                        struct error *err)
{
    int rc = storage_document_save(c->storage, c->type->collection, key, document, NULL, err);
    if (rc)
        document_cache_recheck(c, key);
    else
        forget(c, key);
    if (!rc && c->options.saved)
        c->options.saved(c->options.ctx, c->type->collection, key);
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
