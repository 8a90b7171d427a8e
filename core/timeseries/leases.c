#include "timeseries/leases.h"

#include "base/auto.h"
#include "base/log.h"
#include "base/sample.h"
#include "base/series_hash.h"
#include "base/thread.h"
#include "base/time.h"
#include "cache/cache.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    TTL_MIN_MS = 3000,
    MARGIN_MS = 1500,     /* a lease counts as lost so long before its time, as core/cache has it */
    SLACK_MS = 250,       /* beyond a holder's slowest round, before its lease counts as given up */
    TICK_MS = 100,        /* of the clock */
    PAUSE_MS = 1500,      /* a process that ticks no faster was stopped */
    SLOW_CALL_MS = 300,   /* the cache is away when a call takes longer */
    AWAY_ROUND_MS = 500,  /* between rounds while it is away */
    REGISTRATION_MAX = 64 /* bytes of an owner */
};

static const char logger[] = "hyprxa.timeseries";

struct claim {
    struct leases *owner; /* set at init, then const */
    struct series *series;
    const char *name; /* of the manager, in the cache */
    void *who;
    char key[24], registration[SERIES_REGISTRATION_SIZE];
    struct lease lease; /* whoever set `busy` uses it */
    /* guarded by owner->lock */
    struct claim *next, *previous;
    enum claim_state state;
    bool busy; /* somebody speaks with the cache about it */
    bool wanted, unneeded;
    bool handed, news;     /* FREE because it was handed over; that is still to be said */
    int64_t gone_since_ms; /* when the other's lease was missed first; 0: it is there */
    int64_t check_at_ms;   /* when to ask whether somebody else wants it */
};

struct leases {
    struct leases_options options; /* set at init, then const */
    bool shared;
    int64_t round_ms; /* the longest time from round to round */
    int64_t span_ms;  /* of a lease from its sending */
    pthread_t keeper, clock;
    bool keeper_runs, clock_runs;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a claim is free to use, or stopping, or a round is due */
    pthread_cond_t stop;    /* the clock's: stopping */
    /* guarded by lock */
    struct claim *claims, *cursor; /* cursor: the keeper's next */
    struct handed *handed;         /* to be dealt with by the keeper */
    size_t n_handed;
    int64_t round_at_ms;
    bool stopping;
    /* atomic */
    atomic_llong alive_ms, call_began_ms, trusted_from_ms;
    atomic_bool away;
    atomic_ullong takeovers, handovers, lost, reclaimed;
};

/* From half of it to all of it. */
static int64_t jittered(int64_t ms)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = UINT32_MAX / 2;
    return ms / 2 + (int64_t)((uint64_t)random * (uint64_t)(ms - ms / 2) / UINT32_MAX);
}

/* --- may it be streamed? --- */

static void set_not_held(struct claim *c)
{
    atomic_store(&c->series->held_until_ms, 0);
    atomic_store(&c->series->held_since_us, INT64_MAX);
}

bool leases_hold(struct leases *l, const struct series *series)
{
    int64_t until_ms = atomic_load(&series->held_until_ms), now_ms = time_monotonic_ms();
    if (now_ms < until_ms)
        return true;
    return until_ms && atomic_load(&l->away) && now_ms - atomic_load(&l->alive_ms) < PAUSE_MS &&
           until_ms - l->span_ms >= atomic_load(&l->trusted_from_ms);
}

/* Notices that the process was stopped, and calls that the cache does not answer. */
static void *run_clock(void *arg)
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

/* --- one speaks with the cache about a claim at a time --- */

static void begin_locked(struct claim *c)
{
    while (c->busy)
        cond_wait_until(&c->owner->changed, &c->owner->lock, INT64_MAX);
    c->busy = true;
}

static void begin(struct claim *c)
{
    pthread_mutex_lock(&c->owner->lock);
    begin_locked(c);
    pthread_mutex_unlock(&c->owner->lock);
}

static void end_locked(struct claim *c)
{
    c->busy = false;
    pthread_cond_broadcast(&c->owner->changed);
}

static void end_as(struct claim *c, enum claim_state state)
{
    pthread_mutex_lock(&c->owner->lock);
    c->state = state;
    end_locked(c);
    pthread_mutex_unlock(&c->owner->lock);
}

/* --- the keeper --- */

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

static int register_claim(struct claim *c, struct error *err)
{
    struct leases *l = c->owner;
    return cache_set(l->options.cache, c->registration, c->name, strlen(c->name), l->options.ttl_ms,
                     err);
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
        end_locked(c);
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
        rc = register_claim(c, err);
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
        end_locked(c);
    }
    pthread_mutex_unlock(&l->lock);
    return well;
}

static void *run_keeper(void *arg)
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
        rc = thread_start(&l->keeper, "leases", run_keeper, l, err);
        l->keeper_runs = rc == 0;
        if (!rc)
            rc = thread_start(&l->clock, "leases-clock", run_clock, l, err);
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
    begin_locked(c);
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
    if (register_claim(c, &err))
        log_warning(logger, "%s is not registered as wanted: %s", c->series->canonical,
                    err.message);
    pthread_mutex_lock(&l->lock);
    end_locked(c);
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
    begin_locked(c);
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
    end_locked(c);
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
