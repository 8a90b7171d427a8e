#include "http_fixture.h"

#include "http/http_priv.h"

#include <string.h>

TestSuite(router, .timeout = 60);

static void expect_get(const struct http_server *server, const char *path, int status,
                       const char *body)
{
    struct answer a;
    client_get(server, path, "", &a);
    cr_expect_eq(a.status, status, "%s: %d", path, a.status);
    cr_expect_str_eq(a.body, body, "%s: %s", path, a.body);
    answer_release(&a);
}

Test(router, finds_literals_and_parameters)
{
    struct http_server *server = fixture_start(NULL);
    expect_get(server, "/", 200, "{\"status\":\"OK\"}");
    expect_get(server, "/things/one", 200, "one");
    expect_get(server, "/things/special", 200, "the literal");
    expect_get(server, "/things/speci%61l", 200, "the literal");
    expect_get(server, "/deep/x/and/y", 200, "x then y");
    fixture_stop(server);
}

Test(router, decodes_parameters)
{
    struct http_server *server = fixture_start(NULL);
    expect_get(server, "/things/a%20b%C3%A9+c", 200, "a b\xC3\xA9+c");
    expect_get(server, "/things/%2e%2e", 200, "..");
    expect_get(server, "/things/100%25", 200, "100%");
    fixture_stop(server);
}

Test(router, answers_404_for_what_is_not_there)
{
    struct http_server *server = fixture_start(NULL);
    static const char *const paths[] = {
        "/nothing",  "/things",     "/things//", "//things/a",
        "/Things/a", "/things/a/b", "/../ok",    "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        expect_get(server, paths[i], 404, "{\"detail\":\"Not Found\"}");
    fixture_stop(server);
}

Test(router, names_the_allowed_methods)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    struct answer a;
    client_print(fd, "DELETE /things/x HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, true, &a);
    check_answer(&a, 405, "{\"detail\":\"Method Not Allowed\"}");
    cr_expect_str_eq(answer_header(&a, "Allow"), "GET, HEAD, POST");
    answer_release(&a);
    client_print(fd, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 405);
    cr_expect_str_eq(answer_header(&a, "Allow"), "POST");
    answer_release(&a);
    client_print(fd, "OPTIONS /ok HTTP/1.1\r\nHost: localhost\r\n\r\n"); /* no preflight */
    client_read(fd, false, &a);
    cr_expect_eq(a.status, 204);
    cr_expect_str_eq(answer_header(&a, "Allow"), "GET, HEAD, OPTIONS");
    cr_expect_null(answer_header(&a, "content-length"));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(router, redirects_a_trailing_slash)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    struct answer a;
    client_print(fd, "GET /things/a%%20b/?x=1&y=%%25 HTTP/1.1\r\nHost: example:81\r\n\r\n");
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 307);
    cr_expect_str_eq(answer_header(&a, "location"), "http://example:81/things/a%20b?x=1&y=%25");
    answer_release(&a);
    client_print(fd, "POST /events/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 307);
    cr_expect_str_eq(answer_header(&a, "location"), "http://localhost/events");
    answer_release(&a);
    client_close(fd);
    expect_get(server, "/nothing/", 404, "{\"detail\":\"Not Found\"}");
    fixture_stop(server);
}

Test(router, answers_head_as_get_without_a_body)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    struct answer a;
    static const char *const paths[] = {"/ok", "/big?bytes=100000", "/nothing", "/download?rows=5"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        client_print(fd, "HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n", paths[i]);
        client_read(fd, false, &a);
        cr_expect_eq(a.status, i == 2 ? 404 : 200, "%s: %d", paths[i], a.status);
        if (i == 1)
            cr_expect_str_eq(answer_header(&a, "content-length"), "100000");
        answer_release(&a);
    }
    /* Had a body followed, this answer could not be read. */
    client_print(fd, "GET /things/last HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, true, &a);
    check_answer(&a, 200, "last");
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(router, refuses_routes_it_cannot_serve)
{
    static const char *const bad[] = {"", "no-slash", "/ends/", "/1/2/3/4/5/6/7/8/9"};
    struct router *router = NULL;
    cr_assert_eq(router_new(&router), 0);
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct http_route route = {.method = "GET", .path = bad[i]};
        cr_expect_lt(router_add(router, &route, 1, NULL, &err), 0, "%s", bad[i]);
    }
    static const struct http_route routes[] = {{.method = "GET", .path = "/a/{x}"},
                                               {.method = "GET", .path = "/a/{y}"}};
    cr_expect_eq(router_add(router, routes, 1, NULL, &err), 0);
    cr_expect_eq(router_add(router, routes + 1, 1, NULL, &err), ERR_EXISTS);
    cr_expect_str_eq(err.message, "route GET '/a/{y}': there is one already");
    router_free(router);
}
