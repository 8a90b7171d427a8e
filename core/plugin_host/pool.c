#include "plugin_host/integration_priv.h"

/* Spreads subscriptions over connections of bounded size: first into those that can take more, then
 * into new ones.  An emptied connection is disconnected by the staging code. */

bool pool_is_used(const struct integration *in)
{
    return !in->plugin->integration.subscribe;
}

/* How many one connection carries at most. */
static size_t per_connection(const struct integration *in)
{
    uint32_t max = in->plugin->entry.max_subscriptions_per_connection;
    return max ? max : SIZE_MAX;
}

static bool can_take_more(struct link *link, size_t *ret_room)
{
    struct integration *in = link->in;
    pthread_mutex_lock(&in->lock);
    bool usable = link->ops.add && link_is_open(link) && link->n_carried < per_connection(in);
    *ret_room = usable ? per_connection(in) - link->n_carried : 0;
    pthread_mutex_unlock(&in->lock);
    return usable;
}

static hyprxa_status fill_running(struct integration *in, hyprxa_subs *subs, size_t *n,
                                  struct hyprxa_error *err)
{
    for (struct link *link = in->links; link && *n; link = link->next) {
        size_t room;
        if (!can_take_more(link, &room))
            continue;
        size_t take = *n < room ? *n : room;
        hyprxa_status status = stage_attach(link, *subs, take, err);
        /* One that has no room of its own, or is ending, leaves them to the others. */
        if (status == HYPRXA_E_CAPACITY || status == HYPRXA_E_CANCELED ||
            status == HYPRXA_E_UNSUPPORTED)
            continue;
        if (status != HYPRXA_OK)
            return status;
        *subs += take;
        *n -= take;
    }
    return HYPRXA_OK;
}

static size_t count_links(struct integration *in)
{
    size_t n = 0;
    pthread_mutex_lock(&in->lock);
    for (struct link *l = in->links; l; l = l->next)
        n += l->state != LINK_ENDED && !l->stop_deadline_ms;
    pthread_mutex_unlock(&in->lock);
    return n;
}

hyprxa_status pool_subscribe(struct integration *in, hyprxa_subs subs, size_t n,
                             struct hyprxa_error *err)
{
    const struct hyprxa_base_connection *ops = &in->plugin->connection;
    uint32_t max_links = in->plugin->entry.max_connections;
    hyprxa_status status = fill_running(in, &subs, &n, err);
    while (status == HYPRXA_OK && n) {
        if (max_links && count_links(in) >= max_links)
            return HYPRXA_E_CAPACITY;
        size_t take = n < per_connection(in) ? n : per_connection(in);
        void *conn = NULL;
        status = ops->create(&in->ctx, in->self, subs, take, &conn, err);
        if (status != HYPRXA_OK)
            break;
        status = stage_connect(in, ops, conn, subs, take, NULL, err);
        if (status != HYPRXA_OK) {
            ops->destroy(conn);
            break;
        }
        subs += take;
        n -= take;
    }
    return status;
}

int64_t pool_capacity(struct integration *in)
{
    int64_t max_links = in->plugin->entry.max_connections;
    int64_t each = in->plugin->entry.max_subscriptions_per_connection;
    if (!max_links)
        return -1;
    int64_t links = (int64_t)count_links(in);
    bool extends = in->plugin->connection.add != NULL;
    if (!each)
        return links < max_links || extends ? -1 : 0;
    if (!extends)
        return links < max_links ? (max_links - links) * each : 0;
    pthread_mutex_lock(&in->lock);
    int64_t room = max_links * each - (int64_t)in->n_live;
    pthread_mutex_unlock(&in->lock);
    return room > 0 ? room : 0;
}
