/* From a request to a stream: the head, then the socket goes to the streamer. */
#include "base/log.h"
#include "http/adopt.h"
#include "http/sse.h"
#include "http/stream_start.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SEND_BUFFER = 64 * 1024 };

int streamer_new(struct http_server *server, struct streamer **ret, struct error *err)
{
    int rc = streamer_create(0, server->options.heartbeat_ms, ret, err);
    if (rc)
        return rc;
    (*ret)->server = server;
    (*ret)->max_websocket_message = server->options.max_websocket_message;
    (*ret)->replay_max_ms = server->options.replay_timeout_ms;
    return 0;
}

/* --- the request --- */

/* Nobody will read what follows the head: a body, or a request behind this one, which never ends. */
static int check_request(struct http_request *r, int fd, struct error *err)
{
    char byte;
    if (!r->has_body && (fd < 0 || http_route_is_websocket(r->route) ||
                         recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0))
        return 0;
    error_set(err, ERR_INVALID, "A request for a stream must have no body and be the last one.");
    http_close_after(r);
    http_respond_detail(r, 400, err->message);
    return ERR_INVALID;
}

/* The rest of the head of an SSE stream. */
static int append_sse_headers(const struct http_request *r, struct buf *out)
{
    if (!r->close)
        buf_append_lit(out, "connection: keep-alive\r\n");
    if (!r->http10)
        buf_append_lit(out, "transfer-encoding: chunked\r\n");
    return buf_append_lit(out, "content-type: text/event-stream; charset=utf-8\r\n"
                               "cache-control: no-cache\r\n"
                               "x-accel-buffering: no\r\n\r\n");
}

static enum message_frame_kind form_of(const struct http_request *r)
{
    if (http_route_is_websocket(r->route))
        return MESSAGE_WEBSOCKET;
    return r->http10 ? MESSAGE_SSE_UNCHUNKED : MESSAGE_SSE;
}

/* `place` may be NULL. */
static int send_head(struct http_request *r, const struct message_place *place, struct error *err)
{
    struct buf *out = &r->worker->out;
    bool websocket = http_route_is_websocket(r->route);
    if (!http_mark_answered(r, websocket ? 101 : 200))
        return error_set(err, ERR_INVALID, "the request was answered before");
    r->keep_alive_10 = false; /* without chunks only the end of the connection ends the stream */
    buf_clear(out);
    http_head_begin(r, r->status, out);
    int rc = websocket ? upgrade_append_headers(r, out) : append_sse_headers(r, out);
    if (place && !rc)
        rc = sse_append_place(out, place, form_of(r));
    if (rc || out->failed) {
        r->dead = true;
        http_close_after(r);
        return error_set(err, ERR_NOMEM, "out of memory for an answer");
    }
    return http_send(r, out->data, out->len) ? error_set(err, ERR_CLOSED, "the client is gone") : 0;
}

static void limit_send_buffer(int fd)
{
    int size = SEND_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* --- workers that streams hold: where a connection cannot be adopted, and for replays --- */

/* At most half of the workers; the rest serves requests. */
static bool take_worker(struct http_request *r, _Atomic uint64_t *count)
{
    struct streamer *streamer = r->server->streamer;
    atomic_fetch_add(count, 1);
    if (atomic_load(&streamer->parked) + atomic_load(&streamer->replaying) <=
        r->server->options.workers / 2)
        return true;
    atomic_fetch_sub(count, 1);
    return false;
}

/* Pass on what the streamer writes, until either side has enough. */
static void relay(struct http_request *r, int fd)
{
    char bytes[8192];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    for (;;) {
        ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n > 0 && http_send(r, bytes, (size_t)n)))
            return;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (n < 0)
            poll(&readable, 1, -1);
    }
}

/* What will carry the stream once its head is out. */
struct carrier {
    int fd;      /* civetweb's, to be adopted; -1: the worker stays, as a relay */
    int own;     /* the stream's: a duplicate of `fd`, or one end of a pair */
    int relayed; /* the other end */
};

static int park(struct http_request *r, struct carrier *c, struct error *err)
{
    int pair[2];
    c->fd = -1;
    if (http_route_is_websocket(r->route)) /* the relay goes one way only */
        return error_set(err, ERR_LIMIT, "WebSockets are not possible on this connection.");
    if (!take_worker(r, &r->server->streamer->parked))
        return error_set(err, ERR_LIMIT, "Broker is unavailable.");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) {
        atomic_fetch_sub(&r->server->streamer->parked, 1);
        return error_set(err, ERR_LIMIT, "Broker is unavailable.");
    }
    c->own = pair[0];
    c->relayed = pair[1];
    return 0;
}

static int carrier_init(struct http_request *r, int fd, struct carrier *c, struct error *err)
{
    c->fd = fd;
    int rc = fd >= 0 ? adopt_duplicate(r, fd, &c->own, err) : ERR_UNSUPPORTED;
    return rc == ERR_UNSUPPORTED ? park(r, c, err) : rc;
}

static void carrier_release(struct http_request *r, struct carrier *c)
{
    close(c->own);
    if (c->fd >= 0)
        return;
    close(c->relayed);
    atomic_fetch_sub(&r->server->streamer->parked, 1);
}

static void carrier_run(struct http_request *r, struct carrier *c, struct stream *s)
{
    if (c->fd >= 0)
        adopt_release(r, c->fd);
    limit_send_buffer(c->own);
    stream_run(s, c->own);
    if (c->fd >= 0)
        return;
    relay(r, c->relayed);
    close(c->relayed);
    http_close_after(r);
    atomic_fetch_sub(&r->server->streamer->parked, 1);
}

/* What a request wants to become. */
struct start {
    struct channel *channel;
    enum message_frame_kind form;
    const struct stream_replay *replay; /* NULL: none */
    const struct message_place *place;  /* without a replay: where it joins; NULL: not told */
    stream_end_fn *on_end;
    void *ctx;
};

/* The head is out: a failure can only be told as the stream's end. */
static int run_replay(struct http_request *r, const struct start *start, struct stream **ret,
                      struct error *err)
{
    struct streamer *streamer = start->channel->streamer;
    int rc = replay_run(r, start->channel, start->form, start->replay, start->on_end, start->ctx,
                        ret, err);
    if (!rc)
        return 0;
    struct notice *end = r->dead ? NULL : notice_new_end(STREAM_END_LATER, err->message);
    if (end) {
        struct iovec frame = notice_frame(end, start->form);
        http_send(r, frame.iov_base, frame.iov_len);
    }
    notice_unref(end);
    http_close_after(r);
    atomic_fetch_add(&streamer->replays_failed, 1);
    return rc;
}

static int take_replay(struct http_request *r, struct error *err)
{
    struct streamer *streamer = r->server->streamer;
    if (atomic_load(&streamer->stopping))
        return error_set(err, ERR_UNAVAILABLE, "The server is stopping.");
    if (!take_worker(r, &streamer->replaying)) {
        atomic_fetch_add(&streamer->replays_refused, 1);
        return error_set(err, ERR_AGAIN, "Too many streams are being replayed.");
    }
    atomic_fetch_add(&streamer->replays, 1);
    return 0;
}

static int make_stream(struct http_request *r, const struct start *start, struct stream **ret,
                       struct error *err)
{
    if (!start->replay) {
        int rc = stream_new(start->channel, start->form, start->on_end, start->ctx, ret, err);
        return rc ? rc : send_head(r, start->place, err);
    }
    int rc = take_replay(r, err);
    if (rc)
        return rc;
    rc = send_head(r, NULL, err);
    if (!rc)
        rc = run_replay(r, start, ret, err);
    atomic_fetch_sub(&r->server->streamer->replaying, 1);
    return rc;
}

static int start_stream(struct http_request *r, const struct start *start, int fd,
                        struct error *err)
{
    struct stream *s = NULL;
    struct carrier carrier;
    int rc = carrier_init(r, fd, &carrier, err);
    if (rc)
        return rc;
    rc = make_stream(r, start, &s, err);
    if (!rc) {
        carrier_run(r, &carrier, s);
        return 0;
    }
    if (s)
        stream_cancel(s);
    carrier_release(r, &carrier);
    return rc;
}

static int begin(struct http_request *r, const struct start *start, struct error *err)
{
    struct error own = ERROR_INIT;
    err = err ? err : &own;
    int fd = adopt_find(r);
    int rc = check_request(r, fd, err);
    if (!rc && r->head) {
        http_respond(r, 200, "text/event-stream; charset=utf-8", "", 0);
    } else {
        if (!rc)
            rc = start_stream(r, start, fd, err);
        if (!rc)
            return 0;
        if (!r->answered)
            http_respond_error(r, err);
    }
    if (start->on_end)
        start->on_end(start->ctx);
    return rc;
}

int stream_begin(struct http_request *r, struct channel *c, const struct message_place *place,
                 stream_end_fn *on_end, void *ctx, struct error *err)
{
    struct start start = {c, form_of(r), NULL, place, on_end, ctx};
    return begin(r, &start, err);
}

int stream_resume(struct http_request *r, struct channel *c, const struct stream_replay *replay,
                  stream_end_fn *on_end, void *ctx, struct error *err)
{
    struct start start = {c, form_of(r), replay, NULL, on_end, ctx};
    return begin(r, &start, err);
}
