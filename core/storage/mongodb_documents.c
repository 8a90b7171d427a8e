/* Topics and unitops as the original system keeps them (contract section 8); plugin states. */
#include "storage/mongodb_priv.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"

#include <json-c/linkhash.h>
#include <string.h>

static const char modified_at[] = "modified_at", states[] = "states";

/* The collection of documents, and the member that is their key. */
static enum storage_remote_collection place_of(enum storage_collection c, const char **ret_key)
{
    *ret_key = c == STORAGE_TOPICS ? "topic" : "name";
    return c == STORAGE_TOPICS ? STORAGE_REMOTE_TOPICS : STORAGE_REMOTE_UNITOPS;
}

/* All members, modified_at as a date. */
static int make_document(struct json_object *document, const char *key_member, const char *key,
                         bson_t *ret, struct error *err)
{
    int rc = 0;
    bson_append_utf8(ret, key_member, -1, key, -1);
    json_object_object_foreach (document, name, value) {
        if (rc || strcmp(name, key_member) == 0)
            continue;
        if (strcmp(name, modified_at) == 0)
            bson_append_date_time(ret, name, -1, to_ms(json_object_get_int64(value)));
        else
            rc = bson_append_json(ret, name, strlen(name), value, err);
    }
    return rc;
}

int mongodb_document_save(void *self, enum storage_collection c, const char *key,
                          struct json_object *document, bool *ret_inserted, struct error *err)
{
    const char *member;
    struct use u;
    bson_error_t e;
    bson_t reply, *filter, replacement = BSON_INITIALIZER;
    enum storage_remote_collection place = place_of(c, &member);
    int rc = make_document(document, member, key, &replacement, err);
    if (rc) {
        bson_destroy(&replacement);
        return rc;
    }
    filter = BCON_NEW(member, BCON_UTF8(key));
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL(true));
    use_begin(self, place, &u);
    if (!mongoc_collection_replace_one(u.collection, filter, &replacement, opts, &reply, &e))
        rc = mongodb_error(&e, "saving a document", err);
    else if (ret_inserted)
        *ret_inserted =
            bson_has_field(&reply, "upsertedId") || bson_int(&reply, "upsertedCount", 0);
    use_end(&u);
    bson_destroy(&reply);
    bson_destroy(opts);
    bson_destroy(filter);
    bson_destroy(&replacement);
    return rc;
}

/* The document without _id, modified_at as microseconds. */
static int read_document(const bson_t *found, struct json_object **ret, struct error *err)
{
    AUTO_JSON *document = json_object_new_object();
    bson_iter_t i;
    int rc = document && bson_iter_init(&i, found) ? 0 : ERR_NOMEM;
    while (!rc && bson_iter_next(&i)) {
        const char *name = bson_iter_key(&i);
        struct json_object *value = NULL;
        if (strcmp(name, "_id") == 0)
            continue;
        if (strcmp(name, modified_at) == 0 && BSON_ITER_HOLDS_DATE_TIME(&i))
            value = json_object_new_int64(bson_iter_date_time(&i) * 1000);
        else
            rc = bson_to_json(&i, &value);
        if (!rc)
            rc = json_object_object_add(document, name, value) ? ERR_NOMEM : 0;
    }
    if (rc)
        return error_set(err, rc, "a stored document cannot be read");
    *ret = TAKE(document);
    return 0;
}

int mongodb_document_get(void *self, enum storage_collection c, const char *key,
                         struct json_object **ret, struct error *err)
{
    const char *member;
    const bson_t *found = NULL;
    bson_error_t e;
    struct use u;
    enum storage_remote_collection place = place_of(c, &member);
    bson_t *filter = BCON_NEW(member, BCON_UTF8(key));
    bson_t *opts = BCON_NEW("limit", BCON_INT64(1));
    use_begin(self, place, &u);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(u.collection, filter, opts, NULL);
    int rc;
    if (mongoc_cursor_next(cursor, &found))
        rc = read_document(found, ret, err);
    else if (mongoc_cursor_error(cursor, &e))
        rc = mongodb_error(&e, "reading a document", err);
    else
        rc = error_set(err, ERR_NOT_FOUND, "'%s' not found", key);
    mongoc_cursor_destroy(cursor);
    use_end(&u);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

int mongodb_document_find(void *self, enum storage_collection c, struct json_object *filter,
                          storage_document_fn *each, void *ctx, struct error *err)
{
    const char *member;
    const bson_t *found = NULL;
    bson_error_t e;
    struct use u;
    bson_t query = BSON_INITIALIZER;
    enum storage_remote_collection place = place_of(c, &member);
    int rc = filter ? bson_from_json(filter, &query, err) : 0;
    if (rc) {
        bson_destroy(&query);
        return rc;
    }
    bson_t *opts = BCON_NEW("sort", "{", member, BCON_INT32(1), "}");
    use_begin(self, place, &u);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(u.collection, &query, opts, NULL);
    bool more = true;
    while (!rc && more && mongoc_cursor_next(cursor, &found)) {
        AUTO_JSON *document = NULL;
        rc = read_document(found, &document, err);
        if (!rc)
            more = each(ctx, json_get_string(document, member, ""), document);
    }
    if (!rc && mongoc_cursor_error(cursor, &e))
        rc = mongodb_error(&e, "finding documents", err);
    mongoc_cursor_destroy(cursor);
    use_end(&u);
    bson_destroy(opts);
    bson_destroy(&query);
    return rc;
}

/* --- plugin states: one document each, beside the samples --- */

static bson_t *state_filter(const char *source, const char *key)
{
    return BCON_NEW("_id", "{", "source", BCON_UTF8(source), "key", BCON_UTF8(key), "}");
}

int mongodb_state_put(void *self, const struct remote_state *state, struct error *err)
{
    struct mongodb *m = self;
    struct use u;
    bson_error_t e;
    bson_t *filter = state_filter(state->source, state->key);
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL(true));
    bson_t *update =
        BCON_NEW("$set", "{", "bytes",
                 BCON_BIN(BSON_SUBTYPE_BINARY, state->bytes, (uint32_t)state->len), "}");
    use_begin_named(m, m->names[STORAGE_REMOTE_TIMESERIES][0], states, &u);
    int rc = mongoc_collection_update_one(u.collection, filter, update, opts, NULL, &e)
                 ? 0
                 : mongodb_error(&e, "saving a plugin's state", err);
    use_end(&u);
    bson_destroy(update);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

int mongodb_state_get(void *self, const char *source, const char *key, struct buf *out,
                      struct error *err)
{
    struct mongodb *m = self;
    struct use u;
    bson_error_t e;
    bson_iter_t i;
    const bson_t *found = NULL;
    bson_t *filter = state_filter(source, key);
    use_begin_named(m, m->names[STORAGE_REMOTE_TIMESERIES][0], states, &u);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(u.collection, filter, NULL, NULL);
    int rc;
    if (mongoc_cursor_next(cursor, &found) && bson_find(found, "bytes", &i) &&
        BSON_ITER_HOLDS_BINARY(&i)) {
        uint32_t len;
        const uint8_t *bytes;
        bson_iter_binary(&i, NULL, &len, &bytes);
        rc = buf_append(out, bytes, len);
    } else if (mongoc_cursor_error(cursor, &e)) {
        rc = mongodb_error(&e, "reading a plugin's state", err);
    } else {
        rc = error_set(err, ERR_NOT_FOUND, "no state '%s' of source '%s'", key, source);
    }
    mongoc_cursor_destroy(cursor);
    use_end(&u);
    bson_destroy(filter);
    return rc;
}
