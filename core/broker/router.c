#include "broker/router.h"

#include <stdlib.h>
#include <string.h>

enum { ROUTES_REMEMBERED = 16384 };

struct route_node {
    struct map children; /* by word */
    struct route_node *star, *hash;
    bool is_hash; /* reached by '#': it may take any number of words */
    uint64_t stamp;
    struct route *route; /* direct only: of the key that ends here */
    struct broker_subscription **subscriptions;
    size_t n, cap;
};

/* --- words --- */

/* The first word of `key`; *ret_rest is NULL after the last.  A direct key is one word. */
static size_t first_word(const struct router *r, const char *key, const char **ret_rest)
{
    size_t len = r->topic ? strcspn(key, ".") : strlen(key);
    *ret_rest = key[len] ? key + len + 1 : NULL;
    return len;
}

/* The pointer that holds the child for a wildcard, or NULL for an ordinary word. */
static struct route_node **wildcard(const struct router *r, struct route_node *node,
                                    const char *word, size_t len)
{
    if (!r->topic || len != 1)
        return NULL;
    return *word == '*' ? &node->star : *word == '#' ? &node->hash : NULL;
}

/* --- nodes --- */

static void node_free(struct route_node *node)
{
    map_release(&node->children, NULL);
    free(node->subscriptions);
    route_unref(node->route);
    free(node);
}

static int scratch_reserve(struct router *r, size_t n)
{
    if (n <= r->cap_nodes)
        return 0;
    size_t cap = n * 2;
    for (int i = 0; i < 2; i++) {
        struct route_node **grown = realloc(r->active[i], cap * sizeof(struct route_node *));
        if (!grown)
            return ERR_NOMEM;
        r->active[i] = grown;
    }
    r->cap_nodes = cap;
    return 0;
}

static struct route_node *node_new(struct router *r)
{
    if (scratch_reserve(r, r->n_nodes + 1))
        return NULL;
    struct route_node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    map_init(&node->children);
    r->n_nodes++;
    return node;
}

static struct route_node *child_get(const struct router *r, struct route_node *node,
                                    const char *word, size_t len)
{
    struct route_node **slot = wildcard(r, node, word, len);
    return slot ? *slot : map_get(&node->children, word, len);
}

static struct route_node *child_make(struct router *r, struct route_node *node, const char *word,
                                     size_t len)
{
    struct route_node *child = child_get(r, node, word, len);
    if (child)
        return child;
    child = node_new(r);
    if (!child)
        return NULL;
    struct route_node **slot = wildcard(r, node, word, len);
    if (slot) {
        *slot = child;
        child->is_hash = *word == '#';
    } else if (map_set(&node->children, word, len, child, NULL)) {
        node_free(child);
        r->n_nodes--;
        return NULL;
    }
    return child;
}

static void child_drop(struct router *r, struct route_node *node, const char *word, size_t len)
{
    struct route_node *child = child_get(r, node, word, len);
    struct route_node **slot = wildcard(r, node, word, len);
    if (slot)
        *slot = NULL;
    else
        map_remove(&node->children, word, len);
    node_free(child);
    r->n_nodes--;
}

static bool node_is_empty(const struct route_node *node)
{
    return node->n == 0 && node->children.n == 0 && !node->star && !node->hash;
}

static int node_bind(struct route_node *node, struct broker_subscription *s)
{
    if (node->n == node->cap) {
        size_t cap = node->cap ? node->cap * 2 : 1;
        struct broker_subscription **grown = realloc(node->subscriptions, cap * sizeof(*grown));
        if (!grown)
            return ERR_NOMEM;
        node->subscriptions = grown;
        node->cap = cap;
    }
    node->subscriptions[node->n++] = s;
    return 0;
}

static void node_unbind(struct route_node *node, const struct broker_subscription *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < node->n; i++) {
        if (node->subscriptions[i] != s)
            node->subscriptions[kept++] = node->subscriptions[i];
    }
    node->n = kept;
}

/* Add below `node`; a node made for a pattern that then failed is taken away by remove_below(). */
static int add_below(struct router *r, const char *pattern, struct broker_subscription *s)
{
    struct route_node *node = r->root;
    while (pattern) {
        const char *rest;
        size_t len = first_word(r, pattern, &rest);
        node = child_make(r, node, pattern, len);
        if (!node)
            return ERR_NOMEM;
        pattern = rest;
    }
    return node_bind(node, s);
}

/* As deep as a pattern has words: 128 at most. */
static void remove_below(struct router *r, struct route_node *node, const char *pattern,
                         const struct broker_subscription *s)
{
    if (!pattern) {
        node_unbind(node, s);
        return;
    }
    const char *rest;
    size_t len = first_word(r, pattern, &rest);
    struct route_node *child = child_get(r, node, pattern, len);
    if (!child)
        return;
    remove_below(r, child, rest, s);
    if (node_is_empty(child))
        child_drop(r, node, pattern, len);
}

/* --- life cycle --- */

int router_init(struct router *r, bool topic)
{
    memset(r, 0, sizeof *r);
    r->topic = topic;
    map_init(&r->routes);
    r->root = node_new(r);
    if (r->root)
        return 0;
    router_release(r);
    return ERR_NOMEM;
}

static void forget_routes(struct router *r)
{
    for (struct map_entry *e = map_next(&r->routes, NULL); e; e = map_next(&r->routes, e))
        route_unref(e->value);
    map_release(&r->routes, NULL);
    map_init(&r->routes);
}

void router_release(struct router *r)
{
    forget_routes(r);
    if (r->root)
        node_free(r->root); /* every subscription has been removed, so it is alone */
    free(r->active[0]);
    free(r->active[1]);
    memset(r, 0, sizeof *r);
}

int router_add(struct router *r, struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        if (add_below(r, s->keys[i], s)) {
            router_remove(r, s);
            return ERR_NOMEM;
        }
    }
    r->generation++;
    return 0;
}

void router_remove(struct router *r, struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++)
        remove_below(r, r->root, s->keys[i], s);
    r->generation++;
}

/* --- matching --- */

/* Put `node` among the active ones, with what a '#' below it reaches by taking no word. */
static size_t activate(struct router *r, struct route_node *node, struct route_node **list,
                       size_t n)
{
    for (; node && node->stamp != r->stamp; node = node->hash) {
        node->stamp = r->stamp;
        list[n++] = node;
    }
    return n;
}

static size_t step(struct router *r, struct route_node **from, size_t n, struct route_node **to,
                   const char *word, size_t len)
{
    size_t n_to = 0;
    r->stamp++;
    for (size_t i = 0; i < n; i++) {
        if (from[i]->is_hash)
            n_to = activate(r, from[i], to, n_to);
        n_to = activate(r, from[i]->star, to, n_to);
        n_to = activate(r, map_get(&from[i]->children, word, len), to, n_to);
    }
    return n_to;
}

/* The nodes where the key ends, in *ret_list. */
static size_t walk(struct router *r, const char *key, struct route_node ***ret_list)
{
    int side = 0;
    r->stamp++;
    size_t n = activate(r, r->root, r->active[0], 0);
    if (*key == '\0') /* no word at all; an empty word stands beside a dot */
        key = NULL;
    while (key) {
        const char *rest;
        size_t len = first_word(r, key, &rest);
        n = step(r, r->active[side], n, r->active[!side], key, len);
        side = !side;
        key = rest;
    }
    *ret_list = r->active[side];
    return n;
}

/* Each subscription of the nodes once, in `out` (NULL: only count). */
static size_t collect(struct router *r, struct route_node *const *nodes, size_t n,
                      struct broker_subscription **out)
{
    size_t found = 0;
    r->stamp++;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < nodes[i]->n; j++) {
            struct broker_subscription *s = nodes[i]->subscriptions[j];
            if (s->stamp == r->stamp)
                continue;
            s->stamp = r->stamp;
            if (out)
                out[found] = s;
            found++;
        }
    }
    return found;
}

static struct route *route_new(struct router *r, struct route_node *const *nodes, size_t n)
{
    size_t found = collect(r, nodes, n, NULL);
    struct route *route = malloc(sizeof *route + found * sizeof route->subscriptions[0]);
    if (!route)
        return NULL;
    route->refs = 1;
    route->generation = r->generation;
    route->n = collect(r, nodes, n, route->subscriptions);
    return route;
}

static struct route *route_ref(struct route *route)
{
    route->refs++;
    return route;
}

void route_unref(struct route *route)
{
    if (route && --route->refs == 0)
        free(route);
}

static struct route *match_direct(struct router *r, const char *key)
{
    struct route_node *node = map_get(&r->root->children, key, strlen(key));
    if (!node)
        return route_new(r, NULL, 0);
    if (!node->route || node->route->generation != r->generation) {
        struct route *route = route_new(r, &node, 1);
        if (!route)
            return NULL;
        route_unref(node->route);
        node->route = route;
    }
    return route_ref(node->route);
}

static struct route *match_topic(struct router *r, const char *key)
{
    size_t len = strlen(key);
    struct route *route = map_get(&r->routes, key, len);
    if (route && route->generation == r->generation)
        return route_ref(route);
    struct route_node **nodes;
    size_t n = walk(r, key, &nodes);
    route = route_new(r, nodes, n);
    if (!route)
        return NULL;
    if (r->routes.n >= ROUTES_REMEMBERED)
        forget_routes(r);
    void *old = NULL;
    if (map_set(&r->routes, key, len, route, &old) == 0) {
        route_unref(old);
        route_ref(route);
    }
    return route;
}

struct route *router_match(struct router *r, const char *key)
{
    return r->topic ? match_topic(r, key) : match_direct(r, key);
}
