#include "base/sample.h"

#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct series *series_new(const char *source, const char *canonical, const char *json, int64_t hash)
{
    struct series *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->source = strdup(source);
    s->canonical = strdup(canonical);
    s->json = strdup(json);
    if (!s->source || !s->canonical || !s->json) {
        series_unref(s);
        return NULL;
    }
    s->canonical_len = strlen(canonical);
    s->json_len = strlen(json);
    s->hash = hash;
    snprintf(s->routing_key, sizeof s->routing_key, "%s-%lld", source, (long long)hash);
    return s;
}

struct series *series_ref(struct series *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void series_unref(struct series *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(s->source);
    free(s->canonical);
    free(s->json);
    free(s);
}

/* Offsets of the parts in one allocation, each aligned for its type by the order of the parts. */
struct sample_block *sample_block_new(size_t n_runs, size_t n_samples, size_t n_states,
                                      size_t arena, char **ret_arena)
{
    const size_t limit = SIZE_MAX / 8 / sizeof(struct sample);
    if (n_runs > limit || n_samples > limit || n_states > limit || arena > SIZE_MAX / 8)
        return NULL;
    size_t runs_at = sizeof(struct sample_block);
    size_t samples_at = runs_at + n_runs * sizeof(struct sample_run);
    size_t states_at = samples_at + n_samples * sizeof(struct sample);
    size_t arena_at = states_at + n_states * sizeof(struct sample_state);
    char *base = malloc(arena_at + arena);
    if (!base)
        return NULL;
    struct sample_block *b = (struct sample_block *)(void *)base;
    *b = (struct sample_block){.n_runs = n_runs,
                               .n_samples = n_samples,
                               .n_states = n_states,
                               .n_bytes = arena_at + arena,
                               .runs = (void *)(base + runs_at),
                               .samples = (void *)(base + samples_at),
                               .states = (void *)(base + states_at)};
    atomic_init(&b->refs, 1);
    for (size_t i = 0; i < n_runs; i++)
        b->runs[i].series = NULL;
    if (ret_arena)
        *ret_arena = base + arena_at;
    return b;
}

struct sample_block *sample_block_ref(struct sample_block *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void sample_block_unref(struct sample_block *b)
{
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < b->n_runs; i++)
        series_unref(b->runs[i].series);
    free(b);
}

size_t sample_block_filter(struct sample_block *b, bool (*keep)(void *ctx, const struct series *s),
                           void *ctx)
{
    size_t kept = 0, gone = 0;
    for (size_t i = 0; i < b->n_runs; i++) {
        if (keep(ctx, b->runs[i].series)) {
            b->runs[kept++] = b->runs[i];
        } else {
            gone += b->runs[i].n;
            series_unref(b->runs[i].series);
        }
    }
    if (kept < b->n_runs)
        b->n_states = 0; /* they would tell that all of it is stored */
    b->n_runs = kept;
    b->n_samples -= gone; /* the runs still say where theirs begin */
    return gone;
}

static int write_base64(struct buf *b, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int rc = buf_append_char(b, '"');
    for (size_t i = 0; i < n && !rc; i += 3) {
        unsigned group = (unsigned)bytes[i] << 16;
        if (i + 1 < n)
            group |= (unsigned)bytes[i + 1] << 8;
        if (i + 2 < n)
            group |= bytes[i + 2];
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63],
                        i + 1 < n ? digits[group >> 6 & 63] : '=',
                        i + 2 < n ? digits[group & 63] : '='};
        rc = buf_append(b, four, sizeof four);
    }
    return rc ? rc : buf_append_char(b, '"');
}

int value_write_json(struct buf *b, const struct value *v)
{
    switch (v->type) {
    case VALUE_BOOL:
        return json_write_bool(b, v->as.boolean != 0);
    case VALUE_INT64:
        return buf_append_int(b, v->as.i64);
    case VALUE_DOUBLE:
        return json_write_double(b, v->as.f64);
    case VALUE_STRING:
        return json_write_string(b, v->as.ptr, v->len);
    case VALUE_BYTES:
        return write_base64(b, v->as.ptr, v->len);
    case VALUE_JSON:
        return buf_append(b, v->as.ptr, v->len);
    case VALUE_NULL:
    default:
        return buf_append_lit(b, "null");
    }
}
