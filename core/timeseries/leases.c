#include "timeseries/leases_priv.h"

#include "base/log.h"
#include "base/sample.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char logger[] = "hyprxa.timeseries";

/* --- may it be streamed? --- */

bool leases_hold(struct leases *l, const struct series *series)
{
    int64_t until_ms = atomic_load(&series->held_until_ms);
    if (until_ms == INT64_MAX)
        return true; /* without asking for the time, for each run of samples */
    int64_t now_ms = time_monotonic_ms();
    if (now_ms < until_ms)
        return true;
    return until_ms && atomic_load(&l->away) && now_ms - atomic_load(&l->alive_ms) < PAUSE_MS &&
           until_ms - l->span_ms >= atomic_load(&l->trusted_from_ms);
}

/* --- one speaks with the cache about a claim at a time --- */

void claim_begin_locked(struct claim *c)
{
    while (c->busy)
        cond_wait_until(&c->owner->changed, &c->owner->lock, INT64_MAX);
    c->busy = true;
}

static void begin(struct claim *c)
{
    pthread_mutex_lock(&c->owner->lock);
    claim_begin_locked(c);
    pthread_mutex_unlock(&c->owner->lock);
}

void claim_end_locked(struct claim *c)
{
    c->busy = false;
    pthread_cond_broadcast(&c->owner->changed);
}

static void end_as(struct claim *c, enum claim_state state)
{
    pthread_mutex_lock(&c->owner->lock);
    c->state = state;
    claim_end_locked(c);
    pthread_mutex_unlock(&c->owner->lock);
}

int claim_register(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    return cache_set(l->options.cache, c->registration, c->name, strlen(c->name), l->options.ttl_ms,
                     err);
}

/* --- life --- */

int leases_new(const struct leases_options *options, struct leases **ret, struct error *err)
{
    struct leases *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(err, ERR_NOMEM, "out of memory");
    l->options = *options;
    if (l->options.ttl_ms < TTL_MIN_MS)
        l->options.ttl_ms = TTL_MIN_MS;
    l->shared = cache_is_shared(options->cache);
    l->span_ms = l->options.ttl_ms - MARGIN_MS;
    l->round_ms = l->span_ms / 2; /* two tries, and never longer than half the ttl */
    atomic_init(&l->alive_ms, time_monotonic_ms());
    lock_init(&l->lock);
    cond_init(&l->changed);
    cond_init(&l->stop);
    int rc = 0;
    if (l->shared) {
        rc = thread_start(&l->keeper, "leases", leases_run_keeper, l, err);
        l->keeper_runs = rc == 0;
        if (!rc)
            rc = thread_start(&l->clock, "leases-clock", leases_run_clock, l, err);
        l->clock_runs = l->keeper_runs && rc == 0;
    }
    if (rc)
        leases_free(l);
    else
        *ret = l;
    return rc;
}

void leases_free(struct leases *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->changed);
    pthread_cond_broadcast(&l->stop);
    pthread_mutex_unlock(&l->lock);
    if (l->keeper_runs)
        pthread_join(l->keeper, NULL);
    if (l->clock_runs)
        pthread_join(l->clock, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_cond_destroy(&l->stop);
    pthread_mutex_destroy(&l->lock);
    free(l->handed);
    free(l);
}

int claim_new(struct leases *l, struct series *series, const char *owner, void *who,
              struct claim **ret)
{
    struct claim *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->owner = l;
    c->name = owner;
    c->who = who;
    snprintf(c->key, sizeof c->key, "%lld", (long long)series->hash);
    if (series_registration_key(series->hash, c->registration)) {
        free(c);
        return ERR_NOMEM;
    }
    c->series = series_ref(series);
    pthread_mutex_lock(&l->lock);
    c->next = l->claims;
    if (c->next)
        c->next->previous = c;
    l->claims = c;
    long long never = 0;
    if (l->shared)
        atomic_compare_exchange_strong(&series->held_since_us, &never, INT64_MAX);
    pthread_mutex_unlock(&l->lock);
    *ret = c;
    return 0;
}

void claim_free(struct claim *c)
{
    if (!c)
        return;
    struct leases *l = c->owner;
    claim_release(c);
    pthread_mutex_lock(&l->lock);
    claim_begin_locked(c);
    if (l->cursor == c)
        l->cursor = c->next;
    if (c->next)
        c->next->previous = c->previous;
    if (c->previous)
        c->previous->next = c->next;
    else
        l->claims = c->next;
    pthread_mutex_unlock(&l->lock);
    series_unref(c->series);
    free(c);
}

/* --- what a manager asks --- */

void claim_want(struct claim *c, bool wanted)
{
    struct leases *l = c->owner;
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&l->lock);
    bool begins = wanted && !c->wanted && l->shared;
    c->wanted = wanted;
    c->unneeded = false;
    c->check_at_ms = time_monotonic_ms() + l->options.ttl_ms;
    pthread_mutex_unlock(&l->lock);
    if (!begins || atomic_load(&l->away))
        return; /* the keeper does it as soon as it can */
    begin(c);
    if (claim_register(c, &err))
        log_warning(logger, "%s is not registered as wanted: %s", c->series->canonical,
                    err.message);
    pthread_mutex_lock(&l->lock);
    claim_end_locked(c);
    pthread_mutex_unlock(&l->lock);
}

static void count_takeover(struct claim *c, enum claim_state before, bool handed)
{
    if (before != CLAIM_FREE)
        return;
    atomic_fetch_add(&c->owner->takeovers, 1);
    if (handed)
        atomic_fetch_add(&c->owner->handovers, 1);
}

int claim_acquire(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    if (!l->shared) {
        atomic_store(&c->series->held_until_ms, INT64_MAX);
        pthread_mutex_lock(&l->lock);
        c->state = CLAIM_HELD;
        pthread_mutex_unlock(&l->lock);
        return 0;
    }
    pthread_mutex_lock(&l->lock);
    claim_begin_locked(c);
    enum claim_state before = c->state;
    bool handed = c->handed;
    pthread_mutex_unlock(&l->lock);
    int rc = before == CLAIM_HELD ? 0
                                  : lease_acquire(l->options.cache, &c->lease, c->key, c->name,
                                                  l->options.ttl_ms, err);
    enum claim_state state = rc == 0 ? CLAIM_HELD : rc == ERR_EXISTS ? CLAIM_REMOTE : before;
    if (state == CLAIM_HELD && before != CLAIM_HELD) {
        atomic_store(&c->series->held_since_us, time_now_us());
        atomic_store(&c->series->held_until_ms, c->lease.held_until_ms);
        count_takeover(c, before, handed);
    }
    pthread_mutex_lock(&l->lock);
    c->gone_since_ms = 0;
    c->state = state;
    if (state == CLAIM_REMOTE)
        c->handed = false;
    claim_end_locked(c);
    pthread_mutex_unlock(&l->lock);
    return rc == ERR_EXISTS ? 0 : rc;
}

bool claim_release(struct claim *c)
{
    struct leases *l = c->owner;
    struct error err = ERROR_INIT;
    begin(c);
    bool held = c->state == CLAIM_HELD;
    if (held && l->shared && lease_release(l->options.cache, &c->lease, &err))
        log_info(logger, "the lease of %s ends by itself: %s", c->series->canonical, err.message);
    if (held && l->shared)
        atomic_store(&c->series->held_since_us, INT64_MAX);
    end_as(c, CLAIM_NONE);
    return held;
}

void claim_stand_by(struct claim *c)
{
    pthread_mutex_lock(&c->owner->lock);
    if (c->state == CLAIM_LOST)
        c->state = CLAIM_REMOTE;
    c->gone_since_ms = 0;
    c->handed = false;
    pthread_mutex_unlock(&c->owner->lock);
}

/* --- queries --- */

enum claim_state claim_state(struct claim *c)
{
    pthread_mutex_lock(&c->owner->lock);
    enum claim_state state = c->state;
    pthread_mutex_unlock(&c->owner->lock);
    return state;
}

bool claim_is_unneeded(struct claim *c)
{
    pthread_mutex_lock(&c->owner->lock);
    bool unneeded = !c->wanted && (!c->owner->shared || c->unneeded || c->state != CLAIM_HELD);
    pthread_mutex_unlock(&c->owner->lock);
    return unneeded;
}

void leases_get_stats(struct leases *l, struct leases_stats *ret)
{
    *ret = (struct leases_stats){.shared = l->shared,
                                 .away = atomic_load(&l->away),
                                 .takeovers = atomic_load(&l->takeovers),
                                 .handovers = atomic_load(&l->handovers),
                                 .lost = atomic_load(&l->lost),
                                 .reclaimed = atomic_load(&l->reclaimed)};
    pthread_mutex_lock(&l->lock);
    for (struct claim *c = l->claims; c; c = c->next) {
        ret->held += c->state == CLAIM_HELD;
        ret->remote += c->state == CLAIM_REMOTE || c->state == CLAIM_LOST;
    }
    pthread_mutex_unlock(&l->lock);
}
