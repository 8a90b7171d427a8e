#include "http/streamer.h"

#include "base/time.h"
#include "http/http_priv.h"
#include "http/streamer_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHECK_PAUSE_MS = 5 };

/* --- streams --- */

int stream_new(struct channel *c, enum message_frame_kind form, stream_end_fn *on_end, void *ctx,
               struct stream **ret, struct error *err)
{
    struct streamer *streamer = c->streamer;
    if (atomic_load(&streamer->stopping))
        return error_set(err, ERR_UNAVAILABLE, "The server is stopping.");
    struct stream *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory for a stream");
    if (form == MESSAGE_WEBSOCKET) {
        s->ws = websocket_new(s, streamer->max_websocket_message);
        if (!s->ws) {
            free(s);
            return error_set(err, ERR_NOMEM, "out of memory for a stream");
        }
        atomic_fetch_add(&streamer->websockets, 1);
        atomic_fetch_add(&streamer->websockets_total, 1);
    }
    size_t number = atomic_fetch_add_explicit(&streamer->next_pump, 1, memory_order_relaxed);
    s->lane = &c->lanes[number % c->n_lanes];
    s->fd = -1;
    s->form = form;
    s->on_end = on_end;
    s->ctx = ctx;
    s->created_us = time_now_us();
    link_init(&s->in_lane);
    link_init(&s->in_wheel);
    channel_ref(c);
    atomic_fetch_add(&streamer->streams, 1);
    atomic_fetch_add(&streamer->streams_total, 1);
    pthread_mutex_lock(&c->lock);
    link_append(&c->streams, &s->in_channel);
    c->n_streams++;
    s->lane->n_streams++;
    s->cursor = s->lane->inbox.head;
    s->joined_at = c->published;
    s->joined_at_bytes = c->published_bytes;
    pthread_mutex_unlock(&c->lock);
    *ret = s;
    return 0;
}

int stream_join(struct stream *s, const struct buf *bytes, const struct message_id *reached,
                struct error *err)
{
    s->flags |= STREAM_JOINS;
    s->replayed = *reached;
    if (bytes->len == 0)
        return 0;
    /* Already in the stream's form: the rest of a frame that was cut, to the writer. */
    struct notice *n = malloc(sizeof *n + bytes->len);
    if (!n)
        return error_set(err, ERR_NOMEM, "out of memory for a replay");
    *n = (struct notice){.frames = {{0}}};
    atomic_init(&n->refs, 1);
    memcpy(n->data, bytes->data, bytes->len);
    s->notice = n;
    s->rest = (struct iovec){n->data, bytes->len};
    return 0;
}

bool stream_lags(const struct stream *s)
{
    struct channel *c = s->lane->channel;
    pthread_mutex_lock(&c->lock);
    bool lags = c->published - s->joined_at > c->options.max_messages / 2 ||
                c->published_bytes - s->joined_at_bytes > c->options.max_bytes / 2;
    pthread_mutex_unlock(&c->lock);
    return lags;
}

void stream_detach(struct stream *s)
{
    struct channel *c = s->lane->channel;
    pthread_mutex_lock(&c->lock);
    link_remove(&s->in_channel);
    c->n_streams--;
    if (--s->lane->n_streams == 0)
        log_clear(&s->lane->inbox);
    pthread_mutex_unlock(&c->lock);
}

void stream_cancel(struct stream *s)
{
    struct streamer *streamer = s->lane->channel->streamer;
    stream_detach(s);
    stream_free(s);
    streamer_stream_gone(streamer);
}

void stream_run(struct stream *s, int fd)
{
    stream_end_fn *on_end = s->on_end;
    void *ctx = s->ctx;
    s->fd = fd;
    if (pump_add_stream(s->lane->pump, s))
        return;
    stream_cancel(s);
    if (on_end)
        on_end(ctx);
}

/* --- life cycle --- */

static size_t default_pumps(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 1 : (size_t)cores / 2;
}

int streamer_create(size_t n_pumps, int64_t heartbeat_ms, struct streamer **ret, struct error *err)
{
    if (n_pumps == 0)
        n_pumps = default_pumps();
    if (n_pumps > STREAMER_PUMPS_MAX)
        n_pumps = STREAMER_PUMPS_MAX;
    struct streamer *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory for the streamer");
    lock_init(&s->lock);
    cond_init(&s->stream_gone);
    link_init(&s->channels);
    s->heartbeat_ms = heartbeat_ms;
    s->replay_max_ms = INT64_MAX / 2;
    s->tested_fd = s->released_fd = -1;
    s->slow = notice_new_end(STREAM_END_LATER, "too slow");
    s->pumps = calloc(n_pumps, sizeof *s->pumps);
    s->dummy_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = 0;
    if (!s->slow || !s->pumps)
        rc = error_set(err, ERR_NOMEM, "out of memory for the streamer");
    else if (s->dummy_fd < 0)
        rc = error_set_errno(err, errno, "cannot make a socket");
    for (; !rc && s->n_pumps < n_pumps; s->n_pumps += rc == 0)
        rc = pump_start(s, s->n_pumps, &s->pumps[s->n_pumps], err);
    if (rc)
        streamer_free(s);
    else
        *ret = s;
    return rc;
}

void streamer_stream_gone(struct streamer *s)
{
    if (atomic_fetch_sub(&s->streams, 1) != 1 || !atomic_load(&s->stopping))
        return;
    pthread_mutex_lock(&s->lock);
    pthread_cond_signal(&s->stream_gone);
    pthread_mutex_unlock(&s->lock);
}

void streamer_stop(struct streamer *s, int64_t timeout_ms)
{
    int64_t deadline = time_monotonic_ms() + timeout_ms;
    atomic_store(&s->stopping, true);
    pthread_mutex_lock(&s->lock);
    bool stopped = s->stopped;
    s->stopped = true;
    for (struct link *l = s->channels.next; l != &s->channels && !stopped; l = l->next)
        channel_end(LINK_OWNER(l, struct channel, registered), STREAM_END_STOPPING,
                    "the server is stopping");
    while (atomic_load(&s->streams) > 0 && !stopped &&
           cond_wait_until(&s->stream_gone, &s->lock, deadline)) {}
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < s->n_pumps && !stopped; i++)
        pump_stop(s->pumps[i]);
}

void streamer_free(struct streamer *s)
{
    if (!s)
        return;
    streamer_stop(s, 0);
    for (size_t i = 0; i < s->n_pumps; i++)
        pump_free(s->pumps[i]);
    free(s->pumps);
    notice_unref(s->slow);
    if (s->dummy_fd >= 0)
        close(s->dummy_fd);
    pthread_cond_destroy(&s->stream_gone);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- queries --- */

int streamer_check(struct streamer *s, int64_t deadline_ms, struct error *err)
{
    const struct timespec pause = {.tv_nsec = CHECK_PAUSE_MS * 1000000L};
    for (size_t i = 0; i < s->n_pumps; i++) {
        const struct pump_stats *stats = pump_get_stats(s->pumps[i]);
        uint64_t before = count_get(&stats->turns);
        pump_wake(s->pumps[i]);
        while (count_get(&stats->turns) == before) {
            if (time_monotonic_ms() >= deadline_ms)
                return error_set(err, ERR_AGAIN, "the streamer's thread %zu is stuck", i);
            nanosleep(&pause, NULL);
        }
    }
    return 0;
}

void streamer_get_stats(struct streamer *s, struct streamer_stats *ret)
{
    *ret = (struct streamer_stats){
        .streams = atomic_load(&s->streams),
        .streams_total = atomic_load(&s->streams_total),
        .parked = atomic_load(&s->parked),
        .replaying = atomic_load(&s->replaying),
        .replays = atomic_load(&s->replays),
        .replayed = atomic_load(&s->replayed),
        .gaps = atomic_load(&s->gaps),
        .replays_refused = atomic_load(&s->replays_refused),
        .replays_failed = atomic_load(&s->replays_failed),
        .websockets = atomic_load(&s->websockets),
        .websockets_total = atomic_load(&s->websockets_total),
    };
    for (size_t i = 0; i < s->n_pumps; i++) {
        const struct pump_stats *stats = pump_get_stats(s->pumps[i]);
        ret->delivered += count_get(&stats->delivered);
        ret->dropped += count_get(&stats->dropped);
        ret->disconnected_slow += count_get(&stats->disconnected_slow);
        ret->bytes += count_get(&stats->bytes);
        ret->websocket_silent += count_get(&stats->websocket_silent);
        ret->websocket_untold += count_get(&stats->websocket_untold);
        for (int fault = 0; fault < WEBSOCKET_FAULTS; fault++)
            ret->websocket_faults[fault] += count_get(&stats->websocket_faults[fault]);
    }
}
