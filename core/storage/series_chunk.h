/* A run of samples of one series as bytes: what a chunk and a part of a log row hold.
 *
 *   u8 flags | varint n | u64 first time | column of the n - 1 time steps | types | values by type
 *   | quality runs, if any is not good | source code runs, if any is not 0
 *
 * Values are packed by type.  Doubles are scaled decimals where every one of them is one, exactly,
 * else their bits in numeric order; both as numbers or differences at the least width, so that noisy
 * doubles cost about 7 bytes and readings of a sensor 1 or 2.  Texts are lengths and bytes, with a
 * dictionary when they repeat.  Every bit of a value survives (NaN payloads, -0.0).
 *
 * A coder is the scratch memory of one thread. */
#ifndef HYPRXA_STORAGE_SERIES_CHUNK_H
#define HYPRXA_STORAGE_SERIES_CHUNK_H

#include "base/buf.h"
#include "base/error.h"
#include "base/sample.h"
#include "storage/series_codec.h"

enum { CHUNK_SAMPLES_MAX = COLUMN_MAX };

struct chunk_coder;
struct chunk_coder *chunk_coder_new(void); /* NULL: no memory */
void chunk_coder_free(struct chunk_coder *coder);

/* Append the encoding of 1 to CHUNK_SAMPLES_MAX samples, times strictly rising.  ERR_NOMEM,
 * ERR_LIMIT as buf_append(). */
int chunk_encode(struct chunk_coder *coder, const struct sample *samples, size_t n,
                 struct buf *out);

/* Decode into `out`, which has room for CHUNK_SAMPLES_MAX.  Texts point into the input.  CODEC_PAD
 * bytes behind the input must be readable.  ERR_CORRUPT: `out` holds nothing of use. */
int chunk_decode(struct chunk_coder *coder, const uint8_t *bytes, size_t len, struct sample *out,
                 size_t *ret_n);

/* The same with a checksum of 8 bytes behind, as a row of the database holds it. */
int chunk_seal(struct buf *out, size_t from); /* append the checksum of what follows `from` */
/* ERR_CORRUPT, or *ret_len: the length without the checksum. */
int chunk_unseal(const void *bytes, size_t len, size_t *ret_len);

#endif
