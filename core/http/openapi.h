/* The OpenAPI 3.1 document of a server, made from the rows of its routes.
 *
 * Paths, parameters, bodies and statuses come from the rows.  What rows do not hold is in one JSON text,
 * the *api* (core/app/api.json):
 *
 *     document   the document without `paths`: info, tags, and components with the `schemas` that rows
 *                name and a response for each status other than 200 and 101
 *     paths      {name} of a path -> {description, example}
 *     examples   "GET /path", or the row's name -> {parameters: {name: value}, request, response};
 *                of a route with several media types, `response` has one by type
 *
 * A row without its part of the api is a problem that is reported, and is described without it. */
#ifndef HYPRXA_HTTP_OPENAPI_H
#define HYPRXA_HTTP_OPENAPI_H

#include "base/buf.h"

struct http_server;
struct json_object;

struct openapi_options {
    const char *version;
    const char
        *token_path; /* where a password gets a token, for the page to log in; NULL: nowhere */
};

/* Append the document to `out`, and to `problems` a line for whatever the api lacks.  Its operation ids
 * are `<name>_<path, every other character than a letter or digit as _>_<method>`. */
void openapi_write(const struct http_server *server, const struct openapi_options *options,
                   struct json_object *api, struct buf *out, struct buf *problems);

#endif
