#include "http_fixture.h"

#include "base/json.h"
#include "base/time.h"
#include "http/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_TIMEOUT_MS = 10000 };

/* --- routes --- */

struct user {
    const char *name;
};

static sem_t waiter_runs, waiter_may_go;

static void respond_text(struct http_request *r, const char *text)
{
    http_respond(r, 200, "text/plain", text, strlen(text));
}

static void on_thing(struct http_request *r, void *ctx)
{
    (void)ctx;
    respond_text(r, http_path_param(r, "name"));
}

static void on_special(struct http_request *r, void *ctx)
{
    (void)ctx;
    respond_text(r, "the literal");
}

static void on_deep(struct http_request *r, void *ctx)
{
    (void)ctx;
    char text[512];
    snprintf(text, sizeof text, "%s then %s", http_path_param(r, "a"), http_path_param(r, "b"));
    respond_text(r, text);
}

static void on_ok(struct http_request *r, void *ctx)
{
    (void)ctx;
    http_respond_ok(r);
}

static void on_query(struct http_request *r, void *ctx)
{
    (void)ctx;
    static const char *const aliases[] = {"startTime", "start_time", NULL};
    int64_t limit = http_query_int(r, "limit", 5);
    bool map = http_query_bool(r, "map", false);
    if (http_respond_if_invalid(r))
        return;
    struct buf out = BUF_INIT(65536);
    buf_printf(&out, "limit=%lld map=%d start=%s items=", (long long)limit, map,
               http_query_any(r, aliases) ? http_query_any(r, aliases) : "-");
    const char *item;
    for (size_t i = 0; (item = http_query_at(r, "item", i)); i++)
        buf_printf(&out, "%s%s", i ? "|" : "", item);
    respond_text(r, out.data);
    buf_release(&out);
}

static void on_event(struct http_request *r, void *ctx)
{
    (void)ctx;
    const char *topic = http_body_string(r, "topic", true);
    const char *key = http_body_string(r, "key", false);
    struct json_object *payload = http_body_object(r, "payload");
    if (http_respond_if_invalid(r))
        return;
    struct buf out = BUF_INIT(2 * 1024 * 1024);
    size_t len = 0;
    const char *span = http_body_span(r, "payload", &len);
    buf_printf(&out, "%s %s ", topic, key ? key : "-");
    if (span)
        buf_append(&out, span, len);
    buf_append_char(&out, ' ');
    json_write_value(&out, payload);
    http_respond(r, 200, "text/plain", out.data, out.len);
    buf_release(&out);
}

static void on_list(struct http_request *r, void *ctx)
{
    (void)ctx;
    struct json_object *items = http_body_list(r, "items");
    if (http_respond_if_invalid(r))
        return;
    char text[32];
    snprintf(text, sizeof text, "%zu items", json_object_array_length(items));
    respond_text(r, text);
}

static void on_form(struct http_request *r, void *ctx)
{
    (void)ctx;
    char text[256];
    const char *user = http_form(r, "username");
    snprintf(text, sizeof text, "user=%s", user ? user : "-");
    respond_text(r, text);
}

static void on_error(struct http_request *r, void *ctx)
{
    (void)ctx;
    struct error err = ERROR_INIT;
    error_set(&err, (int)http_query_int(r, "code", 0), "%s", "what happened");
    http_respond_error(r, &err);
}

static void on_silent(struct http_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static void on_twice(struct http_request *r, void *ctx)
{
    (void)ctx;
    http_respond_ok(r);
    http_respond_detail(r, 500, "again");
}

static void on_header(struct http_request *r, void *ctx)
{
    (void)ctx;
    http_add_header(r, "X-Extra", "yes");
    http_add_header(r, "X-Forged", "a\r\nX-Injected: b");
    respond_text(r, http_request_id(r));
}

static void on_big(struct http_request *r, void *ctx)
{
    (void)ctx;
    size_t len = (size_t)http_query_int(r, "bytes", 1);
    char *text = malloc(len);
    cr_assert_not_null(text);
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + i % 26);
    http_respond(r, 200, "text/plain", text, len);
    free(text);
}

static void on_download(struct http_request *r, void *ctx)
{
    (void)ctx;
    bool complete = !http_query(r, "broken");
    int64_t rows = http_query_int(r, "rows", 3);
    struct http_download *d = http_download_begin(r, "text/csv; charset=utf-8", ".csv");
    if (!d)
        return;
    char row[64];
    for (int64_t i = 0; i < rows; i++) {
        int len = snprintf(row, sizeof row, "%lld,row\r\n", (long long)i);
        if (http_download_write(d, row, (size_t)len))
            break;
    }
    http_download_end(d, complete);
}

int (*fixture_write_table)(struct table *t, struct error *err);

static void on_table(struct http_request *r, void *ctx)
{
    (void)ctx;
    struct error err = ERROR_INIT;
    enum table_format format;
    struct table t;
    if (!table_negotiate(http_header(r, "Accept"), &format))
        http_respond_detail(r, 415, "Unsupported Media Type");
    else if (table_begin(&t, r, format) == 0) {
        if (fixture_write_table(&t, &err))
            table_fail(&t, &err);
        else
            table_finish(&t, true);
    }
}

static void on_wait(struct http_request *r, void *ctx)
{
    (void)ctx;
    sem_post(&waiter_runs);
    while (sem_wait(&waiter_may_go) != 0) {}
    http_respond_ok(r);
}

static void on_whoami(struct http_request *r, void *ctx)
{
    (void)ctx;
    respond_text(r, http_user(r) ? http_user(r)->name : "nobody");
}

static const struct http_param query_params[] = {
    {.name = "limit", .type = HTTP_INTEGER},
    {.name = "map", .type = HTTP_BOOLEAN},
    {.name = "startTime", .type = HTTP_TIME},
    {.name = "start_time", .type = HTTP_TIME, .alias_of = "startTime"},
    {.name = "item", .repeatable = true},
    {0},
};
static const struct http_param form_params[] = {{.name = "username", .where = HTTP_FORM}, {0}};
static const struct http_param error_params[] = {{.name = "code", .type = HTTP_INTEGER}, {0}};
static const struct http_param big_params[] = {{.name = "bytes", .type = HTTP_INTEGER}, {0}};
static const struct http_param table_params[] = {{.name = "Accept", .where = HTTP_HEADER}, {0}};
static const struct http_param download_params[] = {
    {.name = "broken"},
    {.name = "rows", .type = HTTP_INTEGER},
    {0},
};
/* Does what its row does not say. */
static void on_undeclared(struct http_request *r, void *ctx)
{
    (void)ctx;
    if (http_query(r, "secret"))
        http_query_int(r, "limit", 1);
    if (http_query_at(r, "limit", 1))
        http_respond_detail(r, 418, "teapot");
    else
        http_respond_ok(r);
}
static const struct http_param undeclared_params[] = {{.name = "limit"}, {0}};

static const char *const event_members[] = {"payload", NULL};

static const struct http_route routes[] = {
    {.method = "GET", .path = "/", .handler = on_ok},
    {.method = "GET", .path = "/ok", .handler = on_ok},
    {.method = "GET", .path = "/things/{name}", .handler = on_thing},
    {.method = "POST", .path = "/things/{name}", .handler = on_thing},
    {.method = "GET", .path = "/things/special", .handler = on_special},
    {.method = "GET", .path = "/deep/{a}/and/{b}", .handler = on_deep},
    {.method = "GET", .path = "/query", .handler = on_query, .params = query_params},
    {.method = "POST",
     .path = "/events",
     .handler = on_event,
     .body = HTTP_BODY_JSON,
     .body_members = event_members},
    {.method = "POST",
     .path = "/small",
     .handler = on_event,
     .body = HTTP_BODY_JSON,
     .max_body = 100},
    {.method = "POST", .path = "/list", .handler = on_list, .body = HTTP_BODY_JSON},
    {.method = "POST",
     .path = "/form",
     .handler = on_form,
     .body = HTTP_BODY_FORM,
     .params = form_params},
    {.method = "GET",
     .path = "/error",
     .handler = on_error,
     .params = error_params,
     .errors = {400, 404, 409}},
    {.method = "GET", .path = "/undeclared", .handler = on_undeclared, .params = undeclared_params},
    {.method = "GET", .path = "/silent", .handler = on_silent},
    {.method = "GET", .path = "/twice", .handler = on_twice},
    {.method = "GET", .path = "/header", .handler = on_header},
    {.method = "GET", .path = "/big", .handler = on_big, .params = big_params},
    {.method = "GET", .path = "/download", .handler = on_download, .params = download_params},
    {.method = "GET",
     .path = "/table",
     .handler = on_table,
     .params = table_params,
     .errors = {415}},
    {.method = "GET", .path = "/wait", .handler = on_wait},
    {.method = "GET", .path = "/restart", .handler = on_ok, .changes_state = true},
    {.method = "GET", .path = "/whoami", .handler = on_whoami, .access = HTTP_USER},
    {.method = "POST",
     .path = "/write",
     .handler = on_event,
     .access = HTTP_WRITE,
     .body = HTTP_BODY_JSON},
};

/* --- authentication --- */

static const struct user reader = {"reader"}, writer = {"writer"};

static int authenticate(void *ctx, const char *bearer, const char *address,
                        const struct user **ret_user, struct error *err)
{
    (void)ctx;
    cr_expect_str_eq(address, "127.0.0.1");
    if (!bearer)
        return 0;
    if (strcmp(bearer, "broken") == 0)
        return error_set(err, ERR_UNAVAILABLE, "The directory is down.");
    if (strcmp(bearer, "reader") == 0)
        *ret_user = &reader;
    if (strcmp(bearer, "writer") == 0)
        *ret_user = &writer;
    return 0;
}

static const char *user_name(const struct user *user)
{
    return user->name;
}

static int authorize(void *ctx, enum http_access access, const struct user *user,
                     const char **ret_detail)
{
    (void)ctx;
    if (!user) {
        *ret_detail = "Not Authenticated.";
        return 401;
    }
    if (access == HTTP_WRITE && user != &writer) {
        *ret_detail = "User does not have the required scopes to access this resource.";
        return 403;
    }
    return 0;
}

struct http_options fixture_auth_options(void)
{
    return (struct http_options){
        .workers = 8, .authenticate = authenticate, .user_name = user_name, .authorize = authorize};
}

/* --- the server --- */

struct http_server *fixture_start(const struct http_options *options)
{
    static const char *const address[] = {"127.0.0.1:0"};
    struct http_options own = {.workers = 8};
    if (options)
        own = *options;
    if (own.n_listen == 0) {
        own.listen = address;
        own.n_listen = 1;
    }
    signal(SIGPIPE, SIG_IGN);
    sem_init(&waiter_runs, 0, 0);
    sem_init(&waiter_may_go, 0, 0);
    struct http_server *server = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(http_server_new(&own, &server, &err), 0, "%s", err.message);
    cr_assert_eq(http_server_add_routes(server, routes, sizeof routes / sizeof *routes, NULL, &err),
                 0, "%s", err.message);
    cr_assert_eq(http_server_start(server, &err), 0, "%s", err.message);
    return server;
}

void fixture_stop(struct http_server *server)
{
    http_server_stop(server, 2000);
    http_server_free(server);
}

void fixture_await_waiter(void)
{
    while (sem_wait(&waiter_runs) != 0) {}
}

void fixture_release_waiter(void)
{
    sem_post(&waiter_may_go);
}

/* --- the client --- */

int client_open(const struct http_server *server)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)http_server_port(server, 0)),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0, "%s", strerror(errno));
    return fd;
}

void client_close(int fd)
{
    close(fd);
}

void client_send(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server may have refused already */
        bytes += n;
        len -= (size_t)n;
    }
}

void client_print(int fd, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    cr_assert_geq(len, 0);
    client_send(fd, text, (size_t)len);
    free(text);
}

void client_finish_sending(int fd)
{
    shutdown(fd, SHUT_WR);
}

/* Wait for bytes and take at most `len`: their number, 0 at the end, -1 when none came. */
static ssize_t receive(int fd, char *bytes, size_t len, int timeout_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, timeout_ms) <= 0)
        return -1;
    ssize_t n = recv(fd, bytes, len, 0);
    return n < 0 ? 0 : n; /* a reset is an end, too */
}

bool client_is_closed(int fd)
{
    char bytes[4096];
    for (;;) {
        ssize_t n = receive(fd, bytes, sizeof bytes, 5000);
        if (n <= 0)
            return n == 0;
    }
}

bool client_is_open(int fd)
{
    char byte;
    return receive(fd, &byte, 1, 50) == -1;
}

/* Bytes of the connection, one at a time for the head: whatever follows the answer stays in the
 * socket for the next one. */
static bool read_exactly(int fd, char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = receive(fd, bytes, len, ANSWER_TIMEOUT_MS);
        cr_assert_geq(n, 0, "the server says nothing");
        if (n == 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_line(int fd, char *line, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && read_exactly(fd, line + n, 1)) {
        n++;
        if (n >= 2 && memcmp(line + n - 2, "\r\n", 2) == 0) {
            line[n - 2] = '\0';
            return true;
        }
    }
    line[n] = '\0';
    return false;
}

static void append(struct answer *a, int fd, size_t len)
{
    a->body = realloc(a->body, a->body_len + len + 1);
    cr_assert_not_null(a->body);
    a->cut = !read_exactly(fd, a->body + a->body_len, len);
    if (!a->cut)
        a->body_len += len;
    a->body[a->body_len] = '\0';
}

static void read_chunks(struct answer *a, int fd)
{
    char line[64];
    for (;;) {
        if (!read_line(fd, line, sizeof line)) {
            a->cut = true;
            return;
        }
        size_t len = strtoul(line, NULL, 16);
        if (len > 0)
            append(a, fd, len);
        if (a->cut || !read_line(fd, line, sizeof line)) {
            a->cut = true;
            return;
        }
        if (len == 0)
            return;
    }
}

static void read_to_end(struct answer *a, int fd)
{
    char bytes[4096];
    ssize_t n;
    while ((n = receive(fd, bytes, sizeof bytes, ANSWER_TIMEOUT_MS)) > 0) {
        a->body = realloc(a->body, a->body_len + (size_t)n + 1);
        cr_assert_not_null(a->body);
        memcpy(a->body + a->body_len, bytes, (size_t)n);
        a->body_len += (size_t)n;
        a->body[a->body_len] = '\0';
    }
}

void client_read(int fd, bool has_body, struct answer *ret)
{
    memset(ret, 0, sizeof *ret);
    size_t n = 0;
    while (n < 4 || memcmp(ret->head + n - 4, "\r\n\r\n", 4) != 0) {
        cr_assert_lt(n + 1, sizeof ret->head);
        cr_assert(read_exactly(fd, ret->head + n, 1), "closed within the head: '%s'", ret->head);
        n++;
    }
    cr_assert_eq(sscanf(ret->head, "HTTP/1.1 %d", &ret->status), 1, "%s", ret->head);
    ret->body = strdup("");
    const char *length = answer_header(ret, "content-length");
    if (!has_body)
        return;
    if (length)
        append(ret, fd, strtoul(length, NULL, 10));
    else if (answer_header(ret, "transfer-encoding"))
        read_chunks(ret, fd);
    else
        read_to_end(ret, fd);
}

const char *answer_header(const struct answer *a, const char *name)
{
    static _Thread_local char value[8192];
    size_t len = strlen(name);
    for (const char *line = strstr(a->head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) != 0 || strncmp(line + len, ": ", 2) != 0)
            continue;
        const char *end = strstr(line, "\r\n");
        snprintf(value, sizeof value, "%.*s", (int)(end - line - (long)len - 2), line + len + 2);
        return value;
    }
    return NULL;
}

void answer_release(struct answer *a)
{
    free(a->body);
    a->body = NULL;
}

void client_get(const struct http_server *server, const char *path, const char *extra_headers,
                struct answer *ret)
{
    int fd = client_open(server);
    client_print(fd, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, extra_headers);
    client_read(fd, true, ret);
    client_close(fd);
}

void client_post(const struct http_server *server, const char *path, const char *extra_headers,
                 const char *body, struct answer *ret)
{
    int fd = client_open(server);
    client_print(fd,
                 "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %zu\r\n"
                 "Content-Type: application/json\r\n%s\r\n%s",
                 path, strlen(body), extra_headers, body);
    client_read(fd, true, ret);
    client_close(fd);
}
