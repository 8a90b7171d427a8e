#include "http/replay.h"

#include "base/log.h"
#include "base/time.h"
#include "http/http_priv.h"
#include "http/sse.h"
#include "http/stream_start.h"
#include "http/streamer_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    PORTION_MAX = 64 << 20,      /* one message may be large */
    JOIN_BYTES_MAX = 256 * 1024, /* read while messages pile up in the channel; else once more */
    JOIN_ROUNDS = 100,
    GAP_MAX = 256,
};

/* --- a portion --- */

int replay_add(struct replay *out, struct message *m)
{
    struct message_frame frame = message_frame(m, out->form);
    if (frame.len == 0 || buf_append(&out->bytes, frame.data, frame.len))
        return ERR_NOMEM;
    out->messages++;
    return 0;
}

static void append_time(struct buf *json, const char *name, int64_t time_us)
{
    char text[TIME_ISO_SIZE];
    if (time_us == INT64_MIN) {
        buf_printf(json, "\"%s\":null,", name);
        return;
    }
    time_format_iso(time_us, text);
    buf_printf(json, "\"%s\":\"%s\",", name, text);
}

int replay_add_gap(struct replay *out, const struct replay_gap *gap)
{
    struct buf json = BUF_INIT(GAP_MAX);
    buf_append_lit(&json, "{");
    append_time(&json, "from", gap->from_us);
    append_time(&json, "to", gap->to_us);
    if (gap->count < 0)
        buf_append_lit(&json, "\"count\":null}");
    else
        buf_printf(&json, "\"count\":%lld}", (long long)gap->count);
    struct notice *n = json.failed ? NULL : notice_new_at(gap->place, "gap", json.data, json.len);
    buf_release(&json);
    if (!n)
        return ERR_NOMEM;
    struct iovec frame = notice_frame(n, out->form);
    int rc = buf_append(&out->bytes, frame.iov_base, frame.iov_len);
    notice_unref(n);
    out->gaps++;
    return rc;
}

/* --- running --- */

/* One replay while it runs. */
struct run {
    struct http_request *request;
    struct channel *channel;
    const struct stream_replay *replay;
    struct replay out;
    int64_t deadline_ms;
};

static int next_portion(struct run *run, struct error *err)
{
    struct streamer *streamer = run->channel->streamer;
    if (atomic_load(&streamer->stopping))
        return error_set(err, ERR_CLOSED, "The server is stopping.");
    if (time_monotonic_ms() >= run->deadline_ms)
        return error_set(err, ERR_TIMEOUT, "The replay takes too long: go on from the last id.");
    int rc = run->replay->next(run->replay->ctx, &run->out, err);
    atomic_fetch_add_explicit(&streamer->replayed, run->out.messages, memory_order_relaxed);
    atomic_fetch_add_explicit(&streamer->gaps, run->out.gaps, memory_order_relaxed);
    run->out.messages = run->out.gaps = 0;
    return rc;
}

static int send_portion(struct run *run, struct error *err)
{
    struct buf *bytes = &run->out.bytes;
    if (bytes->failed)
        return error_set(err, ERR_NOMEM, "out of memory for a replay");
    int rc = bytes->len ? http_send(run->request, bytes->data, bytes->len) : 0;
    buf_clear(bytes);
    return rc ? error_set(err, ERR_CLOSED, "the client is gone") : 0;
}

static int send_until_caught_up(struct run *run, struct error *err)
{
    int more = 1;
    while (more > 0) {
        more = next_portion(run, err);
        int rc = more < 0 ? more : send_portion(run, err);
        if (rc)
            return rc;
    }
    return more;
}

/* Messages pile up for `s` in its channel: read what was published before, without sending.  1: it
 * takes too long for the channel's bounds; 0: the stream can go live behind it. */
static int read_rest(struct run *run, struct stream *s, struct error *err)
{
    int more = 1;
    while (more > 0 && run->out.bytes.len < JOIN_BYTES_MAX && !stream_lags(s))
        more = next_portion(run, err);
    if (more < 0)
        return more;
    return more > 0 || stream_lags(s);
}

/* Go live behind what was read, which is sent first; and who is cut before the first message behind it
 * need not read it all again. */
static int join(struct run *run, struct stream *s, struct error *err)
{
    struct message_place place = {.id = run->out.reached};
    if (sse_append_place(&run->out.bytes, &place, run->out.form))
        return error_set(err, ERR_NOMEM, "out of memory for a replay");
    return stream_join(s, &run->out.bytes, &place.id, err);
}

int replay_run(struct http_request *r, struct channel *c, enum message_frame_kind form,
               const struct stream_replay *replay, stream_end_fn *on_end, void *ctx,
               struct stream **ret, struct error *err)
{
    struct run run = {.request = r,
                      .channel = c,
                      .replay = replay,
                      .out = {.form = form, .bytes = BUF_INIT(PORTION_MAX)},
                      .deadline_ms = time_monotonic_ms() + c->streamer->replay_max_ms};
    struct stream *s = NULL;
    int rc = 1;
    for (int round = 0; rc > 0; round++) {
        rc = send_until_caught_up(&run, err);
        if (!rc)
            rc = stream_new(c, form, on_end, ctx, &s, err);
        if (!rc)
            rc = read_rest(&run, s, err);
        if (rc > 0 && round == JOIN_ROUNDS)
            rc = error_set(err, ERR_LIMIT, "More is published than can be replayed.");
        if (!rc)
            rc = join(&run, s, err);
        if (!rc)
            break;
        if (s)
            stream_cancel(s);
        s = NULL;
        if (rc > 0 && send_portion(&run, err))
            rc = ERR_CLOSED;
    }
    buf_release(&run.out.bytes);
    if (!rc)
        *ret = s;
    return rc;
}

/* --- the request --- */

const struct http_param http_resume_params[] = {
    {.name = "Last-Event-ID",
     .where = HTTP_HEADER,
     .summary = "Go on behind the event with this id; wins over the queries"},
    {.name = "last_event_id", .summary = "The same, for clients that cannot set a header"},
    {.name = "since",
     .type = HTTP_TIME,
     .summary = "Begin with what is stored since then: a date-time, or relative to now as -15m"},
    {.name = "timezone",
     .summary = "IANA name of the zone of times without an offset; by default the server's"},
    {0},
};

static bool read_since(struct http_request *r, const char *text, struct resume *ret)
{
    struct error err = ERROR_INIT;
    int rc = time_parse(text, http_query(r, "timezone"), time_now_us(), &ret->since_us, &err);
    if (rc)
        http_respond_detail(r, 422, rc == ERR_INVALID ? "Unprocessable Entity" : err.message);
    ret->kind = RESUME_SINCE;
    return rc == 0;
}

bool http_query_resume(struct http_request *r, struct resume *ret)
{
    const char *header = http_header(r, "Last-Event-ID");
    const char *id = http_query(r, "last_event_id"), *since = http_query(r, "since");
    *ret = (struct resume){.kind = RESUME_LIVE};
    /* An EventSource sends whatever id it saw last, also one of another server, and gives up for good
     * when the answer is an error.  So what cannot be read is a place that cannot be found. */
    if (header && *header) {
        ret->kind = message_place_parse(header, &ret->place) ? RESUME_BEHIND : RESUME_UNKNOWN;
        return true;
    }
    if (id) {
        ret->kind = RESUME_BEHIND;
        if (message_place_parse(id, &ret->place))
            return true;
        http_respond_detail(r, 422, "last_event_id is not an id of this server's events.");
        return false;
    }
    if (since && !read_since(r, since, ret))
        return false;
    if (since && ret->since_us > time_now_us())
        ret->kind = RESUME_LIVE; /* nothing is stored yet, and clocks may differ */
    return true;
}
