#include "base/notify.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(notify, .timeout = 60);

enum { WAIT_MS = 20000 };

/* A service manager's end: a socket with a name of the kernel's choice, but no file. */
static int listen_as_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t len = sizeof address;
    char name[sizeof address.sun_path + 1];
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address.sun_family), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    int n = (int)(len - sizeof address.sun_family) - 1;
    snprintf(name, sizeof name, "@%.*s", n, address.sun_path + 1);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

/* "" when nothing comes. */
static const char *receive(int fd, int timeout_ms)
{
    static char text[256];
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    if (poll(&readable, 1, timeout_ms) != 1)
        return "";
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    cr_assert_geq(n, 0);
    text[n] = '\0';
    return text;
}

static struct notify *open_notify(void)
{
    struct notify *n = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(notify_open(&n, &err), 0, "%s", err.message);
    return n;
}

static atomic_int answer, asked;

static int check(void *ctx, struct error *err)
{
    (void)ctx;
    atomic_fetch_add(&asked, 1);
    return atomic_load(&answer) ? error_set(err, atomic_load(&answer), "stuck") : 0;
}

Test(notify, without_a_socket_it_does_nothing)
{
    struct error err = ERROR_INIT;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "1000", 1);
    struct notify *n = open_notify();
    cr_assert_null(n);
    notify_send(n, "READY=1");
    cr_expect_eq(notify_watch(n, check, NULL, &err), 0);
    cr_expect(notify_unwatch(n, 0));
    notify_close(n);
    cr_expect_eq(atomic_load(&asked), 0);
}

Test(notify, a_socket_that_is_none_is_refused)
{
    struct notify *n = NULL;
    struct error err = ERROR_INIT;
    setenv("NOTIFY_SOCKET", "relative", 1);
    cr_expect_eq(notify_open(&n, &err), ERR_INVALID);
    cr_expect_null(n);
}

Test(notify, a_state_arrives_and_no_child_can_speak_for_us)
{
    int manager = listen_as_manager();
    setenv("WATCHDOG_USEC", "1000000", 1);
    struct notify *n = open_notify();
    notify_send(n, "READY=1\nSTATUS=Serving");
    cr_expect_str_eq(receive(manager, WAIT_MS), "READY=1\nSTATUS=Serving");
    cr_expect_null(getenv("NOTIFY_SOCKET"));
    cr_expect_null(getenv("WATCHDOG_USEC"));
    notify_close(n);
    close(manager);
}

Test(notify, a_manager_that_is_gone_does_no_harm)
{
    close(listen_as_manager());
    struct notify *n = open_notify();
    notify_send(n, "READY=1");
    notify_send(n, "READY=1");
    notify_close(n);
}

Test(notify, signs_of_life_come_while_there_is_progress_and_only_then)
{
    struct error err = ERROR_INIT;
    int manager = listen_as_manager();
    setenv("WATCHDOG_USEC", "100000", 1);
    struct notify *n = open_notify();
    cr_assert_eq(notify_watch(n, check, NULL, &err), 0, "%s", err.message);
    for (int i = 0; i < 3; i++)
        cr_expect_str_eq(receive(manager, WAIT_MS), "WATCHDOG=1");

    atomic_store(&answer, ERR_AGAIN);
    for (int begun = atomic_load(&asked); atomic_load(&asked) < begun + 2;)
        receive(manager, 10); /* what was under way */
    for (int begun = atomic_load(&asked); atomic_load(&asked) < begun + 4;)
        cr_expect_str_eq(receive(manager, 10), "", "no progress, and yet a sign of life");

    atomic_store(&answer, 0);
    cr_expect_str_eq(receive(manager, WAIT_MS), "WATCHDOG=1");
    cr_expect(notify_unwatch(n, WAIT_MS));
    notify_close(n);
    close(manager);
}

Test(notify, a_watchdog_meant_for_another_process_is_not_ours)
{
    struct error err = ERROR_INIT;
    int manager = listen_as_manager();
    setenv("WATCHDOG_USEC", "1000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    struct notify *n = open_notify();
    cr_expect_eq(notify_watch(n, check, NULL, &err), 0);
    cr_expect(notify_unwatch(n, 0));
    cr_expect_eq(atomic_load(&asked), 0);
    notify_close(n);
    close(manager);
}
