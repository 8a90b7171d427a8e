/* Columns of numbers as bytes: the lower half of the chunk encoding.
 *
 * A column of n numbers (n is known to both sides, at most COLUMN_MAX) is a base, a bit width, the
 * numbers less the base packed at that width, and the few that need more bits listed apart.
 * Everything is little-endian.  Writers append to a buf; readers walk a `struct bytes_in` behind
 * whose end at least CODEC_PAD bytes must be readable.  A reader trusts nothing: what does not fit
 * is ERR_CORRUPT.  Not shared between threads. */
#ifndef HYPRXA_STORAGE_SERIES_CODEC_H
#define HYPRXA_STORAGE_SERIES_CODEC_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    COLUMN_MAX = 4096, /* numbers of one column */
    CODEC_PAD = 8,     /* readable bytes behind what is read: the checksum stands there */
};

struct bytes_in {
    const uint8_t *at, *end;
};

/* --- single values --- */
int codec_put_u8(struct buf *out, unsigned value);
int codec_put_u64(struct buf *out, uint64_t value);    /* 8 bytes */
int codec_put_varint(struct buf *out, uint64_t value); /* 1 to 10 bytes */
int codec_get_u8(struct bytes_in *in, unsigned *ret);
int codec_get_u64(struct bytes_in *in, uint64_t *ret);
int codec_get_varint(struct bytes_in *in, uint64_t *ret);
int codec_get_bytes(struct bytes_in *in, size_t n, const uint8_t **ret); /* borrowed */

/* --- columns --- */
int codec_put_column(struct buf *out, const uint64_t *v, size_t n);
int codec_get_column(struct bytes_in *in, uint64_t *v, size_t n);
/* Signed numbers, as they are or as differences, whichever is shorter.  `scratch` has room for 2 n. */
int codec_put_ints(struct buf *out, const int64_t *v, size_t n, uint64_t *scratch);
int codec_get_ints(struct bytes_in *in, int64_t *v, size_t n);
/* As codec_put_ints(), for a column in which many equal the one before. */
int codec_put_repeating(struct buf *out, const int64_t *v, size_t n, int64_t *distinct,
                        uint64_t *scratch);
int codec_get_repeating(struct bytes_in *in, int64_t *v, size_t n, int64_t *distinct);

/* Of stored bytes: finds torn and altered ones, guards against no one. */
uint64_t codec_checksum(const void *bytes, size_t n);

static inline uint64_t codec_load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static inline void codec_store64(uint8_t *p, uint64_t x)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    memcpy(p, &x, sizeof x);
}

#endif
