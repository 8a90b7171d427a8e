/* /unitops/...: contract 1.5. */
#include "auth/auth.h"
#include "base/auto.h"
#include "base/json.h"
#include "http/http.h"
#include "storage/storage.h"
#include "unitops/unitops.h"
#include "unitops/unitops_priv.h"

#include <json-c/linkhash.h>
#include <string.h>

enum { LIST_MAX = 256 << 20, ENUM_TEXT_MAX = 64 << 10, NAME_MAX_BYTES = 1000 };

/* --- save --- */

static void refuse_source(struct http_request *r, struct unitops *u, const char *item,
                          const char *why, const char *type)
{
    /* No "body" in this loc: the original checks the source in a model of its own. */
    const struct http_loc loc[] = {{"data_mapping", 0}, {item, 0}, {"source", 0}};
    if (strcmp(type, "type_error.enum") != 0) {
        http_invalid(r, loc, 3, why, type, NULL);
        return;
    }
    AUTO(buf) msg = BUF_INIT(ENUM_TEXT_MAX);
    AUTO(buf) ctx = BUF_INIT(ENUM_TEXT_MAX);
    buf_append_lit(&msg, "value is not a valid enumeration member; permitted: ");
    buf_append_lit(&ctx, "{\"enum_values\":[");
    u->sources.permitted(u->sources.ctx, &msg, &ctx);
    buf_append_lit(&ctx, "]}");
    http_invalid(r, loc, 3, msg.data, type, ctx.failed ? NULL : ctx.data);
}

static void check_subscription(struct http_request *r, struct unitops *u, const char *item,
                               struct json_object *subscription)
{
    const struct http_loc loc[] = {{"body", 0}, {"data_mapping", 0}, {item, 0}};
    struct json_object *source = NULL;
    if (!json_object_is_type(subscription, json_type_object)) {
        bool null = subscription == NULL;
        http_invalid(r, loc, 3, null ? "none is not an allowed value" : "value is not a valid dict",
                     null ? "type_error.none.not_allowed" : "type_error.dict", NULL);
    } else if (!json_object_object_get_ex(subscription, "source", &source)) {
        refuse_source(r, u, item, "field required", "value_error.missing");
    } else if (!source) {
        refuse_source(r, u, item, "none is not an allowed value", "type_error.none.not_allowed");
    } else if (!json_object_is_type(source, json_type_string)) {
        refuse_source(r, u, item, "str type expected", "type_error.str");
    } else if (!u->sources.known(u->sources.ctx, json_object_get_string(source))) {
        refuse_source(r, u, item, NULL, "type_error.enum");
    } else {
        struct error err = ERROR_INIT;
        AUTO_JSON *mapped = NULL;
        if (u->sources.map(u->sources.ctx, subscription, &mapped, &err))
            http_invalid(r, loc, 3, err.message, "value_error", NULL);
    }
}

/* The original asks for known sources before it asks for scopes, of a body that is whole otherwise. */
static bool check_sources(struct http_request *r, void *ctx)
{
    struct unitops *u = ctx;
    struct json_object *body = http_body_json(r), *mapping = NULL, *meta = NULL;
    if (!json_get_string(body, "name", NULL) ||
        !json_object_object_get_ex(body, "data_mapping", &mapping) ||
        !json_object_object_get_ex(body, "meta", &meta) ||
        !json_object_is_type(mapping, json_type_object) ||
        !json_object_is_type(meta, json_type_object))
        return true;
    json_object_object_foreach (mapping, item, subscription) {
        const char *source = json_get_string(subscription, "source", NULL);
        if (source && !u->sources.known(u->sources.ctx, source))
            refuse_source(r, u, item, NULL, "type_error.enum");
    }
    return !http_respond_if_invalid(r);
}

static void save_unitop(struct http_request *r, void *ctx)
{
    struct unitops *u = ctx;
    struct error err = ERROR_INIT;
    const char *name = http_body_string(r, "name", true);
    struct json_object *mapping = http_body_object(r, "data_mapping");
    struct json_object *meta = http_body_object(r, "meta");
    if (name && (!*name || strlen(name) > NAME_MAX_BYTES || strchr(name, '/')))
        http_invalid_at(r, "body", "name", "a unitop's name has 1 to 1000 bytes and no '/'",
                        "value_error");
    if (mapping) {
        json_object_object_foreach (mapping, item, subscription) {
            check_subscription(r, u, item, subscription);
        }
    }
    if (http_respond_if_invalid(r))
        return;
    const struct user *user = http_user(r);
    if (unitops_save(u, name, mapping, meta, user ? user->username : NULL, &err))
        http_respond_error(r, &err);
    else
        http_respond_ok(r);
}

/* --- read --- */

/* The mapping with every subscription as its source's schema completes it; the caller's. */
static int map_all(struct unitops *u, struct json_object *document, struct json_object **ret,
                   struct error *err)
{
    struct json_object *mapping = json_object_object_get(document, "data_mapping");
    AUTO_JSON *mapped = json_object_new_object();
    if (!mapped)
        return error_set(err, ERR_NOMEM, "out of memory");
    json_object_object_foreach (mapping, item, subscription) {
        struct json_object *one = NULL;
        int rc = u->sources.map(u->sources.ctx, subscription, &one, err);
        if (rc)
            return rc;
        if (json_object_object_add(mapped, item, one)) {
            json_object_put(one);
            return error_set(err, ERR_NOMEM, "out of memory");
        }
    }
    *ret = TAKE(mapped);
    return 0;
}

static void respond_map_error(struct http_request *r, const struct error *err)
{
    if (err->code == ERR_UNSUPPORTED)
        http_respond_detail(r, 501, err->message);
    else
        http_respond_error(r, err);
}

static void get_unitop(struct http_request *r, void *ctx)
{
    struct unitops *u = ctx;
    struct error err = ERROR_INIT;
    struct unitop *unitop = NULL;
    bool map = http_query_bool(r, "mapSubscriptions", false);
    if (http_respond_if_invalid(r))
        return;
    if (unitops_get(u, http_path_param(r, "unitop"), &unitop, &err)) {
        http_respond_error(r, &err);
        return;
    }
    if (!map) {
        http_respond_json(r, 200, &unitop->text);
    } else {
        AUTO(buf) out = BUF_INIT(LIST_MAX);
        AUTO_JSON *mapped = NULL;
        if (map_all(u, unitop->document, &mapped, &err) == 0) {
            unitop_write(&out, unitop->name, unitop->document, mapped);
            http_respond_json(r, 200, &out);
        } else {
            respond_map_error(r, &err);
        }
    }
    unitop_unref(unitop);
}

struct search {
    struct unitops *unitops;
    struct buf out;
    bool map;
    size_t n;
    struct error err;
};

static bool add_found(void *ctx, const char *key, struct json_object *document)
{
    struct search *s = ctx;
    AUTO_JSON *mapped = NULL;
    if (s->map && map_all(s->unitops, document, &mapped, &s->err))
        return false;
    if (s->n++)
        buf_append_char(&s->out, ',');
    unitop_write(&s->out, key, document, mapped);
    return !s->out.failed;
}

static void search_unitops(struct http_request *r, void *ctx)
{
    struct error err = ERROR_INIT;
    struct search s = {.unitops = ctx, .out = BUF_INIT(LIST_MAX), .err = ERROR_INIT};
    const char *q = http_query(r, "q");
    AUTO_JSON *filter = NULL;
    if (!q)
        http_invalid_at(r, "query", "q", "field required", "value_error.missing");
    else if (json_parse(q, strlen(q), &filter, &err))
        http_invalid_at(r, "query", "q", "Invalid JSON", "value_error.json");
    s.map = http_query_bool(r, "mapSubscriptions", false);
    if (http_respond_if_invalid(r))
        return;
    if (!json_object_is_type(filter, json_type_object)) {
        http_respond_detail(r, 400, "Invalid query.");
        return;
    }
    buf_append_lit(&s.out, "{\"items\":[");
    int rc =
        storage_document_find(s.unitops->storage, STORAGE_UNITOPS, filter, add_found, &s, &err);
    buf_append_lit(&s.out, "]}");
    if (s.err.code)
        respond_map_error(r, &s.err);
    else if (rc == ERR_INVALID || rc == ERR_UNSUPPORTED || rc == ERR_LIMIT)
        http_respond_detail(r, 400, err.message);
    else if (rc)
        http_respond_error(r, &err);
    else if (s.n == 0)
        http_respond_detail(r, 404, "No unitops found matching criteria.");
    else
        http_respond_json(r, 200, &s.out);
    buf_release(&s.out);
}

static const struct http_param map_params[] = {
    {.name = "mapSubscriptions",
     .type = HTTP_BOOLEAN,
     .otherwise = "false",
     .summary = "Give subscriptions as their source completes them, defaults filled in"},
    {0},
};
static const struct http_param search_params[] = {
    {.name = "q",
     .type = HTTP_JSON,
     .required = true,
     .summary = "Mongo-style filter, a JSON object"},
    {.also = map_params},
};

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/unitops/search/{unitop}",
     .handler = get_unitop,
     .access = HTTP_READ,
     .name = "get_unitop",
     .summary = "One unitop",
     .params = map_params,
     .reply = "UnitOpDocument",
     .errors = {404}},
    {.method = "GET",
     .path = "/unitops/search",
     .handler = search_unitops,
     .access = HTTP_READ,
     .name = "search_unitops",
     .summary = "Unitops that match a Mongo-style filter",
     .params = search_params,
     .reply = "UnitOpQueryResult",
     .errors = {400, 404}},
    {.method = "GET", /* what the existing client sends */
     .path = "/timeseries/unitop/search",
     .handler = search_unitops,
     .access = HTTP_READ,
     .name = "search_unitops",
     .summary = "Unitops that match a Mongo-style filter",
     .params = search_params,
     .reply = "UnitOpQueryResult",
     .errors = {400, 404}},
    {.method = "POST",
     .path = "/unitops/save",
     .handler = save_unitop,
     .access = HTTP_WRITE,
     .body = HTTP_BODY_JSON,
     .before_scopes = check_sources,
     .name = "save_unitop",
     .summary = "Create or change a unitop",
     .request = "UnitOp",
     .reply = "Status"},
};

int unitops_add_routes(struct unitops *u, struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, u, err);
}
