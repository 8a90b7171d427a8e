#include "auth/auth_priv.h"

#include "base/thread.h"

#include <stdlib.h>
#include <string.h>

/* Everybody is `admin`.  The user is replaced, never changed, when scopes are added. */
struct debug {
    pthread_mutex_t lock;
    const struct user *admin;
};

static const struct user *make_admin(const struct string_list *scopes)
{
    return user_new(&(struct user){
        .username = "admin",
        .first_name = "admin",
        .last_name = "admin",
        .email = "admin@noreturn.com",
        .company = "hyprxa",
        .country = "US",
        .has_upi = true,
        .upi = 19960219,
        .scopes = *scopes,
    });
}

static int debug_authenticate(void *self, const struct auth_credentials *credentials,
                              const struct user **ret_user, struct error *err)
{
    struct debug *d = self;
    (void)credentials;
    (void)err;
    pthread_mutex_lock(&d->lock);
    *ret_user = user_ref(d->admin);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static int debug_add_scopes(void *self, const struct string_list *scopes, struct error *err)
{
    struct debug *d = self;
    const struct user *old = NULL, *admin = NULL;
    pthread_mutex_lock(&d->lock);
    const struct string_list *held = &d->admin->scopes;
    const char **all = calloc(held->n + scopes->n + 1, sizeof *all);
    if (all) {
        if (held->n)
            memcpy(all, held->items, held->n * sizeof *all);
        if (scopes->n)
            memcpy(all + held->n, scopes->items, scopes->n * sizeof *all);
        admin = make_admin(&(struct string_list){all, held->n + scopes->n});
    }
    if (admin) {
        old = d->admin;
        d->admin = admin;
    }
    pthread_mutex_unlock(&d->lock);
    free(all);
    user_unref(old);
    return admin ? 0 : error_set(err, ERR_NOMEM, "out of memory");
}

static void debug_close(void *self)
{
    struct debug *d = self;
    user_unref(d->admin);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

int auth_open_debug(const struct string_list *scopes, struct auth **ret, struct error *err)
{
    static const struct auth_backend backend = {
        .is_debug = true,
        .authenticate = debug_authenticate,
        .add_scopes = debug_add_scopes,
        .close = debug_close,
    };
    *ret = NULL;
    struct debug *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(err, ERR_NOMEM, "out of memory");
    lock_init(&d->lock);
    d->admin = make_admin(scopes);
    int rc =
        d->admin ? auth_new(&backend, d, ret, err) : error_set(err, ERR_NOMEM, "out of memory");
    if (rc)
        debug_close(d);
    return rc;
}
