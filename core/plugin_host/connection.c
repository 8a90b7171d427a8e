#include "plugin_host/integration_priv.h"

#include "base/backoff.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static const char logger[] = "hyprxa.plugin_host";
static atomic_bool any_abandoned;

bool plugin_host_has_abandoned(void)
{
    return atomic_load(&any_abandoned);
}

/* --- life cycle --- */

int link_new(struct integration *in, const struct hyprxa_base_connection *ops, void *conn,
             struct link **ret)
{
    struct link *link = calloc(1, sizeof *link);
    struct news *last = calloc(1, sizeof *last);
    if (!link || !last || queue_promise(&in->queue)) {
        free(link);
        free(last);
        return ERR_NOMEM;
    }
    plugin_copy_table(&link->ops, sizeof link->ops, ops, ops->size);
    link->pub = (struct hyprxa_link){.size = sizeof link->pub,
                                     .number = (uint32_t)++in->number_of_links,
                                     .host = &plugin_host_table,
                                     .ctx = &in->ctx};
    link->in = in;
    link->conn = conn;
    link->created_us = time_now_us();
    link->last_news = last;
    link->stop_fd = -1;
    link->staged = true;
    link->state = LINK_NEW;
    atomic_init(&link->stopping, false);
    atomic_init(&link->online, false);
    atomic_init(&link->messages, 0);
    queue_waiter_init(&link->waiter);
    lock_init(&link->lock);
    cond_init(&link->wake);
    *ret = link;
    return 0;
}

void link_free(struct link *link)
{
    struct integration *in = link->in;
    pthread_mutex_lock(&in->lock);
    carry_release(link);
    pthread_mutex_unlock(&in->lock);
    if (link->last_news) {
        free(link->last_news);
        queue_unpromise(&in->queue);
    }
    if (link->stop_fd >= 0)
        close(link->stop_fd);
    queue_waiter_release(&link->waiter);
    pthread_cond_destroy(&link->wake);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

/* --- waiting and stopping --- */

bool link_wait(struct link *link, int64_t timeout_ms)
{
    int64_t deadline_ms = timeout_ms < 0 ? INT64_MAX : time_monotonic_ms() + timeout_ms;
    bool in_time = timeout_ms != 0;
    pthread_mutex_lock(&link->lock);
    while (!atomic_load(&link->stopping) && in_time)
        in_time = cond_wait_until(&link->wake, &link->lock, deadline_ms);
    pthread_mutex_unlock(&link->lock);
    return atomic_load(&link->stopping);
}

void link_stop(struct link *link)
{
    struct integration *in = link->in;
    pthread_mutex_lock(&in->lock);
    bool first = link->stop_deadline_ms == 0;
    if (first)
        link->stop_deadline_ms = time_monotonic_ms() + in->options.stop_grace_ms;
    bool running = link->state != LINK_NEW && link->state != LINK_ENDED;
    pthread_mutex_unlock(&in->lock);

    pthread_mutex_lock(&link->lock);
    atomic_store(&link->stopping, true);
    pthread_cond_broadcast(&link->wake);
    if (link->stop_fd >= 0)
        (void)!write(link->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
    pthread_mutex_unlock(&link->lock);
    queue_cancel(&in->queue, &link->waiter);
    pthread_mutex_lock(&in->lock);
    pthread_cond_broadcast(&in->changed); /* it may wait for `go` */
    pthread_mutex_unlock(&in->lock);
    if (first && running && link->ops.stop)
        link->ops.stop(link->conn);
}

/* --- the connection's thread --- */

static void set_state_locked(struct link *link, enum link_state state)
{
    link->state = state;
    pthread_cond_broadcast(&link->in->changed);
}

/* Is there no use in trying again? */
static bool is_final(hyprxa_status status)
{
    return status == HYPRXA_OK || status == HYPRXA_E_INVALID || status == HYPRXA_E_NOT_FOUND ||
           status == HYPRXA_E_UNSUPPORTED;
}

static hyprxa_status call_start(struct link *link, struct hyprxa_error *why)
{
    *why = (struct hyprxa_error){.size = sizeof *why};
    return link->ops.start ? link->ops.start(link->conn, &link->pub, why) : HYPRXA_OK;
}

static hyprxa_status call_run(struct link *link, struct hyprxa_error *why)
{
    *why = (struct hyprxa_error){.size = sizeof *why};
    atomic_store(&link->online, true);
    hyprxa_status status = link->ops.run(link->conn, &link->pub, why);
    atomic_store(&link->online, false);
    return status;
}

/* The first start(), which a subscriber waits for; true: run. */
static bool start_first(struct link *link)
{
    struct integration *in = link->in;
    struct hyprxa_error why;
    hyprxa_status status = call_start(link, &why);
    pthread_mutex_lock(&in->lock);
    if (status == HYPRXA_OK)
        set_state_locked(link, LINK_READY);
    else
        host_error(&link->why, status, &why);
    while (status == HYPRXA_OK && !link->go && !atomic_load(&link->stopping))
        pthread_cond_wait(&in->changed, &in->lock);
    bool run = status == HYPRXA_OK && !atomic_load(&link->stopping);
    if (run)
        set_state_locked(link, LINK_RUNNING);
    pthread_mutex_unlock(&in->lock);
    return run;
}

/* Report a failure and wait before the next attempt.  True: stop was asked. */
static bool wait_after_failure(struct link *link, struct backoff *backoff, hyprxa_status status,
                               struct hyprxa_error *why)
{
    struct error err = ERROR_INIT;
    host_error(&err, status, why);
    int64_t pause_ms = backoff_next_ms(backoff);
    log_warning(logger, "source '%s': connection %u: %s; trying again in %lld ms", link->in->source,
                link->pub.number, err.message, (long long)pause_ms);
    integration_note_error(link->in, err.message);
    atomic_fetch_add(&link->in->restarts, 1);
    return link_wait(link, pause_ms);
}

/* run() and, after a failure, start() and run() again, until stopped or the failure is final. */
static void run_with_restarts(struct link *link, hyprxa_status *ret_status,
                              struct hyprxa_error *why)
{
    struct integration *in = link->in;
    struct backoff backoff;
    backoff_init(&backoff, in->options.initial_backoff_ms, in->options.max_backoff_ms);
    for (;;) {
        int64_t begun_ms = time_monotonic_ms();
        hyprxa_status status = call_run(link, why);
        *ret_status = status;
        if (atomic_load(&link->stopping) || is_final(status))
            return;
        if (time_monotonic_ms() - begun_ms >= in->options.max_backoff_ms)
            backoff_reset(&backoff); /* it had worked for a while */
        do {
            if (wait_after_failure(link, &backoff, status, why))
                return;
            *ret_status = status = call_start(link, why);
            if (atomic_load(&link->stopping) || (status != HYPRXA_OK && is_final(status)))
                return;
        } while (status != HYPRXA_OK);
    }
}

/* Those that nobody serves now go to `news`, which is pushed if there are any. */
void link_drop_locked(struct link *link, struct subscription *const *subs, size_t n,
                      struct news *news)
{
    for (size_t i = 0; i < n; i++) {
        struct subscription *s = subs[i];
        carry_end(link, s);
        if (s->n_links || !s->live || s->leaving)
            continue;
        subscription_end(s);
        s->refs++;
        s->next_dropped = news->dropped;
        news->dropped = s;
        news->n++;
    }
}

/* It ended by itself: tell the subscribers why. */
static void report_end_locked(struct link *link, hyprxa_status status, struct hyprxa_error *why)
{
    struct news *news = link->last_news;
    news->kind = INTEGRATION_DROPPED;
    if (status == HYPRXA_OK)
        error_set(&news->why, ERR_CLOSED, "the source has ended");
    else
        host_error(&news->why, status, why);
    for (struct carry *c = link->carries; c; c = c->next_of_link)
        if (c->carried)
            link_drop_locked(link, &c->sub, 1, news);
    snprintf(link->in->last_error, sizeof link->in->last_error, "%s", news->why.message);
    link->why = news->why;
    if (news->n) {
        link->last_news = NULL;
        queue_push_news(&link->in->queue, news);
    }
}

static void *link_main(void *arg)
{
    struct link *link = arg;
    struct integration *in = link->in;
    hyprxa_status status = HYPRXA_OK;
    struct hyprxa_error why = {.size = sizeof why};
    bool ran = start_first(link);
    if (ran)
        run_with_restarts(link, &status, &why);
    pthread_mutex_lock(&in->lock);
    if (ran && !atomic_load(&link->stopping))
        report_end_locked(link, status, &why);
    atomic_store(&in->attention, true);
    set_state_locked(link, LINK_ENDED);
    queue_wake(&in->queue);
    pthread_mutex_unlock(&in->lock);
    return NULL;
}

int link_start(struct link *link, struct error *err)
{
    char name[16];
    snprintf(name, sizeof name, "%s", link->in->source);
    pthread_mutex_lock(&link->in->lock);
    link->state = LINK_STARTING;
    pthread_mutex_unlock(&link->in->lock);
    int rc = thread_start(&link->thread, name, link_main, link, err);
    if (rc) {
        pthread_mutex_lock(&link->in->lock);
        link->state = LINK_NEW;
        pthread_mutex_unlock(&link->in->lock);
    }
    return rc;
}

/* --- the end of a connection --- */

static void abandon_locked(struct link *link)
{
    struct integration *in = link->in;
    atomic_store(&any_abandoned, true);
    atomic_fetch_add(&in->n_abandoned, 1);
    pthread_detach(link->thread);
    link->next = in->abandoned;
    in->abandoned = link;
    in->failed = true;
    in->failure_news = true;
    error_set(&in->failure, ERR_TIMEOUT,
              "source '%s': connection %u of plugin '%s' did not stop within %lld ms and was "
              "abandoned",
              in->source, link->pub.number, in->plugin->entry.name,
              (long long)in->options.stop_grace_ms);
    snprintf(in->last_error, sizeof in->last_error, "%s", in->failure.message);
    queue_wake(&in->queue);
}

bool links_reap(struct integration *in)
{
    bool stopping = false;
    struct link *ended = NULL;
    int64_t now_ms = time_monotonic_ms();
    atomic_store(&in->attention, false);
    pthread_mutex_lock(&in->lock);
    for (struct link **at = &in->links; *at;) {
        struct link *link = *at;
        bool asked = link->stop_deadline_ms != 0;
        bool gone = link->state == LINK_ENDED || (link->state == LINK_NEW && asked);
        bool overdue = asked && now_ms >= link->stop_deadline_ms;
        if (link->staged && !asked)
            gone = false; /* the subscribe under way looks at it yet */
        if (!gone && !overdue) {
            stopping = stopping || asked;
            at = &link->next;
            continue;
        }
        *at = link->next;
        in->n_links--;
        if (gone) {
            link->next = ended;
            ended = link;
        } else {
            abandon_locked(link);
        }
    }
    pthread_mutex_unlock(&in->lock);
    while (ended) {
        struct link *next = ended->next;
        if (ended->state == LINK_ENDED)
            pthread_join(ended->thread, NULL);
        ended->ops.destroy(ended->conn);
        link_free(ended);
        ended = next;
    }
    return stopping;
}

void links_wait_and_reap(struct integration *in, int64_t deadline_ms)
{
    while (links_reap(in)) {
        pthread_mutex_lock(&in->lock);
        int64_t until_ms = deadline_ms;
        bool busy = false, ended = false;
        for (struct link *l = in->links; l; l = l->next) {
            if (!l->stop_deadline_ms)
                continue;
            busy = true;
            ended = ended || l->state == LINK_ENDED;
            if (l->stop_deadline_ms < until_ms)
                until_ms = l->stop_deadline_ms;
        }
        if (busy && !ended)
            cond_wait_until(&in->changed, &in->lock, until_ms);
        pthread_mutex_unlock(&in->lock);
        if (time_monotonic_ms() >= deadline_ms) {
            links_reap(in);
            return;
        }
    }
}
