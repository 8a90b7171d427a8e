/* The manager of a source: its life, who holds which series, and the data thread. */
#include "base/auto.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "feeds/feeds.h"
#include "storage/storage.h"
#include "timeseries/gate.h"
#include "timeseries/replay_index.h"
#include "timeseries/timeseries_priv.h"

#include <stdlib.h>
#include <string.h>

enum { LIVE_BODY_MAX = 16 << 20, STORE_WAIT_MS = 1000, NOTICE_MAX = 1 << 20 };

static const char logger[] = "hyprxa.timeseries";

/* --- life --- */

int manager_open(struct source *s, struct manager **ret, struct error *err)
{
    struct manager *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(err, ERR_NOMEM, "out of memory");
    atomic_init(&m->refs, 1);
    lock_init(&m->control);
    lock_init(&m->lock);
    cond_init(&m->wake);
    map_init(&m->entries);
    m->source = s;
    digest_uuid4(m->owner);
    m->created_us = time_now_us();
    m->dropped = true; /* what is recorded is subscribed by the control thread's first round */
    for (size_t i = 0; i < s->n_recorded; i++) {
        struct manager_entry *e = manager_entry_locked(m, s->recorded[i]);
        if (!e) {
            manager_unref(m);
            return error_set(err, ERR_NOMEM, "out of memory");
        }
        e->recorded = true;
    }
    int rc = thread_start(&m->control_thread, "source-control", manager_control_run, m, err);
    if (rc) {
        manager_unref(m);
        return rc;
    }
    *ret = m;
    return 0;
}

struct manager *manager_ref(struct manager *m)
{
    atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
    return m;
}

void manager_entry_free(void *value)
{
    struct manager_entry *e = value;
    claim_free(e->claim);
    series_unref(e->series);
    free(e);
}

void manager_unref(struct manager *m)
{
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
        return;
    integration_free(m->integration);
    map_release(&m->entries, manager_entry_free);
    pthread_cond_destroy(&m->wake);
    pthread_mutex_destroy(&m->lock);
    pthread_mutex_destroy(&m->control);
    free(m);
}

static bool hold_of_manager(void *manager, void *hold)
{
    const struct hold *h = hold;
    for (size_t i = 0; i < h->n_parts; i++)
        if (h->parts[i].manager == manager)
            return true;
    return false;
}

/* Give the leases back, after what was streamed is stored and sent, and tell the other nodes. */
static void hand_over(struct manager *m)
{
    struct timeseries *ts = m->source->owner;
    struct error err = ERROR_INIT;
    struct handed *items = calloc(m->entries.n ? m->entries.n : 1, sizeof *items);
    size_t n = 0;
    if (storage_samples_flush(ts->options.storage, &err))
        log_warning(logger, "source '%s': its last samples are not stored yet: %s", m->source->name,
                    err.message);
    for (struct map_entry *e = map_next(&m->entries, NULL); e; e = map_next(&m->entries, e)) {
        struct manager_entry *entry = e->value;
        if (claim_release(entry->claim) && items)
            items[n++] =
                (struct handed){entry->series->hash, atomic_load(&entry->series->streamed_us)};
    }
    if (n)
        handover_send(ts, items, n);
    free(items);
}

void manager_close(struct manager *m)
{
    pthread_mutex_lock(&m->lock);
    bool again = m->closing;
    m->closing = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
    if (again)
        return;
    feeds_end_where(m->source->owner->feeds, hold_of_manager, m, STREAM_END_STOPPING,
                    "The source was stopped.");
    pthread_join(m->control_thread, NULL);
    pthread_mutex_lock(&m->control);
    struct integration *in = m->integration;
    pthread_mutex_unlock(&m->control);
    if (in) {
        integration_close(
            in); /* publishers return; the data thread takes what is queued, then ends */
        pthread_join(m->data_thread, NULL);
    }
    hand_over(m);
}

/* --- holding series --- */

struct manager_entry *manager_entry_locked(struct manager *m, struct series *series)
{
    struct manager_entry *e = map_get(&m->entries, series->canonical, series->canonical_len);
    if (e)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    if (gate_watch(m->source->owner->gate, series) ||
        claim_new(m->source->owner->leases, series, m->owner, m, &e->claim) ||
        map_set(&m->entries, series->canonical, series->canonical_len, e, NULL)) {
        claim_free(e->claim);
        free(e);
        return NULL;
    }
    e->series = series_ref(series);
    e->idle_since_ms = time_monotonic_ms();
    return e;
}

bool manager_stands_by(const struct manager_entry *e)
{
    enum claim_state state = claim_state(e->claim);
    return state == CLAIM_REMOTE || state == CLAIM_LOST;
}

/* Register the wish for each series, before its lease is asked for; entries stay while they have a
 * user. */
static void want(struct manager *m, struct series *const *series, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&m->lock);
        struct manager_entry *e = manager_entry_locked(m, series[i]);
        pthread_mutex_unlock(&m->lock);
        claim_want(e->claim, true);
    }
}

/* Count a user on each series; those to be subscribed here are marked and gathered in `todo`. */
static int hold_locked(struct manager *m, struct series *const *series, size_t n,
                       struct manager_entry **todo, size_t *ret_n)
{
    for (size_t i = 0; i < n; i++)
        if (!manager_entry_locked(m, series[i]))
            return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct manager_entry *e = manager_entry_locked(m, series[i]);
        e->users++;
        atomic_fetch_add(&e->series->watchers, 1);
        if (!e->subscribed && !manager_stands_by(e)) {
            e->subscribed = true;
            todo[(*ret_n)++] = e;
        }
    }
    return 0;
}

int manager_acquire(struct manager *m, struct series *const *series, size_t n, struct error *err)
{
    size_t n_todo = 0;
    struct manager_entry **todo = calloc(n ? n : 1, sizeof *todo);
    if (!todo)
        return error_set(err, ERR_NOMEM, "out of memory");
    pthread_mutex_lock(&m->control);
    int rc = manager_ensure_integration(m, err);
    if (!rc) {
        pthread_mutex_lock(&m->lock);
        rc = hold_locked(m, series, n, todo, &n_todo);
        pthread_mutex_unlock(&m->lock);
        if (rc)
            error_set(err, rc, "out of memory");
    }
    if (!rc)
        want(m, series, n);
    if (!rc && n_todo) {
        rc = manager_subscribe(m, todo, n_todo, err);
        if (rc)
            manager_release(m, series, n);
    }
    pthread_mutex_unlock(&m->control);
    free(todo);
    return rc;
}

void manager_release(struct manager *m, struct series *const *series, size_t n)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n; i++) {
        struct manager_entry *e =
            map_get(&m->entries, series[i]->canonical, series[i]->canonical_len);
        atomic_fetch_sub(&series[i]->watchers, 1);
        if (e && --e->users == 0) {
            e->idle_since_ms = time_monotonic_ms();
            if (!e->recorded)
                claim_want(e->claim, false);
        }
    }
    pthread_mutex_unlock(&m->lock);
}

bool hold_wants(void *series_set, void *hold)
{
    const struct series_set *set = series_set;
    const struct hold *h = hold;
    for (size_t p = 0; p < h->n_parts; p++)
        for (size_t i = 0; i < h->parts[p].n; i++)
            for (size_t k = 0; k < set->n; k++)
                if (h->parts[p].series[i] == set->series[k])
                    return true;
    return false;
}

/* --- data: storage, then whoever watches --- */

/* Storage that is full holds the data thread, whose queue fills, which holds the plugin. */
static void store(struct manager *m, struct sample_block *block)
{
    struct error err = ERROR_INIT;
    int rc;
    do
        rc = storage_samples_append(m->source->owner->options.storage, block,
                                    time_monotonic_ms() + STORE_WAIT_MS, &err);
    while (rc == ERR_AGAIN);
    atomic_fetch_add_explicit(rc ? &m->lost_storage : &m->stored, block->n_samples,
                              memory_order_relaxed);
    if (rc)
        log_error(logger, "source '%s': %zu samples were not stored: %s", m->source->name,
                  block->n_samples, err.message);
}

static bool is_held(void *manager, const struct series *series)
{
    const struct manager *m = manager;
    return leases_hold(m->source->owner->leases, series);
}

static void note_streamed(const struct sample_block *block)
{
    for (size_t i = 0; i < block->n_runs; i++) {
        const struct sample_run *run = &block->runs[i];
        if (!run->n)
            continue;
        atomic_store_explicit(&run->series->streamed_us,
                              block->samples[run->first + run->n - 1].time_us,
                              memory_order_relaxed);
        /* Streams had it before, so that a replay must not begin there. */
        if (block->samples[run->first].time_us <=
            atomic_load_explicit(&run->series->again_until_us, memory_order_relaxed))
            atomic_store(&run->series->held_since_us, time_now_us());
    }
}

static void take_block(struct manager *m, struct sample_block *block, struct buf *body)
{
    /* The block is this thread's alone. */
    size_t lost = sample_block_filter(block, is_held, m);
    if (lost && atomic_fetch_add_explicit(&m->lost_lease, lost, memory_order_relaxed) == 0)
        log_warning(logger, "source '%s': samples of another node's subscriptions are dropped",
                    m->source->name);
    if (block->flags & SAMPLE_BLOCK_HISTORY) {
        store(m, block);
        return;
    }
    /* Without memory for it, it is announced late: then a replay by time may give its samples, too. */
    replay_index_announce(m->source->owner->index, block);
    store(m, block);
    live_publish(m, block, body);
    note_streamed(block);
}

static void send_notice(struct manager *m, const struct integration_item *item, bool stale)
{
    struct series_set set = {item->series, item->n_series};
    AUTO(buf) json = BUF_INIT(NOTICE_MAX);
    buf_printf(&json, "{\"stale\":%s,\"subscriptions\":[", stale ? "true" : "false");
    for (size_t i = 0; i < item->n_series; i++) {
        if (i)
            buf_append_char(&json, ',');
        buf_append(&json, item->series[i]->json, item->series[i]->json_len);
    }
    buf_append_lit(&json, "]}");
    if (!json.failed)
        feeds_notice_where(m->source->owner->feeds, hold_wants, &set, "stale", json.data, json.len);
}

static void mark_dropped(struct manager *m, const struct integration_item *item)
{
    log_warning(logger, "source '%s' dropped %zu subscription(s), first %s: %s", m->source->name,
                item->n_series, item->n_series ? item->series[0]->canonical : "none",
                item->why.message);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < item->n_series; i++) {
        struct manager_entry *e =
            map_get(&m->entries, item->series[i]->canonical, item->series[i]->canonical_len);
        if (e)
            e->subscribed = false;
    }
    m->dropped = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

void *manager_data_run(void *manager)
{
    struct manager *m = manager;
    struct integration *in = atomic_load(&m->visible);
    struct integration_item item = {0};
    struct buf body = BUF_INIT(LIVE_BODY_MAX);
    for (;;) {
        int rc = integration_take(in, INT64_MAX, &item);
        if (rc == ERR_CLOSED)
            break;
        if (rc)
            continue;
        switch (item.news) {
        case INTEGRATION_BLOCK:
            take_block(m, item.block, &body);
            break;
        case INTEGRATION_DROPPED:
            mark_dropped(m, &item);
            break;
        case INTEGRATION_STALE:
        case INTEGRATION_FRESH:
            send_notice(m, &item, item.news == INTEGRATION_STALE);
            break;
        case INTEGRATION_FAILED:
            log_cause(LOG_LEVEL_ERROR, logger, &item.why, "source '%s': %s", m->source->name,
                      item.why.message);
            break;
        }
        integration_item_release(&item);
    }
    buf_release(&body);
    return NULL;
}
