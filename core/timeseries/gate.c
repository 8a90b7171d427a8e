#include "timeseries/gate.h"

#include "base/auto.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "base/map.h"
#include "base/sample.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    BODY_MAX = 64 << 20,
    SUBSCRIPTION_MAX = 64 << 10,
    LATE_PERIODS = 3,         /* of a series, after which something is missing */
    LATE_UNKNOWN_US = 1000000 /* ... where its period is not known */
};

static const char logger[] = "hyprxa.timeseries";

struct gate_series {
    struct series *series;  /* a reference */
    uint64_t origin, epoch; /* who published it last; 0: nobody yet */
    int64_t seen_us;
    int64_t period_us; /* between the last two messages of one node; 0: not known */
    struct buf alias;  /* another text that means this subscription; the dispatcher's */
};

struct gate {
    struct gate_options options; /* set at init, then const */
    pthread_mutex_t lock;
    struct map series; /* routing key -> gate_series; guarded by lock */
    /* atomic */
    atomic_ullong duplicates, cut, invalid, foreign, gaps;
};

/* --- reading a message --- */

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
        p++;
    return p;
}

/* Behind the text that begins at p.  NULL: it does not end. */
static const char *skip_text(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '\\')
            p++;
        else if (*p == '"')
            return p + 1;
    }
    return NULL;
}

/* Behind the value that begins at p, of whatever type. */
static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    do {
        p = skip_space(p, end);
        if (p >= end)
            return NULL;
        if (*p == '"') {
            p = skip_text(p, end);
            if (!p)
                return NULL;
            continue;
        }
        depth += *p == '{' || *p == '[';
        if ((*p == '}' || *p == ']') && depth-- == 0)
            return NULL;
        bool scalar = !strchr("{}[],:", *p);
        do
            p++;
        while (scalar && p < end && !strchr("{}[],: \t\r\n", *p));
    } while (depth);
    return p;
}

/* Where the value of a member of the object at p begins.  NULL: there is none. */
static const char *find_member(const char *p, const char *end, const char *name, size_t len)
{
    if (p >= end || *p != '{')
        return NULL;
    p = skip_space(p + 1, end);
    while (p && p < end && *p == '"') {
        const char *text = p + 1, *behind = skip_text(p, end);
        if (!behind)
            return NULL;
        p = skip_space(behind, end);
        if (p >= end || *p != ':')
            return NULL;
        p = skip_space(p + 1, end);
        if ((size_t)(behind - 1 - text) == len && memcmp(text, name, len) == 0)
            return p;
        p = skip_value(p, end);
        p = p ? skip_space(p, end) : NULL;
        if (p && p < end && *p == ',')
            p = skip_space(p + 1, end);
    }
    return NULL;
}

static bool item_time(const char *item, const char *end, int64_t *ret_us)
{
    char text[64];
    const char *p = find_member(item, end, "timestamp", 9);
    if (!p || p >= end || *p != '"')
        return false;
    const char *behind = skip_text(p, end);
    if (!behind || (size_t)(behind - p) - 2 >= sizeof text)
        return false;
    memcpy(text, p + 1, (size_t)(behind - p) - 2);
    text[behind - p - 2] = '\0';
    return time_parse(text, "UTC", 0, ret_us, NULL) == 0;
}

struct span {
    const char *items; /* behind the '[' */
    const char *newer; /* the first item newer than what was seen; NULL: none */
    int64_t first_us;  /* of that */
    int64_t last_us;
};

/* False: it is no message of samples, or has none. */
static bool read_span(const struct message_frame *body, int64_t seen_us, struct span *ret)
{
    const char *end = body->data + body->len;
    const char *p = find_member(skip_space(body->data, end), end, "items", 5);
    if (!p || p >= end || *p != '[')
        return false;
    *ret = (struct span){.items = p + 1, .last_us = INT64_MIN};
    for (p = skip_space(p + 1, end); p < end && *p != ']';) {
        int64_t time_us;
        if (!item_time(p, end, &time_us))
            return false;
        if (!ret->newer && time_us > seen_us) {
            ret->newer = p;
            ret->first_us = time_us;
        }
        if (time_us > ret->last_us)
            ret->last_us = time_us;
        p = skip_value(p, end);
        p = p ? skip_space(p, end) : end;
        if (p < end && *p == ',')
            p = skip_space(p + 1, end);
    }
    return p < end && ret->last_us > INT64_MIN;
}

/* The message without the items that were seen before.  NULL: out of memory. */
static struct message *without_old(struct message *message, const struct span *span)
{
    struct message_frame body = message_body(message);
    AUTO(buf) out = BUF_INIT(BODY_MAX);
    buf_append(&out, body.data, (size_t)(span->items - body.data));
    buf_append(&out, span->newer, (size_t)(body.data + body.len - span->newer));
    return out.failed ? NULL : message_new(message_id(message), span->first_us, out.data, out.len);
}

/* --- the gate --- */

/* Does something seem to be missing before `span`?  With its node the series' period may change. */
static bool is_late(const struct gate_series *s, const struct span *span)
{
    int64_t allowed_us = s->period_us ? LATE_PERIODS * s->period_us : LATE_UNKNOWN_US;
    return s->seen_us != INT64_MIN && span->first_us - s->seen_us > allowed_us;
}

/* Remember what goes through now.  True: samples may be missing before it. */
static bool note_locked(struct gate_series *s, const struct message_id *id, const struct span *span)
{
    bool other = s->origin && (s->origin != id->origin || s->epoch != id->epoch);
    bool late = other && is_late(s, span);
    if (!other && s->seen_us != INT64_MIN)
        s->period_us = span->first_us - s->seen_us;
    s->origin = id->origin;
    s->epoch = id->epoch;
    s->seen_us = span->last_us;
    return late;
}

/* What a program that is none of ours sent is spliced into streams as it is: it must be JSON, and gets
 * compact.  A new reference; NULL: it is not, or there is no memory. */
static struct message *checked(struct message *message)
{
    struct message_frame body = message_body(message);
    AUTO(buf) text = BUF_INIT(BODY_MAX);
    if (message_id(message)->origin)
        return message_ref(message);
    if (json_scan(body.data, body.len, JSON_DEPTH_MAX, &text, NULL, 0, NULL))
        return NULL;
    return message_new(message_id(message), message_time_us(message), text.data, text.len);
}

/* Is the message of this subscription?  Hashes, and with them keys, may be equal where the
 * subscriptions are not; and texts may differ that mean the same. */
static bool is_of(struct gate_series *s, const struct message_frame *body)
{
    const char *end = body->data + body->len;
    const char *p = find_member(skip_space(body->data, end), end, "subscription", 12);
    const char *behind = p ? skip_value(p, end) : NULL;
    if (!behind)
        return false;
    size_t len = (size_t)(behind - p);
    if (len == s->series->json_len && memcmp(p, s->series->json, len) == 0)
        return true;
    if (len == s->alias.len && memcmp(p, s->alias.data, len) == 0)
        return true;
    AUTO_JSON *value = NULL;
    AUTO(buf) canonical = BUF_INIT(SUBSCRIPTION_MAX);
    if (json_parse(p, len, &value, NULL) || json_write_canonical(&canonical, value, NULL) ||
        canonical.len != s->series->canonical_len ||
        memcmp(canonical.data, s->series->canonical, canonical.len) != 0)
        return false;
    buf_clear(&s->alias);
    buf_append(&s->alias, p, len);
    return true;
}

/* As gate_filter(), of a message of samples of `s`, which is the caller's. */
static struct message *pass(struct gate *g, struct gate_series *s, struct message *message)
{
    struct message_frame body = message_body(message);
    struct span span = {0};
    int64_t seen_us = s->seen_us; /* only the dispatcher changes it */
    if (!read_span(&body, seen_us, &span)) {
        if (atomic_fetch_add(&g->invalid, 1) == 0)
            log_warning(logger, "what came for %s is no message of samples: dropped",
                        s->series->routing_key);
        return NULL;
    }
    if (!is_of(s, &body)) {
        if (atomic_fetch_add(&g->foreign, 1) == 0)
            log_warning(logger, "what came for %s is of another subscription: dropped",
                        s->series->routing_key);
        return NULL;
    }
    if (!span.newer) {
        atomic_fetch_add(&g->duplicates, 1);
        return NULL;
    }
    pthread_mutex_lock(&g->lock);
    bool late = note_locked(s, message_id(message), &span);
    pthread_mutex_unlock(&g->lock);
    if (late) {
        atomic_fetch_add(&g->gaps, 1);
        g->options.gap(g->options.ctx, s->series, seen_us, span.first_us);
    }
    if (span.newer == skip_space(span.items, body.data + body.len))
        return message_ref(message);
    atomic_fetch_add(&g->cut, 1);
    return without_old(message, &span);
}

struct message *gate_filter(void *gate, const char *key, struct message *message)
{
    struct gate *g = gate;
    pthread_mutex_lock(&g->lock);
    struct gate_series *s = map_get(&g->series, key, strlen(key));
    pthread_mutex_unlock(&g->lock);
    if (!s)
        return message_ref(message);
    struct message *good = checked(message);
    struct message *passed = good ? pass(g, s, good) : NULL;
    if (!good)
        atomic_fetch_add(&g->invalid, 1);
    message_unref(good);
    return passed;
}

int gate_watch(struct gate *g, struct series *series)
{
    int rc = 0;
    if (!g)
        return 0;
    size_t len = strlen(series->routing_key);
    pthread_mutex_lock(&g->lock);
    if (!map_get(&g->series, series->routing_key, len)) {
        struct gate_series *s = calloc(1, sizeof *s);
        rc = s ? map_set(&g->series, series->routing_key, len, s, NULL) : ERR_NOMEM;
        if (rc) {
            free(s);
        } else {
            s->series = series_ref(series);
            s->seen_us = INT64_MIN;
            buf_init(&s->alias, SUBSCRIPTION_MAX);
        }
    }
    pthread_mutex_unlock(&g->lock);
    return rc;
}

int gate_last_time(struct gate *g, const struct series *series, int64_t *ret_us)
{
    int rc = ERR_NOT_FOUND;
    if (!g)
        return rc;
    pthread_mutex_lock(&g->lock);
    const struct gate_series *s =
        map_get(&g->series, series->routing_key, strlen(series->routing_key));
    if (s && s->seen_us != INT64_MIN) {
        *ret_us = s->seen_us;
        rc = 0;
    }
    pthread_mutex_unlock(&g->lock);
    return rc;
}

/* --- life --- */

int gate_new(const struct gate_options *options, struct gate **ret, struct error *err)
{
    struct gate *g = calloc(1, sizeof *g);
    if (!g)
        return error_set(err, ERR_NOMEM, "out of memory");
    g->options = *options;
    lock_init(&g->lock);
    map_init(&g->series);
    *ret = g;
    return 0;
}

static void gate_series_free(void *value)
{
    struct gate_series *s = value;
    series_unref(s->series);
    buf_release(&s->alias);
    free(s);
}

void gate_free(struct gate *g)
{
    if (!g)
        return;
    map_release(&g->series, gate_series_free);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void gate_get_stats(struct gate *g, struct gate_stats *ret)
{
    *ret = (struct gate_stats){0};
    if (!g)
        return;
    *ret = (struct gate_stats){.duplicates = atomic_load(&g->duplicates),
                               .cut = atomic_load(&g->cut),
                               .invalid = atomic_load(&g->invalid),
                               .foreign = atomic_load(&g->foreign),
                               .gaps = atomic_load(&g->gaps)};
}
