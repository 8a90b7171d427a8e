#include "logs/logs_priv.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"
#include "http/http.h"
#include "http/time_range.h"
#include "storage/storage.h"

#include <string.h>

enum {
    FLUSH_WAIT_MS = 1000,
    LINE_MAX_LEN = 1 << 20, /* of a stored document, spaced */
};

static const char logger[] = "hyprxa.logs";

/* False: answered. */
static bool is_offered(struct logs *l, struct http_request *r)
{
    if (!l->options.enabled) {
        http_respond_detail(r, 501, "Logging to database is not configured.");
        return false;
    }
    if (!logs_is_running(l)) {
        http_add_header(r, "Retry-After", "2");
        http_respond_detail(r, 503, "Log worker is not running.");
        return false;
    }
    return true;
}

/* --- stream --- */

static void stream_ended(void *ctx)
{
    struct logs *l = ctx;
    atomic_fetch_sub(&l->n_streams, 1);
}

static void stream(struct http_request *r, void *ctx)
{
    struct logs *l = ctx;
    struct error err = ERROR_INIT;
    if (!is_offered(l, r))
        return;
    atomic_fetch_add(&l->n_streams, 1);
    if (stream_begin(r, l->channel, NULL, stream_ended, l, &err))
        log_cause(LOG_LEVEL_INFO, logger, &err, "no stream of logs: %s", err.message);
}

/* --- recorded --- */

/* The parameter `q`, absent: NULL.  False: answered. */
static bool read_filter(struct http_request *r, struct json_object **ret)
{
    const char *q = http_query(r, "q");
    if (q && json_parse(q, strlen(q), ret, NULL))
        http_invalid_at(r, "query", "q", "Invalid JSON", "value_error.json");
    if (http_respond_if_invalid(r))
        return false;
    if (q && !json_object_is_type(*ret, json_type_object)) {
        http_respond_detail(r, 400, "Invalid query.");
        return false;
    }
    return true;
}

static void send_lines(struct http_request *r, struct storage_log_cursor *cursor)
{
    struct error err = ERROR_INIT;
    struct storage_log log;
    AUTO(buf) line = BUF_INIT(LINE_MAX_LEN);
    struct http_download *d = http_download_begin(r, "application/x-jsonlines", ".jsonl");
    if (!d)
        return;
    int rc;
    while ((rc = storage_logs_next(cursor, &log, &err)) > 0) {
        buf_clear(&line);
        json_write_spaced(&line, log.document, log.len, false);
        buf_append_char(&line, '\n');
        if (line.failed)
            rc = error_set(&err, ERR_NOMEM, "out of memory");
        if (rc < 0 || http_download_write(d, line.data, line.len))
            break;
    }
    if (rc < 0) {
        log_cause(LOG_LEVEL_ERROR, logger, &err, "a download of logs broke off: %s", err.message);
        http_download_fail(d, &err);
    } else {
        http_download_end(d, rc == 0);
    }
}

static void recorded(struct http_request *r, void *ctx)
{
    struct logs *l = ctx;
    struct error err = ERROR_INIT;
    AUTO_JSON *filter = NULL;
    struct storage_log_cursor *cursor = NULL;
    struct http_time_range range = {TIME_US_MIN, TIME_US_MAX};
    if (!is_offered(l, r) || !read_filter(r, &filter) || !http_query_time_bounds(r, &range))
        return;
    /* What was logged before this request is in the answer; where it cannot be stored, what is
     * stored is still worth reading. */
    int rc = logs_flush(l, FLUSH_WAIT_MS, &err);
    if (rc == 0 || rc == ERR_TIMEOUT)
        rc = storage_logs_range(l->options.storage, range.start_us, range.end_us, filter, &cursor,
                                &err);
    if (rc == ERR_INVALID || rc == ERR_UNSUPPORTED) {
        http_respond_detail(r, 400, err.message);
    } else if (rc) {
        http_respond_error(r, &err);
    } else {
        send_lines(r, cursor);
        storage_logs_cursor_close(cursor);
    }
}

static const struct http_param recorded_params[] = {
    {.name = "q",
     .type = HTTP_JSON,
     .summary = "Mongo-style filter of the documents; default: all"},
    {.name = "startTime",
     .type = HTTP_TIME,
     .summary = "Start of the range, inclusive; default: the oldest stored log"},
    {.name = "start_time", .type = HTTP_TIME, .alias_of = "startTime"},
    {.name = "endTime",
     .type = HTTP_TIME,
     .summary = "End of the range, inclusive; default: the newest"},
    {.name = "end_time", .type = HTTP_TIME, .alias_of = "endTime"},
    {.name = "timezone",
     .summary = "IANA name of the zone of times without an offset; by default the server's"},
    {0},
};

#define STREAM_ROUTE(route_path)                                                        \
    {                                                                                   \
        .method = "GET", .path = (route_path), .handler = stream, .access = HTTP_ADMIN, \
        .name = "stream_logs", .summary = "Logs as they are written, by SSE",           \
        .reply = "LogDocument", .media = HTTP_SSE, .errors = {501},                     \
    }

static const struct http_route routes[] = {
    STREAM_ROUTE("/admin/logs/stream"),
    STREAM_ROUTE("/admin/logs"), /* what the existing client asks for */
    {.method = "GET",
     .path = "/admin/logs/recorded",
     .handler = recorded,
     .access = HTTP_ADMIN,
     .name = "download_logs",
     .summary = "Stored logs that match a query, as a file of JSON Lines",
     .params = recorded_params,
     .media = "application/x-jsonlines",
     .errors = {400, 501}},
};

int logs_add_routes(struct logs *l, struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, l, err);
}
