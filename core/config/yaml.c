#include "config/yaml_priv.h"

#include "base/auto.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

/* Beside every value stands a node with its place; both trees have the same shape. */
struct node {
    const char *key; /* of the parent's object, NULL in a list; borrowed from the value */
    unsigned line, column, key_line, key_column;
    char *secret;  /* what a scalar with variables became, else NULL; never shown */
    bool verbatim; /* a message that quotes the secret holds exactly these bytes */
    struct node *children;
    size_t n, cap;
};

struct yaml_document {
    char *name;
    struct json_object *value;
    struct node root;
};

struct reader {
    yaml_parser_t parser;
    const char *name;
    size_t expanded; /* bytes, in all */
    struct error *err;
};

static void node_release(struct node *node)
{
    for (size_t i = 0; i < node->n; i++)
        node_release(&node->children[i]);
    free(node->children);
    free(node->secret);
}

static struct node *node_add(struct node *parent)
{
    if (parent->n == parent->cap) {
        size_t cap = parent->cap ? 2 * parent->cap : 4;
        struct node *grown = realloc(parent->children, cap * sizeof *grown);
        if (!grown)
            return NULL;
        parent->children = grown;
        parent->cap = cap;
    }
    struct node *child = &parent->children[parent->n++];
    memset(child, 0, sizeof *child);
    return child;
}

static int fail_at(struct reader *r, unsigned line, unsigned column, const char *what)
{
    return error_set(r->err, ERR_INVALID, "%s:%u:%u: %s", r->name, line, column, what);
}

static int no_memory(struct reader *r)
{
    return error_set(r->err, ERR_NOMEM, "%s: out of memory", r->name);
}

static void mark_place(const yaml_mark_t *mark, unsigned *line, unsigned *column)
{
    *line = (unsigned)mark->line + 1;
    *column = (unsigned)mark->column + 1;
}

static int next_event(struct reader *r, yaml_event_t *event)
{
    if (yaml_parser_parse(&r->parser, event))
        return 0;
    const yaml_parser_t *p = &r->parser;
    const char *what = p->problem ? p->problem : "cannot be read as YAML";
    if (p->error == YAML_MEMORY_ERROR)
        return no_memory(r);
    if (p->error == YAML_READER_ERROR)
        return error_set(r->err, ERR_INVALID, "%s: %s (byte %zu)", r->name, what,
                         p->problem_offset);
    const yaml_mark_t *mark = &p->problem_mark;
    return error_set(r->err, ERR_INVALID, "%s:%zu:%zu: %s%s%s", r->name, mark->line + 1,
                     mark->column + 1, what, p->context ? ", " : "", p->context ? p->context : "");
}

static int refuse_properties(struct reader *r, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    unsigned line, column;
    mark_place(&e->start_mark, &line, &column);
    if (e->type == YAML_ALIAS_EVENT)
        return fail_at(r, line, column, "aliases (*name) are not supported; repeat the value");
    if (anchor)
        return fail_at(r, line, column, "anchors (&name) are not supported");
    if (tag)
        return fail_at(r, line, column,
                       "tags (!name) are not supported; quote the value to make it text");
    return 0;
}

/* Whether messages will show `value` in the bytes of `secret`, not escaped or re-formatted. */
static bool is_verbatim(const char *secret, struct json_object *value)
{
    if (value && !json_object_is_type(value, json_type_string))
        return strcmp(json_object_to_json_string(value), secret) == 0;
    for (const char *p = secret; *p; p++)
        if (*p < ' ' || *p > '~' || strchr("\"'\\/", *p))
            return false;
    return true;
}

static int read_scalar(struct reader *r, const yaml_event_t *e, struct node *node,
                       struct json_object **ret)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t len = e->data.scalar.length;
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    struct error why = ERROR_INIT;
    if (memchr(text, '\0', len))
        return fail_at(r, node->line, node->column, "text must not hold a NUL character");

    AUTO(buf) whole = BUF_INIT(YAML_FILE_MAX - r->expanded);
    int rc = 0;
    if (memchr(text, '$', len)) {
        bool expanded;
        rc = yaml_expand(text, len, &whole, &expanded, &why);
        if (rc == ERR_NOMEM)
            return no_memory(r);
        if (rc)
            return fail_at(r, node->line, node->column, why.message);
        text = whole.data ? whole.data : "";
        len = whole.len;
        if (expanded && !(node->secret = strdup(text)))
            return no_memory(r);
        r->expanded += len;
    }
    if (plain) {
        rc = yaml_resolve_plain(text, len, ret, &why);
        if (rc == ERR_INVALID)
            return fail_at(r, node->line, node->column, why.message);
    } else if (!(*ret = json_object_new_string_len(text, (int)len))) {
        rc = ERR_NOMEM;
    }
    if (rc)
        return no_memory(r);
    if (node->secret)
        node->verbatim = is_verbatim(node->secret, *ret);
    return 0;
}

static int read_node(struct reader *r, const yaml_event_t *e, struct node *node, unsigned depth,
                     struct json_object **ret);

static int read_list(struct reader *r, struct node *node, unsigned depth, struct json_object **ret)
{
    if (!(*ret = json_object_new_array()))
        return no_memory(r);
    for (;;) {
        yaml_event_t e;
        int rc = next_event(r, &e);
        if (rc)
            return rc;
        if (e.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&e);
            return 0;
        }
        struct node *child = node_add(node);
        struct json_object *item = NULL;
        rc = child ? read_node(r, &e, child, depth, &item) : no_memory(r);
        yaml_event_delete(&e);
        if (rc == 0 && json_object_array_add(*ret, item) != 0)
            rc = no_memory(r);
        if (rc) {
            json_object_put(item);
            return rc;
        }
    }
}

/* The place of the first of two equal keys, for a message about the second. */
static int fail_duplicate(struct reader *r, const struct node *parent, const char *key,
                          const struct node *at)
{
    for (size_t i = 0; i + 1 < parent->n; i++) {
        const struct node *child = &parent->children[i];
        if (child->key && strcmp(child->key, key) == 0)
            return error_set(r->err, ERR_INVALID,
                             "%s:%u:%u: duplicate key '%.100s', first at line %u", r->name,
                             at->key_line, at->key_column, key, child->key_line);
    }
    return fail_at(r, at->key_line, at->key_column, "duplicate key");
}

/* The key in `e`, and then its value, as a new member of `object`. */
static int read_member(struct reader *r, const yaml_event_t *e, struct node *parent, unsigned depth,
                       struct json_object *object)
{
    struct node *child = node_add(parent);
    if (!child)
        return no_memory(r);
    mark_place(&e->start_mark, &child->key_line, &child->key_column);
    int rc = refuse_properties(r, e);
    if (rc)
        return rc;
    const char *key = (const char *)e->data.scalar.value;
    if (e->type != YAML_SCALAR_EVENT)
        return fail_at(r, child->key_line, child->key_column,
                       "a key must be a single word or text");
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (strlen(key) != e->data.scalar.length)
        return fail_at(r, child->key_line, child->key_column,
                       "a key must not hold a NUL character");
    if (plain && strcmp(key, "<<") == 0)
        return fail_at(r, child->key_line, child->key_column, "merge keys (<<) are not supported");
    if (json_object_object_get_ex(object, key, NULL))
        return fail_duplicate(r, parent, key, child);

    yaml_event_t value_event;
    rc = next_event(r, &value_event);
    if (rc)
        return rc;
    struct json_object *value = NULL;
    rc = read_node(r, &value_event, child, depth, &value);
    yaml_event_delete(&value_event);
    if (rc == 0 && json_object_object_add_ex(object, key, value, JSON_C_OBJECT_ADD_KEY_IS_NEW) != 0)
        rc = no_memory(r);
    if (rc) {
        json_object_put(value);
        return rc;
    }
    struct lh_entry *entry = json_object_get_object(object)->tail;
    child->key = lh_entry_k(entry);
    return 0;
}

static int read_map(struct reader *r, struct node *node, unsigned depth, struct json_object **ret)
{
    if (!(*ret = json_object_new_object()))
        return no_memory(r);
    for (;;) {
        yaml_event_t e;
        int rc = next_event(r, &e);
        if (rc)
            return rc;
        bool end = e.type == YAML_MAPPING_END_EVENT;
        if (!end)
            rc = read_member(r, &e, node, depth, *ret);
        yaml_event_delete(&e);
        if (rc || end)
            return rc;
    }
}

/* `e` begins the node.  On failure *ret may be half built; the caller puts it. */
static int read_node(struct reader *r, const yaml_event_t *e, struct node *node, unsigned depth,
                     struct json_object **ret)
{
    mark_place(&e->start_mark, &node->line, &node->column);
    int rc = refuse_properties(r, e);
    if (rc)
        return rc;
    if (e->type == YAML_SCALAR_EVENT)
        return read_scalar(r, e, node, ret);
    if (depth >= YAML_DEPTH_MAX)
        return fail_at(r, node->line, node->column, "nested too deeply (64 levels at most)");
    return e->type == YAML_MAPPING_START_EVENT ? read_map(r, node, depth + 1, ret)
                                               : read_list(r, node, depth + 1, ret);
}

static int read_stream(struct reader *r, struct yaml_document *doc)
{
    for (unsigned documents = 0;;) {
        yaml_event_t e;
        int rc = next_event(r, &e);
        if (rc)
            return rc;
        unsigned line, column;
        mark_place(&e.start_mark, &line, &column);
        bool end = e.type == YAML_STREAM_END_EVENT;
        if (e.type == YAML_DOCUMENT_START_EVENT) {
            if (documents++ > 0)
                rc = fail_at(r, line, column, "a second document; a file holds one");
            else if (e.data.document_start.tag_directives.start !=
                     e.data.document_start.tag_directives.end)
                rc = fail_at(r, line, column, "%TAG is not supported");
        } else if (e.type == YAML_SCALAR_EVENT || e.type == YAML_ALIAS_EVENT ||
                   e.type == YAML_MAPPING_START_EVENT || e.type == YAML_SEQUENCE_START_EVENT) {
            rc = read_node(r, &e, &doc->root, 0, &doc->value);
        }
        yaml_event_delete(&e);
        if (rc || end)
            return rc;
    }
}

int yaml_read_text(const char *name, const char *text, size_t len, struct yaml_document **ret,
                   struct error *err)
{
    struct reader r = {.name = name, .err = err};
    bool started = false;
    int rc = 0;
    struct yaml_document *doc = calloc(1, sizeof *doc);
    *ret = NULL;
    if (!doc || !(doc->name = strdup(name))) {
        rc = no_memory(&r);
        goto out;
    }
    if (len > YAML_FILE_MAX) {
        rc = error_set(err, ERR_INVALID, "%s: larger than %d bytes", name, YAML_FILE_MAX);
        goto out;
    }
    doc->root.line = doc->root.column = 1;
    started = yaml_parser_initialize(&r.parser);
    if (!started) {
        rc = no_memory(&r);
        goto out;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, len);
    rc = read_stream(&r, doc);
out:
    if (started)
        yaml_parser_delete(&r.parser);
    if (rc)
        yaml_document_free(doc);
    else
        *ret = doc;
    return rc;
}

static int read_bytes(int fd, const char *path, struct buf *content, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return error_set_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERR_INVALID, "%s: not a regular file", path);
    for (;;) {
        int rc = buf_reserve(content, 64 * 1024);
        if (rc == ERR_LIMIT)
            return error_set(err, ERR_INVALID, "%s: larger than %d bytes", path, YAML_FILE_MAX);
        if (rc)
            return error_set(err, rc, "%s: out of memory", path);
        ssize_t n = read(fd, content->data + content->len, 64 * 1024);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "%s", path);
        if (n == 0)
            return 0;
        content->len += (size_t)n;
    }
}

int yaml_read_file(const char *path, struct yaml_document **ret, struct error *err)
{
    *ret = NULL;
    /* Not blocking: a FIFO put here must not hang the start. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_set_errno(err, errno, "%s", path);
    AUTO(buf) content = BUF_INIT(YAML_FILE_MAX + 64 * 1024);
    int rc = read_bytes(fd, path, &content, err);
    close(fd);
    return rc ? rc : yaml_read_text(path, content.data, content.len, ret, err);
}

void yaml_document_free(struct yaml_document *doc)
{
    if (!doc)
        return;
    node_release(&doc->root);
    json_object_put(doc->value);
    free(doc->name);
    free(doc);
}

struct json_object *yaml_value(const struct yaml_document *doc)
{
    return doc->value;
}

const char *yaml_name(const struct yaml_document *doc)
{
    return doc->name;
}

/* Whether the pointer segment [segment, end) names this key. */
static bool segment_is(const char *segment, const char *end, const char *key)
{
    for (; segment < end; segment++, key++) {
        char c = *segment;
        if (c == '~' && segment + 1 < end)
            c = *++segment == '1' ? '/' : '~';
        if (*key == '\0' || c != *key)
            return false;
    }
    return *key == '\0';
}

static const struct node *child_of(const struct node *node, const char *segment, const char *end)
{
    bool list = node->n > 0 && !node->children[0].key;
    if (list) {
        size_t index = 0;
        for (const char *p = segment; p < end; p++) {
            if (*p < '0' || *p > '9' || index > node->n)
                return NULL;
            index = index * 10 + (size_t)(*p - '0');
        }
        return segment < end && index < node->n ? &node->children[index] : NULL;
    }
    for (size_t i = 0; i < node->n; i++)
        if (segment_is(segment, end, node->children[i].key))
            return &node->children[i];
    return NULL;
}

/* The node, or its nearest ancestor; *ret_exact tells which. */
static const struct node *find(const struct yaml_document *doc, const char *pointer,
                               bool *ret_exact)
{
    const struct node *node = &doc->root;
    while (*pointer == '/') {
        const char *end = strchrnul(pointer + 1, '/');
        const struct node *child = child_of(node, pointer + 1, end);
        if (!child)
            break;
        node = child;
        pointer = end;
    }
    *ret_exact = *pointer == '\0';
    return node;
}

void yaml_place(const struct yaml_document *doc, const char *pointer, unsigned *ret_line,
                unsigned *ret_column)
{
    bool exact;
    const struct node *node = find(doc, pointer, &exact);
    *ret_line = node->line;
    *ret_column = node->column;
}

void yaml_key_place(const struct yaml_document *doc, const char *pointer, unsigned *ret_line,
                    unsigned *ret_column)
{
    bool exact;
    const struct node *node = find(doc, pointer, &exact);
    bool has_key = exact && node->key;
    *ret_line = has_key ? node->key_line : node->line;
    *ret_column = has_key ? node->key_column : node->column;
}

int yaml_pointer_append(struct buf *b, const char *key)
{
    int rc = buf_append_char(b, '/');
    for (; *key && rc == 0; key++) {
        if (*key == '~')
            rc = buf_append_lit(b, "~0");
        else if (*key == '/')
            rc = buf_append_lit(b, "~1");
        else
            rc = buf_append_char(b, *key);
    }
    return rc;
}

static bool has_secret(const struct node *node)
{
    for (size_t i = 0; i < node->n; i++)
        if (has_secret(&node->children[i]))
            return true;
    return node->secret && node->secret[0] != '\0';
}

/* Whether a message about the node could show what a variable expanded to. */
static bool gives_away(const struct node *node, const char *text)
{
    for (size_t i = 0; i < node->n; i++)
        if (gives_away(&node->children[i], text))
            return true;
    if (!node->secret || node->secret[0] == '\0')
        return false;
    /* Messages shorten what they quote, and a reshaped secret cannot be searched for. */
    char start[5];
    snprintf(start, sizeof start, "%s", node->secret);
    return !node->verbatim || strstr(text, start);
}

int yaml_redact(const struct yaml_document *doc, const char *pointer, const char *text,
                struct buf *out)
{
    bool exact;
    const struct node *node = find(doc, pointer, &exact);
    /* Of "expected a; found b" the first half is ours alone. */
    const char *found = strstr(text, "; found ");
    if (found && has_secret(node)) {
        buf_append(out, text, (size_t)(found - text));
        return buf_append_lit(out, "; found a value expanded from ${...}");
    }
    if (!gives_away(node, text))
        return buf_append_str(out, text);
    /* "'x' is not of type 'number'" can still say what was expected. */
    size_t len = node->secret ? strlen(node->secret) : 0, quote = text[0] == '\'';
    bool quoted = len > 0 && node->verbatim && strncmp(text + quote, node->secret, len) == 0 &&
                  (!quote || text[1 + len] == '\'');
    if (quoted && !gives_away(node, text + quote + len + quote)) {
        buf_append_lit(out, "the value expanded from ${...}");
        return buf_append_str(out, text + quote + len + quote);
    }
    return buf_append_lit(out, "a value expanded from ${...} is not what is expected here");
}
