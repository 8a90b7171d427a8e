#include "plugin_host/integration_priv.h"

#include "base/json.h"
#include "base/json_schema.h"
#include "base/module.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char entry_symbol[] = "hyprxa_plugin_v1";

/* Open plugins, so that a file is loaded and initialised once. */
static struct {
    pthread_mutex_t lock;
    struct plugin *first;
} registry = {PTHREAD_MUTEX_INITIALIZER, NULL};

/* --- the file --- */

static bool is_bare_name(const char *name)
{
    return name[0] && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(name);
}

/* The absolute path of an existing file. */
static int resolve(const char *dir, const char *name, char path[PATH_MAX], struct error *err)
{
    char wanted[PATH_MAX];
    int len;
    if (name[0] == '/')
        len = snprintf(wanted, sizeof wanted, "%s", name);
    else if (is_bare_name(name))
        len = snprintf(wanted, sizeof wanted, "%s/%s.so", dir, name);
    else
        return error_set(err, ERR_INVALID,
                         "plugin '%s': give a bare name (letters, digits, '.', '_', '-') or an "
                         "absolute path",
                         name);
    if (len < 0 || (size_t)len >= sizeof wanted)
        return error_set(err, ERR_INVALID, "plugin '%s': the path is too long", name);
    if (!realpath(wanted, path))
        return errno == ENOENT || errno == ENOTDIR
                   ? error_set(err, ERR_NOT_FOUND, "plugin '%s': no such file: %s", name, wanted)
                   : error_set_errno(err, errno, "plugin '%s': cannot open %s", name, wanted);
    return 0;
}

/* What is loaded runs with all our rights: nobody else may have a hand in it. */
static int check_file(const char *path, struct stat *ret, struct error *err)
{
    char folder[PATH_MAX];
    struct stat dir;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    slash[slash == folder] = '\0';
    if (stat(path, ret) != 0)
        return error_set_errno(err, errno, "cannot look at %s", path);
    if (stat(folder, &dir) != 0)
        return error_set_errno(err, errno, "cannot look at %s", folder);
    if (!S_ISREG(ret->st_mode))
        return error_set(err, ERR_INVALID, "%s is not a regular file", path);
    if (ret->st_mode & S_IWOTH)
        return error_set(err, ERR_INVALID, "%s is writable by others; not loaded (chmod o-w)",
                         path);
    if (dir.st_mode & S_IWOTH)
        return error_set(err, ERR_INVALID,
                         "%s is writable by others; nothing is loaded from it (chmod o-w)", folder);
    return 0;
}

/* --- the entry --- */

void plugin_copy_table(void *to, size_t to_size, const void *from, uint32_t from_size)
{
    memset(to, 0, to_size);
    memcpy(to, from, from_size < to_size ? from_size : to_size);
}

/* Say which contract the file was made for instead. */
static int report_other_abi(const struct module *module, const char *path, struct error *err)
{
    for (unsigned major = 0; major <= 16; major++) {
        char name[32];
        snprintf(name, sizeof name, "hyprxa_plugin_v%u", major);
        if (major != HYPRXA_ABI_MAJOR && module_symbol(module, name))
            return error_set(err, ERR_UNSUPPORTED,
                             "%s offers plugin ABI %u, this server needs %u (symbol %s)", path,
                             major, HYPRXA_ABI_MAJOR, entry_symbol);
    }
    return error_set(err, ERR_INVALID, "%s is no hyprxa plugin: it has no symbol %s", path,
                     entry_symbol);
}

static int check_entry(struct plugin *p, const struct hyprxa_plugin *e, struct error *err)
{
    if (e->size < sizeof(uint32_t) * 4)
        return error_set(err, ERR_INVALID, "%s: struct hyprxa_plugin has size %u; was it set?",
                         p->path, e->size);
    if (e->abi_major != HYPRXA_ABI_MAJOR)
        return error_set(err, ERR_UNSUPPORTED, "%s offers plugin ABI %u.%u, this server needs %u",
                         p->path, e->abi_major, e->abi_minor, HYPRXA_ABI_MAJOR);
    if (e->size < PLUGIN_MIN_SIZE)
        return error_set(err, ERR_INVALID,
                         "%s: struct hyprxa_plugin has %u bytes, ABI 1.0 has at least %zu", p->path,
                         e->size, (size_t)PLUGIN_MIN_SIZE);
    plugin_copy_table(&p->entry, sizeof p->entry, e, e->size);
    const char *missing = !p->entry.name                  ? "name"
                          : !p->entry.version             ? "version"
                          : !p->entry.description         ? "description"
                          : !p->entry.subscription_schema ? "subscription_schema"
                                                          : NULL;
    if (missing)
        return error_set(err, ERR_INVALID, "%s: required member `%s` is NULL", p->path, missing);
    if (!is_bare_name(p->entry.name) || strlen(p->entry.name) > 100)
        return error_set(err, ERR_INVALID,
                         "%s: `name` must be 1 to 100 letters, digits, '.', '_' or '-'", p->path);
    return 0;
}

static int check_tables(struct plugin *p, struct error *err)
{
    const struct hyprxa_base_integration *in = p->entry.integration;
    const struct hyprxa_base_connection *conn = p->entry.connection;
    if (in) {
        if (in->size < INTEGRATION_MIN_SIZE)
            return error_set(err, ERR_INVALID,
                             "%s: struct hyprxa_base_integration has %u bytes, ABI 1.0 has at "
                             "least %zu",
                             p->path, in->size, (size_t)INTEGRATION_MIN_SIZE);
        plugin_copy_table(&p->integration, sizeof p->integration, in, in->size);
    }
    if (p->integration.subscribe)
        return 0;
    if (!conn)
        return error_set(err, ERR_INVALID,
                         "%s: neither `connection` nor `integration->subscribe` is set", p->path);
    if (conn->size < CONNECTION_MIN_SIZE)
        return error_set(err, ERR_INVALID,
                         "%s: struct hyprxa_base_connection has %u bytes, ABI 1.0 has at least %zu",
                         p->path, conn->size, (size_t)CONNECTION_MIN_SIZE);
    plugin_copy_table(&p->connection, sizeof p->connection, conn, conn->size);
    const char *missing = !p->connection.run       ? "run"
                          : !p->connection.destroy ? "destroy"
                          : !p->connection.create  ? "create"
                                                   : NULL;
    if (missing)
        return error_set(err, ERR_INVALID, "%s: required member `connection->%s` is NULL", p->path,
                         missing);
    return 0;
}

static int compile(const char *text, const char *member, const char *path, struct json_schema **ret,
                   struct error *err)
{
    AUTO_JSON *schema = NULL;
    int rc = json_parse(text, strlen(text), &schema, err);
    if (!rc)
        rc = json_schema_compile(schema, 0, ret, err);
    if (rc)
        error_prefix(err, "%s: `%s` is not a valid JSON Schema", path, member);
    return rc;
}

/* --- opening --- */

static void plugin_destroy(struct plugin *p)
{
    if (p->initialised && p->entry.deinit)
        p->entry.deinit();
    json_schema_unref(p->subscription_schema);
    json_schema_unref(p->options_schema);
    module_close(p->module);
    free(p->path);
    free(p);
}

/* Load what `p->path` names.  Unless it declares itself unloadable, the file stays mapped for good. */
static int load(struct plugin *p, struct error *err)
{
    int rc = module_open(p->path, false, &p->module, err);
    if (rc)
        return rc;
    const struct hyprxa_plugin *entry = module_symbol(p->module, entry_symbol);
    if (!entry)
        return report_other_abi(p->module, p->path, err);
    rc = check_entry(p, entry, err);
    if (!rc)
        rc = check_tables(p, err);
    if (!rc)
        rc = compile(p->entry.subscription_schema, "subscription_schema", p->path,
                     &p->subscription_schema, err);
    if (!rc && p->entry.options_schema)
        rc = compile(p->entry.options_schema, "options_schema", p->path, &p->options_schema, err);
    if (rc)
        return rc;
    if (!(p->entry.flags & HYPRXA_PLUGIN_UNLOADABLE)) {
        struct module *first = p->module;
        p->module = NULL;
        rc = module_open(p->path, true, &p->module, err);
        module_close(first);
        if (rc)
            return rc;
    }
    if (p->entry.init) {
        struct hyprxa_error why = {.size = sizeof why};
        hyprxa_status status = p->entry.init(&why);
        if (status != HYPRXA_OK) {
            rc = host_error(err, status, &why);
            error_prefix(err, "%s: init", p->path);
            return rc;
        }
    }
    p->initialised = true;
    return 0;
}

static struct plugin *find_locked(const struct stat *st)
{
    for (struct plugin *p = registry.first; p; p = p->next)
        if (p->device == (uint64_t)st->st_dev && p->inode == (uint64_t)st->st_ino)
            return p;
    return NULL;
}

int plugin_open(const char *dir, const char *name, struct plugin **ret, struct error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = resolve(dir, name, path, err);
    if (!rc)
        rc = check_file(path, &st, err);
    if (rc)
        return rc;
    pthread_mutex_lock(&registry.lock);
    struct plugin *p = find_locked(&st);
    if (p) {
        p->refs++;
        goto out;
    }
    p = calloc(1, sizeof *p);
    if (!p || !(p->path = strdup(path))) {
        free(p);
        rc = error_set(err, ERR_NOMEM, "out of memory");
        goto out;
    }
    p->device = (uint64_t)st.st_dev;
    p->inode = (uint64_t)st.st_ino;
    p->refs = 1;
    rc = load(p, err);
    if (rc) {
        plugin_destroy(p);
        goto out;
    }
    p->next = registry.first;
    registry.first = p;
out:
    pthread_mutex_unlock(&registry.lock);
    if (!rc)
        *ret = p;
    return rc;
}

struct plugin *plugin_ref(struct plugin *p)
{
    pthread_mutex_lock(&registry.lock);
    p->refs++;
    pthread_mutex_unlock(&registry.lock);
    return p;
}

void plugin_unref(struct plugin *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&registry.lock);
    bool last = --p->refs == 0;
    if (last) {
        struct plugin **at = &registry.first;
        while (*at != p)
            at = &(*at)->next;
        *at = p->next;
        plugin_destroy(p); /* under the lock: the next open of the file must find it unloaded */
    }
    pthread_mutex_unlock(&registry.lock);
}

/* --- queries --- */

const char *plugin_name(const struct plugin *p)
{
    return p->entry.name;
}
const char *plugin_version(const struct plugin *p)
{
    return p->entry.version;
}
const char *plugin_description(const struct plugin *p)
{
    return p->entry.description;
}
const char *plugin_path(const struct plugin *p)
{
    return p->path;
}
const char *const *plugin_scopes(const struct plugin *p)
{
    static const char *const none[] = {NULL};
    return p->entry.scopes ? p->entry.scopes : none;
}
bool plugin_scopes_any(const struct plugin *p)
{
    return (p->entry.flags & HYPRXA_PLUGIN_SCOPES_ANY) != 0;
}
const struct json_schema *plugin_subscription_schema(const struct plugin *p)
{
    return p->subscription_schema;
}
const struct json_schema *plugin_options_schema(const struct plugin *p)
{
    return p->options_schema;
}
