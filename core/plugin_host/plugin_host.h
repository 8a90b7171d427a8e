/* Plugin host: loads plugins and runs one integration per source.
 *
 * A `struct plugin` is a loaded .so, shared by the sources that name it.  A `struct integration` is
 * what a source does: the host's bookkeeping (connections, queue, order, counters, staleness,
 * back-off) around the plugin's functions.  Data and news leave through one bounded queue, taken by
 * the manager with integration_take(); nothing calls back up. */
#ifndef HYPRXA_PLUGIN_HOST_PLUGIN_HOST_H
#define HYPRXA_PLUGIN_HOST_PLUGIN_HOST_H

#include "base/buf.h"
#include "base/error.h"
#include "base/sample.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;
struct json_schema;
struct plugin;
struct integration;

/* --- plugins [control] --- */

/* Load `name` (a bare name: <dir>/<name>.so; or an absolute path).  Opened once per file.  Errors say
 * what the file lacks: not found, writable by others, no symbol `hyprxa_plugin_v1` (and which ABI it
 * offers instead), wrong major, too small, missing member, bad schema.  Release with unref. */
int plugin_open(const char *dir, const char *name, struct plugin **ret, struct error *err);
struct plugin *plugin_ref(struct plugin *p);
void plugin_unref(struct plugin *p);

const char *plugin_name(const struct plugin *p);
const char *plugin_version(const struct plugin *p);
const char *plugin_description(const struct plugin *p);
const char *plugin_path(const struct plugin *p);
const char *const *plugin_scopes(const struct plugin *p); /* NULL-terminated; may be empty */
bool plugin_scopes_any(const struct plugin *p);
const struct json_schema *plugin_subscription_schema(const struct plugin *p);
const struct json_schema *plugin_options_schema(const struct plugin *p); /* NULL: no options */

/* --- integrations --- */

struct integration_options {
    const char *source;          /* name of the source, borrowed during integration_open() */
    struct json_object *options; /* valid against the schema; NULL: none */
    int64_t max_subscriptions;   /* 0: no limit but the plugin's */
    int64_t stale_after_us;      /* a series silent for longer is reported; 0: never */
    int64_t connect_timeout_ms;  /* 0: 10 s */
    int64_t stop_grace_ms;       /* 0: 5 s; then a connection is abandoned */
    size_t max_queued_samples;   /* 0: 100,000 */
    size_t max_queued_bytes;     /* 0: 16 MiB */
    int64_t initial_backoff_ms, max_backoff_ms; /* 0: 1 s, 30 s */
    /* Saved plugin state and the newest stored time of a series; ERR_NOT_FOUND: none.  [any] */
    int (*state_get)(void *ctx, const char *source, const char *key, struct buf *out);
    int (*last_time)(void *ctx, struct series *series, int64_t *ret_us);
    void *ctx;
};

/* Create the plugin's integration.  The plugin's own message is in `err`.  [control] */
int integration_open(struct plugin *plugin, const struct integration_options *options,
                     struct integration **ret, struct error *err);

/* All or nothing, within the connect deadline.  ERR_REFUSED: the plugin said no (its words);
 * ERR_LIMIT: capacity; ERR_TIMEOUT: the source did not connect in time.  Already subscribed series
 * are counted once.  [control]: one caller at a time */
int integration_subscribe(struct integration *in, struct series *const *series, size_t n,
                          struct error *err);
int integration_unsubscribe(struct integration *in, struct series *const *series, size_t n,
                            struct error *err);

enum integration_news {
    INTEGRATION_BLOCK, /* samples: `block`, the taker's to unref */
    INTEGRATION_DROPPED, /* `series` are no longer served, because of `why`; the host does not retry */
    INTEGRATION_STALE,  /* `series` were silent for longer than stale_after */
    INTEGRATION_FRESH,  /* ... and speak again */
    INTEGRATION_FAILED, /* a connection ignored stop or the plugin broke a rule; `why` */
};
struct integration_item {
    enum integration_news news;
    struct sample_block *block;
    struct series **series; /* references, the taker's: integration_item_release() */
    size_t n_series;
    struct error why;
};
/* Take the next item, waiting until `deadline_ms` (monotonic).  ERR_TIMEOUT; ERR_CLOSED once closed
 * and empty.  One taker.  [control] */
int integration_take(struct integration *in, int64_t deadline_ms, struct integration_item *ret);
void integration_item_release(struct integration_item *item);
void integration_wake(
    struct integration *in); /* make a waiting take return ERR_TIMEOUT now.  [any] */

/* Stop and join every connection (publish and wait return CANCELED at once), destroy, close the
 * queue.  Idempotent.  What was published before is still taken.  [control] */
void integration_close(struct integration *in);
void integration_free(struct integration *in);

/* True when a thread of the plugin was abandoned: the process must end by _exit().  [any] */
bool plugin_host_has_abandoned(void);

/* --- queries [any] --- */
struct integration_stats {
    bool closed;
    int64_t created_us;
    uint64_t queued_samples, queued_bytes, dropped_queue;
    uint64_t connections, subscriptions, connections_total;
    int64_t capacity; /* -1: unbounded */
    uint64_t samples, history_samples;
    uint64_t refused_order, refused_duplicate, refused_invalid, refused_full, dropped_offline;
    uint64_t restarts, abandoned, stale_series;
    char last_error[ERROR_MESSAGE_SIZE];
};
void integration_get_stats(struct integration *in, struct integration_stats *ret);

struct connection_info {
    const char *name;
    bool online;
    int64_t created_us;
    uint64_t messages; /* publish calls taken */
    uint64_t subscriptions;
};
typedef void connection_info_fn(void *ctx, const struct connection_info *info);
void integration_each_connection(struct integration *in, connection_info_fn *each, void *ctx);

/* The items a source offers: subscription objects as JSON text.  ERR_UNSUPPORTED: it has no list.
 * [control] */
typedef void integration_list_fn(void *ctx, const char *subscription_json, size_t len);
int integration_list(struct integration *in, integration_list_fn *each, void *ctx,
                     struct error *err);

/* The plugin's own details: a JSON object, appended to `out`.  ERR_UNSUPPORTED, ERR_NOT_FOUND: it gives
 * none.  [control] */
int integration_info(struct integration *in, struct buf *out);

#endif
