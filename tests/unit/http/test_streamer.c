/* The streamer alone, over socket pairs: what a stream is sent, and when it ends. */
#include "base/thread.h"
#include "base/time.h"
#include "http/http_priv.h"
#include "http/sse.h"
#include "http/streamer_priv.h"
#include "http_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(streamer, .timeout = 60);

enum { SLOW_HEARTBEAT = 600000 };

/* --- a client: reads chunks --- */

struct client {
    int fd;
    char bytes[65536];
    size_t len;
    char event[16384]; /* the chunk read last, NUL-terminated */
    bool plain;        /* no chunks: an event ends with an empty line */
};

static struct streamer *start(size_t pumps, int64_t heartbeat_ms)
{
    struct streamer *s = NULL;
    struct error err = ERROR_INIT;
    message_set_encoder(MESSAGE_SSE, sse_encode_chunk);
    message_set_encoder(MESSAGE_SSE_UNCHUNKED, sse_encode_plain);
    cr_assert_eq(streamer_create(pumps, heartbeat_ms, &s, &err), 0, "%s", err.message);
    return s;
}

static void stop(struct streamer *s)
{
    streamer_stop(s, WAIT_MS);
    streamer_free(s);
}

static _Atomic int ended;

static void count_end(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&ended, 1);
}

/* The streamer's end has a send buffer of `send_buffer` bytes (0: the system's). */
static int open_pair(struct channel *c, bool chunked, int send_buffer)
{
    int pair[2];
    struct stream *s = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    if (send_buffer)
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    cr_assert_eq(
        stream_new(c, chunked ? MESSAGE_SSE : MESSAGE_SSE_UNCHUNKED, count_end, NULL, &s, &err), 0,
        "%s", err.message);
    stream_run(s, pair[0]);
    return pair[1];
}

static struct client *client_new(struct channel *c, bool chunked, int send_buffer)
{
    struct client *k = calloc(1, sizeof *k);
    k->fd = open_pair(c, chunked, send_buffer);
    k->plain = !chunked;
    return k;
}

static void client_free(struct client *k)
{
    close(k->fd);
    free(k);
}

/* Take the first event off the buffer; false: it is not whole yet. */
static bool take_event(struct client *k)
{
    size_t head = 0, size = 0, tail = 2;
    char *line = memmem(k->bytes, k->len, k->plain ? "\r\n\r\n" : "\r\n", k->plain ? 4 : 2);
    if (!line)
        return false;
    if (k->plain) {
        size = (size_t)(line - k->bytes) + 4;
        tail = 0;
    } else {
        head = (size_t)(line - k->bytes) + 2;
        size = strtoul(k->bytes, NULL, 16);
        if (k->len < head + size + 2)
            return false;
        cr_assert(memcmp(k->bytes + head + size, "\r\n", 2) == 0, "a chunk does not end");
    }
    cr_assert_lt(size, sizeof k->event);
    memcpy(k->event, k->bytes + head, size);
    k->event[size] = '\0';
    k->len -= head + size + tail;
    memmove(k->bytes, k->bytes + head + size + tail, k->len);
    return true;
}

/* The next event, "" for the last chunk, or NULL at the end of the connection. */
static const char *next_event(struct client *k)
{
    while (!take_event(k)) {
        struct pollfd readable = {.fd = k->fd, .events = POLLIN};
        cr_assert_eq(poll(&readable, 1, WAIT_MS), 1, "nothing comes");
        ssize_t n = recv(k->fd, k->bytes + k->len, sizeof k->bytes - k->len, 0);
        if (n <= 0)
            return NULL;
        k->len += (size_t)n;
    }
    return k->event;
}

static void expect(struct client *k, const char *event)
{
    const char *got = next_event(k);
    cr_assert(got && strcmp(got, event) == 0, "'%s' came, not '%s'", got ? got : "the end", event);
}

static void expect_number(struct client *k, long number)
{
    char event[64];
    snprintf(event, sizeof event, "data: {\"n\":%ld}\r\n\r\n", number);
    expect(k, event);
}

static bool is_silent(const struct client *k, int ms)
{
    struct pollfd readable = {.fd = k->fd, .events = POLLIN};
    return k->len == 0 && poll(&readable, 1, ms) == 0;
}

/* --- publishing --- */

static void publish_text(struct channel *c, const char *text, size_t len)
{
    struct message *m = message_new(NULL, 0, text, len);
    channel_publish(c, m);
    message_unref(m);
}

static void publish_number(struct channel *c, long number)
{
    char text[32];
    publish_text(c, text, (size_t)snprintf(text, sizeof text, "{\"n\":%ld}", number));
}

static size_t streams_of(struct channel *c)
{
    struct channel_stats stats;
    channel_get_stats(c, &stats);
    return stats.streams;
}

static uint64_t delivered_of(struct channel *c)
{
    struct channel_stats stats;
    channel_get_stats(c, &stats);
    return stats.delivered;
}

static uint64_t dropped_of(struct channel *c)
{
    struct channel_stats stats;
    channel_get_stats(c, &stats);
    return stats.dropped;
}

/* --- the claims --- */

Test(streamer, each_event_is_one_chunk_in_order)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    publish_number(c, -1); /* before the stream: not for it */
    struct client *k = client_new(c, true, 0);
    for (int i = 0; i < 500; i++)
        publish_number(c, i);
    for (int i = 0; i < 500; i++)
        expect_number(k, i);
    await(delivered_of(c), 500);
    struct channel_stats stats;
    channel_get_stats(c, &stats);
    cr_assert_eq(stats.published, 501);
    cr_assert_eq(stats.dropped, 0);
    cr_assert_eq(stats.streams, 1);
    client_free(k);
    channel_unref(c);
    stop(s);
}

Test(streamer, message_with_an_id_tells_it)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    struct client *k = client_new(c, true, 0);
    struct message_id id = {0xab, 3, 42};
    struct message *m = message_new(&id, 0, "{}", 2);
    channel_publish(c, m);
    message_unref(m);
    expect(k, "id: 00000000000000ab:3:42\r\ndata: {}\r\n\r\n");
    client_free(k);
    channel_unref(c);
    stop(s);
}

Test(streamer, notices_keep_their_place)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    struct client *k = client_new(c, true, 0), *old = client_new(c, false, 0);
    publish_number(c, 1);
    channel_notice(c, "gap", "{\"from\":1}", 10);
    publish_number(c, 2);
    channel_end(c, STREAM_END_NORMAL, "it is \"over\"");
    publish_number(c, 3); /* ignored */
    struct client *both[] = {k, old};
    for (int i = 0; i < 2; i++) {
        expect_number(both[i], 1);
        expect(both[i], "event: gap\r\ndata: {\"from\":1}\r\n\r\n");
        expect_number(both[i], 2);
        expect(both[i], "event: end\r\ndata: {\"reason\":\"it is \\\"over\\\"\"}\r\n\r\n");
    }
    expect(k, "");
    cr_assert_null(next_event(k));
    cr_assert_null(next_event(old));
    await(atomic_load(&ended), 2);
    cr_assert_eq(streams_of(c), 0);
    client_free(k);
    client_free(old);
    channel_unref(c);
    stop(s);
}

static void publish_at(struct channel *c, uint64_t epoch, uint64_t sequence)
{
    struct message_id id = {1, epoch, sequence};
    struct message *m = message_new(&id, 0, "{}", 2);
    channel_publish(c, m);
    message_unref(m);
}

static void expect_at(struct client *k, int epoch, int sequence)
{
    char event[80];
    snprintf(event, sizeof event, "id: 0000000000000001:%d:%d\r\ndata: {}\r\n\r\n", epoch,
             sequence);
    expect(k, event);
}

Test(streamer, stream_that_joins_gets_its_replay_and_then_only_what_comes_behind_it)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    struct client *k = calloc(1, sizeof *k);
    struct stream *stream = NULL;
    struct message_id reached = {1, 2, 7};
    struct buf replayed = BUF_INIT(1000);
    int pair[2];
    buf_append_lit(&replayed, "d\r\ndata: old\r\n\r\n\r\n");
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    k->fd = pair[1];
    cr_assert_eq(stream_new(c, MESSAGE_SSE, NULL, NULL, &stream, NULL), 0);
    publish_at(c, 1, 99);
    publish_at(c, 2, 6);
    channel_notice(c, "stale", "{}", 2);
    publish_at(c, 2, 7);
    cr_assert_eq(stream_join(stream, &replayed, &reached, NULL), 0);
    stream_run(stream, pair[0]);
    expect(k, "data: old\r\n\r\n");
    expect(k, "event: stale\r\ndata: {}\r\n\r\n");
    publish_at(c, 2, 7); /* on its way for long */
    publish_at(c, 2, 8);
    publish_at(c, 3, 1);
    expect_at(k, 2, 8);
    expect_at(k, 3, 1);
    publish_at(c, 2, 5); /* it is live: nothing is passed over any more */
    expect_at(k, 2, 5);
    buf_release(&replayed);
    client_free(k);
    channel_unref(c);
    stop(s);
}

Test(streamer, stream_lags_when_half_of_the_backlog_came_before_it_runs)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel_options options = {.max_messages = 10, .max_bytes = 1000};
    struct channel *c = channel_new(s, &options);
    char large[502];
    memset(large, '1', sizeof large);
    for (int bytes = 0; bytes < 2; bytes++) {
        struct stream *stream = NULL;
        cr_assert_eq(stream_new(c, MESSAGE_SSE, NULL, NULL, &stream, NULL), 0);
        for (int i = 0; i < 5 && !bytes; i++)
            publish_number(c, i);
        if (bytes)
            publish_text(c, large, 500);
        cr_expect_not(stream_lags(stream));
        publish_number(c, 5);
        cr_expect(stream_lags(stream));
        stream_cancel(stream);
    }
    channel_unref(c);
    stop(s);
}

Test(streamer, stream_of_an_ended_channel_ends_at_once)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    channel_end(c, STREAM_END_NORMAL, "over");
    channel_end(c, STREAM_END_NORMAL, "twice");
    struct client *k = client_new(c, true, 0);
    expect(k, "event: end\r\ndata: {\"reason\":\"over\"}\r\n\r\n");
    expect(k, "");
    cr_assert_null(next_event(k));
    await(atomic_load(&ended), 1);
    client_free(k);
    channel_unref(c);
    stop(s);
}

Test(streamer, partial_writes_lose_and_double_nothing)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel_options options = {.max_messages = 100000, .max_bytes = 64 << 20};
    struct channel *c = channel_new(s, &options);
    struct client *k = client_new(c, true, 1), *old = client_new(c, false, 1);
    static char text[6000];
    unsigned seed = 1;
    size_t lengths[600];
    for (int i = 0; i < 600; i++) { /* sizes around and above the buffer of the socket */
        lengths[i] = 2 + (size_t)rand_r(&seed) % (sizeof text - 2);
        memset(text, 'a' + i % 26, lengths[i]);
        publish_text(c, text, lengths[i]);
    }
    struct client *both[] = {k, old};
    for (int b = 0; b < 2; b++) {
        for (int i = 0; i < 600; i++) {
            const char *event = next_event(both[b]);
            cr_assert(event);
            cr_assert_eq(strlen(event), 6 + lengths[i] + 4);
            cr_assert_eq(event[6], 'a' + i % 26);
            cr_assert_eq(event[5 + lengths[i]], 'a' + i % 26);
        }
    }
    cr_assert_eq(dropped_of(c), 0);
    client_free(k);
    client_free(old);
    channel_unref(c);
    stop(s);
}

/* More than a small channel and the socket of a client that does not read can hold. */
static long overrun(struct channel *c)
{
    enum { MESSAGES = 300 };
    static char text[1000];
    memset(text, 'x', sizeof text);
    for (int n = 0; n < MESSAGES; n++) {
        publish_text(c, text, sizeof text);
        if (n % 10 == 0)
            usleep(1000);
    }
    return MESSAGES;
}

Test(streamer, slow_stream_is_told_what_it_missed_between_frames)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel_options options = {.max_messages = 10};
    struct channel *c = channel_new(s, &options);
    struct client *k = client_new(c, true, 1), *fast = client_new(c, true, 0);
    long published = overrun(c);
    publish_number(c, 7);
    long seen = 0, dropped = 0, told = 0;
    for (;;) {
        const char *event = next_event(k);
        cr_assert(event);
        if (sscanf(event, ": dropped %ld", &told) == 1) {
            dropped += told;
        } else if (strcmp(event, "data: {\"n\":7}\r\n\r\n") == 0) {
            break;
        } else {
            cr_assert(strncmp(event, "data: xxx", 9) == 0 && strlen(event) == 1010);
            seen++;
        }
    }
    cr_assert_gt(dropped, 0);
    cr_assert_eq(seen + dropped, published);
    cr_assert_geq(dropped_of(c), dropped);
    client_free(k);
    client_free(fast);
    channel_unref(c);
    stop(s);
}

Test(streamer, backlog_is_bounded_in_messages_and_bytes)
{
    struct channel_options few = {.max_messages = 10, .max_bytes = 1 << 20};
    struct channel_options small = {.max_messages = 1000, .max_bytes = 5000};
    const struct channel_options *options[] = {&few, &small};
    static char text[8000];
    for (int i = 0; i < 2; i++) {
        struct log log = {0};
        for (int n = 0; n < 100; n++) {
            struct entry e = {.message = message_new(NULL, n, text, 1000)};
            log_append(&log, options[i], &e);
        }
        cr_assert_eq(log.head, 100);
        cr_assert_eq(log.base, i ? 95 : 90);
        cr_assert_eq(message_time_us(log_at(&log, log.base)->message), (int64_t)log.base);
        struct entry large = {.message = message_new(NULL, 0, text, sizeof text)};
        log_append(&log, options[i], &large);
        cr_assert_eq(log.base, i ? 100 : 91); /* one is always kept */
        log_release(&log);
    }
}

Test(streamer, slow_stream_is_ended_where_so_configured)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel_options options = {.max_messages = 10, .disconnect_slow = true};
    struct channel *c = channel_new(s, &options);
    struct client *k = client_new(c, true, 1), *fast = client_new(c, true, 0);
    overrun(c);
    const char *event = NULL;
    do
        event = next_event(k);
    while (event && strncmp(event, "data: x", 7) == 0);
    cr_assert(event && strcmp(event, "event: end\r\ndata: {\"reason\":\"too slow\"}\r\n\r\n") == 0,
              "'%s'", event ? event : "the end");
    expect(k, "");
    cr_assert_null(next_event(k));
    struct streamer_stats stats;
    streamer_get_stats(s, &stats);
    cr_assert_geq(stats.disconnected_slow, 1);
    client_free(k);
    client_free(fast);
    channel_unref(c);
    stop(s);
}

Test(streamer, hang_up_frees_at_once)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    struct client *quiet = client_new(c, true, 0), *full = client_new(c, true, 1);
    overrun(c);
    client_free(quiet); /* with bytes unread */
    client_free(full);
    await(atomic_load(&ended), 2);
    cr_assert_eq(streams_of(c), 0);
    struct streamer_stats stats;
    streamer_get_stats(s, &stats);
    cr_assert_eq(stats.streams, 0);
    cr_assert_eq(stats.streams_total, 2);
    channel_unref(c);
    stop(s);
}

Test(streamer, only_idle_streams_get_heartbeats)
{
    struct streamer *s = start(1, 500);
    struct channel *idle = channel_new(s, NULL), *busy = channel_new(s, NULL);
    struct client *i = client_new(idle, true, 0), *o = client_new(idle, false, 0);
    int64_t start_ms = time_monotonic_ms();
    expect(i, ": ping\r\n\r\n");
    cr_assert_geq(time_monotonic_ms() - start_ms, 450);
    expect(o, ": ping\r\n\r\n");
    expect(i, ": ping\r\n\r\n");
    struct client *b = client_new(busy, true, 0);
    for (int n = 0; n < 300; n++) {
        publish_number(busy, n);
        usleep(2000);
    }
    int pings = 0; /* pauses of a loaded machine may let one pass */
    for (int n = 0; n < 300; n++) {
        const char *event = next_event(b);
        cr_assert(event);
        pings += event[0] == ':';
        n -= event[0] == ':';
    }
    cr_assert_leq(pings, 1);
    client_free(i);
    client_free(o);
    client_free(b);
    channel_unref(idle);
    channel_unref(busy);
    stop(s);
}

Test(streamer, stream_without_a_heartbeat_due_is_silent)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    struct client *k = client_new(c, true, 0);
    cr_assert(is_silent(k, 100));
    client_free(k);
    channel_unref(c);
    stop(s);
}

Test(streamer, thousand_streams_on_several_pumps)
{
    enum { STREAMS = 1000, MESSAGES = 50 };
    struct rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_NOFILE, &limit);
    struct streamer *s = start(3, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    static int fds[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        fds[i] = open_pair(c, true, 0);
    cr_assert_eq(streams_of(c), STREAMS);
    for (int n = 0; n < MESSAGES; n++)
        publish_number(c, n);
    channel_end(c, STREAM_END_NORMAL, "done");
    static struct client k;
    for (int i = 0; i < STREAMS; i++) {
        k = (struct client){.fd = fds[i]};
        for (int n = 0; n < MESSAGES; n++)
            expect_number(&k, n);
        expect(&k, "event: end\r\ndata: {\"reason\":\"done\"}\r\n\r\n");
        expect(&k, "");
        cr_assert_null(next_event(&k));
        close(fds[i]);
    }
    await(atomic_load(&ended), STREAMS);
    struct channel_stats stats;
    channel_get_stats(c, &stats);
    cr_assert_eq(stats.delivered, STREAMS * MESSAGES);
    cr_assert_eq(stats.streams, 0);
    channel_unref(c);
    stop(s);
}

Test(streamer, slow_channel_does_not_hold_up_another)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *heavy = channel_new(s, NULL), *light = channel_new(s, NULL);
    static int never_read[200];
    for (int i = 0; i < 200; i++)
        never_read[i] = open_pair(heavy, true, 1);
    struct client *k = client_new(light, true, 0);
    static char text[4000];
    memset(text, 'y', sizeof text);
    for (int n = 0; n < 200; n++) {
        for (int i = 0; i < 20; i++)
            publish_text(heavy, text, sizeof text);
        publish_number(light, n);
        expect_number(k, n);
    }
    cr_assert_eq(dropped_of(light), 0);
    for (int i = 0; i < 200; i++)
        close(never_read[i]);
    await(streams_of(heavy), 0);
    client_free(k);
    channel_unref(heavy);
    channel_unref(light);
    stop(s);
}

Test(streamer, stop_tells_every_stream_and_does_not_wait_for_a_dead_one)
{
    struct streamer *s = start(1, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL), *d = channel_new(s, NULL);
    struct client *k = client_new(c, true, 0), *dead = client_new(d, true, 1);
    publish_number(c, 1);
    overrun(d);
    int64_t start_ms = time_monotonic_ms();
    streamer_stop(s, 300);
    cr_assert_lt(time_monotonic_ms() - start_ms, 3000);
    cr_assert_eq(atomic_load(&ended), 2); /* each callback has run when it returns */
    expect_number(k, 1);
    expect(k, "event: end\r\ndata: {\"reason\":\"the server is stopping\"}\r\n\r\n");
    expect(k, "");
    cr_assert_null(next_event(k));
    struct stream *none = NULL;
    cr_assert_eq(stream_new(c, MESSAGE_SSE, NULL, NULL, &none, NULL), ERR_UNAVAILABLE);
    client_free(k);
    client_free(dead);
    channel_unref(c);
    channel_unref(d);
    streamer_free(s);
}

static void note_stream(void *ctx, int64_t created_us, uint64_t messages)
{
    uint64_t *sum = ctx;
    cr_assert_lt(llabs(time_now_us() - created_us), 60 * TIME_US_PER_SECOND);
    *sum += messages;
}

static uint64_t delivered_to_each(struct channel *c)
{
    uint64_t sum = 0;
    channel_each_stream(c, note_stream, &sum);
    return sum;
}

Test(streamer, each_stream_can_be_listed)
{
    struct streamer *s = start(2, SLOW_HEARTBEAT);
    struct channel *c = channel_new(s, NULL);
    struct client *a = client_new(c, true, 0), *b = client_new(c, true, 0);
    publish_number(c, 1);
    publish_number(c, 2);
    for (int n = 1; n <= 2; n++) {
        expect_number(a, n);
        expect_number(b, n);
    }
    await(delivered_to_each(c), 4); /* counted after the socket has taken it */
    client_free(a);
    client_free(b);
    await(streams_of(c), 0);
    cr_assert_eq(delivered_to_each(c), 0);
    channel_unref(c);
    stop(s);
}

/* --- coming, going, publishing and asking at once --- */

struct shared {
    struct streamer *streamer;
    struct channel *channel;
    _Atomic bool done;
};

static void *come_and_go(void *arg)
{
    struct shared *shared = arg;
    for (int i = 0; i < 300; i++) {
        int fd = open_pair(shared->channel, i % 3, i % 5 ? 0 : 1);
        char byte;
        if (i % 2)
            recv(fd, &byte, 1, 0);
        close(fd);
    }
    return NULL;
}

static void *ask(void *arg)
{
    struct shared *shared = arg;
    uint64_t sum = 0;
    while (!atomic_load(&shared->done)) {
        streams_of(shared->channel);
        channel_each_stream(shared->channel, note_stream, &sum);
    }
    return NULL;
}

static void *publish_on(void *arg)
{
    struct shared *shared = arg;
    for (long n = 0; !atomic_load(&shared->done); n++) {
        publish_number(shared->channel, n);
        struct channel *brief = channel_new(shared->streamer, NULL);
        if (n % 64 == 0)
            close(open_pair(brief, true, 0));
        publish_number(brief, n);
        channel_unref(brief); /* before its stream has gone */
    }
    return NULL;
}

Test(streamer, survives_coming_and_going_from_many_threads)
{
    struct shared shared = {.streamer = start(2, 20)};
    pthread_t threads[5];
    struct channel_options options = {.max_messages = 5};
    shared.channel = channel_new(shared.streamer, &options);
    thread_start(&threads[0], "publish", publish_on, &shared, NULL);
    thread_start(&threads[1], "ask", ask, &shared, NULL);
    for (int i = 2; i < 5; i++)
        thread_start(&threads[i], "come-go", come_and_go, &shared, NULL);
    for (int i = 2; i < 5; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&shared.done, true);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    await(streams_of(shared.channel), 0);
    channel_unref(shared.channel);
    stop(shared.streamer);
    cr_assert_geq(atomic_load(&ended), 900);
}

static _Atomic int held = 1;

static void hold(void *ctx)
{
    (void)ctx;
    while (atomic_load(&held))
        usleep(1000);
}

Test(streamer, a_thread_that_does_not_go_round_is_found)
{
    struct streamer *s = start(2, WAIT_MS);
    struct channel *c = channel_new(s, NULL);
    struct stream *stream = NULL;
    struct error err = ERROR_INIT;
    int pair[2];
    cr_expect_eq(streamer_check(s, time_monotonic_ms() + WAIT_MS, &err), 0, "%s", err.message);

    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    cr_assert_eq(stream_new(c, MESSAGE_SSE, hold, NULL, &stream, &err), 0);
    stream_run(stream, pair[0]);
    close(pair[1]); /* its end runs on the streamer's thread */
    while (streamer_check(s, time_monotonic_ms() + 50, &err) == 0) {}
    cr_expect_eq(err.code, ERR_AGAIN);

    atomic_store(&held, 0);
    cr_expect_eq(streamer_check(s, time_monotonic_ms() + WAIT_MS, &err), 0, "%s", err.message);
    channel_unref(c);
    stop(s);
}
