/* csv: columns of CSV files, followed as they grow. */
#include "file.h"
#include "options_schema_json.h"
#include "reader.h"
#include "scan.h"
#include "subscription_schema_json.h"

#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What integration->create() makes: shared by the connections of a source. */
struct source {
    struct csv_options options; /* const */
    struct csv_counters counters;
};

static void destroy_source(void *self)
{
    struct source *s = self;
    csv_options_release(&s->options);
    free(s);
}

static hyprxa_status create_source(struct hyprxa_ctx *ctx, void **ret, struct hyprxa_error *err)
{
    struct source *s = calloc(1, sizeof(*s));
    if (!s) {
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
    }
    hyprxa_status status = csv_options_read(&s->options, ctx->options, err);
    if (status != HYPRXA_OK) {
        destroy_source(s);
        return status;
    }
    *ret = s;
    return HYPRXA_OK;
}

static size_t info(void *self, char *json, size_t cap)
{
    struct source *s = self;
    int n = snprintf(json, cap,
                     "{\"files\":%llu,\"rows\":%llu,\"malformed\":%llu,\"written_anew\":%llu}",
                     atomic_load(&s->counters.files), atomic_load(&s->counters.rows),
                     atomic_load(&s->counters.malformed), atomic_load(&s->counters.restarts));
    return n > 0 ? (size_t)n : 0;
}

/* --- browsing --- */

/* `text` as a quoted JSON string at the end of `out`, which has room. */
static void append_json_string(char *out, const char *text)
{
    out += strlen(out);
    *out++ = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            *out++ = '\\';
            *out++ = *text;
        } else if (c < 0x20) {
            out += sprintf(out, "\\u%04x", c);
        } else {
            *out++ = *text;
        }
    }
    *out++ = '"';
    *out = '\0';
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The columns of a file but the timestamp, added to `list`.  False: out of memory. */
static bool list_columns(const struct csv_options *options, const char *path,
                         struct path_list *list)
{
    char message[300];
    struct stat st;
    struct csv_file *f =
        stat(path, &st) == 0 && S_ISREG(st.st_mode) ? csv_file_new(path, &st) : NULL;
    bool done = true;
    if (f && csv_file_open(f, path)) {
        csv_file_read_header(f, options, message, sizeof(message));
    }
    for (size_t i = 0; f && done && f->header == HEADER_READ && i < f->n_columns; i++) {
        if (i != f->timestamp_field && f->columns[i][0]) {
            done = path_list_add(list, "", f->columns[i]);
        }
    }
    csv_file_free(f);
    return done;
}

static hyprxa_status list(struct hyprxa_ctx *ctx, void *self, hyprxa_list_fn *item, void *arg,
                          struct hyprxa_error *err)
{
    const struct source *s = self;
    struct path_list paths, columns = {0};
    (void)ctx;
    bool done = scan_paths(s->options.path, &paths);
    for (size_t i = 0; done && i < paths.n; i++) {
        done = list_columns(&s->options, paths.paths[i], &columns);
    }
    if (columns.n > 0) {
        qsort(columns.paths, columns.n, sizeof(*columns.paths), by_name);
    }
    for (size_t i = 0; done && i < columns.n; i++) {
        if (i > 0 && strcmp(columns.paths[i], columns.paths[i - 1]) == 0) {
            continue;
        }
        char *json = malloc(strlen(columns.paths[i]) * 6 + 32);
        done = json != NULL;
        if (json) {
            strcpy(json, "{\"column\":");
            append_json_string(json, columns.paths[i]);
            strcat(json, "}");
            item(arg, json);
            free(json);
        }
    }
    path_list_release(&paths);
    path_list_release(&columns);
    return done ? HYPRXA_OK : hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory");
}

/* --- connections --- */

static hyprxa_status run(void *conn, struct hyprxa_link *link, struct hyprxa_error *err)
{
    return reader_run(conn, link, err);
}

static void destroy(void *conn)
{
    reader_free(conn);
}

static hyprxa_status create(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs, size_t n,
                            void **ret, struct hyprxa_error *err)
{
    struct source *s = self;
    struct reader *r = reader_new(&s->options, &s->counters);
    (void)ctx;
    if (!r) {
        return hyprxa_error_set(err, HYPRXA_E_NOMEM, "out of memory or descriptors");
    }
    hyprxa_status status = reader_add(r, subs, n, err);
    if (status != HYPRXA_OK) {
        reader_free(r);
        return status;
    }
    *ret = r;
    return HYPRXA_OK;
}

static hyprxa_status add(void *conn, hyprxa_subs subs, size_t n, struct hyprxa_error *err)
{
    return reader_add(conn, subs, n, err);
}

static void remove_subscriptions(void *conn, hyprxa_subs subs, size_t n)
{
    reader_remove(conn, subs, n);
}

static const struct hyprxa_base_integration integration = {
    .size = sizeof(integration),
    .create = create_source,
    .destroy = destroy_source,
    .info = info,
    .list = list,
};

static const struct hyprxa_base_connection connection = {
    .size = sizeof(connection),
    .run = run,
    .destroy = destroy,
    .create = create,
    .add = add,
    .remove = remove_subscriptions,
};

const struct hyprxa_plugin hyprxa_plugin_v1 = {
    .size = sizeof(hyprxa_plugin_v1),
    .abi_major = HYPRXA_ABI_MAJOR,
    .abi_minor = HYPRXA_ABI_MINOR,
    .flags = HYPRXA_PLUGIN_UNLOADABLE | HYPRXA_PLUGIN_EXCLUSIVE,
    .name = "csv",
    .version = "1.0",
    .description = "Columns of CSV files, followed as they grow, rotate and come.",
    .subscription_schema = subscription_schema_json,
    .options_schema = options_schema_json,
    .integration = &integration,
    .connection = &connection,
    .max_connections = 1, /* one reader for all: files are read once, positions have one owner */
};
