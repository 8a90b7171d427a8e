#include "storage/filter.h"

#include "base/auto.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

TestSuite(filter, .timeout = 30);

struct match_case {
    const char *document, *query;
    int expected;
};

static const struct match_case match_cases[] = {
    /* equality */
    {"{\"a\":1}", "{}", 1},
    {"{\"a\":1}", "{\"a\":1}", 1},
    {"{\"a\":1}", "{\"a\":1.0}", 1},
    {"{\"a\":1}", "{\"a\":2}", 0},
    {"{\"a\":1}", "{\"a\":\"1\"}", 0},
    {"{\"a\":1}", "{\"a\":true}", 0},
    {"{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2}", 1},
    {"{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}", 0},
    {"{\"a\":null}", "{\"a\":null}", 1},
    {"{}", "{\"a\":null}", 1},
    {"{\"a\":0}", "{\"a\":null}", 0},
    {"{}", "{\"a.b.c\":null}", 1},
    {"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":1,\"c\":2}}", 1},
    {"{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"c\":2,\"b\":1}}", 0}, /* order counts, as in BSON */
    {"{\"a\":{\"b\":1}}", "{\"a\":{}}", 0},
    {"{\"a\":{}}", "{\"a\":{}}", 1},
    {"{\"a\":[1,2]}", "{\"a\":[1,2]}", 1},
    {"{\"a\":[1,2]}", "{\"a\":[2,1]}", 0},
    {"{\"a\":[1,2]}", "{\"a\":2}", 1},
    {"{\"a\":[[1,2]]}", "{\"a\":[1,2]}", 1},
    {"{\"a\":[[1,2]]}", "{\"a\":1}", 0},
    {"{\"a\":1}", "{\"a\":{\"$eq\":1}}", 1},
    {"{\"a\":1}", "{\"a\":{\"$ne\":1}}", 0},
    {"{\"a\":2}", "{\"a\":{\"$ne\":1}}", 1},
    {"{}", "{\"a\":{\"$ne\":1}}", 1},
    {"{\"a\":[1,2]}", "{\"a\":{\"$ne\":1}}", 0},
    {"{\"a\":9007199254740993}", "{\"a\":9007199254740992.0}", 0},
    /* order within a type */
    {"{\"a\":5}", "{\"a\":{\"$gt\":4}}", 1},
    {"{\"a\":5}", "{\"a\":{\"$gt\":5}}", 0},
    {"{\"a\":5}", "{\"a\":{\"$gte\":5}}", 1},
    {"{\"a\":5}", "{\"a\":{\"$lt\":5.5}}", 1},
    {"{\"a\":5.5}", "{\"a\":{\"$lt\":5}}", 0},
    {"{\"a\":-5.5}", "{\"a\":{\"$lt\":-5}}", 1},
    {"{\"a\":5}", "{\"a\":{\"$lte\":4}}", 0},
    {"{\"a\":5}", "{\"a\":{\"$gt\":1,\"$lt\":9}}", 1},
    {"{\"a\":5}", "{\"a\":{\"$gt\":1,\"$lt\":5}}", 0},
    {"{\"a\":\"5\"}", "{\"a\":{\"$gt\":4}}", 0},
    {"{\"a\":\"b\"}", "{\"a\":{\"$gt\":\"a\"}}", 1},
    {"{\"a\":\"ab\"}", "{\"a\":{\"$gt\":\"a\"}}", 1},
    {"{\"a\":\"B\"}", "{\"a\":{\"$gt\":\"a\"}}", 0},
    {"{\"a\":true}", "{\"a\":{\"$gt\":false}}", 1},
    {"{\"a\":null}", "{\"a\":{\"$gte\":null}}", 1},
    {"{}", "{\"a\":{\"$lte\":null}}", 1},
    {"{}", "{\"a\":{\"$gt\":null}}", 0},
    {"{}", "{\"a\":{\"$gte\":0}}", 0},
    {"{\"a\":[1,9]}", "{\"a\":{\"$gt\":5}}", 1},
    {"{\"a\":[1,9]}", "{\"a\":{\"$gt\":2,\"$lt\":8}}", 1}, /* by different elements */
    {"{\"a\":[1,3]}", "{\"a\":{\"$gt\":[1,2]}}", 1},
    {"{\"a\":[1]}", "{\"a\":{\"$gt\":[1,2]}}", 0},
    {"{\"a\":{\"b\":2}}", "{\"a\":{\"$gt\":{\"b\":1}}}", 1},
    {"{\"a\":1e300}", "{\"a\":{\"$gt\":9223372036854775807}}", 1},
    {"{\"a\":9223372036854775807}", "{\"a\":{\"$gt\":-1e300}}", 1},
    /* sets */
    {"{\"a\":2}", "{\"a\":{\"$in\":[1,2]}}", 1},
    {"{\"a\":3}", "{\"a\":{\"$in\":[1,2]}}", 0},
    {"{\"a\":3}", "{\"a\":{\"$in\":[]}}", 0},
    {"{}", "{\"a\":{\"$in\":[null]}}", 1},
    {"{\"a\":[3,2]}", "{\"a\":{\"$in\":[1,2]}}", 1},
    {"{\"a\":3}", "{\"a\":{\"$nin\":[1,2]}}", 1},
    {"{\"a\":2}", "{\"a\":{\"$nin\":[1,2]}}", 0},
    {"{}", "{\"a\":{\"$nin\":[1]}}", 1},
    /* logic */
    {"{\"a\":1,\"b\":2}", "{\"$and\":[{\"a\":1},{\"b\":2}]}", 1},
    {"{\"a\":1,\"b\":2}", "{\"$and\":[{\"a\":1},{\"b\":3}]}", 0},
    {"{\"a\":1}", "{\"$or\":[{\"a\":2},{\"a\":1}]}", 1},
    {"{\"a\":3}", "{\"$or\":[{\"a\":2},{\"a\":1}]}", 0},
    {"{\"a\":3}", "{\"$nor\":[{\"a\":2},{\"a\":1}]}", 1},
    {"{\"a\":2}", "{\"$nor\":[{\"a\":2},{\"a\":1}]}", 0},
    {"{\"a\":3,\"b\":1}", "{\"b\":1,\"$or\":[{\"a\":{\"$gt\":2}},{\"c\":1}]}", 1},
    {"{\"a\":3}", "{\"a\":{\"$not\":{\"$gt\":2}}}", 0},
    {"{\"a\":\"x\"}", "{\"a\":{\"$not\":{\"$gt\":2}}}", 1},
    {"{}", "{\"a\":{\"$not\":{\"$gt\":2}}}", 1},
    {"{\"a\":3}", "{\"a\":{\"$not\":{\"$gt\":2,\"$lt\":3}}}", 1},
    /* presence and type */
    {"{\"a\":null}", "{\"a\":{\"$exists\":true}}", 1},
    {"{}", "{\"a\":{\"$exists\":true}}", 0},
    {"{}", "{\"a\":{\"$exists\":false}}", 1},
    {"{}", "{\"a\":{\"$exists\":0}}", 1},
    {"{\"a\":[]}", "{\"a\":{\"$exists\":1}}", 1},
    {"{\"a\":1}", "{\"a\":{\"$type\":\"int\"}}", 1},
    {"{\"a\":1}", "{\"a\":{\"$type\":16}}", 1},
    {"{\"a\":5000000000}", "{\"a\":{\"$type\":\"int\"}}", 0},
    {"{\"a\":5000000000}", "{\"a\":{\"$type\":\"long\"}}", 1},
    {"{\"a\":1.5}", "{\"a\":{\"$type\":\"number\"}}", 1},
    {"{\"a\":\"x\"}", "{\"a\":{\"$type\":[\"number\",\"string\"]}}", 1},
    {"{\"a\":null}", "{\"a\":{\"$type\":\"null\"}}", 1},
    {"{}", "{\"a\":{\"$type\":\"null\"}}", 0},
    {"{\"a\":[\"x\"]}", "{\"a\":{\"$type\":\"string\"}}", 1},
    {"{\"a\":[\"x\"]}", "{\"a\":{\"$type\":\"array\"}}", 1},
    {"{\"a\":true}", "{\"a\":{\"$type\":\"date\"}}", 0},
    /* text */
    {"{\"a\":\"Boiler 7\"}", "{\"a\":{\"$regex\":\"^boil\"}}", 0},
    {"{\"a\":\"Boiler 7\"}", "{\"a\":{\"$regex\":\"^boil\",\"$options\":\"i\"}}", 1},
    {"{\"a\":\"x\\ny\"}", "{\"a\":{\"$options\":\"m\",\"$regex\":\"^y$\"}}", 1},
    {"{\"a\":\"x\\ny\"}", "{\"a\":{\"$regex\":\"x.y\",\"$options\":\"s\"}}", 1},
    {"{\"a\":7}", "{\"a\":{\"$regex\":\"7\"}}", 0},
    {"{\"a\":[1,\"abc\"]}", "{\"a\":{\"$regex\":\"b\"}}", 1},
    {"{\"a\":\"abc\"}", "{\"a\":{\"$not\":{\"$regex\":\"b\"}}}", 0},
    /* arrays */
    {"{\"a\":[1,2,3]}", "{\"a\":{\"$all\":[3,1]}}", 1},
    {"{\"a\":[1,2,3]}", "{\"a\":{\"$all\":[3,4]}}", 0},
    {"{\"a\":[1]}", "{\"a\":{\"$all\":[]}}", 0},
    {"{\"a\":5}", "{\"a\":{\"$all\":[5]}}", 1},
    {"{\"a\":[1,2]}", "{\"a\":{\"$size\":2}}", 1},
    {"{\"a\":[[1,2]]}", "{\"a\":{\"$size\":2}}", 0},
    {"{\"a\":2}", "{\"a\":{\"$size\":2}}", 0},
    {"{\"a\":[1,9]}", "{\"a\":{\"$elemMatch\":{\"$gt\":2,\"$lt\":8}}}", 0},
    {"{\"a\":[1,5]}", "{\"a\":{\"$elemMatch\":{\"$gt\":2,\"$lt\":8}}}", 1},
    {"{\"a\":5}", "{\"a\":{\"$elemMatch\":{\"$gt\":2}}}", 0},
    {"{\"a\":[{\"b\":1,\"c\":1},{\"b\":2,\"c\":2}]}", "{\"a\":{\"$elemMatch\":{\"b\":1,\"c\":2}}}",
     0},
    {"{\"a\":[{\"b\":1,\"c\":1},{\"b\":2,\"c\":2}]}", "{\"a\":{\"$elemMatch\":{\"b\":2,\"c\":2}}}",
     1},
    {"{\"a\":[{\"b\":1},{\"b\":2}]}",
     "{\"a\":{\"$all\":[{\"$elemMatch\":{\"b\":1}},{\"$elemMatch\":{\"b\":2}}]}}", 1},
    {"{\"a\":[{\"b\":1},{\"c\":3}]}", "{\"a\":{\"$elemMatch\":{\"$or\":[{\"b\":2},{\"c\":3}]}}}",
     1},
    {"{\"a\":[{\"b\":1},{\"c\":4}]}", "{\"a\":{\"$elemMatch\":{\"$or\":[{\"b\":2},{\"c\":3}]}}}",
     0},
    {"{\"a\":[\"\"]}", "{\"a\":{\"$elemMatch\":{\"b\":null}}}", 0},
    {"{\"a\":[[5]]}", "{\"a\":{\"$elemMatch\":{\"$gt\":2}}}", 0},
    {"{\"a\":[null,[],2]}", "{\"a\":[]}", 1},
    {"{}", "{\"a\":{\"$all\":[null]}}", 1},
    {"{\"a\":\"x\"}", "{\"a\":{\"$size\":1}}", 0},
    {"{\"a\":[{\"b\":1},{}]}", "{\"a.b\":{\"$exists\":false}}", 0},
    /* MongoDB's manual: the inventory of "Query an Array of Embedded Documents" and its like */
    {"{\"instock\":[{\"warehouse\":\"A\",\"qty\":5},{\"warehouse\":\"C\",\"qty\":15}]}",
     "{\"instock\":{\"warehouse\":\"A\",\"qty\":5}}", 1},
    {"{\"instock\":[{\"warehouse\":\"A\",\"qty\":5},{\"warehouse\":\"C\",\"qty\":15}]}",
     "{\"instock\":{\"qty\":5,\"warehouse\":\"A\"}}", 0},
    {"{\"instock\":[{\"warehouse\":\"A\",\"qty\":5},{\"warehouse\":\"C\",\"qty\":15}]}",
     "{\"instock.0.qty\":{\"$lte\":5}}", 1},
    {"{\"instock\":[{\"warehouse\":\"A\",\"qty\":25},{\"warehouse\":\"C\",\"qty\":5}]}",
     "{\"instock.qty\":{\"$gt\":10,\"$lte\":20}}", 1},
    {"{\"instock\":[{\"warehouse\":\"A\",\"qty\":25},{\"warehouse\":\"C\",\"qty\":5}]}",
     "{\"instock\":{\"$elemMatch\":{\"qty\":{\"$gt\":10,\"$lte\":20}}}}", 0},
    {"{\"instock\":[{\"warehouse\":\"A\",\"qty\":9},{\"warehouse\":\"C\",\"qty\":5}]}",
     "{\"instock.qty\":5,\"instock.warehouse\":\"A\"}", 1},
    {"{\"tags\":[\"blank\",\"red\"],\"dim_cm\":[14,21]}", "{\"tags\":[\"red\",\"blank\"]}", 0},
    {"{\"tags\":[\"blank\",\"red\"],\"dim_cm\":[14,21]}",
     "{\"tags\":{\"$all\":[\"red\",\"blank\"]}}", 1},
    {"{\"dim_cm\":[14,21]}", "{\"dim_cm\":{\"$gt\":15,\"$lt\":20}}", 1},
    {"{\"dim_cm\":[14,21]}", "{\"dim_cm\":{\"$elemMatch\":{\"$gt\":22,\"$lt\":30}}}", 0},
    {"{\"dim_cm\":[14,30]}", "{\"dim_cm.1\":{\"$gt\":25}}", 1},
    {"{\"item\":null}", "{\"item\":{\"$type\":10}}", 1},
    {"{\"size\":{\"h\":14,\"uom\":\"in\"},\"status\":\"D\"}",
     "{\"size.h\":{\"$lt\":15},\"size.uom\":\"in\",\"status\":\"D\"}", 1},
    {"{\"price\":1.99,\"sale\":true}", "{\"$nor\":[{\"price\":1.99},{\"sale\":true}]}", 0},
    {"{\"qty\":20}", "{\"$nor\":[{\"price\":1.99},{\"sale\":true}]}", 1},
    /* paths */
    {"{\"a\":{\"b\":{\"c\":1}}}", "{\"a.b.c\":1}", 1},
    {"{\"a\":{\"b\":1}}", "{\"a.b.c\":1}", 0},
    {"{\"a\":[{\"b\":1},{\"b\":2}]}", "{\"a.b\":2}", 1},
    {"{\"a\":[{\"b\":1},{\"b\":2}]}", "{\"a.b\":{\"$gt\":2}}", 0},
    {"{\"a\":[{\"b\":[1,2]},{\"b\":3}]}", "{\"a.b\":2}", 1},
    {"{\"a\":[5,6]}", "{\"a.1\":6}", 1},
    {"{\"a\":[5,6]}", "{\"a.2\":{\"$exists\":false}}", 1},
    {"{\"a\":[{\"b\":1}]}", "{\"a.0.b\":1}", 1},
    {"{\"a\":[{\"1\":7}]}", "{\"a.1\":7}", 1},
    {"{\"a\":[{\"c\":1}]}", "{\"a.b\":null}", 1},
    {"{\"a\":[1,2]}", "{\"a.b\":null}", 0},
    {"{\"data_mapping\":{\"t\":{\"source\":\"plant\"}}}", "{\"data_mapping.t.source\":\"plant\"}",
     1},
};

Test(filter, matches_as_mongodb_does)
{
    for (size_t i = 0; i < sizeof match_cases / sizeof *match_cases; i++) {
        const struct match_case *c = &match_cases[i];
        struct error err = ERROR_INIT;
        struct filter *f = NULL;
        AUTO_JSON *document = json_tokener_parse(c->document);
        AUTO_JSON *query = json_tokener_parse(c->query);
        cr_assert(document && query, "%s %s", c->document, c->query);
        cr_assert_eq(filter_new(query, &f, &err), 0, "%s: %s", c->query, err.message);
        cr_expect_eq(filter_match(f, document, &err), c->expected, "%s %s", c->document, c->query);
        filter_free(f);
    }
}

struct bad_case {
    const char *query;
    int code;
    const char *message;
};

static const struct bad_case bad_cases[] = {
    {"[]", ERR_INVALID, "filter: a query is an object"},
    {"{\"$where\":\"x\"}", ERR_UNSUPPORTED, "filter: operator '$where' is not supported"},
    {"{\"a\":{\"$mod\":[2,0]}}", ERR_UNSUPPORTED, "filter: operator '$mod' is not supported"},
    {"{\"a\":{\"$gt\":1,\"b\":2}}", ERR_INVALID, "filter: 'b' stands among operators"},
    {"{\"a\":{\"$in\":1}}", ERR_INVALID, "filter: $in needs an array"},
    {"{\"a\":{\"$nin\":{}}}", ERR_INVALID, "filter: $nin needs an array"},
    {"{\"a\":{\"$all\":1}}", ERR_INVALID, "filter: $all needs an array"},
    {"{\"a\":{\"$size\":-1}}", ERR_INVALID, "filter: $size needs a whole number, 0 or more"},
    {"{\"a\":{\"$not\":1}}", ERR_INVALID, "filter: $not needs an object of operators"},
    {"{\"a\":{\"$elemMatch\":1}}", ERR_INVALID, "filter: $elemMatch needs an object"},
    {"{\"a\":{\"$type\":\"shape\"}}", ERR_INVALID,
     "filter: $type needs a BSON type, by name or number, or an array of them"},
    {"{\"a\":{\"$regex\":1}}", ERR_INVALID, "filter: $regex needs a string"},
    {"{\"a\":{\"$regex\":\"x\",\"$options\":\"g\"}}", ERR_INVALID,
     "filter: $options needs a string of i, m, s, x"},
    {"{\"a\":{\"$options\":\"i\"}}", ERR_INVALID, "filter: $options needs a $regex beside it"},
    {"{\"a\":{\"$regex\":\"*\"}}", ERR_INVALID,
     "filter: regular expression, offset 0: quantifier does not follow a repeatable item"},
    {"{\"$or\":[]}", ERR_INVALID, "filter: $or needs an array of at least one query"},
    {"{\"$and\":[1]}", ERR_INVALID, "filter: $and needs an array of queries"},
};

Test(filter, refuses_and_says_why)
{
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        const struct bad_case *c = &bad_cases[i];
        struct error err = ERROR_INIT;
        struct filter *f = NULL;
        AUTO_JSON *query = json_tokener_parse(c->query);
        cr_expect_eq(filter_new(query, &f, &err), c->code, "%s", c->query);
        cr_expect_str_eq(err.message, c->message);
        cr_expect_null(f);
    }
}

/* filter_new()'s answer to `before` n times, `inside`, `after` n times. */
static int compile_nested(const char *before, const char *inside, const char *after, int n)
{
    AUTO(buf) text = BUF_INIT(1 << 16);
    for (int i = 0; i < n; i++)
        buf_append_str(&text, before);
    buf_append_str(&text, inside);
    for (int i = 0; i < n; i++)
        buf_append_str(&text, after);
    struct json_tokener *tokener = json_tokener_new_ex(300);
    AUTO_JSON *query = json_tokener_parse_ex(tokener, text.data, (int)text.len + 1);
    json_tokener_free(tokener);
    cr_assert_not_null(query);
    struct filter *f = NULL;
    int rc = filter_new(query, &f, NULL);
    filter_free(f);
    return rc;
}

Test(filter, queries_nest_to_the_limit_and_no_deeper)
{
    cr_expect_eq(compile_nested("{\"$and\":[", "{}", "]}", 31), 0);
    cr_expect_eq(compile_nested("{\"$and\":[", "{}", "]}", 32), ERR_LIMIT);
    cr_expect_eq(compile_nested("{\"a\":{\"$elemMatch\":", "{}", "}}", 60), ERR_LIMIT);
}

Test(filter, paths_have_names_to_the_limit_and_no_more)
{
    AUTO(buf) path = BUF_INIT(1 << 10);
    buf_append_str(&path, "{\"a");
    for (int i = 1; i < 64; i++)
        buf_append_str(&path, ".a");
    const size_t len = path.len;
    buf_append_str(&path, "\":1}");
    cr_expect_eq(compile_nested("", path.data, "", 1), 0);
    path.len = len;
    buf_append_str(&path, ".a\":1}");
    cr_expect_eq(compile_nested("", path.data, "", 1), ERR_LIMIT);
}

static int compile_wide(int n)
{
    AUTO_JSON *query = json_object_new_object();
    for (int i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        json_object_object_add(query, name, json_object_new_int(i));
    }
    struct filter *f = NULL;
    int rc = filter_new(query, &f, NULL);
    filter_free(f);
    return rc;
}

Test(filter, queries_have_conditions_to_the_limit_and_no_more)
{
    cr_expect_eq(compile_wide(1000), 0);
    cr_expect_eq(compile_wide(1001), ERR_LIMIT);
}

/* A thousand elements against a thousand candidates, none of which is equal. */
Test(filter, endless_comparison_ends_in_an_error)
{
    AUTO_JSON *document = json_object_new_object();
    AUTO_JSON *query = json_object_new_object();
    struct json_object *values = json_object_new_array(), *candidates = json_object_new_array();
    for (int i = 0; i < 1000; i++) {
        json_object_array_add(values, json_object_new_int(i));
        json_object_array_add(candidates, json_object_new_int(-1 - i));
    }
    struct json_object *in = json_object_new_object();
    json_object_object_add(in, "$in", candidates);
    json_object_object_add(query, "a", in);
    json_object_object_add(document, "a", values);
    struct error err = ERROR_INIT;
    struct filter *f = NULL;
    cr_assert_eq(filter_new(query, &f, &err), 0);
    cr_expect_eq(filter_match(f, document, &err), ERR_LIMIT);
    filter_free(f);
}

Test(filter, outlives_the_callers_reference_to_the_query)
{
    struct json_object *query = json_tokener_parse("{\"a\":{\"$in\":[\"long enough text\"]}}");
    AUTO_JSON *document = json_tokener_parse("{\"a\":\"long enough text\"}");
    struct filter *f = NULL;
    cr_assert_eq(filter_new(query, &f, NULL), 0);
    json_object_put(query);
    cr_expect_eq(filter_match(f, document, NULL), 1);
    filter_free(f);
}
