/* Between a request and its stream: what stream.c and replay.c share. */
#ifndef HYPRXA_HTTP_STREAM_START_H
#define HYPRXA_HTTP_STREAM_START_H

#include "http/replay.h"
#include "http/streamer_priv.h"

/* After the head: send the replay, and make the stream that goes on behind it, for stream_run().  On
 * failure there is none, and nothing was said about it.  [worker] */
int replay_run(struct http_request *r, struct channel *c, enum message_frame_kind form,
               const struct stream_replay *replay, stream_end_fn *on_end, void *ctx,
               struct stream **ret, struct error *err);

#endif
