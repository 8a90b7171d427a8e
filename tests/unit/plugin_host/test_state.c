#include "support.h"

#include <stdlib.h>
#include <string.h>

TestSuite(state, .timeout = 30);

/* What storage would hold: one key of one source. */
static int64_t stored = -1;

static int stored_state(void *ctx, const char *source, const char *key, struct buf *out)
{
    (void)ctx;
    cr_expect_str_eq(source, "test");
    cr_expect_gt(strlen(key), 0);
    return stored < 0 ? ERR_NOT_FOUND : buf_append(out, &stored, sizeof stored);
}

/* Take until the plugin has published `until`, saving state as storage would. */
static void store_until(struct rig *r, int64_t from, int64_t until)
{
    for (int64_t next = from; next < until;) {
        struct integration_item item = rig_take(r, INTEGRATION_BLOCK);
        for (size_t i = 0; i < item.block->n_samples; i++)
            cr_assert_eq(item.block->samples[i].value.as.i64, next++);
        for (size_t i = 0; i < item.block->n_states; i++) {
            cr_assert_eq(item.block->states[i].len, sizeof stored);
            memcpy(&stored, item.block->states[i].bytes, sizeof stored);
            cr_expect_eq(stored, next); /* neither before nor after its samples */
            cr_expect_str_eq(item.block->source, "test");
        }
        integration_item_release(&item);
    }
}

Test(state, travels_behind_its_samples_and_comes_back_in_the_next_life)
{
    struct rig r;
    rig_load(&r, "state");
    r.options.state_get = stored_state;
    rig_open(&r, "{\"count\":95}");
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    store_until(&r, 0, 95);
    cr_expect_eq(stored, 90);
    rig_close(&r);

    rig_load(&r, "state");
    r.options.state_get = stored_state;
    rig_open(&r, "{\"count\":5}");
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    store_until(&r, 90, 95);
    rig_close(&r);
}

Test(state, set_in_this_life_is_seen_by_the_next_connection_though_not_stored)
{
    struct rig r;
    rig_load(&r, "state");
    r.options.state_get = stored_state;
    rig_open(&r, "{\"count\":100}");
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    store_until(&r, 0, 100);
    stored = 0; /* storage lags behind */
    cr_assert_eq(rig_unsubscribe(&r, 0, 1), 0);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    store_until(&r, 100, 200);
    rig_close(&r);
}

static hyprxa_status status[16];
static atomic_int done;

static hyprxa_status run_edges(struct probe_connection *c, struct hyprxa_link *link,
                               struct hyprxa_error *err)
{
    const struct hyprxa_host *host = link->host;
    char bytes[8], *long_key = malloc(HYPRXA_STATE_KEY_MAX + 2);
    char *large = calloc(1, HYPRXA_STATE_MAX + 1);
    size_t len = 0;
    (void)c, (void)err;
    memset(long_key, 'k', HYPRXA_STATE_KEY_MAX + 1);
    long_key[HYPRXA_STATE_KEY_MAX + 1] = '\0';
    status[0] = host->state_get(link, "absent", bytes, sizeof bytes, &len);
    status[1] = host->state_set(link, "", "x", 1);
    status[2] = host->state_set(link, long_key, "x", 1);
    status[3] = host->state_set(link, long_key + 1, "x", 1);
    status[4] = host->state_set(link, "large", large, HYPRXA_STATE_MAX + 1);
    status[5] = host->state_set(link, "large", large, HYPRXA_STATE_MAX);
    status[6] = host->state_get(link, "large", bytes, sizeof bytes, &len);
    status[7] = len == HYPRXA_STATE_MAX ? HYPRXA_OK : HYPRXA_E_INVALID;
    status[8] = host->state_set(link, "empty", NULL, 0);
    status[9] = host->state_get(link, "empty", bytes, 0, &len);
    status[10] = len == 0 ? HYPRXA_OK : HYPRXA_E_INVALID;
    free(long_key);
    free(large);
    atomic_store(&done, 1);
    hyprxa_wait(link, -1);
    status[11] = host->state_set(link, "late", "x", 1);
    status[12] = host->state_get(link, "empty", bytes, 0, &len);
    return HYPRXA_OK;
}

Test(state, has_limits_and_says_which_is_passed)
{
    struct rig r;
    rig_load(&r, "probe");
    r.probe->run = run_edges;
    rig_open(&r, NULL);
    cr_assert_eq(rig_subscribe(&r, 0, 1, NULL), 0);
    await_count(&done, 1);
    integration_close(r.in);
    static const hyprxa_status expected[] = {
        HYPRXA_E_NOT_FOUND, HYPRXA_E_INVALID,  HYPRXA_E_INVALID, HYPRXA_OK, HYPRXA_E_INVALID,
        HYPRXA_OK,          HYPRXA_E_CAPACITY, HYPRXA_OK,        HYPRXA_OK, HYPRXA_OK,
        HYPRXA_OK,          HYPRXA_E_CANCELED, HYPRXA_E_CANCELED};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_expect_eq(status[i], expected[i], "step %zu gives %d", i, status[i]);
    rig_close(&r);
}
