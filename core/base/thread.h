/* Threads, locks and waiting, and the meaning of the thread tags.
 *
 *   [any]      from any thread, concurrently
 *   [control]  one call at a time: start-up, shutdown, or the owner's own thread
 *   [worker]   a civetweb worker serving a request; may block for a bounded time
 *   [run]      the own thread of one plugin connection
 *
 * Condition variables wait on the monotonic clock.  Nothing here can fail short of a bug or an
 * exhausted system; the init functions abort() then, thread_start() reports. */
#ifndef HYPRXA_BASE_THREAD_H
#define HYPRXA_BASE_THREAD_H

#include "base/error.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

void lock_init(pthread_mutex_t *lock);
void cond_init(pthread_cond_t *cond); /* on CLOCK_MONOTONIC */

/* Wait until signalled or until `deadline_ms` of time_monotonic_ms() (INT64_MAX: for ever).
 * False when the deadline passed.  Spurious wake-ups happen: wait in a loop on the condition. */
bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms);

/* Start a joinable thread with all signals blocked and a name for `top -H` (15 bytes at most). */
int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg,
                 struct error *err);

/* Join, waiting no longer than `timeout_ms`.  False: still running, not joined. */
bool thread_join_within(pthread_t thread, int64_t timeout_ms);

#endif
