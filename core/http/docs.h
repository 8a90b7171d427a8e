/* The documentation of a server, by the server: /openapi.json, the pages /docs and /redoc, and the
 * assets under /static they are made of.  Nothing is read from disk after docs_new(). */
#ifndef HYPRXA_HTTP_DOCS_H
#define HYPRXA_HTTP_DOCS_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>

struct docs;
struct http_server;

struct docs_options {
    const char *web_dir; /* folder of the assets; what is not there, the pages say */
    const char *version;
    const char *token_path; /* see openapi.h */
};

int docs_new(const struct docs_options *options, struct docs **ret, struct error *err);
int docs_add_routes(struct docs *docs, struct http_server *server, struct error *err);
/* Make /openapi.json of the server's routes and the api (openapi.h), compact JSON text.  Once, after all
 * routes were added and before the server starts.  `problems` gets a line for whatever the api lacks. */
int docs_describe(struct docs *docs, const struct http_server *server, const void *api, size_t len,
                  struct buf *problems, struct error *err);
void docs_free(struct docs *docs); /* NULL is fine */

#endif
