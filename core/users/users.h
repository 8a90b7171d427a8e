/* Users: who the server takes the caller for, and how a caller becomes somebody.
 * Routes: /users/whoami, and POST on the token path. */
#ifndef HYPRXA_USERS_USERS_H
#define HYPRXA_USERS_USERS_H

#include "base/error.h"
#include "http/http.h"

struct auth;

/* What the routes look at; outlives the server. */
struct users {
    struct auth *auth;
    const char *token_path;        /* "/token" */
    struct http_route token_route; /* made by users_add_routes() */
};

/* After all other routes.  ERR_INVALID: one of them has the token path. */
int users_add_routes(struct users *users, struct http_server *server, struct error *err);

#endif
