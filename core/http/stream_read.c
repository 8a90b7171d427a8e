/* What a WebSocket's client sends, and what that calls for. */
#include "http/streamer_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { READ_AT_ONCE = 4096 }; /* so that a flood does not hold up the others */

struct websocket *websocket_new(struct stream *s, uint64_t max_message)
{
    struct websocket *ws = calloc(1, sizeof *ws);
    if (ws) {
        ws->stream = s;
        websocket_parser_init(&ws->parser, max_message);
        link_init(&ws->readable);
    }
    return ws;
}

static void put_pong(struct websocket *ws, const unsigned char *payload, size_t len)
{
    unsigned char frame[WEBSOCKET_CONTROL_SIZE];
    size_t frame_len = websocket_write_pong(payload, len, frame);
    memcpy(ws->out + ws->out_len, frame, frame_len);
    ws->out_len += frame_len;
}

/* Pongs wait in `out`.  When it is full or being sent, only the newest one is kept beside it, as
 * RFC 6455 (5.5.3) allows: a flood of pings cannot grow anything. */
static void answer_ping(struct stream *s, const struct websocket_event *ping)
{
    struct websocket *ws = s->ws;
    bool free_to_write = s->rest.iov_len == 0 && !ws->pong_due;
    if (free_to_write && ws->out_len + ping->len + 2 <= sizeof ws->out) {
        put_pong(ws, ping->payload, ping->len);
        return;
    }
    memcpy(ws->pong, ping->payload, ping->len);
    ws->pong_len = (unsigned char)ping->len;
    ws->pong_due = true;
}

/* End it with a close frame, unless it ends already.  Without memory: without a word. */
static bool close_with(struct stream *s, unsigned code, const char *reason)
{
    if (!s->closing)
        s->closing = notice_new_close(code, reason);
    return s->closing;
}

/* False: nothing can be said any more. */
static bool handle(struct stream *s, const struct websocket_event *event, struct pump_stats *stats)
{
    switch (event->kind) {
    case WEBSOCKET_PING:
        if (!s->closing)
            answer_ping(s, event);
        return true;
    case WEBSOCKET_CLOSED:
        s->flags |= STREAM_PEER_CLOSED;
        return !(s->flags & STREAM_LINGERS) && close_with(s, event->code, "");
    case WEBSOCKET_FAULT:
        count_add(&stats->websocket_faults[event->fault], 1);
        s->flags |= STREAM_FAULT;
        return close_with(s, event->code, websocket_fault_text(event->fault));
    default:
        return true;
    }
}

enum stream_progress stream_read(struct stream *s, struct pump_stats *stats, int64_t now_ms)
{
    unsigned char bytes[READ_AT_ONCE];
    struct websocket *ws = s->ws;
    ssize_t n;
    do {
        n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_CURRENT : STREAM_GONE;
    if (n == 0) { /* it can send no close frame any more, but may still take ours */
        s->flags |= STREAM_PEER_CLOSED;
        return s->closing && !(s->flags & STREAM_LINGERS) ? STREAM_CURRENT : STREAM_GONE;
    }
    ws->heard_ms = now_ms;
    ws->ping_ms = 0;
    for (size_t at = 0; at < (size_t)n;) {
        struct websocket_event event;
        at += websocket_parse(&ws->parser, bytes + at, (size_t)n - at, &event);
        if (!handle(s, &event, stats))
            return STREAM_GONE;
    }
    return STREAM_BEHIND;
}

/* --- control frames of ours --- */

enum stream_progress stream_write_control(struct stream *s, struct pump_stats *stats,
                                          int64_t now_ms)
{
    struct websocket *ws = s->ws;
    enum stream_progress progress = STREAM_CURRENT;
    while (progress == STREAM_CURRENT && (ws->out_len || ws->pong_due)) {
        if (ws->out_len == 0) {
            put_pong(ws, ws->pong, ws->pong_len);
            ws->pong_due = false;
        }
        s->rest = (struct iovec){ws->out, ws->out_len};
        ws->out_len = 0;
        progress = stream_write_rest(s, stats, now_ms);
    }
    return progress;
}

int64_t stream_check_life(struct stream *s, int64_t heartbeat_ms, int64_t now_ms)
{
    struct websocket *ws = s->ws;
    unsigned char ping[WEBSOCKET_CONTROL_SIZE];
    int64_t patience_ms = SILENT_HEARTBEATS * heartbeat_ms;
    if (ws->ping_ms)
        return now_ms - ws->ping_ms < patience_ms ? ws->ping_ms + patience_ms : -1;
    if (now_ms - ws->heard_ms < heartbeat_ms)
        return ws->heard_ms + heartbeat_ms;
    size_t len = websocket_write_ping(ping);
    /* A full socket is a slow reader's, for which there are other rules. */
    if (s->flags & STREAM_BLOCKED || s->rest.iov_len || ws->out_len + len > sizeof ws->out)
        return now_ms + heartbeat_ms;
    memcpy(ws->out + ws->out_len, ping, len);
    ws->out_len += len;
    ws->ping_ms = now_ms;
    return now_ms + patience_ms;
}
