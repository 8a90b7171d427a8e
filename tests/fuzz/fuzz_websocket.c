/* Input: what a client sends after the handshake.  Taken whole, byte by byte and in threes it gives
 * the same events, which keep to RFC 6455's sizes; our pong and close frames to them are whole. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/websocket.h"

enum { MESSAGE_MAX = 300, EVENTS_MAX = 4096 };

struct seen {
    struct websocket_event events[EVENTS_MAX];
    uint32_t payloads[EVENTS_MAX]; /* a sum of each payload */
    size_t n;
};

static uint32_t sum(const unsigned char *bytes, size_t n)
{
    uint32_t s = 2166136261u;
    for (size_t i = 0; i < n; i++)
        s = (s ^ bytes[i]) * 16777619u;
    return s;
}

static void check_event(const struct websocket_event *e)
{
    unsigned char out[WEBSOCKET_CONTROL_SIZE];
    switch (e->kind) {
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        require(e->len <= WEBSOCKET_CONTROL_MAX, "a control frame is short");
        require(websocket_write_pong(e->payload, e->len, out) == e->len + 2, "its pong is whole");
        break;
    case WEBSOCKET_CLOSED:
        require(e->len <= WEBSOCKET_REASON_MAX, "a reason is short");
        require(e->code == WEBSOCKET_NO_CODE || (e->code >= 1000 && e->code < 5000),
                "a number that may be sent");
        break;
    case WEBSOCKET_FAULT:
        require(e->fault < WEBSOCKET_FAULTS, "a fault that there is");
        require(e->code == WEBSOCKET_PROTOCOL || e->code == WEBSOCKET_NOT_TEXT ||
                    e->code == WEBSOCKET_TOO_BIG,
                "a number to answer it");
        require(*websocket_fault_name(e->fault) && *websocket_fault_text(e->fault), "has a text");
        break;
    default:
        break;
    }
}

/* In parts of `step` bytes, each in memory of its own. */
static void parse(const uint8_t *data, size_t size, size_t step, struct seen *seen)
{
    struct websocket_parser parser;
    websocket_parser_init(&parser, MESSAGE_MAX);
    seen->n = 0;
    for (size_t at = 0; at < size; at += step) {
        const size_t n = size - at < step ? size - at : step;
        unsigned char *part = malloc(n);
        if (!part)
            abort();
        memcpy(part, data + at, n);
        for (size_t taken = 0; taken < n;) {
            struct websocket_event e = {.kind = WEBSOCKET_NOTHING};
            const size_t got = websocket_parse(&parser, part + taken, n - taken, &e);
            require(got <= n - taken, "no more is taken than there is");
            require(got || e.kind != WEBSOCKET_NOTHING, "it goes on");
            taken += got;
            if (e.kind == WEBSOCKET_NOTHING || seen->n == EVENTS_MAX)
                continue;
            check_event(&e);
            seen->payloads[seen->n] = sum(e.payload, e.len);
            seen->events[seen->n++] = e;
        }
        free(part);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct seen whole, cut;
    parse(data, size, size ? size : 1, &whole);
    for (size_t step = 1; step <= 3; step += 2) {
        parse(data, size, step, &cut);
        require(cut.n == whole.n, "as many events in whatever parts");
        for (size_t i = 0; i < cut.n; i++) {
            const struct websocket_event *a = &whole.events[i], *b = &cut.events[i];
            require(a->kind == b->kind && a->code == b->code && a->len == b->len &&
                        whole.payloads[i] == cut.payloads[i],
                    "the same events");
            require(a->kind != WEBSOCKET_FAULT || a->fault == b->fault, "the same fault");
        }
    }
    return 0;
}
