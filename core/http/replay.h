/* Replay: what a stream is sent before it goes live.
 *
 * A client that comes back names its place, a time or nothing.  A `struct stream_replay` then gives the
 * stored messages from there on, a portion at a time, until it has caught up with what is published;
 * the stream joins its channel behind the last of them.  A portion holds no lock and no transaction
 * while it is sent. */
#ifndef HYPRXA_HTTP_REPLAY_H
#define HYPRXA_HTTP_REPLAY_H

#include "base/message.h"
#include "http/route.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct http_request;

/* A portion being gathered, in the form of its stream. */
struct replay {
    enum message_frame_kind form;
    struct buf bytes;
    uint64_t messages, gaps;
    struct message_id reached; /* live messages up to this one are not sent again */
};

enum { REPLAY_PORTION = 64 * 1024 }; /* a portion had better not be much larger */

/* Add a message, with its id.  ERR_NOMEM.  [worker] */
int replay_add(struct replay *out, struct message *m);
/* Say that what lies between two times cannot be replayed; `place` is where the stream goes on. */
struct replay_gap {
    const struct message_place *place;
    int64_t from_us, to_us; /* INT64_MIN: not known */
    int64_t count;          /* of messages or samples; negative: not known */
};
int replay_add_gap(struct replay *out, const struct replay_gap *gap);

/* Add the next portion: up to about REPLAY_PORTION bytes or 100 ms of work, perhaps nothing.  1: there
 * may be more, 0: caught up with all that was published before the call, and out->reached tells where
 * that is; negative: broken off, the stream ends.  [worker] */
typedef int stream_replay_fn(void *ctx, struct replay *out, struct error *err);
struct stream_replay {
    stream_replay_fn *next;
    void *ctx;
};

/* --- where a request wants to begin --- */

enum resume_kind {
    RESUME_LIVE,    /* with the next message */
    RESUME_BEHIND,  /* behind `place` */
    RESUME_SINCE,   /* with what is not before `since_us` */
    RESUME_UNKNOWN, /* behind a place that is none of ours: a gap, then live */
};
struct resume {
    enum resume_kind kind;
    struct message_place place;
    int64_t since_us;
};
/* From the header `Last-Event-ID`, else the query `last_event_id`, else `since` (with `timezone`).
 * False: a query could not be read; the 422 was sent.  [worker] */
bool http_query_resume(struct http_request *r, struct resume *ret);
extern const struct http_param http_resume_params[]; /* what that reads */

#endif
