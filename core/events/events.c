#include "events/events.h"

#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "events/events_priv.h"
#include "feeds/feeds.h"
#include "storage/storage.h"

#include <stdlib.h>
#include <string.h>

static const char logger[] = "hyprxa.events";

/* The committing writer: pass the batch on; to a broker outside this process by the relay.  Stored events are never lost by this: a full broker
 * queue only costs their live delivery, which is counted and told to the streams as a gap. */
static void committed(void *ctx, const char *const *keys, struct message *const *messages, size_t n)
{
    struct events *e = ctx;
    size_t taken = 0;
    if (e->relay) {
        relay_committed(e->relay, keys, messages, n);
        return;
    }
    while (taken < n) {
        size_t now = 0;
        int rc = broker_publish(e->options.broker, BROKER_EVENTS, keys + taken, messages + taken,
                                n - taken, &now);
        taken += now;
        if (rc && taken < n) {
            atomic_fetch_add(&e->unpublished, 1);
            log_warning(logger, "event with key '%s' was stored but not delivered live: %s",
                        keys[taken], error_code_name(rc));
            taken++;
        }
    }
}

int events_new(const struct events_options *options, struct events **ret, struct error *err)
{
    struct events *e = calloc(1, sizeof *e);
    if (!e)
        return error_set(err, ERR_NOMEM, "out of memory");
    e->options = *options;
    if (!e->options.publish_timeout_ms)
        e->options.publish_timeout_ms = 2000;
    e->created_us = time_now_us();
    struct feeds_options feeds = {.broker = options->broker,
                                  .exchange = BROKER_EVENTS,
                                  .streamer = options->streamer,
                                  .channel = options->channel,
                                  .max_subscribers = options->max_subscribers,
                                  .reconnect_timeout_ms = options->reconnect_timeout_ms,
                                  .name = "events-feeds"};
    int rc = feeds_new(&feeds, &e->feeds, err);
    if (!rc)
        rc = relay_new(options, &e->relay, err);
    if (rc) {
        events_free(e);
        return rc;
    }
    storage_on_event_commit(options->storage, committed, e);
    *ret = e;
    return 0;
}

void events_stop(struct events *e)
{
    if (e)
        feeds_end_all(e->feeds, STREAM_END_STOPPING, "The server is stopping.");
    if (e && e->relay)
        relay_stop(e->relay);
}

void events_free(struct events *e)
{
    if (!e)
        return;
    feeds_free(e->feeds);
    relay_free(e->relay);
    free(e);
}

/* --- /admin/info and /metrics --- */

static void add_subscriber(void *ctx, void *tag, int64_t created_us, uint64_t messages, size_t keys)
{
    struct buf *out = ctx;
    char created[TIME_ISO_SIZE];
    (void)tag;
    time_format_iso(created_us, created);
    if (out->data[out->len - 1] != '[')
        buf_append_char(out, ',');
    buf_printf(out,
               "{\"name\":\"EventSubscriber\",\"stopped\":false,\"created\":\"%s\",\"uptime\":%lld,"
               "\"total_published_messages\":%llu,\"total_subscriptions\":%zu}",
               created, (long long)((time_now_us() - created_us) / TIME_US_PER_SECOND),
               (unsigned long long)messages, keys);
}

int events_info(struct events *e, struct buf *out)
{
    struct feeds_stats feeds;
    struct broker_stats broker;
    struct storage_stats storage;
    struct relay_stats relay;
    char created[TIME_ISO_SIZE];
    feeds_get_stats(e->feeds, &feeds);
    broker_get_stats(e->options.broker, BROKER_EVENTS, &broker);
    storage_get_stats(e->options.storage, &storage);
    relay_get_stats(e->relay, &relay);
    time_format_iso(e->created_us, created);
    long long uptime = (long long)((time_now_us() - e->created_us) / TIME_US_PER_SECOND);
    size_t max = e->options.max_subscribers;
    buf_printf(out,
               "{\"name\":\"EventManager\",\"closed\":false,\"status\":\"%s\",\"created\":\"%s\","
               "\"uptime\":%lld,\"active_subscribers\":%zu,\"active_subscriptions\":%zu,"
               "\"subscriber_capacity\":%zu,\"total_subscribers_serviced\":%llu,\"subscribers\":[",
               broker.connected ? "connected" : "disconnected", created, uptime, feeds.subscribers,
               feeds.keys, max > feeds.subscribers ? max - feeds.subscribers : 0,
               (unsigned long long)feeds.subscribers_total);
    feeds_each_stream(e->feeds, add_subscriber, out);
    return buf_printf(
        out,
        "],\"publish_buffer_size\":%llu,\"storage_buffer_size\":%llu,\"total_published\":%llu,"
        "\"total_stored\":%llu,\"storage\":{\"created\":\"%s\",\"uptime\":%lld,"
        "\"workers_used\":1,\"worker\":{\"running\":true,\"stopped\":false,\"queue_length\":%llu,"
        "\"pending_batch_length\":0,\"pending_batch_size\":0}},\"dropped\":{\"schema\":%llu,"
        "\"full\":%llu,\"error\":%llu,\"unpublished\":%llu,\"malformed\":%llu,\"slow_subscribers\":"
        "%llu},\"journal\":{\"events\":%llu,\"bytes\":%llu,\"age\":%.3f,\"rate\":%.1f,"
        "\"refused\":%llu}}",
        (unsigned long long)(broker.queued + relay.behind),
        (unsigned long long)storage.events_queued, (unsigned long long)broker.published,
        (unsigned long long)storage.events_committed, created, uptime,
        (unsigned long long)storage.events_queued,
        (unsigned long long)atomic_load(&e->refused_schema),
        (unsigned long long)atomic_load(&e->refused_full),
        (unsigned long long)atomic_load(&e->refused_error),
        (unsigned long long)atomic_load(&e->unpublished), (unsigned long long)broker.malformed,
        (unsigned long long)feeds.dropped, (unsigned long long)storage.journal_events,
        (unsigned long long)storage.journal_bytes, (double)storage.journal_age_ms / 1000,
        storage.journal_rate, (unsigned long long)storage.journal_refused);
}

int events_metrics(struct events *e, struct buf *out)
{
    struct feeds_stats feeds;
    struct broker_stats broker;
    struct relay_stats relay;
    feeds_get_stats(e->feeds, &feeds);
    broker_get_stats(e->options.broker, BROKER_EVENTS, &broker);
    relay_get_stats(e->relay, &relay);
    buf_printf(out,
               "# TYPE hyprxa_events_accepted counter\n"
               "# HELP hyprxa_events_accepted Events answered OK: durable.\n"
               "hyprxa_events_accepted_total %llu\n"
               "# TYPE hyprxa_events_refused counter\n"
               "# HELP hyprxa_events_refused Events refused, by reason; nothing was stored.\n"
               "hyprxa_events_refused_total{reason=\"schema\"} %llu\n"
               "hyprxa_events_refused_total{reason=\"full\"} %llu\n"
               "hyprxa_events_refused_total{reason=\"error\"} %llu\n",
               (unsigned long long)atomic_load(&e->accepted),
               (unsigned long long)atomic_load(&e->refused_schema),
               (unsigned long long)atomic_load(&e->refused_full),
               (unsigned long long)atomic_load(&e->refused_error));
    return buf_printf(
        out,
        "# TYPE hyprxa_events_unpublished counter\n"
        "# HELP hyprxa_events_unpublished Events stored whose live delivery was dropped.\n"
        "hyprxa_events_unpublished_total %llu\n"
        "# TYPE hyprxa_events_malformed counter\n"
        "# HELP hyprxa_events_malformed Messages on the broker that are no JSON object; dropped.\n"
        "hyprxa_events_malformed_total %llu\n"
        "# TYPE hyprxa_events_relayed counter\n"
        "# HELP hyprxa_events_relayed Events read back from storage for the broker.\n"
        "hyprxa_events_relayed_total %llu\n"
        "# TYPE hyprxa_events_resent counter\n"
        "# HELP hyprxa_events_resent Events sent again to a node that had missed them.\n"
        "hyprxa_events_resent_total %llu\n"
        "# TYPE hyprxa_events_relay_behind gauge\n"
        "# HELP hyprxa_events_relay_behind Events stored that wait for a queue of the broker.\n"
        "hyprxa_events_relay_behind %llu\n"
        "# TYPE hyprxa_events_subscribers gauge\n"
        "# HELP hyprxa_events_subscribers Live event streams.\n"
        "hyprxa_events_subscribers %zu\n",
        (unsigned long long)atomic_load(&e->unpublished), (unsigned long long)broker.malformed,
        (unsigned long long)relay.relayed, (unsigned long long)relay.resent,
        (unsigned long long)relay.behind, feeds.subscribers);
}
