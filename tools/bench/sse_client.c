/* Many SSE clients in one thread, for the bench.
 *
 *     sse_client --port P [--host H] [--path /x] --connections N --events M [--silence S]
 *
 * Opens N streams, prints the line `ready` once every response head has come, then receives until
 * each stream has had M data events (an event that the server tells as dropped counts as had), or
 * for S seconds (30) nothing comes, and prints one line of JSON: how many streams got their head
 * (`connected`), data events (`received`), events told as dropped, streams that failed or ended
 * early (`errors`), and the latency in milliseconds of the events that carry `"sent_ns": <wall clock>`
 * other than 0 anywhere in their data. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTING_AT_ONCE = 128, /* heads under way; more would only wait in the server's backlog */
    HEAD_TIMEOUT_MS = 60000,
    READ_BYTES = 256 * 1024,
    LINE_MAX_BYTES = 4 << 20,
    BUCKETS_PER_OCTAVE = 128, /* latency is told to better than one per cent */
    OCTAVES = 40,
};

enum state { HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, PLAIN, ENDED };

struct stream {
    int fd;
    enum state state;
    size_t chunk_left;
    char size[20]; /* the line with a chunk's size, as far as it has come */
    size_t size_len;
    char *line; /* what came of a line that is not whole yet */
    size_t line_len;
    long events; /* data events, and those told as dropped */
    bool chunked;
};

static struct {
    struct sockaddr_in address;
    const char *host, *path;
    long connections, events, silence_ms;

    struct stream *streams;
    int epoll_fd;
    long opened, answered, with_head, done, errors;
    long long received, dropped;
    int64_t now_ns; /* wall clock when the bytes at hand were read */
    uint64_t latency[OCTAVES * BUCKETS_PER_OCTAVE], measured;
} bench;

static void fail(const char *what)
{
    fprintf(stderr, "sse_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* --- latency: counted in buckets of equal ratio, from 1 ns up --- */

static void note_latency(int64_t ns)
{
    double position = ns > 1 ? log2((double)ns) * BUCKETS_PER_OCTAVE : 0;
    size_t bucket = (size_t)position;
    if (bucket >= sizeof bench.latency / sizeof *bench.latency)
        bucket = sizeof bench.latency / sizeof *bench.latency - 1;
    bench.latency[bucket]++;
    bench.measured++;
}

/* In milliseconds; 0 when nothing was measured. */
static double quantile(double q)
{
    uint64_t rank = (uint64_t)(q * (double)bench.measured), seen = 0;
    for (size_t i = 0; i < sizeof bench.latency / sizeof *bench.latency; i++) {
        seen += bench.latency[i];
        if (seen > rank)
            return exp2(((double)i + 0.5) / BUCKETS_PER_OCTAVE) / 1e6;
    }
    return 0;
}

/* --- what comes in a stream --- */

static void had(struct stream *s, long n)
{
    bool before = s->events < bench.events;
    s->events += n;
    if (before && s->events >= bench.events)
        bench.done++;
}

static void take_line(struct stream *s, const char *line, size_t len)
{
    static const char stamp[] = "\"sent_ns\":", dropped[] = ": dropped ";
    if (len > 5 && memcmp(line, "data:", 5) == 0) {
        bench.received++;
        had(s, 1);
        const char *at = memmem(line, len, stamp, sizeof stamp - 1);
        /* The line ends with a line end, which stops strtoll(). */
        long long sent = at ? strtoll(at + sizeof stamp - 1, NULL, 10) : 0;
        if (sent > 0)
            note_latency(bench.now_ns - sent);
    } else if (len > sizeof dropped && memcmp(line, dropped, sizeof dropped - 1) == 0) {
        long n = strtol(line + sizeof dropped - 1, NULL, 10);
        bench.dropped += n;
        had(s, n);
    }
}

static void keep(struct stream *s, const char *text, size_t len)
{
    char *line =
        len + s->line_len <= LINE_MAX_BYTES ? realloc(s->line, s->line_len + len + 1) : NULL;
    if (!line)
        fail("a line without end");
    memcpy(line + s->line_len, text, len);
    s->line = line;
    s->line_len += len;
    line[s->line_len] = '\0';
}

/* Bytes of events, cut anywhere. */
static void take_text(struct stream *s, const char *text, size_t len)
{
    while (len > 0) {
        const char *end = memchr(text, '\n', len);
        if (!end) {
            keep(s, text, len);
            return;
        }
        size_t n = (size_t)(end + 1 - text);
        if (s->line_len > 0) {
            keep(s, text, n);
            take_line(s, s->line, s->line_len);
            s->line_len = 0;
        } else {
            take_line(s, text, n);
        }
        text += n;
        len -= n;
    }
}

/* --- the connection --- */

static void end(struct stream *s, bool error)
{
    bench.errors += error;
    bench.answered += s->state == HEAD;
    if (s->events < bench.events)
        bench.done++;
    s->state = ENDED;
    close(s->fd);
    free(s->line);
    s->line = NULL;
}

/* A line of the head, gathered over reads; NULL: it is not whole yet. */
static const char *gather_head_line(struct stream *s, const char *bytes, const char *stop)
{
    const char *line_end = memchr(bytes, '\n', (size_t)(stop - bytes));
    keep(s, bytes, (size_t)((line_end ? line_end + 1 : stop) - bytes));
    return line_end ? line_end + 1 : NULL;
}

static void take_head_line(struct stream *s)
{
    static const char chunked[] = "transfer-encoding: chunked", ok[] = "HTTP/1.1 200";
    if (strncmp(s->line, "HTTP/", 5) == 0 && strncmp(s->line, ok, sizeof ok - 1) != 0) {
        end(s, true);
    } else if (strncasecmp(s->line, chunked, sizeof chunked - 1) == 0) {
        s->chunked = true;
    } else if (s->line_len <= 2) {
        s->state = s->chunked ? CHUNK_SIZE : PLAIN;
        bench.answered++;
        bench.with_head++;
    }
    s->line_len = 0;
}

static const char *take_chunk_size(struct stream *s, const char *bytes, const char *stop)
{
    while (bytes < stop && s->size_len < sizeof s->size - 1) {
        char c = *bytes++;
        s->size[s->size_len++] = c;
        if (c != '\n')
            continue;
        s->size[s->size_len] = '\0';
        s->size_len = 0;
        s->chunk_left = strtoul(s->size, NULL, 16);
        s->state = CHUNK_DATA;
        if (s->chunk_left == 0) /* the last one, or no number */
            end(s, s->events < bench.events);
        return bytes;
    }
    if (s->size_len == sizeof s->size - 1)
        end(s, true);
    return stop;
}

/* One step over bytes..stop; returns where the next begins. */
static const char *step(struct stream *s, const char *bytes, const char *stop)
{
    size_t left = (size_t)(stop - bytes), n;
    const char *next;
    switch (s->state) {
    case HEAD:
        next = gather_head_line(s, bytes, stop);
        if (next)
            take_head_line(s);
        return next ? next : stop;
    case CHUNK_SIZE:
        return take_chunk_size(s, bytes, stop);
    case CHUNK_DATA:
        n = left < s->chunk_left ? left : s->chunk_left;
        take_text(s, bytes, n);
        s->chunk_left -= n;
        if (s->chunk_left == 0)
            s->state = CHUNK_END;
        return bytes + n;
    case CHUNK_END:
        next = memchr(bytes, '\n', left);
        s->state = next ? CHUNK_SIZE : CHUNK_END;
        return next ? next + 1 : stop;
    case PLAIN:
        take_text(s, bytes, left);
        return stop;
    case ENDED:
        return stop;
    }
    return stop;
}

static void receive(struct stream *s)
{
    static char bytes[READ_BYTES];
    ssize_t n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        end(s, s->events < bench.events || s->state != PLAIN);
        return;
    }
    bench.now_ns = clock_ns(CLOCK_REALTIME);
    const char *at = bytes, *stop = bytes + n;
    while (at < stop && s->state != ENDED)
        at = step(s, at, stop);
}

static void open_stream(struct stream *s)
{
    char request[1024];
    int on = 1;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        fail("socket");
    if (connect(s->fd, (struct sockaddr *)&bench.address, sizeof bench.address))
        fail("connect");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: %s:%u\r\nAccept: text/event-stream\r\n\r\n",
                       bench.path, bench.host, ntohs(bench.address.sin_port));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (send(s->fd, request, (size_t)len, MSG_NOSIGNAL) != len ||
        epoll_ctl(bench.epoll_fd, EPOLL_CTL_ADD, s->fd, &event))
        fail("request");
}

/* --- the run --- */

/* Wait for bytes and take them; false: nothing came for `timeout_ms`. */
static bool receive_some(long timeout_ms)
{
    struct epoll_event events[512];
    int n = epoll_wait(bench.epoll_fd, events, sizeof events / sizeof *events, (int)timeout_ms);
    for (int i = 0; i < n; i++)
        receive(events[i].data.ptr);
    return n != 0;
}

static void open_all(void)
{
    while (bench.answered < bench.connections) {
        while (bench.opened < bench.connections &&
               bench.opened - bench.answered < CONNECTING_AT_ONCE)
            open_stream(&bench.streams[bench.opened++]);
        if (!receive_some(HEAD_TIMEOUT_MS)) {
            fprintf(stderr, "sse_client: %ld of %ld streams got no answer\n",
                    bench.connections - bench.answered, bench.connections);
            bench.errors += bench.connections - bench.answered;
            break;
        }
    }
}

static void tell(int64_t first_ns, int64_t last_ns)
{
    printf("{\"connected\": %ld, \"received\": %lld, \"dropped\": %lld, \"errors\": %ld, "
           "\"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f, \"seconds\": %.6f}\n",
           bench.with_head, bench.received, bench.dropped, bench.errors, quantile(0.5),
           quantile(0.99), quantile(1 - 1e-12), (double)(last_ns - first_ns) / 1e9);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static long number_option(const char *name, const char *text)
{
    char *stop;
    long value = strtol(text, &stop, 10);
    if (*text == '\0' || *stop || value < 0) {
        fprintf(stderr, "sse_client: %s '%s' is not a number\n", name, text);
        exit(2);
    }
    return value;
}

static void read_options(int argc, char **argv)
{
    long port = 0;
    bench.host = "127.0.0.1";
    bench.path = "/";
    bench.silence_ms = 30000;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (strcmp(name, "--host") == 0)
            bench.host = value;
        else if (strcmp(name, "--path") == 0)
            bench.path = value;
        else if (strcmp(name, "--port") == 0)
            port = number_option(name, value);
        else if (strcmp(name, "--connections") == 0)
            bench.connections = number_option(name, value);
        else if (strcmp(name, "--events") == 0)
            bench.events = number_option(name, value);
        else if (strcmp(name, "--silence") == 0)
            bench.silence_ms = number_option(name, value) * 1000;
        else
            bench.connections = port = 0;
    }
    bench.address.sin_family = AF_INET;
    bench.address.sin_port = htons((uint16_t)port);
    if (port < 1 || port > 65535 || bench.connections < 1 || bench.events < 1 || argc % 2 == 0 ||
        inet_pton(AF_INET, bench.host, &bench.address.sin_addr) != 1) {
        fprintf(stderr, "usage: sse_client --port P [--host ADDRESS] [--path /x] --connections N "
                        "--events M [--silence SECONDS]\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    raise_descriptor_limit();
    bench.streams = calloc((size_t)bench.connections, sizeof *bench.streams);
    bench.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (!bench.streams || bench.epoll_fd < 0)
        fail("start");
    open_all();
    printf("ready\n");
    fflush(stdout);
    int64_t first_ns = 0, last_ns = 0;
    while (bench.done < bench.connections && receive_some(bench.silence_ms)) {
        if (bench.received > 0) {
            last_ns = clock_ns(CLOCK_MONOTONIC);
            first_ns = first_ns ? first_ns : last_ns;
        }
    }
    tell(first_ns, last_ns);
    /* Reset rather than closed: no TIME_WAIT is left to use up the ports of the next run. */
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (long i = 0; i < bench.opened; i++) {
        if (bench.streams[i].state != ENDED) {
            setsockopt(bench.streams[i].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
            close(bench.streams[i].fd);
        }
        free(bench.streams[i].line);
    }
    free(bench.streams);
    close(bench.epoll_fd);
    return bench.errors > 0;
}
