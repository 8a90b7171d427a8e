/* From a stored block to whoever watches: a number, an entry in the replay index, a message. */
#include "broker/broker.h"
#include "storage/storage.h"
#include "timeseries/replay_index.h"
#include "timeseries/timeseries_priv.h"

enum { LIVE_BATCH = 256 };

void timeseries_begin_message(struct buf *out, const struct series *series)
{
    buf_append_lit(out, "{\"subscription\":");
    buf_append(out, series->json, series->json_len);
    buf_append_lit(out, ",\"items\":[");
}

/* {"subscription":…,"items":[{"timestamp":…,"value":…},…]} of one run.  NULL: too large, or no
 * memory. */
static struct message *encode(struct manager *m, const struct sample_block *block,
                              const struct sample_run *run, struct buf *body)
{
    const struct sample *samples = &block->samples[run->first];
    buf_clear(body);
    timeseries_begin_message(body, run->series);
    for (uint32_t i = 0; i < run->n; i++) {
        if (i)
            buf_append_char(body, ',');
        timeseries_write_sample(body, &samples[i], !m->source->owner->options.hash_hyprxa);
    }
    buf_append_lit(body, "]}");
    struct message *message =
        body->failed ? NULL : message_new(NULL, samples[0].time_us, body->data, body->len);
    if (!message)
        atomic_fetch_add_explicit(&m->lost_broker, 1, memory_order_relaxed);
    return message;
}

/* --- batches --- */

struct live {
    const struct sample_run *run;
    struct message *message; /* NULL: nobody wants it, or it cannot be made */
    bool tried;
};
struct live_batch {
    struct live items[LIVE_BATCH];
    size_t n, sent;
};

static bool is_watched(const struct live *item)
{
    return atomic_load_explicit(&item->run->series->watchers, memory_order_relaxed) > 0;
}

/* Number, index and publish in one order, which is that of the replay.  It stops at a run that somebody
 * has begun to watch since it was looked at: he may have read the index up to here already, and what
 * comes behind must reach him live. */
static void send_some(struct manager *m, const struct sample_block *block, struct live_batch *batch)
{
    struct timeseries *ts = m->source->owner;
    const char *keys[LIVE_BATCH];
    struct message *messages[LIVE_BATCH];
    size_t n = 0, taken = 0;
    struct message_id id = {storage_origin(ts->options.storage), storage_epoch(ts->options.storage),
                            0};
    replay_index_lock(ts->index);
    for (; batch->sent < batch->n; batch->sent++) {
        const struct live *item = &batch->items[batch->sent];
        if (!item->message && !item->tried && is_watched(item))
            break;
        id.sequence = replay_index_add_locked(ts->index, item->run->series,
                                              &block->samples[item->run->first], item->run->n);
        if (!item->message)
            continue;
        message_set_id(item->message, &id);
        keys[n] = item->run->series->routing_key;
        messages[n++] = item->message;
    }
    if (n)
        broker_publish(ts->options.broker, BROKER_TIMESERIES, keys, messages, n, &taken);
    replay_index_unlock(ts->index);
    atomic_fetch_add_explicit(&m->published, taken, memory_order_relaxed);
    if (taken < n)
        atomic_fetch_add_explicit(&m->lost_broker, n - taken, memory_order_relaxed);
}

static void send_batch(struct manager *m, const struct sample_block *block,
                       struct live_batch *batch, struct buf *body)
{
    while (batch->sent < batch->n) {
        send_some(m, block, batch);
        if (batch->sent == batch->n)
            break;
        struct live *item = &batch->items[batch->sent];
        item->tried = true;
        item->message = encode(m, block, item->run, body);
    }
    for (size_t i = 0; i < batch->n; i++)
        message_unref(batch->items[i].message);
    batch->n = batch->sent = 0;
}

void live_publish(struct manager *m, const struct sample_block *block, struct buf *body)
{
    struct timeseries *ts = m->source->owner;
    struct live_batch batch = {.n = 0};
    for (size_t i = 0; i < block->n_runs; i++) {
        struct live item = {.run = &block->runs[i]};
        if (item.run->n == 0)
            continue;
        if (is_watched(&item) ||
            broker_wanted(ts->options.broker, BROKER_TIMESERIES, item.run->series->routing_key)) {
            item.tried = true;
            item.message = encode(m, block, item.run, body);
        }
        batch.items[batch.n++] = item;
        if (batch.n == LIVE_BATCH)
            send_batch(m, block, &batch, body);
    }
    send_batch(m, block, &batch, body);
}
