/* A hash map from byte strings to pointers.
 *
 * Keys are copied; values are the caller's.  Hashing is SipHash-1-3 under a random key of the
 * process, so no client can choose colliding keys.  Not shared between threads.  Iteration order is
 * the order of insertion as long as nothing is removed. */
#ifndef HYPRXA_BASE_MAP_H
#define HYPRXA_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_entry {
    char *key; /* NUL-terminated copy */
    size_t key_len;
    uint64_t hash;
    void *value;
    bool used;
};

struct map {
    struct map_entry *entries; /* in insertion order; removed ones have used == false */
    size_t n_entries, cap_entries;
    uint32_t *slots; /* index + 1 into entries; 0 free; open addressing */
    size_t n_slots;
    size_t n; /* live entries */
};

void map_init(struct map *m);
/* `free_value` (may be NULL) is called for each value. */
void map_release(struct map *m, void (*free_value)(void *));

void *map_get(const struct map *m, const void *key, size_t len);
/* Insert or replace; `ret_old` (may be NULL) gets the former value or NULL.  ERR_NOMEM: unchanged. */
int map_set(struct map *m, const void *key, size_t len, void *value, void **ret_old);
void *map_remove(struct map *m, const void *key, size_t len); /* the value, or NULL */

/* for (struct map_entry *e = map_next(m, NULL); e; e = map_next(m, e)); removing `e` is allowed. */
struct map_entry *map_next(const struct map *m, const struct map_entry *previous);

uint64_t map_hash(const void *key, size_t len); /* the keyed hash itself, for other tables */

#endif
