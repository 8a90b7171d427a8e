#include "base/json.h"
#include "http/sse.h"
#include "http/streamer_priv.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_MAX_MESSAGES = 1000, DEFAULT_MAX_BYTES = 1 << 20, FIRST_ROOM = 8 };
enum { NOTICE_OVERHEAD_MAX = 256, END_REASON_MAX = 1024 };

static const char LAST_CHUNK[] = "0\r\n\r\n";

/* --- notices --- */

/* `plain`: the SSE event; NULL: none.  `close`: the WebSocket frame.  `last` adds the final chunk. */
static struct notice *wrap(const struct buf *plain, bool last, const void *close, size_t close_len)
{
    struct buf chunk = BUF_INIT(SIZE_MAX / 2);
    struct notice *n = NULL;
    size_t offset = 0;
    if (plain) {
        buf_printf(&chunk, "%zx\r\n", plain->len);
        offset = chunk.len;
        if (!plain->failed)
            buf_append(&chunk, plain->data, plain->len);
        buf_append_str(&chunk, "\r\n");
        if (last)
            buf_append_str(&chunk, LAST_CHUNK);
    }
    if (!chunk.failed && !(plain && plain->failed))
        n = calloc(1, sizeof *n + chunk.len + close_len);
    if (n) {
        atomic_init(&n->refs, 1);
        n->frames[MESSAGE_SSE].len = chunk.len;
        n->frames[MESSAGE_SSE_UNCHUNKED].offset = offset;
        n->frames[MESSAGE_SSE_UNCHUNKED].len = plain ? plain->len : 0;
        n->frames[MESSAGE_WEBSOCKET].offset = chunk.len;
        n->frames[MESSAGE_WEBSOCKET].len = close_len;
        if (chunk.len)
            memcpy(n->data, chunk.data, chunk.len);
        if (close_len)
            memcpy(n->data + chunk.len, close, close_len);
    }
    buf_release(&chunk);
    return n;
}

struct notice *notice_new(const char *event, const char *text, size_t len)
{
    struct buf plain = BUF_INIT(len + NOTICE_OVERHEAD_MAX);
    if (event)
        sse_append_event(&plain, event, text, len);
    else
        sse_append_comment(&plain, text, len);
    struct notice *n = wrap(&plain, false, NULL, 0);
    buf_release(&plain);
    return n;
}

struct notice *notice_new_at(const struct message_place *place, const char *event, const char *text,
                             size_t len)
{
    struct buf plain = BUF_INIT(len + NOTICE_OVERHEAD_MAX);
    char id[SSE_ID_SIZE];
    buf_append(&plain, id, sse_format_id(place, id));
    sse_append_event(&plain, event, text, len);
    struct notice *n = wrap(&plain, false, NULL, 0);
    buf_release(&plain);
    return n;
}

struct notice *notice_new_close(unsigned code, const char *reason)
{
    unsigned char frame[WEBSOCKET_CONTROL_SIZE];
    size_t len = websocket_write_close(code, reason, frame);
    return wrap(NULL, false, frame, len);
}

struct notice *notice_ref(struct notice *n)
{
    atomic_fetch_add_explicit(&n->refs, 1, memory_order_relaxed);
    return n;
}

void notice_unref(struct notice *n)
{
    if (n && atomic_fetch_sub_explicit(&n->refs, 1, memory_order_acq_rel) == 1)
        free(n);
}

struct iovec notice_frame(struct notice *n, enum message_frame_kind form)
{
    return (struct iovec){n->data + n->frames[form].offset, n->frames[form].len};
}

/* --- the log --- */

static size_t entry_bytes(const struct entry *e)
{
    return e->message ? message_body(e->message).len : e->notice->frames[MESSAGE_SSE].len;
}

static void entry_release(struct entry *e)
{
    message_unref(e->message);
    notice_unref(e->notice);
}

static void log_drop_oldest(struct log *log)
{
    struct entry *e = log_at(log, log->base++);
    log->bytes -= entry_bytes(e);
    entry_release(e);
}

void log_clear(struct log *log)
{
    while (log->base < log->head)
        log_drop_oldest(log);
}

void log_release(struct log *log)
{
    log_clear(log);
    free(log->entries);
    *log = (struct log){0};
}

static bool log_grow(struct log *log)
{
    size_t room = log->room ? log->room * 2 : FIRST_ROOM;
    struct entry *entries = malloc(room * sizeof *entries);
    if (!entries)
        return false;
    for (uint64_t p = log->base; p < log->head; p++)
        entries[p & (room - 1)] = *log_at(log, p);
    free(log->entries);
    log->entries = entries;
    log->room = room;
    return true;
}

void log_append(struct log *log, const struct channel_options *o, const struct entry *e)
{
    size_t bytes = entry_bytes(e);
    while (log->base < log->head &&
           (log->head - log->base >= o->max_messages || log->bytes + bytes > o->max_bytes))
        log_drop_oldest(log);
    if (log->head - log->base == log->room && !log_grow(log)) {
        log_clear(log); /* no memory: everybody misses these */
        if (log->room == 0) {
            struct entry lost = *e;
            entry_release(&lost);
            log->base = ++log->head;
            return;
        }
    }
    *log_at(log, log->head++) = *e;
    log->bytes += bytes;
}

void log_take(struct log *to, struct log *from, const struct channel_options *o)
{
    if (from->base > to->head) { /* the inbox overran: what is older is out of bounds, too */
        log_clear(to);
        to->base = to->head = from->base;
    }
    for (; from->base < from->head; from->base++)
        log_append(to, o, log_at(from, from->base));
    from->bytes = 0;
}

/* --- lanes --- */

void lane_leave_news(struct lane *lane)
{
    pthread_mutex_lock(&lane->channel->lock);
    lane->in_news = false;
    pthread_mutex_unlock(&lane->channel->lock);
}

void lane_take_inbox(struct lane *lane)
{
    struct channel *c = lane->channel;
    pthread_mutex_lock(&c->lock);
    log_take(&lane->log, &lane->inbox, &c->options);
    if (c->final && !lane->final)
        lane->final = notice_ref(c->final);
    pthread_mutex_unlock(&c->lock);
}

void lane_trim(struct lane *lane)
{
    if (!link_is_empty(&lane->behind) || !link_is_empty(&lane->blocked))
        return;
    pthread_mutex_lock(&lane->channel->lock);
    bool all_listed = lane->n_streams == lane->n_listed;
    pthread_mutex_unlock(&lane->channel->lock);
    if (all_listed)
        log_clear(&lane->log);
}

/* --- life cycle of a channel --- */

struct channel *channel_new(struct streamer *s, const struct channel_options *options)
{
    struct channel *c = calloc(1, sizeof *c + s->n_pumps * sizeof c->lanes[0]);
    if (!c)
        return NULL;
    c->streamer = s;
    c->options = options ? *options : (struct channel_options){0};
    if (c->options.max_messages == 0)
        c->options.max_messages = DEFAULT_MAX_MESSAGES;
    if (c->options.max_bytes == 0)
        c->options.max_bytes = DEFAULT_MAX_BYTES;
    atomic_init(&c->refs, 1);
    lock_init(&c->lock);
    link_init(&c->streams);
    c->n_lanes = s->n_pumps;
    for (size_t i = 0; i < c->n_lanes; i++) {
        struct lane *lane = &c->lanes[i];
        lane->channel = c;
        lane->pump = s->pumps[i];
        link_init(&lane->current);
        link_init(&lane->behind);
        link_init(&lane->blocked);
        link_init(&lane->ready);
    }
    pthread_mutex_lock(&s->lock);
    link_append(&s->channels, &c->registered);
    pthread_mutex_unlock(&s->lock);
    return c;
}

struct channel *channel_ref(struct channel *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void channel_unref(struct channel *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_lock(&c->streamer->lock);
    link_remove(&c->registered);
    pthread_mutex_unlock(&c->streamer->lock);
    for (size_t i = 0; i < c->n_lanes; i++) {
        log_release(&c->lanes[i].inbox);
        log_release(&c->lanes[i].log);
        notice_unref(c->lanes[i].final);
    }
    notice_unref(c->final);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* --- publishing --- */

/* Hand lane `i` to its pump if it has somebody to tell; true: the pump must be woken. */
static bool announce_locked(struct channel *c, size_t i)
{
    struct lane *lane = &c->lanes[i];
    if (lane->n_streams == 0 || lane->in_news)
        return false;
    lane->in_news = true;
    channel_ref(c);
    return pump_add_news(lane->pump, lane);
}

static void wake_pumps(struct channel *c, uint64_t which)
{
    for (size_t i = 0; i < c->n_lanes; i++) {
        if (which >> i & 1)
            pump_wake(c->lanes[i].pump);
    }
}

/* Append a message or a notice to every lane that has streams. */
static void append(struct channel *c, struct message *m, struct notice *n)
{
    uint64_t wake = 0;
    pthread_mutex_lock(&c->lock);
    c->published += m && !c->final;
    c->published_bytes += m ? message_body(m).len : entry_bytes(&(struct entry){.notice = n});
    for (size_t i = 0; i < c->n_lanes && !c->final; i++) {
        if (c->lanes[i].n_streams == 0)
            continue;
        struct entry e = {.message = m ? message_ref(m) : NULL, .notice = n ? notice_ref(n) : NULL};
        log_append(&c->lanes[i].inbox, &c->options, &e);
        wake |= (uint64_t)announce_locked(c, i) << i;
    }
    pthread_mutex_unlock(&c->lock);
    wake_pumps(c, wake);
}

void channel_publish(struct channel *c, struct message *m)
{
    append(c, m, NULL);
}

void channel_notice(struct channel *c, const char *event, const char *json, size_t len)
{
    struct notice *n = notice_new(event, json, len);
    if (n)
        append(c, NULL, n);
    notice_unref(n);
}

struct notice *notice_new_end(enum stream_end code, const char *reason)
{
    struct buf json = BUF_INIT(END_REASON_MAX);
    struct buf plain = BUF_INIT(END_REASON_MAX + NOTICE_OVERHEAD_MAX);
    struct notice *n = NULL;
    unsigned char frame[WEBSOCKET_CONTROL_SIZE];
    size_t frame_len = websocket_write_close((unsigned)code, reason, frame);
    buf_append_lit(&json, "{\"reason\":");
    json_write_string(&json, reason, strlen(reason));
    if (buf_append_lit(&json, "}") == 0 &&
        sse_append_event(&plain, "end", json.data, json.len) == 0)
        n = wrap(&plain, true, frame, frame_len);
    buf_release(&plain);
    buf_release(&json);
    return n;
}

void channel_end(struct channel *c, enum stream_end code, const char *reason)
{
    uint64_t wake = 0;
    struct notice *end = notice_new_end(code, reason);
    if (!end) /* no memory for the reason: end without it */
        end = notice_ref(c->streamer->slow);
    pthread_mutex_lock(&c->lock);
    bool first = !c->final;
    if (first)
        c->final = end;
    for (size_t i = 0; first && i < c->n_lanes; i++)
        wake |= (uint64_t)announce_locked(c, i) << i;
    pthread_mutex_unlock(&c->lock);
    wake_pumps(c, wake);
    if (!first)
        notice_unref(end);
}

/* --- queries --- */

void channel_get_stats(struct channel *c, struct channel_stats *ret)
{
    *ret = (struct channel_stats){0};
    for (size_t i = 0; i < c->n_lanes; i++) {
        ret->delivered += count_get(&c->lanes[i].delivered);
        ret->dropped += count_get(&c->lanes[i].dropped);
    }
    pthread_mutex_lock(&c->lock);
    ret->published = c->published;
    ret->streams = c->n_streams;
    pthread_mutex_unlock(&c->lock);
}

struct stream_info {
    int64_t created_us;
    uint64_t delivered;
};

/* A copy of what each stream tells, so that the callback runs without the lock. */
static struct stream_info *copy_infos(struct channel *c, size_t *ret_n)
{
    size_t n = 0;
    pthread_mutex_lock(&c->lock);
    struct stream_info *infos = malloc((c->n_streams + 1) * sizeof *infos);
    for (struct link *l = c->streams.next; infos && l != &c->streams; l = l->next) {
        struct stream *s = LINK_OWNER(l, struct stream, in_channel);
        infos[n++] = (struct stream_info){s->created_us, count_get(&s->delivered)};
    }
    pthread_mutex_unlock(&c->lock);
    *ret_n = n;
    return infos;
}

void channel_each_stream(struct channel *c, stream_info_fn *each, void *ctx)
{
    size_t n = 0;
    struct stream_info *infos = copy_infos(c, &n);
    for (size_t i = 0; i < n; i++)
        each(ctx, infos[i].created_us, infos[i].delivered);
    free(infos);
}
