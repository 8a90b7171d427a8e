/* Inside config: scalars of YAML, and the places and secrets of a document. */
#ifndef HYPRXA_CONFIG_YAML_PRIV_H
#define HYPRXA_CONFIG_YAML_PRIV_H

#include "config/config.h"

enum {
    YAML_FILE_MAX = 1 << 20,      /* bytes of one file, and of all text its variables expand to */
    YAML_DEPTH_MAX = 64,          /* as JSON_DEPTH_MAX: what is read here may pass as JSON later */
    YAML_VARIABLE_NAME_MAX = 255, /* bytes */
};

/* The value of a plain (unquoted) scalar by the core schema of YAML 1.2.  ERR_INVALID: a number
 * that JSON or int64 cannot hold. */
int yaml_resolve_plain(const char *text, size_t len, struct json_object **ret, struct error *err);

/* Append `text` with its variables expanded to `out`; *ret_expanded tells whether there was one.
 * ERR_INVALID: an unset variable without default, or a malformed reference; the message names the
 * variable and never holds a value. */
int yaml_expand(const char *text, size_t len, struct buf *out, bool *ret_expanded,
                struct error *err);

/* Place of the key of the member at `pointer`; of its value where it has no key. */
void yaml_key_place(const struct yaml_document *doc, const char *pointer, unsigned *ret_line,
                    unsigned *ret_column);

/* Append `text`, which speaks about the node at `pointer`, without anything a variable expanded to. */
int yaml_redact(const struct yaml_document *doc, const char *pointer, const char *text,
                struct buf *out);

/* Append one segment of a JSON pointer: "/" and `key` with ~ and / escaped. */
int yaml_pointer_append(struct buf *b, const char *key);

#endif
