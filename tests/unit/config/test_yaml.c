#include "config/config.h"
#include "config/yaml_priv.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(yaml, .timeout = 20);

static struct error err;

static struct yaml_document *read_good(const char *text)
{
    struct yaml_document *doc;
    int rc = yaml_read_text("t.yaml", text, strlen(text), &doc, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
    return doc;
}

/* --- scalars --- */

struct scalar_case {
    char yaml[48], json[48];
};

ParameterizedTestParameters(yaml, plain_scalars_follow_the_core_schema)
{
    static struct scalar_case cases[] = {
        {"true", "true"},
        {"false", "false"},
        {"yes", "\"yes\""},
        {"on", "\"on\""},
        {"No", "\"No\""},
        {"null", "null"},
        {"~", "null"},
        {"", "null"},
        {"12", "12"},
        {"-12", "-12"},
        {"+12", "12"},
        {"0123", "123"},
        {"0o17", "15"},
        {"0xFf", "255"},
        {"0b1", "\"0b1\""},
        {"1_000", "\"1_000\""},
        {"1:30", "\"1:30\""},
        {"1.5", "1.5"},
        {".5", "0.5"},
        {"1e3", "1000.0"},
        {"1.e", "\"1.e\""},
        {"-", "[null]"},
        {".", "\".\""},
        {"2001-01-01", "\"2001-01-01\""},
        {"\"12\"", "\"12\""},
        {"'true'", "\"true\""},
        {"'it''s'", "\"it's\""},
        {"9223372036854775807", "9223372036854775807"},
        {"a$b$", "\"a$b$\""},
        {"$${HOME}", "\"${HOME}\""},
    };
    return cr_make_param_array(struct scalar_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct scalar_case *c, yaml, plain_scalars_follow_the_core_schema)
{
    struct yaml_document *doc = read_good(c->yaml);
    const char *json =
        yaml_value(doc) ? json_object_to_json_string_ext(yaml_value(doc), 0) : "null";
    cr_expect_str_eq(json, c->json);
    yaml_document_free(doc);
}

/* --- what is refused, and where --- */

struct refused_case {
    char yaml[80], message[120];
};

ParameterizedTestParameters(yaml, what_is_refused_is_named_with_its_place)
{
    static struct refused_case cases[] = {
        {"a: &x 1", "t.yaml:1:4: anchors (&name) are not supported"},
        {"a: 1\nb: *x", "t.yaml:2:4: aliases (*name) are not supported; repeat the value"},
        {"a: !!str 1", "t.yaml:1:4: tags (!name) are not supported"},
        {"! a", "t.yaml:1:1: tags (!name) are not supported"},
        {"a: 1\nb: 2\na: 3", "t.yaml:3:1: duplicate key 'a', first at line 1"},
        {"a:\n  <<: {b: 1}", "t.yaml:2:3: merge keys (<<) are not supported"},
        {"? [a]\n: 1", "t.yaml:1:3: a key must be a single word or text"},
        {"a: .nan", "t.yaml:1:4: infinity and not-a-number cannot be used here"},
        {"a: 9223372036854775808", "t.yaml:1:4: an integer beyond 64 bits"},
        {"a: 1e999", "t.yaml:1:4: a number beyond the range of a double"},
        {"a: 1\n---\nb: 1", "t.yaml:2:1: a second document; a file holds one"},
        {"%TAG ! tag:x,2000:\n---\na: 1", "t.yaml:1:1: %TAG is not supported"},
        {"a: \"x\\0y\"", "t.yaml:1:4: text must not hold a NUL character"},
        {"a: [1, 2", "t.yaml:2:1: did not find expected ',' or ']'"},
        {"a: 1\n  b: 2", "t.yaml:2:4: mapping values are not allowed in this context"},
        {"a: \xff", "t.yaml: invalid leading UTF-8 octet (byte 3)"},
        {"a: ${HYPRXA_NOT_SET}", "t.yaml:1:4: variable HYPRXA_NOT_SET is not set"},
        {"a:\n- ${HYPRXA_NOT_SET:?say it}",
         "t.yaml:2:3: variable HYPRXA_NOT_SET is not set: say it"},
        {"a: ${1X}", "t.yaml:1:4: malformed variable reference"},
        {"a: ${X-1}", "t.yaml:1:4: malformed reference to variable X"},
        {"a: ${X:-${Y}}", "t.yaml:1:4: a reference within the reference to variable X"},
        {"a: x${X", "t.yaml:1:4: '${' without a closing '}'"},
    };
    return cr_make_param_array(struct refused_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct refused_case *c, yaml, what_is_refused_is_named_with_its_place)
{
    struct yaml_document *doc;
    struct error why = ERROR_INIT;
    cr_assert_eq(yaml_read_text("t.yaml", c->yaml, strlen(c->yaml), &doc, &why), ERR_INVALID);
    cr_expect_null(doc);
    cr_expect(strncmp(why.message, c->message, strlen(c->message)) == 0, "%s", why.message);
}

Test(yaml, depth_is_limited)
{
    char text[256] = "";
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    yaml_document_free(read_good(text));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    struct yaml_document *doc;
    cr_assert_eq(yaml_read_text("t", text, 130, &doc, &err), ERR_INVALID);
    cr_expect_str_eq(err.message, "t:1:65: nested too deeply (64 levels at most)");
}

Test(yaml, size_is_limited_in_text_and_file)
{
    size_t max = YAML_FILE_MAX;
    char *text = malloc(max + 1);
    memset(text, 'x', max + 1);
    struct yaml_document *doc;
    cr_expect_eq(yaml_read_text("t", text, max, &doc, &err), 0, "%s", err.message);
    yaml_document_free(doc);
    cr_expect_eq(yaml_read_text("t", text, max + 1, &doc, &err), ERR_INVALID);

    char path[] = "/tmp/hyprxa-yaml-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, text, max), (ssize_t)max);
    cr_expect_eq(yaml_read_file(path, &doc, &err), 0, "%s", err.message);
    yaml_document_free(doc);
    cr_assert_eq(write(fd, text, 1), 1);
    cr_expect_eq(yaml_read_file(path, &doc, &err), ERR_INVALID);
    close(fd);
    unlink(path);
    free(text);
}

Test(yaml, a_folder_or_a_missing_file_is_refused_by_name)
{
    struct yaml_document *doc;
    cr_expect_eq(yaml_read_file("/tmp", &doc, &err), ERR_INVALID);
    cr_expect_str_eq(err.message, "/tmp: not a regular file");
    cr_expect_eq(yaml_read_file("/nonexistent/x.yaml", &doc, &err), ERR_IO);
    cr_expect_str_eq(err.message, "/nonexistent/x.yaml: No such file or directory");
}

/* --- variables --- */

struct variable_case {
    char yaml[64], json[64];
};

ParameterizedTestParameters(yaml, variables_expand_once_and_resolve_again_unless_quoted)
{
    static struct variable_case cases[] = {
        {"${V_INT}", "502"},
        {"\"${V_INT}\"", "\"502\""},
        {"${V_TRUE}", "true"},
        {"'${V_TRUE}'", "\"true\""},
        {"${V_EMPTY}", "null"},
        {"\"${V_EMPTY}\"", "\"\""},
        {"${V_EMPTY:-7}", "7"},
        {"${V_UNSET:-}", "null"},
        {"${V_UNSET:-a:b-c}", "\"a:b-c\""},
        {"${V_INT:?needed}", "502"},
        {"x${V_INT}y${V_INT}", "\"x502y502\""},
        {"${V_REF}", "\"${V_INT}\""},
        {"$${V_INT}", "\"${V_INT}\""},
        {"\"$${V_INT}${V_INT}\"", "\"${V_INT}502\""},
        {"|\n  ${V_INT}", "\"502\""},
        {"{\"${V_INT}\": 1}", "{\"${V_INT}\":1}"},
        {"a: ${V_COLON}", "{\"a\":\"x: [y]\"}"},
    };
    return cr_make_param_array(struct variable_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct variable_case *c, yaml,
                  variables_expand_once_and_resolve_again_unless_quoted)
{
    setenv("V_INT", "502", 1);
    setenv("V_TRUE", "true", 1);
    setenv("V_EMPTY", "", 1);
    setenv("V_REF", "${V_INT}", 1);
    setenv("V_COLON", "x: [y]", 1);
    struct yaml_document *doc = read_good(c->yaml);
    const char *json =
        yaml_value(doc) ? json_object_to_json_string_ext(yaml_value(doc), 0) : "null";
    cr_expect_str_eq(json, c->json);
    yaml_document_free(doc);
}

Test(yaml, a_variable_that_is_not_utf8_or_too_large_is_refused_without_its_value)
{
    struct yaml_document *doc;
    setenv("V_BAD", "pass\xc3(word", 1);
    cr_expect_eq(yaml_read_text("t", "a: ${V_BAD}", 11, &doc, &err), ERR_INVALID);
    cr_expect_str_eq(err.message, "t:1:4: variable V_BAD is not UTF-8");

    char big[65536];
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    setenv("V_BIG", big, 1);
    char text[256] = "";
    for (int i = 0; i < 17; i++)
        strcat(text, "- ${V_BIG}\n");
    cr_expect_eq(yaml_read_text("t", text, strlen(text), &doc, &err), ERR_INVALID);
    cr_expect_str_eq(err.message, "t:17:3: more than 1048576 bytes after expansion");
}

Test(yaml, a_message_never_shows_what_a_variable_expanded_to)
{
    setenv("V_SECRET", "hunter22", 1);
    struct yaml_document *doc = read_good("a: {b: '${V_SECRET}', c: 1}\n");
    static const char *const cases[][3] = {
        {"/a/b", "'hunter22' is not of type 'number'",
         "the value expanded from ${...} is not of type 'number'"},
        {"/a/b", "hunter22 is bad, hunter22!",
         "a value expanded from ${...} is not what is expected here"},
        {"/a", "{'b': 'hunter22', 'c': 1} is not valid",
         "a value expanded from ${...} is not what is expected here"},
        {"/a", "shortened 'hunter2...'",
         "a value expanded from ${...} is not what is expected here"},
        {"/a", "'x' was unexpected", "'x' was unexpected"},
        {"/a/c", "1 is not of type 'string'", "1 is not of type 'string'"},
        {"/a/b", "expected a; found hun", "expected a; found a value expanded from ${...}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out = BUF_INIT(4096);
        cr_assert_eq(yaml_redact(doc, cases[i][0], cases[i][1], &out), 0);
        cr_expect_str_eq(out.data, cases[i][2]);
        buf_release(&out);
    }
    yaml_document_free(doc);
}

/* --- places --- */

Test(yaml, places_are_found_by_pointer_and_fall_back_to_the_ancestor)
{
    struct yaml_document *doc = read_good("top:\n"
                                          "  list: [x, {deep: 1}]\n"
                                          "  a/b~c: 2\n"
                                          "  \"\xc3\xa9\": 3\n");
    static const struct {
        const char *pointer;
        unsigned line, column;
    } cases[] = {
        {"", 1, 1},
        {"/top", 2, 3},
        {"/top/list/0", 2, 10},
        {"/top/list/1/deep", 2, 20},
        {"/top/a~1b~0c", 3, 10},
        {"/top/\xc3\xa9", 4, 8},
        {"/top/list/7", 2, 9},
        {"/top/missing/deeper", 2, 3},
        {"/topper", 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned line, column;
        yaml_place(doc, cases[i].pointer, &line, &column);
        cr_expect(line == cases[i].line && column == cases[i].column, "%s: %u:%u", cases[i].pointer,
                  line, column);
    }
    yaml_document_free(doc);
}
