#include "base/json_scan.h"

#include "base/auto.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

TestSuite(json_scan, .timeout = 60);

static const struct accepted {
    const char *text, *compact;
} accepted[] = {
    {"{}", "{}"},
    {" [ ] ", "[]"},
    {"null", "null"},
    {"\t\r\n true ", "true"},
    {"[1, 2 ,3]", "[1,2,3]"},
    {"{ \"a\" : { \"b\" : [ { } , [ ] ] } , \"c\" : false }",
     "{\"a\":{\"b\":[{},[]]},\"c\":false}"},
    {"\"a b\\n\\u00e9\\ud83d\\ude00\\/\"", "\"a b\\n\\u00e9\\ud83d\\ude00/\""},
    {"\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xE2\x80\xA8\x7F\"",
     "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xE2\x80\xA8\x7F\""},
    {"\"\\u0000\"", "\"\\u0000\""},
    {"\"a long string without anything special in it, twice eight bytes and more\"",
     "\"a long string without anything special in it, twice eight bytes and more\""},
    {"[0,-0,0.0,-0.5,1e5,1E+5,1.5e-7]", "[0,-0,0.0,-0.5,1e5,1E+5,1.5e-7]"},
    {"[9223372036854775807,-9223372036854775808]", "[9223372036854775807,-9223372036854775808]"},
    {"[9223372036854775808.0,1e308,1.7976931348623157e308,1e-999,0e999,0.00001e312]",
     "[9223372036854775808.0,1e308,1.7976931348623157e308,1e-999,0e999,0.00001e312]"},
    {"1.7976931348623158079372897140530341507993413271e308",
     "1.7976931348623158079372897140530341507993413271e308"},
    {"{\"a\":1,\"A\":2,\"\":3,\"b\":{\"a\":1}}", "{\"a\":1,\"A\":2,\"\":3,\"b\":{\"a\":1}}"},
};

Test(json_scan, accepts_and_compacts)
{
    for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
        AUTO(buf) b = BUF_INIT(4096);
        struct json_scan_error e = {.message = ""};
        int rc = json_scan(accepted[i].text, strlen(accepted[i].text), 64, &b, NULL, 0, &e);
        cr_assert_eq(rc, 0, "%s: %s at %zu", accepted[i].text, e.message, e.position);
        cr_expect_str_eq(b.data, accepted[i].compact);
        cr_expect_eq(json_scan(b.data, b.len, 64, NULL, NULL, 0, NULL), 0);
    }
}

static const struct refused {
    const char *text;
    size_t position;
    const char *message;
} refused[] = {
    {"", 0, "Expecting value"},
    {" \n x", 3, "Expecting value"},
    {"{bad", 1, "Expecting property name enclosed in double quotes"},
    {"{", 1, "Expecting property name enclosed in double quotes"},
    {"{'a':1}", 1, "Expecting property name enclosed in double quotes"},
    {"{\"a\":1,}", 7, "Expecting property name enclosed in double quotes"},
    {"{\"a\":1,\"b\"", 10, "Expecting ':' delimiter"},
    {"{\"a\" 1}", 5, "Expecting ':' delimiter"},
    {"{\"a\":", 5, "Expecting value"},
    {"{\"a\":}", 5, "Expecting value"},
    {"{\"a\":1 \"b\":2}", 7, "Expecting ',' delimiter"},
    {"{\"a\":1", 6, "Expecting ',' delimiter"},
    {"{\"a\":1}}", 7, "Extra data"},
    {"[", 1, "Expecting value"},
    {"[1,]", 3, "Expecting value"},
    {"[1", 2, "Expecting ',' delimiter"},
    {"[1}", 2, "Expecting ',' delimiter"},
    {"[1 2]", 3, "Expecting ',' delimiter"},
    {"1 2", 2, "Extra data"},
    {"01", 1, "Extra data"},
    {"1.", 1, "Extra data"},
    {"1e", 1, "Extra data"},
    {"1e+", 1, "Extra data"},
    {"[1.e5]", 2, "Expecting ',' delimiter"},
    {"-", 0, "Expecting value"},
    {"+1", 0, "Expecting value"},
    {".5", 0, "Expecting value"},
    {"[-]", 1, "Expecting value"},
    {"NaN", 0, "Expecting value"},
    {"-Infinity", 0, "Expecting value"},
    {"nul", 0, "Expecting value"},
    {"True", 0, "Expecting value"},
    {"/* x */ 1", 0, "Expecting value"},
    {"\xEF\xBB\xBF{}", 0, "Expecting value"},
    {"\"abc", 0, "Unterminated string starting at"},
    {"[\"ab\\", 1, "Unterminated string starting at"},
    {"[\"a\nb\"]", 3, "Invalid control character at"},
    {"[\"01234567890123456\x1F\"]", 19, "Invalid control character at"},
    {"{\"a\":\"\\x\"}", 6, "Invalid \\escape"},
    {"[\"\\u12\"]", 3, "Invalid \\uXXXX escape"},
    {"[\"\\u12G4\"]", 3, "Invalid \\uXXXX escape"},
    {"[\"\\ud800x\"]", 2, "Unpaired surrogate escape"},
    {"[\"\\ud800\\u0041\"]", 2, "Unpaired surrogate escape"},
    {"[\"\\udc00\"]", 2, "Unpaired surrogate escape"},
    {"\"\\ud83d\"", 1, "Unpaired surrogate escape"},
    {"\"a\x80\"", 2, "Invalid UTF-8"},
    {"\"\xC0\xAF\"", 1, "Invalid UTF-8"},
    {"\"\xE0\x80\x80\"", 1, "Invalid UTF-8"},
    {"\"\xED\xA0\x80\"", 1, "Invalid UTF-8"},
    {"\"\xF4\x90\x80\x80\"", 1, "Invalid UTF-8"},
    {"\"\xF0\x8F\xBF\xBF\"", 1, "Invalid UTF-8"},
    {"\"\xE2\x82\"", 1, "Invalid UTF-8"},
    {"\"\xF8\x88\x80\x80\x80\"", 1, "Invalid UTF-8"},
    {"9223372036854775808", 0, "Integer out of range"},
    {"-9223372036854775809", 0, "Integer out of range"},
    {"[10000000000000000000000]", 1, "Integer out of range"},
    {"1e309", 0, "Number out of range"},
    {"-1e999999999999999999999999", 0, "Number out of range"},
    {"1.7976931348623159e308", 0, "Number out of range"},
    {"0.00001e314", 0, "Number out of range"},
    {"{\"a\":1,\"a\":2}", 7, "Duplicate property name"},
    {"{\"a\":1,\"\\u0061\":2}", 7, "Duplicate property name"},
    {"{\"\\u00e9\":1,\"\xC3\xA9\":2}", 12, "Duplicate property name"},
    {"{\"\":1,\"\":2}", 6, "Duplicate property name"},
    {"{\"a\\u0000b\":1}", 3, "Invalid NUL in property name"},
};

Test(json_scan, refuses_with_the_words_and_positions_of_python)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        AUTO(buf) b = BUF_INIT(4096);
        buf_append_str(&b, "before");
        struct json_scan_error e = {.message = ""};
        int rc = json_scan(refused[i].text, strlen(refused[i].text), 64, &b, NULL, 0, &e);
        cr_assert_eq(rc, ERR_INVALID, "%s passed", refused[i].text);
        cr_expect_str_eq(e.message, refused[i].message, "%s: %s", refused[i].text, e.message);
        cr_expect_eq(e.position, refused[i].position, "%s: %zu", refused[i].text, e.position);
        cr_expect_str_eq(b.data, "before");
    }
}

Test(json_scan, tells_line_column_and_character)
{
    const char text[] = "{\n \"\xC3\xA9\": \"\xF0\x9F\x98\x80\", x}";
    struct json_scan_error e;
    cr_assert_eq(json_scan(text, sizeof text - 1, 64, NULL, NULL, 0, &e), ERR_INVALID);
    cr_expect_eq(e.line, 2);
    cr_expect_eq(e.column, 12);
    cr_expect_eq(e.characters, 13);
    cr_expect_eq(e.position, 17);
}

Test(json_scan, depth_is_limited_as_asked)
{
    char text[300];
    for (int depth = 1; depth <= 100; depth++) {
        int n = 0;
        for (int i = 0; i < depth; i++)
            text[n++] = '[';
        for (int i = 0; i < depth; i++)
            text[n++] = ']';
        struct json_scan_error e;
        cr_expect_eq(json_scan(text, (size_t)n, 10, NULL, NULL, 0, &e),
                     depth <= 10 ? 0 : ERR_INVALID);
        int rc = json_scan(text, (size_t)n, 1000, NULL, NULL, 0, &e);
        cr_expect_eq(rc, depth <= 64 ? 0 : ERR_INVALID);
        if (rc)
            cr_expect_str_eq(e.message, "Nesting is too deep");
    }
}

Test(json_scan, finds_members_of_the_outermost_object)
{
    const char text[] =
        " { \"x\" : {\"topic\":1} , \"topic\": \"a\" , \"jsch\\u0065ma\" : { \"a\" : [ 1 ] } } ";
    struct json_span spans[] = {{.name = "jschema"}, {.name = "topic"}, {.name = "absent"}};
    AUTO(buf) b = BUF_INIT(4096);
    buf_append_str(&b, "##");
    cr_assert_eq(json_scan(text, sizeof text - 1, 64, &b, spans, 3, NULL), 0);
    cr_expect(spans[0].len == 9 && memcmp(b.data + spans[0].offset, "{\"a\":[1]}", 9) == 0);
    cr_expect(spans[1].len == 3 && memcmp(b.data + spans[1].offset, "\"a\"", 3) == 0);
    cr_expect_eq(spans[2].len, 0);

    struct json_span in_array = {.name = "a"};
    cr_assert_eq(json_scan("[{\"a\":1}]", 9, 64, NULL, &in_array, 1, NULL), 0);
    cr_expect_eq(in_array.len, 0);
}

Test(json_scan, only_the_compact_text_counts_against_the_limit)
{
    AUTO(buf) b = BUF_INIT(7);
    cr_expect_eq(json_scan("[ 1 ,    2 , 3 ]", 16, 64, &b, NULL, 0, NULL), 0);
    cr_expect_str_eq(b.data, "[1,2,3]");
    AUTO(buf) small = BUF_INIT(6);
    cr_expect_eq(json_scan("[ 1 ,    2 , 3 ]", 16, 64, &small, NULL, 0, NULL), ERR_LIMIT);
    cr_expect_eq(small.len, 0);
}

/* An object of n members named by number; `twice` is repeated at the end (or -1). */
static void make_members(struct buf *b, int n, int twice)
{
    buf_append_char(b, '{');
    for (int i = 0; i < n; i++)
        buf_printf(b, "\"%sk%d\":{\"k1\":0},", i % 3 ? "" : "\\u006b", i);
    buf_printf(b, "\"%s%d\":0}", twice % 3 ? "k" : "kk", twice);
}

Test(json_scan, many_names_are_compared_too)
{
    static const int sizes[] = {3, 15, 16, 17, 30, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        AUTO(buf) unique = BUF_INIT(1 << 20);
        make_members(&unique, sizes[i], -1);
        cr_expect_eq(json_scan(unique.data, unique.len, 64, NULL, NULL, 0, NULL), 0);
        for (int twice = 0; twice < sizes[i]; twice += 1 + sizes[i] / 20) {
            AUTO(buf) b = BUF_INIT(1 << 20);
            make_members(&b, sizes[i], twice);
            struct json_scan_error e;
            cr_assert_eq(json_scan(b.data, b.len, 64, NULL, NULL, 0, &e), ERR_INVALID);
            cr_expect_str_eq(e.message, "Duplicate property name");
            cr_expect_eq(b.data[e.position], '"');
            cr_expect_gt(e.position, b.len - 12);
        }
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

Test(json_scan, forty_thousand_names_take_no_quadratic_time)
{
    AUTO(buf) b = BUF_INIT(16 << 20);
    make_members(&b, 40000, -1);
    double start = seconds();
    cr_expect_eq(json_scan(b.data, b.len, 64, NULL, NULL, 0, NULL), 0);
    cr_expect_lt(seconds() - start, 1.0);
}

Test(json_scan, is_fast)
{
    const char event[] = "{\"topic\": \"alarms\", \"routing_key\": \"plant.1\", "
                         "\"payload\": {\"v\": 12.5, \"level\": 3, \"text\": \"ok\"}}";
    AUTO(buf) b = BUF_INIT(1 << 20);
    double start = seconds();
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        buf_clear(&b);
        json_scan(event, sizeof event - 1, 64, &b, NULL, 0, NULL);
    }
    double per_event = (seconds() - start) / N;
    AUTO(buf) plain = BUF_INIT(8 << 20);
    AUTO(buf) copy = BUF_INIT(8 << 20);
    buf_append_char(&plain, '"');
    for (int i = 0; i < 100000; i++)
        buf_append_str(&plain, "The quick brown fox jumps. ");
    buf_append_char(&plain, '"');
    json_scan(plain.data, plain.len, 64, &copy, NULL, 0, NULL);
    buf_clear(&copy);
    start = seconds();
    cr_assert_eq(json_scan(plain.data, plain.len, 64, &copy, NULL, 0, NULL), 0);
    double rate = (double)plain.len / (seconds() - start);
    cr_log_info("%.0f ns an event of %zu bytes, %.2f GB/s of text", per_event * 1e9,
                sizeof event - 1, rate / 1e9);
    cr_expect_lt(per_event, 20e-6); /* far off; sanitizers and busy machines included */
    cr_expect_gt(rate, 10e6);
}

/* Three bytes of text would be 800 of memory. */
Test(json_scan, as_many_objects_as_there_may_be_and_no_more)
{
    AUTO(buf) text = BUF_INIT(1 << 20);
    buf_append_str(&text, "[{}");
    for (int i = 1; i < JSON_OBJECTS_MAX; i++)
        buf_append_str(&text, ",{}");
    struct json_scan_error error = {.message = NULL};
    buf_append_str(&text, "]");
    cr_expect_eq(json_scan(text.data, text.len, JSON_DEPTH_MAX, NULL, NULL, 0, &error), 0);
    text.len--;
    buf_append_str(&text, ",{}]");
    cr_expect_eq(json_scan(text.data, text.len, JSON_DEPTH_MAX, NULL, NULL, 0, &error),
                 ERR_INVALID);
    cr_expect_str_eq(error.message, "Too many objects");
    cr_expect_eq(error.position, text.len - 3);
}
