/* The forms python-dateutil reads, read alike: make_time_table.py is where the expectations come
 * from. */
#include "base/time.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TestSuite(time_table, .timeout = 60);

static const struct {
    const char *text, *zone, *utc; /* "": refused */
} rows[] = {
#include "time_table.inc"
};

Test(time_table, every_text_means_what_the_judge_says)
{
    int64_t now_us = time_from_civil(2023, 3, 31, 22, 30, 0, 500000);
    if (access("/usr/share/zoneinfo/America/New_York", R_OK) != 0)
        cr_skip_test("no tz database here");
    size_t wrong = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[TIME_ISO_SIZE] = "";
        struct error err = ERROR_INIT;
        int64_t us;
        if (time_parse(rows[i].text, rows[i].zone, now_us, &us, &err) == 0)
            time_format_iso(us, got);
        wrong += strcmp(got, rows[i].utc) != 0;
        cr_expect_str_eq(got, rows[i].utc, "'%s' in %s: %s, not %s (%s)", rows[i].text,
                         rows[i].zone, got, rows[i].utc, err.message);
    }
    cr_expect_gt(sizeof rows / sizeof *rows, 500);
    cr_expect_eq(wrong, 0);
}
