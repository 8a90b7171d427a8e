#include "base/json_schema_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers --- */

bool number_read(struct json_object *value, struct number *ret)
{
    switch (json_object_get_type(value)) {
    case json_type_int:
        *ret = (struct number){.i = json_object_get_int64(value)};
        return true;
    case json_type_double:
        *ret = (struct number){.is_double = true, .d = json_object_get_double(value)};
        return true;
    default:
        return false;
    }
}

static double as_double(const struct number *n)
{
    return n->is_double ? n->d : (double)n->i;
}

/* An integer against a double, exactly. */
static int compare_mixed(int64_t i, double d)
{
    if (d >= 0x1p63)
        return -1;
    if (d < -0x1p63)
        return 1;
    double whole = trunc(d);
    int64_t w = (int64_t)whole;
    if (i != w)
        return i < w ? -1 : 1;
    return d == whole ? 0 : d > whole ? -1 : 1;
}

int number_compare(const struct number *a, const struct number *b)
{
    if (a->is_double && b->is_double)
        return a->d < b->d ? -1 : a->d > b->d;
    if (a->is_double)
        return -compare_mixed(b->i, a->d);
    if (b->is_double)
        return compare_mixed(a->i, b->d);
    return a->i < b->i ? -1 : a->i > b->i;
}

bool number_is_multiple(const struct number *value, const struct number *of)
{
    if (!of->is_double && !value->is_double)
        return of->i == -1 || of->i == 0 || value->i % of->i == 0;
    if (!of->is_double)
        return fmod(value->d, (double)of->i) == 0;
    /* As Python does it: 0.3 is a multiple of 0.1 by division, though not exactly. */
    const double quotient = as_double(value) / of->d;
    if (isfinite(quotient))
        return trunc(quotient) == quotient && (quotient != 0 || as_double(value) == 0);
    return fmod(as_double(value), of->d) == 0; /* exact */
}

bool number_holds(const struct keyword *k, struct json_object *value)
{
    struct number n = {.i = 0};
    number_read(value, &n);
    switch (k->kind) {
    case K_MINIMUM: {
        int order = number_compare(&n, &k->as.number);
        return order > 0 || (order == 0 && !k->exclusive);
    }
    case K_MAXIMUM: {
        int order = number_compare(&n, &k->as.number);
        return order < 0 || (order == 0 && !k->exclusive);
    }
    case K_EXCLUSIVE_MINIMUM:
        return number_compare(&n, &k->as.number) > 0;
    case K_EXCLUSIVE_MAXIMUM:
        return number_compare(&n, &k->as.number) < 0;
    case K_MULTIPLE_OF:
        return number_is_multiple(&n, &k->as.number);
    default:
        return true;
    }
}

/* --- types --- */

unsigned value_types(struct json_object *value, enum dialect dialect)
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return TYPE_NULL;
    case json_type_boolean:
        return TYPE_BOOLEAN;
    case json_type_int:
        return TYPE_INTEGER | TYPE_NUMBER;
    case json_type_double: {
        double d = json_object_get_double(value);
        bool whole = dialect != DRAFT4 && isfinite(d) && trunc(d) == d;
        return whole ? TYPE_INTEGER | TYPE_NUMBER : TYPE_NUMBER;
    }
    case json_type_string:
        return TYPE_STRING;
    case json_type_array:
        return TYPE_ARRAY;
    default:
        return TYPE_OBJECT;
    }
}

unsigned type_by_name(const char *name)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return 1u << i;
    return 0;
}

size_t utf8_characters(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xC0) != 0x80;
    return n;
}

/* --- equality: 1 is 1.0, true is not 1 --- */

static bool equal_deep(struct json_object *a, struct json_object *b, unsigned depth);

static bool equal_objects(struct json_object *a, struct json_object *b, unsigned depth)
{
    if (json_object_object_length(a) != json_object_object_length(b))
        return false;
    const struct lh_table *members = json_object_get_object(a);
    for (const struct lh_entry *e = members->head; e; e = e->next) {
        struct json_object *other;
        if (!json_object_object_get_ex(b, e->k, &other) ||
            !equal_deep((struct json_object *)(uintptr_t)e->v, other, depth))
            return false;
    }
    return true;
}

static bool equal_deep(struct json_object *a, struct json_object *b, unsigned depth)
{
    struct number x, y;
    if (a == b)
        return true;
    if (number_read(a, &x))
        return number_read(b, &y) && number_compare(&x, &y) == 0;
    const enum json_type type = json_object_get_type(a);
    if (type != json_object_get_type(b) || depth == 0)
        return false;
    switch (type) {
    case json_type_boolean:
        return json_object_get_boolean(a) == json_object_get_boolean(b);
    case json_type_string: {
        const int len = json_object_get_string_len(a);
        return len == json_object_get_string_len(b) &&
               memcmp(json_object_get_string(a), json_object_get_string(b), (size_t)len) == 0;
    }
    case json_type_array: {
        const size_t n = json_object_array_length(a);
        if (n != json_object_array_length(b))
            return false;
        for (size_t i = 0; i < n; i++)
            if (!equal_deep(json_object_array_get_idx(a, i), json_object_array_get_idx(b, i),
                            depth - 1))
                return false;
        return true;
    }
    case json_type_object:
        return equal_objects(a, b, depth - 1);
    default:
        return true; /* two nulls */
    }
}

bool value_equal(struct json_object *a, struct json_object *b)
{
    return equal_deep(a, b, SCHEMA_PATH_MAX);
}

/* --- uniqueness --- */

static uint64_t hash_number(const struct number *n)
{
    double d = as_double(n) + 0.0; /* no negative zero */
    if (!n->is_double && (d >= 0x1p63 || (int64_t)d != n->i))
        return map_hash(&n->i, sizeof n->i); /* equal to no double */
    return map_hash(&d, sizeof d);
}

/* Equal values have equal hashes; the key of map_hash() keeps others apart whatever they are. */
static uint64_t hash_deep(struct json_object *value, unsigned depth)
{
    struct number n;
    if (number_read(value, &n))
        return hash_number(&n);
    const enum json_type type = json_object_get_type(value);
    uint64_t hash = map_hash(&type, sizeof type);
    if (depth == 0)
        return hash;
    switch (type) {
    case json_type_boolean:
        return hash + (uint64_t)json_object_get_boolean(value);
    case json_type_string:
        return map_hash(json_object_get_string(value), (size_t)json_object_get_string_len(value));
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            uint64_t pair[2] = {hash, hash_deep(json_object_array_get_idx(value, i), depth - 1)};
            hash = map_hash(pair, sizeof pair);
        }
        return hash;
    case json_type_object: {
        const struct lh_table *members = json_object_get_object(value);
        for (const struct lh_entry *e = members->head; e; e = e->next) {
            struct json_object *member = (struct json_object *)(uintptr_t)e->v;
            uint64_t pair[2] = {map_hash(e->k, strlen(e->k)), hash_deep(member, depth - 1)};
            hash += map_hash(pair, sizeof pair); /* in any order */
        }
        return hash;
    }
    default:
        return hash;
    }
}

struct hashed {
    uint64_t hash;
    struct json_object *value;
};

static int compare_hashed(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;
    return x->hash < y->hash ? -1 : x->hash > y->hash;
}

static bool few_unique(struct json_object *array, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (value_equal(json_object_array_get_idx(array, i),
                            json_object_array_get_idx(array, k)))
                return false;
    return true;
}

int value_all_unique(struct json_object *array, bool *ret)
{
    const size_t n = json_object_array_length(array);
    if (n <= 8) {
        *ret = few_unique(array, n);
        return 0;
    }
    struct hashed *items = malloc(n * sizeof *items);
    if (!items)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        items[i].value = json_object_array_get_idx(array, i);
        items[i].hash = hash_deep(items[i].value, SCHEMA_PATH_MAX);
    }
    qsort(items, n, sizeof *items, compare_hashed);
    *ret = true;
    for (size_t i = 0; i < n && *ret; i++)
        for (size_t k = i + 1; k < n && items[k].hash == items[i].hash && *ret; k++)
            *ret = !value_equal(items[i].value, items[k].value);
    free(items);
    return 0;
}
