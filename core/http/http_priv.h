/* What the files of core/http share: the server, its workers, and a request from the inside.
 *
 * A civetweb worker thread owns one `struct http_worker`: the memory it reuses from request to
 * request, the one request it serves, and the *watch* by which the reaper (reaper.c) sees how long
 * its peer keeps it waiting.  Only members marked so may be touched by another thread.
 *
 * streamer.c, adopt.c and sse.c use the server's pointer to the streamer, the request's connection,
 * http_head_begin(), http_send() and http_mark_answered(); they implement the functions declared
 * at the end of this file. */
#ifndef HYPRXA_HTTP_HTTP_PRIV_H
#define HYPRXA_HTTP_HTTP_PRIV_H

#include "base/buf.h"
#include "base/error.h"
#include "base/json_scan.h"
#include "http/http.h"
#include "http/multipart.h"

#include <civetweb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;
struct json_tokener;
struct router;

enum {
    HTTP_MAX_PARAMS = 8,  /* {name} segments of one route */
    HTTP_MAX_SPANS = 8,   /* body_members of one route */
    HTTP_MAX_QUERY = 256, /* key=value pairs of one query string or form */
    HTTP_ID_SIZE = 64,    /* a UUID in any spelling that is echoed, and a NUL */
    HTTP_LISTEN_MAX = 16,
};

/* --- memory of one request --- */

/* A bump allocator: one block kept between requests, more only for large ones. */
struct arena {
    char *block;
    size_t used, cap;
    struct arena_extra *extra; /* allocations that did not fit, freed by arena_reset() */
};
void *arena_alloc(struct arena *a, size_t n); /* aligned to 16; NULL when out of memory */
char *arena_strndup(struct arena *a, const char *text, size_t len);
void arena_reset(struct arena *a);
void arena_release(struct arena *a);

/* --- the worker --- */

enum http_phase {
    HTTP_PHASE_FREE,   /* no connection */
    HTTP_PHASE_HEADER, /* a new connection, its first request not complete yet */
    HTTP_PHASE_IDLE,   /* kept alive, the next request not complete yet */
    HTTP_PHASE_BUSY,   /* a handler runs */
    HTTP_PHASE_READ,   /* waiting for a body */
    HTTP_PHASE_WRITE,  /* waiting for the peer to take bytes */
    HTTP_PHASE_DRAIN,  /* taking the rest of a refused body */
};

struct http_worker {
    struct http_server *server; /* set at init, then const */

    /* guarded by lock */
    pthread_mutex_t lock;
    enum http_phase phase;
    int64_t since_ms;               /* when the phase began */
    int64_t deadline_ms;            /* INT64_MAX: none */
    bool reaped;                    /* the reaper has shut the socket down in this phase */
    uint32_t peer_ip;               /* network order; with the ports, the name of the socket... */
    uint16_t peer_port, local_port; /* ...known from the connection's first head on */

    /* atomic: written by the worker, read by http_get_stats() */
    _Atomic uint64_t by_class[6]; /* answers by status / 100; 0: the peer was gone */
    _Atomic uint64_t bytes_out, bytes_in, connections;

    /* the worker's own */
    struct arena arena;
    struct buf out;     /* head and small body of the answer */
    struct buf added;   /* header lines of http_add_header() */
    struct buf body;    /* the request's body as it came */
    struct buf compact; /* its JSON, compacted */
    struct buf invalid; /* the collected parameter errors */
    struct json_tokener *tokener;
    unsigned char random[1024];
    size_t random_used; /* sizeof random: refill */
    char date[40];      /* of date_second */
    int64_t date_second;
    unsigned served; /* requests on this connection */
    bool batch;      /* scheduled as SCHED_BATCH */
};

/* Enter a phase that the reaper watches, `timeout_ms` from now at most. */
void http_watch(struct http_worker *w, enum http_phase phase, int64_t timeout_ms);
/* Leave it.  True: the reaper had to shut the socket down. */
bool http_unwatch(struct http_worker *w);

/* --- the server --- */

struct http_listener {
    char text[64]; /* as configured */
    uint32_t ip;   /* network order */
    uint16_t port; /* bound port, host order */
};

struct http_server {
    /* set at init, then const */
    struct http_options options; /* strings copied, defaults filled in */
    struct http_listener listeners[HTTP_LISTEN_MAX];
    size_t n_listeners;
    struct router *router;
    struct mg_context *civetweb;
    struct streamer *streamer;   /* NULL before http_server_start() */
    struct http_worker *workers; /* options.workers of them */
    /* A path nobody can guess; while self_testing, requests for it go to adopt_self_test_request(). */
    char self_test_path[48];

    /* atomic */
    atomic_uint n_workers; /* slots given to threads */
    atomic_uint in_flight; /* handlers running */
    atomic_uint downloads; /* of them: downloads */
    atomic_bool stopping;  /* new requests get 503 */
    atomic_bool self_testing;
    atomic_bool crowded; /* every worker holds a connection */
    atomic_bool many;    /* so many do that throughput counts more than latency */
    _Atomic uint64_t refused[HTTP_REFUSED_REASONS];
    _Atomic uint64_t undeclared; /* see http_stats */

    /* guarded by lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool reaper_runs, reaper_ends;
    bool civetweb_stops; /* the reaper wakes whoever civetweb waits for */
    bool civetweb_stopped;
    struct error start_error; /* what civetweb said last while starting */

    pthread_t reaper;
    bool started, abandoned; /* [control] */
};

/* Descriptors below this number belong to listeners, workers and plugins; adopted ones lie above. */
int http_fd_floor(const struct http_server *server);

int reaper_start(struct http_server *server, struct error *err);
void reaper_stop(struct http_server *server);

/* --- the request --- */

struct http_request {
    struct http_server *server;
    struct http_worker *worker;
    struct mg_connection *conn;
    const struct mg_request_info *info;
    const struct http_route *route; /* NULL before routing */
    void *route_ctx;
    struct arena *arena;

    char id[HTTP_ID_SIZE];
    const char *host;   /* the Host header, NULL in HTTP/1.0 without one */
    const char *origin; /* NULL: none */
    bool origin_allowed;
    bool head;          /* HEAD: answer without body */
    bool http10;        /* the client speaks HTTP/1.0 */
    bool keep_alive_10; /* HTTP/1.0 with Connection: keep-alive */
    bool chunked_body;
    bool expects_continue; /* waits for a 100 before it sends the body */
    uint64_t content_length;
    bool has_body;  /* a body follows the head */
    bool body_read; /* and has been read whole */
    bool preflight; /* answer without request id */

    struct http_pair params[HTTP_MAX_PARAMS];
    size_t n_params;
    struct http_pair *query;
    size_t n_query;
    struct http_pair *form;
    size_t n_form;

    const struct user *user;
    struct json_object *json;
    struct json_object *owned; /* a list of values made for this request, or NULL */
    struct json_span spans[HTTP_MAX_SPANS];
    size_t n_spans;
    bool body_is_json;               /* by content type, and not empty */
    bool body_checked;               /* http_body_* has looked whether the body is an object */
    struct json_object *body_object; /* the body as an object; NULL: it is none */

    bool in_handler;
    bool answered;
    bool close;  /* close the connection after the answer */
    bool dead;   /* the peer takes no more */
    bool logged; /* the cause of an error has been */
    int status;
    int64_t started_ns;
};

/* guards.c: each answers the request itself and returns false when it refuses. */
bool guard_head(struct http_request *r);   /* framing, Host, sizes; fills host, origin, has_body */
bool guard_origin(struct http_request *r); /* of a foreign page: 403 */
bool guard_read_body(struct http_request *r, size_t max);
void guard_drain(struct http_request *r); /* after an answer that left a body unread */
void guard_refuse(struct http_request *r, enum http_refused reason, int status, const char *detail);
/* Is `token` in a comma-separated list (NULL: empty)?  Case does not matter. */
bool guard_has_token(const char *list, const char *token);
bool guard_origin_listed(const struct http_server *server, const char *origin);

/* upgrade.c: may the request become a WebSocket?  Else it is answered, and false.  Then its 101's
 * headers, with the empty line. */
bool upgrade_check(struct http_request *r);
int upgrade_append_headers(struct http_request *r, struct buf *out);

/* router.c */
struct router_match {
    const struct http_route *route;
    void *ctx;
    bool other_method; /* the path exists, the method does not */
    char allow[64];    /* its methods, for the Allow header */
};
int router_new(struct router **ret);
void router_free(struct router *router);
int router_add(struct router *router, const struct http_route *routes, size_t n, void *ctx,
               struct error *err);
/* The i-th of all routes, by length and then as they are looked up; NULL: there are fewer. */
const struct http_route *router_route(const struct router *router, size_t i);
/* `segments` are decoded; on a match the {name} values are put into `params`. */
void router_find(const struct router *router, const char *method, const char *const *segments,
                 size_t n_segments, struct router_match *ret, struct http_pair *params,
                 size_t *ret_n_params);

/* route.c: count and log what the handler's row does not declare. */
void route_check_param(struct http_request *r, enum http_where where, const char *name,
                       enum http_type type, bool repeated);
void route_check_status(struct http_request *r, int status);

/* url.c: percent-decoding into the arena. */
enum { URL_MAX_SEGMENTS = 16 };
/* "/a/b%20c" -> {"a", "b c"}.  ERR_INVALID: bad encoding, NUL, CR, LF or an encoded slash, or not
 * UTF-8; ERR_NOT_FOUND: too many segments for any route; ERR_NOMEM. */
int url_split_path(struct arena *a, const char *path, const char *ret_segments[URL_MAX_SEGMENTS],
                   size_t *ret_n, struct error *err);
/* "a=1&b=" -> pairs, empty values left out.  ERR_INVALID, ERR_LIMIT, ERR_NOMEM. */
int url_split_pairs(struct arena *a, const char *text, size_t len, struct http_pair **ret,
                    size_t *ret_n, struct error *err);

/* request.c: the whole of a request, from civetweb's begin_request callback; returns the status. */
int http_dispatch(struct http_server *server, struct http_worker *w, struct mg_connection *conn);

/* params.c: the 422 of a body that is no JSON (contract 1.3). */
void params_respond_json_error(struct http_request *r, const struct json_scan_error *error);

/* response.c: what every answer, streamed ones too, is made with. */

/* Append the status line and the headers common to all answers (date, request id, CORS, those of
 * http_add_header(), `connection` where it is needed), without the empty line that ends a head. */
void http_head_begin(struct http_request *r, int status, struct buf *out);
/* Send through civetweb, giving up `request_timeout_ms` after a block the peer does not take.
 * ERR_CLOSED: the peer is gone or too slow; the connection is closed after the request. */
int http_send(struct http_request *r, const void *bytes, size_t len);
/* Note that an answer with this status goes out; false (and logged): there was one already. */
bool http_mark_answered(struct http_request *r, int status);
void http_close_after(struct http_request *r);
/* For answers before there is a request: {"detail": ...}, then close. */
void http_send_bare(struct http_worker *w, struct mg_connection *conn, int status,
                    const char *detail);

/* --- implemented by the stream part --- */

/* [control] in http_server_new() / in stop and free. */
int streamer_new(struct http_server *server, struct streamer **ret, struct error *err);
/* Every stream is told `end` and flushed, within `timeout_ms`; then the threads are joined. */
void streamer_stop(struct streamer *s, int64_t timeout_ms);
void streamer_free(struct streamer *s); /* NULL is fine */

/* Raise RLIMIT_NOFILE, prepare the descriptor floor.  [control], before civetweb starts. */
int adopt_init(struct http_server *server, struct error *err);
/* Prove over loopback that adoption works with this civetweb; where it does not, streams park
 * workers from now on.  Requests server->self_test_path; called once after the listeners opened. */
void adopt_self_test(struct http_server *server);
void adopt_self_test_request(struct http_request *r); /* [worker] answers that request */

#endif
