#include "civetweb_head.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Up to the empty line: CR LF CR LF or LF LF.  0: none, or a control character before it. */
static size_t head_len(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)bytes[i];
        if (c < 128 && c != '\r' && c != '\n' && !isprint(c))
            return 0;
        if (i + 1 < len && bytes[i] == '\n' && bytes[i + 1] == '\n')
            return i + 2;
        if (i + 3 < len && memcmp(bytes + i, "\r\n\r\n", 4) == 0)
            return i + 4;
    }
    return 0;
}

/* End the word at *at and go on to the next; `last`: a line end must follow, else a blank. */
static bool next_word(char **at, bool last)
{
    while (isgraph((unsigned char)**at))
        (*at)++;
    if (last ? **at != '\r' && **at != '\n' : **at != ' ')
        return false;
    do {
        *(*at)++ = '\0';
    } while (isspace((unsigned char)**at));
    return last || isgraph((unsigned char)**at);
}

static bool is_method(const char *word)
{
    static const char *const methods[] = {"GET",     "POST",    "PUT",   "DELETE", "HEAD",
                                          "OPTIONS", "CONNECT", "PATCH", "TRACE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(word, methods[i]) == 0)
            return true;
    return false;
}

/* How many; -1: refused. */
static int read_headers(char *at, struct mg_header headers[MG_MAX_HEADERS])
{
    int n = 0;
    while (n < MG_MAX_HEADERS) {
        char *p = at;
        while (*p != ':' && *p >= 33 && *p <= 126)
            p++;
        if (p == at)
            return n;
        while (*p == ' ')
            *p++ = '\0';
        if (*p != ':')
            return -1;
        *p = '\0';
        do {
            p++;
        } while (*p == ' ' || *p == '\t');
        headers[n].name = at;
        headers[n++].value = p;
        p += strcspn(p, "\r\n");
        if (*p == '\r') {
            *p++ = '\0';
            if (*p != '\n')
                return -1;
        }
        if (*p != '\n')
            return n;
        *p++ = '\0';
        at = p;
        if (*p == '\r' || *p == '\n')
            return n;
    }
    return n;
}

/* The path and query of "/path?query" or "http://host/path?query". */
static bool split_uri(struct mg_request_info *info)
{
    char *uri = (char *)(size_t)info->request_uri;
    char *path = uri;
    if (*uri != '/') {
        char *authority = strstr(uri, "://");
        path = authority ? strchr(authority + 3, '/') : NULL;
    }
    if (!path)
        return false;
    char *query = strchr(path, '?');
    if (query)
        *query++ = '\0';
    info->local_uri_raw = path;
    info->query_string = query;
    return true;
}

size_t civetweb_read_head(char *bytes, size_t len, struct mg_request_info *ret)
{
    size_t skipped = 0;
    while (skipped < len && isspace((unsigned char)bytes[skipped]))
        skipped++;
    char *at = bytes + skipped;
    const size_t size = head_len(at, len - skipped);
    if (size == 0 || iscntrl((unsigned char)*at))
        return 0;
    at[size - 1] = '\0';
    memset(ret, 0, sizeof *ret);
    ret->request_method = at;
    if (!next_word(&at, false) || !is_method(ret->request_method))
        return 0;
    ret->request_uri = at;
    if (!next_word(&at, false))
        return 0;
    ret->http_version = at;
    if (!next_word(&at, true) || strncmp(ret->http_version, "HTTP/", 5) != 0)
        return 0;
    ret->http_version += 5;
    if (strcmp(ret->http_version, "1.0") != 0 && strcmp(ret->http_version, "1.1") != 0)
        return 0; /* answered with 505 */
    ret->num_headers = read_headers(at, ret->http_headers);
    if (ret->num_headers < 0 || !split_uri(ret))
        return 0;
    return skipped + size;
}
