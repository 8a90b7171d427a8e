/* Publishes as fast as it is let: `total` samples over all series, one per series and second from
 * 2020-01-01 on, `batches` batches of one sample a call; then idles, or with `end` ends. */
#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

static const char subscription_schema[] =
    "{\"type\":\"object\",\"required\":[\"source\",\"series\"],\"properties\":{"
    "\"source\":{\"type\":\"string\"},\"series\":{\"type\":\"integer\",\"minimum\":0}}}";
static const char options_schema[] =
    "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
    "\"series\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":1000000,\"default\":1000},"
    "\"batches\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":100000,\"default\":1000},"
    "\"total\":{\"type\":\"integer\",\"minimum\":0,\"default\":0},"
    "\"per_second\":{\"type\":\"integer\",\"minimum\":0,\"default\":0},"
    "\"end\":{\"type\":\"boolean\",\"default\":false}}}";

struct flood {
    size_t n, n_batches;
    int64_t total, per_second;
    bool end;
    double *walk; /* the last value of each series */
    struct hyprxa_sample *samples;
    struct hyprxa_batch *batches;
    const struct hyprxa_subscription **subs;
};

static int64_t option(const struct hyprxa_ctx *ctx, const char *key)
{
    int64_t value = 0;
    hyprxa_json_int(hyprxa_json_get(hyprxa_json_of(ctx->options), key), &value);
    return value;
}

static void destroy(void *conn)
{
    struct flood *f = conn;
    free(f->walk);
    free(f->samples);
    free(f->batches);
    free(f->subs);
    free(f);
}

static hyprxa_status create(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs, size_t n,
                            void **ret, struct hyprxa_error *err)
{
    struct flood *f = calloc(1, sizeof *f);
    (void)self;
    if (!f)
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    f->n = n;
    f->n_batches = (size_t)option(ctx, "batches");
    f->total = option(ctx, "total");
    f->per_second = option(ctx, "per_second");
    hyprxa_json_bool(hyprxa_json_get(hyprxa_json_of(ctx->options), "end"), &f->end);
    f->walk = calloc(n, sizeof *f->walk);
    f->samples = calloc(f->n_batches, sizeof *f->samples);
    f->batches = calloc(f->n_batches, sizeof *f->batches);
    f->subs = calloc(n, sizeof(struct hyprxa_subscription *));
    if (!f->walk || !f->samples || !f->batches || !f->subs) {
        destroy(f);
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    for (size_t i = 0; i < n; i++)
        f->subs[i] = subs[i];
    *ret = f;
    return HYPRXA_OK;
}

/* A step between -0.5 and 0.5 with a full mantissa (SplitMix64). */
static double step(uint64_t *random)
{
    uint64_t z = *random += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return (double)((z ^ z >> 31) >> 11) * 0x1.0p-53 - 0.5;
}

/* Wait until the pace allows `sent` samples.  True: stop. */
static bool keep_pace(const struct flood *f, struct hyprxa_link *link, int64_t begun_us,
                      int64_t sent)
{
    if (!f->per_second)
        return false;
    int64_t due_us = begun_us + (int64_t)((double)sent / (double)f->per_second * 1e6);
    int64_t ahead_ms = (due_us - hyprxa_now_us()) / 1000;
    return ahead_ms > 0 && hyprxa_wait(link, (int32_t)(ahead_ms < 1000 ? ahead_ms : 1000));
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct flood *f = conn;
    int64_t time_us = INT64_C(1577836800000000), sent = 0, begun_us = hyprxa_now_us();
    uint64_t random = link->number;
    size_t at = 0;
    while (!f->total || sent < f->total) {
        size_t n = f->n_batches;
        if (f->total && f->total - sent < (int64_t)n)
            n = (size_t)(f->total - sent);
        for (size_t i = 0; i < n; i++) {
            f->walk[at] += step(&random);
            f->samples[i] = hyprxa_sample_at(time_us, hyprxa_double(f->walk[at]));
            f->batches[i].subscription = f->subs[at];
            f->batches[i].samples = &f->samples[i];
            f->batches[i].n = 1;
            if (++at == f->n) {
                at = 0;
                time_us += 1000000;
            }
        }
        hyprxa_status status = hyprxa_publish(link, f->batches, n, -1);
        if (status == HYPRXA_E_CANCELED)
            return HYPRXA_OK;
        if (status != HYPRXA_OK && status != HYPRXA_E_ORDER && status != HYPRXA_E_NOT_FOUND)
            return hyprxa_error_set(err, status, "publish gave %d", (int)status);
        sent += (int64_t)n;
        if (keep_pace(f, link, begun_us, sent))
            return HYPRXA_OK;
    }
    if (!f->end)
        hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

static hyprxa_status list(struct hyprxa_ctx *ctx, void *self, hyprxa_list_fn *item, void *arg,
                          struct hyprxa_error *err)
{
    int64_t series = option(ctx, "series");
    (void)self, (void)err;
    for (int64_t i = 0; i < series; i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"series\":%lld}", (long long)i);
        item(arg, json);
    }
    return HYPRXA_OK;
}

static const struct hyprxa_base_connection connection = {
    .size = sizeof(struct hyprxa_base_connection),
    .run = run,
    .destroy = destroy,
    .create = create,
};
static const struct hyprxa_base_integration integration = {
    .size = sizeof(struct hyprxa_base_integration), .list = list};
const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = sizeof(struct hyprxa_plugin),
    .abi_major = HYPRXA_ABI_MAJOR,
    .abi_minor = HYPRXA_ABI_MINOR,
    .name = "flood",
    .version = "1.0",
    .description = "Publishes as fast as it is let.",
    .subscription_schema = subscription_schema,
    .options_schema = options_schema,
    .integration = &integration,
    .connection = &connection,
};
