#include "app/access.h"

#include <string.h>

/* "127.0.0.1:80", "[::1]:80", "localhost:80" */
static bool is_loopback(const char *listen)
{
    return strncmp(listen, "127.", 4) == 0 || strncmp(listen, "[::1]", 5) == 0 ||
           strncmp(listen, "localhost:", 10) == 0;
}

static bool all_loopback(const struct settings *s)
{
    for (size_t i = 0; i < s->hyprxa_listen.n; i++)
        if (!is_loopback(s->hyprxa_listen.items[i]))
            return false;
    return true;
}

int access_check(const struct settings *s, struct error *err)
{
    bool loopback = all_loopback(s);
    if (!loopback && !s->hyprxa_allow_plain)
        return error_set(err, ERR_INVALID,
                         "plain HTTP is served on loopback addresses only; --allow-plain "
                         "(HYPRXA_ALLOW_PLAIN=true) allows the others");
    if (!loopback && strcmp(s->hyprxa_debug_auth, "insecure") != 0)
        return error_set(err, ERR_INVALID,
                         "there is no authentication back end, so every request would be admin: "
                         "listen on loopback only, or accept that with --debug-auth=insecure");
    const char *path = s->hyprxa_token_path;
    if (path[0] != '/' || path[strlen(path) - 1] == '/' || strpbrk(path, "{}?#% "))
        return error_set(err, ERR_INVALID, "HYPRXA_TOKEN_PATH '%s' is not a path, such as /token",
                         path);
    if (!s->auth_debug_user_username[0])
        return error_set(err, ERR_INVALID, "AUTH_DEBUG_USER_USERNAME is empty");
    return 0;
}

static struct string_list scopes_of(const struct setting_strings *set,
                                    const char *const *when_empty)
{
    if (set->n)
        return (struct string_list){(const char *const *)set->items, set->n};
    return (struct string_list){when_empty, 1};
}

static const char *or_null(const char *text)
{
    return *text ? text : NULL;
}

/* The debug user of the settings; its scopes, where the settings give any, replace all others. */
static int open_debug(struct access *a, const struct settings *s, struct error *err)
{
    struct auth_debug debug = {
        .user = {.username = s->auth_debug_user_username,
                 .first_name = or_null(s->auth_debug_user_first_name),
                 .last_name = or_null(s->auth_debug_user_last_name),
                 .email = or_null(s->auth_debug_user_email),
                 .company = or_null(s->auth_debug_user_company),
                 .country = or_null(s->auth_debug_user_country),
                 .has_upi = true,
                 .upi = s->auth_debug_user_upi,
                 .scopes = {(const char *const *)s->auth_debug_user_scopes.items,
                            s->auth_debug_user_scopes.n}},
        .fixed_scopes = s->origin[SETTING_INDEX_AUTH_DEBUG_USER_SCOPES] != SETTING_DEFAULT,
        .require_token = s->auth_debug_require_token,
    };
    int rc = token_algorithm_from_name(s->hyprxa_hash_algorithm, &debug.algorithm, err);
    if (!rc)
        rc = auth_open_debug(&debug, &a->auth, err);
    const struct string_list *all[] = {&a->read.required, &a->write.required, &a->admin.required};
    for (size_t i = 0; i < 3 && !rc; i++)
        rc = auth_add_scopes(a->auth, all[i], err);
    return rc;
}

int access_open(struct access *a, const struct settings *s, struct error *err)
{
    static const char *const read_scope[] = {"READ"}, *const write_scope[] = {"WRITE"},
                             *const admin_scope[] = {"ADMIN"};
    int rc = access_check(s, err);
    if (rc)
        return rc;
    /* Debug authentication is the only back end so far: a fresh start must work (decision 18). */
    *a = (struct access){
        .debug = true,
        .loopback_only = all_loopback(s),
        .read = {scopes_of(&s->hyprxa_read_scopes, read_scope), s->hyprxa_read_any,
                 s->hyprxa_read_raise_on_no_scopes},
        .write = {scopes_of(&s->hyprxa_write_scopes, write_scope), s->hyprxa_write_any,
                  s->hyprxa_write_raise_on_no_scopes},
        .admin = {scopes_of(&s->hyprxa_admin_scopes, admin_scope), s->hyprxa_admin_any,
                  s->hyprxa_admin_raise_on_no_scopes},
    };
    return open_debug(a, s, err);
}

void access_close(struct access *a)
{
    auth_close(a->auth);
    a->auth = NULL;
}

/* --- the hooks --- */

static int authenticate(void *ctx, const char *bearer, const char *address,
                        const struct user **ret_user, struct error *err)
{
    const struct access *a = ctx;
    struct auth_credentials credentials = {.bearer = bearer, .address = address};
    return auth_authenticate(a->auth, &credentials, ret_user, err);
}

static const char *user_name(const struct user *user)
{
    return user->username;
}

static int authorize(void *ctx, enum http_access access, const struct user *user,
                     const char **ret_detail)
{
    const struct access *a = ctx;
    const struct scope_rule *rule = NULL;
    switch (access) {
    case HTTP_OPEN:
        return 0;
    case HTTP_USER:
        rule = &a->user;
        break;
    case HTTP_READ:
        rule = &a->read;
        break;
    case HTTP_WRITE:
        rule = &a->write;
        break;
    case HTTP_METRICS:
        if (a->loopback_only)
            return 0;
        rule = &a->admin;
        break;
    case HTTP_ADMIN:
        rule = &a->admin;
        break;
    }
    return scope_verdict_status(scope_check(rule, user), ret_detail);
}

void access_set_hooks(struct access *a, struct http_options *options)
{
    options->authenticate = authenticate;
    options->release_user = user_unref;
    options->user_name = user_name;
    options->authorize = authorize;
    options->auth_ctx = a;
    /* With --debug-auth=insecure on other addresses any name may lead here. */
    options->check_host = a->debug && a->loopback_only;
}
