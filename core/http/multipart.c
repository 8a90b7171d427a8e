#include "http/multipart.h"

#include "base/utf8.h"
#include "http/http_priv.h"

#include <string.h>
#include <strings.h>

enum { BOUNDARY_MAX = 70 }; /* RFC 2046 */

/* What is left of the body. */
struct reader {
    char *at, *end;
    char delimiter[BOUNDARY_MAX + 5]; /* CR LF "--" boundary */
    size_t delimiter_len;
};

static int refuse(struct error *err)
{
    return error_set(err, ERR_INVALID, "There was an error parsing the body");
}

/* --- parameters of a header: `; name=token` or `; name="quoted"` --- */

struct parameter {
    const char *name, *value; /* the value without quotes, still escaped */
    size_t name_len, value_len;
};

/* The next one from *p on; false: none, and *p stands at what could not be read. */
static bool next_parameter(const char **p, const char *end, struct parameter *ret)
{
    const char *at = *p;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (at == end || *at++ != ';')
        return false;
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    ret->name = at;
    while (at < end && *at != '=' && *at != ';' && *at != ' ')
        at++;
    ret->name_len = (size_t)(at - ret->name);
    if (at == end || *at++ != '=')
        return false;
    bool quoted = at < end && *at == '"';
    at += quoted;
    ret->value = at;
    while (at < end && (quoted ? *at != '"' : *at != ';' && *at != ' ' && *at != '\t'))
        at += quoted && *at == '\\' && end - at > 1 ? 2 : 1;
    ret->value_len = (size_t)(at - ret->value);
    if (quoted && (at == end || *at++ != '"'))
        return false;
    *p = at;
    return true;
}

static bool is_called(const struct parameter *p, const char *name)
{
    return p->name_len == strlen(name) && strncasecmp(p->name, name, p->name_len) == 0;
}

static bool read_boundary(const char *content_type, struct reader *r)
{
    const char *p = content_type + strcspn(content_type, ";");
    const char *end = content_type + strlen(content_type);
    struct parameter parameter;
    while (next_parameter(&p, end, &parameter)) {
        if (!is_called(&parameter, "boundary"))
            continue;
        if (parameter.value_len == 0 || parameter.value_len > BOUNDARY_MAX)
            return false;
        memcpy(r->delimiter, "\r\n--", 4);
        memcpy(r->delimiter + 4, parameter.value, parameter.value_len);
        r->delimiter_len = parameter.value_len + 4;
        return true;
    }
    return false;
}

/* --- the parts --- */

/* What a part's headers say. */
struct part {
    char *name;
    size_t name_len;
    bool is_file, bad;
};

static void read_disposition(const char *at, const char *end, struct part *part)
{
    struct parameter parameter;
    static const char kind[] = "form-data";
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if ((size_t)(end - at) < sizeof kind - 1 || strncasecmp(at, kind, sizeof kind - 1) != 0) {
        part->bad = true;
        return;
    }
    at += sizeof kind - 1;
    while (next_parameter(&at, end, &parameter)) {
        if (is_called(&parameter, "name")) {
            part->name = (char *)(uintptr_t)parameter.value;
            part->name_len = parameter.value_len;
        }
        part->is_file |= is_called(&parameter, "filename") || is_called(&parameter, "filename*");
    }
    while (at < end && (*at == ' ' || *at == '\t' || *at == ';'))
        at++;
    part->bad |= at != end;
}

static void read_header(char *line, char *end, struct part *part)
{
    static const char disposition[] = "content-disposition",
                      encoding[] = "content-transfer-encoding";
    char *colon = memchr(line, ':', (size_t)(end - line));
    size_t len = colon ? (size_t)(colon - line) : 0;
    if (len == sizeof disposition - 1 && strncasecmp(line, disposition, len) == 0) {
        part->bad |= part->name != NULL; /* a second one */
        read_disposition(colon + 1, end, part);
    }
    /* RFC 7578 does away with it; base64 taken as it stands would be another value. */
    part->bad |= !colon || (len == sizeof encoding - 1 && strncasecmp(line, encoding, len) == 0);
}

static bool read_headers(struct reader *r, struct part *part)
{
    *part = (struct part){0};
    for (;;) {
        char *end = memmem(r->at, (size_t)(r->end - r->at), "\r\n", 2);
        if (!end)
            return false;
        char *line = r->at;
        r->at = end + 2;
        if (end == line)
            return part->name && !part->bad;
        read_header(line, end, part);
    }
}

/* Behind a delimiter: 1 a part follows, 0 the end, negative: neither. */
static int next_part(struct reader *r)
{
    if (r->end - r->at >= 2 && memcmp(r->at, "--", 2) == 0)
        return 0;
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
    if (r->end - r->at < 2 || memcmp(r->at, "\r\n", 2) != 0)
        return ERR_INVALID;
    r->at += 2;
    return 1;
}

/* Unescape \" and \\ of a quoted name, in place. */
static void unescape(struct part *part)
{
    size_t n = 0;
    for (size_t i = 0; i < part->name_len; i++) {
        if (part->name[i] == '\\' && i + 1 < part->name_len &&
            (part->name[i + 1] == '"' || part->name[i + 1] == '\\'))
            i++;
        part->name[n++] = part->name[i];
    }
    part->name_len = n;
}

static bool is_text(const char *text, size_t len)
{
    return !memchr(text, '\0', len) && utf8_is_valid(text, len);
}

/* Up to the next delimiter; *ret is NULL for what is left out. */
static bool read_part(struct reader *r, struct http_pair *ret)
{
    struct part part;
    *ret = (struct http_pair){NULL, NULL};
    if (!read_headers(r, &part))
        return false;
    char *value = r->at;
    /* The line end of the last header may be that of the delimiter: a part without content. */
    char *stop = memmem(value - 2, (size_t)(r->end - value) + 2, r->delimiter, r->delimiter_len);
    if (!stop)
        return false;
    r->at = stop + r->delimiter_len;
    size_t len = stop > value ? (size_t)(stop - value) : 0;
    if (part.is_file || len == 0)
        return true;
    unescape(&part);
    if (!is_text(value, len) || !is_text(part.name, part.name_len))
        return false;
    value[len] = '\0';
    part.name[part.name_len] = '\0';
    *ret = (struct http_pair){part.name, value};
    return true;
}

int multipart_split(char *body, size_t len, const char *content_type, struct http_pair *pairs,
                    size_t max, size_t *ret_n, struct error *err)
{
    struct reader r = {.at = body, .end = body + len};
    size_t n = 0, parts = 0;
    int more;
    if (!read_boundary(content_type, &r))
        return refuse(err);
    if (len >= r.delimiter_len - 2 && memcmp(body, r.delimiter + 2, r.delimiter_len - 2) == 0) {
        r.at = body + r.delimiter_len - 2;
    } else { /* a preamble */
        char *first = memmem(body, len, r.delimiter, r.delimiter_len);
        if (!first)
            return refuse(err);
        r.at = first + r.delimiter_len;
    }
    while ((more = next_part(&r)) > 0) {
        if (parts++ == max)
            return error_set(err, ERR_LIMIT, "Too many fields. Maximum number of fields is %zu.",
                             max);
        if (!read_part(&r, &pairs[n]))
            return refuse(err);
        n += pairs[n].name != NULL;
    }
    if (more < 0)
        return refuse(err);
    *ret_n = n;
    return 0;
}
