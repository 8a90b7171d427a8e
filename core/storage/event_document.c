#include "storage/event_document.h"

#include "base/json.h"
#include "base/time.h"

#include <string.h>

enum {
    FRAME_MAX = 128, /* member names, punctuation and the time */
    ESCAPED_MAX = 6, /* \u00xx */
};

int event_document_write(struct buf *out, const struct event_document *doc)
{
    char time[TIME_ISO_SIZE];
    size_t time_len = time_format_iso(doc->time_us, time);
    buf_append_lit(out, "{\"topic\":");
    json_write_string(out, doc->topic, strlen(doc->topic));
    buf_append_lit(out, ",\"routing_key\":");
    json_write_string(out, doc->routing_key, strlen(doc->routing_key));
    buf_append_lit(out, ",\"payload\":");
    buf_append(out, doc->payload, doc->payload_len);
    buf_append_lit(out, ",\"timestamp\":\"");
    buf_append(out, time, time_len);
    buf_append_lit(out, "\",\"posted_by\":");
    if (doc->posted_by)
        json_write_string(out, doc->posted_by, strlen(doc->posted_by));
    else
        buf_append_lit(out, "null");
    return buf_append_char(out, '}');
}

size_t event_document_size_max(const struct event_document *doc)
{
    size_t texts = strlen(doc->topic) + strlen(doc->routing_key) +
                   (doc->posted_by ? strlen(doc->posted_by) : 0);
    return FRAME_MAX + ESCAPED_MAX * texts + doc->payload_len;
}
