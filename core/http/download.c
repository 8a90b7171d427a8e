#include "http/http_priv.h"

#include "base/log.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DOWNLOAD_BUFFER = 64 * 1024,
    CHUNK_HEAD = 10, /* room for "ffffffff\r\n" in front of the buffered bytes */
    CHUNK_TAIL = 2,
};

struct http_download {
    struct http_request *request;
    bool chunked;
    bool failed;
    size_t used;
    char bytes[CHUNK_HEAD + DOWNLOAD_BUFFER + CHUNK_TAIL];
};

struct http_download *http_download_begin(struct http_request *r, const char *content_type,
                                          const char *suffix)
{
    struct http_download *d = malloc(sizeof *d);
    if (!d) {
        struct error err = {ERR_NOMEM, 0, "out of memory for a download"};
        http_respond_error(r, &err);
        return NULL;
    }
    d->request = r;
    d->chunked = !r->http10;
    d->failed = false;
    d->used = 0;
    if (!http_mark_answered(r, 200)) {
        free(d);
        return NULL;
    }
    if (r->http10)
        http_close_after(r); /* the end of the connection is the end of the body */
    struct buf *out = &r->worker->out;
    buf_clear(out);
    http_head_begin(r, 200, out);
    buf_printf(out,
               "content-type: %s\r\n"
               "content-disposition: attachment; filename=%lld%s\r\n%s\r\n",
               content_type, (long long)time_now_us(), suffix,
               d->chunked ? "transfer-encoding: chunked\r\n" : "");
    if (out->failed || http_send(r, out->data, out->len)) {
        http_close_after(r);
        free(d);
        return NULL;
    }
    return d;
}

static int flush(struct http_download *d)
{
    if (d->used == 0 || d->failed)
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

void http_download_end(struct http_download *d, bool complete)
{
    if (!d)
        return;
    struct http_request *r = d->request;
    if (!r->head) {
        flush(d);
        if (complete && !d->failed && d->chunked)
            http_send(r, "0\r\n\r\n", 5);
        if (!complete || d->failed)
            http_close_after(r);
    }
    free(d);
}
