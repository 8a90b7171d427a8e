/* Events: published over HTTP, checked against their topic's schema, stored durably, then streamed.
 *
 * publish: topic -> schema -> storage (commit) -> answer OK; the commit hands the messages to the
 * broker in order, whose topic exchange feeds the streams.  Routes: /events/... */
#ifndef HYPRXA_EVENTS_EVENTS_H
#define HYPRXA_EVENTS_EVENTS_H

#include "base/buf.h"
#include "base/error.h"
#include "broker/broker.h"
#include "http/streamer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct events;
struct http_server;
struct storage;
struct topics;

struct events_options {
    struct storage *storage;
    struct broker *broker;
    struct topics *topics;
    struct streamer *streamer;
    struct channel_options channel;
    size_t max_body;              /* of what is published, bytes; 0: 256 KiB */
    size_t max_subscribers;       /* 0: no limit but the descriptors */
    int64_t reconnect_timeout_ms; /* a broker away longer than this ends the streams; 0: never */
    int64_t publish_timeout_ms;   /* how long a publisher waits for room; 0: 2 s */
    bool alone;                   /* no other node publishes at the broker */
};

/* Registers itself as the storage's commit listener.  [control] */
int events_new(const struct events_options *options, struct events **ret, struct error *err);
void events_stop(struct events *e); /* end the streams */
void events_free(struct events *e); /* after the streamer has stopped */

int events_add_routes(struct events *e, struct http_server *server, struct error *err);

/* The manager's entry of /admin/info (contract 12).  [any] */
int events_info(struct events *e, struct buf *out);
/* Families of /metrics in OpenMetrics text. */
int events_metrics(struct events *e, struct buf *out);

/* --- keys (decision 8): `out` gets the text and a NUL --- */
enum { EVENT_KEY_MAX = 255 };
/* The key an event is published under: `topic` or `topic.<posted>`; a posted key that is the topic or
 * begins with `topic.` stays as it is; NULL or empty is the topic.  ERR_INVALID: '*', '#', an empty
 * word, or more than 255 bytes. */
int event_publish_key(const char *topic, const char *posted, char out[EVENT_KEY_MAX + 1],
                      struct error *err);
/* The key a stream binds: as above, with '$' for '#', empty words dropped, `topic.#` for none. */
int event_bind_key(const char *topic, const char *asked, char out[EVENT_KEY_MAX + 1],
                   struct error *err);

#endif
