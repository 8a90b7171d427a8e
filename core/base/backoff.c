#include "base/backoff.h"

#include <stdlib.h>
#include <sys/random.h>

void backoff_init(struct backoff *b, int64_t initial_ms, int64_t max_ms)
{
    *b = (struct backoff){.initial_ms = initial_ms, .max_ms = max_ms};
}

int64_t backoff_next_ms(struct backoff *b)
{
    int64_t span = b->max_ms;
    if (b->failures < 30 && b->initial_ms <= (b->max_ms >> b->failures))
        span = b->initial_ms << b->failures;
    if (b->failures < 30)
        b->failures++;
    int64_t half = span / 2;
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
        random = UINT32_MAX / 2;
    return half + (int64_t)((uint64_t)random * (uint64_t)half / UINT32_MAX);
}

void backoff_reset(struct backoff *b)
{
    b->failures = 0;
}
