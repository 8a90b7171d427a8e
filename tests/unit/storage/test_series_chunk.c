#include "series_kit.h"

#include <math.h>

TestSuite(series_chunk, .timeout = 60);

static struct chunk_coder *coder;
static struct sample decoded[CHUNK_SAMPLES_MAX];

static void init(void)
{
    coder = chunk_coder_new();
    cr_assert_not_null(coder);
}

static void fini(void)
{
    chunk_coder_free(coder);
}

/* Encode, decode, compare; the number of bytes without the checksum. */
static size_t round_trip(const struct sample *samples, size_t n)
{
    struct buf out = BUF_INIT(1 << 26);
    size_t len, got;
    cr_assert_eq(chunk_encode(coder, samples, n, &out), 0);
    cr_assert_eq(chunk_seal(&out, 0), 0);
    cr_assert_eq(chunk_unseal(out.data, out.len, &len), 0);
    cr_assert_eq(chunk_decode(coder, (const uint8_t *)out.data, len, decoded, &got), 0);
    cr_assert_eq(got, n);
    for (size_t i = 0; i < n; i++)
        cr_assert(kit_same(&samples[i], &decoded[i]), "sample %zu of %zu differs", i, n);
    buf_release(&out);
    return len;
}

static struct sample samples[CHUNK_SAMPLES_MAX];

static void regular_times(size_t n)
{
    memset(samples, 0, sizeof samples);
    for (size_t i = 0; i < n; i++)
        samples[i].time_us = INT64_C(1700000000000000) + (int64_t)i * 1000000;
}

Test(series_chunk, odd_doubles_keep_every_bit, .init = init, .fini = fini)
{
    const uint64_t odd[] = {0,
                            UINT64_C(1) << 63, /* -0.0 */
                            UINT64_C(0x7ff0000000000000),
                            UINT64_C(0xfff0000000000000),
                            UINT64_C(0x7ff8000000000001), /* NaNs with payloads */
                            UINT64_C(0xfff8dead0000beef),
                            UINT64_C(0x7ff0000000000001),
                            1, /* the smallest */
                            UINT64_C(0x7fefffffffffffff),
                            UINT64_C(0xffefffffffffffff)};
    const size_t n = sizeof odd / sizeof *odd;
    regular_times(n * 20);
    for (size_t repeat = 0; repeat < 20; repeat++)
        for (size_t i = 0; i < n; i++) {
            struct value *v = &samples[repeat * n + i].value;
            v->type = VALUE_DOUBLE;
            v->as.i64 = (int64_t)odd[i];
        }
    round_trip(samples, n * 20);
    for (size_t i = 0; i < n; i++)
        round_trip(samples + i, 1);
}

Test(series_chunk, extreme_integers_and_times_round_trip, .init = init, .fini = fini)
{
    regular_times(6);
    const int64_t values[] = {INT64_MIN, INT64_MAX, 0, -1, 1, INT64_MIN + 1};
    for (size_t i = 0; i < 6; i++)
        samples[i].value = (struct value){.type = VALUE_INT64, .as.i64 = values[i]};
    round_trip(samples, 6);
    samples[0].time_us = INT64_MIN;
    samples[1].time_us = 0;
    samples[2].time_us = 1;
    samples[5].time_us = INT64_MAX;
    round_trip(samples, 6);
    round_trip(samples, 1);
}

static struct value random_value(uint64_t *seed, unsigned type)
{
    static const char text[] = "the quick brown fox jumps over the lazy dog";
    uint64_t r = kit_random(seed);
    switch (type) {
    case VALUE_BOOL:
        return (struct value){.type = type, .as.boolean = r & 1};
    case VALUE_INT64:
        return (struct value){.type = type, .as.i64 = (int64_t)(r >> (r & 63))};
    case VALUE_DOUBLE:
        return (struct value){.type = type,
                              .as.f64 = r & 1 ? (double)(r >> 40) / 100 : (double)r / 3e7};
    case VALUE_NULL:
        return (struct value){.type = type};
    default:
        return (struct value){.type = type,
                              .len = (uint32_t)(r % sizeof text),
                              .as.ptr = text + r % 3 * (r % sizeof text == 0)};
    }
}

Test(series_chunk, random_runs_of_every_type_round_trip, .init = init, .fini = fini)
{
    uint64_t seed = 88172645463325252u;
    for (int round = 0; round < 600; round++) {
        size_t n = 1 + kit_random(&seed) % (round % 50 ? 200 : CHUNK_SAMPLES_MAX);
        unsigned type = (unsigned)(kit_random(&seed) % 8);
        int64_t time = (int64_t)(kit_random(&seed) >> 12);
        uint64_t sticky = kit_random(&seed) % 4;
        memset(samples, 0, sizeof samples);
        for (size_t i = 0; i < n; i++) {
            uint64_t r = kit_random(&seed);
            time += 1 + (int64_t)(r & 1 ? 1000 : r % 100 ? r % 3000 : r >> 20);
            unsigned of = type < 7 ? type : (unsigned)(r >> 32) % 7;
            samples[i].value = i && sticky && r % 4 < sticky && type < 7 ? samples[i - 1].value
                                                                         : random_value(&seed, of);
            samples[i].time_us = time;
            samples[i].quality = r >> 60 == 0 ? (uint32_t)(r >> 50) % 3 : 0;
            samples[i].source_code = round % 3 ? 0 : (uint32_t)(r >> 32) >> (r & 31);
        }
        round_trip(samples, n);
    }
}

Test(series_chunk, noisy_doubles_take_at_most_8_bytes_and_decimals_2, .init = init, .fini = fini)
{
    uint64_t seed = 42;
    double walk = 100;
    regular_times(1000);
    for (size_t i = 0; i < 1000; i++) {
        walk += (double)(int64_t)kit_random(&seed) / 9.3e18;
        samples[i].time_us += (int64_t)(kit_random(&seed) % 1000);
        samples[i].value = (struct value){.type = VALUE_DOUBLE, .as.f64 = walk};
    }
    size_t len = round_trip(samples, 1000);
    cr_assert_leq(len, 8 * 1000 + 500, "%zu bytes", len);
    regular_times(1000);
    for (size_t i = 0; i < 1000; i++)
        samples[i].value = (struct value){.type = VALUE_DOUBLE,
                                          .as.f64 = (double)(2000 + kit_random(&seed) % 500) / 100};
    len = round_trip(samples, 1000);
    cr_assert_leq(len, 2 * 1000, "%zu bytes", len);
}

Test(series_chunk, repeated_texts_are_stored_once, .init = init, .fini = fini)
{
    static const char *const words[] = {"running", "stopped", "maintenance"};
    regular_times(3000);
    for (size_t i = 0; i < 3000; i++)
        samples[i].value = (struct value){
            .type = VALUE_STRING, .len = (uint32_t)strlen(words[i % 3]), .as.ptr = words[i % 3]};
    size_t len = round_trip(samples, 3000);
    cr_assert_leq(len, 1000, "%zu bytes", len);
}

Test(series_chunk, a_changed_byte_is_found, .init = init, .fini = fini)
{
    regular_times(100);
    for (size_t i = 0; i < 100; i++)
        samples[i].value = (struct value){.type = VALUE_INT64, .as.i64 = (int64_t)(i * i)};
    struct buf out = BUF_INIT(1 << 20);
    size_t len;
    cr_assert_eq(chunk_encode(coder, samples, 100, &out), 0);
    cr_assert_eq(chunk_seal(&out, 0), 0);
    for (size_t i = 0; i < out.len; i++) {
        out.data[i] = (char)(out.data[i] ^ 0x10);
        cr_assert_eq(chunk_unseal(out.data, out.len, &len), ERR_CORRUPT);
        out.data[i] = (char)(out.data[i] ^ 0x10);
        cr_assert_eq(chunk_unseal(out.data, i, &len), ERR_CORRUPT);
    }
    buf_release(&out);
}

/* Even with a right checksum (an error of ours, a hostile file) decoding stays within bounds: the
 * sanitizers watch. */
Test(series_chunk, garbage_is_refused_or_decoded_within_bounds, .init = init, .fini = fini)
{
    uint64_t seed = 7;
    regular_times(300);
    for (size_t i = 0; i < 300; i++) {
        samples[i].value = random_value(&seed, (unsigned)(kit_random(&seed) % 7));
        samples[i].quality = i > 200;
        samples[i].source_code = (uint32_t)i / 40;
    }
    struct buf out = BUF_INIT(1 << 20);
    cr_assert_eq(chunk_encode(coder, samples, 300, &out), 0);
    size_t len = out.len, refused = 0;
    for (int round = 0; round < 20000; round++) {
        /* An exact allocation, so that a read past the padding is seen. */
        uint8_t *bytes = malloc(len + CODEC_PAD);
        memcpy(bytes, out.data, len);
        memset(bytes + len, 0, CODEC_PAD);
        size_t cut = round % 3 ? len : kit_random(&seed) % len;
        for (unsigned i = 0; i < 1 + kit_random(&seed) % 4; i++)
            bytes[kit_random(&seed) % (round % 2 ? 64 : len)] = (uint8_t)kit_random(&seed);
        size_t n;
        refused += chunk_decode(coder, bytes, cut, decoded, &n) != 0;
        free(bytes);
    }
    cr_assert_gt(refused, 1000);
    buf_release(&out);
}
