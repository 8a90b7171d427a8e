/* Publishes for its first item the seconds 10, 9, 10, 11: the second goes back, the third repeats. */
#include "fixture.h"

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    static const int64_t seconds[] = {10, 9, 10, 11};
    const struct fixture *f = conn;
    (void)err;
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        hyprxa_status status =
            hyprxa_publish_one(link, f->subs[0], seconds[i] * 1000000, hyprxa_int64(seconds[i]));
        if (status != HYPRXA_OK)
            hyprxa_log(link->ctx, HYPRXA_LOG_WARNING, "second %d: publish gave %d", (int)seconds[i],
                       (int)status);
    }
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
FIXTURE_PLUGIN("unordered", .connection = &connection);
