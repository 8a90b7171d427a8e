#include "config/settings_priv.h"
#include "config/yaml_priv.h"

#include "base/auto.h"

#include <ctype.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

extern char **environ;

static const struct setting table[] = {
#define SETTING(kind, member, VARIABLE, initial, min, max, extra, help) \
    {SETTING_KIND_##kind,                                               \
     offsetof(struct settings, member),                                 \
     #VARIABLE,                                                         \
     initial,                                                           \
     min,                                                               \
     max,                                                               \
     extra,                                                             \
     help},
#include "config/settings.def"
#undef SETTING
};

/* `name` in any case, as the original system reads its environment. */
static const struct setting *setting_find(const char *name)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++)
        if (strcasecmp(table[i].variable, name) == 0)
            return &table[i];
    return NULL;
}

static int set(struct settings *s, const struct setting *d, const char *text,
               enum setting_origin origin, struct error *err)
{
    int rc = setting_parse(d, s, text, err);
    if (rc == 0)
        s->origin[d - table] = (unsigned char)origin;
    return rc;
}

/* --- the file --- */

struct file_reader {
    struct settings *s;
    const struct yaml_document *doc;
    struct buf *problems;
    bool seen[SETTINGS_COUNT];
};

static void problem_at(struct file_reader *r, const char *pointer, bool key, const char *what)
{
    unsigned line, column;
    if (key)
        yaml_key_place(r->doc, pointer, &line, &column);
    else
        yaml_place(r->doc, pointer, &line, &column);
    buf_printf(r->problems, "%s:%u:%u: ", yaml_name(r->doc), line, column);
    yaml_redact(r->doc, pointer, what, r->problems);
    buf_append_char(r->problems, '\n');
}

static bool has_capital(const char *key)
{
    for (const char *p = key; *p; p++)
        if (isupper((unsigned char)*p))
            return true;
    return false;
}

/* `maxlen` of group `events` is EVENTS_MAXLEN. */
static const struct setting *find_in_group(const char *group, const char *key)
{
    size_t len = strlen(group);
    if (has_capital(key))
        return NULL;
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const char *variable = table[i].variable;
        if (strncasecmp(variable, group, len) == 0 && variable[len] == '_' &&
            strcasecmp(variable + len + 1, key) == 0)
            return i == SETTING_INDEX_HYPRXA_CONFIG ? NULL : &table[i];
    }
    return NULL;
}

static bool is_group(const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const char *variable = table[i].variable;
        if (strcspn(variable, "_") == len && strncasecmp(variable, name, len) == 0)
            return name[0] >= 'a';
    }
    return false;
}

/* Groups within a group: `username` of `auth: {debug: {user: ...}}` is AUTH_DEBUG_USER_USERNAME. */
static bool is_inner_group(const char *name)
{
    static const char *const inner[] = {"auth_debug", "auth_debug_user"};
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++)
        if (strcmp(name, inner[i]) == 0)
            return true;
    return false;
}

static int read_setting(struct file_reader *r, const struct setting *d, const char *pointer,
                        struct json_object *value)
{
    struct error why = ERROR_INIT;
    bool *seen = &r->seen[d - table];
    if (*seen) {
        problem_at(r, pointer, true, "this setting stands in the file twice");
        return 0;
    }
    *seen = true;
    int rc = setting_from_json(d, r->s, value, &why);
    if (rc == ERR_INVALID)
        problem_at(r, pointer, false, why.message);
    else if (rc)
        return rc;
    else
        r->s->origin[d - table] = SETTING_FILE;
    return 0;
}

/* The members of `group`, which stands at `pointer`. */
static int read_group(struct file_reader *r, const char *group, struct buf *pointer,
                      struct json_object *members)
{
    if (!json_object_is_type(members, json_type_object)) {
        problem_at(r, pointer->data, false, "expected a group of settings (key: value)");
        return 0;
    }
    size_t base = pointer->len;
    int rc = 0;
    json_object_object_foreach (members, key, value) {
        AUTO(buf) inner = BUF_INIT(YAML_FILE_MAX);
        buf_printf(&inner, "%s_%s", group, key);
        pointer->len = base;
        if (inner.failed || yaml_pointer_append(pointer, key) != 0)
            return ERR_NOMEM;
        const struct setting *d = find_in_group(group, key);
        if (d)
            rc = read_setting(r, d, pointer->data, value);
        else if (is_inner_group(inner.data))
            rc = read_group(r, inner.data, pointer, value);
        else
            problem_at(r, pointer->data, true, "unknown setting");
        if (rc)
            break;
    }
    return rc;
}

/* A top-level key is a group, or a setting of the group `hyprxa` (`storage: ...`). */
static int read_file(struct settings *s, const char *file, struct buf *problems, struct error *err)
{
    struct yaml_document *doc;
    int rc = yaml_read_file(file, &doc, err);
    if (rc == ERR_INVALID || rc == ERR_IO)
        buf_printf(problems, "%s\n", err->message);
    if (rc)
        return rc == ERR_IO ? ERR_INVALID : rc;
    struct file_reader r = {.s = s, .doc = doc, .problems = problems};
    struct json_object *root = yaml_value(doc);
    if (root && !json_object_is_type(root, json_type_object)) {
        problem_at(&r, "", false, "expected groups of settings (key: value)");
        root = NULL;
    }
    if (root) {
        json_object_object_foreach (root, key, value) {
            AUTO(buf) pointer = BUF_INIT(YAML_FILE_MAX);
            const struct setting *d = find_in_group("hyprxa", key);
            rc = yaml_pointer_append(&pointer, key);
            if (rc == 0 && is_group(key))
                rc = read_group(&r, key, &pointer, value);
            else if (rc == 0 && d)
                rc = read_setting(&r, d, pointer.data, value);
            else if (rc == 0)
                problem_at(&r, pointer.data, true, "unknown setting or group of settings");
            if (rc)
                break;
        }
    }
    yaml_document_free(doc);
    return rc ? error_set(err, rc, "out of memory") : 0;
}

/* --- the environment --- */

struct environment_reader {
    struct settings *s;
    struct buf *problems;
};

static int read_variable(struct environment_reader *r, const char *place, const char *name,
                         const char *value)
{
    const struct setting *d = setting_find(name);
    /* Compose files and service managers write an unset variable as an empty one. */
    if (!d || value[0] == '\0')
        return 0;
    struct error why = ERROR_INIT;
    int rc = set(r->s, d, value, SETTING_ENVIRONMENT, &why);
    if (rc == ERR_INVALID)
        buf_printf(r->problems, "%s: %s: %s\n", place, d->variable, why.message);
    return rc == ERR_INVALID ? 0 : rc;
}

static int read_dotenv(void *ctx, unsigned line, const char *name, const char *value)
{
    char place[32];
    snprintf(place, sizeof place, ".env:%u", line);
    return read_variable(ctx, place, name, value);
}

static int read_environment(struct environment_reader *r, bool exact)
{
    for (char **entry = environ; entry && *entry; entry++) {
        const char *equals = strchr(*entry, '=');
        AUTO_FREE char *name = equals ? strndup(*entry, (size_t)(equals - *entry)) : NULL;
        if (!equals)
            continue;
        if (!name)
            return ERR_NOMEM;
        const struct setting *d = setting_find(name);
        if (!d || (strcmp(d->variable, name) == 0) != exact)
            continue;
        int rc = read_variable(r, "environment", name, equals + 1);
        if (rc)
            return rc;
    }
    return 0;
}

/* --- all together --- */

static int set_defaults(struct settings *s, struct error *err)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *d = &table[i];
        int rc = set(s, d, d->initial, SETTING_DEFAULT, err);
        if (rc) {
            error_prefix(err, "default of %s", d->variable);
            return rc;
        }
    }
    return 0;
}

int settings_load(struct settings *s, const char *file, struct buf *problems, struct error *err)
{
    struct error why = ERROR_INIT;
    memset(s, 0, sizeof *s);
    size_t before = problems->len;
    struct environment_reader r = {s, problems};
    int rc = set_defaults(s, err);
    if (rc == 0 && file && (rc = read_file(s, file, problems, &why)) == ERR_INVALID)
        rc = 0;
    if (rc == 0 && (rc = dotenv_read(".env", read_dotenv, &r, problems, &why)) == ERR_INVALID)
        rc = 0;
    /* A name spelt as documented wins over another spelling of it. */
    if (rc == 0)
        rc = read_environment(&r, false);
    if (rc == 0)
        rc = read_environment(&r, true);
    if (rc == 0 && problems->len > before)
        return error_set(err, ERR_INVALID, "the settings have errors");
    return rc ? error_set(err, rc, "settings: %s", rc == ERR_NOMEM ? "out of memory" : why.message)
              : 0;
}

void settings_release(struct settings *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < SETTINGS_COUNT; i++)
        setting_clear(&table[i], s);
    memset(s, 0, sizeof *s);
}

int settings_set(struct settings *s, const char *variable, const char *value, struct error *err)
{
    const struct setting *d = setting_find(variable);
    if (!d)
        return error_set(err, ERR_NOT_FOUND, "there is no setting %s", variable);
    int rc = set(s, d, value, SETTING_FLAG, err);
    if (rc)
        error_prefix(err, "%s", d->variable);
    return rc;
}

int settings_append(struct settings *s, const char *variable, const char *item, struct error *err)
{
    const struct setting *d = setting_find(variable);
    if (!d || d->kind != SETTING_KIND_LIST)
        return error_set(err, ERR_NOT_FOUND, "there is no list setting %s", variable);
    struct setting_strings *list = (void *)((char *)s + d->offset);
    if (s->origin[d - table] != SETTING_FLAG)
        setting_list_clear(list);
    s->origin[d - table] = SETTING_FLAG;
    return setting_list_append(list, item) ? error_set(err, ERR_NOMEM, "out of memory") : 0;
}

enum setting_origin settings_origin(const struct settings *s, const char *variable)
{
    const struct setting *d = setting_find(variable);
    return d ? (enum setting_origin)s->origin[d - table] : SETTING_DEFAULT;
}

const char *settings_default_file(void)
{
    const char *named = getenv("HYPRXA_CONFIG");
    if (named && named[0])
        return named;
    return access(HYPRXA_DEFAULT_CONFIG, F_OK) == 0 ? HYPRXA_DEFAULT_CONFIG : NULL;
}

int settings_warnings(const struct settings *s, struct buf *out)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++)
        if (table[i].kind == SETTING_KIND_IGNORED && s->origin[i] != SETTING_DEFAULT)
            buf_printf(out, "%s%s", out->len ? ", " : "", table[i].variable);
    return out->failed ? ERR_NOMEM : 0;
}

int settings_describe(struct buf *out)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        const struct setting *d = &table[i];
        if (d->kind == SETTING_KIND_IGNORED)
            continue;
        buf_printf(out, "  %s\n      %s\n      ", d->variable, d->help);
        setting_expected(d, out);
        if (d->initial[0]) {
            buf_append_lit(out, "; default ");
            setting_default(d, out);
        }
        buf_append_char(out, '\n');
    }
    buf_append_lit(out, "  LOGGING_CONFIG_PATH, SENTRY_...\n"
                        "      of the original system: accepted, without effect\n");
    return out->failed ? ERR_NOMEM : 0;
}
