/* Publishes a rising number for each item, `interval_ms` apart; knows the items a, b, c. */
#include "fixture.h"

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct fixture *f = conn;
    int32_t interval_ms = (int32_t)fixture_option(f, "interval_ms", 10);
    (void)err;
    for (int64_t i = 0; !hyprxa_wait(link, i ? interval_ms : 0); i++) {
        int64_t now_us = hyprxa_now_us();
        for (size_t j = 0; j < f->n; j++)
            if (hyprxa_publish_one(link, f->subs[j], now_us, hyprxa_double((double)i)) ==
                HYPRXA_E_CANCELED)
                return HYPRXA_OK;
    }
    return HYPRXA_OK;
}

static hyprxa_status list(struct hyprxa_ctx *ctx, void *self, hyprxa_list_fn *item, void *arg,
                          struct hyprxa_error *err)
{
    (void)ctx, (void)self, (void)err;
    item(arg, "{\"item\":\"a\"}");
    item(arg, "{\"item\":\"b\"}");
    item(arg, "{\"item\":\"c\"}");
    return HYPRXA_OK;
}

static size_t info(void *self, char *json, size_t cap)
{
    static const char text[] = "{\"items\": 3}";
    (void)self;
    if (cap >= sizeof text)
        memcpy(json, text, sizeof text);
    return sizeof text - 1;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
static const struct hyprxa_base_integration integration = {
    .size = sizeof(struct hyprxa_base_integration), .list = list, .info = info};
static const char *const scopes[] = {"GOOD-READ", "GOOD-ADMIN", NULL};
FIXTURE_PLUGIN("good", .flags = HYPRXA_PLUGIN_SCOPES_ANY, .scopes = scopes,
               .integration = &integration, .connection = &connection,
               .max_subscriptions_per_connection = 2);
