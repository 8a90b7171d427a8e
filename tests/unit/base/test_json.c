#include "base/json.h"

#include "base/auto.h"
#include "base/json_scan.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <json-c/json.h>
#include <string.h>

TestSuite(json, .timeout = 20);

static struct json_object *parse(const char *text)
{
    struct json_object *value = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(json_parse(text, strlen(text), &value, &err), 0, "%s: %s", text, err.message);
    return value;
}

Test(json, strings_are_escaped_as_orjson_does)
{
    AUTO(buf) b = BUF_INIT(1000);
    const char text[] = "a\"\\/\b\t\n\f\r\x01\x1f\0z\x7f\xC3\xA9 and a longer plain run of bytes\n";
    cr_assert_eq(json_write_string(&b, text, sizeof text - 1), 0);
    cr_expect_str_eq(b.data, "\"a\\\"\\\\/\\b\\t\\n\\f\\r\\u0001\\u001f\\u0000z\x7f\xC3\xA9 and a "
                             "longer plain run of bytes\\n\"");
}

Test(json, values_come_back_as_they_were)
{
    static const char *const texts[] = {
        "null",
        "true",
        "-5",
        "2.0",
        "\"\"",
        "[]",
        "{}",
        "9223372036854775807",
        "{\"b\":1,\"a\":[1,2.5,null,{\"x\":\"\\u0000\"}],\"c\":{\"d\":false}}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        AUTO_JSON *value = parse(texts[i]);
        AUTO(buf) b = BUF_INIT(1000);
        cr_assert_eq(json_write_value(&b, value), 0);
        cr_expect_str_eq(b.data, texts[i]);
    }
}

Test(json, doubles_are_written_by_value_not_as_they_came)
{
    AUTO_JSON *value = parse("[1.50, 1e2, 100000e-11, -0.0, 18e0]");
    AUTO(buf) b = BUF_INIT(1000);
    cr_assert_eq(json_write_value(&b, value), 0);
    cr_expect_str_eq(b.data, "[1.5,100.0,1e-6,-0.0,18.0]");
}

Test(json, canonical_text_sorts_members_by_bytes_at_every_depth)
{
    AUTO_JSON *value = parse("{\"b\":{\"z\":1,\"a\":2},\"a\":[{\"y\":0,\"x\":9007199254740992}],"
                             "\"\xC3\xA9\":1.0,\"B\":null,\"aa\":1}");
    AUTO(buf) b = BUF_INIT(1000);
    cr_assert_eq(json_write_canonical(&b, value, NULL), 0);
    cr_expect_str_eq(b.data, "{\"B\":null,\"a\":[{\"x\":9007199254740992,\"y\":0}],\"aa\":1,"
                             "\"b\":{\"a\":2,\"z\":1},\"\xC3\xA9\":1.0}");
}

Test(json, canonical_text_refuses_integers_that_doubles_cannot_hold)
{
    static const char *const texts[] = {"9007199254740993", "[-9007199254740993]",
                                        "{\"a\":{\"b\":9223372036854775807}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        AUTO_JSON *value = parse(texts[i]);
        AUTO(buf) b = BUF_INIT(1000);
        struct error err = ERROR_INIT;
        cr_expect_eq(json_write_canonical(&b, value, &err), ERR_INVALID);
        cr_expect(strstr(err.message, "2^53"), "%s", err.message);
    }
}

Test(json, writing_stops_at_the_ceiling)
{
    AUTO_JSON *value = parse("{\"a\":[1,2,3,\"0123456789\"]}");
    for (size_t max = 0; max < 26; max++) {
        AUTO(buf) b = BUF_INIT(max);
        cr_expect_eq(json_write_value(&b, value), ERR_LIMIT);
        AUTO(buf) canonical = BUF_INIT(max);
        struct error err = ERROR_INIT;
        cr_expect_eq(json_write_canonical(&canonical, value, &err), ERR_LIMIT);
        cr_expect_eq(err.code, ERR_LIMIT);
    }
}

Test(json, a_value_nested_without_end_is_refused)
{
    AUTO_JSON *value = json_object_new_array();
    for (int i = 0; i < 1000; i++) {
        struct json_object *outer = json_object_new_array();
        json_object_array_add(outer, value);
        value = outer;
    }
    AUTO(buf) b = BUF_INIT(10000);
    cr_expect_eq(json_write_value(&b, value), ERR_LIMIT);
    AUTO(buf) canonical = BUF_INIT(10000);
    cr_expect_eq(json_write_canonical(&canonical, value, NULL), ERR_LIMIT);
}

Test(json, parse_errors_name_position_and_cause)
{
    struct json_object *value = NULL;
    struct error err = ERROR_INIT;
    cr_expect_eq(json_parse("{bad", 4, &value, &err), ERR_INVALID);
    cr_expect_str_eq(err.message,
                     "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)");
    cr_expect_null(value);
}

Test(json, parses_bare_values_and_the_deepest_nesting)
{
    AUTO_JSON *number = parse(" 12");
    cr_expect_eq(json_object_get_int64(number), 12);
    AUTO_JSON *text = parse("\"a\\u0000b\"");
    cr_expect_eq(json_object_get_string_len(text), 3);
    char deep[2 * JSON_DEPTH_MAX + 1] = "";
    memset(deep, '[', JSON_DEPTH_MAX);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    AUTO_JSON *nested = parse(deep);
    cr_expect(json_object_is_type(nested, json_type_array));
}

Test(json, getters_give_the_default_for_another_type)
{
    AUTO_JSON *o = parse("{\"s\":\"x\",\"i\":7,\"b\":true,\"n\":null}");
    cr_expect_str_eq(json_get_string(o, "s", "d"), "x");
    cr_expect_str_eq(json_get_string(o, "i", "d"), "d");
    cr_expect_str_eq(json_get_string(o, "n", "d"), "d");
    cr_expect_eq(json_get_int(o, "i", 1), 7);
    cr_expect_eq(json_get_int(o, "s", 1), 1);
    cr_expect_eq(json_get_bool(o, "b", false), true);
    cr_expect_eq(json_get_bool(o, "absent", true), true);
    cr_expect_eq(json_get_int(NULL, "i", 3), 3);
}

struct spaced_case {
    char json[64], plain[96], ascii[96];
};

ParameterizedTestParameters(json, blanks_are_put_where_python_puts_them)
{
    static struct spaced_case cases[] = {
        {"{}", "{}", "{}"},
        {"[1,2]", "[1, 2]", "[1, 2]"},
        {"{\"a\":[1,{\"b\":null}]}", "{\"a\": [1, {\"b\": null}]}", "{\"a\": [1, {\"b\": null}]}"},
        {"[\"a,b:c\",\"\\\",\"]", "[\"a,b:c\", \"\\\",\"]", "[\"a,b:c\", \"\\\",\"]"},
        {"[\"\\\\\",1]", "[\"\\\\\", 1]", "[\"\\\\\", 1]"},
        {"{\"\u00e9\":\"\u20ac,\U0001F321\"}", "{\"\u00e9\": \"\u20ac,\U0001F321\"}",
         "{\"\\u00e9\": \"\\u20ac,\\ud83c\\udf21\"}"},
        {"\"\\u00e9\"", "\"\\u00e9\"", "\"\\u00e9\""},
    };
    return cr_make_param_array(struct spaced_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct spaced_case *c, json, blanks_are_put_where_python_puts_them)
{
    AUTO(buf) b = BUF_INIT(1000);
    cr_expect_eq(json_write_spaced(&b, c->json, strlen(c->json), false), 0);
    cr_expect_str_eq(b.data, c->plain);
    buf_clear(&b);
    cr_expect_eq(json_write_spaced(&b, c->json, strlen(c->json), true), 0);
    cr_expect_str_eq(b.data, c->ascii);
}
