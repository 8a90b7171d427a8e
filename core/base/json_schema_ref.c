/* What a $ref means: URI references (RFC 3986, section 5) and JSON pointers (RFC 6901). */
#include "base/auto.h"
#include "base/json_schema_priv.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct uri {
    const char *scheme, *authority, *path, *query, *fragment; /* NULL: absent */
    size_t scheme_len, authority_len, path_len, query_len, fragment_len;
};

static struct uri uri_split(const char *text)
{
    struct uri u = {0};
    size_t n = strcspn(text, ":/?#");
    if (text[n] == ':' && n && isalpha((unsigned char)text[0])) {
        u.scheme = text;
        u.scheme_len = n;
        text += n + 1;
    }
    if (text[0] == '/' && text[1] == '/') {
        u.authority = text + 2;
        u.authority_len = strcspn(u.authority, "/?#");
        text = u.authority + u.authority_len;
    }
    u.path = text;
    u.path_len = strcspn(text, "?#");
    text += u.path_len;
    if (*text == '?') {
        u.query = text + 1;
        u.query_len = strcspn(u.query, "#");
        text = u.query + u.query_len;
    }
    if (*text == '#') {
        u.fragment = text + 1;
        u.fragment_len = strlen(u.fragment);
    }
    return u;
}

/* Append `path` without "." and ".." segments; what they may remove begins at b->data + start. */
static void put_path(struct buf *b, size_t start, const char *path, size_t len)
{
    const char *end = path + len;
    while (path < end) {
        const char *slash = memchr(path, '/', (size_t)(end - path));
        const char *segment_end = slash ? slash : end;
        size_t n = (size_t)(segment_end - path);
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            if (b->len > start)
                b->len--; /* the slash after the segment to remove */
            while (b->len > start && b->data[b->len - 1] != '/')
                b->len--;
        } else if (!(n == 1 && path[0] == '.')) {
            buf_append(b, path, n);
            if (slash)
                buf_append_char(b, '/');
        }
        path = segment_end + (slash != NULL);
    }
}

char *uri_resolve(const char *base, const char *reference)
{
    const struct uri r = uri_split(reference), o = uri_split(base);
    AUTO(buf) b = BUF_INIT(1 << 20);
    const struct uri *scheme = r.scheme ? &r : &o;
    const struct uri *authority = r.scheme || r.authority ? &r : &o;
    if (scheme->scheme) {
        buf_append(&b, scheme->scheme, scheme->scheme_len);
        buf_append_char(&b, ':');
    }
    if (authority->authority) {
        buf_append_lit(&b, "//");
        buf_append(&b, authority->authority, authority->authority_len);
    }
    const bool own_path = authority == &r || (r.path_len && r.path[0] == '/');
    const struct uri *query = &r;
    const size_t start = b.len;
    if (own_path) {
        if (r.scheme && !r.authority && r.path[0] != '/')
            buf_append(&b, r.path, r.path_len); /* urn:..., no hierarchy */
        else
            put_path(&b, start, r.path, r.path_len);
    } else if (r.path_len == 0) {
        buf_append(&b, o.path, o.path_len);
        if (!r.query)
            query = &o;
    } else {
        size_t folder = o.path_len;
        while (folder && o.path[folder - 1] != '/')
            folder--;
        if (folder == 0 && o.authority)
            buf_append_char(&b, '/');
        put_path(&b, start, o.path, folder);
        put_path(&b, start, r.path, r.path_len);
    }
    if (query->query) {
        buf_append_char(&b, '?');
        buf_append(&b, query->query, query->query_len);
    }
    if (r.fragment) {
        buf_append_char(&b, '#');
        buf_append(&b, r.fragment, r.fragment_len);
    }
    if (b.failed)
        return NULL;
    return b.data ? buf_take(&b, NULL) : strdup("");
}

/* --- fragments --- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* %41 becomes A, in place; what is no escape stays. */
static void percent_decode(char *text)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        if (p[0] == '%' && hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0) {
            *out++ = (char)(hex_digit(p[1]) << 4 | hex_digit(p[2]));
            p += 2;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

/* ~1 becomes /, ~0 becomes ~, in place. */
static void pointer_decode(char *token)
{
    char *out = token;
    for (const char *p = token; *p; p++) {
        if (p[0] == '~' && (p[1] == '0' || p[1] == '1')) {
            *out++ = p[1] == '0' ? '~' : '/';
            p++;
        } else {
            *out++ = *p;
        }
    }
    *out = '\0';
}

static bool is_index(const char *token, size_t *ret)
{
    char *end;
    if (!isdigit((unsigned char)token[0]) || (token[0] == '0' && token[1]))
        return false;
    *ret = (size_t)strtoull(token, &end, 10);
    return *end == '\0';
}

/* Follow `pointer` ("/a/0", decoded in place) from the root of a resource.  Resources change on the
 * way where the path leads through embedded ones. */
static int follow_pointer(struct schema_index *x, struct resource *resource, char *pointer,
                          struct place **ret, struct error *err)
{
    struct json_object *at = resource->root;
    const struct place *root = schema_index_get(x, at);
    const struct step *path = root ? root->path : NULL;
    char *rest = pointer + 1;
    for (char *token; (token = strsep(&rest, "/")) != NULL;) {
        pointer_decode(token);
        struct json_object *next = NULL;
        size_t index = 0;
        struct step *step = schema_arena_alloc(x->arena, sizeof *step);
        if (!step)
            return ERR_NOMEM;
        bool found = false;
        if (json_object_is_type(at, json_type_object)) {
            found = json_object_object_get_ex(at, token, &next);
            const struct lh_entry *e =
                found ? lh_table_lookup_entry(json_object_get_object(at), token) : NULL;
            *step = (struct step){.previous = path, .key = e ? e->k : NULL};
        } else if (json_object_is_type(at, json_type_array) && is_index(token, &index)) {
            found = index < json_object_array_length(at);
            next = found ? json_object_array_get_idx(at, index) : NULL;
            *step = (struct step){.previous = path, .index = index};
        }
        if (!found)
            return ERR_NOT_FOUND;
        at = next;
        path = step;
        const struct place *place = at ? schema_index_get(x, at) : NULL;
        if (place) {
            resource = place->resource;
            path = place->path;
        }
    }
    if (!json_object_is_type(at, json_type_object) && !json_object_is_type(at, json_type_boolean))
        return ERR_NOT_FOUND;
    /* Somewhere no keyword leads to: it becomes a schema by being referred to. */
    int rc = schema_index_get(x, at) ? 0 : schema_index_add(x, at, resource, path, err);
    if (!rc)
        *ret = schema_index_get(x, at);
    return rc;
}

int schema_index_resolve(struct schema_index *x, struct resource *from, const char *reference,
                         struct place **ret, struct error *err)
{
    AUTO_FREE char *absolute = uri_resolve(from->uri, reference);
    if (!absolute)
        return error_set(err, ERR_NOMEM, "out of memory");
    char *fragment = strchr(absolute, '#');
    if (fragment)
        *fragment++ = '\0';
    struct resource *resource =
        reference[0] == '#' ? from : map_get(&x->resources, absolute, strlen(absolute));
    struct message_text text = {.len = 0};
    if (!resource) {
        text_printf(&text, "unresolvable reference ");
        text_repr_string(&text, reference, strlen(reference));
        text_printf(&text, ": only what is in the document itself can be referred to");
        return error_set(err, ERR_NOT_FOUND, "%s", text.text);
    }
    int rc = 0;
    struct json_object *target = resource->root;
    if (fragment && *fragment) {
        percent_decode(fragment);
        if (*fragment == '/') {
            text_printf(&text, "Unresolvable JSON pointer: ");
            text_repr_string(&text, fragment + 1, strlen(fragment + 1));
            rc = follow_pointer(x, resource, fragment, ret, err);
            return rc == ERR_NOT_FOUND ? error_set(err, rc, "%s", text.text)
                   : rc == ERR_NOMEM   ? error_set(err, rc, "out of memory")
                                       : rc;
        }
        target = map_get(&resource->anchors, fragment, strlen(fragment));
    }
    if (!target || !(*ret = schema_index_get(x, target))) {
        text_printf(&text, "there is no anchor ");
        text_repr_string(&text, fragment ? fragment : "", fragment ? strlen(fragment) : 0);
        return error_set(err, ERR_NOT_FOUND, "%s", text.text);
    }
    return 0;
}
