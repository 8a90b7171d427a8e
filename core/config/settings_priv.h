/* Inside config: one setting as the table knows it, and its value. */
#ifndef HYPRXA_CONFIG_SETTINGS_PRIV_H
#define HYPRXA_CONFIG_SETTINGS_PRIV_H

#include "config/config.h"

enum setting_kind {
    SETTING_KIND_STRING,
    SETTING_KIND_SECRET,
    SETTING_KIND_CHOICE,
    SETTING_KIND_IGNORED,
    SETTING_KIND_BOOL,
    SETTING_KIND_INT,
    SETTING_KIND_SIZE,
    SETTING_KIND_DURATION,
    SETTING_KIND_LIST,
};

struct setting {
    enum setting_kind kind;
    size_t offset; /* of the member in struct settings */
    const char *variable, *initial;
    int64_t min, max;
    const char *extra, *help;
};

/* Replace the value from text, or from a value of a settings file (where a number must be a number
 * and text text).  ERR_INVALID: `err` says what is expected and, unless it is secret, what was
 * found; the value is unchanged. */
int setting_parse(const struct setting *d, struct settings *s, const char *text, struct error *err);
int setting_from_json(const struct setting *d, struct settings *s, struct json_object *value,
                      struct error *err);
int setting_list_append(struct setting_strings *list, const char *item);
void setting_list_clear(struct setting_strings *list);
void setting_clear(const struct setting *d, struct settings *s);

/* Append what is expected, for a message or the documentation: "a whole number from 4 to 4096". */
int setting_expected(const struct setting *d, struct buf *out);
int setting_default(const struct setting *d, struct buf *out); /* as one would write it */

/* --- .env --- */

/* Call `each` for every assignment of `path`, in order, with references expanded from the earlier
 * ones and the environment.  A file that is absent is no error.  ERR_INVALID: lines that are no
 * assignment; each is a line in `problems`. */
typedef int dotenv_fn(void *ctx, unsigned line, const char *name, const char *value);
int dotenv_read(const char *path, dotenv_fn *each, void *ctx, struct buf *problems,
                struct error *err);

#endif
