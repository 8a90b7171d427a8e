/* /events/...: contract 1.5. */
#include "auth/auth.h"
#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/log.h"
#include "base/time.h"
#include "events/events.h"
#include "events/events_priv.h"
#include "feeds/feeds.h"
#include "http/http.h"
#include "http/table.h"
#include "http/time_range.h"
#include "storage/storage.h"
#include "topics/topics.h"

#include <string.h>

enum { DEFAULT_MAX_BODY = 256 << 10, QUERY_MAX = 256 << 20 };

static const char logger[] = "hyprxa.events";

/* --- publish --- */

/* The optional routing key of the body; *ret is NULL when absent or empty. */
static void read_routing_key(struct http_request *r, const char *topic, const char **ret,
                             char full_key[EVENT_KEY_MAX + 1])
{
    struct error err = ERROR_INIT;
    const char *key = http_body_string(r, "routing_key", false);
    *ret = key && *key ? key : NULL;
    if (topic && event_publish_key(topic, *ret, full_key, &err))
        http_invalid_at(r, "body", "routing_key", err.message, "value_error");
}

/* The payload's text as it came, or, where it came as a list of pairs, written into `made`. */
static void take_payload(struct http_request *r, struct json_object *payload, struct buf *made,
                         struct storage_event *event)
{
    event->payload = http_body_span(r, "payload", &event->payload_len);
    if (event->payload && event->payload[0] == '{')
        return;
    json_write_value(made, payload);
    event->payload = made->data;
    event->payload_len = made->len;
}

static int check_payload(struct events *e, const char *topic_name, struct json_object *payload,
                         struct error *err)
{
    struct topic *topic = NULL;
    int rc = topics_get(e->options.topics, topic_name, &topic, err);
    if (rc)
        return rc;
    rc = json_schema_validate(topic->schema, payload, err);
    topic_unref(topic);
    if (rc)
        atomic_fetch_add(&e->refused_schema, 1);
    return rc;
}

static void answer_append(struct http_request *r, struct events *e, int rc, struct error *err)
{
    switch (rc) {
    case 0:
        atomic_fetch_add_explicit(&e->accepted, 1, memory_order_relaxed);
        if (atomic_load_explicit(&e->failing, memory_order_relaxed))
            atomic_store(&e->failing, false);
        http_respond_ok(r);
        return;
    default:
        atomic_fetch_add(&e->refused_error, 1);
        /* A disk that fails: logged once, and for a client as when it is full. */
        if (rc != ERR_UNAVAILABLE || !atomic_exchange(&e->failing, true))
            log_cause(LOG_LEVEL_ERROR, logger, err, "an event was not stored: %s", err->message);
        if (rc == ERR_UNAVAILABLE)
            error_set(err, ERR_AGAIN, "Event storage is full.");
        http_respond_error(r, err);
    }
}

static void publish(struct http_request *r, void *ctx)
{
    struct events *e = ctx;
    struct error err = ERROR_INIT;
    char full_key[EVENT_KEY_MAX + 1];
    struct storage_event event = {.full_key = full_key};
    AUTO(buf) made = BUF_INIT(QUERY_MAX);

    event.topic = http_body_string(r, "topic", true);
    read_routing_key(r, event.topic, &event.routing_key, full_key);
    struct json_object *payload = http_body_object(r, "payload");
    if (http_respond_if_invalid(r))
        return;
    take_payload(r, payload, &made, &event);
    if (made.failed) {
        error_set(&err, ERR_NOMEM, "out of memory for an event");
        http_respond_error(r, &err);
        return;
    }

    int rc = check_payload(e, event.topic, payload, &err);
    if (rc == ERR_INVALID || rc == ERR_LIMIT) {
        http_respond_detail(r, 400, err.message);
        return;
    }
    if (rc) {
        http_respond_error(r, &err);
        return;
    }
    const struct user *user = http_user(r);
    event.posted_by = user ? user->username : NULL;
    if (!event.routing_key)
        event.routing_key = event.topic;
    event.time_us = time_now_us();
    struct message_id id;
    rc = storage_event_append(e->options.storage, &event,
                              time_monotonic_ms() + e->options.publish_timeout_ms, &id, &err);
    answer_append(r, e, rc, &err);
}

/* --- stream --- */

/* The topic must exist; answers and returns false otherwise. */
static bool topic_exists(struct events *e, struct http_request *r, const char *name)
{
    struct error err = ERROR_INIT;
    struct topic *topic = NULL;
    if (topics_get(e->options.topics, name, &topic, &err)) {
        http_respond_error(r, &err);
        return false;
    }
    topic_unref(topic);
    return true;
}

static void stream(struct http_request *r, void *ctx)
{
    struct events *e = ctx;
    struct error err = ERROR_INIT;
    char key[EVENT_KEY_MAX + 1];
    const char *topic = http_path_param(r, "topic");
    if (event_bind_key(topic, http_query(r, "routingKey"), key, &err))
        http_invalid_at(r, "query", "routingKey", err.message, "value_error");
    struct resume resume;
    if (http_respond_if_invalid(r) || !http_query_resume(r, &resume) || !topic_exists(e, r, topic))
        return;
    struct event_replay replay = {0};
    if (resume.kind != RESUME_LIVE && event_replay_open(e, key, &resume, &replay, &err)) {
        http_respond_error(r, &err);
        return;
    }
    const char *keys[] = {key};
    struct feed_wish wish = {.keys = keys, .n_keys = 1};
    struct message_place place;
    wish.replay = replay.cursor ? &replay.stream : NULL;
    wish.place = !replay.cursor && event_place(e, &place) ? &place : NULL;
    bool used;
    if (feeds_stream(e->feeds, r, &wish, &used, &err))
        log_info(logger, "no stream of '%s': %s", key, err.message);
    event_replay_close(&replay);
}

/* --- reading back --- */

static void last(struct http_request *r, void *ctx)
{
    struct events *e = ctx;
    struct error err = ERROR_INIT;
    AUTO(buf) out = BUF_INIT(QUERY_MAX);
    char full_key[EVENT_KEY_MAX + 1];
    const char *topic = http_path_param(r, "topic"), *key = http_query(r, "routingKey");
    if (!topic_exists(e, r, topic))
        return;
    /* Asked for with or without its topic, as posted either way: the full key is the same. */
    int rc = key ? event_publish_key(topic, key, full_key, &err) : 0;
    if (rc)
        rc = ERR_NOT_FOUND; /* no event can have such a key */
    else
        rc = storage_event_last(e->options.storage, topic, key ? full_key : NULL, &out, &err);
    if (rc == ERR_NOT_FOUND)
        error_set(&err, rc, "No events found matching criteria.");
    if (rc)
        http_respond_error(r, &err);
    else
        http_respond_json(r, 200, &out);
}

static void query(struct http_request *r, void *ctx)
{
    struct events *e = ctx;
    struct error err = ERROR_INIT;
    size_t n = 0;
    AUTO(buf) out = BUF_INIT(QUERY_MAX);
    const char *topic = http_path_param(r, "topic");
    const char *regex = http_query(r, "routingKey");
    if (!regex)
        http_invalid_at(r, "query", "routingKey", "field required", "value_error.missing");
    if (http_respond_if_invalid(r) || !topic_exists(e, r, topic))
        return;
    buf_append_lit(&out, "{\"items\":[");
    int rc = storage_event_query(e->options.storage, topic, regex, &out, &n, &err);
    buf_append_lit(&out, "]}");
    if (rc == 0 && n == 0)
        rc = error_set(&err, ERR_NOT_FOUND, "No events found matching criteria.");
    if (rc)
        http_respond_error(r, &err);
    else
        http_respond_json(r, 200, &out);
}

static void write_row(struct table *t, const struct storage_event_row *row)
{
    table_time(t, row->time_us);
    if (row->posted_by)
        table_text(t, row->posted_by, strlen(row->posted_by));
    else
        table_null(t);
    table_text(t, row->topic, strlen(row->topic));
    table_text(t, row->routing_key, strlen(row->routing_key));
    /* A JSON string in every format, as the original's rows have it. */
    table_json_text(t, row->payload, row->payload_len);
}

static void send_rows(struct http_request *r, enum table_format format,
                      struct storage_event_cursor *cursor)
{
    static const char *const columns[] = {"timestamp", "posted_by", "topic", "routing_key",
                                          "payload"};
    struct error err = ERROR_INIT;
    struct storage_event_row row;
    struct table t;
    if (table_begin(&t, r, format))
        return;
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        table_text(&t, columns[i], strlen(columns[i]));
    int rc = 1;
    if (table_end_row(&t) == 0)
        while ((rc = storage_event_next(cursor, &row, &err)) > 0) {
            write_row(&t, &row);
            if (table_end_row(&t))
                break;
        }
    if (rc < 0) {
        log_error(logger, "a download of events broke off: %s", err.message);
        table_fail(&t, &err);
    } else {
        table_finish(&t, rc == 0);
    }
}

static void recorded(struct http_request *r, void *ctx)
{
    struct events *e = ctx;
    struct error err = ERROR_INIT;
    enum table_format format;
    struct http_time_range range;
    struct storage_event_cursor *cursor = NULL;
    if (!http_query_time_range(r, &range))
        return;
    if (!table_negotiate(http_header(r, "Accept"), &format)) {
        http_respond_detail(r, 415, "Unsupported Media Type");
        return;
    }
    int rc = storage_event_range(e->options.storage, http_path_param(r, "topic"),
                                 http_query(r, "routingKey"), range.start_us, range.end_us, &cursor,
                                 &err);
    if (rc) {
        http_respond_error(r, &err);
        return;
    }
    send_rows(r, format, cursor);
    storage_event_cursor_close(cursor);
}

static void restart(struct http_request *r, void *ctx)
{
    struct events *e = ctx;
    feeds_end_all(e->feeds, STREAM_END_STOPPING, "The event manager was restarted.");
    http_respond_ok(r);
}

static const char *const publish_members[] = {"payload", NULL};

static const struct http_param stream_params[] = {
    {.name = "routingKey",
     .summary = "Bind key: `*` stands for one word, `$` (or `#`) for any number; default: all"},
    {.also = http_resume_params},
};
static const struct http_param last_params[] = {
    {.name = "routingKey", .summary = "Exact key, with or without its topic; default: any"},
    {0},
};
static const struct http_param query_params[] = {
    {.name = "routingKey",
     .required = true,
     .summary = "Regular expression, searched for anywhere in a key, case-insensitive"},
    {0},
};
static const struct http_param recorded_params[] = {
    {.name = "routingKey", .summary = "Regular expression for routing keys; default: all"},
    {.also = http_time_params},
};

/* Its body has a limit of its own, which is a setting. */
static const struct http_route publish_route = {
    .method = "POST",
    .path = "/events/publish",
    .handler = publish,
    .access = HTTP_WRITE,
    .body = HTTP_BODY_JSON,
    .body_members = publish_members,
    .name = "publish",
    .summary = "Publish an event; OK means durable",
    .request = "Event",
    .reply = "Status",
    .errors = {400, 404},
};

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/events/{topic}/stream",
     .handler = stream,
     .access = HTTP_READ,
     .name = "stream",
     .summary = "Events as they are published, by SSE",
     .params = stream_params,
     .reply = "EventDocument",
     .media = HTTP_SSE,
     .errors = {404}},
    {.method = "GET",
     .path = "/events/{topic}/ws",
     .handler = stream,
     .access = HTTP_READ,
     .name = "websocket",
     .summary = "Events as they are published, by WebSocket",
     .params = stream_params,
     .reply = "EventDocument",
     .media = HTTP_WEBSOCKET,
     .errors = {400, 404, 426}},
    {.method = "GET",
     .path = "/events/{topic}/last",
     .handler = last,
     .access = HTTP_READ,
     .name = "last",
     .summary = "The newest event of a topic or key",
     .params = last_params,
     .reply = "EventDocument",
     .errors = {404}},
    {.method = "GET",
     .path = "/events/{topic}/query",
     .handler = query,
     .access = HTTP_READ,
     .name = "query",
     .summary = "The newest event of every key that matches a regular expression",
     .params = query_params,
     .reply = "EventQueryResult",
     .errors = {404}},
    {.method = "GET",
     .path = "/events/{topic}/recorded",
     .handler = recorded,
     .access = HTTP_READ,
     .name = "recorded",
     .summary = "Stored events of a time range, as a file",
     .params = recorded_params,
     .media = HTTP_TABLES,
     .errors = {415}},
    {.method = "POST",
     .path = "/events/admin/manager/restart",
     .handler = restart,
     .access = HTTP_ADMIN,
     .name = "reset_manager",
     .summary = "End all event streams and start anew",
     .reply = "Status"},
    {.method = "GET", /* what the existing client sends */
     .path = "/events/admin/manager/restart",
     .handler = restart,
     .access = HTTP_ADMIN,
     .changes_state = true,
     .name = "reset_manager",
     .summary = "End all event streams and start anew",
     .reply = "Status"},
};

int events_add_routes(struct events *e, struct http_server *server, struct error *err)
{
    size_t max = e->options.max_body;
    e->publish_route = publish_route;
    e->publish_route.max_body = max ? max : DEFAULT_MAX_BODY;
    int rc = http_server_add_routes(server, &e->publish_route, 1, e, err);
    return rc ? rc : http_server_add_routes(server, routes, sizeof routes / sizeof *routes, e, err);
}
