#include "plugin_host/integration_priv.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

static const char logger[] = "hyprxa.plugin";

/* --- what a plugin says --- */

bool host_text_is_utf8(const char *text, size_t len)
{
    const unsigned char *p = (const unsigned char *)text, *end = p + len;
    while (p < end) {
        if (*p < 0x80) {
            p++;
            continue;
        }
        size_t more = *p >= 0xC2 && *p < 0xE0   ? 1
                      : *p >= 0xE0 && *p < 0xF0 ? 2
                      : *p >= 0xF0 && *p < 0xF5 ? 3
                                                : 0;
        if (more == 0 || (size_t)(end - p) <= more)
            return false;
        unsigned char low = *p == 0xE0 ? 0xA0 : *p == 0xF0 ? 0x90 : 0x80;
        unsigned char high = *p == 0xED ? 0x9F : *p == 0xF4 ? 0x8F : 0xBF;
        if (p[1] < low || p[1] > high)
            return false;
        for (size_t i = 2; i <= more; i++)
            if (p[i] < 0x80 || p[i] > 0xBF)
                return false;
        p += more + 1;
    }
    return true;
}

/* A text for people, whatever the plugin wrote. */
static void clean_text(char *text)
{
    bool utf8 = host_text_is_utf8(text, strlen(text));
    for (unsigned char *p = (unsigned char *)text; *p; p++)
        if (*p < 0x20 || *p == 0x7F)
            *p = ' ';
        else if (*p >= 0x80 && !utf8)
            *p = '?';
}

int host_error_code(hyprxa_status status)
{
    switch (status) {
    case HYPRXA_E_INVALID:
        return ERR_INVALID;
    case HYPRXA_E_NOMEM:
        return ERR_NOMEM;
    case HYPRXA_E_AGAIN:
        return ERR_AGAIN;
    case HYPRXA_E_CANCELED:
        return ERR_CLOSED;
    case HYPRXA_E_CAPACITY:
        return ERR_LIMIT;
    case HYPRXA_E_NOT_FOUND:
        return ERR_NOT_FOUND;
    case HYPRXA_E_UNSUPPORTED:
        return ERR_UNSUPPORTED;
    case HYPRXA_E_OFFLINE:
    case HYPRXA_E_SOURCE:
        return ERR_UNAVAILABLE;
    default:
        return ERR_REFUSED;
    }
}

int host_error(struct error *err, hyprxa_status status, struct hyprxa_error *why)
{
    int code = host_error_code(status);
    why->message[sizeof why->message - 1] = '\0';
    clean_text(why->message);
    return why->message[0] ? error_set(err, code, "%s", why->message)
                           : error_set(err, code, "the plugin gave no reason (status %d)", status);
}

static void host_log(struct hyprxa_ctx *ctx, int32_t level, const char *message)
{
    enum log_level as = level <= HYPRXA_LOG_DEBUG     ? LOG_LEVEL_DEBUG
                        : level == HYPRXA_LOG_INFO    ? LOG_LEVEL_INFO
                        : level == HYPRXA_LOG_WARNING ? LOG_LEVEL_WARNING
                                                      : LOG_LEVEL_ERROR;
    if (!log_enabled(as))
        return;
    char text[1001];
    snprintf(text, sizeof text, "%s", message);
    clean_text(text);
    log_write(as, logger, "source '%s': %s", ctx->source, text);
}

/* --- staging --- */

/* Inside the plugin's subscribe() or unsubscribe(), on its thread? */
static bool may_stage(const struct integration *in, bool adding)
{
    return in->staging != STAGING_NOT && pthread_equal(in->control_thread, pthread_self()) &&
           (!adding || in->staging == STAGING_SUBSCRIBE);
}

static int stage_add(struct integration *in, enum stage_kind kind, struct link *link,
                     struct subscription *sub)
{
    if (in->stage.n == in->stage.cap) {
        size_t cap = in->stage.cap ? in->stage.cap * 2 : 64;
        struct stage_op *ops = realloc(in->stage.ops, cap * sizeof *ops);
        if (!ops)
            return ERR_NOMEM;
        in->stage.ops = ops;
        in->stage.cap = cap;
    }
    in->stage.ops[in->stage.n++] = (struct stage_op){kind, link, sub};
    return 0;
}

static hyprxa_status fail(struct hyprxa_error *err, hyprxa_status code, const char *message)
{
    if (err) {
        err->code = code;
        snprintf(err->message, sizeof err->message, "%s", message);
    }
    return code;
}

static hyprxa_status check_subs(struct integration *in, hyprxa_subs subs, size_t n,
                                struct hyprxa_error *err)
{
    if (!subs || n == 0)
        return fail(err, HYPRXA_E_INVALID, "no subscriptions given");
    for (size_t i = 0; i < n; i++) {
        struct subscription *s = subscription_of(in, subs[i]);
        if (!s || (!s->live && !s->staged))
            return fail(err, HYPRXA_E_INVALID, "a subscription is not one of this integration");
    }
    return HYPRXA_OK;
}

/* The host took `conn` over only if this succeeds. */
hyprxa_status stage_connect(struct integration *in, const struct hyprxa_base_connection *ops,
                            void *conn, hyprxa_subs subs, size_t n, struct link **ret,
                            struct hyprxa_error *err)
{
    if (!ops || ops->size < CONNECTION_MIN_SIZE || !ops->run || !ops->destroy)
        return fail(err, HYPRXA_E_INVALID, "the connection's table lacks `run` or `destroy`");
    struct link *link = NULL;
    if (link_new(in, ops, conn, &link))
        return fail(err, HYPRXA_E_NOMEM, "out of memory");
    pthread_mutex_lock(&in->lock);
    hyprxa_status status = check_subs(in, subs, n, err);
    for (size_t i = 0; i < n && status == HYPRXA_OK; i++)
        if (carry_begin(link, (struct subscription *)(uintptr_t)subs[i]))
            status = fail(err, HYPRXA_E_NOMEM, "out of memory");
    if (status == HYPRXA_OK) {
        link->next = in->links;
        in->links = link;
        in->n_links++;
    }
    pthread_mutex_unlock(&in->lock);
    if (status != HYPRXA_OK)
        link_free(link);
    else if (ret)
        *ret = link;
    return status;
}

hyprxa_status stage_attach(struct link *link, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    struct integration *in = link->in;
    if (!link->ops.add)
        return fail(err, HYPRXA_E_UNSUPPORTED, "the connection has no `add`");
    size_t before = in->stage.n, begun = 0;
    pthread_mutex_lock(&in->lock);
    hyprxa_status status = check_subs(in, subs, n, err);
    if (status == HYPRXA_OK && (link->state == LINK_ENDED || link->stop_deadline_ms))
        status = fail(err, HYPRXA_E_CANCELED, "the connection has ended");
    for (size_t i = 0; i < n && status == HYPRXA_OK; i++) {
        struct subscription *s = (struct subscription *)(uintptr_t)subs[i];
        if (stage_add(in, STAGE_ATTACH, link, s) || carry_begin(link, s))
            status = fail(err, HYPRXA_E_NOMEM, "out of memory");
        else
            begun++;
    }
    pthread_mutex_unlock(&in->lock);
    if (status == HYPRXA_OK)
        status = link->ops.add(link->conn, subs, n, err);
    if (status != HYPRXA_OK) {
        pthread_mutex_lock(&in->lock);
        for (size_t i = 0; i < begun; i++)
            carry_end(link, (struct subscription *)(uintptr_t)subs[i]);
        pthread_mutex_unlock(&in->lock);
        in->stage.n = before;
    }
    return status;
}

int stage_detach(struct link *link, struct subscription *s)
{
    return stage_add(link->in, STAGE_DETACH, link, s);
}

static hyprxa_status host_connect(struct hyprxa_ctx *ctx, const struct hyprxa_base_connection *ops,
                                  void *conn, hyprxa_subs subs, size_t n, struct hyprxa_link **ret,
                                  struct hyprxa_error *err)
{
    struct integration *in = (struct integration *)(void *)ctx;
    struct link *link = NULL;
    if (!may_stage(in, true))
        return fail(err, HYPRXA_E_INVALID, "connect() outside subscribe()");
    hyprxa_status status = stage_connect(in, ops, conn, subs, n, &link, err);
    if (status == HYPRXA_OK && ret)
        *ret = &link->pub;
    return status;
}

static void host_disconnect(struct hyprxa_link *pub)
{
    struct link *link = (struct link *)(void *)pub;
    if (!may_stage(link->in, false))
        return;
    pthread_mutex_lock(&link->in->lock);
    link->doomed = true;
    pthread_mutex_unlock(&link->in->lock);
}

static hyprxa_status host_attach(struct hyprxa_link *pub, hyprxa_subs subs, size_t n,
                                 struct hyprxa_error *err)
{
    struct link *link = (struct link *)(void *)pub;
    if (!may_stage(link->in, true))
        return fail(err, HYPRXA_E_INVALID, "attach() outside subscribe()");
    return stage_attach(link, subs, n, err);
}

static void host_detach(struct hyprxa_link *pub, hyprxa_subs subs, size_t n)
{
    struct link *link = (struct link *)(void *)pub;
    struct integration *in = link->in;
    if (!may_stage(in, false))
        return;
    for (size_t i = 0; i < n; i++) {
        struct subscription *s = subscription_of(in, subs[i]);
        if (s && stage_detach(link, s))
            in->stage.failed = true;
    }
}

/* --- of a running connection --- */

static void host_set_online(struct hyprxa_link *pub, bool online)
{
    struct link *link = (struct link *)(void *)pub;
    atomic_store(&link->online, online);
}

static void host_drop(struct hyprxa_link *pub, hyprxa_subs subs, size_t n,
                      const struct hyprxa_error *why)
{
    struct link *link = (struct link *)(void *)pub;
    struct integration *in = link->in;
    struct hyprxa_error copy = {.size = sizeof copy, .code = HYPRXA_E_SOURCE};
    if (atomic_load(&link->stopping))
        return;
    if (why) {
        copy.code = why->code;
        snprintf(copy.message, sizeof copy.message, "%s", why->message);
    }
    struct news *news = calloc(1, sizeof *news);
    bool promised = news && queue_promise(&in->queue) == 0;
    pthread_mutex_lock(&in->lock);
    if (!promised) { /* then the one kept for the end serves, and this is the end */
        free(news);
        news = link->last_news;
        link->last_news = NULL;
    }
    if (news) {
        news->kind = INTEGRATION_DROPPED;
        host_error(&news->why, copy.code, &copy);
        for (size_t i = 0; i < n; i++) {
            struct subscription *s = subscription_of(in, subs[i]);
            if (s)
                link_drop_locked(link, &s, 1, news);
        }
        if (news->n) {
            queue_push_news(&in->queue, news);
        } else {
            free(news);
            queue_unpromise(&in->queue);
        }
    }
    bool empty = link->n_carried == 0 || !promised;
    pthread_mutex_unlock(&in->lock);
    if (empty)
        link_stop(link);
}

static bool host_wait(struct hyprxa_link *pub, int32_t timeout_ms)
{
    return link_wait((struct link *)(void *)pub, timeout_ms);
}

static int host_stop_fd(struct hyprxa_link *pub)
{
    struct link *link = (struct link *)(void *)pub;
    pthread_mutex_lock(&link->lock);
    if (link->stop_fd < 0)
        link->stop_fd = eventfd(atomic_load(&link->stopping) ? 1 : 0, EFD_CLOEXEC | EFD_NONBLOCK);
    int fd = link->stop_fd;
    pthread_mutex_unlock(&link->lock);
    return fd;
}

const struct hyprxa_host plugin_host_table = {
    .size = sizeof(struct hyprxa_host),
    .abi_minor = HYPRXA_ABI_MINOR,
    .log = host_log,
    .connect = host_connect,
    .disconnect = host_disconnect,
    .attach = host_attach,
    .detach = host_detach,
    .publish = link_publish,
    .publish_history = link_publish_history,
    .state_get = link_state_get,
    .state_set = link_state_set,
    .set_online = host_set_online,
    .drop = host_drop,
    .wait = host_wait,
    .stop_fd = host_stop_fd,
};
