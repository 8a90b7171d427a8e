#include "auth/auth.h"
#include "base/auto.h"
#include "base/json.h"
#include "http/http.h"
#include "users/users.h"

#include <string.h>

enum { FORM_MAX = 64 << 10 };

static void write_text(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, ",\"%s\":", name);
    if (value)
        json_write_string(out, value, strlen(value));
    else
        buf_append_lit(out, "null");
}

/* BaseUser of contract 1.4. */
static void whoami(struct http_request *r, void *ctx)
{
    const struct user *u = http_user(r);
    AUTO(buf) out = BUF_INIT(1 << 20);
    (void)ctx;
    buf_append_lit(&out, "{\"username\":");
    json_write_string(&out, u->username, strlen(u->username));
    write_text(&out, "first_name", u->first_name);
    write_text(&out, "last_name", u->last_name);
    write_text(&out, "email", u->email);
    if (u->has_upi)
        buf_printf(&out, ",\"upi\":%lld", (long long)u->upi);
    else
        buf_append_lit(&out, ",\"upi\":null");
    write_text(&out, "company", u->company);
    write_text(&out, "country", u->country);
    buf_append_lit(&out, ",\"scopes\":[");
    for (size_t i = 0; i < u->scopes.n; i++) {
        if (i)
            buf_append_char(&out, ',');
        json_write_string(&out, u->scopes.items[i], strlen(u->scopes.items[i]));
    }
    buf_append_lit(&out, "]}");
    http_respond_json(r, 200, &out);
}

/* --- the token --- */

/* A grant type that does not begin with `password`, as the original's regular expression asks. */
static void refuse_grant(struct http_request *r)
{
    static const struct http_loc loc[] = {{"body", 0}, {"grant_type", 0}};
    http_invalid(r, loc, 2, "string does not match regex \"password\"", "value_error.str.regex",
                 "{\"pattern\":\"password\"}");
}

static const char *required_field(struct http_request *r, const char *name)
{
    const char *value = http_form(r, name);
    if (!value)
        http_invalid_at(r, "body", name, "field required", "value_error.missing");
    return value;
}

static const struct http_param token_params[] = {
    {.name = "grant_type", .where = HTTP_FORM, .summary = "Begins with password"},
    {.name = "username", .where = HTTP_FORM, .required = true},
    {.name = "password", .where = HTTP_FORM, .required = true},
    {.name = "scope", .where = HTTP_FORM, .summary = "Has no effect"},
    {.name = "client_id", .where = HTTP_FORM, .summary = "Has no effect"},
    {.name = "client_secret", .where = HTTP_FORM, .summary = "Has no effect"},
    {0},
};

/* The OAuth2 password grant (RFC 6749, 4.3).  scope, client_id and client_secret are accepted and
 * say nothing. */
static void give_token(struct http_request *r, void *ctx)
{
    struct users *users = ctx;
    struct error err = ERROR_INIT;
    AUTO(buf) out = BUF_INIT(1 << 16);
    const char *grant = http_form(r, "grant_type");
    if (grant && strncmp(grant, "password", strlen("password")) != 0)
        refuse_grant(r);
    const char *username = required_field(r, "username");
    const char *password = required_field(r, "password");
    if (http_respond_if_invalid(r))
        return;
    buf_append_lit(&out, "{\"access_token\":\"");
    int rc = auth_login(users->auth, username, password, &out, &err);
    buf_append_lit(&out, "\",\"token_type\":\"bearer\"}");
    http_add_header(r, "cache-control", "no-store");
    if (rc == ERR_LIMIT) {
        http_invalid_at(r, "body", "username", err.message, "value_error");
        http_respond_if_invalid(r);
    } else if (rc == ERR_REFUSED) {
        http_respond_detail(r, 401, "Incorrect username or password");
    } else if (rc) {
        http_respond_error(r, &err);
    } else {
        http_respond_json(r, 200, &out);
    }
}

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/users/whoami",
     .handler = whoami,
     .access = HTTP_USER,
     .name = "whoami",
     .summary = "The user the server takes you for",
     .reply = "BaseUser"},
};

int users_add_routes(struct users *users, struct http_server *server, struct error *err)
{
    users->token_route = (struct http_route){
        .method = "POST",
        .path = users->token_path,
        .handler = give_token,
        .access = HTTP_OPEN,
        .body = HTTP_BODY_FORM,
        .max_body = FORM_MAX,
        .name = "token",
        .summary = "A token for a user name and a password",
        .params = token_params,
        .reply = "Token",
        .errors = {400, 401, 413},
    };
    int rc = http_server_add_routes(server, routes, sizeof routes / sizeof *routes, NULL, err);
    if (!rc)
        rc = http_server_add_routes(server, &users->token_route, 1, users, err);
    if (rc == ERR_EXISTS)
        return error_set(err, ERR_INVALID, "the token path '%s' is another route's",
                         users->token_path);
    return rc;
}
