/* The streamer: many sockets, few threads, one copy of every frame.
 *
 * A *channel* is a bounded shared log of messages.  A *stream* is a socket with a cursor into one
 * channel.  Publishing appends a reference and, when the streamer may be asleep, writes one eventfd:
 * the cost does not depend on the number of streams.  The streamer's threads write frames with
 * writev, wait for EPOLLOUT on a full socket, send heartbeats, and notice hang-ups.  A stream that
 * falls behind the log's bounds skips the oldest (counted, told by `: dropped N`) or is ended. */
#ifndef HYPRXA_HTTP_STREAMER_H
#define HYPRXA_HTTP_STREAMER_H

#include "base/error.h"
#include "base/message.h"
#include "http/websocket.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct streamer;
struct channel;
struct http_request;

struct channel_options {
    size_t max_messages;  /* longest backlog of a stream; default 1000 */
    size_t max_bytes;     /* of message bodies; default 1 MiB */
    bool disconnect_slow; /* end a stream that overruns instead of skipping */
};

/* A reference-counted channel: the creator holds one reference, every stream another.  All must be
 * gone before the server is freed.  channel_new() returns NULL when out of memory.  [any] */
struct channel *channel_new(struct streamer *s, const struct channel_options *options);
struct channel *channel_ref(struct channel *c);
void channel_unref(struct channel *c);
/* Append (takes a reference of its own).  Never blocks on a stream.  [any], one thread at a time per
 * channel. */
void channel_publish(struct channel *c, struct message *m);
/* A notice to every stream: a named SSE event (`gap`, `stale`) with JSON data, in order with the
 * messages.  Without memory it is lost.  [as channel_publish()] */
void channel_notice(struct channel *c, const char *event, const char *json, size_t len);
/* Why a channel ends, in the numbers of WebSocket close frames (RFC 6455, 7.4.1). */
enum stream_end {
    STREAM_END_NORMAL = 1000,
    STREAM_END_STOPPING = 1001, /* the server or a manager stops or restarts */
    STREAM_END_POLICY = 1008,   /* no longer allowed */
    STREAM_END_LOST = 1011,     /* the source is lost, or an error inside */
    STREAM_END_LATER = 1013,    /* too slow, or a limit: come again later */
};
/* Tell every stream `end` with {"reason": …} and close it once flushed; later streams end at once.
 * What is published afterwards is ignored.  [any] */
void channel_end(struct channel *c, enum stream_end code, const char *reason);

/* Turn the request into a stream of `c`, from the next published message on: a WebSocket where its
 * route is one, else SSE.  Sends the head, adopts the socket, returns; the worker is free.  `place`
 * (may be NULL) is told by SSE at once: who is cut before the first message comes back behind it, so
 * it must have been taken before the call.  This answers the request, also on failure (ERR_LIMIT, no descriptor or worker left, or ERR_UNAVAILABLE, stopping: 503; ERR_INVALID, a body:
 * 400; ERR_CLOSED: the client is gone).  `on_end` (may be NULL) runs exactly once, with no lock of
 * the streamer held: on a streamer thread when the stream is gone, or on this one before a failure
 * is returned (or 0, for HEAD).  It must not block.  [worker] */
typedef void stream_end_fn(void *ctx);
int stream_begin(struct http_request *r, struct channel *c, const struct message_place *place,
                 stream_end_fn *on_end, void *ctx, struct error *err);

/* The same, from where the client left off: first what `replay` gives, then live, without loss or
 * repetition between the two.  The replay runs on this worker, at most as many at once as may hold
 * workers (else ERR_LIMIT: 503). */
struct stream_replay; /* http/replay.h */
int stream_resume(struct http_request *r, struct channel *c, const struct stream_replay *replay,
                  stream_end_fn *on_end, void *ctx, struct error *err);

/* --- queries [any] --- */
struct channel_stats {
    uint64_t published; /* messages appended */
    uint64_t delivered; /* frames handed to sockets, over all streams */
    uint64_t dropped;   /* skipped by slow streams; counted once they take bytes again */
    size_t streams;
};
void channel_get_stats(struct channel *c, struct channel_stats *ret);
struct streamer_stats {
    uint64_t streams, streams_total, delivered, dropped, disconnected_slow, bytes;
    uint64_t parked; /* streams that could not be adopted and hold a worker */
    uint64_t replaying, replays, replayed, gaps; /* now; begun; messages; gaps announced */
    uint64_t replays_refused, replays_failed;    /* no worker left; broken off */
    uint64_t websockets, websockets_total;
    uint64_t websocket_faults[WEBSOCKET_FAULTS]; /* ended for breaking the protocol, by how */
    uint64_t websocket_silent;                   /* ended for leaving a ping unanswered */
    uint64_t websocket_untold; /* `gap`, `stale`, `dropped N`: they have no frame */
};
void streamer_get_stats(struct streamer *s, struct streamer_stats *ret);
/* Do its threads go round?  ERR_AGAIN: one did not until `deadline_ms`. */
int streamer_check(struct streamer *s, int64_t deadline_ms, struct error *err);
/* Each live stream of a channel, for /admin/info: created (UTC us), messages delivered.  `each` runs
 * on the calling thread with no lock of the streamer held. */
typedef void stream_info_fn(void *ctx, int64_t created_us, uint64_t messages);
void channel_each_stream(struct channel *c, stream_info_fn *each, void *ctx);

#endif
