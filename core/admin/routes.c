#include "admin/admin.h"

#include "base/auto.h"
#include "base/log.h"
#include "base/time.h"
#include "broker/broker.h"
#include "cache/cache.h"
#include "events/events.h"
#include "http/http.h"
#include "http/streamer.h"
#include "logs/logs.h"
#include "storage/storage.h"
#include "timeseries/timeseries.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INFO_MAX = 256 << 20, METRICS_MAX = 64 << 20 };

static void info(struct http_request *r, void *ctx)
{
    struct admin *a = ctx;
    AUTO(buf) out = BUF_INIT(INFO_MAX);
    buf_append_lit(&out, "{\"status\":\"ok\",\"info\":[");
    if (a->events)
        events_info(a->events, &out);
    size_t before = out.len;
    if (a->events)
        buf_append_char(&out, ',');
    size_t first = out.len;
    if (a->timeseries)
        timeseries_info(a->timeseries, &out);
    if (out.len == first)
        out.len = before; /* no manager is running */
    buf_append_lit(&out, "],\"logs\":");
    logs_info(a->logs, &out);
    buf_append_char(&out, '}');
    http_respond_json(r, 200, &out);
}

static void live(struct http_request *r, void *ctx)
{
    static const char body[] = "{\"status\":\"OK\"}";
    (void)ctx;
    http_respond(r, 200, "application/json", body, sizeof body - 1);
}

/* Does the cache answer? */
static int ping_cache(struct cache *c, struct error *err)
{
    AUTO(buf) value = BUF_INIT(4096);
    int rc = cache_get(c, "hyprxa-ready", &value, NULL, err);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static void ready(struct http_request *r, void *ctx)
{
    struct admin *a = ctx;
    struct error err = ERROR_INIT;
    if (!atomic_load(&a->ready)) {
        http_add_header(r, "Retry-After", "1");
        http_respond_detail(r, 503, "The server is starting or stopping.");
    } else if (storage_ping(a->storage, &err) || broker_ping(a->broker, &err) ||
               ping_cache(a->cache, &err)) {
        http_respond_error(r, &err);
    } else {
        http_respond_ok(r);
    }
}

/* --- /metrics --- */

static void gauge(struct buf *out, const char *name, const char *help, uint64_t value)
{
    buf_printf(out, "# TYPE %s gauge\n# HELP %s %s\n%s %llu\n", name, name, help, name,
               (unsigned long long)value);
}

static void counter(struct buf *out, const char *name, const char *help, uint64_t value)
{
    buf_printf(out, "# TYPE %s counter\n# HELP %s %s\n%s_total %llu\n", name, name, help, name,
               (unsigned long long)value);
}

static uint64_t resident_bytes(void)
{
    unsigned long long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%llu %llu", &total, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void storage_metrics(struct storage *st, struct buf *out)
{
    struct storage_stats s;
    storage_get_stats(st, &s);
    counter(out, "hyprxa_storage_events", "Events committed.", s.events_committed);
    counter(out, "hyprxa_storage_event_commits", "Transactions that committed them.",
            s.event_commits);
    counter(out, "hyprxa_storage_events_failed", "Events whose commit failed; they were refused.",
            s.events_failed);
    gauge(out, "hyprxa_storage_events_queued", "Events waiting for a commit.", s.events_queued);
    counter(out, "hyprxa_storage_samples", "Samples made durable.", s.samples_stored);
    counter(out, "hyprxa_storage_samples_duplicate", "Samples of a time already stored; dropped.",
            s.samples_duplicate);
    counter(out, "hyprxa_storage_samples_failed", "Samples lost to disk errors.", s.samples_failed);
    counter(out, "hyprxa_storage_samples_expired", "Samples dropped because of their age.",
            s.samples_expired);
    counter(out, "hyprxa_storage_damaged", "Damaged rows and chunks that were set aside.",
            s.damaged);
    gauge(out, "hyprxa_journal_events", "Events that the database does not have yet.",
          s.journal_events);
    gauge(out, "hyprxa_journal_bytes", "Bytes that wait for the database or the broker.",
          s.journal_bytes);
    gauge(out, "hyprxa_journal_age_seconds", "How long the database has not had all events.",
          (uint64_t)(s.journal_age_ms / 1000));
    counter(out, "hyprxa_journal_forwarded", "Events that the database took.", s.journal_forwarded);
    counter(out, "hyprxa_journal_refused", "Events that the database refused; set aside in a file.",
            s.journal_refused);
    gauge(out, "hyprxa_storage_samples_queued", "Samples not yet durable.", s.samples_queued);
    gauge(out, "hyprxa_storage_bytes", "Size of the databases on disk.", s.bytes_on_disk);
}

static void streamer_metrics(struct streamer *streamer, struct buf *out)
{
    struct streamer_stats s;
    streamer_get_stats(streamer, &s);
    gauge(out, "hyprxa_streams", "Live streams.", s.streams);
    gauge(out, "hyprxa_streams_parked", "Streams that hold a worker.", s.parked);
    counter(out, "hyprxa_streams_opened", "Streams begun.", s.streams_total);
    counter(out, "hyprxa_stream_deliveries", "Messages handed to sockets.", s.delivered);
    counter(out, "hyprxa_stream_dropped", "Messages skipped for slow streams.", s.dropped);
    counter(out, "hyprxa_stream_disconnected_slow", "Streams ended for being slow.",
            s.disconnected_slow);
    counter(out, "hyprxa_stream_bytes", "Bytes written to streams.", s.bytes);
    gauge(out, "hyprxa_replays_running", "Streams being replayed, each on a worker.", s.replaying);
    counter(out, "hyprxa_replays", "Replays begun.", s.replays);
    counter(out, "hyprxa_replays_refused", "Replays refused for want of workers.",
            s.replays_refused);
    counter(out, "hyprxa_replays_failed", "Replays broken off.", s.replays_failed);
    counter(out, "hyprxa_replayed_messages", "Messages sent by replays.", s.replayed);
    counter(out, "hyprxa_replay_gaps", "Gaps announced by replays.", s.gaps);
    gauge(out, "hyprxa_websockets", "Live streams that are WebSockets.", s.websockets);
    counter(out, "hyprxa_websockets_opened", "WebSockets begun.", s.websockets_total);
    counter(out, "hyprxa_websocket_silent", "WebSockets ended for leaving a ping unanswered.",
            s.websocket_silent);
    counter(out, "hyprxa_websocket_untold",
            "Notices (gap, stale, dropped) that WebSockets have no frame for.", s.websocket_untold);
    buf_append_lit(out, "# TYPE hyprxa_websocket_faults counter\n"
                        "# HELP hyprxa_websocket_faults WebSockets ended for breaking the "
                        "protocol, by how.\n");
    for (int i = 0; i < WEBSOCKET_FAULTS; i++)
        buf_printf(out, "hyprxa_websocket_faults_total{reason=\"%s\"} %llu\n",
                   websocket_fault_name((enum websocket_fault)i),
                   (unsigned long long)s.websocket_faults[i]);
}

static void http_metrics(struct http_server *server, struct buf *out)
{
    struct http_stats s;
    http_get_stats(server, &s);
    buf_append_lit(out, "# TYPE hyprxa_http_answers counter\n"
                        "# HELP hyprxa_http_answers Answers by class of status.\n");
    for (int i = 1; i < 6; i++)
        buf_printf(out, "hyprxa_http_answers_total{class=\"%dxx\"} %llu\n", i,
                   (unsigned long long)s.requests[i]);
    buf_append_lit(out, "# TYPE hyprxa_http_refused counter\n"
                        "# HELP hyprxa_http_refused Requests the guards refused, by reason.\n");
    for (int i = 0; i < HTTP_REFUSED_REASONS; i++)
        buf_printf(out, "hyprxa_http_refused_total{reason=\"%s\"} %llu\n",
                   http_refused_name((enum http_refused)i), (unsigned long long)s.refused[i]);
    counter(out, "hyprxa_http_undeclared",
            "Parameters and statuses that a route used without declaring them: a defect.",
            s.undeclared);
    counter(out, "hyprxa_http_connections", "Connections accepted.", s.connections);
    gauge(out, "hyprxa_http_in_flight", "Requests being served.", s.in_flight);
    gauge(out, "hyprxa_http_downloads", "Downloads under way.", s.downloads);
    gauge(out, "hyprxa_http_workers_busy", "Workers that hold a connection.", s.workers_busy);
}

static void metrics(struct http_request *r, void *ctx)
{
    struct admin *a = ctx;
    AUTO(buf) out = BUF_INIT(METRICS_MAX);
    buf_append_lit(&out, "# TYPE hyprxa info\n# HELP hyprxa The server.\n"
                         "hyprxa_info{version=\"" HYPRXA_VERSION "\"} 1\n");
    gauge(&out, "process_resident_memory_bytes", "Resident memory.", resident_bytes());
    gauge(&out, "process_start_time_seconds", "Start, seconds since 1970.",
          (uint64_t)(a->started_us / TIME_US_PER_SECOND));
    counter(&out, "hyprxa_log_warnings", "Warnings logged.", log_count(LOG_LEVEL_WARNING));
    counter(&out, "hyprxa_log_errors", "Errors logged.",
            log_count(LOG_LEVEL_ERROR) + log_count(LOG_LEVEL_CRITICAL));
    http_metrics(a->server, &out);
    storage_metrics(a->storage, &out);
    logs_metrics(a->logs, &out);
    streamer_metrics(http_server_streamer(a->server), &out);
    if (a->events)
        events_metrics(a->events, &out);
    if (a->timeseries)
        timeseries_metrics(a->timeseries, &out);
    buf_append_lit(&out, "# EOF\n");
    http_respond(r, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", out.data,
                 out.len);
}

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/admin/info",
     .handler = info,
     .access = HTTP_ADMIN,
     .name = "info",
     .summary = "State and counters of every manager",
     .reply = "Info"},
    {.method = "GET",
     .path = "/health/live",
     .handler = live,
     .access = HTTP_OPEN,
     .name = "live",
     .summary = "The process answers",
     .reply = "Status"},
    {.method = "GET",
     .path = "/health/ready",
     .handler = ready,
     .access = HTTP_OPEN,
     .name = "ready",
     .summary = "The server can serve: its storage can be read and written",
     .reply = "Status"},
    {.method = "GET",
     .path = "/metrics",
     .handler = metrics,
     .access = HTTP_METRICS,
     .name = "metrics",
     .summary = "Counters in OpenMetrics text",
     .media = "application/openmetrics-text"},
};

int admin_add_routes(struct admin *admin, struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, admin, err);
}
