#include "base/map.h"

#include "base/error.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* SipHash-1-3 (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012). */
static uint64_t hash_key[2];
static pthread_once_t hash_key_once = PTHREAD_ONCE_INIT;

static void make_hash_key(void)
{
    if (getrandom(hash_key, sizeof hash_key, 0) != (ssize_t)sizeof hash_key)
        abort();
}

static inline uint64_t rotate(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

uint64_t map_hash(const void *key, size_t len)
{
    pthread_once(&hash_key_once, make_hash_key);
    struct sip s = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                    hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u};
    const unsigned char *p = key;
    for (size_t i = 0; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, 8);
        s.v3 ^= word;
        sip_round(&s);
        s.v0 ^= word;
    }
    uint64_t last = (uint64_t)len << 56;
    for (size_t i = len & ~(size_t)7, shift = 0; i < len; i++, shift += 8)
        last |= (uint64_t)p[i] << shift;
    s.v3 ^= last;
    sip_round(&s);
    s.v0 ^= last;
    s.v2 ^= 0xFF;
    for (int i = 0; i < 3; i++)
        sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_release(struct map *m, void (*free_value)(void *))
{
    if (!m)
        return;
    for (size_t i = 0; i < m->n_entries; i++) {
        if (!m->entries[i].used)
            continue;
        if (free_value)
            free_value(m->entries[i].value);
        free(m->entries[i].key);
    }
    free(m->entries);
    free(m->slots);
    map_init(m);
}

/* The slot that holds the key, or the free one where it would go. n_slots is a power of two. */
static size_t find_slot(const struct map *m, const void *key, size_t len, uint64_t hash)
{
    size_t mask = m->n_slots - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t slot = m->slots[i];
        if (slot == 0)
            return i;
        const struct map_entry *e = &m->entries[slot - 1];
        if (e->used && e->hash == hash && e->key_len == len && memcmp(e->key, key, len) == 0)
            return i;
    }
}

void *map_get(const struct map *m, const void *key, size_t len)
{
    if (m->n == 0)
        return NULL;
    uint32_t slot = m->slots[find_slot(m, key, len, map_hash(key, len))];
    return slot ? m->entries[slot - 1].value : NULL;
}

/* Make room for one more: drop removed entries, grow both arrays, fill the slots anew. */
static int rebuild(struct map *m)
{
    size_t cap = m->n < 8 ? 16 : m->n * 2;
    size_t n_slots = 32;
    while (n_slots < cap * 2)
        n_slots *= 2;
    if (cap >= UINT32_MAX)
        return ERR_LIMIT;
    struct map_entry *entries = malloc(cap * sizeof *entries);
    uint32_t *slots = calloc(n_slots, sizeof *slots);
    if (!entries || !slots) {
        free(entries);
        free(slots);
        return ERR_NOMEM;
    }
    size_t n = 0;
    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].used)
            entries[n++] = m->entries[i];
    free(m->entries);
    free(m->slots);
    m->entries = entries;
    m->slots = slots;
    m->n_entries = n;
    m->cap_entries = cap;
    m->n_slots = n_slots;
    for (size_t i = 0; i < n; i++) {
        size_t s = entries[i].hash & (n_slots - 1);
        while (slots[s])
            s = (s + 1) & (n_slots - 1);
        slots[s] = (uint32_t)(i + 1);
    }
    return 0;
}

int map_set(struct map *m, const void *key, size_t len, void *value, void **ret_old)
{
    uint64_t hash = map_hash(key, len);
    if (ret_old)
        *ret_old = NULL;
    if (m->n) {
        uint32_t slot = m->slots[find_slot(m, key, len, hash)];
        if (slot) {
            if (ret_old)
                *ret_old = m->entries[slot - 1].value;
            m->entries[slot - 1].value = value;
            return 0;
        }
    }
    if (m->n_entries == m->cap_entries) {
        int rc = rebuild(m);
        if (rc)
            return rc;
    }
    char *copy = malloc(len + 1);
    if (!copy)
        return ERR_NOMEM;
    memcpy(copy, key, len);
    copy[len] = '\0';
    m->entries[m->n_entries] =
        (struct map_entry){.key = copy, .key_len = len, .hash = hash, .value = value, .used = true};
    m->n_entries++;
    m->n++;
    m->slots[find_slot(m, key, len, hash)] = (uint32_t)m->n_entries;
    return 0;
}

void *map_remove(struct map *m, const void *key, size_t len)
{
    if (m->n == 0)
        return NULL;
    uint32_t slot = m->slots[find_slot(m, key, len, map_hash(key, len))];
    if (!slot)
        return NULL;
    /* The slot keeps pointing at the dead entry, so that probing goes on past it. */
    struct map_entry *e = &m->entries[slot - 1];
    void *value = e->value;
    free(e->key);
    *e = (struct map_entry){0};
    m->n--;
    return value;
}

struct map_entry *map_next(const struct map *m, const struct map_entry *previous)
{
    size_t i = previous ? (size_t)(previous - m->entries) + 1 : 0;
    while (i < m->n_entries && !m->entries[i].used)
        i++;
    return i < m->n_entries ? &m->entries[i] : NULL;
}
