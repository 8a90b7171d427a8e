#include "http/openapi.h"

#include "base/auto.h"
#include "base/json.h"
#include "http/http.h"
#include "http/http_priv.h"

#include <ctype.h>
#include <json-c/json_object.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

static const char form_urlencoded[] = "application/x-www-form-urlencoded";
static const char form_multipart[] = "multipart/form-data";

struct writer {
    const struct http_server *server;
    const struct openapi_options *options;
    struct json_object *api;
    struct buf *out, *problems;
};

/* --- JSON, member by member --- */

/* The comma before a member or element, unless it is the first. */
static void next(struct buf *out)
{
    char last = out->len ? out->data[out->len - 1] : '\0';
    if (last && last != '{' && last != '[' && last != ':')
        buf_append_char(out, ',');
}

static void put_string(struct buf *out, const char *text)
{
    json_write_string(out, text, strlen(text));
}

static void put_name(struct buf *out, const char *name)
{
    next(out);
    put_string(out, name);
    buf_append_char(out, ':');
}

static void put_open(struct buf *out, const char *name, char bracket)
{
    if (name)
        put_name(out, name);
    else
        next(out);
    buf_append_char(out, bracket);
}

static void put_text(struct buf *out, const char *name, const char *text)
{
    put_name(out, name);
    put_string(out, text);
}

static void put_value(struct buf *out, const char *name, struct json_object *value)
{
    put_name(out, name);
    json_write_value(out, value);
}

static void put_true(struct buf *out, const char *name)
{
    put_name(out, name);
    buf_append_lit(out, "true");
}

static void put_ref(struct buf *out, const char *kind, const char *name)
{
    put_name(out, "$ref");
    buf_append_lit(out, "\"#/components/");
    buf_append_str(out, kind);
    buf_append_char(out, '/');
    buf_append_str(out, name);
    buf_append_char(out, '"');
}

/* api[a][b]..., or NULL. */
static struct json_object *find(struct json_object *at, const char *const *names)
{
    for (; *names && at; names++)
        if (!json_object_is_type(at, json_type_object) ||
            !json_object_object_get_ex(at, *names, &at))
            return NULL;
    return at;
}

#define FIND(object, ...) find((object), (const char *const[]){__VA_ARGS__, NULL})

static void problem(struct writer *w, const struct http_route *route, const char *what,
                    const char *name)
{
    buf_printf(w->problems, "%s %s: %s%s\n", route->method, route->path, what, name);
}

/* --- parts of an operation --- */

/* By method and path, or, where the path is a setting, by name. */
static struct json_object *example_of(struct writer *w, const struct http_route *route)
{
    AUTO(buf) key = BUF_INIT(512);
    buf_printf(&key, "%s %s", route->method, route->path);
    struct json_object *found = key.failed ? NULL : FIND(w->api, "examples", key.data);
    return found ? found : FIND(w->api, "examples", route->name);
}

/* A reference to a schema of that name, or an empty schema for NULL. */
static void write_schema(struct writer *w, const struct http_route *route, const char *name)
{
    put_open(w->out, "schema", '{');
    if (name) {
        put_ref(w->out, "schemas", name);
        if (!FIND(w->api, "document", "components", "schemas", name))
            problem(w, route, "no schema ", name);
    }
    buf_append_char(w->out, '}');
}

/* The letters, digits and underscores of FastAPI's operation ids. */
static void write_operation_id(struct buf *out, const struct http_route *route)
{
    put_name(out, "operationId");
    buf_append_char(out, '"');
    buf_append_str(out, route->name ? route->name : "");
    for (const char *p = route->path; *p; p++)
        buf_append_char(out, isalnum((unsigned char)*p) ? *p : '_');
    buf_append_char(out, '_');
    for (const char *p = route->method; *p; p++)
        buf_append_char(out, (char)tolower((unsigned char)*p));
    buf_append_char(out, '"');
}

static void write_default(struct buf *out, const struct http_param *p)
{
    if (!p->otherwise)
        return;
    if (p->type == HTTP_INTEGER || p->type == HTTP_NUMBER || p->type == HTTP_BOOLEAN) {
        put_name(out, "default");
        buf_append_str(out, p->otherwise);
    } else {
        put_text(out, "default", p->otherwise);
    }
}

static void write_value_schema(struct buf *out, const struct http_param *p)
{
    static const char *const types[] = {
        [HTTP_STRING] = "string",   [HTTP_INTEGER] = "integer", [HTTP_NUMBER] = "number",
        [HTTP_BOOLEAN] = "boolean", [HTTP_TIME] = "string",     [HTTP_JSON] = "object"};
    put_text(out, "type", types[p->type]);
    if (p->type == HTTP_TIME)
        put_text(out, "title", "Time");
    if (p->values) {
        put_open(out, "enum", '[');
        for (const char *const *value = p->values; *value; value++) {
            next(out);
            put_string(out, *value);
        }
        buf_append_char(out, ']');
    }
    write_default(out, p);
}

static void write_param_schema(struct buf *out, const struct http_param *p)
{
    put_open(out, "schema", '{');
    if (p->repeatable) {
        put_text(out, "type", "array");
        put_open(out, "items", '{');
    }
    write_value_schema(out, p);
    buf_append_str(out, p->repeatable ? "}}" : "}");
}

/* `example` as one would type it: text without quotes, a list's first element. */
static void append_typed(struct buf *out, struct json_object *example)
{
    if (json_object_is_type(example, json_type_array))
        example = json_object_array_get_idx(example, 0);
    if (json_object_is_type(example, json_type_string))
        buf_append_str(out, json_object_get_string(example));
    else
        json_write_value(out, example);
}

/* `example` may be NULL. */
static void write_param_description(struct buf *out, const struct http_param *p,
                                    struct json_object *example)
{
    if (p->alias_of) {
        put_name(out, "description");
        buf_printf(out, "\"Another name of `%s`\"", p->alias_of);
        put_true(out, "deprecated");
    } else if (p->summary) {
        AUTO(buf) text = BUF_INIT(4096);
        buf_append_str(&text, p->summary);
        if (example) {
            buf_append_lit(&text, "; for example `");
            append_typed(&text, example);
            buf_append_char(&text, '`');
        }
        put_text(out, "description", text.failed ? p->summary : text.data);
    }
}

static void write_param(struct writer *w, const struct http_route *route,
                        const struct http_param *p)
{
    struct json_object *example = FIND(example_of(w, route), "parameters", p->name);
    put_open(w->out, NULL, '{');
    put_text(w->out, "name", p->name);
    put_text(w->out, "in", p->where == HTTP_HEADER ? "header" : "query");
    /* Pages that send requests fill in what is an `example`: right for what must be given only. */
    write_param_description(w->out, p, p->required ? NULL : example);
    if (!p->alias_of && !p->summary)
        problem(w, route, "no summary of the parameter ", p->name);
    if (p->required)
        put_true(w->out, "required");
    if (p->type == HTTP_JSON) {
        put_open(w->out, "content", '{');
        put_open(w->out, "application/json", '{');
    }
    write_param_schema(w->out, p);
    if (example && p->required) /* beside its schema: within `content` where that is */
        put_value(w->out, "example", example);
    buf_append_str(w->out, p->type == HTTP_JSON ? "}}}" : "}");
}

static void write_path_param(struct writer *w, const struct http_route *route, const char *name)
{
    struct json_object *described = FIND(w->api, "paths", name);
    put_open(w->out, NULL, '{');
    put_text(w->out, "name", name);
    put_text(w->out, "in", "path");
    put_true(w->out, "required");
    if (described) {
        json_object_object_foreach (described, key, value) {
            put_value(w->out, key, value);
        }
    } else {
        problem(w, route, "nothing about the path's ", name);
    }
    buf_append_lit(w->out, ",\"schema\":{\"type\":\"string\"}}");
}

static void write_params(struct writer *w, const struct http_route *route)
{
    put_open(w->out, "parameters", '[');
    for (const char *at = strchr(route->path, '{'); at; at = strchr(at, '{')) {
        char name[64];
        size_t len = strcspn(++at, "}");
        if (len < sizeof name) {
            memcpy(name, at, len);
            name[len] = '\0';
            write_path_param(w, route, name);
        }
    }
    for (const struct http_param *p = http_param_row(route->params); p; p = http_param_row(p + 1))
        if (p->where != HTTP_FORM)
            write_param(w, route, p);
    buf_append_char(w->out, ']');
}

/* --- the body --- */

static void write_form_schema(struct buf *out, const struct http_route *route)
{
    put_open(out, "schema", '{');
    put_text(out, "type", "object");
    put_open(out, "required", '[');
    for (const struct http_param *p = http_param_row(route->params); p; p = http_param_row(p + 1)) {
        if (p->where == HTTP_FORM && p->required) {
            next(out);
            put_string(out, p->name);
        }
    }
    buf_append_char(out, ']');
    put_open(out, "properties", '{');
    for (const struct http_param *p = http_param_row(route->params); p; p = http_param_row(p + 1)) {
        if (p->where != HTTP_FORM)
            continue;
        put_open(out, p->name, '{');
        write_value_schema(out, p);
        write_param_description(out, p, NULL);
        buf_append_char(out, '}');
    }
    buf_append_lit(out, "}}");
}

static void write_body_content(struct writer *w, const struct http_route *route, const char *type)
{
    struct json_object *example = FIND(example_of(w, route), "request");
    put_open(w->out, type, '{');
    if (route->body == HTTP_BODY_FORM) {
        write_form_schema(w->out, route);
    } else {
        write_schema(w, route, route->request);
        if (!route->request)
            problem(w, route, "no schema of its body", "");
    }
    if (example)
        put_value(w->out, "example", example);
    else
        problem(w, route, "no example of its body", "");
    buf_append_char(w->out, '}');
}

static void write_body(struct writer *w, const struct http_route *route)
{
    put_open(w->out, "requestBody", '{');
    put_true(w->out, "required");
    put_open(w->out, "content", '{');
    if (route->body == HTTP_BODY_FORM) {
        write_body_content(w, route, form_urlencoded);
        write_body_content(w, route, form_multipart);
    } else {
        write_body_content(w, route, "application/json");
    }
    buf_append_lit(w->out, "}}");
}

/* --- the answers --- */

static bool is_websocket(const struct http_route *route)
{
    return route->media && strcmp(route->media, HTTP_WEBSOCKET) == 0;
}

/* Pages and pictures have none. */
static bool needs_example(const char *type)
{
    return strcmp(type, "text/html") != 0 && strncmp(type, "image/", 6) != 0 &&
           strcmp(type, "*/*") != 0;
}

static void write_reply_content(struct writer *w, const struct http_route *route, const char *type,
                                bool one_of_several)
{
    struct json_object *example = FIND(example_of(w, route), "response");
    if (one_of_several)
        example = FIND(example, type);
    put_open(w->out, type, '{');
    if (route->reply || strcmp(type, "application/json") == 0)
        write_schema(w, route, route->reply);
    else
        buf_append_lit(w->out, "\"schema\":{\"type\":\"string\"}");
    if (example)
        put_value(w->out, "example", example);
    else if (needs_example(type))
        problem(w, route, "no example of its answer as ", type);
    buf_append_char(w->out, '}');
}

static void write_success(struct writer *w, const struct http_route *route)
{
    const char *types = route->media ? route->media : "application/json";
    bool several = strchr(types, ',') != NULL;
    put_open(w->out, "200", '{');
    put_text(w->out, "description",
             strcmp(types, HTTP_SSE) == 0 ? "Server-sent events, each with such data" : "OK");
    put_open(w->out, "headers", '{');
    buf_append_lit(w->out, "\"X-Request-ID\":{\"$ref\":\"#/components/headers/X-Request-ID\"}}");
    put_open(w->out, "content", '{');
    while (*types) {
        char type[128];
        size_t len = strcspn(types, ",");
        if (len < sizeof type) {
            memcpy(type, types, len);
            type[len] = '\0';
            write_reply_content(w, route, type, several);
        }
        types += len + (types[len] == ',');
    }
    buf_append_lit(w->out, "}}");
}

static void write_handshake(struct writer *w, const struct http_route *route)
{
    struct json_object *example = FIND(example_of(w, route), "response");
    put_open(w->out, "101", '{');
    put_text(w->out, "description",
             "Switching to the WebSocket protocol; each text message is a JSON value as under "
             "`x-websocket`");
    buf_append_char(w->out, '}');
    if (!example)
        problem(w, route, "no example of its messages", "");
}

static void write_answers(struct writer *w, const struct http_route *route)
{
    /* What the server itself answers before a handler runs counts, too. */
    static const short possible[] = {302, 304, 307, 400, 401, 403, 404, 405, 406, 408, 409, 410,
                                     413, 415, 416, 422, 426, 429, 500, 501, 502, 503, 504};
    put_open(w->out, "responses", '{');
    if (is_websocket(route))
        write_handshake(w, route);
    else
        write_success(w, route);
    for (size_t i = 0; i < sizeof possible / sizeof *possible; i++) {
        char status[8];
        bool body_too_large = possible[i] == 413 && route->body != HTTP_BODY_NONE;
        if (!http_route_answers(route, possible[i]) && !body_too_large)
            continue;
        snprintf(status, sizeof status, "%d", possible[i]);
        put_open(w->out, status, '{');
        put_ref(w->out, "responses", status);
        buf_append_char(w->out, '}');
        if (!FIND(w->api, "document", "components", "responses", status))
            problem(w, route, "no response for the status ", status);
    }
    buf_append_char(w->out, '}');
    if (is_websocket(route)) {
        struct json_object *example = FIND(example_of(w, route), "response");
        put_open(w->out, "x-websocket", '{');
        write_schema(w, route, route->reply);
        if (example)
            put_value(w->out, "example", example);
        buf_append_char(w->out, '}');
    }
}

/* --- operations --- */

static const char *scheme_name(const struct writer *w)
{
    return w->options->token_path ? "OAuth2PasswordBearer" : "HTTPBearer";
}

/* "events" of "/events/publish"; what the api files the page's own routes under has no segment. */
static void write_tag(struct writer *w, const struct http_route *route)
{
    char tag[64];
    size_t len = strcspn(route->path + 1, "/.");
    snprintf(tag, sizeof tag, "%.*s", len < sizeof tag ? (int)len : 0, route->path + 1);
    put_open(w->out, "tags", '[');
    bool known = false;
    struct json_object *tags = FIND(w->api, "document", "tags");
    for (size_t i = 0; tags && i < json_object_array_length(tags) && !known; i++)
        known = strcmp(json_get_string(json_object_array_get_idx(tags, i), "name", ""), tag) == 0;
    put_string(w->out, known ? tag : "documentation");
    buf_append_char(w->out, ']');
}

static void write_operation(struct writer *w, const struct http_route *route)
{
    char method[16];
    size_t len = strlen(route->method);
    for (size_t i = 0; i <= len && i < sizeof method; i++)
        method[i] = (char)tolower((unsigned char)route->method[i]);
    method[sizeof method - 1] = '\0';
    put_open(w->out, method, '{');
    write_tag(w, route);
    if (route->summary)
        put_text(w->out, "summary", route->summary);
    if (!route->name || !route->summary)
        problem(w, route, "no name or no summary", "");
    write_operation_id(w->out, route);
    write_params(w, route);
    if (route->body != HTTP_BODY_NONE)
        write_body(w, route);
    write_answers(w, route);
    if (route->access != HTTP_OPEN) {
        put_open(w->out, "security", '[');
        buf_append_char(w->out, '{');
        put_open(w->out, scheme_name(w), '[');
        buf_append_lit(w->out, "]}]");
    }
    buf_append_char(w->out, '}');
}

static void write_paths(struct writer *w)
{
    const struct http_route *route, *other;
    put_open(w->out, "paths", '{');
    for (size_t i = 0; (route = router_route(w->server->router, i)); i++) {
        size_t first = 0;
        while (strcmp(router_route(w->server->router, first)->path, route->path) != 0)
            first++;
        if (first < i)
            continue; /* written with the first of its path */
        put_open(w->out, route->path, '{');
        for (size_t k = i; (other = router_route(w->server->router, k)); k++)
            if (strcmp(other->path, route->path) == 0)
                write_operation(w, other);
        buf_append_char(w->out, '}');
    }
    buf_append_char(w->out, '}');
}

static void write_security_schemes(struct writer *w)
{
    put_open(w->out, "securitySchemes", '{');
    put_open(w->out, scheme_name(w), '{');
    if (w->options->token_path) {
        buf_append_lit(w->out, "\"type\":\"oauth2\",\"flows\":{\"password\":{\"scopes\":{}");
        put_text(w->out, "tokenUrl", w->options->token_path);
        buf_append_lit(w->out, "}}");
    } else {
        buf_append_lit(w->out, "\"type\":\"http\",\"scheme\":\"bearer\"");
    }
    buf_append_lit(w->out, "}}");
}

static void write_info(struct writer *w, struct json_object *info)
{
    put_open(w->out, "info", '{');
    json_object_object_foreach (info, key, value) {
        if (strcmp(key, "version") != 0)
            put_value(w->out, key, value);
    }
    put_text(w->out, "version", w->options->version);
    buf_append_char(w->out, '}');
}

static void write_components(struct writer *w, struct json_object *components)
{
    put_open(w->out, "components", '{');
    json_object_object_foreach (components, key, value) {
        put_value(w->out, key, value);
    }
    write_security_schemes(w);
    buf_append_char(w->out, '}');
}

void openapi_write(const struct http_server *server, const struct openapi_options *options,
                   struct json_object *api, struct buf *out, struct buf *problems)
{
    struct writer w = {server, options, api, out, problems};
    struct json_object *document = FIND(api, "document");
    buf_append_char(out, '{');
    if (json_object_is_type(document, json_type_object)) {
        json_object_object_foreach (document, key, value) {
            if (strcmp(key, "info") == 0)
                write_info(&w, value);
            else if (strcmp(key, "components") == 0)
                write_components(&w, value);
            else
                put_value(out, key, value);
        }
    }
    write_paths(&w);
    buf_append_char(out, '}');
}
