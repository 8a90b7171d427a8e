/* A plugin whose functions a test of the same process supplies: extension("test.probe") gives the
 * hooks.  A hook that is NULL does the usual thing. */
#ifndef TESTS_PLUGINS_PROBE_H
#define TESTS_PLUGINS_PROBE_H

#include <hyprxa/plugin.h>

#include <stdatomic.h>

struct probe_connection {
    struct hyprxa_ctx *ctx;
    const struct hyprxa_subscription *subs[64]; /* those of create() or connect() */
    size_t n;
};

struct probe {
    /* connection */
    hyprxa_status (*create)(hyprxa_subs subs, size_t n, struct hyprxa_error *err);
    hyprxa_status (*start)(struct probe_connection *c, struct hyprxa_link *link,
                           struct hyprxa_error *err);
    hyprxa_status (*run)(struct probe_connection *c, struct hyprxa_link *link,
                         struct hyprxa_error *err);
    hyprxa_status (*add)(struct probe_connection *c, hyprxa_subs subs, size_t n,
                         struct hyprxa_error *err);
    void (*remove)(struct probe_connection *c, hyprxa_subs subs, size_t n);
    /* integration, of probe_custom only */
    hyprxa_status (*subscribe)(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                               struct hyprxa_error *err);
    hyprxa_status (*unsubscribe)(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                 struct hyprxa_error *err);
    int64_t (*capacity)(void);

    /* how often each was called */
    atomic_int created, started, ran, stopped, destroyed, added, removed, undone;
    atomic_int self_created, self_closed, self_destroyed;
    /* subscribe() of probe_custom without a hook: one connection per call; as the hook may do too */
    hyprxa_status (*connect)(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                             struct hyprxa_link **ret, struct hyprxa_error *err);
};

#endif
