#include "broker/bindings.h"

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
static size_t first_word(const struct bindings *b, const char *key, const char **ret_rest)
{
    size_t len = b->topic ? strcspn(key, ".") : strlen(key);
    *ret_rest = key[len] ? key + len + 1 : NULL;
    return len;
}

/* The pointer that holds the child for a wildcard, or NULL for an ordinary word. */
static struct route_node **wildcard(const struct bindings *b, struct route_node *node,
                                    const char *word, size_t len)
{
    if (!b->topic || len != 1)
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

static int scratch_reserve(struct bindings *b, size_t n)
{
    if (n <= b->cap_nodes)
        return 0;
    size_t cap = n * 2;
    for (int i = 0; i < 2; i++) {
        struct route_node **grown = realloc(b->active[i], cap * sizeof(struct route_node *));
        if (!grown)
            return ERR_NOMEM;
        b->active[i] = grown;
    }
    b->cap_nodes = cap;
    return 0;
}

static struct route_node *node_new(struct bindings *b)
{
    if (scratch_reserve(b, b->n_nodes + 1))
        return NULL;
    struct route_node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    map_init(&node->children);
    b->n_nodes++;
    return node;
}

static struct route_node *child_get(const struct bindings *b, struct route_node *node,
                                    const char *word, size_t len)
{
    struct route_node **slot = wildcard(b, node, word, len);
    return slot ? *slot : map_get(&node->children, word, len);
}

static struct route_node *child_make(struct bindings *b, struct route_node *node, const char *word,
                                     size_t len)
{
    struct route_node *child = child_get(b, node, word, len);
    if (child)
        return child;
    child = node_new(b);
    if (!child)
        return NULL;
    struct route_node **slot = wildcard(b, node, word, len);
    if (slot) {
        *slot = child;
        child->is_hash = *word == '#';
    } else if (map_set(&node->children, word, len, child, NULL)) {
        node_free(child);
        b->n_nodes--;
        return NULL;
    }
    return child;
}

static void child_drop(struct bindings *b, struct route_node *node, const char *word, size_t len)
{
    struct route_node *child = child_get(b, node, word, len);
    struct route_node **slot = wildcard(b, node, word, len);
    if (slot)
        *slot = NULL;
    else
        map_remove(&node->children, word, len);
    node_free(child);
    b->n_nodes--;
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
static int add_below(struct bindings *b, const char *pattern, struct broker_subscription *s)
{
    struct route_node *node = b->root;
    while (pattern) {
        const char *rest;
        size_t len = first_word(b, pattern, &rest);
        node = child_make(b, node, pattern, len);
        if (!node)
            return ERR_NOMEM;
        pattern = rest;
    }
    return node_bind(node, s);
}

/* As deep as a pattern has words: 128 at most. */
static void remove_below(struct bindings *b, struct route_node *node, const char *pattern,
                         const struct broker_subscription *s)
{
    if (!pattern) {
        node_unbind(node, s);
        return;
    }
    const char *rest;
    size_t len = first_word(b, pattern, &rest);
    struct route_node *child = child_get(b, node, pattern, len);
    if (!child)
        return;
    remove_below(b, child, rest, s);
    if (node_is_empty(child))
        child_drop(b, node, pattern, len);
}

/* --- life cycle --- */

int bindings_init(struct bindings *b, bool topic)
{
    memset(b, 0, sizeof *b);
    b->topic = topic;
    map_init(&b->routes);
    b->root = node_new(b);
    if (b->root)
        return 0;
    bindings_release(b);
    return ERR_NOMEM;
}

static void forget_routes(struct bindings *b)
{
    for (struct map_entry *e = map_next(&b->routes, NULL); e; e = map_next(&b->routes, e))
        route_unref(e->value);
    map_release(&b->routes, NULL);
    map_init(&b->routes);
}

void bindings_release(struct bindings *b)
{
    forget_routes(b);
    if (b->root)
        node_free(b->root); /* every subscription has been removed, so it is alone */
    free(b->active[0]);
    free(b->active[1]);
    memset(b, 0, sizeof *b);
}

int bindings_add(struct bindings *b, struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        if (add_below(b, s->keys[i], s)) {
            bindings_remove(b, s);
            return ERR_NOMEM;
        }
    }
    b->generation++;
    return 0;
}

void bindings_remove(struct bindings *b, struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++)
        remove_below(b, b->root, s->keys[i], s);
    b->generation++;
}

/* --- matching --- */

/* Put `node` among the active ones, with what a '#' below it reaches by taking no word. */
static size_t activate(struct bindings *b, struct route_node *node, struct route_node **list,
                       size_t n)
{
    for (; node && node->stamp != b->stamp; node = node->hash) {
        node->stamp = b->stamp;
        list[n++] = node;
    }
    return n;
}

static size_t step(struct bindings *b, struct route_node **from, size_t n, struct route_node **to,
                   const char *word, size_t len)
{
    size_t n_to = 0;
    b->stamp++;
    for (size_t i = 0; i < n; i++) {
        if (from[i]->is_hash)
            n_to = activate(b, from[i], to, n_to);
        n_to = activate(b, from[i]->star, to, n_to);
        n_to = activate(b, map_get(&from[i]->children, word, len), to, n_to);
    }
    return n_to;
}

/* The nodes where the key ends, in *ret_list. */
static size_t walk(struct bindings *b, const char *key, struct route_node ***ret_list)
{
    int side = 0;
    b->stamp++;
    size_t n = activate(b, b->root, b->active[0], 0);
    if (*key == '\0') /* no word at all; an empty word stands beside a dot */
        key = NULL;
    while (key) {
        const char *rest;
        size_t len = first_word(b, key, &rest);
        n = step(b, b->active[side], n, b->active[!side], key, len);
        side = !side;
        key = rest;
    }
    *ret_list = b->active[side];
    return n;
}

/* Each subscription of the nodes once, in `out` (NULL: only count). */
static size_t collect(struct bindings *b, struct route_node *const *nodes, size_t n,
                      struct broker_subscription **out)
{
    size_t found = 0;
    b->stamp++;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < nodes[i]->n; j++) {
            struct broker_subscription *s = nodes[i]->subscriptions[j];
            if (s->stamp == b->stamp)
                continue;
            s->stamp = b->stamp;
            if (out)
                out[found] = s;
            found++;
        }
    }
    return found;
}

static struct route *route_new(struct bindings *b, struct route_node *const *nodes, size_t n)
{
    size_t found = collect(b, nodes, n, NULL);
    struct route *route = malloc(sizeof *route + found * sizeof route->subscriptions[0]);
    if (!route)
        return NULL;
    route->refs = 1;
    route->generation = b->generation;
    route->n = collect(b, nodes, n, route->subscriptions);
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

static struct route *match_direct(struct bindings *b, const char *key)
{
    struct route_node *node = map_get(&b->root->children, key, strlen(key));
    if (!node)
        return route_new(b, NULL, 0);
    if (!node->route || node->route->generation != b->generation) {
        struct route *route = route_new(b, &node, 1);
        if (!route)
            return NULL;
        route_unref(node->route);
        node->route = route;
    }
    return route_ref(node->route);
}

static struct route *match_topic(struct bindings *b, const char *key)
{
    size_t len = strlen(key);
    struct route *route = map_get(&b->routes, key, len);
    if (route && route->generation == b->generation)
        return route_ref(route);
    struct route_node **nodes;
    size_t n = walk(b, key, &nodes);
    route = route_new(b, nodes, n);
    if (!route)
        return NULL;
    if (b->routes.n >= ROUTES_REMEMBERED)
        forget_routes(b);
    void *old = NULL;
    if (map_set(&b->routes, key, len, route, &old) == 0) {
        route_unref(old);
        route_ref(route);
    }
    return route;
}

struct route *bindings_match(struct bindings *b, const char *key)
{
    return b->topic ? match_topic(b, key) : match_direct(b, key);
}
