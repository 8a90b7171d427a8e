/* `.env` as python-dotenv reads it, which is what the original system used: optional `export`,
 * NAME=value, values bare, 'single' or "double" quoted (then over several lines too), comments,
 * and ${NAME} or ${NAME:-default} in values. */
#include "config/settings_priv.h"

#include "base/auto.h"
#include "base/map.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOTENV_MAX = 1 << 20 };

struct dotenv {
    const char *p;
    unsigned line;
    struct map values; /* of the file so far; each a char * */
};

static void skip_blanks(struct dotenv *d)
{
    while (*d->p == ' ' || *d->p == '\t' || *d->p == '\r')
        d->p++;
}

static void skip_line(struct dotenv *d)
{
    d->p += strcspn(d->p, "\n");
}

/* Between quotes; in double quotes the usual escapes mean what they mean.  False: no closing one. */
static bool read_quoted(struct dotenv *d, struct buf *value)
{
    char quote = *d->p++;
    for (; *d->p && *d->p != quote; d->p++) {
        char c = *d->p;
        if (c == '\n')
            d->line++;
        if (c == '\\' && quote == '\'' && (d->p[1] == '\'' || d->p[1] == '\\')) {
            c = *++d->p;
        } else if (c == '\\' && quote == '"' && d->p[1]) {
            static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
            const char *at = strchr(from, d->p[1]);
            if (at) {
                c = to[at - from];
                d->p++;
            }
        }
        buf_append_char(value, c);
    }
    if (*d->p != quote)
        return false;
    d->p++;
    return true;
}

/* Up to the end of the line or a comment, which begins with '#' after a blank. */
static void read_bare(struct dotenv *d, struct buf *value)
{
    const char *start = d->p;
    while (*d->p && *d->p != '\n' &&
           !(*d->p == '#' && (d->p == start || isblank((unsigned char)d->p[-1]))))
        d->p++;
    const char *end = d->p;
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    buf_append(value, start, (size_t)(end - start));
}

/* One ${...}: what the file set before, else the environment, else the default, else nothing. */
static void append_reference(const struct dotenv *d, const char *text, size_t len, struct buf *out)
{
    const char *choice = memmem(text, len, ":-", 2);
    size_t name_len = choice ? (size_t)(choice - text) : len;
    const char *value = map_get(&d->values, text, name_len);
    AUTO_FREE char *name = strndup(text, name_len);
    if (!value && name)
        value = getenv(name);
    if (value)
        buf_append_str(out, value);
    else if (choice)
        buf_append(out, choice + 2, len - name_len - 2);
}

static void expand(const struct dotenv *d, const char *text, struct buf *out)
{
    for (const char *p = text; *p;) {
        const char *end = p[0] == '$' && p[1] == '{' ? strchr(p, '}') : NULL;
        if (end) {
            append_reference(d, p + 2, (size_t)(end - p) - 2, out);
            p = end + 1;
        } else {
            buf_append_char(out, *p++);
        }
    }
}

static int remember(struct dotenv *d, const char *name, const char *value)
{
    char *copy = strdup(value);
    void *old = NULL;
    if (!copy || map_set(&d->values, name, strlen(name), copy, &old) != 0) {
        free(copy);
        return ERR_NOMEM;
    }
    free(old);
    return 0;
}

/* One assignment; d->p is at its first character.  ERR_INVALID: it is none. */
static int read_assignment(struct dotenv *d, dotenv_fn *each, void *ctx)
{
    unsigned line = d->line;
    if (strncmp(d->p, "export", 6) == 0 && isblank((unsigned char)d->p[6])) {
        d->p += 6;
        skip_blanks(d);
    }
    size_t n = strcspn(d->p, "=# \t\r\n'\"");
    if (n == 0)
        return ERR_INVALID;
    AUTO_FREE char *name = strndup(d->p, n);
    AUTO(buf) raw = BUF_INIT(DOTENV_MAX);
    AUTO(buf) value = BUF_INIT(DOTENV_MAX);
    d->p += n;
    skip_blanks(d);
    if (*d->p == '\n' || *d->p == '\0' || *d->p == '#')
        return 0; /* a name alone sets nothing */
    if (*d->p != '=')
        return ERR_INVALID;
    d->p++;
    skip_blanks(d);
    if (*d->p == '\'' || *d->p == '"') {
        if (!read_quoted(d, &raw))
            return ERR_INVALID;
        skip_blanks(d);
        if (*d->p && *d->p != '\n' && *d->p != '#')
            return ERR_INVALID;
    } else {
        read_bare(d, &raw);
    }
    expand(d, raw.data ? raw.data : "", &value);
    if (!name || raw.failed || value.failed)
        return ERR_NOMEM;
    const char *text = value.data ? value.data : "";
    int rc = remember(d, name, text);
    return rc ? rc : each(ctx, line, name, text);
}

static int read_all(const char *path, struct buf *content, struct error *err)
{
    struct stat st;
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? 0 : error_set_errno(err, errno, "%s", path);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size > DOTENV_MAX) {
        rc = error_set(err, ERR_INVALID, "%s: not a regular file of at most 1 MiB", path);
        goto out;
    }
    for (;;) {
        rc = buf_reserve(content, 4096);
        if (rc) {
            error_set(err, rc, "%s: out of memory", path);
            goto out;
        }
        ssize_t got = read(fd, content->data + content->len, 4096);
        if (got < 0)
            rc = error_set_errno(err, errno, "%s", path);
        if (got <= 0)
            goto out;
        content->len += (size_t)got;
    }
out:
    close(fd);
    return rc;
}

int dotenv_read(const char *path, dotenv_fn *each, void *ctx, struct buf *problems,
                struct error *err)
{
    AUTO(buf) content = BUF_INIT(DOTENV_MAX + 8192);
    int rc = read_all(path, &content, err);
    if (rc == ERR_INVALID || rc == ERR_IO)
        buf_printf(problems, "%s\n", err->message);
    if (rc || content.len == 0)
        return rc == ERR_IO ? ERR_INVALID : rc;
    buf_append_char(&content, '\n'); /* and its NUL, which ends the reading */
    struct dotenv d = {.p = content.data, .line = 1};
    bool bad = false;
    map_init(&d.values);
    while (*d.p && rc == 0) {
        if (isspace((unsigned char)*d.p)) {
            d.line += *d.p++ == '\n';
            continue;
        }
        unsigned line = d.line;
        if (*d.p != '#')
            rc = read_assignment(&d, each, ctx);
        if (rc == ERR_INVALID) {
            buf_printf(problems, "%s:%u: not an assignment: expected NAME=value\n", path, line);
            bad = true;
            rc = 0;
        }
        skip_line(&d);
    }
    map_release(&d.values, free);
    if (rc)
        return error_set(err, rc, "%s: out of memory", path);
    return bad ? ERR_INVALID : 0;
}
