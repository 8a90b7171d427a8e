/* host: this machine's own metrics.
 *
 * One connection, and so one thread, samples all subscriptions of a source on a steady schedule and
 * publishes them in one call. */
#include "machine.h"
#include "options_schema_json.h"
#include "subscription_schema_json.h"

#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INTERVAL_MIN_MS = 10, INTERVAL_MAX_MS = 24 * 3600 * 1000, METRIC_NAME_SIZE = 128 };
#define NS_PER_MS INT64_C(1000000)

/* --- options: what integration->create() makes --- */

struct settings {
    int64_t interval_ms;
    char root[256]; /* before /proc and /sys */
};

/* <int>(ms|s|m|h) in milliseconds; the options schema has checked the form. */
static int64_t read_interval(const char *text)
{
    char *unit;
    int64_t n = strtoll(text, &unit, 10);
    int64_t factor = strcmp(unit, "ms") == 0 ? 1
                     : *unit == 's'          ? 1000
                     : *unit == 'm'          ? 60 * 1000
                                             : 3600 * 1000;
    return n <= INTERVAL_MAX_MS ? n * factor : INTERVAL_MAX_MS + 1;
}

static hyprxa_status create_settings(struct hyprxa_ctx *ctx, void **ret, struct hyprxa_error *err)
{
    struct hyprxa_json options = hyprxa_json_of(ctx->options);
    char interval[32] = "1s";
    struct settings *s = calloc(1, sizeof(*s));
    if (!s) {
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    hyprxa_json_string(hyprxa_json_get(options, "root"), s->root, sizeof(s->root));
    for (size_t len = strlen(s->root); len > 0 && s->root[len - 1] == '/'; len--) {
        s->root[len - 1] = '\0';
    }
    hyprxa_json_string(hyprxa_json_get(options, "interval"), interval, sizeof(interval));
    s->interval_ms = read_interval(interval);
    if (s->interval_ms < INTERVAL_MIN_MS || s->interval_ms > INTERVAL_MAX_MS) {
        free(s);
        return hyprxa_error_set(err, HYPRXA_E_INVALID, "interval is '%s': expected 10ms to 24h",
                                interval);
    }
    *ret = s;
    return HYPRXA_OK;
}

/* --- which metrics there are --- */

/* Compares the names asked for with those the machine has. */
struct inventory {
    const char *wanted;
    bool found;
    char kin[200]; /* names that begin as the wanted one does, for the message */
};

static void check_name(void *ctx, const char *name)
{
    struct inventory *in = ctx;
    size_t used = strlen(in->kin), prefix = strcspn(in->wanted, ".") + 1;
    in->found = in->found || strcmp(in->wanted, name) == 0;
    if (strncmp(in->wanted, name, prefix) == 0 && used + strlen(name) + 6 < sizeof(in->kin)) {
        snprintf(in->kin + used, sizeof(in->kin) - used, "%s%s", used ? ", " : "", name);
    }
}

static hyprxa_status read_subscription(const struct hyprxa_subscription *subscription,
                                       struct machine *machine, struct metric *ret,
                                       struct hyprxa_error *err)
{
    char name[METRIC_NAME_SIZE];
    struct inventory in = {.wanted = name};
    hyprxa_json_string(hyprxa_json_get(hyprxa_json_of(subscription->json), "metric"), name,
                       sizeof(name));
    machine_list(machine, check_name, &in);
    if (!in.found || !metric_parse(name, ret)) {
        return hyprxa_error_set(err, HYPRXA_E_NOT_FOUND, "no metric '%s' here; there are: %s", name,
                                in.kin[0] ? in.kin : "none of its kind");
    }
    return HYPRXA_OK;
}

/* --- a connection --- */

struct wanted {
    const struct hyprxa_subscription *subscription;
    struct metric metric; /* as parsed; never read into */
};

struct connection {
    const struct settings *settings; /* set at create, then const */

    pthread_mutex_t lock;
    /* guarded by lock */
    struct wanted *wanted;
    size_t n_wanted;
    bool changed; /* since run() last copied it */

    /* run()'s own; one entry per subscription */
    struct machine machine;
    struct metric *metrics;
    struct hyprxa_sample *samples;
    struct hyprxa_batch *batches;
    const struct hyprxa_subscription **subscriptions;
    size_t n;
};

static void release_metrics(struct connection *c)
{
    for (size_t i = 0; i < c->n; i++) {
        metric_release(&c->metrics[i]);
    }
    free(c->metrics);
    free(c->samples);
    free(c->batches);
    free(c->subscriptions);
    c->metrics = NULL;
    c->samples = NULL;
    c->batches = NULL;
    c->subscriptions = NULL;
    c->n = 0;
}

static void destroy_connection(void *conn)
{
    struct connection *c = conn;
    release_metrics(c);
    machine_close(&c->machine);
    pthread_mutex_destroy(&c->lock);
    free(c->wanted);
    free(c);
}

static hyprxa_status add(void *conn, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    struct connection *c = conn;
    struct machine machine; /* not c->machine: run() may be reading with that */
    struct wanted *more = calloc(n, sizeof(*more));
    hyprxa_status status = HYPRXA_OK;
    if (!machine_open(&machine, c->settings->root) || !more) {
        status = hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n && status == HYPRXA_OK; i++) {
        more[i].subscription = subs[i];
        status = read_subscription(subs[i], &machine, &more[i].metric, err);
    }
    machine_close(&machine);
    if (status == HYPRXA_OK) {
        pthread_mutex_lock(&c->lock);
        struct wanted *grown = realloc(c->wanted, (c->n_wanted + n) * sizeof(*grown));
        if (grown) {
            memcpy(grown + c->n_wanted, more, n * sizeof(*more));
            c->wanted = grown;
            c->n_wanted += n;
            c->changed = true;
        } else {
            status = hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        }
        pthread_mutex_unlock(&c->lock);
    }
    free(more);
    return status;
}

static void remove_subscriptions(void *conn, hyprxa_subs subs, size_t n)
{
    struct connection *c = conn;
    pthread_mutex_lock(&c->lock);
    size_t kept = 0;
    for (size_t i = 0; i < c->n_wanted; i++) {
        bool leaves = false;
        for (size_t k = 0; k < n; k++) {
            leaves = leaves || subs[k] == c->wanted[i].subscription;
        }
        if (!leaves) {
            c->wanted[kept++] = c->wanted[i];
        }
    }
    c->n_wanted = kept;
    c->changed = true;
    pthread_mutex_unlock(&c->lock);
}

static hyprxa_status create_connection(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs,
                                       size_t n, void **ret, struct hyprxa_error *err)
{
    struct connection *c = calloc(1, sizeof(*c));
    (void)ctx;
    if (!c) {
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    c->settings = self;
    pthread_mutex_init(&c->lock, NULL);
    hyprxa_status status = machine_open(&c->machine, c->settings->root)
                               ? add(c, subs, n, err)
                               : hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    if (status != HYPRXA_OK) {
        destroy_connection(c);
        return status;
    }
    *ret = c;
    return HYPRXA_OK;
}

/* --- sampling --- */

/* Make run()'s arrays fit what is wanted now.  The only place where running allocates. */
static bool follow_changes(struct connection *c)
{
    bool done = true;
    pthread_mutex_lock(&c->lock);
    if (c->changed) {
        release_metrics(c);
        size_t n = c->n_wanted ? c->n_wanted : 1;
        c->metrics = calloc(n, sizeof(*c->metrics));
        c->samples = calloc(n, sizeof(*c->samples));
        c->batches = calloc(n, sizeof(*c->batches));
        c->subscriptions = calloc(n, sizeof(*c->subscriptions));
        done = c->metrics && c->samples && c->batches && c->subscriptions;
        for (size_t i = 0; done && i < c->n_wanted; i++) {
            c->metrics[i] = c->wanted[i].metric;
            c->subscriptions[i] = c->wanted[i].subscription;
        }
        c->n = done ? c->n_wanted : 0;
        c->changed = !done;
    }
    pthread_mutex_unlock(&c->lock);
    return done;
}

static hyprxa_status publish_once(struct connection *c, struct hyprxa_link *link)
{
    size_t n = 0;
    machine_read(&c->machine, c->metrics, c->n);
    int64_t now_us = hyprxa_now_us();
    for (size_t i = 0; i < c->n; i++) {
        if (c->metrics[i].present) {
            c->samples[n] = hyprxa_sample_at(now_us, c->metrics[i].value);
            c->batches[n] = (struct hyprxa_batch){c->subscriptions[i], &c->samples[n], 1};
            n++;
        }
    }
    /* What does not fit into the queue within a tick is stale: the next tick brings newer. */
    return n ? hyprxa_publish(link, c->batches, n, (int32_t)c->settings->interval_ms) : HYPRXA_OK;
}

static int64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 * NS_PER_MS + now.tv_nsec;
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct connection *c = conn;
    int64_t interval_ns = c->settings->interval_ms * NS_PER_MS;
    int64_t due_ns = monotonic_ns();
    for (;;) {
        if (!follow_changes(c)) {
            return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
        }
        if (publish_once(c, link) == HYPRXA_E_CANCELED) {
            return HYPRXA_OK;
        }
        due_ns += interval_ns;
        int64_t now_ns = monotonic_ns();
        if (due_ns <= now_ns) { /* ticks were missed: leave them out, keep the rhythm */
            due_ns += (now_ns - due_ns) / interval_ns * interval_ns + interval_ns;
        }
        if (hyprxa_wait(link, (int32_t)((due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS))) {
            return HYPRXA_OK;
        }
    }
}

/* --- browsing --- */

struct lister {
    hyprxa_list_fn *item;
    void *arg;
};

static void list_name(void *ctx, const char *name)
{
    const struct lister *l = ctx;
    char json[METRIC_NAME_SIZE * 2];
    struct metric metric;
    /* Names of devices come from the kernel; one that JSON would have to escape is left out. */
    if (!metric_parse(name, &metric) || strpbrk(name, "\"\\ ")) {
        return;
    }
    snprintf(json, sizeof(json), "{\"metric\":\"%s\"}", name);
    l->item(l->arg, json);
}

static hyprxa_status list(struct hyprxa_ctx *ctx, void *self, hyprxa_list_fn *item, void *arg,
                          struct hyprxa_error *err)
{
    const struct settings *s = self;
    struct machine machine;
    (void)ctx;
    if (!machine_open(&machine, s->root)) {
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    machine_list(&machine, list_name, &(struct lister){item, arg});
    machine_close(&machine);
    return HYPRXA_OK;
}

static const struct hyprxa_base_integration integration = {
    .size = sizeof(integration),
    .create = create_settings,
    .destroy = free,
    .list = list,
};

static const struct hyprxa_base_connection connection = {
    .size = sizeof(connection),
    .run = run,
    .destroy = destroy_connection,
    .create = create_connection,
    .add = add,
    .remove = remove_subscriptions,
};

const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = sizeof(hyprxa_plugin_v1),
    .abi_major = HYPRXA_ABI_MAJOR,
    .abi_minor = HYPRXA_ABI_MINOR,
    .flags = HYPRXA_PLUGIN_UNLOADABLE,
    .name = "host",
    .version = "1.0",
    .description = "This machine's own metrics: cpu, load, memory, disks, network, temperatures.",
    .subscription_schema = subscription_schema_json,
    .options_schema = options_schema_json,
    .integration = &integration,
    .connection = &connection,
};
