/* Integrations over the fixtures of tests/plugins, with short times. */
#ifndef TESTS_UNIT_PLUGIN_HOST_SUPPORT_H
#define TESTS_UNIT_PLUGIN_HOST_SUPPORT_H

#include "plugin_host/plugin_host.h"

#include "probe.h"

#include <criterion/criterion.h>
#include <hyprxa/helpers.h>

struct rig {
    struct plugin *plugin;
    struct integration *in;
    struct integration_options options; /* may be changed before rig_open() */
    struct probe *probe;                /* of the probe fixtures */
    struct series *series[64];          /* items "0", "1", ... made on demand */
};

/* Load a fixture; probe hooks can be set then. */
void rig_load(struct rig *r, const char *fixture);
void rig_open(struct rig *r, const char *options_json);
void rig_close(struct rig *r);

struct series *rig_series(struct rig *r, size_t i);
int rig_subscribe(struct rig *r, size_t first, size_t n, struct error *err);
int rig_unsubscribe(struct rig *r, size_t first, size_t n);
struct integration_stats rig_stats(struct rig *r);

/* The next item of that kind, within 10 seconds; others are released on the way. */
struct integration_item rig_take(struct rig *r, enum integration_news news);
/* Wait until *counter >= value, at most 10 seconds. */
void await_count(const atomic_int *counter, int value);

struct hyprxa_sample second(int64_t s); /* a good sample at that second, valued like it */

#endif
