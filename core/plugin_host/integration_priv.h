/* What the files of the plugin host share.
 *
 * Locks, in this order: integration.control (held across the plugin's [control] functions),
 * integration.lock, link.lock, integration.order_lock, the queue's lock.  No plugin function is
 * called under any but `control`. */
#ifndef HYPRXA_PLUGIN_HOST_INTEGRATION_PRIV_H
#define HYPRXA_PLUGIN_HOST_INTEGRATION_PRIV_H

#include "plugin_host/plugin_host.h"

#include "base/map.h"
#include "plugin_host/queue.h"

#include <hyprxa/plugin.h>
#include <pthread.h>
#include <stdatomic.h>

/* --- loader.c --- */

struct plugin {
    /* set at open, then const */
    char *path;
    struct module *module;
    uint64_t device, inode;
    struct hyprxa_plugin entry; /* as far as both sides know it; the rest is 0 */
    struct hyprxa_base_integration integration;
    struct hyprxa_base_connection connection;
    struct json_schema *subscription_schema, *options_schema;
    bool initialised;

    /* guarded by the registry's lock */
    unsigned refs;
    struct plugin *next;
};

/* Copy a versioned struct of the plugin: what its size covers, zeros for the rest. */
void plugin_copy_table(void *to, size_t to_size, const void *from, uint32_t from_size);
/* The sizes of ABI 1.0: none is smaller. */
#define TABLE_END(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))
enum {
    CONNECTION_MIN_SIZE = TABLE_END(struct hyprxa_base_connection, remove),
    INTEGRATION_MIN_SIZE = TABLE_END(struct hyprxa_base_integration, list),
    PLUGIN_MIN_SIZE = TABLE_END(struct hyprxa_plugin, extension),
};

/* --- subscription.c --- */

struct link;
struct carry;

struct subscription {
    struct hyprxa_subscription pub; /* what the plugin sees: the address is ours */

    uint32_t magic;
    atomic_bool stale;
    /* The only link that carries it, or NULL.  Changed under the lock of the link that it names or
     * named; a link that finds itself here needs no more lock than its own. */
    _Atomic(struct link *) owner;
    struct series *series; /* a reference; const */
    int64_t last_us; /* newest published; guarded by the owner's lock, without one by order_lock */
    atomic_llong seen_ms; /* monotonic time of the last publish */

    struct integration *in; /* const */
    char id[33];            /* const */

    /* guarded by in->lock */
    unsigned refs;
    bool live;      /* subscribed */
    bool staged;    /* being subscribed */
    bool leaving;   /* being unsubscribed */
    size_t n_links; /* links that carry it */
    struct subscription *next_dropped;
    struct carry *carries; /* changed under order_lock too */
};

/* That a link carries, or carried, a subscription. */
struct carry {
    struct subscription *sub; /* a reference */
    struct link *link;
    bool carried;                              /* guarded by link->lock too */
    int64_t ended_ms;                          /* when it ceased to be carried */
    struct carry *next_of_sub;                 /* guarded by order_lock too */
    struct carry *prev_of_link, *next_of_link; /* guarded by in->lock */
};

/* All with in->lock held. */
/* Into the table, in place of a former one; `stored_us`: newest stored time.  Not live yet. */
int subscription_new(struct integration *in, struct series *series, int64_t stored_us,
                     struct subscription **ret);
void subscription_unref(struct subscription *s);
void subscription_end(struct subscription *s); /* live no longer */
/* A subscription that ended stays in the table for its last time; this keeps the table bounded. */
void subscription_forget_old(struct integration *in);
int carry_begin(struct link *link, struct subscription *s); /* ERR_NOMEM */
void carry_end(struct link *link, struct subscription *s);
void carry_end_all(struct link *link);
void carry_release(struct link *link);                  /* at the end of the link */
void carry_sweep(struct link *link, int64_t before_ms); /* free those that ended before */
struct carry *carry_find(const struct subscription *s, const struct link *link);
/* From a plugin's pointer; NULL if that is none of ours.  [any] */
struct subscription *subscription_of(const struct integration *in,
                                     const struct hyprxa_subscription *pub);

/* --- connection.c --- */

enum link_state {
    LINK_NEW,      /* no thread yet */
    LINK_STARTING, /* in its first start() */
    LINK_READY,    /* started, waits for `go` */
    LINK_RUNNING,
    LINK_ENDED, /* the thread has nothing left to do but return */
};

struct link {
    struct hyprxa_link pub; /* what the plugin sees */

    /* set at init, then const */
    struct integration *in;
    struct hyprxa_base_connection ops;
    void *conn;
    int64_t created_us;
    pthread_t thread;

    atomic_bool stopping, online;
    atomic_ullong messages;
    struct queue_waiter waiter;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t wake;
    int stop_fd; /* -1: nobody asked yet */

    /* guarded by in->lock */
    enum link_state state;
    bool staged; /* connected by the subscribe that is under way */
    bool doomed; /* to be stopped when that becomes real */
    bool go;
    int64_t stop_deadline_ms; /* 0: not asked to stop */
    struct error why;         /* of a failed first start() */
    struct news *last_news;   /* kept for the end, with a promise of the queue */
    struct carry *carries;
    size_t n_carried;
    struct link *next;
};

/* Part of what the integration serves: started, not asked to stop, not ended.  in->lock held. */
static inline bool link_is_open(const struct link *link)
{
    return link->go && !link->stop_deadline_ms && link->state != LINK_ENDED;
}
int link_new(struct integration *in, const struct hyprxa_base_connection *ops, void *conn,
             struct link **ret);
int link_start(struct link *link, struct error *err);
void link_stop(struct link *link); /* ask; does not wait.  control held, in->lock not */
void link_free(struct link *link); /* of one that has no thread; does not destroy conn */
/* Reap ended links and abandon those that ignore stop.  `control` held.  True: some are still
 * stopping. */
bool links_reap(struct integration *in);
/* The same, waiting for all that were asked to stop, until `deadline_ms` at most. */
void links_wait_and_reap(struct integration *in, int64_t deadline_ms);
bool link_wait(struct link *link, int64_t timeout_ms);
/* Take these off the link; those nobody serves any more are announced.  in->lock held. */
void link_drop_locked(struct link *link, struct subscription *const *subs, size_t n,
                      struct news *news);

/* --- the integration --- */

struct news {
    enum integration_news kind;
    struct subscription *dropped; /* list by next_dropped; references */
    size_t n;
    struct error why;
};

enum stage_kind { STAGE_ATTACH, STAGE_DETACH };
struct stage_op {
    enum stage_kind kind;
    struct link *link;
    struct subscription *sub;
};

struct integration {
    struct hyprxa_ctx ctx; /* what the plugin sees */

    /* set at open, then const */
    struct plugin *plugin;
    struct integration_options options;
    char *source, *options_text;
    void *self;
    int64_t created_us;
    uint64_t number_of_links; /* under control */

    struct queue queue;

    pthread_mutex_t control;
    /* guarded by control */
    bool has_self;
    enum { STAGING_NOT, STAGING_SUBSCRIBE, STAGING_UNSUBSCRIBE } staging;
    pthread_t control_thread;
    struct {
        struct stage_op *ops;
        size_t n, cap;
        bool failed; /* out of memory where the plugin could not be told */
    } stage;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t changed; /* a link changed its state, or closing */
    struct map table;       /* canonical -> struct subscription (a reference) */
    size_t n_live, n_dead;
    struct link *links, *abandoned;
    size_t n_links;
    struct map states; /* key -> struct saved_state */
    bool failed, failure_news;
    struct error failure;
    char last_error[ERROR_MESSAGE_SIZE];

    pthread_mutex_t order_lock; /* see struct subscription */

    /* atomic */
    atomic_bool closing, closed;
    atomic_bool attention; /* the taker should look for ended links */
    atomic_bool user_wake; /* integration_wake() */
    atomic_bool look_stale;
    atomic_llong capacity;
    atomic_ullong links_total, samples, history_samples;
    atomic_ullong refused_order, refused_duplicate, refused_invalid, refused_full;
    atomic_ullong dropped_offline, restarts, n_abandoned, stale_series;

    /* the taker's */
    int64_t next_stale_ms;
    struct integration *next_leaked; /* on the list of those that may not be freed */
};

struct saved_state {
    size_t len;
    char bytes[];
};

void integration_note_error(struct integration *in, const char *message); /* in->lock not held */
void integration_update_capacity(struct integration *in);                 /* control held */
void news_free(struct news *news); /* drops the references; in->lock held */

/* --- host.c: the table of functions a plugin gets --- */

extern const struct hyprxa_host plugin_host_table;
/* The core's error for a plugin's answer: its words, or a default.  Returns the code. */
int host_error(struct error *err, hyprxa_status status, struct hyprxa_error *why);
int host_error_code(hyprxa_status status);
bool host_text_is_utf8(const char *text, size_t len);
/* As connect(), attach() of the table, for the pool. */
hyprxa_status stage_connect(struct integration *in, const struct hyprxa_base_connection *ops,
                            void *conn, hyprxa_subs subs, size_t n, struct link **ret,
                            struct hyprxa_error *err);
hyprxa_status stage_attach(struct link *link, hyprxa_subs subs, size_t n, struct hyprxa_error *err);
int stage_detach(struct link *link, struct subscription *s); /* ERR_NOMEM */

/* --- staging.c: what a subscribe or unsubscribe changes, made real or undone.  control held --- */

void stage_open(struct integration *in);
/* Start the new links in parallel.  ERR_TIMEOUT, ERR_CLOSED, or the plugin's failure. */
int stage_start_links(struct integration *in, struct error *err);
/* `fresh` become live, `leaving` end; either may be none.  On failure nothing was changed. */
int stage_commit(struct integration *in, struct subscription *const *fresh, size_t n_fresh,
                 struct subscription *const *leaving, size_t n_leaving, struct error *err);
void stage_undo(struct integration *in);

/* --- pool.c: the integration of a plugin that has only connections --- */

bool pool_is_used(const struct integration *in);
hyprxa_status pool_subscribe(struct integration *in, hyprxa_subs subs, size_t n,
                             struct hyprxa_error *err);
int64_t pool_capacity(struct integration *in);

/* --- publish.c --- */

hyprxa_status link_publish(struct hyprxa_link *link, const struct hyprxa_batch *batches, size_t n,
                           int32_t timeout_ms);
hyprxa_status link_publish_history(struct hyprxa_link *link, const struct hyprxa_batch *batches,
                                   size_t n, int32_t timeout_ms);
hyprxa_status link_state_get(struct hyprxa_link *link, const char *key, void *bytes, size_t cap,
                             size_t *ret_len);
hyprxa_status link_state_set(struct hyprxa_link *link, const char *key, const void *bytes,
                             size_t len);

#endif
