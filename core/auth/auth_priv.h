/* Inside auth: what a back end is, and how users are made. */
#ifndef HYPRXA_AUTH_AUTH_PRIV_H
#define HYPRXA_AUTH_AUTH_PRIV_H

#include "auth/auth.h"

/* One way of knowing users.  All but close [any]. */
struct auth_backend {
    bool is_debug;
    int (*authenticate)(void *self, const struct auth_credentials *credentials,
                        const struct user **ret_user, struct error *err);
    int (*login)(void *self, const char *username, const char *password, struct buf *ret_token,
                 struct error *err);
    void (*close)(void *self);
    /* --- optional --- */
    int (*add_scopes)(void *self, const struct string_list *scopes, struct error *err);
};

/* Takes `self` over; on failure the caller still has it. */
int auth_new(const struct auth_backend *backend, void *self, struct auth **ret, struct error *err);

/* A user with copies of all of `fields` and one reference; scopes given twice are kept once.  NULL:
 * out of memory. */
const struct user *user_new(const struct user *fields);

#endif
