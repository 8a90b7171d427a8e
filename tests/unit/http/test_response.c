#include "http_fixture.h"

#include "base/error.h"
#include "base/time.h"

#include <criterion/parameterized.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(response, .timeout = 60);

Test(response, the_request_id_is_echoed_when_it_is_a_uuid)
{
    struct http_server *server = fixture_start(NULL);
    static const struct {
        const char *given;
        bool echoed;
    } cases[] = {{"0f8fad5b-d9cb-469f-a165-70867728950e", true},
                 {"0F8FAD5BD9CB469FA16570867728950E", true},
                 {"{0f8fad5b-d9cb-469f-a165-70867728950e}", true},
                 {"urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", true},
                 {"0f8fad5b-d9cb-469f-a165-70867728950", false},
                 {"0f8fad5b-d9cb-469f-a165-70867728950g", false},
                 {"hello", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char header[128];
        snprintf(header, sizeof header, "X-Request-ID: %s\r\n", cases[i].given);
        struct answer a;
        client_get(server, "/header", header, &a);
        const char *id = answer_header(&a, "X-Request-ID");
        cr_assert_not_null(id);
        cr_expect_str_eq(a.body, id);
        cr_expect_eq(strcmp(id, cases[i].given) == 0, cases[i].echoed, "%s", cases[i].given);
        if (!cases[i].echoed) {
            cr_expect_eq(strlen(id), 32);
            cr_expect_eq(strspn(id, "0123456789abcdef"), 32);
            cr_expect_eq(id[12], '4');
        }
        cr_expect_str_eq(answer_header(&a, "Access-Control-Expose-Headers"), "X-Request-ID");
        answer_release(&a);
    }
    fixture_stop(server);
}

Test(response, ids_do_not_repeat)
{
    struct http_server *server = fixture_start(NULL);
    enum { N = 200 };
    static char ids[N][64];
    int fd = client_open(server);
    for (int i = 0; i < N; i++) {
        struct answer a;
        client_print(fd, "GET /header HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read(fd, true, &a);
        snprintf(ids[i], sizeof ids[i], "%s", a.body);
        for (int j = 0; j < i; j++)
            cr_expect_str_neq(ids[i], ids[j]);
        answer_release(&a);
    }
    client_close(fd);
    fixture_stop(server);
}

Test(response, a_header_cannot_be_forged)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_get(server, "/header", "", &a);
    cr_expect_str_eq(answer_header(&a, "X-Extra"), "yes");
    cr_expect_null(answer_header(&a, "X-Forged"));
    cr_expect_null(answer_header(&a, "X-Injected"));
    answer_release(&a);
    fixture_stop(server);
}

Test(response, connections_are_kept_alive_and_pipelines_served)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    for (int i = 0; i < 20; i++)
        client_print(fd, "GET /things/n%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i);
    for (int i = 0; i < 20; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "n%d", i);
        struct answer a;
        client_read(fd, true, &a);
        check_answer(&a, 200, expected);
        answer_release(&a);
    }
    cr_expect(client_is_open(fd));
    client_close(fd);
    fixture_stop(server);
}

Test(response, a_close_is_announced_and_done)
{
    struct http_server *server = fixture_start(NULL);
    static const char *const options[] = {"close", "TE, close", "Upgrade", "keep-alive",
                                          "TE, Keep-Alive"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        bool closes = i < 3;
        int fd = client_open(server);
        client_print(fd, "GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: %s\r\n\r\n",
                     options[i]);
        struct answer a;
        client_read(fd, true, &a);
        cr_expect_eq(answer_header(&a, "connection") != NULL, closes, "%s", options[i]);
        cr_expect(closes ? client_is_closed(fd) : client_is_open(fd), "%s", options[i]);
        answer_release(&a);
        client_close(fd);
    }
    fixture_stop(server);
}

Test(response, http_1_0_closes_unless_asked_to_stay)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    struct answer a;
    client_print(fd, "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 200);
    cr_expect_str_eq(answer_header(&a, "connection"), "keep-alive");
    answer_release(&a);
    client_print(fd, "GET /ok HTTP/1.0\r\n\r\n");
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 200);
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(response, bodies_of_any_size_arrive_whole)
{
    struct http_server *server = fixture_start(NULL);
    static const size_t sizes[] = {1, 32767, 32768, 32769, 262144, 5000000};
    int fd = client_open(server);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        client_print(fd, "GET /big?bytes=%zu HTTP/1.1\r\nHost: localhost\r\n\r\n", sizes[i]);
        struct answer a;
        client_read(fd, true, &a);
        cr_expect_eq(a.body_len, sizes[i]);
        bool same = true;
        for (size_t j = 0; j < a.body_len; j++)
            same &= a.body[j] == (char)('a' + j % 26);
        cr_expect(same);
        answer_release(&a);
    }
    client_close(fd);
    fixture_stop(server);
}

struct problem_case {
    int code, status;
    bool retry, hidden;
};

/* [D 2] [D 3] Whatever is away for a while is 503, with Retry-After. */
ParameterizedTestParameters(response, errors_become_statuses)
{
    static struct problem_case cases[] = {
        {ERR_INVALID, 422, false, false},    {ERR_NOT_FOUND, 404, false, false},
        {ERR_EXISTS, 409, false, false},     {ERR_UNSUPPORTED, 400, false, false},
        {ERR_LIMIT, 503, true, false},       {ERR_AGAIN, 503, true, false},
        {ERR_UNAVAILABLE, 503, true, false}, {ERR_TIMEOUT, 503, true, false},
        {ERR_REFUSED, 500, false, false},    {ERR_CLOSED, 500, false, false},
        {ERR_NOMEM, 500, false, true},       {ERR_IO, 500, false, true},
        {ERR_CORRUPT, 500, false, true},     {-99, 500, false, true},
    };
    return cr_make_param_array(struct problem_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct problem_case *c, response, errors_become_statuses)
{
    struct http_server *server = fixture_start(NULL);
    char path[64];
    snprintf(path, sizeof path, "/error?code=%d", c->code);
    struct answer a;
    client_get(server, path, "", &a);
    check_answer(&a, c->status,
                 c->hidden ? "{\"detail\":\"Internal Server Error\"}"
                           : "{\"detail\":\"what happened\"}");
    const char *retry = answer_header(&a, "Retry-After");
    cr_expect_eq(retry != NULL, c->retry);
    if (retry)
        cr_expect_str_eq(retry, "5");
    answer_release(&a);
    fixture_stop(server);
}

Test(response, a_handler_that_does_not_answer_gives_500)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_get(server, "/silent", "", &a);
    check_answer(&a, 500, "{\"detail\":\"Internal Server Error\"}");
    answer_release(&a);
    fixture_stop(server);
}

Test(response, a_second_answer_is_not_sent)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "GET /twice HTTP/1.1\r\nHost: localhost\r\n\r\n"
                     "GET /things/next HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 200, "{\"status\":\"OK\"}");
    answer_release(&a);
    client_read(fd, true, &a);
    check_answer(&a, 200, "next");
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

/* --- downloads --- */

static size_t count_rows(const struct answer *a)
{
    size_t rows = 0;
    for (size_t i = 0; i < a->body_len; i++)
        rows += a->body[i] == '\n';
    return rows;
}

Test(response, a_download_is_chunked_and_named)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    int64_t before_us = time_now_us();
    client_print(fd, "GET /download HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 200, "0,row\r\n1,row\r\n2,row\r\n");
    cr_expect_str_eq(answer_header(&a, "content-type"), "text/csv; charset=utf-8");
    cr_expect_str_eq(answer_header(&a, "transfer-encoding"), "chunked");
    cr_expect_null(answer_header(&a, "content-length"));
    long long us = 0;
    char suffix[16] = "";
    cr_expect_eq(sscanf(answer_header(&a, "content-disposition"), "attachment; filename=%lld%15s",
                        &us, suffix),
                 2);
    cr_expect_str_eq(suffix, ".csv");
    cr_expect_geq(us, before_us);
    cr_expect_leq(us, time_now_us());
    cr_expect(client_is_open(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(response, a_long_download_arrives_whole)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_get(server, "/download?rows=300000", "", &a);
    cr_expect_eq(a.status, 200);
    cr_expect_not(a.cut);
    cr_expect_eq(count_rows(&a), 300000);
    answer_release(&a);
    fixture_stop(server);
}

Test(response, an_unfinished_download_has_no_last_chunk)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_get(server, "/download?rows=20000&broken=1", "", &a);
    cr_expect_eq(a.status, 200);
    cr_expect(a.cut);
    cr_expect_eq(count_rows(&a), 20000);
    answer_release(&a);
    fixture_stop(server);
}

Test(response, http_1_0_gets_an_unchunked_download)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "GET /download?rows=20000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    cr_expect_null(answer_header(&a, "transfer-encoding"));
    cr_expect_str_eq(answer_header(&a, "connection"), "close");
    cr_expect_eq(count_rows(&a), 20000);
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(response, a_download_nobody_reads_is_given_up)
{
    struct http_options options = {.workers = 8, .request_timeout_ms = 400};
    struct http_server *server = fixture_start(&options);
    int fd = client_open(server);
    client_print(fd, "GET /download?rows=100000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct http_stats stats = {0};
    int64_t begin_ms = time_monotonic_ms();
    do {
        struct answer a;
        client_get(server, "/ok", "", &a);
        answer_release(&a);
        http_get_stats(server, &stats);
    } while (stats.in_flight > 0 && time_monotonic_ms() - begin_ms < 8000);
    cr_expect_eq(stats.in_flight, 0);
    client_close(fd);
    fixture_stop(server);
}
