/* Leases: which node streams a series, and who wants it (contract sections 7 and 11).
 *
 * A manager has a claim for each series that somebody here watches or records.  Of all nodes' claims
 * one holds the lease in the cache: that node streams the series.  The others stand by: the broker
 * brings them its messages, and when the lease is gone one of them takes over.  As long as it is
 * wanted a claim is registered, too, so that the holder knows that somebody elsewhere listens.
 *
 * One thread keeps all claims of the node: it extends, registers and looks after the others' leases.
 * It works apart from the plugins, whose calls may take longer than a lease lasts.  What it finds out
 * is the claim's state; then it calls `changed`, and the manager acts.
 *
 * A lease that could not be extended for want of the cache is still streamed: nobody can take it.  But
 * not by a process that was stopped meanwhile, until it has asked.  Where the cache is not shared with
 * other nodes every claim holds at once and for ever. */
#ifndef HYPRXA_TIMESERIES_LEASES_H
#define HYPRXA_TIMESERIES_LEASES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;
struct claim;
struct leases;
struct series;

struct leases_options {
    struct cache *cache;
    int64_t ttl_ms; /* below 3 s counts as 3 s */
    /* A claim of `who` has another state.  On the keeper's thread, without locks; must not block. */
    void (*changed)(void *who);
};

int leases_new(const struct leases_options *options, struct leases **ret, struct error *err);
void leases_free(struct leases *l); /* without claims; NULL is fine */

/* May samples of the series be stored and published now?  [any] */
bool leases_hold(struct leases *l, const struct series *series);
/* Another node has given up these leases: claims that stand by become free to take them.  ERR_NOMEM:
 * that will be seen a little later.  [any] */
struct handed {
    int64_t hash;    /* of the series */
    int64_t last_us; /* up to where it was streamed; 0: unknown */
};
int leases_handed_over(struct leases *l, const struct handed *items, size_t n);

/* --- claims; each function of one at a time, but for the queries --- */

enum claim_state {
    CLAIM_NONE,   /* not asked for, or given back */
    CLAIM_HELD,   /* this node's */
    CLAIM_REMOTE, /* another node's */
    CLAIM_FREE,   /* was another node's, whose lease is gone */
    CLAIM_LOST,   /* was this node's, and is another's now */
};

/* `owner`: the manager's, as leases name it, borrowed; takes a reference of `series`.  ERR_NOMEM. */
int claim_new(struct leases *l, struct series *series, const char *owner, void *who,
              struct claim **ret);
void claim_free(struct claim *c); /* what it holds is given back; NULL is fine */

/* Somebody here wants it, or not any more.  It is registered before true returns, as far as the cache
 * can be reached. */
void claim_want(struct claim *c, bool wanted);
/* Ask for the lease.  0: the state is HELD or REMOTE.  ERR_UNAVAILABLE: the cache is away. */
int claim_acquire(struct claim *c, struct error *err);
/* Give it back; samples in hand may still be stored.  True: it was held. */
bool claim_release(struct claim *c);
/* The manager has stopped streaming what was lost: the claim stands by. */
void claim_stand_by(struct claim *c);

enum claim_state claim_state(struct claim *c);
/* Nobody here wants it, nor is anybody registered elsewhere. */
bool claim_is_unneeded(struct claim *c);

struct leases_stats {
    bool shared, away; /* away: the cache does not answer */
    uint64_t held, remote;
    uint64_t takeovers; /* leases taken over from a node that let them go or died */
    uint64_t handovers; /* ... of those that let them go */
    uint64_t lost;      /* leases that went to another node */
    uint64_t reclaimed; /* leases that the cache had forgotten and that were claimed again */
};
void leases_get_stats(struct leases *l, struct leases_stats *ret);

#endif
