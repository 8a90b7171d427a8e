#include "http/http_priv.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
    ONE_WRITE_MAX = 32 * 1024, /* body bytes copied behind the head, to go out together */
    UNWATCHED_MAX = 16 * 1024, /* fits into any socket's buffer: needs no deadline of ours */
    WRITE_BLOCK = 256 * 1024,  /* what the peer must take within one deadline */
    CROWDED_REQUESTS = 100,    /* requests of one connection before it yields its worker */
};

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {101, "Switching Protocols"},
        {204, "No Content"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Entity"},
        {429, "Too Many Requests"},
        {426, "Upgrade Required"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}

static void append_header(struct buf *out, const char *name, const char *value)
{
    buf_append_str(out, name);
    buf_append_lit(out, ": ");
    buf_append_str(out, value);
    buf_append_lit(out, "\r\n");
}

static void append_status_line(struct http_worker *w, int status, struct buf *out)
{
    if (status == 200) {
        buf_append_lit(out, "HTTP/1.1 200 OK\r\n");
    } else {
        buf_append_lit(out, "HTTP/1.1 ");
        buf_append_int(out, status);
        buf_append_char(out, ' ');
        buf_append_str(out, reason_of(status));
        buf_append_lit(out, "\r\n");
    }
    int64_t second = time_now_us() / TIME_US_PER_SECOND;
    if (second != w->date_second) {
        struct tm tm;
        time_t t = (time_t)second;
        gmtime_r(&t, &tm);
        strftime(w->date, sizeof w->date, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        w->date_second = second;
    }
    buf_append_str(out, w->date);
}

static void append_cors(const struct http_request *r, struct buf *out)
{
    if (!r->origin)
        return;
    buf_append_lit(out, "Access-Control-Allow-Credentials: true\r\n");
    if (r->origin_allowed)
        append_header(out, "Access-Control-Allow-Origin", r->origin);
    buf_append_lit(out, "Vary: Origin\r\n");
}

/* Must this answer be the connection's last? */
static bool is_last(const struct http_request *r)
{
    if (r->close || r->dead || (r->has_body && !r->body_read))
        return true;
    if (r->http10 && !r->keep_alive_10)
        return true;
    if (atomic_load_explicit(&r->server->stopping, memory_order_relaxed))
        return true;
    return atomic_load_explicit(&r->server->crowded, memory_order_relaxed) &&
           r->worker->served >= CROWDED_REQUESTS;
}

void http_close_after(struct http_request *r)
{
    r->close = true;
    mg_disable_connection_keep_alive(r->conn);
}

void http_head_begin(struct http_request *r, int status, struct buf *out)
{
    append_status_line(r->worker, status, out);
    if (!r->preflight && r->id[0]) {
        append_header(out, "X-Request-ID", r->id);
        buf_append_lit(out, "Access-Control-Expose-Headers: X-Request-ID\r\n");
    }
    append_cors(r, out);
    if (r->worker->added.len > 0)
        buf_append(out, r->worker->added.data, r->worker->added.len);
    if (status == 101) {
        /* the connection leaves HTTP; what is said of it then follows */
    } else if (is_last(r)) {
        http_close_after(r);
        buf_append_lit(out, "connection: close\r\n");
    } else if (r->http10) {
        buf_append_lit(out, "connection: keep-alive\r\n");
    }
}

bool http_mark_answered(struct http_request *r, int status)
{
    if (r->answered) {
        log_error("hyprxa.http", "%s answered twice, with %d and then %d",
                  r->route ? r->route->path : "request", r->status, status);
        return false;
    }
    route_check_status(r, status);
    r->answered = true;
    r->status = status;
    return true;
}

static int send_block(struct http_request *r, const char *bytes, size_t len)
{
    struct http_worker *w = r->worker;
    bool watched = len > UNWATCHED_MAX;
    if (watched)
        http_watch(w, HTTP_PHASE_WRITE, r->server->options.request_timeout_ms);
    int sent = mg_write(r->conn, bytes, len);
    if (watched)
        http_unwatch(w);
    if (sent > 0)
        atomic_fetch_add_explicit(&w->bytes_out, (uint64_t)sent, memory_order_relaxed);
    return sent == (int)len ? 0 : ERR_CLOSED;
}

int http_send(struct http_request *r, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0 && !r->dead) {
        size_t block = len < WRITE_BLOCK ? len : WRITE_BLOCK;
        if (send_block(r, at, block)) {
            r->dead = true;
            http_close_after(r);
        }
        at += block;
        len -= block;
    }
    return r->dead ? ERR_CLOSED : 0;
}

void http_respond(struct http_request *r, int status, const char *content_type, const void *body,
                  size_t len)
{
    if (!http_mark_answered(r, status))
        return;
    struct buf *out = &r->worker->out;
    buf_clear(out);
    http_head_begin(r, status, out);
    if (content_type)
        append_header(out, "content-type", content_type);
    /* RFC 9110, 8.6: none where there can be no body; that of a 304 would be the whole answer's. */
    if (status != 204 && status != 304) {
        buf_append_lit(out, "content-length: ");
        buf_append_int(out, (long long)len);
        buf_append_lit(out, "\r\n");
    }
    buf_append_lit(out, "\r\n");
    bool together = len <= ONE_WRITE_MAX;
    if (together && !r->head)
        buf_append(out, body, len);
    if (out->failed) {
        log_error("hyprxa.http", "out of memory for an answer");
        r->dead = true;
        http_close_after(r);
        return;
    }
    if (http_send(r, out->data, out->len) == 0 && !together && !r->head)
        http_send(r, body, len);
}

void http_respond_json(struct http_request *r, int status, const struct buf *body)
{
    if (body->failed) {
        log_error("hyprxa.http", "an answer exceeds its limit or memory");
        http_respond_detail(r, 500, "Internal Server Error");
        return;
    }
    http_respond(r, status, "application/json", body->data, body->len);
}

void http_respond_detail(struct http_request *r, int status, const char *detail)
{
    struct buf body = BUF_INIT(64 * 1024);
    buf_append_lit(&body, "{\"detail\":");
    json_write_string(&body, detail, strlen(detail));
    buf_append_char(&body, '}');
    static const char fallback[] = "{\"detail\":\"Internal Server Error\"}";
    if (body.failed)
        http_respond(r, 500, "application/json", fallback, sizeof fallback - 1);
    else
        http_respond(r, status, "application/json", body.data, body.len);
    buf_release(&body);
}

void http_respond_ok(struct http_request *r)
{
    static const char ok[] = "{\"status\":\"OK\"}";
    http_respond(r, 200, "application/json", ok, sizeof ok - 1);
}

void http_add_header(struct http_request *r, const char *name, const char *value)
{
    struct buf *added = &r->worker->added;
    if (strpbrk(value, "\r\n") || strpbrk(name, "\r\n: ")) {
        log_error("hyprxa.http", "header '%s' with a line break was left out", name);
        return;
    }
    append_header(added, name, value);
}

void http_send_bare(struct http_worker *w, struct mg_connection *conn, int status,
                    const char *detail)
{
    char text[512];
    buf_clear(&w->out);
    append_status_line(w, status, &w->out);
    int len = snprintf(text, sizeof text, "{\"detail\":\"%s\"}", detail);
    buf_printf(&w->out,
               "content-type: application/json\r\ncontent-length: %d\r\n"
               "connection: close\r\n\r\n%s",
               len, text);
    mg_disable_connection_keep_alive(conn);
    if (!w->out.failed) {
        int sent = mg_write(conn, w->out.data, w->out.len);
        if (sent > 0)
            atomic_fetch_add_explicit(&w->bytes_out, (uint64_t)sent, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&w->by_class[status / 100 % 6], 1, memory_order_relaxed);
}
