#include "base/thread.h"

#include "base/time.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void lock_init(pthread_mutex_t *lock)
{
    if (pthread_mutex_init(lock, NULL) != 0)
        abort();
}

void cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    if (pthread_condattr_init(&attr) != 0 ||
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(cond, &attr) != 0)
        abort();
    pthread_condattr_destroy(&attr);
}

bool cond_wait_until(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t deadline_ms)
{
    if (deadline_ms == INT64_MAX) {
        pthread_cond_wait(cond, lock);
        return true;
    }
    struct timespec at = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_cond_timedwait(cond, lock, &at) != ETIMEDOUT;
}

int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg,
                 struct error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return error_set_errno(err, rc, "cannot start thread '%s'", name);
    char short_name[16];
    snprintf(short_name, sizeof short_name, "%s", name);
    pthread_setname_np(*ret_thread, short_name);
    return 0;
}

#ifdef __SANITIZE_THREAD__
/* ThreadSanitizer sees a join on the wall clock only, and would take what follows for a race. */
bool thread_join_within(pthread_t thread, int64_t timeout_ms)
{
    int64_t deadline_ms = time_now_us() / 1000 + timeout_ms;
    struct timespec at = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_timedjoin_np(thread, NULL, &at) == 0;
}
#else
bool thread_join_within(pthread_t thread, int64_t timeout_ms)
{
    int64_t deadline_ms = time_monotonic_ms() + timeout_ms;
    struct timespec at = {.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
    return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &at) == 0;
}
#endif
