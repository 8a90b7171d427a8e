/* Cache: short-lived keys shared by the nodes of a deployment.
 *
 * Values are small byte strings (1 MiB at most) with a time to live.  Back ends: memory (in process),
 * memcached, by URI.  Keys are 1-250 bytes of [A-Za-z0-9:_-].  What was not used for longest goes
 * first when space is short.  ERR_UNAVAILABLE: the server cannot be reached.  ERR_INVALID: a key,
 * value or ttl that is not allowed. */
#ifndef HYPRXA_CACHE_CACHE_H
#define HYPRXA_CACHE_CACHE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;

struct cache_options {
    const char *uri; /* memory: or memcached://HOST:PORT[,HOST:PORT] */
    /* Of a server outside this process; 0: 10 s, 10 s, 6. */
    int64_t connect_timeout_ms, timeout_ms;
    size_t max_pool_size; /* connections */
};

/* ERR_INVALID: the URI; ERR_UNSUPPORTED: a back end that this installation does not have.  A server
 * that is away is no error.  [control] */
int cache_open(const struct cache_options *options, struct cache **ret, struct error *err);
void cache_close(struct cache *cache); /* NULL is fine */
/* Do other processes use it, too?  Only then does a lease mean anything.  NULL: no.  [any] */
bool cache_is_shared(const struct cache *cache);

/* A ttl is in milliseconds (1 s or more; the server may round up to seconds).  cache_get() appends
 * the value to `out`; a version is never 0.  [any] */
int cache_get(
    struct cache *c, const char *key, struct buf *out, uint64_t *ret_version,
    struct error *err); /* ERR_NOT_FOUND; *ret_version (may be NULL) for cache_replace() */
int cache_set(struct cache *c, const char *key, const void *value, size_t len, int64_t ttl_ms,
              struct error *err);
int cache_add(struct cache *c, const char *key, const void *value, size_t len, int64_t ttl_ms,
              struct error *err); /* ERR_EXISTS */
int cache_replace(struct cache *c, const char *key, uint64_t version, const void *value, size_t len,
                  int64_t ttl_ms, struct error *err); /* ERR_EXISTS: changed, ERR_NOT_FOUND: gone */
int cache_remove(struct cache *c, const char *key, uint64_t version,
                 struct error *err); /* 0: any */

/* --- leases: one owner at a time, by compare-and-swap --- */

/* An owner's view of a lease; zero-initialise, then lease_acquire().  Not shared between threads. */
struct lease {
    char key[251];
    char owner[33];
    uint64_t version;
    int64_t ttl_ms;
    int64_t held_until_ms; /* monotonic; counted from the sending of the last success, less 1.5 s */
};

/* `owner` is 1-32 bytes, one per process and start.  A ttl below 3 s counts as 3 s, because the
 * server's clock ticks in seconds.  ERR_EXISTS: another owner has it.  An own lease found in place
 * is taken over.  Releasing what is lost or gone is no error.  [any] */
int lease_acquire(struct cache *c, struct lease *lease, const char *key, const char *owner,
                  int64_t ttl_ms, struct error *err);
int lease_extend(struct cache *c, struct lease *lease, struct error *err); /* ERR_NOT_FOUND: lost */
int lease_release(struct cache *c, struct lease *lease, struct error *err);
bool lease_held(const struct lease *lease, int64_t now_ms);

#endif
