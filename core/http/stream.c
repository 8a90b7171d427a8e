/* From a request to a stream: the head, then the socket goes to the streamer. */
#include "base/log.h"
#include "http/adopt.h"
#include "http/streamer_priv.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SEND_BUFFER = 64 * 1024 };

int streamer_new(struct http_server *server, struct streamer **ret, struct error *err)
{
    int rc = streamer_create(0, server->options.heartbeat_ms, ret, err);
    if (!rc)
        (*ret)->server = server;
    return rc;
}

/* --- the request --- */

/* Nobody will read what follows the head: a body, or a request behind this one, which never ends. */
static int check_request(struct http_request *r, int fd, struct error *err)
{
    char byte;
    if (!r->has_body && (fd < 0 || recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0))
        return 0;
    error_set(err, ERR_INVALID, "A request for a stream must have no body and be the last one.");
    http_close_after(r);
    http_respond_detail(r, 400, err->message);
    return ERR_INVALID;
}

static int send_head(struct http_request *r, struct error *err)
{
    struct buf *out = &r->worker->out;
    if (!http_mark_answered(r, 200))
        return error_set(err, ERR_INVALID, "the request was answered before");
    r->keep_alive_10 = false; /* without chunks only the end of the connection ends the stream */
    buf_clear(out);
    http_head_begin(r, 200, out);
    if (!r->close)
        buf_append_lit(out, "connection: keep-alive\r\n");
    if (!r->http10)
        buf_append_lit(out, "transfer-encoding: chunked\r\n");
    buf_append_lit(out, "content-type: text/event-stream; charset=utf-8\r\n"
                        "cache-control: no-cache\r\n"
                        "x-accel-buffering: no\r\n\r\n");
    if (out->failed) {
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

/* --- a stream whose connection cannot be adopted holds its worker --- */

static bool parking_taken(struct http_request *r)
{
    struct streamer *streamer = r->server->streamer;
    if (atomic_fetch_add(&streamer->parked, 1) < r->server->options.workers / 2)
        return true;
    atomic_fetch_sub(&streamer->parked, 1);
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

static int begin_parked(struct http_request *r, struct stream *s, struct error *err)
{
    int pair[2];
    if (!parking_taken(r))
        return error_set(err, ERR_LIMIT, "Broker is unavailable.");
    int rc = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        rc = error_set(err, ERR_LIMIT, "Broker is unavailable.");
    if (!rc && (rc = send_head(r, err))) {
        close(pair[0]);
        close(pair[1]);
    }
    if (!rc) {
        limit_send_buffer(pair[0]);
        stream_run(s, pair[0]);
        relay(r, pair[1]);
        close(pair[1]);
        http_close_after(r);
    }
    atomic_fetch_sub(&r->server->streamer->parked, 1);
    return rc;
}

static int begin_adopted(struct http_request *r, struct stream *s, int fd, struct error *err)
{
    int adopted;
    int rc = adopt_duplicate(r, fd, &adopted, err);
    if (rc == ERR_UNSUPPORTED)
        return begin_parked(r, s, err);
    if (rc)
        return rc;
    rc = send_head(r, err);
    if (rc) {
        close(adopted);
        return rc;
    }
    adopt_release(r, fd);
    limit_send_buffer(adopted);
    stream_run(s, adopted);
    return 0;
}

/* The form in which `r` takes a stream of `protocol`. */
static enum message_frame_kind form_of(const struct http_request *r, enum stream_protocol protocol)
{
    (void)protocol;
    return r->http10 ? MESSAGE_SSE_UNCHUNKED : MESSAGE_SSE;
}

int stream_begin(struct http_request *r, struct channel *c, enum stream_protocol protocol,
                 stream_end_fn *on_end, void *ctx, struct error *err)
{
    struct error own = ERROR_INIT;
    struct stream *s = NULL;
    err = err ? err : &own;
    int fd = adopt_find(r);
    int rc = check_request(r, fd, err);
    if (!rc && r->head) {
        http_respond(r, 200, "text/event-stream; charset=utf-8", "", 0);
        goto out;
    }
    if (!rc)
        rc = stream_new(c, form_of(r, protocol), on_end, ctx, &s, err);
    if (!rc && fd >= 0)
        rc = begin_adopted(r, s, fd, err);
    if (!rc && fd < 0)
        rc = begin_parked(r, s, err);
    if (!rc)
        return 0;
    if (s)
        stream_cancel(s);
    if (!r->answered)
        http_respond_error(r, err);
out:
    if (on_end)
        on_end(ctx);
    return rc;
}
