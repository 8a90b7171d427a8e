#include "app/app.h"

#include "admin/admin.h"
#include "app/access.h"
#include "app/memo.h"
#include "app/web.h"
#include "base/json.h"
#include "base/log.h"
#include "base/message.h"
#include "base/time.h"
#include "broker/broker.h"
#include "cache/cache.h"
#include "events/events.h"
#include "http/docs.h"
#include "http/http.h"
#include "http/sse.h"
#include "http/streamer.h"
#include "logs/logs.h"
#include "plugin_host/plugin_host.h"
#include "storage/storage.h"
#include "timeseries/timeseries.h"
#include "topics/topics.h"
#include "unitops/unitops.h"
#include "users/users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DESCRIPTORS_KEPT = 1024, DESCRIPTORS_ASSUMED = 1 << 20 };
enum { HTTP_STOP_MS = 3000, PLUGIN_GRACE_MS = 1500, PROGRESS_MS = 5000, PATH_MAX_BYTES = 4096 };

static const char logger[] = "hyprxa.app";

struct app {
    struct access access;
    struct cache *cache;
    struct storage *storage;
    struct broker *broker;
    struct memo memo;
    struct http_server *server;
    struct logs *logs;
    struct topics *topics;
    struct unitops *unitops;
    struct events *events;
    struct timeseries *timeseries;
    struct users users;
    struct admin admin;
    struct docs *docs;
    int lock_fd; /* of the data directory: one server each */
};

/* --- sources --- */

/* Load the plugin of an enabled source and register it; on a problem the source is left out. */
static int add_source(struct app *app, const struct settings *s, const struct source_config *config,
                      struct buf *problems)
{
    struct error err = ERROR_INIT;
    struct plugin *plugin = NULL;
    char place[PATH_MAX_BYTES];
    if (!config->enabled)
        return 0;
    source_config_place(config, "/plugin", place, sizeof place);
    if (config->isolation_process) {
        buf_printf(problems,
                   "%s: source '%s': isolation 'process' is not offered by this version\n", place,
                   config->name);
        return ERR_UNSUPPORTED;
    }
    int rc = plugin_open(s->hyprxa_plugin_dir, config->plugin, &plugin, &err);
    if (rc) {
        buf_printf(problems, "%s: source '%s': plugin '%s': %s\n", place, config->name,
                   config->plugin, err.message);
        return rc;
    }
    rc = timeseries_add_source(app->timeseries, config, plugin, problems, &err);
    plugin_unref(plugin);
    return rc;
}

static int add_sources(struct app *app, const struct settings *s,
                       const struct source_configs *sources, struct buf *problems)
{
    int result = 0;
    for (size_t i = 0; i < sources->n; i++) {
        int rc = add_source(app, s, &sources->items[i], problems);
        if (rc)
            result = rc;
    }
    return result;
}

/* `configured`, or what the descriptors allow: all that lie above those kept for listeners, workers
 * and plugins. */
static size_t max_subscribers(const struct settings *s, int64_t configured)
{
    struct rlimit limit;
    if (configured > 0)
        return (size_t)configured;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY)
        return DESCRIPTORS_ASSUMED;
    size_t kept = (size_t)s->hyprxa_workers + DESCRIPTORS_KEPT;
    return limit.rlim_max > kept ? (size_t)limit.rlim_max - kept : 1;
}

static struct timeseries_options timeseries_options(const struct app *app, const struct settings *s)
{
    return (struct timeseries_options){
        .storage = app->storage,
        .broker = app->broker,
        .cache = app->cache,
        .streamer = app->server ? http_server_streamer(app->server) : NULL,
        .channel = {.max_messages = (size_t)s->timeseries_maxlen,
                    .max_bytes = (size_t)s->hyprxa_max_backlog,
                    .disconnect_slow = strcmp(s->hyprxa_slow_subscriber, "disconnect") == 0},
        .max_subscribers = max_subscribers(s, s->timeseries_max_subscribers),
        .reconnect_timeout_ms = s->timeseries_reconnect_timeout_us / 1000,
        .max_samples = s->timeseries_max_samples,
        .max_columns = (size_t)s->timeseries_max_columns,
        .lock_ttl_ms = s->timeseries_lock_ttl_us / 1000,
        .hash_hyprxa = strcmp(s->hyprxa_subscription_hash, "hyprxa") == 0,
        .connect_timeout_ms = s->hyprxa_connect_timeout_us / 1000,
        .stop_grace_ms = PLUGIN_GRACE_MS,
        .replay_bytes = (size_t)s->hyprxa_replay_size,
        .replay_age_us = s->hyprxa_replay_age_us,
    };
}

/* A broker that nodes share, with storage and leases of each its own, would lose data silently: it
 * must be meant. */
static int check_cluster(const struct settings *s, struct error *err)
{
    bool broker = *s->rabbitmq_connection_uri || strncmp(s->hyprxa_broker, "amqp", 4) == 0;
    bool storage = *s->mongodb_connection_uri || strncmp(s->hyprxa_storage, "mongodb", 7) == 0;
    bool cache = *s->memcached_connection_uri || strncmp(s->hyprxa_cache, "memcached", 9) == 0;
    if (broker && !(storage && cache) && strcmp(s->hyprxa_cluster, "single") != 0)
        return error_set(err, ERR_INVALID,
                         "RabbitMQ is shared by nodes, but %s is not: set %s, too, or say "
                         "HYPRXA_CLUSTER=single where one node is meant",
                         storage ? "the cache" : "the storage",
                         storage ? "MEMCACHED_CONNECTION_URI" : "MONGODB_CONNECTION_URI");
    return 0;
}

int app_check(const struct settings *settings, const struct source_configs *sources,
              struct buf *problems, struct error *err)
{
    struct app app = {.lock_fd = -1};
    struct timeseries_options options = timeseries_options(&app, settings);
    int rc = access_check(settings, err);
    if (!rc)
        rc = check_cluster(settings, err);
    if (rc)
        buf_printf(problems, "%s\n", err->message);
    int source_rc = timeseries_new(&options, &app.timeseries, err);
    if (!source_rc)
        source_rc = add_sources(&app, settings, sources, problems);
    timeseries_free(app.timeseries);
    return rc ? rc : source_rc;
}

/* --- back ends --- */

/* Make the data directory and its parents; take its lock, so that two servers never share it. */
static int open_data_dir(struct app *app, const char *dir, struct error *err)
{
    char path[PATH_MAX_BYTES];
    if (strlen(dir) + sizeof "/hyprxa.lock" > sizeof path)
        return error_set(err, ERR_INVALID, "the path of the data directory is too long");
    for (size_t i = 1; i <= strlen(dir); i++) {
        if (dir[i] != '/' && dir[i] != '\0')
            continue;
        memcpy(path, dir, i);
        path[i] = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return error_set_errno(err, errno, "cannot make the data directory '%s'", path);
    }
    snprintf(path, sizeof path, "%s/hyprxa.lock", dir);
    app->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (app->lock_fd < 0)
        return error_set_errno(err, errno, "cannot open '%s'", path);
    if (flock(app->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return error_set(err, ERR_EXISTS, "the data directory '%s' is in use by another hyprxad",
                         dir);
    return 0;
}

static const char *first_set(const char *a, const char *b, const char *otherwise)
{
    return *a ? a : *b ? b : otherwise;
}

static struct storage_remote remote_options(const struct settings *s)
{
    return (struct storage_remote){
        .data_dir = s->hyprxa_data_dir,
        .journal_max = (uint64_t)s->hyprxa_journal_max,
        .app_name = s->mongodb_appname,
        .collections = {{s->topics_database_name, s->topics_collection_name},
                        {s->unitops_database_name, s->unitops_collection_name},
                        {s->events_database_name, s->events_collection_name},
                        {s->timeseries_database_name, s->timeseries_collection_name}},
        .server_selection_ms = s->mongodb_server_selection_timeout_us / 1000,
        .connect_ms = s->mongodb_connect_timeout_us / 1000,
        .socket_ms = s->mongodb_socket_timeout_us / 1000,
        .heartbeat_ms = s->mongodb_heartbeat_us / 1000,
        .max_pool_size = (size_t)s->mongodb_max_pool_size,
        .event_interval_ms = s->events_flush_interval_us / 1000,
        .original_documents = strcmp(s->hyprxa_subscription_hash, "hyprxa") == 0,
    };
}

static int open_cache(struct app *app, const struct settings *s, struct error *err)
{
    char uri[PATH_MAX_BYTES];
    /* The original system's variable is a bare HOST:PORT. */
    const char *given = s->memcached_connection_uri;
    bool bare = *given && !strstr(given, "://");
    snprintf(uri, sizeof uri, "%s%s", bare ? "memcached://" : "", given);
    struct cache_options options = {
        .uri = first_set(s->hyprxa_cache, uri, "memory:"),
        .connect_timeout_ms = s->memcached_connect_timeout_us / 1000,
        .timeout_ms = s->memcached_timeout_us / 1000,
        .max_pool_size = (size_t)s->memcached_max_pool_size,
    };
    return cache_open(&options, &app->cache, err);
}

static int open_back_ends(struct app *app, const struct settings *s, struct error *err)
{
    char uri[PATH_MAX_BYTES + 32];
    int rc = check_cluster(s, err);
    if (!rc)
        rc = open_data_dir(app, s->hyprxa_data_dir, err);
    if (rc)
        return rc;
    snprintf(uri, sizeof uri, "sqlite://%s/hyprxa.db", s->hyprxa_data_dir);
    struct storage_options storage = {
        .uri = first_set(s->hyprxa_storage, s->mongodb_connection_uri, uri),
        .remote = remote_options(s),
        .flush_interval_us = s->timeseries_flush_interval_us,
        .max_queued_events = (size_t)s->events_max_buffered_events,
        .expire_after_us = s->timeseries_expire_after_us,
        .logs_expire_after_us = s->logs_expire_after_us,
    };
    rc = storage_open(&storage, &app->storage, err);
    if (!rc)
        rc = open_cache(app, s, err);
    struct broker_options broker = {
        .uri = first_set(s->hyprxa_broker, s->rabbitmq_connection_uri, "memory:"),
        .origin = app->storage ? storage_origin(app->storage) : 0,
        .exchange_names = {s->events_exchange, s->timeseries_exchange},
        .subscription_timeout_ms = s->events_subscription_timeout_us / 1000,
        .initial_backoff_ms = s->events_initial_backoff_us / 1000,
        .max_backoff_ms = s->events_max_backoff_us / 1000,
    };
    return rc ? rc : broker_open(&broker, &app->broker, err);
}

/* --- services --- */

static int open_server(struct app *app, const struct settings *s, struct error *err)
{
    struct http_options options = {
        .listen = (const char *const *)s->hyprxa_listen.items,
        .n_listen = s->hyprxa_listen.n,
        .workers = (unsigned)s->hyprxa_workers,
        .max_body = (size_t)s->hyprxa_max_body,
        .max_downloads = (unsigned)s->hyprxa_max_downloads,
        .max_header = (size_t)s->hyprxa_max_header,
        .max_url = (size_t)s->hyprxa_max_url,
        .heartbeat_ms = s->hyprxa_heartbeat_us / 1000,
        .max_websocket_message = (size_t)s->hyprxa_max_websocket_message,
        .replay_timeout_ms = s->hyprxa_replay_timeout_us / 1000,
        .request_timeout_ms = s->hyprxa_request_timeout_us / 1000,
        .allow_origins = (const char *const *)s->hyprxa_allow_origins.items,
        .n_allow_origins = s->hyprxa_allow_origins.n,
    };
    int rc = access_open(&app->access, s, err);
    if (rc)
        return rc;
    access_set_hooks(&app->access, &options);
    rc = http_server_new(&options, &app->server, err);
    return rc ? rc : web_open(s, &app->docs, err);
}

static int open_logs(struct app *app, const struct settings *s, struct error *err)
{
    enum log_level level = LOG_LEVEL_CRITICAL;
    struct logs_options options = {
        .enabled = log_level_from_name(s->logs_level, &level),
        .storage = app->storage,
        .streamer = http_server_streamer(app->server),
        .channel = {.max_bytes = (size_t)s->hyprxa_max_backlog},
        .max_buffered = (size_t)s->logs_max_buffered,
        .flush_interval_us = s->logs_flush_interval_us,
    };
    options.level = level;
    return logs_new(&options, &app->logs, err);
}

/* Topics and events; nothing when the feature is off. */
static int open_events(struct app *app, const struct settings *s, struct error *err)
{
    struct events_options options = {
        .storage = app->storage,
        .broker = app->broker,
        .streamer = http_server_streamer(app->server),
        .channel = {.max_messages = (size_t)s->events_maxlen,
                    .max_bytes = (size_t)s->hyprxa_max_backlog,
                    .disconnect_slow = strcmp(s->hyprxa_slow_subscriber, "disconnect") == 0},
        .max_body = (size_t)s->events_max_body,
        .max_subscribers = max_subscribers(s, s->events_max_subscribers),
        .reconnect_timeout_ms = s->events_reconnect_timeout_us / 1000,
        .alone = strcmp(s->hyprxa_cluster, "single") == 0,
    };
    if (!s->features_events)
        return 0;
    struct document_cache_options cache = memo_options(&app->memo, s);
    int rc = topics_new(app->storage, &cache, &app->topics, err);
    options.topics = app->topics;
    return rc ? rc : events_new(&options, &app->events, err);
}

/* Unitops and timeseries; nothing when the feature is off. */
static int open_timeseries(struct app *app, const struct settings *s, struct error *err)
{
    struct timeseries_options options = timeseries_options(app, s);
    struct unitops_sources sources = {.known = timeseries_source_known,
                                      .permitted = timeseries_sources_permitted,
                                      .map = timeseries_map_subscription};
    char replay_path[PATH_MAX_BYTES + 32];
    if (!s->features_timeseries)
        return 0;
    snprintf(replay_path, sizeof replay_path, "%s/replay.index", s->hyprxa_data_dir);
    options.replay_path = replay_path;
    int rc = timeseries_new(&options, &app->timeseries, err);
    if (rc)
        return rc;
    sources.ctx = app->timeseries;
    struct document_cache_options cache = memo_options(&app->memo, s);
    rc = unitops_new(app->storage, &sources, &cache, &app->unitops, err);
    if (!rc)
        timeseries_set_unitops(app->timeseries, app->unitops);
    return rc;
}

static int add_routes(struct app *app, struct error *err)
{
    int rc = admin_add_routes(&app->admin, app->server, err);
    if (!rc && app->events)
        rc = topics_add_routes(app->topics, app->server, err);
    if (!rc && app->events)
        rc = events_add_routes(app->events, app->server, err);
    if (!rc && app->timeseries)
        rc = unitops_add_routes(app->unitops, app->server, err);
    if (!rc && app->timeseries)
        rc = timeseries_add_routes(app->timeseries, app->server, err);
    if (!rc)
        rc = logs_add_routes(app->logs, app->server, err);
    if (!rc)
        rc = docs_add_routes(app->docs, app->server, err);
    if (!rc)
        rc =
            users_add_routes(&app->users, app->server, err); /* last: the token path is free then */
    if (!rc)
        rc = web_describe(app->docs, app->server, err);
    return rc;
}

static int hold_source_scopes(struct app *app, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; i < timeseries_source_count(app->timeseries) && !rc; i++) {
        struct string_list scopes = timeseries_source_scopes(app->timeseries, i);
        rc = auth_add_scopes(app->access.auth, &scopes, err);
    }
    return rc;
}

int app_start(const struct settings *settings, const struct source_configs *sources,
              struct buf *problems, struct app **ret, struct error *err)
{
    struct app *app = calloc(1, sizeof *app);
    if (!app)
        return error_set(err, ERR_NOMEM, "out of memory");
    app->lock_fd = -1;
    message_set_encoder(MESSAGE_SSE, sse_encode_chunk);
    message_set_encoder(MESSAGE_SSE_UNCHUNKED, sse_encode_plain);
    message_set_encoder(MESSAGE_WEBSOCKET, websocket_encode);
    int rc = open_back_ends(app, settings, err);
    app->memo.broker = app->broker;
    if (!rc)
        rc = open_server(app, settings, err);
    if (!rc)
        rc = open_logs(app, settings, err);
    if (!rc)
        rc = open_events(app, settings, err);
    if (!rc)
        rc = open_timeseries(app, settings, err);
    if (!rc && app->timeseries) {
        add_sources(app, settings, sources, problems); /* the good ones run all the same */
        rc = hold_source_scopes(app, err);
    }
    if (!rc) {
        app->memo.topics = app->topics;
        app->memo.unitops = app->unitops;
        memo_listen(&app->memo);
        app->users.auth = app->access.auth;
        app->users.token_path = settings->hyprxa_token_path;
        app->admin.server = app->server;
        app->admin.storage = app->storage;
        app->admin.broker = app->broker;
        app->admin.cache = app->cache;
        app->admin.logs = app->logs;
        app->admin.events = app->events;
        app->admin.timeseries = app->timeseries;
        app->admin.started_us = time_now_us();
        rc = add_routes(app, err);
    }
    if (!rc)
        rc = http_server_start(app->server, err);
    if (rc) {
        app_stop(app);
        return rc;
    }
    if (app->timeseries)
        timeseries_start(app->timeseries);
    else if (sources->n)
        log_info(logger, "the sources are not run: the feature timeseries is off");
    if (app->access.debug)
        log_warning(logger, "debug authentication: %s '%s', without any password%s",
                    settings->auth_debug_require_token ? "anybody gets a token to be"
                                                       : "every request is of",
                    settings->auth_debug_user_username,
                    app->access.loopback_only ? "; reachable from this machine only"
                                              : ", and the server is reachable from elsewhere");
    atomic_store(&app->admin.ready, true);
    *ret = app;
    return 0;
}

unsigned app_port(const struct app *app, size_t i)
{
    return http_server_port(app->server, i);
}

int app_check_progress(struct app *app, struct error *err)
{
    struct error answer = ERROR_INIT;
    int rc =
        streamer_check(http_server_streamer(app->server), time_monotonic_ms() + PROGRESS_MS, err);
    if (!rc)
        storage_ping(app->storage, &answer); /* that a database is away shows in /health/ready */
    return rc;
}

bool app_stop(struct app *app)
{
    atomic_store(&app->admin.ready, false);
    if (app->server)
        http_server_stop(app->server, HTTP_STOP_MS);
    timeseries_stop(app->timeseries);
    events_stop(app->events);
    logs_stop(app->logs);
    if (app->storage)
        storage_stop(app->storage);
    timeseries_save(app->timeseries);
    if (app->broker)
        broker_stop(app->broker);
    if (plugin_host_has_abandoned())
        return false; /* a thread of a plugin may still use anything: free nothing */
    timeseries_free(app->timeseries);
    events_free(app->events);
    logs_free(app->logs);
    unitops_free(app->unitops);
    topics_free(app->topics);
    http_server_free(app->server);
    docs_free(app->docs);
    broker_close(app->broker);
    cache_close(app->cache);
    storage_close(app->storage);
    access_close(&app->access);
    if (app->lock_fd >= 0)
        close(app->lock_fd);
    free(app);
    return true;
}
