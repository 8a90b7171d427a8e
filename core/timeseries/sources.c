/* The registry: sources, their schemas and scopes, and the identity of series. */
#include "base/auto.h"
#include "base/json.h"
#include "base/json_schema.h"
#include "base/log.h"
#include "base/series_hash.h"
#include "config/config.h"
#include "timeseries/timeseries_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUBSCRIPTION_MAX = 64 << 10, PROBLEM_PLACE_MAX = 512 };

static const char logger[] = "hyprxa.timeseries";

struct source *timeseries_source(struct timeseries *ts, const char *name)
{
    for (size_t i = 0; i < ts->n_sources; i++)
        if (strcmp(ts->sources[i]->name, name) == 0)
            return ts->sources[i];
    return NULL;
}

/* --- identity --- */

/* A deep copy of `subscription` with the defaults of its schema; the caller's. */
static int complete(const struct source *s, struct json_object *subscription,
                    struct json_object **ret, struct error *err)
{
    const struct json_schema *schema = plugin_subscription_schema(s->plugin);
    AUTO_JSON *copy = NULL;
    if (json_object_deep_copy(subscription, &copy, NULL))
        return error_set(err, ERR_NOMEM, "out of memory");
    int rc = json_schema_validate(schema, copy, err);
    if (!rc)
        rc = json_schema_apply_defaults(schema, copy);
    if (!rc)
        *ret = TAKE(copy);
    return rc;
}

static int series_hash(const struct source *s, struct json_object *completed,
                       const struct buf *canonical, int64_t *ret)
{
    return s->owner->options.hash_hyprxa
               ? series_hash_hyprxa(completed, ret)
               : series_hash_canonical(canonical->data, canonical->len, ret);
}

/* Find or register; with the lock held.  *ret is borrowed from the registry. */
static int intern_locked(struct source *s, const struct buf *canonical, const struct buf *json,
                         int64_t hash, struct series **ret, struct error *err)
{
    struct series *known = map_get(&s->series, canonical->data, canonical->len);
    if (known) {
        *ret = known;
        return 0;
    }
    struct series *other = map_get(&s->hashes, &hash, sizeof hash);
    if (other)
        return error_set(err, ERR_INVALID,
                         "subscription %s has the same subscription_hash as %s of source '%s'",
                         canonical->data, other->canonical, s->name);
    struct series *made = series_new(s->name, canonical->data, json->data, hash);
    if (!made || map_set(&s->hashes, &hash, sizeof hash, made, NULL)) {
        series_unref(made);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    if (map_set(&s->series, canonical->data, canonical->len, made, NULL)) {
        map_remove(&s->hashes, &hash, sizeof hash);
        series_unref(made);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    *ret = made;
    return 0;
}

int source_series(struct source *s, struct json_object *subscription, struct series **ret,
                  struct error *err)
{
    AUTO_JSON *completed = NULL;
    AUTO(buf) canonical = BUF_INIT(SUBSCRIPTION_MAX);
    AUTO(buf) json = BUF_INIT(SUBSCRIPTION_MAX);
    int rc = complete(s, subscription, &completed, err);
    if (!rc)
        rc = json_write_canonical(&canonical, completed, err);
    if (rc)
        return rc;
    if (json_write_value(&json, completed))
        return error_set(err, ERR_LIMIT, "a subscription is at most %d bytes", SUBSCRIPTION_MAX);
    int64_t hash;
    rc = series_hash(s, completed, &canonical, &hash);
    if (rc)
        return error_set(err, rc, "a subscription cannot be hashed: %s", error_code_name(rc));
    struct series *series = NULL;
    pthread_mutex_lock(&s->lock);
    rc = intern_locked(s, &canonical, &json, hash, &series, err);
    if (!rc)
        *ret = series_ref(series);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* --- what unitops asks --- */

bool timeseries_source_known(void *ctx, const char *source)
{
    return timeseries_source(ctx, source) != NULL;
}

int timeseries_sources_permitted(void *ctx, struct buf *quoted, struct buf *json_list)
{
    struct timeseries *ts = ctx;
    for (size_t i = 0; i < ts->n_sources; i++) {
        const char *name = ts->sources[i]->name;
        buf_printf(quoted, "%s'%s'", i ? ", " : "", name);
        if (i)
            buf_append_char(json_list, ',');
        json_write_string(json_list, name, strlen(name));
    }
    return quoted->failed || json_list->failed ? ERR_LIMIT : 0;
}

int timeseries_map_subscription(void *ctx, struct json_object *subscription,
                                struct json_object **ret, struct error *err)
{
    const char *name = json_get_string(subscription, "source", "");
    struct source *s = timeseries_source(ctx, name);
    if (!s)
        return error_set(err, ERR_UNSUPPORTED,
                         "'%s' is a required source for this unitop but the source is not "
                         "configured for this application.",
                         name);
    return complete(s, subscription, ret, err);
}

/* --- registration --- */

static void source_free(struct source *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_recorded; i++)
        series_unref(s->recorded[i]);
    free(s->recorded);
    manager_unref(s->manager);
    map_release(&s->hashes, NULL);
    for (struct map_entry *e = map_next(&s->series, NULL); e; e = map_next(&s->series, e))
        series_unref(e->value);
    map_release(&s->series, NULL);
    for (size_t i = 0; s->scope_names && s->scope_names[i]; i++)
        free(s->scope_names[i]);
    free(s->scope_names);
    json_object_put(s->options);
    plugin_unref(s->plugin);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s);
}

/* The plugin's scopes and those of conf.d: the operator can add, not remove. */
static int join_scopes(struct source *s, const struct source_config *config)
{
    const char *const *plugin_names = plugin_scopes(s->plugin);
    size_t n_plugin = 0, n_config = 0;
    while (plugin_names && plugin_names[n_plugin])
        n_plugin++;
    while (config->scopes && config->scopes[n_config])
        n_config++;
    s->scope_names = calloc(n_plugin + n_config + 1, sizeof *s->scope_names);
    if (!s->scope_names)
        return ERR_NOMEM;
    for (size_t i = 0; i < n_plugin + n_config; i++) {
        s->scope_names[i] = strdup(i < n_plugin ? plugin_names[i] : config->scopes[i - n_plugin]);
        if (!s->scope_names[i])
            return ERR_NOMEM;
    }
    s->scopes.required =
        (struct string_list){(const char *const *)s->scope_names, n_plugin + n_config};
    s->scopes.any = config->scopes_any >= 0 ? config->scopes_any : plugin_scopes_any(s->plugin);
    s->scopes.raise_on_no_scopes = config->raise_on_no_scopes > 0;
    return 0;
}

struct option_problems {
    const struct source_config *config;
    struct buf *problems;
};

static void add_option_problem(void *ctx, const char *pointer, const char *path, const char *why)
{
    struct option_problems *o = ctx;
    (void)path;
    char place[PROBLEM_PLACE_MAX], whole[PROBLEM_PLACE_MAX];
    snprintf(whole, sizeof whole, "/options%s", pointer);
    source_config_place(o->config, whole, place, sizeof place);
    buf_printf(o->problems, "%s: source '%s': options: %s\n", place, o->config->name, why);
}

static int check_options(struct source *s, const struct source_config *config, struct buf *problems)
{
    const struct json_schema *schema = plugin_options_schema(s->plugin);
    char place[PROBLEM_PLACE_MAX];
    if (!schema) {
        if (!config->options || json_object_object_length(config->options) == 0)
            return 0;
        source_config_place(config, "/options", place, sizeof place);
        buf_printf(problems, "%s: source '%s': plugin '%s' takes no options\n", place, config->name,
                   plugin_name(s->plugin));
        return ERR_INVALID;
    }
    s->options = config->options ? json_object_get(config->options) : json_object_new_object();
    if (!s->options)
        return ERR_NOMEM;
    struct option_problems o = {config, problems};
    if (json_schema_validate_all(schema, s->options, add_option_problem, &o) != 0)
        return ERR_INVALID;
    return json_schema_apply_defaults(schema, s->options);
}

/* The list of `record:`; a subscription may leave out "source". */
static int check_recorded(struct source *s, const struct source_config *config,
                          struct buf *problems)
{
    size_t n = config->record ? json_object_array_length(config->record) : 0;
    int result = 0;
    s->record_all = config->record_all;
    s->recorded = calloc(n ? n : 1, sizeof *s->recorded);
    if (!s->recorded)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        struct error err = ERROR_INIT;
        AUTO_JSON *subscription = NULL;
        struct json_object *given = json_object_array_get_idx(config->record, i);
        int rc = json_object_deep_copy(given, &subscription, NULL) ? ERR_NOMEM : 0;
        if (!rc && !json_object_object_get_ex(subscription, "source", NULL))
            rc = json_object_object_add(subscription, "source", json_object_new_string(s->name))
                     ? ERR_NOMEM
                     : 0;
        if (!rc && strcmp(json_get_string(subscription, "source", ""), s->name) != 0)
            rc = error_set(&err, ERR_INVALID, "a recorded subscription is of its own source");
        if (!rc)
            rc = source_series(s, subscription, &s->recorded[s->n_recorded], &err);
        if (!rc) {
            s->n_recorded++;
            continue;
        }
        char pointer[64], place[PROBLEM_PLACE_MAX];
        snprintf(pointer, sizeof pointer, "/record/%zu", i);
        source_config_place(config, pointer, place, sizeof place);
        buf_printf(problems, "%s: source '%s': record: %s\n", place, s->name, err.message);
        result = rc;
    }
    return result;
}

int timeseries_add_source(struct timeseries *ts, const struct source_config *config,
                          struct plugin *plugin, struct buf *problems, struct error *err)
{
    struct source **grown = realloc(ts->sources, (ts->n_sources + 1) * sizeof(struct source *));
    if (!grown)
        return error_set(err, ERR_NOMEM, "out of memory");
    ts->sources = grown;
    struct source *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory");
    lock_init(&s->lock);
    map_init(&s->series);
    map_init(&s->hashes);
    s->owner = ts;
    s->plugin = plugin_ref(plugin);
    s->name = strdup(config->name);
    s->max_subscriptions = config->max_subscriptions;
    s->stale_after_us = config->stale_after_us;
    int rc = s->name ? join_scopes(s, config) : ERR_NOMEM;
    if (!rc)
        rc = check_options(s, config, problems);
    if (!rc)
        rc = check_recorded(s, config, problems);
    if (rc) {
        source_free(s);
        return error_set(err, rc, "source '%s' is not usable: %s", config->name,
                         error_code_name(rc));
    }
    ts->sources[ts->n_sources++] = s;
    return 0;
}

size_t timeseries_source_count(struct timeseries *ts)
{
    return ts->n_sources;
}

struct string_list timeseries_source_scopes(struct timeseries *ts, size_t i)
{
    return ts->sources[i]->scopes.required;
}

/* --- managers --- */

int source_manager(struct source *s, struct manager **ret, struct error *err)
{
    int rc = 0;
    pthread_mutex_lock(&s->lock);
    if (atomic_load(&s->owner->stopping))
        rc = error_set(err, ERR_CLOSED, "The server is stopping.");
    else if (!s->manager)
        rc = manager_open(s, &s->manager, err);
    if (!rc)
        *ret = manager_ref(s->manager);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static void forget_manager(struct source *s)
{
    pthread_mutex_lock(&s->lock);
    struct manager *m = s->manager;
    s->manager = NULL;
    pthread_mutex_unlock(&s->lock);
    if (m)
        manager_close(m);
    manager_unref(m);
}

static void start_recording(struct source *s)
{
    struct error err = ERROR_INIT;
    struct manager *m = NULL;
    if (!s->record_all && !s->n_recorded)
        return;
    if (source_manager(s, &m, &err))
        log_cause(LOG_LEVEL_ERROR, logger, &err, "source '%s' could not be started: %s", s->name,
                  err.message);
    manager_unref(m);
}

int source_restart(struct source *s, struct error *err)
{
    forget_manager(s);
    if (atomic_load(&s->owner->stopping))
        return error_set(err, ERR_CLOSED, "The server is stopping.");
    start_recording(s);
    return 0;
}

void timeseries_start(struct timeseries *ts)
{
    for (size_t i = 0; i < ts->n_sources; i++)
        start_recording(ts->sources[i]);
}

static void *close_run(void *source)
{
    forget_manager(source);
    return NULL;
}

/* Side by side: a source that hangs until its grace time is over does not hold up the others. */
void timeseries_close_sources(struct timeseries *ts)
{
    pthread_t *threads = calloc(ts->n_sources ? ts->n_sources : 1, sizeof *threads);
    size_t n = 0;
    for (size_t i = 0; i < ts->n_sources; i++) {
        if (threads &&
            thread_start(&threads[n], "source-close", close_run, ts->sources[i], NULL) == 0)
            n++;
        else
            forget_manager(ts->sources[i]);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

void timeseries_free_sources(struct timeseries *ts)
{
    for (size_t i = 0; i < ts->n_sources; i++)
        source_free(ts->sources[i]);
    free(ts->sources);
}
