#include "support.h"

#include "base/time.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(publish, .timeout = 30);

/* What a test's run() found; read after `done`. */
static struct {
    hyprxa_status status[16];
    struct integration *in;
    atomic_int done, go;
} seen;

static void finish(struct hyprxa_link *link)
{
    atomic_store(&seen.done, 1);
    hyprxa_wait(link, -1);
}

static hyprxa_status publish_n(struct hyprxa_link *link, const struct hyprxa_subscription *sub,
                               const struct hyprxa_sample *samples, size_t n)
{
    struct hyprxa_batch batch = {sub, samples, n};
    return hyprxa_publish(link, &batch, 1, -1);
}

static void run_probe(struct rig *r,
                      hyprxa_status (*run)(struct probe_connection *, struct hyprxa_link *,
                                           struct hyprxa_error *))
{
    if (!r->plugin)
        rig_load(r, "probe");
    r->probe->run = run;
    rig_open(r, NULL);
    cr_assert_eq(rig_subscribe(r, 0, 2, NULL), 0);
    await_count(&seen.done, 1);
}

/* --- order --- */

static hyprxa_status run_order(struct probe_connection *c, struct hyprxa_link *link,
                               struct hyprxa_error *err)
{
    const struct hyprxa_sample rising[] = {second(1), second(2), second(3)};
    const struct hyprxa_sample repeats[] = {second(3), second(3), second(4), second(4)};
    const struct hyprxa_sample back[] = {second(6), second(5)};
    const struct hyprxa_sample next[] = {second(7)};
    const struct hyprxa_batch mixed[] = {
        {c->subs[0], back, 2}, {c->subs[1], next, 1}, {c->subs[0], next, 1}};
    (void)err;
    seen.status[0] = publish_n(link, c->subs[0], rising, 3);
    seen.status[1] = publish_n(link, c->subs[0], repeats, 4);
    seen.status[2] = hyprxa_publish(link, mixed, 3, -1);
    seen.status[3] = publish_n(link, c->subs[0], rising, 3);
    finish(link);
    return HYPRXA_OK;
}

Test(publish, takes_rising_times_skips_equal_ones_and_refuses_a_batch_that_goes_back)
{
    struct rig r = {0};
    run_probe(&r, run_order);
    cr_expect_eq(seen.status[0], HYPRXA_OK);
    cr_expect_eq(seen.status[1], HYPRXA_OK);
    cr_expect_eq(seen.status[2], HYPRXA_E_ORDER);
    cr_expect_eq(seen.status[3], HYPRXA_E_ORDER);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->n_samples, 3);
    integration_item_release(&item);
    item = rig_take(&r, INTEGRATION_BLOCK);
    cr_assert_eq(item.block->n_samples, 1);
    cr_expect_eq(item.block->samples[0].time_us, 4000000);
    integration_item_release(&item);
    item = rig_take(&r, INTEGRATION_BLOCK); /* the wrong batch left no trace */
    cr_assert_eq(item.block->n_runs, 2);
    cr_expect_eq(item.block->runs[0].series, r.series[1]);
    cr_expect_eq(item.block->runs[1].series, r.series[0]);
    cr_expect_eq(item.block->samples[item.block->runs[1].first].time_us, 7000000);
    integration_item_release(&item);
    struct integration_stats stats = rig_stats(&r);
    cr_expect_eq(stats.samples, 6);
    cr_expect_eq(stats.refused_duplicate, 3);
    cr_expect_eq(stats.refused_order, 5);
    rig_close(&r);
}

static int last_time_is_100(void *ctx, struct series *series, int64_t *ret_us)
{
    (void)ctx;
    if (series->hash != 0)
        return ERR_NOT_FOUND;
    *ret_us = 100000000;
    return 0;
}

static hyprxa_status run_after_100(struct probe_connection *c, struct hyprxa_link *link,
                                   struct hyprxa_error *err)
{
    const struct hyprxa_sample at[] = {second(100), second(99), second(101)};
    (void)err;
    seen.status[0] = c->subs[0]->last_time_us == 100000000 ? HYPRXA_OK : HYPRXA_E_INVALID;
    seen.status[1] = c->subs[1]->last_time_us == HYPRXA_NO_TIME ? HYPRXA_OK : HYPRXA_E_INVALID;
    seen.status[2] = publish_n(link, c->subs[0], &at[0], 1);
    seen.status[3] = publish_n(link, c->subs[0], &at[1], 1);
    seen.status[4] = publish_n(link, c->subs[0], &at[2], 1);
    seen.status[5] = publish_n(link, c->subs[1], &at[1], 1);
    finish(link);
    return HYPRXA_OK;
}

Test(publish, continues_after_the_newest_stored_time)
{
    struct rig r;
    rig_load(&r, "probe");
    r.options.last_time = last_time_is_100;
    run_probe(&r, run_after_100);
    static const hyprxa_status expected[] = {0, 0, 0, HYPRXA_E_ORDER, 0, 0};
    for (int i = 0; i < 6; i++)
        cr_expect_eq(seen.status[i], expected[i], "step %d gives %d", i, seen.status[i]);
    cr_expect_eq(rig_stats(&r).samples, 2);
    cr_expect_eq(rig_stats(&r).refused_duplicate, 1);
    rig_close(&r);
}

static hyprxa_status run_10_then_9(struct probe_connection *c, struct hyprxa_link *link,
                                   struct hyprxa_error *err)
{
    const struct hyprxa_sample at[] = {second(10), second(9)};
    int turn = atomic_fetch_add(&seen.done, 1);
    (void)err;
    seen.status[turn] = publish_n(link, c->subs[0], &at[turn], 1);
    atomic_fetch_add(&seen.done, 10);
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

Test(publish, keeps_the_order_across_connections)
{
    struct rig r = {0};
    run_probe(&r, run_10_then_9);
    await_count(&seen.done, 11);
    cr_assert_eq(rig_unsubscribe(&r, 0, 2), 0);
    atomic_store(&seen.done, 1);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    await_count(&seen.done, 12);
    cr_expect_eq(seen.status[0], HYPRXA_OK);
    cr_expect_eq(seen.status[1], HYPRXA_E_ORDER);
    cr_expect_eq(atomic_load(&r.probe->created), 2);
    rig_close(&r);
}

/* --- values --- */

static hyprxa_status run_values(struct probe_connection *c, struct hyprxa_link *link,
                                struct hyprxa_error *err)
{
    char text[] = "caf\xc3\xa9", json[] = "{\"a\":[1,2]}", bytes[] = "\x00\xff";
    struct hyprxa_sample s[] = {
        hyprxa_sample_at(1, hyprxa_null()),
        hyprxa_sample_at(2, hyprxa_bool(true)),
        hyprxa_sample_at(3, hyprxa_int64(INT64_MIN)),
        hyprxa_sample_at(4, hyprxa_double(NAN)),
        hyprxa_sample_at(5, hyprxa_string(text)),
        hyprxa_sample_at(6, hyprxa_text(HYPRXA_BYTES, bytes, 2)),
        hyprxa_sample_at(7, hyprxa_text(HYPRXA_JSON, json, strlen(json))),
        hyprxa_sample_at(8, hyprxa_string("")),
    };
    (void)err;
    s[1].quality = HYPRXA_UNCERTAIN;
    s[1].source_code = 77;
    seen.status[0] = publish_n(link, c->subs[0], s, sizeof s / sizeof *s);
    memset(text, 'x', sizeof text); /* ours again: the host has a copy */
    memset(json, 'x', sizeof json);
    memset(bytes, 'x', sizeof bytes);
    finish(link);
    return HYPRXA_OK;
}

static void expect_json(const struct sample *s, const char *json)
{
    struct buf b = BUF_INIT(100);
    value_write_json(&b, &s->value);
    cr_expect_str_eq(b.data, json);
    buf_release(&b);
}

Test(publish, copies_values_of_every_type)
{
    struct rig r = {0};
    run_probe(&r, run_values);
    cr_assert_eq(seen.status[0], HYPRXA_OK);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    const struct sample *s = item.block->samples;
    static const char *const expected[] = {
        "null",          "true", "-9223372036854775808", "null", "\"caf\xc3\xa9\"", "\"AP8=\"",
        "{\"a\":[1,2]}", "\"\""};
    cr_assert_eq(item.block->n_samples, 8);
    for (int i = 0; i < 8; i++)
        expect_json(&s[i], expected[i]);
    cr_expect_eq(s[1].quality, QUALITY_UNCERTAIN);
    cr_expect_eq(s[1].source_code, 77);
    cr_expect_eq(s[0].quality, QUALITY_GOOD);
    integration_item_release(&item);
    rig_close(&r);
}

static hyprxa_status run_invalid(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    static char large[HYPRXA_VALUE_MAX + 1];
    struct hyprxa_subscription foreign;
    (void)err;
    memset(large, 'a', sizeof large);
    struct hyprxa_sample bad[] = {
        hyprxa_sample_at(1, hyprxa_text(HYPRXA_STRING, large, HYPRXA_VALUE_MAX + 1)),
        hyprxa_sample_at(1, hyprxa_text(HYPRXA_STRING, "\xff", 1)),
        hyprxa_sample_at(1, hyprxa_text(HYPRXA_JSON, "{\"a\":}", 6)),
        hyprxa_sample_at(1, hyprxa_text(HYPRXA_JSON, "[1,\n2]", 6)),
        hyprxa_sample_at(1, hyprxa_text(7, "x", 1)),
        hyprxa_sample_at(INT64_MAX, hyprxa_null()),
        hyprxa_sample_at(1, hyprxa_null()),
    };
    bad[6].quality = 3;
    for (int i = 0; i < 7; i++)
        seen.status[i] = publish_n(link, c->subs[0], &bad[i], 1);
    struct hyprxa_sample good = second(1);
    foreign = *c->subs[0]; /* a copy is none of the host's either */
    seen.status[7] = publish_n(link, &foreign, &good, 1);
    seen.status[8] = publish_n(link, NULL, &good, 1);
    seen.status[9] = publish_n(link, c->subs[0], NULL, 1);
    seen.status[10] = hyprxa_publish(link, NULL, 1, -1);
    struct hyprxa_sample many[21] = {{0}};
    seen.status[11] = publish_n(link, c->subs[0], many, 21); /* the queue holds 20 */
    struct hyprxa_sample largest =
        hyprxa_sample_at(1, hyprxa_text(HYPRXA_STRING, large, HYPRXA_VALUE_MAX));
    seen.status[12] = publish_n(link, c->subs[0], &largest, 1);
    seen.status[13] = hyprxa_publish(link, NULL, 0, -1);
    finish(link);
    return HYPRXA_OK;
}

Test(publish, refuses_what_is_wrong_and_counts_it)
{
    struct rig r;
    rig_load(&r, "probe");
    r.options.max_queued_samples = 20;
    run_probe(&r, run_invalid);
    for (int i = 0; i < 12; i++)
        cr_expect_eq(seen.status[i], HYPRXA_E_INVALID, "case %d gives %d", i, seen.status[i]);
    cr_expect_eq(seen.status[12], HYPRXA_OK);
    cr_expect_eq(seen.status[13], HYPRXA_OK);
    struct integration_stats stats = rig_stats(&r);
    cr_expect_eq(stats.samples, 1);
    cr_expect_eq(stats.refused_invalid, 7 + 2 + 1 + 21);
    rig_close(&r);
}

/* --- back-pressure --- */

static hyprxa_status run_full(struct probe_connection *c, struct hyprxa_link *link,
                              struct hyprxa_error *err)
{
    struct hyprxa_sample s[20];
    struct hyprxa_batch batch = {c->subs[0], s, 20};
    (void)err;
    for (int64_t i = 0; i < 20; i++)
        s[i] = second(i + 1);
    seen.status[0] = hyprxa_publish(link, &batch, 1, -1);
    for (int64_t i = 0; i < 20; i++)
        s[i] = second(i + 21);
    seen.status[1] = hyprxa_publish(link, &batch, 1, 0);
    seen.status[2] = hyprxa_publish(link, &batch, 1, 10);
    atomic_store(&seen.done, 1);
    seen.status[3] = hyprxa_publish(link, &batch, 1, -1); /* until the test takes */
    atomic_store(&seen.done, 2);
    for (int64_t i = 0; i < 20; i++)
        s[i] = second(i + 41);
    seen.status[4] = hyprxa_publish(link, &batch, 1, -1); /* until stop */
    seen.status[5] = hyprxa_wait(link, -1) ? HYPRXA_E_CANCELED : HYPRXA_OK;
    seen.status[6] = hyprxa_publish(link, &batch, 1, -1);
    return HYPRXA_OK;
}

Test(publish, waits_for_room_and_ends_at_once_when_stopped)
{
    struct rig r;
    rig_load(&r, "probe");
    r.options.max_queued_samples = 20;
    run_probe(&r, run_full);
    cr_expect_eq(rig_stats(&r).queued_samples, 20);
    cr_expect_eq(rig_stats(&r).refused_full, 40);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->n_samples, 20);
    integration_item_release(&item);
    await_count(&seen.done, 2);
    int64_t begun_ms = time_monotonic_ms();
    integration_close(r.in);
    cr_expect_lt(time_monotonic_ms() - begun_ms, 1000);
    static const hyprxa_status expected[] = {0,
                                             HYPRXA_E_AGAIN,
                                             HYPRXA_E_AGAIN,
                                             0,
                                             HYPRXA_E_CANCELED,
                                             HYPRXA_E_CANCELED,
                                             HYPRXA_E_CANCELED};
    for (int i = 0; i < 7; i++)
        cr_expect_eq(seen.status[i], expected[i], "step %d gives %d", i, seen.status[i]);
    item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->samples[0].time_us, 21000000);
    integration_item_release(&item);
    cr_expect_eq(integration_take(r.in, INT64_MAX, &item), ERR_CLOSED);
    rig_close(&r);
}

static hyprxa_status run_offline(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    struct hyprxa_sample s = second(1);
    (void)err;
    link->host->set_online(link, false);
    seen.status[0] = publish_n(link, c->subs[0], &s, 1);
    link->host->set_online(link, true);
    seen.status[1] = publish_n(link, c->subs[0], &s, 1);
    finish(link);
    return HYPRXA_OK;
}

static hyprxa_status start_publishes(struct probe_connection *c, struct hyprxa_link *link,
                                     struct hyprxa_error *err)
{
    struct hyprxa_sample s = second(1);
    (void)err;
    seen.status[2] = publish_n(link, c->subs[0], &s, 1);
    return HYPRXA_OK;
}

Test(publish, is_refused_while_offline_and_while_starting)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->start = start_publishes;
    run_probe(&r, run_offline);
    cr_expect_eq(seen.status[0], HYPRXA_E_OFFLINE);
    cr_expect_eq(seen.status[1], HYPRXA_OK);
    cr_expect_eq(seen.status[2], HYPRXA_E_OFFLINE);
    cr_expect_eq(rig_stats(&r).dropped_offline, 2);
    rig_close(&r);
}

/* --- history, and subscriptions that end --- */

static hyprxa_status run_history(struct probe_connection *c, struct hyprxa_link *link,
                                 struct hyprxa_error *err)
{
    const struct hyprxa_sample old[] = {second(5), second(3), second(4)};
    const struct hyprxa_sample now[] = {second(10)}, older[] = {second(9)};
    struct hyprxa_batch batch = {c->subs[0], old, 3};
    (void)err;
    seen.status[0] = publish_n(link, c->subs[0], now, 1);
    seen.status[1] = link->host->publish_history(link, &batch, 1, -1);
    seen.status[2] = publish_n(link, c->subs[0], older, 1);
    finish(link);
    return HYPRXA_OK;
}

Test(publish, history_needs_no_order_and_moves_none)
{
    struct rig r = {0};
    run_probe(&r, run_history);
    cr_expect_eq(seen.status[0], HYPRXA_OK);
    cr_expect_eq(seen.status[1], HYPRXA_OK);
    cr_expect_eq(seen.status[2], HYPRXA_E_ORDER);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->flags, 0);
    integration_item_release(&item);
    item = rig_take(&r, INTEGRATION_BLOCK);
    cr_expect_eq(item.block->flags, SAMPLE_BLOCK_HISTORY);
    cr_assert_eq(item.block->n_samples, 3);
    cr_expect_eq(item.block->samples[1].time_us, 3000000);
    integration_item_release(&item);
    cr_expect_eq(rig_stats(&r).history_samples, 3);
    cr_expect_eq(rig_stats(&r).samples, 1);
    rig_close(&r);
}

static hyprxa_status run_until_go(struct probe_connection *c, struct hyprxa_link *link,
                                  struct hyprxa_error *err)
{
    const struct hyprxa_sample s = second(1);
    const struct hyprxa_batch both[] = {{c->subs[0], &s, 1}, {c->subs[1], &s, 1}};
    (void)err;
    atomic_store(&seen.done, 1);
    await_count(&seen.go, 1);
    seen.status[0] = hyprxa_publish(link, both, 2, -1);
    atomic_store(&seen.done, 2);
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

Test(publish, leaves_out_what_was_unsubscribed_meanwhile)
{
    struct rig r = {0};
    run_probe(&r, run_until_go);
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    atomic_store(&seen.go, 1);
    await_count(&seen.done, 2);
    cr_expect_eq(seen.status[0], HYPRXA_E_NOT_FOUND);
    cr_expect_eq(rig_stats(&r).refused_invalid, 0);
    struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
    cr_assert_eq(item.block->n_runs, 1);
    cr_expect_eq(item.block->runs[0].series, r.series[1]);
    integration_item_release(&item);
    rig_close(&r);
}

Test(publish, goes_on_for_the_others_when_the_connection_cannot_remove)
{
    struct rig r;
    rig_load(&r, "good"); /* two subscriptions a connection, no remove() */
    rig_open(&r, "{\"interval_ms\":1}");
    cr_assert_eq(rig_subscribe(&r, 0, 2, NULL), 0);
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    uint64_t before = rig_stats(&r).samples;
    for (uint64_t n = before; n < before + 20;) {
        struct integration_item item = rig_take(&r, INTEGRATION_BLOCK);
        n = item.block->runs[0].series == r.series[1] ? n + 1 : n;
        integration_item_release(&item);
    }
    cr_expect_eq(rig_stats(&r).restarts, 0);
    cr_expect_eq(rig_stats(&r).connections, 1);
    cr_expect_eq(rig_stats(&r).subscriptions, 1);
    rig_close(&r);
}

Test(publish, keeps_up_with_a_flood_of_many_series)
{
    struct rig r;
    rig_load(&r, "flood");
    rig_open(&r, "{\"series\":64,\"batches\":500,\"total\":200000,\"end\":true}");
    cr_assert_eq(rig_subscribe(&r, 0, 64, NULL), 0);
    size_t samples = 0;
    int64_t last_us[64] = {0};
    for (;;) {
        struct integration_item item;
        cr_assert_eq(integration_take(r.in, time_monotonic_ms() + 10000, &item), 0);
        if (item.news == INTEGRATION_DROPPED) {
            cr_expect_eq(item.n_series, 64);
            cr_expect_eq(item.why.code, ERR_CLOSED);
            integration_item_release(&item);
            break;
        }
        for (size_t i = 0; i < item.block->n_runs; i++) {
            const struct sample_run *run = &item.block->runs[i];
            int64_t time_us = item.block->samples[run->first].time_us;
            cr_assert_gt(time_us, last_us[run->series->hash]);
            last_us[run->series->hash] = time_us;
            samples += run->n;
        }
        integration_item_release(&item);
    }
    cr_expect_eq(samples, 200000);
    cr_expect_eq(rig_stats(&r).samples, 200000);
    rig_close(&r);
}
