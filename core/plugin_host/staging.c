#include "plugin_host/integration_priv.h"

#include "base/thread.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

/* How long a failed subscribe waits for the connections it gives up; slower ones end by themselves. */
enum { UNDO_WAIT_MS = 100, REMOVED_KEEP_MS = 60000 };

void stage_open(struct integration *in)
{
    in->stage.n = 0;
    in->stage.failed = false;
}

/* --- starting --- */

static bool is_starting(const struct link *link)
{
    return link->staged && !link->doomed && !link->stop_deadline_ms;
}

/* 1: all are ready; 0: not yet; negative: one has failed. */
static int look_at_starts_locked(struct integration *in, struct error *err)
{
    bool all = true;
    for (struct link *l = in->links; l; l = l->next) {
        if (!is_starting(l))
            continue;
        if (l->state == LINK_ENDED)
            return l->why.code ? error_set(err, l->why.code, "%s", l->why.message)
                               : error_set(err, ERR_CLOSED, "the connection was stopped");
        all = all && l->state == LINK_READY;
    }
    return all;
}

int stage_start_links(struct integration *in, struct error *err)
{
    int64_t deadline_ms = time_monotonic_ms() + in->options.connect_timeout_ms;
    for (struct link *l = in->links; l; l = l->next) {
        int rc = is_starting(l) ? link_start(l, err) : 0;
        if (rc)
            return rc;
    }
    int rc = 0;
    bool in_time = true;
    pthread_mutex_lock(&in->lock);
    while ((rc = look_at_starts_locked(in, err)) == 0 && in_time && !atomic_load(&in->closing))
        in_time = cond_wait_until(&in->changed, &in->lock, deadline_ms);
    pthread_mutex_unlock(&in->lock);
    if (rc)
        return rc < 0 ? rc : 0;
    return in_time ? error_set(err, ERR_CLOSED, "the source is closing")
                   : error_set(err, ERR_TIMEOUT, "the source did not connect within %lld ms",
                               (long long)in->options.connect_timeout_ms);
}

/* --- telling connections what they carry no longer --- */

static int by_link(const void *a, const void *b)
{
    const struct stage_op *x = a, *y = b;
    return x->link < y->link ? -1 : x->link > y->link;
}

/* Call remove() once per connection with all it loses (one by one when memory is short). */
static void call_removes(struct integration *in, enum stage_kind kind)
{
    struct stage_op *ops = in->stage.ops;
    size_t n = in->stage.n;
    if (n == 0)
        return;
    qsort(ops, n, sizeof *ops, by_link);
    const struct hyprxa_subscription **subs = malloc(n * sizeof *subs);
    for (size_t i = 0, end; i < n; i = end) {
        struct link *link = ops[i].link;
        size_t count = 0;
        for (end = i; end < n && ops[end].link == link; end++) {
            if (ops[end].kind != kind || link->doomed || !link->ops.remove)
                continue;
            if (subs)
                subs[count++] = &ops[end].sub->pub;
            else
                link->ops.remove(link->conn,
                                 (const struct hyprxa_subscription *[]){&ops[end].sub->pub}, 1);
        }
        if (count)
            link->ops.remove(link->conn, subs, count);
    }
    free(subs);
}

/* --- making it real --- */

/* Whoever carries a leaving one is to carry it no longer. */
static int detach_leaving(struct integration *in, struct subscription *const *leaving, size_t n)
{
    int rc = 0;
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < n && !rc; i++)
        for (struct carry *c = leaving[i]->carries; c && !rc; c = c->next_of_sub)
            if (c->carried)
                rc = stage_detach(c->link, leaving[i]);
    pthread_mutex_unlock(&in->lock);
    return rc;
}

static int check_fresh_locked(struct subscription *const *fresh, size_t n, struct error *err)
{
    size_t unserved = 0;
    for (size_t i = 0; i < n; i++)
        unserved += fresh[i]->n_links == 0;
    return unserved ? error_set(err, ERR_REFUSED,
                                "the plugin accepted the subscriptions, but no connection carries "
                                "%zu of %zu",
                                unserved, n)
                    : 0;
}

static void apply_locked(struct integration *in, struct subscription *const *fresh, size_t n_fresh,
                         struct subscription *const *leaving, size_t n_leaving,
                         struct news *orphans)
{
    int64_t now_ms = time_monotonic_ms();
    for (size_t i = 0; i < n_fresh; i++) {
        fresh[i]->staged = false;
        fresh[i]->live = true;
        atomic_store(&fresh[i]->seen_ms, now_ms);
    }
    in->n_live += n_fresh;
    in->n_dead -= n_fresh;
    for (size_t i = 0; i < in->stage.n; i++)
        if (in->stage.ops[i].kind == STAGE_DETACH)
            link_drop_locked(in->stage.ops[i].link, &in->stage.ops[i].sub, 1, orphans);
    for (struct link *l = in->links; l; l = l->next) {
        if (l->stop_deadline_ms)
            continue; /* still ending, from before */
        for (struct carry *c = l->doomed ? l->carries : NULL; c; c = c->next_of_link)
            if (c->carried)
                link_drop_locked(l, &c->sub, 1, orphans);
        if (l->n_carried == 0)
            l->doomed = true;
        if (l->staged && !l->doomed) {
            l->go = true;
            atomic_fetch_add(&in->links_total, 1);
        }
        l->staged = false;
        if (n_leaving && l->ops.remove)
            carry_sweep(l, now_ms - REMOVED_KEEP_MS);
    }
    for (size_t i = 0; i < n_leaving; i++) {
        leaving[i]->leaving = false;
        subscription_end(leaving[i]);
    }
    pthread_cond_broadcast(&in->changed);
}

int stage_commit(struct integration *in, struct subscription *const *fresh, size_t n_fresh,
                 struct subscription *const *leaving, size_t n_leaving, struct error *err)
{
    struct news *orphans = calloc(1, sizeof *orphans);
    if (in->stage.failed || !orphans || detach_leaving(in, leaving, n_leaving) ||
        queue_promise(&in->queue)) {
        free(orphans);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    pthread_mutex_lock(&in->lock);
    int rc = check_fresh_locked(fresh, n_fresh, err);
    if (!rc)
        apply_locked(in, fresh, n_fresh, leaving, n_leaving, orphans);
    if (orphans->n) {
        orphans->kind = INTEGRATION_DROPPED;
        error_set(&orphans->why, ERR_CLOSED, "the plugin disconnected it");
        queue_push_news(&in->queue, orphans);
    } else {
        free(orphans);
        queue_unpromise(&in->queue);
    }
    pthread_mutex_unlock(&in->lock);
    if (rc)
        return rc;
    call_removes(in, STAGE_DETACH);
    bool stopping = false;
    for (struct link *l = in->links; l; l = l->next)
        if (l->doomed && !l->stop_deadline_ms) {
            link_stop(l);
            stopping = true;
        }
    if (stopping)
        links_wait_and_reap(in, INT64_MAX);
    return 0;
}

/* --- undoing --- */

void stage_undo(struct integration *in)
{
    bool stopping = false;
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < in->stage.n; i++)
        if (in->stage.ops[i].kind == STAGE_ATTACH)
            carry_end(in->stage.ops[i].link, in->stage.ops[i].sub);
    for (struct link *l = in->links; l; l = l->next) {
        if (l->stop_deadline_ms)
            continue;
        if (l->staged)
            carry_end_all(l);
        l->doomed = l->staged;
        stopping = stopping || l->staged;
    }
    pthread_mutex_unlock(&in->lock);
    call_removes(in, STAGE_ATTACH);
    for (struct link *l = in->links; l; l = l->next)
        if (l->staged && !l->stop_deadline_ms)
            link_stop(l);
    if (stopping)
        links_wait_and_reap(in, time_monotonic_ms() + UNDO_WAIT_MS);
}
