#include "logs/logs_priv.h"

#include "base/auto.h"
#include "base/time.h"

#include <stdlib.h>
#include <unistd.h>

enum {
    MAX_BUFFERED_DEFAULT = 10000,
    BUFFERED_BYTES_MAX = 16 << 20,
    DOCUMENT_MAX = 64 * 1024, /* the texts of a record are shorter, whatever they hold */
};

static void count_dropped(struct logs *l, enum logs_dropped reason, size_t n)
{
    atomic_fetch_add_explicit(&l->n_dropped[reason], n, memory_order_relaxed);
}

/* --- the sink: on any thread that logs --- */

static struct entry *make_entry(const struct logs *l, const struct log_record *record)
{
    AUTO(buf) document = BUF_INIT(DOCUMENT_MAX);
    struct entry *e = malloc(sizeof *e);
    if (e)
        e->message = logs_write_document(&document, record, l->host) == 0
                         ? message_new(NULL, record->time_us, document.data, document.len)
                         : NULL;
    if (!e || !e->message) {
        free(e);
        return NULL;
    }
    e->urgent = record->level >= LOG_LEVEL_ERROR;
    e->next = NULL;
    return e;
}

/* False: there is no room, nothing was taken. */
static bool reserve(struct logs *l)
{
    pthread_mutex_lock(&l->lock);
    bool room = logs_is_worker ||
                (l->n_held < l->options.max_buffered && l->held_bytes < BUFFERED_BYTES_MAX);
    if (room)
        l->n_held++;
    pthread_mutex_unlock(&l->lock);
    return room;
}

static void take(void *ctx, const struct log_record *record)
{
    struct logs *l = ctx;
    if (!reserve(l)) {
        count_dropped(l, LOGS_DROPPED_FULL, 1);
        return;
    }
    struct entry *e = make_entry(l, record);
    pthread_mutex_lock(&l->lock);
    if (e) {
        *l->last = e;
        l->last = &e->next;
        l->n_taken++;
        l->held_bytes += message_body(e->message).len;
        if (l->sleeping) {
            l->sleeping = false;
            pthread_cond_signal(&l->work);
        }
    } else {
        l->n_held--;
    }
    pthread_mutex_unlock(&l->lock);
    if (!e)
        count_dropped(l, LOGS_DROPPED_MEMORY, 1);
}

/* --- life cycle --- */

int logs_new(const struct logs_options *options, struct logs **ret, struct error *err)
{
    struct logs *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(err, ERR_NOMEM, "out of memory");
    l->options = *options;
    if (l->options.max_buffered == 0)
        l->options.max_buffered = MAX_BUFFERED_DEFAULT;
    lock_init(&l->lock);
    cond_init(&l->work);
    cond_init(&l->stored);
    l->last = &l->first;
    if (gethostname(l->host, sizeof l->host - 1) != 0)
        l->host[0] = '\0';
    *ret = l;
    if (!l->options.enabled)
        return 0;
    l->channel = channel_new(options->streamer, &options->channel);
    int rc = l->channel ? 0 : error_set(err, ERR_NOMEM, "out of memory");
    if (!rc) {
        l->running = true;
        rc = thread_start(&l->thread, "logs", logs_run, l, err);
    }
    if (rc) {
        l->running = false;
        logs_free(l);
        *ret = NULL;
        return rc;
    }
    log_set_sink(take, l, options->level);
    return 0;
}

void logs_stop(struct logs *l)
{
    if (!l || !logs_is_running(l))
        return;
    log_set_sink(NULL, NULL, LOG_LEVEL_CRITICAL);
    pthread_mutex_lock(&l->lock);
    l->stopping = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    channel_end(l->channel, STREAM_END_STOPPING, "The server is stopping.");
}

void logs_free(struct logs *l)
{
    if (!l)
        return;
    logs_stop(l);
    if (l->channel)
        channel_unref(l->channel);
    pthread_cond_destroy(&l->stored);
    pthread_cond_destroy(&l->work);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int logs_flush(struct logs *l, int64_t timeout_ms, struct error *err)
{
    int64_t deadline_ms = time_monotonic_ms() + timeout_ms;
    pthread_mutex_lock(&l->lock);
    uint64_t to = l->n_taken;
    if (l->flush_to < to)
        l->flush_to = to;
    pthread_cond_signal(&l->work);
    uint64_t n_failed = l->n_failed;
    while (l->n_done < to && l->running && l->n_failed == n_failed &&
           cond_wait_until(&l->stored, &l->lock, deadline_ms))
        ;
    int rc = 0;
    if (l->n_done < to && !l->running)
        rc = error_set(err, ERR_UNAVAILABLE, "Log worker is not running.");
    else if (l->n_done < to)
        rc = error_set(err, ERR_TIMEOUT, "The logs could not be stored in time.");
    pthread_mutex_unlock(&l->lock);
    return rc;
}

/* --- queries --- */

static const char *const dropped_names[LOGS_DROPPED_REASONS] = {
    [LOGS_DROPPED_FULL] = "full",
    [LOGS_DROPPED_MEMORY] = "memory",
    [LOGS_DROPPED_STORAGE] = "storage",
};

static void get_held(struct logs *l, size_t *ret_n_held, uint64_t *ret_n_failed)
{
    pthread_mutex_lock(&l->lock);
    *ret_n_held = l->n_held;
    *ret_n_failed = l->n_failed;
    pthread_mutex_unlock(&l->lock);
}

int logs_info(struct logs *l, struct buf *out)
{
    size_t n_held;
    uint64_t n_failed;
    get_held(l, &n_held, &n_failed);
    buf_printf(out,
               "{\"enabled\":%s,\"running\":%s,\"active_subscribers\":%zu,"
               "\"storage_buffer_size\":%zu,\"total_stored\":%llu,\"dropped\":{",
               l->options.enabled ? "true" : "false", logs_is_running(l) ? "true" : "false",
               atomic_load(&l->n_streams), n_held, atomic_load(&l->n_stored));
    for (int i = 0; i < LOGS_DROPPED_REASONS; i++)
        buf_printf(out, "%s\"%s\":%llu", i ? "," : "", dropped_names[i],
                   atomic_load(&l->n_dropped[i]));
    return buf_append_lit(out, "}}");
}

int logs_metrics(struct logs *l, struct buf *out)
{
    size_t n_held;
    uint64_t n_failed;
    get_held(l, &n_held, &n_failed);
    buf_printf(
        out,
        "# TYPE hyprxa_logs_stored counter\n# HELP hyprxa_logs_stored Logs stored.\n"
        "hyprxa_logs_stored_total %llu\n"
        "# TYPE hyprxa_logs_expired counter\n"
        "# HELP hyprxa_logs_expired Stored logs dropped because of their age.\n"
        "hyprxa_logs_expired_total %llu\n"
        "# TYPE hyprxa_logs_write_failures counter\n"
        "# HELP hyprxa_logs_write_failures Writes of logs that failed; they are repeated.\n"
        "hyprxa_logs_write_failures_total %llu\n"
        "# TYPE hyprxa_logs_buffered gauge\n"
        "# HELP hyprxa_logs_buffered Logs not yet stored.\n"
        "hyprxa_logs_buffered %zu\n"
        "# TYPE hyprxa_logs_streams gauge\n# HELP hyprxa_logs_streams Live streams of logs.\n"
        "hyprxa_logs_streams %zu\n"
        "# TYPE hyprxa_logs_dropped counter\n"
        "# HELP hyprxa_logs_dropped Logs that were not stored, by reason.\n",
        atomic_load(&l->n_stored), atomic_load(&l->n_expired), (unsigned long long)n_failed, n_held,
        atomic_load(&l->n_streams));
    for (int i = 0; i < LOGS_DROPPED_REASONS; i++)
        buf_printf(out, "hyprxa_logs_dropped_total{reason=\"%s\"} %llu\n", dropped_names[i],
                   atomic_load(&l->n_dropped[i]));
    return out->failed ? ERR_LIMIT : 0;
}
