#include "base/json_schema.h"

#include "base/auto.h"
#include "base/json.h"

#include <criterion/criterion.h>
#include <json-c/json.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

TestSuite(json_schema, .timeout = 60);

static struct json_object *parse(const char *text)
{
    struct json_object *value = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(json_parse(text, strlen(text), &value, &err), 0, "%.200s: %s", text, err.message);
    return value;
}

static struct json_schema *compile(const char *text, unsigned flags)
{
    AUTO_JSON *document = parse(text);
    struct json_schema *schema = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(json_schema_compile(document, flags, &schema, &err), 0, "%.200s: %s", text,
                 err.message);
    return schema;
}

static int validate(const struct json_schema *schema, const char *text, struct error *err)
{
    AUTO_JSON *instance = parse(text);
    return json_schema_validate(schema, instance, err);
}

/* Compiles and validates on a stack like that of a worker, of which civetweb leaves 77 KiB. */
struct on_small_stack {
    struct json_object *schema, *instance;
    int compiled, validated;
    struct error err;
};

static void *run_on_small_stack(void *argument)
{
    struct on_small_stack *t = argument;
    struct json_schema *schema = NULL;
    t->compiled = json_schema_compile(t->schema, JSON_SCHEMA_ASSERT_FORMAT, &schema, &t->err);
    t->validated = t->compiled ? 0 : json_schema_validate(schema, t->instance, &t->err);
    json_schema_unref(schema);
    return NULL;
}

static struct on_small_stack try_on_small_stack(const char *schema, const char *instance)
{
    struct on_small_stack t = {.schema = parse(schema), .instance = parse(instance)};
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    cr_assert_eq(pthread_attr_setstacksize(&attr, 77 << 10), 0);
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    cr_assert_eq(pthread_create(&thread, &attr, run_on_small_stack, &t), 0);
    pthread_join(thread, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    pthread_attr_destroy(&attr);
    json_object_put(t.schema);
    json_object_put(t.instance);
    double seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    cr_expect_lt(seconds, 1.0, "%.100s took %.1f s", schema, seconds); /* with a sanitizer */
    return t;
}

/* `before` n times, then `inside`, then `after` n times. */
static char *nest(const char *before, const char *inside, const char *after, int n)
{
    struct buf b = BUF_INIT(1 << 20);
    for (int i = 0; i < n; i++)
        buf_append_str(&b, before);
    buf_append_str(&b, inside);
    for (int i = 0; i < n; i++)
        buf_append_str(&b, after);
    return buf_take(&b, NULL);
}

Test(json_schema, recursive_schema_follows_a_value_to_the_greatest_depth)
{
    AUTO_FREE char *deep = nest("{\"x\":", "{\"x\":5}", "}", 63);
    struct on_small_stack t =
        try_on_small_stack("{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#\"}}}", deep);
    cr_expect_eq(t.compiled, 0);
    cr_expect_eq(t.validated, ERR_INVALID);
    cr_expect(strstr(t.err.message, ".x.x-5 is not of type 'object'"), "%s", t.err.message);
}

static const struct hostile {
    const char *what, *schema, *instance;
    int compiled, validated;
} hostile[] = {
    {"a reference to itself", "{\"$ref\":\"#\"}", "1", ERR_INVALID, 0},
    {"a loop of references",
     "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"}]},"
     "\"b\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"}]}}}",
     "1", ERR_INVALID, 0},
    {"a loop of dynamic references",
     "{\"$dynamicAnchor\":\"a\",\"allOf\":[{\"$dynamicRef\":\"#a\"}]}", "1", ERR_INVALID, 0},
    {"a reference to nothing", "{\"$ref\":\"#/nowhere\"}", "1", ERR_INVALID, 0},
    {"a reference to elsewhere", "{\"$ref\":\"http://example.org/s\"}", "1", ERR_INVALID, 0},
    {"a reference to what is no schema", "{\"$ref\":\"#/x/a\",\"x\":{\"a\":{\"required\":5}}}", "1",
     ERR_INVALID, 0},
    {"exponential branches",
     "{\"$ref\":\"#/$defs/a\",\"$defs\":{"
     "\"a\":{\"anyOf\":[{\"$ref\":\"#/$defs/b\"},{\"$ref\":\"#/$defs/b\"}]},"
     "\"b\":{\"items\":{\"anyOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":\"#/$defs/a\"}]},"
     "\"maxItems\":1,\"type\":\"array\"}}}",
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", 0,
     ERR_LIMIT},
    {"a catastrophic pattern", "{\"pattern\":\"^(a+)+$\"}",
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", 0, ERR_LIMIT},
    {"a pattern that does not compile", "{\"pattern\":\"(\"}", "1", ERR_INVALID, 0},
    {"a pattern of many parentheses",
     "{\"pattern\":\"((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((a)))))))))))))))"
     ")"
     "))))))))))))))))))))))))))))))))))))))))))))))\"}",
     "1", ERR_INVALID, 0},
    {"a pattern that explodes when compiled",
     "{\"pattern\":\"((((a{1,999}){1,999}){1,999}){1,999})\"}", "1", ERR_INVALID, 0},
};

Test(json_schema, hostile_schemas_end_in_an_error)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct on_small_stack t = try_on_small_stack(hostile[i].schema, hostile[i].instance);
        cr_expect_eq(t.compiled, hostile[i].compiled, "%s: %d %s", hostile[i].what, t.compiled,
                     t.err.message);
        cr_expect_eq(t.validated, hostile[i].validated, "%s: %d %s", hostile[i].what, t.validated,
                     t.err.message);
        cr_expect_neq(t.err.code, 0, "%s", hostile[i].what);
    }
}

Test(json_schema, many_catastrophic_patterns_are_stopped_by_the_clock)
{
    AUTO(buf) text = BUF_INIT(1 << 20);
    buf_append_char(&text, '[');
    for (int i = 0; i < 5000; i++) /* each just under the limit of one match */
        buf_printf(&text, "%s\"aaaaaaaaaaaaab%d\"", i ? "," : "", i);
    buf_append_char(&text, ']');
    struct on_small_stack t =
        try_on_small_stack("{\"items\":{\"pattern\":\"^(a+)+$|b\"}}", text.data);
    cr_expect(t.validated == ERR_LIMIT || t.validated == 0, "%d %s", t.validated, t.err.message);
}

Test(json_schema, long_chains_are_refused_or_fit_the_stack)
{
    static const char *const before[] = {
        "{\"allOf\":[", "{\"not\":",    "{\"dependentSchemas\":{\"x\":",
        "{\"if\":",     "{\"oneOf\":[", "{\"unevaluatedProperties\":false,\"anyOf\":["};
    static const char *const after[] = {"]}", "}", "}}", "}", "]}", "]}"};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        for (int n = 1; n <= 31; n += 6) {
            AUTO_FREE char *schema = nest(before[i], "{\"required\":[\"y\"]}", after[i], n);
            struct on_small_stack t = try_on_small_stack(schema, "{\"x\":{}}");
            cr_expect_eq(t.compiled, 0, "%s", t.err.message);
            cr_expect(t.validated == 0 || t.validated == ERR_INVALID, "%d", t.validated);
        }
    AUTO(buf) chain = BUF_INIT(1 << 20);
    buf_append_str(&chain, "{\"$ref\":\"#/$defs/0\",\"$defs\":{");
    for (int i = 0; i < 5000; i++)
        buf_printf(&chain, "\"%d\":{\"$ref\":\"#/$defs/%d\"},", i, i + 1);
    buf_append_str(&chain, "\"5000\":{}}}");
    struct on_small_stack t = try_on_small_stack(chain.data, "1");
    cr_expect_eq(t.compiled, ERR_INVALID);
    cr_expect(strstr(t.err.message, "in a row"), "%s", t.err.message);
}

Test(json_schema, deepest_frames_and_messages_fit_a_small_stack)
{
    /* Each level of the value costs several of the schema, all of the costly kinds. */
    AUTO_FREE char *deep = nest("{\"x\":[", "{\"x\":5}", "]}", 31);
    struct on_small_stack t = try_on_small_stack(
        "{\"$id\":\"http://a/\",\"$dynamicAnchor\":\"n\",\"unevaluatedProperties\":false,"
        "\"dependentSchemas\":{\"x\":{\"oneOf\":[{\"allOf\":[{\"properties\":{\"x\":{"
        "\"prefixItems\":"
        "[{\"$dynamicRef\":\"#n\"}],\"unevaluatedItems\":false,\"type\":\"array\"}}}]},"
        "{\"minProperties\":3}]}}}",
        deep);
    cr_expect_eq(t.compiled, 0);
    cr_expect(t.validated == ERR_LIMIT || t.validated == ERR_INVALID, "%d %s", t.validated,
              t.err.message);
}

Test(json_schema, huge_schemas_are_refused)
{
    AUTO(buf) text = BUF_INIT(8 << 20);
    buf_append_str(&text, "{\"properties\":{");
    for (int i = 0; i < 30000; i++)
        buf_printf(&text, "%s\"%d\":{}", i ? "," : "", i);
    buf_append_str(&text, "}}");
    struct on_small_stack t = try_on_small_stack(text.data, "1");
    cr_expect_eq(t.compiled, ERR_LIMIT);
    cr_expect(strstr(t.err.message, "more than"), "%s", t.err.message);
}

Test(json_schema, values_nested_beyond_json_are_refused_not_followed)
{
    struct json_schema *schema = compile("{\"items\":{\"$ref\":\"#\"}}", 0);
    struct json_object *value = json_object_new_array();
    for (int i = 0; i < 5000; i++) {
        struct json_object *outer = json_object_new_array();
        json_object_array_add(outer, value);
        value = outer;
    }
    struct error err = ERROR_INIT;
    cr_expect_eq(json_schema_validate(schema, value, &err), ERR_LIMIT);
    json_schema_unref(schema);
    json_object_put(value);
}

Test(json_schema, unique_items_of_large_arrays_take_no_quadratic_time)
{
    struct json_schema *schema = compile("{\"uniqueItems\":true}", 0);
    AUTO(buf) text = BUF_INIT(8 << 20);
    buf_append_char(&text, '[');
    for (int i = 0; i < 40000; i++)
        buf_printf(&text, "%s{\"a\":[%d,\"x\"]}", i ? "," : "", i);
    size_t len = text.len;
    buf_append_char(&text, ']');
    struct error err = ERROR_INIT;
    cr_expect_eq(validate(schema, text.data, &err), 0, "%s", err.message);
    text.len = len;
    buf_append_str(&text, ",{\"a\":[77.0,\"x\"]}]");
    cr_expect_eq(validate(schema, text.data, &err), ERR_INVALID);
    json_schema_unref(schema);
}

Test(json_schema, integers_and_doubles_compare_exactly)
{
    static const struct {
        const char *schema, *instance;
        bool valid;
    } cases[] = {
        {"{\"maximum\":9007199254740992.0}", "9007199254740993", false},
        {"{\"minimum\":9007199254740993}", "9007199254740992.0", false},
        {"{\"exclusiveMaximum\":9223372036854775808.0}", "9223372036854775807", true},
        {"{\"const\":1}", "1.0", true},
        {"{\"const\":0}", "false", false},
        {"{\"const\":[1]}", "[true]", false},
        {"{\"enum\":[0]}", "-0.0", true},
        {"{\"multipleOf\":0.1}", "0.3", false}, /* as Python: 0.3 / 0.1 is 2.9999999999999996 */
        {"{\"multipleOf\":0.0001}", "0.0075", true},
        {"{\"multipleOf\":0.5}", "1e308", true},
        {"{\"multipleOf\":1e-8}", "12391239123", true},
        {"{\"multipleOf\":0.123456789}", "1e308", false},
        {"{\"type\":\"integer\"}", "1e300", true},
        {"{\"uniqueItems\":true}", "[1,true,0,false,\"1\"]", true},
        {"{\"maxLength\":2}", "\"\xF0\x9F\x98\x80\xC3\xA9\"", true},
        {"{\"minLength\":3}", "\"\xF0\x9F\x98\x80\xC3\xA9\"", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_schema *schema = compile(cases[i].schema, 0);
        cr_expect_eq(validate(schema, cases[i].instance, NULL), cases[i].valid ? 0 : ERR_INVALID,
                     "%s %s", cases[i].schema, cases[i].instance);
        json_schema_unref(schema);
    }
}

Test(json_schema, patterns_are_those_of_ecmascript)
{
    static const struct {
        const char *pattern, *text;
        bool valid;
    } cases[] = {
        {"^\\\\p{Letter}+$", "\"\xC3\xA9t\xC3\xA9\"", true},
        {"^\\\\p{Letter}+$", "\"a1\"", false},
        {"^\\\\P{Number}$", "\"a\"", true},
        {"^\\\\p{General_Category=Uppercase_Letter}$", "\"A\"", true},
        {"^a$", "\"a\\n\"", false},
        {"^\\\\u0041$", "\"A\"", true},
        {"[^]", "\"\"", false},
        {"^\\\\d$", "\"\xD9\xA3\"", false},
        {"b", "\"abc\"", true},
        {"^.$", "\"\xF0\x9F\x98\x80\"", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        AUTO(buf) text = BUF_INIT(1000);
        buf_printf(&text, "{\"pattern\":\"%s\"}", cases[i].pattern);
        struct json_schema *schema = compile(text.data, 0);
        cr_expect_eq(validate(schema, cases[i].text, NULL), cases[i].valid ? 0 : ERR_INVALID,
                     "%s %s", cases[i].pattern, cases[i].text);
        json_schema_unref(schema);
    }
}

/* A resource passed through by nothing but a reference counts as well. */
Test(json_schema, dynamic_references_see_every_resource_on_the_way)
{
    struct json_schema *schema =
        compile("{\"$id\":\"https://x/base\",\"$ref\":\"first#/$defs/stuff\",\"$defs\":{"
                "\"1\":{\"$id\":\"first\",\"$defs\":{\"stuff\":{\"$ref\":\"second#/$defs/stuff\"},"
                "\"length\":{\"$dynamicAnchor\":\"length\",\"maxLength\":2}}},"
                "\"2\":{\"$id\":\"second\",\"$defs\":{\"stuff\":{\"$dynamicRef\":\"#length\"},"
                "\"length\":{\"$dynamicAnchor\":\"length\",\"maxLength\":3}}}}}",
                0);
    cr_expect_eq(validate(schema, "\"hi\"", NULL), 0);
    cr_expect_eq(validate(schema, "\"hey\"", NULL), ERR_INVALID);
    json_schema_unref(schema);
}

Test(json_schema, dynamic_references_take_the_outermost_anchor)
{
    struct json_schema *schema =
        compile("{\"$id\":\"https://x/strict\",\"$dynamicAnchor\":\"node\",\"$ref\":\"tree\","
                "\"unevaluatedProperties\":false,\"$defs\":{\"t\":{\"$id\":\"tree\","
                "\"$dynamicAnchor\":\"node\",\"properties\":{\"data\":true,\"children\":{\"items\":"
                "{\"$dynamicRef\":\"#node\"}}}}}}",
                0);
    cr_expect_eq(validate(schema, "{\"children\":[{\"data\":1}]}", NULL), 0);
    cr_expect_eq(validate(schema, "{\"children\":[{\"daat\":1}]}", NULL), ERR_INVALID);
    json_schema_unref(schema);
}

Test(json_schema, dialect_without_a_word_is_2020_or_7)
{
    struct json_schema *schema = compile("{\"prefixItems\":[{\"type\":\"null\"}]}", 0);
    cr_expect_eq(validate(schema, "[1]", NULL), ERR_INVALID);
    json_schema_unref(schema);
    schema = compile("{\"definitions\":{},\"items\":[{\"type\":\"null\"}]}", 0);
    cr_expect_eq(validate(schema, "[1]", NULL), ERR_INVALID);
    json_schema_unref(schema);
}

struct failures {
    char text[1000];
};

static void add_failure(void *ctx, const char *pointer, const char *path, const char *why)
{
    struct failures *f = ctx;
    size_t len = strlen(f->text);
    snprintf(f->text + len, sizeof f->text - len, "%s %s: %s\n", pointer, path, why);
}

Test(json_schema, all_failures_are_told_with_their_pointers)
{
    struct json_schema *schema =
        compile("{\"properties\":{\"a/b\":{\"type\":\"string\"},\"l\":{\"items\":{\"minimum\":2}}},"
                "\"required\":[\"z\"]}",
                0);
    AUTO_JSON *instance = parse("{\"a/b\":1,\"l\":[2,1,0]}");
    struct failures f = {""};
    cr_expect_eq(json_schema_validate_all(schema, instance, add_failure, &f), 4);
    cr_expect_str_eq(f.text, "/a~1b $.a/b: 1 is not of type 'string'\n"
                             "/l/1 $.l[1]: 1 is less than the minimum of 2\n"
                             "/l/2 $.l[2]: 0 is less than the minimum of 2\n"
                             " $: 'z' is a required property\n");
    AUTO_JSON *good = parse("{\"z\":1}");
    cr_expect_eq(json_schema_validate_all(schema, good, add_failure, &f), 0);
    json_schema_unref(schema);
}

/* An anyOf is told by what its nearest branch has against the value, at that place. */
Test(json_schema, failures_in_a_branch_are_placed_too)
{
    struct json_schema *schema =
        compile("{\"properties\":{\"a\":{\"anyOf\":[{\"items\":{\"type\":\"integer\"}}]}}}", 0);
    AUTO_JSON *instance = parse("{\"a\":[1,\"x\"]}");
    struct failures f = {.text = ""};
    cr_expect_eq(json_schema_validate_all(schema, instance, add_failure, &f), 1);
    cr_expect_str_eq(f.text, "/a/1 $.a[1]: 'x' is not of type 'integer'\n");
    json_schema_unref(schema);
}

Test(json_schema, long_values_leave_room_for_the_reason)
{
    struct json_schema *schema = compile("{\"type\":\"string\"}", 0);
    AUTO_FREE char *list = nest("12345678,", "1", "", 500);
    AUTO(buf) text = BUF_INIT(1 << 16);
    buf_printf(&text, "[%s]", list);
    struct error err = ERROR_INIT;
    cr_expect_eq(validate(schema, text.data, &err), ERR_INVALID);
    cr_expect(strstr(err.message, "... is not of type 'string'"), "%s", err.message);
    json_schema_unref(schema);
}

Test(json_schema, defaults_fill_what_is_absent)
{
    struct json_schema *schema =
        compile("{\"properties\":{\"a\":{\"default\":{\"x\":[1]}},\"b\":{\"default\":null},"
                "\"c\":{\"default\":3},\"d\":{},\"e\":true}}",
                0);
    AUTO_JSON *instance = parse("{\"c\":null}");
    cr_expect_eq(json_schema_apply_defaults(schema, instance), 0);
    cr_expect_str_eq(json_object_to_json_string_ext(instance, JSON_C_TO_STRING_PLAIN),
                     "{\"c\":null,\"a\":{\"x\":[1]},\"b\":null}");
    AUTO_JSON *array = parse("[]");
    cr_expect_eq(json_schema_apply_defaults(schema, array), ERR_INVALID);
    json_schema_unref(schema);
}

/* --- formats --- */

static const struct format_case {
    const char *format, *text;
    bool valid;
} format_cases[] = {
    {"date-time", "2024-02-29T23:59:59.5Z", true},
    {"date-time", "2024-02-29t00:00:00z", true},
    {"date-time", "1998-12-31T15:59:60.123-08:00", true},
    {"date-time", "1998-12-31T22:59:60Z", false},
    {"date-time", "2023-02-29T00:00:00Z", false},
    {"date-time", "2024-01-01T00:00:00", false},
    {"date-time", "2024-01-01 00:00:00Z", false},
    {"date-time", "2024-01-01T24:00:00Z", false},
    {"date-time", "2024-01-01T00:00:00.Z", false},
    {"date-time", "2024-01-01T00:00:00+1:00", false},
    {"date", "1963-06-19", true},
    {"date", "1963-6-19", false},
    {"date", "1963-13-01", false},
    {"date", "1963-06-00", false},
    {"time", "08:30:06Z", true},
    {"time", "08:30:06+05:30", true},
    {"time", "08:30:06", false},
    {"time", "8:30:06Z", false},
    {"duration", "P4DT12H30M5S", true},
    {"duration", "P4W", true},
    {"duration", "PT", false},
    {"duration", "P", false},
    {"duration", "P1D2H", false},
    {"duration", "P2D1Y", false},
    {"duration", "P1Y2W", false},
    {"email", "joe.bloggs@example.com", true},
    {"email", "\"joe bloggs\"@example.com", true},
    {"email", "a@[127.0.0.1]", true},
    {"email", "a@[IPv6:::1]", true},
    {"email", "2962", false},
    {"email", ".a@example.com", false},
    {"email", "a..b@example.com", false},
    {"email", "a@", false},
    {"hostname", "www.example.com", true},
    {"hostname", "-a.b", false},
    {"hostname", "a-.b", false},
    {"hostname", "a_b", false},
    {"hostname", "", false},
    {"ipv4", "192.168.0.1", true},
    {"ipv4", "127.0.0.0.1", false},
    {"ipv4", "256.1.1.1", false},
    {"ipv4", "087.10.0.1", false},
    {"ipv6", "::1", true},
    {"ipv6", "::ffff:192.168.0.1", true},
    {"ipv6", "12345::", false},
    {"ipv6", "::1%eth0", false},
    {"uri", "http://foo.bar/?baz=qux#quux", true},
    {"uri", "urn:oasis:names:x", true},
    {"uri", "http://[::1]:80/", true},
    {"uri", "//foo.bar", false},
    {"uri", "/abc", false},
    {"uri", "http:// x", false},
    {"uri", "http://a:b/", false},
    {"uri", "http://[::1", false},
    {"uri", "http://x/%zz", false},
    {"uri-reference", "/abc", true},
    {"uri-reference", "#frag", true},
    {"uri-reference", "a:b", true},
    {"uri-reference", "1:b", false},
    {"uri-reference", "\\\\x", false},
    {"uuid", "2eb8aa08-aa98-11ea-b4aa-73b441d16380", true},
    {"uuid", "2eb8aa08aa9811eab4aa73b441d16380", false},
    {"uuid", "2eb8aa08-aa98-11ea-b4ga-73b441d16380", false},
    {"json-pointer", "/a~0/b~1", true},
    {"json-pointer", "a", false},
    {"json-pointer", "/~2", false},
    {"regex", "^a+$", true},
    {"regex", "^(abc]", false},
    {"something-else", "x", true},
};

Test(json_schema, formats_are_asserted_on_request_only)
{
    for (size_t i = 0; i < sizeof format_cases / sizeof *format_cases; i++) {
        const struct format_case *c = &format_cases[i];
        AUTO_JSON *document = json_object_new_object();
        json_object_object_add(document, "format", json_object_new_string(c->format));
        AUTO_JSON *text = json_object_new_string(c->text);
        struct json_schema *asserting = NULL, *annotating = NULL;
        struct error err = ERROR_INIT;
        cr_assert_eq(json_schema_compile(document, JSON_SCHEMA_ASSERT_FORMAT, &asserting, &err), 0);
        cr_assert_eq(json_schema_compile(document, 0, &annotating, &err), 0);
        cr_expect_eq(json_schema_validate(asserting, text, &err), c->valid ? 0 : ERR_INVALID,
                     "%s as %s", c->text, c->format);
        cr_expect_eq(json_schema_validate(annotating, text, &err), 0);
        json_schema_unref(asserting);
        json_schema_unref(annotating);
    }
}

/* --- threads --- */

static void *validate_much(void *argument)
{
    struct json_schema *schema = json_schema_ref(argument);
    AUTO_JSON *good = parse("{\"a\":\"xyz\",\"b\":[1,2,3]}");
    AUTO_JSON *bad = parse("{\"a\":\"XYZ\",\"b\":[1,2,\"3\"]}");
    struct error err = ERROR_INIT;
    intptr_t wrong = 0;
    for (int i = 0; i < 3000; i++) {
        wrong += json_schema_validate(schema, good, &err) != 0;
        wrong += json_schema_validate(schema, bad, &err) != ERR_INVALID ||
                 strcmp(err.message, "$.a-'XYZ' does not match '^[a-z]+$'") != 0;
    }
    json_schema_unref(schema);
    return (void *)wrong;
}

Test(json_schema, is_used_by_many_threads_at_once)
{
    struct json_schema *schema = compile("{\"properties\":{\"a\":{\"pattern\":\"^[a-z]+$\"},\"b\":{"
                                         "\"items\":{\"type\":\"number\"}}}}",
                                         0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, validate_much, schema), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        cr_expect_null(wrong);
    }
    json_schema_unref(schema);
}
