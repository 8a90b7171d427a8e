#include "auth/auth_priv.h"

#include <stdlib.h>

struct auth {
    const struct auth_backend *backend;
    void *self;
};

int auth_new(const struct auth_backend *backend, void *self, struct auth **ret, struct error *err)
{
    struct auth *auth = malloc(sizeof *auth);
    if (!auth)
        return error_set(err, ERR_NOMEM, "out of memory");
    *auth = (struct auth){backend, self};
    *ret = auth;
    return 0;
}

void auth_close(struct auth *auth)
{
    if (!auth)
        return;
    auth->backend->close(auth->self);
    free(auth);
}

int auth_add_scopes(struct auth *auth, const struct string_list *scopes, struct error *err)
{
    /* A real back end knows by itself who holds what. */
    return auth->backend->add_scopes ? auth->backend->add_scopes(auth->self, scopes, err) : 0;
}

int auth_authenticate(struct auth *auth, const struct auth_credentials *credentials,
                      const struct user **ret_user, struct error *err)
{
    *ret_user = NULL;
    return auth->backend->authenticate(auth->self, credentials, ret_user, err);
}

int auth_login(struct auth *auth, const char *username, const char *password, struct buf *ret_token,
               struct error *err)
{
    return auth->backend->login(auth->self, username, password, ret_token, err);
}

bool auth_is_debug(const struct auth *auth)
{
    return auth->backend->is_debug;
}
