/* Reading events back, the original system's buckets as well as ours. */
#include "storage/mongodb_priv.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"
#include "storage/event_document.h"
#include "storage/regex.h"

#include <stdlib.h>
#include <string.h>

enum { PAYLOAD_MAX = 64 << 20, KEYS_MAX = 100000 };

/* --- one event of a bucket --- */

struct event_parts {
    const char *topic, *routing_key, *posted_by;
    int64_t time_us;
    bson_iter_t payload;
    bool has_payload;
};

static void read_event(const bson_iter_t *event, struct event_parts *ret)
{
    bson_iter_t i;
    *ret = (struct event_parts){.topic = "", .routing_key = ""};
    if (!BSON_ITER_HOLDS_DOCUMENT(event) || !bson_iter_recurse(event, &i))
        return;
    while (bson_iter_next(&i)) {
        const char *name = bson_iter_key(&i);
        bool text = BSON_ITER_HOLDS_UTF8(&i);
        if (strcmp(name, "topic") == 0 && text)
            ret->topic = bson_iter_utf8(&i, NULL);
        else if (strcmp(name, "routing_key") == 0 && text)
            ret->routing_key = bson_iter_utf8(&i, NULL);
        else if (strcmp(name, "posted_by") == 0 && text)
            ret->posted_by = bson_iter_utf8(&i, NULL);
        else if (strcmp(name, "timestamp") == 0 && BSON_ITER_HOLDS_DATE_TIME(&i))
            ret->time_us = bson_iter_date_time(&i) * 1000;
        else if (strcmp(name, "payload") == 0) {
            ret->payload = i;
            ret->has_payload = true;
        }
    }
}

static int write_event(struct buf *out, const struct event_parts *e, struct error *err)
{
    AUTO(buf) payload = BUF_INIT(PAYLOAD_MAX);
    int rc =
        e->has_payload ? bson_write_json(&payload, &e->payload) : buf_append_lit(&payload, "{}");
    struct event_document document = {.topic = e->topic,
                                      .routing_key = e->routing_key,
                                      .payload = payload.data,
                                      .payload_len = payload.len,
                                      .time_us = e->time_us,
                                      .posted_by = e->posted_by};
    if (!rc)
        rc = event_document_write(out, &document);
    return rc ? error_set(err, ERR_LIMIT, "the answer is too large") : 0;
}

/* --- the newest --- */

/* The newest event of the newest bucket; of equal times the one that was written last. */
static bool newest_of(const bson_t *bucket, struct event_parts *ret)
{
    bson_iter_t list, item;
    bool any = false;
    if (!bson_find(bucket, "events", &list) || !bson_iter_recurse(&list, &item))
        return false;
    while (bson_iter_next(&item)) {
        struct event_parts e;
        read_event(&item, &e);
        if (!any || e.time_us >= ret->time_us)
            *ret = e;
        any = true;
    }
    return any;
}

/* `filter` is consumed. */
static int write_newest(struct mongodb *m, bson_t *filter, struct buf *out, struct error *err)
{
    const bson_t *bucket = NULL;
    struct event_parts event;
    bson_error_t e;
    struct use u;
    int rc = ERR_NOT_FOUND;
    bson_t *opts = BCON_NEW("sort", "{", "timestamp", BCON_INT32(-1), "last", BCON_INT32(-1), "}",
                            "limit", BCON_INT64(1));
    use_begin(m, STORAGE_REMOTE_EVENTS, &u);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(u.collection, filter, opts, NULL);
    if (mongoc_cursor_next(cursor, &bucket) && newest_of(bucket, &event))
        rc = write_event(out, &event, err);
    else if (mongoc_cursor_error(cursor, &e))
        rc = mongodb_error(&e, "reading the newest event", err);
    else
        error_set(err, rc, "no event");
    mongoc_cursor_destroy(cursor);
    use_end(&u);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

/* The key as posted: with its topic or without. */
static const char *without_topic(const char *topic, const char *key)
{
    size_t len = strlen(topic);
    return strncmp(topic, key, len) == 0 && key[len] == '.' ? key + len + 1 : key;
}

int mongodb_event_last(void *self, const char *topic, const char *routing_key, struct buf *out,
                       struct error *err)
{
    bson_t *filter = routing_key ? BCON_NEW("topic", BCON_UTF8(topic), "routing_key", "{", "$in",
                                            "[", BCON_UTF8(routing_key),
                                            BCON_UTF8(without_topic(topic, routing_key)), "]", "}")
                                 : BCON_NEW("topic", BCON_UTF8(topic));
    return write_newest(self, filter, out, err);
}

/* --- the newest of every key that matches --- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct key_list {
    char **v;
    size_t n;
};

static void key_list_release(struct key_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
}

static int read_keys(const bson_t *reply, struct key_list *ret, struct error *err)
{
    bson_iter_t values, i;
    if (!bson_find(reply, "values", &values) || !bson_iter_recurse(&values, &i))
        return 0;
    while (bson_iter_next(&i)) {
        if (!BSON_ITER_HOLDS_UTF8(&i))
            continue;
        if (ret->n == KEYS_MAX)
            return error_set(err, ERR_LIMIT, "the topic has more than %d routing keys", KEYS_MAX);
        char **grown = realloc(ret->v, (ret->n + 1) * sizeof *grown);
        char *key = strdup(bson_iter_utf8(&i, NULL));
        if (grown)
            ret->v = grown;
        if (!grown || !key) {
            free(key);
            return error_set(err, ERR_NOMEM, "out of memory");
        }
        ret->v[ret->n++] = key;
    }
    if (ret->n)
        qsort(ret->v, ret->n, sizeof *ret->v, compare_texts);
    return 0;
}

static int list_keys(struct mongodb *m, const char *topic, struct key_list *ret, struct error *err)
{
    struct use u;
    bson_t reply;
    bson_error_t e;
    use_begin(m, STORAGE_REMOTE_EVENTS, &u);
    bson_t *command =
        BCON_NEW("distinct", BCON_UTF8(mongoc_collection_get_name(u.collection)), "key",
                 BCON_UTF8("routing_key"), "query", "{", "topic", BCON_UTF8(topic), "}");
    int rc = mongoc_collection_read_command_with_opts(u.collection, command, NULL, NULL, &reply, &e)
                 ? read_keys(&reply, ret, err)
                 : mongodb_error(&e, "listing routing keys", err);
    bson_destroy(&reply);
    bson_destroy(command);
    use_end(&u);
    return rc;
}

int mongodb_event_query(void *self, const char *topic, const char *regex, struct buf *out,
                        size_t *ret_n, struct error *err)
{
    struct regex *re = NULL;
    struct key_list keys = {0};
    /* Matched here and not by the server: one dialect, under one limit, for all back ends. */
    int rc = regex ? regex_new(regex, strlen(regex), REGEX_IGNORE_CASE, &re, err) : 0;
    if (!rc)
        rc = list_keys(self, topic, &keys, err);
    *ret_n = 0;
    for (size_t i = 0; i < keys.n && !rc; i++) {
        int wanted = re ? regex_search(re, keys.v[i], strlen(keys.v[i]), err) : 1;
        if (wanted < 0)
            rc = wanted;
        if (wanted <= 0)
            continue;
        if ((*ret_n)++)
            buf_append_char(out, ',');
        rc = write_newest(self,
                          BCON_NEW("topic", BCON_UTF8(topic), "routing_key", BCON_UTF8(keys.v[i])),
                          out, err);
    }
    key_list_release(&keys);
    regex_free(re);
    return rc;
}

/* --- a range: the server takes the buckets apart and sorts --- */

struct remote_event_cursor {
    struct mongodb *m;
    struct use use;
    mongoc_cursor_t *cursor;
    struct regex *re; /* NULL: all */
    char *topic;
    int64_t from_ms, to_ms;
    bool begun, ended;  /* a row has come; no more will */
    struct buf payload; /* of the current row */
};

/* Events of one time come in the order in which they were written, as far as the server can tell. */
static void open_cursor(struct remote_event_cursor *c)
{
    bson_t *unwind = atomic_load(&c->m->no_array_index)
                         ? BCON_NEW("$unwind", BCON_UTF8("$events"))
                         : BCON_NEW("$unwind", "{", "path", BCON_UTF8("$events"),
                                    "includeArrayIndex", BCON_UTF8("at"), "}");
    /* A bucket's timestamp is that of its newest event [D 9]. */
    bson_t *pipeline =
        BCON_NEW("pipeline", "[", "{", "$match", "{", "topic", BCON_UTF8(c->topic), "timestamp",
                 "{", "$gte", BCON_DATE_TIME(c->from_ms), "}", "}", "}", BCON_DOCUMENT(unwind), "{",
                 "$match", "{", "events.timestamp", "{", "$gte", BCON_DATE_TIME(c->from_ms), "$lte",
                 BCON_DATE_TIME(c->to_ms), "}", "}", "}", "{", "$sort", "{", "events.timestamp",
                 BCON_INT32(1), "last", BCON_INT32(1), "_id", BCON_INT32(1), "at", BCON_INT32(1),
                 "}", "}", "]");
    bson_t *opts = BCON_NEW("allowDiskUse", BCON_BOOL(true));
    c->cursor =
        mongoc_collection_aggregate(c->use.collection, MONGOC_QUERY_NONE, pipeline, opts, NULL);
    bson_destroy(opts);
    bson_destroy(pipeline);
    bson_destroy(unwind);
}

int mongodb_event_range(void *self, const char *topic, const char *regex, int64_t start_us,
                        int64_t end_us, struct remote_event_cursor **ret, struct error *err)
{
    struct remote_event_cursor *c = calloc(1, sizeof *c);
    int rc = c && (c->topic = strdup(topic)) ? 0 : error_set(err, ERR_NOMEM, "out of memory");
    if (!rc && regex)
        rc = regex_new(regex, strlen(regex), REGEX_IGNORE_CASE, &c->re, err);
    if (rc) {
        if (c)
            free(c->topic);
        free(c);
        return rc;
    }
    c->m = self;
    c->from_ms = to_ms_up(start_us);
    c->to_ms = to_ms(end_us);
    buf_init(&c->payload, PAYLOAD_MAX);
    use_begin(self, STORAGE_REMOTE_EVENTS, &c->use);
    open_cursor(c);
    *ret = c;
    return 0;
}

/* 1: `*ret` is the next event; 0: the end; negative. */
static int next_event(struct remote_event_cursor *c, struct event_parts *ret, struct error *err)
{
    const bson_t *found = NULL;
    bson_error_t e;
    bson_iter_t event;
    if (c->ended)
        return 0;
    while (mongoc_cursor_next(c->cursor, &found)) {
        c->begun = true;
        if (bson_find(found, "events", &event)) {
            read_event(&event, ret);
            return 1;
        }
    }
    c->ended = true;
    if (!mongoc_cursor_error(c->cursor, &e))
        return 0;
    int rc = mongodb_error(&e, "reading events", err);
    if (rc != ERR_UNSUPPORTED || c->begun || atomic_exchange(&c->m->no_array_index, true))
        return rc;
    mongoc_cursor_destroy(c->cursor);
    c->ended = false;
    open_cursor(c);
    return next_event(c, ret, err);
}

int mongodb_event_next(struct remote_event_cursor *c, struct storage_event_row *ret,
                       struct error *err)
{
    struct event_parts parts;
    int wanted = 0;
    while (!wanted) {
        int rc = next_event(c, &parts, err);
        if (rc <= 0)
            return rc;
        wanted = c->re ? regex_search(c->re, parts.routing_key, strlen(parts.routing_key), err) : 1;
    }
    if (wanted < 0)
        return wanted;
    buf_clear(&c->payload);
    if (parts.has_payload ? bson_write_json(&c->payload, &parts.payload)
                          : buf_append_lit(&c->payload, "{}"))
        return error_set(err, ERR_NOMEM, "out of memory");
    *ret = (struct storage_event_row){.time_us = parts.time_us,
                                      .posted_by = parts.posted_by,
                                      .topic = parts.topic,
                                      .routing_key = parts.routing_key,
                                      .payload = c->payload.data,
                                      .payload_len = c->payload.len};
    return 1;
}

void mongodb_event_cursor_close(struct remote_event_cursor *c)
{
    mongoc_cursor_destroy(c->cursor);
    use_end(&c->use);
    regex_free(c->re);
    buf_release(&c->payload);
    free(c->topic);
    free(c);
}
