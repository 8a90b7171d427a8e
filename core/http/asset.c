#include "http/asset.h"

#include "base/digest.h"
#include "http/http.h"
#include "http/http_priv.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

enum { STORE_MAX_FILES = 64, STORE_MAX_BYTES = 32 << 20, NAME_SIZE = 128, PATH_SIZE = 4096 };

/* The pages' libraries make style elements, data: images and, for searching, a worker of their own. */
const char http_page_headers[] =
    "Content-Security-Policy: default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'\r\n"
    "Referrer-Policy: no-referrer\r\n";

/* --- one answer --- */

int http_asset_seal(struct http_asset *asset, struct error *err)
{
    unsigned char digest[16];
    char hex[33];
    if (digest_md5(asset->body, asset->len, digest))
        return error_set(err, ERR_NOMEM, "out of memory");
    digest_hex(digest, sizeof digest, hex);
    snprintf(asset->etag, sizeof asset->etag, "\"%s\"", hex);
    return 0;
}

static void http_date(int64_t seconds, char out[32])
{
    time_t t = (time_t)seconds;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(out, 32, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}

/* Does the list of If-None-Match name this tag?  Weak tags compare by their text, and so does that
 * of a compressed variant some proxy made. */
static bool names_tag(const char *list, const char *etag)
{
    if (strcmp(list, "*") == 0)
        return true;
    return strstr(list, etag) != NULL;
}

/* If-None-Match decides alone where it is given (RFC 9110, 13.2.2). */
static bool is_fresh(struct http_request *r, const struct http_asset *asset)
{
    const char *tags = http_header(r, "If-None-Match");
    const char *since = http_header(r, "If-Modified-Since");
    struct tm tm = {0};
    if (tags)
        return names_tag(tags, asset->etag);
    if (!asset->modified_s || !since || !strptime(since, "%a, %d %b %Y %H:%M:%S GMT", &tm))
        return false;
    return (int64_t)timegm(&tm) >= asset->modified_s;
}

/* Is gzip in Accept-Encoding, and not by `;q=0`? */
static bool takes_gzip(struct http_request *r)
{
    const char *at = http_header(r, "Accept-Encoding");
    while (at && *at) {
        at += strspn(at, " ,\t");
        size_t len = strcspn(at, ",");
        size_t name = strcspn(at, " ;,\t");
        if (name == 4 && strncasecmp(at, "gzip", 4) == 0) {
            const char *q = memchr(at, '=', len);
            return !q || strtod(q + 1, NULL) > 0;
        }
        at += len;
    }
    return false;
}

static void add_lines(struct http_request *r, const char *lines)
{
    if (lines)
        buf_append_str(&r->worker->added, lines);
}

void http_respond_asset(struct http_request *r, const struct http_asset *asset)
{
    char date[32];
    http_add_header(r, "ETag", asset->etag);
    if (asset->modified_s) {
        http_date(asset->modified_s, date);
        http_add_header(r, "Last-Modified", date);
    }
    http_add_header(r, "Cache-Control", asset->cache_control);
    http_add_header(r, "X-Content-Type-Options", "nosniff");
    if (asset->gzip)
        http_add_header(r, "Vary", "Accept-Encoding");
    add_lines(r, asset->headers);
    if (is_fresh(r, asset)) {
        http_respond(r, 304, NULL, "", 0);
    } else if (asset->gzip && takes_gzip(r)) {
        http_add_header(r, "Content-Encoding", "gzip");
        http_respond(r, 200, asset->content_type, asset->gzip, asset->gzip_len);
    } else {
        http_respond(r, 200, asset->content_type, asset->body, asset->len);
    }
}

/* --- a folder of them --- */

struct stored {
    char name[NAME_SIZE];
    struct http_asset asset;
    char *body, *gzip;
};

struct asset_store {
    struct stored items[STORE_MAX_FILES];
    size_t n, bytes;
};

static const char *type_of(const char *name)
{
    static const struct {
        const char *suffix, *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"png", "image/png"},
        {"svg", "image/svg+xml"},
        {"ico", "image/x-icon"},
        {"txt", "text/plain; charset=utf-8"},
    };
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (strcmp(dot + 1, types[i].suffix) == 0)
            return types[i].type;
    return NULL;
}

/* The bytes of a file; malloc'ed. */
static int read_file(struct asset_store *store, const char *path, char **ret, size_t *ret_len,
                     int64_t *ret_modified_s, struct error *err)
{
    struct stat st;
    FILE *f = fopen(path, "rbe");
    if (!f || fstat(fileno(f), &st) != 0) {
        int code = errno;
        if (f)
            fclose(f);
        return error_set_errno(err, code, "cannot read '%s'", path);
    }
    size_t len = (size_t)st.st_size;
    if (!S_ISREG(st.st_mode) || len > STORE_MAX_BYTES - store->bytes) {
        fclose(f);
        return error_set(err, ERR_LIMIT, "'%s': no file, or more than %d MiB in its folder", path,
                         STORE_MAX_BYTES >> 20);
    }
    char *bytes = malloc(len + 1);
    size_t n = bytes ? fread(bytes, 1, len, f) : 0;
    fclose(f);
    if (!bytes || n != len) {
        free(bytes);
        return error_set(err, bytes ? ERR_IO : ERR_NOMEM, "cannot read '%s'", path);
    }
    store->bytes += len;
    *ret = bytes;
    *ret_len = len;
    *ret_modified_s = st.st_mtime;
    return 0;
}

static int add_file(struct asset_store *store, const char *folder, const char *name,
                    struct error *err)
{
    char path[PATH_SIZE];
    int64_t gzip_modified_s;
    const char *type = type_of(name);
    if (!type || name[0] == '.' || strlen(name) >= NAME_SIZE)
        return 0;
    if (store->n == STORE_MAX_FILES)
        return error_set(err, ERR_LIMIT, "'%s' holds more than %d files", folder, STORE_MAX_FILES);
    struct stored *s = &store->items[store->n];
    int n = snprintf(path, sizeof path, "%s/%s.gz", folder, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return error_set(err, ERR_INVALID, "'%s': the path is too long", folder);
    s->asset = (struct http_asset){.content_type = type, .cache_control = "no-cache"};
    if (strncmp(type, "text/html", 9) == 0)
        s->asset.headers = http_page_headers;
    struct stat st;
    int rc = stat(path, &st) != 0
                 ? 0
                 : read_file(store, path, &s->gzip, &s->asset.gzip_len, &gzip_modified_s, err);
    path[n - 3] = '\0'; /* without ".gz" */
    if (!rc)
        rc = read_file(store, path, &s->body, &s->asset.len, &s->asset.modified_s, err);
    store->n++; /* also when it failed: what was read is freed */
    if (rc)
        return rc;
    snprintf(s->name, sizeof s->name, "%s", name);
    s->asset.body = s->body;
    s->asset.gzip = s->gzip;
    return http_asset_seal(&s->asset, err);
}

int asset_store_open(const char *folder, struct asset_store **ret, struct error *err)
{
    struct asset_store *store = calloc(1, sizeof *store);
    if (!store)
        return error_set(err, ERR_NOMEM, "out of memory");
    DIR *dir = opendir(folder);
    struct dirent *entry;
    int rc = 0;
    while (dir && !rc && (entry = readdir(dir)))
        rc = add_file(store, folder, entry->d_name, err);
    if (dir)
        closedir(dir);
    if (rc) {
        asset_store_close(store);
        return rc;
    }
    *ret = store;
    return 0;
}

void asset_store_close(struct asset_store *store)
{
    for (size_t i = 0; store && i < store->n; i++) {
        free(store->items[i].body);
        free(store->items[i].gzip);
    }
    free(store);
}

const struct http_asset *asset_store_get(const struct asset_store *store, const char *name)
{
    for (size_t i = 0; i < store->n; i++)
        if (strcmp(store->items[i].name, name) == 0)
            return &store->items[i].asset;
    return NULL;
}
