#include "toy_host.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { OPERATION_SAMPLE, OPERATION_STATE };
enum { SUBSCRIPTIONS_MAX = 4096 };

struct operation {
    int kind;
    bool live;
    size_t series; /* index in toy->subscriptions */
    int64_t time_us;
    char *text; /* of the value, or the key */
    void *bytes;
    size_t len;
};

struct toy_subscription {
    struct hyprxa_subscription base;
    char *json;
    int64_t last_us;
    size_t n; /* published, live and history */
    bool active;
};

struct toy_host {
    struct hyprxa_ctx ctx;
    struct hyprxa_link link;
    const struct hyprxa_plugin *plugin;
    void *library, *self, *connection;
    struct toy_store *store;
    pthread_t thread;
    bool running;
    int stop_fd;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock */
    bool stopping, count_only;
    struct toy_subscription *subscriptions[SUBSCRIPTIONS_MAX];
    size_t n_subscriptions;
    struct operation *operations;
    size_t n_operations, room;
    struct toy_counts counts;
    char *log;
    size_t log_len;
};

/* --- growing --- */

static void *must(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

/* --- the store --- */

void toy_store_release(struct toy_store *store)
{
    for (size_t i = 0; i < store->n_series; i++) {
        for (size_t k = 0; k < store->series[i].n; k++) {
            free(store->series[i].samples[k].text);
        }
        free(store->series[i].samples);
        free(store->series[i].json);
    }
    for (size_t i = 0; i < store->n_states; i++) {
        free(store->states[i].key);
        free(store->states[i].bytes);
    }
    free(store->series);
    free(store->states);
    *store = (struct toy_store){0};
}

static struct toy_series *find_series(struct toy_store *store, const char *json)
{
    for (size_t i = 0; i < store->n_series; i++) {
        if (strcmp(store->series[i].json, json) == 0) {
            return &store->series[i];
        }
    }
    return NULL;
}

static int by_time(const void *a, const void *b)
{
    const struct toy_sample *x = a, *y = b;
    if (x->time_us != y->time_us) {
        return x->time_us < y->time_us ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

const struct toy_series *toy_store_series(struct toy_store *store, const char *json)
{
    struct toy_series *s = find_series(store, json);
    if (!s) {
        return NULL;
    }
    qsort(s->samples, s->n, sizeof(*s->samples), by_time);
    size_t kept = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (kept > 0 && s->samples[kept - 1].time_us == s->samples[i].time_us) {
            free(s->samples[i].text);
        } else {
            s->samples[kept++] = s->samples[i];
        }
    }
    s->n = kept;
    return s;
}

static void store_sample(struct toy_store *store, const char *json, struct operation *op)
{
    struct toy_series *s = find_series(store, json);
    if (!s) {
        store->series =
            must(realloc(store->series, (store->n_series + 1) * sizeof(*store->series)));
        s = &store->series[store->n_series++];
        *s = (struct toy_series){.json = must(strdup(json)), .last_us = HYPRXA_NO_TIME};
    }
    if (s->n == s->room) {
        s->room = s->room ? s->room * 2 : 64;
        s->samples = must(realloc(s->samples, s->room * sizeof(*s->samples)));
    }
    s->samples[s->n] = (struct toy_sample){op->time_us, s->n, op->text};
    s->n++;
    op->text = NULL;
    if (op->live && op->time_us > s->last_us) {
        s->last_us = op->time_us;
    }
}

static void store_state(struct toy_store *store, struct operation *op)
{
    struct toy_state *s = NULL;
    for (size_t i = 0; i < store->n_states && !s; i++) {
        s = strcmp(store->states[i].key, op->text) == 0 ? &store->states[i] : NULL;
    }
    if (!s) {
        store->states =
            must(realloc(store->states, (store->n_states + 1) * sizeof(*store->states)));
        s = &store->states[store->n_states++];
        *s = (struct toy_state){.key = must(strdup(op->text))};
    }
    free(s->bytes);
    s->bytes = op->bytes;
    s->len = op->len;
    op->bytes = NULL;
}

size_t toy_operations(struct toy_host *t)
{
    pthread_mutex_lock(&t->lock);
    size_t n = t->n_operations;
    pthread_mutex_unlock(&t->lock);
    return n;
}

void toy_commit(struct toy_host *t, size_t n)
{
    for (size_t i = 0; i < t->n_operations && i < n; i++) {
        struct operation *op = &t->operations[i];
        if (op->kind == OPERATION_STATE) {
            store_state(t->store, op);
        } else {
            store_sample(t->store, t->subscriptions[op->series]->json, op);
        }
    }
}

/* --- the host's functions --- */

static struct toy_host *toy_of(struct hyprxa_link *link)
{
    return (struct toy_host *)((char *)link - offsetof(struct toy_host, link));
}

static struct operation *record(struct toy_host *t)
{
    if (t->n_operations == t->room) {
        t->room = t->room ? t->room * 2 : 1024;
        t->operations = must(realloc(t->operations, t->room * sizeof(*t->operations)));
    }
    return &t->operations[t->n_operations++];
}

static char *value_text(const struct hyprxa_value *v)
{
    char *text = NULL;
    int n = -1;
    switch (v->type) {
    case HYPRXA_BOOL:
        n = asprintf(&text, "b %d", v->as.boolean);
        break;
    case HYPRXA_INT64:
        n = asprintf(&text, "i %lld", (long long)v->as.i64);
        break;
    case HYPRXA_DOUBLE:
        n = asprintf(&text, "d %.17g", v->as.f64);
        break;
    case HYPRXA_STRING:
        n = asprintf(&text, "s %.*s", (int)v->len, (const char *)v->as.ptr);
        break;
    default:
        n = asprintf(&text, "? %u", v->type);
    }
    return must(n < 0 ? NULL : text);
}

static void toy_log(struct hyprxa_ctx *ctx, int32_t level, const char *message)
{
    struct toy_host *t = (struct toy_host *)((char *)ctx - offsetof(struct toy_host, ctx));
    size_t len = strlen(message);
    (void)level;
    pthread_mutex_lock(&t->lock);
    t->log = must(realloc(t->log, t->log_len + len + 2));
    memcpy(t->log + t->log_len, message, len);
    t->log_len += len;
    t->log[t->log_len++] = '\n';
    t->log[t->log_len] = '\0';
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static size_t index_of(const struct toy_host *t, const struct hyprxa_subscription *subscription)
{
    for (size_t i = t->n_subscriptions; i > 0; i--) {
        if (&t->subscriptions[i - 1]->base == subscription) {
            return i - 1;
        }
    }
    return SIZE_MAX;
}

static void take_sample(struct toy_host *t, size_t series, const struct hyprxa_sample *sample,
                        bool live)
{
    struct toy_subscription *s = t->subscriptions[series];
    if (live && sample->time_us == s->last_us) {
        t->counts.duplicates++;
        return;
    }
    s->n++;
    if (live) {
        s->last_us = sample->time_us;
        t->counts.live++;
    } else {
        t->counts.history++;
    }
    if (!t->count_only) {
        *record(t) = (struct operation){.kind = OPERATION_SAMPLE,
                                        .live = live,
                                        .series = series,
                                        .time_us = sample->time_us,
                                        .text = value_text(&sample->value)};
    }
}

static hyprxa_status take_batch(struct toy_host *t, const struct hyprxa_batch *batch, bool live)
{
    size_t series = index_of(t, batch->subscription);
    if (series == SIZE_MAX) {
        return HYPRXA_E_INVALID;
    }
    struct toy_subscription *s = t->subscriptions[series];
    if (!s->active) {
        return HYPRXA_E_NOT_FOUND;
    }
    int64_t last_us = s->last_us;
    for (size_t i = 0; i < batch->n; i++) {
        const struct hyprxa_sample *sample = &batch->samples[i];
        if (sample->value.type > HYPRXA_JSON || sample->quality > HYPRXA_BAD ||
            sample->value.len > HYPRXA_VALUE_MAX) {
            return HYPRXA_E_INVALID;
        }
        if (live && sample->time_us < last_us) {
            return HYPRXA_E_ORDER;
        }
        last_us = sample->time_us;
    }
    for (size_t i = 0; i < batch->n; i++) {
        take_sample(t, series, &batch->samples[i], live);
    }
    return HYPRXA_OK;
}

static hyprxa_status take_batches(struct hyprxa_link *link, const struct hyprxa_batch *batches,
                                  size_t n, bool live)
{
    struct toy_host *t = toy_of(link);
    hyprxa_status status = HYPRXA_OK;
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        total += batches[i].n;
    }
    if (total > 100000) {
        return HYPRXA_E_INVALID;
    }
    pthread_mutex_lock(&t->lock);
    if (t->stopping) {
        pthread_mutex_unlock(&t->lock);
        return HYPRXA_E_CANCELED;
    }
    t->counts.calls++;
    for (size_t i = 0; i < n; i++) {
        hyprxa_status one = take_batch(t, &batches[i], live);
        t->counts.refused += one == HYPRXA_OK || one == HYPRXA_E_NOT_FOUND ? 0 : 1;
        status = status == HYPRXA_OK ? one : status;
    }
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
    return status;
}

static hyprxa_status toy_publish(struct hyprxa_link *link, const struct hyprxa_batch *batches,
                                 size_t n, int32_t timeout_ms)
{
    (void)timeout_ms;
    return take_batches(link, batches, n, true);
}

static hyprxa_status toy_publish_history(struct hyprxa_link *link,
                                         const struct hyprxa_batch *batches, size_t n,
                                         int32_t timeout_ms)
{
    (void)timeout_ms;
    return take_batches(link, batches, n, false);
}

static hyprxa_status copy_state(const void *from, size_t len, void *bytes, size_t cap,
                                size_t *ret_len)
{
    *ret_len = len;
    if (len > cap) {
        return HYPRXA_E_CAPACITY;
    }
    if (len > 0) {
        memcpy(bytes, from, len);
    }
    return HYPRXA_OK;
}

static hyprxa_status toy_state_get(struct hyprxa_link *link, const char *key, void *bytes,
                                   size_t cap, size_t *ret_len)
{
    struct toy_host *t = toy_of(link);
    hyprxa_status status = HYPRXA_E_NOT_FOUND;
    pthread_mutex_lock(&t->lock);
    for (size_t i = t->n_operations; i > 0 && status == HYPRXA_E_NOT_FOUND; i--) {
        const struct operation *op = &t->operations[i - 1];
        if (op->kind == OPERATION_STATE && strcmp(op->text, key) == 0) {
            status = copy_state(op->bytes, op->len, bytes, cap, ret_len);
        }
    }
    for (size_t i = 0; i < t->store->n_states && status == HYPRXA_E_NOT_FOUND; i++) {
        const struct toy_state *s = &t->store->states[i];
        if (strcmp(s->key, key) == 0) {
            status = copy_state(s->bytes, s->len, bytes, cap, ret_len);
        }
    }
    pthread_mutex_unlock(&t->lock);
    return status;
}

static hyprxa_status toy_state_set(struct hyprxa_link *link, const char *key, const void *bytes,
                                   size_t len)
{
    struct toy_host *t = toy_of(link);
    hyprxa_status status = HYPRXA_E_CANCELED;
    pthread_mutex_lock(&t->lock);
    if (len > HYPRXA_STATE_MAX || strlen(key) == 0 || strlen(key) > HYPRXA_STATE_KEY_MAX) {
        status = HYPRXA_E_INVALID;
    } else if (!t->stopping) {
        void *copy = must(malloc(len + 1));
        if (len > 0) {
            memcpy(copy, bytes, len);
        }
        *record(t) = (struct operation){
            .kind = OPERATION_STATE, .text = must(strdup(key)), .bytes = copy, .len = len};
        status = HYPRXA_OK;
        pthread_cond_broadcast(&t->changed);
    }
    pthread_mutex_unlock(&t->lock);
    return status;
}

static void toy_set_online(struct hyprxa_link *link, bool online)
{
    (void)link;
    (void)online;
}

static void toy_drop(struct hyprxa_link *link, hyprxa_subs subs, size_t n,
                     const struct hyprxa_error *why)
{
    (void)subs;
    (void)n;
    toy_log(&toy_of(link)->ctx, HYPRXA_LOG_WARNING, why->message);
}

static bool toy_wait(struct hyprxa_link *link, int32_t timeout_ms)
{
    struct pollfd stop = {.fd = toy_of(link)->stop_fd, .events = POLLIN};
    return poll(&stop, 1, timeout_ms) > 0;
}

static int toy_stop_fd(struct hyprxa_link *link)
{
    return toy_of(link)->stop_fd;
}

static const struct hyprxa_host host_table = {
    .size = sizeof(host_table),
    .abi_minor = HYPRXA_ABI_MINOR,
    .log = toy_log,
    .publish = toy_publish,
    .publish_history = toy_publish_history,
    .state_get = toy_state_get,
    .state_set = toy_state_set,
    .set_online = toy_set_online,
    .drop = toy_drop,
    .wait = toy_wait,
    .stop_fd = toy_stop_fd,
};

/* --- life --- */

struct toy_host *toy_open(const char *name, const char *options, struct toy_store *store,
                          struct hyprxa_error *err)
{
    char path[512];
    struct toy_host *t = must(calloc(1, sizeof(*t)));
    pthread_condattr_t monotonic;
    snprintf(path, sizeof(path), "%s/%s.so", TOY_PLUGIN_DIR, name);
    t->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    cr_assert(t->library, "%s", dlerror());
    t->plugin = dlsym(t->library, "hyprxa_plugin_v1");
    cr_assert(t->plugin);
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    t->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    t->store = store;
    t->ctx =
        (struct hyprxa_ctx){sizeof(t->ctx), (uint32_t)strlen(options), &host_table, "toy", options};
    t->link = (struct hyprxa_link){sizeof(t->link), 1, &host_table, &t->ctx};
    hyprxa_status status = t->plugin->integration->create(&t->ctx, &t->self, err);
    if (status != HYPRXA_OK) {
        toy_close(t);
        return NULL;
    }
    return t;
}

static void *run_thread(void *arg)
{
    struct toy_host *t = arg;
    struct hyprxa_error err = {.size = sizeof(err)};
    hyprxa_status status = t->plugin->connection->run(t->connection, &t->link, &err);
    if (status != HYPRXA_OK) {
        toy_log(&t->ctx, HYPRXA_LOG_ERROR, err.message);
    }
    return NULL;
}

static struct toy_subscription *new_subscription(struct toy_host *t, const char *json)
{
    struct toy_subscription *s = must(calloc(1, sizeof(*s)));
    const struct toy_series *stored = find_series(t->store, json);
    s->json = must(strdup(json));
    s->active = true;
    s->last_us = stored ? stored->last_us : HYPRXA_NO_TIME;
    for (size_t i = 0; i < t->n_subscriptions; i++) {
        if (strcmp(t->subscriptions[i]->json, json) == 0) {
            s->last_us = t->subscriptions[i]->last_us; /* it was subscribed before */
        }
    }
    s->base = (struct hyprxa_subscription){sizeof(s->base), (uint32_t)strlen(json), s->json, "id",
                                           s->last_us};
    return s;
}

hyprxa_status toy_subscribe(struct toy_host *t, const char *const *jsons, size_t n,
                            struct hyprxa_error *err)
{
    const struct hyprxa_subscription **subs = must(calloc(n, sizeof(*subs)));
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < n; i++) {
        struct toy_subscription *s = new_subscription(t, jsons[i]);
        cr_assert_lt(t->n_subscriptions, (size_t)SUBSCRIPTIONS_MAX);
        t->subscriptions[t->n_subscriptions++] = s;
        subs[i] = &s->base;
    }
    pthread_mutex_unlock(&t->lock);
    hyprxa_status status;
    if (t->connection) {
        status = t->plugin->connection->add(t->connection, subs, n, err);
    } else {
        status = t->plugin->connection->create(&t->ctx, t->self, subs, n, &t->connection, err);
        if (status == HYPRXA_OK) {
            t->running = true;
            cr_assert_eq(pthread_create(&t->thread, NULL, run_thread, t), 0);
        }
    }
    free(subs);
    return status;
}

void toy_unsubscribe(struct toy_host *t, const char *json)
{
    const struct hyprxa_subscription *sub = NULL;
    pthread_mutex_lock(&t->lock);
    for (size_t i = 0; i < t->n_subscriptions; i++) {
        if (t->subscriptions[i]->active && strcmp(t->subscriptions[i]->json, json) == 0) {
            sub = &t->subscriptions[i]->base;
            t->subscriptions[i]->active = false;
        }
    }
    pthread_mutex_unlock(&t->lock);
    cr_assert(sub);
    t->plugin->connection->remove(t->connection, &sub, 1);
}

void toy_stop(struct toy_host *t)
{
    if (!t->running) {
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_mutex_unlock(&t->lock);
    eventfd_write(t->stop_fd, 1);
    pthread_join(t->thread, NULL);
    t->running = false;
}

void toy_close(struct toy_host *t)
{
    toy_stop(t);
    if (t->connection) {
        t->plugin->connection->destroy(t->connection);
    }
    if (t->self) {
        t->plugin->integration->destroy(t->self);
    }
    for (size_t i = 0; i < t->n_operations; i++) {
        free(t->operations[i].text);
        free(t->operations[i].bytes);
    }
    for (size_t i = 0; i < t->n_subscriptions; i++) {
        free(t->subscriptions[i]->json);
        free(t->subscriptions[i]);
    }
    free(t->operations);
    free(t->log);
    close(t->stop_fd);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    dlclose(t->library);
    free(t);
}

/* --- watching it --- */

typedef bool condition_fn(const struct toy_host *t, const char *text, size_t n);

static bool wait_for(struct toy_host *t, condition_fn *holds, const char *text, size_t n)
{
    struct timespec end;
    int problem = 0;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += TOY_PATIENCE_MS / 1000;
    pthread_mutex_lock(&t->lock);
    while (!holds(t, text, n) && problem == 0) {
        problem = pthread_cond_timedwait(&t->changed, &t->lock, &end);
    }
    bool held = holds(t, text, n);
    if (!held) {
        fprintf(stderr, "waited in vain; the log:\n%s", t->log ? t->log : "(nothing)\n");
    }
    pthread_mutex_unlock(&t->lock);
    return held;
}

static bool has_samples(const struct toy_host *t, const char *text, size_t n)
{
    (void)text;
    return t->counts.live + t->counts.history >= n;
}

static size_t samples_of_locked(const struct toy_host *t, const char *json)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n_subscriptions; i++) {
        n += strcmp(t->subscriptions[i]->json, json) == 0 ? t->subscriptions[i]->n : 0;
    }
    return n;
}

static bool has_samples_of(const struct toy_host *t, const char *json, size_t n)
{
    return samples_of_locked(t, json) >= n;
}

static bool has_logged(const struct toy_host *t, const char *text, size_t n)
{
    (void)n;
    return t->log && strstr(t->log, text);
}

static bool has_state(const struct toy_host *t, const char *prefix, size_t n)
{
    bool found = false;
    for (size_t i = 0; i < t->n_operations; i++) {
        found = found || (t->operations[i].kind == OPERATION_STATE &&
                          strncmp(t->operations[i].text, prefix, n) == 0);
    }
    return found;
}

static bool has_saved(const struct toy_host *t, const char *text, size_t n)
{
    (void)text;
    (void)n;
    return t->n_operations == 0 || t->operations[t->n_operations - 1].kind == OPERATION_STATE;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static bool has_times(const struct toy_host *t, const char *json, size_t n)
{
    const struct toy_series *s = find_series(t->store, json);
    size_t stored = s ? s->n : 0, total = 0, different = 0;
    int64_t *times = must(malloc((stored + t->n_operations + 1) * sizeof(*times)));
    for (size_t i = 0; i < stored; i++) {
        times[total++] = s->samples[i].time_us;
    }
    for (size_t i = 0; i < t->n_operations; i++) {
        const struct operation *op = &t->operations[i];
        if (op->kind == OPERATION_SAMPLE && strcmp(t->subscriptions[op->series]->json, json) == 0) {
            times[total++] = op->time_us;
        }
    }
    qsort(times, total, sizeof(*times), by_value);
    for (size_t i = 0; i < total; i++) {
        different += i == 0 || times[i] != times[i - 1] ? 1 : 0;
    }
    free(times);
    return different >= n;
}

bool toy_wait_times(struct toy_host *t, const char *json, size_t n)
{
    return wait_for(t, has_times, json, n);
}

bool toy_wait_samples(struct toy_host *t, size_t n)
{
    return wait_for(t, has_samples, NULL, n);
}

bool toy_wait_samples_of(struct toy_host *t, const char *json, size_t n)
{
    return wait_for(t, has_samples_of, json, n);
}

bool toy_wait_log(struct toy_host *t, const char *text)
{
    return wait_for(t, has_logged, text, 0);
}

bool toy_wait_state(struct toy_host *t, const char *prefix)
{
    return wait_for(t, has_state, prefix, strlen(prefix));
}

bool toy_wait_saved(struct toy_host *t)
{
    return wait_for(t, has_saved, NULL, 0);
}

size_t toy_samples_of(struct toy_host *t, const char *json)
{
    pthread_mutex_lock(&t->lock);
    size_t n = samples_of_locked(t, json);
    pthread_mutex_unlock(&t->lock);
    return n;
}

size_t toy_count_log(struct toy_host *t, const char *text)
{
    size_t n = 0;
    pthread_mutex_lock(&t->lock);
    for (const char *p = t->log; p && (p = strstr(p, text)) != NULL; p++) {
        n++;
    }
    pthread_mutex_unlock(&t->lock);
    return n;
}

struct toy_counts toy_counts(struct toy_host *t)
{
    pthread_mutex_lock(&t->lock);
    struct toy_counts counts = t->counts;
    pthread_mutex_unlock(&t->lock);
    return counts;
}

void toy_count_only(struct toy_host *t)
{
    pthread_mutex_lock(&t->lock);
    t->count_only = true;
    pthread_mutex_unlock(&t->lock);
}

struct names {
    char **names;
    size_t n;
};

static void take_name(void *arg, const char *json)
{
    struct names *names = arg;
    names->names = must(realloc(names->names, (names->n + 1) * sizeof(*names->names)));
    names->names[names->n++] = must(strdup(json));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *toy_list(struct toy_host *t)
{
    struct names names = {0};
    struct hyprxa_error err = {.size = sizeof(err)};
    char *text;
    size_t len;
    FILE *out = must(open_memstream(&text, &len));
    cr_assert_eq(t->plugin->integration->list(&t->ctx, t->self, take_name, &names, &err), HYPRXA_OK,
                 "%s", err.message);
    qsort(names.names, names.n, sizeof(*names.names), by_name);
    for (size_t i = 0; i < names.n; i++) {
        fprintf(out, "%s\n", names.names[i]);
        free(names.names[i]);
    }
    free(names.names);
    fclose(out);
    return text;
}

char *toy_info(struct toy_host *t)
{
    char *text = must(malloc(4096));
    cr_assert_lt(t->plugin->integration->info(t->self, text, 4096), (size_t)4096);
    return text;
}

const struct hyprxa_plugin *toy_plugin(struct toy_host *t)
{
    return t->plugin;
}
