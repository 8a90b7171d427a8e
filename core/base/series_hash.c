#include "base/series_hash.h"

#include "base/auto.h"
#include "base/digest.h"
#include "base/json.h"

#include <stdio.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

static uint64_t big_endian(const unsigned char bytes[8])
{
    uint64_t n = 0;
    for (int i = 0; i < 8; i++)
        n = n << 8 | bytes[i];
    return n;
}

int series_hash_canonical(const char *canonical, size_t len, int64_t *ret)
{
    unsigned char digest[16];
    int rc = digest_shake128(canonical, len, digest);
    if (!rc)
        *ret = (int64_t)(big_endian(digest) >> 1);
    return rc;
}

static void sort_bytes(char *text, size_t len)
{
    size_t counts[256] = {0};
    for (size_t i = 0; i < len; i++)
        counts[(unsigned char)text[i]]++;
    for (int c = 0; c < 256; c++) {
        memset(text, c, counts[c]);
        text += counts[c];
    }
}

int series_hash_hyprxa(struct json_object *subscription, int64_t *ret)
{
    AUTO(buf) text = BUF_INIT(64 << 20);
    int rc = json_write_value(&text, subscription);
    if (rc)
        return rc;
    sort_bytes(text.data, text.len);
    unsigned char digest[16];
    rc = digest_shake128(text.data, text.len, digest);
    if (rc)
        return rc;
    /* Python's hash() of that integer: reduced only when it does not fit 63 bits. */
    const uint64_t high = big_endian(digest), low = big_endian(digest + 8);
    if (high == 0 && low >> 63 == 0)
        *ret = (int64_t)low;
    else
        *ret = (int64_t)(((uint128)high << 64 | low) % ((UINT64_C(1) << 61) - 1));
    return 0;
}

int series_registration_key(int64_t hash, char out[SERIES_REGISTRATION_SIZE])
{
    char text[24], digits[SERIES_REGISTRATION_SIZE];
    unsigned char digest[16];
    int len = snprintf(text, sizeof text, "%lld", (long long)hash);
    int rc = digest_shake128(text, (size_t)len, digest);
    if (rc)
        return rc;
    uint128 n = (uint128)big_endian(digest) << 64 | big_endian(digest + 8);
    size_t at = sizeof digits; /* 39 digits at most */
    digits[--at] = '\0';
    do
        digits[--at] = (char)('0' + (int)(n % 10));
    while ((n /= 10) != 0);
    memcpy(out, &digits[at], sizeof digits - at);
    return 0;
}
