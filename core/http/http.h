/* HTTP: the server, its guards, the router, and what a route sees of a request.
 *
 * A route is a row of a const table (http/route.h).  Its handler runs on a civetweb worker [worker] with a
 * `struct http_request` that lives for the call, answers exactly once with one of the http_respond
 * functions (or streams, or downloads) and returns.  Before it runs, in the order of contract 1.3:
 * guards (framing, sizes, Host, Origin) -> body read and, for HTTP_BODY_JSON, scanned and parsed
 * -> scopes.  Query keys given but empty count as absent. */
#ifndef HYPRXA_HTTP_HTTP_H
#define HYPRXA_HTTP_HTTP_H

#include "base/buf.h"
#include "base/error.h"
#include "http/route.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;
struct http_server;
struct streamer;
struct user; /* auth's; http only carries the pointer */

struct http_options {
    const char *const *listen; /* "127.0.0.1:8000", ...; port 0 picks a free one */
    size_t n_listen;
    unsigned workers;                 /* 0: 256 */
    size_t max_body;                  /* 0: 1 MiB */
    unsigned max_downloads;           /* at a time, each holds a worker; 0: a quarter of them */
    size_t max_header;                /* request line and headers; 0: 16 KiB */
    size_t max_url;                   /* path and query; 0: 8 KiB */
    size_t max_websocket_message;     /* of what clients send, which nobody reads; 0: 64 KiB */
    const char *const *allow_origins; /* a trailing '*' means any port */
    size_t n_allow_origins;
    bool check_host; /* debug auth: Host must be localhost, 127.0.0.1 or [::1], else 421 */
    /* Who asks?  Fills the request's user (NULL: anonymous).  An error is answered 500. */
    int (*authenticate)(void *ctx, const char *bearer, const char *address,
                        const struct user **ret_user, struct error *err);
    void (*release_user)(const struct user *user);
    const char *(*user_name)(const struct user *user);
    /* May they?  0: go on; else an HTTP status whose detail text is set in *ret_detail. */
    int (*authorize)(void *ctx, enum http_access access, const struct user *user,
                     const char **ret_detail);
    void *auth_ctx;
    /* Deadlines; 0: the default. */
    int64_t header_timeout_ms;     /* a new connection's first request head: 2,000 */
    int64_t request_timeout_ms;    /* a whole body; and each block a peer must take: 10,000 */
    int64_t heartbeat_ms;          /* silence on a stream after which a comment is sent: 15,000 */
    int64_t replay_timeout_ms;     /* a stream's replay, from its first byte: 600,000 */
    int64_t keep_alive_timeout_ms; /* between requests: 30,000, less when workers are scarce */
};

/* --- life cycle [control] --- */
int http_server_new(const struct http_options *options, struct http_server **ret,
                    struct error *err);
/* Rows and ctx must outlive the server.  Before http_server_start(). */
int http_server_add_routes(struct http_server *server, const struct http_route *routes, size_t n,
                           void *ctx, struct error *err);
/* Bind, run the adoption self-test, serve.  ERR_IO names the address that cannot be bound. */
int http_server_start(struct http_server *server, struct error *err);
unsigned http_server_port(const struct http_server *server, size_t listener); /* the bound port */
/* New requests get 503; streams are told `end` and flushed; joins.  At most `timeout_ms`. */
void http_server_stop(struct http_server *server, int64_t timeout_ms);
void http_server_free(struct http_server *server);
struct streamer *http_server_streamer(struct http_server *server);

/* --- the request [worker] --- */
const char *http_path_param(struct http_request *r, const char *name); /* percent-decoded */
const char *http_query(struct http_request *r, const char *name);      /* NULL: absent or empty */
/* The i-th value of a repeatable key, or NULL. */
const char *http_query_at(struct http_request *r, const char *name, size_t i);
/* As http_query(), but any of several names (aliases); the first present wins. */
const char *http_query_any(struct http_request *r, const char *const *names);
const char *http_header(struct http_request *r, const char *name); /* NULL: absent */
struct json_object *http_body_json(struct http_request *r); /* borrowed; may be NULL = null */
/* The compact text of a top-level member named in body_members, or NULL. */
const char *http_body_span(struct http_request *r, const char *member, size_t *ret_len);
const struct user *http_user(struct http_request *r); /* NULL: anonymous */
const char *http_request_id(struct http_request *r);
const char *http_peer_address(struct http_request *r);

/* --- parameter errors: collected, then answered as one 422 (contract 1.3) --- */

/* One step of `loc`: a name, or with NULL an index. */
struct http_loc {
    const char *name;
    long index;
};
/* `ctx_json` (compact JSON object text) may be NULL. */
void http_invalid(struct http_request *r, const struct http_loc *loc, size_t n_loc, const char *msg,
                  const char *type, const char *ctx_json);
/* Convenience for {where, field}: where is "query", "path" or "body". */
void http_invalid_at(struct http_request *r, const char *where, const char *field, const char *msg,
                     const char *type);
bool http_is_invalid(const struct http_request *r);
bool http_respond_if_invalid(struct http_request *r); /* true: the 422 was sent, return now */

/* Typed parameters; on a bad value the error is collected and the default returned. */
int64_t http_query_int(struct http_request *r, const char *name, int64_t otherwise);
bool http_query_bool(struct http_request *r, const char *name, bool otherwise);
/* A required string member of the JSON body, with the coercions and errors of contract 1.3; NULL
 * when invalid.  Borrowed for the request. */
const char *http_body_string(struct http_request *r, const char *field, bool required);
/* The text of a JSON string, number or boolean; NULL: it has none, or a U+0000 in it. */
const char *http_json_string(struct http_request *r, struct json_object *value);
/* A required object / list member; NULL when invalid. */
struct json_object *http_body_object(struct http_request *r, const char *field);
struct json_object *http_body_list(struct http_request *r, const char *field);

/* --- the answer: exactly one of these --- */
void http_respond(struct http_request *r, int status, const char *content_type, const void *body,
                  size_t len);
void http_respond_json(struct http_request *r, int status, const struct buf *body);
void http_respond_detail(struct http_request *r, int status, const char *detail); /* {"detail":…} */
void http_respond_ok(struct http_request *r); /* {"status":"OK"} */
/* Code -> status by the one table in problem.c; the message becomes the detail. */
void http_respond_error(struct http_request *r, const struct error *err);
void http_add_header(struct http_request *r, const char *name, const char *value);

/* A download: chunked, `content-disposition: attachment; filename=<us><suffix>`.  The head goes out
 * with the first 64 KiB, so that what fails before is answered as any error.  The texts must outlive
 * the download.  NULL: answered, 503 when `max_downloads` are under way. */
struct http_download;
struct http_download *http_download_begin(struct http_request *r, const char *content_type,
                                          const char *suffix);
/* Buffered; ERR_CLOSED: the client is gone or too slow, give up. */
int http_download_write(struct http_download *d, const void *bytes, size_t len);
/* complete == false leaves out the final chunk, so that the client can tell. */
void http_download_end(struct http_download *d, bool complete);
/* Instead of the end: answers the error if nothing went out yet, else leaves out the final chunk. */
void http_download_fail(struct http_download *d, const struct error *err);

/* --- counters, for /metrics and /admin [any] --- */

enum http_refused {
    HTTP_REFUSED_FRAMING,   /* malformed head, lengths, encodings, URL */
    HTTP_REFUSED_SIZE,      /* head, URL or body too large */
    HTTP_REFUSED_TIMEOUT,   /* slow head, body or reader; idle connections in a crowd */
    HTTP_REFUSED_HOST,      /* 421 */
    HTTP_REFUSED_ORIGIN,    /* 403 of a foreign Origin, refused preflights */
    HTTP_REFUSED_STOPPING,  /* 503 during shutdown */
    HTTP_REFUSED_DOWNLOADS, /* 503 while too many are under way */
    HTTP_REFUSED_REASONS
};
struct http_stats {
    uint64_t requests[6]; /* answers by status / 100; 0: the client left before one was sent */
    uint64_t refused[HTTP_REFUSED_REASONS];
    uint64_t connections;           /* accepted so far */
    uint64_t bytes_in, bytes_out;   /* bodies read; bytes sent by workers */
    unsigned in_flight;             /* handlers running now */
    unsigned downloads;             /* of them: downloads */
    unsigned workers, workers_busy; /* busy: holding a connection, also an idle one */
    uint64_t undeclared;            /* times a handler did what its row does not declare */
};
void http_get_stats(struct http_server *server, struct http_stats *ret);
const char *http_refused_name(enum http_refused reason); /* "framing", ... */

/* A field of an urlencoded or multipart body (HTTP_BODY_FORM); NULL: absent or empty.  [worker] */
const char *http_form(struct http_request *r, const char *name);

#endif
