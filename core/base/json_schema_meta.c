/* Is this a schema?  What the metaschema of each draft demands, as a list of keywords in the order in
 * which it lists them: the first fault in that order is the one reported. */
#include "base/json_schema_priv.h"

#include <string.h>

enum demand {
    D_ANY,
    D_STRING,
    D_BOOLEAN,
    D_ARRAY,
    D_NUMBER,
    D_COUNT,      /* an integer >= 0 */
    D_ABOVE_ZERO, /* a number > 0 */
    D_NAMES,      /* an array of different strings */
    D_SOME_NAMES, /* the same, not empty */
    D_TYPE,       /* a type's name or an array of them */
    D_SCHEMA,
    D_BOOLEAN_OR_SCHEMA,
    D_SCHEMAS, /* an array of schemas, not empty */
    D_SCHEMA_OR_SCHEMAS,
    D_MAP,          /* an object of schemas */
    D_MAP_OR_NAMES, /* an object of schemas or arrays of strings */
    D_MAP_OR_SOME_NAMES,
    D_NAMES_MAP, /* an object of arrays of strings */
    D_BOOLEAN_MAP,
    D_ANCHOR, /* a string that matches `anchor_pattern` */
    D_ID,     /* a string without a fragment that is not empty */
};

struct rule {
    const char *keyword;
    enum demand demand;
    bool not_in_draft6; /* which else has the list of draft 7 */
};

static const struct rule draft4[] = {
    {"id", D_STRING, false},
    {"$schema", D_STRING, false},
    {"title", D_STRING, false},
    {"description", D_STRING, false},
    {"multipleOf", D_ABOVE_ZERO, false},
    {"maximum", D_NUMBER, false},
    {"exclusiveMaximum", D_BOOLEAN, false},
    {"minimum", D_NUMBER, false},
    {"exclusiveMinimum", D_BOOLEAN, false},
    {"maxLength", D_COUNT, false},
    {"minLength", D_COUNT, false},
    {"pattern", D_STRING, false},
    {"additionalItems", D_BOOLEAN_OR_SCHEMA, false},
    {"items", D_SCHEMA_OR_SCHEMAS, false},
    {"maxItems", D_COUNT, false},
    {"minItems", D_COUNT, false},
    {"uniqueItems", D_BOOLEAN, false},
    {"maxProperties", D_COUNT, false},
    {"minProperties", D_COUNT, false},
    {"required", D_SOME_NAMES, false},
    {"additionalProperties", D_BOOLEAN_OR_SCHEMA, false},
    {"definitions", D_MAP, false},
    {"properties", D_MAP, false},
    {"patternProperties", D_MAP, false},
    {"dependencies", D_MAP_OR_SOME_NAMES, false},
    {"enum", D_ARRAY, false},
    {"type", D_TYPE, false},
    {"format", D_STRING, false},
    {"allOf", D_SCHEMAS, false},
    {"anyOf", D_SCHEMAS, false},
    {"oneOf", D_SCHEMAS, false},
    {"not", D_SCHEMA, false},
    {NULL, D_ANY, false},
};

/* Drafts 6 and 7 differ in keywords that only the latter has. */
static const struct rule draft7[] = {
    {"$id", D_STRING, false},
    {"$schema", D_STRING, false},
    {"$ref", D_STRING, false},
    {"$comment", D_STRING, true},
    {"title", D_STRING, false},
    {"description", D_STRING, false},
    {"readOnly", D_BOOLEAN, true},
    {"examples", D_ARRAY, false},
    {"multipleOf", D_ABOVE_ZERO, false},
    {"maximum", D_NUMBER, false},
    {"exclusiveMaximum", D_NUMBER, false},
    {"minimum", D_NUMBER, false},
    {"exclusiveMinimum", D_NUMBER, false},
    {"maxLength", D_COUNT, false},
    {"minLength", D_COUNT, false},
    {"pattern", D_STRING, false},
    {"additionalItems", D_SCHEMA, false},
    {"items", D_SCHEMA_OR_SCHEMAS, false},
    {"maxItems", D_COUNT, false},
    {"minItems", D_COUNT, false},
    {"uniqueItems", D_BOOLEAN, false},
    {"contains", D_SCHEMA, false},
    {"maxProperties", D_COUNT, false},
    {"minProperties", D_COUNT, false},
    {"required", D_NAMES, false},
    {"additionalProperties", D_SCHEMA, false},
    {"definitions", D_MAP, false},
    {"properties", D_MAP, false},
    {"patternProperties", D_MAP, false},
    {"dependencies", D_MAP_OR_NAMES, false},
    {"propertyNames", D_SCHEMA, false},
    {"enum", D_ARRAY, false},
    {"type", D_TYPE, false},
    {"format", D_STRING, false},
    {"contentMediaType", D_STRING, true},
    {"contentEncoding", D_STRING, true},
    {"if", D_SCHEMA, true},
    {"then", D_SCHEMA, true},
    {"else", D_SCHEMA, true},
    {"allOf", D_SCHEMAS, false},
    {"anyOf", D_SCHEMAS, false},
    {"oneOf", D_SCHEMAS, false},
    {"not", D_SCHEMA, false},
    {NULL, D_ANY, false},
};

/* The later drafts list their keywords by vocabulary: core, applicators, validation, ... */
static const struct rule draft2019[] = {
    {"$id", D_ID, false},
    {"$schema", D_STRING, false},
    {"$anchor", D_ANCHOR, false},
    {"$ref", D_STRING, false},
    {"$recursiveRef", D_STRING, false},
    {"$recursiveAnchor", D_BOOLEAN, false},
    {"$vocabulary", D_BOOLEAN_MAP, false},
    {"$comment", D_STRING, false},
    {"$defs", D_MAP, false},
    {"additionalItems", D_SCHEMA, false},
    {"unevaluatedItems", D_SCHEMA, false},
    {"items", D_SCHEMA_OR_SCHEMAS, false},
    {"contains", D_SCHEMA, false},
    {"additionalProperties", D_SCHEMA, false},
    {"unevaluatedProperties", D_SCHEMA, false},
    {"properties", D_MAP, false},
    {"patternProperties", D_MAP, false},
    {"dependentSchemas", D_MAP, false},
    {"propertyNames", D_SCHEMA, false},
    {"if", D_SCHEMA, false},
    {"then", D_SCHEMA, false},
    {"else", D_SCHEMA, false},
    {"allOf", D_SCHEMAS, false},
    {"anyOf", D_SCHEMAS, false},
    {"oneOf", D_SCHEMAS, false},
    {"not", D_SCHEMA, false},
    {"multipleOf", D_ABOVE_ZERO, false},
    {"maximum", D_NUMBER, false},
    {"exclusiveMaximum", D_NUMBER, false},
    {"minimum", D_NUMBER, false},
    {"exclusiveMinimum", D_NUMBER, false},
    {"maxLength", D_COUNT, false},
    {"minLength", D_COUNT, false},
    {"pattern", D_STRING, false},
    {"maxItems", D_COUNT, false},
    {"minItems", D_COUNT, false},
    {"uniqueItems", D_BOOLEAN, false},
    {"maxContains", D_COUNT, false},
    {"minContains", D_COUNT, false},
    {"maxProperties", D_COUNT, false},
    {"minProperties", D_COUNT, false},
    {"required", D_NAMES, false},
    {"dependentRequired", D_NAMES_MAP, false},
    {"enum", D_ARRAY, false},
    {"type", D_TYPE, false},
    {"title", D_STRING, false},
    {"description", D_STRING, false},
    {"deprecated", D_BOOLEAN, false},
    {"readOnly", D_BOOLEAN, false},
    {"writeOnly", D_BOOLEAN, false},
    {"examples", D_ARRAY, false},
    {"format", D_STRING, false},
    {"contentMediaType", D_STRING, false},
    {"contentEncoding", D_STRING, false},
    {"contentSchema", D_SCHEMA, false},
    {"definitions", D_MAP, false},
    {"dependencies", D_MAP_OR_NAMES, false},
    {NULL, D_ANY, false},
};

static const struct rule draft2020[] = {
    {"$id", D_ID, false},
    {"$schema", D_STRING, false},
    {"$ref", D_STRING, false},
    {"$anchor", D_ANCHOR, false},
    {"$dynamicRef", D_STRING, false},
    {"$dynamicAnchor", D_ANCHOR, false},
    {"$vocabulary", D_BOOLEAN_MAP, false},
    {"$comment", D_STRING, false},
    {"$defs", D_MAP, false},
    {"prefixItems", D_SCHEMAS, false},
    {"items", D_SCHEMA, false},
    {"contains", D_SCHEMA, false},
    {"additionalProperties", D_SCHEMA, false},
    {"properties", D_MAP, false},
    {"patternProperties", D_MAP, false},
    {"dependentSchemas", D_MAP, false},
    {"propertyNames", D_SCHEMA, false},
    {"if", D_SCHEMA, false},
    {"then", D_SCHEMA, false},
    {"else", D_SCHEMA, false},
    {"allOf", D_SCHEMAS, false},
    {"anyOf", D_SCHEMAS, false},
    {"oneOf", D_SCHEMAS, false},
    {"not", D_SCHEMA, false},
    {"unevaluatedItems", D_SCHEMA, false},
    {"unevaluatedProperties", D_SCHEMA, false},
    {"type", D_TYPE, false},
    {"enum", D_ARRAY, false},
    {"multipleOf", D_ABOVE_ZERO, false},
    {"maximum", D_NUMBER, false},
    {"exclusiveMaximum", D_NUMBER, false},
    {"minimum", D_NUMBER, false},
    {"exclusiveMinimum", D_NUMBER, false},
    {"maxLength", D_COUNT, false},
    {"minLength", D_COUNT, false},
    {"pattern", D_STRING, false},
    {"maxItems", D_COUNT, false},
    {"minItems", D_COUNT, false},
    {"uniqueItems", D_BOOLEAN, false},
    {"maxContains", D_COUNT, false},
    {"minContains", D_COUNT, false},
    {"maxProperties", D_COUNT, false},
    {"minProperties", D_COUNT, false},
    {"required", D_NAMES, false},
    {"dependentRequired", D_NAMES_MAP, false},
    {"title", D_STRING, false},
    {"description", D_STRING, false},
    {"deprecated", D_BOOLEAN, false},
    {"readOnly", D_BOOLEAN, false},
    {"writeOnly", D_BOOLEAN, false},
    {"examples", D_ARRAY, false},
    {"format", D_STRING, false},
    {"contentEncoding", D_STRING, false},
    {"contentMediaType", D_STRING, false},
    {"contentSchema", D_SCHEMA, false},
    {"definitions", D_MAP, false},
    {"dependencies", D_MAP_OR_NAMES, false},
    {NULL, D_ANY, false},
};

static const struct rule *const rules[] = {
    [DRAFT4] = draft4,       [DRAFT6] = draft7,       [DRAFT7] = draft7,
    [DRAFT2019] = draft2019, [DRAFT2020] = draft2020,
};

/* --- checking --- */

struct check {
    enum dialect dialect;
    struct error *err; /* NULL: only whether */
    unsigned depth;
};

static int check_schema(struct check *c, struct json_object *schema, const struct step *path);

/* The value, what is wrong with it, and where.  Its texts must not weigh on those that recurse. */
__attribute__((noinline)) static int refuse(const struct check *c, struct json_object *value,
                                            const struct step *path, const char *what)
{
    if (!c->err)
        return ERR_INVALID;
    struct message_text text = {.len = 0};
    text_repr(&text, value);
    text_put(&text, what, strlen(what));
    return schema_error(c->err, path, &text);
}

static int demand_type(const struct check *c, struct json_object *value, const struct step *path,
                       unsigned types, const char *what)
{
    return value_types(value, c->dialect) & types ? 0 : refuse(c, value, path, what);
}

static int demand_list(const struct check *c, struct json_object *value, const struct step *path,
                       bool not_empty)
{
    int rc = demand_type(c, value, path, TYPE_ARRAY, " is not of type 'array'");
    if (!rc && not_empty && json_object_array_length(value) == 0)
        rc = refuse(c, value, path, " is too short");
    return rc;
}

static int demand_names(const struct check *c, struct json_object *value, const struct step *path,
                        bool not_empty)
{
    int rc = demand_list(c, value, path, false);
    for (size_t i = 0; !rc && i < json_object_array_length(value); i++) {
        const struct step at = {.previous = path, .index = i};
        rc = demand_type(c, json_object_array_get_idx(value, i), &at, TYPE_STRING,
                         " is not of type 'string'");
    }
    if (rc)
        return rc;
    if (not_empty && json_object_array_length(value) == 0)
        return refuse(c, value, path, " is too short");
    bool is_unique;
    rc = value_all_unique(value, &is_unique);
    if (rc)
        return error_set(c->err, rc, "out of memory");
    return is_unique ? 0 : refuse(c, value, path, " has non-unique elements");
}

static int demand_number(const struct check *c, struct json_object *value, const struct step *path,
                         enum demand demand)
{
    const struct number zero = {.i = 0};
    struct number n = zero;
    if (demand == D_COUNT) {
        int rc = demand_type(c, value, path, TYPE_INTEGER, " is not of type 'integer'");
        if (!rc && number_read(value, &n) && number_compare(&n, &zero) < 0)
            rc = refuse(c, value, path, " is less than the minimum of 0");
        return rc;
    }
    int rc = demand_type(c, value, path, TYPE_NUMBER, " is not of type 'number'");
    if (!rc && demand == D_ABOVE_ZERO && number_read(value, &n) && number_compare(&n, &zero) <= 0)
        rc = refuse(c, value, path, " is less than or equal to the minimum of 0");
    return rc;
}

static int demand_type_name(const struct check *c, struct json_object *value,
                            const struct step *path)
{
    static const char why[] = " is not valid under any of the given schemas";
    bool ok = true;
    if (json_object_is_type(value, json_type_array)) {
        const size_t n = json_object_array_length(value);
        bool is_unique = true;
        ok = n > 0 && value_all_unique(value, &is_unique) == 0 && is_unique;
        for (size_t i = 0; i < n && ok; i++) {
            struct json_object *name = json_object_array_get_idx(value, i);
            ok = json_object_is_type(name, json_type_string) &&
                 type_by_name(json_object_get_string(name));
        }
    } else {
        ok = json_object_is_type(value, json_type_string) &&
             type_by_name(json_object_get_string(value));
    }
    return ok ? 0 : refuse(c, value, path, why);
}

static int demand_schemas(struct check *c, struct json_object *value, const struct step *path)
{
    int rc = demand_type(c, value, path, TYPE_ARRAY, " is not of type 'array'");
    if (!rc && json_object_array_length(value) == 0)
        rc = refuse(c, value, path, " is too short");
    for (size_t i = 0; !rc && i < json_object_array_length(value); i++) {
        const struct step at = {.previous = path, .index = i};
        rc = check_schema(c, json_object_array_get_idx(value, i), &at);
    }
    return rc;
}

/* Either of two things: a fault inside is not shown, only that it is neither. */
static int demand_either(struct check *c, struct json_object *value, const struct step *path,
                         enum demand demand)
{
    struct error *const err = c->err;
    c->err = NULL;
    int rc;
    const bool is_array = json_object_is_type(value, json_type_array);
    if (demand == D_BOOLEAN_OR_SCHEMA)
        rc = json_object_is_type(value, json_type_boolean) ? 0 : check_schema(c, value, path);
    else if (!is_array)
        rc = check_schema(c, value, path);
    else if (demand == D_SCHEMA_OR_SCHEMAS)
        rc = demand_schemas(c, value, path);
    else
        rc = demand_names(c, value, path, demand == D_MAP_OR_SOME_NAMES);
    c->err = err;
    return rc == ERR_INVALID
               ? refuse(c, value, path, " is not valid under any of the given schemas")
               : rc;
}

static int demand_map(struct check *c, struct json_object *value, const struct step *path,
                      enum demand demand)
{
    int rc = demand_type(c, value, path, TYPE_OBJECT, " is not of type 'object'");
    if (rc)
        return rc;
    const struct lh_table *members = json_object_get_object(value);
    for (const struct lh_entry *e = members->head; e && !rc; e = e->next) {
        const struct step at = {.previous = path, .key = e->k};
        struct json_object *member = (struct json_object *)(uintptr_t)e->v;
        if (demand == D_MAP)
            rc = check_schema(c, member, &at);
        else if (demand == D_NAMES_MAP)
            rc = demand_names(c, member, &at, false);
        else if (demand == D_BOOLEAN_MAP)
            rc = demand_type(c, member, &at, TYPE_BOOLEAN, " is not of type 'boolean'");
        else
            rc = demand_either(c, member, &at, demand);
    }
    return rc;
}

static bool is_anchor(const char *text, bool is_2020)
{
    size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    if (n == 0 && !(is_2020 && text[0] == '_'))
        return false;
    return text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
                             ":")] == '\0';
}

static int demand_text(const struct check *c, struct json_object *value, const struct step *path,
                       enum demand demand)
{
    int rc = demand_type(c, value, path, TYPE_STRING, " is not of type 'string'");
    if (rc || demand == D_STRING)
        return rc;
    const char *text = json_object_get_string(value);
    if (demand == D_ID) {
        const char *fragment = strchr(text, '#');
        return fragment && fragment[1] ? refuse(c, value, path, " does not match '^[^#]*#?$'") : 0;
    }
    const bool is_2020 = c->dialect == DRAFT2020;
    if (is_anchor(text, is_2020))
        return 0;
    return refuse(c, value, path,
                  is_2020 ? " does not match '^[A-Za-z_][-A-Za-z0-9._]*$'"
                          : " does not match '^[A-Za-z][-A-Za-z0-9.:_]*$'");
}

static int check_demand(struct check *c, struct json_object *value, const struct step *path,
                        enum demand demand)
{
    switch (demand) {
    case D_ANY:
        return 0;
    case D_STRING:
    case D_ANCHOR:
    case D_ID:
        return demand_text(c, value, path, demand);
    case D_BOOLEAN:
        return demand_type(c, value, path, TYPE_BOOLEAN, " is not of type 'boolean'");
    case D_ARRAY:
        return demand_list(c, value, path, false);
    case D_NUMBER:
    case D_COUNT:
    case D_ABOVE_ZERO:
        return demand_number(c, value, path, demand);
    case D_NAMES:
    case D_SOME_NAMES:
        return demand_names(c, value, path, demand == D_SOME_NAMES);
    case D_TYPE:
        return demand_type_name(c, value, path);
    case D_SCHEMA:
        return check_schema(c, value, path);
    case D_SCHEMAS:
        return demand_schemas(c, value, path);
    case D_BOOLEAN_OR_SCHEMA:
    case D_SCHEMA_OR_SCHEMAS:
        return demand_either(c, value, path, demand);
    default:
        return demand_map(c, value, path, demand);
    }
}

static int check_schema(struct check *c, struct json_object *schema, const struct step *path)
{
    if (!json_object_is_type(schema, json_type_object)) {
        if (c->dialect == DRAFT4)
            return refuse(c, schema, path, " is not of type 'object'");
        return demand_type(c, schema, path, TYPE_BOOLEAN, " is not of type 'object', 'boolean'");
    }
    if (c->depth == 0)
        return error_set(c->err, ERR_LIMIT, "the schema is nested too deep");
    c->depth--;
    int rc = 0;
    for (const struct rule *r = rules[c->dialect]; r->keyword && !rc; r++) {
        struct json_object *value;
        if ((r->not_in_draft6 && c->dialect == DRAFT6) ||
            !json_object_object_get_ex(schema, r->keyword, &value))
            continue;
        const struct step at = {.previous = path, .key = r->keyword};
        rc = check_demand(c, value, &at, r->demand);
    }
    c->depth++;
    return rc;
}

int meta_check(struct json_object *schema, enum dialect dialect, const struct step *path,
               struct error *err)
{
    struct check c = {.dialect = dialect, .err = err, .depth = SCHEMA_PATH_MAX / 2};
    struct error unwanted = ERROR_INIT;
    if (!err)
        c.err = &unwanted;
    return check_schema(&c, schema, path);
}

bool meta_is_valid(struct json_object *schema, enum dialect dialect)
{
    struct check c = {.dialect = dialect, .depth = SCHEMA_PATH_MAX / 2};
    return check_schema(&c, schema, NULL) == 0;
}
