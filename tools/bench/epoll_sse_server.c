/* The least a fan-out of server-sent events can be: a peer for the bench.
 *
 *     epoll_sse_server PORT
 *
 * One thread and one epoll, no HTTP beyond a fixed answer: any request gets an endless chunked
 * stream, each line of standard input goes to all of them as one event, the end of the input ends
 * the program.  The log of bytes is shared; a stream is a socket and how far it has come. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 20, LOG_MAX_BYTES = 1 << 28 };

struct stream {
    struct stream *next, **link;
    int fd;
    bool asked;
    size_t sent; /* of the log */
};

static struct {
    int epoll_fd, listener;
    struct stream *streams;
    char *log;
    size_t len, room;
    char line[LINE_MAX_BYTES];
    size_t line_len;
} server;

static void fail(const char *what)
{
    fprintf(stderr, "epoll_sse_server: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int fd, uint32_t events, void *owner)
{
    struct epoll_event event = {.events = events, .data.ptr = owner};
    if (epoll_ctl(server.epoll_fd, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void drop(struct stream *s)
{
    *s->link = s->next;
    if (s->next)
        s->next->link = s->link;
    close(s->fd);
    free(s);
}

/* False: the peer is gone. */
static bool write_some(struct stream *s)
{
    while (s->asked && s->sent < server.len) {
        ssize_t n =
            send(s->fd, server.log + s->sent, server.len - s->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN;
        s->sent += (size_t)n;
    }
    return true;
}

static void write_all(void)
{
    bool all_sent = true;
    struct stream *next;
    for (struct stream *s = server.streams; s; s = next) {
        next = s->next;
        if (!write_some(s))
            drop(s);
        else
            all_sent = all_sent && (!s->asked || s->sent == server.len);
    }
    if (!all_sent)
        return;
    server.len = 0;
    for (struct stream *s = server.streams; s; s = s->next)
        s->sent = 0;
}

static void append(const char *bytes, size_t len)
{
    if (server.len + len > server.room) {
        server.room = (server.len + len) * 2;
        server.log = server.room <= LOG_MAX_BYTES ? realloc(server.log, server.room) : NULL;
        if (!server.log)
            fail("the log is full");
    }
    memcpy(server.log + server.len, bytes, len);
    server.len += len;
}

static void append_event(const char *line, size_t len)
{
    char head[32];
    int head_len = snprintf(head, sizeof head, "%zx\r\ndata: ", len + 10);
    append(head, (size_t)head_len);
    append(line, len);
    append("\r\n\r\n\r\n", 6);
}

/* False: the input has ended. */
static bool read_input(void)
{
    ssize_t n =
        read(STDIN_FILENO, server.line + server.line_len, sizeof server.line - server.line_len);
    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    server.line_len += (size_t)n;
    char *at = server.line, *stop = server.line + server.line_len, *end;
    while ((end = memchr(at, '\n', (size_t)(stop - at)))) {
        append_event(at, (size_t)(end - at));
        at = end + 1;
    }
    server.line_len = (size_t)(stop - at);
    memmove(server.line, at, server.line_len);
    write_all();
    return true;
}

static void accept_streams(void)
{
    int fd, on = 1;
    while ((fd = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct stream *s = calloc(1, sizeof *s);
        if (!s)
            fail("calloc");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        s->fd = fd;
        s->next = server.streams;
        s->link = &server.streams;
        if (s->next)
            s->next->link = &s->next;
        server.streams = s;
        watch(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, s);
    }
}

/* The request is taken as whole when anything of it has come. */
static bool answer(struct stream *s)
{
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "content-type: text/event-stream; charset=utf-8\r\n"
                               "cache-control: no-cache\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    char bytes[4096];
    ssize_t n;
    bool any = false;
    while ((n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        any = true;
    if (n == 0 || errno != EAGAIN)
        return false;
    if (!any || s->asked)
        return true;
    s->asked = true;
    s->sent = server.len;
    return send(s->fd, head, sizeof head - 1, MSG_NOSIGNAL) == (ssize_t)sizeof head - 1;
}

static void listen_on(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    server.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    server.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    setsockopt(server.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server.listener, (struct sockaddr *)&address, sizeof address) ||
        listen(server.listener, 4096))
        fail(port);
    watch(server.listener, EPOLLIN, &server.listener);
    watch(STDIN_FILENO, EPOLLIN, &server.line);
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    if (argc != 2) {
        fprintf(stderr, "usage: epoll_sse_server PORT\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    listen_on(argv[1]);
    for (bool open = true; open;) {
        struct epoll_event events[256];
        int n = epoll_wait(server.epoll_fd, events, 256, -1);
        for (int i = 0; i < n; i++) {
            void *owner = events[i].data.ptr;
            if (owner == &server.listener)
                accept_streams();
            else if (owner == &server.line)
                open = read_input();
            else if (events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR) || !answer(owner) ||
                     !write_some(owner))
                drop(owner);
        }
    }
    return 0;
}
