/* The opening handshake of a WebSocket, before any byte leaves HTTP. */
#include "http/http_priv.h"
#include "http/websocket.h"

#include <string.h>

static bool refuse(struct http_request *r, int status, const char *detail)
{
    http_respond_detail(r, status, detail);
    return false;
}

bool upgrade_check(struct http_request *r)
{
    const char *version = http_header(r, "Sec-WebSocket-Version");
    const char *key = http_header(r, "Sec-WebSocket-Key");
    if (r->head || r->http10 || !guard_has_token(http_header(r, "Upgrade"), "websocket")) {
        http_add_header(r, "Upgrade", "websocket");
        http_add_header(r, "Connection", "Upgrade");
        return refuse(r, 426, "This route speaks WebSocket only.");
    }
    if (!guard_has_token(http_header(r, "Connection"), "upgrade"))
        return refuse(r, 400, "The header Connection must name Upgrade.");
    if (!version || strcmp(version, "13") != 0) {
        http_add_header(r, "Sec-WebSocket-Version", "13");
        return refuse(r, 426, "Only version 13 of WebSocket is spoken here.");
    }
    if (!key || !websocket_key_is_valid(key))
        return refuse(r, 400, "Sec-WebSocket-Key must be 16 bytes in base64.");
    return true;
}

int upgrade_append_headers(struct http_request *r, struct buf *out)
{
    char accept[WEBSOCKET_ACCEPT_SIZE];
    int rc = websocket_accept(http_header(r, "Sec-WebSocket-Key"), accept);
    if (rc)
        return rc;
    /* Extensions and subprotocols that the client offers are declined by silence: compressed per
     * connection, a frame could not be shared by all. */
    buf_append_lit(out, "upgrade: websocket\r\n"
                        "connection: Upgrade\r\n"
                        "sec-websocket-accept: ");
    buf_append_str(out, accept);
    return buf_append_lit(out, "\r\n\r\n");
}
