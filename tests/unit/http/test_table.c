#include "http/table.h"
#include "http_fixture.h"

#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

TestSuite(table, .timeout = 60);

/* --- cells --- */

enum cell { TEXT, VALUE, JSON_TEXT, TIME, NULLS };

struct cell_case {
    enum cell cell;
    uint32_t type; /* of a VALUE */
    double number; /* of a number; an integer is `time` */
    int64_t time;
    char text[96];
    char csv[128], lines[160]; /* as they must be shown */
};

static const struct cell_case *cell;

static int write_cell(struct table *t, struct error *err)
{
    (void)err;
    struct value v = {.type = cell->type};
    switch (cell->type) {
    case VALUE_BOOL:
        v.as.boolean = cell->time != 0;
        break;
    case VALUE_INT64:
        v.as.i64 = cell->time;
        break;
    case VALUE_DOUBLE:
        v.as.f64 = cell->number;
        break;
    default:
        v.as.ptr = cell->text;
        v.len = (uint32_t)strlen(cell->text);
    }
    if (cell->cell == TEXT)
        table_text(t, cell->text, strlen(cell->text));
    else if (cell->cell == JSON_TEXT)
        table_json_text(t, cell->text, strlen(cell->text));
    else if (cell->cell == TIME)
        table_time(t, cell->time);
    else if (cell->cell == NULLS)
        table_nulls(t, (size_t)cell->time);
    else
        table_value(t, &v);
    table_text(t, "e", 1);
    table_end_row(t);
    return 0;
}

ParameterizedTestParameters(table, cells_are_written_as_the_format_has_them)
{
    static struct cell_case cases[] = {
        /* RFC 4180: quotes only where they must be; quotes inside are doubled. */
        {TEXT, .text = "plain", .csv = "plain", .lines = "\"plain\""},
        {TEXT, .text = "", .csv = "", .lines = "\"\""},
        {TEXT, .text = " a ", .csv = " a ", .lines = "\" a \""},
        {TEXT, .text = "a,b", .csv = "\"a,b\"", .lines = "\"a,b\""},
        {TEXT, .text = "say \"hi\"", .csv = "\"say \"\"hi\"\"\"", .lines = "\"say \\\"hi\\\"\""},
        {TEXT, .text = "\"", .csv = "\"\"\"\"", .lines = "\"\\\"\""},
        {TEXT, .text = "a\nb", .csv = "\"a\nb\"", .lines = "\"a\\nb\""},
        {TEXT, .text = "a\rb", .csv = "\"a\rb\"", .lines = "\"a\\rb\""},
        {TEXT, .text = "a|b;c\td", .csv = "a|b;c\td", .lines = "\"a|b;c\\td\""},
        {TEXT, .text = "Zürich 🌡", .csv = "Zürich 🌡", .lines = "\"Zürich 🌡\""},
        {VALUE, VALUE_STRING, .text = "é,", .csv = "\"é,\"", .lines = "\"é,\""},
        {VALUE, VALUE_STRING, .text = "", .csv = "", .lines = "\"\""},
        {VALUE, VALUE_NULL, .csv = "", .lines = "null"},
        {VALUE, VALUE_BOOL, .time = 1, .csv = "true", .lines = "true"},
        {VALUE, VALUE_BOOL, .time = 0, .csv = "false", .lines = "false"},
        {VALUE, VALUE_INT64, .time = 0, .csv = "0", .lines = "0"},
        {VALUE, VALUE_INT64, .time = INT64_MIN, .csv = "-9223372036854775808",
         .lines = "-9223372036854775808"},
        {VALUE, VALUE_INT64, .time = INT64_MAX, .csv = "9223372036854775807",
         .lines = "9223372036854775807"},
        {VALUE, VALUE_DOUBLE, .number = 2.0, .csv = "2.0", .lines = "2.0"},
        {VALUE, VALUE_DOUBLE, .number = -0.0, .csv = "-0.0", .lines = "-0.0"},
        {VALUE, VALUE_DOUBLE, .number = 0.1, .csv = "0.1", .lines = "0.1"},
        {VALUE, VALUE_DOUBLE, .number = 1e16, .csv = "1e16", .lines = "1e16"},
        {VALUE, VALUE_DOUBLE, .number = 1e-7, .csv = "1e-7", .lines = "1e-7"},
        {VALUE, VALUE_DOUBLE, .number = NAN, .csv = "", .lines = "null"},
        {VALUE, VALUE_DOUBLE, .number = INFINITY, .csv = "", .lines = "null"},
        {VALUE, VALUE_DOUBLE, .number = -INFINITY, .csv = "", .lines = "null"},
        /* Containers are JSON text, with Python's blanks. */
        {VALUE, VALUE_JSON, .text = "{\"k\":[1,\"x\"]}", .csv = "\"{\"\"k\"\": [1, \"\"x\"\"]}\"",
         .lines = "{\"k\": [1, \"x\"]}"},
        {VALUE, VALUE_JSON, .text = "[]", .csv = "[]", .lines = "[]"},
        {VALUE, VALUE_JSON, .text = "[\"é\"]", .csv = "\"[\"\"é\"\"]\"", .lines = "[\"é\"]"},
        {VALUE, VALUE_BYTES, .text = "\x01\x02\x03", .csv = "AQID", .lines = "\"AQID\""},
        /* Payloads of events are JSON strings of ASCII. */
        {JSON_TEXT, .text = "{\"a\":\"é\"}", .csv = "\"{\"\"a\"\": \"\"\\u00e9\"\"}\"",
         .lines = "\"{\\\"a\\\": \\\"\\\\u00e9\\\"}\""},
        {JSON_TEXT, .text = "{}", .csv = "{}", .lines = "\"{}\""},
        {TIME, .time = 0, .csv = "1970-01-01T00:00:00", .lines = "\"1970-01-01T00:00:00\""},
        {TIME, .time = 1500000, .csv = "1970-01-01T00:00:01.500000",
         .lines = "\"1970-01-01T00:00:01.500000\""},
        {TIME, .time = -1, .csv = "1969-12-31T23:59:59.999999",
         .lines = "\"1969-12-31T23:59:59.999999\""},
        {NULLS, .time = 1, .csv = "", .lines = "null"},
        {NULLS, .time = 3, .csv = ",,", .lines = "null, null, null"},
    };
    return cr_make_param_array(struct cell_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct cell_case *c, table, cells_are_written_as_the_format_has_them)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    char expected[512];
    cell = c;
    fixture_write_table = write_cell;
    client_get(server, "/table", "Accept: text/csv\r\n", &a);
    snprintf(expected, sizeof expected, "%s,e\r\n", c->csv);
    check_answer(&a, 200, expected);
    answer_release(&a);
    snprintf(expected, sizeof expected, "[%s, \"e\"]\n", c->lines);
    static const char *const accepts[] = {"Accept: application/x-jsonlines\r\n",
                                          "Accept: application/x-ndjson\r\n"};
    for (size_t i = 0; i < 2; i++) {
        client_get(server, "/table", accepts[i], &a);
        check_answer(&a, 200, expected);
        answer_release(&a);
    }
    fixture_stop(server);
}

/* --- which format --- */

struct accept_case {
    char accept[96];
    char content_type[48]; /* "": 415 */
    char suffix[16];
};

ParameterizedTestParameters(table, formats_are_negotiated)
{
    static struct accept_case cases[] = {
        {"", "text/csv; charset=utf-8", ".csv"},
        {"text/csv", "text/csv; charset=utf-8", ".csv"},
        {"TEXT/CSV", "text/csv; charset=utf-8", ".csv"},
        {"text/*", "text/csv; charset=utf-8", ".csv"},
        {"*", "text/csv; charset=utf-8", ".csv"},
        {"*/*", "text/csv; charset=utf-8", ".csv"},
        {"text/csv; header=present", "text/csv; charset=utf-8", ".csv"},
        {"application/jsonlines", "application/x-jsonlines", ".jsonl"},
        {"application/x-jsonlines", "application/x-jsonlines", ".jsonl"},
        {"application/*", "application/x-jsonlines", ".jsonl"},
        {"application/x-ndjson", "application/x-ndjson", ".ndjson"},
        {"image/png, application/x-ndjson", "application/x-ndjson", ".ndjson"},
        {"text/csv;q=0.5, application/x-ndjson", "application/x-ndjson", ".ndjson"},
        {"application/x-ndjson;q=0.2,text/csv;q=0.3", "text/csv; charset=utf-8", ".csv"},
        {"application/x-ndjson, text/csv", "application/x-ndjson", ".ndjson"},
        {"text/csv;q=0", "", ""},
        {"application/json", "", ""},
        {"text/html", "", ""},
    };
    return cr_make_param_array(struct accept_case, cases, sizeof cases / sizeof *cases);
}

static int write_nothing(struct table *t, struct error *err)
{
    (void)t, (void)err;
    return 0;
}

ParameterizedTest(struct accept_case *c, table, formats_are_negotiated)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    char header[128] = "";
    fixture_write_table = write_nothing;
    if (*c->accept)
        snprintf(header, sizeof header, "Accept: %s\r\n", c->accept);
    client_get(server, "/table", header, &a);
    if (*c->content_type) {
        check_answer(&a, 200, "");
        cr_expect_str_eq(answer_header(&a, "content-type"), c->content_type);
        const char *disposition = answer_header(&a, "content-disposition");
        const char *prefix = "attachment; filename=";
        cr_assert_not_null(disposition);
        cr_expect_eq(strncmp(disposition, prefix, strlen(prefix)), 0);
        const char *name = disposition + strlen(prefix);
        cr_expect_str_eq(name + strspn(name, "0123456789"), c->suffix);
    } else {
        check_answer(&a, 415, "{\"detail\":\"Unsupported Media Type\"}");
    }
    answer_release(&a);
    fixture_stop(server);
}

/* --- failing --- */

static int fail_after(struct table *t, size_t rows, struct error *err)
{
    for (size_t i = 0; i < rows; i++) {
        table_text(t, "0123456789", 10);
        if (table_end_row(t))
            return 0;
    }
    return error_set(err, ERR_INVALID, "'x' holds a text.");
}

static int fail_early(struct table *t, struct error *err)
{
    return fail_after(t, 100, err);
}

static int fail_late(struct table *t, struct error *err)
{
    return fail_after(t, 100000, err);
}

Test(table, a_failure_before_the_first_block_is_the_answer)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    fixture_write_table = fail_early;
    client_get(server, "/table", "", &a);
    check_answer(&a, 422, "{\"detail\":\"'x' holds a text.\"}");
    cr_expect_null(answer_header(&a, "content-disposition"));
    answer_release(&a);
    fixture_stop(server);
}

Test(table, a_failure_later_leaves_out_the_final_chunk)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    fixture_write_table = fail_late;
    client_get(server, "/table", "", &a);
    cr_expect_eq(a.status, 200);
    cr_expect(a.cut);
    cr_expect_gt(a.body_len, 60000);
    answer_release(&a);
    fixture_stop(server);
}

Test(table, head_asks_for_no_rows)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    int fd = client_open(server);
    fixture_write_table = fail_late;
    client_print(fd, "HEAD /table HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, false, &a);
    cr_expect_eq(a.status, 200);
    cr_expect_not_null(answer_header(&a, "content-disposition"));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

/* --- how many at a time --- */

/* Ask for /ok until `n` downloads are under way. */
static void await_downloads(struct http_server *server, unsigned n)
{
    struct http_stats stats;
    struct answer a;
    do {
        client_get(server, "/ok", "", &a);
        cr_assert_eq(a.status, 200);
        answer_release(&a);
        http_get_stats(server, &stats);
    } while (stats.downloads != n);
}

Test(table, downloads_at_a_time_are_bounded)
{
    const struct http_options options = {.workers = 8, .max_downloads = 1};
    struct http_server *server = fixture_start(&options);
    struct http_stats stats;
    struct answer a;
    int slow = client_open(server);
    client_print(slow, "GET /download?rows=100000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await_downloads(server, 1);
    client_get(server, "/download?rows=1", "", &a);
    check_answer(&a, 503, "{\"detail\":\"Too many downloads at a time.\"}");
    cr_expect_str_eq(answer_header(&a, "Retry-After"), "5");
    answer_release(&a);
    client_close(slow); /* gone half-way: its place is free again */
    await_downloads(server, 0);
    client_get(server, "/download?rows=1", "", &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    http_get_stats(server, &stats);
    cr_expect_eq(stats.refused[HTTP_REFUSED_DOWNLOADS], 1);
    fixture_stop(server);
}
