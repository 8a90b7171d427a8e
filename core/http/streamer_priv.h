/* The streamer from the inside: channels, lanes, pumps and streams.
 *
 * A pump is one writer thread with its epoll.  A channel has a lane for every pump: the channel's
 * streams that this pump writes to, and the pump's own log of what they have not all been sent.
 * Publishing appends to the inbox of each lane that has streams and, when the pump may be asleep,
 * wakes it; the pump moves the inbox into the log and then writes without any lock.
 *
 * Locks, never held together except in this order: streamer -> channel -> pump.  None is held over
 * a system call on a socket, an encoder, or a callback. */
#ifndef HYPRXA_HTTP_STREAMER_PRIV_H
#define HYPRXA_HTTP_STREAMER_PRIV_H

#include "base/thread.h"
#include "http/streamer.h"
#include "http/websocket.h"

#include <stdatomic.h>
#include <sys/uio.h>

struct http_server;
struct pump;

/* --- intrusive lists: circular, the head is a link too --- */

struct link {
    struct link *next, *previous;
};

#define LINK_OWNER(link_, type, member) ((type *)(void *)((char *)(link_)-offsetof(type, member)))

static inline void link_init(struct link *l)
{
    l->next = l->previous = l;
}
static inline bool link_is_empty(const struct link *head)
{
    return head->next == head;
}
static inline void link_remove(struct link *l)
{
    l->previous->next = l->next;
    l->next->previous = l->previous;
    link_init(l);
}
static inline void link_append(struct link *head, struct link *l)
{
    l->previous = head->previous;
    l->next = head;
    head->previous->next = l;
    head->previous = l;
}
/* Move all of `from` behind what is in `to`. */
static inline void link_move_all(struct link *to, struct link *from)
{
    if (link_is_empty(from))
        return;
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    link_init(from);
}

/* A counter with one writer, read by anyone. */
static inline void count_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline uint64_t count_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* --- a notice: a frame that is no message (`gap`, `end`, `: dropped N`) --- */

struct notice {
    atomic_uint refs;
    struct {
        size_t offset, len;
    } frames[MESSAGE_FRAME_KINDS]; /* in `data`, for each form of stream; may be empty */
    char data[];
};

/* One SSE event, or with `event` NULL the comment `text`; nothing for a WebSocket, which has no
 * named events: its clients take every frame for a message.  NULL: out of memory.  [any] */
struct notice *notice_new(const char *event, const char *text, size_t len);
/* An event that has a place, and so an id. */
struct notice *notice_new_at(const struct message_place *place, const char *event, const char *text,
                             size_t len);
/* The event `end` and the last chunk; or a close frame. */
struct notice *notice_new_end(enum stream_end code, const char *reason);
struct notice *notice_new_close(unsigned code, const char *reason); /* only that */
struct notice *notice_ref(struct notice *n);
void notice_unref(struct notice *n); /* NULL is fine */
/* Its bytes for streams of a form. */
struct iovec notice_frame(struct notice *n, enum message_frame_kind form);

/* --- the log: entries by absolute position, bounded --- */

struct entry { /* a message or a notice */
    struct message *message;
    struct notice *notice;
};

struct log {
    struct entry *entries; /* position p lies at p & (room - 1) */
    size_t room;
    uint64_t base, head; /* oldest kept, next */
    size_t bytes;
};

void log_release(struct log *log); /* of an inbox or a lane */
void log_clear(struct log *log);   /* base = head */
/* Takes over the references of `e`; drops the oldest past the bounds of `o`. */
void log_append(struct log *log, const struct channel_options *o, const struct entry *e);
/* Move every entry of `from` to the end of `to`, whose positions it continues. */
void log_take(struct log *to, struct log *from, const struct channel_options *o);

static inline struct entry *log_at(const struct log *log, uint64_t position)
{
    return &log->entries[position & (log->room - 1)];
}

/* --- lanes and channels --- */

struct lane {
    /* set at init, then const */
    struct channel *channel;
    struct pump *pump;

    /* guarded by the channel's lock */
    struct log inbox;
    size_t n_streams; /* with those whose head is being sent */
    bool in_news;     /* on its way to the pump, or waits there */

    /* guarded by the pump's lock */
    struct lane *next_news;

    /* the pump's own */
    struct log log;
    struct link current, behind, blocked; /* streams: all sent; something to send; socket full */
    struct link ready;                    /* in the pump's queue of lanes with work */
    bool is_ready;                        /* ... and then holds a reference to the channel */
    size_t n_listed;                      /* streams in the three lists */
    uint64_t slow_checked;                /* base when the blocked ones were last looked at */
    struct notice *final;                 /* the channel's, once everything before it was taken */

    /* atomic, written by the pump */
    _Atomic uint64_t delivered, dropped;
};

struct channel {
    /* set at init, then const */
    struct streamer *streamer;
    struct channel_options options;
    size_t n_lanes;

    /* atomic */
    atomic_uint refs;

    /* guarded by the streamer's lock */
    struct link registered;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct link streams;
    size_t n_streams;
    uint64_t published, published_bytes; /* with notices */
    struct notice *final;                /* set: the channel has ended */

    struct lane lanes[];
};

/* It was taken from the pump's news and may be put there again.  [the lane's pump] */
void lane_leave_news(struct lane *lane);
/* Move what came since last time into the lane's log / drop what no stream needs.  [the pump] */
void lane_take_inbox(struct lane *lane);
void lane_trim(struct lane *lane);

/* --- streams --- */

enum { STREAMER_PUMPS_MAX = 64 }; /* lanes of a channel fit a bit map */

enum {
    STREAM_BLOCKED = 1u << 1, /* waits for EPOLLOUT */
    STREAM_LAST = 1u << 2,    /* its last notice is being sent */
    STREAM_JOINS = 1u << 3,   /* still passes over what its replay has sent */
    /* of a WebSocket */
    STREAM_PEER_CLOSED = 1u << 4, /* the client's close frame has come */
    STREAM_FAULT = 1u << 5,       /* the client broke the protocol */
    STREAM_LINGERS = 1u << 6,     /* left its channel; only waits for the client's close frame */
};

enum {
    PONGS_MAX = 256,       /* bytes of control frames that wait */
    SILENT_HEARTBEATS = 2, /* unanswered for so long a ping ends a WebSocket */
};

/* What a stream is more when it is a WebSocket: the pump's own. */
struct websocket {
    struct websocket_parser parser;
    struct stream *stream;
    struct link readable; /* in the pump's list: there may be more to read */
    int64_t heard_ms;     /* last time the client sent anything */
    int64_t ping_ms;      /* when our ping was sent that nothing has answered; 0: none */
    bool pong_due;
    unsigned char pong[WEBSOCKET_CONTROL_MAX], pong_len; /* to the newest ping that did not fit */
    unsigned char out[PONGS_MAX];                        /* control frames, sent or to be sent */
    size_t out_len;                                      /* of those to be sent */
};
struct websocket *websocket_new(struct stream *s, uint64_t max_message);

struct stream {
    struct link in_channel; /* guarded by the channel's lock */
    struct lane *lane;      /* const; a stream holds a reference to its channel */

    /* the pump's own, once it runs */
    struct link in_lane;
    struct link in_wheel;    /* always in some slot; on its way in the pump's arrivals */
    uint64_t cursor;         /* position of the next entry to begin */
    int64_t active_ms;       /* last time the socket took something */
    struct iovec rest;       /* of a frame that the socket took only in part */
    struct message *message; /* owner of `rest`, where it has one */
    struct notice *notice;
    struct notice *closing;              /* what to end with, after `rest` */
    uint64_t dropped;                    /* not yet told */
    struct message_id replayed;          /* while it joins: up to there */
    uint64_t joined_at, joined_at_bytes; /* const: the channel's counts when it was made */
    stream_end_fn *on_end;
    void *ctx;
    int fd; /* owned */
    unsigned flags;
    enum message_frame_kind form; /* const: what it is sent */
    struct websocket *ws;         /* owned; NULL: it is none */
    int64_t created_us;           /* const */
    _Atomic uint64_t delivered;   /* atomic, written by the pump */
};

/* A stream of `c` from the next message on; nothing is written before stream_run().  ERR_UNAVAILABLE:
 * the streamer stops; ERR_NOMEM.  [any] */
int stream_new(struct channel *c, enum message_frame_kind form, stream_end_fn *on_end, void *ctx,
               struct stream **ret, struct error *err);
/* Before stream_run(): send `bytes` first, then of its channel only what comes after `reached`. */
int stream_join(struct stream *s, const struct buf *bytes, const struct message_id *reached,
                struct error *err);
/* Has so much been published since stream_new() that it would soon miss some?  [any] */
bool stream_lags(const struct stream *s);
/* Hand over the stream and `fd`, a connected non-blocking socket.  If the streamer has stopped
 * meanwhile, both are gone when it returns.  [any] */
void stream_run(struct stream *s, int fd);
/* Undo stream_new(): no callback.  [any] */
void stream_cancel(struct stream *s);
/* Take it out of its channel; what is left is the caller's to free.  [any] */
void stream_detach(struct stream *s);

/* --- the streamer --- */

struct pump_stats {
    /* atomic, written by the pump */
    _Atomic uint64_t turns; /* of the loop: does it turn? */
    _Atomic uint64_t delivered, dropped, disconnected_slow, bytes;
    _Atomic uint64_t websocket_faults[WEBSOCKET_FAULTS], websocket_silent, websocket_untold;
};

struct streamer {
    /* set at init, then const */
    struct http_server *server; /* NULL in tests of the streamer alone */
    struct pump **pumps;
    size_t n_pumps;
    int64_t heartbeat_ms;
    int64_t replay_max_ms; /* longest replay */
    uint64_t max_websocket_message;
    struct notice *slow; /* the end of a stream that overran, where that ends it */
    int dummy_fd;        /* what civetweb closes in place of an adopted socket */

    /* atomic */
    atomic_size_t next_pump;
    _Atomic uint64_t streams, streams_total, parked, websockets, websockets_total;
    _Atomic uint64_t replaying, replays, replayed, gaps, replays_refused, replays_failed;
    atomic_bool stopping;
    atomic_bool adopts;      /* the self-test has passed */
    atomic_int last_adopted; /* where civetweb's descriptor was found last */

    pthread_mutex_t lock;
    pthread_cond_t stream_gone;
    /* guarded by lock */
    struct link channels;
    bool stopped;
    int tested_fd, released_fd; /* of the self-test: the adopted one, civetweb's number; or -1 */
};

/* `n_pumps` 0: half the cores.  [control] */
int streamer_create(size_t n_pumps, int64_t heartbeat_ms, struct streamer **ret, struct error *err);
/* Counts a stream out and wakes streamer_stop().  [any] */
void streamer_stream_gone(struct streamer *s);

/* --- writing (stream_write.c) --- */

enum { RUN_FRAMES = 64 };

/* The frames of a lane from some position on, gathered once for all streams that stand there. */
struct frame_run {
    const struct lane *lane; /* NULL: nothing gathered */
    uint64_t from;
    enum message_frame_kind form;
    size_t n, bytes;
    size_t untold; /* notices a WebSocket has no frame for */
    struct iovec frames[RUN_FRAMES];
};

enum stream_progress {
    STREAM_CURRENT,
    STREAM_BEHIND,
    STREAM_FULL,
    STREAM_LEFT, /* all is said, the other side's close frame is awaited */
    STREAM_GONE
};

/* Write what there is, up to a few runs: caught up, more to do, socket full, left, or end it.
 * [its pump] */
enum stream_progress stream_write(struct stream *s, struct frame_run *run, struct pump_stats *stats,
                                  int64_t now_ms);
/* A heartbeat, unless something is under way.  [its pump] */
enum stream_progress stream_ping(struct stream *s, struct pump_stats *stats, int64_t now_ms);
/* The rest of a frame that was cut: none left, socket full, or end the stream.  [its pump] */
enum stream_progress stream_write_rest(struct stream *s, struct pump_stats *stats, int64_t now_ms);
/* Has it missed entries?  Then skip them; where that ends the stream, prepare its end.  [its pump] */
bool stream_overran(const struct stream *s);
void stream_skip_lost(struct stream *s, struct pump_stats *stats);
void stream_free(struct stream *s);

/* --- WebSockets (stream_read.c) --- */

/* Read once: nothing to read (CURRENT), there may be more (BEHIND), or end it.  May have left control
 * frames to send, or a `closing`.  [its pump] */
enum stream_progress stream_read(struct stream *s, struct pump_stats *stats, int64_t now_ms);
/* Write the control frames that wait; not while the rest of a frame does.  [its pump] */
enum stream_progress stream_write_control(struct stream *s, struct pump_stats *stats,
                                          int64_t now_ms);
/* When to look at it again; -1: it has left a ping unanswered for too long.  May put a ping to the
 * control frames. */
int64_t stream_check_life(struct stream *s, int64_t heartbeat_ms, int64_t now_ms);

/* --- pumps (pump.c) --- */

int pump_start(struct streamer *s, size_t number, struct pump **ret, struct error *err);
/* End every stream without a word and join.  Once.  [control] */
void pump_stop(struct pump *p);
void pump_free(struct pump *p); /* after pump_stop(), for publishers may still look; NULL is fine */
struct pump_stats *pump_get_stats(struct pump *p);
/* False: it has stopped.  [any] */
bool pump_add_stream(struct pump *p, struct stream *s);
/* `lane` has news; the caller's reference to its channel goes along.  True: the pump sleeps, call
 * pump_wake() once no lock is held.  [any] */
bool pump_add_news(struct pump *p, struct lane *lane);
void pump_wake(struct pump *p);

#endif
