#include "base/message.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(message, .timeout = 10);

Test(message, place_reads_back_as_it_was_written)
{
    static const struct message_place places[] = {
        {.id = {0, 0, 1}},
        {.id = {UINT64_MAX, UINT64_MAX, UINT64_MAX}},
        {{7, 2, 3}, true, INT64_MIN, UINT64_MAX},
        {{7, 2, 3}, true, INT64_MAX, 0},
        {{7, 2, 3}, true, 0, 0xabc},
    };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char text[MESSAGE_PLACE_SIZE];
        struct message_place back;
        size_t len = message_place_format(&places[i], text);
        cr_assert_eq(len, strlen(text));
        cr_assert(message_place_parse(text, &back), "%s", text);
        cr_expect_eq(back.id.origin, places[i].id.origin);
        cr_expect_eq(back.id.epoch, places[i].id.epoch);
        cr_expect_eq(back.id.sequence, places[i].id.sequence);
        cr_expect_eq(back.within, places[i].within);
        cr_expect_eq(back.time_us, places[i].time_us);
        cr_expect_eq(back.series, places[i].series);
    }
}

Test(message, what_is_no_place_is_refused)
{
    static const char *const texts[] = {
        "",
        "1",
        "1:2",
        "1:2:",
        "1:2:3:4",
        "1:2:3 ",
        " 1:2:3",
        "1:2:-3",
        "g:2:3",
        "1:2:3@",
        "1:2:3@5",
        "1:2:3@5.",
        "1:2:3@.5",
        "1:2:3@5.g",
        "1:2:3@5.5x",
        "1:2:3@5.5@",
        "@5.5",
        "1:2:3@ 5.5",
        "1:2:3\r\n",
        "11111111111111111:2:3",
        "1:2:3@1111111111111111111111111.1111111111111111111111111",
    };
    struct message_place place;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        cr_expect_not(message_place_parse(texts[i], &place), "%s", texts[i]);
}

Test(message, ids_are_ordered_by_run_and_then_by_number)
{
    static const struct message_id ids[] = {{1, 1, 5}, {1, 1, 6}, {1, 2, 1}, {1, 2, 9}};
    for (size_t a = 0; a < 4; a++)
        for (size_t b = 0; b < 4; b++)
            cr_expect_eq(message_id_after(&ids[a], &ids[b]), a > b);
}
