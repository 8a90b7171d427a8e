/* The functions of the streamer that a server calls, for a build without it. */
#include "http/http_priv.h"

int streamer_new(struct http_server *server, struct streamer **ret, struct error *err)
{
    (void)server;
    (void)err;
    *ret = NULL;
    return 0;
}

void streamer_stop(struct streamer *s, int64_t timeout_ms)
{
    (void)s;
    (void)timeout_ms;
}

void streamer_free(struct streamer *s)
{
    (void)s;
}

int adopt_init(struct http_server *server, struct error *err)
{
    (void)server;
    (void)err;
    return 0;
}

void adopt_self_test(struct http_server *server)
{
    (void)server;
}

void adopt_self_test_request(struct http_request *r)
{
    http_respond_ok(r);
}
