#include "plugin_host/integration_priv.h"

#include "base/json_scan.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

/* Samples cross by memcpy: the two layouts and codes are the same. */
_Static_assert(sizeof(struct sample) == sizeof(struct hyprxa_sample), "sample");
_Static_assert(offsetof(struct sample, value) == offsetof(struct hyprxa_sample, value), "value");
_Static_assert(offsetof(struct value, as) == offsetof(struct hyprxa_value, as), "as");
_Static_assert(offsetof(struct sample, quality) == offsetof(struct hyprxa_sample, quality), "q");
_Static_assert((int)VALUE_STRING == (int)HYPRXA_STRING && (int)VALUE_JSON == (int)HYPRXA_JSON &&
                   (int)VALUE_DOUBLE == (int)HYPRXA_DOUBLE,
               "types");

/* One call under way. */
struct call {
    struct link *link;
    struct integration *in;
    bool history;
    bool ordered; /* order_lock is held: a subscription of several links was met */
    int64_t now_ms;
    struct sample_block *block;
    size_t n_runs, n_samples;
    char *arena;
    size_t arena_used;
    uint64_t duplicates, wrong_order, invalid;
};

/* --- before: how much room --- */

static bool is_text(uint32_t type)
{
    return type >= HYPRXA_STRING && type <= HYPRXA_JSON;
}

/* False: more than can be. */
static bool measure(const struct hyprxa_batch *batches, size_t n, size_t *ret_samples,
                    size_t *ret_text)
{
    size_t samples = 0, text = 0;
    for (size_t i = 0; i < n; i++) {
        const struct hyprxa_batch *b = &batches[i];
        if (!b->samples)
            continue;
        if (b->n > UINT32_MAX - samples)
            return false;
        samples += b->n;
        for (size_t j = 0; j < b->n; j++) {
            const struct hyprxa_value *v = &b->samples[j].value;
            if (is_text(v->type) && v->len <= HYPRXA_VALUE_MAX)
                text += v->len;
        }
    }
    *ret_samples = samples;
    *ret_text = text;
    return true;
}

/* --- during: check and copy --- */

/* What is passed on must be what it says: frames and exports splice it. */
static bool text_is_good(const struct hyprxa_value *v)
{
    if (v->len > HYPRXA_VALUE_MAX || (!v->as.ptr && v->len))
        return false;
    if (v->type == HYPRXA_STRING)
        return host_text_is_utf8(v->as.ptr, v->len);
    if (v->type == HYPRXA_JSON)
        return v->len && !memchr(v->as.ptr, '\n', v->len) && !memchr(v->as.ptr, '\r', v->len) &&
               json_scan(v->as.ptr, v->len, JSON_DEPTH_MAX, NULL, NULL, 0, NULL) == 0;
    return true;
}

static bool is_good(const struct hyprxa_sample *s)
{
    return s->time_us >= TIME_US_MIN && s->time_us <= TIME_US_MAX && s->quality <= HYPRXA_BAD &&
           s->value.type <= HYPRXA_JSON && (!is_text(s->value.type) || text_is_good(&s->value));
}

static void copy_sample(struct call *c, const struct hyprxa_sample *s)
{
    struct sample *to = &c->block->samples[c->n_samples++];
    memcpy(to, s, sizeof *to);
    if (!is_text(s->value.type)) {
        to->value.len = 0;
    } else {
        if (s->value.len)
            memcpy(c->arena + c->arena_used, s->value.as.ptr, s->value.len);
        to->value.as.ptr = c->arena + c->arena_used;
        c->arena_used += s->value.len;
    }
}

enum found { FOUND, FOUND_ENDED, FOUND_NOT };

/* Does the link carry it?  The usual case is one comparison. */
static enum found look_up(struct call *c, const struct hyprxa_subscription *pub,
                          struct subscription **ret)
{
    struct subscription *s = subscription_of(c->in, pub);
    if (!s)
        return FOUND_NOT;
    *ret = s;
    if (atomic_load_explicit(&s->owner, memory_order_relaxed) == c->link)
        return FOUND;
    if (!c->ordered) {
        pthread_mutex_lock(&c->in->order_lock);
        c->ordered = true;
    }
    const struct carry *carry = carry_find(s, c->link);
    return !carry ? FOUND_NOT : carry->carried ? FOUND : FOUND_ENDED;
}

/* Take a batch whole or not at all. */
static hyprxa_status take_batch(struct call *c, const struct hyprxa_batch *b)
{
    struct subscription *s = NULL;
    enum found found = b->samples || b->n == 0 ? look_up(c, b->subscription, &s) : FOUND_NOT;
    if (found == FOUND_NOT) {
        c->invalid += b->n;
        return HYPRXA_E_INVALID;
    }
    if (found == FOUND_ENDED) /* one that has no remove() cannot know, and goes on */
        return c->link->ops.remove ? HYPRXA_E_NOT_FOUND : HYPRXA_OK;
    size_t first = c->n_samples, arena_used = c->arena_used;
    uint64_t duplicates = 0;
    int64_t last_us = s->last_us;
    hyprxa_status status = HYPRXA_OK;
    for (size_t i = 0; i < b->n && status == HYPRXA_OK; i++) {
        const struct hyprxa_sample *sample = &b->samples[i];
        if (!is_good(sample)) {
            status = HYPRXA_E_INVALID;
        } else if (c->history || sample->time_us > last_us) {
            copy_sample(c, sample);
            last_us = sample->time_us;
        } else if (sample->time_us == last_us) {
            duplicates++;
        } else {
            status = HYPRXA_E_ORDER;
        }
    }
    if (status != HYPRXA_OK) {
        c->n_samples = first;
        c->arena_used = arena_used;
        *(status == HYPRXA_E_ORDER ? &c->wrong_order : &c->invalid) += b->n;
        return status;
    }
    c->duplicates += duplicates;
    if (c->n_samples > first)
        c->block->runs[c->n_runs++] = (struct sample_run){series_ref(s->series), (uint32_t)first,
                                                          (uint32_t)(c->n_samples - first)};
    if (!c->history) {
        s->last_us = last_us;
        if (c->now_ms)
            atomic_store_explicit(&s->seen_ms, c->now_ms, memory_order_relaxed);
        if (atomic_load_explicit(&s->stale, memory_order_relaxed))
            atomic_store(&c->in->look_stale, true);
    }
    return HYPRXA_OK;
}

/* Before the block can be taken: who takes it may look at the figures. */
static void count(struct call *c)
{
    struct integration *in = c->in;
    if (c->n_samples) {
        atomic_fetch_add(c->history ? &in->history_samples : &in->samples, c->n_samples);
        atomic_fetch_add(&c->link->messages, 1);
    }
    if (c->duplicates)
        atomic_fetch_add(&in->refused_duplicate, c->duplicates);
    if (c->wrong_order)
        atomic_fetch_add(&in->refused_order, c->wrong_order);
    if (c->invalid)
        atomic_fetch_add(&in->refused_invalid, c->invalid);
}

/* Hand the block over, or give its room back if nothing came of it. */
static void finish(struct call *c, size_t samples, size_t bytes)
{
    struct sample_block *b = c->block;
    if (c->n_runs == 0) {
        sample_block_unref(b);
        queue_push(&c->in->queue, NULL, samples, bytes);
        return;
    }
    b->flags = c->history ? SAMPLE_BLOCK_HISTORY : 0;
    b->n_runs = c->n_runs;
    b->n_samples = c->n_samples;
    b->n_bytes = sizeof *b + c->n_runs * sizeof(struct sample_run) +
                 c->n_samples * sizeof(struct sample) + c->arena_used;
    b->source = b->runs[0].series->source;
    queue_push(&c->in->queue, b, samples, bytes);
}

/* The block enters the queue before the locks are left: what another link publishes next for the same
 * subscription comes behind it. */
static hyprxa_status take_batches(struct call *c, const struct hyprxa_batch *batches, size_t n,
                                  size_t samples, size_t bytes)
{
    hyprxa_status first_wrong = HYPRXA_OK;
    pthread_mutex_lock(&c->link->lock);
    c->block->n_runs = 0;
    for (size_t i = 0; i < n; i++) {
        hyprxa_status status = take_batch(c, &batches[i]);
        if (first_wrong == HYPRXA_OK)
            first_wrong = status;
    }
    count(c);
    finish(c, samples, bytes);
    if (c->ordered)
        pthread_mutex_unlock(&c->in->order_lock);
    pthread_mutex_unlock(&c->link->lock);
    return first_wrong;
}

/* --- after --- */

static hyprxa_status refuse_reservation(struct integration *in, int rc, size_t samples)
{
    switch (rc) {
    case ERR_LIMIT:
        atomic_fetch_add(&in->refused_invalid, samples);
        return HYPRXA_E_INVALID;
    case ERR_AGAIN:
        atomic_fetch_add(&in->refused_full, samples);
        return HYPRXA_E_AGAIN;
    case ERR_CLOSED:
        return HYPRXA_E_CANCELED;
    default:
        return HYPRXA_E_NOMEM;
    }
}

static hyprxa_status publish(struct hyprxa_link *pub, const struct hyprxa_batch *batches, size_t n,
                             int32_t timeout_ms, bool history)
{
    struct link *link = (struct link *)(void *)pub;
    if (atomic_load(&link->stopping))
        return HYPRXA_E_CANCELED;
    struct integration *in = link->in;
    size_t samples, text;
    if (n && !batches)
        return HYPRXA_E_INVALID;
    if (!measure(batches, n, &samples, &text))
        return refuse_reservation(in, ERR_LIMIT, 1);
    if (!atomic_load(&link->online)) {
        atomic_fetch_add(&in->dropped_offline, samples);
        return HYPRXA_E_OFFLINE;
    }
    if (n == 0)
        return HYPRXA_OK;
    size_t bytes = sizeof(struct sample_block) + n * sizeof(struct sample_run) +
                   samples * sizeof(struct sample) + text;
    int rc = queue_reserve(&in->queue, &link->waiter, samples, bytes, timeout_ms);
    if (rc)
        return refuse_reservation(in, rc, samples);
    struct call c = {.link = link, .in = in, .history = history};
    c.now_ms = in->options.stale_after_us ? time_monotonic_ms() : 0;
    c.block = sample_block_new(n, samples, 0, text, &c.arena);
    if (!c.block) {
        queue_push(&in->queue, NULL, samples, bytes);
        return HYPRXA_E_NOMEM;
    }
    return take_batches(&c, batches, n, samples, bytes);
}

hyprxa_status link_publish(struct hyprxa_link *link, const struct hyprxa_batch *batches, size_t n,
                           int32_t timeout_ms)
{
    return publish(link, batches, n, timeout_ms, false);
}

hyprxa_status link_publish_history(struct hyprxa_link *link, const struct hyprxa_batch *batches,
                                   size_t n, int32_t timeout_ms)
{
    return publish(link, batches, n, timeout_ms, true);
}

/* --- state --- */

static bool key_is_good(const char *key)
{
    size_t len = key ? strnlen(key, HYPRXA_STATE_KEY_MAX + 1) : 0;
    return len > 0 && len <= HYPRXA_STATE_KEY_MAX && host_text_is_utf8(key, len);
}

static hyprxa_status give(const void *from, size_t len, void *bytes, size_t cap, size_t *ret_len)
{
    *ret_len = len;
    if (len > cap)
        return HYPRXA_E_CAPACITY;
    if (len)
        memcpy(bytes, from, len);
    return HYPRXA_OK;
}

hyprxa_status link_state_get(struct hyprxa_link *pub, const char *key, void *bytes, size_t cap,
                             size_t *ret_len)
{
    struct link *link = (struct link *)(void *)pub;
    if (atomic_load(&link->stopping))
        return HYPRXA_E_CANCELED;
    struct integration *in = link->in;
    if (!key_is_good(key))
        return HYPRXA_E_INVALID;
    /* What was set in this run may not have reached storage yet. */
    pthread_mutex_lock(&in->lock);
    const struct saved_state *saved = map_get(&in->states, key, strlen(key));
    hyprxa_status status =
        saved ? give(saved->bytes, saved->len, bytes, cap, ret_len) : HYPRXA_E_NOT_FOUND;
    pthread_mutex_unlock(&in->lock);
    if (saved || !in->options.state_get)
        return status;
    struct buf out = BUF_INIT(HYPRXA_STATE_MAX);
    int rc = in->options.state_get(in->options.ctx, in->source, key, &out);
    status = rc == 0               ? give(out.data, out.len, bytes, cap, ret_len)
             : rc == ERR_NOT_FOUND ? HYPRXA_E_NOT_FOUND
             : rc == ERR_NOMEM     ? HYPRXA_E_NOMEM
                                   : HYPRXA_E_SOURCE;
    buf_release(&out);
    return status;
}

/* A block without samples: the queue keeps it behind what was published before. */
static struct sample_block *state_block(const struct integration *in, const char *key,
                                        const void *bytes, size_t len)
{
    size_t key_size = strlen(key) + 1, source_size = strlen(in->source) + 1;
    char *arena;
    struct sample_block *b = sample_block_new(0, 0, 1, key_size + source_size + len, &arena);
    if (!b)
        return NULL;
    memcpy(arena, key, key_size);
    memcpy(arena + key_size, in->source, source_size);
    if (len)
        memcpy(arena + key_size + source_size, bytes, len);
    b->source = arena + key_size;
    b->states[0] = (struct sample_state){arena, arena + key_size + source_size, len};
    return b;
}

hyprxa_status link_state_set(struct hyprxa_link *pub, const char *key, const void *bytes,
                             size_t len)
{
    struct link *link = (struct link *)(void *)pub;
    if (atomic_load(&link->stopping))
        return HYPRXA_E_CANCELED;
    struct integration *in = link->in;
    if (!key_is_good(key) || len > HYPRXA_STATE_MAX || (len && !bytes))
        return HYPRXA_E_INVALID;
    struct saved_state *saved = malloc(sizeof *saved + len);
    struct sample_block *block = state_block(in, key, bytes, len);
    size_t weight = block ? block->n_bytes : 0;
    int rc = saved && block ? queue_reserve(&in->queue, &link->waiter, 0, weight, -1) : ERR_NOMEM;
    if (rc) {
        free(saved);
        sample_block_unref(block);
        return rc == ERR_CLOSED  ? HYPRXA_E_CANCELED
               : rc == ERR_LIMIT ? HYPRXA_E_INVALID
                                 : HYPRXA_E_NOMEM;
    }
    saved->len = len;
    if (len)
        memcpy(saved->bytes, bytes, len);
    void *former = NULL;
    pthread_mutex_lock(&in->lock);
    rc = map_set(&in->states, key, strlen(key), saved, &former);
    pthread_mutex_unlock(&in->lock);
    if (rc) {
        free(saved);
        sample_block_unref(block);
        queue_push(&in->queue, NULL, 0, weight);
        return HYPRXA_E_NOMEM;
    }
    free(former);
    queue_push(&in->queue, block, 0, weight);
    return HYPRXA_OK;
}
