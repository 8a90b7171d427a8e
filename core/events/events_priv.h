/* Shared by the files of events only. */
#ifndef HYPRXA_EVENTS_EVENTS_PRIV_H
#define HYPRXA_EVENTS_EVENTS_PRIV_H

#include "events/events.h"
#include "http/http.h"

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

#endif
