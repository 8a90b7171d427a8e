/* One writer thread of the streamer: its epoll, its turns, its clock. */
#include "base/time.h"
#include "http/streamer_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_AT_ONCE = 256,
    STREAMS_A_TURN = 256, /* then another lane may write */
    TURNS_AT_ONCE = 4,    /* then sockets and arrivals are looked at */
    DUE_AT_ONCE = 256,
    READS_AT_ONCE = 64,
    WHEEL_SLOTS = 32,
    TICKS_A_HEARTBEAT = 16,
    LINGER_MS = 5000,      /* for a stream to take its end */
    CLOSE_REPLY_MS = 2000, /* for a WebSocket to answer it */
};

struct pump {
    /* set at init, then const */
    struct streamer *streamer;
    int epoll_fd, event_fd;
    int64_t tick_ms;
    pthread_t thread;

    pthread_mutex_t lock;
    /* guarded by lock */
    struct lane *news;
    struct link arrivals; /* streams, by in_wheel */
    bool asleep, stopping, stopped;

    /* the thread's own */
    struct link ready;    /* lanes with work */
    struct link readable; /* WebSockets that may have sent more */
    struct link wheel[WHEEL_SLOTS], due;
    int64_t tick; /* the last one whose slot was emptied */
    size_t n_streams;
    int64_t now_ms;
    struct frame_run run;

    struct pump_stats stats;
};

/* --- the clock: every stream is in the slot of the tick when it must be looked at --- */

static void wheel_set(struct pump *p, struct stream *s, int64_t due_ms)
{
    int64_t tick = (due_ms + p->tick_ms - 1) / p->tick_ms;
    if (tick <= p->tick)
        tick = p->tick + 1;
    if (tick >= p->tick + WHEEL_SLOTS)
        tick = p->tick + WHEEL_SLOTS - 1; /* looked at early, and put off again */
    link_remove(&s->in_wheel);
    link_append(&p->wheel[tick % WHEEL_SLOTS], &s->in_wheel);
}

static void wheel_advance(struct pump *p)
{
    int64_t tick = p->now_ms / p->tick_ms;
    if (tick - p->tick > WHEEL_SLOTS)
        p->tick = tick - WHEEL_SLOTS;
    while (p->tick < tick)
        link_move_all(&p->due, &p->wheel[++p->tick % WHEEL_SLOTS]);
}

/* Until the next slot with somebody in it. */
static int wheel_timeout(const struct pump *p)
{
    if (p->n_streams == 0)
        return -1;
    for (int64_t tick = p->tick + 1; tick < p->tick + WHEEL_SLOTS; tick++) {
        if (!link_is_empty(&p->wheel[tick % WHEEL_SLOTS])) {
            int64_t wait = tick * p->tick_ms - time_monotonic_ms();
            return wait > 0 ? (int)wait : 0;
        }
    }
    return (int)p->tick_ms;
}

/* --- streams come and go --- */

static bool is_ending(const struct stream *s)
{
    return s->closing || s->lane->final;
}

static void lane_make_ready(struct pump *p, struct lane *lane)
{
    if (lane->is_ready)
        return;
    lane->is_ready = true;
    channel_ref(lane->channel);
    link_append(&p->ready, &lane->ready);
}

/* Read away what the client sent, for else close() would reset the connection and take the last
 * event with it. */
static void drain_input(int fd)
{
    char bytes[4096];
    for (int i = 0; i < 16 && recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0; i++) {}
}

/* Out of its lane and its channel. */
static void lane_leave(struct stream *s)
{
    link_remove(&s->in_lane);
    if (--s->lane->n_listed == 0)
        lane_trim(s->lane);
    stream_detach(s);
}

/* The stream is gone: out of every list, closed, its owner told. */
static void stream_end(struct pump *p, struct stream *s)
{
    struct streamer *streamer = p->streamer;
    bool leave = !(s->flags & STREAM_LINGERS);
    stream_end_fn *on_end = s->on_end;
    void *ctx = s->ctx;
    if (s->flags & STREAM_LAST)
        drain_input(s->fd);
    epoll_ctl(p->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    link_remove(&s->in_wheel);
    if (s->ws)
        link_remove(&s->ws->readable);
    p->n_streams--;
    if (leave)
        lane_leave(s);
    stream_free(s);
    if (leave && on_end)
        on_end(ctx);
    streamer_stream_gone(streamer);
}

/* It has said all; nobody but this pump needs to know that it waits for the client's close frame, or
 * after a fault, when nothing that comes has a meaning, for the end of the connection. */
static void stream_linger(struct pump *p, struct stream *s)
{
    s->flags |= STREAM_LINGERS;
    s->active_ms = p->now_ms;
    wheel_set(p, s, p->now_ms + CLOSE_REPLY_MS);
    lane_leave(s);
    if (s->flags & STREAM_FAULT)
        shutdown(s->fd, SHUT_WR);
    if (s->on_end)
        s->on_end(s->ctx);
}

static void stream_arrives(struct pump *p, struct stream *s)
{
    struct epoll_event event = {.events = EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    if (s->ws) {
        event.events |= EPOLLIN;
        s->ws->heard_ms = p->now_ms;
    }
    link_append(&s->lane->behind, &s->in_lane);
    s->lane->n_listed++;
    p->n_streams++;
    s->active_ms = p->now_ms;
    wheel_set(p, s, p->now_ms + p->streamer->heartbeat_ms);
    if (epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, s->fd, &event))
        stream_end(p, s); /* the kernel's memory or limit of watches */
    else
        lane_make_ready(p, s->lane);
}

/* Put the stream where its progress says. */
static void stream_place(struct pump *p, struct stream *s, enum stream_progress progress)
{
    struct lane *lane = s->lane;
    if (progress == STREAM_GONE) {
        stream_end(p, s);
        return;
    }
    if (progress == STREAM_LEFT) {
        stream_linger(p, s);
        return;
    }
    if (progress == STREAM_FULL)
        s->flags |= STREAM_BLOCKED;
    if (is_ending(s))
        wheel_set(p, s, s->active_ms + LINGER_MS);
    link_remove(&s->in_lane);
    link_append(progress == STREAM_CURRENT  ? &lane->current
                : progress == STREAM_BEHIND ? &lane->behind
                                            : &lane->blocked,
                &s->in_lane);
}

/* It may write, or has something to write. */
static void stream_write_soon(struct pump *p, struct stream *s)
{
    link_remove(&s->in_lane);
    link_append(&s->lane->behind, &s->in_lane);
    lane_make_ready(p, s->lane);
}

static void stream_event(struct pump *p, struct stream *s, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLERR) || (events & EPOLLRDHUP && !s->ws)) {
        stream_end(p, s);
        return;
    }
    if (events & EPOLLOUT && s->flags & STREAM_BLOCKED) {
        s->flags &= ~(unsigned)STREAM_BLOCKED;
        stream_write_soon(p, s);
    }
    if (s->ws && events & (EPOLLIN | EPOLLRDHUP) && link_is_empty(&s->ws->readable))
        link_append(&p->readable, &s->ws->readable);
}

/* Send the control frames that reading or the clock has left. */
static void stream_answer(struct pump *p, struct stream *s)
{
    enum stream_progress progress = STREAM_CURRENT;
    if (!(s->flags & (STREAM_BLOCKED | STREAM_LINGERS)) && s->rest.iov_len == 0)
        progress = stream_write_control(s, &p->stats, p->now_ms);
    if (progress != STREAM_CURRENT)
        stream_place(p, s, progress);
}

/* What came in ends it: say so, once a full socket has taken the rest. */
static void stream_begin_end(struct pump *p, struct stream *s)
{
    s->active_ms = p->now_ms;
    wheel_set(p, s, p->now_ms + LINGER_MS);
    if (!(s->flags & STREAM_BLOCKED))
        stream_write_soon(p, s);
}

/* Let up to READS_AT_ONCE WebSockets be read, one after the other. */
static void take_input(struct pump *p)
{
    for (int i = 0; i < READS_AT_ONCE && !link_is_empty(&p->readable); i++) {
        struct websocket *ws = LINK_OWNER(p->readable.next, struct websocket, readable);
        struct stream *s = ws->stream;
        bool was_ending = s->closing;
        link_remove(&ws->readable);
        enum stream_progress progress = stream_read(s, &p->stats, p->now_ms);
        if (progress == STREAM_GONE) {
            stream_end(p, s);
            continue;
        }
        if (progress == STREAM_BEHIND)
            link_append(&p->readable, &ws->readable);
        if (s->closing && !was_ending)
            stream_begin_end(p, s);
        else if (!s->closing)
            stream_answer(p, s);
    }
}

/* A WebSocket asks its client for a sign of life. */
static void websocket_is_due(struct pump *p, struct stream *s)
{
    int64_t due_ms = stream_check_life(s, p->streamer->heartbeat_ms, p->now_ms);
    if (due_ms < 0) {
        count_add(&p->stats.websocket_silent, 1);
        stream_end(p, s);
        return;
    }
    wheel_set(p, s, due_ms);
    stream_answer(p, s);
}

static void stream_is_due(struct pump *p, struct stream *s)
{
    int64_t heartbeat_ms = p->streamer->heartbeat_ms;
    int64_t idle_ms = p->now_ms - s->active_ms;
    if (s->flags & STREAM_LINGERS && idle_ms >= CLOSE_REPLY_MS) {
        stream_end(p, s);
        return;
    }
    if (s->flags & STREAM_LINGERS) {
        wheel_set(p, s, s->active_ms + CLOSE_REPLY_MS);
        return;
    }
    if (is_ending(s)) {
        if (idle_ms >= LINGER_MS)
            stream_end(p, s);
        else
            wheel_set(p, s, s->active_ms + LINGER_MS);
        return;
    }
    if (s->ws) {
        websocket_is_due(p, s);
        return;
    }
    if (s->flags & STREAM_BLOCKED || s->cursor < s->lane->log.head) {
        wheel_set(p, s, p->now_ms + heartbeat_ms);
        return;
    }
    enum stream_progress progress = STREAM_CURRENT;
    if (idle_ms >= heartbeat_ms)
        progress = stream_ping(s, &p->stats, p->now_ms);
    wheel_set(p, s, s->active_ms + heartbeat_ms);
    if (progress != STREAM_CURRENT)
        stream_place(p, s, progress);
}

/* --- turns --- */

/* Where slowness ends a stream, look at the full ones now and then: their sockets may never say
 * anything again. */
static void end_slow_ones(struct pump *p, struct lane *lane)
{
    const struct channel_options *o = &lane->channel->options;
    if (!o->disconnect_slow || lane->log.base - lane->slow_checked <= o->max_messages / 16)
        return;
    lane->slow_checked = lane->log.base;
    for (struct link *l = lane->blocked.next; l != &lane->blocked; l = l->next) {
        struct stream *s = LINK_OWNER(l, struct stream, in_lane);
        if (s->closing || !stream_overran(s))
            continue;
        stream_skip_lost(s, &p->stats);
        s->active_ms = p->now_ms;
        wheel_set(p, s, p->now_ms + LINGER_MS);
    }
}

/* The channel has ended: from now on a full socket has LINGER_MS to take the rest. */
static void limit_blocked_ones(struct pump *p, struct lane *lane)
{
    for (struct link *l = lane->blocked.next; l != &lane->blocked; l = l->next) {
        struct stream *s = LINK_OWNER(l, struct stream, in_lane);
        s->active_ms = p->now_ms;
        wheel_set(p, s, p->now_ms + LINGER_MS);
    }
}

/* Let up to STREAMS_A_TURN streams of the lane that came first write. */
static void take_turn(struct pump *p)
{
    struct lane *lane = LINK_OWNER(p->ready.next, struct lane, ready);
    link_remove(&lane->ready);
    uint64_t head = lane->log.head;
    bool ended = lane->final;
    lane_take_inbox(lane);
    p->run.lane = NULL;
    p->now_ms = time_monotonic_ms();
    bool ends = lane->final && !ended;
    if (lane->log.head != head || ends)
        link_move_all(&lane->behind, &lane->current);
    if (ends)
        limit_blocked_ones(p, lane);
    end_slow_ones(p, lane);
    for (int i = 0; i < STREAMS_A_TURN && !link_is_empty(&lane->behind); i++) {
        struct stream *s = LINK_OWNER(lane->behind.next, struct stream, in_lane);
        stream_place(p, s, stream_write(s, &p->run, &p->stats, p->now_ms));
    }
    if (!link_is_empty(&lane->behind)) {
        link_append(&p->ready, &lane->ready);
        return;
    }
    lane_trim(lane);
    lane->is_ready = false;
    channel_unref(lane->channel);
}

static void look_at_due(struct pump *p)
{
    wheel_advance(p);
    for (int i = 0; i < DUE_AT_ONCE && !link_is_empty(&p->due); i++) {
        struct stream *s = LINK_OWNER(p->due.next, struct stream, in_wheel);
        stream_is_due(p, s);
    }
}

/* --- the loop --- */

/* Take what other threads have left; false: stop. */
static bool take_orders(struct pump *p)
{
    struct link arrivals;
    link_init(&arrivals);
    pthread_mutex_lock(&p->lock);
    p->asleep = false;
    struct lane *news = p->news;
    p->news = NULL;
    link_move_all(&arrivals, &p->arrivals);
    bool go_on = !p->stopping;
    p->stopped = !go_on;
    pthread_mutex_unlock(&p->lock);

    while (!link_is_empty(&arrivals)) {
        struct stream *s = LINK_OWNER(arrivals.next, struct stream, in_wheel);
        link_remove(&s->in_wheel);
        stream_arrives(p, s);
    }
    while (news) {
        struct lane *lane = news;
        news = lane->next_news;
        lane_leave_news(lane);
        lane_make_ready(p, lane);
        channel_unref(lane->channel); /* the queue of ready lanes has its own */
    }
    return go_on;
}

static int prepare_to_wait(struct pump *p)
{
    if (!link_is_empty(&p->ready) || !link_is_empty(&p->due) || !link_is_empty(&p->readable))
        return 0;
    pthread_mutex_lock(&p->lock);
    p->asleep = !p->news && link_is_empty(&p->arrivals) && !p->stopping;
    bool asleep = p->asleep;
    pthread_mutex_unlock(&p->lock);
    return asleep ? wheel_timeout(p) : 0;
}

static void end_everything(struct pump *p)
{
    for (int i = 0; i < WHEEL_SLOTS; i++)
        link_move_all(&p->due, &p->wheel[i]);
    while (!link_is_empty(&p->due))
        stream_end(p, LINK_OWNER(p->due.next, struct stream, in_wheel));
    while (!link_is_empty(&p->ready)) {
        struct lane *lane = LINK_OWNER(p->ready.next, struct lane, ready);
        link_remove(&lane->ready);
        channel_unref(lane->channel);
    }
}

static void *run(void *arg)
{
    struct pump *p = arg;
    struct epoll_event events[EVENTS_AT_ONCE];
    do {
        int n = epoll_wait(p->epoll_fd, events, EVENTS_AT_ONCE, prepare_to_wait(p));
        p->now_ms = time_monotonic_ms();
        count_add(&p->stats.turns, 1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) /* else it is the wake-up */
                stream_event(p, events[i].data.ptr, events[i].events);
        }
        take_input(p);
        look_at_due(p);
        bool go_on = take_orders(p);
        for (int i = 0; i < TURNS_AT_ONCE && !link_is_empty(&p->ready) && go_on; i++)
            take_turn(p);
        if (!go_on)
            break;
    } while (true);
    end_everything(p);
    return NULL;
}

/* --- from other threads --- */

void pump_wake(struct pump *p)
{
    uint64_t one = 1;
    /* It can only fail when the counter is full, and then the pump is awake. */
    if (write(p->event_fd, &one, sizeof one) < 0)
        return;
}

bool pump_add_news(struct pump *p, struct lane *lane)
{
    pthread_mutex_lock(&p->lock);
    bool stopped = p->stopped, wake = p->asleep;
    if (!stopped) {
        lane->next_news = p->news;
        p->news = lane;
        p->asleep = false;
    }
    pthread_mutex_unlock(&p->lock);
    if (stopped)
        channel_unref(lane->channel); /* never the last one: the caller has another */
    return wake;
}

bool pump_add_stream(struct pump *p, struct stream *s)
{
    pthread_mutex_lock(&p->lock);
    bool taken = !p->stopped, wake = p->asleep;
    if (taken) {
        link_append(&p->arrivals, &s->in_wheel);
        p->asleep = false;
    }
    pthread_mutex_unlock(&p->lock);
    if (taken && wake)
        pump_wake(p);
    return taken;
}

struct pump_stats *pump_get_stats(struct pump *p)
{
    return &p->stats;
}

/* --- life cycle --- */

static int open_descriptors(struct pump *p)
{
    p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (p->epoll_fd < 0 || p->event_fd < 0 ||
        epoll_ctl(p->epoll_fd, EPOLL_CTL_ADD, p->event_fd, &event))
        return -1;
    return 0;
}

int pump_start(struct streamer *s, size_t number, struct pump **ret, struct error *err)
{
    struct pump *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(err, ERR_NOMEM, "out of memory for the streamer");
    p->streamer = s;
    p->tick_ms = s->heartbeat_ms / TICKS_A_HEARTBEAT + 1;
    p->tick = time_monotonic_ms() / p->tick_ms;
    lock_init(&p->lock);
    link_init(&p->arrivals);
    link_init(&p->ready);
    link_init(&p->readable);
    link_init(&p->due);
    for (int i = 0; i < WHEEL_SLOTS; i++)
        link_init(&p->wheel[i]);
    int rc = 0;
    if (open_descriptors(p))
        rc = error_set_errno(err, errno, "cannot open the streamer's epoll");
    char name[16];
    snprintf(name, sizeof name, "streamer-%u", (unsigned)number % 1000);
    if (!rc)
        rc = thread_start(&p->thread, name, run, p, err);
    if (rc)
        pump_free(p);
    else
        *ret = p;
    return rc;
}

void pump_stop(struct pump *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_mutex_unlock(&p->lock);
    pump_wake(p);
    pthread_join(p->thread, NULL);
}

void pump_free(struct pump *p)
{
    if (!p)
        return;
    if (p->epoll_fd >= 0)
        close(p->epoll_fd);
    if (p->event_fd >= 0)
        close(p->event_fd);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
