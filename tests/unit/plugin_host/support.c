#include "support.h"

#include "base/json.h"
#include "base/time.h"
#include "plugin_host/integration_priv.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

void rig_load(struct rig *r, const char *fixture)
{
    struct error err = ERROR_INIT;
    *r = (struct rig){.options = {.source = "test",
                                  .connect_timeout_ms = 5000,
                                  .stop_grace_ms = 5000,
                                  .initial_backoff_ms = 1,
                                  .max_backoff_ms = 4}};
    cr_assert_eq(plugin_open(FIXTURES, fixture, &r->plugin, &err), 0, "%s", err.message);
    if (r->plugin->entry.extension)
        r->probe = (struct probe *)(uintptr_t)r->plugin->entry.extension("test.probe");
}

void rig_open(struct rig *r, const char *options_json)
{
    struct error err = ERROR_INIT;
    if (options_json)
        cr_assert_eq(json_parse(options_json, strlen(options_json), &r->options.options, &err), 0);
    cr_assert_eq(integration_open(r->plugin, &r->options, &r->in, &err), 0, "%s", err.message);
    json_object_put(r->options.options);
}

void rig_close(struct rig *r)
{
    integration_close(r->in);
    integration_free(r->in);
    plugin_unref(r->plugin);
    for (size_t i = 0; i < 64; i++)
        series_unref(r->series[i]);
}

struct series *rig_series(struct rig *r, size_t i)
{
    char json[64];
    cr_assert_lt(i, 64);
    snprintf(json, sizeof json, "{\"item\":\"%zu\",\"source\":\"test\"}", i);
    if (!r->series[i])
        r->series[i] = series_new("test", json, json, (int64_t)i);
    return r->series[i];
}

int rig_subscribe(struct rig *r, size_t first, size_t n, struct error *err)
{
    struct series *series[64];
    for (size_t i = 0; i < n; i++)
        series[i] = rig_series(r, first + i);
    return integration_subscribe(r->in, series, n, err);
}

int rig_unsubscribe(struct rig *r, size_t first, size_t n)
{
    struct series *series[64];
    for (size_t i = 0; i < n; i++)
        series[i] = rig_series(r, first + i);
    return integration_unsubscribe(r->in, series, n, NULL);
}

struct integration_stats rig_stats(struct rig *r)
{
    struct integration_stats stats;
    integration_get_stats(r->in, &stats);
    return stats;
}

struct integration_item rig_take(struct rig *r, enum integration_news news)
{
    struct integration_item item;
    int64_t deadline_ms = time_monotonic_ms() + 10000;
    for (;;) {
        int rc = integration_take(r->in, deadline_ms, &item);
        cr_assert_eq(rc, 0, "waiting for news %d: %s", (int)news, error_code_name(rc));
        if (item.news == news)
            return item;
        integration_item_release(&item);
    }
}

void await_count(const atomic_int *counter, int value)
{
    int64_t deadline_ms = time_monotonic_ms() + 10000;
    while (atomic_load(counter) < value) {
        cr_assert_lt(time_monotonic_ms(), deadline_ms, "stays at %d, not %d", atomic_load(counter),
                     value);
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
}

struct hyprxa_sample second(int64_t s)
{
    return hyprxa_sample_at(s * 1000000, hyprxa_int64(s));
}
