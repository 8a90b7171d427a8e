/* Dies by SIGSEGV as soon as it runs.  Only for hosts that isolate it. */
#include "fixture.h"

#include <signal.h>

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    (void)conn, (void)link, (void)err;
    raise(SIGSEGV);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
FIXTURE_PLUGIN("crash", .connection = &connection);
