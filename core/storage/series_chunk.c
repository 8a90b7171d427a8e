#include "storage/series_chunk.h"

#include <math.h>
#include <stdlib.h>

enum {
    CHUNK_MIXED = 1u << 0, /* values of several types */
    CHUNK_QUALITY = 1u << 1,
    CHUNK_CODES = 1u << 2,
    CHUNK_FLAGS = 7u,

    DOUBLES_ORDERED = 0xff, /* else the number of decimals */
    DECIMALS_MAX = 15,

    TEXT_PLAIN = 0,
    TEXT_DICTIONARY = 1,
    SLOTS = 2 * CHUNK_SAMPLES_MAX,
};

struct chunk_coder {
    uint64_t times[CHUNK_SAMPLES_MAX];
    int64_t ints[CHUNK_SAMPLES_MAX];
    int64_t distinct[CHUNK_SAMPLES_MAX];
    uint64_t scratch[2 * CHUNK_SAMPLES_MAX];
    const struct value *values[CHUNK_SAMPLES_MAX]; /* those of one type, in order */
    struct value *targets[CHUNK_SAMPLES_MAX];
    struct {
        uint16_t index_plus_1[SLOTS];
        const struct value *entries[CHUNK_SAMPLES_MAX];
        size_t n;
    } dictionary;
};

static const double powers[DECIMALS_MAX + 1] = {1,   1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};

struct chunk_coder *chunk_coder_new(void)
{
    return malloc(sizeof(struct chunk_coder));
}

void chunk_coder_free(struct chunk_coder *coder)
{
    free(coder);
}

/* --- doubles --- */

/* Numeric order as the order of int64; its own inverse. */
static int64_t order_bits(int64_t bits)
{
    return bits ^ (int64_t)((uint64_t)(bits >> 63) >> 1);
}

static int64_t bits_of_double(double value)
{
    int64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* `value` as a whole number of 10^-decimals, if dividing that again gives the very same bits. */
static bool scale_exactly(double value, double power, int64_t *ret)
{
    const double round = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to a whole number */
    double scaled = value * power;
    if (!(scaled > -1e15 && scaled < 1e15))
        return false;
    double whole = scaled + round - round;
    *ret = (int64_t)whole;
    return bits_of_double(whole / power) == bits_of_double(value);
}

/* The fewest decimals that write each of a few of the values exactly, or -1. */
static int guess_decimals(const struct value *const *values, size_t n)
{
    size_t step = n / 32 + 1;
    int decimals = 0;
    int64_t ignored;
    for (size_t i = 0; i < n; i += step) {
        while (decimals <= DECIMALS_MAX &&
               !scale_exactly(values[i]->as.f64, powers[decimals], &ignored))
            decimals++;
        if (decimals > DECIMALS_MAX)
            return -1;
    }
    return decimals;
}

static int put_doubles(struct chunk_coder *c, size_t n, struct buf *out)
{
    int decimals = guess_decimals(c->values, n);
    for (size_t i = 0; i < n && decimals >= 0; i++)
        if (!scale_exactly(c->values[i]->as.f64, powers[decimals], &c->ints[i]))
            decimals = -1;
    if (decimals < 0)
        for (size_t i = 0; i < n; i++)
            c->ints[i] = order_bits(c->values[i]->as.i64);
    int rc = codec_put_u8(out, decimals < 0 ? DOUBLES_ORDERED : (unsigned)decimals);
    return rc ? rc : codec_put_repeating(out, c->ints, n, c->distinct, c->scratch);
}

static int get_doubles(struct chunk_coder *c, struct bytes_in *in, size_t n)
{
    unsigned decimals;
    if (codec_get_u8(in, &decimals) || (decimals > DECIMALS_MAX && decimals != DOUBLES_ORDERED) ||
        codec_get_repeating(in, c->ints, n, c->distinct))
        return ERR_CORRUPT;
    if (decimals == DOUBLES_ORDERED) {
        for (size_t i = 0; i < n; i++)
            c->targets[i]->as.i64 = order_bits(c->ints[i]);
        return 0;
    }
    const double power = powers[decimals];
    for (size_t i = 0; i < n; i++)
        c->targets[i]->as.f64 = (double)c->ints[i] / power;
    return 0;
}

/* --- integers and truths --- */

static int put_ints(struct chunk_coder *c, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        c->ints[i] = c->values[i]->as.i64;
    return codec_put_repeating(out, c->ints, n, c->distinct, c->scratch);
}

static int get_ints(struct chunk_coder *c, struct bytes_in *in, size_t n)
{
    if (codec_get_repeating(in, c->ints, n, c->distinct))
        return ERR_CORRUPT;
    for (size_t i = 0; i < n; i++)
        c->targets[i]->as.i64 = c->ints[i];
    return 0;
}

static int put_bools(struct chunk_coder *c, size_t n, struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        c->scratch[i] = c->values[i]->as.boolean != 0;
    return codec_put_column(out, c->scratch, n);
}

static int get_bools(struct chunk_coder *c, struct bytes_in *in, size_t n)
{
    if (codec_get_column(in, c->scratch, n))
        return ERR_CORRUPT;
    for (size_t i = 0; i < n; i++) {
        if (c->scratch[i] > 1)
            return ERR_CORRUPT;
        c->targets[i]->as.boolean = (uint8_t)c->scratch[i];
    }
    return 0;
}

/* --- texts: u8 kind | [varint entries, column of ids] | column of lengths | bytes --- */

static bool same_text(const struct value *a, const struct value *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->as.ptr, b->as.ptr, a->len) == 0);
}

/* Number the distinct texts in ints; false when too few repeat for a dictionary to pay. */
static bool build_dictionary(struct chunk_coder *c, size_t n)
{
    if (n < 4)
        return false;
    c->dictionary.n = 0;
    memset(c->dictionary.index_plus_1, 0, sizeof c->dictionary.index_plus_1);
    for (size_t i = 0; i < n; i++) {
        const struct value *v = c->values[i];
        size_t slot = codec_checksum(v->len ? v->as.ptr : "", v->len) % SLOTS;
        uint16_t found;
        while ((found = c->dictionary.index_plus_1[slot]) != 0 &&
               !same_text(c->dictionary.entries[found - 1], v))
            slot = (slot + 1) % SLOTS;
        if (!found) {
            if (c->dictionary.n >= n / 2)
                return false;
            c->dictionary.entries[c->dictionary.n++] = v;
            found = c->dictionary.index_plus_1[slot] = (uint16_t)c->dictionary.n;
        }
        c->times[i] = found - 1u;
    }
    return true;
}

static int put_text_bytes(struct chunk_coder *c, const struct value *const *texts, size_t n,
                          struct buf *out)
{
    for (size_t i = 0; i < n; i++)
        c->scratch[i] = texts[i]->len;
    int rc = codec_put_column(out, c->scratch, n);
    for (size_t i = 0; i < n && !rc; i++)
        if (texts[i]->len)
            rc = buf_append(out, texts[i]->as.ptr, texts[i]->len);
    return rc;
}

static int put_texts(struct chunk_coder *c, size_t n, struct buf *out)
{
    if (!build_dictionary(c, n)) {
        int rc = codec_put_u8(out, TEXT_PLAIN);
        return rc ? rc : put_text_bytes(c, c->values, n, out);
    }
    int rc = codec_put_u8(out, TEXT_DICTIONARY);
    if (!rc)
        rc = codec_put_varint(out, c->dictionary.n);
    if (!rc)
        rc = codec_put_column(out, c->times, n);
    return rc ? rc : put_text_bytes(c, c->dictionary.entries, c->dictionary.n, out);
}

/* Read n lengths and their bytes into `entries`. */
static int get_text_bytes(struct chunk_coder *c, struct bytes_in *in, size_t n,
                          struct value *const *entries)
{
    if (codec_get_column(in, c->scratch, n))
        return ERR_CORRUPT;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *p;
        if (c->scratch[i] > UINT32_MAX || codec_get_bytes(in, (size_t)c->scratch[i], &p))
            return ERR_CORRUPT;
        entries[i]->len = (uint32_t)c->scratch[i];
        entries[i]->as.ptr = p;
    }
    return 0;
}

static int get_dictionary(struct chunk_coder *c, struct bytes_in *in, size_t n)
{
    uint64_t distinct;
    if (codec_get_varint(in, &distinct) || distinct == 0 || distinct > n ||
        codec_get_column(in, c->times, n) || codec_get_column(in, c->scratch, (size_t)distinct))
        return ERR_CORRUPT;
    /* Offsets in distinct, lengths in scratch. */
    const uint8_t *start = in->at;
    for (size_t i = 0; i < distinct; i++) {
        const uint8_t *p;
        if (c->scratch[i] > UINT32_MAX || codec_get_bytes(in, (size_t)c->scratch[i], &p))
            return ERR_CORRUPT;
        c->distinct[i] = p - start;
    }
    for (size_t i = 0; i < n; i++) {
        if (c->times[i] >= distinct)
            return ERR_CORRUPT;
        c->targets[i]->len = (uint32_t)c->scratch[c->times[i]];
        c->targets[i]->as.ptr = start + c->distinct[c->times[i]];
    }
    return 0;
}

static int get_texts(struct chunk_coder *c, struct bytes_in *in, size_t n)
{
    unsigned kind;
    if (codec_get_u8(in, &kind) || kind > TEXT_DICTIONARY)
        return ERR_CORRUPT;
    return kind == TEXT_PLAIN ? get_text_bytes(c, in, n, c->targets) : get_dictionary(c, in, n);
}

/* --- runs of equal numbers: varint runs | column of lengths | column of numbers --- */

static int put_runs(struct chunk_coder *c, size_t n, struct buf *out)
{
    /* ints holds the numbers; times and distinct take the runs. */
    uint64_t *lengths = c->times, *numbers = c->scratch;
    size_t runs = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || c->ints[i] != c->ints[i - 1]) {
            numbers[runs] = (uint64_t)c->ints[i];
            lengths[runs++] = 0;
        }
        lengths[runs - 1]++;
    }
    int rc = codec_put_varint(out, runs);
    if (!rc)
        rc = codec_put_column(out, lengths, runs);
    return rc ? rc : codec_put_column(out, numbers, runs);
}

static int get_runs(struct chunk_coder *c, struct bytes_in *in, size_t n)
{
    uint64_t runs;
    uint64_t *lengths = c->times, *numbers = c->scratch;
    if (codec_get_varint(in, &runs) || runs > n || codec_get_column(in, lengths, (size_t)runs) ||
        codec_get_column(in, numbers, (size_t)runs))
        return ERR_CORRUPT;
    size_t at = 0;
    for (size_t r = 0; r < runs; r++) {
        if (lengths[r] > n - at || numbers[r] > UINT32_MAX)
            return ERR_CORRUPT;
        for (size_t end = at + (size_t)lengths[r]; at < end; at++)
            c->ints[at] = (int64_t)numbers[r];
    }
    return at == n ? 0 : ERR_CORRUPT;
}

/* --- the whole --- */

static int put_values(struct chunk_coder *c, unsigned type, size_t n, struct buf *out)
{
    switch (type) {
    case VALUE_BOOL:
        return put_bools(c, n, out);
    case VALUE_INT64:
        return put_ints(c, n, out);
    case VALUE_DOUBLE:
        return put_doubles(c, n, out);
    case VALUE_STRING:
    case VALUE_BYTES:
    case VALUE_JSON:
        return put_texts(c, n, out);
    default:
        return 0; /* a null has no bytes */
    }
}

static int get_values(struct chunk_coder *c, struct bytes_in *in, unsigned type, size_t n)
{
    switch (type) {
    case VALUE_NULL:
        return 0;
    case VALUE_BOOL:
        return get_bools(c, in, n);
    case VALUE_INT64:
        return get_ints(c, in, n);
    case VALUE_DOUBLE:
        return get_doubles(c, in, n);
    case VALUE_STRING:
    case VALUE_BYTES:
    case VALUE_JSON:
        return get_texts(c, in, n);
    default:
        return ERR_CORRUPT;
    }
}

static int put_typed(struct chunk_coder *c, const struct sample *samples, size_t n, bool mixed,
                     struct buf *out)
{
    if (!mixed) {
        for (size_t i = 0; i < n; i++)
            c->values[i] = &samples[i].value;
        int rc = codec_put_u8(out, samples[0].value.type);
        return rc ? rc : put_values(c, samples[0].value.type, n, out);
    }
    for (size_t i = 0; i < n; i++)
        c->scratch[i] = samples[i].value.type;
    int rc = codec_put_column(out, c->scratch, n);
    for (unsigned type = VALUE_BOOL; type <= VALUE_JSON && !rc; type++) {
        size_t m = 0;
        for (size_t i = 0; i < n; i++)
            if (samples[i].value.type == type)
                c->values[m++] = &samples[i].value;
        if (m)
            rc = put_values(c, type, m, out);
    }
    return rc;
}

static int get_typed(struct chunk_coder *c, struct bytes_in *in, struct sample *out, size_t n,
                     bool mixed)
{
    unsigned type;
    if (!mixed) {
        if (codec_get_u8(in, &type))
            return ERR_CORRUPT;
        for (size_t i = 0; i < n; i++) {
            out[i].value = (struct value){.type = type};
            c->targets[i] = &out[i].value;
        }
        return get_values(c, in, type, n);
    }
    if (codec_get_column(in, c->scratch, n))
        return ERR_CORRUPT;
    for (size_t i = 0; i < n; i++) {
        if (c->scratch[i] > VALUE_JSON)
            return ERR_CORRUPT;
        out[i].value = (struct value){.type = (uint32_t)c->scratch[i]};
    }
    for (type = VALUE_BOOL; type <= VALUE_JSON; type++) {
        size_t m = 0;
        for (size_t i = 0; i < n; i++)
            if (out[i].value.type == type)
                c->targets[m++] = &out[i].value;
        if (m && get_values(c, in, type, m))
            return ERR_CORRUPT;
    }
    return 0;
}

static unsigned flags_of(const struct sample *samples, size_t n)
{
    uint32_t type = samples[0].value.type, mixed = 0, quality = 0, codes = 0;
    for (size_t i = 0; i < n; i++) {
        mixed |= samples[i].value.type ^ type;
        quality |= samples[i].quality;
        codes |= samples[i].source_code;
    }
    return (mixed ? CHUNK_MIXED : 0u) | (quality ? CHUNK_QUALITY : 0u) | (codes ? CHUNK_CODES : 0u);
}

int chunk_encode(struct chunk_coder *c, const struct sample *samples, size_t n, struct buf *out)
{
    unsigned flags = flags_of(samples, n);
    int rc = codec_put_u8(out, flags);
    if (!rc)
        rc = codec_put_varint(out, n);
    if (!rc)
        rc = codec_put_u64(out, (uint64_t)samples[0].time_us);
    for (size_t i = 1; i < n; i++)
        c->times[i - 1] = (uint64_t)samples[i].time_us - (uint64_t)samples[i - 1].time_us;
    if (!rc && n > 1)
        rc = codec_put_column(out, c->times, n - 1);
    if (!rc)
        rc = put_typed(c, samples, n, flags & CHUNK_MIXED, out);
    if (!rc && flags & CHUNK_QUALITY) {
        for (size_t i = 0; i < n; i++)
            c->ints[i] = samples[i].quality;
        rc = put_runs(c, n, out);
    }
    if (!rc && flags & CHUNK_CODES) {
        for (size_t i = 0; i < n; i++)
            c->ints[i] = samples[i].source_code;
        rc = put_runs(c, n, out);
    }
    return rc;
}

static int get_times(struct chunk_coder *c, struct bytes_in *in, struct sample *out, size_t n)
{
    uint64_t time;
    if (codec_get_u64(in, &time) || (n > 1 && codec_get_column(in, c->times, n - 1)))
        return ERR_CORRUPT;
    out[0].time_us = (int64_t)time;
    for (size_t i = 1; i < n; i++) {
        time += c->times[i - 1];
        out[i].time_us = (int64_t)time;
    }
    return 0;
}

int chunk_decode(struct chunk_coder *c, const uint8_t *bytes, size_t len, struct sample *out,
                 size_t *ret_n)
{
    struct bytes_in in = {bytes, bytes + len};
    unsigned flags;
    uint64_t count;
    if (codec_get_u8(&in, &flags) || flags > CHUNK_FLAGS || codec_get_varint(&in, &count) ||
        count == 0 || count > CHUNK_SAMPLES_MAX)
        return ERR_CORRUPT;
    size_t n = (size_t)count;
    if (get_times(c, &in, out, n) || get_typed(c, &in, out, n, flags & CHUNK_MIXED))
        return ERR_CORRUPT;
    if (flags & CHUNK_QUALITY && get_runs(c, &in, n))
        return ERR_CORRUPT;
    for (size_t i = 0; i < n; i++)
        out[i].quality = flags & CHUNK_QUALITY ? (uint32_t)c->ints[i] : 0;
    if (flags & CHUNK_CODES && get_runs(c, &in, n))
        return ERR_CORRUPT;
    for (size_t i = 0; i < n; i++)
        out[i].source_code = flags & CHUNK_CODES ? (uint32_t)c->ints[i] : 0;
    if (in.at != in.end)
        return ERR_CORRUPT;
    *ret_n = n;
    return 0;
}

int chunk_seal(struct buf *out, size_t from)
{
    return out->failed ? ERR_NOMEM
                       : codec_put_u64(out, codec_checksum(out->data + from, out->len - from));
}

int chunk_unseal(const void *bytes, size_t len, size_t *ret_len)
{
    if (len < CODEC_PAD)
        return ERR_CORRUPT;
    const uint8_t *sum = (const uint8_t *)bytes + len - CODEC_PAD;
    if (codec_load64(sum) != codec_checksum(bytes, len - CODEC_PAD))
        return ERR_CORRUPT;
    *ret_len = len - CODEC_PAD;
    return 0;
}
