#include "support.h"

#include "base/time.h"
#include "plugin_host/integration_priv.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

TestSuite(connection, .timeout = 30);

static atomic_int turn;

/* --- connecting --- */

Test(connection, a_late_one_is_waited_for)
{
    struct rig r;
    rig_load(&r, "late");
    rig_open(&r, "{\"delay_ms\":50}");
    int64_t begun_ms = time_monotonic_ms();
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    cr_expect_geq(time_monotonic_ms() - begun_ms, 50);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    integration_item_release(&item);
    rig_close(&r);
}

Test(connection, one_past_the_deadline_undoes_the_subscribe)
{
    struct rig r;
    struct error err = ERROR_INIT;
    rig_load(&r, "late");
    r.options.connect_timeout_ms = 30;
    rig_open(&r, "{\"delay_ms\":60000}");
    int64_t begun_ms = time_monotonic_ms();
    cr_expect_eq(rig_subscribe(&r, 0, 1, &err), ERR_TIMEOUT);
    cr_expect_lt(time_monotonic_ms() - begun_ms, 3000);
    cr_expect_str_eq(err.message, "the source did not connect within 30 ms");
    cr_expect_eq(rig_stats(&r).subscriptions, 0);
    cr_expect_eq(rig_stats(&r).connections, 0);
    rig_close(&r);
    cr_expect_not(plugin_host_has_abandoned());
}

Test(connection, a_deaf_one_past_the_deadline_does_not_hold_up_the_client)
{
    struct rig r;
    rig_load(&r, "late");
    r.options.connect_timeout_ms = 20;
    rig_open(&r, "{\"delay_ms\":1500,\"deaf\":1}");
    int64_t begun_ms = time_monotonic_ms();
    cr_expect_eq(rig_subscribe(&r, 0, 1, NULL), ERR_TIMEOUT);
    cr_expect_lt(time_monotonic_ms() - begun_ms, 1000);
    rig_close(&r); /* waits for it: the grace time is longer */
    cr_expect_not(plugin_host_has_abandoned());
}

static hyprxa_status start_second_fails(struct probe_connection *c, struct hyprxa_link *link,
                                        struct hyprxa_error *err)
{
    (void)c;
    if (link->number == 2)
        return hyprxa_error_set(err, HYPRXA_E_SOURCE, "no route to the device");
    hyprxa_wait(link, -1); /* would wait for ever: the other one's failure ends it */
    return HYPRXA_OK;
}

Test(connection, one_that_fails_undoes_the_others_at_once)
{
    struct rig r;
    struct error err = ERROR_INIT;
    rig_load(&r, "probe");
    r.probe->start = start_second_fails;
    rig_open(&r, NULL);
    cr_expect_eq(rig_subscribe(&r, 0, 5, &err), ERR_REFUSED);
    cr_expect_str_eq(err.message, "no route to the device");
    cr_expect_eq(atomic_load(&r.probe->created), 3);
    cr_expect_eq(atomic_load(&r.probe->ran), 0);
    await_count(&r.probe->destroyed, 3);
    cr_expect_eq(rig_stats(&r).subscriptions, 0);
    cr_expect_str_eq(rig_stats(&r).last_error, "no route to the device");
    r.probe->start = NULL;
    cr_expect_eq(rig_subscribe(&r, 0, 5, &err), 0, "%s", err.message);
    rig_close(&r);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 6);
}

static hyprxa_status create_refuses_item_3(hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (strstr(subs[i]->json, "\"3\""))
            return hyprxa_error_set(err, HYPRXA_E_NOT_FOUND, "there is no item %s", "3");
    return HYPRXA_OK;
}

Test(connection, one_that_cannot_be_made_undoes_the_others)
{
    struct rig r;
    struct error err = ERROR_INIT;
    rig_load(&r, "probe");
    r.probe->create = create_refuses_item_3;
    rig_open(&r, NULL);
    cr_expect_eq(rig_subscribe(&r, 0, 4, &err), ERR_REFUSED);
    cr_expect_str_eq(err.message, "there is no item 3");
    cr_expect_eq(atomic_load(&r.probe->created), 1);
    cr_expect_eq(atomic_load(&r.probe->started), 0);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1);
    cr_assert_eq(rig_subscribe(&r, 0, 3, &err), 0);
    rig_close(&r);
}

static void *close_main(void *arg)
{
    struct rig *r = arg;
    await_count(&r->probe->started, 1);
    integration_close(r->in);
    return NULL;
}

static hyprxa_status start_waits(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    (void)c;
    hyprxa_wait(link, -1);
    return hyprxa_error_set(err, HYPRXA_E_CANCELED, "stopped");
}

Test(connection, closing_ends_a_subscribe_that_waits)
{
    struct rig r;
    pthread_t closer;
    rig_load(&r, "probe");
    r.probe->start = start_waits;
    r.options.connect_timeout_ms = 60000;
    rig_open(&r, NULL);
    cr_assert_eq(pthread_create(&closer, NULL, close_main, &r), 0);
    cr_expect_eq(rig_subscribe(&r, 0, 1, NULL), ERR_CLOSED);
    pthread_join(closer, NULL);
    rig_close(&r);
}

/* --- failing --- */

static hyprxa_status run_fails_twice(struct probe_connection *c, struct hyprxa_link *link,
                                     struct hyprxa_error *err)
{
    int n = atomic_fetch_add(&turn, 1);
    hyprxa_publish_one(link, c->subs[0], (n + 1) * 1000000, hyprxa_int64(n));
    if (n < 2)
        return hyprxa_error_set(err, HYPRXA_E_SOURCE, "failure %d", n + 1);
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

static hyprxa_status start_fails_third(struct probe_connection *c, struct hyprxa_link *link,
                                       struct hyprxa_error *err)
{
    static atomic_int starts;
    (void)c, (void)link;
    return atomic_fetch_add(&starts, 1) == 2
               ? hyprxa_error_set(err, HYPRXA_E_OFFLINE, "not back yet")
               : HYPRXA_OK;
}

Test(connection, one_that_fails_is_restarted_with_its_subscriptions)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->run = run_fails_twice;
    r.probe->start = start_fails_third;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    for (int i = 0; i < 3; i++) {
        struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
        cr_expect_eq(item.block->samples[0].value.as.i64, i);
        integration_item_release(&item);
    }
    struct integration_stats stats = rig_stats(&r);
    cr_expect_eq(stats.restarts, 3);
    cr_expect_eq(stats.subscriptions, 1);
    cr_expect_str_eq(stats.last_error, "not back yet");
    cr_expect_eq(atomic_load(&r.probe->created), 1);
    cr_expect_eq(atomic_load(&r.probe->ran), 3);
    cr_expect_eq(atomic_load(&r.probe->started), 4);
    rig_close(&r);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1);
}

static hyprxa_status run_fails(struct probe_connection *c, struct hyprxa_link *link,
                               struct hyprxa_error *err)
{
    (void)c, (void)link;
    return hyprxa_error_set(err, HYPRXA_E_SOURCE, "down");
}

Test(connection, the_pause_before_a_restart_ends_with_stop)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->run = run_fails;
    r.options.initial_backoff_ms = r.options.max_backoff_ms = 60000;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    await_count(&r.probe->ran, 1);
    int64_t begun_ms = time_monotonic_ms();
    rig_close(&r);
    cr_expect_lt(time_monotonic_ms() - begun_ms, 2000);
}

static hyprxa_status run_invalid(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    hyprxa_publish_one(link, c->subs[0], 1000000, hyprxa_null());
    return hyprxa_error_set(err, HYPRXA_E_INVALID, "register %d does not exist", 40001);
}

Test(connection, a_final_failure_drops_its_subscriptions_with_the_reason)
{
    struct rig r;
    struct integration_item item;
    rig_load(&r, "probe");
    r.probe->run = run_invalid;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    cr_assert_eq(integration_take(r.in, time_monotonic_ms() + 10000, &item), 0);
    cr_expect_eq(item.news, INTEGRATION_BLOCK); /* what was published before comes before */
    integration_item_release(&item);
    item = rig_take(&r, INTEGRATION_DROPPED);
    cr_expect_eq(item.n_series, 2);
    cr_expect_eq(item.why.code, ERR_INVALID);
    cr_expect_str_eq(item.why.message, "register 40001 does not exist");
    integration_item_release(&item);
    cr_expect_eq(rig_stats(&r).subscriptions, 0);
    cr_expect_eq(integration_take(r.in, time_monotonic_ms() + 20, &item), ERR_TIMEOUT);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1); /* by the taker, on the way */
    r.probe->run = NULL;
    cr_expect_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    rig_close(&r);
}

static hyprxa_status run_drops_first(struct probe_connection *c, struct hyprxa_link *link,
                                     struct hyprxa_error *err)
{
    struct hyprxa_error why = {.size = sizeof why};
    (void)err;
    hyprxa_error_set(&why, HYPRXA_E_NOT_FOUND, "item was deleted");
    link->host->drop(link, &c->subs[0], 1, &why);
    atomic_store(&turn, 1);
    await_count(&turn, 2);
    link->host->drop(link, &c->subs[1], 1, NULL);
    atomic_store(&turn, hyprxa_wait(link, 10000) ? 3 : 4);
    return HYPRXA_OK;
}

Test(connection, a_plugin_can_drop_single_subscriptions)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->run = run_drops_first;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    struct integration_item item = rig_take(&r, INTEGRATION_DROPPED);
    cr_assert_eq(item.n_series, 1);
    cr_expect_eq(item.series[0], r.series[0]);
    cr_expect_eq(item.why.code, ERR_NOT_FOUND);
    cr_expect_str_eq(item.why.message, "item was deleted");
    integration_item_release(&item);
    await_count(&turn, 1);
    cr_expect_eq(rig_stats(&r).subscriptions, 1);
    atomic_store(&turn, 2);
    item = rig_take(&r, INTEGRATION_DROPPED);
    cr_assert_eq(item.n_series, 1);
    cr_expect_eq(item.series[0], r.series[1]);
    integration_item_release(&item);
    await_count(&turn, 3);
    cr_expect_eq(atomic_load(&turn), 3); /* with the last one it was asked to stop */
    rig_close(&r);
}

/* --- stopping --- */

Test(connection, one_that_ignores_stop_is_abandoned_and_reported)
{
    struct rig r;
    rig_load(&r, "stuck");
    const atomic_int *canceled = r.plugin->entry.extension("test.canceled");
    r.options.stop_grace_ms = 50;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    integration_item_release(&item);
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    cr_expect(plugin_host_has_abandoned());
    item = rig_take(&r, INTEGRATION_FAILED);
    cr_expect(strstr(item.why.message, "did not stop within 50 ms and was abandoned") != NULL, "%s",
              item.why.message);
    integration_item_release(&item);
    cr_expect_eq(rig_stats(&r).abandoned, 1);
    struct error err = ERROR_INIT;
    cr_expect_eq(rig_subscribe(&r, 1, 1, &err), ERR_REFUSED);
    cr_expect(strstr(err.message, "abandoned") != NULL, "%s", err.message);
    rig_close(&r);
    await_count(canceled, atomic_load(canceled) + 3); /* it lives on, and may call */
    _exit(0); /* as the process must, with a thread of a plugin left in it */
}

static hyprxa_status run_polls(struct probe_connection *c, struct hyprxa_link *link,
                               struct hyprxa_error *err)
{
    int fd = link->host->stop_fd(link);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    (void)c, (void)err;
    cr_expect_eq(link->host->stop_fd(link), fd);
    cr_expect_eq(poll(&p, 1, 0), 0);
    atomic_store(&turn, 1);
    cr_expect_eq(poll(&p, 1, 20000), 1);
    cr_expect(hyprxa_wait(link, 0));
    return HYPRXA_OK;
}

Test(connection, the_stop_descriptor_wakes_a_poll)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->run = run_polls;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    await_count(&turn, 1);
    int64_t begun_ms = time_monotonic_ms();
    rig_close(&r);
    cr_expect_lt(time_monotonic_ms() - begun_ms, 5000);
}

/* --- silence --- */

static hyprxa_status run_on_demand(struct probe_connection *c, struct hyprxa_link *link,
                                   struct hyprxa_error *err)
{
    int done = 0;
    (void)err;
    while (!hyprxa_wait(link, 1))
        while (done < atomic_load(&turn))
            hyprxa_publish_one(link, c->subs[0], ++done * 1000000, hyprxa_null());
    return HYPRXA_OK;
}

Test(connection, a_silent_series_is_reported_stale_and_fresh_again)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->run = run_on_demand;
    r.options.stale_after_us = 50000;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    for (int round = 1; round <= 2; round++) {
        struct integration_item item = rig_take(&r, INTEGRATION_STALE);
        cr_assert_eq(item.n_series, 1);
        cr_expect_eq(item.series[0], r.series[0]);
        cr_expect_eq(rig_stats(&r).stale_series, 1);
        integration_item_release(&item);
        atomic_store(&turn, round);
        item = rig_take(&r, INTEGRATION_FRESH);
        cr_assert_eq(item.n_series, 1);
        cr_expect_eq(rig_stats(&r).stale_series, 0);
        integration_item_release(&item);
    }
    struct integration_item item = rig_take(&r, INTEGRATION_STALE);
    integration_item_release(&item);
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    cr_expect_eq(rig_stats(&r).stale_series, 0);
    rig_close(&r);
}
