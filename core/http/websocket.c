#include "http/websocket.h"

#include "base/digest.h"

#include <stdio.h>
#include <string.h>

enum { OP_CONTINUATION = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { BIT_FINAL = 0x80, BITS_RESERVED = 0x70, BITS_OPCODE = 0x0F, BIT_MASK = 0x80 };
enum { LENGTH_16 = 126, LENGTH_64 = 127 };

void websocket_parser_init(struct websocket_parser *p, uint64_t max_message)
{
    *p = (struct websocket_parser){.max_message = max_message, .head_need = 2};
}

static const struct {
    const char *name, *text;
} faults[WEBSOCKET_FAULTS] = {
    [WEBSOCKET_UNMASKED] = {"unmasked", "a frame without a mask"},
    [WEBSOCKET_RESERVED] = {"reserved", "a reserved bit or opcode"},
    [WEBSOCKET_CONTROL] = {"control", "a control frame that is fragmented or too long"},
    [WEBSOCKET_LENGTH] = {"length", "a length that is not in its shortest form"},
    [WEBSOCKET_CONTINUATION] = {"continuation", "fragments out of order"},
    [WEBSOCKET_CLOSE_CODE] = {"close_code", "a malformed close frame"},
    [WEBSOCKET_UTF8] = {"utf8", "text that is not UTF-8"},
    [WEBSOCKET_SIZE] = {"size", "a message that is too long"},
};

const char *websocket_fault_name(enum websocket_fault fault)
{
    return faults[fault].name;
}

const char *websocket_fault_text(enum websocket_fault fault)
{
    return faults[fault].text;
}

static bool is_control(unsigned opcode)
{
    return opcode & 8;
}

static void fail(struct websocket_parser *p, enum websocket_fault fault,
                 struct websocket_event *ret)
{
    p->ended = true;
    ret->kind = WEBSOCKET_FAULT;
    ret->fault = fault;
    ret->code = fault == WEBSOCKET_UTF8   ? WEBSOCKET_NOT_TEXT
                : fault == WEBSOCKET_SIZE ? WEBSOCKET_TOO_BIG
                                          : WEBSOCKET_PROTOCOL;
}

/* --- UTF-8, in pieces --- */

/* What may follow a character's first byte: how many more, and between what the next one lies. */
static bool begin_character(struct websocket_parser *p, unsigned char c)
{
    p->utf8_low = 0x80;
    p->utf8_high = 0xBF;
    if (c < 0x80)
        p->utf8_left = 0;
    else if (c >= 0xC2 && c <= 0xDF)
        p->utf8_left = 1;
    else if (c >= 0xE0 && c <= 0xEF)
        p->utf8_left = 2;
    else if (c >= 0xF0 && c <= 0xF4)
        p->utf8_left = 3;
    else
        return false;
    if (c == 0xE0 || c == 0xF0) /* else it could be shorter */
        p->utf8_low = c == 0xE0 ? 0xA0 : 0x90;
    if (c == 0xED) /* surrogates */
        p->utf8_high = 0x9F;
    if (c == 0xF4) /* beyond U+10FFFF */
        p->utf8_high = 0x8F;
    return true;
}

static bool take_text(struct websocket_parser *p, unsigned char c)
{
    if (p->utf8_left == 0)
        return begin_character(p, c);
    if (c < p->utf8_low || c > p->utf8_high)
        return false;
    p->utf8_left--;
    p->utf8_low = 0x80;
    p->utf8_high = 0xBF;
    return true;
}

/* --- the head of a frame --- */

static size_t head_size(const unsigned char *head)
{
    unsigned length = head[1] & 0x7F;
    return 2 + (length == LENGTH_16 ? 2 : length == LENGTH_64 ? 8 : 0) + 4;
}

static uint64_t read_length(const unsigned char *head)
{
    unsigned length = head[1] & 0x7F;
    uint64_t value = 0;
    if (length < LENGTH_16)
        return length;
    for (size_t i = 2; i < (length == LENGTH_16 ? 4 : 10); i++)
        value = value << 8 | head[i];
    return value;
}

/* Faults that the first two bytes show. */
static bool check_start(struct websocket_parser *p, struct websocket_event *ret)
{
    unsigned opcode = p->head[0] & BITS_OPCODE, length = p->head[1] & 0x7F;
    bool final = p->head[0] & BIT_FINAL;
    int fault = -1;
    if (p->head[0] & BITS_RESERVED || (opcode > OP_BINARY && opcode < OP_CLOSE) || opcode > OP_PONG)
        fault = WEBSOCKET_RESERVED;
    else if (!(p->head[1] & BIT_MASK))
        fault = WEBSOCKET_UNMASKED;
    else if (is_control(opcode) && (!final || length > WEBSOCKET_CONTROL_MAX))
        fault = WEBSOCKET_CONTROL;
    else if (!is_control(opcode) && p->in_message != (opcode == OP_CONTINUATION))
        fault = WEBSOCKET_CONTINUATION;
    if (fault >= 0)
        fail(p, (enum websocket_fault)fault, ret);
    return fault < 0;
}

/* The head is whole: begin the payload. */
static bool begin_payload(struct websocket_parser *p, struct websocket_event *ret)
{
    unsigned opcode = p->head[0] & BITS_OPCODE, short_length = p->head[1] & 0x7F;
    uint64_t length = read_length(p->head);
    if ((short_length == LENGTH_16 && length < LENGTH_16) ||
        (short_length == LENGTH_64 && (length <= UINT16_MAX || length >> 63))) {
        fail(p, WEBSOCKET_LENGTH, ret);
        return false;
    }
    p->opcode = (unsigned char)opcode;
    p->final = p->head[0] & BIT_FINAL;
    p->left = length;
    p->mask_at = 0;
    p->control_len = 0;
    p->in_payload = true;
    if (is_control(opcode))
        return true;
    if (opcode != OP_CONTINUATION) {
        p->message = 0;
        p->text = opcode == OP_TEXT;
        p->utf8_left = 0;
    }
    p->in_message = !p->final;
    if (length > p->max_message - p->message) {
        fail(p, WEBSOCKET_SIZE, ret);
        return false;
    }
    p->message += length;
    return true;
}

/* Returns the bytes taken; p->in_payload or ret->kind tells what came of it. */
static size_t take_head(struct websocket_parser *p, const unsigned char *bytes, size_t n,
                        struct websocket_event *ret)
{
    size_t taken = 0;
    while (taken < n && p->head_len < p->head_need) {
        p->head[p->head_len++] = bytes[taken++];
        if (p->head_len != 2)
            continue;
        if (!check_start(p, ret))
            return taken;
        p->head_need = (unsigned char)head_size(p->head);
    }
    if (p->head_len == p->head_need)
        begin_payload(p, ret);
    return taken;
}

/* --- the payload --- */

static size_t take_payload(struct websocket_parser *p, const unsigned char *bytes, size_t n,
                           struct websocket_event *ret)
{
    const unsigned char *mask = p->head + p->head_need - 4;
    size_t taken = n < p->left ? n : (size_t)p->left;
    p->left -= taken;
    if (!is_control(p->opcode) && !p->text)
        return taken;
    for (size_t i = 0; i < taken; i++) {
        unsigned char c = bytes[i] ^ mask[p->mask_at++ & 3];
        if (is_control(p->opcode)) {
            p->control[p->control_len++] = c;
        } else if (!take_text(p, c)) {
            fail(p, WEBSOCKET_UTF8, ret);
            return i + 1;
        }
    }
    return taken;
}

/* RFC 6455, 7.4, and what IANA has registered since. */
static bool may_be_sent(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static void end_close(struct websocket_parser *p, struct websocket_event *ret)
{
    unsigned code = WEBSOCKET_NO_CODE;
    if (p->control_len > 0) {
        code = p->control_len > 1 ? (unsigned)p->control[0] << 8 | p->control[1] : 0;
        if (!may_be_sent(code)) {
            fail(p, WEBSOCKET_CLOSE_CODE, ret);
            return;
        }
        ret->payload = p->control + 2;
        ret->len = p->control_len - 2u;
    }
    ret->code = code;
    p->utf8_left = 0;
    for (size_t i = 0; i < ret->len; i++) {
        if (!take_text(p, ret->payload[i])) {
            fail(p, WEBSOCKET_UTF8, ret);
            return;
        }
    }
    if (p->utf8_left) {
        fail(p, WEBSOCKET_UTF8, ret);
        return;
    }
    ret->kind = WEBSOCKET_CLOSED;
    p->ended = true;
}

static void end_frame(struct websocket_parser *p, struct websocket_event *ret)
{
    p->in_payload = false;
    p->head_len = 0;
    p->head_need = 2;
    if (p->opcode == OP_CLOSE) {
        end_close(p, ret);
    } else if (is_control(p->opcode)) {
        ret->kind = p->opcode == OP_PING ? WEBSOCKET_PING : WEBSOCKET_PONG;
        ret->payload = p->control;
        ret->len = p->control_len;
    } else if (p->final) {
        if (p->text && p->utf8_left)
            fail(p, WEBSOCKET_UTF8, ret);
        else
            ret->kind = WEBSOCKET_MESSAGE;
    }
}

size_t websocket_parse(struct websocket_parser *p, const unsigned char *bytes, size_t n,
                       struct websocket_event *ret)
{
    size_t taken = 0;
    *ret = (struct websocket_event){.kind = WEBSOCKET_NOTHING};
    while (taken < n && ret->kind == WEBSOCKET_NOTHING && !p->ended) {
        if (!p->in_payload)
            taken += take_head(p, bytes + taken, n - taken, ret);
        if (p->in_payload && ret->kind == WEBSOCKET_NOTHING) {
            taken += take_payload(p, bytes + taken, n - taken, ret);
            if (p->left == 0 && ret->kind == WEBSOCKET_NOTHING)
                end_frame(p, ret);
        }
    }
    return p->ended ? n : taken;
}

/* --- what is sent: never masked, never in fragments --- */

int websocket_encode(const struct message *m, struct buf *out)
{
    struct message_frame body = message_body(m);
    unsigned char head[10] = {BIT_FINAL | OP_TEXT};
    size_t n = 2;
    if (body.len < LENGTH_16) {
        head[1] = (unsigned char)body.len;
    } else {
        size_t bytes = body.len <= UINT16_MAX ? 2 : 8;
        head[1] = bytes == 2 ? LENGTH_16 : LENGTH_64;
        for (size_t i = bytes; i-- > 0;)
            head[n++] = (unsigned char)((uint64_t)body.len >> (8 * i));
    }
    buf_append(out, head, n);
    return buf_append(out, body.data, body.len);
}

static size_t write_control(unsigned opcode, size_t len, unsigned char out[WEBSOCKET_CONTROL_SIZE])
{
    out[0] = (unsigned char)(BIT_FINAL | opcode);
    out[1] = (unsigned char)len;
    return len + 2;
}

size_t websocket_write_ping(unsigned char out[WEBSOCKET_CONTROL_SIZE])
{
    return write_control(OP_PING, 0, out);
}

size_t websocket_write_pong(const unsigned char *payload, size_t len,
                            unsigned char out[WEBSOCKET_CONTROL_SIZE])
{
    memcpy(out + 2, payload, len);
    return write_control(OP_PONG, len, out);
}

/* As much of `text` as fits, not ending inside a character. */
static size_t fitting(const char *text)
{
    size_t len = strlen(text);
    if (len <= WEBSOCKET_REASON_MAX)
        return len;
    len = WEBSOCKET_REASON_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
        len--;
    return len;
}

size_t websocket_write_close(unsigned code, const char *reason,
                             unsigned char out[WEBSOCKET_CONTROL_SIZE])
{
    if (code == WEBSOCKET_NO_CODE)
        return write_control(OP_CLOSE, 0, out);
    size_t len = fitting(reason);
    out[2] = (unsigned char)(code >> 8);
    out[3] = (unsigned char)code;
    memcpy(out + 4, reason, len);
    return write_control(OP_CLOSE, len + 2, out);
}

/* --- the handshake --- */

bool websocket_key_is_valid(const char *key)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    /* 16 bytes are 21 digits, one of which only two bits count, and "==". */
    size_t digits = strspn(key, alphabet);
    return digits == 22 && strcmp(key + digits, "==") == 0 && strchr("AQgw", key[21]);
}

int websocket_accept(const char *key, char ret[WEBSOCKET_ACCEPT_SIZE])
{
    char text[64];
    unsigned char digest[20];
    int len = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    int rc = digest_sha1(text, (size_t)len, digest);
    if (rc)
        return rc;
    digest_base64(digest, sizeof digest, ret);
    return 0;
}
