/* A bounded queue of messages with their keys, by absolute position.  The owner holds its lock. */
#ifndef HYPRXA_BROKER_RING_H
#define HYPRXA_BROKER_RING_H

#include "base/message.h"

#include <stddef.h>
#include <stdint.h>

struct ring_item {
    char *key;   /* owned */
    char *queue; /* owned; NULL: to whoever bound the key */
    struct message *message;
};

struct ring {
    struct ring_item *items; /* position p lies at p & (room - 1) */
    size_t room, max;
    size_t bytes, max_bytes; /* of the bodies queued, where there is a maximum */
    uint64_t head, tail;     /* next to take, next to put */
};

/* Copies key and queue (NULL: none) and takes a reference.  ERR_AGAIN: `max` are queued, or the queue is
 * not empty and would hold more than `max_bytes`; ERR_NOMEM. */
int ring_put(struct ring *r, const char *queue, const char *key, struct message *message);
/* Move up to `n` items out; they are the caller's. */
size_t ring_take(struct ring *r, struct ring_item *out, size_t n);
void ring_item_release(struct ring_item *item);
void ring_release(struct ring *r); /* with what is queued */

static inline size_t ring_length(const struct ring *r)
{
    return (size_t)(r->tail - r->head);
}

#endif
