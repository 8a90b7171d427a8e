/* The gate for JSON from outside: RFC 8259 to the letter, in one pass, into compact text.
 *
 * Refused: invalid UTF-8, lone surrogates, raw control characters, anything the grammar does not
 * allow (comments, NaN, single quotes, leading zeros, trailing commas), nesting beyond max_depth,
 * more than JSON_OBJECTS_MAX objects, duplicate keys in one object (compared after unescaping), keys
 * with a NUL in them (which json-c would cut), integers beyond int64, numbers beyond the range of a
 * double.  What passes is safe to splice into SSE events and WebSocket frames: it holds no line
 * break.  Escapes of printable characters are kept as they came, except that `\/` is `/`; white space
 * is gone. */
#ifndef HYPRXA_BASE_JSON_SCAN_H
#define HYPRXA_BASE_JSON_SCAN_H

#include "base/buf.h"
#include "base/error.h"

#include <stddef.h>

enum {
    JSON_DEPTH_MAX = 64,
    JSON_OBJECTS_MAX = 50000, /* in one text: for `{}` json-c takes 800 bytes */
};

/* Where a member of the outermost object stands in the compacted text. */
struct json_span {
    const char *name;   /* asked for by the caller */
    size_t offset, len; /* of the value in compact->data; len 0: the member is absent */
};

struct json_scan_error {
    size_t position;     /* byte offset */
    size_t line, column; /* from 1; column in characters */
    const char *message; /* static, in the words of Python's json module where it has them:
                               "Expecting value", "Extra data", "Expecting ',' delimiter", ... */
    size_t characters;   /* as `position`, counted in characters */
};

/* Check `text` and append its compact form to `compact` (NULL: only check).  `spans`: n_spans names
 * to locate in the outermost object, filled in.  On failure nothing is appended.  max_depth counts
 * open containers, JSON_DEPTH_MAX at most.  ERR_INVALID fills `ret_error` (NULL: not wanted);
 * ERR_LIMIT: `compact` is full; ERR_NOMEM.  [any] */
int json_scan(const char *text, size_t len, unsigned max_depth, struct buf *compact,
              struct json_span *spans, size_t n_spans, struct json_scan_error *ret_error);

#endif
