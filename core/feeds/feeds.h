/* Feeds: live streams that want the same keys share one broker subscription and one channel.
 *
 * A *feed* is a set of bound keys of one exchange.  The first stream of a set binds it at the broker;
 * later ones only add a cursor; when the last one has gone the binding goes too, on the feeds' own
 * thread.  So the cost of a message depends on the number of different sets, not of streams.
 * Subscribers (streams) are counted against a limit over all feeds.
 *
 * While a broker outside this process is away, its streams stay: the comments `broker away` and
 * `broker back` tell them, and `gap` where messages were missed.  An outage longer than
 * `reconnect_timeout_ms` ends them (1013, come again later). */
#ifndef HYPRXA_FEEDS_FEEDS_H
#define HYPRXA_FEEDS_FEEDS_H

#include "base/error.h"
#include "broker/broker.h"
#include "http/http.h"
#include "http/streamer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct feeds;

struct feeds_options {
    struct broker *broker;
    enum broker_exchange exchange;
    struct streamer *streamer;
    struct channel_options channel;
    size_t max_subscribers;       /* 0: no limit */
    int64_t reconnect_timeout_ms; /* a broker away longer than this ends the streams; 0: never */
    const char *name;             /* of the thread */
    /* A feed is gone: release what was held for it.  On the feeds' thread; may block.  NULL: none */
    void (*closed)(void *ctx, void *tag);
    void *ctx;
};

int feeds_new(const struct feeds_options *options, struct feeds **ret, struct error *err);
/* End every stream with `reason`, wait until their feeds are closed.  The object stays usable. */
void feeds_end_all(struct feeds *f, enum stream_end code, const char *reason);
void feeds_free(struct feeds *f); /* after the streamer has stopped */

/* What a request wants to follow. */
struct feed_wish {
    const char *const *keys; /* in any order, no duplicates */
    size_t n_keys;
    void *tag;
    const struct stream_replay *replay; /* what the stream begins with; NULL: nothing */
    const struct message_place *place;  /* without a replay: as for stream_begin() */
};
/* Answer `r` with the stream of a key set.  `tag` belongs to the feed once it is made: *ret_used is
 * false when an equal feed was there already (or on failure) and the tag stays the caller's.  Every
 * failure is answered here too.  [worker] */
int feeds_stream(struct feeds *f, struct http_request *r, const struct feed_wish *wish,
                 bool *ret_used, struct error *err);

/* End the streams of every feed for which `affected` says so (given the feed's tag). */
typedef bool feed_affected_fn(void *ctx, void *tag);
void feeds_end_where(struct feeds *f, feed_affected_fn *affected, void *ctx, enum stream_end code,
                     const char *reason);
/* Send a named notice to them instead, or a comment (`event` NULL). */
void feeds_notice_where(struct feeds *f, feed_affected_fn *affected, void *ctx, const char *event,
                        const char *json, size_t len);

struct feeds_stats {
    size_t subscribers; /* live streams */
    size_t feeds;
    size_t keys; /* distinct bound keys, as far as feeds do not share them */
    uint64_t subscribers_total;
    uint64_t published, delivered, dropped; /* of the live feeds */
};
void feeds_get_stats(struct feeds *f, struct feeds_stats *ret);
/* Each live stream, for /admin/info.  `keys`: how many its feed binds. */
typedef void feed_stream_fn(void *ctx, void *tag, int64_t created_us, uint64_t messages,
                            size_t keys);
void feeds_each_stream(struct feeds *f, feed_stream_fn *each, void *ctx);

#endif
