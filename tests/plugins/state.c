/* Counts on from where its state says: publishes `count` numbers of the item, saving each 10. */
#include "fixture.h"

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    const struct fixture *f = conn;
    const struct hyprxa_host *host = link->host;
    int64_t next = 0, count = fixture_option(f, "count", 100);
    size_t len = 0;
    hyprxa_status status = host->state_get(link, f->subs[0]->id, &next, sizeof next, &len);
    if (status != HYPRXA_OK && status != HYPRXA_E_NOT_FOUND)
        return hyprxa_error_set(err, status, "cannot read the position");
    for (int64_t end = next + count; next < end;) {
        hyprxa_publish_one(link, f->subs[0], next * 1000000, hyprxa_int64(next));
        if (++next % 10 == 0 &&
            host->state_set(link, f->subs[0]->id, &next, sizeof next) != HYPRXA_OK)
            return HYPRXA_OK;
    }
    hyprxa_wait(link, -1);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
FIXTURE_PLUGIN("state", .connection = &connection, .max_subscriptions_per_connection = 1);
