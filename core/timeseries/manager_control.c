/* The control thread of a manager: whatever calls into the plugin and may take its time. */
#include "base/backoff.h"
#include "base/json.h"
#include "base/log.h"
#include "base/time.h"
#include "feeds/feeds.h"
#include "storage/storage.h"
#include "timeseries/gate.h"
#include "timeseries/timeseries_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNSTORED_US = 5000000 }; /* what a node may have published and not stored, at most */

static const char logger[] = "hyprxa.timeseries";

/* --- the integration --- */

static int state_get(void *ctx, const char *source, const char *key, struct buf *out)
{
    const struct timeseries *ts = ctx;
    return storage_state_get(ts->options.storage, source, key, out, NULL);
}

static int last_time(void *ctx, struct series *series, int64_t *ret_us)
{
    const struct timeseries *ts = ctx;
    /* Where another node has just handed it over, its last word counts, and spares the question. */
    int64_t known_us = atomic_exchange(&series->handed_us, 0);
    if (!known_us && gate_last_time(ts->gate, series, &known_us) == 0) {
        /* From a node that died: what it had not stored yet is read again; streams do not see it
         * twice, nor does storage keep it twice. */
        atomic_store(&series->again_until_us, known_us);
        known_us -= UNSTORED_US;
    }
    if (known_us) {
        *ret_us = known_us;
        return 0;
    }
    return storage_samples_last_time(ts->options.storage, series, ret_us, NULL);
}

int manager_ensure_integration(struct manager *m, struct error *err)
{
    struct source *s = m->source;
    pthread_mutex_lock(&m->lock);
    bool closing = m->closing;
    pthread_mutex_unlock(&m->lock);
    if (closing)
        return error_set(err, ERR_CLOSED,
                         "Manager is closed, the service must be restarted. Contact an "
                         "administrator.");
    if (m->integration)
        return 0;
    struct integration_options options = {
        .source = s->name,
        .options = s->options,
        .max_subscriptions = s->max_subscriptions,
        .stale_after_us = s->stale_after_us,
        .connect_timeout_ms = s->owner->options.connect_timeout_ms,
        .stop_grace_ms = s->owner->options.stop_grace_ms,
        .initial_backoff_ms = s->owner->options.initial_backoff_ms,
        .max_backoff_ms = s->owner->options.max_backoff_ms,
        .state_get = state_get,
        .last_time = last_time,
        .ctx = s->owner,
    };
    struct integration *in = NULL;
    int rc = integration_open(s->plugin, &options, &in, err);
    if (rc)
        return rc;
    atomic_store(&m->visible, in);
    rc = thread_start(&m->data_thread, "source-data", manager_data_run, m, err);
    if (rc) {
        atomic_store(&m->visible, NULL);
        integration_close(in);
        integration_free(in);
        return rc;
    }
    m->integration = in;
    return 0;
}

/* --- subscribing --- */

/* Ask for the leases; *ret_n entries, whose leases this node got, come first then. */
static int acquire(struct manager_entry **entries, size_t n, size_t *ret_n, struct error *err)
{
    *ret_n = 0;
    for (size_t i = 0; i < n; i++) {
        struct manager_entry *e = entries[i];
        int rc = claim_acquire(e->claim, err);
        if (rc)
            return rc;
        if (claim_state(e->claim) != CLAIM_HELD)
            continue;
        entries[i] = entries[*ret_n];
        entries[(*ret_n)++] = e;
    }
    return 0;
}

static void unmark(struct manager *m, struct manager_entry *const *entries, size_t n)
{
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n; i++)
        entries[i]->subscribed = false;
    pthread_mutex_unlock(&m->lock);
}

int manager_subscribe(struct manager *m, struct manager_entry **entries, size_t n,
                      struct error *err)
{
    struct series **series = calloc(n, sizeof(struct series *));
    size_t n_held = 0;
    int rc =
        series ? acquire(entries, n, &n_held, err) : error_set(err, ERR_NOMEM, "out of memory");
    if (!rc && n_held) {
        for (size_t i = 0; i < n_held; i++)
            series[i] = entries[i]->series;
        rc = integration_subscribe(m->integration, series, n_held, err);
    }
    for (size_t i = 0; i < n_held && rc; i++)
        claim_release(entries[i]->claim);
    if (rc)
        unmark(m, entries, n);
    else
        unmark(m, &entries[n_held], n - n_held); /* other nodes' */
    free(series);
    return rc;
}

void manager_claims_changed(void *manager)
{
    struct manager *m = manager;
    pthread_mutex_lock(&m->lock);
    m->claims_changed = true;
    pthread_cond_broadcast(&m->wake);
    pthread_mutex_unlock(&m->lock);
}

/* --- the rounds of the control thread; each with `control` held --- */

struct entries {
    struct manager_entry **items;
    size_t n;
};

typedef bool entry_wanted_fn(const struct manager *m, const struct manager_entry *e);

/* The entries that `wanted` picks, in memory the caller frees. */
static struct entries collect_locked(struct manager *m, entry_wanted_fn *wanted)
{
    struct entries found = {calloc(m->entries.n ? m->entries.n : 1, sizeof *found.items), 0};
    for (struct map_entry *e = map_next(&m->entries, NULL); found.items && e;
         e = map_next(&m->entries, e))
        if (wanted(m, e->value))
            found.items[found.n++] = e->value;
    return found;
}

static bool is_missing(const struct manager *m, const struct manager_entry *e)
{
    (void)m;
    return !e->subscribed && (e->users || e->recorded) && !manager_stands_by(e);
}

static bool is_idle(const struct manager *m, const struct manager_entry *e)
{
    int64_t linger_ms = m->source->owner->options.lock_ttl_ms;
    return !e->users && !e->recorded && time_monotonic_ms() - e->idle_since_ms >= linger_ms &&
           claim_is_unneeded(e->claim);
}

static bool is_lost(const struct manager *m, const struct manager_entry *e)
{
    (void)m;
    return claim_state(e->claim) == CLAIM_LOST;
}

/* Dropped by the source: another node may have it. */
static bool is_held_in_vain(const struct manager *m, const struct manager_entry *e)
{
    (void)m;
    return !e->subscribed && claim_state(e->claim) == CLAIM_HELD;
}

static bool is_unregistered(const struct manager *m, const struct manager_entry *e)
{
    (void)m;
    return e->recorded && !e->registered;
}

static void add_listed(void *ctx, const char *subscription_json, size_t len)
{
    struct manager *m = ctx;
    struct error err = ERROR_INIT;
    struct series *series = NULL;
    AUTO_JSON *subscription = NULL;
    int rc = json_parse(subscription_json, len, &subscription, &err);
    if (!rc && json_object_is_type(subscription, json_type_object) &&
        !json_object_object_get_ex(subscription, "source", NULL))
        rc =
            json_object_object_add(subscription, "source", json_object_new_string(m->source->name));
    if (!rc)
        rc = source_series(m->source, subscription, &series, &err);
    if (rc) {
        log_error(logger, "source '%s' lists an item that is no subscription of it: %s",
                  m->source->name, err.message);
        return;
    }
    pthread_mutex_lock(&m->lock);
    struct manager_entry *e = manager_entry_locked(m, series);
    if (e)
        e->recorded = true;
    pthread_mutex_unlock(&m->lock);
    series_unref(series);
}

/* `record: all` becomes the items the source offers. */
static int resolve_record_all(struct manager *m, struct error *err)
{
    if (m->listed || !m->source->record_all)
        return 0;
    int rc = integration_list(m->integration, add_listed, m, err);
    m->listed = rc == 0 || rc == ERR_UNSUPPORTED;
    if (rc == ERR_UNSUPPORTED) {
        log_error(logger, "source '%s': `record: all` needs a plugin that can list its items",
                  m->source->name);
        rc = 0;
    }
    return rc;
}

/* The source will not serve this one now: whoever watches it is told so and ended. */
static void give_up(struct manager *m, struct manager_entry *e, const struct error *why)
{
    if (e->users) {
        struct series_set set = {&e->series, 1};
        feeds_end_where(m->source->owner->feeds, hold_wants, &set, STREAM_END_LOST, why->message);
    }
    if (e->recorded && !e->reported) {
        log_warning(logger, "source '%s': %s cannot be recorded now: %s", m->source->name,
                    e->series->canonical, why->message);
        e->reported = true;
    }
}

/* Subscribe what is wanted and missing: at once, or where one is refused, one by one.  True when
 * nothing is missing any more. */
static bool subscribe_missing(struct manager *m)
{
    struct error err = ERROR_INIT;
    size_t failed = 0;
    pthread_mutex_lock(&m->lock);
    struct entries missing = collect_locked(m, is_missing);
    for (size_t i = 0; i < missing.n; i++)
        missing.items[i]->subscribed = true;
    pthread_mutex_unlock(&m->lock);
    if (missing.n && manager_subscribe(m, missing.items, missing.n, &err)) {
        for (size_t i = 0; i < missing.n; i++) {
            struct manager_entry *e = missing.items[i];
            pthread_mutex_lock(&m->lock);
            e->subscribed = true;
            bool closing = m->closing;
            pthread_mutex_unlock(&m->lock);
            int rc = closing ? ERR_CLOSED : manager_subscribe(m, &e, 1, &err);
            if (!rc) {
                e->reported = false;
                continue;
            }
            failed++;
            if (rc != ERR_UNAVAILABLE) /* without the cache nobody can have it, nor is it refused */
                give_up(m, e, &err);
        }
    }
    free(missing.items);
    return failed == 0;
}

static void unsubscribe_idle(struct manager *m)
{
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&m->lock);
    struct entries idle = collect_locked(m, is_idle);
    struct series **series = calloc(idle.n ? idle.n : 1, sizeof(struct series *));
    size_t n = 0;
    for (size_t i = 0; series && i < idle.n; i++)
        if (idle.items[i]->subscribed)
            series[n++] = idle.items[i]->series;
    pthread_mutex_unlock(&m->lock);
    /* Nobody can take hold of them meanwhile: that needs `control`. */
    if (n && m->integration && integration_unsubscribe(m->integration, series, n, &err))
        log_warning(logger, "source '%s' refused to unsubscribe: %s", m->source->name, err.message);
    for (size_t i = 0; series && i < idle.n; i++) {
        struct manager_entry *e = idle.items[i];
        pthread_mutex_lock(&m->lock);
        map_remove(&m->entries, e->series->canonical, e->series->canonical_len);
        pthread_mutex_unlock(&m->lock);
        manager_entry_free(e);
    }
    free(series);
    free(idle.items);
}

/* What has become another node's is streamed here no longer. */
static void stop_lost(struct manager *m)
{
    struct error err = ERROR_INIT;
    pthread_mutex_lock(&m->lock);
    struct entries lost = collect_locked(m, is_lost);
    pthread_mutex_unlock(&m->lock);
    struct series **series = calloc(lost.n ? lost.n : 1, sizeof(struct series *));
    size_t n = series ? lost.n : 0;
    for (size_t i = 0; i < n; i++)
        series[i] = lost.items[i]->series;
    if (n && m->integration && integration_unsubscribe(m->integration, series, n, &err))
        log_warning(logger, "source '%s' refused to unsubscribe: %s", m->source->name, err.message);
    unmark(m, lost.items, n);
    for (size_t i = 0; i < n; i++)
        claim_stand_by(lost.items[i]->claim);
    free(series);
    free(lost.items);
}

static void keep_claims(struct manager *m)
{
    pthread_mutex_lock(&m->lock);
    struct entries vain = collect_locked(m, is_held_in_vain);
    struct entries wanted = collect_locked(m, is_unregistered);
    pthread_mutex_unlock(&m->lock);
    for (size_t i = 0; i < vain.n; i++)
        claim_release(vain.items[i]->claim);
    for (size_t i = 0; i < wanted.n; i++) {
        wanted.items[i]->registered = true;
        claim_want(wanted.items[i]->claim, true);
    }
    free(vain.items);
    free(wanted.items);
    stop_lost(m);
}

/* One round; true when something should be tried again soon. */
static bool round_of_control(struct manager *m, bool dropped)
{
    struct error err = ERROR_INIT;
    bool wants = m->source->record_all || m->source->n_recorded || m->integration;
    bool again = false;
    keep_claims(m);
    if (wants && dropped) {
        int rc = manager_ensure_integration(m, &err);
        if (!rc)
            rc = resolve_record_all(m, &err);
        if (rc)
            log_error(logger, "source '%s' could not be started: %s", m->source->name, err.message);
        if (!rc)
            keep_claims(m); /* of what was listed */
        again = rc != 0 || !subscribe_missing(m);
    }
    unsubscribe_idle(m);
    return again;
}

void *manager_control_run(void *manager)
{
    struct manager *m = manager;
    const struct timeseries_options *options = &m->source->owner->options;
    int64_t period_ms = options->lock_ttl_ms / 2, retry_at_ms = 0;
    struct backoff backoff;
    backoff_init(&backoff, options->initial_backoff_ms, options->max_backoff_ms);
    pthread_mutex_lock(&m->lock);
    while (!m->closing) {
        bool dropped = m->claims_changed || (m->dropped && time_monotonic_ms() >= retry_at_ms);
        if (dropped)
            m->dropped = m->claims_changed = false;
        pthread_mutex_unlock(&m->lock);
        pthread_mutex_lock(&m->control);
        bool again = round_of_control(m, dropped);
        pthread_mutex_unlock(&m->control);
        pthread_mutex_lock(&m->lock);
        int64_t now_ms = time_monotonic_ms();
        if (again) {
            m->dropped = true;
            retry_at_ms = now_ms + backoff_next_ms(&backoff);
        } else if (dropped) {
            backoff_reset(&backoff);
            retry_at_ms = 0;
        }
        int64_t until_ms = now_ms + period_ms;
        if (m->dropped && retry_at_ms < until_ms)
            until_ms = retry_at_ms;
        if (!m->closing && !m->claims_changed && until_ms > now_ms)
            cond_wait_until(&m->wake, &m->lock, until_ms);
    }
    pthread_mutex_unlock(&m->lock);
    return NULL;
}
