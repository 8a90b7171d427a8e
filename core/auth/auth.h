/* Who asks, and what they may do.
 *
 * A user is authenticated by one of the configured back ends and holds scopes; a resource asks for
 * any or all of a set.  Users are immutable and reference-counted. */
#ifndef HYPRXA_AUTH_AUTH_H
#define HYPRXA_AUTH_AUTH_H

#include "auth/token.h"
#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string_list { /* borrowed strings */
    const char *const *items;
    size_t n;
};

struct user {
    const char *username;
    const char *first_name, *last_name, *email, *company, *country; /* NULL: null */
    bool has_upi;
    int64_t upi;
    struct string_list scopes;
};
const struct user *user_ref(const struct user *user);
void user_unref(const struct user *user); /* NULL is fine */

struct auth;
/* How a request proves who it is; NULL members are absent. */
struct auth_credentials {
    const char *bearer;
    const char *address; /* of the peer, for logs and throttling */
};

/* What a resource asks for. */
struct scope_rule {
    struct string_list required;
    bool any;                /* one suffices; else all */
    bool raise_on_no_scopes; /* an empty set is a misconfiguration, not a pass */
};

enum scope_verdict { SCOPE_PASS, SCOPE_NOT_AUTHENTICATED, SCOPE_NOT_SPECIFIED, SCOPE_FORBIDDEN };

/* The contract's order (section 10): 401 before 501 before 403.  user NULL: not authenticated. */
enum scope_verdict scope_check(const struct scope_rule *rule, const struct user *user);

/* 0 for SCOPE_PASS, else the HTTP status; *ret_detail is the contract's text, static ("" for 0). */
int scope_verdict_status(enum scope_verdict verdict, const char **ret_detail);

/* Debug authentication, without a password. */
struct auth_debug {
    struct user user;   /* whom every request is taken for; copied */
    bool fixed_scopes;  /* only those of `user`: auth_add_scopes() adds none */
    bool require_token; /* only who brings a token of auth_login() is the user, others are nobody */
    enum token_algorithm algorithm; /* of the tokens; their key lasts as long as `auth` */
};
int auth_open_debug(const struct auth_debug *debug, struct auth **ret,
                    struct error *err); /* [control] */
int auth_add_scopes(struct auth *auth, const struct string_list *scopes,
                    struct error *err); /* [any] */
void auth_close(struct auth *auth);

/* *ret_user is NULL when nobody was authenticated (0 is returned: that is no error); the caller
 * unrefs.  An error means that a back end failed.  [any] */
int auth_authenticate(struct auth *auth, const struct auth_credentials *credentials,
                      const struct user **ret_user, struct error *err);
/* Append a token for who proves to be `username`.  ERR_REFUSED: they did not.  [any] */
int auth_login(struct auth *auth, const char *username, const char *password, struct buf *ret_token,
               struct error *err);
bool auth_is_debug(const struct auth *auth);

#endif
