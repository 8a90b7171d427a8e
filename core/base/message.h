/* A message: bytes that were encoded once and are then only passed on.
 *
 * Immutable and reference-counted.  Its frames (SSE chunk, WebSocket frame) are built lazily, once
 * each, by the encoders that app sets before any thread runs, and shared by every subscriber. */
#ifndef HYPRXA_BASE_MESSAGE_H
#define HYPRXA_BASE_MESSAGE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Position in what a node has accepted: node, start-up count, number in commit order (from 1). */
struct message_id {
    uint64_t origin, epoch, sequence;
};

enum { MESSAGE_ID_SIZE = 64 };
/* "<origin as 16 hex digits>:<epoch>:<sequence>"; returns the length.  [any] */
size_t message_id_format(const struct message_id *id, char out[MESSAGE_ID_SIZE]);
bool message_id_parse(const char *text, struct message_id *ret);

/* Where a stream stands: behind what has this id or an earlier one; with `within`, in a replay by time
 * that began there: behind the samples up to `time_us`, of that time those of the series whose hash is
 * at most `series`. */
struct message_place {
    struct message_id id;
    bool within;
    int64_t time_us;
    uint64_t series;
};

enum { MESSAGE_PLACE_SIZE = 128 };
/* As an id, with "@<time>.<series as 16 hex digits>" behind it; returns the length.  [any] */
size_t message_place_format(const struct message_place *place, char out[MESSAGE_PLACE_SIZE]);
bool message_place_parse(const char *text, struct message_place *ret);
/* Does `a` come after `b` at the same origin? */
bool message_id_after(const struct message_id *a, const struct message_id *b);

struct message;

enum message_frame_kind {
    MESSAGE_SSE,
    MESSAGE_SSE_UNCHUNKED,
    MESSAGE_WEBSOCKET,
    MESSAGE_FRAME_KINDS
};

struct message_frame {
    const char *data;
    size_t len;
};

/* Append the frame of `m` to `out`.  Called at most a few times per message and kind.  [any] */
typedef int message_encoder_fn(const struct message *m, struct buf *out);
void message_set_encoder(enum message_frame_kind kind, message_encoder_fn *encode); /* [control] */

/* Copy `len` bytes of JSON without line breaks.  NULL: out of memory.  [any] */
struct message *message_new(const struct message_id *id, int64_t time_us, const void *body,
                            size_t len);
/* Give the id after all: only before anybody else has a reference. */
void message_set_id(struct message *m, const struct message_id *id);
void message_set_within(struct message *m, int64_t time_us, uint64_t series); /* likewise */
struct message *message_ref(struct message *m);
void message_unref(struct message *m); /* NULL is fine */

const struct message_id *message_id(const struct message *m);
struct message_place message_place(const struct message *m);
int64_t message_time_us(const struct message *m);
struct message_frame message_body(const struct message *m);
/* The shared frame, valid as long as a reference is held; len 0: out of memory.  [any] */
struct message_frame message_frame(struct message *m, enum message_frame_kind kind);

#endif
