#include "support.h"

#include <string.h>

TestSuite(staging, .timeout = 30);

static struct rig r;
static struct hyprxa_link *first_link;
static hyprxa_status status[8];
static atomic_int turn;

static void open_custom(void)
{
    rig_load(&r, "probe_custom");
    rig_open(&r, NULL);
    cr_expect_eq(atomic_load(&r.probe->self_created), 1);
}

static void close_custom(void)
{
    struct probe *p = r.probe;
    rig_close(&r);
    cr_expect_eq(atomic_load(&p->self_closed), 1);
    cr_expect_eq(atomic_load(&p->self_destroyed), 1);
    cr_expect_eq(atomic_load(&p->destroyed), atomic_load(&p->created));
}

Test(staging, an_integration_of_its_own_decides_on_connections)
{
    open_custom();
    cr_assert_eq(rig_subscribe(&r, 0, 20, NULL), 0); /* no pool, no limit of 2 */
    cr_expect_eq(rig_stats(&r).connections_total, 1);
    cr_expect_eq(rig_stats(&r).subscriptions, 20);
    cr_assert_eq(rig_unsubscribe(&r, 0, 20), 0);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1);
    close_custom();
}

static hyprxa_status start_fails(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    (void)c, (void)link;
    return hyprxa_error_set(err, HYPRXA_E_SOURCE, "refused by the source");
}

Test(staging, a_subscribe_that_is_undone_is_told_to_the_integration)
{
    open_custom();
    r.probe->start = start_fails;
    cr_expect_eq(rig_subscribe(&r, 0, 3, NULL), ERR_REFUSED);
    cr_expect_eq(atomic_load(&r.probe->undone), 3);
    close_custom();
}

static hyprxa_status subscribe_nothing(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                       struct hyprxa_error *err)
{
    (void)ctx, (void)subs, (void)n, (void)err;
    return HYPRXA_OK;
}

Test(staging, accepted_but_carried_by_nobody_is_refused)
{
    struct error err = ERROR_INIT;
    open_custom();
    r.probe->subscribe = subscribe_nothing;
    cr_expect_eq(rig_subscribe(&r, 0, 3, &err), ERR_REFUSED);
    cr_expect(strstr(err.message, "no connection carries 3 of 3") != NULL, "%s", err.message);
    cr_expect_eq(atomic_load(&r.probe->undone), 3);
    close_custom();
}

static hyprxa_status subscribe_then_fails(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                          struct hyprxa_error *err)
{
    r.probe->connect(ctx, subs, n, NULL, err);
    return hyprxa_error_set(err, HYPRXA_E_CAPACITY, "only 7 licences");
}

Test(staging, a_failed_subscribe_destroys_what_it_connected)
{
    struct error err = ERROR_INIT;
    open_custom();
    r.probe->subscribe = subscribe_then_fails;
    cr_expect_eq(rig_subscribe(&r, 0, 3, &err), ERR_LIMIT);
    cr_expect_str_eq(err.message, "only 7 licences");
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1);
    cr_expect_eq(atomic_load(&r.probe->started), 0);
    cr_expect_eq(atomic_load(&r.probe->undone), 0);
    close_custom();
}

static int64_t two(void)
{
    return 2;
}

Test(staging, capacity_is_asked_before)
{
    open_custom();
    r.probe->capacity = two;
    cr_expect_eq(rig_subscribe(&r, 0, 3, NULL), ERR_LIMIT);
    cr_expect_eq(atomic_load(&r.probe->created), 0);
    cr_expect_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    cr_expect_eq(rig_stats(&r).capacity, 2);
    close_custom();
}

/* The first call connects; the second moves everything to a new connection. */
static const struct hyprxa_subscription *all[8];
static size_t n_all;

static hyprxa_status subscribe_moves(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                     struct hyprxa_error *err)
{
    for (size_t i = 0; i < n; i++)
        all[n_all++] = subs[i];
    if (!first_link)
        return r.probe->connect(ctx, all, n_all, &first_link, err);
    ctx->host->disconnect(first_link);
    return r.probe->connect(ctx, all, n_all, NULL, err);
}

static hyprxa_status run_publishes_number(struct probe_connection *c, struct hyprxa_link *link,
                                          struct hyprxa_error *err)
{
    (void)err;
    for (int64_t t = 1; !hyprxa_wait(link, 1); t++)
        hyprxa_publish_one(link, c->subs[0], link->number * INT64_C(1000000000) + t,
                           hyprxa_int64(link->number));
    return HYPRXA_OK;
}

Test(staging, subscriptions_move_to_another_connection_without_a_drop)
{
    struct integration_item item;
    open_custom();
    r.probe->subscribe = subscribe_moves;
    r.probe->run = run_publishes_number;
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->samples[0].value.as.i64, 1);
    integration_item_release(&item);
    cr_assert_eq(rig_subscribe(&r, 1, 1, NULL), 0);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1);
    cr_expect_eq(rig_stats(&r).subscriptions, 2);
    cr_expect_eq(rig_stats(&r).connections, 1);
    int64_t last_us = 0;
    for (bool moved = false; !moved;) {
        cr_assert_eq(integration_take(r.in, INT64_MAX, &item), 0);
        cr_assert_eq(item.news, INTEGRATION_BLOCK);
        cr_expect_gt(item.block->samples[0].time_us, last_us);
        last_us = item.block->samples[0].time_us;
        moved = item.block->samples[0].value.as.i64 == 2;
        integration_item_release(&item);
    }
    close_custom();
}

static hyprxa_status subscribe_replaces(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                        struct hyprxa_error *err)
{
    if (!first_link)
        return r.probe->connect(ctx, subs, n, &first_link, err);
    ctx->host->disconnect(first_link);
    return r.probe->connect(ctx, subs, n, NULL, err);
}

Test(staging, what_a_disconnect_leaves_behind_is_dropped)
{
    open_custom();
    r.probe->subscribe = subscribe_replaces;
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    cr_assert_eq(rig_subscribe(&r, 1, 1, NULL), 0);
    struct integration_item item = rig_take(&r, INTEGRATION_DROPPED);
    cr_assert_eq(item.n_series, 1);
    cr_expect_eq(item.series[0], r.series[0]);
    integration_item_release(&item);
    cr_expect_eq(rig_stats(&r).subscriptions, 1);
    close_custom();
}

/* Two connections for the same subscriptions: whoever is first. */
static hyprxa_status subscribe_twice(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                     struct hyprxa_error *err)
{
    hyprxa_status s = r.probe->connect(ctx, subs, n, NULL, err);
    return s == HYPRXA_OK ? r.probe->connect(ctx, subs, n, NULL, err) : s;
}

static hyprxa_status run_races(struct probe_connection *c, struct hyprxa_link *link,
                               struct hyprxa_error *err)
{
    for (int64_t t = 1; t <= 2000; t++)
        hyprxa_publish_one(link, c->subs[0], t, hyprxa_int64(link->number));
    return link->number == 1 ? hyprxa_error_set(err, HYPRXA_E_INVALID, "gone") : HYPRXA_OK;
}

Test(staging, a_subscription_of_two_connections_stays_in_order_and_until_both_are_gone)
{
    struct integration_item item;
    open_custom();
    r.probe->subscribe = subscribe_twice;
    r.probe->run = run_races;
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    for (int64_t t = 1; t <= 2000; t++) {
        cr_assert_eq(integration_take(r.in, INT64_MAX, &item), 0);
        cr_assert_eq(item.news, INTEGRATION_BLOCK);
        cr_assert_eq(item.block->samples[0].time_us, t);
        integration_item_release(&item);
    }
    item = rig_take(&r, INTEGRATION_DROPPED);
    cr_expect_eq(item.n_series, 1);
    integration_item_release(&item);
    struct integration_stats stats = rig_stats(&r);
    cr_expect_eq(stats.samples, 2000);
    cr_expect_eq(stats.refused_duplicate + stats.refused_order, 2000);
    close_custom();
}

/* The first call connects; later ones attach, and connect one that fails when told so. */
static bool second_fails;

static hyprxa_status subscribe_attaches(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                        struct hyprxa_error *err)
{
    if (!first_link)
        return r.probe->connect(ctx, subs, n, &first_link, err);
    hyprxa_status s = ctx->host->attach(first_link, subs, n, err);
    if (s == HYPRXA_OK && second_fails)
        s = r.probe->connect(ctx, subs, n, NULL, err);
    return s;
}

static hyprxa_status add_any(struct probe_connection *c, hyprxa_subs subs, size_t n,
                             struct hyprxa_error *err)
{
    (void)c, (void)subs, (void)n, (void)err;
    return HYPRXA_OK;
}

static hyprxa_status start_of_second_fails(struct probe_connection *c, struct hyprxa_link *link,
                                           struct hyprxa_error *err)
{
    return link->number == 1 ? HYPRXA_OK : start_fails(c, link, err);
}

Test(staging, what_was_attached_is_removed_when_the_whole_is_undone)
{
    open_custom();
    r.probe->subscribe = subscribe_attaches;
    r.probe->add = add_any;
    r.probe->start = start_of_second_fails;
    cr_assert_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    cr_assert_eq(rig_subscribe(&r, 2, 2, NULL), 0);
    cr_expect_eq(rig_stats(&r).connections_total, 1);
    second_fails = true;
    cr_expect_eq(rig_subscribe(&r, 4, 3, NULL), ERR_REFUSED);
    cr_expect_eq(atomic_load(&r.probe->added), 5);
    cr_expect_eq(atomic_load(&r.probe->removed), 3);
    cr_expect_eq(rig_stats(&r).subscriptions, 4);
    close_custom();
}

static hyprxa_status unsubscribe_refuses(struct hyprxa_ctx *ctx, hyprxa_subs subs, size_t n,
                                         struct hyprxa_error *err)
{
    struct hyprxa_link *link = NULL;
    ctx->host->disconnect(first_link);
    status[0] = r.probe->connect(ctx, subs, n, &link, err);
    return hyprxa_error_set(err, HYPRXA_E_SOURCE, "not now");
}

Test(staging, a_refused_unsubscribe_changes_nothing)
{
    open_custom();
    r.probe->subscribe = subscribe_attaches;
    r.probe->unsubscribe = unsubscribe_refuses;
    cr_assert_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    cr_expect_eq(rig_unsubscribe(&r, 0, 2), ERR_REFUSED);
    cr_expect_eq(status[0], HYPRXA_E_INVALID); /* connect() is for subscribe() */
    cr_expect_eq(rig_stats(&r).subscriptions, 2);
    cr_expect_eq(rig_stats(&r).connections, 1);
    close_custom();
}

static hyprxa_status run_misuses(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    status[1] = r.probe->connect(c->ctx, c->subs, c->n, NULL, err);
    status[2] = link->host->attach(link, c->subs, c->n, err);
    link->host->disconnect(link);
    link->host->detach(link, c->subs, c->n);
    atomic_store(&turn, 1);
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

Test(staging, connections_change_only_inside_subscribe)
{
    open_custom();
    r.probe->run = run_misuses;
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    await_count(&turn, 1);
    cr_expect_eq(status[1], HYPRXA_E_INVALID);
    cr_expect_eq(status[2], HYPRXA_E_INVALID);
    cr_expect_eq(rig_stats(&r).subscriptions, 1);
    cr_expect_eq(rig_stats(&r).connections, 1);
    close_custom();
}
