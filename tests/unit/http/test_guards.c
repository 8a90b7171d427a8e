/* Each guard of the server against what civetweb lets through, over a raw socket. */
#include "http_fixture.h"

#include "base/time.h"

#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(guards, .timeout = 60);

#define TAIL "\r\n\r\nGET /things/smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define HEAD "POST /things/x HTTP/1.1\r\nHost: localhost\r\n"

struct refusal {
    char request[512];
    int status;
    char detail[128];
};

/* After each of these nothing of the rest may be taken for a request. */
ParameterizedTestParameters(guards, refuses_and_closes)
{
    static struct refusal cases[] = {
        {HEAD "Content-Length: 3\r\nTransfer-Encoding: chunked" TAIL, 400,
         "Content-Length with Transfer-Encoding."},
        {HEAD "Transfer-Encoding: chunked\r\nContent-Length: 3" TAIL, 400,
         "Content-Length with Transfer-Encoding."},
        {HEAD "Content-Length: 3\r\nContent-Length: 3" TAIL, 400, "Repeated Content-Length."},
        {HEAD "Content-Length: 3\r\nContent-Length: 30" TAIL, 400, "Repeated Content-Length."},
        {HEAD "Content-Length: +3" TAIL, 400, "Malformed Content-Length."},
        {HEAD "Content-Length: 3, 3" TAIL, 400, "Malformed Content-Length."},
        {HEAD "Content-Length: 0x3" TAIL, 400, "Malformed Content-Length."},
        {HEAD "Content-Length: 3 " TAIL, 400, "Malformed Content-Length."},
        {HEAD "Content-Length: 99999999999999999999" TAIL, 400, "Malformed Content-Length."},
        {HEAD "Content-Length: -3" TAIL, 400, "Invalid HTTP request received."},
        {HEAD "Content-Length: " TAIL, 400, "Invalid HTTP request received."},
        {HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked" TAIL, 400,
         "Unsupported Transfer-Encoding."},
        {HEAD "Transfer-Encoding: identity" TAIL, 400, "Unsupported Transfer-Encoding."},
        {HEAD "Transfer-Encoding: chunked, chunked" TAIL, 400, "Invalid HTTP request received."},
        {"POST /things/x HTTP/1.0\r\nTransfer-Encoding: chunked" TAIL, 400,
         "Unsupported Transfer-Encoding."},
        {"GET  /things/x HTTP/1.1\r\nHost: localhost" TAIL, 400, "Malformed request head."},
        {"GET /things/x?a=1  HTTP/1.1\r\nHost: localhost" TAIL, 400, "Malformed request head."},
        {"GET /things/x \r\nHTTP/1.1\r\nHost: localhost" TAIL, 400, "Malformed request head."},
        {HEAD "X: a\r\n folded\r\nContent-Length: 3" TAIL, 400, "Malformed request head."},
        {HEAD "X: a\n\r\nContent-Length: 3" TAIL, 400, "Malformed request head."},
        {HEAD "X: a\nContent-Length: 3" TAIL, 400, "Malformed request head."},
        {HEAD "Content-Length : 3" TAIL, 400, "Malformed request head."},
        {"POST /things/x HTTP/1.1\r\n Host: localhost" TAIL, 400, "Malformed request head."},
        {HEAD "no colon" TAIL, 400, "Invalid HTTP request received."},
        {"POST /things/x HTTP/1.1\r\nX: y" TAIL, 400, "Missing, repeated or malformed Host."},
        {HEAD "Host: other" TAIL, 400, "Missing, repeated or malformed Host."},
        {"GET /ok HTTP/1.1\r\nHost: a/b" TAIL, 400, "Missing, repeated or malformed Host."},
        {"GET /ok HTTP/2.0\r\nHost: localhost" TAIL, 505, "HTTP Version Not Supported"},
        {"GARBAGE" TAIL, 400, "Invalid HTTP request received."},
        {"GET /things/a%00b HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Forbidden character in the URL."},
        {"GET /things/a%0db HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Forbidden character in the URL."},
        {"GET /things/a%0Ab HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Forbidden character in the URL."},
        {"GET /things/a\rb HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Invalid HTTP request received."},
        {"GET /things/a%zzb HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Malformed percent-encoding in the URL."},
        {"GET /things/a%4 HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Malformed percent-encoding in the URL."},
        {"GET /things/a% HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Malformed percent-encoding in the URL."},
        {"GET /things/%ff HTTP/1.1\r\nHost: localhost" TAIL, 400, "The URL is not valid UTF-8."},
        {"GET /things/%ed%a0%80 HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "The URL is not valid UTF-8."},
        {"GET /things/a%2Fb HTTP/1.1\r\nHost: localhost" TAIL, 400, "Encoded slash in the URL."},
        {"GET /query?item=%00 HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Forbidden character in the URL."},
        {"GET /query?item=%g HTTP/1.1\r\nHost: localhost" TAIL, 400,
         "Malformed percent-encoding in the URL."},
        {HEAD "Expect: tea" TAIL, 417, "Expectation Failed"},
    };
    return cr_make_param_array(struct refusal, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct refusal *c, guards, refuses_and_closes)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "%s", c->request);
    struct answer a;
    client_read(fd, true, &a);
    char expected[256];
    snprintf(expected, sizeof expected, "{\"detail\":\"%s\"}", c->detail);
    check_answer(&a, c->status, expected);
    cr_expect_str_eq(answer_header(&a, "connection"), "close");
    cr_expect_str_eq(answer_header(&a, "content-type"), "application/json");
    char rest[64];
    size_t n = 0;
    FILE *stream = fdopen(fd, "r");
    n = fread(rest, 1, sizeof rest, stream);
    cr_expect_eq(n, 0, "more than one answer");
    fclose(stream);
    answer_release(&a);
    fixture_stop(server);
}

Test(guards, an_absolute_url_must_name_the_host)
{
    struct http_server *server = fixture_start(NULL);
    unsigned port = http_server_port(server, 0);
    struct answer a;
    int fd = client_open(server);
    client_print(fd, "GET http://localhost:%u/things/x HTTP/1.1\r\nHost: localhost:%u\r\n\r\n",
                 port, port);
    client_read(fd, true, &a);
    check_answer(&a, 200, "x");
    answer_release(&a);
    client_print(fd, "GET http://evil.example:%u/things/x HTTP/1.1\r\nHost: localhost:%u\r\n\r\n",
                 port, port);
    client_read(fd, true, &a);
    check_answer(&a, 400, "{\"detail\":\"Missing, repeated or malformed Host.\"}");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_raw_nul_in_the_uri_is_refused)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    static const char request[] = "GET /things/a\0b HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client_send(fd, request, sizeof request - 1);
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 400, "{\"detail\":\"Invalid HTTP request received.\"}");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, headers_past_the_64th_are_refused_not_dropped)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "POST /things/x HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 70; i++)
        client_print(fd, "X-%d: y\r\n", i);
    client_print(fd, "Content-Length: 3\r\n\r\nabc");
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 431, "{\"detail\":\"Request Header Fields Too Large\"}");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, sixty_headers_are_served)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "GET /ok HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 59; i++)
        client_print(fd, "X-%d: y\r\n", i);
    client_print(fd, "\r\n");
    struct answer a;
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

static char *letters(size_t n)
{
    char *text = malloc(n + 1);
    cr_assert_not_null(text);
    memset(text, 'a', n);
    text[n] = '\0';
    return text;
}

Test(guards, a_head_of_16_kib_is_the_limit)
{
    struct http_server *server = fixture_start(NULL);
    char *long_value = letters(16384), *fitting = letters(15000);
    struct answer a;
    int fd = client_open(server);
    client_print(fd, "GET /ok HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", long_value);
    client_read(fd, true, &a);
    check_answer(&a, 431, "{\"detail\":\"Request Header Fields Too Large\"}");
    answer_release(&a);
    client_close(fd);
    fd = client_open(server);
    client_print(fd, "GET /ok HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", fitting);
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    client_close(fd);
    free(long_value);
    free(fitting);
    fixture_stop(server);
}

Test(guards, a_url_of_8_kib_is_the_limit)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    char *path = letters(8192);
    path[0] = '/';
    client_get(server, path, "", &a);
    cr_expect_eq(a.status, 404, "%d", a.status); /* long enough, but unknown */
    answer_release(&a);
    char *longer = letters(8193);
    longer[0] = '/';
    longer[10] = '?';
    client_get(server, longer, "", &a);
    check_answer(&a, 414, "{\"detail\":\"URI Too Long\"}");
    cr_expect_str_eq(answer_header(&a, "connection"), "close");
    answer_release(&a);
    free(path);
    free(longer);
    fixture_stop(server);
}

Test(guards, an_announced_body_over_the_limit_is_refused_unread)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 101\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a); /* not a byte of it was sent */
    check_answer(&a, 413, "{\"detail\":\"Request body is too large.\"}");
    cr_expect_str_eq(answer_header(&a, "connection"), "close");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_refused_body_sent_in_full_does_not_hide_the_answer)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    char *body = letters(512 * 1024);
    client_print(fd, "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n\r\n%s",
                 strlen(body), body);
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 413, "{\"detail\":\"Request body is too large.\"}");
    answer_release(&a);
    client_close(fd);
    free(body);
    fixture_stop(server);
}

Test(guards, a_chunked_body_is_capped_while_it_is_read)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "POST /small HTTP/1.1\r\nHost: localhost\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n");
    char *piece = letters(60);
    for (int i = 0; i < 400; i++)
        client_print(fd, "3c\r\n%s\r\n", piece);
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 413, "{\"detail\":\"Request body is too large.\"}");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    free(piece);
    fixture_stop(server);
}

Test(guards, a_chunked_body_is_put_together)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(
        fd, "POST /events HTTP/1.1\r\nHost: localhost\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
            "5\r\n{\"top\r\n0010\r\nic\":\"a\",\"payload\r\n4\r\n\":{}\r\n1\r\n}\r\n0\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 200, "a - {} {}");
    cr_expect(client_is_open(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

struct chunk_case {
    char body[64];
};

ParameterizedTestParameters(guards, malformed_chunks_are_refused)
{
    static struct chunk_case cases[] = {
        {"xyz\r\nabc\r\n0\r\n\r\n"},
        {"3\r\nabcd\r\n0\r\n\r\n"},
        {"ffffffffffffffff\r\nabc\r\n0\r\n\r\n"},
        {"-3\r\nabc\r\n0\r\n\r\n"},
        {"3 \r\nabc\r\n0\r\n\r\n"},
        {"3\nabc\n0\n\n"},
    };
    return cr_make_param_array(struct chunk_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct chunk_case *c, guards, malformed_chunks_are_refused)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd,
                 "POST /events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%s",
                 c->body);
    client_finish_sending(fd);
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 400, "{\"detail\":\"Incomplete or malformed request body.\"}");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_body_cut_short_is_refused)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{}");
    client_finish_sending(fd);
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 400, "{\"detail\":\"Incomplete or malformed request body.\"}");
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_client_that_waits_for_100_gets_it)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 27\r\n"
                     "Expect: 100-continue\r\n\r\n");
    struct answer a;
    client_read(fd, false, &a);
    cr_expect_eq(a.status, 100);
    answer_release(&a);
    client_print(fd, "{\"topic\":\"a\",\"payload\":{} }");
    client_read(fd, true, &a);
    check_answer(&a, 200, "a - {} {}");
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_refused_body_is_not_asked_for)
{
    struct http_server *server = fixture_start(NULL);
    int fd = client_open(server);
    client_print(fd, "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                     "Expect: 100-continue\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 413);
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

/* --- deadlines --- */

static struct http_options impatient(void)
{
    return (struct http_options){.workers = 8,
                                 .header_timeout_ms = 300,
                                 .request_timeout_ms = 400,
                                 .keep_alive_timeout_ms = 400};
}

Test(guards, a_trickling_body_is_ended_after_the_request_timeout)
{
    struct http_options options = impatient();
    struct http_server *server = fixture_start(&options);
    int fd = client_open(server);
    client_print(fd, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n");
    int64_t begin_ms = time_monotonic_ms();
    /* A byte every 50 ms, well within civetweb's own patience for each of them. */
    while (client_is_open(fd) && time_monotonic_ms() - begin_ms < 5000)
        client_print(fd, " ");
    int64_t took_ms = time_monotonic_ms() - begin_ms;
    cr_expect_geq(took_ms, 350);
    cr_expect_leq(took_ms, 4000, "%lld ms", (long long)took_ms);
    struct http_stats stats;
    http_get_stats(server, &stats);
    cr_expect_eq(stats.refused[HTTP_REFUSED_TIMEOUT], 1);
    cr_expect(client_is_closed(fd));
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_silent_body_is_answered_408)
{
    struct http_options options = impatient();
    struct http_server *server = fixture_start(&options);
    int fd = client_open(server);
    client_print(fd, "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 408, "{\"detail\":\"Request Timeout\"}");
    cr_expect(client_is_closed(fd));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_connection_without_a_request_is_reaped)
{
    struct http_options options = impatient();
    struct http_server *server = fixture_start(&options);
    int64_t begin_ms = time_monotonic_ms();
    int fd = client_open(server);
    cr_expect(client_is_closed(fd));
    int64_t took_ms = time_monotonic_ms() - begin_ms;
    cr_expect_geq(took_ms, 250);
    cr_expect_leq(took_ms, 4000, "%lld ms", (long long)took_ms);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, slow_headers_are_reaped)
{
    struct http_options options = impatient();
    struct http_server *server = fixture_start(&options);
    int fd = client_open(server);
    int64_t begin_ms = time_monotonic_ms();
    client_print(fd, "GET /ok HTTP/1.1\r\n");
    for (int i = 0; client_is_open(fd) && time_monotonic_ms() - begin_ms < 5000; i++)
        client_print(fd, "X-%d: y\r\n", i);
    int64_t took_ms = time_monotonic_ms() - begin_ms;
    cr_expect_leq(took_ms, 4000, "%lld ms", (long long)took_ms);
    cr_expect(client_is_closed(fd));
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_kept_alive_connection_ends_after_its_rest)
{
    struct http_options options = impatient();
    struct http_server *server = fixture_start(&options);
    int fd = client_open(server);
    client_print(fd, "GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    int64_t begin_ms = time_monotonic_ms();
    cr_expect(client_is_closed(fd));
    cr_expect_leq(time_monotonic_ms() - begin_ms, 4000);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, a_reader_that_takes_nothing_is_given_up)
{
    struct http_options options = impatient();
    struct http_server *server = fixture_start(&options);
    int fd = client_open(server);
    client_print(fd, "GET /big?bytes=50000000 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    struct http_stats stats = {0};
    int64_t begin_ms = time_monotonic_ms();
    do {
        struct answer a;
        client_get(server, "/ok", "", &a); /* others are served meanwhile */
        cr_expect_eq(a.status, 200);
        answer_release(&a);
        http_get_stats(server, &stats);
    } while (stats.in_flight > 0 && time_monotonic_ms() - begin_ms < 8000);
    cr_expect_eq(stats.in_flight, 0);
    cr_expect(client_is_closed(fd));
    client_close(fd);
    fixture_stop(server);
}

/* --- crowding --- */

Test(guards, silent_connections_of_one_address_do_not_hold_all_workers)
{
    struct http_options options = {.workers = 8, .header_timeout_ms = 30000};
    struct http_server *server = fixture_start(&options);
    int silent[8];
    for (int i = 0; i < 8; i++)
        silent[i] = client_open(server);
    struct answer a;
    int64_t begin_ms = time_monotonic_ms();
    client_get(server, "/ok", "", &a); /* waits in the queue until a worker is freed */
    cr_expect_eq(a.status, 200);
    cr_expect_leq(time_monotonic_ms() - begin_ms, 5000);
    answer_release(&a);
    for (int i = 0; i < 8; i++)
        client_close(silent[i]);
    fixture_stop(server);
}

Test(guards, idle_connections_yield_their_workers_in_a_crowd)
{
    struct http_options options = {.workers = 8};
    struct http_server *server = fixture_start(&options);
    int idle[8];
    struct answer a;
    for (int i = 0; i < 8; i++) {
        idle[i] = client_open(server);
        client_print(idle[i], "GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read(idle[i], true, &a);
        answer_release(&a);
    }
    int64_t begin_ms = time_monotonic_ms();
    client_get(server, "/ok", "", &a);
    cr_expect_eq(a.status, 200);
    cr_expect_leq(time_monotonic_ms() - begin_ms, 5000);
    answer_release(&a);
    for (int i = 0; i < 8; i++)
        client_close(idle[i]);
    fixture_stop(server);
}

/* --- Host and Origin --- */

Test(guards, a_foreign_host_is_misdirected_in_debug_mode)
{
    struct http_options options = {.workers = 8, .check_host = true};
    struct http_server *server = fixture_start(&options);
    static const struct {
        const char *host;
        int status;
    } cases[] = {{"localhost", 200},       {"LOCALHOST:8000", 200}, {"127.0.0.1:1", 200},
                 {"[::1]:8000", 200},      {"evil.example", 421},   {"localhost.evil.example", 421},
                 {"127.0.0.1.nip.io", 421}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = client_open(server);
        client_print(fd, "GET /ok HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i].host);
        struct answer a;
        client_read(fd, true, &a);
        cr_expect_eq(a.status, cases[i].status, "%s: %d", cases[i].host, a.status);
        if (a.status == 421)
            cr_expect_str_eq(a.body, "{\"detail\":\"Misdirected Request\"}");
        answer_release(&a);
        client_close(fd);
    }
    fixture_stop(server);
}

static const char *const origins[] = {"http://localhost*", "https://app.example"};

static struct http_server *start_with_origins(void)
{
    struct http_options options = {.workers = 8, .allow_origins = origins, .n_allow_origins = 2};
    return fixture_start(&options);
}

Test(guards, a_foreign_origin_may_not_change_state)
{
    struct http_server *server = start_with_origins();
    static const char event[] = "{\"topic\":\"a\",\"payload\":{}}";
    struct answer a;
    client_post(server, "/events", "Origin: http://evil.example\r\n", event, &a);
    check_answer(&a, 403, "{\"detail\":\"Origin not allowed.\"}");
    answer_release(&a);
    client_post(server, "/events", "Origin: null\r\n", event, &a);
    cr_expect_eq(a.status, 403);
    answer_release(&a);
    client_post(server, "/events", "Origin: http://localhost.evil.example\r\n", event, &a);
    cr_expect_eq(a.status, 403);
    answer_release(&a);
    client_get(server, "/restart", "Origin: http://evil.example\r\n", &a);
    cr_expect_eq(a.status, 403);
    answer_release(&a);
    client_get(server, "/ok", "Origin: http://evil.example\r\n", &a);
    cr_expect_eq(a.status, 200);
    cr_expect_null(answer_header(&a, "access-control-allow-origin"));
    answer_release(&a);
    fixture_stop(server);
}

Test(guards, a_link_of_another_page_may_not_change_state)
{
    static const struct {
        const char *site;
        int status;
    } cases[] = {{"cross-site", 403}, {"same-site", 403}, {"same-origin", 200}, {"none", 200}};
    struct http_server *server = start_with_origins();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct answer a;
        char header[64];
        snprintf(header, sizeof header, "Sec-Fetch-Site: %s\r\n", cases[i].site);
        client_get(server, "/restart", header, &a);
        cr_expect_eq(a.status, cases[i].status, "%s", header);
        answer_release(&a);
    }
    fixture_stop(server);
}

Test(guards, allowed_and_own_origins_may_change_state)
{
    struct http_server *server = start_with_origins();
    static const char *const good[] = {"http://localhost", "http://localhost:5173",
                                       "https://app.example"};
    static const char event[] = "{\"topic\":\"a\",\"payload\":{}}";
    struct answer a;
    char header[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(header, sizeof header, "Origin: %s\r\n", good[i]);
        client_post(server, "/events", header, event, &a);
        cr_expect_eq(a.status, 200, "%s", good[i]);
        cr_expect_str_eq(answer_header(&a, "access-control-allow-origin"), good[i]);
        cr_expect_str_eq(answer_header(&a, "access-control-allow-credentials"), "true");
        cr_expect_str_eq(answer_header(&a, "vary"), "Origin");
        answer_release(&a);
    }
    fixture_stop(server);
    server = fixture_start(NULL); /* no origin listed: the page of this very server */
    int fd = client_open(server);
    client_print(fd,
                 "POST /events HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nOrigin: http://127.0.0.1:%u\r\n"
                 "Content-Length: %zu\r\n\r\n%s",
                 http_server_port(server, 0), http_server_port(server, 0), strlen(event), event);
    client_read(fd, true, &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}

Test(guards, preflights_are_answered_as_the_contract_says)
{
    struct http_server *server = start_with_origins();
    int fd = client_open(server);
    client_print(fd,
                 "OPTIONS /events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost:3000\r\n"
                 "Access-Control-Request-Method: POST\r\n"
                 "Access-Control-Request-Headers: x-one, x-two\r\n\r\n");
    struct answer a;
    client_read(fd, true, &a);
    check_answer(&a, 200, "OK");
    cr_expect_str_eq(answer_header(&a, "content-type"), "text/plain; charset=utf-8");
    cr_expect_str_eq(answer_header(&a, "access-control-allow-origin"), "http://localhost:3000");
    cr_expect_str_eq(answer_header(&a, "access-control-allow-credentials"), "true");
    cr_expect_str_eq(answer_header(&a, "access-control-allow-methods"),
                     "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
    cr_expect_str_eq(answer_header(&a, "access-control-max-age"), "600");
    cr_expect_str_eq(answer_header(&a, "access-control-allow-headers"), "x-one, x-two");
    cr_expect_null(answer_header(&a, "x-request-id"));
    cr_expect_null(answer_header(&a, "access-control-expose-headers"));
    answer_release(&a);
    client_print(fd,
                 "OPTIONS /events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
                 "Access-Control-Request-Method: POST\r\n\r\n");
    client_read(fd, true, &a);
    check_answer(&a, 400, "Disallowed CORS origin");
    cr_expect_null(answer_header(&a, "access-control-allow-origin"));
    answer_release(&a);
    client_close(fd);
    fixture_stop(server);
}
