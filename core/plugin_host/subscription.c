#include "plugin_host/integration_priv.h"

#include "base/digest.h"
#include "base/thread.h"
#include "base/time.h"

#include <stdlib.h>
#include <string.h>

enum { MAGIC = 0x53554253, DEAD_MAX = 65536 };

struct subscription *subscription_of(const struct integration *in,
                                     const struct hyprxa_subscription *pub)
{
    /* `id` points into our struct around `pub`: one that a plugin copied or made up points elsewhere,
     * and is found out before anything behind its end is read. */
    struct subscription *s = (struct subscription *)(uintptr_t)pub;
    return s && pub->id == s->id && s->magic == MAGIC && s->in == in ? s : NULL;
}

int subscription_new(struct integration *in, struct series *series, int64_t stored_us,
                     struct subscription **ret)
{
    struct subscription *s = calloc(1, sizeof *s);
    if (!s)
        return ERR_NOMEM;
    void *former = NULL;
    unsigned char digest[16] = {0};
    if (map_set(&in->table, series->canonical, series->canonical_len, s, &former)) {
        free(s);
        return ERR_NOMEM;
    }
    /* What was published before in this integration's life may still be on its way to storage. */
    struct subscription *before = former;
    int64_t last_us = before && before->last_us > stored_us ? before->last_us : stored_us;
    digest_shake128(series->canonical, series->canonical_len, digest);
    digest_hex(digest, sizeof digest, s->id);
    s->pub = (struct hyprxa_subscription){.size = sizeof s->pub,
                                          .json_len = (uint32_t)series->canonical_len,
                                          .json = series->canonical,
                                          .id = s->id,
                                          .last_time_us = last_us};
    s->magic = MAGIC;
    s->in = in;
    s->series = series_ref(series);
    s->last_us = last_us;
    atomic_init(&s->owner, NULL);
    atomic_init(&s->stale, false);
    atomic_init(&s->seen_ms, time_monotonic_ms());
    s->refs = 1;
    in->n_dead++;
    if (before) {
        in->n_dead--;
        subscription_unref(before);
    }
    *ret = s;
    return 0;
}

void subscription_unref(struct subscription *s)
{
    if (--s->refs)
        return;
    s->magic = 0;
    series_unref(s->series);
    free(s);
}

void subscription_end(struct subscription *s)
{
    struct integration *in = s->in;
    if (!s->live)
        return;
    s->live = false;
    in->n_live--;
    in->n_dead++;
    if (atomic_exchange(&s->stale, false))
        atomic_fetch_sub(&in->stale_series, 1);
}

void subscription_forget_old(struct integration *in)
{
    if (in->n_dead <= DEAD_MAX)
        return;
    /* The map is walked from the oldest. */
    struct map_entry *e = map_next(&in->table, NULL);
    while (e && in->n_dead > DEAD_MAX / 2) {
        struct map_entry *next = map_next(&in->table, e);
        struct subscription *s = e->value;
        if (!s->live && !s->staged) {
            map_remove(&in->table, e->key, e->key_len);
            in->n_dead--;
            subscription_unref(s);
        }
        e = next;
    }
}

/* --- carrying --- */

struct carry *carry_find(const struct subscription *s, const struct link *link)
{
    struct carry *c = s->carries;
    while (c && c->link != link)
        c = c->next_of_sub;
    return c;
}

static int carry_add(struct link *link, struct subscription *s, struct carry **ret)
{
    struct carry *c = calloc(1, sizeof *c);
    if (!c)
        return ERR_NOMEM;
    c->sub = s;
    s->refs++;
    c->link = link;
    c->next_of_link = link->carries;
    if (link->carries)
        link->carries->prev_of_link = c;
    link->carries = c;
    pthread_mutex_lock(&s->in->order_lock);
    c->next_of_sub = s->carries;
    s->carries = c;
    pthread_mutex_unlock(&s->in->order_lock);
    *ret = c;
    return 0;
}

static void set_owner(struct link *lock_of, struct subscription *s, struct link *owner)
{
    pthread_mutex_lock(&lock_of->lock);
    atomic_store_explicit(&s->owner, owner, memory_order_relaxed);
    pthread_mutex_unlock(&lock_of->lock);
}

int carry_begin(struct link *link, struct subscription *s)
{
    struct carry *c = carry_find(s, link);
    if (c && c->carried)
        return 0;
    if (!c && carry_add(link, s, &c))
        return ERR_NOMEM;
    struct link *owner = atomic_load_explicit(&s->owner, memory_order_relaxed);
    if (owner)
        set_owner(owner, s, NULL);
    pthread_mutex_lock(&link->lock);
    c->carried = true;
    if (s->n_links == 0)
        atomic_store_explicit(&s->owner, link, memory_order_relaxed);
    pthread_mutex_unlock(&link->lock);
    s->n_links++;
    link->n_carried++;
    return 0;
}

static void carry_stop(struct carry *c)
{
    struct subscription *s = c->sub;
    struct link *link = c->link;
    pthread_mutex_lock(&link->lock);
    c->carried = false;
    if (atomic_load_explicit(&s->owner, memory_order_relaxed) == link)
        atomic_store_explicit(&s->owner, NULL, memory_order_relaxed);
    pthread_mutex_unlock(&link->lock);
    c->ended_ms = time_monotonic_ms();
    link->n_carried--;
    if (--s->n_links != 1)
        return;
    for (struct carry *other = s->carries; other; other = other->next_of_sub)
        if (other->carried)
            set_owner(other->link, s, other->link);
}

void carry_end(struct link *link, struct subscription *s)
{
    struct carry *c = carry_find(s, link);
    if (c && c->carried)
        carry_stop(c);
}

void carry_end_all(struct link *link)
{
    for (struct carry *c = link->carries; c; c = c->next_of_link)
        if (c->carried)
            carry_stop(c);
}

static void carry_free(struct carry *c)
{
    struct subscription *s = c->sub;
    pthread_mutex_lock(&s->in->order_lock);
    struct carry **at = &s->carries;
    while (*at != c)
        at = &(*at)->next_of_sub;
    *at = c->next_of_sub;
    pthread_mutex_unlock(&s->in->order_lock);
    if (c->prev_of_link)
        c->prev_of_link->next_of_link = c->next_of_link;
    else
        c->link->carries = c->next_of_link;
    if (c->next_of_link)
        c->next_of_link->prev_of_link = c->prev_of_link;
    free(c);
    subscription_unref(s);
}

void carry_release(struct link *link)
{
    carry_end_all(link);
    while (link->carries)
        carry_free(link->carries);
}

void carry_sweep(struct link *link, int64_t before_ms)
{
    struct carry *next;
    for (struct carry *c = link->carries; c; c = next) {
        next = c->next_of_link;
        if (!c->carried && c->ended_ms < before_ms)
            carry_free(c);
    }
}
