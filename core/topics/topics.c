#include "topics/topics.h"

#include "base/json.h"
#include "base/json_schema.h"
#include "storage/document_cache.h"
#include "topics/topics_priv.h"

#include <stdlib.h>
#include <string.h>

enum { TOPICS_CACHED = 4096, DOCUMENT_MAX = 4 << 20, NAME_MAX_BYTES = 200 };

void topic_unref(struct topic *t)
{
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
        return;
    json_schema_unref(t->schema);
    buf_release(&t->document);
    free(t->name);
    free(t);
}

static void ref_topic(void *object)
{
    struct topic *t = object;
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
}

static void unref_topic(void *object)
{
    topic_unref(object);
}

/* {"topic","jschema","modified_by","modified_at"} in the contract's order. */
static int write_document(struct buf *out, const char *name, struct json_object *document)
{
    buf_append_lit(out, "{\"topic\":");
    json_write_string(out, name, strlen(name));
    buf_append_lit(out, ",\"jschema\":");
    json_write_value(out, json_object_object_get(document, "jschema"));
    document_write_stamp(out, document);
    return out->failed ? ERR_NOMEM : 0;
}

static int build_topic(const char *key, struct json_object *document, void **ret, struct error *err)
{
    struct topic *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERR_NOMEM, "out of memory");
    atomic_init(&t->refs, 1);
    buf_init(&t->document, DOCUMENT_MAX);
    t->name = strdup(key);
    int rc = t->name ? write_document(&t->document, key, document) : ERR_NOMEM;
    if (rc)
        error_set(err, rc, "out of memory");
    else
        rc = json_schema_compile(json_object_object_get(document, "jschema"), 0, &t->schema, err);
    if (rc) {
        topic_unref(t);
        return rc;
    }
    *ret = t;
    return 0;
}

static const struct document_cache_type topic_cache = {
    .collection = STORAGE_TOPICS, .build = build_topic, .ref = ref_topic, .unref = unref_topic};

int topics_new(struct storage *st, const struct document_cache_options *cache, struct topics **ret,
               struct error *err)
{
    struct topics *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(err, ERR_NOMEM, "out of memory");
    t->storage = st;
    int rc = document_cache_new(st, &topic_cache, TOPICS_CACHED, cache, &t->cache, err);
    if (rc) {
        free(t);
        return rc;
    }
    *ret = t;
    return 0;
}

void topics_free(struct topics *t)
{
    if (!t)
        return;
    document_cache_free(t->cache);
    free(t);
}

void topics_recheck(struct topics *t, const char *name)
{
    document_cache_recheck(t->cache, name);
}

int topics_get(struct topics *t, const char *name, struct topic **ret, struct error *err)
{
    void *object = NULL;
    int rc = document_cache_get(t->cache, name, &object, err);
    if (rc == ERR_NOT_FOUND)
        return error_set(err, rc, "No topics found matching criteria.");
    if (!rc)
        *ret = object;
    return rc;
}

int topic_name_check(const char *name, struct error *err)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    if (len == 0 || name[len] != '\0' || len > NAME_MAX_BYTES)
        return error_set(err, ERR_INVALID,
                         "a topic is named by 1 to %d of the characters A-Z a-z 0-9 _ -",
                         NAME_MAX_BYTES);
    return 0;
}

int topics_save(struct topics *t, const char *name, struct json_object *schema, const char *user,
                struct error *err)
{
    struct json_schema *compiled = NULL;
    int rc = json_schema_compile(schema, 0, &compiled, err);
    if (rc == ERR_LIMIT) /* no schema of ours, whoever tries again */
        rc = err->code = ERR_INVALID;
    if (rc)
        return rc;
    json_schema_unref(compiled);

    AUTO_JSON *document = json_object_new_object();
    if (!document || json_object_object_add(document, "jschema", json_object_get(schema)))
        return error_set(err, ERR_NOMEM, "out of memory");
    return document_cache_save_stamped(t->cache, name, "topic", user, document, err);
}
