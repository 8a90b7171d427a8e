#include "base/utf8.h"

#include "base/auto.h"
#include "base/buf.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>

TestSuite(utf8, .timeout = 20);

struct sequence {
    char bytes[8];
    size_t first; /* of utf8_first() */
};

ParameterizedTestParameters(utf8, a_character_is_one_of_rfc_3629)
{
    static struct sequence rows[] = {
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0},
        {"\xC1\xBF", 0}, /* overlong */
        {"\xC2\x80", 2},
        {"\xC3", 0}, /* cut */
        {"\xC3\x28", 0},
        {"\xE0\x9F\xBF", 0}, /* overlong */
        {"\xE0\xA0\x80", 3},
        {"\xED\x9F\xBF", 3},
        {"\xED\xA0\x80", 0}, /* a surrogate */
        {"\xF0\x8F\xBF\xBF", 0},
        {"\xF0\x90\x80\x80", 4},
        {"\xF4\x8F\xBF\xBF", 4},
        {"\xF4\x90\x80\x80", 0}, /* past U+10FFFF */
        {"\xF5\x80\x80\x80", 0},
        {"\xFF", 0},
    };
    return cr_make_param_array(struct sequence, rows, sizeof rows / sizeof *rows);
}

ParameterizedTest(struct sequence *s, utf8, a_character_is_one_of_rfc_3629)
{
    size_t len = strlen(s->bytes);
    cr_expect_eq(utf8_first(s->bytes, len), s->first, "%s", s->bytes);
    cr_expect_eq(utf8_is_valid(s->bytes, len), s->first == len);
}

Test(utf8, any_bytes_become_json_with_a_mark_for_each_that_is_wrong)
{
    static const char bytes[] = "\xFF\"a\xC3\xA9\xE2\x82\n\x01\xF0\x9F\x8C\xA1\xC3";
    AUTO(buf) out = BUF_INIT(256);
    cr_assert_eq(json_write_text(&out, bytes, sizeof bytes - 1), 0);
    cr_expect_str_eq(out.data, "\"\xEF\xBF\xBD\\\"a\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\\n\\u0001"
                               "\xF0\x9F\x8C\xA1\xEF\xBF\xBD\"");
    buf_clear(&out);
    cr_assert_eq(json_write_text(&out, "", 0), 0);
    cr_expect_str_eq(out.data, "\"\"");
}
