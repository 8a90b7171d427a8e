/* Connects after `delay_ms`; with `deaf` the wait for it cannot be cut short. */
#include "fixture.h"

#include <threads.h>

static hyprxa_status start(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    const struct fixture *f = conn;
    int64_t delay_ms = fixture_option(f, "delay_ms", 1000);
    if (fixture_option(f, "deaf", 0)) {
        struct timespec pause = {(time_t)(delay_ms / 1000), (long)(delay_ms % 1000) * 1000000};
        thrd_sleep(&pause, NULL);
    } else if (hyprxa_wait(link, (int32_t)delay_ms)) {
        return hyprxa_error_set(err, HYPRXA_E_CANCELED, "stopped while connecting");
    }
    return HYPRXA_OK;
}

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    const struct fixture *f = conn;
    (void)err;
    hyprxa_publish_one(link, f->subs[0], hyprxa_now_us(), hyprxa_bool(true));
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .start = start, .run = run);
FIXTURE_PLUGIN("late", .connection = &connection);
