/* WebSockets in the streamer, over socket pairs: control frames, ends, silence, slow readers. */
#include "base/time.h"
#include "http/http_priv.h"
#include "http/streamer_priv.h"
#include "http_fixture.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(stream_websocket, .timeout = 60);

enum { SLOW_HEARTBEAT = 600000, FAST_CLOCK = 5000, MESSAGE_MAX = 1000 };
enum { TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

static struct streamer *streamer;
static struct channel *channel;
static _Atomic int ended;

static void start(int64_t heartbeat_ms, const struct channel_options *options)
{
    struct error err = ERROR_INIT;
    message_set_encoder(MESSAGE_WEBSOCKET, websocket_encode);
    cr_assert_eq(streamer_create(1, heartbeat_ms, &streamer, &err), 0, "%s", err.message);
    streamer->max_websocket_message = MESSAGE_MAX;
    channel = channel_new(streamer, options);
    cr_assert(channel);
}

static void stop(void)
{
    channel_unref(channel);
    streamer_stop(streamer, WAIT_MS);
    streamer_free(streamer);
}

static struct streamer_stats stats(void)
{
    struct streamer_stats s;
    streamer_get_stats(streamer, &s);
    return s;
}

static size_t streams_of(struct channel *c)
{
    struct channel_stats s;
    channel_get_stats(c, &s);
    return s.streams;
}

static void count_end(void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&ended, 1);
}

/* --- a client --- */

struct frame {
    unsigned opcode;
    size_t len;
    char payload[70000]; /* NUL-terminated */
};

static int open_socket(int send_buffer)
{
    int pair[2];
    struct stream *s = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    if (send_buffer)
        setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    cr_assert_eq(stream_new(channel, MESSAGE_WEBSOCKET, count_end, NULL, &s, &err), 0, "%s",
                 err.message);
    stream_run(s, pair[0]);
    return pair[1];
}

static bool read_bytes(int fd, void *out, size_t len)
{
    for (size_t n = 0; n < len;) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        cr_assert_eq(poll(&readable, 1, WAIT_MS), 1, "nothing comes");
        ssize_t got = recv(fd, (char *)out + n, len - n, 0);
        if (got <= 0)
            return false;
        n += (size_t)got;
    }
    return true;
}

/* The next frame; false: the end of the connection. */
static bool read_frame(int fd, struct frame *f)
{
    unsigned char head[10];
    if (!read_bytes(fd, head, 2))
        return false;
    cr_assert_eq(head[0] & 0xF0, 0x80);
    f->opcode = head[0] & 15;
    f->len = head[1];
    if (head[1] >= 126) {
        size_t size = head[1] == 126 ? 2 : 8;
        cr_assert(read_bytes(fd, head, size));
        f->len = 0;
        for (size_t i = 0; i < size; i++)
            f->len = f->len << 8 | head[i];
    }
    cr_assert_lt(f->len, sizeof f->payload);
    cr_assert(f->len == 0 || read_bytes(fd, f->payload, f->len));
    f->payload[f->len] = '\0';
    return true;
}

static struct frame frame; /* the one read last */

static void expect(int fd, unsigned opcode, const char *payload)
{
    cr_assert(read_frame(fd, &frame), "the connection ended");
    cr_assert_eq(frame.opcode, opcode, "opcode %u", frame.opcode);
    cr_assert_str_eq(frame.payload, payload);
}

static void expect_close(int fd, unsigned code, const char *reason)
{
    cr_assert(read_frame(fd, &frame), "the connection ended");
    cr_assert_eq(frame.opcode, CLOSE, "opcode %u", frame.opcode);
    cr_assert_eq((unsigned)(unsigned char)frame.payload[0] << 8 | (unsigned char)frame.payload[1],
                 code);
    cr_assert_str_eq(frame.payload + 2, reason);
}

/* A frame whose mask is zero. */
static void say(int fd, unsigned opcode, const char *payload, size_t len)
{
    unsigned char bytes[6 + 125] = {(unsigned char)(0x80 | opcode), (unsigned char)(0x80 | len)};
    memcpy(bytes + 6, payload, len);
    cr_assert_eq(send(fd, bytes, 6 + len, MSG_NOSIGNAL), (ssize_t)(6 + len));
}

static void publish(const char *text, size_t len)
{
    struct message *m = message_new(NULL, 0, text, len);
    channel_publish(channel, m);
    message_unref(m);
}

/* --- the claims --- */

Test(stream_websocket, messages_come_as_text_frames_and_notices_do_not_come)
{
    start(SLOW_HEARTBEAT, NULL);
    int fd = open_socket(0);
    publish("{\"n\":1}", 7);
    channel_notice(channel, "gap", "{\"lost\":2}", 10);
    channel_notice(channel, "stale", "{}", 2);
    publish("{\"n\":2}", 7);
    expect(fd, TEXT, "{\"n\":1}");
    expect(fd, TEXT, "{\"n\":2}");
    await(stats().delivered, 2);
    cr_assert_eq(stats().websocket_untold, 2);
    cr_assert_eq(stats().websockets, 1);
    close(fd);
    await(stats().websockets, 0);
    stop();
}

Test(stream_websocket, each_end_has_its_number_and_reason)
{
    static const enum stream_end codes[] = {STREAM_END_NORMAL, STREAM_END_STOPPING,
                                            STREAM_END_POLICY, STREAM_END_LOST, STREAM_END_LATER};
    start(SLOW_HEARTBEAT, NULL);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        int fd = open_socket(0);
        publish("1", 1);
        channel_end(channel, codes[i], "so it is");
        expect(fd, TEXT, "1"); /* what came before is sent before */
        expect_close(fd, (unsigned)codes[i], "so it is");
        say(fd, CLOSE, "\x03\xe8", 2);
        cr_assert_not(read_frame(fd, &frame));
        close(fd);
        channel_unref(channel);
        channel = channel_new(streamer, NULL);
    }
    stop();
}

Test(stream_websocket, stream_leaves_its_channel_before_the_client_has_answered)
{
    start(FAST_CLOCK, NULL);
    int fd = open_socket(0);
    channel_end(channel, STREAM_END_STOPPING, "");
    expect_close(fd, 1001, "");
    await(atomic_load(&ended), 1);
    cr_assert_eq(streams_of(channel), 0);
    cr_assert_eq(stats().websockets, 1); /* it waits for the answer */
    say(fd, TEXT, "late", 4);
    say(fd, PING, "late", 4); /* neither matters any more */
    cr_assert_not(read_frame(fd, &frame), "it waits for ever");
    await(stats().websockets, 0);
    cr_assert_eq(atomic_load(&ended), 1);
    close(fd);
    stop();
}

Test(stream_websocket, client_may_close_while_others_go_on)
{
    start(SLOW_HEARTBEAT, NULL);
    int leaver = open_socket(0), stayer = open_socket(0);
    publish("1", 1);
    expect(leaver, TEXT, "1");
    say(leaver, CLOSE, "\x03\xe9thanks", 8);
    expect_close(leaver, 1001, "");
    cr_assert_not(read_frame(leaver, &frame));
    publish("2", 1);
    expect(stayer, TEXT, "1");
    expect(stayer, TEXT, "2");
    await(streams_of(channel), 1);
    close(leaver);
    close(stayer);
    stop();
}

Test(stream_websocket, silent_client_is_asked_and_then_ended)
{
    start(100, NULL);
    int silent = open_socket(0);
    int64_t before = time_monotonic_ms();
    expect(silent, PING, "");
    cr_assert_not(read_frame(silent, &frame));
    cr_assert_geq(time_monotonic_ms() - before, 200); /* two heartbeats to answer */
    await(stats().websocket_silent, 1);
    close(silent);
    stop();
}

Test(stream_websocket, client_that_answers_is_kept_and_asked_again_also_while_data_flows)
{
    start(1000, NULL);
    int fd = open_socket(0);
    for (int pings = 0; pings < 3;) {
        publish("1", 1);
        usleep(1000);
        cr_assert(read_frame(fd, &frame), "ended in spite of its answers");
        if (frame.opcode == PING) {
            pings++;
            say(fd, PONG, "", 0);
        }
    }
    cr_assert_eq(stats().websocket_silent, 0);
    close(fd);
    stop();
}

/* Large frames through a tiny buffer, cut everywhere, with pongs that must come between them. */
Test(stream_websocket, pongs_come_between_frames_that_are_sent_in_parts)
{
    struct channel_options options = {.max_messages = 1000, .max_bytes = 64 << 20};
    start(SLOW_HEARTBEAT, &options);
    int fd = open_socket(1);
    static char text[60000];
    int messages = 0, pongs = 0, newest = -1;
    for (int i = 0; i < 200; i++) {
        char payload[8];
        memset(text, 'a' + i % 26, sizeof text);
        publish(text, 1 + (size_t)i * 293 % sizeof text);
        say(fd, PING, payload, (size_t)snprintf(payload, sizeof payload, "%d", i));
    }
    while (messages < 200 || newest < 199) {
        cr_assert(read_frame(fd, &frame));
        if (frame.opcode == PONG) {
            int n = atoi(frame.payload);
            cr_assert_gt(n, newest); /* those that were overtaken are left out */
            newest = n;
            pongs++;
        } else {
            cr_assert_eq(frame.opcode, TEXT);
            cr_assert_eq(frame.len, 1 + (size_t)messages * 293 % sizeof text);
            cr_assert_eq(frame.payload[0], 'a' + messages % 26);
            cr_assert_eq(frame.payload[frame.len - 1], 'a' + messages % 26);
            messages++;
        }
    }
    cr_assert_geq(pongs, 1);
    cr_assert_eq(stats().dropped, 0);
    close(fd);
    stop();
}

static void overrun(void)
{
    static char text[1000];
    memset(text, 'x', sizeof text);
    for (int n = 0; n < 300; n++) {
        publish(text, sizeof text);
        if (n % 10 == 0)
            usleep(1000);
    }
}

Test(stream_websocket, slow_client_skips_the_oldest_without_a_word)
{
    struct channel_options options = {.max_messages = 10};
    start(SLOW_HEARTBEAT, &options);
    int fd = open_socket(1);
    overrun();
    publish("last", 4);
    uint64_t seen = 0;
    do {
        cr_assert(read_frame(fd, &frame));
        cr_assert_eq(frame.opcode, TEXT);
        seen++;
    } while (strcmp(frame.payload, "last") != 0);
    cr_assert_gt(stats().dropped, 0);
    cr_assert_eq(seen + stats().dropped, 301);
    close(fd);
    stop();
}

Test(stream_websocket, slow_client_is_ended_with_1013_where_that_is_asked_for)
{
    struct channel_options options = {.max_messages = 10, .disconnect_slow = true};
    start(SLOW_HEARTBEAT, &options);
    int fd = open_socket(1);
    overrun();
    await(stats().disconnected_slow, 1);
    do
        cr_assert(read_frame(fd, &frame), "no close frame");
    while (frame.opcode == TEXT);
    cr_assert_eq(frame.opcode, CLOSE);
    cr_assert(memcmp(frame.payload, "\x03\xf5", 2) == 0);
    cr_assert_str_eq(frame.payload + 2, "too slow");
    close(fd);
    stop();
}

Test(stream_websocket, close_of_a_client_that_does_not_read_is_waited_for_only_so_long)
{
    struct channel_options options = {.max_messages = 1000, .max_bytes = 64 << 20};
    start(FAST_CLOCK, &options);
    int fd = open_socket(1);
    overrun();
    say(fd, CLOSE, "\x03\xe8", 2);
    await(stats().websockets, 0);
    cr_assert_eq(atomic_load(&ended), 1);
    close(fd);
    stop();
}

Test(stream_websocket, fault_is_told_counted_and_ends_the_connection)
{
    start(SLOW_HEARTBEAT, NULL);
    int fd = open_socket(0);
    cr_assert_eq(send(fd, "\x81\x01x", 3, MSG_NOSIGNAL), 3);
    expect_close(fd, 1002, "a frame without a mask");
    cr_assert_not(read_frame(fd, &frame));
    await(atomic_load(&ended), 1);
    cr_assert_eq(stats().websocket_faults[WEBSOCKET_UNMASKED], 1);
    close(fd);
    await(stats().websockets, 0);
    stop();
}

Test(stream_websocket, server_stop_says_1001_also_to_those_that_never_answer)
{
    start(SLOW_HEARTBEAT, NULL);
    int fds[10];
    for (int i = 0; i < 10; i++)
        fds[i] = open_socket(0);
    channel_unref(channel);
    int64_t before = time_monotonic_ms();
    streamer_stop(streamer, 100); /* none answers */
    cr_assert_lt(time_monotonic_ms() - before, WAIT_MS);
    for (int i = 0; i < 10; i++) {
        expect_close(fds[i], 1001, "the server is stopping");
        cr_assert_not(read_frame(fds[i], &frame));
        close(fds[i]);
    }
    cr_assert_eq(atomic_load(&ended), 10);
    streamer_free(streamer);
}
