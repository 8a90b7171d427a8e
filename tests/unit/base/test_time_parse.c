#include "base/time.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(time_parse, .timeout = 20);

static const char now_text[] = "2023-03-31T22:30:00.5";

static int64_t now_us(void)
{
    return time_from_civil(2023, 3, 31, 22, 30, 0, 500000);
}

static bool zone_is_here(const char *zone)
{
    char path[128];
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", zone);
    return access(path, R_OK) == 0;
}

struct parse_case {
    char text[40], zone[32], expected[32];
};

ParameterizedTestParameters(time_parse, accepted_forms)
{
    static struct parse_case cases[] = {
        /* of the contract */
        {"2023-07-01T00:00:00", "America/New_York", "2023-07-01T04:00:00"},
        {"2023-07-01T00:00:00+02:00", "America/New_York", "2023-06-30T22:00:00"},
        {"2023-07-01 00:00:00", "UTC", "2023-07-01T00:00:00"},
        {"20230701", "", "2023-07-01T00:00:00"},
        {"07/04/2023", "", "2023-07-04T00:00:00"},
        {"July 4 2023 5pm", "", "2023-07-04T17:00:00"},
        {"10:00", "", "2023-03-31T10:00:00"},
        {"2023-07", "", "2023-07-31T00:00:00"},
        {"2023-06", "", "2023-06-30T00:00:00"},
        {"2023-07-01T00:00:00.25", "", "2023-07-01T00:00:00.250000"},
        {"2023-07-01T00:00:00,123456789", "", "2023-07-01T00:00:00.123456"},
        {"2023-03-12T02:30", "America/New_York", "2023-03-12T07:30:00"},
        {"2023-11-05T01:30", "America/New_York", "2023-11-05T06:30:00"},
        {"2023-07-01T00:00:00 02:00", "", "2023-07-01T02:00:00"},
        /* offsets */
        {"2023-07-01T12:00:00Z", "America/New_York", "2023-07-01T12:00:00"},
        {"2023-07-01 12:00 UTC", "America/New_York", "2023-07-01T12:00:00"},
        {"2023-07-01T12:00:00-0530", "", "2023-07-01T17:30:00"},
        {"2023-07-01T12:00:00.5 +02", "", "2023-07-01T10:00:00.500000"},
        {"2023-07-01T12", "", "2023-07-01T12:00:00"},
        {"20230701T123456Z", "", "2023-07-01T12:34:56"},
        {"2023-7-1 9:05", "", "2023-07-01T09:05:00"},
        /* words */
        {"4 July 2023", "", "2023-07-04T00:00:00"},
        {"Jul 4th, 2023, 12am", "", "2023-07-04T00:00:00"},
        {"sep. 1 2023 12:30 PM", "", "2023-09-01T12:30:00"},
        {"  2023-07-01  ", "", "2023-07-01T00:00:00"},
        {"2024-02-29", "", "2024-02-29T00:00:00"},
        /* today is the zone's today */
        {"10:00", "Asia/Tokyo", "2023-04-01T01:00:00"},
        {"10:00Z", "Asia/Tokyo", "2023-03-31T10:00:00"},
        /* relative */
        {"now", "", "2023-03-31T22:30:00.500000"},
        {"-15m", "", "2023-03-31T22:15:00.500000"},
        {"-8h", "Asia/Tokyo", "2023-03-31T14:30:00.500000"},
        {"-7d", "", "2023-03-24T22:30:00.500000"},
        {"-99999999d", "", "0001-01-01T00:00:00"},
        /* the ends of time */
        {"0001-01-01", "", "0001-01-01T00:00:00"},
        {"9999-12-31T23:59:59.999999", "", "9999-12-31T23:59:59.999999"},
        /* zones: half hours, southern summer, dates beyond the table, none of it */
        {"2023-01-15 12:00", "Asia/Kolkata", "2023-01-15T06:30:00"},
        {"2023-01-15 12:00", "Australia/Sydney", "2023-01-15T01:00:00"},
        {"2023-07-15 12:00", "Australia/Sydney", "2023-07-15T02:00:00"},
        {"2099-07-15 12:00", "Europe/Berlin", "2099-07-15T10:00:00"},
        {"2099-01-15 12:00", "Europe/Berlin", "2099-01-15T11:00:00"},
        {"2099-01-15 12:00", "Australia/Sydney", "2099-01-15T01:00:00"},
        {"2099-07-15 12:00", "Australia/Sydney", "2099-07-15T02:00:00"},
        {"2099-03-29 02:30", "Europe/Berlin", "2099-03-29T01:30:00"},
        {"2099-10-25 02:30", "Europe/Berlin", "2099-10-25T01:30:00"},
        {"2023-07-15 12:00", "EST", "2023-07-15T17:00:00"},
        {"1850-01-01 00:00", "Europe/Berlin", "1849-12-31T23:06:32"},
        {"2023-07-15 12:00", "America/Argentina/Ushuaia", "2023-07-15T15:00:00"},
    };
    return cr_make_param_array(struct parse_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct parse_case *c, time_parse, accepted_forms)
{
    setenv("TZ", "UTC", 1);
    if (strchr(c->zone, '/') && !zone_is_here(c->zone))
        cr_skip_test("no tz database here");
    int64_t us = 0;
    struct error err = ERROR_INIT;
    cr_assert_eq(time_parse(c->text, c->zone, now_us(), &us, &err), 0, "%s: %s", c->text,
                 err.message);
    char iso[TIME_ISO_SIZE];
    time_format_iso(us, iso);
    cr_expect_str_eq(iso, c->expected, "%s in %s: %s, expected %s (now %s)", c->text, c->zone, iso,
                     c->expected, now_text);
}

struct refused_text {
    char text[48];
};

ParameterizedTestParameters(time_parse, refused_forms)
{
    static struct refused_text cases[] = {
        {""},
        {" "},
        {"bogus"},
        {"2023-13-01"},
        {"2023-00-01"},
        {"2023-02-30"},
        {"2023-02-29"},
        {"2023-07-01T24:00:00"},
        {"T24:00:00"},
        {"1688169600"},
        {"1688169600000"},
        {"1688169600.5"},
        {"2023"},
        {"5"},
        {"2023-07-01T10:60"},
        {"2023-07-01T10:00:60"},
        {"2023-07-01T10:00+25:00"},
        {"2023-07-01T10:00+2"},
        {"13pm"},
        {"2023-07-01 13:00 pm"},
        {"2023-07-01x"},
        {"2023-07-01T"},
        {"07/04"},
        {"25/12/2023"},
        {"July 2023"},
        {"-15"},
        {"-15x"},
        {"+15m"},
        {"10:"},
        {"0000-01-01"},
        {"0001-01-01T00:00+01:00"},
        {"9999-12-31T23:59-01:00"},
        {"now 10:00"},
        {"2023-07-01T10:00:00."},
        {"2023-07-01 10"},
        {"99999999999999999999-01-01"},
    };
    return cr_make_param_array(struct refused_text, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct refused_text *c, time_parse, refused_forms)
{
    setenv("TZ", "UTC", 1);
    int64_t us = 42;
    struct error err = ERROR_INIT;
    cr_expect_eq(time_parse(c->text, NULL, now_us(), &us, &err), ERR_INVALID, "'%s'", c->text);
    cr_expect_eq(us, 42);
    cr_expect_neq(err.message[0], '\0');
}

Test(time_parse, an_unknown_zone_is_not_found_even_with_an_offset)
{
    static const char *const zones[] = {"Mars/Olympus",
                                        "../../etc/passwd",
                                        "/etc/localtime",
                                        "tzdata.zi",
                                        "America",
                                        "Europe//Berlin",
                                        "a b",
                                        "UTC "};
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        int64_t us;
        struct error err = ERROR_INIT;
        cr_expect_eq(time_parse("2023-07-01T00:00Z", zones[i], now_us(), &us, &err), ERR_NOT_FOUND,
                     "%s", zones[i]);
        cr_expect_not_null(strstr(err.message, zones[i]));
    }
}

Test(time_parse, the_servers_own_zone_is_taken_when_none_is_named)
{
    if (!zone_is_here("America/New_York"))
        cr_skip_test("no tz database here");
    int64_t us, expected = time_from_civil(2023, 7, 1, 4, 0, 0, 0);
    setenv("TZ", ":America/New_York", 1);
    cr_expect_eq(time_parse("2023-07-01", NULL, now_us(), &us, NULL), 0);
    cr_expect_eq(us, expected);
    setenv("TZ", "/usr/share/zoneinfo/America/New_York", 1);
    cr_expect_eq(time_parse("2023-07-01", "", now_us(), &us, NULL), 0);
    cr_expect_eq(us, expected);
    setenv("TZ", "No/Such", 1);
    cr_expect_eq(time_parse("2023-07-01", "", now_us(), &us, NULL), 0, "libc takes UTC then");
    cr_expect_eq(us, time_from_civil(2023, 7, 1, 0, 0, 0, 0));
}

struct duration_case {
    char text[32];
    int64_t us; /* -1: refused */
};

ParameterizedTestParameters(time_parse, durations)
{
    static struct duration_case cases[] = {
        {"0s", 0},
        {"1us", 1},
        {"250ms", 250000},
        {"30s", 30000000},
        {"5m", 300000000},
        {"8h", INT64_C(28800000000)},
        {"7d", INT64_C(604800000000)},
        {"106751991d", INT64_C(9223372022400000000)},
        {"106751992d", -1},
        {"99999999999999999999s", -1},
        {"", -1},
        {"s", -1},
        {"5", -1},
        {"5 s", -1},
        {" 5s", -1},
        {"-5s", -1},
        {"5S", -1},
        {"5.5s", -1},
        {"5min", -1},
        {"5sx", -1},
    };
    return cr_make_param_array(struct duration_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct duration_case *c, time_parse, durations)
{
    int64_t us = -1;
    int rc = time_parse_duration(c->text, &us, NULL);
    cr_expect_eq(rc, c->us < 0 ? ERR_INVALID : 0, "'%s'", c->text);
    cr_expect_eq(us, c->us, "'%s'", c->text);
}
