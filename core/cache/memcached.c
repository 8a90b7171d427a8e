/* Memcached as the cache, in its binary protocol.  A module of its own, loaded when configured.
 *
 * A pool of connections serves all threads.  What is no plain answer closes the connection it came
 * by, so that no late reply is taken for the next one's.  Servers are never ejected from the ring: a
 * key is on one server or unavailable, or two owners could hold one lease. */
#include "cache/cache_priv.h"

#include "base/time.h"

#include <libmemcached/memcached.h>
#include <libmemcachedutil-1.0/pool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_TIMEOUT_MS = 10000,
    DEFAULT_POOL = 6,
    DEFAULT_PORT = 11211,
    RELATIVE_MAX_S = 30 * 24 * 3600, /* the server takes more for a time since 1970 ... */
    LONG_AGO = RELATIVE_MAX_S + 1,   /* ... and this one for a value that has expired */
    SERVERS_MAX = 64,
    HOST_MAX = 256,
};

struct memcached_cache {
    memcached_st *master;
    memcached_pool_st *pool;
    struct timespec wait; /* for a connection */
};

/* --- answers --- */

/* 0 and the codes of the interface as they are; anything else makes the connection unusable. */
static int answer(memcached_st *m, memcached_return_t rc, struct error *err)
{
    switch (rc) {
    case MEMCACHED_SUCCESS:
    case MEMCACHED_STORED:
    case MEMCACHED_DELETED:
    case MEMCACHED_BUFFERED:
    case MEMCACHED_END:
        return 0;
    case MEMCACHED_NOTFOUND:
        return error_set(err, ERR_NOT_FOUND, "cache: not found");
    case MEMCACHED_NOTSTORED:
    case MEMCACHED_DATA_EXISTS:
        return error_set(err, ERR_EXISTS, "cache: exists or changed");
    case MEMCACHED_E2BIG:
        return error_set(err, ERR_LIMIT, "cache: the value is too large for the server");
    default:
        error_set(err, ERR_UNAVAILABLE, "Memcached: %s", memcached_strerror(m, rc));
        memcached_quit(m);
        return ERR_UNAVAILABLE;
    }
}

static memcached_st *take(struct memcached_cache *mc, struct error *err)
{
    memcached_return_t rc;
    struct timespec wait = mc->wait;
    memcached_st *m = memcached_pool_fetch(mc->pool, &wait, &rc);
    if (!m)
        error_set(err, ERR_UNAVAILABLE, "Memcached: no connection became free in time");
    return m;
}

static void give_back(struct memcached_cache *mc, memcached_st *m)
{
    memcached_pool_release(mc->pool, m);
}

/* Whole seconds, rounded up; long ones as the time they end. */
static time_t expiration(int64_t ttl_ms)
{
    int64_t seconds = (ttl_ms + 999) / 1000;
    if (seconds > RELATIVE_MAX_S)
        seconds += time_now_us() / TIME_US_PER_SECOND;
    return (time_t)seconds;
}

/* --- operations on a connection --- */

/* The value and its version; `out` may be NULL. */
static int fetch(memcached_st *m, const char *key, struct buf *out, uint64_t *ret_version,
                 struct error *err)
{
    size_t len = strlen(key);
    memcached_return_t rc = memcached_mget(m, &key, &len, 1);
    if (rc != MEMCACHED_SUCCESS)
        return answer(m, rc, err);
    memcached_result_st result;
    memcached_result_create(m, &result);
    int code = ERR_NOT_FOUND;
    if (memcached_fetch_result(m, &result, &rc)) {
        *ret_version = memcached_result_cas(&result);
        code =
            out ? buf_append(out, memcached_result_value(&result), memcached_result_length(&result))
                : 0;
        if (code)
            error_set(err, code, "cache: the value is larger than expected");
        while (rc == MEMCACHED_SUCCESS && memcached_fetch_result(m, &result, &rc))
            ; /* to the end of the answer */
    } else if (rc == MEMCACHED_END || rc == MEMCACHED_NOTFOUND || rc == MEMCACHED_SUCCESS) {
        error_set(err, code, "cache: not found");
    } else {
        code = answer(m, rc, err);
    }
    memcached_result_free(&result);
    return code;
}

/* The version of what has just been written, which the library does not tell.  ERR_EXISTS: somebody
 * has written something else since; ERR_NOT_FOUND: it is gone again. */
static int version_of(memcached_st *m, const struct cache_item *item, uint64_t *ret_version,
                      struct error *err)
{
    struct buf value = BUF_INIT(CACHE_VALUE_MAX);
    int rc = fetch(m, item->key, &value, ret_version, err);
    if (!rc && (value.len != item->len || memcmp(value.data, item->value, item->len) != 0))
        rc = error_set(err, ERR_EXISTS, "cache: changed");
    buf_release(&value);
    return rc;
}

/* --- the back end --- */

static int mc_get(void *self, const char *key, struct buf *out, uint64_t *ret_version,
                  struct error *err)
{
    memcached_st *m = take(self, err);
    if (!m)
        return ERR_UNAVAILABLE;
    int rc = fetch(m, key, out, ret_version, err);
    give_back(self, m);
    return rc;
}

static int mc_set(void *self, const struct cache_item *i, struct error *err)
{
    memcached_st *m = take(self, err);
    if (!m)
        return ERR_UNAVAILABLE;
    int rc = answer(
        m, memcached_set(m, i->key, strlen(i->key), i->value, i->len, expiration(i->ttl_ms), 0),
        err);
    give_back(self, m);
    return rc;
}

static int mc_add(void *self, const struct cache_item *i, uint64_t *ret_version, struct error *err)
{
    memcached_st *m = take(self, err);
    if (!m)
        return ERR_UNAVAILABLE;
    int rc = answer(
        m, memcached_add(m, i->key, strlen(i->key), i->value, i->len, expiration(i->ttl_ms), 0),
        err);
    if (!rc)
        rc = version_of(m, i, ret_version, err);
    give_back(self, m);
    return rc;
}

static int mc_replace(void *self, const struct cache_item *i, uint64_t version,
                      uint64_t *ret_version, struct error *err)
{
    memcached_st *m = take(self, err);
    if (!m)
        return ERR_UNAVAILABLE;
    int rc = answer(m,
                    memcached_cas(m, i->key, strlen(i->key), i->value, i->len,
                                  expiration(i->ttl_ms), 0, version),
                    err);
    if (!rc)
        rc = version_of(m, i, ret_version, err);
    give_back(self, m);
    return rc;
}

/* The library deletes without comparing: a value that has expired, put in by comparing, is as good. */
static int mc_remove(void *self, const char *key, uint64_t version, struct error *err)
{
    memcached_st *m = take(self, err);
    if (!m)
        return ERR_UNAVAILABLE;
    size_t len = strlen(key);
    int rc = answer(m,
                    version ? memcached_cas(m, key, len, "", 0, LONG_AGO, 0, version)
                            : memcached_delete(m, key, len, 0),
                    err);
    give_back(self, m);
    return rc;
}

static void mc_close(void *self)
{
    struct memcached_cache *mc = self;
    if (mc->pool)
        memcached_pool_destroy(mc->pool);
    if (mc->master)
        memcached_free(mc->master);
    free(mc);
}

/* --- opening --- */

/* "HOST[:PORT]"; an IPv6 address stands in brackets. */
static int add_server(memcached_st *m, const char *text, size_t len, struct error *err)
{
    char host[HOST_MAX];
    long port = DEFAULT_PORT;
    char *end = NULL;
    if (len == 0 || len >= sizeof host)
        return error_set(err, ERR_INVALID, "cache: expected memcached://HOST:PORT[,HOST:PORT]");
    memcpy(host, text, len);
    host[len] = '\0';
    char *bracket = host[0] == '[' ? strchr(host, ']') : NULL;
    char *colon = strchr(bracket ? bracket : host, ':');
    if (colon) {
        *colon++ = '\0';
        port = strtol(colon, &end, 10);
        if (end == colon || *end || port < 1 || port > 65535)
            return error_set(err, ERR_INVALID, "cache: '%s' is no port", colon);
    }
    if (bracket)
        *bracket = '\0';
    return answer(m, memcached_server_add(m, bracket ? host + 1 : host, (in_port_t)port), err);
}

static int add_servers(memcached_st *m, const char *list, struct error *err)
{
    int rc = 0;
    for (int n = 0; !rc; n++) {
        size_t len = strcspn(list, ",");
        if (n == SERVERS_MAX)
            return error_set(err, ERR_INVALID, "cache: at most %d servers", SERVERS_MAX);
        rc = add_server(m, list, len, err);
        if (!list[len])
            break;
        list += len + 1;
    }
    return rc;
}

static int configure(memcached_st *m, const struct cache_options *o, struct error *err)
{
    int64_t connect_ms = o->connect_timeout_ms ? o->connect_timeout_ms : DEFAULT_TIMEOUT_MS;
    int64_t timeout_ms = o->timeout_ms ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    const struct {
        memcached_behavior_t behavior;
        uint64_t value;
    } settings[] = {
        {MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 1},
        {MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1},
        {MEMCACHED_BEHAVIOR_TCP_NODELAY, 1},
        {MEMCACHED_BEHAVIOR_TCP_KEEPALIVE, 1},
        {MEMCACHED_BEHAVIOR_DISTRIBUTION, MEMCACHED_DISTRIBUTION_CONSISTENT_KETAMA},
        {MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, (uint64_t)connect_ms},
        {MEMCACHED_BEHAVIOR_POLL_TIMEOUT, (uint64_t)timeout_ms},
        {MEMCACHED_BEHAVIOR_SND_TIMEOUT, (uint64_t)timeout_ms * 1000},
        {MEMCACHED_BEHAVIOR_RCV_TIMEOUT, (uint64_t)timeout_ms * 1000},
        {MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 1}, /* s: a server that failed is left alone so long */
        {MEMCACHED_BEHAVIOR_DEAD_TIMEOUT, 1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        memcached_return_t rc = memcached_behavior_set(m, settings[i].behavior, settings[i].value);
        if (rc != MEMCACHED_SUCCESS)
            return error_set(err, ERR_UNSUPPORTED, "libmemcached refuses its setting %d: %s",
                             (int)settings[i].behavior, memcached_strerror(m, rc));
    }
    return 0;
}

/* A server that is away is no error: it may come later. */
static int mc_open(const struct cache_options *options, void **ret, struct error *err)
{
    struct memcached_cache *mc = calloc(1, sizeof *mc);
    if (!mc || !(mc->master = memcached_create(NULL))) {
        free(mc);
        return error_set(err, ERR_NOMEM, "cache: out of memory");
    }
    int rc = configure(mc->master, options, err);
    if (!rc)
        rc = add_servers(mc->master, options->uri + strlen("memcached://"), err);
    if (!rc) {
        uint32_t size = options->max_pool_size ? (uint32_t)options->max_pool_size : DEFAULT_POOL;
        int64_t wait_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
        mc->wait = (struct timespec){wait_ms / 1000, wait_ms % 1000 * 1000000};
        mc->pool = memcached_pool_create(mc->master, 1, size);
        if (!mc->pool)
            rc = error_set(err, ERR_NOMEM, "cache: out of memory for the connections");
    }
    if (rc)
        mc_close(mc);
    else
        *ret = mc;
    return rc;
}

__attribute__((visibility("default"))) const struct cache_ops cache_memcached_ops = {
    .shared = true,
    .open = mc_open,
    .get = mc_get,
    .set = mc_set,
    .add = mc_add,
    .replace = mc_replace,
    .remove = mc_remove,
    .close = mc_close,
};
