/* Users: who the server takes the caller for.  Routes: /users/whoami */
#ifndef HYPRXA_USERS_USERS_H
#define HYPRXA_USERS_USERS_H

#include "base/error.h"

struct http_server;

int users_add_routes(struct http_server *server, struct error *err);

#endif
