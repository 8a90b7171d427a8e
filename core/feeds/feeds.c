#include "feeds/feeds.h"

#include "base/auto.h"
#include "base/log.h"
#include "base/map.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { END_WAIT_MS = 2000 };

struct feed {
    struct feeds *owner;
    struct channel *channel;
    struct broker_subscription *subscription;
    void *tag;
    int64_t created_us;
    char *id; /* the sorted keys, NUL-separated: the map's key */
    size_t id_len, n_keys;
    /* guarded by owner->lock */
    size_t streams;
    bool binding; /* the first stream is still at the broker */
    struct feed *next_idle;
};

struct feeds {
    struct feeds_options options; /* set at init, then const */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a feed became idle or bound, or stopping was set */
    /* guarded by lock */
    struct map feeds;  /* id -> feed that takes new streams */
    size_t live;       /* feeds that are not closed yet, in the map or not */
    struct feed *idle; /* without streams, to be closed by the thread */
    size_t subscribers;
    uint64_t subscribers_total;
    int64_t away_us;       /* when the broker was last lost; 0: never */
    int64_t away_until_ms; /* when its absence ends the streams; 0: never */
    bool stopping;
};

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys in order, each followed by a NUL: equal sets give equal bytes. */
static int make_id(const char *const *keys, size_t n, struct buf *id)
{
    const char **sorted = malloc(n * sizeof *sorted);
    if (!sorted)
        return ERR_NOMEM;
    memcpy(sorted, keys, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_keys);
    for (size_t i = 0; i < n; i++)
        buf_append(id, sorted[i], strlen(sorted[i]) + 1);
    free(sorted);
    return id->failed ? ERR_NOMEM : 0;
}

static void feed_free(struct feed *feed)
{
    channel_unref(feed->channel);
    free(feed->id);
    free(feed);
}

/* The broker's dispatcher: one append, however many streams there are. */
static void sink(void *ctx, struct message *message, uint64_t lost)
{
    struct feed *feed = ctx;
    if (lost) {
        AUTO(buf) json = BUF_INIT(128);
        if (buf_printf(&json, "{\"from\":null,\"to\":null,\"count\":%llu}",
                       (unsigned long long)lost) == 0)
            channel_notice(feed->channel, "gap", json.data, json.len);
    }
    channel_publish(feed->channel, message);
}

static void make_idle_locked(struct feed *feed)
{
    struct feeds *f = feed->owner;
    if (map_get(&f->feeds, feed->id, feed->id_len) == feed)
        map_remove(&f->feeds, feed->id, feed->id_len);
    feed->next_idle = f->idle;
    f->idle = feed;
    pthread_cond_broadcast(&f->changed);
}

/* On a streamer's thread: only count and wake. */
static void stream_ended(void *ctx)
{
    struct feed *feed = ctx;
    struct feeds *f = feed->owner;
    pthread_mutex_lock(&f->lock);
    f->subscribers--;
    if (--feed->streams == 0 && !feed->binding)
        make_idle_locked(feed);
    pthread_mutex_unlock(&f->lock);
}

static void close_feed(struct feeds *f, struct feed *feed)
{
    broker_unsubscribe(feed->subscription);
    if (f->options.closed && feed->tag)
        f->options.closed(f->options.ctx, feed->tag);
    feed_free(feed);
}

/* Call `each` with the lock held for every feed that takes streams. */
static void for_each_feed(struct feeds *f, void (*each)(struct feed *feed, void *ctx), void *ctx)
{
    pthread_mutex_lock(&f->lock);
    for (struct map_entry *e = map_next(&f->feeds, NULL); e; e = map_next(&f->feeds, e))
        each(e->value, ctx);
    pthread_mutex_unlock(&f->lock);
}

/* One that came after the outage has missed nothing. */
static void tell_gap(struct feed *feed, void *ctx)
{
    const struct buf *json = ctx;
    if (!feed->binding && feed->created_us <= feed->owner->away_us)
        channel_notice(feed->channel, "gap", json->data, json->len);
}

/* On the broker's dispatcher, in order with the messages. */
static void on_news(void *ctx, const struct broker_news *news)
{
    struct feeds *f = ctx;
    static const char away[] = "broker away", back[] = "broker back";
    if (news->kind == BROKER_GAP) {
        AUTO(buf) json = BUF_INIT(128);
        char from[TIME_ISO_SIZE], to[TIME_ISO_SIZE];
        time_format_iso(news->from_us, from);
        time_format_iso(news->to_us, to);
        if (buf_printf(&json, "{\"from\":\"%s\",\"to\":\"%s\",\"count\":null}", from, to) == 0)
            for_each_feed(f, tell_gap, &json);
        return;
    }
    bool is_away = news->kind == BROKER_AWAY;
    feeds_notice_where(f, NULL, NULL, NULL, is_away ? away : back, sizeof away - 1);
    pthread_mutex_lock(&f->lock);
    if (is_away)
        f->away_us = time_now_us();
    f->away_until_ms = is_away && f->options.reconnect_timeout_ms
                           ? time_monotonic_ms() + f->options.reconnect_timeout_ms
                           : 0;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void end_when_away_too_long(struct feeds *f)
{
    pthread_mutex_lock(&f->lock);
    bool due = f->away_until_ms && time_monotonic_ms() >= f->away_until_ms;
    if (due)
        f->away_until_ms = 0;
    pthread_mutex_unlock(&f->lock);
    if (due)
        feeds_end_where(f, NULL, NULL, STREAM_END_LATER, "The broker is unavailable.");
}

static void *run(void *arg)
{
    struct feeds *f = arg;
    pthread_mutex_lock(&f->lock);
    while (!f->stopping || f->idle) {
        struct feed *feed = f->idle;
        if (!feed) {
            cond_wait_until(&f->changed, &f->lock, f->away_until_ms ? f->away_until_ms : INT64_MAX);
            pthread_mutex_unlock(&f->lock);
            end_when_away_too_long(f);
            pthread_mutex_lock(&f->lock);
            continue;
        }
        f->idle = feed->next_idle;
        pthread_mutex_unlock(&f->lock);
        close_feed(f, feed);
        pthread_mutex_lock(&f->lock);
        f->live--;
        pthread_cond_broadcast(&f->changed);
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int feeds_new(const struct feeds_options *options, struct feeds **ret, struct error *err)
{
    struct feeds *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(err, ERR_NOMEM, "out of memory");
    f->options = *options;
    lock_init(&f->lock);
    cond_init(&f->changed);
    map_init(&f->feeds);
    int rc = thread_start(&f->thread, options->name, run, f, err);
    if (rc) {
        free(f);
        return rc;
    }
    if (options->broker) /* none where only the configuration is checked */
        broker_watch(options->broker, options->exchange, on_news, f);
    *ret = f;
    return 0;
}

void feeds_free(struct feeds *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->stopping = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    pthread_join(f->thread, NULL);
    map_release(&f->feeds, NULL);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* Count a new stream on the feed of `id`, waiting while another request binds it.  NULL: none. */
static struct feed *join_locked(struct feeds *f, const struct buf *id)
{
    for (;;) {
        struct feed *feed = map_get(&f->feeds, id->data, id->len);
        if (!feed)
            return NULL;
        if (!feed->binding) {
            feed->streams++;
            return feed;
        }
        pthread_cond_wait(&f->changed, &f->lock);
    }
}

/* Make the feed of `id`, holding one stream for the caller; bound at the broker on return. */
static int bind_feed(struct feeds *f, struct buf *id, const struct feed_wish *wish,
                     struct feed **ret, struct error *err)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (feed)
        feed->channel = channel_new(f->options.streamer, &f->options.channel);
    if (!feed || !feed->channel) {
        free(feed);
        pthread_mutex_unlock(&f->lock);
        return error_set(err, ERR_NOMEM, "out of memory");
    }
    feed->owner = f;
    feed->created_us = time_now_us();
    feed->tag = wish->tag;
    feed->n_keys = wish->n_keys;
    feed->streams = 1;
    feed->binding = true;
    feed->id = buf_take(id, &feed->id_len);
    int rc = map_set(&f->feeds, feed->id, feed->id_len, feed, NULL);
    if (rc) {
        pthread_mutex_unlock(&f->lock);
        feed_free(feed);
        return error_set(err, rc, "out of memory");
    }
    f->live++;
    pthread_mutex_unlock(&f->lock);

    rc = broker_subscribe(f->options.broker, f->options.exchange, wish->keys, wish->n_keys, sink,
                          feed, &feed->subscription, err);
    pthread_mutex_lock(&f->lock);
    feed->binding = false;
    if (rc) {
        map_remove(&f->feeds, feed->id, feed->id_len);
        f->live--;
    }
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
    if (rc)
        feed_free(feed);
    else
        *ret = feed;
    return rc;
}

/* One more subscriber, or ERR_LIMIT. */
static int admit_locked(struct feeds *f, struct error *err)
{
    if (f->options.max_subscribers && f->subscribers >= f->options.max_subscribers)
        return error_set(err, ERR_LIMIT, "Broker is unavailable.");
    f->subscribers++;
    f->subscribers_total++;
    return 0;
}

int feeds_stream(struct feeds *f, struct http_request *r, const struct feed_wish *wish,
                 bool *ret_used, struct error *err)
{
    AUTO(buf) id = BUF_INIT(SIZE_MAX / 2);
    struct feed *feed = NULL;
    *ret_used = false;
    int rc = make_id(wish->keys, wish->n_keys, &id);
    if (rc) {
        error_set(err, rc, "out of memory");
        http_respond_error(r, err);
        return rc;
    }
    pthread_mutex_lock(&f->lock);
    rc = admit_locked(f, err);
    if (!rc)
        feed = join_locked(f, &id);
    if (rc || feed) {
        pthread_mutex_unlock(&f->lock);
    } else {
        rc = bind_feed(f, &id, wish, &feed, err); /* unlocks */
        *ret_used = rc == 0;
        if (rc) {
            pthread_mutex_lock(&f->lock);
            f->subscribers--;
            pthread_mutex_unlock(&f->lock);
        }
    }
    if (rc) {
        http_respond_error(r, err);
        return rc;
    }
    /* From here on stream_ended() gives the stream back, also when it could not begin. */
    return wish->replay ? stream_resume(r, feed->channel, wish->replay, stream_ended, feed, err)
                        : stream_begin(r, feed->channel, wish->place, stream_ended, feed, err);
}

struct selection {
    feed_affected_fn *affected; /* NULL: all */
    void *ctx;
    bool end;          /* else a notice */
    const char *event; /* of it; NULL: a comment */
    const char *text;
    size_t len;
    enum stream_end code;
};

static void apply_selection(struct feed *feed, void *ctx)
{
    const struct selection *s = ctx;
    if (feed->binding || (s->affected && !(feed->tag && s->affected(s->ctx, feed->tag))))
        return;
    if (!s->end) {
        channel_notice(feed->channel, s->event, s->text, s->len);
        return;
    }
    /* Ended feeds leave the map at once: whoever comes now starts a new one. */
    map_remove(&feed->owner->feeds, feed->id, feed->id_len);
    channel_end(feed->channel, s->code, s->text);
}

void feeds_end_where(struct feeds *f, feed_affected_fn *affected, void *ctx, enum stream_end code,
                     const char *reason)
{
    struct selection s = {
        .affected = affected, .ctx = ctx, .end = true, .text = reason, .code = code};
    for_each_feed(f, apply_selection, &s);
}

void feeds_notice_where(struct feeds *f, feed_affected_fn *affected, void *ctx, const char *event,
                        const char *json, size_t len)
{
    struct selection s = {
        .affected = affected, .ctx = ctx, .event = event, .text = json, .len = len};
    for_each_feed(f, apply_selection, &s);
}

void feeds_end_all(struct feeds *f, enum stream_end code, const char *reason)
{
    feeds_end_where(f, NULL, NULL, code, reason);
    pthread_mutex_lock(&f->lock);
    int64_t deadline_ms = time_monotonic_ms() + END_WAIT_MS;
    while (f->live > 0 && cond_wait_until(&f->changed, &f->lock, deadline_ms))
        ;
    if (f->live > 0)
        log_warning("hyprxa.feeds", "%s: %zu feeds still had streams when asked to end",
                    f->options.name, f->live);
    pthread_mutex_unlock(&f->lock);
}

static void add_stats(struct feed *feed, void *ctx)
{
    struct feeds_stats *sum = ctx;
    struct channel_stats c;
    channel_get_stats(feed->channel, &c);
    sum->feeds++;
    sum->keys += feed->n_keys;
    sum->published += c.published;
    sum->delivered += c.delivered;
    sum->dropped += c.dropped;
}

void feeds_get_stats(struct feeds *f, struct feeds_stats *ret)
{
    *ret = (struct feeds_stats){0};
    for_each_feed(f, add_stats, ret);
    pthread_mutex_lock(&f->lock);
    ret->subscribers = f->subscribers;
    ret->subscribers_total = f->subscribers_total;
    pthread_mutex_unlock(&f->lock);
}

struct stream_walk {
    feed_stream_fn *each;
    void *ctx;
    struct feed *feed;
};

static void walk_stream(void *ctx, int64_t created_us, uint64_t messages)
{
    struct stream_walk *w = ctx;
    w->each(w->ctx, w->feed->tag, created_us, messages, w->feed->n_keys);
}

static void walk_feed(struct feed *feed, void *ctx)
{
    struct stream_walk *w = ctx;
    w->feed = feed;
    channel_each_stream(feed->channel, walk_stream, w);
}

void feeds_each_stream(struct feeds *f, feed_stream_fn *each, void *ctx)
{
    struct stream_walk w = {.each = each, .ctx = ctx};
    for_each_feed(f, walk_feed, &w);
}
