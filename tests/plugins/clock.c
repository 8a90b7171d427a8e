/* Gives for each item, every `period_ms` of the wall clock, the number of that period since 1970: every
 * node reads the same, and what is missing or there twice can be counted.  Goes on behind the newest
 * sample known, so that nothing is missing where another node streamed before. */
#include "fixture.h"

enum { BACK_MAX_S = 300 };

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    struct fixture *f = conn;
    int64_t period_us = fixture_option(f, "period_ms", 100) * 1000;
    int64_t *next = malloc((f->n ? f->n : 1) * sizeof *next);
    if (!next)
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    int64_t now = hyprxa_now_us() / period_us;
    for (size_t i = 0; i < f->n; i++) {
        int64_t last_us = f->subs[i]->last_time_us;
        bool known =
            last_us != HYPRXA_NO_TIME && last_us > now * period_us - BACK_MAX_S * 1000000LL;
        next[i] = known ? last_us / period_us + 1 : now;
    }
    hyprxa_status status = HYPRXA_OK;
    while (status != HYPRXA_E_CANCELED) {
        now = hyprxa_now_us() / period_us;
        for (size_t i = 0; i < f->n && status != HYPRXA_E_CANCELED; i++)
            for (; next[i] <= now && status != HYPRXA_E_CANCELED; next[i]++)
                status = hyprxa_publish_one(link, f->subs[i], next[i] * period_us,
                                            hyprxa_int64(next[i]));
        int64_t left_ms = ((now + 1) * period_us - hyprxa_now_us()) / 1000 + 1;
        if (status != HYPRXA_E_CANCELED && hyprxa_wait(link, (int32_t)left_ms))
            break;
    }
    free(next);
    return HYPRXA_OK;
}

FIXTURE_CONNECTION(FIXTURE_USUAL, .run = run);
FIXTURE_PLUGIN("clock", .connection = &connection, .max_subscriptions_per_connection = 1000);
