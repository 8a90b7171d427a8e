/* What did not reach this node during an outage of RabbitMQ is asked for again.
 *
 * The node's queue is gone with its connection, and what other nodes published until it was bound anew
 * with it.  So after an outage every node that may have published is *suspended*: its messages are
 * dropped until it answers a request with a marker and, behind that, in order, all that this node has
 * not seen; what follows the marker is complete.  A request is a message to all nodes, under a key
 * that no subscription can bind, with how far each of them has been seen; the answer goes to this
 * node's queue alone (by the default exchange, the event's key in `type`).  A node that is heard and
 * has not answered is asked again; after many times its messages are let through behind a gap. */
#include "broker/rabbitmq_priv.h"

#include "base/auto.h"
#include "base/log.h"
#include "base/time.h"

#include <amqp_framing.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ASK_MS = 1000,            /* between requests */
    ASKS_MAX = 30,            /* of a node that is heard */
    STRANGERS_MS = 60 * 1000, /* after an outage, nodes not seen before may have published in it */
    KEYS_MAX = 500,           /* more bindings: ask for all messages */
    REQUEST_MAX = 256 * 1024,
    LINE_MAX_BYTES = 320,
};

static const char logger[] = "hyprxa.broker";

/* --- our outages --- */

static bool any_suspended(const struct consumer *c)
{
    for (struct map_entry *e = map_next(&c->marks, NULL); e; e = map_next(&c->marks, e))
        if (((const struct origin_mark *)e->value)->suspended)
            return true;
    return false;
}

void resend_outage(struct consumer *c)
{
    /* The server may have been silent for two heartbeats before that was noticed. */
    int64_t since_us =
        time_now_us() - (2 * c->link.uri->heartbeat_s + 5) * (int64_t)TIME_US_PER_SECOND;
    if (!any_suspended(c) || since_us < c->since_us)
        c->since_us = since_us;
    for (struct map_entry *e = map_next(&c->marks, NULL); e; e = map_next(&c->marks, e)) {
        struct origin_mark *m = e->value;
        m->suspended = true;
        m->asked = 0;
    }
    c->outages++;
}

/* --- asking --- */

static void add_keys(struct consumer *c, struct buf *out)
{
    pthread_mutex_lock(&c->lock);
    bool all = c->bindings.n > KEYS_MAX;
    for (struct map_entry *e = map_next(&c->bindings, NULL); e && !all;
         e = map_next(&c->bindings, e))
        all = strchr(e->key, '\n') != NULL; /* it would end its line */
    for (struct map_entry *e = map_next(&c->bindings, NULL); e && !all;
         e = map_next(&c->bindings, e))
        buf_printf(out, "key %s\n", e->key);
    pthread_mutex_unlock(&c->lock);
}

static void add_marks(struct consumer *c, struct buf *out)
{
    for (struct map_entry *e = map_next(&c->marks, NULL); e; e = map_next(&c->marks, e)) {
        struct origin_mark *m = e->value;
        uint64_t origin;
        if (!m->suspended)
            continue;
        memcpy(&origin, e->key, sizeof origin);
        buf_printf(out, "mark %016" PRIx64 " %" PRIu64 "\n", origin, m->sequence);
    }
}

int resend_ask(struct consumer *c, bool all, struct error *err)
{
    AUTO(buf) text = BUF_INIT(REQUEST_MAX);
    c->ask_ms = 0;
    c->asked_ms = time_monotonic_ms();
    if (all)
        c->strangers_ms = c->asked_ms + STRANGERS_MS;
    buf_printf(&text, "from %016" PRIx64 "\nto %s\nsince %" PRId64 "\n%s", c->origin, c->queue,
               c->since_us, all ? "all\n" : "");
    add_marks(c, &text);
    add_keys(c, &text);
    if (text.failed)
        return error_set(err, ERR_NOMEM, "out of memory for a request");
    return link_status(amqp_basic_publish(c->link.conn, LINK_CHANNEL,
                                          amqp_cstring_bytes(c->exchange_name),
                                          amqp_cstring_bytes(RESEND_KEY), 0, 0, NULL,
                                          (amqp_bytes_t){text.len, text.data}),
                       "publishing", err);
}

int resend_ask_when_due(struct consumer *c, struct error *err)
{
    return c->ask_ms && time_monotonic_ms() >= c->ask_ms ? resend_ask(c, false, err) : 0;
}

static void plan_to_ask(struct consumer *c)
{
    if (!c->ask_ms)
        c->ask_ms = c->asked_ms + ASK_MS;
}

/* --- hearing of nodes --- */

static struct origin_mark *mark_of(struct consumer *c, uint64_t origin)
{
    struct origin_mark *m = map_get(&c->marks, &origin, sizeof origin);
    if (m)
        return m;
    m = calloc(1, sizeof *m);
    if (!m || map_set(&c->marks, &origin, sizeof origin, m, NULL)) {
        free(m);
        return NULL;
    }
    m->suspended = c->outages && time_monotonic_ms() < c->strangers_ms;
    return m;
}

static void let_through(struct consumer *c, uint64_t origin, struct origin_mark *m)
{
    m->suspended = false;
    log_warning(logger, "%s: node %016" PRIx64 " does not answer what was missed of its messages",
                c->link.name, origin);
    consumer_tell(c, &(struct broker_news){BROKER_GAP, c->since_us, time_now_us()});
}

/* It is there, and may owe us messages. */
static bool is_suspended(struct consumer *c, uint64_t origin, struct origin_mark *m)
{
    if (m->suspended && !c->ask_ms && m->asked++ == ASKS_MAX)
        let_through(c, origin, m);
    if (m->suspended)
        plan_to_ask(c);
    return m->suspended;
}

enum sighting resend_sight(struct consumer *c, const struct message_id *id)
{
    struct origin_mark *m = id->origin ? mark_of(c, id->origin) : NULL;
    if (!m) /* none of ours; or no memory: rather twice than never */
        return SIGHT_NEW;
    if (is_suspended(c, id->origin, m))
        return SIGHT_SUSPENDED;
    if (id->epoch < m->epoch || (id->epoch == m->epoch && id->sequence <= m->sequence))
        return SIGHT_SEEN;
    m->epoch = id->epoch;
    m->sequence = id->sequence;
    return SIGHT_NEW;
}

void resend_answered(struct consumer *c, const struct message_id *id, amqp_bytes_t body)
{
    struct origin_mark *m = id->origin ? mark_of(c, id->origin) : NULL;
    if (!m)
        return;
    m->suspended = false;
    m->asked = 0;
    if (body.len && *(const char *)body.bytes == '1') /* some of it is not stored any more */
        consumer_tell(c, &(struct broker_news){BROKER_GAP, c->since_us, time_now_us()});
}

/* --- being asked --- */

struct request {
    uint64_t from;
    char queue[LINE_MAX_BYTES];
    bool wanted; /* of this node */
    struct broker_resend resend;
    char *keys[KEYS_MAX];
};

static void read_line(struct consumer *c, char *line, struct request *ret)
{
    uint64_t origin, sequence;
    if (sscanf(line, "from %16" SCNx64, &ret->from) == 1 ||
        sscanf(line, "since %20" SCNd64, &ret->resend.since_us) == 1)
        return;
    if (strcmp(line, "all") == 0) {
        ret->wanted = true;
    } else if (strncmp(line, "to ", 3) == 0) {
        snprintf(ret->queue, sizeof ret->queue, "%s", line + 3);
    } else if (sscanf(line, "mark %16" SCNx64 " %20" SCNu64, &origin, &sequence) == 2) {
        if (origin == c->origin) {
            ret->wanted = true;
            ret->resend.after = sequence;
        }
    } else if (strncmp(line, "key ", 4) == 0 && ret->resend.n_keys < KEYS_MAX) {
        ret->keys[ret->resend.n_keys++] = line + 4;
    }
}

void resend_requested(struct consumer *c, amqp_bytes_t body)
{
    AUTO_FREE char *text = body.len <= REQUEST_MAX ? strndup(body.bytes, body.len) : NULL;
    AUTO_FREE struct request *request = calloc(1, sizeof *request);
    char *rest = text;
    if (!text || !request)
        return;
    for (char *line = strtok_r(rest, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        read_line(c, line, request);
    request->resend.queue = request->queue;
    request->resend.keys = (const char *const *)request->keys;
    struct origin_mark *m = request->from ? mark_of(c, request->from) : NULL;
    if (m)
        is_suspended(c, request->from, m);
    pthread_mutex_lock(&c->lock);
    broker_resend_fn *resend = c->on_resend;
    void *ctx = c->on_resend_ctx;
    pthread_mutex_unlock(&c->lock);
    if (resend && request->wanted && *request->queue)
        resend(ctx, &request->resend);
}
