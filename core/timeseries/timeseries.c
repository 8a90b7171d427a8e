/* The service as a whole: its life, /admin/info and /metrics. */
#include "timeseries/timeseries.h"

#include "base/auto.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "broker/broker.h"
#include "cache/cache.h"
#include "feeds/feeds.h"
#include "storage/storage.h"
#include "timeseries/gate.h"
#include "timeseries/replay_index.h"
#include "timeseries/timeseries_priv.h"

#include <stdlib.h>
#include <string.h>

enum { REPLAY_BYTES = 64 << 20, REPLAY_AGE_S = 15 * 60 };

void hold_free(struct hold *h)
{
    for (size_t p = 0; p < h->n_parts; p++) {
        struct hold_part *part = &h->parts[p];
        for (size_t i = 0; i < part->n; i++)
            series_unref(part->series[i]);
        free(part->series);
        manager_unref(part->manager);
    }
    free(h->parts);
    free(h);
}

void hold_release(struct hold *h)
{
    for (size_t p = 0; p < h->n_parts; p++)
        manager_release(h->parts[p].manager, h->parts[p].series, h->parts[p].n);
    hold_free(h);
}

static void feed_closed(void *ctx, void *tag)
{
    (void)ctx;
    hold_release(tag);
}

/* What the run before left is a help only: without it streams are told of a gap. */
static int open_index(struct timeseries *ts, struct error *err)
{
    const struct timeseries_options *o = &ts->options;
    struct replay_index_options options = {
        .origin = o->storage ? storage_origin(o->storage) : 0,
        .epoch = o->storage ? storage_epoch(o->storage) : 0,
        .max_bytes = o->replay_bytes ? o->replay_bytes : REPLAY_BYTES,
        .max_age_us = o->replay_age_us ? o->replay_age_us : REPLAY_AGE_S * TIME_US_PER_SECOND,
    };
    int rc = replay_index_new(&options, &ts->index, err);
    if (rc || !o->replay_path)
        return rc;
    ts->replay_path = strdup(o->replay_path);
    ts->options.replay_path = NULL; /* it is the caller's */
    if (!ts->replay_path)
        return error_set(err, ERR_NOMEM, "out of memory");
    struct error why = ERROR_INIT;
    rc = replay_index_load(ts->index, ts->replay_path, &why);
    if (rc && rc != ERR_NOT_FOUND)
        log_warning("hyprxa.timeseries", "streams cannot go on where they were: %s", why.message);
    return 0;
}

void timeseries_save(struct timeseries *ts)
{
    struct error err = ERROR_INIT;
    if (ts && ts->replay_path && replay_index_save(ts->index, ts->replay_path, &err))
        log_warning("hyprxa.timeseries", "streams cannot go on where they are: %s", err.message);
}

/* Streams of a series that another node goes on with are told what they may have missed. */
static void tell_gap(void *ctx, struct series *series, int64_t from_us, int64_t to_us)
{
    struct timeseries *ts = ctx;
    struct series_set set = {&series, 1};
    char from[TIME_ISO_SIZE], to[TIME_ISO_SIZE];
    AUTO(buf) json = BUF_INIT(1 << 20);
    time_format_iso(from_us, from);
    time_format_iso(to_us, to);
    buf_printf(&json, "{\"from\":\"%s\",\"to\":\"%s\",\"count\":null,\"subscriptions\":[", from,
               to);
    buf_append(&json, series->json, series->json_len);
    buf_append_lit(&json, "]}");
    if (!json.failed)
        feeds_notice_where(ts->feeds, hold_wants, &set, "gap", json.data, json.len);
}

/* What several nodes need: nothing where the cache is this process's own. */
static int open_cluster(struct timeseries *ts, struct error *err)
{
    struct leases_options leases = {.cache = ts->options.cache,
                                    .ttl_ms = ts->options.lock_ttl_ms,
                                    .changed = manager_claims_changed};
    struct gate_options gate = {tell_gap, ts};
    int rc = leases_new(&leases, &ts->leases, err);
    if (rc || !cache_is_shared(ts->options.cache))
        return rc;
    rc = gate_new(&gate, &ts->gate, err);
    if (rc)
        return rc;
    broker_set_filter(ts->options.broker, BROKER_TIMESERIES, gate_filter, ts->gate);
    return handover_open(ts, err);
}

int timeseries_new(const struct timeseries_options *options, struct timeseries **ret,
                   struct error *err)
{
    struct timeseries *ts = calloc(1, sizeof *ts);
    if (!ts)
        return error_set(err, ERR_NOMEM, "out of memory");
    ts->options = *options;
    if (!ts->options.lock_ttl_ms)
        ts->options.lock_ttl_ms = 5000;
    if (!ts->options.max_samples)
        ts->options.max_samples = 15000;
    if (!ts->options.initial_backoff_ms)
        ts->options.initial_backoff_ms = 1000;
    if (!ts->options.max_backoff_ms)
        ts->options.max_backoff_ms = 30000;
    struct feeds_options feeds = {.broker = options->broker,
                                  .exchange = BROKER_TIMESERIES,
                                  .streamer = options->streamer,
                                  .channel = options->channel,
                                  .max_subscribers = options->max_subscribers,
                                  .reconnect_timeout_ms = options->reconnect_timeout_ms,
                                  .name = "series-feeds",
                                  .closed = feed_closed,
                                  .ctx = ts};
    int rc = open_index(ts, err);
    if (!rc)
        rc = feeds_new(&feeds, &ts->feeds, err);
    if (!rc)
        rc = open_cluster(ts, err);
    if (rc) {
        timeseries_free(ts);
        return rc;
    }
    *ret = ts;
    return 0;
}

void timeseries_set_unitops(struct timeseries *ts, struct unitops *unitops)
{
    ts->unitops = unitops;
}

void timeseries_stop(struct timeseries *ts)
{
    if (!ts || atomic_exchange(&ts->stopping, true))
        return;
    timeseries_close_sources(ts);
    feeds_end_all(ts->feeds, STREAM_END_STOPPING, "The server is stopping.");
}

void timeseries_free(struct timeseries *ts)
{
    if (!ts)
        return;
    handover_close(ts);
    feeds_free(ts->feeds);
    timeseries_free_sources(ts);
    replay_index_free(ts->index);
    leases_free(ts->leases);
    gate_free(ts->gate);
    free(ts->replay_path);
    free(ts);
}

/* --- /admin/info: contract 12 --- */

struct subscriber_walk {
    struct buf *out;
    struct manager *manager;
    size_t n;
};

static size_t series_held(const struct hold *h, const struct manager *m)
{
    for (size_t i = 0; i < h->n_parts; i++)
        if (h->parts[i].manager == m)
            return h->parts[i].n;
    return 0;
}

static long long uptime_s(int64_t created_us)
{
    return (long long)((time_now_us() - created_us) / TIME_US_PER_SECOND);
}

static void add_subscriber(void *ctx, void *tag, int64_t created_us, uint64_t messages, size_t keys)
{
    struct subscriber_walk *w = ctx;
    char created[TIME_ISO_SIZE];
    size_t n = tag ? series_held(tag, w->manager) : 0;
    (void)keys;
    if (!n)
        return;
    time_format_iso(created_us, created);
    buf_printf(w->out,
               "%s{\"name\":\"TimeseriesSubscriber\",\"stopped\":false,\"created\":\"%s\","
               "\"uptime\":%lld,\"total_published_messages\":%llu,\"total_subscriptions\":%zu}",
               w->n++ ? "," : "", created, uptime_s(created_us), (unsigned long long)messages, n);
}

static void add_connection(void *ctx, const struct connection_info *info)
{
    struct buf *out = ctx;
    char created[TIME_ISO_SIZE];
    time_format_iso(info->created_us, created);
    buf_printf(out,
               "%s{\"name\":\"%s\",\"online\":%s,\"created\":\"%s\",\"uptime\":%lld,"
               "\"total_published_messages\":%llu,\"total_subscriptions\":%llu}",
               out->data[out->len - 1] == '[' ? "" : ",", info->name,
               info->online ? "true" : "false", created, uptime_s(info->created_us),
               (unsigned long long)info->messages, (unsigned long long)info->subscriptions);
}

static void write_integration(struct buf *out, struct manager *m)
{
    struct integration *in = atomic_load(&m->visible);
    char created[TIME_ISO_SIZE];
    /* Not opened yet: told as a closed one, because the client insists on an object. */
    struct integration_stats s = {.closed = true, .created_us = m->created_us, .capacity = -1};
    if (in)
        integration_get_stats(in, &s);
    time_format_iso(s.created_us, created);
    buf_printf(out,
               "{\"name\":\"%s\",\"closed\":%s,\"data_queue_size\":%llu,"
               "\"dropped_connection_queue_size\":%llu,\"created\":\"%s\",\"uptime\":%lld,"
               "\"active_connections\":%llu,\"active_subscriptions\":%llu,"
               "\"subscription_capacity\":%lld,\"total_connections_serviced\":%llu,"
               "\"connection_info\":[",
               plugin_name(m->source->plugin), s.closed ? "true" : "false",
               (unsigned long long)s.queued_samples, (unsigned long long)s.dropped_queue, created,
               uptime_s(s.created_us), (unsigned long long)s.connections,
               (unsigned long long)s.subscriptions, (long long)s.capacity,
               (unsigned long long)s.connections_total);
    if (in)
        integration_each_connection(in, add_connection, out);
    buf_printf(out,
               "],\"dropped\":{\"order\":%llu,\"duplicate\":%llu,\"invalid\":%llu,\"full\":%llu,"
               "\"offline\":%llu},\"restarts\":%llu,\"abandoned\":%llu,\"stale\":%llu}",
               (unsigned long long)s.refused_order, (unsigned long long)s.refused_duplicate,
               (unsigned long long)s.refused_invalid, (unsigned long long)s.refused_full,
               (unsigned long long)s.dropped_offline, (unsigned long long)s.restarts,
               (unsigned long long)s.abandoned, (unsigned long long)s.stale_series);
}

static void write_manager(struct buf *out, struct manager *m)
{
    struct timeseries *ts = m->source->owner;
    struct broker_stats broker;
    struct storage_stats storage;
    struct leases_stats leases;
    struct buf subscribers = BUF_INIT(64 << 20);
    struct subscriber_walk walk = {&subscribers, m, 0};
    char created[TIME_ISO_SIZE];
    struct feeds_stats feeds; /* of all sources: so is the limit */
    size_t max = ts->options.max_subscribers;
    feeds_get_stats(ts->feeds, &feeds);
    broker_get_stats(ts->options.broker, BROKER_TIMESERIES, &broker);
    storage_get_stats(ts->options.storage, &storage);
    leases_get_stats(ts->leases, &leases);
    time_format_iso(m->created_us, created);
    feeds_each_stream(ts->feeds, add_subscriber, &walk);
    pthread_mutex_lock(&m->lock);
    size_t subscriptions = m->entries.n, held = 0, remote = 0;
    bool closed = m->closing;
    for (struct map_entry *e = map_next(&m->entries, NULL); e; e = map_next(&m->entries, e)) {
        const struct manager_entry *entry = e->value;
        held += claim_state(entry->claim) == CLAIM_HELD;
        remote += manager_stands_by(entry);
    }
    pthread_mutex_unlock(&m->lock);
    buf_printf(
        out,
        "{\"name\":\"TimeseriesManager\",\"closed\":%s,\"status\":\"%s\",\"created\":\"%s\","
        "\"uptime\":%lld,\"active_subscribers\":%zu,\"active_subscriptions\":%zu,"
        "\"subscriber_capacity\":%zu,\"total_subscribers_serviced\":%llu,\"subscribers\":[%s],"
        "\"source\":",
        closed ? "true" : "false", broker.connected ? "connected" : "disconnected", created,
        uptime_s(m->created_us), walk.n, subscriptions,
        max > feeds.subscribers ? max - feeds.subscribers : 0,
        (unsigned long long)atomic_load(&m->subscribers_total),
        subscribers.data ? subscribers.data : "");
    json_write_string(out, m->source->name, strlen(m->source->name));
    buf_append_lit(out, ",\"integration\":");
    write_integration(out, m);
    buf_printf(out,
               ",\"lock\":{\"name\":\"SubscriptionLock\",\"created\":\"%s\",\"uptime\":%lld},"
               "\"storage_buffer_size\":%llu,\"storage\":{\"created\":\"%s\",\"uptime\":%lld,"
               "\"workers_used\":1,\"worker\":{\"running\":true,\"stopped\":false,"
               "\"queue_length\":%llu,\"pending_batch_length\":0,\"pending_batch_size\":0}},"
               "\"total_published\":%llu,\"total_stored\":%llu,"
               "\"dropped\":{\"storage\":%llu,\"broker\":%llu,\"lease\":%llu},"
               "\"leases\":{\"shared\":%s,\"available\":%s,\"held\":%zu,\"remote\":%zu}}",
               created, uptime_s(m->created_us), (unsigned long long)storage.samples_queued,
               created, uptime_s(m->created_us), (unsigned long long)storage.samples_queued,
               (unsigned long long)atomic_load(&m->published),
               (unsigned long long)atomic_load(&m->stored),
               (unsigned long long)atomic_load(&m->lost_storage),
               (unsigned long long)atomic_load(&m->lost_broker),
               (unsigned long long)atomic_load(&m->lost_lease), leases.shared ? "true" : "false",
               leases.away ? "false" : "true", held, remote);
    buf_release(&subscribers);
}

/* A reference to the source's manager, or NULL when it has none yet. */
static struct manager *running_manager(struct source *s)
{
    pthread_mutex_lock(&s->lock);
    struct manager *m = s->manager ? manager_ref(s->manager) : NULL;
    pthread_mutex_unlock(&s->lock);
    return m;
}

int timeseries_info(struct timeseries *ts, struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < ts->n_sources; i++) {
        struct manager *m = running_manager(ts->sources[i]);
        if (!m)
            continue;
        if (!first)
            buf_append_char(out, ',');
        first = false;
        write_manager(out, m);
        manager_unref(m);
    }
    return out->failed ? ERR_LIMIT : 0;
}

/* --- /metrics --- */

/* A label value: '\' '"' and line breaks escaped. */
static void put_label(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\n')
            buf_append_lit(out, "\\n");
        else {
            if (*text == '\\' || *text == '"')
                buf_append_char(out, '\\');
            buf_append_char(out, *text);
        }
    }
}

struct metric {
    const char *name, *type, *help, *labels; /* labels: further ones, or "" */
    size_t offset;                           /* of a uint64_t in struct source_numbers */
};
struct source_numbers {
    uint64_t samples, history, published, stored, order, duplicate, invalid, full, offline, storage,
        broker, lease, restarts, stale, queued, connections, subscriptions;
};
#define AT(member) offsetof(struct source_numbers, member)
static const struct metric metrics[] = {
    {"hyprxa_source_samples", "counter", "Samples taken from the plugin.", "", AT(samples)},
    {"hyprxa_source_history_samples", "counter", "Samples taken as history.", "", AT(history)},
    {"hyprxa_source_stored_samples", "counter", "Samples handed to storage.", "", AT(stored)},
    {"hyprxa_source_published", "counter", "Messages handed to the broker.", "", AT(published)},
    {"hyprxa_source_dropped", "counter", "Samples or messages dropped, by reason.",
     ",reason=\"order\"", AT(order)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"duplicate\"", AT(duplicate)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"invalid\"", AT(invalid)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"full\"", AT(full)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"offline\"", AT(offline)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"storage\"", AT(storage)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"broker\"", AT(broker)},
    {"hyprxa_source_dropped", NULL, NULL, ",reason=\"lease\"", AT(lease)},
    {"hyprxa_source_restarts", "counter", "Connections started again.", "", AT(restarts)},
    {"hyprxa_source_stale_series", "gauge", "Series silent for too long.", "", AT(stale)},
    {"hyprxa_source_queued_samples", "gauge", "Samples waiting.", "", AT(queued)},
    {"hyprxa_source_connections", "gauge", "Live connections.", "", AT(connections)},
    {"hyprxa_source_subscriptions", "gauge", "Live subscriptions.", "", AT(subscriptions)},
};

static void read_numbers(struct source *s, struct source_numbers *n)
{
    struct manager *m = running_manager(s);
    struct integration *in = m ? atomic_load(&m->visible) : NULL;
    *n = (struct source_numbers){0};
    if (in) {
        struct integration_stats st;
        integration_get_stats(in, &st);
        *n = (struct source_numbers){.samples = st.samples,
                                     .history = st.history_samples,
                                     .order = st.refused_order,
                                     .duplicate = st.refused_duplicate,
                                     .invalid = st.refused_invalid,
                                     .full = st.refused_full,
                                     .offline = st.dropped_offline,
                                     .restarts = st.restarts,
                                     .stale = st.stale_series,
                                     .queued = st.queued_samples,
                                     .connections = st.connections,
                                     .subscriptions = st.subscriptions};
    }
    if (m) {
        n->published = atomic_load(&m->published);
        n->stored = atomic_load(&m->stored);
        n->storage = atomic_load(&m->lost_storage);
        n->broker = atomic_load(&m->lost_broker);
        n->lease = atomic_load(&m->lost_lease);
    }
    manager_unref(m);
}

/* Of the node: what its sources share with other nodes. */
static void write_cluster_metrics(struct timeseries *ts, struct buf *out)
{
    struct leases_stats l;
    struct gate_stats g;
    leases_get_stats(ts->leases, &l);
    gate_get_stats(ts->gate, &g);
    buf_printf(out,
               "# TYPE hyprxa_leases_held gauge\n"
               "# HELP hyprxa_leases_held Series that this node streams.\n"
               "hyprxa_leases_held %llu\n"
               "# TYPE hyprxa_leases_remote gauge\n"
               "# HELP hyprxa_leases_remote Series wanted here that another node streams.\n"
               "hyprxa_leases_remote %llu\n"
               "# TYPE hyprxa_leases_available gauge\n"
               "# HELP hyprxa_leases_available Whether the cache answers: without it none begins.\n"
               "hyprxa_leases_available %d\n"
               "# TYPE hyprxa_leases_taken_over counter\n"
               "# HELP hyprxa_leases_taken_over Leases taken over from other nodes.\n"
               "hyprxa_leases_taken_over_total{reason=\"handover\"} %llu\n"
               "hyprxa_leases_taken_over_total{reason=\"expiry\"} %llu\n",
               (unsigned long long)l.held, (unsigned long long)l.remote, !l.away,
               (unsigned long long)l.handovers, (unsigned long long)(l.takeovers - l.handovers));
    buf_printf(
        out,
        "# TYPE hyprxa_leases_lost counter\n"
        "# HELP hyprxa_leases_lost Leases that went to another node unasked.\n"
        "hyprxa_leases_lost_total %llu\n"
        "# TYPE hyprxa_leases_reclaimed counter\n"
        "# HELP hyprxa_leases_reclaimed Leases claimed again that the cache had forgotten.\n"
        "hyprxa_leases_reclaimed_total %llu\n"
        "# TYPE hyprxa_timeseries_messages_dropped counter\n"
        "# HELP hyprxa_timeseries_messages_dropped Messages of nodes not delivered here.\n"
        "hyprxa_timeseries_messages_dropped_total{reason=\"duplicate\"} %llu\n"
        "hyprxa_timeseries_messages_dropped_total{reason=\"invalid\"} %llu\n"
        "hyprxa_timeseries_messages_dropped_total{reason=\"subscription\"} %llu\n"
        "# TYPE hyprxa_timeseries_messages_cut counter\n"
        "# HELP hyprxa_timeseries_messages_cut Messages delivered without samples seen before.\n"
        "hyprxa_timeseries_messages_cut_total %llu\n"
        "# TYPE hyprxa_timeseries_gaps counter\n"
        "# HELP hyprxa_timeseries_gaps Gaps told where another node went on.\n"
        "hyprxa_timeseries_gaps_total %llu\n",
        (unsigned long long)l.lost, (unsigned long long)l.reclaimed,
        (unsigned long long)g.duplicates, (unsigned long long)g.invalid,
        (unsigned long long)g.foreign, (unsigned long long)g.cut, (unsigned long long)g.gaps);
}

int timeseries_metrics(struct timeseries *ts, struct buf *out)
{
    struct source_numbers *numbers = calloc(ts->n_sources ? ts->n_sources : 1, sizeof *numbers);
    if (!numbers)
        return ERR_NOMEM;
    for (size_t i = 0; i < ts->n_sources; i++)
        read_numbers(ts->sources[i], &numbers[i]);
    bool counter = false;
    for (size_t k = 0; k < sizeof metrics / sizeof *metrics; k++) {
        const struct metric *metric = &metrics[k];
        if (metric->type) {
            counter = strcmp(metric->type, "counter") == 0;
            buf_printf(out, "# TYPE %s %s\n# HELP %s %s\n", metric->name, metric->type,
                       metric->name, metric->help);
        }
        for (size_t i = 0; i < ts->n_sources; i++) {
            uint64_t value;
            memcpy(&value, (const char *)&numbers[i] + metric->offset, sizeof value);
            buf_printf(out, "%s%s{source=\"", metric->name, counter ? "_total" : "");
            put_label(out, ts->sources[i]->name);
            buf_printf(out, "\"%s} %llu\n", metric->labels, (unsigned long long)value);
        }
    }
    free(numbers);
    write_cluster_metrics(ts, out);
    struct feeds_stats feeds;
    struct replay_index_stats index;
    struct broker_stats broker;
    feeds_get_stats(ts->feeds, &feeds);
    broker_get_stats(ts->options.broker, BROKER_TIMESERIES, &broker);
    replay_index_get_stats(ts->index, &index);
    buf_printf(
        out,
        "# TYPE hyprxa_replay_index_entries gauge\n"
        "# HELP hyprxa_replay_index_entries Messages that streams of samples can go on from.\n"
        "hyprxa_replay_index_entries %zu\n"
        "# TYPE hyprxa_replay_index_bytes gauge\n"
        "# HELP hyprxa_replay_index_bytes Memory that they take.\n"
        "hyprxa_replay_index_bytes %zu\n"
        "# TYPE hyprxa_replay_index_seconds gauge\n"
        "# HELP hyprxa_replay_index_seconds Age of the oldest.\n"
        "hyprxa_replay_index_seconds %.3f\n"
        "# TYPE hyprxa_replay_index_dropped counter\n"
        "# HELP hyprxa_replay_index_dropped Messages given up for their age or for room.\n"
        "hyprxa_replay_index_dropped_total %llu\n",
        index.entries, index.bytes, (double)index.age_us / 1e6, (unsigned long long)index.dropped);
    return buf_printf(out,
                      "# TYPE hyprxa_timeseries_subscribers gauge\n"
                      "# HELP hyprxa_timeseries_subscribers Live timeseries streams.\n"
                      "hyprxa_timeseries_subscribers %zu\n"
                      "# TYPE hyprxa_timeseries_malformed counter\n"
                      "# HELP hyprxa_timeseries_malformed Messages on the broker that are no JSON "
                      "object; dropped.\n"
                      "hyprxa_timeseries_malformed_total %llu\n",
                      feeds.subscribers, (unsigned long long)broker.malformed);
}
