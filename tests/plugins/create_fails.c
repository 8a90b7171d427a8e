/* Its integration can never be made. */
#include "fixture.h"

static hyprxa_status create(struct hyprxa_ctx *ctx, void **ret, struct hyprxa_error *err)
{
    (void)ret;
    return hyprxa_error_set(err, HYPRXA_E_SOURCE, "no device for %s\nsecond line", ctx->source);
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    (void)conn, (void)err;
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
static const struct hyprxa_base_integration integration = {
    .size = sizeof(struct hyprxa_base_integration), .create = create};
FIXTURE_PLUGIN("create_fails", .integration = &integration, .connection = &connection);
