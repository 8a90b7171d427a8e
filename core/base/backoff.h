/* Equal-jitter back-off: t = min(max, initial * 2^failures) / 2, wait t + U(0, t).
 * Source: contract of the original system; M. Brooker, "Exponential Backoff And Jitter" (2015). */
#ifndef HYPRXA_BASE_BACKOFF_H
#define HYPRXA_BASE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t initial_ms, max_ms;
    unsigned failures; /* consecutive */
};

void backoff_init(struct backoff *b, int64_t initial_ms, int64_t max_ms);
int64_t backoff_next_ms(struct backoff *b); /* counts a failure and gives the wait */
void backoff_reset(struct backoff *b);      /* after a success */

#endif
