/* A compiled query: a tree of conditions. */
#ifndef HYPRXA_STORAGE_FILTER_PRIV_H
#define HYPRXA_STORAGE_FILTER_PRIV_H

#include "storage/filter.h"
#include "storage/regex.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum filter_op {
    /* of a document: what the children say */
    FILTER_AND,
    FILTER_OR,
    FILTER_NOR,
    /* of the values at a path */
    FILTER_EQ,
    FILTER_GT,
    FILTER_GTE,
    FILTER_LT,
    FILTER_LTE,
    FILTER_IN,
    FILTER_EXISTS,
    FILTER_REGEX,
    FILTER_SIZE,
    FILTER_TYPE,
    FILTER_ELEMENT_QUERY, /* an element that is an object and matches the children */
    FILTER_ELEMENT_VALUE, /* an element for which the children hold, their path being empty */
};

/* The types of JSON values in BSON's order of comparison, and as a set for $type. */
enum filter_type {
    FILTER_NULL,
    FILTER_NUMBER,
    FILTER_STRING,
    FILTER_OBJECT,
    FILTER_ARRAY,
    FILTER_BOOL,
};
enum filter_type_bit {
    FILTER_IS_NULL = 1 << 0,
    FILTER_IS_INT = 1 << 1,
    FILTER_IS_LONG = 1 << 2,
    FILTER_IS_DOUBLE = 1 << 3,
    FILTER_IS_STRING = 1 << 4,
    FILTER_IS_OBJECT = 1 << 5,
    FILTER_IS_ARRAY = 1 << 6,
    FILTER_IS_BOOL = 1 << 7,
};

struct filter_node {
    enum filter_op op;
    struct filter_node *children, *next; /* first child; next sibling */
    char *path;                          /* n_segments texts, each with its NUL */
    size_t n_segments;                   /* 0: the value itself */
    struct json_object *operand;         /* borrowed from the query */
    struct regex *re;
    int64_t size;
    unsigned types; /* filter_type_bit */
};

struct filter {
    struct json_object *query; /* a reference */
    struct filter_node *root;
};

#endif
