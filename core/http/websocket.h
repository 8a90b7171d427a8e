/* WebSocket frames (RFC 6455): what a client sends is read, what it is sent is written.
 *
 * The parser is pure: bytes in, events out, no memory of its own beside the struct, no system call.
 * Bytes may come in pieces of any size, and what it tells does not depend on how they were cut.
 * Clients have nothing to say here: their messages are checked, counted against a limit and thrown
 * away; only control frames and violations are events.  No function here keeps its arguments.  [any] */
#ifndef HYPRXA_HTTP_WEBSOCKET_H
#define HYPRXA_HTTP_WEBSOCKET_H

#include "base/buf.h"
#include "base/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEBSOCKET_CONTROL_MAX = 125,                       /* payload of a control frame */
    WEBSOCKET_REASON_MAX = WEBSOCKET_CONTROL_MAX - 2,  /* text of a close frame */
    WEBSOCKET_CONTROL_SIZE = WEBSOCKET_CONTROL_MAX + 2 /* a control frame of ours, with its head */
};

/* Numbers of close frames. */
enum websocket_code {
    WEBSOCKET_NO_CODE = 1005, /* never on the wire: the peer gave none */
    WEBSOCKET_PROTOCOL = 1002,
    WEBSOCKET_NOT_TEXT = 1007,
    WEBSOCKET_TOO_BIG = 1009,
};

/* How a client can break the protocol. */
enum websocket_fault {
    WEBSOCKET_UNMASKED,     /* a frame without a mask */
    WEBSOCKET_RESERVED,     /* a reserved bit, or an opcode nobody has defined */
    WEBSOCKET_CONTROL,      /* a control frame in fragments, or too long */
    WEBSOCKET_LENGTH,       /* a length not in its shortest form, or beyond 2^63 */
    WEBSOCKET_CONTINUATION, /* none was due, or another message inside a fragmented one */
    WEBSOCKET_CLOSE_CODE,   /* a close frame of one byte, or with a number that must not be sent */
    WEBSOCKET_UTF8,         /* text, or the reason of a close frame, that is not UTF-8 */
    WEBSOCKET_SIZE,         /* a message longer than allowed */
    WEBSOCKET_FAULTS
};

enum websocket_event_kind {
    WEBSOCKET_NOTHING, /* all bytes are taken, more are needed */
    WEBSOCKET_MESSAGE, /* the end of a text or binary message */
    WEBSOCKET_PING,
    WEBSOCKET_PONG,
    WEBSOCKET_CLOSED, /* a close frame; what follows is ignored */
    WEBSOCKET_FAULT,  /* a violation; what follows is ignored */
};

struct websocket_event {
    enum websocket_event_kind kind;
    unsigned code; /* CLOSED: the peer's, or WEBSOCKET_NO_CODE; FAULT: ours to answer */
    enum websocket_fault fault;   /* FAULT */
    const unsigned char *payload; /* PING, PONG, CLOSED (the reason): until the next call */
    size_t len;
};

struct websocket_parser {
    uint64_t max_message; /* bytes of a message, over all its fragments */
    uint64_t message;     /* of the current one, so far */
    uint64_t left;        /* payload bytes of the current frame to come */
    unsigned char head[14];
    unsigned char head_len, head_need, mask_at;
    unsigned char opcode; /* of the current frame; a continuation has its message's */
    unsigned char control[WEBSOCKET_CONTROL_MAX], control_len;
    unsigned char utf8_left, utf8_low, utf8_high; /* of an unfinished character */
    bool final, in_payload, in_message, text, ended;
};

void websocket_parser_init(struct websocket_parser *p, uint64_t max_message);

/* Take bytes up to the next event; returns how many were taken.  Call again with the rest until all
 * are taken. */
size_t websocket_parse(struct websocket_parser *p, const unsigned char *bytes, size_t n,
                       struct websocket_event *ret);

const char *websocket_fault_name(enum websocket_fault fault); /* "unmasked", ... */
const char *websocket_fault_text(enum websocket_fault fault); /* for the close frame */

/* The encoder for MESSAGE_WEBSOCKET: the body as one text frame. */
int websocket_encode(const struct message *m, struct buf *out);

/* Our ping (no payload), the pong to `payload`, a close frame; each returns its length.  A reason
 * that is too long is cut between characters; WEBSOCKET_NO_CODE gives an empty close frame. */
size_t websocket_write_ping(unsigned char out[WEBSOCKET_CONTROL_SIZE]);
size_t websocket_write_pong(const unsigned char *payload, size_t len,
                            unsigned char out[WEBSOCKET_CONTROL_SIZE]);
size_t websocket_write_close(unsigned code, const char *reason,
                             unsigned char out[WEBSOCKET_CONTROL_SIZE]);

/* --- the handshake --- */

enum { WEBSOCKET_ACCEPT_SIZE = 29 };
/* Is it base64 of 16 bytes? */
bool websocket_key_is_valid(const char *key);
/* The value of Sec-WebSocket-Accept for such a key; ERR_NOMEM. */
int websocket_accept(const char *key, char ret[WEBSOCKET_ACCEPT_SIZE]);

#endif
