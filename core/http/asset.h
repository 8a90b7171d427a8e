/* Bytes that do not change between requests, answered as a browser's cache wants it: `ETag`,
 * `Last-Modified`, 304, and gzip where the asset has such a variant and the client takes it.
 *
 * A route that answers with an asset declares 304.  `struct asset_store` is a folder of them, read whole
 * at start: a request names an asset, never a file. */
#ifndef HYPRXA_HTTP_ASSET_H
#define HYPRXA_HTTP_ASSET_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct http_request;

struct http_asset {
    const char *content_type;
    const char *headers; /* more header lines, each with its CRLF; NULL: none */
    const char *cache_control;
    const void *body;
    size_t len;
    const void *gzip; /* the same, compressed; NULL: there is none */
    size_t gzip_len;
    char etag[36];      /* quoted */
    int64_t modified_s; /* seconds since 1970 UTC; 0: not known */
};

/* `headers` of an HTML page: scripts and data from this server only. */
extern const char http_page_headers[];

/* Fill in `etag` from the body.  ERR_NOMEM. */
int http_asset_seal(struct http_asset *asset, struct error *err);
void http_respond_asset(struct http_request *r, const struct http_asset *asset);

struct asset_store;
/* Every file of `folder` whose type is known by its suffix (html css js json png svg ico txt); `x.gz` is the
 * compressed variant of `x`.  A folder that is not there makes an empty store.  ERR_LIMIT: more than
 * 64 files or 32 MiB; ERR_IO. */
int asset_store_open(const char *folder, struct asset_store **ret, struct error *err);
void asset_store_close(struct asset_store *store); /* NULL is fine */
/* NULL: there is none of that name.  The store's, until it is closed.  [any] */
const struct http_asset *asset_store_get(const struct asset_store *store, const char *name);

#endif
