/* What a row declares, and whether the handler keeps to it. */
#include "http/route.h"
#include "http/http_priv.h"

#include "base/log.h"

#include <string.h>

enum { UNDECLARED_LOGGED = 100 }; /* then they are only counted */

const struct http_param *http_param_row(const struct http_param *p)
{
    while (p && !p->name)
        p = p->also;
    return p;
}

const struct http_param *http_route_param(const struct http_route *route, enum http_where where,
                                          const char *name)
{
    const struct http_param *p = http_param_row(route->params);
    while (p && (p->where != where || strcmp(p->name, name) != 0))
        p = http_param_row(p + 1);
    return p;
}

bool http_route_is_websocket(const struct http_route *route)
{
    return route->media && strcmp(route->media, HTTP_WEBSOCKET) == 0;
}

bool http_route_answers(const struct http_route *route, int status)
{
    if (status == 500 || status == 503 || status == (http_route_is_websocket(route) ? 101 : 200))
        return true;
    /* The scopes of a source are checked by the handler. */
    if (route->access != HTTP_OPEN && (status == 401 || status == 403 || status == 501))
        return true;
    if (status == 422 && (route->params || route->body != HTTP_BODY_NONE))
        return true;
    for (size_t i = 0; i < HTTP_MAX_ERRORS; i++)
        if (route->errors[i] == status)
            return true;
    return false;
}

/* True: this one is to be logged. */
static bool count_undeclared(struct http_request *r)
{
    return atomic_fetch_add(&r->server->undeclared, 1) < UNDECLARED_LOGGED;
}

void route_check_param(struct http_request *r, enum http_where where, const char *name,
                       enum http_type type, bool repeated)
{
    if (!r->in_handler)
        return;
    const struct http_param *p = http_route_param(r->route, where, name);
    /* As text anything may be read: whoever does so parses it. */
    if (p && (type == HTTP_STRING || p->type == type) && (!repeated || p->repeatable))
        return;
    if (count_undeclared(r))
        log_error("hyprxa.http", "%s %s asks for the parameter '%s', which it does not declare%s",
                  r->route->method, r->route->path, name, p ? " like this" : "");
}

void route_check_status(struct http_request *r, int status)
{
    if (r->in_handler && !http_route_answers(r->route, status) && count_undeclared(r))
        log_error("hyprxa.http", "%s %s answers %d, which it does not declare", r->route->method,
                  r->route->path, status);
}
