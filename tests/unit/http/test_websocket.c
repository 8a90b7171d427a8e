/* The frames of WebSockets, read in pieces of every size, and written. */
#include "http/websocket.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(websocket, .timeout = 60);

enum { MESSAGE_MAX = 70000, INPUT_MAX = 200000 };

/* --- frames as a client sends them --- */

struct input {
    unsigned char bytes[INPUT_MAX];
    size_t len;
};

/* Append a masked frame; the length in its shortest form. */
static void put(struct input *in, unsigned first, const void *payload, size_t len)
{
    static const unsigned char mask[4] = {0x12, 0x80, 0x00, 0xFF};
    unsigned char *out = in->bytes + in->len;
    size_t n = 2;
    cr_assert_leq(in->len + len + 14, sizeof in->bytes);
    out[0] = (unsigned char)first;
    if (len < 126) {
        out[1] = (unsigned char)(0x80 | len);
    } else {
        size_t size = len < 65536 ? 2 : 8;
        out[1] = size == 2 ? 0x80 | 126 : 0x80 | 127;
        for (size_t i = size; i-- > 0;)
            out[n++] = (unsigned char)((uint64_t)len >> (8 * i));
    }
    memcpy(out + n, mask, 4);
    n += 4;
    for (size_t i = 0; i < len; i++)
        out[n + i] = ((const unsigned char *)payload)[i] ^ mask[i & 3];
    in->len += n + len;
}

/* What the parser tells of `in`, cut into pieces of `piece` bytes, as one line. */
static void read_all(const struct input *in, size_t piece, char *out, size_t size)
{
    static const char *const names[] = {"", "message", "ping", "pong", "closed", "fault"};
    struct websocket_parser p;
    size_t n = 0;
    websocket_parser_init(&p, MESSAGE_MAX);
    out[0] = '\0';
    for (size_t at = 0; at < in->len;) {
        struct websocket_event event;
        size_t left = in->len - at < piece ? in->len - at : piece;
        size_t taken = websocket_parse(&p, in->bytes + at, left, &event);
        cr_assert(taken > 0 && taken <= left);
        at += taken;
        if (event.kind == WEBSOCKET_NOTHING)
            continue;
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? " " : "", names[event.kind]);
        if (event.kind == WEBSOCKET_FAULT)
            n += (size_t)snprintf(out + n, size - n, ":%s:%u", websocket_fault_name(event.fault),
                                  event.code);
        else if (event.kind == WEBSOCKET_CLOSED)
            n += (size_t)snprintf(out + n, size - n, ":%u:%.*s", event.code, (int)event.len,
                                  (const char *)event.payload);
        else if (event.kind != WEBSOCKET_MESSAGE)
            n += (size_t)snprintf(out + n, size - n, ":%.*s", (int)event.len,
                                  (const char *)event.payload);
    }
}

static void expect(const struct input *in, const char *events)
{
    static const size_t pieces[] = {1, 2, 3, 7, 64, INPUT_MAX};
    char told[4096];
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        read_all(in, pieces[i], told, sizeof told);
        cr_expect_str_eq(told, events, "in pieces of %zu: %s", pieces[i], told);
    }
}

static void expect_frame(unsigned first, const char *payload, size_t len, const char *events)
{
    struct input *in = calloc(1, sizeof *in);
    put(in, first, payload, len);
    expect(in, events);
    free(in);
}

#define FRAME(first, payload, events) expect_frame(first, payload, sizeof payload - 1, events)

enum { TEXT = 0x81, BINARY = 0x82, CLOSE = 0x88, PING = 0x89, PONG = 0x8A };
enum { TEXT_MORE = 0x01, BINARY_MORE = 0x02, MORE = 0x00, LAST = 0x80 };

Test(websocket, each_frame_is_one_event_however_it_is_cut)
{
    FRAME(TEXT, "hello", "message");
    FRAME(TEXT, "", "message");
    FRAME(BINARY, "\xff\x00", "message");
    FRAME(PING, "", "ping:");
    FRAME(PING, "are you there", "ping:are you there");
    FRAME(PONG, "yes", "pong:yes");
    FRAME(CLOSE, "", "closed:1005:");
    FRAME(CLOSE, "\x03\xe8", "closed:1000:");
    FRAME(CLOSE, "\x03\xe9going", "closed:1001:going");
}

Test(websocket, messages_end_with_their_last_fragment_and_control_frames_may_stand_between)
{
    struct input *in = calloc(1, sizeof *in);
    put(in, TEXT_MORE, "a\xe2", 2);
    put(in, PING, "1", 1);
    put(in, MORE, "\x82", 1);
    put(in, PONG, "", 0);
    put(in, MORE, "", 0);
    put(in, LAST, "\xac", 1);
    put(in, BINARY_MORE, "\xe2", 1);
    put(in, LAST, "", 0);
    put(in, TEXT, "b", 1);
    expect(in, "ping:1 pong: message message message");
    free(in);
}

Test(websocket, lengths_are_read_in_each_of_their_forms)
{
    static const size_t lengths[] = {125, 126, 127, 65535, 65536, MESSAGE_MAX};
    char *payload = malloc(MESSAGE_MAX + 1);
    memset(payload, 'x', MESSAGE_MAX + 1);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        expect_frame(TEXT, payload, lengths[i], "message");
        expect_frame(BINARY, payload, lengths[i], "message");
    }
    expect_frame(BINARY, payload, MESSAGE_MAX + 1, "fault:size:1009");
    expect_frame(PING, payload, 126, "fault:control:1002");
    free(payload);
}

Test(websocket, message_may_be_as_long_as_allowed_over_all_its_fragments)
{
    struct input *in = calloc(1, sizeof *in);
    char *payload = calloc(1, MESSAGE_MAX);
    put(in, BINARY_MORE, payload, 1);
    put(in, LAST, payload, MESSAGE_MAX - 1);
    put(in, BINARY, payload, MESSAGE_MAX); /* and the next one begins at zero */
    expect(in, "message message");
    in->len = 0;
    put(in, BINARY_MORE, payload, 1);
    put(in, LAST, payload, MESSAGE_MAX);
    put(in, PING, "", 0);
    expect(in, "fault:size:1009");
    free(payload);
    free(in);
}

Test(websocket, no_length_makes_the_parser_lose_count)
{
    static const unsigned char longest[] = "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    static const unsigned char beyond[] = "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0";
    static const unsigned char padded_16[] = "\x82\xfe\0\x7d\0\0\0\0";
    static const unsigned char padded_64[] = "\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0";
    struct input *in = calloc(1, sizeof *in);
#define BYTES(text, events)                       \
    do {                                          \
        in->len = sizeof text - 1;                \
        memcpy(in->bytes, text, sizeof text - 1); \
        expect(in, events);                       \
    } while (0)
    BYTES(longest, "fault:size:1009");
    BYTES(beyond, "fault:length:1002");
    BYTES(padded_16, "fault:length:1002");
    BYTES(padded_64, "fault:length:1002");
    BYTES("\x81\x01x", "fault:unmasked:1002");
    BYTES("\x89\x00", "fault:unmasked:1002");
    /* The second fragment would overflow what the first one has counted. */
    in->len = 0;
    put(in, BINARY_MORE, "x", 1);
    memcpy(in->bytes + in->len, longest, sizeof longest - 1);
    in->bytes[in->len] = LAST;
    in->len += sizeof longest - 1;
    expect(in, "fault:size:1009");
    free(in);
}

Test(websocket, reserved_bits_and_opcodes_are_faults)
{
    for (unsigned bits = 0x10; bits <= 0x70; bits += 0x10)
        FRAME(TEXT | bits, "x", "fault:reserved:1002");
    for (unsigned opcode = 3; opcode < 16; opcode++) {
        if (opcode < 8 || opcode > 10)
            FRAME(0x80 | opcode, "x", "fault:reserved:1002");
    }
}

Test(websocket, fragments_out_of_order_are_faults)
{
    struct input *in = calloc(1, sizeof *in);
    FRAME(LAST, "x", "fault:continuation:1002");
    FRAME(MORE, "x", "fault:continuation:1002");
    put(in, TEXT_MORE, "a", 1);
    put(in, TEXT, "b", 1);
    expect(in, "fault:continuation:1002");
    in->len = 0;
    put(in, TEXT_MORE, "a", 1);
    put(in, LAST, "b", 1);
    put(in, LAST, "c", 1);
    expect(in, "message fault:continuation:1002");
    FRAME(PING & ~0x80u, "x", "fault:control:1002");
    FRAME(CLOSE & ~0x80u, "", "fault:control:1002");
    free(in);
}

static bool told_closed(unsigned code)
{
    struct input *in = calloc(1, sizeof *in);
    char told[64];
    unsigned char payload[2] = {(unsigned char)(code >> 8), (unsigned char)code};
    put(in, CLOSE, payload, 2);
    read_all(in, INPUT_MAX, told, sizeof told);
    free(in);
    return strncmp(told, "closed:", 7) == 0;
}

Test(websocket, only_registered_or_private_numbers_may_close)
{
    for (unsigned code = 0; code <= 65535; code++) {
        bool may = (code >= 1000 && code <= 1014 && (code < 1004 || code > 1006)) ||
                   (code >= 3000 && code < 5000);
        if (told_closed(code) != may)
            cr_expect(false, "%u", code);
    }
    FRAME(CLOSE, "\x03", "fault:close_code:1002");
}

Test(websocket, text_that_is_not_utf8_is_a_fault_as_soon_as_it_shows)
{
    static const char *const bad[] = {"\x80",
                                      "\xc0\xaf",
                                      "\xc1\xbf",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xc3(",
                                      "\xe2\x82",
                                      "a\xf0\x9f\x98"};
    static const char *const good[] = {"\xc2\x80",         "\xdf\xbf",        "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",     "\xee\x80\x80",    "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    char reason[32] = "\x03\xe8";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        expect_frame(TEXT, bad[i], strlen(bad[i]), "fault:utf8:1007");
        strcpy(reason + 2, bad[i]);
        expect_frame(CLOSE, reason, strlen(reason), "fault:utf8:1007");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        expect_frame(TEXT, good[i], strlen(good[i]), "message");
    struct input *in = calloc(1, sizeof *in);
    put(in, TEXT_MORE, "\xff", 1); /* no later fragment is awaited */
    expect(in, "fault:utf8:1007");
    free(in);
}

Test(websocket, nothing_is_told_after_a_close_frame_or_a_fault)
{
    struct input *in = calloc(1, sizeof *in);
    put(in, CLOSE, "\x03\xe8", 2);
    put(in, PING, "x", 1);
    expect(in, "closed:1000:");
    in->len = 0;
    put(in, 0x83, "", 0);
    put(in, PING, "x", 1);
    put(in, CLOSE, "\x03\xe8", 2);
    expect(in, "fault:reserved:1002");
    free(in);
}

/* Whatever the bytes are, how they are cut makes no difference. */
Test(websocket, random_bytes_tell_the_same_in_any_pieces)
{
    struct input *in = calloc(1, sizeof *in);
    char whole[8192], cut[8192];
    srand(1);
    for (int round = 0; round < 3000; round++) {
        in->len = 0;
        for (int frame = 0; frame < 6; frame++) {
            char payload[130];
            size_t len = (size_t)rand() % sizeof payload;
            for (size_t i = 0; i < len; i++)
                payload[i] = (char)(rand() % 16 ? 'a' : rand());
            put(in, (unsigned)(rand() % 2 ? TEXT : rand()) & 0xFF, payload, len);
        }
        in->len -= (size_t)rand() % 5;
        read_all(in, INPUT_MAX, whole, sizeof whole);
        read_all(in, 1 + (size_t)rand() % 9, cut, sizeof cut);
        cr_assert_str_eq(whole, cut);
    }
    free(in);
}

/* --- what is sent --- */

static struct message_frame encode(struct buf *out, size_t len)
{
    char *body = malloc(len + 1);
    memset(body, 'x', len);
    struct message *m = message_new(NULL, 0, body, len);
    cr_assert_eq(websocket_encode(m, out), 0);
    message_unref(m);
    free(body);
    return (struct message_frame){out->data, out->len};
}

Test(websocket, messages_are_one_unmasked_text_frame_of_the_shortest_form)
{
    static const struct {
        size_t len, head;
        const char *bytes;
    } cases[] = {{0, 2, "\x81\x00"},
                 {125, 2, "\x81\x7d"},
                 {126, 4, "\x81\x7e\x00\x7e"},
                 {65535, 4, "\x81\x7e\xff\xff"},
                 {65536, 10, "\x81\x7f\0\0\0\0\0\x01\0\0"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = BUF_INIT(1 << 20);
        struct message_frame frame = encode(&out, cases[i].len);
        cr_expect_eq(frame.len, cases[i].head + cases[i].len);
        cr_expect(memcmp(frame.data, cases[i].bytes, cases[i].head) == 0, "%zu", cases[i].len);
        buf_release(&out);
    }
}

Test(websocket, control_frames_are_as_rfc_6455_has_them)
{
    unsigned char out[WEBSOCKET_CONTROL_SIZE];
    cr_expect_eq(websocket_write_ping(out), 2);
    cr_expect(memcmp(out, "\x89\x00", 2) == 0);
    cr_expect_eq(websocket_write_pong((const unsigned char *)"abc", 3, out), 5);
    cr_expect(memcmp(out,
                     "\x8a\x03"
                     "abc",
                     5) == 0);
    cr_expect_eq(websocket_write_close(1001, "bye", out), 7);
    cr_expect(memcmp(out,
                     "\x88\x05\x03\xe9"
                     "bye",
                     7) == 0);
    cr_expect_eq(websocket_write_close(WEBSOCKET_NO_CODE, "", out), 2);
    cr_expect(memcmp(out, "\x88\x00", 2) == 0);
}

Test(websocket, reason_that_is_too_long_is_cut_between_characters)
{
    unsigned char out[WEBSOCKET_CONTROL_SIZE];
    char reason[200];
    memset(reason, 'x', sizeof reason);
    reason[123] = '\0';
    cr_expect_eq(websocket_write_close(1001, reason, out), 127);
    reason[123] = 'x';
    reason[124] = '\0';
    cr_expect_eq(websocket_write_close(1001, reason, out), 127);
    strcpy(reason + 121, "\xe2\x82\xac"); /* the third byte would be the 124th */
    cr_expect_eq(websocket_write_close(1001, reason, out), 125);
    cr_expect_eq(out[1], 123);
}

/* --- the handshake --- */

Test(websocket, accept_is_that_of_the_rfc)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];
    cr_expect_eq(websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept), 0);
    cr_expect_str_eq(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

Test(websocket, key_is_base64_of_16_bytes)
{
    cr_expect(websocket_key_is_valid("dGhlIHNhbXBsZSBub25jZQ=="));
    cr_expect(websocket_key_is_valid("AAAAAAAAAAAAAAAAAAAAAA=="));
    cr_expect(websocket_key_is_valid("+/+/+/+/+/+/+/+/+/+/+w=="));
    static const char *const bad[] = {"",
                                      "c2hvcnQ=",
                                      "dGhlIHNhbXBsZSBub25jZQ=",
                                      "dGhlIHNhbXBsZSBub25jZQ",
                                      "dGhlIHNhbXBsZSBub25jZQ== ",
                                      "dGhlIHNhbXBsZSBub25jZQ===",
                                      "dGhlIHNhbXBsZSBub25jZR==",
                                      "dGhlIHNhbXBsZSBub25jZTE=",
                                      "dGhlIHNhbXBsZSBub25jZTEy",
                                      "dGhlIHNhbXBs-SBub25jZQ=="};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(websocket_key_is_valid(bad[i]), "%s", bad[i]);
}
