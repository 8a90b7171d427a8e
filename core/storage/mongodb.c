/* MongoDB as the database behind the journal: its table, the pool, errors, indexes. */
#include "storage/mongodb_priv.h"

#include "base/log.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_POOL = 25,
    PURGE_INTERVAL_MS = 60 * 1000,
    NOT_IMPLEMENTED = 238,
    COMMAND_NOT_FOUND = 59,
};

static const char logger[] = "hyprxa.storage";

/* --- a connection for the time of one operation --- */

void use_begin_named(struct mongodb *m, const char *database, const char *collection,
                     struct use *ret)
{
    ret->pool = m->pool;
    ret->client = mongoc_client_pool_pop(m->pool);
    ret->collection = mongoc_client_get_collection(ret->client, database, collection);
}

void use_begin(struct mongodb *m, enum storage_remote_collection c, struct use *ret)
{
    use_begin_named(m, m->names[c][0], m->names[c][1], ret);
}

void use_end(struct use *u)
{
    mongoc_collection_destroy(u->collection);
    mongoc_client_pool_push(u->pool, u->client);
}

/* --- errors --- */

/* Codes of a server that steps down, shuts down or has no primary; source: the retryable errors of
 * MongoDB's driver specification "Retryable Writes". */
static bool is_passing(uint32_t code)
{
    static const uint32_t codes[] = {6,     7,     89,    91,    189,   262, 9001,
                                     10107, 11600, 11602, 13435, 13436, 64,  50};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i] == code)
            return true;
    return false;
}

int mongodb_error(const bson_error_t *e, const char *what, struct error *err)
{
    int code = ERR_UNAVAILABLE; /* selection, network, authentication: another time */
    bool by_server = e->domain == MONGOC_ERROR_SERVER || e->domain == MONGOC_ERROR_QUERY ||
                     e->domain == MONGOC_ERROR_COMMAND || e->domain == MONGOC_ERROR_WRITE_CONCERN ||
                     e->domain == MONGOC_ERROR_COLLECTION;
    if (by_server && !is_passing(e->code))
        code = e->code == NOT_IMPLEMENTED || e->code == COMMAND_NOT_FOUND ? ERR_UNSUPPORTED
                                                                          : ERR_INVALID;
    if (e->domain == MONGOC_ERROR_BSON)
        code = ERR_INVALID;
    return error_set(err, code, "MongoDB, %s: %s", what, e->message);
}

static void read_failure(bson_iter_t *item, struct bulk_failures *f)
{
    bson_iter_t member;
    uint32_t code = 0;
    const char *text = "";
    if (!bson_iter_recurse(item, &member))
        return;
    while (bson_iter_next(&member)) {
        if (strcmp(bson_iter_key(&member), "code") == 0)
            code = (uint32_t)bson_iter_as_int64(&member);
        else if (strcmp(bson_iter_key(&member), "errmsg") == 0 && BSON_ITER_HOLDS_UTF8(&member))
            text = bson_iter_utf8(&member, NULL);
    }
    if (code == MONGODB_DUPLICATE_KEY)
        f->duplicates++;
    else if (!f->other.code)
        bson_set_error(&f->other, MONGOC_ERROR_SERVER, code, "%s", text);
}

void mongodb_read_failures(const bson_t *reply, struct bulk_failures *ret)
{
    bson_iter_t list, item;
    *ret = (struct bulk_failures){0};
    if (!bson_find(reply, "writeErrors", &list) || !bson_iter_recurse(&list, &item))
        return;
    while (bson_iter_next(&item))
        read_failure(&item, ret);
}

/* --- indexes and retention: [the writing thread] --- */

/* Ask for an index.  ERR_UNSUPPORTED: the server has no such kind; one of other options is kept. */
static int make_index(mongoc_collection_t *c, const char *name, const bson_t *keys, bool unique,
                      int64_t expire_s, struct error *err)
{
    bson_t reply, *command = BCON_NEW("createIndexes", BCON_UTF8(mongoc_collection_get_name(c)),
                                      "indexes", "[", "{", "key", BCON_DOCUMENT(keys), "name",
                                      BCON_UTF8(name), "unique", BCON_BOOL(unique), "}", "]");
    bson_error_t e;
    if (expire_s) {
        bson_destroy(command);
        command = BCON_NEW("createIndexes", BCON_UTF8(mongoc_collection_get_name(c)), "indexes",
                           "[", "{", "key", BCON_DOCUMENT(keys), "name", BCON_UTF8(name),
                           "expireAfterSeconds", BCON_INT64(expire_s), "}", "]");
    }
    bool ok = mongoc_collection_write_command_with_opts(c, command, NULL, &reply, &e);
    bson_destroy(&reply);
    bson_destroy(command);
    if (ok || e.code == 85 || e.code == 86) /* IndexOptionsConflict, IndexKeySpecsConflict */
        return 0;
    return mongodb_error(&e, "making an index", err);
}

static int index_events(struct mongodb *m, struct error *err)
{
    struct use u;
    use_begin(m, STORAGE_REMOTE_EVENTS, &u);
    bson_t *by_time = BCON_NEW("timestamp", BCON_INT32(1), "topic", BCON_INT32(1));
    bson_t *by_key =
        BCON_NEW("topic", BCON_INT32(1), "routing_key", BCON_INT32(1), "timestamp", BCON_INT32(-1));
    int rc = make_index(u.collection, "timestamp_1_topic_1", by_time, false, 0, err);
    if (!rc)
        rc = make_index(u.collection, "topic_1_routing_key_1_timestamp_-1", by_key, false, 0, err);
    bson_destroy(by_time);
    bson_destroy(by_key);
    use_end(&u);
    return rc;
}

static int index_samples(struct mongodb *m, struct error *err)
{
    struct use u;
    use_begin(m, STORAGE_REMOTE_TIMESERIES, &u);
    bson_t *identity = BCON_NEW("timestamp", BCON_INT32(1), "subscription", BCON_INT32(1), "source",
                                BCON_INT32(1));
    bson_t *by_series = BCON_NEW("subscription", BCON_INT32(1), "source", BCON_INT32(1),
                                 "timestamp", BCON_INT32(1));
    bson_t *expire = BCON_NEW("expire", BCON_INT32(1));
    int rc =
        make_index(u.collection, "timestamp_1_subscription_1_source_1", identity, true, 0, err);
    if (!rc)
        rc = make_index(u.collection, "subscription_1_source_1_timestamp_1", by_series, false, 0,
                        err);
    if (!rc && m->expire_after_us) {
        rc = make_index(u.collection, "expire_1", expire, false,
                        m->expire_after_us / TIME_US_PER_SECOND, err);
        m->has_ttl = rc == 0;
        if (rc == ERR_UNSUPPORTED) {
            log_info(logger, "the database has no TTL indexes: expired samples are deleted by us");
            rc = make_index(u.collection, "expire_1", expire, false, 0, err);
        }
    }
    bson_destroy(identity);
    bson_destroy(by_series);
    bson_destroy(expire);
    use_end(&u);
    return rc;
}

static int purge(struct mongodb *m, struct error *err)
{
    struct use u;
    bson_error_t e;
    int64_t before_ms = to_ms(time_now_us() - m->expire_after_us);
    bson_t *filter = BCON_NEW("expire", "{", "$lt", BCON_DATE_TIME(before_ms), "}");
    use_begin(m, STORAGE_REMOTE_TIMESERIES, &u);
    int rc = mongoc_collection_delete_many(u.collection, filter, NULL, NULL, &e)
                 ? 0
                 : mongodb_error(&e, "deleting expired samples", err);
    use_end(&u);
    bson_destroy(filter);
    return rc;
}

static int tend(void *self, struct error *err)
{
    struct mongodb *m = self;
    int rc = 0;
    if (!m->indexed) {
        rc = index_events(m, err);
        if (!rc)
            rc = index_samples(m, err);
        m->indexed = rc == 0;
    }
    if (!rc && m->expire_after_us && !m->has_ttl && time_monotonic_ms() >= m->purge_ms) {
        rc = purge(m, err);
        m->purge_ms = time_monotonic_ms() + PURGE_INTERVAL_MS;
    }
    return rc;
}

static int ping(void *self, struct error *err)
{
    struct mongodb *m = self;
    bson_error_t e;
    bson_t *command = BCON_NEW("ping", BCON_INT32(1));
    mongoc_client_t *client = mongoc_client_pool_pop(m->pool);
    int rc = mongoc_client_command_simple(client, "admin", command, NULL, NULL, &e)
                 ? 0
                 : mongodb_error(&e, "ping", err);
    mongoc_client_pool_push(m->pool, client);
    bson_destroy(command);
    return rc;
}

/* --- life cycle --- */

static void pass_on_log(mongoc_log_level_t level, const char *domain, const char *message,
                        void *ctx)
{
    (void)ctx;
    if (level <= MONGOC_LOG_LEVEL_CRITICAL)
        log_warning(logger, "%s: %s", domain, message);
    else
        log_debug(logger, "%s: %s", domain, message);
}

static void set_option(mongoc_uri_t *uri, const char *name, int64_t value, int64_t otherwise)
{
    /* What the URI says itself wins. */
    if (!mongoc_uri_has_option(uri, name))
        mongoc_uri_set_option_as_int32(uri, name, (int32_t)(value ? value : otherwise));
}

static int make_pool(struct mongodb *m, const struct storage_options *o, struct error *err)
{
    bson_error_t e;
    const struct storage_remote *r = &o->remote;
    mongoc_uri_t *uri = mongoc_uri_new_with_error(o->uri, &e);
    if (!uri) /* the message may show what was given, and so a password */
        return error_set(err, ERR_INVALID, "storage: this is no mongodb:// URI");
    set_option(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, r->server_selection_ms, 2000);
    set_option(uri, MONGOC_URI_CONNECTTIMEOUTMS, r->connect_ms, 10000);
    set_option(uri, MONGOC_URI_SOCKETTIMEOUTMS, r->socket_ms, 10000);
    set_option(uri, MONGOC_URI_HEARTBEATFREQUENCYMS, r->heartbeat_ms, 20000);
    set_option(uri, MONGOC_URI_MAXPOOLSIZE, (int64_t)r->max_pool_size, DEFAULT_POOL);
    if (r->app_name && !mongoc_uri_get_appname(uri))
        mongoc_uri_set_appname(uri, r->app_name);
    m->pool = mongoc_client_pool_new_with_error(uri, &e);
    mongoc_uri_destroy(uri);
    if (!m->pool)
        return error_set(err, ERR_INVALID, "storage: %s", e.message);
    mongoc_client_pool_set_error_api(m->pool, MONGOC_ERROR_API_VERSION_2);
    return 0;
}

static void close_mongodb(void *self)
{
    struct mongodb *m = self;
    if (m->pool)
        mongoc_client_pool_destroy(m->pool);
    map_release(&m->buckets, free);
    free(m);
}

static int open_mongodb(const struct storage_options *options, void **ret, struct error *err)
{
    static const char *const names[STORAGE_REMOTE_COLLECTIONS][2] = {{"hyprxa", "topics"},
                                                                     {"hyprxa", "unitops"},
                                                                     {"hyprxa", "events"},
                                                                     {"hyprxa", "timeseries"}};
    struct mongodb *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(err, ERR_NOMEM, "storage: out of memory");
    mongoc_init(); /* once per process; never cleaned up, for it cannot be begun again */
    mongoc_log_set_handler(pass_on_log, NULL);
    map_init(&m->buckets);
    m->expire_after_us = options->expire_after_us;
    m->with_quality = !options->remote.original_documents;
    for (int c = 0; c < STORAGE_REMOTE_COLLECTIONS; c++)
        for (int i = 0; i < 2; i++)
            m->names[c][i] =
                options->remote.collections[c][i] ? options->remote.collections[c][i] : names[c][i];
    int rc = make_pool(m, options, err);
    if (rc)
        close_mongodb(m);
    else
        *ret = m;
    return rc;
}

__attribute__((visibility("default"))) const struct remote_ops remote_mongodb_ops = {
    .name = "mongodb",
    .open = open_mongodb,
    .close = close_mongodb,
    .ping = ping,
    .tend = tend,
    .document_save = mongodb_document_save,
    .document_get = mongodb_document_get,
    .document_find = mongodb_document_find,
    .events_write = mongodb_events_write,
    .event_last = mongodb_event_last,
    .event_query = mongodb_event_query,
    .event_range = mongodb_event_range,
    .event_next = mongodb_event_next,
    .event_cursor_close = mongodb_event_cursor_close,
    .samples_write = mongodb_samples_write,
    .samples_range = mongodb_samples_range,
    .samples_next = mongodb_samples_next,
    .samples_cursor_close = mongodb_samples_cursor_close,
    .samples_last_time = mongodb_samples_last_time,
    .state_put = mongodb_state_put,
    .state_get = mongodb_state_get,
};
