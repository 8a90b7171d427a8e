/* Compiling a query.  Negations become FILTER_NOR over their positive form, $all an AND, so that
 * matching knows few operators. */
#include "storage/filter_priv.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 32,
    NODES_MAX = 1000,
    SEGMENTS_MAX = 64,
};

struct compiler {
    unsigned n_nodes, depth;
    struct error *err;
};

/* Where conditions apply: a path, or the value itself. */
struct target {
    const char *path; /* NULL: the value itself */
};

static int compile_query(struct compiler *c, struct json_object *query, struct filter_node *parent);
static int compile_operators(struct compiler *c, struct target at, struct json_object *operators,
                             struct filter_node *parent);

static void free_nodes(struct filter_node *node)
{
    while (node) {
        struct filter_node *next = node->next;
        free_nodes(node->children);
        regex_free(node->re);
        free(node->path);
        free(node);
        node = next;
    }
}

/* A new last child of `parent`; NULL: the error is set. */
static struct filter_node *add_node(struct compiler *c, struct filter_node *parent,
                                    enum filter_op op)
{
    if (++c->n_nodes > NODES_MAX) {
        error_set(c->err, ERR_LIMIT, "filter: more than %d conditions", NODES_MAX);
        return NULL;
    }
    struct filter_node *node = calloc(1, sizeof *node);
    if (!node) {
        error_set(c->err, ERR_NOMEM, "filter: out of memory");
        return NULL;
    }
    node->op = op;
    struct filter_node **at = &parent->children;
    while (*at)
        at = &(*at)->next;
    *at = node;
    return node;
}

static int set_path(struct compiler *c, struct filter_node *node, struct target at)
{
    if (!at.path)
        return 0;
    node->path = strdup(at.path);
    if (!node->path)
        return error_set(c->err, ERR_NOMEM, "filter: out of memory");
    node->n_segments = 1;
    for (char *dot = node->path; (dot = strchr(dot, '.')); dot++) {
        *dot = '\0';
        if (++node->n_segments > SEGMENTS_MAX)
            return error_set(c->err, ERR_LIMIT, "filter: a path of more than %d names",
                             SEGMENTS_MAX);
    }
    return 0;
}

/* A condition on the values at `at`; NULL: c->err is set (its code tells). */
static struct filter_node *add_condition(struct compiler *c, struct filter_node *parent,
                                         enum filter_op op, struct target at,
                                         struct json_object *operand)
{
    struct filter_node *node = add_node(c, parent, op);
    if (!node || set_path(c, node, at))
        return NULL;
    node->operand = operand;
    return node;
}

static int wrong(struct compiler *c, const char *name, const char *expected)
{
    return error_set(c->err, ERR_INVALID, "filter: %s needs %s", name, expected);
}

static int enter(struct compiler *c)
{
    if (++c->depth > DEPTH_MAX)
        return error_set(c->err, ERR_LIMIT, "filter: nested deeper than %d", DEPTH_MAX);
    return 0;
}

static bool is_logical(const char *name)
{
    return strcmp(name, "$and") == 0 || strcmp(name, "$or") == 0 || strcmp(name, "$nor") == 0;
}

/* The first name of an object; "" when it has none, or is none. */
static const char *first_name(struct json_object *value)
{
    if (!json_object_is_type(value, json_type_object))
        return "";
    struct json_object_iterator it = json_object_iter_begin(value);
    struct json_object_iterator end = json_object_iter_end(value);
    return json_object_iter_equal(&it, &end) ? "" : json_object_iter_peek_name(&it);
}

static bool is_operators(struct json_object *value)
{
    return first_name(value)[0] == '$';
}

/* --- operators on values --- */

typedef int compile_fn(struct compiler *c, const char *name, struct target at,
                       struct json_object *operand, struct filter_node *parent);

static int compile_comparison(struct compiler *c, const char *name, struct target at,
                              struct json_object *operand, struct filter_node *parent)
{
    static const struct {
        const char *name;
        enum filter_op op;
    } table[] = {{"$eq", FILTER_EQ},
                 {"$gt", FILTER_GT},
                 {"$gte", FILTER_GTE},
                 {"$lt", FILTER_LT},
                 {"$lte", FILTER_LTE}};
    size_t i = 0;
    while (strcmp(table[i].name, name) != 0)
        i++;
    return add_condition(c, parent, table[i].op, at, operand) ? 0 : c->err->code;
}

static int compile_ne(struct compiler *c, const char *name, struct target at,
                      struct json_object *operand, struct filter_node *parent)
{
    (void)name;
    struct filter_node *nor = add_node(c, parent, FILTER_NOR);
    return nor && add_condition(c, nor, FILTER_EQ, at, operand) ? 0 : c->err->code;
}

static int compile_in(struct compiler *c, const char *name, struct target at,
                      struct json_object *operand, struct filter_node *parent)
{
    if (!json_object_is_type(operand, json_type_array))
        return wrong(c, name, "an array");
    if (strcmp(name, "$nin") == 0)
        parent = add_node(c, parent, FILTER_NOR);
    return parent && add_condition(c, parent, FILTER_IN, at, operand) ? 0 : c->err->code;
}

static int compile_not(struct compiler *c, const char *name, struct target at,
                       struct json_object *operand, struct filter_node *parent)
{
    if (!is_operators(operand))
        return wrong(c, name, "an object of operators");
    struct filter_node *nor = add_node(c, parent, FILTER_NOR);
    struct filter_node *all = nor ? add_node(c, nor, FILTER_AND) : NULL;
    return all ? compile_operators(c, at, operand, all) : c->err->code;
}

static int compile_exists(struct compiler *c, const char *name, struct target at,
                          struct json_object *operand, struct filter_node *parent)
{
    (void)name;
    bool wanted = operand && (!json_object_is_type(operand, json_type_boolean) &&
                                      !json_object_is_type(operand, json_type_int) &&
                                      !json_object_is_type(operand, json_type_double)
                                  ? true
                                  : json_object_get_double(operand) != 0);
    if (!wanted)
        parent = add_node(c, parent, FILTER_NOR);
    return parent && add_condition(c, parent, FILTER_EXISTS, at, operand) ? 0 : c->err->code;
}

static int compile_size(struct compiler *c, const char *name, struct target at,
                        struct json_object *operand, struct filter_node *parent)
{
    int64_t size = json_object_get_int64(operand);
    if (!json_object_is_type(operand, json_type_int) || size < 0)
        return wrong(c, name, "a whole number, 0 or more");
    struct filter_node *node = add_condition(c, parent, FILTER_SIZE, at, operand);
    if (!node)
        return c->err->code;
    node->size = size;
    return 0;
}

/* BSON's types by name and number; those that JSON has no values of match nothing. */
static int type_bits(struct json_object *type, unsigned *ret)
{
    static const struct {
        const char *name;
        int number;
        unsigned bits;
    } table[] = {
        {"double", 1, FILTER_IS_DOUBLE},
        {"string", 2, FILTER_IS_STRING},
        {"object", 3, FILTER_IS_OBJECT},
        {"array", 4, FILTER_IS_ARRAY},
        {"binData", 5, 0},
        {"objectId", 7, 0},
        {"bool", 8, FILTER_IS_BOOL},
        {"date", 9, 0},
        {"null", 10, FILTER_IS_NULL},
        {"regex", 11, 0},
        {"int", 16, FILTER_IS_INT},
        {"timestamp", 17, 0},
        {"long", 18, FILTER_IS_LONG},
        {"decimal", 19, 0},
        {"number", 0, FILTER_IS_INT | FILTER_IS_LONG | FILTER_IS_DOUBLE},
    };
    bool by_name = json_object_is_type(type, json_type_string);
    if (!by_name && !json_object_is_type(type, json_type_int))
        return ERR_INVALID;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (by_name ? strcmp(json_object_get_string(type), table[i].name) == 0
                    : table[i].number && json_object_get_int64(type) == table[i].number) {
            *ret |= table[i].bits;
            return 0;
        }
    return ERR_INVALID;
}

static int compile_type(struct compiler *c, const char *name, struct target at,
                        struct json_object *operand, struct filter_node *parent)
{
    static const char expected[] = "a BSON type, by name or number, or an array of them";
    unsigned bits = 0;
    if (json_object_is_type(operand, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(operand); i++)
            if (type_bits(json_object_array_get_idx(operand, i), &bits))
                return wrong(c, name, expected);
    } else if (type_bits(operand, &bits)) {
        return wrong(c, name, expected);
    }
    struct filter_node *node = add_condition(c, parent, FILTER_TYPE, at, operand);
    if (!node)
        return c->err->code;
    node->types = bits;
    return 0;
}

static int compile_element(struct compiler *c, const char *name, struct target at,
                           struct json_object *operand, struct filter_node *parent)
{
    if (!json_object_is_type(operand, json_type_object))
        return wrong(c, name, "an object");
    /* {"$or": [...]} is a query, though it begins as operators do. */
    bool values = is_operators(operand) && !is_logical(first_name(operand));
    struct filter_node *node =
        add_condition(c, parent, values ? FILTER_ELEMENT_VALUE : FILTER_ELEMENT_QUERY, at, operand);
    if (!node)
        return c->err->code;
    return values ? compile_operators(c, (struct target){NULL}, operand, node)
                  : compile_query(c, operand, node);
}

static int compile_all(struct compiler *c, const char *name, struct target at,
                       struct json_object *operand, struct filter_node *parent)
{
    if (!json_object_is_type(operand, json_type_array))
        return wrong(c, name, "an array");
    size_t n = json_object_array_length(operand);
    struct filter_node *all = add_node(c, parent, n ? FILTER_AND : FILTER_OR); /* none: false */
    if (!all)
        return c->err->code;
    for (size_t i = 0; i < n; i++) {
        struct json_object *value = json_object_array_get_idx(operand, i), *query;
        int result = 0;
        if (json_object_is_type(value, json_type_object) &&
            json_object_object_get_ex(value, "$elemMatch", &query))
            result = compile_element(c, "$elemMatch", at, query, all);
        else if (!add_condition(c, all, FILTER_EQ, at, value))
            result = c->err->code;
        if (result)
            return result;
    }
    return 0;
}

static int compile_regex(struct compiler *c, struct target at, struct json_object *pattern,
                         struct json_object *options, struct filter_node *parent)
{
    unsigned flags = 0;
    if (!json_object_is_type(pattern, json_type_string))
        return wrong(c, "$regex", "a string");
    if (options && !json_object_is_type(options, json_type_string))
        return wrong(c, "$options", "a string of i, m, s, x");
    for (const char *o = options ? json_object_get_string(options) : ""; *o; o++) {
        const char *known = strchr("imsx", *o);
        if (!known)
            return wrong(c, "$options", "a string of i, m, s, x");
        flags |= 1u << (known - strchr("imsx", 'i'));
    }
    struct filter_node *node = add_condition(c, parent, FILTER_REGEX, at, pattern);
    if (!node)
        return c->err->code;
    int result = regex_new(json_object_get_string(pattern),
                           (size_t)json_object_get_string_len(pattern), flags, &node->re, c->err);
    if (result)
        error_prefix(c->err, "filter");
    return result;
}

static int compile_operator(struct compiler *c, const char *name, struct target at,
                            struct json_object *operand, struct filter_node *parent)
{
    static const struct {
        const char *name;
        compile_fn *compile;
    } table[] = {
        {"$all", compile_all},        {"$elemMatch", compile_element},
        {"$eq", compile_comparison},  {"$exists", compile_exists},
        {"$gt", compile_comparison},  {"$gte", compile_comparison},
        {"$in", compile_in},          {"$lt", compile_comparison},
        {"$lte", compile_comparison}, {"$ne", compile_ne},
        {"$nin", compile_in},         {"$not", compile_not},
        {"$size", compile_size},      {"$type", compile_type},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].compile(c, name, at, operand, parent);
    if (name[0] != '$')
        return error_set(c->err, ERR_INVALID, "filter: '%.100s' stands among operators", name);
    return error_set(c->err, ERR_UNSUPPORTED, "filter: operator '%.100s' is not supported", name);
}

/* Conditions of an object such as {"$gt": 1, "$lt": 5}, as children of `parent`. */
static int compile_operators(struct compiler *c, struct target at, struct json_object *operators,
                             struct filter_node *parent)
{
    struct json_object *pattern = NULL, *options = NULL;
    bool has_pattern = json_object_object_get_ex(operators, "$regex", &pattern);
    bool has_options = json_object_object_get_ex(operators, "$options", &options);
    int result = enter(c);
    if (!result && has_options && !has_pattern)
        result = wrong(c, "$options", "a $regex beside it");
    if (!result && has_pattern)
        result = compile_regex(c, at, pattern, options, parent);
    struct json_object_iterator it = json_object_iter_begin(operators);
    struct json_object_iterator end = json_object_iter_end(operators);
    for (; !result && !json_object_iter_equal(&it, &end); json_object_iter_next(&it)) {
        const char *name = json_object_iter_peek_name(&it);
        if (strcmp(name, "$regex") != 0 && strcmp(name, "$options") != 0)
            result = compile_operator(c, name, at, json_object_iter_peek_value(&it), parent);
    }
    c->depth--;
    return result;
}

/* --- queries on documents --- */

static int compile_logical(struct compiler *c, const char *name, struct json_object *operand,
                           struct filter_node *parent)
{
    enum filter_op op = strcmp(name, "$and") == 0  ? FILTER_AND
                        : strcmp(name, "$or") == 0 ? FILTER_OR
                                                   : FILTER_NOR;
    if (!json_object_is_type(operand, json_type_array) || json_object_array_length(operand) == 0)
        return wrong(c, name, "an array of at least one query");
    struct filter_node *node = add_node(c, parent, op);
    if (!node)
        return c->err->code;
    for (size_t i = 0; i < json_object_array_length(operand); i++) {
        struct json_object *query = json_object_array_get_idx(operand, i);
        if (!json_object_is_type(query, json_type_object))
            return wrong(c, name, "an array of queries");
        struct filter_node *all = add_node(c, node, FILTER_AND);
        int result = all ? compile_query(c, query, all) : c->err->code;
        if (result)
            return result;
    }
    return 0;
}

static int compile_member(struct compiler *c, const char *name, struct json_object *value,
                          struct filter_node *parent)
{
    if (is_logical(name))
        return compile_logical(c, name, value, parent);
    if (name[0] == '$')
        return error_set(c->err, ERR_UNSUPPORTED, "filter: operator '%.100s' is not supported",
                         name);
    if (is_operators(value))
        return compile_operators(c, (struct target){name}, value, parent);
    return add_condition(c, parent, FILTER_EQ, (struct target){name}, value) ? 0 : c->err->code;
}

static int compile_query(struct compiler *c, struct json_object *query, struct filter_node *parent)
{
    int result = enter(c);
    struct json_object_iterator it = json_object_iter_begin(query);
    struct json_object_iterator end = json_object_iter_end(query);
    for (; !result && !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
        result = compile_member(c, json_object_iter_peek_name(&it),
                                json_object_iter_peek_value(&it), parent);
    c->depth--;
    return result;
}

int filter_new(struct json_object *query, struct filter **ret, struct error *err)
{
    struct error own = ERROR_INIT; /* codes are read back from it, and `err` may be NULL */
    struct compiler c = {.err = err ? err : &own};
    if (!json_object_is_type(query, json_type_object))
        return error_set(err, ERR_INVALID, "filter: a query is an object");
    struct filter *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(err, ERR_NOMEM, "filter: out of memory");
    f->query = json_object_get(query);
    f->root = calloc(1, sizeof *f->root);
    int result = f->root ? compile_query(&c, query, f->root)
                         : error_set(err, ERR_NOMEM, "filter: out of memory");
    if (result) {
        filter_free(f);
        return result;
    }
    *ret = f;
    return 0;
}

void filter_free(struct filter *f)
{
    if (!f)
        return;
    free_nodes(f->root);
    json_object_put(f->query);
    free(f);
}
