/* What the fixtures share: a subscription names an `item`, a connection keeps an array of them. */
#ifndef TESTS_PLUGINS_FIXTURE_H
#define TESTS_PLUGINS_FIXTURE_H

#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

#define FIXTURE_SUBSCRIPTION_SCHEMA                            \
    "{\"type\":\"object\",\"required\":[\"source\",\"item\"]," \
    "\"properties\":{\"source\":{\"type\":\"string\"},\"item\":{\"type\":\"string\"}}}"

struct fixture {
    struct hyprxa_ctx *ctx;
    size_t n;
    const struct hyprxa_subscription *subs[];
};

static inline hyprxa_status fixture_create(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs,
                                           size_t n, void **ret, struct hyprxa_error *err)
{
    (void)self;
    struct fixture *f = malloc(sizeof *f + n * sizeof f->subs[0]);
    if (!f)
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    f->ctx = ctx;
    f->n = n;
    for (size_t i = 0; i < n; i++)
        f->subs[i] = subs[i];
    *ret = f;
    return HYPRXA_OK;
}

/* A whole number of the options, or the default. */
static inline int64_t fixture_option(const struct fixture *f, const char *key, int64_t otherwise)
{
    int64_t value;
    struct hyprxa_json options = hyprxa_json_of(f->ctx->options);
    return hyprxa_json_int(hyprxa_json_get(options, key), &value) == HYPRXA_OK ? value : otherwise;
}

/* A connection table; FIXTURE_USUAL makes and frees a struct fixture. */
#define FIXTURE_USUAL .create = fixture_create, .destroy = free
#define FIXTURE_CONNECTION(...)                               \
    static const struct hyprxa_base_connection connection = { \
        .size = sizeof(struct hyprxa_base_connection), __VA_ARGS__}

#define FIXTURE_PLUGIN(name_, ...)                                                            \
    const struct hyprxa_plugin hyprxa_plugin_v1 = {.size = sizeof(struct hyprxa_plugin),      \
                                                   .abi_major = HYPRXA_ABI_MAJOR,             \
                                                   .abi_minor = HYPRXA_ABI_MINOR,             \
                                                   .name = name_,                             \
                                                   .version = "1.0",                          \
                                                   .description = "A fixture of the tests.",  \
                                                   .subscription_schema =                     \
                                                       FIXTURE_SUBSCRIPTION_SCHEMA,           \
                                                   .options_schema = "{\"type\":\"object\"}", \
                                                   __VA_ARGS__}

#endif
