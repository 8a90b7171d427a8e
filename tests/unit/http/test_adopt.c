/* Streams of a real server: their connections leave civetweb and its workers. */
#include "base/time.h"
#include "http/http_priv.h"
#include "http/sse.h"
#include "http/streamer_priv.h"
#include "http_fixture.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(adopt, .timeout = 120);

enum { WORKERS = 8, CLIENT_FDS = 8000 };

/* --- a server with one stream and one plain route --- */

static struct http_server *server;
static struct channel *channel;
static _Atomic int ended;

static void count_end(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&ended, 1);
}

static void on_stream(struct http_request *r, void *ctx)
{
    struct error err = ERROR_INIT;
    (void)ctx;
    stream_begin(r, channel, NULL, count_end, NULL, &err);
}

static void on_plain(struct http_request *r, void *ctx)
{
    (void)ctx;
    http_respond_ok(r);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/stream", .handler = on_stream},
    {.method = "GET", .path = "/ws", .handler = on_stream, .media = HTTP_WEBSOCKET},
    {.method = "GET", .path = "/plain", .handler = on_plain},
};

static void start(const char *listen)
{
    struct error err = ERROR_INIT;
    const char *origins[] = {"http://localhost:*"};
    struct http_options options = {.listen = &listen,
                                   .n_listen = 1,
                                   .workers = WORKERS,
                                   .allow_origins = origins,
                                   .n_allow_origins = 1};
    message_set_encoder(MESSAGE_SSE, sse_encode_chunk);
    message_set_encoder(MESSAGE_SSE_UNCHUNKED, sse_encode_plain);
    cr_assert_eq(http_server_new(&options, &server, &err), 0, "%s", err.message);
    cr_assert_eq(http_server_add_routes(server, routes, sizeof routes / sizeof *routes, NULL, &err),
                 0, "%s", err.message);
    cr_assert_eq(http_server_start(server, &err), 0, "%s", err.message);
    /* No stream is there yet; a slow machine shall see no heartbeat between two events. */
    server->streamer->heartbeat_ms = 600000;
    channel = channel_new(http_server_streamer(server), NULL);
    cr_assert(channel);
}

static void stop(void)
{
    http_server_stop(server, 3000);
    channel_unref(channel);
    http_server_free(server);
}

static void publish(const char *json)
{
    struct message *m = message_new(NULL, 0, json, strlen(json));
    channel_publish(channel, m);
    message_unref(m);
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    cr_assert(folder);
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

static struct streamer_stats stats(void)
{
    struct streamer_stats s;
    streamer_get_stats(http_server_streamer(server), &s);
    return s;
}

/* --- clients --- */

static int connect_from(const char *local, unsigned local_port, const char *to)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)local_port)};
    struct sockaddr_in there = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)http_server_port(server, 0))};
    struct timeval timeout = {.tv_sec = WAIT_MS / 1000};
    int on = 1, low = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    inet_pton(AF_INET, local, &here.sin_addr);
    inet_pton(AF_INET, to, &there.sin_addr);
    setsockopt(low, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(low, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    cr_assert_eq(bind(low, (struct sockaddr *)&here, sizeof here), 0, "%s", strerror(errno));
    cr_assert_eq(connect(low, (struct sockaddr *)&there, sizeof there), 0, "%s", strerror(errno));
    int fd = fcntl(low, F_DUPFD_CLOEXEC, CLIENT_FDS); /* the low numbers are the server's */
    cr_assert_geq(fd, 0);
    close(low);
    return fd;
}

static int ask(const char *request)
{
    int fd = connect_from("127.0.0.1", 0, "127.0.0.1");
    cr_assert_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    return fd;
}

static int ask_stream(void)
{
    return ask("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
}

/* Read until `end` was read; the text is valid until the next call. */
static const char *read_until(int fd, const char *end)
{
    static char text[8192];
    size_t len = 0, end_len = strlen(end);
    for (;;) {
        cr_assert_lt(len, sizeof text - 1);
        ssize_t n = recv(fd, text + len, 1, 0);
        cr_assert_eq(n, 1, "'%.*s' came, not '%s': %s", (int)len, text, end,
                     n ? strerror(errno) : "the connection ended");
        text[++len] = '\0';
        if (len >= end_len && strcmp(text + len - end_len, end) == 0)
            return text;
    }
}

static bool is_closed(int fd)
{
    char byte;
    ssize_t n;
    while ((n = recv(fd, &byte, 1, 0)) == 1) {}
    return n == 0;
}

/* The head of a stream that nothing was published to yet. */
static void read_head(int fd)
{
    char text[4096];
    size_t len = 0;
    do {
        ssize_t n = recv(fd, text + len, sizeof text - len, 0);
        cr_assert_gt(n, 0, "no head comes");
        len += (size_t)n;
    } while (len < 4 || memcmp(text + len - 4, "\r\n\r\n", 4) != 0);
    cr_assert_eq(memcmp(text, "HTTP/1.1 200 ", 13), 0);
}

static void expect_event(int fd, const char *json)
{
    char event[256], got[256];
    int len = snprintf(event, sizeof event, "%zx\r\ndata: %s\r\n\r\n\r\n", strlen(json) + 10, json);
    ssize_t n = recv(fd, got, (size_t)len, MSG_WAITALL);
    cr_assert(n == len && memcmp(got, event, (size_t)len) == 0, "'%.*s' came, not '%s'",
              n > 0 ? (int)n : 0, got, event);
}

static void expect_plain_answer(void)
{
    int fd = ask("GET /plain HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    cr_assert(strstr(read_until(fd, "{\"status\":\"OK\"}"), " 200 "));
    close(fd);
}

/* --- the claims --- */

Test(adopt, self_test_proves_it_with_this_civetweb)
{
    size_t before = open_descriptors();
    start("127.0.0.1:0");
    cr_assert(atomic_load(&server->streamer->adopts));
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    cr_assert_eq(limit.rlim_cur, limit.rlim_max);
    stop();
    cr_assert_eq(open_descriptors(), before);
}

Test(adopt, stream_has_the_head_of_the_contract)
{
    start("127.0.0.1:0");
    int fd =
        ask("GET /stream HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n\r\n");
    const char *head = read_until(fd, "\r\n\r\n");
    static const char *const lines[] = {
        "HTTP/1.1 200 OK\r\n",
        "\r\ncontent-type: text/event-stream; charset=utf-8\r\n",
        "\r\ncache-control: no-cache\r\n",
        "\r\nconnection: keep-alive\r\n",
        "\r\nx-accel-buffering: no\r\n",
        "\r\ntransfer-encoding: chunked\r\n",
        "\r\nX-Request-ID: ",
        "\r\nAccess-Control-Allow-Origin: http://localhost:3000\r\n",
        "\r\nAccess-Control-Allow-Credentials: true\r\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        cr_assert(strstr(head, lines[i]), "'%s' is not in '%s'", lines[i], head);
    publish("{\"n\":1}");
    expect_event(fd, "{\"n\":1}");
    publish("{\"n\":2}");
    expect_event(fd, "{\"n\":2}");
    cr_assert_eq(stats().parked, 0);
    close(fd);
    await(atomic_load(&ended), 1);
    stop();
}

Test(adopt, http_1_0_gets_an_unchunked_stream)
{
    start("127.0.0.1:0");
    int fd = ask("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const char *head = read_until(fd, "\r\n\r\n");
    cr_assert_not(strstr(head, "chunked"));
    cr_assert(strstr(head, "\r\nconnection: close\r\n"));
    publish("{\"n\":1}");
    cr_assert_str_eq(read_until(fd, "\r\n\r\n"), "data: {\"n\":1}\r\n\r\n");
    channel_end(channel, STREAM_END_NORMAL, "over");
    cr_assert_str_eq(read_until(fd, "\r\n\r\n"),
                     "event: end\r\ndata: {\"reason\":\"over\"}\r\n\r\n");
    cr_assert(is_closed(fd));
    close(fd);
    stop();
}

Test(adopt, request_with_a_body_is_refused)
{
    start("127.0.0.1:0");
    int fd = ask("GET /stream HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}");
    cr_assert(strstr(read_until(fd, "\r\n\r\n"), "HTTP/1.1 400 "));
    cr_assert(is_closed(fd));
    cr_assert_eq(atomic_load(&ended), 1);
    cr_assert_eq(stats().streams_total, 0);
    close(fd);
    stop();
}

Test(adopt, head_request_gets_a_head_only)
{
    start("127.0.0.1:0");
    int fd = ask("HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    cr_assert(strstr(read_until(fd, "\r\n\r\n"), "text/event-stream"));
    await(atomic_load(&ended), 1);
    cr_assert_eq(stats().streams_total, 0);
    close(fd);
    stop();
}

Test(adopt, stream_may_follow_requests_on_its_connection)
{
    start("127.0.0.1:0");
    int fd = ask("GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n");
    read_until(fd, "{\"status\":\"OK\"}");
    static const char request[] = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    cr_assert_eq(send(fd, request, strlen(request), 0), (ssize_t)strlen(request));
    read_head(fd);
    publish("{\"n\":1}");
    expect_event(fd, "{\"n\":1}");
    cr_assert_eq(stats().parked, 0);
    close(fd);
    stop();
}

/* Close without leaving a TIME_WAIT behind: thousands of them would use up the ports. */
static void abort_connection(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

Test(adopt, thousands_of_streams_need_no_workers_and_leave_nothing_behind)
{
    enum { STREAMS = 2500 };
    static int fds[STREAMS];
    start("127.0.0.1:0");
    size_t before = open_descriptors();
    expect_plain_answer();
    for (int i = 0; i < STREAMS; i++) {
        fds[i] = ask_stream();
        read_head(fds[i]);
    }
    cr_assert_eq(stats().streams, STREAMS);
    cr_assert_eq(stats().parked, 0);
    expect_plain_answer();
    for (int n = 0; n < 3; n++) {
        publish("{\"to\":\"all\"}");
        for (int i = 0; i < STREAMS; i++)
            expect_event(fds[i], "{\"to\":\"all\"}");
    }
    for (int i = 0; i < STREAMS; i++)
        abort_connection(fds[i]);
    await(atomic_load(&ended), STREAMS);
    cr_assert_eq(stats().streams, 0);
    await(open_descriptors(), before);
    expect_plain_answer();
    stop();
}

Test(adopt, streams_begun_at_once_from_many_threads_are_told_apart)
{
    enum { STREAMS = 400 };
    static int fds[STREAMS];
    start("127.0.0.1:0");
    for (int i = 0; i < STREAMS; i++) /* none waits for its answer: all workers adopt at once */
        fds[i] = ask_stream();
    for (int i = 0; i < STREAMS; i++)
        read_head(fds[i]);
    publish("{}");
    for (int i = 0; i < STREAMS; i++)
        expect_event(fds[i], "{}");
    http_server_stop(server, 3000);
    for (int i = 0; i < STREAMS; i++) {
        read_until(fds[i],
                   "event: end\r\ndata: {\"reason\":\"the server is stopping\"}\r\n\r\n\r\n");
        cr_assert_str_eq(read_until(fds[i], "0\r\n\r\n"), "0\r\n\r\n");
        cr_assert(is_closed(fds[i]));
        close(fds[i]);
    }
    cr_assert_eq(atomic_load(&ended), STREAMS);
    stop();
}

/* One client port, two addresses of a listener on all: civetweb names them alike. */
Test(adopt, ambiguous_connection_keeps_its_worker)
{
    start("0.0.0.0:0");
    int first = connect_from("127.0.0.1", 0, "127.0.0.1");
    struct sockaddr_in name;
    socklen_t len = sizeof name;
    getsockname(first, (struct sockaddr *)&name, &len);
    int second = connect_from("127.0.0.1", ntohs(name.sin_port), "127.0.0.2");
    static const char request[] = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char plain[] = "GET /plain HTTP/1.1\r\nHost: localhost\r\n\r\n";
    send(first, plain, strlen(plain), 0); /* both are in civetweb's hands now */
    read_until(first, "{\"status\":\"OK\"}");
    send(second, plain, strlen(plain), 0);
    read_until(second, "{\"status\":\"OK\"}");
    send(second, request, strlen(request), 0);
    read_until(second, "\r\n\r\n");
    cr_assert_eq(stats().parked, 1);
    send(first, plain, strlen(plain), 0);
    read_until(first, "{\"status\":\"OK\"}");
    publish("{}");
    expect_event(second, "{}");
    close(first);
    close(second);
    stop();
}

Test(adopt, without_adoption_streams_park_half_of_the_workers)
{
    enum { PARKED = WORKERS / 2 };
    int fds[PARKED];
    start("127.0.0.1:0");
    atomic_store(&server->streamer->adopts, false);
    for (int i = 0; i < PARKED; i++) {
        fds[i] = ask_stream();
        read_head(fds[i]);
    }
    cr_assert_eq(stats().parked, PARKED);
    int refused = ask_stream();
    const char *head = read_until(refused, "\r\n\r\n");
    cr_assert(strstr(head, "HTTP/1.1 503 ") && strstr(head, "Retry-After: 5"));
    await(atomic_load(&ended), 1);
    close(refused);
    expect_plain_answer();
    publish("{\"n\":1}");
    for (int i = 0; i < PARKED; i++)
        expect_event(fds[i], "{\"n\":1}");
    channel_end(channel, STREAM_END_NORMAL, "over");
    for (int i = 0; i < PARKED; i++) {
        read_until(fds[i], "\"over\"}\r\n\r\n\r\n0\r\n\r\n");
        cr_assert(is_closed(fds[i]));
        close(fds[i]);
    }
    await(stats().parked, 0);
    cr_assert_eq(atomic_load(&ended), 1 + PARKED);
    stop();
}

Test(adopt, without_adoption_websockets_are_refused)
{
    start("127.0.0.1:0");
    atomic_store(&server->streamer->adopts, false);
    int fd = ask("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    const char *head = read_until(fd, "\r\n\r\n");
    cr_assert(strstr(head, "HTTP/1.1 503 ") && strstr(head, "Retry-After: 5"), "%s", head);
    await(atomic_load(&ended), 1);
    cr_assert_eq(stats().websockets, 0);
    cr_assert_eq(stats().parked, 0);
    expect_plain_answer();
    close(fd);
    stop();
}

Test(adopt, client_gone_from_a_parked_worker_is_noticed_by_writing)
{
    start("127.0.0.1:0");
    atomic_store(&server->streamer->adopts, false);
    int fd = ask_stream();
    read_until(fd, "\r\n\r\n");
    close(fd);
    int64_t deadline = time_monotonic_ms() + WAIT_MS;
    while (atomic_load(&ended) == 0) {
        cr_assert_lt(time_monotonic_ms(), deadline);
        publish("{}");
        usleep(1000);
    }
    await(stats().parked, 0);
    stop();
}

Test(adopt, without_descriptors_left_a_stream_is_refused)
{
    start("127.0.0.1:0");
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    int fd = ask_stream(); /* takes the first number above the floor */
    read_until(fd, "\r\n\r\n");
    int more = connect_from("127.0.0.1", 0, "127.0.0.1");
    limit.rlim_cur = (rlim_t)http_fd_floor(server) + 1;
    setrlimit(RLIMIT_NOFILE, &limit);
    static const char request[] = "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    send(more, request, strlen(request), 0);
    cr_assert(strstr(read_until(more, "\r\n\r\n"), "HTTP/1.1 503 "));
    await(atomic_load(&ended), 1);
    close(fd);
    close(more);
    stop();
}
