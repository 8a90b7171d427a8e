#include "unitops/unitops.h"

#include "base/json.h"
#include "storage/document_cache.h"
#include "unitops/unitops_priv.h"

#include <json-c/linkhash.h>
#include <stdlib.h>
#include <string.h>

enum { UNITOPS_CACHED = 4096, DOCUMENT_MAX = 16 << 20 };

void unitop_unref(struct unitop *u)
{
    if (!u || atomic_fetch_sub_explicit(&u->refs, 1, memory_order_acq_rel) != 1)
        return;
    buf_release(&u->text);
    json_object_put(u->document);
    free(u->items);
    free(u->name);
    free(u);
}

static void ref_unitop(void *object)
{
    struct unitop *u = object;
    atomic_fetch_add_explicit(&u->refs, 1, memory_order_relaxed);
}

static void unref_unitop(void *object)
{
    unitop_unref(object);
}

int unitop_write(struct buf *out, const char *name, struct json_object *document,
                 struct json_object *mapping)
{
    buf_append_lit(out, "{\"name\":");
    json_write_string(out, name, strlen(name));
    buf_append_lit(out, ",\"data_mapping\":");
    json_write_value(out, mapping ? mapping : json_object_object_get(document, "data_mapping"));
    buf_append_lit(out, ",\"meta\":");
    json_write_value(out, json_object_object_get(document, "meta"));
    document_write_stamp(out, document);
    return out->failed ? ERR_NOMEM : 0;
}

static int list_items(struct unitop *u)
{
    struct json_object *mapping = json_object_object_get(u->document, "data_mapping");
    size_t n = (size_t)json_object_object_length(mapping);
    u->items = calloc(n ? n : 1, sizeof *u->items);
    if (!u->items)
        return ERR_NOMEM;
    json_object_object_foreach (mapping, item, subscription) {
        u->items[u->n_items++] = (struct unitop_item){item, subscription};
    }
    return 0;
}

static int build_unitop(const char *key, struct json_object *document, void **ret,
                        struct error *err)
{
    if (!json_object_is_type(json_object_object_get(document, "data_mapping"), json_type_object))
        return error_set(err, ERR_CORRUPT, "unitop '%s' is stored without a data_mapping", key);
    struct unitop *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(err, ERR_NOMEM, "out of memory");
    atomic_init(&u->refs, 1);
    buf_init(&u->text, DOCUMENT_MAX);
    u->name = strdup(key);
    u->document = json_object_get(document);
    if (!u->name || list_items(u) || unitop_write(&u->text, key, document, NULL)) {
        unitop_unref(u);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    *ret = u;
    return 0;
}

static const struct document_cache_type unitop_cache = {
    .collection = STORAGE_UNITOPS, .build = build_unitop, .ref = ref_unitop, .unref = unref_unitop};

int unitops_new(struct storage *st, const struct unitops_sources *sources,
                const struct document_cache_options *cache, struct unitops **ret, struct error *err)
{
    struct unitops *u = calloc(1, sizeof *u);
    if (!u)
        return error_set(err, ERR_NOMEM, "out of memory");
    u->storage = st;
    u->sources = *sources;
    int rc = document_cache_new(st, &unitop_cache, UNITOPS_CACHED, cache, &u->cache, err);
    if (rc) {
        free(u);
        return rc;
    }
    *ret = u;
    return 0;
}

void unitops_free(struct unitops *u)
{
    if (!u)
        return;
    document_cache_free(u->cache);
    free(u);
}

void unitops_recheck(struct unitops *u, const char *name)
{
    document_cache_recheck(u->cache, name);
}

int unitops_get(struct unitops *u, const char *name, struct unitop **ret, struct error *err)
{
    void *object = NULL;
    int rc = document_cache_get(u->cache, name, &object, err);
    if (rc == ERR_NOT_FOUND)
        return error_set(err, rc, "No unitops found matching criteria.");
    if (!rc)
        *ret = object;
    return rc;
}

int unitops_save(struct unitops *u, const char *name, struct json_object *data_mapping,
                 struct json_object *meta, const char *user, struct error *err)
{
    AUTO_JSON *document = json_object_new_object();
    if (!document ||
        json_object_object_add(document, "data_mapping", json_object_get(data_mapping)) ||
        json_object_object_add(document, "meta", json_object_get(meta)))
        return error_set(err, ERR_NOMEM, "out of memory");
    return document_cache_save_stamped(u->cache, name, "name", user, document, err);
}
