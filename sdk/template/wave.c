/* A whole plugin: sine waves.  Copy it, rename it, replace what is inside the loop of run().
 *
 * conf.d:        sources: { demo: { plugin: wave, options: { period_s: 60 } } }
 * subscription:  {"source": "demo", "amplitude": 10} */
#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

#include <math.h>
#include <stdlib.h>

enum { SUBSCRIPTIONS_MAX = 100, TICK_MS = 200 };

struct wave {
    double period_s;
    size_t n;
    const struct hyprxa_subscription *subs[SUBSCRIPTIONS_MAX];
    double amplitudes[SUBSCRIPTIONS_MAX];
};

/* Options and subscriptions were checked against the schemas below: reading them cannot surprise. */
static hyprxa_status create(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs, size_t n,
                            void **ret, struct hyprxa_error *err)
{
    struct wave *w = calloc(1, sizeof *w);
    (void)self;
    if (!w)
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    /* The schemas made both required or gave them a default: they are there. */
    hyprxa_json_double(hyprxa_json_get(hyprxa_json_of(ctx->options), "period_s"), &w->period_s);
    for (w->n = 0; w->n < n; w->n++) {
        struct hyprxa_json subscription = hyprxa_json_of(subs[w->n]->json);
        w->subs[w->n] = subs[w->n];
        hyprxa_json_double(hyprxa_json_get(subscription, "amplitude"), &w->amplitudes[w->n]);
    }
    *ret = w;
    return HYPRXA_OK;
}

static void destroy(void *conn)
{
    free(conn);
}

/* The connection's own thread: until wait() says that it is time to leave. */
static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct wave *w = conn;
    struct hyprxa_sample samples[SUBSCRIPTIONS_MAX];
    struct hyprxa_batch batches[SUBSCRIPTIONS_MAX];
    do {
        int64_t time_us = hyprxa_now_us();
        double angle = 2.0 * 3.14159265358979323846 * (double)time_us / (1e6 * w->period_s);
        for (size_t i = 0; i < w->n; i++) {
            samples[i] = hyprxa_sample_at(time_us, hyprxa_double(w->amplitudes[i] * sin(angle)));
            batches[i].subscription = w->subs[i];
            batches[i].samples = &samples[i];
            batches[i].n = 1;
        }
        hyprxa_status status = hyprxa_publish(link, batches, w->n, -1);
        if (status == HYPRXA_E_CANCELED)
            return HYPRXA_OK;
        if (status != HYPRXA_OK && status != HYPRXA_E_ORDER) /* E_ORDER: the clock was set back */
            return hyprxa_error_set(err, status, "cannot publish");
    } while (!hyprxa_wait(link, TICK_MS));
    return HYPRXA_OK;
}

static const struct hyprxa_base_connection connection = {
    .size = sizeof connection,
    .run = run,
    .destroy = destroy,
    .create = create,
};

const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = sizeof hyprxa_plugin_v1,
    .abi_major = HYPRXA_ABI_MAJOR,
    .abi_minor = HYPRXA_ABI_MINOR,
    .name = "wave",
    .version = "1.0",
    .description = "Sine waves of the amplitude a subscription asks for",
    .subscription_schema =
        "{\"type\":\"object\",\"required\":[\"source\",\"amplitude\"],\"additionalProperties\":"
        "false,\"properties\":{\"source\":{\"type\":\"string\"},\"amplitude\":{\"type\":\"number\"}"
        "}}",
    .options_schema =
        "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"period_s\":"
        "{\"type\":\"number\",\"exclusiveMinimum\":0,\"default\":10}}}",
    .connection = &connection,
    .max_subscriptions_per_connection = SUBSCRIPTIONS_MAX,
};
