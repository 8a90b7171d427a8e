/* Cannot be initialised, and says why. */
#include "fixture.h"

static hyprxa_status init(struct hyprxa_error *err)
{
    return hyprxa_error_set(err, HYPRXA_E_UNSUPPORTED, "the driver is not installed");
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    (void)conn, (void)err;
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
FIXTURE_PLUGIN("init_fails", .connection = &connection, .init = init);
