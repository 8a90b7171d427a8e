#include "http/docs.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/time.h"
#include "http/asset.h"
#include "http/http.h"
#include "http/openapi.h"

#include <stdlib.h>
#include <string.h>

enum { OPENAPI_MAX = 8 << 20 };

static const char missing_text[] =
    "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>hyprxa - OpenAPI</title>\n"
    "<h1>This page is not installed</h1>\n"
    "<p>It is put together by npm when hyprxa is built. On Debian: <code>tools/setup</code>, then "
    "<code>tools/build</code>, with access to the npm registry. The server looks for it in the "
    "folder <code>HYPRXA_WEB_DIR</code>, by default <code>../share/hyprxa/web</code> beside "
    "its own.</p>\n"
    "<p>The description itself is at <a href=\"openapi.json\">openapi.json</a>.</p>\n</html>\n";

struct docs {
    struct asset_store *store;
    char *version, *token_path;
    struct buf openapi_text;
    struct http_asset openapi, missing;
};

int docs_new(const struct docs_options *options, struct docs **ret, struct error *err)
{
    struct docs *d = calloc(1, sizeof *d);
    if (!d)
        return error_set(err, ERR_NOMEM, "out of memory");
    buf_init(&d->openapi_text, OPENAPI_MAX);
    d->missing = (struct http_asset){.content_type = "text/html; charset=utf-8",
                                     .headers = http_page_headers,
                                     .cache_control = "no-cache",
                                     .body = missing_text,
                                     .len = sizeof missing_text - 1,
                                     .modified_s = time_now_us() / TIME_US_PER_SECOND};
    d->version = strdup(options->version);
    d->token_path = options->token_path ? strdup(options->token_path) : NULL;
    int rc = d->version && (d->token_path || !options->token_path)
                 ? asset_store_open(options->web_dir, &d->store, err)
                 : error_set(err, ERR_NOMEM, "out of memory");
    if (!rc)
        rc = http_asset_seal(&d->missing, err);
    if (rc) {
        docs_free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

void docs_free(struct docs *d)
{
    if (!d)
        return;
    asset_store_close(d->store);
    buf_release(&d->openapi_text);
    free(d->version);
    free(d->token_path);
    free(d);
}

int docs_describe(struct docs *d, const struct http_server *server, const void *api, size_t len,
                  struct buf *problems, struct error *err)
{
    struct openapi_options options = {.version = d->version, .token_path = d->token_path};
    AUTO_JSON *value = NULL;
    int rc = json_parse(api, len, &value, err);
    if (rc)
        return rc;
    openapi_write(server, &options, value, &d->openapi_text, problems);
    if (d->openapi_text.failed)
        return error_set(err, ERR_LIMIT, "the OpenAPI document exceeds its limit or memory");
    d->openapi = (struct http_asset){.content_type = "application/json",
                                     .cache_control = "no-cache",
                                     .body = d->openapi_text.data,
                                     .len = d->openapi_text.len,
                                     .modified_s = time_now_us() / TIME_US_PER_SECOND};
    return http_asset_seal(&d->openapi, err);
}

/* --- routes --- */

static void openapi(struct http_request *r, void *ctx)
{
    struct docs *d = ctx;
    http_respond_asset(r, &d->openapi);
}

/* `page`, when the library it needs is installed. */
static void respond_page(struct http_request *r, struct docs *d, const char *page,
                         const char *library)
{
    const struct http_asset *asset = asset_store_get(d->store, page);
    bool usable = asset && asset_store_get(d->store, library);
    http_respond_asset(r, usable ? asset : &d->missing);
}

static void swagger_ui(struct http_request *r, void *ctx)
{
    respond_page(r, ctx, "docs.html", "swagger-ui-bundle.js");
}

static void oauth2_redirect(struct http_request *r, void *ctx)
{
    respond_page(r, ctx, "oauth2-redirect.html", "oauth2-redirect.js");
}

static void redoc(struct http_request *r, void *ctx)
{
    respond_page(r, ctx, "redoc.html", "redoc.standalone.js");
}

static void respond_file(struct http_request *r, struct docs *d, const char *name)
{
    const struct http_asset *asset = asset_store_get(d->store, name);
    if (asset)
        http_respond_asset(r, asset);
    else
        http_respond_detail(r, 404, "Not Found");
}

static void favicon(struct http_request *r, void *ctx)
{
    respond_file(r, ctx, "favicon.png");
}

static void file(struct http_request *r, void *ctx)
{
    respond_file(r, ctx, http_path_param(r, "file"));
}

static void index_html(struct http_request *r, void *ctx)
{
    respond_page(r, ctx, "index.html", "index.html");
}

static const struct http_route routes[] = {
    {.method = "GET",
     .path = "/",
     .handler = index_html,
     .name = "index",
     .summary = "Where to go from here",
     .media = "text/html",
     .errors = {304}},
    {.method = "GET",
     .path = "/openapi.json",
     .handler = openapi,
     .name = "openapi",
     .summary = "This description, as OpenAPI 3.1",
     .errors = {304}},
    {.method = "GET",
     .path = "/docs",
     .handler = swagger_ui,
     .name = "swagger_ui_html",
     .summary = "The API to read and to try, by Swagger UI",
     .media = "text/html",
     .errors = {304}},
    {.method = "GET",
     .path = "/docs/oauth2-redirect",
     .handler = oauth2_redirect,
     .name = "swagger_ui_redirect",
     .summary = "Where Swagger UI comes back to after a login elsewhere",
     .media = "text/html",
     .errors = {304}},
    {.method = "GET",
     .path = "/redoc",
     .handler = redoc,
     .name = "redoc_html",
     .summary = "The API to read, by Redoc",
     .media = "text/html",
     .errors = {304}},
    {.method = "GET",
     .path = "/favicon.ico",
     .handler = favicon,
     .name = "favicon",
     .summary = "The icon",
     .media = "image/png",
     .errors = {304, 404}},
    {.method = "GET",
     .path = "/static/{file}",
     .handler = file,
     .name = "static",
     .summary = "What the pages are made of",
     .media = "*/*",
     .errors = {304, 404}},
};

int docs_add_routes(struct docs *docs, struct http_server *server, struct error *err)
{
    return http_server_add_routes(server, routes, sizeof routes / sizeof *routes, docs, err);
}
