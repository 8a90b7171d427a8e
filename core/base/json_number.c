/* Shortest round-trip text of a double: R. Giulietti, "The Schubfach way to render doubles" (2020).
 *
 * The method needs, for each power of ten in reach, its leading 128 bits rounded up.  They are
 * computed exactly by long arithmetic at first use (some 60 microseconds) instead of being listed. */
#include "base/json.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { POWER_MIN = -292, POWER_MAX = 324 };
/* A fixed-point number of LONG_WORDS words, least significant first: wide enough for 10^324 (1077
 * bits) and for 128 significant bits of 2^(64 * LONG_WORDS - 1) / 10^292. */
enum { LONG_WORDS = 18 };

__extension__ typedef unsigned __int128 uint128;

struct power {
    uint64_t high, low;
};

static struct power powers[POWER_MAX - POWER_MIN + 1];
static pthread_once_t powers_once = PTHREAD_ONCE_INIT;
static atomic_bool powers_ready;

/* The top 128 bits of `n`, its leading one first, rounded up unless `n` is exactly that. */
static struct power leading_bits(const uint64_t n[LONG_WORDS], bool is_exact)
{
    int top = LONG_WORDS - 1;
    while (n[top] == 0)
        top--;
    unsigned shift = (unsigned)__builtin_clzll(n[top]);
    uint64_t w[3] = {n[top], top >= 1 ? n[top - 1] : 0, top >= 2 ? n[top - 2] : 0};
    struct power p = {w[0], w[1]};
    uint64_t rest = w[2];
    if (shift) {
        p.high = w[0] << shift | w[1] >> (64 - shift);
        p.low = w[1] << shift | w[2] >> (64 - shift);
        rest = w[2] << shift;
    }
    for (int i = 0; i < top - 2; i++)
        rest |= n[i];
    if ((rest != 0 || !is_exact) && ++p.low == 0)
        p.high++;
    return p;
}

static void make_powers(void)
{
    uint64_t n[LONG_WORDS] = {1};
    for (int k = 0; k <= POWER_MAX; k++) {
        powers[k - POWER_MIN] = leading_bits(n, true);
        uint64_t carry = 0;
        for (int i = 0; i < LONG_WORDS; i++) {
            uint128 product = (uint128)n[i] * 10 + carry;
            n[i] = (uint64_t)product;
            carry = (uint64_t)(product >> 64);
        }
    }
    /* floor(floor(x / 10) / 10) is floor(x / 100): repeated division does not drift. */
    memset(n, 0, sizeof n);
    n[LONG_WORDS - 1] = UINT64_C(1) << 63;
    for (int k = -1; k >= POWER_MIN; k--) {
        uint64_t rest = 0;
        for (int i = LONG_WORDS - 1; i >= 0; i--) {
            uint128 part = (uint128)rest << 64 | n[i];
            n[i] = (uint64_t)(part / 10);
            rest = (uint64_t)(part % 10);
        }
        powers[k - POWER_MIN] = leading_bits(n, false);
    }
    atomic_store_explicit(&powers_ready, true, memory_order_release);
}

/* floor(log2(10^e)) and floor(log10(2^e)), by the paper's fixed-point constants. */
static inline int floor_log2_pow10(int e)
{
    return (e * 1741647) >> 19;
}

static inline int floor_log10_pow2(int e, bool three_quarters)
{
    return (e * 1262611 - (three_quarters ? 524031 : 0)) >> 22;
}

/* floor(g * x / 2^128) with the lowest bit set when anything was cut off ("round to odd"). */
static inline uint64_t multiply_round_to_odd(const struct power *g, uint64_t x)
{
    uint128 low = (uint128)g->low * x;
    uint128 high = (uint128)g->high * x + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

struct decimal {
    uint64_t digits;
    int exponent;
};

/* The shortest decimal inside the rounding interval of c * 2^q, the nearest of those. */
static struct decimal shortest(uint64_t c, int q, bool lower_is_closer)
{
    const uint64_t odd = c & 1; /* bounds of the interval belong to it when c is even */
    const int k = floor_log10_pow2(q, lower_is_closer);
    const int h = q + floor_log2_pow10(-k) + 1;
    const struct power *g = &powers[-k - POWER_MIN];
    const uint64_t lower = multiply_round_to_odd(g, (4 * c - 2 + lower_is_closer) << h) + odd;
    const uint64_t v = multiply_round_to_odd(g, (4 * c) << h);
    const uint64_t upper = multiply_round_to_odd(g, (4 * c + 2) << h) - odd;

    const uint64_t s = v / 4;
    if (s >= 10) {
        const uint64_t tens = s / 10;
        const bool down_inside = lower <= 40 * tens;
        const bool up_inside = 40 * tens + 40 <= upper;
        if (down_inside != up_inside)
            return (struct decimal){tens + up_inside, k + 1};
    }
    const bool down_inside = lower <= 4 * s;
    const bool up_inside = 4 * s + 4 <= upper;
    if (down_inside != up_inside)
        return (struct decimal){s + up_inside, k};
    const uint64_t middle = 4 * s + 2;
    return (struct decimal){s + (v > middle || (v == middle && (s & 1))), k};
}

/* --- digits to text --- */

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";

static inline void put_pair(char *out, uint32_t n)
{
    memcpy(out, pairs + (size_t)n * 2, 2);
}

static void put_eight(char *out, uint32_t n)
{
    const uint32_t high = n / 10000, low = n % 10000;
    put_pair(out, high / 100);
    put_pair(out + 2, high % 100);
    put_pair(out + 4, low / 100);
    put_pair(out + 6, low % 100);
}

/* `n` (below 10^17) right-aligned in 24 bytes; returns where it begins. */
static char *put_digits(char text[24], uint64_t n)
{
    memset(text, '0', 8);
    put_eight(text + 16, (uint32_t)(n % 100000000));
    n /= 100000000;
    put_eight(text + 8, (uint32_t)(n % 100000000));
    text[7] = (char)('0' + n / 100000000);
    char *p = text + 7;
    while (*p == '0')
        p++;
    return p;
}

static size_t put_exponent(char *out, int exponent)
{
    char *p = out;
    *p++ = 'e';
    if (exponent < 0) {
        *p++ = '-';
        exponent = -exponent;
    }
    if (exponent >= 100) {
        *p++ = (char)('0' + exponent / 100);
        exponent %= 100;
        *p++ = (char)('0' + exponent / 10);
    } else if (exponent >= 10) {
        *p++ = (char)('0' + exponent / 10);
    }
    *p++ = (char)('0' + exponent % 10);
    return (size_t)(p - out);
}

/* Digits d1 d2 .. dn with the decimal point after the `point`th of them. */
static size_t put_decimal(char *out, const char *digits, int n, int point)
{
    char *p = out;
    if (point > 16 || point < -4) { /* outside 1e-5 <= x < 1e16 */
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)(n - 1));
            p += n - 1;
        }
        return (size_t)(p - out) + put_exponent(p, point - 1);
    }
    if (point <= 0) {
        memcpy(p, "0.00000", 7);
        p += 2 - point;
        memcpy(p, digits, (size_t)n);
        p += n;
    } else if (point >= n) {
        memcpy(p, digits, (size_t)n);
        memset(p + n, '0', (size_t)(point - n));
        p += point;
        memcpy(p, ".0", 2);
        p += 2;
    } else {
        memcpy(p, digits, (size_t)point);
        p[point] = '.';
        memcpy(p + point + 1, digits + point, (size_t)(n - point));
        p += n + 1;
    }
    return (size_t)(p - out);
}

size_t json_format_double(double value, char out[JSON_DOUBLE_SIZE])
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    const int exponent = (int)(bits >> 52 & 0x7FF);
    if (exponent == 0x7FF) {
        memcpy(out, "null", 4);
        return 4;
    }
    char *p = out;
    if (bits >> 63)
        *p++ = '-';
    if (exponent == 0 && fraction == 0) {
        memcpy(p, "0.0", 3);
        return (size_t)(p - out) + 3;
    }
    const uint64_t c = exponent ? fraction | UINT64_C(1) << 52 : fraction;
    const int q = exponent ? exponent - 1075 : -1074;

    struct decimal d;
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0) { /* an integer below 2^53 */
        d = (struct decimal){c >> -q, 0};
    } else {
        if (!atomic_load_explicit(&powers_ready, memory_order_acquire))
            pthread_once(&powers_once, make_powers);
        d = shortest(c, q, fraction == 0 && exponent > 1);
    }
    char text[24];
    char *first = put_digits(text, d.digits);
    char *end = text + sizeof text;
    const int n_all = (int)(end - first);
    while (end[-1] == '0')
        end--;
    return (size_t)(p - out) + put_decimal(p, first, (int)(end - first), n_all + d.exponent);
}

int json_write_double(struct buf *b, double value)
{
    char text[JSON_DOUBLE_SIZE];
    return buf_append(b, text, json_format_double(value, text));
}
