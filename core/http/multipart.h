/* The fields of a multipart/form-data body (RFC 7578).  civetweb's own form reader is never used. */
#ifndef HYPRXA_HTTP_MULTIPART_H
#define HYPRXA_HTTP_MULTIPART_H

#include "base/error.h"

#include <stddef.h>

struct http_pair {
    const char *name, *value;
};

/* Split `body`, in place: the names and values in `pairs` are pieces of it, each ended by a NUL.
 * `body` has a byte of room at body[len].  `content_type` is the request's, with the boundary.  Files and empty values
 * are left out.  ERR_INVALID: not such a body, or a text with a NUL or that is not UTF-8; ERR_LIMIT:
 * more than `max` parts. */
int multipart_split(char *body, size_t len, const char *content_type, struct http_pair *pairs,
                    size_t max, size_t *ret_n, struct error *err);

#endif
