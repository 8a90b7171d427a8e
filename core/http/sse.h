/* Server-sent events as this server writes them: CRLF, one event per HTTP chunk. */
#ifndef HYPRXA_HTTP_SSE_H
#define HYPRXA_HTTP_SSE_H

#include "base/buf.h"
#include "base/message.h"

/* Append `text` as one event: `event: <event>` (NULL: a plain message) and `data: <text>`; or, for
 * sse_append_comment(), as `: <text>`.  No line breaks inside.  [any] */
int sse_append_event(struct buf *out, const char *event, const char *text, size_t len);
int sse_append_comment(struct buf *out, const char *text, size_t len);

/* "id: ...\r\n", or nothing for an id that is all zero; returns its length.  [any] */
enum { SSE_ID_SIZE = MESSAGE_PLACE_SIZE + 8 };
size_t sse_format_id(const struct message_place *place, char out[SSE_ID_SIZE]);
/* Append an event that is an id only, in the form of a stream; nothing to a WebSocket.  Who parses it
 * has no event to handle, and an EventSource keeps the id for when it comes back.  [any] */
int sse_append_place(struct buf *out, const struct message_place *place,
                     enum message_frame_kind form);

/* The encoders for MESSAGE_SSE (the event as one chunk) and MESSAGE_SSE_UNCHUNKED; a message with an
 * id gets the line `id: <origin>:<epoch>:<sequence>`.  [any] */
int sse_encode_chunk(const struct message *m, struct buf *out);
int sse_encode_plain(const struct message *m, struct buf *out);

#endif
