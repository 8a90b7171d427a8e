#include "base/time.h"
#include "base/time_zone.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

TestSuite(time_zone, .timeout = 60);

static struct error err;

/* libc is the judge: it may be asked here, where the test has the process for itself. */
Test(time_zone, offsets_are_those_of_libc_from_1880_to_2120)
{
    static const char *const names[] = {
        "Europe/Berlin",     "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
        "Africa/Casablanca", "America/St_Johns", "Pacific/Apia",        "Europe/Dublin",
        "Asia/Tehran",       "America/Santiago", "Antarctica/Troll",    "EST"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct time_zone *zone;
        if (time_zone_open(names[i], &zone, &err) == ERR_NOT_FOUND)
            continue;
        setenv("TZ", names[i], 1);
        tzset();
        /* An odd step, so that every hour of the day comes by. */
        for (int64_t t = INT64_C(-2840140800); t < INT64_C(4733510400); t += 86400 * 2 + 3571) {
            time_t when = (time_t)t;
            struct tm local;
            localtime_r(&when, &local);
            cr_assert_eq(time_zone_offset_s(zone, t), local.tm_gmtoff, "%s at %lld", names[i],
                         (long long)t);
        }
        time_zone_free(zone);
    }
}

Test(time_zone, there_and_back_is_the_same_moment_or_the_later_one)
{
    struct time_zone *zone;
    if (time_zone_open("Europe/Berlin", &zone, &err) == ERR_NOT_FOUND)
        cr_skip_test("no tz database here");
    for (int64_t t = 0; t < INT64_C(4733510400); t += 86400 + 1787) {
        int64_t local = t + time_zone_offset_s(zone, t);
        int64_t back = time_zone_to_utc_s(zone, local);
        cr_assert(back == t || back == t + 3600, "%lld", (long long)t);
        cr_assert_eq(back + time_zone_offset_s(zone, back), local);
    }
    time_zone_free(zone);
}

Test(time_zone, damaged_files_are_refused_at_every_length)
{
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    if (!f)
        cr_skip_test("no tz database here");
    unsigned char bytes[8192];
    size_t len = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    struct time_zone *zone;
    for (size_t n = 0; n < len; n++) {
        /* Its own block, so that a read past the end is seen by the address sanitizer. */
        unsigned char *copy = malloc(n + 1);
        memcpy(copy, bytes, n);
        cr_assert_eq(time_zone_parse(copy, n, &zone, &err), ERR_CORRUPT, "%zu", n);
        free(copy);
    }
    cr_expect_eq(time_zone_parse(bytes, len, &zone, &err), 0);
    time_zone_free(zone);

    srandom(7);
    for (int i = 0; i < 20000; i++) {
        unsigned char *copy = malloc(len);
        memcpy(copy, bytes, len);
        for (int k = 0; k < 4; k++)
            copy[(size_t)random() % len] = (unsigned char)random();
        if (time_zone_parse(copy, len, &zone, NULL) == 0)
            time_zone_to_utc_s(zone, random() * 10);
        time_zone_free(zone);
        free(copy);
    }
}

/* A file of one type and no transition. */
static int parse_offset(uint32_t offset_s)
{
    unsigned char bytes[44 + 6 + 4] = "TZif";
    bytes[39] = 1; /* types */
    bytes[43] = 4; /* characters of names */
    for (int i = 0; i < 4; i++)
        bytes[44 + i] = (unsigned char)(offset_s >> (24 - 8 * i));
    memcpy(bytes + 50, "XXX", 4);
    struct time_zone *zone = NULL;
    int rc = time_zone_parse(bytes, sizeof bytes, &zone, NULL);
    if (!rc)
        cr_expect_eq(time_zone_offset_s(zone, 0), (int32_t)offset_s);
    time_zone_free(zone);
    return rc;
}

Test(time_zone, offsets_are_of_about_a_day_as_rfc_8536_has_it)
{
    cr_expect_eq(parse_offset(93599), 0);
    cr_expect_eq(parse_offset(93600), ERR_CORRUPT);
    cr_expect_eq(parse_offset((uint32_t)-89999), 0);
    cr_expect_eq(parse_offset((uint32_t)-90000), ERR_CORRUPT);
    cr_expect_eq(parse_offset(0x80000000), ERR_CORRUPT);
}
