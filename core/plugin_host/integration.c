#include "plugin_host/integration_priv.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/thread.h"
#include "base/time.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Integrations whose plugin still has a thread inside: never freed, but not lost either. */
static struct {
    pthread_mutex_t lock;
    struct integration *first;
} leaked = {PTHREAD_MUTEX_INITIALIZER, NULL};

/* --- opening --- */

static void set_defaults(struct integration_options *o)
{
    o->connect_timeout_ms = o->connect_timeout_ms ? o->connect_timeout_ms : 10000;
    o->stop_grace_ms = o->stop_grace_ms ? o->stop_grace_ms : 5000;
    o->max_queued_samples = o->max_queued_samples ? o->max_queued_samples : 100000;
    o->max_queued_bytes = o->max_queued_bytes ? o->max_queued_bytes : (size_t)16 << 20;
    o->initial_backoff_ms = o->initial_backoff_ms ? o->initial_backoff_ms : 1000;
    o->max_backoff_ms = o->max_backoff_ms ? o->max_backoff_ms : 30000;
}

/* The options as the plugin gets them: checked, defaults filled in, as text. */
static int write_options(struct integration *in, struct json_object *options, struct error *err)
{
    const struct json_schema *schema = in->plugin->options_schema;
    AUTO_JSON *copy = NULL;
    AUTO(buf) text = BUF_INIT(1u << 20);
    if (!schema && options && json_object_object_length(options))
        return error_set(err, ERR_INVALID, "plugin '%s' takes no options", in->plugin->entry.name);
    if (options ? json_object_deep_copy(options, &copy, NULL) != 0
                : !(copy = json_object_new_object()))
        return error_set(err, ERR_NOMEM, "out of memory");
    int rc = schema ? json_schema_apply_defaults(schema, copy) : 0;
    if (!rc && schema) {
        rc = json_schema_validate(schema, copy, err);
        if (rc) {
            error_prefix(err, "options of plugin '%s'", in->plugin->entry.name);
            return rc;
        }
    }
    if (!rc)
        rc = json_write_value(&text, copy);
    if (rc)
        return error_set(err, rc, "the options cannot be written");
    in->options_text = buf_take(&text, NULL);
    return 0;
}

static void init_parts(struct integration *in, struct plugin *plugin)
{
    in->plugin = plugin_ref(plugin);
    in->created_us = time_now_us();
    queue_init(&in->queue, in->options.max_queued_samples, in->options.max_queued_bytes);
    lock_init(&in->control);
    lock_init(&in->lock);
    lock_init(&in->order_lock);
    cond_init(&in->changed);
    map_init(&in->table);
    map_init(&in->states);
    atomic_init(&in->capacity, -1);
}

static void free_parts(struct integration *in)
{
    struct queue_entry left;
    while (queue_take(&in->queue, 0, &left) == 0) {
        sample_block_unref(left.block);
        if (left.news)
            news_free(left.news);
    }
    for (struct map_entry *e = map_next(&in->table, NULL); e; e = map_next(&in->table, e))
        subscription_unref(e->value);
    map_release(&in->table, NULL);
    map_release(&in->states, free);
    queue_release(&in->queue);
    pthread_cond_destroy(&in->changed);
    pthread_mutex_destroy(&in->order_lock);
    pthread_mutex_destroy(&in->lock);
    pthread_mutex_destroy(&in->control);
    plugin_unref(in->plugin);
    free(in->stage.ops);
    free(in->options_text);
    free(in->source);
    free(in);
}

int integration_open(struct plugin *plugin, const struct integration_options *options,
                     struct integration **ret, struct error *err)
{
    struct integration *in = calloc(1, sizeof *in);
    if (!in)
        return error_set(err, ERR_NOMEM, "out of memory");
    in->options = *options;
    set_defaults(&in->options);
    init_parts(in, plugin);
    in->options.options = NULL;
    in->source = strdup(options->source);
    in->options.source = in->source;
    int rc = in->source ? write_options(in, options->options, err)
                        : error_set(err, ERR_NOMEM, "out of memory");
    if (rc)
        goto out;
    in->ctx = (struct hyprxa_ctx){.size = sizeof in->ctx,
                                  .options_len = (uint32_t)strlen(in->options_text),
                                  .host = &plugin_host_table,
                                  .source = in->source,
                                  .options = in->options_text};
    if (plugin->integration.create) {
        struct hyprxa_error why = {.size = sizeof why};
        hyprxa_status status = plugin->integration.create(&in->ctx, &in->self, &why);
        if (status != HYPRXA_OK) {
            host_error(err, status, &why);
            rc = status == HYPRXA_E_NOMEM ? ERR_NOMEM : ERR_REFUSED;
            if (err)
                err->code = rc;
            goto out;
        }
        in->has_self = true;
    }
    integration_update_capacity(in);
out:
    if (rc)
        free_parts(in);
    else
        *ret = in;
    return rc;
}

/* --- subscribing --- */

/* What integration_subscribe() promises to answer with. */
static int refusal(struct error *err, int code)
{
    bool kept = code == ERR_LIMIT || code == ERR_TIMEOUT || code == ERR_CLOSED ||
                code == ERR_NOMEM || code == ERR_IO;
    int as = kept ? code : ERR_REFUSED;
    if (err)
        err->code = as;
    return as;
}

void integration_update_capacity(struct integration *in)
{
    const struct hyprxa_base_integration *ops = &in->plugin->integration;
    int64_t room = ops->capacity ? ops->capacity(in->self) : -1;
    int64_t pool = pool_is_used(in) ? pool_capacity(in) : -1;
    if (pool >= 0 && (room < 0 || pool < room))
        room = pool;
    if (in->options.max_subscriptions) {
        pthread_mutex_lock(&in->lock);
        int64_t own = in->options.max_subscriptions - (int64_t)in->n_live;
        pthread_mutex_unlock(&in->lock);
        if (room < 0 || own < room)
            room = own > 0 ? own : 0;
    }
    atomic_store(&in->capacity, room < 0 ? -1 : room);
}

static int check_usable(struct integration *in, struct error *err)
{
    if (atomic_load(&in->closing))
        return error_set(err, ERR_CLOSED, "source '%s' is closed", in->source);
    pthread_mutex_lock(&in->lock);
    int rc = in->failed ? error_set(err, ERR_REFUSED, "%s", in->failure.message) : 0;
    pthread_mutex_unlock(&in->lock);
    return rc;
}

static struct subscription *find(struct integration *in, const struct series *series)
{
    return map_get(&in->table, series->canonical, series->canonical_len);
}

/* Make those that are not subscribed yet, once each. */
static int make_fresh(struct integration *in, struct series *const *series, size_t n,
                      struct subscription **fresh, size_t *ret_n)
{
    size_t n_fresh = 0;
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        pthread_mutex_lock(&in->lock);
        struct subscription *s = find(in, series[i]);
        bool known = s && (s->live || s->staged);
        pthread_mutex_unlock(&in->lock);
        if (known)
            continue;
        int64_t stored_us = HYPRXA_NO_TIME;
        if (in->options.last_time &&
            in->options.last_time(in->options.ctx, series[i], &stored_us) != 0)
            stored_us = HYPRXA_NO_TIME;
        pthread_mutex_lock(&in->lock);
        rc = subscription_new(in, series[i], stored_us, &s);
        if (!rc) {
            s->staged = true;
            fresh[n_fresh++] = s;
        }
        pthread_mutex_unlock(&in->lock);
    }
    *ret_n = n_fresh;
    return rc;
}

static int call_subscribe(struct integration *in, struct subscription *const *fresh, size_t n,
                          struct error *err)
{
    const struct hyprxa_base_integration *ops = &in->plugin->integration;
    const struct hyprxa_subscription **subs = malloc(n * sizeof *subs);
    if (!subs)
        return error_set(err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        subs[i] = &fresh[i]->pub;
    struct hyprxa_error why = {.size = sizeof why};
    in->control_thread = pthread_self();
    in->staging = STAGING_SUBSCRIBE;
    hyprxa_status status = ops->subscribe ? ops->subscribe(in->self, subs, n, &why)
                                          : pool_subscribe(in, subs, n, &why);
    in->staging = STAGING_NOT;
    int rc = 0;
    if (status == HYPRXA_E_CAPACITY && !why.message[0])
        rc = error_set(err, ERR_LIMIT, "source '%s' has no room for %zu more subscriptions",
                       in->source, n);
    else if (status != HYPRXA_OK)
        rc = host_error(err, status, &why);
    if (!rc) {
        rc = stage_start_links(in, err);
        if (!rc)
            rc = stage_commit(in, fresh, n, NULL, 0, err);
        if (rc && ops->subscribe && ops->subscribe_undone)
            ops->subscribe_undone(in->self, subs, n);
    }
    free(subs);
    return rc;
}

static int subscribe_fresh(struct integration *in, struct subscription *const *fresh, size_t n,
                           struct error *err)
{
    integration_update_capacity(in);
    int64_t room = atomic_load(&in->capacity);
    if (room >= 0 && (uint64_t)room < n)
        return error_set(err, ERR_LIMIT,
                         "source '%s' has room for %lld more subscriptions, not %zu", in->source,
                         (long long)room, n);
    stage_open(in);
    int rc = call_subscribe(in, fresh, n, err);
    if (rc)
        stage_undo(in);
    return rc;
}

int integration_subscribe(struct integration *in, struct series *const *series, size_t n,
                          struct error *err)
{
    struct subscription **fresh = malloc((n ? n : 1) * sizeof(struct subscription *));
    if (!fresh)
        return error_set(err, ERR_NOMEM, "out of memory");
    size_t n_fresh = 0;
    struct error why = ERROR_INIT;
    pthread_mutex_lock(&in->control);
    links_reap(in);
    int rc = check_usable(in, &why);
    if (!rc && make_fresh(in, series, n, fresh, &n_fresh))
        rc = error_set(&why, ERR_NOMEM, "out of memory");
    if (!rc && n_fresh)
        rc = subscribe_fresh(in, fresh, n_fresh, &why);
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < n_fresh; i++)
        fresh[i]->staged = false;
    subscription_forget_old(in);
    pthread_mutex_unlock(&in->lock);
    integration_update_capacity(in);
    pthread_mutex_unlock(&in->control);
    free(fresh);
    if (rc) {
        rc = refusal(&why, rc);
        integration_note_error(in, why.message);
        if (err)
            *err = why;
    }
    return rc;
}

static int call_unsubscribe(struct integration *in, struct subscription *const *leaving, size_t n,
                            struct error *err)
{
    const struct hyprxa_base_integration *ops = &in->plugin->integration;
    stage_open(in);
    if (ops->unsubscribe) {
        const struct hyprxa_subscription **subs = malloc(n * sizeof *subs);
        if (!subs)
            return error_set(err, ERR_NOMEM, "out of memory");
        for (size_t i = 0; i < n; i++)
            subs[i] = &leaving[i]->pub;
        struct hyprxa_error why = {.size = sizeof why};
        in->control_thread = pthread_self();
        in->staging = STAGING_UNSUBSCRIBE;
        hyprxa_status status = ops->unsubscribe(in->self, subs, n, &why);
        in->staging = STAGING_NOT;
        free(subs);
        if (status != HYPRXA_OK)
            return host_error(err, status, &why);
    }
    return stage_commit(in, NULL, 0, leaving, n, err);
}

int integration_unsubscribe(struct integration *in, struct series *const *series, size_t n,
                            struct error *err)
{
    struct subscription **leaving = malloc((n ? n : 1) * sizeof(struct subscription *));
    if (!leaving)
        return error_set(err, ERR_NOMEM, "out of memory");
    size_t n_leaving = 0;
    pthread_mutex_lock(&in->control);
    links_reap(in);
    int rc = atomic_load(&in->closing)
                 ? error_set(err, ERR_CLOSED, "source '%s' is closed", in->source)
                 : 0;
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < n && !rc; i++) {
        struct subscription *s = find(in, series[i]);
        if (s && s->live && !s->leaving) {
            s->leaving = true;
            leaving[n_leaving++] = s;
        }
    }
    pthread_mutex_unlock(&in->lock);
    if (!rc && n_leaving) {
        rc = call_unsubscribe(in, leaving, n_leaving, err);
        if (rc) {
            stage_undo(in);
            rc = refusal(err, rc);
        }
    }
    pthread_mutex_lock(&in->lock);
    for (size_t i = 0; i < n_leaving; i++)
        leaving[i]->leaving = false;
    subscription_forget_old(in);
    pthread_mutex_unlock(&in->lock);
    integration_update_capacity(in);
    pthread_mutex_unlock(&in->control);
    free(leaving);
    return rc;
}

/* --- listing --- */

struct listing {
    struct integration *in;
    integration_list_fn *each;
    void *ctx;
    int rc;
    struct error *err;
};

/* The item with its source: what a client would subscribe to. */
static void list_item(void *arg, const char *json)
{
    struct listing *l = arg;
    AUTO(buf) text = BUF_INIT(1u << 16);
    AUTO_JSON *item = NULL;
    if (l->rc)
        return;
    l->rc = json_parse(json, strlen(json), &item, l->err);
    if (!l->rc && !json_object_is_type(item, json_type_object))
        l->rc = error_set(l->err, ERR_INVALID, "not an object");
    if (l->rc) {
        error_prefix(l->err, "source '%s': the plugin listed a bad item", l->in->source);
        return;
    }
    json_object_object_del(item, "source");
    buf_append_lit(&text, "{\"source\":");
    json_write_string(&text, l->in->source, strlen(l->in->source));
    json_object_object_foreach (item, key, value) {
        buf_append_char(&text, ',');
        json_write_string(&text, key, strlen(key));
        buf_append_char(&text, ':');
        json_write_value(&text, value);
    }
    buf_append_char(&text, '}');
    if (text.failed)
        l->rc =
            error_set(l->err, ERR_LIMIT, "source '%s': a listed item is too large", l->in->source);
    else
        l->each(l->ctx, text.data, text.len);
}

int integration_list(struct integration *in, integration_list_fn *each, void *ctx,
                     struct error *err)
{
    const struct hyprxa_base_integration *ops = &in->plugin->integration;
    if (!ops->list)
        return error_set(err, ERR_UNSUPPORTED, "plugin '%s' cannot list its items",
                         in->plugin->entry.name);
    struct listing listing = {in, each, ctx, 0, err};
    struct hyprxa_error why = {.size = sizeof why};
    pthread_mutex_lock(&in->control);
    int rc = check_usable(in, err);
    if (!rc) {
        hyprxa_status status = ops->list(&in->ctx, in->self, list_item, &listing, &why);
        rc = listing.rc ? listing.rc : status != HYPRXA_OK ? host_error(err, status, &why) : 0;
    }
    pthread_mutex_unlock(&in->control);
    return rc;
}

int integration_info(struct integration *in, struct buf *out)
{
    const struct hyprxa_base_integration *ops = &in->plugin->integration;
    if (!ops->info)
        return ERR_UNSUPPORTED;
    enum { INFO_MAX = 65536 };
    AUTO_FREE char *text = malloc(INFO_MAX);
    if (!text)
        return ERR_NOMEM;
    pthread_mutex_lock(&in->control);
    size_t len = atomic_load(&in->closing) ? 0 : ops->info(in->self, text, INFO_MAX);
    pthread_mutex_unlock(&in->control);
    if (len == 0 || len >= INFO_MAX)
        return ERR_NOT_FOUND;
    AUTO_JSON *checked = NULL;
    int rc = json_parse(text, len, &checked, NULL);
    return rc ? rc : json_write_value(out, checked);
}

/* --- the end --- */

void integration_close(struct integration *in)
{
    pthread_mutex_lock(&in->lock);
    atomic_store(&in->closing, true); /* a subscribe that waits for a connection gives up */
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
    pthread_mutex_lock(&in->control);
    if (!atomic_load(&in->closed)) {
        const struct hyprxa_base_integration *ops = &in->plugin->integration;
        if (ops->close)
            ops->close(in->self);
        for (struct link *l = in->links; l; l = l->next)
            link_stop(l);
        links_wait_and_reap(in, INT64_MAX);
        if (ops->destroy && in->has_self && !in->abandoned)
            ops->destroy(in->self);
        atomic_store(&in->closed, true);
        queue_close(&in->queue);
    }
    pthread_mutex_unlock(&in->control);
}

void integration_free(struct integration *in)
{
    if (!in)
        return;
    integration_close(in);
    if (!in->abandoned) {
        free_parts(in);
        return;
    }
    pthread_mutex_lock(&leaked.lock);
    in->next_leaked = leaked.first;
    leaked.first = in;
    pthread_mutex_unlock(&leaked.lock);
}
