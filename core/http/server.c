#include "http/http_priv.h"

#include "base/digest.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <json-c/json_tokener.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_WORKERS = 256,
    MAX_WORKERS = 4096,
    DEFAULT_MAX_BODY = 1024 * 1024,
    DEFAULT_MAX_HEADER = 16384,
    DEFAULT_MAX_URL = 8192,
    DEFAULT_REPLAY_TIMEOUT_MS = 600 * 1000,
    DEFAULT_HEARTBEAT_MS = 15000,
    DEFAULT_MAX_WEBSOCKET_MESSAGE = 64 * 1024,
    DEFAULT_HEADER_TIMEOUT_MS = 2000,
    DEFAULT_REQUEST_TIMEOUT_MS = 10000,
    DEFAULT_KEEP_ALIVE_TIMEOUT_MS = 30000,
    FD_FLOOR_ABOVE_WORKERS = 1024,
    STOP_LEAST_MS = 500,
    OUT_MAX = 1024 * 1024,     /* of a worker's head-and-body buffer */
    ADDED_MAX = 8192,          /* header lines of http_add_header() */
    INVALID_MAX = 1024 * 1024, /* text of a 422 */
    KEPT_BYTES = 256 * 1024,   /* a worker's buffer larger than this is given back */
};

/* --- one worker --- */

static void worker_init(struct http_worker *w, struct http_server *server)
{
    w->server = server;
    lock_init(&w->lock);
    w->deadline_ms = INT64_MAX;
    w->random_used = sizeof w->random;
    buf_init(&w->out, OUT_MAX);
    buf_init(&w->added, ADDED_MAX);
    buf_init(&w->body, SIZE_MAX / 2); /* guard_read_body() knows the limit */
    buf_init(&w->compact, SIZE_MAX / 2);
    buf_init(&w->invalid, INVALID_MAX);
}

static void worker_release(struct http_worker *w)
{
    arena_release(&w->arena);
    buf_release(&w->out);
    buf_release(&w->added);
    buf_release(&w->body);
    buf_release(&w->compact);
    buf_release(&w->invalid);
    if (w->tokener)
        json_tokener_free(w->tokener);
    pthread_mutex_destroy(&w->lock);
}

/* Between requests: a large body must not stay with each of 256 workers. */
static void worker_trim(struct http_worker *w)
{
    struct buf *buffers[] = {&w->out, &w->body, &w->compact, &w->invalid};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        if (buffers[i]->cap > KEPT_BYTES) {
            size_t max = buffers[i]->max;
            buf_release(buffers[i]);
            buf_init(buffers[i], max);
        }
    }
}

/* --- civetweb's callbacks --- */

static struct http_server *server_of(const struct mg_connection *conn)
{
    return mg_get_user_data(mg_get_context(conn));
}

static void *on_init_thread(const struct mg_context *ctx, int thread_type)
{
    struct http_server *server = mg_get_user_data(ctx);
    if (thread_type != 1)
        return NULL;
    unsigned slot = atomic_fetch_add(&server->n_workers, 1);
    return slot < server->options.workers ? &server->workers[slot] : NULL;
}

/* A worker takes up a new connection.  civetweb does not say yet with whom. */
static int on_init_connection(const struct mg_connection *conn, void **ret_data)
{
    struct http_worker *w = mg_get_thread_pointer(conn);
    *ret_data = NULL;
    if (!w)
        return 0;
    w->served = 0;
    atomic_fetch_add_explicit(&w->connections, 1, memory_order_relaxed);
    http_watch(w, HTTP_PHASE_HEADER, INT64_MAX);
    return 0;
}

/* The first head is complete: note the connection's name for the reaper. */
static void name_connection(struct http_worker *w, const struct mg_request_info *info)
{
    struct in_addr ip = {0};
    if (inet_pton(AF_INET, info->remote_addr, &ip) != 1)
        ip.s_addr = INADDR_NONE;
    pthread_mutex_lock(&w->lock);
    w->peer_ip = ip.s_addr;
    w->peer_port = (uint16_t)info->remote_port;
    w->local_port = (uint16_t)info->server_port;
    pthread_mutex_unlock(&w->lock);
}

/* With many connections a woken worker does not push its waker off the core: requests are taken in
 * batches, a quarter more of them a second at 64 connections.  With few it does, and an answer waits
 * for nobody's slice.  Where the system does not allow it, no harm. */
static void choose_policy(struct http_worker *w)
{
    bool batch = atomic_load_explicit(&w->server->many, memory_order_relaxed);
    struct sched_param param = {0};
    if (batch == w->batch)
        return;
    w->batch = batch;
    pthread_setschedparam(pthread_self(), batch ? SCHED_BATCH : SCHED_OTHER, &param);
}

static int on_begin_request(struct mg_connection *conn)
{
    struct http_worker *w = mg_get_thread_pointer(conn);
    if (!w) {
        mg_disable_connection_keep_alive(conn);
        return 503;
    }
    if (w->served == 0)
        name_connection(w, mg_get_request_info(conn));
    choose_policy(w);
    http_watch(w, HTTP_PHASE_BUSY, INT64_MAX);
    return http_dispatch(w->server, w, conn);
}

static void on_end_request(const struct mg_connection *conn, int status)
{
    (void)status;
    struct http_worker *w = mg_get_thread_pointer(conn);
    if (!w)
        return;
    worker_trim(w);
    http_watch(w, HTTP_PHASE_IDLE, w->server->options.keep_alive_timeout_ms);
}

static void on_connection_close(const struct mg_connection *conn)
{
    struct http_worker *w = mg_get_thread_pointer(conn);
    if (w)
        http_watch(w, HTTP_PHASE_FREE, INT64_MAX);
}

/* Did the head take so long that the reaper has ended it?  It counted that. */
static bool head_was_reaped(struct http_worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool reaped =
        w->reaped || (w->phase == HTTP_PHASE_HEADER &&
                      time_monotonic_ms() - w->since_ms >= w->server->options.header_timeout_ms);
    pthread_mutex_unlock(&w->lock);
    return reaped;
}

/* civetweb refuses a head before any handler of ours sees it. */
static int on_http_error(struct mg_connection *conn, int status, const char *message)
{
    struct http_worker *w = mg_get_thread_pointer(conn);
    mg_disable_connection_keep_alive(conn);
    if (!w)
        return 0;
    const char *detail = "Invalid HTTP request received.";
    if (head_was_reaped(w)) {
        status = 408;
        detail = "Request Timeout";
    } else {
        if (status == 505)
            detail = "HTTP Version Not Supported";
        else
            status = 400;
        atomic_fetch_add_explicit(&w->server->refused[HTTP_REFUSED_FRAMING], 1,
                                  memory_order_relaxed);
    }
    log_debug("hyprxa.http", "refused a request head: %s", message ? message : "");
    http_send_bare(w, conn, status, detail);
    return 0;
}

static int on_log_message(const struct mg_connection *conn, const char *message)
{
    struct http_server *server = server_of(conn);
    if (!server)
        return 1;
    pthread_mutex_lock(&server->lock);
    bool starting = !server->reaper_runs;
    if (starting)
        error_set(&server->start_error, ERR_IO, "%s", message);
    pthread_mutex_unlock(&server->lock);
    if (!starting)
        log_debug("hyprxa.http", "civetweb: %s", message);
    return 1;
}

/* --- options --- */

static char **dup_strings(const char *const *strings, size_t n)
{
    char **copy = calloc(n + 1, sizeof *copy);
    if (!copy)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(strings[i]);
        if (!copy[i]) {
            while (i-- > 0)
                free(copy[i]);
            free(copy);
            return NULL;
        }
    }
    return copy;
}

static void free_strings(const char *const *strings, size_t n)
{
    for (size_t i = 0; strings && i < n; i++)
        free((void *)(uintptr_t)strings[i]);
    free((void *)(uintptr_t)strings);
}

/* "127.0.0.1:8000" or "localhost:8000" */
static int parse_listen(const char *text, struct http_listener *ret, struct error *err)
{
    const char *colon = strrchr(text, ':');
    char host[64];
    if (strchr(text, '[') || (colon && strchr(text, ':') != colon))
        return error_set(err, ERR_UNSUPPORTED,
                         "listen address '%s': IPv6 is not offered by this civetweb", text);
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof host ||
        strlen(text) >= sizeof ret->text)
        return error_set(err, ERR_INVALID, "listen address '%s': expected ADDRESS:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    char *end = NULL;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end || errno || port > 65535)
        return error_set(err, ERR_INVALID, "listen address '%s': the port must be 0 to 65535",
                         text);
    struct in_addr ip;
    if (inet_pton(AF_INET, strcmp(host, "localhost") == 0 ? "127.0.0.1" : host, &ip) != 1)
        return error_set(err, ERR_INVALID,
                         "listen address '%s': '%s' is not an IPv4 address or localhost", text,
                         host);
    snprintf(ret->text, sizeof ret->text, "%s", text);
    ret->ip = ip.s_addr;
    ret->port = (uint16_t)port;
    return 0;
}

static int copy_options(struct http_server *server, const struct http_options *options,
                        struct error *err)
{
    struct http_options *own = &server->options;
    *own = *options;
    own->listen = NULL;
    own->n_listen = 0;
    own->allow_origins = NULL;
    own->n_allow_origins = 0;
    if (options->n_listen == 0 || options->n_listen > HTTP_LISTEN_MAX)
        return error_set(err, ERR_INVALID, "between 1 and %d listen addresses are needed, not %zu",
                         HTTP_LISTEN_MAX, options->n_listen);
    for (size_t i = 0; i < options->n_listen; i++) {
        int code = parse_listen(options->listen[i], &server->listeners[i], err);
        if (code)
            return code;
    }
    server->n_listeners = options->n_listen;
    own->allow_origins =
        (const char *const *)dup_strings(options->allow_origins, options->n_allow_origins);
    if (!own->allow_origins)
        return error_set(err, ERR_NOMEM, "out of memory");
    own->n_allow_origins = options->n_allow_origins;
    if (own->workers == 0)
        own->workers = DEFAULT_WORKERS;
    if (own->workers > MAX_WORKERS)
        return error_set(err, ERR_INVALID, "%u HTTP workers: at most %d", own->workers,
                         MAX_WORKERS);
    if (own->max_body == 0)
        own->max_body = DEFAULT_MAX_BODY;
    if (own->max_downloads == 0)
        own->max_downloads = own->workers > 4 ? own->workers / 4 : 1;
    if (own->max_header == 0)
        own->max_header = DEFAULT_MAX_HEADER;
    if (own->max_url == 0)
        own->max_url = DEFAULT_MAX_URL;
    if (own->replay_timeout_ms <= 0)
        own->replay_timeout_ms = DEFAULT_REPLAY_TIMEOUT_MS;
    if (own->heartbeat_ms <= 0)
        own->heartbeat_ms = DEFAULT_HEARTBEAT_MS;
    if (own->max_websocket_message == 0)
        own->max_websocket_message = DEFAULT_MAX_WEBSOCKET_MESSAGE;
    if (own->header_timeout_ms <= 0)
        own->header_timeout_ms = DEFAULT_HEADER_TIMEOUT_MS;
    if (own->request_timeout_ms <= 0)
        own->request_timeout_ms = DEFAULT_REQUEST_TIMEOUT_MS;
    if (own->keep_alive_timeout_ms <= 0)
        own->keep_alive_timeout_ms = DEFAULT_KEEP_ALIVE_TIMEOUT_MS;
    return 0;
}

/* --- life cycle --- */

int http_server_new(const struct http_options *options, struct http_server **ret, struct error *err)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return error_set(err, ERR_NOMEM, "out of memory");
    lock_init(&server->lock);
    cond_init(&server->changed);
    int code = copy_options(server, options, err);
    if (!code && router_new(&server->router))
        code = error_set(err, ERR_NOMEM, "out of memory");
    if (!code) {
        server->workers = calloc(server->options.workers, sizeof *server->workers);
        if (!server->workers)
            code = error_set(err, ERR_NOMEM, "out of memory");
    }
    if (!code) /* here, not at start: whoever adds routes makes channels of it */
        code = streamer_new(server, &server->streamer, err);
    if (code) {
        http_server_free(server);
        return code;
    }
    for (unsigned i = 0; i < server->options.workers; i++)
        worker_init(&server->workers[i], server);
    char token[33];
    digest_uuid4(token);
    snprintf(server->self_test_path, sizeof server->self_test_path, "/.self-test/%s", token);
    *ret = server;
    return 0;
}

int http_server_add_routes(struct http_server *server, const struct http_route *routes, size_t n,
                           void *ctx, struct error *err)
{
    return router_add(server->router, routes, n, ctx, err);
}

static int start_civetweb(struct http_server *server, struct error *err)
{
    /* No log_access: civetweb would format a line, with a look at /etc/localtime, per request. */
    static const struct mg_callbacks callbacks = {
        .begin_request = on_begin_request,
        .end_request = on_end_request,
        .log_message = on_log_message,
        .connection_close = on_connection_close,
        .http_error = on_http_error,
        .init_thread = on_init_thread,
        .init_connection = on_init_connection,
    };
    char ports[HTTP_LISTEN_MAX * 24] = "";
    for (size_t i = 0; i < server->n_listeners; i++) {
        char ip[INET_ADDRSTRLEN];
        struct in_addr address = {server->listeners[i].ip};
        inet_ntop(AF_INET, &address, ip, sizeof ip);
        size_t used = strlen(ports);
        snprintf(ports + used, sizeof ports - used, "%s%s:%u", i ? "," : "", ip,
                 server->listeners[i].port);
    }
    char workers[16], request_ms[24], keep_alive_ms[24], header_max[16];
    snprintf(workers, sizeof workers, "%u", server->options.workers);
    /* Longer than ours, so that the reaper is first and the client gets its answer. */
    snprintf(request_ms, sizeof request_ms, "%lld",
             (long long)server->options.request_timeout_ms + 1000);
    snprintf(keep_alive_ms, sizeof keep_alive_ms, "%lld",
             (long long)server->options.keep_alive_timeout_ms + 1000);
    /* civetweb calls a head over this "malformed"; those between are answered 431. */
    snprintf(header_max, sizeof header_max, "%zu", 2 * server->options.max_header);
    const char *settings[] = {
        "listening_ports", ports, "num_threads", workers, "enable_keep_alive", "yes", "tcp_nodelay",
        "1", "decode_url", "no", "enable_directory_listing", "no", "connection_queue", "128",
        "listen_backlog", "4096", "request_timeout_ms", request_ms, "keep_alive_timeout_ms",
        keep_alive_ms, "max_request_size", header_max,
        /* empty: civetweb answers no preflight by itself; ours does */
        /* "GET http://host/path" is served; guards.c compares the host */
        "enable_auth_domain_check", "no", "access_control_allow_origin", "", NULL};
    unsigned mg_code = 0;
    char mg_text[256] = "";
    struct mg_error_data mg_error = {&mg_code, mg_text, sizeof mg_text};
    struct mg_init_data init = {&callbacks, server, settings};
    server->start_error = (struct error)ERROR_INIT;
    server->civetweb = mg_start2(&init, &mg_error);
    if (!server->civetweb)
        return error_set(err, ERR_IO, "cannot listen on %s: %s", ports,
                         server->start_error.code ? server->start_error.message : mg_text);

    struct mg_server_port bound[HTTP_LISTEN_MAX];
    memset(bound, 0, sizeof bound);
    int n = mg_get_server_ports(server->civetweb, HTTP_LISTEN_MAX, bound);
    for (int i = 0; i < n && (size_t)i < server->n_listeners; i++)
        server->listeners[i].port = (uint16_t)bound[i].port;
    return 0;
}

/* Once a process; never undone, as another server may run. */
static void init_library(void)
{
    mg_init_library(MG_FEATURES_DEFAULT);
}

int http_server_start(struct http_server *server, struct error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, init_library);
    int code = adopt_init(server, err);
    if (code)
        return code;
    code = start_civetweb(server, err);
    if (!code) {
        server->started = true;
        code = reaper_start(server, err);
    }
    if (code) {
        http_server_stop(server, 1000);
        return code;
    }
    atomic_store(&server->self_testing, true);
    adopt_self_test(server);
    atomic_store(&server->self_testing, false);
    return 0;
}

unsigned http_server_port(const struct http_server *server, size_t listener)
{
    return listener < server->n_listeners ? server->listeners[listener].port : 0;
}

/* mg_stop() joins the workers and so waits for every handler; this thread waits in its place. */
static void *stop_civetweb(void *arg)
{
    struct http_server *server = arg;
    mg_stop(server->civetweb);
    pthread_mutex_lock(&server->lock);
    server->civetweb_stopped = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

/* False: some handler never returns; its worker goes on using the server. */
static bool stop_workers(struct http_server *server, int64_t deadline_ms)
{
    pthread_t stopper;
    pthread_mutex_lock(&server->lock);
    server->civetweb_stops = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (thread_start(&stopper, "http-stop", stop_civetweb, server, NULL)) {
        mg_stop(server->civetweb);
        return true;
    }
    pthread_mutex_lock(&server->lock);
    bool in_time = true;
    while (!server->civetweb_stopped && in_time)
        in_time = cond_wait_until(&server->changed, &server->lock, deadline_ms);
    bool stopped = server->civetweb_stopped;
    pthread_mutex_unlock(&server->lock);
    if (stopped)
        pthread_join(stopper, NULL);
    else
        pthread_detach(stopper);
    return stopped;
}

/* No handler runs any more, or the time is up. */
static bool wait_for_handlers(struct http_server *server, int64_t deadline_ms)
{
    pthread_mutex_lock(&server->lock);
    bool in_time = true;
    while (atomic_load(&server->in_flight) > 0 && in_time)
        in_time = cond_wait_until(&server->changed, &server->lock, deadline_ms);
    bool quiet = atomic_load(&server->in_flight) == 0;
    pthread_mutex_unlock(&server->lock);
    return quiet;
}

void http_server_stop(struct http_server *server, int64_t timeout_ms)
{
    if (!server)
        return;
    int64_t deadline_ms = time_monotonic_ms() + timeout_ms;
    atomic_store(&server->stopping, true);
    if (server->streamer)
        streamer_stop(server->streamer, timeout_ms);
    if (!server->started)
        return;
    server->started = false;
    if (!wait_for_handlers(server, deadline_ms))
        log_warning("hyprxa.http", "stopping with %u requests unanswered",
                    atomic_load(&server->in_flight));

    /* At least a moment: without handlers it takes a few milliseconds. */
    int64_t least_ms = time_monotonic_ms() + STOP_LEAST_MS;
    if (!stop_workers(server, deadline_ms > least_ms ? deadline_ms : least_ms)) {
        log_error("hyprxa.http", "a request handler does not return; abandoning its worker");
        server->abandoned = true;
    }
    reaper_stop(server);
    if (!server->abandoned)
        server->civetweb = NULL;
}

void http_server_free(struct http_server *server)
{
    if (!server)
        return;
    http_server_stop(server, 0);
    if (server->abandoned)
        return;
    streamer_free(server->streamer);
    for (unsigned i = 0; server->workers && i < server->options.workers; i++)
        worker_release(&server->workers[i]);
    free(server->workers);
    router_free(server->router);
    free_strings(server->options.allow_origins, server->options.n_allow_origins);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

struct streamer *http_server_streamer(struct http_server *server)
{
    return server->streamer;
}

int http_fd_floor(const struct http_server *server)
{
    return (int)server->options.workers + FD_FLOOR_ABOVE_WORKERS;
}

/* --- counters --- */

void http_get_stats(struct http_server *server, struct http_stats *ret)
{
    struct http_stats sum = {.in_flight = atomic_load(&server->in_flight),
                             .downloads = atomic_load(&server->downloads),
                             .workers = server->options.workers};
    for (unsigned i = 0; i < server->options.workers; i++) {
        struct http_worker *w = &server->workers[i];
        for (size_t class = 0; class < 6; class ++)
            sum.requests[class] += atomic_load_explicit(&w->by_class[class], memory_order_relaxed);
        sum.bytes_in += atomic_load_explicit(&w->bytes_in, memory_order_relaxed);
        sum.bytes_out += atomic_load_explicit(&w->bytes_out, memory_order_relaxed);
        sum.connections += atomic_load_explicit(&w->connections, memory_order_relaxed);
        pthread_mutex_lock(&w->lock);
        sum.workers_busy += w->phase != HTTP_PHASE_FREE;
        pthread_mutex_unlock(&w->lock);
    }
    for (size_t i = 0; i < HTTP_REFUSED_REASONS; i++)
        sum.refused[i] = atomic_load_explicit(&server->refused[i], memory_order_relaxed);
    sum.undeclared = atomic_load_explicit(&server->undeclared, memory_order_relaxed);
    *ret = sum;
}

const char *http_refused_name(enum http_refused reason)
{
    static const char *const names[HTTP_REFUSED_REASONS] = {
        [HTTP_REFUSED_FRAMING] = "framing",     [HTTP_REFUSED_SIZE] = "size",
        [HTTP_REFUSED_TIMEOUT] = "timeout",     [HTTP_REFUSED_HOST] = "host",
        [HTTP_REFUSED_ORIGIN] = "origin",       [HTTP_REFUSED_STOPPING] = "stopping",
        [HTTP_REFUSED_DOWNLOADS] = "downloads",
    };
    return reason < HTTP_REFUSED_REASONS ? names[reason] : "unknown";
}
