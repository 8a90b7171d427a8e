#include "base/time.h"

#include <stdbool.h>
#include <string.h>

int time_parse_duration(const char *text, int64_t *ret_us, struct error *err)
{
    static const struct {
        const char *unit;
        int64_t us;
    } units[] = {
        {"us", 1},
        {"ms", 1000},
        {"s", TIME_US_PER_SECOND},
        {"m", 60 * TIME_US_PER_SECOND},
        {"h", 3600 * TIME_US_PER_SECOND},
        {"d", 86400 * TIME_US_PER_SECOND},
    };
    const char *p = text;
    int64_t count = 0;
    bool digits = false, overflow = false;
    for (; *p >= '0' && *p <= '9'; p++) {
        digits = true;
        overflow |= __builtin_mul_overflow(count, 10, &count) ||
                    __builtin_add_overflow(count, *p - '0', &count);
    }
    for (size_t i = 0; digits && i < sizeof units / sizeof *units; i++) {
        if (strcmp(p, units[i].unit) != 0)
            continue;
        if (overflow || __builtin_mul_overflow(count, units[i].us, ret_us))
            return error_set(err, ERR_INVALID, "duration '%.40s' is too long", text);
        return 0;
    }
    return error_set(err, ERR_INVALID,
                     "'%.40s' is not a duration: expected a whole number and us, ms, s, m, h or d, "
                     "as in 500ms",
                     text);
}
