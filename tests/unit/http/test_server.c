#include "http_fixture.h"

#include "base/time.h"

#include <criterion/parameterized.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

TestSuite(server, .timeout = 60);

Test(server, starts_and_stops_at_once)
{
    int64_t begin_ms = time_monotonic_ms();
    struct http_server *server = fixture_start(NULL);
    int64_t started_ms = time_monotonic_ms();
    http_server_stop(server, 5000);
    int64_t stopped_ms = time_monotonic_ms();
    cr_expect_leq(started_ms - begin_ms, 1000);
    cr_expect_leq(stopped_ms - started_ms, 1000, "%lld ms", (long long)(stopped_ms - started_ms));
    http_server_stop(server, 5000); /* again is fine */
    http_server_free(server);
}

Test(server, stops_at_once_with_connections_open)
{
    struct http_server *server = fixture_start(NULL);
    int idle = client_open(server), silent = client_open(server), slow = client_open(server);
    struct answer a;
    client_print(idle, "GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(idle, true, &a);
    answer_release(&a);
    client_print(slow, "GET /ok HTTP/1.1\r\nHost:");
    client_get(server, "/ok", "", &a); /* those before have been taken up */
    answer_release(&a);
    int64_t begin_ms = time_monotonic_ms();
    http_server_stop(server, 5000);
    cr_expect_leq(time_monotonic_ms() - begin_ms, 1000, "%lld ms",
                  (long long)(time_monotonic_ms() - begin_ms));
    cr_expect(client_is_closed(idle));
    cr_expect(client_is_closed(silent));
    cr_expect(client_is_closed(slow));
    client_close(idle);
    client_close(silent);
    client_close(slow);
    http_server_free(server);
}

static void *stop_server(void *arg)
{
    http_server_stop(arg, 10000);
    return NULL;
}

Test(server, a_running_request_is_answered_and_a_new_one_refused_while_stopping)
{
    struct http_server *server = fixture_start(NULL);
    int kept = client_open(server), waiting = client_open(server);
    struct answer a;
    client_print(kept, "GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(kept, true, &a);
    answer_release(&a);
    client_print(waiting, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fixture_await_waiter();
    pthread_t stopper;
    cr_assert_eq(pthread_create(&stopper, NULL, stop_server, server), 0);
    /* Until the stop has begun, requests are answered 200. */
    int64_t begin_ms = time_monotonic_ms();
    do {
        client_print(kept, "GET /ok HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client_read(kept, true, &a);
        if (a.status == 200)
            answer_release(&a);
    } while (a.status == 200 && time_monotonic_ms() - begin_ms < 5000);
    check_answer(&a, 503, "{\"detail\":\"The server is stopping.\"}");
    cr_expect_str_eq(answer_header(&a, "Retry-After"), "5");
    cr_expect_str_eq(answer_header(&a, "connection"), "close");
    answer_release(&a);
    fixture_release_waiter();
    client_read(waiting, true, &a);
    cr_expect_eq(a.status, 200);
    answer_release(&a);
    pthread_join(stopper, NULL);
    client_close(kept);
    client_close(waiting);
    http_server_free(server);
}

/* Stays allocated for good: the leak checker must find it referenced (and the compiler keep it). */
static struct http_server *volatile abandoned;

Test(server, a_handler_that_never_returns_is_abandoned_in_time)
{
    struct http_server *server = fixture_start(NULL);
    abandoned = server;
    int fd = client_open(server);
    client_print(fd, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fixture_await_waiter();
    int64_t begin_ms = time_monotonic_ms();
    http_server_stop(server, 300);
    int64_t took_ms = time_monotonic_ms() - begin_ms;
    cr_expect_geq(took_ms, 300);
    cr_expect_leq(took_ms, 3000, "%lld ms", (long long)took_ms);
    http_server_free(server); /* keeps what the handler still uses */
    fixture_release_waiter();
    client_close(fd);
}

struct listen_case {
    char address[64];
    int code;
};

ParameterizedTestParameters(server, refuses_bad_addresses)
{
    static struct listen_case cases[] = {
        {"127.0.0.1", ERR_INVALID},
        {":8000", ERR_INVALID},
        {"127.0.0.1:", ERR_INVALID},
        {"127.0.0.1:65536", ERR_INVALID},
        {"127.0.0.1:x", ERR_INVALID},
        {"127.0.0.1:-1", ERR_INVALID},
        {"example.org:80", ERR_INVALID},
        {"[::1]:8000", ERR_UNSUPPORTED},
        {"", ERR_INVALID},
    };
    return cr_make_param_array(struct listen_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct listen_case *c, server, refuses_bad_addresses)
{
    const char *listen[] = {c->address};
    struct http_options options = {.listen = listen, .n_listen = 1};
    struct http_server *server = NULL;
    struct error err = ERROR_INIT;
    cr_expect_eq(http_server_new(&options, &server, &err), c->code);
    cr_expect_not_null(strstr(err.message, c->address));
    cr_expect_null(server);
}

Test(server, a_taken_port_is_named)
{
    struct http_server *first = fixture_start(NULL), *second = NULL;
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", http_server_port(first, 0));
    const char *listen[] = {"127.0.0.1:0", address};
    struct http_options options = {.listen = listen, .n_listen = 2, .workers = 4};
    struct error err = ERROR_INIT;
    cr_assert_eq(http_server_new(&options, &second, &err), 0);
    cr_expect_eq(http_server_start(second, &err), ERR_IO);
    cr_expect_not_null(strstr(err.message, address), "%s", err.message);
    http_server_free(second);
    fixture_stop(first);
}

Test(server, serves_several_listeners)
{
    const char *listen[] = {"127.0.0.1:0", "localhost:0"};
    struct http_options options = {.listen = listen, .n_listen = 2, .workers = 4};
    struct http_server *server = fixture_start(&options);
    cr_expect_neq(http_server_port(server, 0), 0);
    cr_expect_neq(http_server_port(server, 1), 0);
    cr_expect_neq(http_server_port(server, 0), http_server_port(server, 1));
    cr_expect_eq(http_server_port(server, 2), 0);
    fixture_stop(server);
}

Test(server, counts_what_it_does)
{
    struct http_server *server = fixture_start(NULL);
    struct answer a;
    client_get(server, "/ok", "", &a);
    answer_release(&a);
    client_get(server, "/nothing", "", &a);
    answer_release(&a);
    client_get(server, "/silent", "", &a);
    answer_release(&a);
    client_get(server, "/things/%zz", "", &a);
    answer_release(&a);
    client_post(server, "/events", "", "{\"topic\":\"a\",\"payload\":{}}", &a);
    answer_release(&a);
    int fd = client_open(server);
    client_print(fd, "GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n");
    fixture_await_waiter();
    struct http_stats stats;
    int64_t begin_ms = time_monotonic_ms();
    do /* a request before may not be over, though it is answered */
        http_get_stats(server, &stats);
    while (stats.in_flight != 1 && time_monotonic_ms() - begin_ms < 5000);
    cr_expect_eq(stats.in_flight, 1);
    cr_expect_geq(stats.workers_busy, 1);
    fixture_release_waiter();
    client_read(fd, true, &a);
    answer_release(&a);
    client_close(fd);
    http_server_stop(server, 2000);
    http_get_stats(server, &stats);
    cr_expect_eq(stats.in_flight, 0);
    cr_expect_eq(stats.workers, 8);
    cr_expect_eq(stats.requests[2], 3);
    cr_expect_eq(stats.requests[4], 2);
    cr_expect_eq(stats.requests[5], 1);
    cr_expect_eq(stats.refused[HTTP_REFUSED_FRAMING], 1);
    cr_expect_eq(stats.bytes_in, 26);
    cr_expect_gt(stats.bytes_out, 500);
    cr_expect_geq(stats.connections, 6);
    cr_expect_str_eq(http_refused_name(HTTP_REFUSED_FRAMING), "framing");
    http_server_free(server);
}

static size_t open_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    cr_assert_not_null(folder);
    size_t n = 0;
    while (readdir(folder))
        n++;
    closedir(folder);
    return n;
}

static void *hammer(void *arg)
{
    const struct http_server *server = arg;
    for (int i = 0; i < 100; i++) {
        struct answer a;
        if (i % 3 == 0)
            client_post(server, "/events", "", "{\"topic\":\"a\",\"payload\":{\"x\":[1,2]}}", &a);
        else
            client_get(server, "/query?item=1&item=2", "", &a);
        cr_expect_eq(a.status, 200, "%s", a.body);
        answer_release(&a);
    }
    return NULL;
}

Test(server, many_clients_leave_no_descriptor_behind)
{
    size_t before = open_descriptors();
    struct http_server *server = fixture_start(NULL);
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, hammer, server), 0);
    for (size_t i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    http_server_stop(server, 2000); /* an answer is counted after it was sent */
    struct http_stats stats;
    http_get_stats(server, &stats);
    cr_expect_eq(stats.requests[2], 800);
    http_server_free(server);
    cr_expect_eq(open_descriptors(), before);
}
