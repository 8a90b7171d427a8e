/* What leaves an integration: its queue, the news that are found by looking, and the figures. */
#include "plugin_host/integration_priv.h"

#include "base/thread.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOK_MIN_MS = 20, LOOK_MAX_MS = 1000 };

void integration_note_error(struct integration *in, const char *message)
{
    pthread_mutex_lock(&in->lock);
    snprintf(in->last_error, sizeof in->last_error, "%s", message);
    pthread_mutex_unlock(&in->lock);
}

void news_free(struct news *news)
{
    while (news->dropped) {
        struct subscription *s = news->dropped;
        news->dropped = s->next_dropped;
        subscription_unref(s);
    }
    free(news);
}

void integration_item_release(struct integration_item *item)
{
    sample_block_unref(item->block);
    for (size_t i = 0; i < item->n_series; i++)
        series_unref(item->series[i]);
    free(item->series);
    *item = (struct integration_item){0};
}

/* --- staleness --- */

static int64_t look_interval_ms(const struct integration *in)
{
    int64_t ms = in->options.stale_after_us / 4000;
    return ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms > LOOK_MAX_MS ? LOOK_MAX_MS : ms;
}

/* Does its silence differ from what was reported last? */
static bool has_turned(const struct integration *in, struct subscription *s, int64_t now_ms)
{
    int64_t silent_ms = now_ms - atomic_load_explicit(&s->seen_ms, memory_order_relaxed);
    bool is_stale = silent_ms * 1000 > in->options.stale_after_us;
    return s->live && is_stale != atomic_load(&s->stale);
}

/* Collect the series that became stale, or else those that became fresh.  False: none. */
static bool collect_turned(struct integration *in, bool stale, int64_t now_ms,
                           struct integration_item *ret)
{
    size_t n = 0;
    struct map_entry *e;
    for (e = map_next(&in->table, NULL); e; e = map_next(&in->table, e)) {
        struct subscription *s = e->value;
        n += has_turned(in, s, now_ms) && atomic_load(&s->stale) != stale;
    }
    struct series **series = n ? malloc(n * sizeof *series) : NULL;
    if (!series)
        return false; /* nothing, or out of memory: at the next look then */
    size_t found = 0;
    for (e = map_next(&in->table, NULL); e && found < n; e = map_next(&in->table, e)) {
        struct subscription *s = e->value;
        if (!has_turned(in, s, now_ms) || atomic_load(&s->stale) == stale)
            continue;
        atomic_store(&s->stale, stale);
        series[found++] = series_ref(s->series);
    }
    if (stale)
        atomic_fetch_add(&in->stale_series, found);
    else
        atomic_fetch_sub(&in->stale_series, found);
    *ret = (struct integration_item){
        .news = stale ? INTEGRATION_STALE : INTEGRATION_FRESH, .series = series, .n_series = found};
    return true;
}

static bool look_for_stale(struct integration *in, struct integration_item *ret)
{
    int64_t now_ms = time_monotonic_ms();
    if (!in->options.stale_after_us || atomic_load(&in->closing) ||
        (now_ms < in->next_stale_ms && !atomic_exchange(&in->look_stale, false)))
        return false;
    pthread_mutex_lock(&in->lock);
    bool found = collect_turned(in, false, now_ms, ret) || collect_turned(in, true, now_ms, ret);
    pthread_mutex_unlock(&in->lock);
    if (!found)
        in->next_stale_ms = now_ms + look_interval_ms(in);
    return found;
}

/* --- taking --- */

static bool take_failure(struct integration *in, struct integration_item *ret)
{
    pthread_mutex_lock(&in->lock);
    bool found = in->failure_news;
    if (found) {
        in->failure_news = false;
        *ret = (struct integration_item){.news = INTEGRATION_FAILED, .why = in->failure};
    }
    pthread_mutex_unlock(&in->lock);
    return found;
}

/* The series of an announcement, as the taker gets them. */
static int give_news(struct integration *in, struct news *news, struct integration_item *ret)
{
    struct series **series = malloc((news->n ? news->n : 1) * sizeof(struct series *));
    size_t n = 0;
    pthread_mutex_lock(&in->lock);
    for (struct subscription *s = series ? news->dropped : NULL; s; s = s->next_dropped)
        if (!s->live)
            series[n++] = series_ref(s->series);
    *ret = (struct integration_item){
        .news = news->kind, .series = series, .n_series = n, .why = news->why};
    news_free(news);
    pthread_mutex_unlock(&in->lock);
    return series ? 0 : ERR_NOMEM;
}

/* When to look again, if nothing comes. */
static int64_t next_look_ms(struct integration *in, bool stopping, int64_t deadline_ms)
{
    int64_t at_ms = deadline_ms;
    if (in->options.stale_after_us && !atomic_load(&in->closing) && in->next_stale_ms < at_ms)
        at_ms = in->next_stale_ms;
    if (stopping && time_monotonic_ms() + LOOK_MIN_MS < at_ms)
        at_ms = time_monotonic_ms() + LOOK_MIN_MS;
    return at_ms;
}

int integration_take(struct integration *in, int64_t deadline_ms, struct integration_item *ret)
{
    bool stopping = false;
    for (;;) {
        if ((stopping || atomic_load(&in->attention)) && pthread_mutex_trylock(&in->control) == 0) {
            stopping = links_reap(in);
            pthread_mutex_unlock(&in->control);
        }
        if (take_failure(in, ret) || look_for_stale(in, ret))
            return 0;
        struct queue_entry entry = {NULL, NULL};
        int rc = queue_take(&in->queue, next_look_ms(in, stopping, deadline_ms), &entry);
        if (rc == 0 && entry.news)
            return give_news(in, entry.news, ret);
        if (rc == 0) {
            *ret = (struct integration_item){.news = INTEGRATION_BLOCK, .block = entry.block};
            return 0;
        }
        if (rc != ERR_TIMEOUT)
            return rc;
        if (atomic_exchange(&in->user_wake, false) || time_monotonic_ms() >= deadline_ms)
            return ERR_TIMEOUT;
    }
}

void integration_wake(struct integration *in)
{
    atomic_store(&in->user_wake, true);
    queue_wake(&in->queue);
}

/* --- figures --- */

void integration_get_stats(struct integration *in, struct integration_stats *ret)
{
    size_t samples, bytes;
    queue_level(&in->queue, &samples, &bytes);
    *ret = (struct integration_stats){
        .closed = atomic_load(&in->closing),
        .created_us = in->created_us,
        .queued_samples = samples,
        .queued_bytes = bytes,
        .connections_total = atomic_load(&in->links_total),
        .capacity = atomic_load(&in->capacity),
        .samples = atomic_load(&in->samples),
        .history_samples = atomic_load(&in->history_samples),
        .refused_order = atomic_load(&in->refused_order),
        .refused_duplicate = atomic_load(&in->refused_duplicate),
        .refused_invalid = atomic_load(&in->refused_invalid),
        .refused_full = atomic_load(&in->refused_full),
        .dropped_offline = atomic_load(&in->dropped_offline),
        .restarts = atomic_load(&in->restarts),
        .abandoned = atomic_load(&in->n_abandoned),
        .stale_series = atomic_load(&in->stale_series),
    };
    pthread_mutex_lock(&in->lock);
    ret->subscriptions = in->n_live;
    for (struct link *l = in->links; l; l = l->next)
        ret->connections += link_is_open(l);
    memcpy(ret->last_error, in->last_error, sizeof ret->last_error);
    pthread_mutex_unlock(&in->lock);
}

void integration_each_connection(struct integration *in, connection_info_fn *each, void *ctx)
{
    /* Copied first: `each` may take its time, and locks of its own. */
    pthread_mutex_lock(&in->lock);
    struct connection_info *infos = in->n_links ? calloc(in->n_links, sizeof *infos) : NULL;
    size_t n = 0;
    for (struct link *l = infos ? in->links : NULL; l; l = l->next)
        if (link_is_open(l))
            infos[n++] = (struct connection_info){.name = in->plugin->entry.name,
                                                  .online = atomic_load(&l->online),
                                                  .created_us = l->created_us,
                                                  .messages = atomic_load(&l->messages),
                                                  .subscriptions = l->n_carried};
    pthread_mutex_unlock(&in->lock);
    for (size_t i = 0; i < n; i++)
        each(ctx, &infos[i]);
    free(infos);
}
