/* Its options_schema is JSON, but no schema. */
#include "fixture.h"

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    (void)conn, (void)err;
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = sizeof(struct hyprxa_plugin),
    .abi_major = HYPRXA_ABI_MAJOR,
    .name = "bad_schema",
    .version = "1.0",
    .description = "A fixture of the tests.",
    .subscription_schema = FIXTURE_SUBSCRIPTION_SCHEMA,
    .options_schema = "{\"type\":\"object\",\"properties\":{\"port\":{\"type\":\"nonsense\"}}}",
    .connection = &connection,
};
