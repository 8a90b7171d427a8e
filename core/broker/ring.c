#include "broker/ring.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 256 };

static int grow(struct ring *r)
{
    size_t room = r->room ? r->room * 2 : FIRST_ROOM;
    struct ring_item *items = malloc(room * sizeof *items);
    if (!items)
        return ERR_NOMEM;
    for (uint64_t p = r->head; p < r->tail; p++)
        items[p & (room - 1)] = r->items[p & (r->room - 1)];
    free(r->items);
    r->items = items;
    r->room = room;
    return 0;
}

int ring_put(struct ring *r, const char *queue, const char *key, struct message *message)
{
    size_t bytes = r->max_bytes ? message_body(message).len : 0;
    if (ring_length(r) >= r->max || (r->bytes && r->bytes + bytes > r->max_bytes))
        return ERR_AGAIN;
    if (ring_length(r) == r->room && grow(r))
        return ERR_NOMEM;
    struct ring_item item = {.key = strdup(key), .queue = queue ? strdup(queue) : NULL};
    if (!item.key || (queue && !item.queue)) {
        ring_item_release(&item);
        return ERR_NOMEM;
    }
    item.message = message_ref(message);
    r->items[r->tail++ & (r->room - 1)] = item;
    r->bytes += bytes;
    return 0;
}

size_t ring_take(struct ring *r, struct ring_item *out, size_t n)
{
    size_t taken = 0;
    while (taken < n && r->head < r->tail) {
        out[taken] = r->items[r->head++ & (r->room - 1)];
        if (r->max_bytes)
            r->bytes -= message_body(out[taken].message).len;
        taken++;
    }
    return taken;
}

void ring_item_release(struct ring_item *item)
{
    free(item->key);
    free(item->queue);
    message_unref(item->message);
    *item = (struct ring_item){0};
}

void ring_release(struct ring *r)
{
    struct ring_item item;
    while (ring_take(r, &item, 1))
        ring_item_release(&item);
    free(r->items);
    *r = (struct ring){0};
}
