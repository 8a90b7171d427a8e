#include "support.h"

#include "base/json.h"
#include "base/time.h"

#include <string.h>

TestSuite(integration, .timeout = 30);

Test(integration, delivers_what_the_plugin_publishes)
{
    struct rig r;
    rig_load(&r, "good");
    rig_open(&r, "{\"interval_ms\":1}");
    cr_assert_eq(rig_subscribe(&r, 0, 5, NULL), 0);
    size_t seen[5] = {0};
    int64_t last_us[5] = {0};
    for (int blocks = 0; blocks < 200; blocks++) {
        struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
        cr_assert_eq(item.block->n_runs, 1);
        const struct sample *s = &item.block->samples[item.block->runs[0].first];
        size_t i = (size_t)item.block->runs[0].series->hash;
        cr_assert_lt(i, 5);
        cr_expect_eq(item.block->runs[0].series, r.series[i]);
        cr_expect_gt(s->time_us, last_us[i]);
        cr_expect_eq(s->value.type, VALUE_DOUBLE);
        last_us[i] = s->time_us;
        seen[i]++;
        integration_item_release(&item);
    }
    for (int i = 0; i < 5; i++)
        cr_expect_gt(seen[i], 0, "series %d is silent", i);
    struct integration_stats stats = rig_stats(&r);
    cr_expect_eq(stats.subscriptions, 5);
    cr_expect_eq(stats.connections, 3); /* at most 2 subscriptions each */
    cr_expect_eq(stats.connections_total, 3);
    cr_expect_geq(stats.samples, 200);
    cr_expect_eq(stats.capacity, -1);
    rig_close(&r);
}

Test(integration, counts_a_series_subscribed_twice_once)
{
    struct rig r;
    rig_load(&r, "probe");
    rig_open(&r, NULL);
    struct series *series[] = {rig_series(&r, 0), rig_series(&r, 1), rig_series(&r, 0)};
    cr_assert_eq(integration_subscribe(r.in, series, 3, NULL), 0);
    cr_assert_eq(integration_subscribe(r.in, series, 2, NULL), 0);
    cr_expect_eq(rig_stats(&r).subscriptions, 2);
    cr_expect_eq(atomic_load(&r.probe->created), 1);
    rig_close(&r);
}

Test(integration, fills_connections_up_to_their_limit_and_no_further)
{
    struct rig r;
    struct error err = ERROR_INIT;
    rig_load(&r, "probe"); /* 3 connections of 2 */
    rig_open(&r, NULL);
    cr_expect_eq(rig_stats(&r).capacity, 6);
    cr_assert_eq(rig_subscribe(&r, 0, 5, &err), 0);
    cr_expect_eq(rig_stats(&r).connections_total, 3);
    cr_expect_eq(rig_subscribe(&r, 5, 2, &err), ERR_LIMIT);
    cr_expect(strstr(err.message, "room for 1 more") != NULL, "%s", err.message);
    cr_expect_eq(rig_stats(&r).subscriptions, 5);
    rig_close(&r);
}

static hyprxa_status add_any(struct probe_connection *c, hyprxa_subs subs, size_t n,
                             struct hyprxa_error *err)
{
    (void)c, (void)subs, (void)n, (void)err;
    return HYPRXA_OK;
}

Test(integration, extends_a_running_connection_that_can_add)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->add = add_any;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    cr_assert_eq(rig_subscribe(&r, 1, 2, NULL), 0);
    cr_expect_eq(atomic_load(&r.probe->created), 2);
    cr_expect_eq(atomic_load(&r.probe->added), 1);
    cr_assert_eq(rig_unsubscribe(&r, 1, 1), 0);
    cr_expect_eq(atomic_load(&r.probe->removed), 1);
    cr_expect_eq(rig_stats(&r).connections, 2);
    rig_close(&r);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 2);
}

Test(integration, the_operators_limit_counts_too)
{
    struct rig r;
    rig_load(&r, "good");
    r.options.max_subscriptions = 3;
    rig_open(&r, NULL);
    cr_expect_eq(rig_stats(&r).capacity, 3);
    cr_expect_eq(rig_subscribe(&r, 0, 4, NULL), ERR_LIMIT);
    cr_assert_eq(rig_subscribe(&r, 0, 3, NULL), 0);
    cr_expect_eq(rig_stats(&r).capacity, 0);
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    cr_expect_eq(rig_stats(&r).capacity, 1);
    rig_close(&r);
}

Test(integration, an_emptied_connection_is_stopped_and_destroyed)
{
    struct rig r;
    rig_load(&r, "probe");
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 0);
    cr_assert_eq(rig_unsubscribe(&r, 1, 1), 0);
    cr_expect_eq(atomic_load(&r.probe->stopped), 1);
    cr_expect_eq(atomic_load(&r.probe->destroyed), 1);
    cr_expect_eq(rig_stats(&r).subscriptions, 0);
    cr_expect_eq(rig_unsubscribe(&r, 0, 2), 0); /* none is left: nothing to do */
    rig_close(&r);
}

Test(integration, cannot_be_made_when_create_fails)
{
    struct rig r;
    struct error err = ERROR_INIT;
    rig_load(&r, "create_fails");
    cr_expect_eq(integration_open(r.plugin, &r.options, &r.in, &err), ERR_REFUSED);
    cr_expect_str_eq(err.message, "no device for test second line");
    plugin_unref(r.plugin);
}

Test(integration, refuses_options_the_schema_does_not_allow)
{
    struct rig r;
    struct error err = ERROR_INIT;
    static const char text[] = "{\"series\":\"many\"}";
    rig_load(&r, "flood");
    cr_assert_eq(json_parse(text, sizeof text - 1, &r.options.options, NULL), 0);
    cr_expect_eq(integration_open(r.plugin, &r.options, &r.in, &err), ERR_INVALID);
    cr_expect(strstr(err.message, "series") != NULL, "%s", err.message);
    json_object_put(r.options.options);
    plugin_unref(r.plugin);
}

static void collect(void *ctx, const char *json, size_t len)
{
    struct buf *b = ctx;
    buf_append(b, json, len);
    buf_append_char(b, '\n');
}

Test(integration, lists_items_with_their_source)
{
    struct rig r;
    struct buf items = BUF_INIT(1000);
    rig_load(&r, "good");
    rig_open(&r, NULL);
    cr_assert_eq(integration_list(r.in, collect, &items, NULL), 0);
    cr_expect_str_eq(items.data, "{\"source\":\"test\",\"item\":\"a\"}\n"
                                 "{\"source\":\"test\",\"item\":\"b\"}\n"
                                 "{\"source\":\"test\",\"item\":\"c\"}\n");
    buf_clear(&items);
    cr_assert_eq(integration_info(r.in, &items), 0);
    cr_expect_str_eq(items.data, "{\"items\":3}");
    buf_release(&items);
    rig_close(&r);
}

Test(integration, says_so_when_the_plugin_has_no_list)
{
    struct rig r;
    struct buf items = BUF_INIT(1000);
    rig_load(&r, "late");
    rig_open(&r, NULL);
    cr_expect_eq(integration_list(r.in, collect, &items, NULL), ERR_UNSUPPORTED);
    cr_expect_eq(integration_info(r.in, &items), ERR_UNSUPPORTED);
    rig_close(&r);
}

Test(integration, closed_gives_what_was_published_and_refuses_more)
{
    struct rig r;
    struct integration_item item;
    rig_load(&r, "unordered");
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    item = rig_take(&r, INTEGRATION_BLOCK);
    integration_item_release(&item);
    for (int64_t until_ms = time_monotonic_ms() + 5000;
         rig_stats(&r).samples < 2 && time_monotonic_ms() < until_ms;)
        ;
    integration_close(r.in);
    integration_close(r.in);
    cr_expect(rig_stats(&r).closed);
    item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->samples[0].time_us, 11000000);
    integration_item_release(&item);
    cr_expect_eq(integration_take(r.in, INT64_MAX, &item), ERR_CLOSED);
    cr_expect_eq(rig_subscribe(&r, 1, 1, NULL), ERR_CLOSED);
    rig_close(&r);
}

Test(integration, wake_ends_a_take)
{
    struct rig r;
    struct integration_item item;
    rig_load(&r, "good");
    rig_open(&r, NULL);
    integration_wake(r.in);
    cr_expect_eq(integration_take(r.in, INT64_MAX, &item), ERR_TIMEOUT);
    rig_close(&r);
}

static void note_connection(void *ctx, const struct connection_info *info)
{
    struct connection_info *last = ctx;
    last->subscriptions += info->subscriptions;
    last->messages += info->messages;
    last->online = info->online;
}

Test(integration, describes_its_connections)
{
    struct rig r;
    struct connection_info sum = {0};
    rig_load(&r, "good");
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 3, NULL), 0);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    integration_item_release(&item);
    integration_each_connection(r.in, note_connection, &sum);
    cr_expect_eq(sum.subscriptions, 3);
    cr_expect_geq(sum.messages, 1);
    rig_close(&r);
}
