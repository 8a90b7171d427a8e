/* From a key to the subscriptions that bound a matching one.
 *
 * Patterns live in a trie of words; a key walks it once, so its cost follows the patterns that still
 * may match, not their number, and no pattern can make it explode.  A direct exchange is the same
 * trie with one word a key.  The result, a route, is shared and remembered until a subscription
 * comes or goes.  Nothing here is thread-safe: the fan-out holds its lock. */
#ifndef HYPRXA_BROKER_BINDINGS_H
#define HYPRXA_BROKER_BINDINGS_H

#include "base/map.h"
#include "broker/broker_priv.h"

struct route_node;

struct route {
    unsigned refs;
    uint64_t generation;
    size_t n;
    struct broker_subscription *subscriptions[];
};

struct bindings {
    bool topic;
    struct route_node *root;
    struct route_node **active[2]; /* scratch, each with room for every node */
    size_t n_nodes, cap_nodes;
    uint64_t generation; /* of the set of patterns */
    uint64_t stamp;
    struct map routes; /* key -> struct route; topic only */
};

int bindings_init(struct bindings *b, bool topic);
void bindings_release(struct bindings *b);

/* Add or remove every key of `s`.  ERR_NOMEM: nothing was added. */
int bindings_add(struct bindings *b, struct broker_subscription *s);
void bindings_remove(struct bindings *b, struct broker_subscription *s);

/* The route of a key; the caller gets a reference.  NULL: out of memory. */
struct route *bindings_match(struct bindings *b, const char *key);
void route_unref(struct route *route); /* NULL is fine */

#endif
