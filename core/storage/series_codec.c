#include "storage/series_codec.h"

#include "base/error.h"

#include <stdbool.h>

/* --- single values --- */

int codec_put_u8(struct buf *out, unsigned value)
{
    return buf_append_char(out, (char)(unsigned char)value);
}

int codec_put_u64(struct buf *out, uint64_t value)
{
    uint8_t bytes[8];
    codec_store64(bytes, value);
    return buf_append(out, bytes, sizeof bytes);
}

int codec_put_varint(struct buf *out, uint64_t value)
{
    uint8_t bytes[10];
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        bytes[n++] = (uint8_t)(value | 0x80);
    bytes[n++] = (uint8_t)value;
    return buf_append(out, bytes, n);
}

static size_t left(const struct bytes_in *in)
{
    return (size_t)(in->end - in->at);
}

int codec_get_bytes(struct bytes_in *in, size_t n, const uint8_t **ret)
{
    if (n > left(in))
        return ERR_CORRUPT;
    *ret = in->at;
    in->at += n;
    return 0;
}

int codec_get_u8(struct bytes_in *in, unsigned *ret)
{
    if (left(in) < 1)
        return ERR_CORRUPT;
    *ret = *in->at++;
    return 0;
}

int codec_get_u64(struct bytes_in *in, uint64_t *ret)
{
    const uint8_t *p;
    if (codec_get_bytes(in, 8, &p))
        return ERR_CORRUPT;
    *ret = codec_load64(p);
    return 0;
}

int codec_get_varint(struct bytes_in *in, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = value;
            return 0;
        }
    }
    return ERR_CORRUPT;
}

/* --- columns ---
 * u8 width | u8 bytes of the base, plus 0x80 with exceptions | base | [varint how many exceptions]
 * | packed numbers | for each exception: varint distance from the one before, varint high bits */

struct column_plan {
    uint64_t base;
    unsigned width;
    size_t exceptions;
    size_t bits; /* estimate of the whole */
};

static unsigned bits_of(uint64_t x)
{
    return x ? 64u - (unsigned)__builtin_clzll(x) : 0;
}

static struct column_plan plan_column(const uint64_t *v, size_t n)
{
    struct column_plan plan = {.base = n ? v[0] : 0};
    for (size_t i = 1; i < n; i++)
        if (v[i] < plan.base)
            plan.base = v[i];
    size_t of_width[65] = {0};
    for (size_t i = 0; i < n; i++)
        of_width[bits_of(v[i] - plan.base)]++;
    unsigned widest = 64;
    while (widest > 0 && !of_width[widest])
        widest--;
    plan.width = widest;
    plan.bits = n * widest;
    size_t wider = 0;
    for (unsigned w = widest; w-- > 0;) {
        wider += of_width[w + 1];
        size_t bits = n * w + wider * (24 + (widest - w) * 8 / 7);
        if (bits < plan.bits) {
            plan.bits = bits;
            plan.width = w;
            plan.exceptions = wider;
        }
    }
    plan.bits += 16 + (bits_of(plan.base) + 7) / 8 * 8;
    return plan;
}

static void pack(uint8_t *out, const uint64_t *v, size_t n, uint64_t base, unsigned width)
{
    const uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
    uint64_t word = 0;
    unsigned fill = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = (v[i] - base) & mask;
        word |= x << fill;
        fill += width;
        if (fill >= 64) {
            codec_store64(out, word);
            out += 8;
            fill -= 64;
            word = fill ? x >> (width - fill) : 0;
        }
    }
    for (; fill > 0; fill = fill > 8 ? fill - 8 : 0, word >>= 8)
        *out++ = (uint8_t)word;
}

static int put_exceptions(struct buf *out, const uint64_t *v, size_t n,
                          const struct column_plan *plan)
{
    size_t last = 0;
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        uint64_t high = plan->width < 64 ? (v[i] - plan->base) >> plan->width : 0;
        if (!high)
            continue;
        rc = codec_put_varint(out, i - last);
        if (!rc)
            rc = codec_put_varint(out, high);
        last = i;
    }
    return rc;
}

static int put_planned(struct buf *out, const uint64_t *v, size_t n, const struct column_plan *plan)
{
    uint8_t head[10];
    unsigned base_len = (bits_of(plan->base) + 7) / 8;
    head[0] = (uint8_t)plan->width;
    head[1] = (uint8_t)(base_len | (plan->exceptions ? 0x80u : 0));
    for (unsigned i = 0; i < base_len; i++)
        head[2 + i] = (uint8_t)(plan->base >> (8 * i));
    int rc = buf_append(out, head, 2 + base_len);
    if (!rc && plan->exceptions)
        rc = codec_put_varint(out, plan->exceptions);
    size_t packed = (n * plan->width + 7) / 8;
    if (!rc)
        rc = buf_reserve(out, packed);
    if (rc)
        return rc;
    if (packed) {
        pack((uint8_t *)out->data + out->len, v, n, plan->base, plan->width);
        out->len += packed;
        out->data[out->len] = '\0';
    }
    return plan->exceptions ? put_exceptions(out, v, n, plan) : 0;
}

int codec_put_column(struct buf *out, const uint64_t *v, size_t n)
{
    struct column_plan plan = plan_column(v, n);
    return put_planned(out, v, n, &plan);
}

static void unpack(const uint8_t *p, uint64_t *v, size_t n, uint64_t base, unsigned width)
{
    if (width == 0) {
        for (size_t i = 0; i < n; i++)
            v[i] = base;
    } else if (width <= 56) {
        const uint64_t mask = (UINT64_C(1) << width) - 1;
        for (size_t i = 0, bit = 0; i < n; i++, bit += width)
            v[i] = base + ((codec_load64(p + (bit >> 3)) >> (bit & 7)) & mask);
    } else {
        const uint64_t mask = width == 64 ? UINT64_MAX : (UINT64_C(1) << width) - 1;
        for (size_t i = 0, bit = 0; i < n; i++, bit += width) {
            const uint8_t *at = p + (bit >> 3);
            unsigned shift = bit & 7;
            uint64_t x = codec_load64(at) >> shift;
            if (shift)
                x |= (uint64_t)at[8] << (64 - shift);
            v[i] = base + (x & mask);
        }
    }
}

int codec_get_column(struct bytes_in *in, uint64_t *v, size_t n)
{
    unsigned width, flags;
    if (codec_get_u8(in, &width) || codec_get_u8(in, &flags))
        return ERR_CORRUPT;
    unsigned base_len = flags & 0x7f;
    const uint8_t *p;
    if (n > COLUMN_MAX || width > 64 || base_len > 8 || codec_get_bytes(in, base_len, &p))
        return ERR_CORRUPT;
    uint64_t base = 0;
    for (unsigned i = 0; i < base_len; i++)
        base |= (uint64_t)p[i] << (8 * i);
    uint64_t exceptions = 0;
    if ((flags & 0x80) && codec_get_varint(in, &exceptions))
        return ERR_CORRUPT;
    if (exceptions > n || (exceptions && width >= 64) ||
        codec_get_bytes(in, (n * width + 7) / 8, &p))
        return ERR_CORRUPT;
    unpack(p, v, n, base, width);
    for (size_t at = 0; exceptions > 0; exceptions--) {
        uint64_t distance, high;
        if (codec_get_varint(in, &distance) || codec_get_varint(in, &high) || distance >= n - at)
            return ERR_CORRUPT;
        at += distance;
        v[at] += high << width;
    }
    return 0;
}

/* --- signed columns: u8 1 for differences, then [first] and the column --- */

static uint64_t zigzag(uint64_t difference)
{
    return difference << 1 ^ (difference >> 63 ? UINT64_MAX : 0);
}

int codec_put_ints(struct buf *out, const int64_t *v, size_t n, uint64_t *scratch)
{
    uint64_t *direct = scratch, *steps = scratch + n;
    for (size_t i = 0; i < n; i++)
        direct[i] = (uint64_t)v[i] ^ UINT64_C(1) << 63;
    for (size_t i = 1; i < n; i++)
        steps[i] = zigzag((uint64_t)v[i] - (uint64_t)v[i - 1]);
    struct column_plan plan = plan_column(direct, n);
    if (n < 3) {
        int rc = codec_put_u8(out, 0);
        return rc ? rc : put_planned(out, direct, n, &plan);
    }
    struct column_plan steps_plan = plan_column(steps + 1, n - 1);
    bool differences = steps_plan.bits + 64 < plan.bits;
    int rc = codec_put_u8(out, differences);
    if (rc || !differences)
        return rc ? rc : put_planned(out, direct, n, &plan);
    rc = codec_put_u64(out, (uint64_t)v[0]);
    return rc ? rc : put_planned(out, steps + 1, n - 1, &steps_plan);
}

int codec_get_ints(struct bytes_in *in, int64_t *v, size_t n)
{
    /* int64_t and uint64_t may alias one another. */
    uint64_t *u = (uint64_t *)v;
    unsigned mode;
    if (codec_get_u8(in, &mode) || mode > 1)
        return ERR_CORRUPT;
    if (mode == 0) {
        if (codec_get_column(in, u, n))
            return ERR_CORRUPT;
        for (size_t i = 0; i < n; i++)
            u[i] ^= UINT64_C(1) << 63;
        return 0;
    }
    if (n < 1 || codec_get_u64(in, &u[0]) || codec_get_column(in, u + 1, n - 1))
        return ERR_CORRUPT;
    for (size_t i = 1; i < n; i++)
        u[i] = u[i - 1] + (u[i] >> 1 ^ (u[i] & 1 ? UINT64_MAX : 0));
    return 0;
}

/* --- repeating columns: u8 1 with a bitmap "differs from the one before", then the distinct --- */

int codec_put_repeating(struct buf *out, const int64_t *v, size_t n, int64_t *distinct,
                        uint64_t *scratch)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        m += i == 0 || v[i] != v[i - 1];
    /* All equal costs no bits anyway; a few repeats do not pay for the bitmap. */
    if (n < 16 || m == 1 || m > n - n / 8) {
        int rc = codec_put_u8(out, 0);
        return rc ? rc : codec_put_ints(out, v, n, scratch);
    }
    int rc = codec_put_u8(out, 1);
    size_t bitmap = (n + 7) / 8;
    if (!rc)
        rc = buf_reserve(out, bitmap);
    if (rc)
        return rc;
    uint8_t *bits = (uint8_t *)out->data + out->len;
    memset(bits, 0, bitmap);
    m = 0;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || v[i] != v[i - 1]) {
            bits[i >> 3] = (uint8_t)(bits[i >> 3] | 1u << (i & 7));
            distinct[m++] = v[i];
        }
    out->len += bitmap;
    out->data[out->len] = '\0';
    return codec_put_ints(out, distinct, m, scratch);
}

int codec_get_repeating(struct bytes_in *in, int64_t *v, size_t n, int64_t *distinct)
{
    unsigned mode;
    if (n > COLUMN_MAX || codec_get_u8(in, &mode) || mode > 1)
        return ERR_CORRUPT;
    if (mode == 0)
        return codec_get_ints(in, v, n);
    const uint8_t *bits;
    if (codec_get_bytes(in, (n + 7) / 8, &bits))
        return ERR_CORRUPT;
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        m += bits[i >> 3] >> (i & 7) & 1;
    if (n == 0 || !(bits[0] & 1) || codec_get_ints(in, distinct, m))
        return ERR_CORRUPT;
    size_t passed = 0;
    for (size_t i = 0; i < n; i++) {
        passed += bits[i >> 3] >> (i & 7) & 1;
        v[i] = distinct[passed - 1];
    }
    return 0;
}

/* --- checksum --- */

uint64_t codec_checksum(const void *bytes, size_t n)
{
    const uint8_t *p = bytes;
    uint64_t sum = UINT64_C(0x9e3779b97f4a7c15) ^ n;
    for (; n >= 8; n -= 8, p += 8) {
        sum = (sum ^ codec_load64(p)) * UINT64_C(0xff51afd7ed558ccd);
        sum ^= sum >> 32;
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < n; i++)
        tail |= (uint64_t)p[i] << (8 * i);
    sum = (sum ^ tail) * UINT64_C(0xc4ceb9fe1a85ec53);
    return sum ^ sum >> 29;
}
