#include "http/sse.h"

#include <string.h>

int sse_append_event(struct buf *out, const char *event, const char *text, size_t len)
{
    if (event) {
        buf_append_lit(out, "event: ");
        buf_append_str(out, event);
        buf_append_lit(out, "\r\n");
    }
    buf_append_lit(out, "data: ");
    buf_append(out, text, len);
    return buf_append_lit(out, "\r\n\r\n");
}

int sse_append_comment(struct buf *out, const char *text, size_t len)
{
    buf_append_lit(out, ": ");
    buf_append(out, text, len);
    return buf_append_lit(out, "\r\n\r\n");
}

size_t sse_format_id(const struct message_place *place, char out[SSE_ID_SIZE])
{
    static const struct message_id none;
    if (memcmp(&place->id, &none, sizeof none) == 0)
        return 0;
    memcpy(out, "id: ", 4);
    size_t len = 4 + message_place_format(place, out + 4);
    memcpy(out + len, "\r\n", 2);
    return len + 2;
}

int sse_append_place(struct buf *out, const struct message_place *place,
                     enum message_frame_kind form)
{
    char id[SSE_ID_SIZE];
    size_t len = form == MESSAGE_WEBSOCKET ? 0 : sse_format_id(place, id);
    if (len == 0)
        return 0;
    if (form == MESSAGE_SSE)
        buf_printf(out, "%zx\r\n", len + strlen("\r\n"));
    buf_append(out, id, len);
    buf_append_lit(out, "\r\n");
    return form == MESSAGE_SSE ? buf_append_lit(out, "\r\n") : 0;
}

static size_t format_id(const struct message *m, char out[SSE_ID_SIZE])
{
    struct message_place place = message_place(m);
    return sse_format_id(&place, out);
}

int sse_encode_plain(const struct message *m, struct buf *out)
{
    char id[SSE_ID_SIZE];
    struct message_frame body = message_body(m);
    buf_append(out, id, format_id(m, id));
    return sse_append_event(out, NULL, body.data, body.len);
}

int sse_encode_chunk(const struct message *m, struct buf *out)
{
    char id[SSE_ID_SIZE];
    struct message_frame body = message_body(m);
    size_t id_len = format_id(m, id);
    buf_printf(out, "%zx\r\n", id_len + strlen("data: ") + body.len + strlen("\r\n\r\n"));
    buf_append(out, id, id_len);
    sse_append_event(out, NULL, body.data, body.len);
    return buf_append_lit(out, "\r\n");
}
