#include "toy_host.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

TestSuite(csv, .timeout = 120);

#define COLUMN(name)        "{\"column\":\"" name "\",\"source\":\"toy\"}"
#define COLUMN_OF(name, of) "{\"column\":\"" name "\",\"file\":\"" of "\",\"source\":\"toy\"}"
#define SECOND              INT64_C(1000000)
/* 2024-01-01T00:00:00 and so many seconds */
#define AT(seconds) ((INT64_C(1704067200) + (seconds)) * SECOND)

static struct hyprxa_error err = {.size = sizeof(err)};
static struct toy_store store;

/* Options with the path below the test's folder, and more. */
static const char *options(const char *path, const char *more)
{
    static char text[1000];
    snprintf(text, sizeof(text), "{\"path\":\"%s\",\"poll\":\"200ms\"%s%s}", tree_path("%s", path),
             more[0] ? "," : "", more);
    return text;
}

static struct toy_host *open_csv(const char *path, const char *more, const char *const *jsons,
                                 size_t n)
{
    struct toy_host *t = toy_open("csv", options(path, more), &store, &err);
    cr_assert(t, "%s", err.message);
    cr_assert_eq(toy_subscribe(t, jsons, n, &err), HYPRXA_OK, "%s", err.message);
    return t;
}

static struct toy_host *open_one(const char *path, const char *more, const char *json)
{
    return open_csv(path, more, &json, 1);
}

static void append(const char *name, const char *text)
{
    tree_append(name, text, strlen(text));
}

/* End the host, keep everything. */
static void close_kept(struct toy_host *t)
{
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    toy_commit(t, SIZE_MAX);
    toy_close(t);
}

/* All samples stored for `json`: "<seconds since 2024> <value>|..." */
static const char *stored(const char *json)
{
    static char text[4000];
    const struct toy_series *s = toy_store_series(&store, json);
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; s && i < s->n && used < sizeof(text); i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%g %s", i ? "|" : "",
                                 (double)(s->samples[i].time_us - AT(0)) / 1e6, s->samples[i].text);
    }
    return text;
}

Test(csv, rows_become_samples_of_their_columns)
{
    const char *const jsons[] = {COLUMN("a"), COLUMN("b")};
    tree_write("x.csv", "timestamp,a,b\n2024-01-01T00:00:01,1,x\n2024-01-01T00:00:02,2.5,\n");
    struct toy_host *t = open_csv("x.csv", "", jsons, 2);
    cr_assert(toy_wait_samples(t, 3));
    close_kept(t);
    cr_expect_str_eq(stored(jsons[0]), "1 i 1|2 d 2.5");
    cr_expect_str_eq(stored(jsons[1]), "1 s x");
}

Test(csv, new_rows_are_followed)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "\"poll\":\"1h\"", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    append("x.csv", "2024-01-01T00:00:02,2\n");
    cr_assert(toy_wait_samples(t, 2));
    append("x.csv", "2024-01-01T00:00:03,3\n");
    cr_assert(toy_wait_samples(t, 3));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2|3 i 3");
}

Test(csv, a_half_written_line_waits_for_its_end)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n2024-01-01T00:00:02,2");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    append("x.csv", "3");
    append("x.csv", "4\n2024");
    cr_assert(toy_wait_samples(t, 2));
    append("x.csv", "-01-01T00:00:03,3\n");
    cr_assert(toy_wait_samples(t, 3));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 234|3 i 3");
}

Test(csv, quoted_fields_may_hold_delimiters_quotes_and_line_ends)
{
    tree_write("x.csv", "\xef\xbb\xbf\"timestamp\",\"my \"\"a\"\"\"\r\n"
                        "2024-01-01T00:00:01,\"x,y\"\r\n"
                        "2024-01-01T00:00:02,\"line\r\nend\"\r\n"
                        "2024-01-01T00:00:03,\"say \"\"hi\"\"\"\r\n"
                        "\"2024-01-01T00:00:04\",\"12\"\r\n"
                        "2024-01-01T00:00:05,5\"\r\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("my \\\"a\\\""));
    cr_assert(toy_wait_samples(t, 5));
    append("x.csv", "2024-01-01T00:00:06,\"a \"\"b\"\" c\"\r\n");
    cr_assert(toy_wait_samples(t, 6));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("my \\\"a\\\"")),
                     "1 s x,y|2 s line\r\nend|3 s say \"hi\"|4 i 12|5 s 5\"|6 s a \"b\" c");
}

Test(csv, delimiter_column_format_and_zone_are_the_operators)
{
    tree_write("x.csv", "when;a\n31.12.2023 19:00:01,5;1\n");
    struct toy_host *t = open_one("x.csv",
                                  "\"delimiter\":\";\",\"timestamp\":{\"column\":\"when\","
                                  "\"format\":\"%d.%m.%Y %H:%M:%S,%f\","
                                  "\"timezone\":\"America/New_York\"}",
                                  COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1.5 i 1");
}

Test(csv, what_is_stored_survives_a_restart_and_nothing_comes_twice)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    close_kept(t);
    append("x.csv", "2024-01-01T00:00:02,2\n");
    t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    cr_expect_eq(toy_counts(t).live, 1);
    cr_expect_eq(toy_counts(t).history + toy_counts(t).duplicates, 0);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2");
}

Test(csv, rows_older_than_the_last_one_are_history)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:05,5\n2024-01-01T00:00:01,1\n"
                        "2024-01-01T00:00:06,6\n2024-01-01T00:00:06,7\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 3));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    struct toy_counts counts = toy_counts(t);
    close_kept(t);
    cr_expect_eq(counts.live, 2);
    cr_expect_eq(counts.history, 1);
    cr_expect_eq(counts.duplicates, 1);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|5 i 5|6 i 6");
}

Test(csv, start_end_leaves_out_what_was_there_and_nothing_after)
{
    tree_write("d/x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n2024-01-01T00:00:02,");
    struct toy_host *t = open_one("d", "\"start\":\"end\"", COLUMN("a"));
    cr_assert(toy_wait_state(t, "since/"));
    append("d/x.csv", "2\n");
    cr_assert(toy_wait_samples(t, 1));
    tree_write("d/y.csv", "timestamp,a\n2024-01-01T00:00:03,3\n"); /* new: from its beginning */
    cr_assert(toy_wait_samples(t, 2));
    close_kept(t);
    append("d/y.csv", "2024-01-01T00:00:04,4\n");
    tree_write("d/z.csv", "timestamp,a\n2024-01-01T00:00:05,5\n"); /* new while nobody looked */
    t = open_one("d", "\"start\":\"end\"", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 2));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "2 i 2|3 i 3|4 i 4|5 i 5");
}

Test(csv, a_renamed_file_is_read_to_its_end_and_its_successor_from_the_beginning)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    append("x.csv", "2024-01-01T00:00:02,2\n");
    rename(tree_path("x.csv"), tree_path("x.csv.1"));
    append("x.csv.1", "2024-01-01T00:00:03,3\n");
    tree_write("x.csv", "timestamp,b,a\n2024-01-01T00:00:04,0,4\n");
    cr_assert(toy_wait_samples(t, 4));
    append("x.csv.1", "2024-01-01T00:00:03.5,35\n"); /* the writer was slow to let go */
    append("x.csv", "2024-01-01T00:00:05,0,5\n");
    cr_assert(toy_wait_samples(t, 6));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2|3 i 3|3.5 i 35|4 i 4|5 i 5");
}

Test(csv, a_file_renamed_while_nobody_looked_is_read_to_its_end)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    close_kept(t);
    append("x.csv", "2024-01-01T00:00:02,2\n");
    rename(tree_path("x.csv"), tree_path("x.csv.1"));
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:03,3\n");
    t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 2));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    cr_expect_eq(toy_counts(t).live, 2);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2|3 i 3");
}

Test(csv, a_file_truncated_in_place_is_read_from_its_start)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n2024-01-01T00:00:02,2\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 2));
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:03,3\n");
    cr_assert(toy_wait_samples(t, 3));
    /* longer than what was read, so that its size alone does not tell */
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:04,4\n2024-01-01T00:00:05,5\n");
    cr_assert(toy_wait_samples(t, 5));
    tree_write("x.csv", "a,timestamp\n6,2024-01-01T00:00:06\n"); /* another header */
    cr_assert(toy_wait_samples(t, 6));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2|3 i 3|4 i 4|5 i 5|6 i 6");
}

Test(csv, a_file_replaced_by_a_longer_copy_goes_on_where_it_was)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    tree_write("new", "timestamp,a\n2024-01-01T00:00:01,1\n2024-01-01T00:00:02,2\n");
    rename(tree_path("new"), tree_path("x.csv"));
    cr_assert(toy_wait_samples(t, 2));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    cr_expect_eq(toy_counts(t).live, 2);
    cr_expect_eq(toy_counts(t).history + toy_counts(t).duplicates, 0);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2");
}

Test(csv, a_glob_keeps_a_file_that_rotates_within_it)
{
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv*", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    rename(tree_path("x.csv"), tree_path("x.csv.1"));
    append("x.csv.1", "2024-01-01T00:00:02,2\n");
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:03,3\n");
    cr_assert(toy_wait_samples(t, 3));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    cr_expect_eq(toy_counts(t).history + toy_counts(t).duplicates, 0);
    close_kept(t);
    t = open_one("x.csv*", "", COLUMN("a"));
    append("x.csv", "2024-01-01T00:00:04,4\n");
    cr_assert(toy_wait_samples(t, 1));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    cr_expect_eq(toy_counts(t).live, 1);
    cr_expect_eq(toy_counts(t).history + toy_counts(t).duplicates, 0);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2|3 i 3|4 i 4");
}

Test(csv, a_late_subscription_starts_at_the_beginning_for_itself_alone)
{
    const char *const late[] = {COLUMN("b")};
    tree_write("x.csv", "timestamp,a,b\n2024-01-01T00:00:01,1,10\n2024-01-01T00:00:02,2,20\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 2));
    cr_assert_eq(toy_subscribe(t, late, 1, &err), HYPRXA_OK);
    cr_assert(toy_wait_samples(t, 4));
    append("x.csv", "2024-01-01T00:00:03,3,30\n");
    cr_assert(toy_wait_samples(t, 6));
    cr_assert(toy_wait_saved(t));
    toy_stop(t);
    cr_expect_eq(toy_counts(t).duplicates + toy_counts(t).history, 0);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2|3 i 3");
    cr_expect_str_eq(stored(COLUMN("b")), "1 i 10|2 i 20|3 i 30");
}

Test(csv, a_subscription_that_was_away_goes_on_where_it_was)
{
    const char *const jsons[] = {COLUMN("a"), COLUMN("b")};
    tree_write("x.csv", "timestamp,a,b\n2024-01-01T00:00:01,1,10\n");
    struct toy_host *t = open_csv("x.csv", "", jsons, 2);
    cr_assert(toy_wait_samples(t, 2));
    toy_unsubscribe(t, jsons[1]);
    append("x.csv", "2024-01-01T00:00:02,2,20\n");
    cr_assert(toy_wait_samples_of(t, jsons[0], 2));
    cr_assert_eq(toy_subscribe(t, &jsons[1], 1, &err), HYPRXA_OK);
    cr_assert(toy_wait_samples_of(t, jsons[1], 2));
    toy_unsubscribe(t, jsons[1]);
    append("x.csv", "2024-01-01T00:00:03,3,30\n");
    cr_assert(toy_wait_samples_of(t, jsons[0], 3));
    close_kept(t);
    t = open_one("x.csv", "", jsons[0]); /* without b: its place is kept meanwhile */
    append("x.csv", "2024-01-01T00:00:04,4,40\n");
    cr_assert(toy_wait_samples(t, 1));
    close_kept(t);
    t = open_csv("x.csv", "", jsons, 2);
    cr_assert(toy_wait_samples(t, 2));
    close_kept(t);
    cr_expect_str_eq(stored(jsons[0]), "1 i 1|2 i 2|3 i 3|4 i 4");
    cr_expect_str_eq(stored(jsons[1]), "1 i 10|2 i 20|3 i 30|4 i 40");
}

Test(csv, a_subscription_may_name_its_file)
{
    const char *const jsons[] = {COLUMN_OF("a", "x.csv"), COLUMN_OF("a", "y*"), COLUMN("a")};
    tree_write("d/x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    tree_write("d/y.csv", "timestamp,a\n2024-01-01T00:00:02,2\n");
    struct toy_host *t = open_csv("d", "", jsons, 3);
    cr_assert(toy_wait_samples(t, 4));
    close_kept(t);
    cr_expect_str_eq(stored(jsons[0]), "1 i 1");
    cr_expect_str_eq(stored(jsons[1]), "2 i 2");
    cr_expect_str_eq(stored(jsons[2]), "1 i 1|2 i 2");
}

Test(csv, malformed_rows_are_told_with_file_and_line_and_left_out)
{
    tree_write("x.csv", "timestamp,a\n"
                        "2024-01-01T00:00:01,1\n"
                        "yesterday,2\n"
                        "2024-01-01T00:00:03,3,33\n"
                        "\n"
                        "2024-01-01T00:00:05,\"5\"x\n"
                        "2024-01-01T00:00:06,\xff\n"
                        "2024-01-01T00:00:07,7\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 2));
    cr_expect(toy_wait_log(t, "x.csv:3: 'yesterday' is not a time in the format iso8601"));
    cr_expect(toy_wait_log(t, "x.csv:4: 3 fields, the first line has 2"));
    cr_expect(toy_wait_log(t, "x.csv:6: field 2: text after a closing quote"));
    cr_expect(toy_wait_log(t, "x.csv:7: column 'a': not UTF-8"));
    char *info = toy_info(t);
    cr_expect(strstr(info, "\"malformed\":4"), "%s", info);
    free(info);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|7 i 7");
}

Test(csv, a_flood_of_malformed_rows_does_not_flood_the_log)
{
    tree_write("x.csv", "timestamp,a\n");
    for (int i = 0; i < 1000; i++) {
        append("x.csv", "never,1\n");
    }
    append("x.csv", "2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 1));
    toy_stop(t);
    cr_expect_eq(toy_count_log(t, "is not a time"), 10);
    cr_expect_eq(toy_count_log(t, "990 more malformed rows"), 1);
    toy_close(t);
}

Test(csv, an_open_quote_costs_a_line_and_not_the_file)
{
    char *text = malloc(200 * 1000);
    size_t used = (size_t)sprintf(text, "timestamp,a\n2024-01-01T00:00:01,\"never closed\n");
    for (int i = 0; i < 4000; i++) {
        used += (size_t)sprintf(text + used, "2024-01-01T%02d:%02d:%02d,%d\n", 1 + i / 3600,
                                i / 60 % 60, i % 60, i);
    }
    tree_write("x.csv", text);
    free(text);
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 4000));
    cr_expect(toy_wait_log(t, "x.csv:2: field 2: a quoted field of more than 64 KiB"));
    toy_close(t);
}

Test(csv, a_huge_field_is_left_out_and_its_row_is_not)
{
    const char *const jsons[] = {COLUMN("a"), COLUMN("b")};
    char *text = malloc(300 * 1000), *at = text;
    at += sprintf(at, "timestamp,a,b\n2024-01-01T00:00:01,");
    memset(at, 'x', 70 * 1000);
    at += 70 * 1000;
    at += sprintf(at, ",1\n2024-01-01T00:00:02,");
    memset(at, 'y', 64 * 1024);
    at += 64 * 1024;
    sprintf(at, ",2\n");
    tree_write("x.csv", text);
    free(text);
    struct toy_host *t = open_csv("x.csv", "", jsons, 2);
    cr_assert(toy_wait_samples(t, 3));
    cr_expect(toy_wait_log(t, "x.csv:2: column 'a': a field of more than 64 KiB"));
    close_kept(t);
    cr_expect_eq(toy_store_series(&store, jsons[0])->n, 1);
    cr_expect_eq(strlen(toy_store_series(&store, jsons[0])->samples[0].text), 64 * 1024 + 2);
    cr_expect_str_eq(stored(jsons[1]), "1 i 1|2 i 2");
}

Test(csv, a_line_without_end_is_passed_over)
{
    enum { MIB = 1024 * 1024 };
    char *filler = malloc(MIB + 1);
    memset(filler, 'x', MIB);
    filler[MIB] = '\0';
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:01,1\n");
    for (int i = 0; i < 18; i++) {
        append("x.csv", filler);
    }
    free(filler);
    append("x.csv", "\n2024-01-01T00:00:02,2\n");
    struct toy_host *t = open_one("x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 2));
    cr_expect(toy_wait_log(t, "x.csv:3: a row of more than 16 MiB"));
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "1 i 1|2 i 2");
}

Test(csv, a_wide_file_is_read_whole)
{
    enum { WIDE = 5000, ROWS = 20 };
    static char names[4000][40];
    static const char *jsons[4000];
    char *text = malloc(1000 * 1000), *at = text;
    at += sprintf(at, "timestamp");
    for (int i = 0; i < WIDE; i++) {
        at += sprintf(at, ",c%d", i);
    }
    for (int row = 0; row < ROWS; row++) {
        at += sprintf(at, "\n2024-01-01T00:00:%02d", row);
        for (int i = 0; i < WIDE; i++) {
            at += sprintf(at, ",%d", row * 10 + i % 10);
        }
    }
    sprintf(at, "\n");
    tree_write("x.csv", text);
    free(text);
    for (int i = 0; i < 4000; i++) {
        snprintf(names[i], sizeof(names[i]), COLUMN("c%d"), i);
        jsons[i] = names[i];
    }
    struct toy_host *t = open_csv("x.csv", "", jsons, 4000);
    cr_assert(toy_wait_samples(t, 4000 * ROWS));
    close_kept(t);
    for (int i = 0; i < 4000; i += 777) {
        const struct toy_series *s = toy_store_series(&store, names[i]);
        char expected[16];
        snprintf(expected, sizeof(expected), "i %d", 190 + i % 10);
        cr_expect_eq(s->n, ROWS);
        cr_expect_str_eq(s->samples[ROWS - 1].text, expected);
    }
}

Test(csv, a_folder_of_two_hundred_files_is_followed)
{
    enum { FILES = 250 };
    char name[40], text[200];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof(name), "d/%03d.csv", i);
        snprintf(text, sizeof(text), "timestamp,a\n2024-01-01T%02d:%02d:00,%d\n", i / 60, i % 60,
                 i);
        tree_write(name, text);
        struct timespec when[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
        utimensat(AT_FDCWD, tree_path("%s", name), when, 0);
    }
    tree_write("d/notes.txt", "timestamp,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("d", "", COLUMN("a"));
    cr_assert(toy_wait_samples(t, FILES));
    cr_expect_eq(toy_counts(t).history, 0); /* the oldest file first */
    for (int i = 0; i < FILES; i += 10) {
        snprintf(name, sizeof(name), "d/%03d.csv", i);
        snprintf(text, sizeof(text), "2024-01-02T%02d:%02d:00,%d\n", i / 60, i % 60, i);
        append(name, text);
    }
    cr_assert(toy_wait_samples(t, FILES + FILES / 10));
    tree_write("d/new.csv", "timestamp,a\n2024-01-03T00:00:00,1\n");
    cr_assert(toy_wait_samples(t, FILES + FILES / 10 + 1));
    close_kept(t);
    cr_expect_eq(toy_store_series(&store, COLUMN("a"))->n, FILES + FILES / 10 + 1);
}

Test(csv, a_file_that_is_not_there_yet_is_awaited)
{
    struct toy_host *t = open_one("later/x.csv", "", COLUMN("a"));
    cr_assert(toy_wait_log(t, "no file matches"));
    tree_write("later/x.csv", "timesta");
    append("later/x.csv", "mp,a\n2024-01-01T00:00:01,1\n");
    cr_assert(toy_wait_samples(t, 1));
    toy_close(t);
}

Test(csv, a_file_without_the_timestamp_column_is_told_once_and_taken_when_it_has_one)
{
    tree_write("x.csv", "time,a\n2024-01-01T00:00:01,1\n");
    struct toy_host *t = open_one("x.csv", "\"poll\":\"20ms\"", COLUMN("a"));
    cr_assert(toy_wait_log(t, "x.csv: no column 'timestamp' for the timestamp in its first line"));
    append("x.csv", "2024-01-01T00:00:02,2\n");
    tree_write("x.csv", "timestamp,a\n2024-01-01T00:00:03,3\n");
    cr_assert(toy_wait_samples(t, 1));
    cr_expect_eq(toy_count_log(t, "no column 'timestamp'"), 1);
    close_kept(t);
    cr_expect_str_eq(stored(COLUMN("a")), "3 i 3");
}

Test(csv, the_twice_shown_hour_of_autumn_is_told_apart)
{
    /* 2024-11-03 in New York: 01:30 EDT is 05:30 UTC, 01:30 EST is 06:30 UTC */
    tree_write("x.csv", "timestamp,a\n2024-11-03T01:15:00,1\n2024-11-03T01:45:00,2\n"
                        "2024-11-03T01:15:00,3\n2024-11-03T01:45:00,4\n2024-11-03T02:15:00,5\n");
    struct toy_host *t =
        open_one("x.csv", "\"timestamp\":{\"timezone\":\"America/New_York\"}", COLUMN("a"));
    cr_assert(toy_wait_samples(t, 5));
    close_kept(t);
    const struct toy_series *s = toy_store_series(&store, COLUMN("a"));
    const int64_t first = INT64_C(1730610900) * SECOND; /* 05:15 UTC */
    for (int i = 0; i < 5; i++) {
        cr_expect_eq(s->samples[i].time_us, first + i * 1800 * SECOND);
    }
}

Test(csv, lists_the_columns_of_all_files)
{
    tree_write("d/x.csv", "timestamp,b,a\n");
    tree_write("d/y.csv", "c\\d,\"q\"\"\",timestamp,a\n");
    tree_write("d/z.csv", "no header that would do\n");
    struct toy_host *t = toy_open("csv", options("d", ""), &store, &err);
    char *list = toy_list(t);
    cr_expect_str_eq(list, "{\"column\":\"a\"}\n{\"column\":\"b\"}\n{\"column\":\"c\\\\d\"}\n"
                           "{\"column\":\"q\\\"\"}\n");
    free(list);
    toy_close(t);
}

Test(csv, an_unknown_time_zone_is_refused_by_name)
{
    cr_assert_null(toy_open(
        "csv", "{\"path\":\"/x\",\"timestamp\":{\"timezone\":\"Mars/Olympus\"}}", &store, &err));
    cr_expect(strstr(err.message, "timestamp.timezone: time zone 'Mars/Olympus'"), "%s",
              err.message);
}

Test(csv, reads_more_than_a_million_cells_a_second)
{
    enum { COLUMNS = 20, ROWS = 20000 };
    static char names[COLUMNS][40];
    static const char *jsons[COLUMNS];
    char *text = malloc(ROWS * (COLUMNS * 10 + 40)), *at = text;
    at += sprintf(at, "timestamp");
    for (int i = 0; i < COLUMNS; i++) {
        at += sprintf(at, ",c%d", i);
        snprintf(names[i], sizeof(names[i]), COLUMN("c%d"), i);
        jsons[i] = names[i];
    }
    for (int row = 0; row < ROWS; row++) {
        at += sprintf(at, "\n2024-01-01T%02d:%02d:%02d", row / 3600, row / 60 % 60, row % 60);
        for (int i = 0; i < COLUMNS; i++) {
            at += sprintf(at, ",%d.%03d", row % 1000, i);
        }
    }
    sprintf(at, "\n");
    tree_write("x.csv", text);
    free(text);
    struct toy_host *t = toy_open("csv", options("x.csv", ""), &store, &err);
    struct timespec begin, end;
    toy_count_only(t);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    cr_assert_eq(toy_subscribe(t, jsons, COLUMNS, &err), HYPRXA_OK);
    cr_assert(toy_wait_samples(t, COLUMNS * ROWS));
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds =
        (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    fprintf(stderr, "%.1f million cells a second\n", COLUMNS * ROWS / seconds / 1e6);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_expect_lt(seconds, COLUMNS * ROWS / 1e6);
#endif
    toy_close(t);
}
