#include "http/http_priv.h"

#include "base/json.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <json-c/json_tokener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

/* --- the request id --- */

/* As Python's uuid.UUID() reads: 32 hex digits, hyphens anywhere, braces and "urn:uuid:" allowed. */
static bool is_uuid(const char *text)
{
    if (strlen(text) >= HTTP_ID_SIZE)
        return false;
    if (strncasecmp(text, "urn:", 4) == 0)
        text += 4;
    if (strncasecmp(text, "uuid:", 5) == 0)
        text += 5;
    size_t len = strlen(text), digits = 0;
    if (len >= 2 && text[0] == '{' && text[len - 1] == '}') {
        text++;
        len -= 2;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '-')
            continue;
        if (!strchr("0123456789abcdefABCDEF", text[i]))
            return false;
        digits++;
    }
    return digits == 32;
}

/* As digest_uuid4(), but one system call serves 64 requests. */
static void new_id(struct http_worker *w, char out[HTTP_ID_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    if (w->random_used + 16 > sizeof w->random) {
        if (getrandom(w->random, sizeof w->random, 0) != (ssize_t)sizeof w->random)
            abort(); /* up to 256 bytes never come short; 1024 only when interrupted at boot */
        w->random_used = 0;
    }
    unsigned char *bytes = w->random + w->random_used;
    w->random_used += 16;
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);
    for (size_t i = 0; i < 16; i++) {
        out[2 * i] = hex[bytes[i] >> 4];
        out[2 * i + 1] = hex[bytes[i] & 15];
    }
    out[32] = '\0';
}

static void set_id(struct http_request *r)
{
    const char *given = http_header(r, "X-Request-ID");
    if (given && is_uuid(given))
        snprintf(r->id, sizeof r->id, "%s", given);
    else
        new_id(r->worker, r->id);
}

/* --- the steps of a request; each returns false when it has answered --- */

static bool is_preflight(struct http_request *r)
{
    return r->origin && strcmp(r->info->request_method, "OPTIONS") == 0 &&
           http_header(r, "Access-Control-Request-Method");
}

static void answer_preflight(struct http_request *r)
{
    static const char methods[] = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT";
    static const char text_plain[] = "text/plain; charset=utf-8";
    const char *method = http_header(r, "Access-Control-Request-Method");
    const char *headers = http_header(r, "Access-Control-Request-Headers");
    r->preflight = true;
    http_add_header(r, "Access-Control-Allow-Methods", methods);
    http_add_header(r, "Access-Control-Max-Age", "600");
    if (headers)
        http_add_header(r, "Access-Control-Allow-Headers", headers);
    bool known = strlen(method) >= 3 && !strpbrk(method, ", ") && strstr(methods, method);
    if (r->origin_allowed && known) {
        http_respond(r, 200, text_plain, "OK", 2);
        return;
    }
    atomic_fetch_add_explicit(&r->server->refused[HTTP_REFUSED_ORIGIN], 1, memory_order_relaxed);
    char text[64];
    int len =
        snprintf(text, sizeof text, "Disallowed CORS %s%s%s", r->origin_allowed ? "" : "origin",
                 r->origin_allowed || known ? "" : ", ", known ? "" : "method");
    http_respond(r, 400, text_plain, text, (size_t)len);
}

/* "/topics/search/" -> 307 to "/topics/search", when that is a route. */
static bool redirect_slash(struct http_request *r, const char **segments, size_t n)
{
    if (n < 2 || segments[n - 1][0] != '\0')
        return false;
    struct router_match match;
    router_find(r->server->router, r->info->request_method, segments, n - 1, &match, r->params,
                &r->n_params);
    if (!match.route && !match.other_method)
        return false;
    struct buf location = BUF_INIT(r->server->options.max_url + 512);
    size_t path_len = strlen(r->info->local_uri_raw);
    buf_append_str(&location, r->info->is_ssl ? "https://" : "http://");
    if (r->host)
        buf_append_str(&location, r->host);
    else
        buf_printf(&location, "127.0.0.1:%d", r->info->server_port);
    buf_append(&location, r->info->local_uri_raw, path_len - 1);
    if (r->info->query_string)
        buf_printf(&location, "?%s", r->info->query_string);
    if (!location.failed)
        http_add_header(r, "location", location.data);
    buf_release(&location);
    http_respond(r, 307, NULL, "", 0);
    return true;
}

/* The path is a route's, the method is not.  What can be done with a path, OPTIONS tells. */
static void answer_other_method(struct http_request *r, struct router_match *match)
{
    bool asks = strcmp(r->info->request_method, "OPTIONS") == 0;
    if (asks) {
        size_t used = strlen(match->allow);
        snprintf(match->allow + used, sizeof match->allow - used, ", OPTIONS");
    }
    http_add_header(r, "Allow", match->allow);
    if (asks)
        http_respond(r, 204, NULL, "", 0);
    else
        http_respond_detail(r, 405, "Method Not Allowed");
}

static bool find_route(struct http_request *r)
{
    const char *segments[URL_MAX_SEGMENTS];
    size_t n = 0;
    struct error err = ERROR_INIT;
    int code = url_split_path(r->arena, r->info->local_uri_raw, segments, &n, &err);
    if (!code && r->info->query_string)
        code = url_split_pairs(r->arena, r->info->query_string, strlen(r->info->query_string),
                               &r->query, &r->n_query, &err);
    if (code == ERR_NOMEM) {
        http_respond_error(r, &err);
        return false;
    }
    if (code && code != ERR_NOT_FOUND) {
        guard_refuse(r, HTTP_REFUSED_FRAMING, 400, err.message);
        return false;
    }
    struct router_match match = {0};
    if (!code)
        router_find(r->server->router, r->info->request_method, segments, n, &match, r->params,
                    &r->n_params);
    if (match.route) {
        r->route = match.route;
        r->route_ctx = match.ctx;
        return true;
    }
    if (match.other_method) {
        answer_other_method(r, &match);
    } else if (code || !redirect_slash(r, segments, n)) {
        http_respond_detail(r, 404, "Not Found");
    }
    return false;
}

/* The token of "Authorization: Bearer <token>", or NULL. */
static const char *bearer_of(struct http_request *r)
{
    const char *value = http_header(r, "Authorization");
    if (!value || strncasecmp(value, "bearer ", 7) != 0)
        return NULL;
    value += 7;
    while (*value == ' ')
        value++;
    return *value ? value : NULL;
}

static bool authenticate(struct http_request *r)
{
    const struct http_options *options = &r->server->options;
    if (r->route->access == HTTP_OPEN || !options->authenticate)
        return true;
    struct error err = ERROR_INIT;
    int code = options->authenticate(options->auth_ctx, bearer_of(r), r->info->remote_addr,
                                     &r->user, &err);
    if (code) {
        r->logged = true;
        log_cause(LOG_LEVEL_ERROR, "hyprxa.http", &err, "authentication failed to work: %s",
                  err.message);
        struct error answer = ERROR_INIT;
        error_set(&answer, ERR_REFUSED, "The request cannot be completed. %s", err.message);
        http_respond_error(r, &answer);
        return false;
    }
    if (r->user && options->user_name)
        log_set_request(r->id, options->user_name(r->user), r->info->remote_addr);
    return true;
}

static bool authorize(struct http_request *r)
{
    const struct http_options *options = &r->server->options;
    if (r->route->access == HTTP_OPEN || !options->authorize)
        return true;
    const char *detail = "Forbidden";
    int status = options->authorize(options->auth_ctx, r->route->access, r->user, &detail);
    if (status == 0)
        return true;
    http_respond_detail(r, status, detail);
    return false;
}

/* By the rules of the framework the contract was taken from: no type at all counts as JSON. */
static bool is_json_type(const char *type)
{
    if (!type)
        return true;
    size_t len = strcspn(type, "; ");
    if (len <= 12 || strncasecmp(type, "application/", 12) != 0)
        return false;
    return (len == 16 && strncasecmp(type + 12, "json", 4) == 0) ||
           (len > 17 && strncasecmp(type + len - 5, "+json", 5) == 0);
}

static bool parse_json_body(struct http_request *r)
{
    struct http_worker *w = r->worker;
    buf_clear(&w->compact);
    if (w->body.len == 0 || !is_json_type(http_header(r, "Content-Type")))
        return true;
    for (const char *const *name = r->route->body_members; name && *name; name++) {
        if (r->n_spans < HTTP_MAX_SPANS)
            r->spans[r->n_spans++] = (struct json_span){.name = *name};
    }
    struct json_scan_error error = {0};
    int code = json_scan(w->body.data, w->body.len, JSON_DEPTH_MAX, &w->compact, r->spans,
                         r->n_spans, &error);
    if (code == ERR_INVALID) {
        params_respond_json_error(r, &error);
        return false;
    }
    if (!code && !w->tokener)
        w->tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
    if (code || !w->tokener) {
        struct error err = {ERR_NOMEM, 0, "out of memory for a request body"};
        http_respond_error(r, &err);
        return false;
    }
    json_tokener_reset(w->tokener);
    /* With the NUL: it ends a number that stands alone. */
    r->json = json_tokener_parse_ex(w->tokener, w->compact.data, (int)w->compact.len + 1);
    if (json_tokener_get_error(w->tokener) != json_tokener_success) {
        struct error err = {ERR_NOMEM, 0, "json-c cannot build the value of a checked text"};
        http_respond_error(r, &err);
        return false;
    }
    r->body_is_json = true;
    return true;
}

static bool is_type(const char *type, const char *wanted)
{
    size_t len = strlen(wanted);
    return strncasecmp(type, wanted, len) == 0 && strchr("; \t", type[len]);
}

static bool parse_form_body(struct http_request *r)
{
    struct buf *body = &r->worker->body;
    const char *type = http_header(r, "Content-Type");
    struct error err = ERROR_INIT;
    int code = 0;
    if (body->len == 0 || !type)
        return true;
    if (is_type(type, "application/x-www-form-urlencoded")) {
        code = url_split_pairs(r->arena, body->data, body->len, &r->form, &r->n_form, &err);
    } else if (is_type(type, "multipart/form-data")) {
        r->form = arena_alloc(r->arena, HTTP_MAX_QUERY * sizeof *r->form);
        code = r->form ? multipart_split(body->data, body->len, type, r->form, HTTP_MAX_QUERY,
                                         &r->n_form, &err)
                       : error_set(&err, ERR_NOMEM, "out of memory for a form");
    }
    if (!code)
        return true;
    if (code == ERR_NOMEM)
        http_respond_error(r, &err);
    else
        http_respond_detail(
            r, 400, code == ERR_LIMIT ? err.message : "There was an error parsing the body");
    return false;
}

static bool take_body(struct http_request *r)
{
    size_t max = r->route->max_body ? r->route->max_body : r->server->options.max_body;
    if (!guard_read_body(r, max))
        return false;
    switch (r->route->body) {
    case HTTP_BODY_JSON:
        return parse_json_body(r);
    case HTTP_BODY_FORM:
        return parse_form_body(r);
    case HTTP_BODY_NONE:
        break;
    }
    return true;
}

static bool is_self_test(const struct http_request *r)
{
    return atomic_load_explicit(&r->server->self_testing, memory_order_relaxed) &&
           strcmp(r->info->local_uri_raw, r->server->self_test_path) == 0;
}

static void serve(struct http_request *r)
{
    if (!guard_head(r))
        return;
    if (atomic_load(&r->server->stopping)) {
        http_add_header(r, "Retry-After", "5");
        guard_refuse(r, HTTP_REFUSED_STOPPING, 503, "The server is stopping.");
        return;
    }
    if (is_self_test(r)) {
        adopt_self_test_request(r);
        return;
    }
    if (is_preflight(r)) {
        answer_preflight(r);
        return;
    }
    if (!find_route(r) || !guard_origin(r) || !authenticate(r) || !take_body(r))
        return;
    if (r->route->before_scopes && !r->route->before_scopes(r, r->route_ctx))
        return;
    if (!authorize(r))
        return;
    if (http_route_is_websocket(r->route) && !upgrade_check(r))
        return;
    r->in_handler = true;
    r->route->handler(r, r->route_ctx);
    r->in_handler = false;
    if (!r->answered) {
        r->logged = true;
        log_error("hyprxa.http", "the handler of %s %s did not answer", r->route->method,
                  r->route->path);
        http_respond_detail(r, 500, "Internal Server Error");
    }
}

/* One line a request for debugging; one for each error of ours, unless its cause was logged.  A 503
 * is no error: it is how a full queue and a lost back end are told, thousands of times at once. */
static void log_request(const struct http_request *r)
{
    bool error = r->status >= 500 && r->status != 503 && !r->logged;
    enum log_level level = error ? LOG_LEVEL_ERROR : LOG_LEVEL_DEBUG;
    if (log_enabled(level))
        log_write(level, "hyprxa.http", "%s %s %d %lld us", r->info->request_method,
                  r->info->local_uri_raw, r->status,
                  (long long)((time_monotonic_ns() - r->started_ns) / 1000));
}

static void finish(struct http_request *r)
{
    struct http_server *server = r->server;
    log_request(r);
    guard_drain(r);
    if (r->close || r->dead)
        mg_disable_connection_keep_alive(r->conn);
    if (r->user && server->options.release_user)
        server->options.release_user(r->user);
    json_object_put(r->json);
    json_object_put(r->owned);
    arena_reset(r->arena);
    size_t class = !r->answered || r->status < 100 || r->status > 599 ? 0 : (size_t)r->status / 100;
    atomic_fetch_add_explicit(&r->worker->by_class[class], 1, memory_order_relaxed);
    if (atomic_fetch_sub(&server->in_flight, 1) == 1 && atomic_load(&server->stopping)) {
        pthread_mutex_lock(&server->lock);
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->lock);
    }
}

int http_dispatch(struct http_server *server, struct http_worker *w, struct mg_connection *conn)
{
    struct http_request request = {.server = server,
                                   .worker = w,
                                   .conn = conn,
                                   .info = mg_get_request_info(conn),
                                   .arena = &w->arena,
                                   .started_ns = time_monotonic_ns()};
    struct http_request *r = &request;
    atomic_fetch_add(&server->in_flight, 1);
    w->served++;
    buf_clear(&w->added);
    buf_clear(&w->invalid);
    r->head = strcmp(r->info->request_method, "HEAD") == 0;
    r->http10 = strcmp(r->info->http_version, "1.0") == 0;
    set_id(r);
    log_set_request(r->id, NULL, r->info->remote_addr);
    serve(r);
    finish(r);
    log_set_request(NULL, NULL, NULL);
    return r->answered ? r->status : 499;
}

/* --- what a handler asks --- */

const char *http_path_param(struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->n_params; i++) {
        if (strcmp(r->params[i].name, name) == 0)
            return r->params[i].value;
    }
    return NULL;
}

static const char *find_pair(const struct http_pair *pairs, size_t n, const char *name, size_t skip)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(pairs[i].name, name) == 0 && skip-- == 0)
            return pairs[i].value;
    }
    return NULL;
}

/* Of a key given more than once the last value counts, as with the original. */
static const char *last_pair(const struct http_pair *pairs, size_t n, const char *name)
{
    for (size_t i = n; i-- > 0;) {
        if (strcmp(pairs[i].name, name) == 0)
            return pairs[i].value;
    }
    return NULL;
}

const char *http_query(struct http_request *r, const char *name)
{
    route_check_param(r, HTTP_QUERY, name, HTTP_STRING, false);
    return last_pair(r->query, r->n_query, name);
}

const char *http_query_at(struct http_request *r, const char *name, size_t i)
{
    route_check_param(r, HTTP_QUERY, name, HTTP_STRING, true);
    return find_pair(r->query, r->n_query, name, i);
}

const char *http_query_any(struct http_request *r, const char *const *names)
{
    for (; *names; names++) {
        const char *value = http_query(r, *names);
        if (value)
            return value;
    }
    return NULL;
}

const char *http_form(struct http_request *r, const char *name)
{
    route_check_param(r, HTTP_FORM, name, HTTP_STRING, false);
    return last_pair(r->form, r->n_form, name);
}

const char *http_header(struct http_request *r, const char *name)
{
    for (int i = 0; i < r->info->num_headers; i++) {
        if (strcasecmp(r->info->http_headers[i].name, name) == 0)
            return r->info->http_headers[i].value;
    }
    return NULL;
}

struct json_object *http_body_json(struct http_request *r)
{
    return r->json;
}

const char *http_body_span(struct http_request *r, const char *member, size_t *ret_len)
{
    for (size_t i = 0; i < r->n_spans; i++) {
        if (strcmp(r->spans[i].name, member) == 0 && r->spans[i].len > 0) {
            *ret_len = r->spans[i].len;
            return r->worker->compact.data + r->spans[i].offset;
        }
    }
    return NULL;
}

const struct user *http_user(struct http_request *r)
{
    return r->user;
}

const char *http_request_id(struct http_request *r)
{
    return r->id;
}

const char *http_peer_address(struct http_request *r)
{
    return r->info->remote_addr;
}
