/* Configuration: what the operator said, read whole, checked whole, or refused with a place.
 *
 * Settings come from defaults, then hyprxa.yaml, then the environment, then flags.  Sources come
 * from every YAML file of conf.d.  Every problem names file:line:column and what was expected; all
 * problems of one reading are collected, so that one `--check` shows them all. */
#ifndef HYPRXA_CONFIG_CONFIG_H
#define HYPRXA_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/error.h"
#include "config/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* --- YAML, as json-c with places --- */
struct yaml_document; /* a file's value and the line and column of every node */

int yaml_read_file(const char *path, struct yaml_document **ret, struct error *err);
int yaml_read_text(const char *name, const char *text, size_t len, struct yaml_document **ret,
                   struct error *err);
void yaml_document_free(struct yaml_document *doc);
struct json_object *yaml_value(const struct yaml_document *doc); /* borrowed; `${VAR}` expanded */
const char *yaml_name(const struct yaml_document *doc);
/* Place of the node at a JSON pointer ("/sources/x/options"); of the nearest ancestor when absent. */
void yaml_place(const struct yaml_document *doc, const char *pointer, unsigned *ret_line,
                unsigned *ret_column);

/* --- settings --- */
/* The members are made from settings.def, one per variable of the contract (section 9) and per new
 * HYPRXA_ variable, in lower case: `events_maxlen` (int64_t), `events_flush_interval_us` (durations
 * carry their unit), `mongodb_connection_uri` (char *, "" when not set), `hyprxa_read_scopes`
 * (setting_strings), `hyprxa_read_any` (bool).
 *
 * In a settings file a variable A_B_C is key `b_c` of group `a`; those of group `hyprxa` may also
 * stand at the top level (`storage: ...`).  AUTH_DEBUG_... has groups of its own within `auth`:
 * `auth: {debug: {user: {...}}}`. */

/* Defaults, then `file` (NULL: none), then `.env` of the working directory, then the environment
 * (names in any case; an empty value is not set).  Flags are the caller's, set later with
 * settings_set().  All problems are in `problems` as lines; ERR_INVALID when there are any.  The
 * caller releases `s` in every case. */
int settings_load(struct settings *s, const char *file, struct buf *problems, struct error *err);
void settings_release(struct settings *s);
/* Set one by its variable's name, from text, as the environment would.  ERR_NOT_FOUND: no such. */
int settings_set(struct settings *s, const char *variable, const char *value, struct error *err);
/* Add to a list, for a flag that may be given again: the first call replaces what was there before
 * the flags. */
int settings_append(struct settings *s, const char *variable, const char *item, struct error *err);
/* Where the value of a variable comes from. */
enum setting_origin settings_origin(const struct settings *s, const char *variable);
/* The file to load when no flag names one: HYPRXA_CONFIG, else the default where it exists, else
 * NULL. */
const char *settings_default_file(void);
/* The names, comma-separated, of settings that were given and have no effect (LOGGING_CONFIG_PATH,
 * SENTRY_...); nothing when there are none. */
int settings_warnings(const struct settings *s, struct buf *out);
/* The table as text for `--help` and the README. */
int settings_describe(struct buf *out);

/* --- conf.d --- */
struct source_config {
    char *name, *plugin;
    bool isolation_process;
    bool enabled;
    char **scopes;          /* NULL-terminated, added to the plugin's */
    int scopes_any;         /* -1: not said */
    int raise_on_no_scopes; /* -1: not said */
    bool record_all;
    struct json_object *record;  /* a list of subscriptions, each with its `source`, or NULL */
    int64_t max_subscriptions;   /* 0: not said */
    int64_t stale_after_us;      /* 0: never */
    struct json_object *options; /* an object, or NULL */
    const struct yaml_document *document;
    char *pointer; /* of this entry in its document: "/sources/boiler" */
};
struct source_configs {
    struct source_config *items; /* in order of file name, then place */
    size_t n;
    struct yaml_document **documents;
    size_t n_documents;
};
/* Read every *.yaml and *.yml of `dir`.  Good entries are returned even when others have problems;
 * each problem is one line in `problems`; ERR_INVALID when there are any. */
int source_configs_read(const char *dir, struct source_configs *ret, struct buf *problems,
                        struct error *err);
void source_configs_release(struct source_configs *configs);
/* "file:line:column" of a pointer relative to the entry ("/options/port"), into `out`. */
void source_config_place(const struct source_config *c, const char *pointer, char *out,
                         size_t size);
/* Append the line "file:line:column: <why>" about the value at that pointer, as a validator reports
 * it; what a `${VAR}` expanded to is left out. */
int source_config_problem(const struct source_config *c, const char *pointer, const char *why,
                          struct buf *problems);

#endif
