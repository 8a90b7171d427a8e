#include "base/notify.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char logger[] = "hyprxa.notify";

struct notify {
    /* set at open, then const */
    int fd;
    struct sockaddr_un address;
    socklen_t address_len;
    int64_t watchdog_ms; /* 0: nobody watches */

    notify_check_fn *check;
    void *ctx;
    pthread_t thread;
    bool watching;

    pthread_mutex_t lock;
    pthread_cond_t wake;
    /* guarded by lock */
    bool stopping, failed; /* failed: that it cannot be sent was logged */
};

/* A path, or a name without a file where it begins with '@'. */
static int set_address(struct notify *n, const char *text, struct error *err)
{
    size_t len = strlen(text);
    if ((*text != '/' && *text != '@') || len < 2 || len >= sizeof n->address.sun_path)
        return error_set(err, ERR_INVALID, "NOTIFY_SOCKET is no path of a socket");
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, text, len);
    if (*text == '@')
        n->address.sun_path[0] = '\0';
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    return 0;
}

/* The watchdog's period in ms, when it is meant for this process. */
static int64_t watchdog_ms(const char *microseconds, const char *pid)
{
    if (!microseconds || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
        return 0;
    int64_t us = strtoll(microseconds, NULL, 10);
    return us > 0 ? (us + 999) / 1000 : 0;
}

int notify_open(struct notify **ret, struct error *err)
{
    *ret = NULL;
    const char *text = getenv("NOTIFY_SOCKET");
    if (!text || !*text)
        return 0;
    struct notify *n = calloc(1, sizeof *n);
    if (!n)
        return error_set(err, ERR_NOMEM, "out of memory");
    n->watchdog_ms = watchdog_ms(getenv("WATCHDOG_USEC"), getenv("WATCHDOG_PID"));
    int rc = set_address(n, text, err);
    if (!rc) {
        n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (n->fd < 0)
            rc = error_set_errno(err, errno, "cannot make a socket");
    }
    if (rc) {
        free(n);
        return rc;
    }
    lock_init(&n->lock);
    cond_init(&n->wake);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    *ret = n;
    return 0;
}

void notify_send(struct notify *n, const char *state)
{
    if (!n)
        return;
    ssize_t sent = sendto(n->fd, state, strlen(state), MSG_NOSIGNAL,
                          (const struct sockaddr *)&n->address, n->address_len);
    int cause = errno;
    pthread_mutex_lock(&n->lock);
    bool tell = sent < 0 && !n->failed;
    n->failed = sent < 0;
    pthread_mutex_unlock(&n->lock);
    if (tell)
        log_warning(logger, "the service manager cannot be told: %s", strerror(cause));
}

/* --- the watchdog --- */

/* False: stop. */
static bool sleep_until(struct notify *n, int64_t deadline_ms)
{
    pthread_mutex_lock(&n->lock);
    while (!n->stopping && cond_wait_until(&n->wake, &n->lock, deadline_ms)) {}
    bool go_on = !n->stopping;
    pthread_mutex_unlock(&n->lock);
    return go_on;
}

static void *watch(void *arg)
{
    struct notify *n = arg;
    bool reported = false;
    int64_t due_ms = time_monotonic_ms();
    do {
        struct error err = ERROR_INIT;
        /* From the beginning of a check, so that a slow one does not stretch the period. */
        due_ms = time_monotonic_ms() + n->watchdog_ms / 2;
        if (n->check(n->ctx, &err) == 0)
            notify_send(n, "WATCHDOG=1");
        else if (!reported)
            log_critical(logger, "no sign of life for the service manager: %s", err.message);
        reported = err.code != 0;
    } while (sleep_until(n, due_ms));
    return NULL;
}

int notify_watch(struct notify *n, notify_check_fn *check, void *ctx, struct error *err)
{
    if (!n || !n->watchdog_ms)
        return 0;
    n->check = check;
    n->ctx = ctx;
    int rc = thread_start(&n->thread, "watchdog", watch, n, err);
    n->watching = rc == 0;
    return rc;
}

bool notify_unwatch(struct notify *n, int64_t timeout_ms)
{
    if (!n || !n->watching)
        return true;
    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_signal(&n->wake);
    pthread_mutex_unlock(&n->lock);
    n->watching = !thread_join_within(n->thread, timeout_ms);
    return !n->watching;
}

void notify_close(struct notify *n)
{
    if (!n)
        return;
    close(n->fd);
    pthread_cond_destroy(&n->wake);
    pthread_mutex_destroy(&n->lock);
    free(n);
}
