/* Inside leases: what claims (leases.c) and the keeper's threads (leases_keeper.c) share. */
#ifndef HYPRXA_TIMESERIES_LEASES_PRIV_H
#define HYPRXA_TIMESERIES_LEASES_PRIV_H

#include "base/series_hash.h"
#include "base/thread.h"
#include "cache/cache.h"
#include "timeseries/leases.h"

#include <stdatomic.h>

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

/* One at a time speaks with the cache about a claim: wait until nobody does, then be the one. */
void claim_begin_locked(struct claim *c);
void claim_end_locked(struct claim *c);
/* Make it known in the cache that somebody here wants it; by whoever began. */
int claim_register(struct claim *c, struct error *err);

void *leases_run_keeper(void *leases);
void *leases_run_clock(void *leases);

#endif
