/* Publishes once and then ignores stop for ever; counts what its late calls get. */
#include "fixture.h"

#include <stdatomic.h>
#include <threads.h>

static atomic_int canceled;
static atomic_bool never;

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    const struct fixture *f = conn;
    (void)err;
    while (!never) {
        struct timespec pause = {0, 5000000};
        if (hyprxa_publish_one(link, f->subs[0], hyprxa_now_us(), hyprxa_null()) ==
            HYPRXA_E_CANCELED)
            atomic_fetch_add(&canceled, 1);
        thrd_sleep(&pause, NULL);
    }
    return HYPRXA_OK;
}

static const void *extension(const char *id)
{
    return strcmp(id, "test.canceled") == 0 ? (const void *)&canceled : NULL;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
FIXTURE_PLUGIN("stuck", .connection = &connection, .extension = extension);
