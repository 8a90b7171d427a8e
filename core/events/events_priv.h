/* Shared by the files of events only. */
#ifndef HYPRXA_EVENTS_EVENTS_PRIV_H
#define HYPRXA_EVENTS_EVENTS_PRIV_H

#include "events/events.h"
#include "http/http.h"
#include "http/replay.h"

#include <stdatomic.h>

struct feeds;
struct relay;
struct storage_event_row;

struct events {
    struct events_options options; /* set at init, then const */
    struct feeds *feeds;
    struct relay *relay;             /* NULL: the broker is in this process */
    struct http_route publish_route; /* made by events_add_routes() */
    int64_t created_us;
    /* atomic */
    atomic_ullong accepted; /* answered OK */
    atomic_ullong refused_schema, refused_full, refused_error;
    atomic_bool failing;       /* the last commit failed; that was logged */
    atomic_ullong unpublished; /* stored, but the broker's queue was full: streams saw a gap */
};

/* The message that was, or would have been, published when the event of this row was committed; NULL:
 * out of memory. */
struct message *event_message(const struct storage_event_row *row);

/* --- relay.c: from the storage to a broker outside this process, until it has confirmed --- */

/* *ret is NULL where the broker is in this process: there is nothing to relay.  Sends what the last
 * run has left.  [control] */
int relay_new(const struct events_options *options, struct relay **ret, struct error *err);
/* These have just been committed, in order.  [one thread at a time] */
void relay_committed(struct relay *relay, const char *const *keys, struct message *const *messages,
                     size_t n);
/* Give up what is not sent yet: it stays stored for the next run.  Later commits are left there, too. */
void relay_stop(struct relay *relay);
void relay_free(struct relay *relay); /* NULL is fine */
struct relay_stats {
    uint64_t behind;  /* events stored that the broker's queue has not got yet */
    uint64_t relayed; /* events that were read back for it */
    uint64_t resent;  /* and for nodes that had missed them */
};
void relay_get_stats(struct relay *relay, struct relay_stats *ret); /* NULL: zeros */

/* --- resume.c: a stream that begins with stored events; for the time of its request --- */

struct event_replay {
    struct stream_replay stream;
    struct storage *storage;
    struct storage_event_cursor *cursor;
    bool others;           /* other nodes publish, too */
    struct replay_gap gap; /* to be told first; place NULL: none */
    struct message_place goes_on;
};
/* Events whose full key matches `key`, from where `resume` says; `ret` must stay where it is, and
 * `key` with it.  [worker] */
int event_replay_open(struct events *e, char *key, const struct resume *resume,
                      struct event_replay *ret, struct error *err);
void event_replay_close(struct event_replay *er); /* zeroed is fine */
/* Behind the last event that is stored; false: storage cannot tell.  [worker] */
bool event_place(struct events *e, struct message_place *ret);

#endif
