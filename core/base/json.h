/* JSON text and json-c values: writing, canonical form, small readers.
 *
 * Bytes from outside pass json_scan() first (base/json_scan.h); json-c only ever sees what that let
 * through.  A JSON null is a NULL json_object pointer, as in json-c. */
#ifndef HYPRXA_BASE_JSON_H
#define HYPRXA_BASE_JSON_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_object;

/* --- writing into a buf (whose failure is sticky: check once at the end) --- */

/* `text` as a JSON string with quotes; non-ASCII stays as it is, control characters are escaped as
 * \b \t \n \f \r or \u00xx. */
int json_write_string(struct buf *b, const char *text, size_t len);
/* The same of any bytes: what is not UTF-8 comes out as U+FFFD, a byte each. */
int json_write_text(struct buf *b, const char *text, size_t len);
/* Shortest decimal text that reads back as the same double, in the notation of contract section 5
 * (`2.0`, `1e16`, `1e-7`); NaN and infinities are `null`. */
int json_write_double(struct buf *b, double value);
/* The same number into `out`, without a NUL; returns its length.  Hot paths reserve first. */
enum { JSON_DOUBLE_SIZE = 32 };
size_t json_format_double(double value, char out[JSON_DOUBLE_SIZE]);
int json_write_bool(struct buf *b, bool value);
/* A json-c value as compact text, members in stored order. */
int json_write_value(struct buf *b, struct json_object *value);
/* Compact JSON text with a blank after each ',' and ':', as Python's json.dumps has it; with `ascii`
 * also its \uXXXX for what is not ASCII.  Escapes within strings stay as they are. */
int json_write_spaced(struct buf *b, const char *json, size_t len, bool ascii);
/* The canonical text: members sorted by the UTF-8 bytes of their keys, at every depth; shortest
 * numbers.  ERR_INVALID: an integer beyond +-2^53. */
int json_write_canonical(struct buf *b, struct json_object *value, struct error *err);

/* --- reading --- */

/* Scan (RFC 8259, depth 64), then parse.  ERR_INVALID names position and cause.  The caller
 * json_object_put()s the result. */
int json_parse(const char *text, size_t len, struct json_object **ret, struct error *err);

/* Members of an object; the default when absent, null or of another type.  Borrowed. */
const char *json_get_string(struct json_object *object, const char *key, const char *otherwise);
int64_t json_get_int(struct json_object *object, const char *key, int64_t otherwise);
bool json_get_bool(struct json_object *object, const char *key, bool otherwise);

static inline void json_auto_put(struct json_object **value);
#define AUTO_JSON __attribute__((cleanup(json_auto_put))) struct json_object

#include <json-c/json_object.h>
static inline void json_auto_put(struct json_object **value)
{
    json_object_put(*value);
}

#endif
