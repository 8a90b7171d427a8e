#include "cache/cache_priv.h"

#include "base/module.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY_MAX = 64 << 20, TTL_MIN_MS = 1000 };

static int open_memcached(const struct cache_options *options, struct cache **ret,
                          struct error *err)
{
    const void *symbol = NULL;
    int rc = module_open_back_end("memcached", "cache_memcached_ops", &symbol, err);
    if (rc)
        return rc;
    struct cache *c = malloc(sizeof *c);
    if (!c)
        return error_set(err, ERR_NOMEM, "cache: out of memory");
    c->ops = symbol;
    rc = c->ops->open(options, &c->self, err);
    if (rc)
        free(c);
    else
        *ret = c;
    return rc;
}

int cache_open(const struct cache_options *options, struct cache **ret, struct error *err)
{
    *ret = NULL;
    if (strcmp(options->uri, "memory:") == 0)
        return cache_open_memory(MEMORY_MAX, time_monotonic_ms, ret, err);
    if (strncmp(options->uri, "memcached://", 12) == 0)
        return open_memcached(options, ret, err);
    return error_set(err, ERR_INVALID,
                     "cache: expected memory: or memcached://HOST:PORT[,HOST:PORT]");
}

void cache_close(struct cache *c)
{
    if (!c)
        return;
    c->ops->close(c->self);
    free(c);
}

bool cache_is_shared(const struct cache *cache)
{
    return cache && cache->ops->shared;
}

static int check_key(const char *key, struct error *err)
{
    size_t len = strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_-");
    if (len == 0 || len > CACHE_KEY_MAX || key[len])
        return error_set(err, ERR_INVALID,
                         "'%.40s' is no cache key: expected 1 to %d of A-Z a-z 0-9 : _ -", key,
                         CACHE_KEY_MAX);
    return 0;
}

int cache_check_item(const struct cache_item *item, struct error *err)
{
    if (item->len > CACHE_VALUE_MAX)
        return error_set(err, ERR_INVALID, "a cached value of %zu bytes: at most %d are allowed",
                         item->len, CACHE_VALUE_MAX);
    if (item->ttl_ms < TTL_MIN_MS)
        return error_set(err, ERR_INVALID, "a time to live below %d ms", TTL_MIN_MS);
    return check_key(item->key, err);
}

int cache_get(struct cache *c, const char *key, struct buf *out, uint64_t *ret_version,
              struct error *err)
{
    uint64_t version;
    int rc = check_key(key, err);
    if (rc == 0)
        rc = c->ops->get(c->self, key, out, &version, err);
    if (rc == 0 && ret_version)
        *ret_version = version;
    return rc;
}

int cache_set(struct cache *c, const char *key, const void *value, size_t len, int64_t ttl_ms,
              struct error *err)
{
    struct cache_item item = {key, value, len, ttl_ms};
    int rc = cache_check_item(&item, err);
    return rc ? rc : c->ops->set(c->self, &item, err);
}

int cache_add(struct cache *c, const char *key, const void *value, size_t len, int64_t ttl_ms,
              struct error *err)
{
    struct cache_item item = {key, value, len, ttl_ms};
    uint64_t version;
    int rc = cache_check_item(&item, err);
    return rc ? rc : c->ops->add(c->self, &item, &version, err);
}

int cache_replace(struct cache *c, const char *key, uint64_t version, const void *value, size_t len,
                  int64_t ttl_ms, struct error *err)
{
    struct cache_item item = {key, value, len, ttl_ms};
    uint64_t now;
    int rc = cache_check_item(&item, err);
    return rc ? rc : c->ops->replace(c->self, &item, version, &now, err);
}

int cache_remove(struct cache *c, const char *key, uint64_t version, struct error *err)
{
    int rc = check_key(key, err);
    return rc ? rc : c->ops->remove(c->self, key, version, err);
}
