/* A server with test routes in this process, and clients that write raw bytes to it. */
#ifndef TESTS_UNIT_HTTP_FIXTURE_H
#define TESTS_UNIT_HTTP_FIXTURE_H

#include "base/time.h"
#include "http/http.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

/* Start with `options` (NULL: 8 workers), listening on a free port of 127.0.0.1. */
struct http_server *fixture_start(const struct http_options *options);
void fixture_stop(struct http_server *server);
/* As above with the authentication of the tests: bearer "reader" and "writer" may what they are
 * called after, "broken" makes the back end fail, all else is anonymous. */
struct http_options fixture_auth_options(void);

/* The handler of /wait: the test waits until it runs, then lets it go on. */
void fixture_await_waiter(void);
void fixture_release_waiter(void);

/* What /table writes, in the format its Accept asks for; a failure is told to table_fail(). */
struct table;
extern int (*fixture_write_table)(struct table *t, struct error *err);

/* --- a client --- */

int client_open(const struct http_server *server);
void client_close(int fd);
void client_send(int fd, const char *bytes, size_t len);
void client_print(int fd, const char *format, ...) __attribute__((format(printf, 2, 3)));
void client_finish_sending(int fd); /* half-close */
/* Did the server close, within 5 s?  Bytes that come before are read and forgotten. */
bool client_is_closed(int fd);
/* Is nothing to be read and the connection open, as far as 50 ms tell? */
bool client_is_open(int fd);

struct answer {
    int status;
    char head[16384]; /* with the empty line */
    char *body;       /* NUL-terminated, chunks joined */
    size_t body_len;
    bool cut; /* the connection ended before the body did */
};
/* Read one answer; `has_body` is false after HEAD.  Fails the test when none comes in 10 s. */
void client_read(int fd, bool has_body, struct answer *ret);
/* The value of a header of the answer, in a buffer of the thread; NULL: absent. */
const char *answer_header(const struct answer *a, const char *name);
void answer_release(struct answer *a);

/* One request on its own connection. */
void client_get(const struct http_server *server, const char *path, const char *extra_headers,
                struct answer *ret);
void client_post(const struct http_server *server, const char *path, const char *extra_headers,
                 const char *body, struct answer *ret);

#define check_answer(a, expected_status, expected_body)                                \
    do {                                                                               \
        cr_expect_eq((a)->status, (expected_status), "%d %s", (a)->status, (a)->body); \
        cr_expect_str_eq((a)->body, (expected_body));                                  \
    } while (0)

/* --- for all --- */

enum { WAIT_MS = 20000 }; /* deadlines are for hangs */

/* Wait until the figure is `value`. */
#define await(figure, value)                                                           \
    do {                                                                               \
        int64_t deadline_ = time_monotonic_ms() + WAIT_MS;                             \
        while ((figure) != (value)) {                                                  \
            cr_assert_lt(time_monotonic_ms(), deadline_, #figure " is %lld, not %lld", \
                         (long long)(figure), (long long)(value));                     \
            usleep(1000);                                                              \
        }                                                                              \
    } while (0)

#endif
