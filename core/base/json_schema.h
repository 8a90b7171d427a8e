/* JSON Schema validation: drafts 4, 6, 7, 2019-09 and 2020-12, compiled once, used by many threads.
 *
 * The dialect is that of `$schema`; without it 2020-12, or draft 7 when the root has `definitions`.
 * Only local `$ref`s resolve (within the document, by `$id` or anchor); loops and depth are bounded;
 * patterns run in PCRE2 under match and heap limits.  `format` is an annotation unless asserted. */
#ifndef HYPRXA_BASE_JSON_SCHEMA_H
#define HYPRXA_BASE_JSON_SCHEMA_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

struct json_object;
struct json_schema;

enum { JSON_SCHEMA_ASSERT_FORMAT = 1u << 0 };

/* Compile.  Keeps its own reference to `schema`, which must not change afterwards.  ERR_INVALID:
 * not a valid schema; the message is `deque(['properties', 'x'])-<why>` as contract 1.3 shows. */
int json_schema_compile(struct json_object *schema, unsigned flags, struct json_schema **ret,
                        struct error *err);
struct json_schema *json_schema_ref(struct json_schema *schema);
void json_schema_unref(struct json_schema *schema);

/* Validate.  ERR_INVALID: the message is `<JSONPath of the instance>-<why>`, such as
 * `$.v-'x' is not of type 'number'`; of several failures the most relevant (as python-jsonschema's
 * best_match).  ERR_LIMIT: a limit of depth or matching was hit.  [any], concurrently. */
int json_schema_validate(const struct json_schema *schema, struct json_object *instance,
                         struct error *err);

/* Every failure of one instance, for tools and `--check`: `each` gets the place in the instance as a
 * JSON pointer ("/options/port", "" for the root) and as a JSONPath ("$.options.port"), and the
 * reason.  Returns how many there were. */
typedef void json_schema_failure_fn(void *ctx, const char *pointer, const char *path,
                                    const char *why);
int json_schema_validate_all(const struct json_schema *schema, struct json_object *instance,
                             json_schema_failure_fn *each, void *ctx);

/* Fill in the `default`s of the top-level `properties` that `instance` (an object) lacks. */
int json_schema_apply_defaults(const struct json_schema *schema, struct json_object *instance);

#endif
