#include "auth/auth_priv.h"

#include "auth/token.h"
#include "base/auto.h"
#include "base/thread.h"
#include "base/time.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { KEY_SIZE = 64 };

/* Everybody is one and the same user, who is replaced, never changed, when scopes are added. */
struct debug {
    pthread_mutex_t lock;
    const struct user *user; /* guarded by lock */

    /* set at init, then const */
    bool fixed_scopes, require_token;
    unsigned char secret[KEY_SIZE];
    struct token_key key;
};

/* Whether the bearer has a token of ours: 0, ERR_REFUSED, or ERR_NOMEM. */
static int check_bearer(const struct debug *d, const char *bearer, struct error *err)
{
    AUTO(buf) subject = BUF_INIT(TOKEN_MAX_BYTES);
    if (!bearer)
        return ERR_REFUSED;
    return token_verify(&d->key, bearer, time_now_us() / TIME_US_PER_SECOND, &subject, err);
}

static int debug_authenticate(void *self, const struct auth_credentials *credentials,
                              const struct user **ret_user, struct error *err)
{
    struct debug *d = self;
    int rc = d->require_token ? check_bearer(d, credentials->bearer, err) : 0;
    if (rc)
        return rc == ERR_REFUSED ? 0 : rc;
    pthread_mutex_lock(&d->lock);
    *ret_user = user_ref(d->user);
    pthread_mutex_unlock(&d->lock);
    return 0;
}

static int debug_add_scopes(void *self, const struct string_list *scopes, struct error *err)
{
    struct debug *d = self;
    const struct user *old = NULL, *user = NULL;
    if (d->fixed_scopes)
        return 0;
    pthread_mutex_lock(&d->lock);
    const struct string_list *held = &d->user->scopes;
    const char **all = calloc(held->n + scopes->n + 1, sizeof *all);
    if (all) {
        if (held->n)
            memcpy(all, held->items, held->n * sizeof *all);
        if (scopes->n)
            memcpy(all + held->n, scopes->items, scopes->n * sizeof *all);
        struct user fields = *d->user;
        fields.scopes = (struct string_list){all, held->n + scopes->n};
        user = user_new(&fields);
    }
    if (user) {
        old = d->user;
        d->user = user;
    }
    pthread_mutex_unlock(&d->lock);
    free(all);
    user_unref(old);
    return user ? 0 : error_set(err, ERR_NOMEM, "out of memory");
}

static int debug_login(void *self, const char *username, const char *password,
                       struct buf *ret_token, struct error *err)
{
    const struct debug *d = self;
    (void)password;
    return token_encode(&d->key, username, 0, ret_token, err);
}

static void debug_close(void *self)
{
    struct debug *d = self;
    user_unref(d->user);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

int auth_open_debug(const struct auth_debug *debug, struct auth **ret, struct error *err)
{
    static const struct auth_backend backend = {
        .is_debug = true,
        .authenticate = debug_authenticate,
        .login = debug_login,
        .add_scopes = debug_add_scopes,
        .close = debug_close,
    };
    *ret = NULL;
    struct debug *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(err, ERR_NOMEM, "out of memory");
    lock_init(&d->lock);
    d->fixed_scopes = debug->fixed_scopes;
    d->require_token = debug->require_token;
    d->key = (struct token_key){debug->algorithm, d->secret, sizeof d->secret};
    d->user = user_new(&debug->user);
    int rc = d->user ? 0 : error_set(err, ERR_NOMEM, "out of memory");
    if (!rc && getrandom(d->secret, sizeof d->secret, 0) != (ssize_t)sizeof d->secret)
        rc = error_set_errno(err, errno, "no random key for tokens");
    if (!rc)
        rc = auth_new(&backend, d, ret, err);
    if (rc)
        debug_close(d);
    return rc;
}
