#include "report.h"

#include <hyprxa/helpers.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { WINDOW_MS = 10000, TOLD_PER_WINDOW = 10 };

int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void report_malformed(struct report *r, const char *path, uint64_t line, const char *format, ...)
{
    char why[500];
    va_list args;
    atomic_fetch_add(&r->counters->malformed, 1);
    report_rest(r, false);
    if (r->told == TOLD_PER_WINDOW) {
        r->untold++;
        return;
    }
    if (r->told++ == 0) {
        r->window_end_ms = monotonic_ms() + WINDOW_MS;
    }
    va_start(args, format);
    vsnprintf(why, sizeof(why), format, args);
    va_end(args);
    hyprxa_log(r->ctx, HYPRXA_LOG_WARNING, "%s:%" PRIu64 ": %s", path, line, why);
}

void report_rest(struct report *r, bool now)
{
    if (r->told == 0 || (!now && monotonic_ms() < r->window_end_ms)) {
        return;
    }
    if (r->untold > 0) {
        hyprxa_log(r->ctx, HYPRXA_LOG_WARNING, "%u more malformed rows in the last %d s", r->untold,
                   WINDOW_MS / 1000);
    }
    r->told = r->untold = 0;
}
