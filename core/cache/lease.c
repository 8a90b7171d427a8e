#include "cache/cache_priv.h"

#include "base/auto.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>

enum {
    LEASE_TTL_MIN_MS = 3000,
    LEASE_MARGIN_MS = 1500, /* the server counts whole seconds, and clocks drift */
    TRIES = 4,              /* a lease may expire between two steps */
};

static struct cache_item item_of(const struct lease *lease)
{
    return (struct cache_item){lease->key, lease->owner, strlen(lease->owner), lease->ttl_ms};
}

static void mark_held(struct lease *lease, uint64_t version, int64_t sent_ms)
{
    lease->version = version;
    lease->held_until_ms = sent_ms + lease->ttl_ms - LEASE_MARGIN_MS;
}

static void mark_lost(struct lease *lease)
{
    lease->version = 0;
    lease->held_until_ms = 0;
}

/* The lease as the server has it.  ERR_EXISTS: another owner's. */
static int read_own(struct cache *c, const struct lease *lease, uint64_t *ret_version,
                    struct error *err)
{
    AUTO(buf) owner = BUF_INIT(CACHE_VALUE_MAX);
    int rc = c->ops->get(c->self, lease->key, &owner, ret_version, err);
    if (rc)
        return rc;
    if (owner.len != strlen(lease->owner) || memcmp(owner.data, lease->owner, owner.len) != 0)
        return error_set(err, ERR_EXISTS, "lease %s has another owner", lease->key);
    return 0;
}

int lease_acquire(struct cache *c, struct lease *lease, const char *key, const char *owner,
                  int64_t ttl_ms, struct error *err)
{
    size_t owner_len = strlen(owner);
    if (owner_len == 0 || owner_len >= sizeof lease->owner || strlen(key) >= sizeof lease->key)
        return error_set(err, ERR_INVALID,
                         "lease: expected a key of 1 to %d and an owner of 1 to "
                         "%zu bytes",
                         CACHE_KEY_MAX, sizeof lease->owner - 1);
    mark_lost(lease);
    snprintf(lease->key, sizeof lease->key, "%s", key);
    snprintf(lease->owner, sizeof lease->owner, "%s", owner);
    lease->ttl_ms = ttl_ms < LEASE_TTL_MIN_MS ? LEASE_TTL_MIN_MS : ttl_ms;
    struct cache_item item = item_of(lease);
    int rc = cache_check_item(&item, err);
    if (rc)
        return rc;
    for (int i = 0; i < TRIES; i++) {
        uint64_t version;
        int64_t sent_ms = time_monotonic_ms();
        rc = c->ops->add(c->self, &item, &version, err);
        if (rc == ERR_EXISTS && (rc = read_own(c, lease, &version, err)) == 0) {
            sent_ms = time_monotonic_ms();
            rc = c->ops->replace(c->self, &item, version, &version, err);
            if (rc == ERR_EXISTS)
                continue; /* changed since it was read: look again whose it is */
        }
        if (rc == 0)
            mark_held(lease, version, sent_ms);
        if (rc != ERR_NOT_FOUND)
            return rc;
    }
    return error_set(err, ERR_EXISTS, "lease %s changes too fast", key);
}

int lease_extend(struct cache *c, struct lease *lease, struct error *err)
{
    struct cache_item item = item_of(lease);
    int rc = lease->version ? ERR_EXISTS : ERR_NOT_FOUND;
    for (int i = 0; i < TRIES && rc == ERR_EXISTS; i++) {
        int64_t sent_ms = time_monotonic_ms();
        uint64_t version = lease->version;
        rc = c->ops->replace(c->self, &item, version, &version, err);
        if (rc == 0)
            mark_held(lease, version, sent_ms);
        /* An extension whose answer was lost looks like a change: it is still ours. */
        if (rc == ERR_EXISTS && read_own(c, lease, &lease->version, err) != 0)
            break;
    }
    if (rc != ERR_EXISTS && rc != ERR_NOT_FOUND)
        return rc;
    mark_lost(lease);
    return error_set(err, ERR_NOT_FOUND, "lease %s is lost", lease->key);
}

int lease_release(struct cache *c, struct lease *lease, struct error *err)
{
    int rc = lease->version ? ERR_EXISTS : 0;
    for (int i = 0; i < TRIES && rc == ERR_EXISTS; i++) {
        rc = c->ops->remove(c->self, lease->key, lease->version, err);
        if (rc == ERR_EXISTS && read_own(c, lease, &lease->version, err) != 0)
            break;
    }
    mark_lost(lease);
    return rc == ERR_EXISTS || rc == ERR_NOT_FOUND ? 0 : rc;
}

bool lease_held(const struct lease *lease, int64_t now_ms)
{
    return now_ms < lease->held_until_ms;
}
