/* Access: what the settings say of scopes and of authentication, as the HTTP server's hooks. */
#ifndef HYPRXA_APP_ACCESS_H
#define HYPRXA_APP_ACCESS_H

#include "auth/auth.h"
#include "base/buf.h"
#include "base/error.h"
#include "config/config.h"
#include "http/http.h"

#include <stdbool.h>

struct access {
    struct auth *auth;
    struct scope_rule user, read, write, admin;
    bool debug;         /* every request is the debug user */
    bool loopback_only; /* no listener is reachable from elsewhere */
};

/* Decide by the listen addresses which authentication is allowed; open nothing.  ERR_INVALID says
 * which flag or setting would allow what was asked. */
int access_check(const struct settings *s, struct error *err);
int access_open(struct access *a, const struct settings *s, struct error *err);
void access_close(struct access *a);
/* Set the hooks; `a` must outlive the server. */
void access_set_hooks(struct access *a, struct http_options *options);

#endif
