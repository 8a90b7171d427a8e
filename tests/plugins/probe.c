#include "probe.h"

#include "fixture.h"

static struct probe probe;

/* --- connection --- */

static hyprxa_status create(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs, size_t n,
                            void **ret, struct hyprxa_error *err)
{
    (void)self;
    hyprxa_status status = probe.create ? probe.create(subs, n, err) : HYPRXA_OK;
    if (status != HYPRXA_OK)
        return status;
    struct probe_connection *c = calloc(1, sizeof *c);
    if (!c || n > sizeof c->subs / sizeof c->subs[0]) {
        free(c);
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    c->ctx = ctx;
    c->n = n;
    memcpy((void *)c->subs, (const void *)subs, n * sizeof subs[0]);
    atomic_fetch_add(&probe.created, 1);
    *ret = c;
    return HYPRXA_OK;
}

static hyprxa_status start(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    atomic_fetch_add(&probe.started, 1);
    return probe.start ? probe.start(conn, link, err) : HYPRXA_OK;
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    atomic_fetch_add(&probe.ran, 1);
    if (probe.run)
        return probe.run(conn, link, err);
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

static void stop(void *conn)
{
    (void)conn;
    atomic_fetch_add(&probe.stopped, 1);
}

static void destroy(void *conn)
{
    atomic_fetch_add(&probe.destroyed, 1);
    free(conn);
}

static hyprxa_status add(void *conn, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    if (!probe.add)
        return HYPRXA_E_CAPACITY;
    atomic_fetch_add(&probe.added, (int)n);
    return probe.add(conn, subs, n, err);
}

static void removed(void *conn, hyprxa_subs subs, size_t n)
{
    atomic_fetch_add(&probe.removed, (int)n);
    if (probe.remove)
        probe.remove(conn, subs, n);
}

FIXTURE_CONNECTION(.run = run, .create = create, .destroy = destroy, .start = start, .stop = stop,
                   .add = add, .remove = removed);

/* --- integration --- */

#ifdef PROBE_INTEGRATION
static struct hyprxa_ctx *own_ctx;

static hyprxa_status connect_probe(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                   struct hyprxa_link **ret, struct hyprxa_error *err)
{
    void *conn = NULL;
    hyprxa_status status = create(ctx, NULL, subs, n, &conn, err);
    if (status != HYPRXA_OK)
        return status;
    status = ctx->host->connect(ctx, &connection, conn, subs, n, ret, err);
    if (status != HYPRXA_OK)
        destroy(conn);
    return status;
}

static hyprxa_status subscribe(void *self, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    (void)self;
    return probe.subscribe ? probe.subscribe(own_ctx, subs, n, err)
                           : connect_probe(own_ctx, subs, n, NULL, err);
}

static void subscribe_undone(void *self, hyprxa_subs subs, size_t n)
{
    (void)self, (void)subs;
    atomic_fetch_add(&probe.undone, (int)n);
}

static hyprxa_status unsubscribe(void *self, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    (void)self;
    return probe.unsubscribe ? probe.unsubscribe(own_ctx, subs, n, err) : HYPRXA_OK;
}

static int64_t capacity(void *self)
{
    (void)self;
    return probe.capacity ? probe.capacity() : -1;
}

static hyprxa_status create_self(struct hyprxa_ctx *ctx, void **ret, struct hyprxa_error *err)
{
    (void)err;
    own_ctx = ctx;
    atomic_fetch_add(&probe.self_created, 1);
    *ret = &probe;
    return HYPRXA_OK;
}

static void close_self(void *self)
{
    (void)self;
    atomic_fetch_add(&probe.self_closed, 1);
}

static void destroy_self(void *self)
{
    (void)self;
    atomic_fetch_add(&probe.self_destroyed, 1);
}

static const struct hyprxa_base_integration integration = {
    .size = sizeof(struct hyprxa_base_integration),
    .create = create_self,
    .subscribe = subscribe,
    .subscribe_undone = subscribe_undone,
    .unsubscribe = unsubscribe,
    .capacity = capacity,
    .close = close_self,
    .destroy = destroy_self,
};
#endif

static const void *extension(const char *id)
{
#ifdef PROBE_INTEGRATION
    probe.connect = connect_probe;
#endif
    return strcmp(id, "test.probe") == 0 ? (const void *)&probe : NULL;
}

#ifdef PROBE_INTEGRATION
#define OWN_INTEGRATION .integration = &integration
#else
#define OWN_INTEGRATION .max_connections = 3
#endif
FIXTURE_PLUGIN("probe", OWN_INTEGRATION, .connection = &connection,
               .max_subscriptions_per_connection = 2, .extension = extension);
