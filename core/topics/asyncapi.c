/* /asyncapi.json: the topics of the moment as an AsyncAPI 3.0 document.
 *
 * A channel per topic, whose address is the topic and the routing key.  Its messages are what the
 * streams carry and what is posted; the stored schema stands under components and describes their `payload`.
 * There it is no document of its own any more, so its references are rewritten to lead where it is. */
#include "base/auto.h"
#include "base/digest.h"
#include "base/json.h"
#include "http/asset.h"
#include "http/http.h"
#include "storage/storage.h"
#include "topics/topics.h"
#include "topics/topics_priv.h"

#include <ctype.h>
#include <json-c/linkhash.h>
#include <stdio.h>
#include <string.h>

enum { PART_MAX = 16 << 20, KEY_SIZE = 256, PREFIX_SIZE = KEY_SIZE + 64, DEPTH_MAX = 128 };

struct parts {
    struct buf channels, operations, messages, schemas;
    size_t n, omitted; /* topics; those beyond the limit */
};

/* A name for keys and references: that of the topic, or a digest where an older database has a name
 * that could not be a new topic's. */
static void key_of(const char *topic, char out[KEY_SIZE])
{
    unsigned char digest[16] = {0};
    if (topic_name_check(topic, NULL) == 0) {
        snprintf(out, KEY_SIZE, "%s", topic);
        return;
    }
    (void)digest_md5(topic, strlen(topic), digest);
    memcpy(out, "topic.", 6); /* no name of a new topic holds a dot */
    digest_hex(digest, sizeof digest, out + 6);
}

/* --- references --- */

struct rewriting {
    const char *id; /* of the schema, "" when it has none */
    char prefix[PREFIX_SIZE];
};

static void rewrite_schema(const struct rewriting *w, struct json_object *schema, int depth);

/* "#", "#/..." and the same behind the schema's own id.  Anchors stay: they need no path. */
static void rewrite_reference(const struct rewriting *w, struct json_object *schema,
                              const char *keyword)
{
    const char *reference = json_get_string(schema, keyword, NULL);
    size_t id_len = strlen(w->id);
    if (!reference)
        return;
    if (id_len && strncmp(reference, w->id, id_len) == 0)
        reference += id_len;
    if (reference[0] && (reference[0] != '#' || (reference[1] && reference[1] != '/')))
        return;
    AUTO(buf) text = BUF_INIT(PART_MAX);
    buf_append_str(&text, w->prefix);
    buf_append_str(&text, reference[0] ? reference + 1 : "");
    if (!text.failed)
        json_object_object_add(schema, keyword, json_object_new_string(text.data));
}

static bool holds_schemas_by_name(const char *keyword)
{
    static const char *const keywords[] = {"properties", "patternProperties", "definitions",
                                           "$defs",      "dependentSchemas",  "dependencies"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keyword, keywords[i]) == 0)
            return true;
    return false;
}

static bool holds_data(const char *keyword)
{
    return strcmp(keyword, "const") == 0 || strcmp(keyword, "enum") == 0 ||
           strcmp(keyword, "default") == 0 || strcmp(keyword, "examples") == 0;
}

static void rewrite_value(const struct rewriting *w, struct json_object *value, bool by_name,
                          int depth)
{
    if (json_object_is_type(value, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            rewrite_schema(w, json_object_array_get_idx(value, i), depth);
    } else if (by_name && json_object_is_type(value, json_type_object)) {
        json_object_object_foreach (value, name, schema) {
            (void)name;
            rewrite_schema(w, schema, depth);
        }
    } else {
        rewrite_schema(w, value, depth);
    }
}

/* Not into a schema with an id of its own: its references lead within it. */
static void rewrite_schema(const struct rewriting *w, struct json_object *schema, int depth)
{
    if (!json_object_is_type(schema, json_type_object) || depth > DEPTH_MAX ||
        json_object_is_type(json_object_object_get(schema, "$id"), json_type_string))
        return;
    rewrite_reference(w, schema, "$ref");
    json_object_object_foreach (schema, keyword, value) {
        if (!holds_data(keyword))
            rewrite_value(w, value, holds_schemas_by_name(keyword), depth + 1);
    }
}

/* The schema as it may stand at `prefix` of another document; the caller's.  NULL: no memory. */
static struct json_object *moved_schema(struct json_object *schema, const char *key)
{
    struct json_object *copy = NULL;
    struct rewriting w;
    char id[PREFIX_SIZE] = "";
    if (json_object_deep_copy(schema, &copy, NULL))
        return NULL;
    const char *given = json_get_string(copy, "$id", json_get_string(copy, "id", ""));
    if (strlen(given) < sizeof id)
        snprintf(id, sizeof id, "%.*s", (int)strcspn(given, "#"), given);
    json_object_object_del(copy, "$id");
    if (json_object_is_type(json_object_object_get(copy, "id"), json_type_string))
        json_object_object_del(copy, "id");
    snprintf(w.prefix, sizeof w.prefix, "#/components/schemas/%s/schema", key);
    w.id = id;
    rewrite_schema(&w, copy, 0);
    return copy;
}

/* As json_schema.h has it: by `$schema`, else 2020-12, or draft 7 when there are `definitions`. */
static const char *dialect_of(struct json_object *schema)
{
    static const char *const names[][2] = {{"draft-04", "draft-04"},
                                           {"draft-06", "draft-06"},
                                           {"draft-07", "draft-07"},
                                           {"2019-09", "draft-2019-09"}};
    const char *given = json_get_string(schema, "$schema", NULL);
    for (size_t i = 0; given && i < sizeof names / sizeof *names; i++)
        if (strstr(given, names[i][0]))
            return names[i][1];
    bool old = !given && json_object_object_get_ex(schema, "definitions", NULL);
    return old ? "draft-07" : "draft-2020-12";
}

/* --- a topic --- */

/* Words of a topic in a path: percent-encoded unless it is a letter, digit, '_' or '-'. */
static void write_path(struct buf *out, const char *topic, const char *rest)
{
    buf_append_lit(out, "\"/events/");
    for (const char *p = topic; *p; p++) {
        if (isalnum((unsigned char)*p) || *p == '_' || *p == '-')
            buf_append_char(out, *p);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)*p);
    }
    buf_append_str(out, rest);
    buf_append_char(out, '"');
}

static void write_channel(struct buf *out, const char *topic, const char *key)
{
    AUTO(buf) address = BUF_INIT(PART_MAX);
    buf_printf(&address, "%s.{routing_key}", topic);
    buf_printf(out, "\"%s\":{\"address\":", key);
    json_write_string(out, address.data, address.len);
    buf_append_lit(out,
                   ",\"parameters\":{\"routing_key\":{\"description\":\"Words separated by dots. "
                   "To bind, `*` stands for one word and `$` (or `#`) for any number.\"}},");
    buf_printf(out,
               "\"messages\":{\"event\":{\"$ref\":\"#/components/messages/%s\"},"
               "\"post\":{\"$ref\":\"#/components/messages/%s.post\"}},\"x-server-sent-events\":",
               key, key);
    write_path(out, topic, "/stream?routingKey={routing_key}");
    buf_append_lit(out, ",\"x-websocket\":");
    write_path(out, topic, "/ws?routingKey={routing_key}");
    buf_append_char(out, '}');
}

static void write_operations(struct buf *out, const char *key)
{
    buf_printf(
        out,
        "\"%s.stream\":{\"action\":\"send\",\"title\":\"Events as they are published, by SSE "
        "or WebSocket\",\"channel\":{\"$ref\":\"#/channels/%s\"},"
        "\"messages\":[{\"$ref\":\"#/channels/%s/messages/event\"}]},",
        key, key, key);
    buf_printf(out,
               "\"%s.publish\":{\"action\":\"receive\",\"title\":\"POST /events/publish\","
               "\"channel\":{\"$ref\":\"#/channels/%s\"},"
               "\"messages\":[{\"$ref\":\"#/channels/%s/messages/post\"}]}",
               key, key, key);
}

/* `more`: members of the message beside topic, routing_key and payload. */
static void write_message(struct buf *out, const char *name, const char *suffix, const char *topic,
                          const char *required, const char *more)
{
    buf_printf(out,
               "\"%s%s\":{\"contentType\":\"application/json\",\"payload\":{\"type\":\"object\","
               "\"required\":[%s],\"properties\":{\"topic\":{\"const\":",
               name, suffix, required);
    json_write_string(out, topic, strlen(topic));
    buf_printf(out,
               "},\"routing_key\":{\"type\":\"string\"},"
               "\"payload\":{\"$ref\":\"#/components/schemas/%s/schema\"}%s}}}",
               name, more);
}

static bool has_room(const struct parts *p)
{
    return !p->channels.failed && !p->operations.failed && !p->messages.failed &&
           !p->schemas.failed;
}

static void separate(struct parts *p)
{
    if (p->n == 0)
        return;
    buf_append_char(&p->channels, ',');
    buf_append_char(&p->operations, ',');
    buf_append_char(&p->messages, ',');
    buf_append_char(&p->schemas, ',');
}

static void cut(struct buf *b, size_t len)
{
    b->failed = false;
    if (b->data) {
        b->len = len;
        b->data[len] = '\0';
    }
}

static bool add_topic(void *ctx, const char *topic, struct json_object *document)
{
    struct parts *p = ctx;
    const size_t before[] = {p->channels.len, p->operations.len, p->messages.len, p->schemas.len};
    char key[KEY_SIZE];
    key_of(topic, key);
    struct json_object *stored = json_object_object_get(document, "jschema");
    AUTO_JSON *schema = moved_schema(stored, key);
    if (!schema) {
        p->omitted++;
        return true;
    }
    separate(p);
    write_channel(&p->channels, topic, key);
    write_operations(&p->operations, key);
    write_message(&p->messages, key, "", topic,
                  "\"topic\",\"routing_key\",\"payload\",\"timestamp\",\"posted_by\"",
                  ",\"timestamp\":{\"type\":\"string\",\"description\":\"UTC, ISO 8601 without an "
                  "offset\"},\"posted_by\":{\"type\":[\"string\",\"null\"]}");
    buf_append_char(&p->messages, ',');
    write_message(&p->messages, key, ".post", topic, "\"topic\",\"payload\"", "");
    buf_printf(&p->schemas, "\"%s\":{\"schemaFormat\":\"application/schema+json;version=%s\",", key,
               dialect_of(stored));
    buf_append_lit(&p->schemas, "\"schema\":");
    json_write_value(&p->schemas, schema);
    buf_append_char(&p->schemas, '}');
    if (has_room(p)) {
        p->n++;
        return true;
    }
    cut(&p->channels, before[0]);
    cut(&p->operations, before[1]);
    cut(&p->messages, before[2]);
    cut(&p->schemas, before[3]);
    p->omitted++;
    return true;
}

/* --- the document --- */

static void write_document(struct buf *out, const struct parts *p, const char *host)
{
    buf_append_lit(
        out, "{\"asyncapi\":\"3.0.0\",\"info\":{\"title\":\"hyprxa\",\"version\":\"" HYPRXA_VERSION
             "\",\"description\":\"The events of every topic. Streams are opened with GET, by "
             "server-sent events or WebSocket; events are posted to /events/publish. The "
             "requests are described at /openapi.json.\"},"
             "\"defaultContentType\":\"application/json\",\"servers\":{\"http\":{\"host\":");
    json_write_string(out, host, strlen(host));
    buf_append_lit(out,
                   ",\"protocol\":\"http\",\"description\":\"Server-sent events and publishing\"},"
                   "\"websocket\":{\"host\":");
    json_write_string(out, host, strlen(host));
    buf_append_lit(out, ",\"protocol\":\"ws\"}},\"channels\":{");
    buf_append(out, p->channels.data, p->channels.len);
    buf_append_lit(out, "},\"operations\":{");
    buf_append(out, p->operations.data, p->operations.len);
    buf_append_lit(out, "},\"components\":{\"messages\":{");
    buf_append(out, p->messages.data, p->messages.len);
    buf_append_lit(out, "},\"schemas\":{");
    buf_append(out, p->schemas.data, p->schemas.len);
    buf_append_lit(out, "}}");
    if (p->omitted)
        buf_printf(out, ",\"x-omitted\":%zu", p->omitted);
    buf_append_char(out, '}');
}

static void parts_release(struct parts *p)
{
    buf_release(&p->channels);
    buf_release(&p->operations);
    buf_release(&p->messages);
    buf_release(&p->schemas);
}

void topics_asyncapi(struct http_request *r, void *ctx)
{
    struct topics *t = ctx;
    struct error err = ERROR_INIT;
    struct parts parts = {.channels = BUF_INIT(PART_MAX),
                          .operations = BUF_INIT(PART_MAX),
                          .messages = BUF_INIT(PART_MAX),
                          .schemas = BUF_INIT(PART_MAX)};
    AUTO(buf) out = BUF_INIT(5 * (size_t)PART_MAX);
    const char *host = http_header(r, "Host");
    int rc = storage_document_find(t->storage, STORAGE_TOPICS, NULL, add_topic, &parts, &err);
    if (!rc) {
        write_document(&out, &parts, host ? host : "localhost");
        struct http_asset asset = {.content_type = "application/json",
                                   .cache_control = "no-cache",
                                   .body = out.data,
                                   .len = out.len};
        rc = out.failed ? error_set(&err, ERR_NOMEM, "out of memory")
                        : http_asset_seal(&asset, &err);
        if (!rc)
            http_respond_asset(r, &asset);
    }
    if (rc)
        http_respond_error(r, &err);
    parts_release(&parts);
}
