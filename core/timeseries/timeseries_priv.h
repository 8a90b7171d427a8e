/* Shared by the files of timeseries only. */
#ifndef HYPRXA_TIMESERIES_TIMESERIES_PRIV_H
#define HYPRXA_TIMESERIES_TIMESERIES_PRIV_H

#include "base/map.h"
#include "base/sample.h"
#include "base/thread.h"
#include "plugin_host/plugin_host.h"
#include "timeseries/leases.h"
#include "timeseries/timeseries.h"

#include <stdatomic.h>

struct feeds;
struct gate;
struct handover;
struct replay_index;
struct manager;

struct source {
    struct timeseries *owner; /* set at init, then const */
    char *name;
    struct plugin *plugin;
    struct json_object *options; /* NULL: none */
    char **scope_names;
    struct scope_rule scopes;
    int64_t max_subscriptions, stale_after_us;
    bool record_all;
    struct series **recorded; /* checked, of conf.d's list */
    size_t n_recorded;
    pthread_mutex_t lock;
    /* guarded by lock */
    struct map series;       /* canonical -> struct series, kept for the life of the source */
    struct map hashes;       /* the hash's 8 bytes -> struct series: no two series share one */
    struct manager *manager; /* NULL until the first use */
};

struct timeseries {
    struct timeseries_options options; /* set at init, then const */
    struct unitops *unitops;
    struct feeds *feeds;
    struct source **sources;
    size_t n_sources;
    struct leases *leases;
    struct gate *gate;         /* NULL: only this node publishes */
    struct handover *handover; /* likewise */
    struct replay_index *index;
    char *replay_path; /* NULL: it is not kept */
    /* atomic */
    atomic_bool stopping;
};

/* --- sources.c --- */
struct source *timeseries_source(struct timeseries *ts, const char *name); /* NULL: none */
/* The series of a subscription: validated, defaults filled in; a new reference.  ERR_INVALID: the
 * schema refuses it, or its hash is another series'. */
int source_series(struct source *s, struct json_object *subscription, struct series **ret,
                  struct error *err);
/* The running manager, opened when needed; a new reference. */
int source_manager(struct source *s, struct manager **ret, struct error *err);
/* Close the manager and forget it; recorded subscriptions start anew at once. */
int source_restart(struct source *s, struct error *err);
void timeseries_close_sources(struct timeseries *ts);
void timeseries_free_sources(struct timeseries *ts);

/* --- manager.c: one per source in use; the integration's data on its way --- */
struct manager_entry {
    struct series *series;
    struct claim *claim;   /* to stream it */
    unsigned users;        /* holds of feeds */
    bool recorded;         /* wanted from start to stop */
    bool subscribed;       /* at the integration, or being subscribed */
    bool registered;       /* that it is recorded; of the control thread */
    bool reported;         /* that it cannot be recorded was logged once */
    int64_t idle_since_ms; /* when the last user left */
};

struct manager {
    atomic_uint refs;
    struct source *source; /* set at init, then const */
    int64_t created_us;
    char owner[33]; /* of its leases */
    pthread_t control_thread;
    pthread_mutex_t control; /* serialises calls into the integration; taken before `lock` */
    /* guarded by control */
    struct integration *integration; /* NULL until it could be opened; stays until the last unref */
    pthread_t data_thread;           /* runs while there is an integration */
    bool listed;                     /* `record: all` was resolved */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the control thread has work */
    /* guarded by lock */
    struct map entries; /* canonical -> manager_entry */
    bool closing;
    bool dropped; /* wanted entries were dropped by the source */
    bool claims_changed;
    /* atomic */
    _Atomic(struct integration *) visible; /* `integration`, for queries */
    atomic_ullong published, stored, lost_storage, lost_broker, lost_lease, subscribers_total;
};

int manager_open(struct source *s, struct manager **ret, struct error *err);
struct manager *manager_ref(struct manager *m);
void manager_unref(struct manager *m);
/* End its streams, stop the integration, store what it had published, join.  Idempotent. */
void manager_close(struct manager *m);
/* Hold `series` (all of this source), subscribing those that are not yet; all or nothing.  Each
 * acquire is paired with a release.  [worker] */
int manager_acquire(struct manager *m, struct series *const *series, size_t n, struct error *err);
void manager_release(struct manager *m, struct series *const *series, size_t n);

/* Does another node stream it? */
bool manager_stands_by(const struct manager_entry *e);

/* --- handover.c: leases given up and taken over at once, by messages of the broker --- */
int handover_open(struct timeseries *ts, struct error *err);
void handover_close(struct timeseries *ts);
/* Tell the other nodes that the leases of these are free. */
void handover_send(struct timeseries *ts, const struct handed *items, size_t n);

/* --- live.c: numbers, indexes and publishes what was stored --- */
void live_publish(struct manager *m, const struct sample_block *block, struct buf *body);
/* What a message begins with, up to its first item; "]}" ends it. */
void timeseries_begin_message(struct buf *out, const struct series *series);

/* --- manager_control.c: opening, subscribing, leases, retries, what is no longer watched --- */
/* Open the integration and start its data thread if that has not happened; `control` held. */
int manager_ensure_integration(struct manager *m, struct error *err);
/* Subscribe entries that are not yet (each marked `subscribed` by the caller), all or nothing;
 * `control` held; reorders them.  On failure they are unmarked, and so are those that another node
 * streams.  ERR_UNAVAILABLE: the leases cannot be had without the cache. */
int manager_subscribe(struct manager *m, struct manager_entry **entries, size_t n,
                      struct error *err);
struct manager_entry *manager_entry_locked(struct manager *m, struct series *series);
void manager_claims_changed(void *manager); /* what leases call */
void manager_entry_free(void *entry);
void *manager_control_run(void *manager);
void *manager_data_run(void *manager);

/* --- selection.c: which series of a unitop a request means --- */
struct selected_item {
    const char *name; /* of the data item, in the unitop */
    struct source *source;
    struct series *series; /* a reference */
};
struct selection {
    struct unitop *unitop;
    struct selected_item *items;
    size_t n;
};
struct http_request;
/* From `dataItem` and `token`; checks the scopes of every source.  False: answered. */
bool selection_read(struct timeseries *ts, struct http_request *r, struct selection *ret);
bool selection_read_item(struct timeseries *ts, struct http_request *r, const char *item,
                         struct selection *ret);
void selection_release(struct selection *s);
/* Remember the items for an hour, from now on when they are known already; sorts `items`; `out` gets
 * the token.  ERR_LIMIT: too many. */
int selection_token(struct timeseries *ts, const char **items, size_t n, char out[33],
                    struct error *err);

/* --- samples.c --- */
/* {"timestamp":…,"value":…}, as streams and /samples show it; `with_quality`: also when not good. */
void timeseries_write_sample(struct buf *out, const struct sample *s, bool with_quality);
const char *timeseries_quality_name(uint32_t quality);
void timeseries_samples(struct http_request *r, void *ctx);
void timeseries_last(struct http_request *r, void *ctx);

/* --- recorded.c --- */
void timeseries_recorded(struct http_request *r, void *ctx);

/* What a feed of this service carries as its tag: the series it holds at their managers. */
struct hold {
    struct hold_part {
        struct manager *manager;
        struct series **series;
        size_t n;
    } * parts;
    size_t n_parts;
};
void hold_free(struct hold *h);    /* forget it: its managers do not count it */
void hold_release(struct hold *h); /* release at the managers, then free */
/* Does the hold want any of these series?  For feeds_end_where() and notices. */
struct series_set {
    struct series *const *series;
    size_t n;
};
bool hold_wants(void *series_set, void *hold);

#endif
