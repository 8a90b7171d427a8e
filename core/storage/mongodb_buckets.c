/* Writing events: buckets of up to 1000 of one (topic, routing key), as the original system has them
 * (contract section 8), made so that the same event written twice is there once.
 *
 * A bucket of ours belongs to this node: `_id` is "<node>:<number of its first event>", `node` and
 * `last`, the number of the newest event in it, stand beside the original's members.  An update
 * finds the bucket only while `last` is below the first event it adds; otherwise its upsert fails on
 * the `_id`, and the bucket is read again to see what it has. */
#include "storage/mongodb_priv.h"

#include "base/auto.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKET_EVENTS = 1000, BUCKETS_KNOWN_MAX = 50000, ID_SIZE = 48, ROUNDS = 4 };

struct bucket {
    char id[ID_SIZE]; /* empty: this key has none yet */
    int64_t count, last;
    /* of the write under way */
    size_t group; /* index of its group + 1, or 0 */
};

/* Events of one bucket in this write. */
struct group {
    struct bucket *bucket;
    char id[ID_SIZE];
    size_t n;
    int64_t first, last; /* numbers */
    int64_t newest_us;   /* time of the newest event */
    const struct storage_event_row *any;
    bson_t *events; /* the array; on its own, for a bson_t wants 128 bytes of alignment */
};

struct event_write {
    struct mongodb *m;
    const struct storage_event_row *rows;
    size_t n;
    struct group *groups;
    size_t n_groups;
};

/* --- where the next event of a key goes --- */

/* This node's newest bucket of the key, as the server has it. */
static int load_bucket(struct mongodb *m, const struct storage_event_row *row, struct bucket *ret,
                       struct error *err)
{
    const bson_t *found = NULL;
    bson_error_t e;
    struct use u;
    int rc = 0;
    *ret = (struct bucket){0};
    bson_t *filter =
        BCON_NEW("topic", BCON_UTF8(row->topic), "routing_key", BCON_UTF8(row->routing_key), "node",
                 BCON_INT64((int64_t)row->id.origin));
    bson_t *opts =
        BCON_NEW("sort", "{", "last", BCON_INT32(-1), "}", "limit", BCON_INT64(1), "projection",
                 "{", "_id", BCON_INT32(1), "count", BCON_INT32(1), "last", BCON_INT32(1), "}");
    use_begin(m, STORAGE_REMOTE_EVENTS, &u);
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(u.collection, filter, opts, NULL);
    if (mongoc_cursor_next(cursor, &found)) {
        const char *id = bson_text(found, "_id");
        snprintf(ret->id, sizeof ret->id, "%s", id ? id : "");
        ret->count = bson_int(found, "count", 0);
        ret->last = bson_int(found, "last", 0);
    } else if (mongoc_cursor_error(cursor, &e)) {
        rc = mongodb_error(&e, "reading a bucket of events", err);
    }
    mongoc_cursor_destroy(cursor);
    use_end(&u);
    bson_destroy(opts);
    bson_destroy(filter);
    return rc;
}

static int key_of(const struct storage_event_row *row, struct buf *out)
{
    buf_append(out, row->topic, strlen(row->topic) + 1);
    return buf_append_str(out, row->routing_key);
}

static int find_bucket(struct mongodb *m, const struct storage_event_row *row, struct bucket **ret,
                       struct error *err)
{
    AUTO(buf) key = BUF_INIT(1 << 20);
    if (key_of(row, &key))
        return error_set(err, ERR_INVALID, "an event's topic and key are too long");
    *ret = map_get(&m->buckets, key.data, key.len);
    if (*ret)
        return 0;
    struct bucket *b = calloc(1, sizeof *b);
    int rc = b ? load_bucket(m, row, b, err) : error_set(err, ERR_NOMEM, "out of memory");
    if (!rc && map_set(&m->buckets, key.data, key.len, b, NULL))
        rc = error_set(err, ERR_NOMEM, "out of memory");
    if (rc)
        free(b);
    else
        *ret = b;
    return rc;
}

/* --- groups: what goes into one bucket in this write --- */

static int append_event(bson_t *array, size_t at, const struct storage_event_row *row,
                        struct error *err)
{
    bson_t event;
    char room[16];
    const char *index;
    size_t len = bson_uint32_to_string((uint32_t)at, &index, room, sizeof room);
    bson_append_document_begin(array, index, (int)len, &event);
    bson_append_utf8(&event, "topic", -1, row->topic, -1);
    bson_append_utf8(&event, "routing_key", -1, row->routing_key, -1);
    int rc = bson_append_json_text(&event, "payload", row->payload, row->payload_len, err);
    bson_append_date_time(&event, "timestamp", -1, to_ms(row->time_us));
    if (row->posted_by)
        bson_append_utf8(&event, "posted_by", -1, row->posted_by, -1);
    else
        bson_append_null(&event, "posted_by", -1);
    bson_append_document_end(array, &event);
    return rc;
}

/* The group of `b` that has room, or a new one; a full bucket is followed by one that begins here. */
static struct group *group_of(struct event_write *w, struct bucket *b,
                              const struct storage_event_row *row)
{
    struct group *g = b->group ? &w->groups[b->group - 1] : NULL;
    if (!b->id[0] || b->count >= BUCKET_EVENTS) {
        snprintf(b->id, sizeof b->id, "%016" PRIx64 ":%" PRIu64, row->id.origin, row->id.sequence);
        b->count = 0;
        g = NULL;
    }
    if (g)
        return g;
    g = &w->groups[w->n_groups++];
    *g = (struct group){
        .bucket = b, .first = (int64_t)row->id.sequence, .any = row, .newest_us = row->time_us};
    memcpy(g->id, b->id, sizeof g->id);
    g->events = bson_new();
    b->group = w->n_groups;
    return g;
}

static int add_row(struct event_write *w, const struct storage_event_row *row, struct error *err)
{
    struct bucket *b = NULL;
    int rc = find_bucket(w->m, row, &b, err);
    if (rc || (int64_t)row->id.sequence <= b->last)
        return rc; /* it is there already */
    struct group *g = group_of(w, b, row);
    rc = append_event(g->events, g->n, row, err);
    g->n++;
    g->last = (int64_t)row->id.sequence;
    if (row->time_us > g->newest_us)
        g->newest_us = row->time_us;
    b->count++;
    return rc;
}

static void add_update(mongoc_bulk_operation_t *bulk, const struct group *g)
{
    const struct storage_event_row *row = g->any;
    bson_t *filter =
        BCON_NEW("_id", BCON_UTF8(g->id), "last", "{", "$lt", BCON_INT64(g->first), "}");
    bson_t *opts = BCON_NEW("upsert", BCON_BOOL(true));
    bson_t *update =
        BCON_NEW("$push", "{", "events", "{", "$each", BCON_ARRAY(g->events), "}", "}", "$inc", "{",
                 "count", BCON_INT32((int32_t)g->n), "}", "$max", "{", "timestamp",
                 BCON_DATE_TIME(to_ms(g->newest_us)), "}", "$set", "{", "last", BCON_INT64(g->last),
                 "}", "$setOnInsert", "{", "topic", BCON_UTF8(row->topic), "routing_key",
                 BCON_UTF8(row->routing_key), "node", BCON_INT64((int64_t)row->id.origin), "}");
    mongoc_bulk_operation_update_one_with_opts(bulk, filter, update, opts, NULL);
    bson_destroy(update);
    bson_destroy(opts);
    bson_destroy(filter);
}

/* --- a write --- */

/* Afterwards every bucket of the write is either known to have it, or forgotten and read anew. */
static void settle(struct event_write *w, bool written)
{
    for (size_t i = 0; i < w->n_groups; i++) {
        struct group *g = &w->groups[i];
        AUTO(buf) key = BUF_INIT(1 << 20);
        key_of(g->any, &key);
        /* Two groups may have had the same bucket, and it is forgotten by now. */
        struct bucket *b = map_get(&w->m->buckets, key.data, key.len);
        if (b && written) {
            b->group = 0;
            b->last = g->last;
        } else if (b) {
            free(map_remove(&w->m->buckets, key.data, key.len));
        }
        bson_destroy(g->events);
    }
    w->n_groups = 0;
}

/* 0: all written.  ERR_EXISTS: some were there, look again. */
static int execute(struct event_write *w, struct error *err)
{
    struct use u;
    bson_t reply, *opts = BCON_NEW("ordered", BCON_BOOL(true));
    bson_error_t e;
    int rc = 0;
    use_begin(w->m, STORAGE_REMOTE_EVENTS, &u);
    mongoc_bulk_operation_t *bulk =
        mongoc_collection_create_bulk_operation_with_opts(u.collection, opts);
    for (size_t i = 0; i < w->n_groups; i++)
        add_update(bulk, &w->groups[i]);
    if (!mongoc_bulk_operation_execute(bulk, &reply, &e)) {
        struct bulk_failures failures;
        mongodb_read_failures(&reply, &failures);
        if (failures.other.code)
            rc = mongodb_error(&failures.other, "writing events", err);
        else if (failures.duplicates)
            rc = error_set(err, ERR_EXISTS, "some events are there already");
        else
            rc = mongodb_error(&e, "writing events", err);
    }
    bson_destroy(&reply);
    mongoc_bulk_operation_destroy(bulk);
    use_end(&u);
    bson_destroy(opts);
    return rc;
}

static int write_once(struct event_write *w, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < w->n && !rc; i++)
        rc = add_row(w, &w->rows[i], err);
    if (!rc && w->n_groups)
        rc = execute(w, err);
    settle(w, rc == 0);
    return rc;
}

/* Again while buckets turn out to have more than was known: after a lost answer, or a crash. */
static int write_rows(struct event_write *w, struct error *err)
{
    int rc = ERR_EXISTS;
    for (int i = 0; i < ROUNDS && rc == ERR_EXISTS; i++)
        rc = write_once(w, err);
    return rc == ERR_EXISTS ? error_set(err, ERR_UNAVAILABLE, "buckets of events change too fast")
                            : rc;
}

/* One of them is refused for good: the first that does not go in alone. */
static int write_one_by_one(struct event_write *w, size_t n, size_t *ret_done, struct error *err)
{
    int rc = 0;
    const struct storage_event_row *rows = w->rows;
    w->n = 1;
    for (*ret_done = 0; *ret_done < n; ++*ret_done) {
        w->rows = rows + *ret_done;
        rc = write_rows(w, err);
        if (rc)
            break;
    }
    return rc;
}

int mongodb_events_write(void *self, const struct storage_event_row *rows, size_t n,
                         size_t *ret_done, struct error *err)
{
    struct event_write w = {.m = self, .rows = rows, .n = n};
    *ret_done = 0;
    w.groups = calloc(n, sizeof *w.groups);
    if (!w.groups)
        return error_set(err, ERR_NOMEM, "out of memory");
    if (w.m->buckets.n > BUCKETS_KNOWN_MAX) {
        map_release(&w.m->buckets, free);
        map_init(&w.m->buckets);
    }
    int rc = write_rows(&w, err);
    if (!rc)
        *ret_done = n;
    else if (rc == ERR_INVALID)
        rc = write_one_by_one(&w, n, ret_done, err);
    free(w.groups);
    return rc;
}
