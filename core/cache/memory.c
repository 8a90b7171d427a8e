#include "cache/cache_priv.h"

#include "base/map.h"
#include "base/thread.h"

#include <stdlib.h>
#include <string.h>

enum {
    ENTRY_OVERHEAD = 160,  /* what an entry costs beside its key and value, about */
    SWEEP_INTERVAL = 1024, /* operations between two searches for what has expired */
};

/* In a list from the one used last to the one not used for longest. */
struct entry {
    struct entry *newer, *older;
    uint64_t version;
    int64_t expires_ms;
    const char *key; /* at the end of `value` */
    size_t key_len, len;
    char value[];
};

struct memory {
    pthread_mutex_t lock;
    struct map entries;
    struct entry *newest, *oldest; /* by use; NULL: none */
    size_t bytes, max_bytes;
    uint64_t last_version;
    unsigned look_ups;
    int64_t (*now_ms)(void);
};

static size_t weight(const struct entry *e)
{
    return ENTRY_OVERHEAD + 2 * e->key_len + e->len;
}

static void list_out(struct memory *m, struct entry *e)
{
    *(e->newer ? &e->newer->older : &m->newest) = e->older;
    *(e->older ? &e->older->newer : &m->oldest) = e->newer;
}

static void list_in(struct memory *m, struct entry *e)
{
    e->newer = NULL;
    e->older = m->newest;
    *(m->newest ? &m->newest->newer : &m->oldest) = e;
    m->newest = e;
}

static void drop(struct memory *m, struct entry *e)
{
    map_remove(&m->entries, e->key, e->key_len);
    m->bytes -= weight(e);
    list_out(m, e);
    free(e);
}

static void sweep(struct memory *m)
{
    int64_t now_ms = m->now_ms();
    for (struct entry *e = m->newest, *next; e; e = next) {
        next = e->older;
        if (e->expires_ms <= now_ms)
            drop(m, e);
    }
}

/* The live entry of a key; one that has expired goes now. */
static struct entry *look_up(struct memory *m, const char *key)
{
    if (++m->look_ups % SWEEP_INTERVAL == 0)
        sweep(m);
    struct entry *e = map_get(&m->entries, key, strlen(key));
    if (e && e->expires_ms <= m->now_ms()) {
        drop(m, e);
        return NULL;
    }
    return e;
}

static struct entry *entry_new(struct memory *m, const struct cache_item *item)
{
    size_t key_len = strlen(item->key);
    struct entry *e = malloc(sizeof *e + item->len + key_len + 1);
    if (!e)
        return NULL;
    *e = (struct entry){.version = ++m->last_version,
                        .expires_ms = m->now_ms() + item->ttl_ms,
                        .key_len = key_len,
                        .len = item->len};
    if (item->len)
        memcpy(e->value, item->value, item->len);
    e->key = memcpy(e->value + item->len, item->key, key_len + 1);
    return e;
}

/* Put the item in place of `old` (NULL: of nothing). */
static int store(struct memory *m, const struct cache_item *item, struct entry *old,
                 uint64_t *ret_version, struct error *err)
{
    struct entry *e = entry_new(m, item);
    if (!e || map_set(&m->entries, e->key, e->key_len, e, NULL) != 0) {
        free(e);
        return error_set(err, ERR_NOMEM, "cache: out of memory");
    }
    if (old) {
        m->bytes -= weight(old);
        list_out(m, old);
        free(old);
    }
    list_in(m, e);
    m->bytes += weight(e);
    while (m->bytes > m->max_bytes && m->oldest != e)
        drop(m, m->oldest);
    *ret_version = e->version;
    return 0;
}

static int memory_get(void *self, const char *key, struct buf *out, uint64_t *ret_version,
                      struct error *err)
{
    struct memory *m = self;
    int rc = ERR_NOT_FOUND;
    pthread_mutex_lock(&m->lock);
    struct entry *e = look_up(m, key);
    if (e) {
        list_out(m, e);
        list_in(m, e);
        *ret_version = e->version;
        rc = buf_append(out, e->value, e->len);
    }
    pthread_mutex_unlock(&m->lock);
    return rc ? error_set(err, rc, "cache: %s", error_code_name(rc)) : 0;
}

static int memory_set(void *self, const struct cache_item *item, struct error *err)
{
    struct memory *m = self;
    uint64_t version;
    pthread_mutex_lock(&m->lock);
    int rc = store(m, item, look_up(m, item->key), &version, err);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int memory_add(void *self, const struct cache_item *item, uint64_t *ret_version,
                      struct error *err)
{
    struct memory *m = self;
    pthread_mutex_lock(&m->lock);
    int rc = look_up(m, item->key) ? error_set(err, ERR_EXISTS, "cache: exists")
                                   : store(m, item, NULL, ret_version, err);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int memory_replace(void *self, const struct cache_item *item, uint64_t version,
                          uint64_t *ret_version, struct error *err)
{
    struct memory *m = self;
    pthread_mutex_lock(&m->lock);
    struct entry *e = look_up(m, item->key);
    int rc;
    if (!e)
        rc = error_set(err, ERR_NOT_FOUND, "cache: gone");
    else if (e->version != version)
        rc = error_set(err, ERR_EXISTS, "cache: changed");
    else
        rc = store(m, item, e, ret_version, err);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int memory_remove(void *self, const char *key, uint64_t version, struct error *err)
{
    struct memory *m = self;
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    struct entry *e = look_up(m, key);
    if (!e)
        rc = error_set(err, ERR_NOT_FOUND, "cache: gone");
    else if (version != 0 && e->version != version)
        rc = error_set(err, ERR_EXISTS, "cache: changed");
    else
        drop(m, e);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static void memory_close(void *self)
{
    struct memory *m = self;
    map_release(&m->entries, free);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int cache_open_memory(size_t max_bytes, int64_t (*now_ms)(void), struct cache **ret,
                      struct error *err)
{
    static const struct cache_ops ops = {.get = memory_get,
                                         .set = memory_set,
                                         .add = memory_add,
                                         .replace = memory_replace,
                                         .remove = memory_remove,
                                         .close = memory_close};
    struct cache *c = malloc(sizeof *c);
    struct memory *m = calloc(1, sizeof *m);
    *ret = NULL;
    if (!c || !m) {
        free(c);
        free(m);
        return error_set(err, ERR_NOMEM, "cache: out of memory");
    }
    lock_init(&m->lock);
    map_init(&m->entries);
    m->max_bytes = max_bytes;
    m->now_ms = now_ms;
    *c = (struct cache){&ops, m};
    *ret = c;
    return 0;
}
