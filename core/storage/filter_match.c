/* Matching a document against a compiled query. */
#include "storage/filter_priv.h"

#include <json-c/json.h>
#include <limits.h>
#include <string.h>

enum { STEPS_MAX = 200000 };

struct matcher {
    unsigned steps;
    struct error *err;
};

/* A value found at a path; `missing`: there is none (a JSON null is not missing). */
struct found {
    struct json_object *value;
    bool missing;
};

static int match_node(struct matcher *m, const struct filter_node *node, struct found at);

static int step(struct matcher *m)
{
    if (++m->steps > STEPS_MAX)
        return error_set(m->err, ERR_LIMIT, "filter: more than %d steps on one document",
                         STEPS_MAX);
    return 0;
}

/* --- comparing --- */

static enum filter_type type_of(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return FILTER_NULL;
    case json_type_boolean:
        return FILTER_BOOL;
    case json_type_double:
    case json_type_int:
        return FILTER_NUMBER;
    case json_type_object:
        return FILTER_OBJECT;
    case json_type_array:
        return FILTER_ARRAY;
    case json_type_string:
        break;
    }
    return FILTER_STRING;
}

static int sign_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Exact, where a conversion to double would make neighbours equal. */
static int compare_int_double(int64_t i, double d)
{
    if (d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    int64_t whole = (int64_t)d;
    double rest = d - (double)whole;
    return i != whole ? sign_of(i, whole) : (rest < 0) - (rest > 0);
}

static int compare_numbers(struct json_object *a, struct json_object *b)
{
    bool a_is_int = json_object_is_type(a, json_type_int);
    bool b_is_int = json_object_is_type(b, json_type_int);
    if (a_is_int && b_is_int)
        return sign_of(json_object_get_int64(a), json_object_get_int64(b));
    if (a_is_int)
        return compare_int_double(json_object_get_int64(a), json_object_get_double(b));
    if (b_is_int)
        return -compare_int_double(json_object_get_int64(b), json_object_get_double(a));
    double x = json_object_get_double(a), y = json_object_get_double(b);
    return (x > y) - (x < y);
}

static int compare_strings(struct json_object *a, struct json_object *b)
{
    int a_len = json_object_get_string_len(a), b_len = json_object_get_string_len(b);
    int order = memcmp(json_object_get_string(a), json_object_get_string(b),
                       (size_t)(a_len < b_len ? a_len : b_len));
    return order ? order : a_len - b_len;
}

static int compare(struct matcher *m, struct json_object *a, struct json_object *b, int *ret);

static int compare_arrays(struct matcher *m, struct json_object *a, struct json_object *b, int *ret)
{
    size_t a_n = json_object_array_length(a), b_n = json_object_array_length(b);
    for (size_t i = 0; i < a_n && i < b_n; i++) {
        int result =
            compare(m, json_object_array_get_idx(a, i), json_object_array_get_idx(b, i), ret);
        if (result || *ret)
            return result;
    }
    *ret = (a_n > b_n) - (a_n < b_n);
    return 0;
}

/* Member by member in stored order: type, then name, then value. */
static int compare_objects(struct matcher *m, struct json_object *a, struct json_object *b,
                           int *ret)
{
    struct json_object_iterator x = json_object_iter_begin(a), x_end = json_object_iter_end(a);
    struct json_object_iterator y = json_object_iter_begin(b), y_end = json_object_iter_end(b);
    for (;;) {
        bool x_over = json_object_iter_equal(&x, &x_end),
             y_over = json_object_iter_equal(&y, &y_end);
        *ret = y_over - x_over;
        if (x_over || y_over)
            return 0;
        struct json_object *v = json_object_iter_peek_value(&x);
        struct json_object *w = json_object_iter_peek_value(&y);
        *ret = (int)type_of(v) - (int)type_of(w);
        if (!*ret)
            *ret = strcmp(json_object_iter_peek_name(&x), json_object_iter_peek_name(&y));
        int result = *ret ? 0 : compare(m, v, w, ret);
        if (result || *ret)
            return result;
        json_object_iter_next(&x);
        json_object_iter_next(&y);
    }
}

/* *ret: below, equal to or above 0, in BSON's order of types and values. */
static int compare(struct matcher *m, struct json_object *a, struct json_object *b, int *ret)
{
    int result = step(m);
    enum filter_type type = type_of(a);
    *ret = (int)type - (int)type_of(b);
    if (result || *ret)
        return result;
    switch (type) {
    case FILTER_NULL:
        break;
    case FILTER_NUMBER:
        *ret = compare_numbers(a, b);
        break;
    case FILTER_STRING:
        *ret = compare_strings(a, b);
        break;
    case FILTER_BOOL:
        *ret = json_object_get_boolean(a) - json_object_get_boolean(b);
        break;
    case FILTER_ARRAY:
        return compare_arrays(m, a, b, ret);
    case FILTER_OBJECT:
        return compare_objects(m, a, b, ret);
    }
    return 0;
}

/* --- one value: 1 holds, 0 does not, negative --- */

static int test_range(struct matcher *m, const struct filter_node *node, struct json_object *value)
{
    int order;
    if (type_of(value) != type_of(node->operand))
        return 0;
    int result = compare(m, value, node->operand, &order);
    if (result)
        return result;
    switch (node->op) {
    case FILTER_GT:
        return order > 0;
    case FILTER_GTE:
        return order >= 0;
    case FILTER_LT:
        return order < 0;
    case FILTER_LTE:
        return order <= 0;
    default:
        return order == 0;
    }
}

static int test_in(struct matcher *m, const struct filter_node *node, struct json_object *value)
{
    for (size_t i = 0; i < json_object_array_length(node->operand); i++) {
        int order;
        int result = compare(m, value, json_object_array_get_idx(node->operand, i), &order);
        if (result)
            return result;
        if (order == 0)
            return 1;
    }
    return 0;
}

static unsigned type_bit(struct json_object *value)
{
    switch (type_of(value)) {
    case FILTER_NULL:
        return FILTER_IS_NULL;
    case FILTER_NUMBER:
        break;
    case FILTER_STRING:
        return FILTER_IS_STRING;
    case FILTER_OBJECT:
        return FILTER_IS_OBJECT;
    case FILTER_ARRAY:
        return FILTER_IS_ARRAY;
    case FILTER_BOOL:
        return FILTER_IS_BOOL;
    }
    if (json_object_is_type(value, json_type_double))
        return FILTER_IS_DOUBLE;
    int64_t i = json_object_get_int64(value);
    return i >= INT32_MIN && i <= INT32_MAX ? FILTER_IS_INT : FILTER_IS_LONG;
}

static int test_elements(struct matcher *m, const struct filter_node *node,
                         struct json_object *array)
{
    if (!json_object_is_type(array, json_type_array))
        return 0;
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        struct found element = {json_object_array_get_idx(array, i), false};
        int result = 1;
        if (node->op == FILTER_ELEMENT_QUERY &&
            !json_object_is_type(element.value, json_type_object))
            continue;
        for (const struct filter_node *n = node->children; n && result > 0; n = n->next)
            result = match_node(m, n, element);
        if (result)
            return result;
    }
    return 0;
}

static int test_value(struct matcher *m, const struct filter_node *node, struct found at)
{
    int result = step(m);
    if (result)
        return result;
    if (at.missing && node->op != FILTER_EQ && node->op != FILTER_IN && node->op != FILTER_GTE &&
        node->op != FILTER_LTE)
        return 0; /* those four take an absent member for null */
    switch (node->op) {
    case FILTER_IN:
        return test_in(m, node, at.value);
    case FILTER_EXISTS:
        return 1;
    case FILTER_REGEX:
        if (!json_object_is_type(at.value, json_type_string))
            return 0;
        return regex_search(node->re, json_object_get_string(at.value),
                            (size_t)json_object_get_string_len(at.value), m->err);
    case FILTER_SIZE:
        return json_object_is_type(at.value, json_type_array) &&
               json_object_array_length(at.value) == (size_t)node->size;
    case FILTER_TYPE:
        return (type_bit(at.value) & node->types) != 0;
    case FILTER_ELEMENT_QUERY:
    case FILTER_ELEMENT_VALUE:
        return test_elements(m, node, at.value);
    default:
        return test_range(m, node, at.value);
    }
}

/* The value, and if it is an array, each of its elements. */
static int test_leaf(struct matcher *m, const struct filter_node *node, struct found at)
{
    int result = test_value(m, node, at);
    bool whole = node->op == FILTER_SIZE || node->op == FILTER_ELEMENT_QUERY ||
                 node->op == FILTER_ELEMENT_VALUE || node->op == FILTER_EXISTS;
    if (result || whole || !json_object_is_type(at.value, json_type_array))
        return result;
    for (size_t i = 0; i < json_object_array_length(at.value) && !result; i++)
        result = test_value(m, node, (struct found){json_object_array_get_idx(at.value, i), false});
    return result;
}

/* --- paths --- */

/* The element that `segment` numbers; missing: none. */
static struct found element_at(struct json_object *array, const char *segment)
{
    size_t digits = strspn(segment, "0123456789"), index = 0;
    if (digits == 0 || digits > 9 || segment[digits])
        return (struct found){NULL, true};
    for (size_t i = 0; i < digits; i++)
        index = index * 10 + (size_t)(segment[i] - '0');
    if (index >= json_object_array_length(array))
        return (struct found){NULL, true};
    return (struct found){json_object_array_get_idx(array, index), false};
}

/* Test what lies at the `n` names from `segment` on, below `at`. */
static int walk(struct matcher *m, const struct filter_node *node, const char *segment, size_t n,
                struct found at)
{
    if (n == 0)
        return test_leaf(m, node, at);
    int result = step(m);
    if (result)
        return result;
    const char *next = segment + strlen(segment) + 1;
    if (json_object_is_type(at.value, json_type_object)) {
        struct found member = {NULL, false};
        member.missing = !json_object_object_get_ex(at.value, segment, &member.value);
        /* Below an absent member there is nothing: missing, however long the path. */
        return member.missing ? test_value(m, node, member) : walk(m, node, next, n - 1, member);
    }
    if (!json_object_is_type(at.value, json_type_array))
        return test_value(m, node, (struct found){NULL, true});
    struct found element = element_at(at.value, segment);
    if (!element.missing)
        result = walk(m, node, next, n - 1, element);
    for (size_t i = 0; i < json_object_array_length(at.value) && !result; i++) {
        struct found each = {json_object_array_get_idx(at.value, i), false};
        if (json_object_is_type(each.value, json_type_object))
            result = walk(m, node, segment, n, each);
    }
    return result;
}

/* --- the tree --- */

static int match_node(struct matcher *m, const struct filter_node *node, struct found at)
{
    if (node->op > FILTER_NOR)
        return node->n_segments ? walk(m, node, node->path, node->n_segments, at)
                                : test_value(m, node, at);
    /* AND ends at the first that fails, OR and NOR at the first that holds. */
    bool ends_at = node->op != FILTER_AND;
    for (const struct filter_node *n = node->children; n; n = n->next) {
        int result = match_node(m, n, at);
        if (result < 0)
            return result;
        if ((result == 1) == ends_at)
            return node->op == FILTER_OR;
    }
    return node->op != FILTER_OR;
}

int filter_match(struct filter *f, struct json_object *document, struct error *err)
{
    struct matcher m = {.err = err};
    return match_node(&m, f->root, (struct found){document, false});
}
