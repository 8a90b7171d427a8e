/* What the files of the JSON Schema validator share.
 *
 * A document is walked once to find its resources, anchors and subschemas (json_schema_index.c); each
 * subschema in reach of the root then becomes a node, a list of keywords with their values prepared
 * (json_schema_compile.c).  All of it lives in one arena and is constant afterwards. */
#ifndef HYPRXA_BASE_JSON_SCHEMA_PRIV_H
#define HYPRXA_BASE_JSON_SCHEMA_PRIV_H

#include "base/json_schema.h"
#include "base/map.h"

#include <json-c/json.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SCHEMA_NODES_MAX = 20000,    /* subschemas in one document */
    SCHEMA_PATTERNS_MAX = 2000,  /* regular expressions in one document */
    SCHEMA_CHAIN_MAX = 48,       /* subschemas applied in a row to the same value */
    SCHEMA_DEPTH_MAX = 160,      /* subschemas inside each other while validating */
    SCHEMA_STACK_MAX = 44 << 10, /* bytes of stack for that: a worker has 77 KiB left */
    SCHEMA_PATH_MAX = 96,        /* depth of a value */
    SCHEMA_STEPS_MAX = 1000000,  /* subschemas applied in one validation: 50 ms at most */
    SCHEMA_PATTERN_TIME_MS = 40, /* of CPU, for all patterns of one validation */
    SCHEMA_MESSAGE_SIZE = 480,
};

enum dialect { DRAFT4, DRAFT6, DRAFT7, DRAFT2019, DRAFT2020 };

/* --- memory that lives as long as the schema --- */

struct schema_arena_chunk;
struct schema_arena {
    struct schema_arena_chunk *chunks;
    size_t used, cap;
};
void *schema_arena_alloc(struct schema_arena *a, size_t size); /* zeroed; NULL: out of memory */
char *schema_arena_copy(struct schema_arena *a, const char *text, size_t len);
void schema_arena_release(struct schema_arena *a);

/* --- regular expressions (json_schema_pattern.c) --- */

struct pattern; /* a compiled one */
struct pattern *pattern_compile(const char *text, size_t len, struct error *err);
void pattern_free(struct pattern *p);
/* `*spare` keeps the working memory between calls; pattern_spare_free() ends it. */
struct pattern_spare;
enum pattern_result { PATTERN_NO, PATTERN_YES, PATTERN_LIMIT, PATTERN_NOMEM };
enum pattern_result pattern_match(const struct pattern *p, const char *text, size_t len,
                                  struct pattern_spare **spare);
void pattern_spare_free(struct pattern_spare *spare);

/* --- formats (json_schema_format.c) --- */

typedef bool format_fn(const char *text, size_t len);
format_fn *format_find(const char *name); /* NULL: not one that is checked */

/* --- compiled form --- */

enum keyword_kind {
    K_ADDITIONAL_ITEMS,
    K_ADDITIONAL_PROPERTIES,
    K_ALL_OF,
    K_ANY_OF,
    K_CONST,
    K_CONTAINS,
    K_DEPENDENCIES,
    K_DEPENDENT_REQUIRED,
    K_DEPENDENT_SCHEMAS,
    K_DYNAMIC_REF,
    K_ENUM,
    K_EXCLUSIVE_MAXIMUM,
    K_EXCLUSIVE_MINIMUM,
    K_FORMAT,
    K_IF,
    K_ITEMS,
    K_MAX_ITEMS,
    K_MAX_LENGTH,
    K_MAX_PROPERTIES,
    K_MAXIMUM,
    K_MIN_ITEMS,
    K_MIN_LENGTH,
    K_MIN_PROPERTIES,
    K_MINIMUM,
    K_MULTIPLE_OF,
    K_NOT,
    K_ONE_OF,
    K_PATTERN,
    K_PATTERN_PROPERTIES,
    K_PREFIX_ITEMS,
    K_PROPERTIES,
    K_PROPERTY_NAMES,
    K_REF,
    K_REF_META, /* a $ref to the metaschema of a draft */
    K_REQUIRED,
    K_TYPE,
    K_UNEVALUATED_ITEMS,
    K_UNEVALUATED_PROPERTIES,
    K_UNIQUE_ITEMS,
    /* Known, but no assertion by themselves: they hold subschemas, or belong to another keyword. */
    K_HOLDER,
    K_MODIFIER,
};

enum {
    TYPE_NULL = 1,
    TYPE_BOOLEAN = 2,
    TYPE_INTEGER = 4,
    TYPE_NUMBER = 8,
    TYPE_STRING = 16,
    TYPE_ARRAY = 32,
    TYPE_OBJECT = 64,
};

struct number {
    bool is_double;
    int64_t i;
    double d;
};

struct resource;

struct name {
    const char *text;
    size_t len;
    unsigned long hash; /* by json-c's hash function at the time of compiling */
};

struct property {
    struct name name;
    const struct node *node;       /* properties, dependentSchemas, dependencies */
    struct json_object *names;     /* dependentRequired, dependencies: an array of strings */
    const struct pattern *pattern; /* patternProperties */
};

/* Where $dynamicRef may end: the anchor of that name in each resource that has one. */
struct dynamic_target {
    const struct resource *resource;
    const struct node *node;
};

struct keyword {
    enum keyword_kind kind;
    struct json_object *value; /* as written */
    size_t n;                  /* of the list */
    union {
        const struct node *node;
        const struct node **nodes;
        struct property *properties;
        struct name *names; /* required */
        struct dynamic_target *targets;
        const struct pattern *pattern;
        format_fn *format;
        struct number number;
        int64_t count;
        unsigned types;
        enum dialect dialect; /* K_REF_META */
    } as;
    const struct node *other[2]; /* if: then, else; dynamic refs: [0] the initial target */
    int64_t min, max;            /* contains */
    bool exclusive;              /* minimum, maximum of draft 4; items: is an array */
};

struct node {
    bool is_boolean, boolean;
    bool has_items_list;        /* `items` is an array */
    bool needs_marks;           /* has unevaluatedItems or unevaluatedProperties */
    const struct node *alias;   /* this is nothing but a $ref to that one */
    struct json_object *object; /* the schema as written */
    const struct resource *resource;
    enum dialect dialect;
    unsigned types; /* `type`, for the relevance of failures; 0: none */
    struct keyword *keywords;
    size_t n_keywords;
    const struct keyword *properties, *patterns; /* among the keywords, or NULL */
    size_t n_prefix;              /* items covered by prefixItems or an items array */
    const struct node **in_place; /* subschemas applied to the same value, to find loops */
    size_t n_in_place;
    unsigned chain, state; /* longest chain of those; state of that search */
};

struct json_schema {
    atomic_uint refs;
    struct json_object *document;
    struct schema_arena arena;
    const struct node *root;
    lh_hash_fn *hash;
    bool has_dynamic;          /* some reference depends on the way taken */
    struct pattern **patterns; /* all of them, to free */
    size_t n_patterns;
    _Atomic(struct pattern_spare *) spare;
};

/* --- the index of a document (json_schema_index.c) --- */

/* How to come to a place: one key or index after another, the last first. */
struct step {
    const struct step *previous;
    const char *key; /* NULL: an index */
    size_t index;
};

struct resource {
    char *uri; /* absolute where the document says so, without fragment */
    struct json_object *root;
    enum dialect dialect;
    struct map anchors; /* name -> json_object; entries of dynamic ones also in the next */
    struct map dynamic_anchors;
    bool recursive_anchor;
    struct resource *next;
};

struct place {
    struct json_object *object;
    struct resource *resource;
    const struct step *path;
    struct node *node; /* once something reaches it */
};

struct schema_index {
    struct schema_arena *arena;
    struct map places;    /* json_object pointer -> struct place */
    struct map resources; /* URI -> struct resource */
    struct resource *all; /* the same, as a list */
};

/* What a keyword holds. */
enum keyword_children {
    HOLDS_NONE,
    HOLDS_SCHEMA,
    HOLDS_LIST,
    HOLDS_MAP,
    HOLDS_SCHEMA_OR_LIST,
};
struct keyword_info {
    const char *name;
    enum keyword_kind kind;
    unsigned dialects; /* bit per enum dialect */
    enum keyword_children children;
};
const struct keyword_info *keyword_find(const char *name);
const char *keyword_name(enum keyword_kind kind);

bool dialect_of_uri(const char *uri, enum dialect *ret);

void schema_index_init(struct schema_index *x, struct schema_arena *arena);
void schema_index_release(struct schema_index *x);
/* Enter a schema and all below it.  `outer`: the resource around it, NULL for the document itself. */
int schema_index_add(struct schema_index *x, struct json_object *schema, struct resource *outer,
                     const struct step *path, struct error *err);
struct place *schema_index_get(const struct schema_index *x, const struct json_object *schema);
/* Find what a reference in `from` means.  ERR_NOT_FOUND: nothing, with the reason in `err`. */
int schema_index_resolve(struct schema_index *x, struct resource *from, const char *reference,
                         struct place **ret, struct error *err);
/* The reference made absolute, with its fragment; malloced.  NULL: out of memory. */
char *uri_resolve(const char *base, const char *reference);

/* --- values (json_schema_value.c) --- */

bool number_read(struct json_object *value, struct number *ret); /* false: it is none */
int number_compare(const struct number *a, const struct number *b);
bool number_is_multiple(const struct number *value, const struct number *of);
/* Whether a number keeps to a keyword about numbers (minimum, ..., multipleOf). */
bool number_holds(const struct keyword *k, struct json_object *value);
bool value_equal(struct json_object *a, struct json_object *b);
int value_all_unique(struct json_object *array, bool *ret); /* ERR_NOMEM */
unsigned value_types(struct json_object *value, enum dialect dialect);
unsigned type_by_name(const char *name); /* 0: there is none */
size_t utf8_characters(const char *text, size_t len);

/* --- text of failures (json_schema_error.c) --- */

/* A message of bounded size: what does not fit is cut. */
struct message_text {
    char text[SCHEMA_MESSAGE_SIZE];
    size_t len;
};
void text_put(struct message_text *t, const char *bytes, size_t len);
void text_printf(struct message_text *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void text_repr(struct message_text *t, struct json_object *value); /* as Python's repr() */
void text_repr_string(struct message_text *t, const char *text, size_t len);
void text_deque(struct message_text *t, const struct step *path); /* deque(['a', 0]) */

/* Fails with "deque([path])-message". */
int schema_error(struct error *err, const struct step *path, const struct message_text *message);

/* --- validating (json_schema_eval.c) and its failures (json_schema_report.c) --- */

struct failure;

/* Takes failures as they come and keeps what python-jsonschema's best_match would look at. */
struct sink {
    enum {
        SINK_BEST,  /* the most relevant one */
        SINK_LEAST, /* the two least relevant ones: the context of an anyOf or oneOf */
        SINK_EACH,  /* none: they are handed on */
    } mode;
    struct failure *kept[2];
    json_schema_failure_fn *each;
    void *ctx;
    int n;
};
void sink_release(struct sink *s);
/* The message of the best one: "$.path-why". */
void sink_error(const struct sink *s, struct error *err);

struct path_part {
    const char *key; /* NULL: an index */
    size_t index;
};

struct scope;

struct eval {
    const struct json_schema *schema;
    struct sink *sink; /* NULL: only whether, not why */
    int rc;            /* ERR_LIMIT or ERR_NOMEM: the answer means nothing */
    unsigned depth, steps, n_matches;
    int64_t pattern_deadline_ns; /* on the thread's CPU clock; 0: not set */
    struct pattern_spare *spare;
    const struct scope *scope;
    const char *stack_start;
    size_t n_path;
    struct path_part path[SCHEMA_PATH_MAX];
};
bool schema_eval(struct eval *ev, const struct node *node, struct json_object *value);
bool eval_pattern(struct eval *ev, const struct pattern *p, const char *text, size_t len);
/* Whether neither `properties` nor `patternProperties` of the node speak of that member. */
bool eval_is_additional(struct eval *ev, const struct node *node, const struct lh_entry *member);

/* What a message may need beside keyword and value. */
struct detail {
    const char *name, *needed_by; /* a missing property; the one that needs it */
    int64_t n;
    struct sink *context;            /* anyOf, oneOf: what each branch had against the value */
    const struct message_text *text; /* a list made by the caller */
    bool is_variant;
};
/* Tell that keyword `k` (NULL: a false schema) failed; always false, to be returned. */
bool report(struct eval *ev, const struct node *node, const struct keyword *k,
            struct json_object *value, const struct detail *detail);

/* --- the metaschema of each draft (json_schema_meta.c) --- */

/* ERR_INVALID with the first reason why `schema`, found at `path`, is not valid in `dialect`. */
int meta_check(struct json_object *schema, enum dialect dialect, const struct step *path,
               struct error *err);
bool meta_is_valid(struct json_object *schema, enum dialect dialect);

#endif
