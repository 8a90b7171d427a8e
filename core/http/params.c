#include "http/http_priv.h"

#include "base/json.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <json-c/json_object.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DOC_MAX = 64 * 1024 }; /* of a malformed body, echoed in its 422 */

/* --- the collector --- */

static void append_loc(struct buf *b, const struct http_loc *loc, size_t n)
{
    buf_append_lit(b, "{\"loc\":[");
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_append_char(b, ',');
        if (loc[i].name)
            json_write_string(b, loc[i].name, strlen(loc[i].name));
        else
            buf_append_int(b, loc[i].index);
    }
    buf_append_char(b, ']');
}

void http_invalid(struct http_request *r, const struct http_loc *loc, size_t n_loc, const char *msg,
                  const char *type, const char *ctx_json)
{
    struct buf *b = &r->worker->invalid;
    if (b->len > 0)
        buf_append_char(b, ',');
    append_loc(b, loc, n_loc);
    buf_append_lit(b, ",\"msg\":");
    json_write_string(b, msg, strlen(msg));
    buf_append_lit(b, ",\"type\":");
    json_write_string(b, type, strlen(type));
    if (ctx_json) {
        buf_append_lit(b, ",\"ctx\":");
        buf_append_str(b, ctx_json);
    }
    buf_append_char(b, '}');
}

void http_invalid_at(struct http_request *r, const char *where, const char *field, const char *msg,
                     const char *type)
{
    const struct http_loc loc[] = {{where, 0}, {field, 0}};
    http_invalid(r, loc, 2, msg, type, NULL);
}

bool http_is_invalid(const struct http_request *r)
{
    return r->worker->invalid.len > 0 || r->worker->invalid.failed;
}

bool http_respond_if_invalid(struct http_request *r)
{
    if (!http_is_invalid(r))
        return false;
    struct buf body = BUF_INIT(r->worker->invalid.max + 64);
    buf_append_lit(&body, "{\"detail\":[");
    if (r->worker->invalid.failed)
        body.failed = true;
    else
        buf_append(&body, r->worker->invalid.data, r->worker->invalid.len);
    buf_append_lit(&body, "]}");
    http_respond_json(r, 422, &body);
    buf_release(&body);
    return true;
}

/* --- a body that is no JSON --- */

static void append_document(struct buf *b, const char *text, size_t len)
{
    if (len > DOC_MAX)
        len = DOC_MAX;
    while (len > 0 && len == DOC_MAX && ((unsigned char)text[len - 1] & 0xC0) == 0x80)
        len--;
    json_write_text(b, text, len);
}

void params_respond_json_error(struct http_request *r, const struct json_scan_error *error)
{
    const struct buf *body = &r->worker->body;
    size_t chars = error->characters;
    struct buf msg = BUF_INIT(512), ctx = BUF_INIT((size_t)DOC_MAX * 6 + 1024);
    buf_printf(&msg, "%s: line %zu column %zu (char %zu)", error->message, error->line,
               error->column, chars);
    buf_append_lit(&ctx, "{\"msg\":");
    json_write_string(&ctx, error->message, strlen(error->message));
    buf_append_lit(&ctx, ",\"doc\":");
    append_document(&ctx, body->data, body->len);
    buf_printf(&ctx, ",\"pos\":%zu,\"lineno\":%zu,\"colno\":%zu}", chars, error->line,
               error->column);
    const struct http_loc loc[] = {{"body", 0}, {NULL, (long)chars}};
    if (msg.failed || ctx.failed)
        r->worker->invalid.failed = true;
    else
        http_invalid(r, loc, 2, msg.data, "value_error.jsondecode", ctx.data);
    buf_release(&msg);
    buf_release(&ctx);
    http_respond_if_invalid(r);
}

/* --- typed query parameters --- */

int64_t http_query_int(struct http_request *r, const char *name, int64_t otherwise)
{
    route_check_param(r, HTTP_QUERY, name, HTTP_INTEGER, false);
    const char *text = http_query(r, name);
    if (!text)
        return otherwise;
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    bool any = end != text;
    while (isspace((unsigned char)*end))
        end++;
    if (any && *end == '\0' && errno == 0)
        return value;
    http_invalid_at(r, "query", name, "value is not a valid integer", "type_error.integer");
    return otherwise;
}

bool http_query_bool(struct http_request *r, const char *name, bool otherwise)
{
    static const char *const yes[] = {"1", "on", "t", "true", "y", "yes"};
    static const char *const no[] = {"0", "off", "f", "false", "n", "no"};
    route_check_param(r, HTTP_QUERY, name, HTTP_BOOLEAN, false);
    const char *text = http_query(r, name);
    if (!text)
        return otherwise;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcasecmp(text, yes[i]) == 0)
            return true;
        if (strcasecmp(text, no[i]) == 0)
            return false;
    }
    http_invalid_at(r, "query", name, "value could not be parsed to a boolean", "type_error.bool");
    return otherwise;
}

/* --- members of the JSON body --- */

static void invalid_body(struct http_request *r, const char *msg, const char *type)
{
    const struct http_loc loc[] = {{"body", 0}};
    http_invalid(r, loc, 1, msg, type, NULL);
}

/* A list of [key, value] pairs counts as an object.  A new reference, or NULL. */
static struct json_object *object_of_pairs(struct json_object *list)
{
    struct json_object *object = json_object_new_object();
    size_t n = json_object_array_length(list);
    for (size_t i = 0; object && i < n; i++) {
        struct json_object *pair = json_object_array_get_idx(list, i);
        struct json_object *key = NULL;
        if (json_object_is_type(pair, json_type_array) && json_object_array_length(pair) == 2)
            key = json_object_array_get_idx(pair, 0);
        if (!json_object_is_type(key, json_type_string) ||
            json_object_object_add(object, json_object_get_string(key),
                                   json_object_get(json_object_array_get_idx(pair, 1)))) {
            json_object_put(object);
            return NULL;
        }
    }
    return object;
}

/* `value` itself, or what its pairs make; borrowed for the request.  NULL: not an object. */
static struct json_object *as_object(struct http_request *r, struct json_object *value)
{
    if (json_object_is_type(value, json_type_object))
        return value;
    if (!json_object_is_type(value, json_type_array))
        return NULL;
    struct json_object *made = object_of_pairs(value);
    if (!made)
        return NULL;
    if (!r->owned)
        r->owned = json_object_new_array();
    if (!r->owned || json_object_array_add(r->owned, made)) {
        json_object_put(made);
        return NULL;
    }
    return made;
}

/* The body as an object; what is wrong with it as a whole is collected once. */
static struct json_object *body_object(struct http_request *r)
{
    if (r->body_checked)
        return r->body_object;
    r->body_checked = true;
    if (r->worker->body.len == 0 || (r->body_is_json && !r->json)) {
        invalid_body(r, "field required", "value_error.missing");
        return NULL;
    }
    r->body_object = r->body_is_json ? as_object(r, r->json) : NULL;
    if (!r->body_object)
        invalid_body(r, "value is not a valid dict", "type_error.dict");
    return r->body_object;
}

/* A member that is there and not null; else the error is collected when it is required. */
static struct json_object *member(struct http_request *r, const char *field, bool required)
{
    struct json_object *object = body_object(r), *value = NULL;
    if (!object)
        return NULL;
    bool present = json_object_object_get_ex(object, field, &value);
    if (value || !required)
        return value;
    if (present)
        http_invalid_at(r, "body", field, "none is not an allowed value",
                        "type_error.none.not_allowed");
    else
        http_invalid_at(r, "body", field, "field required", "value_error.missing");
    return NULL;
}

const char *http_json_string(struct http_request *r, struct json_object *value)
{
    char number[JSON_DOUBLE_SIZE];
    switch (json_object_get_type(value)) {
    case json_type_string:
        /* U+0000 would cut the text short. */
        if (strlen(json_object_get_string(value)) != (size_t)json_object_get_string_len(value))
            return NULL;
        return json_object_get_string(value);
    case json_type_boolean:
        return json_object_get_boolean(value) ? "True" : "False";
    case json_type_int:
        return json_object_get_string(value);
    case json_type_double:
        return arena_strndup(r->arena, number,
                             json_format_double(json_object_get_double(value), number));
    default:
        return NULL;
    }
}

const char *http_body_string(struct http_request *r, const char *field, bool required)
{
    struct json_object *value = member(r, field, required);
    const char *text = value ? http_json_string(r, value) : NULL;
    if (value && !text)
        http_invalid_at(r, "body", field, "str type expected", "type_error.str");
    return text;
}

struct json_object *http_body_object(struct http_request *r, const char *field)
{
    struct json_object *value = member(r, field, true);
    if (!value)
        return NULL;
    struct json_object *object = as_object(r, value);
    if (!object)
        http_invalid_at(r, "body", field, "value is not a valid dict", "type_error.dict");
    return object;
}

struct json_object *http_body_list(struct http_request *r, const char *field)
{
    struct json_object *value = member(r, field, true);
    if (!value || json_object_is_type(value, json_type_array))
        return value;
    http_invalid_at(r, "body", field, "value is not a valid list", "type_error.list");
    return NULL;
}
