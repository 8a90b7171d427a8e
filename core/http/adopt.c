#include "http/adopt.h"

#include "base/log.h"
#include "base/time.h"
#include "http/streamer_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SELF_TEST_MS = 2000, FEW_STREAMS = 100 };

int adopt_init(struct http_server *server, struct error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return error_set_errno(err, errno, "cannot read the limit of descriptors");
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            return error_set_errno(err, errno, "cannot raise the limit of descriptors");
    }
    rlim_t floor = (rlim_t)http_fd_floor(server);
    if (limit.rlim_cur < floor + FEW_STREAMS)
        log_warning("hyprxa.http",
                    "%llu descriptors are allowed (ulimit -n), of which %llu are kept for requests "
                    "and plugins: few streams can be served",
                    (unsigned long long)limit.rlim_cur, (unsigned long long)floor);
    return 0;
}

/* --- finding --- */

struct names {
    struct in_addr peer;
    in_port_t peer_port, local_port; /* network order */
    in_addr_t local;                 /* INADDR_ANY: not known */
};

static bool names_of(const struct http_request *r, struct names *ret)
{
    const struct mg_request_info *info = r->info;
    if (inet_pton(AF_INET, info->remote_addr, &ret->peer) != 1)
        return false;
    ret->peer_port = htons((uint16_t)info->remote_port);
    ret->local_port = htons((uint16_t)info->server_port);
    ret->local = INADDR_ANY;
    /* civetweb does not tell the local address, but one listener of one address leaves no doubt. */
    size_t listeners = 0;
    for (size_t i = 0; i < r->server->n_listeners; i++) {
        if (r->server->listeners[i].port == info->server_port && listeners++ == 0)
            ret->local = r->server->listeners[i].ip;
    }
    if (listeners != 1)
        ret->local = INADDR_ANY;
    return true;
}

static bool is_it(int fd, const struct names *names)
{
    struct sockaddr_in peer = {0}, local = {0};
    socklen_t peer_len = sizeof peer, local_len = sizeof local;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) || peer.sin_family != AF_INET ||
        peer.sin_port != names->peer_port || peer.sin_addr.s_addr != names->peer.s_addr)
        return false;
    return getsockname(fd, (struct sockaddr *)&local, &local_len) == 0 &&
           local.sin_port == names->local_port &&
           (names->local == INADDR_ANY || local.sin_addr.s_addr == names->local);
}

static int find(struct http_request *r)
{
    struct streamer *streamer = r->server->streamer;
    struct names names;
    if (r->info->is_ssl || !names_of(r, &names))
        return -1;
    /* With all four names known there is only one such socket.  The last one found has been freed
     * since and is often the number of the next connection. */
    bool unique = names.local != INADDR_ANY;
    int found = -1, guess = atomic_load_explicit(&streamer->last_adopted, memory_order_relaxed);
    if (unique && is_it(guess, &names))
        return guess;
    int floor = http_fd_floor(r->server);
    for (int fd = 0; fd < floor; fd++) {
        if (!is_it(fd, &names))
            continue;
        if (found >= 0)
            return -1;
        found = fd;
        if (unique)
            break;
    }
    if (found >= 0)
        atomic_store_explicit(&streamer->last_adopted, found, memory_order_relaxed);
    return found;
}

int adopt_find(struct http_request *r)
{
    return atomic_load_explicit(&r->server->streamer->adopts, memory_order_relaxed) ? find(r) : -1;
}

/* --- taking --- */

int adopt_duplicate(struct http_request *r, int fd, int *ret_fd, struct error *err)
{
    int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, http_fd_floor(r->server));
    if (duplicate < 0 && errno == EINVAL)
        return error_set(err, ERR_UNSUPPORTED, "the limit of descriptors is too low for streams");
    if (duplicate < 0)
        return error_set(err, ERR_LIMIT, "Broker is unavailable.");
    *ret_fd = duplicate;
    return 0;
}

void adopt_release(struct http_request *r, int fd)
{
    http_close_after(r);
    /* All connections share one dummy: it is never connected, so that nothing civetweb does to its
     * copy can matter.  dup3() of two open descriptors can only be interrupted. */
    while (dup3(r->server->streamer->dummy_fd, fd, O_CLOEXEC) < 0 && errno == EINTR) {}
}

/* --- the self-test --- */

void adopt_self_test_request(struct http_request *r)
{
    struct streamer *streamer = r->server->streamer;
    struct buf *out = &r->worker->out;
    struct error err = ERROR_INIT;
    int fd = find(r), duplicate = -1;
    if (fd < 0 || adopt_duplicate(r, fd, &duplicate, &err)) {
        http_respond_detail(r, 500, "The connection cannot be adopted.");
        return;
    }
    if (!http_mark_answered(r, 101)) /* the connection leaves HTTP */
        return;
    buf_clear(out);
    http_head_begin(r, 101, out);
    buf_append_lit(out, "\r\n");
    http_send(r, out->data, out->len);
    adopt_release(r, fd);
    pthread_mutex_lock(&streamer->lock);
    streamer->tested_fd = duplicate;
    streamer->released_fd = fd;
    pthread_cond_signal(&streamer->stream_gone);
    pthread_mutex_unlock(&streamer->lock);
}

static int connect_to_self(const struct http_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(server->listeners[0].port),
                                  .sin_addr.s_addr = server->listeners[0].ip};
    if (address.sin_addr.s_addr == INADDR_ANY)
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval timeout = {.tv_sec = SELF_TEST_MS / 1000};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Read up to and with the empty line. */
static bool read_head(int fd)
{
    char text[2048];
    size_t len = 0;
    while (len < sizeof text - 1) {
        ssize_t n = recv(fd, text + len, 1, 0);
        if (n <= 0)
            return false;
        text[len += 1] = '\0';
        if (len >= 4 && memcmp(text + len - 4, "\r\n\r\n", 4) == 0)
            return strstr(text, " 101 ") != NULL;
    }
    return false;
}

static int await_adopted(struct streamer *s, int *ret_released)
{
    int64_t deadline = time_monotonic_ms() + SELF_TEST_MS;
    pthread_mutex_lock(&s->lock);
    while (s->tested_fd < 0 && cond_wait_until(&s->stream_gone, &s->lock, deadline)) {}
    int fd = s->tested_fd;
    *ret_released = s->released_fd;
    s->tested_fd = -1;
    pthread_mutex_unlock(&s->lock);
    return fd;
}

/* civetweb tells nobody when it closes a connection: look until the dummy under its number is gone.
 * By its path, for another thread owns that number. */
static bool await_closed(int dummy_fd, int released)
{
    struct stat dummy, now;
    char path[32];
    const struct timespec pause = {.tv_nsec = 200000};
    snprintf(path, sizeof path, "/proc/self/fd/%d", released);
    if (fstat(dummy_fd, &dummy))
        return false;
    for (int64_t end = time_monotonic_ms() + SELF_TEST_MS; time_monotonic_ms() < end;) {
        if (stat(path, &now) || now.st_ino != dummy.st_ino)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

/* Bytes must pass both ways once civetweb has let go. */
static bool still_talks(int client, int adopted)
{
    char byte = 0;
    if (send(adopted, "a", 1, MSG_NOSIGNAL) != 1 || recv(client, &byte, 1, 0) != 1 || byte != 'a')
        return false;
    if (send(client, "b", 1, MSG_NOSIGNAL) != 1)
        return false;
    struct timeval timeout = {.tv_sec = SELF_TEST_MS / 1000};
    setsockopt(adopted, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    fcntl(adopted, F_SETFL, fcntl(adopted, F_GETFL) & ~O_NONBLOCK);
    return recv(adopted, &byte, 1, 0) == 1 && byte == 'b';
}

void adopt_self_test(struct http_server *server)
{
    struct streamer *streamer = server->streamer;
    char request[256];
    int len = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n",
                       server->self_test_path);
    int adopted = -1, released = -1;
    bool works = false;
    int client = connect_to_self(server);
    if (client >= 0 && send(client, request, (size_t)len, MSG_NOSIGNAL) == len &&
        read_head(client) && (adopted = await_adopted(streamer, &released)) >= 0)
        works = await_closed(streamer->dummy_fd, released) && still_talks(client, adopted);
    if (adopted >= 0)
        close(adopted);
    if (client >= 0)
        close(client);
    atomic_store(&streamer->adopts, works);
    if (!works)
        log_warning("hyprxa.http", "this civetweb's connections cannot be adopted: each stream "
                                   "holds a worker, and at most half of them serve streams");
}
