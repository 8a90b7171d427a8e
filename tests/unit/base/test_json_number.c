#include "base/json.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(json_number, .timeout = 60);

static const struct vector {
    double value;
    const char *text;
} vectors[] = {
    {0.0, "0.0"},
    {-0.0, "-0.0"},
    {1.0, "1.0"},
    {-2.0, "-2.0"},
    {2.5, "2.5"},
    {0.1, "0.1"},
    {0.3, "0.3"},
    {0.1 + 0.2, "0.30000000000000004"},
    {100.0, "100.0"},
    {123456.789, "123456.789"},
    {1e-5, "0.00001"},
    {1.25e-5, "0.0000125"},
    {9.999e-6, "9.999e-6"},
    {1e-6, "1e-6"},
    {1e-7, "1e-7"},
    {1e15, "1000000000000000.0"},
    {9007199254740991.0, "9007199254740991.0"},
    {9007199254740993.0, "9007199254740992.0"},
    {9999999999999998.0, "9999999999999998.0"},
    {1e16, "1e16"},
    {1.2345678901234567e16, "1.2345678901234568e16"},
    {1e22, "1e22"},
    {1e23, "1e23"},
    {1.5e300, "1.5e300"},
    {DBL_MAX, "1.7976931348623157e308"},
    {-DBL_MAX, "-1.7976931348623157e308"},
    {DBL_MIN, "2.2250738585072014e-308"},
    {5e-324, "5e-324"},
    {-1.7976931348623155e-308, "-1.7976931348623155e-308"},
    {9.5367431640625e-7, "9.5367431640625e-7"},
    {2e-44, "2e-44"},
    {4.35, "4.35"},
    {1e100, "1e100"},
    {NAN, "null"},
    {INFINITY, "null"},
    {-INFINITY, "null"},
};

Test(json_number, notation_of_the_contract)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        char text[JSON_DOUBLE_SIZE + 1];
        text[json_format_double(vectors[i].value, text)] = '\0';
        cr_expect_str_eq(text, vectors[i].text);
    }
}

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 2685821657736338717u;
}

/* The digits of `text` without sign, point, exponent and zeros at either end. */
static size_t significant_digits(const char *text, char out[40])
{
    size_t n = 0;
    for (; *text && *text != 'e'; text++)
        if (*text >= '0' && *text <= '9' && (n || *text != '0'))
            out[n++] = *text;
    while (n && out[n - 1] == '0')
        n--;
    out[n] = '\0';
    return n;
}

static void check(double value, bool check_shortest)
{
    char text[JSON_DOUBLE_SIZE + 1], digits[40], shorter[40];
    text[json_format_double(value, text)] = '\0';
    double back = strtod(text, NULL);
    cr_assert(memcmp(&back, &value, sizeof value) == 0, "%a printed as %s", value, text);
    if (!check_shortest || value == 0)
        return;
    size_t n = significant_digits(text, digits);
    if (n > 1) { /* one digit less does not read back */
        snprintf(shorter, sizeof shorter, "%.*e", (int)n - 2, value);
        cr_assert(strtod(shorter, NULL) != value, "%s is not the shortest of %a", text, value);
    }
    snprintf(shorter, sizeof shorter, "%.*e", (int)n - 1, value);
    if (strtod(shorter, NULL) == value) { /* of the texts of that length it is the nearest */
        char nearest[40];
        significant_digits(shorter, nearest);
        cr_assert_str_eq(digits, nearest, "%s is not the nearest of %a", text, value);
    }
}

Test(json_number, random_bit_patterns_read_back)
{
    for (int i = 0; i < 3000000; i++) {
        uint64_t bits = next_random();
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value))
            check(value, i % 16 == 0);
    }
}

Test(json_number, values_of_few_decimals_and_edges_of_binades_read_back)
{
    for (int i = 0; i < 300000; i++)
        check((double)(int32_t)next_random() / 1000.0, i % 4 == 0);
    for (int e = -1074; e <= 1023; e++) {
        double power = ldexp(1.0, e);
        check(power, true);
        check(nextafter(power, 0), true);
        check(nextafter(power, INFINITY), true);
    }
}

Test(json_number, is_fast_enough_for_exports)
{
    enum { N = 200000 };
    static double values[N];
    for (int i = 0; i < N; i++) {
        uint64_t bits = next_random();
        memcpy(&values[i], &bits, sizeof bits);
    }
    char text[JSON_DOUBLE_SIZE];
    size_t total = 0;
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < N; i++)
        total += json_format_double(values[i], text);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double ns = (double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec);
    cr_log_info("%.1f ns a number of %.1f bytes", ns / N, (double)total / N);
    cr_assert(ns / N < 2000); /* sanitizers and busy machines included */
}
