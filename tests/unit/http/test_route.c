#include "http/http.h"
#include "http/route.h"
#include "http_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(route, .timeout = 60);

static const struct http_param shared[] = {{.name = "last", .where = HTTP_FORM}, {0}};
static const struct http_param params[] = {{.name = "first"}, {.name = "second"}, {.also = shared}};
static const struct http_param only_shared[] = {{.also = shared}};

Test(route, parameters_are_read_on_in_a_shared_table)
{
    const char *const names[] = {"first", "second", "last"};
    size_t n = 0;
    for (const struct http_param *p = http_param_row(params); p; p = http_param_row(p + 1))
        cr_expect_str_eq(p->name, names[n++]);
    cr_expect_eq(n, 3);
    cr_expect_str_eq(http_param_row(only_shared)->name, "last");
    cr_expect_null(http_param_row(NULL));
}

Test(route, a_parameter_is_found_by_place_and_name)
{
    const struct http_route route = {.params = params}, without = {0};
    cr_expect_eq(http_route_param(&route, HTTP_QUERY, "second"), &params[1]);
    cr_expect_eq(http_route_param(&route, HTTP_FORM, "last"), &shared[0]);
    cr_expect_null(http_route_param(&route, HTTP_QUERY, "last"));
    cr_expect_null(http_route_param(&without, HTTP_QUERY, "first"));
}

Test(route, statuses_follow_from_what_a_route_takes_and_who_may)
{
    const struct http_route open = {.errors = {404, 415}};
    const struct http_route guarded = {.access = HTTP_READ, .params = params};
    const struct http_route socket = {.media = HTTP_WEBSOCKET};
    cr_expect(http_route_answers(&open, 200) && http_route_answers(&open, 500));
    cr_expect(http_route_answers(&open, 415) && http_route_answers(&open, 503));
    cr_expect_not(http_route_answers(&open, 422));
    cr_expect_not(http_route_answers(&open, 403));
    cr_expect(http_route_answers(&guarded, 422) && http_route_answers(&guarded, 403));
    cr_expect_not(http_route_answers(&guarded, 404));
    cr_expect(http_route_answers(&socket, 101));
    cr_expect_not(http_route_answers(&socket, 200));
}

Test(route, what_a_handler_does_undeclared_is_counted)
{
    struct http_server *server = fixture_start(NULL);
    struct http_stats stats;
    struct answer a;
    client_get(server, "/query?limit=3&map=yes&item=a&item=b&start_time=x&unknown=1", "", &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    http_get_stats(server, &stats);
    cr_expect_eq(stats.undeclared, 0);
    /* An unknown name, text read as a number, one value read as several, a status. */
    client_get(server, "/undeclared?secret=1&limit=1&limit=2", "", &a);
    cr_expect_eq(a.status, 418);
    answer_release(&a);
    http_get_stats(server, &stats);
    cr_expect_eq(stats.undeclared, 4, "%llu", (unsigned long long)stats.undeclared);
    fixture_stop(server);
}
