/* Routes by their shape.  A route is kept as its segments; routes with equally many stand in one
 * list, sorted so that a literal comes before a {name} in the same place. */
#include "http/http_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUTE_MAX_SEGMENTS = 8, ROUTE_MAX_PATH = 256 };

struct route_segment {
    const char *text; /* the literal, or the name without braces; into `storage` */
    bool is_param;
};

struct route_entry {
    const struct http_route *route;
    void *ctx;
    char storage[ROUTE_MAX_PATH];
    struct route_segment segments[ROUTE_MAX_SEGMENTS];
    size_t n_segments;
};

struct router {
    struct route_entry **by_length[ROUTE_MAX_SEGMENTS + 1];
    size_t n[ROUTE_MAX_SEGMENTS + 1];
};

int router_new(struct router **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : ERR_NOMEM;
}

void router_free(struct router *router)
{
    if (!router)
        return;
    for (size_t length = 0; length <= ROUTE_MAX_SEGMENTS; length++) {
        for (size_t i = 0; i < router->n[length]; i++)
            free(router->by_length[length][i]);
        free(router->by_length[length]);
    }
    free(router);
}

static int compile(const struct http_route *route, struct route_entry *e, struct error *err)
{
    const char *path = route->path;
    size_t len = strlen(path), n_params = 0;
    if (path[0] != '/' || len >= sizeof e->storage || (len > 1 && path[len - 1] == '/'))
        return error_set(err, ERR_INVALID, "route '%s': not a path", path);
    memcpy(e->storage, path, len + 1);
    char *at = e->storage + 1;
    while (*at || e->n_segments == 0) {
        if (e->n_segments == ROUTE_MAX_SEGMENTS)
            return error_set(err, ERR_LIMIT, "route '%s': more than %d segments", path,
                             ROUTE_MAX_SEGMENTS);
        struct route_segment *segment = &e->segments[e->n_segments++];
        size_t length = strcspn(at, "/");
        char *end = at + length;
        bool last = *end == '\0';
        *end = '\0';
        segment->is_param = length > 2 && at[0] == '{' && at[length - 1] == '}';
        segment->text = at;
        if (segment->is_param) {
            end[-1] = '\0';
            segment->text = at + 1;
            n_params++;
        }
        at = last ? end : end + 1;
    }
    if (n_params > HTTP_MAX_PARAMS)
        return error_set(err, ERR_LIMIT, "route '%s': too many parameters", path);
    return 0;
}

/* Literals before parameters, in the first place where they differ; else by text and method. */
static int compare(const struct route_entry *a, const struct route_entry *b)
{
    for (size_t i = 0; i < a->n_segments; i++) {
        if (a->segments[i].is_param != b->segments[i].is_param)
            return a->segments[i].is_param ? 1 : -1;
        int order = a->segments[i].is_param ? 0 : strcmp(a->segments[i].text, b->segments[i].text);
        if (order)
            return order;
    }
    return strcmp(a->route->method, b->route->method);
}

static int insert(struct router *router, struct route_entry *e, struct error *err)
{
    size_t length = e->n_segments, n = router->n[length], at = 0;
    struct route_entry **list = router->by_length[length];
    while (at < n && compare(list[at], e) < 0)
        at++;
    if (at < n && compare(list[at], e) == 0)
        return error_set(err, ERR_EXISTS, "route %s '%s': there is one already", e->route->method,
                         e->route->path);
    struct route_entry **grown = realloc(list, (n + 1) * sizeof(struct route_entry *));
    if (!grown)
        return error_set(err, ERR_NOMEM, "out of memory");
    memmove(grown + at + 1, grown + at, (n - at) * sizeof(struct route_entry *));
    grown[at] = e;
    router->by_length[length] = grown;
    router->n[length] = n + 1;
    return 0;
}

int router_add(struct router *router, const struct http_route *routes, size_t n, void *ctx,
               struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct route_entry *e = calloc(1, sizeof *e);
        if (!e)
            return error_set(err, ERR_NOMEM, "out of memory");
        e->route = &routes[i];
        e->ctx = ctx;
        int code = compile(&routes[i], e, err);
        if (!code)
            code = insert(router, e, err);
        if (code) {
            free(e);
            return code;
        }
    }
    return 0;
}

const struct http_route *router_route(const struct router *router, size_t i)
{
    for (size_t length = 0; length <= ROUTE_MAX_SEGMENTS; length++) {
        if (i < router->n[length])
            return router->by_length[length][i]->route;
        i -= router->n[length];
    }
    return NULL;
}

static bool shape_matches(const struct route_entry *e, const char *const *segments)
{
    for (size_t i = 0; i < e->n_segments; i++) {
        if (e->segments[i].is_param ? segments[i][0] == '\0'
                                    : strcmp(e->segments[i].text, segments[i]) != 0)
            return false;
    }
    return true;
}

static bool method_matches(const char *route_method, const char *method)
{
    return strcmp(route_method, method) == 0 ||
           (strcmp(method, "HEAD") == 0 && strcmp(route_method, "GET") == 0);
}

static void add_allowed(struct router_match *ret, const char *method)
{
    size_t used = strlen(ret->allow);
    snprintf(ret->allow + used, sizeof ret->allow - used, "%s%s%s", used ? ", " : "", method,
             strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

void router_find(const struct router *router, const char *method, const char *const *segments,
                 size_t n_segments, struct router_match *ret, struct http_pair *params,
                 size_t *ret_n_params)
{
    *ret = (struct router_match){0};
    *ret_n_params = 0;
    if (n_segments > ROUTE_MAX_SEGMENTS)
        return;
    for (size_t i = 0; i < router->n[n_segments]; i++) {
        const struct route_entry *e = router->by_length[n_segments][i];
        if (!shape_matches(e, segments))
            continue;
        if (!method_matches(e->route->method, method)) {
            ret->other_method = true;
            add_allowed(ret, e->route->method);
            continue;
        }
        ret->route = e->route;
        ret->ctx = e->ctx;
        for (size_t s = 0; s < e->n_segments; s++) {
            if (e->segments[s].is_param)
                params[(*ret_n_params)++] = (struct http_pair){e->segments[s].text, segments[s]};
        }
        return;
    }
}
