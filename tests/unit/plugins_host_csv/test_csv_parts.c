/* The readers of csv, on their own: zones, timestamps, cells, rows, saved positions. */
#include "position.h"
#include "row.h"
#include "timestamp.h"
#include "value.h"
#include "zone.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(csv_parts, .timeout = 60);

/* --- zones --- */

typedef char zone_name[40];
ParameterizedTestParameters(csv_parts, a_zone_agrees_with_the_c_library)
{
    static zone_name names[] = {"UTC",
                                "Europe/Berlin",
                                "America/New_York",
                                "Asia/Kolkata",
                                "Australia/Lord_Howe",
                                "America/Sao_Paulo",
                                "Africa/Casablanca",
                                "Pacific/Apia",
                                "Etc/GMT+5",
                                "Europe/Dublin",
                                "America/St_Johns",
                                "Antarctica/Troll"};
    return cr_make_param_array(zone_name, names, sizeof(names) / sizeof(names[0]));
}
ParameterizedTest(zone_name *name, csv_parts, a_zone_agrees_with_the_c_library)
{
    char message[200];
    struct zone *zone = zone_open(NULL, *name, message, sizeof(message));
    uint64_t random = 88172645463325252u;
    cr_assert(zone, "%s", message);
    setenv("TZ", *name, 1);
    tzset();
    for (int i = 0; i < 20000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        time_t utc =
            (time_t)(random % UINT64_C(16725225600)) - INT64_C(2208988800); /* 1900 to 2430 */
        struct tm tm;
        localtime_r(&utc, &tm);
        int64_t earlier, later;
        zone_to_utc(zone, utc + tm.tm_gmtoff, &earlier, &later);
        cr_assert(earlier == utc || later == utc, "%lld is %s %+ld, but %" PRId64 " or %" PRId64,
                  (long long)utc, *name, tm.tm_gmtoff, earlier, later);
        cr_assert_leq(earlier, later);
    }
    zone_free(zone);
}

Test(csv_parts, a_skipped_hour_counts_with_the_offset_before_and_a_repeated_one_has_two)
{
    char message[200];
    struct zone *zone = zone_open(NULL, "America/New_York", message, sizeof(message));
    int64_t earlier, later;
    zone_to_utc(zone, 1710037800, &earlier, &later); /* 2024-03-10T02:30 is 07:30 UTC */
    cr_expect_eq(earlier, 1710055800);
    cr_expect_eq(later, 1710055800);
    zone_to_utc(zone, 1730597400, &earlier, &later); /* 2024-11-03T01:30 is 05:30 or 06:30 UTC */
    cr_expect_eq(earlier, 1730611800);
    cr_expect_eq(later, 1730615400);
    zone_free(zone);
}

Test(csv_parts, names_that_are_no_zones_are_refused)
{
    static const char *const names[] = {
        "", "Europe/Nowhere", "../../../etc/passwd", "/etc/passwd", "tzdata.zi", "Europe"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char message[200] = "";
        cr_expect_null(zone_open(NULL, names[i], message, sizeof(message)));
        cr_expect(strstr(message, names[i]), "%s", message);
    }
}

/* --- timestamps --- */

struct stamp {
    char text[48];
    char format[32]; /* empty: iso8601 */
    int64_t us;      /* INT64_MIN: refused */
};
#define NO INT64_MIN
ParameterizedTestParameters(csv_parts, timestamps_are_read)
{
    static struct stamp stamps[] = {
        {"2024-02-29T12:34:56", "", 1709210096000000},
        {"2024-02-29 12:34:56.789", "", 1709210096789000},
        {" 2024-02-29T12:34:56,789123999 ", "", 1709210096789123},
        {"2024-02-29T12:34:56Z", "", 1709210096000000},
        {"2024-02-29T12:34:56+01:30", "", 1709204696000000},
        {"2024-02-29 12:34:56 -0800", "", 1709238896000000},
        {"2024-02-29T12:34+01", "", 1709206440000000},
        {"2024-02-29", "", 1709164800000000},
        {"20240229T123456Z", "", 1709210096000000},
        {"2024-02-29T24:00:00", "", 1709251200000000},
        {"2016-12-31T23:59:60", "", 1483228800000000},
        {"0001-01-01T00:00:00", "", -62135596800000000},
        {"9999-12-31T23:59:59.999999", "", 253402300799999999},
        {"2023-02-29T00:00:00", "", NO},
        {"2024-13-01", "", NO},
        {"2024-00-01", "", NO},
        {"2024-01-01T25:00:00", "", NO},
        {"2024-01-01T12", "", NO},
        {"2024-01-01T12:60:00", "", NO},
        {"2024-01-01T12:00:00+", "", NO},
        {"2024-01-01T12:00:00.", "", NO},
        {"2024-01-01T12:00:00 x", "", NO},
        {"0000-01-01", "", NO},
        {"24-01-01", "", NO},
        {"", "", NO},
        {"1709210096", "unix", 1709210096000000},
        {"1709210096.5", "unix", 1709210096500000},
        {"-0.25", "unix", -250000},
        {"1e9", "unix", NO},
        {"99999999999999", "unix", NO},
        {"1709210096789.5", "unix_ms", 1709210096789500},
        {"1709210096,5", "unix", NO},
        {"29.02.2024 12:34:56", "%d.%m.%Y %H:%M:%S", 1709210096000000},
        {"29.02.2024 12:34:56.25", "%d.%m.%Y %H:%M:%S.%f", 1709210096250000},
        {"12:34:56.5 29/02/24", "%H:%M:%S.%f %d/%m/%y", 1709210096500000},
        {"2024-02-29 12:34:56 +0130", "%Y-%m-%d %H:%M:%S %z", 1709204696000000},
        {"100% 29.02.2024", "100%% %d.%m.%Y", 1709164800000000},
        {"29.02.2024 12:34:56 and more", "%d.%m.%Y %H:%M:%S", NO},
        {"30.02.2024", "%d.%m.%Y", NO},
    };
    return cr_make_param_array(struct stamp, stamps, sizeof(stamps) / sizeof(stamps[0]));
}
ParameterizedTest(struct stamp *s, csv_parts, timestamps_are_read)
{
    char message[200];
    struct zone *utc = zone_open(NULL, "UTC", message, sizeof(message));
    struct timestamp_format format = {.kind = !s->format[0]                    ? TIMESTAMP_ISO8601
                                              : strcmp(s->format, "unix") == 0 ? TIMESTAMP_UNIX
                                              : strcmp(s->format, "unix_ms") == 0
                                                  ? TIMESTAMP_UNIX_MS
                                                  : TIMESTAMP_PATTERN,
                                      .pattern = s->format,
                                      .zone = utc};
    /* in memory that ends with the text, for the sanitizers */
    size_t len = strlen(s->text);
    char *text = malloc(len ? len : 1);
    memcpy(text, s->text, len);
    int64_t us = NO;
    bool read = timestamp_parse(&format, text, len, NO, &us);
    cr_expect_eq(read, s->us != NO, "'%s'", s->text);
    cr_expect_eq(us, s->us, "'%s' gave %" PRId64, s->text, us);
    free(text);
    zone_free(utc);
}

/* --- cells --- */

struct cell {
    char text[40];
    char value[48];
};
ParameterizedTestParameters(csv_parts, cells_are_read)
{
    static struct cell cells[] = {
        {"", "empty"},
        {"  ", "empty"},
        {"0", "i 0"},
        {"-0", "i 0"},
        {"007", "i 7"},
        {"+5", "i 5"},
        {" 42 ", "i 42"},
        {"9223372036854775807", "i 9223372036854775807"},
        {"-9223372036854775808", "i -9223372036854775808"},
        {"9223372036854775808", "d 9.2233720368547758e+18"},
        {"1.5", "d 1.5"},
        {".5", "d 0.5"},
        {"5.", "d 5"},
        {"-1e3", "d -1000"},
        {"1E-2", "d 0.01"},
        {"0.1", "d 0.10000000000000001"},
        {"1e400", "d inf"},
        {"1e-400", "d 0"},
        {"2.2250738585072014e-308", "d 2.2250738585072014e-308"},
        {"0.30000000000000004", "d 0.30000000000000004"},
        {"123456789012345678901234567890", "d 1.2345678901234568e+29"},
        {"NaN", "d nan"},
        {"-Inf", "d -inf"},
        {"Infinity", "d inf"},
        {"true", "b 1"},
        {"False", "b 0"},
        {"TRUE", "b 1"},
        {"tRuE", "s tRuE"},
        {"nano", "s nano"},
        {"1,5", "s 1,5"},
        {"1.2.3", "s 1.2.3"},
        {"1e", "s 1e"},
        {"0x10", "s 0x10"},
        {"-", "s -"},
        {".", "s ."},
        {"e5", "s e5"},
        {" text ", "s  text "},
        {"caf\xc3\xa9", "s caf\xc3\xa9"},
        {"\xc0\xaf", "bad"},
        {"\xed\xa0\x80", "bad"},
        {"\xf4\x90\x80\x80", "bad"},
        {"\xe2\x82", "bad"},
    };
    return cr_make_param_array(struct cell, cells, sizeof(cells) / sizeof(cells[0]));
}
ParameterizedTest(struct cell *c, csv_parts, cells_are_read)
{
    char text[60] = "";
    struct hyprxa_value v = {0};
    enum cell_verdict verdict = cell_read(c->text, strlen(c->text), &v);
    if (verdict != CELL_VALUE) {
        strcpy(text, verdict == CELL_EMPTY ? "empty" : "bad");
    } else if (v.type == HYPRXA_INT64) {
        snprintf(text, sizeof(text), "i %" PRId64, v.as.i64);
    } else if (v.type == HYPRXA_DOUBLE) {
        snprintf(text, sizeof(text), "d %.17g", v.as.f64);
    } else if (v.type == HYPRXA_BOOL) {
        snprintf(text, sizeof(text), "b %d", v.as.boolean);
    } else {
        snprintf(text, sizeof(text), "s %.*s", (int)v.len, (const char *)v.as.ptr);
    }
    cr_expect_str_eq(text, c->value);
}

Test(csv_parts, doubles_are_the_nearest)
{
    uint64_t random = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        char text[40];
        struct hyprxa_value v;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        int digits = 1 + (int)(random % 17), exponent = (int)(random >> 32) % 40;
        snprintf(text, sizeof(text), "%.*e", digits,
                 (double)(int64_t)random * pow(10, exponent - 30));
        cr_assert_eq(cell_read(text, strlen(text), &v), CELL_VALUE);
        cr_assert_eq(v.as.f64, strtod(text, NULL), "%s", text);
    }
}

/* --- rows --- */

/* A row cut anywhere is incomplete, never wrong, and nothing behind the cut is looked at. */
Test(csv_parts, a_row_cut_short_is_incomplete)
{
    static const char whole[] = "a,\"b \"\"c\"\",\r\nd\",,\"\",e\r\n";
    size_t len = strlen(whole);
    struct row row = {0};
    for (size_t cut = 0; cut < len; cut++) {
        char *text = malloc(cut ? cut : 1);
        memcpy(text, whole, cut);
        cr_assert_eq(row_parse(&row, ',', text, text + cut), ROW_INCOMPLETE, "cut at %zu", cut);
        free(text);
    }
    char *text = strdup(whole);
    cr_assert_eq(row_parse(&row, ',', text, text + len), ROW_OK);
    cr_expect_eq(row.n, 5);
    cr_expect_eq(row.lines, 2);
    cr_expect_eq(row.next, text + len);
    field_unescape(&row.fields[1], row.fields[1].text);
    cr_expect_eq(row.fields[1].len, 9);
    cr_expect_eq(memcmp(row.fields[1].text, "b \"c\",\r\nd", 9), 0);
    cr_expect_eq(row.fields[4].len, 1);
    free(text);
    row_release(&row);
}

Test(csv_parts, random_bytes_are_parsed_without_harm)
{
    uint64_t random = 88172645463325252u;
    struct row row = {0};
    for (int i = 0; i < 20000; i++) {
        static const char alphabet[] = "a1,\"\"\r\n\n \xff";
        size_t len = 1 + (size_t)i % 60, passed = 0;
        char *text = malloc(len);
        for (size_t k = 0; k < len; k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text[k] = alphabet[random % (sizeof(alphabet) - 1)];
        }
        for (char *at = text; at < text + len; at = row.next) {
            enum row_verdict verdict = row_parse(&row, ',', at, text + len);
            if (verdict == ROW_INCOMPLETE || (verdict == ROW_BAD && !row.next)) {
                break;
            }
            cr_assert(row.next > at && row.next <= text + len);
            for (size_t k = 0; verdict == ROW_OK && k < row.n; k++) {
                field_unescape(&row.fields[k], row.fields[k].text);
                cr_assert(row.fields[k].text >= at &&
                          row.fields[k].text + row.fields[k].len < row.next);
            }
            cr_assert_leq(++passed, len);
        }
        free(text);
    }
    row_release(&row);
}

/* --- saved positions --- */

Test(csv_parts, positions_survive_being_saved)
{
    struct positions p = {0}, back;
    struct mark head = {10, 77}, head_back;
    struct cursor place = {.offset = 100, .line = 5, .before_us = -3, .mark = {64, 42}};
    void *bytes;
    size_t len;
    cr_assert(positions_place(&p, &place, 1, NULL));
    cr_assert(positions_place(&p, &place, 2, NULL));
    place.offset = 50;
    place.mark.len = 50;
    cr_assert(positions_place(&p, &place, 3, NULL));
    cr_assert(positions_encode(&p, &head, &bytes, &len));
    cr_assert(positions_decode(bytes, len, &head_back, &back));
    struct member *m;
    cr_expect_eq(back.n, 2);
    cr_expect_eq(head_back.digest, 77);
    cr_expect_eq(positions_find(&back, 3, &m)->offset, 50);
    cr_expect_eq(positions_find(&back, 1, &m), positions_find(&back, 2, &m));
    cr_expect_eq(positions_frontier(&back)->offset, 100);
    cr_expect_eq(positions_frontier(&back)->before_us, -3);
    positions_release(&back);
    for (size_t cut = 0; cut < len; cut++) {
        cr_expect_not(positions_decode(bytes, cut, &head_back, &back), "cut at %zu", cut);
        cr_expect_eq(back.n, 0);
    }
    for (size_t i = 0; i < len; i++) { /* damage is refused or harmless */
        ((unsigned char *)bytes)[i] ^= 0xff;
        if (positions_decode(bytes, len, &head_back, &back)) {
            positions_release(&back);
        }
        ((unsigned char *)bytes)[i] ^= 0xff;
    }
    free(bytes);
    positions_release(&p);
}

Test(csv_parts, a_cursor_that_catches_up_joins_the_one_ahead)
{
    struct item ahead = {.key = 1}, behind = {.key = 2};
    struct positions p = {0};
    struct cursor place = {.offset = 100};
    cr_assert(positions_place(&p, &place, 1, &ahead));
    cr_assert(positions_place(&p, &place, 7, NULL)); /* nobody's at present */
    place.offset = 10;
    cr_assert(positions_place(&p, &place, 2, &behind));
    cr_assert(positions_place(&p, &place, 8, NULL));
    cr_expect_eq(positions_front(&p)->offset, 100);
    struct cursor *rear = positions_rear(&p);
    cr_expect_eq(rear->offset, 10);
    cr_expect_eq(positions_limit(&p, rear), 100);
    rear = positions_part(&p, rear);
    rear->offset = 100;
    cr_assert(positions_moved(&p, rear));
    struct member *m;
    cr_expect_eq(positions_rear(&p), positions_front(&p));
    cr_expect_eq(positions_front(&p)->n_members, 3);
    cr_expect_eq(positions_find(&p, 8, &m)->offset, 10);
    positions_leave(&p, &ahead);
    positions_leave(&p, &behind);
    cr_expect_null(positions_front(&p));
    cr_expect(positions_join(&p, &behind));
    cr_expect_eq(positions_front(&p)->offset, 100);
    positions_release(&p);
}
