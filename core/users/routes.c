#include "auth/auth.h"
#include "base/auto.h"
#include "base/json.h"
#include "http/http.h"
#include "users/users.h"

#include <string.h>

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

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/users/whoami",
     .handler = whoami,
     .access = HTTP_USER,
     .name = "whoami",
     .summary = "The user the server takes you for",
     .reply = "BaseUser"},
};

int users_add_routes(struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, NULL, err);
}
