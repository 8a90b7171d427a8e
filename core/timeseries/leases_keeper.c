/* The keeper of leases, and its clock. */
#include "base/auto.h"
#include "base/log.h"
#include "base/sample.h"
#include "base/time.h"
#include "timeseries/leases_priv.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char logger[] = "hyprxa.timeseries";

/* From half of it to all of it. */
static int64_t jittered(int64_t ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = UINT32_MAX / 2;
    return ms / 2 + (int64_t)((uint64_t)random * (uint64_t)(ms - ms / 2) / UINT32_MAX);
}

/* --- the clock --- */

/* Notices that the process was stopped, and calls that the cache does not answer. */
void *leases_run_clock(void *arg)
{
    struct leases *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        int64_t now_ms = time_monotonic_ms(), began_ms = atomic_load(&l->call_began_ms);
        if (now_ms - atomic_load(&l->alive_ms) >= PAUSE_MS)
            atomic_store(&l->trusted_from_ms, now_ms);
        atomic_store(&l->alive_ms, now_ms);
        if (began_ms && now_ms - began_ms > SLOW_CALL_MS)
            atomic_store(&l->away, true);
        cond_wait_until(&l->stop, &l->lock, now_ms + TICK_MS);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* --- the keeper --- */

static void set_not_held(struct claim *c)
{
    atomic_store(&c->series->held_until_ms, 0);
    atomic_store(&c->series->held_since_us, INT64_MAX);
}

static int extend(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    int rc = lease_extend(l->options.cache, &c->lease, err);
    if (rc == ERR_NOT_FOUND) {
        /* The cache has forgotten it, or it was late: whoever is first has it now. */
        rc = lease_acquire(l->options.cache, &c->lease, c->key, c->name, l->options.ttl_ms, err);
        if (!rc)
            atomic_fetch_add(&l->reclaimed, 1);
    }
    if (!rc)
        atomic_store(&c->series->held_until_ms, c->lease.held_until_ms);
    return rc;
}

static int keep_held(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    uint64_t reclaimed = atomic_load(&l->reclaimed);
    int rc = extend(c, err);
    if (rc == ERR_UNAVAILABLE || (rc && rc != ERR_EXISTS))
        return rc;
    if (rc) {
        set_not_held(c);
        atomic_fetch_add(&l->lost, 1);
        log_warning(logger, "another node streams %s now", c->series->canonical);
    }
    pthread_mutex_lock(&l->lock);
    if (rc)
        c->state = CLAIM_LOST;
    if (atomic_load(&l->reclaimed) != reclaimed)
        /* It has forgotten the registrations, too: give the others time to make them again. */
        c->check_at_ms = time_monotonic_ms() + 2 * l->options.ttl_ms;
    pthread_mutex_unlock(&l->lock);
    if (rc)
        l->options.changed(c->who);
    return 0;
}

/* 0: `key` is in the cache; ERR_NOT_FOUND; ERR_UNAVAILABLE. */
static int look_up(struct leases *l, const char *key, struct error *err)
{
    AUTO(buf) value = BUF_INIT(REGISTRATION_MAX);
    int rc = cache_get(l->options.cache, key, &value, NULL, err);
    return rc == ERR_LIMIT ? 0 : rc;
}

/* Gone for longer than its holder needs to claim it again: it does not live any more. */
static int keep_remote(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    bool is_free = false;
    int rc = look_up(l, c->key, err);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    int64_t now_ms = time_monotonic_ms(), patience_ms = l->round_ms + SLACK_MS;
    pthread_mutex_lock(&l->lock);
    if (!rc)
        c->gone_since_ms = 0;
    else if (!c->gone_since_ms)
        c->gone_since_ms = now_ms;
    is_free = c->gone_since_ms && now_ms - c->gone_since_ms >= patience_ms;
    if (is_free)
        c->state = CLAIM_FREE;
    else if (c->gone_since_ms && l->round_at_ms > c->gone_since_ms + patience_ms)
        l->round_at_ms = c->gone_since_ms + patience_ms;
    pthread_mutex_unlock(&l->lock);
    if (is_free)
        l->options.changed(c->who);
    return 0;
}

static int check_need(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    int rc = look_up(l, c->registration, err);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    pthread_mutex_lock(&l->lock);
    c->check_at_ms = time_monotonic_ms() + l->options.ttl_ms + jittered(l->options.ttl_ms) / 2;
    c->unneeded = rc == ERR_NOT_FOUND && !c->wanted;
    bool unneeded = c->unneeded;
    pthread_mutex_unlock(&l->lock);
    if (unneeded)
        l->options.changed(c->who);
    return 0;
}

/* --- leases that others have given up --- */

int leases_handed_over(struct leases *l, const struct handed *items, size_t n)
{
    pthread_mutex_lock(&l->lock);
    struct handed *grown = realloc(l->handed, (l->n_handed + n) * sizeof *grown);
    if (grown) {
        memcpy(&grown[l->n_handed], items, n * sizeof *items);
        l->handed = grown;
        l->n_handed += n;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return grown ? 0 : ERR_NOMEM;
}

static int by_hash(const void *a, const void *b)
{
    const struct handed *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* Set free the claims that were waiting for one of these leases. */
static void mark_handed_locked(struct leases *l)
{
    qsort(l->handed, l->n_handed, sizeof *l->handed, by_hash);
    for (struct claim *c = l->claims; c; c = c->next) {
        struct handed wanted = {.hash = c->series->hash};
        const struct handed *h = c->state == CLAIM_REMOTE ? bsearch(&wanted, l->handed, l->n_handed,
                                                                    sizeof wanted, by_hash)
                                                          : NULL;
        if (!h)
            continue;
        atomic_store(&c->series->handed_us, h->last_us);
        c->state = CLAIM_FREE;
        c->handed = c->news = true;
    }
    free(l->handed);
    l->handed = NULL;
    l->n_handed = 0;
}

/* Tell each manager once.  A claim made busy keeps its manager alive. */
static void tell_handed_locked(struct leases *l)
{
    struct claim *c = l->claims;
    while (c) {
        if (!c->news || c->busy) {
            c->news = false; /* whoever speaks about it with the cache finds out */
            c = c->next;
            continue;
        }
        for (struct claim *other = c; other; other = other->next)
            other->news = other->news && other->who != c->who;
        c->busy = true;
        pthread_mutex_unlock(&l->lock);
        l->options.changed(c->who);
        pthread_mutex_lock(&l->lock);
        claim_end_locked(c);
        c = l->claims;
    }
}

static void take_handed_locked(struct leases *l)
{
    while (l->n_handed) {
        mark_handed_locked(l);
        tell_handed_locked(l);
    }
}

/* What a claim, which the caller made busy, needs this round. */
static int keep_claim(struct claim *c, enum claim_state state, bool wanted, bool check,
                      struct error *err)
{
    int rc = 0;
    if (state == CLAIM_HELD)
        rc = keep_held(c, err);
    else if (state == CLAIM_REMOTE && wanted)
        rc = keep_remote(c, err);
    if (!rc && wanted)
        rc = claim_register(c, err);
    if (!rc && check)
        rc = check_need(c, err);
    return rc;
}

/* The next claim of the round, made busy; one that is busy is being dealt with. */
static struct claim *next_claim_locked(struct leases *l)
{
    while (l->cursor && l->cursor->busy)
        l->cursor = l->cursor->next;
    struct claim *c = l->cursor;
    if (c) {
        l->cursor = c->next;
        c->busy = true;
    }
    return c;
}

/* False: the cache did not answer for some claims. */
static bool run_round(struct leases *l)
{
    bool well = true;
    struct error err = ERROR_INIT;
    struct claim *c;
    pthread_mutex_lock(&l->lock);
    l->cursor = l->claims;
    for (;;) {
        take_handed_locked(l);
        c = l->stopping ? NULL : next_claim_locked(l);
        if (!c)
            break;
        enum claim_state state = c->state;
        bool wanted = c->wanted;
        bool check = !wanted && state == CLAIM_HELD && time_monotonic_ms() >= c->check_at_ms;
        pthread_mutex_unlock(&l->lock);
        atomic_store(&l->call_began_ms, time_monotonic_ms());
        int rc = keep_claim(c, state, wanted, check, &err);
        atomic_store(&l->call_began_ms, 0);
        if (rc && well && !atomic_exchange(&l->away, true))
            log_warning(logger, "leases cannot be extended: %s", err.message);
        well = well && !rc;
        pthread_mutex_lock(&l->lock);
        claim_end_locked(c);
    }
    pthread_mutex_unlock(&l->lock);
    return well;
}

void *leases_run_keeper(void *arg)
{
    struct leases *l = arg;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping) {
        take_handed_locked(l);
        if (time_monotonic_ms() < l->round_at_ms) {
            cond_wait_until(&l->changed, &l->lock, l->round_at_ms);
            continue;
        }
        int64_t began_ms = time_monotonic_ms();
        l->round_at_ms = began_ms + jittered(l->round_ms);
        pthread_mutex_unlock(&l->lock);
        bool well = run_round(l);
        if (well && atomic_exchange(&l->away, false))
            log_info(logger, "leases are extended again");
        pthread_mutex_lock(&l->lock);
        if (!well && l->round_at_ms > began_ms + AWAY_ROUND_MS)
            l->round_at_ms = began_ms + AWAY_ROUND_MS;
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}
