#include "http/http_priv.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(multipart, .timeout = 20);

#define TYPE "multipart/form-data; boundary=xyz"
#define FIELD(name, value) \
    "--xyz\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n" value "\r\n"
#define END "--xyz--\r\n"

struct split_case {
    char type[128];
    char body[400];
    char fields[128]; /* "name=value|...", or what is wrong */
};

/* The fields of a body that ends where its memory does, so that a sanitizer sees a step beyond. */
static int split(const char *type, const char *body, size_t len, char *out, size_t size)
{
    struct http_pair pairs[4];
    struct error err = ERROR_INIT;
    size_t n = 0;
    char *copy = malloc(len + 1);
    cr_assert_not_null(copy);
    memcpy(copy, body, len);
    copy[len] = '\0';
    int rc = multipart_split(copy, len, type, pairs, 4, &n, &err);
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; !rc && i < n; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s=%s", i ? "|" : "", pairs[i].name,
                                 pairs[i].value);
    free(copy);
    return rc;
}

ParameterizedTestParameters(multipart, bodies_are_read)
{
    static struct split_case cases[] = {
        {TYPE, FIELD("a", "1") FIELD("b", "two words") END, "a=1|b=two words"},
        {TYPE, FIELD("a", "1") "--xyz--", "a=1"},
        {TYPE, END, ""},
        {TYPE, "preamble\r\n" FIELD("a", "1") END "epilogue", "a=1"},
        {TYPE, FIELD("a", "line\r\nline") END, "a=line\r\nline"},
        {TYPE, FIELD("a", "\r\n--xy") END, "a=\r\n--xy"},
        {TYPE, FIELD("a", "x--xyz--") END, "a=x--xyz--"},
        {TYPE, FIELD("a", "") FIELD("b", "1") END, "b=1"},
        {TYPE, "--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n--xyz--", ""},
        {TYPE, FIELD("a", "Zo\xC3\xAB") END, "a=Zo\xC3\xAB"},
        {TYPE, FIELD("q \\\" \\\\ ; =", "1") END, "q \" \\ ; ==1"},
        {TYPE, "--xyz \t\r\ncontent-disposition:form-data;name=a\r\nX: y\r\n\r\n1\r\n" END, "a=1"},
        {TYPE,
         "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\n"
         "Content-Type: text/plain\r\n\r\n\x01\xFF\r\n" FIELD("a", "1") END,
         "a=1"},
        {"multipart/form-data; charset=utf-8; boundary=\"a b\"",
         "--a b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--a b--", "a=1"},
        {TYPE, FIELD("a", "1") FIELD("b", "") FIELD("c", "3") FIELD("d", "4") END, "a=1|c=3|d=4"},
    };
    return cr_make_param_array(struct split_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct split_case *c, multipart, bodies_are_read)
{
    char got[512];
    cr_assert_eq(split(c->type, c->body, strlen(c->body), got, sizeof got), 0, "%s", c->body);
    cr_expect_str_eq(got, c->fields);
}

ParameterizedTestParameters(multipart, bodies_are_refused)
{
    static struct split_case cases[] = {
        {TYPE, "", "nothing"},
        {TYPE, "--xyz", "a delimiter alone"},
        {TYPE, "--xyz\r\n", "no headers"},
        {TYPE, "--xyz\r\n\r\n1\r\n" END, "no disposition"},
        {TYPE, "--xyzz\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--xyzz--",
         "another boundary"},
        {TYPE, FIELD("a", "1"), "no end"},
        {TYPE, FIELD("a", "1") "--xyz-", "half an end"},
        {TYPE, "--xyz\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n" END,
         "not form-data"},
        {TYPE, "--xyz\r\nContent-Disposition: form-data\r\n\r\n1\r\n" END, "no name"},
        {TYPE, "--xyz\r\nContent-Disposition: form-data; name=\"a\r\n\r\n1\r\n" END,
         "an open quote"},
        {TYPE, "--xyz\r\nContent-Disposition: form-data; name=a b\r\n\r\n1\r\n" END, "two words"},
        {TYPE, "--xyz\r\nno colon\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n" END,
         "no header"},
        {TYPE,
         "--xyz\r\nContent-Disposition: form-data; name=a\r\n"
         "Content-Disposition: form-data; name=b\r\n\r\n1\r\n" END,
         "two dispositions"},
        {TYPE,
         "--xyz\r\nContent-Disposition: form-data; name=a\r\n"
         "Content-Transfer-Encoding: base64\r\n\r\nMQ==\r\n" END,
         "a transfer encoding"},
        {TYPE, FIELD("a", "\xFF") END, "not UTF-8"},
        {TYPE, FIELD("\xFF", "1") END, "a name that is not UTF-8"},
        {"multipart/form-data", FIELD("a", "1") END, "no boundary"},
        {"multipart/form-data; boundary=", FIELD("a", "1") END, "an empty boundary"},
        {"multipart/form-data; boundary=\"xyz", FIELD("a", "1") END, "an open quote"},
        {"multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901",
         FIELD("a", "1") END, "a boundary of 71 characters"},
    };
    return cr_make_param_array(struct split_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct split_case *c, multipart, bodies_are_refused)
{
    char got[512];
    cr_expect_eq(split(c->type, c->body, strlen(c->body), got, sizeof got), ERR_INVALID, "%s",
                 c->fields);
}

Test(multipart, every_prefix_of_a_body_is_refused)
{
    static const char body[] = FIELD("a", "1") FIELD("b", "two") "--xyz--";
    char got[512];
    for (size_t len = 0; len + 1 < sizeof body; len++)
        cr_expect_eq(split(TYPE, body, len, got, sizeof got), ERR_INVALID, "%zu bytes", len);
}

Test(multipart, a_nul_is_refused)
{
    static const char body[] = FIELD("a", "1\0"
                                          "2") END;
    char got[512];
    cr_expect_eq(split(TYPE, body, sizeof body - 1, got, sizeof got), ERR_INVALID);
}

Test(multipart, one_part_more_than_there_is_room_for_is_refused)
{
    static const char four[] = FIELD("a", "1") FIELD("b", "2") FIELD("c", "3") FIELD("d", "4") END;
    static const char five[] =
        FIELD("a", "1") FIELD("b", "") FIELD("c", "3") FIELD("d", "4") FIELD("e", "5") END;
    char got[512];
    cr_expect_eq(split(TYPE, four, sizeof four - 1, got, sizeof got), 0);
    cr_expect_eq(split(TYPE, five, sizeof five - 1, got, sizeof got), ERR_LIMIT);
}
