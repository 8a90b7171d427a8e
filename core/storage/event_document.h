/* The event document, as subscribers and look-ups get it:
 * {"topic":..,"routing_key":..,"payload":..,"timestamp":"..","posted_by":..}. */
#ifndef HYPRXA_STORAGE_EVENT_DOCUMENT_H
#define HYPRXA_STORAGE_EVENT_DOCUMENT_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

struct event_document {
    const char *topic, *routing_key;
    const char *payload; /* compact JSON, spliced in as it is */
    size_t payload_len;
    int64_t time_us;
    const char *posted_by; /* NULL: null */
};

/* What buf_append() answers. */
int event_document_write(struct buf *out, const struct event_document *doc);
/* No document of these parts is longer. */
size_t event_document_size_max(const struct event_document *doc);

#endif
