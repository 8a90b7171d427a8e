#include "config/yaml_priv.h"

#include "base/auto.h"
#include "base/time.h"

#include <dirent.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SOURCE_NAME_MAX = 95, /* "<name>-<hash>" must fit a routing key */
    POINTER_MAX = 1 << 20,
};

/* One source while it is read.  `pointer` is where we are; a failed append shows as no place. */
struct reader {
    const struct yaml_document *doc;
    struct source_config *source;
    struct buf pointer;
    struct buf *problems;
    bool bad;
    bool no_memory;
};

static void report(struct reader *r, bool at_key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(struct reader *r, bool at_key, const char *format, ...)
{
    const char *pointer = r->pointer.data ? r->pointer.data : "";
    struct error what;
    va_list args;
    va_start(args, format);
    error_setv(&what, ERR_INVALID, format, args);
    va_end(args);
    unsigned line, column;
    if (at_key)
        yaml_key_place(r->doc, pointer, &line, &column);
    else
        yaml_place(r->doc, pointer, &line, &column);
    buf_printf(r->problems, "%s:%u:%u: ", yaml_name(r->doc), line, column);
    yaml_redact(r->doc, pointer, what.message, r->problems);
    buf_append_char(r->problems, '\n');
    r->bad = true;
}

static const char *type_name(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_boolean:
        return "a boolean";
    case json_type_int:
        return "a whole number";
    case json_type_double:
        return "a number";
    case json_type_string:
        return "text";
    case json_type_array:
        return "a list";
    case json_type_object:
        return "a group of keys";
    default:
        return "nothing";
    }
}

static bool expect_type(struct reader *r, struct json_object *value, enum json_type type,
                        const char *expected)
{
    if (json_object_is_type(value, type))
        return true;
    report(r, false, "expected %s; found %s", expected, type_name(value));
    return false;
}

static size_t enter(struct reader *r, const char *key)
{
    size_t before = r->pointer.len;
    yaml_pointer_append(&r->pointer, key);
    return before;
}

static void leave(struct reader *r, size_t before)
{
    r->pointer.len = before;
    r->pointer.data[before] = '\0';
}

/* --- the keys of a source, each read by one function --- */

typedef void key_fn(struct reader *r, struct json_object *value);

struct key {
    const char *name;
    key_fn *read;
};

/* Read the members of an object by their table; a key that is not in it is a problem. */
static void read_keys(struct reader *r, struct json_object *object, const struct key *keys,
                      size_t n_keys)
{
    json_object_object_foreach (object, name, value) {
        size_t before = enter(r, name), i = 0;
        while (i < n_keys && strcmp(keys[i].name, name) != 0)
            i++;
        if (i < n_keys) {
            keys[i].read(r, value);
        } else {
            AUTO(buf) known = BUF_INIT(512);
            for (size_t k = 0; k < n_keys; k++)
                buf_printf(&known, "%s%s", k ? ", " : "", keys[k].name);
            report(r, true, "unknown key '%.100s'; expected one of: %s", name, known.data);
        }
        leave(r, before);
    }
}

static char *copy_text(struct reader *r, const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        r->no_memory = true;
    return copy;
}

static void read_plugin(struct reader *r, struct json_object *value)
{
    if (!expect_type(r, value, json_type_string, "the name of a plugin"))
        return;
    const char *name = json_object_get_string(value);
    if (name[0] == '\0' || name[0] == '.' || (name[0] != '/' && strchr(name, '/')))
        report(r, false,
               "expected the name of a plugin in the plugin folder, without .so, or an absolute "
               "path; found '%.100s'",
               name);
    else
        r->source->plugin = copy_text(r, name);
}

static void read_isolation(struct reader *r, struct json_object *value)
{
    const char *word =
        json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
    r->source->isolation_process = strcmp(word, "process") == 0;
    if (!r->source->isolation_process && strcmp(word, "thread") != 0)
        report(r, false, "expected 'thread' or 'process'");
}

static bool read_bool(struct reader *r, struct json_object *value, bool *ret)
{
    if (!expect_type(r, value, json_type_boolean, "a boolean, true or false"))
        return false;
    *ret = json_object_get_boolean(value);
    return true;
}

static void read_enabled(struct reader *r, struct json_object *value)
{
    read_bool(r, value, &r->source->enabled);
}

static void read_any(struct reader *r, struct json_object *value)
{
    bool flag;
    if (read_bool(r, value, &flag))
        r->source->scopes_any = flag;
}

static void read_raise(struct reader *r, struct json_object *value)
{
    bool flag;
    if (read_bool(r, value, &flag))
        r->source->raise_on_no_scopes = flag;
}

static void read_scopes(struct reader *r, struct json_object *value)
{
    if (!expect_type(r, value, json_type_array, "a list of scopes"))
        return;
    size_t n = json_object_array_length(value);
    char **scopes = calloc(n + 1, sizeof *scopes);
    if (!scopes) {
        r->no_memory = true;
        return;
    }
    r->source->scopes = scopes;
    for (size_t i = 0, kept = 0; i < n; i++) {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        size_t before = enter(r, index);
        struct json_object *item = json_object_array_get_idx(value, i);
        if (!expect_type(r, item, json_type_string, "a scope, which is text"))
            ;
        else if (json_object_get_string_len(item) == 0)
            report(r, false, "a scope must not be empty");
        else if ((scopes[kept] = copy_text(r, json_object_get_string(item))) != NULL)
            kept++;
        leave(r, before);
    }
}

/* The subscription with its `source` filled in, so that it is complete by itself. */
static struct json_object *complete_subscription(struct reader *r, struct json_object *value)
{
    if (!expect_type(r, value, json_type_object, "a subscription, such as {metric: cpu.user}"))
        return NULL;
    struct json_object *source;
    if (json_object_object_get_ex(value, "source", &source) &&
        (!json_object_is_type(source, json_type_string) ||
         strcmp(json_object_get_string(source), r->source->name) != 0)) {
        size_t before = enter(r, "source");
        report(r, false, "expected the name of this source, '%s', or no 'source' at all",
               r->source->name);
        leave(r, before);
        return NULL;
    }
    struct json_object *whole = json_object_new_object();
    struct json_object *name = whole ? json_object_new_string(r->source->name) : NULL;
    if (!name || json_object_object_add(whole, "source", name) != 0)
        r->no_memory = true;
    json_object_object_foreach (value, key, member) {
        if (strcmp(key, "source") != 0 && whole &&
            json_object_object_add(whole, key, json_object_get(member)) != 0)
            r->no_memory = true;
    }
    return whole;
}

static void read_record(struct reader *r, struct json_object *value)
{
    if (json_object_is_type(value, json_type_string) &&
        strcmp(json_object_get_string(value), "all") == 0) {
        r->source->record_all = true;
        return;
    }
    if (!expect_type(r, value, json_type_array, "'all' or a list of subscriptions"))
        return;
    r->source->record = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        char index[24];
        snprintf(index, sizeof index, "%zu", i);
        size_t before = enter(r, index);
        struct json_object *whole = complete_subscription(r, json_object_array_get_idx(value, i));
        if (whole && (!r->source->record || json_object_array_add(r->source->record, whole) != 0)) {
            json_object_put(whole);
            r->no_memory = true;
        }
        leave(r, before);
    }
}

static void read_max_subscriptions(struct reader *r, struct json_object *value)
{
    if (!expect_type(r, value, json_type_int, "a whole number from 1 on"))
        return;
    r->source->max_subscriptions = json_object_get_int64(value);
    if (r->source->max_subscriptions < 1)
        report(r, false, "expected a whole number from 1 on");
}

static void read_stale_after(struct reader *r, struct json_object *value)
{
    static const char expected[] =
        "a duration: a whole number and us, ms, s, m, h or d, such as 30s";
    if (!expect_type(r, value, json_type_string, expected))
        return;
    int64_t us;
    if (time_parse_duration(json_object_get_string(value), &us, NULL) != 0 || us <= 0)
        report(r, false, "expected %s; found '%.40s'", expected, json_object_get_string(value));
    else
        r->source->stale_after_us = us;
}

static void read_limits(struct reader *r, struct json_object *value)
{
    static const struct key keys[] = {
        {"max_subscriptions", read_max_subscriptions},
        {"stale_after", read_stale_after},
    };
    if (expect_type(r, value, json_type_object, "a group of limits (key: value)"))
        read_keys(r, value, keys, sizeof keys / sizeof *keys);
}

static void read_options(struct reader *r, struct json_object *value)
{
    if (expect_type(r, value, json_type_object, "the plugin's options (key: value)"))
        r->source->options = json_object_get(value);
}

static const struct key source_keys[] = {
    {"plugin", read_plugin},
    {"isolation", read_isolation},
    {"scopes", read_scopes},
    {"any", read_any},
    {"raise_on_no_scopes", read_raise},
    {"enabled", read_enabled},
    {"record", read_record},
    {"limits", read_limits},
    {"options", read_options},
};

static void check_name(struct reader *r, const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > SOURCE_NAME_MAX)
        report(r, true, "the name of a source must have 1 to %d bytes, this has %zu",
               SOURCE_NAME_MAX, len);
    for (const char *p = name; *p; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            report(r, true, "the name of a source must not hold control characters");
            break;
        }
    }
}

static void source_release(struct source_config *s)
{
    for (char **scope = s->scopes; scope && *scope; scope++)
        free(*scope);
    free(s->scopes);
    free(s->name);
    free(s->plugin);
    free(s->pointer);
    json_object_put(s->record);
    json_object_put(s->options);
}

/* --- all sources --- */

static const struct source_config *find_source(const struct source_configs *all, const char *name)
{
    for (size_t i = 0; i < all->n; i++)
        if (strcmp(all->items[i].name, name) == 0)
            return &all->items[i];
    return NULL;
}

static int keep(struct source_configs *all, struct source_config *source)
{
    struct source_config *grown = realloc(all->items, (all->n + 1) * sizeof *grown);
    if (!grown)
        return ERR_NOMEM;
    all->items = grown;
    all->items[all->n++] = *source;
    *source = (struct source_config){0};
    return 0;
}

/* One entry; r->pointer is at it.  A good one is kept. */
static int read_source(struct reader *r, struct source_configs *all, const char *name,
                       struct json_object *entry)
{
    struct source_config source = {
        .enabled = true, .scopes_any = -1, .raise_on_no_scopes = -1, .document = r->doc};
    r->source = &source;
    r->bad = false;
    source.name = copy_text(r, name);
    source.pointer = copy_text(r, r->pointer.data);
    const struct source_config *other = find_source(all, name);
    int rc = 0;
    if (r->no_memory)
        goto out;
    check_name(r, name);
    if (other) {
        char place[512];
        source_config_place(other, "", place, sizeof place);
        report(r, true, "source '%s' is already defined at %s", name, place);
    }
    if (expect_type(r, entry, json_type_object, "the keys of a source (plugin: ...)")) {
        read_keys(r, entry, source_keys, sizeof source_keys / sizeof *source_keys);
        if (!json_object_object_get_ex(entry, "plugin", NULL))
            report(r, true, "source '%.95s' lacks the key 'plugin'", name);
    }
    if (!r->bad && !r->no_memory)
        rc = keep(all, &source);
out:
    source_release(&source);
    return r->no_memory ? ERR_NOMEM : rc;
}

static int read_sources(struct reader *r, struct source_configs *all)
{
    struct json_object *root = yaml_value(r->doc), *sources = NULL;
    int rc = 0;
    if (!root) /* empty, or comments only */
        return 0;
    if (!expect_type(r, root, json_type_object, "the key 'sources'"))
        return 0;
    json_object_object_foreach (root, key, value) {
        size_t before = enter(r, key);
        if (strcmp(key, "sources") != 0)
            report(r, true, "unknown key '%.100s'; expected one of: sources", key);
        else if (value && expect_type(r, value, json_type_object, "sources by their names"))
            sources = value;
        leave(r, before);
    }
    if (!sources)
        return 0;
    size_t at_sources = enter(r, "sources");
    json_object_object_foreach (sources, name, entry) {
        size_t before = enter(r, name);
        rc = read_source(r, all, name, entry);
        leave(r, before);
        if (rc)
            break;
    }
    leave(r, at_sources);
    return rc;
}

static int read_file(const char *path, struct source_configs *all, struct buf *problems)
{
    struct error err = ERROR_INIT;
    struct yaml_document *doc;
    int rc = yaml_read_file(path, &doc, &err);
    if (rc == ERR_NOMEM)
        return rc;
    if (rc) {
        buf_printf(problems, "%s\n", err.message);
        return 0;
    }
    struct yaml_document **grown = realloc(all->documents, (all->n_documents + 1) * sizeof *grown);
    if (!grown) {
        yaml_document_free(doc);
        return ERR_NOMEM;
    }
    all->documents = grown;
    all->documents[all->n_documents++] = doc;
    struct reader r = {.doc = doc, .problems = problems, .pointer = BUF_INIT(POINTER_MAX)};
    rc = buf_append_str(&r.pointer, "");
    if (rc == 0)
        rc = read_sources(&r, all);
    buf_release(&r.pointer);
    return rc;
}

static int is_yaml_name(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && dot &&
           (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0);
}

/* In the order of bytes, so that the order of sources does not depend on a locale. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int source_configs_read(const char *dir, struct source_configs *ret, struct buf *problems,
                        struct error *err)
{
    *ret = (struct source_configs){0};
    size_t before = problems->len;
    struct dirent **entries;
    int n = scandir(dir, &entries, is_yaml_name, by_name);
    if (n < 0) {
        error_set_errno(err, errno, "%s", dir);
        buf_printf(problems, "%s: %s\n", dir, strerror(errno));
        return errno == ENOMEM ? ERR_NOMEM : ERR_INVALID;
    }
    int rc = 0;
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (rc == 0 && asprintf(&path, "%s/%s", dir, entries[i]->d_name) < 0)
            rc = ERR_NOMEM;
        else if (rc == 0)
            rc = read_file(path, ret, problems);
        free(path);
        free(entries[i]);
    }
    free(entries);
    if (rc)
        return error_set(err, rc, "%s: out of memory", dir);
    if (problems->len > before || problems->failed)
        return error_set(err, ERR_INVALID, "%s: the sources have errors", dir);
    return 0;
}

void source_configs_release(struct source_configs *configs)
{
    if (!configs)
        return;
    for (size_t i = 0; i < configs->n; i++)
        source_release(&configs->items[i]);
    for (size_t i = 0; i < configs->n_documents; i++)
        yaml_document_free(configs->documents[i]);
    free(configs->items);
    free(configs->documents);
    *configs = (struct source_configs){0};
}

static char *whole_pointer(const struct source_config *c, const char *pointer)
{
    char *whole;
    return asprintf(&whole, "%s%s", c->pointer, pointer) < 0 ? NULL : whole;
}

void source_config_place(const struct source_config *c, const char *pointer, char *out, size_t size)
{
    AUTO_FREE char *whole = whole_pointer(c, pointer);
    unsigned line, column;
    yaml_place(c->document, whole ? whole : c->pointer, &line, &column);
    snprintf(out, size, "%s:%u:%u", yaml_name(c->document), line, column);
}

int source_config_problem(const struct source_config *c, const char *pointer, const char *why,
                          struct buf *problems)
{
    AUTO_FREE char *whole = whole_pointer(c, pointer);
    if (!whole)
        return ERR_NOMEM;
    unsigned line, column;
    yaml_place(c->document, whole, &line, &column);
    buf_printf(problems, "%s:%u:%u: ", yaml_name(c->document), line, column);
    yaml_redact(c->document, whole, why, problems);
    return buf_append_char(problems, '\n');
}
