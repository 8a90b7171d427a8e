#include "http_fixture.h"

#include "base/buf.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(params, .timeout = 60);

struct pair {
    char input[256];
    int status;
    char body[512];
};

#define ERR422(items)        "{\"detail\":[" items "]}"
#define ITEM(loc, msg, type) "{\"loc\":[" loc "],\"msg\":\"" msg "\",\"type\":\"" type "\"}"

ParameterizedTestParameters(params, reads_queries)
{
    static struct pair cases[] = {
        {"", 200, "limit=5 map=0 start=- items="},
        {"?limit=&map=&startTime=&item=", 200, "limit=5 map=0 start=- items="},
        {"?limit=12&map=YES&item=a&item=b%26c&item=&item=d+e", 200,
         "limit=12 map=1 start=- items=a|b&c|d e"},
        {"?limit=-3&map=off", 200, "limit=-3 map=0 start=- items="},
        {"?limit=1&limit=2", 200, "limit=2 map=0 start=- items="},
        {"?start_time=now&unknown=1", 200, "limit=5 map=0 start=now items="},
        {"?startTime=a&start_time=b", 200, "limit=5 map=0 start=a items="},
        {"?item=%E2%82%AC", 200, "limit=5 map=0 start=- items=\xE2\x82\xAC"},
        {"?limit=x", 422,
         ERR422(ITEM("\"query\",\"limit\"", "value is not a valid integer", "type_error.integer"))},
        {"?limit=1.5&map=maybe", 422,
         ERR422(ITEM("\"query\",\"limit\"", "value is not a valid integer",
                     "type_error.integer") "," ITEM("\"query\",\"map\"",
                                                    "value could not be parsed to a boolean",
                                                    "type_error.bool"))},
        {"?limit=99999999999999999999", 422,
         ERR422(ITEM("\"query\",\"limit\"", "value is not a valid integer", "type_error.integer"))},
    };
    return cr_make_param_array(struct pair, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct pair *c, params, reads_queries)
{
    struct http_server *server = fixture_start(NULL);
    char path[512];
    snprintf(path, sizeof path, "/query%s", c->input);
    struct answer a;
    client_get(server, path, "", &a);
    check_answer(&a, c->status, c->body);
    answer_release(&a);
    fixture_stop(server);
}

#define MISSING(field) ITEM("\"body\",\"" field "\"", "field required", "value_error.missing")
#define NOT_DICT       ITEM("\"body\"", "value is not a valid dict", "type_error.dict")
#define SYNTAX(pos, column, msg, doc)                                                       \
    "{\"loc\":[\"body\"," #pos "],\"msg\":\"" msg ": line 1 column " #column " (char " #pos \
    ")\",\"type\":\"value_error.jsondecode\",\"ctx\":{\"msg\":\"" msg "\",\"doc\":\"" doc   \
    "\",\"pos\":" #pos ",\"lineno\":1,\"colno\":" #column "}}"

ParameterizedTestParameters(params, reads_bodies)
{
    static struct pair cases[] = {
        {"{\"topic\": \"t\", \"payload\": {\"b\": 1, \"a\": [1, 2.50]}}", 200,
         "t - {\"b\":1,\"a\":[1,2.50]} {\"b\":1,\"a\":[1,2.5]}"},
        {"{\"topic\":5,\"key\":true,\"payload\":{}}", 200, "5 True {} {}"},
        {"{\"topic\":1.5,\"key\":null,\"payload\":[[\"a\",1],[\"b\",{}]]}", 200,
         "1.5 - [[\"a\",1],[\"b\",{}]] {\"a\":1,\"b\":{}}"},
        {"[[\"topic\",\"t\"],[\"payload\",[]]]", 200, "t -  {}"},
        {"{\"topic\":\"t\"}", 422, ERR422(MISSING("payload"))},
        {"[]", 422, ERR422(MISSING("topic") "," MISSING("payload"))},
        {"{\"topic\":null,\"payload\":null}", 422,
         ERR422(ITEM("\"body\",\"topic\"", "none is not an allowed value",
                     "type_error.none.not_allowed") "," ITEM("\"body\",\"payload\"",
                                                             "none is not an allowed value",
                                                             "type_error.none.not_allowed"))},
        {"{\"topic\":[],\"payload\":3}", 422,
         ERR422(ITEM("\"body\",\"topic\"", "str type expected", "type_error.str") "," ITEM(
             "\"body\",\"payload\"", "value is not a valid dict", "type_error.dict"))},
        {"{\"topic\":\"a\\u0000b\",\"payload\":{}}", 422,
         ERR422(ITEM("\"body\",\"topic\"", "str type expected", "type_error.str"))},
        {"", 422, ERR422(ITEM("\"body\"", "field required", "value_error.missing"))},
        {"null", 422, ERR422(ITEM("\"body\"", "field required", "value_error.missing"))},
        {"7", 422, ERR422(NOT_DICT)},
        {"\"text\"", 422, ERR422(NOT_DICT)},
        {"[1,2]", 422, ERR422(NOT_DICT)},
        {"{x", 422,
         ERR422(SYNTAX(1, 2, "Expecting property name enclosed in double quotes", "{x"))},
        {"nope", 422, ERR422(SYNTAX(0, 1, "Expecting value", "nope"))},
        {"{\"\xC3\xA9\":1} x", 422, ERR422(SYNTAX(8, 9, "Extra data", "{\\\"\xC3\xA9\\\":1} x"))},
    };
    return cr_make_param_array(struct pair, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct pair *c, params, reads_bodies)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_post(server, "/events", "", c->input, &a);
    check_answer(&a, c->status, c->body);
    answer_release(&a);
    fixture_stop(server);
}

Test(params, a_body_of_another_type_is_no_object)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    static const struct {
        const char *header;
        int status;
    } cases[] = {
        {"Content-Type: text/plain\r\n", 422},
        {"Content-Type: application/jsonlines\r\n", 422},
        {"Content-Type: application/json; charset=utf-8\r\n", 200},
        {"Content-Type: application/cloudevents+json\r\n", 200},
        {"", 200},
    };
    static const char body[] = "{\"topic\":\"a\",\"payload\":{}}";
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        client_print(fd,
                     "POST /events HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n%s",
                     cases[i].header, strlen(body), body);
        struct answer a;
        client_read(fd, true, &a);
        cr_expect_eq(a.status, cases[i].status, "%s %d", cases[i].header, a.status);
        if (a.status == 422)
            cr_expect_str_eq(a.body, ERR422(NOT_DICT));
        answer_release(&a);
    }
    client_close(fd);
    fixture_stop(server);
}

Test(params, a_body_that_is_not_utf8_is_echoed_cleanly)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_post(server, "/events", "", "{\"a\":\"\xFF\"}", &a);
    cr_expect_eq(a.status, 422);
    cr_expect_not_null(strstr(a.body, "\"doc\":\"{\\\"a\\\":\\\"\xEF\xBF\xBD\\\"}\""), "%s",
                       a.body);
    answer_release(&a);
    fixture_stop(server);
}

Test(params, a_large_malformed_body_is_echoed_in_part)
{
    struct http_server *server = fixture_start(NULL);
    size_t len = 200000;
    char *body = malloc(len + 1);
    cr_assert_not_null(body);
    memset(body, '[', len);
    body[len] = '\0';
    struct answer a;
    client_post(server, "/events", "", body, &a);
    cr_expect_eq(a.status, 422);
    cr_expect_lt(a.body_len, 70000);
    cr_expect_gt(a.body_len, 60000);
    answer_release(&a);
    free(body);
    fixture_stop(server);
}

Test(params, lists_are_checked)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_post(server, "/list", "", "{\"items\":[1,2,3]}", &a);
    check_answer(&a, 200, "3 items");
    answer_release(&a);
    client_post(server, "/list", "", "{\"items\":{}}", &a);
    check_answer(
        &a, 422,
        ERR422(ITEM("\"body\",\"items\"", "value is not a valid list", "type_error.list")));
    answer_release(&a);
    fixture_stop(server);
}

Test(params, urlencoded_forms_are_read)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    struct answer a;
    static const char head[] = "POST /form HTTP/1.1\r\nHost: localhost\r\n"
                               "Content-Type: application/x-www-form-urlencoded\r\n";
    client_print(fd, "%sContent-Length: 27\r\n\r\nusername=ada+l%%C3%%A9&x=&y=1", head);
    client_read(fd, true, &a);
    check_answer(&a, 200, "user=ada l\xC3\xA9");
    answer_release(&a);
    client_print(fd, "%sContent-Length: 11\r\n\r\nusername=%%zz", head);
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 400);
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(params, syntax_errors_come_before_scopes_and_scopes_before_the_rest)
{
    struct http_options options = fixture_auth_options();
    struct http_server *server = fixture_start(&options);
    struct answer a;
    client_post(server, "/write", "", "{x", &a);
    cr_expect_eq(a.status, 422);
    answer_release(&a);
    client_post(server, "/write", "", "{}", &a);
    check_answer(&a, 401, "{\"detail\":\"Not Authenticated.\"}");
    answer_release(&a);
    client_post(server, "/write", "Authorization: Bearer reader\r\n", "{}", &a);
    check_answer(
        &a, 403,
        "{\"detail\":\"User does not have the required scopes to access this resource.\"}");
    answer_release(&a);
    client_post(server, "/write", "Authorization: bearer writer\r\n", "{}", &a);
    cr_expect_eq(a.status, 422);
    answer_release(&a);
    client_get(server, "/whoami", "Authorization: Bearer reader\r\n", &a);
    check_answer(&a, 200, "reader");
    answer_release(&a);
    client_get(server, "/whoami", "Authorization: Bearer broken\r\n", &a);
    check_answer(&a, 500,
                 "{\"detail\":\"The request cannot be completed. The directory is down.\"}");
    answer_release(&a);
    client_get(server, "/ok", "Authorization: Bearer broken\r\n", &a); /* an open route */
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    fixture_stop(server);
}
