/* Input: what a client sends.  civetweb's reading of it goes through the guards of core/http with
 * the rest of the server away; what they let pass is read once more by the letter of RFC 9112 from
 * the bytes as they came, and both must agree on every header, on where the head ends and on how
 * long the body is.  A path and a query that are taken apart hold no forbidden character. */
#include "base/utf8.h"
#include "civetweb_head.h"
#include "fuzz.h"
#include "http/http_priv.h"

#include <ctype.h>
#include <strings.h>

enum { BODY_MAX = 512 };

/* --- the rest of the server --- */

static struct wire {
    const char *rest; /* behind the head */
    size_t left;
    int status; /* of the answer */
} wire;

void http_respond_detail(struct http_request *r, int status, const char *detail)
{
    require(!r->answered, "one answer to a request");
    require(status >= 400 && *detail, "a refusal has a reason");
    r->answered = true;
    wire.status = status;
}

void http_respond_error(struct http_request *r, const struct error *err)
{
    http_respond_detail(r, 500, err->message);
}

const char *http_header(struct http_request *r, const char *name)
{
    for (int i = 0; i < r->info->num_headers; i++)
        if (strcasecmp(r->info->http_headers[i].name, name) == 0)
            return r->info->http_headers[i].value;
    return NULL;
}

int http_send(struct http_request *r, const void *bytes, size_t len)
{
    (void)r;
    (void)bytes;
    (void)len;
    return 0;
}

void http_watch(struct http_worker *w, enum http_phase phase, int64_t timeout_ms)
{
    (void)w;
    (void)phase;
    (void)timeout_ms;
}

bool http_unwatch(struct http_worker *w)
{
    (void)w;
    return false;
}

/* In small parts. */
int mg_read(struct mg_connection *conn, void *buf, size_t len)
{
    (void)conn;
    size_t n = wire.left < len ? wire.left : len;
    if (n > 7)
        n = 7;
    memcpy(buf, wire.rest, n);
    wire.rest += n;
    wire.left -= n;
    return (int)n;
}

/* --- the head by the letter --- */

static bool is_token(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)text[i]) && (!text[i] || !strchr("!#$%&'*+-.^_`|~", text[i])))
            return false;
    return len > 0;
}

/* "name: value" as civetweb has it? */
static void check_header(const char *line, size_t len, const struct mg_header *seen)
{
    const char *colon = memchr(line, ':', len);
    require(colon != NULL, "a header has a colon");
    const size_t name_len = (size_t)(colon - line);
    require(name_len == strlen(seen->name) && memcmp(line, seen->name, name_len) == 0,
            "a header's name is the same");
    const char *value = colon + 1;
    while (value < line + len && (*value == ' ' || *value == '\t'))
        value++;
    const size_t value_len = (size_t)(line + len - value);
    require(value_len == strlen(seen->value) && memcmp(value, seen->value, value_len) == 0,
            "a header's value is the same");
    require(is_token(line, name_len) ||
                !strcasestr("content-length transfer-encoding host", seen->name),
            "no header that frames has a crooked name");
}

/* The size of the head in `bytes`, which the guards let pass as `info`.
 *
 * Of some line ends civetweb leaves no trace.  CR or LF and any white space may end the first.  Of a
 * head without any header nothing is known (see serve()). */
static size_t check_head(char *bytes, size_t size, const struct mg_request_info *info)
{
    char *first_end = strpbrk(bytes + strspn(bytes, " \t\r\n\v\f"), "\r\n");
    require(first_end && isspace((unsigned char)first_end[1]), "the first line ends");
    memcpy(first_end, "\r\n", 2);
    const char *at = bytes;
    while (isspace((unsigned char)*at))
        at++;
    int n = -1; /* the request line is none */
    for (;;) {
        const char *end = memmem(at, (size_t)(bytes + size - at), "\r\n", 2);
        require(end != NULL, "every line ends in CR LF");
        const size_t len = (size_t)(end - at);
        require(!memchr(at, '\n', len) && !memchr(at, '\r', len), "no line holds CR or LF");
        require(!memchr(at, '\0', len), "no line holds a NUL");
        if (len == 0)
            break;
        require(*at != ' ' && *at != '\t', "no line is folded");
        if (n < 0) {
            require(len > 9 && memcmp(end - 9, " HTTP/", 6) == 0,
                    "the version ends the first line");
            const char *url = memchr(at, ' ', len);
            require(memchr(url + 1, ' ', len - (size_t)(url + 1 - at)) == end - 9,
                    "method, URL and version, a blank between");
        } else {
            require(n < info->num_headers, "no header is left out");
            check_header(at, len, &info->http_headers[n]);
        }
        n++;
        at = end + 2;
    }
    require(n == info->num_headers, "no header is made up");
    return (size_t)(at + 2 - bytes);
}

static void check_framing(const struct http_request *r)
{
    unsigned lengths = 0, encodings = 0, hosts = 0;
    uint64_t length = 0;
    for (int i = 0; i < r->info->num_headers; i++) {
        const struct mg_header *h = &r->info->http_headers[i];
        if (strcasecmp(h->name, "content-length") == 0) {
            char *end = NULL;
            length = strtoull(h->value, &end, 10);
            require(isdigit((unsigned char)h->value[0]) && !*end, "a length is a number");
            lengths++;
        }
        encodings += strcasecmp(h->name, "transfer-encoding") == 0;
        hosts += strcasecmp(h->name, "host") == 0;
    }
    require(lengths + encodings <= 1, "one way of framing");
    require(r->chunked_body == (encodings == 1), "chunked when it says so");
    require(encodings || r->content_length == length, "as long as it says");
    require(r->has_body == (encodings || length), "a body is one that is announced");
    require(hosts == 1 || (hosts == 0 && r->http10), "one Host");
}

/* --- path and query --- */

static void check_text(const char *text)
{
    require(!strpbrk(text, "\r\n"), "no line break in a decoded text");
    require(utf8_is_valid(text, strlen(text)), "decoded text is UTF-8");
}

static void split(struct http_request *r)
{
    const char *segments[URL_MAX_SEGMENTS];
    size_t n = 0;
    struct error err = ERROR_INIT;
    int rc = url_split_path(r->arena, r->info->local_uri_raw, segments, &n, &err);
    require(rc == 0 || err.message[0], "a path is refused with a reason");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        check_text(segments[i]);
        require(!strchr(segments[i], '/'), "no slash in a segment");
    }
    if (!r->info->query_string)
        return;
    struct http_pair *pairs = NULL;
    rc = url_split_pairs(r->arena, r->info->query_string, strlen(r->info->query_string), &pairs, &n,
                         &err);
    require(rc == 0 || err.message[0], "a query is refused with a reason");
    for (size_t i = 0; rc == 0 && i < n; i++) {
        require(*pairs[i].name && *pairs[i].value, "no empty pair");
        check_text(pairs[i].name);
        check_text(pairs[i].value);
    }
}

static void serve(struct http_request *r, char *sent, size_t size, size_t head)
{
    wire = (struct wire){.rest = sent + head, .left = size - head};
    r->http10 = strcmp(r->info->http_version, "1.0") == 0;
    if (!guard_head(r)) {
        require(r->answered && wire.status >= 400, "who refuses answers");
        return;
    }
    require(!r->answered, "who lets pass does not answer");
    /* It is one of HTTP/1.0, then, after which the connection is closed: nothing can be misread. */
    const bool has_cr_nul = sent[head] == '\r' && sent[head + 1] == '\0';
    if (has_cr_nul)
        return; /* behind LF LF these look like CR LF CR LF, but begin no body and no request */
    if (r->info->num_headers == 0)
        require(r->http10 && !r->keep_alive_10, "without a header it is the last request");
    else
        require(check_head(sent, size, r->info) == head, "the head ends where the letter says");
    check_framing(r);
    split(r);
    static const struct http_route route = {.method = "POST"};
    r->route = &route;
    require(guard_origin(r) != r->answered, "a foreign origin is refused");
    if (r->answered)
        return;
    require(guard_read_body(r, BODY_MAX) != r->answered, "a body is read or refused");
    if (!r->answered && r->has_body) {
        require(r->worker->body.len <= BODY_MAX, "a body is within the limit");
        require(r->chunked_body || r->worker->body.len == r->content_length, "a body is whole");
    }
    guard_drain(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const origins[] = {"http://localhost:*", "http://a.example*", "https://b"};
    static struct http_server server = {
        .options = {
            .allow_origins = origins, .n_allow_origins = 3, .max_header = 2048, .max_url = 512}};
    char *read = malloc(size + 1), *sent = malloc(size + 1);
    struct mg_request_info info;
    if (!read || !sent)
        abort();
    memcpy(sent, data, size);
    memcpy(read, data, size);
    sent[size] = read[size] = '\0';
    const size_t head = civetweb_read_head(read, size, &info);
    if (head) {
        struct http_worker worker = {.server = &server, .body = BUF_INIT(1 << 20)};
        struct http_request r = {
            .server = &server, .worker = &worker, .info = &info, .arena = &worker.arena};
        server.options.check_host = size & 1;
        serve(&r, sent, size, head);
        buf_release(&worker.body);
        arena_release(&worker.arena);
    }
    free(read);
    free(sent);
    return 0;
}
