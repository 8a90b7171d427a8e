/* Shared by the files of events only. */
#ifndef HYPRXA_EVENTS_EVENTS_PRIV_H
#define HYPRXA_EVENTS_EVENTS_PRIV_H

#include "events/events.h"
#include "http/http.h"
#include "http/replay.h"

#include <stdatomic.h>

struct feeds;

struct events {
    struct events_options options; /* set at init, then const */
    struct feeds *feeds;
    struct http_route publish_route; /* made by events_add_routes() */
    int64_t created_us;
    /* atomic */
    atomic_ullong accepted; /* answered OK */
    atomic_ullong refused_schema, refused_full, refused_error;
    atomic_ullong unpublished; /* stored, but the broker's queue was full: streams saw a gap */
};

/* --- resume.c: a stream that begins with stored events; for the time of its request --- */

struct event_replay {
    struct stream_replay stream;
    struct storage *storage;
    struct storage_event_cursor *cursor;
    struct replay_gap gap; /* to be told first; place NULL: none */
    struct message_place goes_on;
};
/* Events whose full key matches `key`, from where `resume` says; `ret` must stay where it is, and
 * `key` with it.  [worker] */
int event_replay_open(struct events *e, char *key, const struct resume *resume,
                      struct event_replay *ret, struct error *err);
void event_replay_close(struct event_replay *er); /* zeroed is fine */

#endif
