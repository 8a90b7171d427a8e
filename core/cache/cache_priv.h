/* Inside cache: what a back end is. */
#ifndef HYPRXA_CACHE_CACHE_PRIV_H
#define HYPRXA_CACHE_CACHE_PRIV_H

#include "cache/cache.h"

enum {
    CACHE_KEY_MAX = 250,
    CACHE_VALUE_MAX = 1 << 20,
};

/* A value and how long it lives; checked before a back end sees it. */
struct cache_item {
    const char *key;
    const void *value;
    size_t len;
    int64_t ttl_ms;
};

/* All functions but open and close [any], and with the meaning of the public ones; *ret_version is what a later replace
 * or remove compares with. */
struct cache_ops {
    bool shared; /* outside this process */
    int (*open)(const struct cache_options *options, void **ret, struct error *err);
    int (*get)(void *self, const char *key, struct buf *out, uint64_t *ret_version,
               struct error *err);
    int (*set)(void *self, const struct cache_item *item, struct error *err);
    int (*add)(void *self, const struct cache_item *item, uint64_t *ret_version, struct error *err);
    int (*replace)(void *self, const struct cache_item *item, uint64_t version,
                   uint64_t *ret_version, struct error *err);
    int (*remove)(void *self, const char *key, uint64_t version, struct error *err);
    void (*close)(void *self);
};

struct cache {
    const struct cache_ops *ops;
    void *self;
};

/* In a module of its own (backends/memcached.so), loaded when configured. */
extern const struct cache_ops cache_memcached_ops;

int cache_check_item(const struct cache_item *item, struct error *err);

/* The back end in this process, of at most `max_bytes`, on the clock `now_ms`. */
int cache_open_memory(size_t max_bytes, int64_t (*now_ms)(void), struct cache **ret,
                      struct error *err);

#endif
