/* The documentation pages: where their assets lie, and what describes the routes. */
#ifndef HYPRXA_APP_WEB_H
#define HYPRXA_APP_WEB_H

#include "base/error.h"

struct docs;
struct http_server;
struct settings;

int web_open(const struct settings *s, struct docs **ret, struct error *err);
/* After all routes were added: what they do not say of themselves is in api.json. */
int web_describe(struct docs *docs, const struct http_server *server, struct error *err);

#endif
