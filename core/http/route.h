/* A row of a route table: how a request finds its handler, who may send it, and what it takes and
 * gives.  The latter is written for people and tools (http/openapi.h) and held against what
 * the handler does: asking for a parameter the row does not declare, or as another type, and
 * answering with a status it does not declare is logged as an error and counted
 * (http_stats.undeclared; the scenario tests insist on 0). */
#ifndef HYPRXA_HTTP_ROUTE_H
#define HYPRXA_HTTP_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

struct http_request;

enum http_access { HTTP_OPEN, HTTP_USER, HTTP_READ, HTTP_WRITE, HTTP_ADMIN, HTTP_METRICS };
enum http_body { HTTP_BODY_NONE, HTTP_BODY_JSON, HTTP_BODY_FORM };
enum http_where { HTTP_QUERY, HTTP_HEADER, HTTP_FORM };
enum http_type { HTTP_STRING, HTTP_INTEGER, HTTP_NUMBER, HTTP_BOOLEAN, HTTP_TIME, HTTP_JSON };

/* A parameter.  A table of them ends with a row without name, whose `also` may name a table that
 * several routes share, to be read on there:
 *
 *     static const struct http_param recorded_params[] = {
 *         {.name = "routingKey", .summary = "A regular expression for routing keys"},
 *         {.also = http_time_params},
 *     };
 */
struct http_param {
    const char *name;
    enum http_where where;
    enum http_type type;
    bool required;
    bool repeatable;           /* may be given several times */
    const char *alias_of;      /* another spelling of the parameter of this name */
    const char *otherwise;     /* the default, as text */
    const char *const *values; /* all that are allowed, NULL-terminated; NULL: any */
    const char *summary;       /* one line */
    const struct http_param *also;
};

/* `media` of a reply that is not one JSON value; several types are separated by commas.  For events
 * and WebSocket messages `reply` names the schema of each one's data. */
#define HTTP_SSE       "text/event-stream"
#define HTTP_WEBSOCKET "websocket" /* only handshakes reach the handler, none of foreign Origins */
#define HTTP_TABLES    "text/csv,application/x-jsonlines,application/x-ndjson"

enum { HTTP_MAX_ERRORS = 8 };

typedef void http_handler_fn(struct http_request *request, void *ctx);

struct http_route {
    const char *method; /* "GET" (answers HEAD too), "POST" */
    const char *path;   /* "/topics/search/{topic}": {name} is one non-empty segment */
    http_handler_fn *handler;
    enum http_access access;
    enum http_body body;
    size_t max_body;                 /* bytes; 0: the server's limit */
    const char *const *body_members; /* NULL-terminated names whose text http_body_span() locates */
    /* What is checked even before the scopes; false: it has answered.  Mostly NULL. */
    bool (*before_scopes)(struct http_request *request, void *ctx);
    bool changes_state; /* a GET that does; refused from a foreign Origin as every POST is */

    /* --- described, and checked in use --- */
    const char *name;                /* of its operation, "publish" */
    const char *summary;             /* one line */
    const struct http_param *params; /* what it reads from query, headers and form; NULL: nothing */
    const char *request;             /* the name of its body's schema */
    const char *reply;               /* the name of its answer's schema; NULL: any */
    const char *media;               /* types of its answer; NULL: application/json */
    /* Statuses of its handler beside 200 (101 of a WebSocket), 500 and 503, those of access (401,
     * 403, 501), and 422 where it has parameters or a body. */
    short errors[HTTP_MAX_ERRORS];
};

/* The row of that parameter, or NULL. */
const struct http_param *http_route_param(const struct http_route *route, enum http_where where,
                                          const char *name);
/* The row after `p` (first: route->params), past `also`; NULL: there is none. */
const struct http_param *http_param_row(const struct http_param *p);
bool http_route_is_websocket(const struct http_route *route);
bool http_route_answers(const struct http_route *route, int status);

#endif
