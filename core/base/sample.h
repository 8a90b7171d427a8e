/* Series, samples, and the block in which samples travel from a plugin to storage and subscribers.
 *
 * A block is what one plugin call published: allocated once, filled by one thread, then immutable and
 * reference-counted.  `struct sample` has the layout of the SDK's hyprxa_sample (plugin_host asserts
 * it), so that samples cross by memcpy. */
#ifndef HYPRXA_BASE_SAMPLE_H
#define HYPRXA_BASE_SAMPLE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum value_type {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_INT64,
    VALUE_DOUBLE,
    VALUE_STRING,
    VALUE_BYTES,
    VALUE_JSON
};

struct value {
    uint32_t type, len; /* len: bytes at ptr, for STRING (UTF-8), BYTES and JSON (compact text) */
    union {
        uint8_t boolean;
        int64_t i64;
        double f64;
        const void *ptr; /* into the block's or reader's memory */
    } as;
};

enum sample_quality { QUALITY_GOOD, QUALITY_UNCERTAIN, QUALITY_BAD };

struct sample {
    int64_t time_us;
    struct value value;
    uint32_t quality;     /* sample_quality */
    uint32_t source_code; /* the source's own status word; 0: none */
};

/* The identity of a series: one subscription of one source.  Made once by whoever subscribes, then
 * shared.  Everything but the atomics is constant after series_new(). */
struct series {
    atomic_uint refs;
    char *source;    /* name of the source */
    char *canonical; /* the subscription as canonical JSON, defaults filled in */
    size_t canonical_len;
    char *json; /* the subscription as subscribers are shown it, compact JSON */
    size_t json_len;
    int64_t hash;               /* subscription_hash */
    char routing_key[96 + 24];  /* "<source>-<hash>" when it fits, for exchanges and leases */
    atomic_llong storage_id;    /* given by storage at the first append or look-up; 0: none yet */
    atomic_int watchers;        /* > 0: somebody wants this series live on this node */
    atomic_llong held_until_ms; /* monotonic: until when this node may stream it for sure */
    /* where several nodes share the series; 0: none or unknown */
    atomic_llong streamed_us;    /* the newest sample that this node stored and published */
    atomic_llong handed_us;      /* ... that the node did which handed it over */
    atomic_llong again_until_us; /* up to here it is read again, after its node died */
    atomic_llong held_since_us;  /* its replays are complete from here on; INT64_MAX: never */
};

struct series *series_new(const char *source, const char *canonical, const char *json,
                          int64_t hash); /* NULL: out of memory */
struct series *series_ref(struct series *s);
void series_unref(struct series *s);

/* Samples first .. first + n - 1 of the block belong to `series`, times strictly rising. */
struct sample_run {
    struct series *series; /* a reference held by the block */
    uint32_t first, n;
};

/* What the plugin asked to be saved together with the samples before it. */
struct sample_state {
    const char *key;
    const void *bytes;
    size_t len;
};

enum { SAMPLE_BLOCK_HISTORY = 1u << 0 }; /* for storage only, needs no order */

struct sample_block {
    atomic_uint refs;
    uint32_t flags;
    size_t n_runs, n_samples, n_states;
    size_t n_bytes; /* what this block weighs in queues */
    struct sample_run *runs;
    struct sample *samples;
    struct sample_state *states; /* saved in the transaction that stores the samples */
    const char *source;          /* whose states these are; lives as long as the block */
    uint64_t sequence;           /* given by the manager before it goes live; 0: none */
};

/* A block with room for exactly these; `arena` bytes for texts are at *ret_arena.  One allocation.
 * The caller fills runs (taking a reference for each), samples and states.  NULL: no memory. */
struct sample_block *sample_block_new(size_t n_runs, size_t n_samples, size_t n_states,
                                      size_t arena, char **ret_arena);
struct sample_block *sample_block_ref(struct sample_block *b);
void sample_block_unref(struct sample_block *b); /* drops the runs' references with the last one */
/* Leave out the runs of series that `keep` does not want, and with any of them the states.  Only by
 * the one who has the only reference.  Returns how many samples went. */
size_t sample_block_filter(struct sample_block *b, bool (*keep)(void *ctx, const struct series *s),
                           void *ctx);

/* Append the value as JSON (a BYTES value as base64 text).  NaN and infinities are null. */
int value_write_json(struct buf *b, const struct value *v);

#endif
