/* /topics/...: contract 1.5. */
#include "auth/auth.h"
#include "base/auto.h"
#include "base/json.h"
#include "http/http.h"
#include "storage/storage.h"
#include "topics/topics.h"
#include "topics/topics_priv.h"

#include <string.h>

enum { LIST_MAX = 64 << 20 };

static void get_topic(struct http_request *r, void *ctx)
{
    struct error err = ERROR_INIT;
    struct topic *topic = NULL;
    if (topics_get(ctx, http_path_param(r, "topic"), &topic, &err)) {
        http_respond_error(r, &err);
        return;
    }
    http_respond_json(r, 200, &topic->document);
    topic_unref(topic);
}

static bool add_name(void *ctx, const char *key, struct json_object *document)
{
    struct buf *out = ctx;
    (void)document;
    if (out->data[out->len - 1] != '[')
        buf_append_char(out, ',');
    json_write_string(out, key, strlen(key));
    return !out->failed;
}

static void list_topics(struct http_request *r, void *ctx)
{
    struct topics *t = ctx;
    struct error err = ERROR_INIT;
    AUTO(buf) out = BUF_INIT(LIST_MAX);
    buf_append_lit(&out, "{\"items\":[");
    if (!out.failed &&
        storage_document_find(t->storage, STORAGE_TOPICS, NULL, add_name, &out, &err)) {
        http_respond_error(r, &err);
        return;
    }
    buf_append_lit(&out, "]}");
    http_respond_json(r, 200, &out);
}

/* The schema, given as an object or (an extension) as a string holding one. *ret is the caller's. */
static bool read_schema(struct http_request *r, struct json_object **ret)
{
    struct json_object *body = http_body_json(r), *given = NULL;
    if (json_object_is_type(body, json_type_object) &&
        json_object_object_get_ex(body, "jschema", &given) &&
        json_object_is_type(given, json_type_string)) {
        struct error err = ERROR_INIT;
        if (json_parse(json_object_get_string(given), (size_t)json_object_get_string_len(given),
                       ret, &err) == 0 &&
            json_object_is_type(*ret, json_type_object))
            return true;
        json_object_put(*ret);
        *ret = NULL;
    }
    *ret = json_object_get(http_body_object(r, "jschema"));
    return *ret != NULL;
}

/* Names of an older database stay usable, new ones must keep to the rule. */
static bool is_known(struct topics *t, const char *name)
{
    struct topic *topic = NULL;
    if (topics_get(t, name, &topic, NULL))
        return false;
    topic_unref(topic);
    return true;
}

static void save_topic(struct http_request *r, void *ctx)
{
    struct error err = ERROR_INIT;
    AUTO_JSON *schema = NULL;
    const char *name = http_body_string(r, "topic", true);
    if (name && topic_name_check(name, &err) && !is_known(ctx, name))
        http_invalid_at(r, "body", "topic", err.message, "value_error");
    (void)read_schema(r, &schema);
    if (http_respond_if_invalid(r))
        return;

    const struct user *user = http_user(r);
    int rc = topics_save(ctx, name, schema, user ? user->username : NULL, &err);
    if (rc == ERR_INVALID) {
        http_invalid_at(r, "body", "jschema", err.message, "value_error");
        http_respond_if_invalid(r);
    } else if (rc) {
        http_respond_error(r, &err);
    } else {
        http_respond_ok(r);
    }
}

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/asyncapi.json",
     .handler = topics_asyncapi,
     .access = HTTP_READ,
     .name = "asyncapi",
     .summary = "The topics of the moment, as AsyncAPI 3.0",
     .errors = {304}},
    {.method = "GET",
     .path = "/topics/search",
     .handler = list_topics,
     .access = HTTP_READ,
     .name = "list_topics",
     .summary = "Names of all topics",
     .reply = "TopicQueryResult"},
    {.method = "GET",
     .path = "/topics/search/{topic}",
     .handler = get_topic,
     .access = HTTP_READ,
     .name = "get_topic",
     .summary = "One topic with its schema",
     .reply = "TopicDocument",
     .errors = {404}},
    {.method = "POST",
     .path = "/topics/save",
     .handler = save_topic,
     .access = HTTP_WRITE,
     .body = HTTP_BODY_JSON,
     .name = "save_topic",
     .summary = "Create or change a topic",
     .request = "Topic",
     .reply = "Status"},
};

int topics_add_routes(struct topics *t, struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, t, err);
}
