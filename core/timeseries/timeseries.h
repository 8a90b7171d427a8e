/* Timeseries: the sources, their managers, and what clients see of their samples.
 *
 * A source is a conf.d entry with its plugin.  Its manager exists from the first use (or from the
 * start, when something is recorded): it runs the integration, stores what it publishes, and passes
 * what somebody watches to the broker.  Routes: /timeseries/... */
#ifndef HYPRXA_TIMESERIES_TIMESERIES_H
#define HYPRXA_TIMESERIES_TIMESERIES_H

#include "auth/auth.h"
#include "base/buf.h"
#include "base/error.h"
#include "http/streamer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;
struct cache;
struct http_server;
struct json_object;
struct plugin;
struct source_config;
struct storage;
struct timeseries;
struct unitops;

struct timeseries_options {
    struct storage *storage;
    struct broker *broker;
    struct cache *cache;
    struct streamer *streamer;
    struct channel_options channel;
    size_t max_subscribers;       /* of all its streams */
    int64_t reconnect_timeout_ms; /* a broker away longer than this ends the streams; 0: never */
    int64_t max_samples;          /* of one answer of /samples; 0: 15,000 */
    size_t max_columns;           /* data items of a file */
    int64_t lock_ttl_ms; /* of leases; also how long an unwatched subscription is kept; 0: 5 s */
    bool hash_hyprxa;    /* subscription_hash: hyprxa; else canonical */
    int64_t connect_timeout_ms;                 /* 0: the plugin host's default */
    int64_t stop_grace_ms;                      /* 0: the plugin host's default */
    int64_t initial_backoff_ms, max_backoff_ms; /* 0: 1 s, 30 s */
    size_t replay_bytes;                        /* of the index of what went live; 0: 64 MiB */
    int64_t replay_age_us;                      /* 0: 15 min */
    const char *replay_path; /* where the index lies from stop to start; NULL: nowhere */
};

/* --- life cycle [control] --- */
int timeseries_new(const struct timeseries_options *options, struct timeseries **ret,
                   struct error *err);
/* Unitops are needed by the routes; they in turn ask for sources: so they come second. */
void timeseries_set_unitops(struct timeseries *ts, struct unitops *unitops);
/* Register a source: the options and recorded subscriptions are checked, nothing is started.  Every
 * problem is one line with its place in `problems`.  Takes a reference of `plugin`. */
int timeseries_add_source(struct timeseries *ts, const struct source_config *config,
                          struct plugin *plugin, struct buf *problems, struct error *err);
/* Open the sources that record.  A source that fails is logged; the others run on. */
void timeseries_start(struct timeseries *ts);
/* End the streams, stop the integrations, store what they had published.  Before storage_stop(). */
void timeseries_stop(struct timeseries *ts);
/* Keep what streams need to go on after a restart.  After storage_stop(), so that it promises nothing
 * that is not stored. */
void timeseries_save(struct timeseries *ts);
void timeseries_free(struct timeseries *ts); /* after the streamer has stopped */

int timeseries_add_routes(struct timeseries *ts, struct http_server *server, struct error *err);

/* --- what unitops asks (struct unitops_sources; ctx is the struct timeseries) [any] --- */
bool timeseries_source_known(void *ctx, const char *source);
int timeseries_sources_permitted(void *ctx, struct buf *quoted, struct buf *json_list);
int timeseries_map_subscription(void *ctx, struct json_object *subscription,
                                struct json_object **ret, struct error *err);

/* --- queries [any] --- */
/* The managers' entries of /admin/info, separated by commas. */
int timeseries_info(struct timeseries *ts, struct buf *out);
int timeseries_metrics(struct timeseries *ts, struct buf *out);
size_t timeseries_source_count(struct timeseries *ts);
/* The scopes of the plugin and of conf.d of one source, to be held by the debug user. */
struct string_list timeseries_source_scopes(struct timeseries *ts, size_t i);

#endif
