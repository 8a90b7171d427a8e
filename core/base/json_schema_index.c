#include "base/auto.h"
#include "base/json_schema_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    D4 = 1 << DRAFT4,
    D6 = 1 << DRAFT6,
    D7 = 1 << DRAFT7,
    D19 = 1 << DRAFT2019,
    D20 = 1 << DRAFT2020,
    ANY = D4 | D6 | D7 | D19 | D20,
    FROM6 = ANY & ~D4,
    FROM7 = FROM6 & ~D6,
    FROM19 = D19 | D20,
    TO7 = D4 | D6 | D7,
    TO19 = TO7 | D19,
};

/* Sorted by name.  One name may mean different things: the first entry of it has what it holds. */
static const struct keyword_info keywords[] = {
    {"$defs", K_HOLDER, FROM19, HOLDS_MAP},
    {"$dynamicRef", K_DYNAMIC_REF, D20, HOLDS_NONE},
    {"$recursiveRef", K_DYNAMIC_REF, D19, HOLDS_NONE},
    {"$ref", K_REF, ANY, HOLDS_NONE},
    {"additionalItems", K_ADDITIONAL_ITEMS, TO19, HOLDS_SCHEMA},
    {"additionalProperties", K_ADDITIONAL_PROPERTIES, ANY, HOLDS_SCHEMA},
    {"allOf", K_ALL_OF, ANY, HOLDS_LIST},
    {"anyOf", K_ANY_OF, ANY, HOLDS_LIST},
    {"const", K_CONST, FROM6, HOLDS_NONE},
    {"contains", K_CONTAINS, FROM6, HOLDS_SCHEMA},
    {"contentSchema", K_HOLDER, FROM19, HOLDS_SCHEMA},
    {"definitions", K_HOLDER, ANY, HOLDS_MAP},
    {"dependencies", K_DEPENDENCIES, TO7, HOLDS_MAP},
    {"dependentRequired", K_DEPENDENT_REQUIRED, FROM19, HOLDS_NONE},
    {"dependentSchemas", K_DEPENDENT_SCHEMAS, FROM19, HOLDS_MAP},
    {"else", K_MODIFIER, FROM7, HOLDS_SCHEMA},
    {"enum", K_ENUM, ANY, HOLDS_NONE},
    {"exclusiveMaximum", K_EXCLUSIVE_MAXIMUM, FROM6, HOLDS_NONE},
    {"exclusiveMinimum", K_EXCLUSIVE_MINIMUM, FROM6, HOLDS_NONE},
    {"format", K_FORMAT, ANY, HOLDS_NONE},
    {"if", K_IF, FROM7, HOLDS_SCHEMA},
    {"items", K_ITEMS, ANY, HOLDS_SCHEMA_OR_LIST},
    {"maxItems", K_MAX_ITEMS, ANY, HOLDS_NONE},
    {"maxLength", K_MAX_LENGTH, ANY, HOLDS_NONE},
    {"maxProperties", K_MAX_PROPERTIES, ANY, HOLDS_NONE},
    {"maximum", K_MAXIMUM, ANY, HOLDS_NONE},
    {"minItems", K_MIN_ITEMS, ANY, HOLDS_NONE},
    {"minLength", K_MIN_LENGTH, ANY, HOLDS_NONE},
    {"minProperties", K_MIN_PROPERTIES, ANY, HOLDS_NONE},
    {"minimum", K_MINIMUM, ANY, HOLDS_NONE},
    {"multipleOf", K_MULTIPLE_OF, ANY, HOLDS_NONE},
    {"not", K_NOT, ANY, HOLDS_SCHEMA},
    {"oneOf", K_ONE_OF, ANY, HOLDS_LIST},
    {"pattern", K_PATTERN, ANY, HOLDS_NONE},
    {"patternProperties", K_PATTERN_PROPERTIES, ANY, HOLDS_MAP},
    {"prefixItems", K_PREFIX_ITEMS, D20, HOLDS_LIST},
    {"properties", K_PROPERTIES, ANY, HOLDS_MAP},
    {"propertyNames", K_PROPERTY_NAMES, FROM6, HOLDS_SCHEMA},
    {"required", K_REQUIRED, ANY, HOLDS_NONE},
    {"then", K_MODIFIER, FROM7, HOLDS_SCHEMA},
    {"type", K_TYPE, ANY, HOLDS_NONE},
    {"unevaluatedItems", K_UNEVALUATED_ITEMS, FROM19, HOLDS_SCHEMA},
    {"unevaluatedProperties", K_UNEVALUATED_PROPERTIES, FROM19, HOLDS_SCHEMA},
    {"uniqueItems", K_UNIQUE_ITEMS, ANY, HOLDS_NONE},
};

static int compare_name(const void *name, const void *info)
{
    return strcmp(name, ((const struct keyword_info *)info)->name);
}

const struct keyword_info *keyword_find(const char *name)
{
    return bsearch(name, keywords, sizeof keywords / sizeof *keywords, sizeof *keywords,
                   compare_name);
}

const char *keyword_name(enum keyword_kind kind)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (keywords[i].kind == kind)
            return keywords[i].name;
    return "";
}

bool dialect_of_uri(const char *uri, enum dialect *ret)
{
    static const struct {
        const char *uri;
        enum dialect dialect;
    } known[] = {
        {"http://json-schema.org/draft-04/schema", DRAFT4},
        {"http://json-schema.org/draft-06/schema", DRAFT6},
        {"http://json-schema.org/draft-07/schema", DRAFT7},
        {"https://json-schema.org/draft/2019-09/schema", DRAFT2019},
        {"https://json-schema.org/draft/2020-12/schema", DRAFT2020},
    };
    size_t len = strlen(uri);
    if (len && uri[len - 1] == '#')
        len--;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i].uri) == len && memcmp(known[i].uri, uri, len) == 0) {
            *ret = known[i].dialect;
            return true;
        }
    return false;
}

/* --- life cycle --- */

void schema_index_init(struct schema_index *x, struct schema_arena *arena)
{
    *x = (struct schema_index){.arena = arena};
    map_init(&x->places);
    map_init(&x->resources);
}

void schema_index_release(struct schema_index *x)
{
    for (struct resource *r = x->all; r; r = r->next) {
        map_release(&r->anchors, NULL);
        map_release(&r->dynamic_anchors, NULL);
    }
    map_release(&x->places, NULL);
    map_release(&x->resources, NULL);
}

struct place *schema_index_get(const struct schema_index *x, const struct json_object *schema)
{
    return map_get(&x->places, &schema, sizeof schema);
}

/* --- entering schemas --- */

static const char *string_member(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

static struct resource *add_resource(struct schema_index *x, const char *uri, size_t uri_len,
                                     struct json_object *root, enum dialect dialect)
{
    struct resource *r = schema_arena_alloc(x->arena, sizeof *r);
    char *copy = r ? schema_arena_copy(x->arena, uri, uri_len) : NULL;
    if (!copy)
        return NULL;
    r->uri = copy;
    r->root = root;
    r->dialect = dialect;
    map_init(&r->anchors);
    map_init(&r->dynamic_anchors);
    r->next = x->all;
    x->all = r;
    if (!map_get(&x->resources, uri, uri_len) && map_set(&x->resources, uri, uri_len, r, NULL))
        return NULL;
    return r;
}

static int add_anchor(struct map *anchors, const char *name, struct json_object *schema)
{
    if (map_get(anchors, name, strlen(name)))
        return 0; /* the first one counts */
    return map_set(anchors, name, strlen(name), schema, NULL);
}

/* The resource that `schema` is or lies in; enters it if it is a new one. */
static int enter_resource(struct schema_index *x, struct json_object *schema,
                          struct resource *outer, struct resource **ret)
{
    enum dialect dialect = DRAFT2020;
    struct json_object *unused;
    if (outer)
        dialect = outer->dialect;
    else if (json_object_object_get_ex(schema, "definitions", &unused))
        dialect = DRAFT7;
    const char *declared = string_member(schema, "$schema");
    enum dialect own = dialect;
    if (declared)
        dialect_of_uri(declared, &own);
    const char *id = string_member(schema, own == DRAFT4 ? "id" : "$id");
    if (id && own <= DRAFT7 && string_member(schema, "$ref"))
        id = NULL; /* siblings of $ref do not count there */

    const char *fragment = id ? strchr(id, '#') : NULL;
    struct resource *r = outer;
    if (id && fragment != id) {
        AUTO_FREE char *uri = uri_resolve(outer ? outer->uri : "", id);
        if (!uri)
            return ERR_NOMEM;
        r = add_resource(x, uri, strcspn(uri, "#"), schema, own);
    } else if (!outer) {
        r = add_resource(x, "", 0, schema, own);
    }
    if (!r)
        return ERR_NOMEM;
    *ret = r;
    if (fragment && fragment[1] && own <= DRAFT7)
        return add_anchor(&r->anchors, fragment + 1, schema);
    return 0;
}

static int enter_anchors(struct resource *r, struct json_object *schema)
{
    if (r->dialect < DRAFT2019)
        return 0;
    const char *anchor = string_member(schema, "$anchor");
    if (anchor && add_anchor(&r->anchors, anchor, schema))
        return ERR_NOMEM;
    anchor = r->dialect == DRAFT2020 ? string_member(schema, "$dynamicAnchor") : NULL;
    if (anchor && (add_anchor(&r->anchors, anchor, schema) ||
                   add_anchor(&r->dynamic_anchors, anchor, schema)))
        return ERR_NOMEM;
    struct json_object *recursive;
    if (r->dialect == DRAFT2019 && r->root == schema &&
        json_object_object_get_ex(schema, "$recursiveAnchor", &recursive))
        r->recursive_anchor = json_object_get_boolean(recursive);
    return 0;
}

/* A growing list of what is still to be entered, instead of recursion. */
struct todo {
    struct place *items;
    size_t n, cap;
};

static int todo_push(struct todo *t, struct schema_index *x, struct json_object *object,
                     struct resource *resource, struct step path)
{
    enum json_type type = json_object_get_type(object);
    if (type != json_type_object && type != json_type_boolean)
        return 0;
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct place *items = realloc(t->items, cap * sizeof *items);
        if (!items)
            return ERR_NOMEM;
        t->items = items;
        t->cap = cap;
    }
    struct step *step = schema_arena_alloc(x->arena, sizeof *step);
    if (!step)
        return ERR_NOMEM;
    *step = path;
    t->items[t->n++] = (struct place){.object = object, .resource = resource, .path = step};
    return 0;
}

static int push_children(struct todo *t, struct schema_index *x, const struct keyword_info *info,
                         struct json_object *value, const struct place *p)
{
    const enum json_type type = json_object_get_type(value);
    struct step *own = schema_arena_alloc(x->arena, sizeof *own);
    if (!own)
        return ERR_NOMEM;
    *own = (struct step){.previous = p->path, .key = info->name};
    int rc = 0;
    if (info->children == HOLDS_MAP && type == json_type_object) {
        const struct lh_table *members = json_object_get_object(value);
        for (const struct lh_entry *e = members->head; e && !rc; e = e->next)
            rc = todo_push(t, x, (struct json_object *)(uintptr_t)e->v, p->resource,
                           (struct step){.previous = own, .key = e->k});
    } else if (info->children != HOLDS_MAP && type == json_type_array) {
        for (size_t i = 0; i < json_object_array_length(value) && !rc; i++)
            rc = todo_push(t, x, json_object_array_get_idx(value, i), p->resource,
                           (struct step){.previous = own, .index = i});
    } else if (info->children == HOLDS_SCHEMA || info->children == HOLDS_SCHEMA_OR_LIST) {
        rc = todo_push(t, x, value, p->resource, *own);
    }
    return rc;
}

static int enter(struct schema_index *x, struct todo *t, struct place p, struct error *err)
{
    if (schema_index_get(x, p.object))
        return 0;
    if (x->places.n == SCHEMA_NODES_MAX)
        return error_set(err, ERR_LIMIT, "the schema has more than %d subschemas",
                         SCHEMA_NODES_MAX);
    struct place *place = schema_arena_alloc(x->arena, sizeof *place);
    if (!place)
        return ERR_NOMEM;
    int rc = 0;
    if (json_object_is_type(p.object, json_type_object))
        rc = enter_resource(x, p.object, p.resource, &p.resource);
    else if (!p.resource && !(p.resource = add_resource(x, "", 0, p.object, DRAFT2020)))
        rc = ERR_NOMEM;
    *place = p;
    if (rc || map_set(&x->places, &p.object, sizeof p.object, place, NULL))
        return ERR_NOMEM;
    if (!json_object_is_type(p.object, json_type_object))
        return 0;
    rc = enter_anchors(p.resource, p.object);
    const struct lh_table *members = json_object_get_object(p.object);
    for (const struct lh_entry *e = members->head; e && !rc; e = e->next) {
        const struct keyword_info *info = keyword_find(e->k);
        if (info && info->children != HOLDS_NONE)
            rc = push_children(t, x, info, (struct json_object *)(uintptr_t)e->v, place);
    }
    return rc;
}

int schema_index_add(struct schema_index *x, struct json_object *schema, struct resource *outer,
                     const struct step *path, struct error *err)
{
    struct todo t = {NULL, 0, 0};
    int rc = enter(x, &t, (struct place){.object = schema, .resource = outer, .path = path}, err);
    while (t.n && !rc) {
        struct place next = t.items[--t.n];
        rc = enter(x, &t, next, err);
    }
    free(t.items);
    return rc == ERR_NOMEM ? error_set(err, rc, "out of memory") : rc;
}
