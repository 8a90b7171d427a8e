/* Writing to one stream: the rest of a cut frame first, then what it must be told, then frames. */
#include "http/streamer_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RUNS_AT_ONCE = 4 }; /* so that one stream's backlog does not hold up the others */

static char ping_chunk[] = "a\r\n: ping\r\n\r\n\r\n"; /* only read; an iovec knows no const */

bool stream_overran(const struct stream *s)
{
    return s->cursor < s->lane->log.base;
}

static void rest_release(struct stream *s)
{
    message_unref(s->message);
    notice_unref(s->notice);
    s->message = NULL;
    s->notice = NULL;
    s->rest.iov_len = 0;
}

void stream_free(struct stream *s)
{
    rest_release(s);
    notice_unref(s->closing);
    if (s->fd >= 0)
        close(s->fd);
    struct channel *c = s->lane->channel;
    if (s->ws)
        atomic_fetch_sub(&c->streamer->websockets, 1);
    free(s->ws);
    free(s);
    channel_unref(c);
}

/* --- the socket --- */

/* Bytes taken, 0 when the socket is full, -1 when the peer is gone. */
static ssize_t send_frames(struct stream *s, const struct iovec *frames, size_t n,
                           struct pump_stats *stats, int64_t now_ms)
{
    ssize_t sent;
    do {
        if (n == 1) {
            sent = send(s->fd, frames->iov_base, frames->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
        } else {
            struct iovec *iov = (struct iovec *)(uintptr_t)frames; /* only read */
            struct msghdr header = {.msg_iov = iov, .msg_iovlen = n};
            sent = sendmsg(s->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    s->active_ms = now_ms;
    count_add(&stats->bytes, (uint64_t)sent);
    return sent;
}

enum stream_progress stream_write_rest(struct stream *s, struct pump_stats *stats, int64_t now_ms)
{
    while (s->rest.iov_len > 0) {
        ssize_t sent = send_frames(s, &s->rest, 1, stats, now_ms);
        if (sent <= 0)
            return sent < 0 ? STREAM_GONE : STREAM_FULL;
        s->rest.iov_base = (char *)s->rest.iov_base + sent;
        s->rest.iov_len -= (size_t)sent;
    }
    rest_release(s);
    return STREAM_CURRENT;
}

/* Send a notice, whose reference is taken over. */
static enum stream_progress send_notice(struct stream *s, struct notice *n,
                                        struct pump_stats *stats, int64_t now_ms)
{
    s->notice = n;
    s->rest = notice_frame(n, s->form);
    return stream_write_rest(s, stats, now_ms);
}

/* --- frames --- */

/* The event inside a chunk: behind its first line, without the last line end. */
static struct iovec unchunk(struct iovec chunk)
{
    char *line_end = memchr(chunk.iov_base, '\n', chunk.iov_len);
    if (!line_end)
        return (struct iovec){chunk.iov_base, 0};
    size_t head = (size_t)(line_end + 1 - (char *)chunk.iov_base);
    return (struct iovec){line_end + 1, chunk.iov_len - head - strlen("\r\n")};
}

static struct iovec entry_frame(const struct entry *e, enum message_frame_kind form)
{
    if (e->notice)
        return notice_frame(e->notice, form);
    struct message_frame frame = message_frame(e->message, form);
    /* sendmsg() only reads, but struct iovec knows no const. */
    return (struct iovec){(void *)(uintptr_t)frame.data, frame.len};
}

static void gather(struct frame_run *run, const struct stream *s)
{
    const struct lane *lane = s->lane;
    if (run->lane == lane && run->from == s->cursor && run->form == s->form)
        return;
    *run = (struct frame_run){.lane = lane, .from = s->cursor, .form = s->form};
    uint64_t left = lane->log.head - s->cursor;
    for (; run->n < RUN_FRAMES && run->n < left; run->n++) {
        run->frames[run->n] = entry_frame(log_at(&lane->log, s->cursor + run->n), s->form);
        run->bytes += run->frames[run->n].iov_len;
        run->untold += run->frames[run->n].iov_len == 0;
    }
}

/* Move the cursor past what was begun, and keep hold of a frame that was cut. */
static size_t account(struct stream *s, const struct frame_run *run, size_t sent)
{
    size_t begun = 0;
    if (sent == run->bytes)
        begun = run->n;
    for (size_t left = sent; begun < run->n && (left > 0 || run->frames[begun].iov_len == 0);) {
        struct iovec frame = run->frames[begun++];
        if (left < frame.iov_len) {
            const struct entry *e = log_at(&s->lane->log, s->cursor + begun - 1);
            s->message = e->message ? message_ref(e->message) : NULL;
            s->notice = e->notice ? notice_ref(e->notice) : NULL;
            s->rest = (struct iovec){(char *)frame.iov_base + left, frame.iov_len - left};
            break;
        }
        left -= frame.iov_len;
    }
    s->cursor += begun;
    return begun;
}

/* How many of the frames begun were empty. */
static size_t count_untold(const struct frame_run *run, size_t begun, struct pump_stats *stats)
{
    size_t n = 0;
    for (size_t i = 0; i < begun; i++)
        n += run->frames[i].iov_len == 0;
    count_add(&stats->websocket_untold, n);
    return n;
}

static enum stream_progress send_run(struct stream *s, struct frame_run *run,
                                     struct pump_stats *stats, int64_t now_ms)
{
    gather(run, s);
    ssize_t sent = 0;
    if (run->bytes > 0)
        sent = send_frames(s, run->frames, run->n, stats, now_ms);
    if (sent < 0)
        return STREAM_GONE;
    if (sent == 0 && run->bytes > 0)
        return STREAM_FULL;
    size_t begun = account(s, run, (size_t)sent);
    if (run->untold)
        begun -= count_untold(run, begun, stats);
    count_add(&s->delivered, begun);
    count_add(&s->lane->delivered, begun);
    count_add(&stats->delivered, begun);
    /* A socket that cut a frame is full; asking once more makes sure that it will say when not. */
    return s->rest.iov_len ? stream_write_rest(s, stats, now_ms) : STREAM_CURRENT;
}

/* --- what a stream must be told --- */

void stream_skip_lost(struct stream *s, struct pump_stats *stats)
{
    struct lane *lane = s->lane;
    uint64_t lost = lane->log.base - s->cursor;
    s->cursor = lane->log.base;
    s->dropped += lost;
    count_add(&lane->dropped, lost);
    count_add(&stats->dropped, lost);
    if (!lane->channel->options.disconnect_slow)
        return;
    count_add(&stats->disconnected_slow, 1);
    s->closing = notice_ref(lane->channel->streamer->slow);
}

static enum stream_progress tell_dropped(struct stream *s, struct pump_stats *stats, int64_t now_ms)
{
    if (s->ws) { /* its client finds out by the counters, or not at all */
        s->dropped = 0;
        count_add(&stats->websocket_untold, 1);
        return STREAM_CURRENT;
    }
    char text[40];
    int len = snprintf(text, sizeof text, "dropped %llu", (unsigned long long)s->dropped);
    struct notice *n = notice_new(NULL, text, (size_t)len);
    if (!n)
        return STREAM_CURRENT; /* no memory: told with a later one */
    s->dropped = 0;
    return send_notice(s, n, stats, now_ms);
}

static enum stream_progress finish(struct stream *s, struct pump_stats *stats, int64_t now_ms)
{
    enum stream_progress progress = STREAM_CURRENT;
    if (!(s->flags & STREAM_LAST)) {
        s->flags |= STREAM_LAST;
        progress = send_notice(s, notice_ref(s->closing), stats, now_ms);
    }
    if (progress != STREAM_CURRENT)
        return progress;
    return s->ws && !(s->flags & STREAM_PEER_CLOSED) ? STREAM_LEFT : STREAM_GONE;
}

/* Pass over the messages that the replay has sent already; notices among them are sent. */
static enum stream_progress join(struct stream *s, struct pump_stats *stats, int64_t now_ms)
{
    while (s->cursor < s->lane->log.head) {
        const struct entry *e = log_at(&s->lane->log, s->cursor);
        if (e->message && message_id_after(message_id(e->message), &s->replayed)) {
            s->flags &= ~(unsigned)STREAM_JOINS;
            break;
        }
        s->cursor++;
        enum stream_progress progress =
            e->message ? STREAM_CURRENT : send_notice(s, notice_ref(e->notice), stats, now_ms);
        if (progress != STREAM_CURRENT)
            return progress;
    }
    return STREAM_CURRENT;
}

enum stream_progress stream_write(struct stream *s, struct frame_run *run, struct pump_stats *stats,
                                  int64_t now_ms)
{
    struct lane *lane = s->lane;
    enum stream_progress progress = stream_write_rest(s, stats, now_ms);
    if (progress == STREAM_CURRENT && s->ws && !(s->flags & STREAM_LAST))
        progress = stream_write_control(s, stats, now_ms);
    if (progress == STREAM_CURRENT && !s->closing && stream_overran(s))
        stream_skip_lost(s, stats);
    if (progress == STREAM_CURRENT && !s->closing && s->dropped)
        progress = tell_dropped(s, stats, now_ms);
    if (progress == STREAM_CURRENT && !s->closing && s->flags & STREAM_JOINS)
        progress = join(s, stats, now_ms);
    for (int runs = 0; progress == STREAM_CURRENT && !s->closing && s->cursor < lane->log.head;) {
        if (runs++ == RUNS_AT_ONCE)
            return STREAM_BEHIND;
        progress = send_run(s, run, stats, now_ms);
    }
    if (progress == STREAM_CURRENT && !s->closing && lane->final)
        s->closing = notice_ref(lane->final);
    if (progress == STREAM_CURRENT && s->closing)
        progress = finish(s, stats, now_ms);
    return progress;
}

enum stream_progress stream_ping(struct stream *s, struct pump_stats *stats, int64_t now_ms)
{
    struct iovec ping = {ping_chunk, sizeof ping_chunk - 1};
    s->rest = s->form == MESSAGE_SSE ? ping : unchunk(ping);
    return stream_write_rest(s, stats, now_ms);
}
