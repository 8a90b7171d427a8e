#include "http/http_priv.h"

#include "base/log.h"
#include "base/time.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DOWNLOAD_BUFFER = 64 * 1024,
    CHUNK_HEAD = 10, /* room for "ffffffff\r\n" in front of the buffered bytes */
    CHUNK_TAIL = 2,
    LARGE = 1 << 20, /* bytes of a download whose end is worth a look for free memory */
};

struct http_download {
    struct http_request *request;
    const char *content_type, *suffix; /* borrowed for good: literals */
    bool chunked;
    bool started; /* the head went out */
    bool failed;
    size_t used, sent;
    char bytes[CHUNK_HEAD + DOWNLOAD_BUFFER + CHUNK_TAIL];
};

/* A place among the downloads under way.  False: there is none. */
static bool take_place(struct http_server *server)
{
    if (atomic_fetch_add(&server->downloads, 1) < server->options.max_downloads)
        return true;
    atomic_fetch_sub(&server->downloads, 1);
    return false;
}

struct http_download *http_download_begin(struct http_request *r, const char *content_type,
                                          const char *suffix)
{
    struct error err = ERROR_INIT;
    struct http_download *d = NULL;
    if (!take_place(r->server)) {
        atomic_fetch_add_explicit(&r->server->refused[HTTP_REFUSED_DOWNLOADS], 1,
                                  memory_order_relaxed);
        error_set(&err, ERR_LIMIT, "Too many downloads at a time.");
    } else if (!(d = malloc(sizeof *d))) {
        atomic_fetch_sub(&r->server->downloads, 1);
        error_set(&err, ERR_NOMEM, "out of memory for a download");
    }
    if (!d) {
        http_respond_error(r, &err);
        return NULL;
    }
    d->request = r;
    d->content_type = content_type;
    d->suffix = suffix;
    d->chunked = !r->http10;
    d->started = d->failed = false;
    d->used = d->sent = 0;
    return d;
}

/* The head, once.  ERR_CLOSED: the client is gone. */
static int start(struct http_download *d)
{
    struct http_request *r = d->request;
    if (d->started)
        return 0;
    d->started = true;
    d->failed = true;
    if (!http_mark_answered(r, 200))
        return ERR_CLOSED;
    if (r->http10)
        http_close_after(r); /* the end of the connection is the end of the body */
    struct buf *out = &r->worker->out;
    buf_clear(out);
    http_head_begin(r, 200, out);
    buf_printf(out,
               "content-type: %s\r\n"
               "content-disposition: attachment; filename=%lld%s\r\n%s\r\n",
               d->content_type, (long long)time_now_us(), d->suffix,
               d->chunked ? "transfer-encoding: chunked\r\n" : "");
    d->failed = out->failed || http_send(r, out->data, out->len);
    if (d->failed)
        http_close_after(r);
    return d->failed ? ERR_CLOSED : 0;
}

static int flush(struct http_download *d)
{
    if (start(d) || d->used == 0 || d->failed)
        return d->failed ? ERR_CLOSED : 0;
    char *begin = d->bytes + CHUNK_HEAD;
    size_t len = d->used;
    if (d->chunked) {
        char head[CHUNK_HEAD + 1];
        int head_len = snprintf(head, sizeof head, "%zx\r\n", d->used);
        memcpy(begin + len, "\r\n", CHUNK_TAIL);
        begin -= head_len;
        memcpy(begin, head, (size_t)head_len);
        len += (size_t)head_len + CHUNK_TAIL;
    }
    d->used = 0;
    d->sent += len;
    if (http_send(d->request, begin, len))
        d->failed = true;
    return d->failed ? ERR_CLOSED : 0;
}

int http_download_write(struct http_download *d, const void *bytes, size_t len)
{
    if (d->request->head || d->failed)
        return ERR_CLOSED;
    const char *at = bytes;
    while (len > 0) {
        size_t room = DOWNLOAD_BUFFER - d->used;
        size_t n = len < room ? len : room;
        memcpy(d->bytes + CHUNK_HEAD + d->used, at, n);
        d->used += n;
        at += n;
        len -= n;
        if (d->used == DOWNLOAD_BUFFER && flush(d))
            return ERR_CLOSED;
    }
    return 0;
}

static void release(struct http_download *d)
{
    struct http_server *server = d->request->server;
    bool large = d->sent >= LARGE;
    free(d);
    /* What many readers at a time took stays with the heaps of their threads otherwise. */
    if (atomic_fetch_sub(&server->downloads, 1) == 1 && large)
        malloc_trim(0);
}

void http_download_end(struct http_download *d, bool complete)
{
    if (!d)
        return;
    struct http_request *r = d->request;
    start(d);
    if (!r->head) {
        flush(d);
        if (complete && !d->failed && d->chunked)
            http_send(r, "0\r\n\r\n", 5);
        if (!complete || d->failed)
            http_close_after(r);
    }
    release(d);
}

void http_download_fail(struct http_download *d, const struct error *err)
{
    if (!d)
        return;
    if (d->started)
        http_close_after(d->request);
    else
        http_respond_error(d->request, err);
    release(d);
}
