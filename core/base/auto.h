/* Release at the end of scope, for plain memory and values of base only.
 *
 *     AUTO_FREE char *name = strdup(x);          free() when the scope ends
 *     AUTO(buf) text = BUF_INIT(4096);           buf_release() when the scope ends
 *     return TAKE(name);                         hand it over instead
 *
 * Never for locks, threads or descriptors, never in SDK headers, and never together with `goto out`
 * in one function (an early goto could jump past an initialisation). */
#ifndef HYPRXA_BASE_AUTO_H
#define HYPRXA_BASE_AUTO_H

#include "base/buf.h"

#include <stdlib.h>

static inline void auto_free_pointer(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}
static inline void auto_release_buf(struct buf *b)
{
    buf_release(b);
}

#define AUTO_FREE  __attribute__((cleanup(auto_free_pointer)))
#define AUTO(type) __attribute__((cleanup(auto_release_##type))) struct type
#define TAKE(pointer)                           \
    __extension__({                             \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL;                       \
        taken_;                                 \
    })

#endif
