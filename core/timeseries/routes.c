/* /timeseries/...: contract 1.5.  Reading back is in samples.c. */
#include "base/auto.h"
#include "base/json.h"
#include "base/log.h"
#include "feeds/feeds.h"
#include "http/http.h"
#include "http/time_range.h"
#include "timeseries/reading.h"
#include "timeseries/replay.h"
#include "timeseries/timeseries_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 1 << 20 };

static const char logger[] = "hyprxa.timeseries";

static void list_sources(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    AUTO(buf) out = BUF_INIT(LIST_MAX);
    buf_append_lit(&out, "{\"sources\":[");
    for (size_t i = 0; i < ts->n_sources; i++) {
        if (i)
            buf_append_char(&out, ',');
        json_write_string(&out, ts->sources[i]->name, strlen(ts->sources[i]->name));
    }
    buf_append_lit(&out, "]}");
    http_respond_json(r, 200, &out);
}

/* An element of `items`; the error is collected when it is no text. */
static const char *read_item(struct http_request *r, struct json_object *item, size_t i)
{
    const struct http_loc loc[] = {{"body", 0}, {"items", 0}, {NULL, (long)i}};
    const char *name = item ? http_json_string(r, item) : NULL;
    if (!item)
        http_invalid(r, loc, 3, "none is not an allowed value", "type_error.none.not_allowed",
                     NULL);
    else if (!name)
        http_invalid(r, loc, 3, "str type expected", "type_error.str", NULL);
    return name;
}

static void subscribe(struct http_request *r, void *ctx)
{
    struct error err = ERROR_INIT;
    char token[33], body[64];
    struct json_object *items = http_body_list(r, "items");
    size_t n_items = items ? json_object_array_length(items) : 0;
    AUTO_FREE const char **names = calloc(n_items + 1, sizeof *names);
    for (size_t i = 0; names && i < n_items; i++)
        names[i] = read_item(r, json_object_array_get_idx(items, i), i);
    if (http_respond_if_invalid(r))
        return;
    int rc = names ? selection_token(ctx, names, n_items, token, &err)
                   : error_set(&err, ERR_NOMEM, "out of memory");
    if (rc == ERR_LIMIT) {
        http_respond_detail(r, 413, err.message);
        return;
    }
    if (rc) {
        http_respond_error(r, &err);
        return;
    }
    int n = snprintf(body, sizeof body, "{\"token\":\"%s\"}", token);
    http_respond(r, 200, "application/json", body, (size_t)n);
}

/* --- stream --- */

/* The distinct series of the selection, grouped by source. */
static struct hold *hold_new(const struct selection *s)
{
    struct hold *h = calloc(1, sizeof *h);
    if (h)
        h->parts = calloc(s->n, sizeof *h->parts);
    if (!h || !h->parts)
        goto fail;
    for (size_t i = 0; i < s->n; i++) {
        struct hold_part *part = NULL;
        bool known = false;
        for (size_t p = 0; p < h->n_parts && !part; p++)
            if (strcmp(h->parts[p].series[0]->source, s->items[i].source->name) == 0)
                part = &h->parts[p];
        if (!part) {
            part = &h->parts[h->n_parts];
            part->series = calloc(s->n, sizeof(struct series *));
            if (!part->series)
                goto fail;
            h->n_parts++;
        }
        for (size_t k = 0; k < part->n && !known; k++)
            known = part->series[k] == s->items[i].series;
        if (!known)
            part->series[part->n++] = series_ref(s->items[i].series);
    }
    return h;
fail:
    if (h)
        hold_free(h);
    return NULL;
}

/* Acquire every part at its manager; on failure those before it are released again. */
static int hold_acquire(struct timeseries *ts, struct hold *h, struct error *err)
{
    int rc = 0;
    size_t done = 0;
    for (; done < h->n_parts && !rc; done++) {
        struct hold_part *part = &h->parts[done];
        struct source *source = timeseries_source(ts, part->series[0]->source);
        rc = source_manager(source, &part->manager, err);
        if (!rc)
            rc = manager_acquire(part->manager, part->series, part->n, err);
    }
    if (rc)
        for (size_t p = 0; p + 1 < done; p++)
            manager_release(h->parts[p].manager, h->parts[p].series, h->parts[p].n);
    return rc;
}

static size_t gather_keys(const struct hold *h, const char **keys)
{
    size_t n = 0;
    for (size_t p = 0; p < h->n_parts; p++)
        for (size_t i = 0; i < h->parts[p].n; i++)
            keys[n++] = h->parts[p].series[i]->routing_key;
    return n;
}

static void respond_subscribe_error(struct http_request *r, struct source *source, int rc,
                                    struct error *err)
{
    log_warning(logger, "source '%s' could not be subscribed: %s", source->name, err->message);
    if (rc == ERR_REFUSED) {
        char detail[ERROR_MESSAGE_SIZE];
        snprintf(detail, sizeof detail, "Integration refused subscriptions. %.400s", err->message);
        http_respond_detail(r, 500, detail);
    } else if (rc == ERR_UNAVAILABLE || rc == ERR_LIMIT || rc == ERR_TIMEOUT) {
        error_set(err, ERR_AGAIN, "Broker is unavailable.");
        http_respond_error(r, err);
    } else {
        http_respond_error(r, err);
    }
}

static void count_subscriber(const struct hold *h)
{
    for (size_t p = 0; p < h->n_parts; p++)
        atomic_fetch_add_explicit(&h->parts[p].manager->subscribers_total, 1, memory_order_relaxed);
}

/* The stream of what is held, from where `resume` says. */
static int follow(struct timeseries *ts, struct http_request *r, const struct hold *hold,
                  const struct resume *resume, struct feed_wish *wish, bool *ret_used,
                  struct error *err)
{
    if (resume->kind == RESUME_LIVE) {
        struct message_place place = sample_place(ts);
        wish->place = &place;
        return feeds_stream(ts->feeds, r, wish, ret_used, err);
    }
    struct sample_replay *replay = NULL;
    struct series **series = calloc(wish->n_keys, sizeof *series);
    int rc = series ? 0 : error_set(err, ERR_NOMEM, "out of memory");
    size_t n = 0;
    for (size_t p = 0; p < hold->n_parts && !rc; p++)
        for (size_t i = 0; i < hold->parts[p].n; i++)
            series[n++] = hold->parts[p].series[i];
    if (!rc)
        rc = sample_replay_open(ts, series, n, resume, &replay, err);
    if (rc) {
        http_respond_error(r, err);
    } else {
        wish->replay = sample_replay_stream(replay);
        rc = feeds_stream(ts->feeds, r, wish, ret_used, err);
    }
    sample_replay_close(replay);
    free(series);
    return rc;
}

static void stream(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    struct selection selection;
    struct resume resume;
    bool used = false;
    if (!http_query_resume(r, &resume) || !selection_read(ts, r, &selection))
        return;
    struct hold *hold = hold_new(&selection);
    const char **keys = calloc(selection.n, sizeof *keys);
    if (!hold || !keys) {
        error_set(&err, ERR_NOMEM, "out of memory");
        http_respond_error(r, &err);
        if (hold)
            hold_free(hold);
        goto out;
    }
    int rc = hold_acquire(ts, hold, &err);
    if (rc) {
        respond_subscribe_error(r, selection.items[0].source, rc, &err);
        hold_free(hold);
        goto out;
    }
    count_subscriber(hold);
    struct feed_wish wish = {.keys = keys, .tag = hold};
    wish.n_keys = gather_keys(hold, keys);
    if (follow(ts, r, hold, &resume, &wish, &used, &err))
        log_info(logger, "no stream of unitop '%s': %s", http_path_param(r, "unitop"), err.message);
    if (!used)
        hold_release(hold); /* an equal feed, which holds the same, was there already */
out:
    free(keys);
    selection_release(&selection);
}

/* --- restart --- */

static void restart(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    const char *name = http_path_param(r, "source");
    struct source *source = timeseries_source(ts, name);
    if (!source) {
        char detail[ERROR_MESSAGE_SIZE];
        snprintf(detail, sizeof detail, "%.400s is not a registered source.", name);
        http_respond_detail(r, 400, detail);
    } else if (source_restart(source, &err)) {
        http_respond_error(r, &err);
    } else {
        http_respond_ok(r);
    }
}

/* What the existing client sends: no source means all of them. */
static void restart_all(struct http_request *r, void *ctx)
{
    struct timeseries *ts = ctx;
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < ts->n_sources; i++) {
        if (source_restart(ts->sources[i], &err)) {
            http_respond_error(r, &err);
            return;
        }
    }
    http_respond_ok(r);
}

/* What selection_read() reads. */
#define SELECTION_PARAMS                                                                  \
    {.name = "dataItem",                                                                  \
     .repeatable = true,                                                                  \
     .summary = "A data item of the unitop; default, with no token either: all"},         \
    {                                                                                     \
        .name = "token", .summary = "Stands for the items given to /timeseries/subscribe" \
    }

static const struct http_param stream_params[] = {SELECTION_PARAMS, {.also = http_resume_params}};
static const struct http_param samples_params[] = {
    {.name = "dataItem", .required = true, .summary = "A data item of the unitop"},
    {.name = "limit",
     .type = HTTP_INTEGER,
     .otherwise = "5000",
     .summary =
         "How many samples at most, the newest; with `interval` how many intervals the range "
         "may have, by default the most; up to the setting TIMESERIES_MAX_SAMPLES"},
    {.name = "points",
     .type = HTTP_INTEGER,
     .summary = "Thin the samples out for plotting, by largest-triangle-three-buckets, to 3-15000"},
    {.also = reading_params},
};
static const struct http_param recorded_params[] = {
    SELECTION_PARAMS,
    {.name = "scanRate",
     .type = HTTP_INTEGER,
     .otherwise = "5",
     .summary = "Taken for compatibility: rows need no expected rate here"},
    {.name = "scan_rate", .type = HTTP_INTEGER, .alias_of = "scanRate"},
    {.name = "quality",
     .type = HTTP_BOOLEAN,
     .otherwise = "false",
     .summary = "A column `<item>.quality` behind each item's: good, uncertain or bad"},
    {.name = "points", .type = HTTP_INTEGER, .summary = "Of /samples only: refused here"},
    {.also = reading_params},
};

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/timeseries/sources",
     .handler = list_sources,
     .access = HTTP_READ,
     .name = "list_sources",
     .summary = "Names of the configured sources",
     .reply = "AvailableSources"},
    {.method = "POST",
     .path = "/timeseries/subscribe",
     .handler = subscribe,
     .access = HTTP_READ,
     .body = HTTP_BODY_JSON,
     .name = "subscribe",
     .summary = "A token that stands for a list of data items for an hour",
     .request = "UnitopSubscriptionRequest",
     .reply = "ReferenceToken",
     .errors = {413}},
    {.method = "GET",
     .path = "/timeseries/{unitop}/stream",
     .handler = stream,
     .access = HTTP_READ,
     .name = "stream",
     .summary = "Samples of a unitop's data items as they come, by SSE",
     .params = stream_params,
     .reply = "SubscriptionMessage",
     .media = HTTP_SSE,
     .errors = {400, 404, 413}},
    {.method = "GET",
     .path = "/timeseries/{unitop}/ws",
     .handler = stream,
     .access = HTTP_READ,
     .name = "websocket",
     .summary = "Samples of a unitop's data items as they come, by WebSocket",
     .params = stream_params,
     .reply = "SubscriptionMessage",
     .media = HTTP_WEBSOCKET,
     .errors = {400, 404, 413, 426}},
    {.method = "GET",
     .path = "/timeseries/{unitop}/samples",
     .handler = timeseries_samples,
     .access = HTTP_READ,
     .name = "samples",
     .summary = "Stored samples of one data item, as they are, by interval or thinned out",
     .params = samples_params,
     .reply = "SubscriptionMessage",
     .errors = {400, 404}},
    {.method = "GET",
     .path = "/timeseries/{unitop}/last",
     .handler = timeseries_last,
     .access = HTTP_READ,
     .name = "last_samples",
     .summary = "The newest sample of each data item",
     .params = stream_params,
     .reply = "LastSamples",
     .errors = {400, 404, 413}},
    {.method = "GET",
     .path = "/timeseries/{unitop}/recorded",
     .handler = timeseries_recorded,
     .access = HTTP_READ,
     .name = "recorded",
     .summary = "Stored samples of a unitop aligned on time, as a file",
     .params = recorded_params,
     .media = HTTP_TABLES,
     .errors = {400, 404, 413, 415}},
    {.method = "POST",
     .path = "/timeseries/admin/manager/restart/{source}",
     .handler = restart,
     .access = HTTP_ADMIN,
     .name = "reset_manager",
     .summary = "Stop a source's manager and start anew",
     .reply = "Status",
     .errors = {400}},
    {.method = "GET",
     .path = "/timeseries/admin/manager/restart",
     .handler = restart_all,
     .access = HTTP_ADMIN,
     .changes_state = true,
     .name = "reset_managers",
     .summary = "Restart the manager of every source",
     .reply = "Status"},
};

int timeseries_add_routes(struct timeseries *ts, struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, ts, err);
}
