#include "timeseries/gate.h"

#include "base/sample.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

TestSuite(gate, .timeout = 30);

static struct gate *g;
static struct series *s;
static int n_gaps;
static int64_t gap_from_us, gap_to_us;

static void note_gap(void *ctx, struct series *series, int64_t from_us, int64_t to_us)
{
    (void)ctx;
    cr_expect_eq(series, s);
    n_gaps++;
    gap_from_us = from_us;
    gap_to_us = to_us;
}

static void setup(void)
{
    struct error err;
    cr_assert_eq(gate_new(&(struct gate_options){.gap = note_gap}, &g, &err), 0);
    s = series_new("src", "{\"a\":1}", "{\"a\":1}", 7);
    cr_assert_eq(gate_watch(g, s), 0);
    cr_assert_eq(gate_watch(g, s), 0, "again is fine");
}

static void teardown(void)
{
    gate_free(g);
    series_unref(s);
}

/* What comes out of the gate: its body, "-" for nothing. */
static const char *pass_of(uint64_t origin, const char *body)
{
    static char out[4096];
    struct message_id id = {origin, 1, 1};
    struct message *m = message_new(&id, 0, body, strlen(body));
    struct message *passed = gate_filter(g, "src-7", m);
    snprintf(out, sizeof out, "%s", passed ? message_body(passed).data : "-");
    if (passed)
        cr_expect_eq(message_id(passed)->origin, origin, "it keeps its id");
    message_unref(passed);
    message_unref(m);
    return out;
}

static const char *pass(const char *body)
{
    return pass_of(1, body);
}

/* Items at these seconds of a minute. */
static const char *items(int n, const int *seconds)
{
    static char body[4096];
    size_t len = (size_t)sprintf(body, "{\"subscription\":{\"a\":1},\"items\":[");
    for (int i = 0; i < n; i++)
        len +=
            (size_t)sprintf(body + len, "%s{\"timestamp\":\"2026-01-01T00:00:%02d\",\"value\":%d}",
                            i ? "," : "", seconds[i], seconds[i]);
    sprintf(body + len, "]}");
    return body;
}
#define ITEMS(...) \
    items((int)(sizeof(int[]){__VA_ARGS__} / sizeof(int)), (const int[]){__VA_ARGS__})

static void expect(const char *got, const char *wanted)
{
    cr_expect_str_eq(got, wanted);
}

static char wanted[4096];
static const char *kept(const char *body)
{
    strcpy(wanted, body);
    return wanted;
}

Test(gate, what_is_new_goes_through_as_it_is, .init = setup, .fini = teardown)
{
    expect(pass(ITEMS(1)), kept(ITEMS(1)));
    expect(pass(ITEMS(2, 3)), kept(ITEMS(2, 3)));
}

Test(gate, what_was_seen_is_dropped, .init = setup, .fini = teardown)
{
    struct gate_stats stats;
    pass(ITEMS(1, 2, 3));
    expect(pass(ITEMS(1, 2, 3)), "-");
    expect(pass_of(2, ITEMS(3)), "-");
    expect(pass_of(2, ITEMS(1)), "-");
    expect(pass(ITEMS(4)), kept(ITEMS(4)));
    gate_get_stats(g, &stats);
    cr_expect_eq(stats.duplicates, 3);
    cr_expect_eq(n_gaps, 0);
}

Test(gate, what_is_partly_seen_is_cut, .init = setup, .fini = teardown)
{
    struct gate_stats stats;
    pass(ITEMS(1, 2, 3));
    expect(pass_of(2, ITEMS(2, 3, 4, 5)), kept(ITEMS(4, 5)));
    expect(pass_of(2, ITEMS(5, 6)), kept(ITEMS(6)));
    gate_get_stats(g, &stats);
    cr_expect_eq(stats.cut, 2);
}

Test(gate, values_and_subscriptions_do_not_mislead_it, .init = setup, .fini = teardown)
{
    static const char body[] =
        "{ \"subscription\" : { \"a\" : 1 }, \"y\" : "
        "{\"items\":[{\"timestamp\":\"2030-01-01T00:00:00\"}],\"x\":\"}]\\\"{\"},"
        " \"items\" : [ {\"value\":{\"timestamp\":\"2031-01-01T00:00:00\",\"t\":[1,[2,{}]]},"
        "\"timestamp\":\"2026-01-01T00:00:01.5\"} ] }";
    expect(pass(body), body);
    expect(pass(body), "-");
    expect(pass(ITEMS(1)), "-");
    expect(pass(ITEMS(2)), kept(ITEMS(2)));
}

static const char *const nonsense[] = {
    "",
    "{",
    "[]",
    "{}",
    "{\"items\":{}}",
    "{\"items\":[",
    "{\"items\":[]}",
    "{\"items\":[1]}",
    "{\"items\":[{}]}",
    "{\"items\":[{\"timestamp\":5}]}",
    "{\"items\":[{\"timestamp\":\"soon\"}]}",
    "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\"}",
    "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00",
    "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\\",
    "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\"]]",
    "{\"subscription\":{\"a\":1",
    "{\"subscription\"",
    /* whatever would break an event of SSE */
    "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\",\"value\":"
    "\"\n\ndata: forged\"}]}",
    "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\",\"value\":NaN}]"
    "}",
};

Test(gate, what_is_not_ours_gets_compact, .init = setup, .fini = teardown)
{
    expect(pass_of(0, "{ \"subscription\": {\"a\" : 1},\"items\" :\n[ {\"timestamp\": "
                      "\"2026-01-01T00:00:00\"} ] }\n"),
           "{\"subscription\":{\"a\":1},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\"}]}");
}

Test(gate, what_is_no_message_of_samples_is_dropped, .init = setup, .fini = teardown)
{
    struct gate_stats stats;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        cr_expect_str_eq(pass_of(0, nonsense[i]), "-", "%s", nonsense[i]);
    gate_get_stats(g, &stats);
    cr_expect_eq(stats.invalid, sizeof nonsense / sizeof *nonsense);
    expect(pass(ITEMS(1)), kept(ITEMS(1)));
}

Test(gate, another_subscription_of_the_same_hash_is_dropped, .init = setup, .fini = teardown)
{
    static const char other[] =
        "{\"subscription\":{\"a\":2},\"items\":[{\"timestamp\":\"2026-01-01T00:00:00\"}]}";
    static const char same[] =
        "{\"subscription\":{ \"a\":1 },\"items\":[{\"timestamp\":\"2026-01-01T00:00:%02d\"}]}";
    struct gate_stats stats;
    char body[200];
    expect(pass(other), "-");
    for (int i = 1; i < 4; i++) {
        snprintf(body, sizeof body, same, i);
        expect(pass(body), kept(body));
    }
    gate_get_stats(g, &stats);
    cr_expect_eq(stats.foreign, 1);
}

Test(gate, keys_of_others_pass, .init = setup, .fini = teardown)
{
    struct message *m = message_new(NULL, 0, "anything", 8);
    struct message *passed = gate_filter(g, "hyprxa.handover", m);
    cr_expect_eq(passed, m);
    message_unref(passed);
    message_unref(m);
}

Test(gate, a_gap_is_told_where_another_node_goes_on_late, .init = setup, .fini = teardown)
{
    int64_t minute_us = time_from_civil(2026, 1, 1, 0, 0, 0, 0);
    pass(ITEMS(1));
    pass(ITEMS(2));
    pass(ITEMS(12));
    cr_expect_eq(n_gaps, 0, "the same node may be silent");
    pass(ITEMS(13));
    pass_of(2, ITEMS(14));
    cr_expect_eq(n_gaps, 0, "in time");
    pass_of(2, ITEMS(15));
    pass_of(3, ITEMS(13, 14, 25));
    cr_assert_eq(n_gaps, 1);
    cr_expect_eq(gap_from_us, minute_us + 15 * TIME_US_PER_SECOND);
    cr_expect_eq(gap_to_us, minute_us + 25 * TIME_US_PER_SECOND);
    cr_expect_eq(gate_last_time(g, s, &gap_to_us), 0);
    cr_expect_eq(gap_to_us, minute_us + 25 * TIME_US_PER_SECOND);
}

Test(gate, without_one_nothing_is_minded)
{
    struct gate_stats stats;
    struct series *other = series_new("s", "{}", "{}", 1);
    int64_t time_us;
    cr_expect_eq(gate_watch(NULL, other), 0);
    cr_expect_eq(gate_last_time(NULL, other, &time_us), ERR_NOT_FOUND);
    gate_get_stats(NULL, &stats);
    cr_expect_eq(stats.duplicates, 0);
    gate_free(NULL);
    series_unref(other);
}
