#include "http/http_priv.h"

#include <stdlib.h>
#include <string.h>

enum { ARENA_BLOCK = 8192, ARENA_ALIGN = 16 };

struct arena_extra {
    struct arena_extra *next;
    _Alignas(ARENA_ALIGN) char bytes[];
};

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (!a->block) {
        a->block = malloc(ARENA_BLOCK);
        if (!a->block)
            return NULL;
        a->cap = ARENA_BLOCK;
    }
    if (rounded <= a->cap - a->used) {
        void *at = a->block + a->used;
        a->used += rounded;
        return at;
    }
    struct arena_extra *extra = malloc(sizeof *extra + rounded);
    if (!extra)
        return NULL;
    extra->next = a->extra;
    a->extra = extra;
    return extra->bytes;
}

char *arena_strndup(struct arena *a, const char *text, size_t len)
{
    char *copy = arena_alloc(a, len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

void arena_reset(struct arena *a)
{
    while (a->extra) {
        struct arena_extra *next = a->extra->next;
        free(a->extra);
        a->extra = next;
    }
    a->used = 0;
}

void arena_release(struct arena *a)
{
    arena_reset(a);
    free(a->block);
    *a = (struct arena){0};
}
