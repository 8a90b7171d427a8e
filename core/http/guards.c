/* What civetweb lets through and we do not.
 *
 * civetweb reads only the first Content-Length and Transfer-Encoding, lets the latter win, stops
 * reading header lines at a folded line, at a bare LF before CR LF, or after 64 of them, and takes
 * what follows for a body or the next request.  Behind a proxy that reads the same bytes otherwise,
 * each of these lets one client speak in another's name.  So the head is checked as bytes: every line
 * must end in CR LF and begin where the one before ended.  civetweb has put NULs in place of the line
 * ends, and keeps all of the head in one buffer. */
#include "http/http_priv.h"

#include "base/log.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    CHUNK_READ = 16 * 1024,
    DRAIN_MAX = 1024 * 1024, /* of a refused body, so that the client sees the answer */
    DRAIN_MS = 500,
};

void guard_refuse(struct http_request *r, enum http_refused reason, int status, const char *detail)
{
    atomic_fetch_add_explicit(&r->server->refused[reason], 1, memory_order_relaxed);
    r->close = true;
    http_respond_detail(r, status, detail);
}

static bool refuse_framing(struct http_request *r, const char *detail)
{
    r->has_body = false; /* nobody knows where it ends: do not drain it */
    guard_refuse(r, HTTP_REFUSED_FRAMING, 400, detail);
    return false;
}

/* One blank between method, URL and version?  civetweb takes any white space, line ends too. */
static bool words_are_close(const struct mg_request_info *info)
{
    const char *method_end = info->request_method + strlen(info->request_method);
    const char *url = info->query_string ? info->query_string : info->request_uri;
    return info->request_uri == method_end + 1 &&
           info->http_version == url + strlen(url) + 1 + strlen("HTTP/");
}

/* Did civetweb see all header lines, each ended by CR LF? */
static bool lines_are_whole(const struct mg_request_info *info)
{
    const char *line = info->http_version + strlen(info->http_version);
    for (int i = 0; i < info->num_headers; i++) {
        const struct mg_header *h = &info->http_headers[i];
        /* "\0\0" stands for the CR LF before.  After the version civetweb blanks out the CR LF and
         * any blanks of a folded first line, which the distance shows. */
        if (h->name != line + 2)
            return false;
        const char *name_end = h->name + strlen(h->name);
        if (name_end[1] == '\0' && h->value != name_end + 1)
            return false; /* blanks between name and colon */
        line = h->value + strlen(h->value);
        if (line[1] != '\0')
            return false; /* a bare LF */
    }
    /* Then the empty line, of which civetweb turns the LF into the end of the buffer.  Without any
     * header it has skipped that line's CR as well. */
    return info->num_headers == 0 || (line[2] == '\r' && line[3] == '\0');
}

/* From the method to the empty line. */
static size_t head_size(const struct mg_request_info *info)
{
    const char *last = info->http_version;
    if (info->num_headers > 0)
        last = info->http_headers[info->num_headers - 1].value;
    return (size_t)(last - info->request_method) + strlen(last) + 4;
}

/* Digits only, at most 18 of them. */
static bool parse_length(const char *text, uint64_t *ret)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 18 || text[n])
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (uint64_t)(text[i] - '0');
    *ret = value;
    return true;
}

static bool is_host(const char *text)
{
    size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                              ".-_~:[]");
    return len > 0 && text[len] == '\0';
}

static bool is_local_name(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; host && i < sizeof names / sizeof *names; i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(host, names[i], len) == 0 && (host[len] == '\0' || host[len] == ':'))
            return true;
    }
    return false;
}

/* "GET http://host:port/path": then the authority must be the Host's. */
static bool authority_is_host(const struct http_request *r)
{
    const char *uri = r->info->request_uri, *path = r->info->local_uri_raw;
    if (uri == path)
        return true;
    const char *authority = strstr(uri, "://");
    if (!authority || !r->host)
        return false;
    authority += 3;
    size_t len = strlen(r->host);
    return (size_t)(path - authority) == len && strncasecmp(authority, r->host, len) == 0;
}

/* Is `token` in the comma-separated list? */
bool guard_has_token(const char *list, const char *token)
{
    size_t len = strlen(token);
    while (list && *list) {
        list += strspn(list, ", ");
        size_t item = strcspn(list, ", ");
        if (item == len && strncasecmp(list, token, len) == 0)
            return true;
        list += item;
    }
    return false;
}

/* The headers that say where the request ends and whom it is for. */
struct framing {
    unsigned lengths, encodings, hosts, expects;
    const char *length, *encoding, *expect, *connection;
};

static void collect_framing(struct http_request *r, struct framing *f)
{
    const struct mg_request_info *info = r->info;
    for (int i = 0; i < info->num_headers; i++) {
        const char *name = info->http_headers[i].name, *value = info->http_headers[i].value;
        switch (name[0] | 0x20) {
        case 'c':
            if (strcasecmp(name, "content-length") == 0) {
                f->lengths++;
                f->length = value;
            } else if (strcasecmp(name, "connection") == 0) {
                f->connection = value;
            }
            break;
        case 't':
            if (strcasecmp(name, "transfer-encoding") == 0) {
                f->encodings++;
                f->encoding = value;
            }
            break;
        case 'h':
            if (strcasecmp(name, "host") == 0) {
                f->hosts++;
                r->host = value;
            }
            break;
        case 'o':
            if (strcasecmp(name, "origin") == 0 && !r->origin)
                r->origin = value;
            break;
        case 'e':
            if (strcasecmp(name, "expect") == 0) {
                f->expects++;
                f->expect = value;
            }
            break;
        default:
            break;
        }
    }
}

static bool check_lengths(struct http_request *r, const struct framing *f)
{
    if (f->encodings > 0 && f->lengths > 0)
        return refuse_framing(r, "Content-Length with Transfer-Encoding.");
    if (f->lengths > 1)
        return refuse_framing(r, "Repeated Content-Length.");
    if (f->lengths == 1 && !parse_length(f->length, &r->content_length))
        return refuse_framing(r, "Malformed Content-Length.");
    if (f->encodings > 1 ||
        (f->encodings == 1 && (strcasecmp(f->encoding, "chunked") != 0 || r->http10)))
        return refuse_framing(r, "Unsupported Transfer-Encoding.");
    r->chunked_body = f->encodings == 1;
    r->has_body = r->chunked_body || r->content_length > 0;
    return true;
}

bool guard_head(struct http_request *r)
{
    const struct mg_request_info *info = r->info;
    struct framing f = {0};
    collect_framing(r, &f);
    if (!words_are_close(info) || !lines_are_whole(info)) {
        if (info->num_headers == MG_MAX_HEADERS) {
            r->has_body = false;
            guard_refuse(r, HTTP_REFUSED_SIZE, 431, "Request Header Fields Too Large");
            return false;
        }
        return refuse_framing(r, "Malformed request head.");
    }
    if (!check_lengths(r, &f))
        return false;
    if (head_size(info) > r->server->options.max_header) {
        r->has_body = false;
        guard_refuse(r, HTTP_REFUSED_SIZE, 431, "Request Header Fields Too Large");
        return false;
    }
    if (f.hosts > 1 || (f.hosts == 0 && !r->http10) || (r->host && !is_host(r->host)) ||
        !authority_is_host(r))
        return refuse_framing(r, "Missing, repeated or malformed Host.");
    size_t url_len = strlen(info->local_uri_raw);
    if (info->query_string)
        url_len += 1 + strlen(info->query_string);
    if (url_len > r->server->options.max_url) {
        guard_refuse(r, HTTP_REFUSED_SIZE, 414, "URI Too Long");
        return false;
    }
    if (f.expects > 0 && (f.expects > 1 || strcasecmp(f.expect, "100-continue") != 0)) {
        guard_refuse(r, HTTP_REFUSED_FRAMING, 417, "Expectation Failed");
        return false;
    }
    r->expects_continue = f.expects > 0 && !r->http10;
    /* civetweb keeps a connection whose client names options only when keep-alive is among them. */
    bool keep_alive = guard_has_token(f.connection, "keep-alive");
    r->keep_alive_10 = r->http10 && keep_alive;
    r->close |= f.connection && !keep_alive;
    if (r->origin)
        r->origin_allowed = guard_origin_listed(r->server, r->origin);
    if (r->server->options.check_host && !is_local_name(r->host)) {
        guard_refuse(r, HTTP_REFUSED_HOST, 421, "Misdirected Request");
        return false;
    }
    return true;
}

/* --- Origin --- */

/* "http://localhost*": any port, or none. */
static bool origin_matches(const char *pattern, const char *origin)
{
    size_t len = strlen(pattern);
    if (len == 0 || pattern[len - 1] != '*')
        return strcmp(pattern, origin) == 0;
    len--;
    if (len == 0 || strncmp(pattern, origin, len) != 0)
        return false;
    const char *rest = origin + len;
    if (pattern[len - 1] != ':') {
        if (*rest == '\0')
            return true;
        if (*rest++ != ':')
            return false;
    }
    return *rest && rest[strspn(rest, "0123456789")] == '\0';
}

bool guard_origin_listed(const struct http_server *server, const char *origin)
{
    for (size_t i = 0; i < server->options.n_allow_origins; i++) {
        if (origin_matches(server->options.allow_origins[i], origin))
            return true;
    }
    return false;
}

static bool is_own_origin(const struct http_request *r)
{
    const char *scheme = r->info->is_ssl ? "https://" : "http://";
    size_t len = strlen(scheme);
    return r->host && strncasecmp(r->origin, scheme, len) == 0 &&
           strcasecmp(r->origin + len, r->host) == 0;
}

/* A link or an image of a page sends no Origin with its GET; browsers say then by Sec-Fetch-Site
 * whether the page is of another place ("none": no page, the user). */
static bool is_of_another_page(struct http_request *r)
{
    const char *site = http_header(r, "Sec-Fetch-Site");
    return site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

bool guard_origin(struct http_request *r)
{
    bool changes = r->route->changes_state || http_route_is_websocket(r->route) ||
                   strcmp(r->route->method, "GET") != 0;
    if (!changes || (r->origin ? r->origin_allowed || is_own_origin(r) : !is_of_another_page(r)))
        return true;
    guard_refuse(r, HTTP_REFUSED_ORIGIN, 403, "Origin not allowed.");
    return false;
}

/* --- the body --- */

static bool refuse_large_body(struct http_request *r)
{
    guard_refuse(r, HTTP_REFUSED_SIZE, 413, "Request body is too large.");
    return false;
}

static bool out_of_memory(struct http_request *r)
{
    struct error err = {ERR_NOMEM, 0, "out of memory for a request body"};
    http_respond_error(r, &err);
    return false;
}

/* Read until the body's end: 1 whole, 0 too large, or an error_code. */
static int read_all(struct http_request *r, size_t max)
{
    struct buf *body = &r->worker->body;
    for (;;) {
        size_t want = r->chunked_body ? CHUNK_READ : (size_t)r->content_length - body->len;
        if (want == 0)
            return 1;
        if (buf_reserve(body, want + 1))
            return ERR_NOMEM;
        int got = mg_read(r->conn, body->data + body->len, want);
        if (got < 0 || (got == 0 && !r->chunked_body))
            return ERR_CLOSED; /* gone, silent for too long, or malformed chunks */
        body->len += (size_t)got;
        body->data[body->len] = '\0';
        if (body->len > max)
            return 0;
        if (got == 0)
            return 1;
    }
}

bool guard_read_body(struct http_request *r, size_t max)
{
    buf_clear(&r->worker->body);
    if (!r->has_body) {
        r->body_read = true;
        return true;
    }
    if (r->content_length > max)
        return refuse_large_body(r);
    if (r->expects_continue) {
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (http_send(r, go_on, sizeof go_on - 1))
            return false;
    }
    int64_t deadline_ms = time_monotonic_ms() + r->server->options.request_timeout_ms;
    http_watch(r->worker, HTTP_PHASE_READ, r->server->options.request_timeout_ms);
    int result = read_all(r, max);
    bool late = http_unwatch(r->worker) || time_monotonic_ms() >= deadline_ms;
    atomic_fetch_add_explicit(&r->worker->bytes_in, r->worker->body.len, memory_order_relaxed);
    if (result == 1) {
        r->body_read = true;
        return true;
    }
    if (result == 0)
        return refuse_large_body(r);
    if (result == ERR_NOMEM)
        return out_of_memory(r);
    r->has_body = false; /* broken off: nothing to drain */
    r->close = true;
    if (late)
        http_respond_detail(r, 408, "Request Timeout");
    else
        refuse_framing(r, "Incomplete or malformed request body.");
    return false;
}

/* Closing with unread bytes makes the kernel reset the connection, which can take the answer from a
 * client that is still sending.  So take a little more from it. */
void guard_drain(struct http_request *r)
{
    if (!r->has_body || r->body_read || r->dead)
        return;
    struct buf *body = &r->worker->body;
    buf_clear(body);
    if (buf_reserve(body, CHUNK_READ))
        return;
    http_watch(r->worker, HTTP_PHASE_DRAIN, DRAIN_MS);
    int64_t until_ms = time_monotonic_ms() + DRAIN_MS;
    size_t drained = 0;
    while (drained < DRAIN_MAX && time_monotonic_ms() < until_ms) {
        int got = mg_read(r->conn, body->data, CHUNK_READ);
        if (got <= 0)
            break;
        drained += (size_t)got;
    }
    http_unwatch(r->worker);
}
