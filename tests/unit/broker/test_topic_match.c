#include "broker/broker.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <string.h>
#include <time.h>

TestSuite(topic_match, .timeout = 20);

struct match_case {
    char pattern[32], key[32];
    int expected;
};

static struct match_case cases[] = {
    {"", "", 1},
    {"", "a", 0},
    {"a", "", 0},
    {"a", "a", 1},
    {"a", "b", 0},
    {"a", "ab", 0},
    {"ab", "a", 0},
    {"a.b", "a.b", 1},
    {"a.b", "a", 0},
    {"a", "a.b", 0},
    {"*", "a", 1},
    {"*", "", 0},
    {"*", "a.b", 0},
    {"*.*", "a.b", 1},
    {"a.*", "a", 0},
    {"a.*", "a.b", 1},
    {"a.*", "a.b.c", 0},
    {"*.b", "a.b", 1},
    {"a.*.c", "a.b.c", 1},
    {"#", "", 1},
    {"#", "a", 1},
    {"#", "a.b.c", 1},
    {"#.#", "", 1},
    {"#.#", "a", 1},
    {"#.#", "a.b", 1},
    {"*.#", "", 0},
    {"*.#", "a", 1},
    {"*.#", "a.b.c", 1},
    {"#.*", "", 0},
    {"#.*", "a", 1},
    {"#.*", "a.b", 1},
    {"a.#", "a", 1},
    {"a.#", "a.b.c", 1},
    {"a.#", "b", 0},
    {"a.#", "ab", 0},
    {"a.#.b", "a.b", 1},
    {"a.#.b", "a.x.b", 1},
    {"a.#.b", "a.x.y.b", 1},
    {"a.#.b", "a.b.b", 1},
    {"a.#.b", "a.x.b.y", 0},
    {"a.#.b", "a", 0},
    {"#.a.#", "a", 1},
    {"#.a.#", "x.a.y", 1},
    {"#.a.#", "x.y", 0},
    {"#.a.#.b", "a.b.a", 0},
    {"#.a.*.b.#", "x.a.a.x.b", 1},
    {"*.#.*", "a", 0},
    {"*.#.*", "a.b", 1},
    {"a*", "ab", 0}, /* a wildcard is a whole word */
    {"a#", "ab", 0},
    {"a.", "a", 0}, /* an empty word is a word */
    {"a.*", "a.", 1},
    {"a.b", "a..b", 0},
    {"a.*.b", "a..b", 1},
};

ParameterizedTestParameters(topic_match, amqp_semantics)
{
    return cr_make_param_array(struct match_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct match_case *c, topic_match, amqp_semantics)
{
    cr_assert_eq(topic_match(c->pattern, c->key), c->expected != 0, "'%s' against '%s'", c->pattern,
                 c->key);
}

Test(topic_match, many_hashes_take_no_time)
{
    char pattern[256] = "", key[256] = "";
    for (int i = 0; i < 50; i++) {
        strcat(pattern, "#.a.");
        strcat(key, "a.a.");
    }
    strcat(pattern, "b");
    strcat(key, "c");
    clock_t start = clock();
    for (int i = 0; i < 1000; i++)
        cr_assert_not(topic_match(pattern, key));
    cr_assert_lt(clock() - start, 5 * CLOCKS_PER_SEC);
}
