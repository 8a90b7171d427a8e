/* Which series of a unitop a request means, and whether its user may have them. */
#include "base/auto.h"
#include "base/digest.h"
#include "base/json.h"
#include "cache/cache.h"
#include "http/http.h"
#include "timeseries/timeseries_priv.h"
#include "unitops/unitops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOKEN_TTL_MS = 3600 * 1000,
    TOKEN_KEY_SIZE = 48,
    TOKEN_MAX = 512 << 10, /* of all names together; Memcached holds values of up to 1 MiB */
};

/* --- reference tokens: a list of items, remembered in the cache --- */

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The sorted items, each followed by a NUL: equal lists give equal bytes, different ones do not. */
static int join_items(const char **items, size_t n, struct buf *out)
{
    qsort(items, n, sizeof *items, compare_strings);
    buf_append(out, "", 1); /* an empty list has a token too */
    for (size_t i = 0; i < n; i++)
        buf_append(out, items[i], strlen(items[i]) + 1);
    return out->failed ? ERR_LIMIT : 0;
}

int selection_token(struct timeseries *ts, const char **items, size_t n, char out[33],
                    struct error *err)
{
    AUTO(buf) text = BUF_INIT(TOKEN_MAX);
    unsigned char digest[16];
    char key[TOKEN_KEY_SIZE];
    int rc = join_items(items, n, &text);
    if (!rc)
        rc = digest_md5(text.data, text.len, digest);
    if (rc)
        return error_set(err, rc, "The list of items is too long.");
    digest_hex(digest, sizeof digest, out);
    snprintf(key, sizeof key, "token:%s", out);
    return cache_set(ts->options.cache, key, text.data, text.len, TOKEN_TTL_MS, err);
}

/* The names behind a token, appended to `names`; each ends with a NUL. */
static int read_token(struct timeseries *ts, const char *token, struct buf *names,
                      struct error *err)
{
    char key[TOKEN_KEY_SIZE];
    if (strlen(token) != 32 || strspn(token, "0123456789abcdef") != 32)
        return error_set(err, ERR_NOT_FOUND, "Token was not found or it has expired.");
    snprintf(key, sizeof key, "token:%s", token);
    AUTO(buf) text = BUF_INIT(TOKEN_MAX);
    int rc = cache_get(ts->options.cache, key, &text, NULL, err);
    if (rc == ERR_NOT_FOUND)
        return error_set(err, rc, "Token was not found or it has expired.");
    return rc ? rc : buf_append(names, text.data + 1, text.len - 1);
}

/* --- selection --- */

static bool is_asked(const struct buf *names, const char *item)
{
    for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1)
        if (strcmp(names->data + at, item) == 0)
            return true;
    return false;
}

static int add_item(struct timeseries *ts, const struct unitop_item *item, struct selection *ret,
                    struct error *err)
{
    struct selected_item *selected = &ret->items[ret->n];
    const char *name = json_get_string(item->subscription, "source", "");
    selected->name = item->name;
    selected->source = timeseries_source(ts, name);
    if (!selected->source)
        return error_set(err, ERR_UNSUPPORTED,
                         "'%s' is a required source for this unitop but the source is not "
                         "configured for this application.",
                         name);
    int rc = source_series(selected->source, item->subscription, &selected->series, err);
    ret->n += rc == 0;
    return rc;
}

/* The scopes of every source of the selection; false: answered. */
static bool check_scopes(struct http_request *r, const struct selection *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const char *detail = NULL;
        int status =
            scope_verdict_status(scope_check(&s->items[i].source->scopes, http_user(r)), &detail);
        if (status) {
            http_respond_detail(r, status, detail);
            return false;
        }
    }
    return true;
}

static void respond_error(struct http_request *r, const struct error *err)
{
    if (err->code == ERR_UNSUPPORTED)
        http_respond_detail(r, 501, err->message);
    else
        http_respond_error(r, err);
}

/* The items of `unitop` in `names` (empty: all).  False: answered. */
static bool select_items(struct timeseries *ts, struct http_request *r, const struct buf *names,
                         struct selection *ret)
{
    struct error err = ERROR_INIT;
    ret->items = calloc(ret->unitop->n_items ? ret->unitop->n_items : 1, sizeof *ret->items);
    int rc = ret->items ? 0 : error_set(&err, ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < ret->unitop->n_items && !rc; i++)
        if (!names->len || is_asked(names, ret->unitop->items[i].name))
            rc = add_item(ts, &ret->unitop->items[i], ret, &err);
    if (rc) {
        respond_error(r, &err);
        return false;
    }
    if (!ret->n) {
        http_respond_detail(r, 400, "No subscriptions matching criteria.");
        return false;
    }
    return check_scopes(r, ret);
}

static bool get_unitop(struct timeseries *ts, struct http_request *r, struct selection *ret)
{
    struct error err = ERROR_INIT;
    *ret = (struct selection){0};
    if (unitops_get(ts->unitops, http_path_param(r, "unitop"), &ret->unitop, &err) == 0)
        return true;
    http_respond_error(r, &err);
    return false;
}

bool selection_read(struct timeseries *ts, struct http_request *r, struct selection *ret)
{
    struct error err = ERROR_INIT;
    AUTO(buf) names = BUF_INIT(2 * TOKEN_MAX);
    if (!get_unitop(ts, r, ret))
        return false;
    const char *item, *token = http_query(r, "token");
    for (size_t i = 0; (item = http_query_at(r, "dataItem", i)); i++)
        if (*item)
            buf_append(&names, item, strlen(item) + 1);
    if (token && read_token(ts, token, &names, &err)) {
        http_respond_error(r, &err);
    } else if (names.failed) {
        http_respond_detail(r, 413, "Too many data items.");
    } else if (select_items(ts, r, &names, ret)) {
        return true;
    }
    selection_release(ret);
    return false;
}

bool selection_read_item(struct timeseries *ts, struct http_request *r, const char *item,
                         struct selection *ret)
{
    AUTO(buf) names = BUF_INIT(TOKEN_MAX);
    if (!get_unitop(ts, r, ret))
        return false;
    buf_append(&names, item, strlen(item) + 1);
    bool found = false;
    for (size_t i = 0; i < ret->unitop->n_items; i++)
        found = found || strcmp(ret->unitop->items[i].name, item) == 0;
    if (!found) {
        char detail[ERROR_MESSAGE_SIZE];
        snprintf(detail, sizeof detail, "'%.200s' not in '%.200s'.", item, ret->unitop->name);
        http_respond_detail(r, 400, detail);
    } else if (select_items(ts, r, &names, ret)) {
        return true;
    }
    selection_release(ret);
    return false;
}

void selection_release(struct selection *s)
{
    for (size_t i = 0; i < s->n; i++)
        series_unref(s->items[i].series);
    free(s->items);
    unitop_unref(s->unitop);
    *s = (struct selection){0};
}
