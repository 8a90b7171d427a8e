/* The JSON readers of the SDK's helpers.h. */
#include "support.h"

#include <string.h>

TestSuite(helpers, .timeout = 10);

static const char text[] =
    " { \"host\" : \"10.0.0.1\", \"port\":502, \"tls\":true,\"off\":false,\"none\":null,"
    "\"deep\":{\"list\":[1,[2,3],{\"x\":\"]\"},\"a,b\"],\"rate\":-2.5e3},\"max\":"
    "9223372036854775807,"
    "\"min\":-9223372036854775808,\"over\":9223372036854775808,\"two\":2.0,\"half\":0.5,"
    "\"uni\":\"caf\\u00e9 \\ud83d\\ude00 \\\"q\\\" \\/\\n\",\"nul\":\"a\\u0000b\",\"empty\":\"\" }";

static struct hyprxa_json member(const char *key)
{
    return hyprxa_json_get(hyprxa_json_of(text), key);
}

Test(helpers, reads_strings_numbers_and_booleans_of_an_object)
{
    char out[32];
    int64_t i = 0;
    double d = 0;
    bool b = false;
    cr_expect_eq(hyprxa_json_string(member("host"), out, sizeof out), HYPRXA_OK);
    cr_expect_str_eq(out, "10.0.0.1");
    cr_expect_eq(hyprxa_json_string(member("empty"), out, sizeof out), HYPRXA_OK);
    cr_expect_str_eq(out, "");
    cr_expect_eq(hyprxa_json_int(member("port"), &i), HYPRXA_OK);
    cr_expect_eq(i, 502);
    cr_expect_eq(hyprxa_json_int(member("max"), &i), HYPRXA_OK);
    cr_expect_eq(i, INT64_MAX);
    cr_expect_eq(hyprxa_json_int(member("min"), &i), HYPRXA_OK);
    cr_expect_eq(i, INT64_MIN);
    cr_expect_eq(hyprxa_json_int(member("two"), &i), HYPRXA_OK);
    cr_expect_eq(i, 2);
    cr_expect_eq(hyprxa_json_double(member("half"), &d), HYPRXA_OK);
    cr_expect_eq(d, 0.5);
    cr_expect_eq(hyprxa_json_bool(member("tls"), &b), HYPRXA_OK);
    cr_expect(b);
    cr_expect_eq(hyprxa_json_bool(member("off"), &b), HYPRXA_OK);
    cr_expect_not(b);
}

Test(helpers, decodes_escapes_into_utf8)
{
    char out[64];
    cr_expect_eq(hyprxa_json_string(member("uni"), out, sizeof out), HYPRXA_OK);
    cr_expect_str_eq(out, "caf\xc3\xa9 \xf0\x9f\x98\x80 \"q\" /\n");
    size_t exact = strlen(out) + 1;
    cr_expect_eq(hyprxa_json_string(member("uni"), out, exact), HYPRXA_OK);
    cr_expect_eq(hyprxa_json_string(member("uni"), out, exact - 1), HYPRXA_E_CAPACITY);
    cr_expect_eq(hyprxa_json_string(member("empty"), out, 0), HYPRXA_E_CAPACITY);
    cr_expect_eq(hyprxa_json_string(member("nul"), out, sizeof out), HYPRXA_E_INVALID);
}

Test(helpers, says_what_is_absent_and_what_has_another_type)
{
    char out[8];
    int64_t i = 7;
    double d = 7;
    bool b = true;
    cr_expect_eq(hyprxa_json_string(member("absent"), out, sizeof out), HYPRXA_E_NOT_FOUND);
    cr_expect_eq(hyprxa_json_string(member("none"), out, sizeof out), HYPRXA_E_NOT_FOUND);
    cr_expect_eq(hyprxa_json_string(member("port"), out, sizeof out), HYPRXA_E_INVALID);
    cr_expect_eq(hyprxa_json_int(member("host"), &i), HYPRXA_E_INVALID);
    cr_expect_eq(hyprxa_json_int(member("half"), &i), HYPRXA_E_INVALID);
    cr_expect_eq(hyprxa_json_int(member("over"), &i), HYPRXA_E_INVALID);
    cr_expect_eq(hyprxa_json_double(member("deep"), &d), HYPRXA_E_INVALID);
    cr_expect_eq(hyprxa_json_bool(member("port"), &b), HYPRXA_E_INVALID);
    cr_expect_eq(i, 7);
    cr_expect_eq(d, 7);
    cr_expect(b);
    cr_expect_null(hyprxa_json_get(member("port"), "x").text);
}

Test(helpers, walks_nested_arrays_and_objects)
{
    struct hyprxa_json deep = member("deep"), item;
    double rate = 0;
    size_t at = 0, n = 0;
    static const char *const expected[] = {"1", "[2,3]", "{\"x\":\"]\"}", "\"a,b\""};
    cr_expect_eq(hyprxa_json_double(hyprxa_json_get(deep, "rate"), &rate), HYPRXA_OK);
    cr_expect_eq(rate, -2500);
    while (hyprxa_json_next(hyprxa_json_get(deep, "list"), &at, NULL, &item)) {
        cr_assert_lt(n, 4);
        cr_expect_eq(item.len, strlen(expected[n]));
        cr_expect_eq(memcmp(item.text, expected[n], item.len), 0);
        n++;
    }
    cr_expect_eq(n, 4);
    at = 0;
    cr_expect_not(hyprxa_json_next(hyprxa_json_of("[]"), &at, NULL, &item));
    at = 0;
    cr_expect_not(hyprxa_json_next(hyprxa_json_of("{}"), &at, NULL, &item));
}
