/* From the document to nodes: keywords with their values prepared, references followed. */
#include "base/auto.h"
#include "base/json_schema_priv.h"

#include <stdlib.h>
#include <string.h>

/* --- the arena --- */

enum { ARENA_CHUNK = 8192 };

struct schema_arena_chunk {
    struct schema_arena_chunk *next;
    max_align_t bytes[];
};

void *schema_arena_alloc(struct schema_arena *a, size_t size)
{
    const size_t align = sizeof(max_align_t);
    size = (size + align - 1) / align * align;
    if (!a->chunks || size > a->cap - a->used) {
        size_t cap = size > ARENA_CHUNK ? size : ARENA_CHUNK;
        struct schema_arena_chunk *chunk = calloc(1, sizeof *chunk + cap);
        if (!chunk)
            return NULL;
        chunk->next = a->chunks;
        a->chunks = chunk;
        a->used = 0;
        a->cap = cap;
    }
    void *p = (char *)a->chunks->bytes + a->used;
    a->used += size;
    return p;
}

char *schema_arena_copy(struct schema_arena *a, const char *text, size_t len)
{
    char *copy = schema_arena_alloc(a, len + 1);
    if (copy)
        memcpy(copy, text, len);
    return copy;
}

void schema_arena_release(struct schema_arena *a)
{
    for (struct schema_arena_chunk *c = a->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    *a = (struct schema_arena){0};
}

/* --- the compiler --- */

struct compiler {
    struct json_schema *schema;
    struct schema_index index;
    unsigned flags;
    struct node **todo; /* nodes to compile; later all nodes, to look for loops */
    size_t n_todo, n_done, cap_todo;
    size_t cap_patterns;
    struct error *err;
};

static int no_memory(const struct compiler *c)
{
    return error_set(c->err, ERR_NOMEM, "out of memory");
}

/* Where a keyword of a node stands in the document. */
static struct step keyword_step(const struct compiler *c, const struct node *node, const char *name)
{
    const struct place *p = schema_index_get(&c->index, node->object);
    return (struct step){.previous = p ? p->path : NULL, .key = name};
}

static struct node *place_node(struct compiler *c, struct place *place)
{
    if (place->node)
        return place->node;
    if (c->n_todo == c->cap_todo) {
        size_t cap = c->cap_todo ? 2 * c->cap_todo : 64;
        struct node **todo = realloc(c->todo, cap * sizeof(struct node *));
        if (!todo)
            return NULL;
        c->todo = todo;
        c->cap_todo = cap;
    }
    struct node *node = schema_arena_alloc(&c->schema->arena, sizeof *node);
    if (!node)
        return NULL;
    node->object = place->object;
    node->resource = place->resource;
    node->dialect = place->resource->dialect;
    node->is_boolean = json_object_is_type(place->object, json_type_boolean);
    node->boolean = node->is_boolean && json_object_get_boolean(place->object);
    place->node = node;
    c->todo[c->n_todo++] = node;
    return node;
}

/* The node of a subschema that the index knows; NULL: out of memory. */
static const struct node *node_of(struct compiler *c, struct json_object *schema)
{
    struct place *place = schema_index_get(&c->index, schema);
    return place ? place_node(c, place) : NULL;
}

static void set_name(const struct compiler *c, struct name *name, const char *text, size_t len)
{
    *name = (struct name){.text = text, .len = len};
    name->hash = c->schema->hash(text);
}

static int compile_pattern(struct compiler *c, const char *text, size_t len, struct step at,
                           const struct pattern **ret)
{
    struct json_schema *s = c->schema;
    if (s->n_patterns == SCHEMA_PATTERNS_MAX)
        return error_set(c->err, ERR_LIMIT, "the schema has more than %d patterns",
                         SCHEMA_PATTERNS_MAX);
    if (s->n_patterns == c->cap_patterns) {
        size_t cap = c->cap_patterns ? 2 * c->cap_patterns : 8;
        struct pattern **patterns = realloc(s->patterns, cap * sizeof *patterns);
        if (!patterns)
            return no_memory(c);
        s->patterns = patterns;
        c->cap_patterns = cap;
    }
    struct error why = ERROR_INIT;
    struct pattern *p = pattern_compile(text, len, &why);
    if (!p && why.code == ERR_NOMEM)
        return no_memory(c);
    if (!p) {
        struct message_text message = {.len = 0};
        text_repr_string(&message, text, len);
        text_printf(&message, " is not a 'regex': %s", why.message);
        return schema_error(c->err, &at, &message);
    }
    s->patterns[s->n_patterns++] = p;
    *ret = p;
    return 0;
}

/* --- keywords by what they hold --- */

static int compile_list(struct compiler *c, struct keyword *k)
{
    k->n = json_object_array_length(k->value);
    k->as.nodes = schema_arena_alloc(&c->schema->arena, (k->n + 1) * sizeof *k->as.nodes);
    if (!k->as.nodes)
        return no_memory(c);
    for (size_t i = 0; i < k->n; i++)
        if (!(k->as.nodes[i] = node_of(c, json_object_array_get_idx(k->value, i))))
            return no_memory(c);
    return 0;
}

static int compile_child(struct compiler *c, struct keyword *k)
{
    k->as.node = node_of(c, k->value);
    return k->as.node ? 0 : no_memory(c);
}

/* properties, patternProperties, dependencies and the like */
static int compile_map(struct compiler *c, const struct node *node, struct keyword *k)
{
    const struct lh_table *members = json_object_get_object(k->value);
    const size_t n = (size_t)json_object_object_length(k->value);
    struct property *p = schema_arena_alloc(&c->schema->arena, (n + 1) * sizeof *p);
    if (!p)
        return no_memory(c);
    k->as.properties = p;
    const struct step outer = keyword_step(c, node, keyword_name(k->kind));
    int rc = 0;
    for (const struct lh_entry *e = members->head; e && !rc; e = e->next, p++, k->n++) {
        struct json_object *value = (struct json_object *)(uintptr_t)e->v;
        set_name(c, &p->name, e->k, strlen(e->k));
        if (json_object_is_type(value, json_type_array))
            p->names = value;
        else if (!(p->node = node_of(c, value)))
            return no_memory(c);
        if (k->kind == K_PATTERN_PROPERTIES)
            rc = compile_pattern(c, p->name.text, p->name.len,
                                 (struct step){.previous = &outer, .key = p->name.text},
                                 &p->pattern);
    }
    return rc;
}

static int compile_required(struct compiler *c, struct keyword *k)
{
    if (!json_object_is_type(k->value, json_type_array))
        return 0;
    k->n = json_object_array_length(k->value);
    k->as.names = schema_arena_alloc(&c->schema->arena, (k->n + 1) * sizeof *k->as.names);
    if (!k->as.names)
        return no_memory(c);
    for (size_t i = 0; i < k->n; i++) {
        struct json_object *name = json_object_array_get_idx(k->value, i);
        set_name(c, &k->as.names[i], json_object_get_string(name),
                 (size_t)json_object_get_string_len(name));
    }
    return 0;
}

static unsigned types_of(struct json_object *value)
{
    if (json_object_is_type(value, json_type_string))
        return type_by_name(json_object_get_string(value));
    unsigned types = 0;
    for (size_t i = 0; i < json_object_array_length(value); i++)
        types |= type_by_name(json_object_get_string(json_object_array_get_idx(value, i)));
    return types;
}

/* A count as the metaschema allows it: 3 or 3.0. */
static int64_t count_of(struct json_object *value)
{
    double d = json_object_get_double(value);
    return json_object_is_type(value, json_type_int) ? json_object_get_int64(value)
           : d < 0x1p62                              ? (int64_t)d
                                                     : INT64_MAX;
}

static struct json_object *sibling(const struct node *node, const char *name)
{
    struct json_object *value;
    return json_object_object_get_ex(node->object, name, &value) ? value : NULL;
}

static int compile_limit(const struct node *node, struct keyword *k)
{
    number_read(k->value, &k->as.number);
    if (node->dialect == DRAFT4 && (k->kind == K_MINIMUM || k->kind == K_MAXIMUM)) {
        struct json_object *e =
            sibling(node, k->kind == K_MINIMUM ? "exclusiveMinimum" : "exclusiveMaximum");
        k->exclusive = e && json_object_get_boolean(e);
    }
    return 0;
}

static int compile_if(struct compiler *c, const struct node *node, struct keyword *k)
{
    struct json_object *then = sibling(node, "then"), *otherwise = sibling(node, "else");
    if (then && !(k->other[0] = node_of(c, then)))
        return no_memory(c);
    if (otherwise && !(k->other[1] = node_of(c, otherwise)))
        return no_memory(c);
    return compile_child(c, k);
}

static int compile_contains(struct compiler *c, const struct node *node, struct keyword *k)
{
    k->min = 1;
    k->max = INT64_MAX;
    if (node->dialect >= DRAFT2019) {
        struct json_object *min = sibling(node, "minContains"), *max = sibling(node, "maxContains");
        k->min = min ? count_of(min) : 1;
        k->max = max ? count_of(max) : INT64_MAX;
    }
    return compile_child(c, k);
}

/* --- references --- */

/* All anchors that a dynamic reference may end at, by name or (NULL) by $recursiveAnchor. */
static int compile_targets(struct compiler *c, const char *name, struct keyword *k)
{
    size_t n = 0;
    for (const struct resource *r = c->index.all; r; r = r->next)
        n++;
    k->as.targets = schema_arena_alloc(&c->schema->arena, n * sizeof *k->as.targets);
    if (!k->as.targets)
        return no_memory(c);
    for (const struct resource *r = c->index.all; r; r = r->next) {
        struct json_object *object = name ? map_get(&r->dynamic_anchors, name, strlen(name))
                                     : r->recursive_anchor ? r->root
                                                           : NULL;
        if (!object)
            continue;
        const struct node *target = node_of(c, object);
        if (!target)
            return no_memory(c);
        k->as.targets[k->n++] = (struct dynamic_target){.resource = r, .node = target};
    }
    return 0;
}

static int compile_dynamic(struct compiler *c, const struct node *node, struct keyword *k,
                           const struct place *target)
{
    const char *reference = json_object_get_string(k->value);
    if (node->dialect == DRAFT2019)
        return target->resource->recursive_anchor ? compile_targets(c, NULL, k) : 0;
    const char *fragment = strchr(reference, '#');
    if (!fragment || fragment[1] == '\0' || fragment[1] == '/')
        return 0;
    fragment++;
    if (map_get(&target->resource->dynamic_anchors, fragment, strlen(fragment)) != target->object)
        return 0; /* an ordinary anchor: an ordinary reference */
    return compile_targets(c, fragment, k);
}

static int compile_ref(struct compiler *c, const struct node *node, const char *name,
                       struct keyword *k)
{
    const char *reference = json_object_get_string(k->value);
    struct place *origin = schema_index_get(&c->index, node->object), *target;
    struct error why = ERROR_INIT;
    int rc = schema_index_resolve(&c->index, origin->resource, reference, &target, &why);
    if (rc == ERR_NOT_FOUND && k->kind == K_REF && dialect_of_uri(reference, &k->as.dialect)) {
        k->kind = K_REF_META;
        return 0;
    }
    if (rc == ERR_NOT_FOUND) {
        struct message_text message = {.len = 0};
        text_put(&message, why.message, strlen(why.message));
        const struct step at = keyword_step(c, node, name);
        return schema_error(c->err, &at, &message);
    }
    if (rc)
        return error_set(c->err, rc, "%s", why.message);
    /* It may lie where the check of the whole document saw no schema, or saw one of another draft. */
    rc = target->node ? 0
                      : meta_check(target->object, target->resource->dialect, target->path, c->err);
    if (rc)
        return rc;
    const struct node *to = place_node(c, target);
    if (!to)
        return no_memory(c);
    if (k->kind == K_REF) {
        k->as.node = to;
        return 0;
    }
    k->other[0] = to;
    c->schema->has_dynamic = true;
    return compile_dynamic(c, node, k, target);
}

/* --- one keyword --- */

static int compile_keyword(struct compiler *c, struct node *node, const char *name,
                           struct keyword *k)
{
    switch (k->kind) {
    case K_ALL_OF:
    case K_ANY_OF:
    case K_ONE_OF:
    case K_PREFIX_ITEMS:
        return compile_list(c, k);
    case K_ITEMS:
        k->exclusive = json_object_is_type(k->value, json_type_array);
        return k->exclusive ? compile_list(c, k) : compile_child(c, k);
    case K_ADDITIONAL_ITEMS:
    case K_ADDITIONAL_PROPERTIES:
    case K_NOT:
    case K_PROPERTY_NAMES:
    case K_UNEVALUATED_ITEMS:
    case K_UNEVALUATED_PROPERTIES:
        return compile_child(c, k);
    case K_CONTAINS:
        return compile_contains(c, node, k);
    case K_IF:
        return compile_if(c, node, k);
    case K_DEPENDENCIES:
    case K_DEPENDENT_REQUIRED:
    case K_DEPENDENT_SCHEMAS:
    case K_PATTERN_PROPERTIES:
    case K_PROPERTIES:
        return compile_map(c, node, k);
    case K_REQUIRED:
        return compile_required(c, k);
    case K_REF:
    case K_DYNAMIC_REF:
        return compile_ref(c, node, name, k);
    case K_TYPE:
        k->as.types = node->types = types_of(k->value);
        return 0;
    case K_PATTERN:
        return compile_pattern(c, json_object_get_string(k->value),
                               (size_t)json_object_get_string_len(k->value),
                               keyword_step(c, node, name), &k->as.pattern);
    case K_FORMAT:
        k->as.format = format_find(json_object_get_string(k->value));
        return 0;
    case K_MAX_ITEMS:
    case K_MAX_LENGTH:
    case K_MAX_PROPERTIES:
    case K_MIN_ITEMS:
    case K_MIN_LENGTH:
    case K_MIN_PROPERTIES:
        k->as.count = count_of(k->value);
        return 0;
    case K_MAXIMUM:
    case K_MINIMUM:
    case K_EXCLUSIVE_MAXIMUM:
    case K_EXCLUSIVE_MINIMUM:
    case K_MULTIPLE_OF:
        return compile_limit(node, k);
    default: /* const, enum, uniqueItems: the value itself */
        return 0;
    }
}

/* Keywords that can never fail, and so need not be there. */
static bool is_idle(const struct keyword *k)
{
    switch (k->kind) {
    case K_FORMAT:
        return !k->as.format;
    case K_UNIQUE_ITEMS:
        return !json_object_get_boolean(k->value);
    default:
        return false;
    }
}

/* --- one node --- */

static const struct keyword_info *active_keyword(const struct compiler *c, const struct node *node,
                                                 const char *name)
{
    const struct keyword_info *info = keyword_find(name);
    if (!info || !(info->dialects & 1u << node->dialect) || info->kind == K_HOLDER ||
        info->kind == K_MODIFIER)
        return NULL;
    if (info->kind == K_FORMAT && !(c->flags & JSON_SCHEMA_ASSERT_FORMAT))
        return NULL;
    return info;
}

/* What other keywords of the node want to know. */
static void note_siblings(struct node *node)
{
    for (size_t i = 0; i < node->n_keywords; i++) {
        const struct keyword *k = &node->keywords[i];
        if (k->kind == K_ITEMS && k->exclusive)
            node->has_items_list = true;
        if (k->kind == K_PROPERTIES)
            node->properties = k;
        else if (k->kind == K_PATTERN_PROPERTIES)
            node->patterns = k;
        else if (k->kind == K_PREFIX_ITEMS || (k->kind == K_ITEMS && k->exclusive))
            node->n_prefix = k->n;
        else if (k->kind == K_UNEVALUATED_ITEMS || k->kind == K_UNEVALUATED_PROPERTIES)
            node->needs_marks = true;
    }
}

static size_t count_in_place(const struct keyword *k)
{
    switch (k->kind) {
    case K_ALL_OF:
    case K_ANY_OF:
    case K_ONE_OF:
    case K_DEPENDENCIES:
    case K_DEPENDENT_SCHEMAS:
        return k->n;
    case K_NOT:
    case K_REF:
    case K_DYNAMIC_REF:
        return 1;
    case K_IF:
        return 3;
    default:
        return 0;
    }
}

static size_t list_in_place(const struct keyword *k, const struct node **out)
{
    const struct node **start = out;
    switch (k->kind) {
    case K_ALL_OF:
    case K_ANY_OF:
    case K_ONE_OF:
        for (size_t i = 0; i < k->n; i++)
            *out++ = k->as.nodes[i];
        break;
    case K_DEPENDENCIES:
    case K_DEPENDENT_SCHEMAS:
        for (size_t i = 0; i < k->n; i++)
            if (k->as.properties[i].node)
                *out++ = k->as.properties[i].node;
        break;
    case K_DYNAMIC_REF:
        *out++ = k->other[0];
        break;
    case K_NOT:
    case K_REF:
        *out++ = k->as.node;
        break;
    case K_IF:
        *out++ = k->as.node;
        for (int i = 0; i < 2; i++)
            if (k->other[i])
                *out++ = k->other[i];
        break;
    default:
        break;
    }
    return (size_t)(out - start);
}

static int note_in_place(struct compiler *c, struct node *node)
{
    size_t n = 0;
    for (size_t i = 0; i < node->n_keywords; i++)
        n += count_in_place(&node->keywords[i]);
    if (n == 0)
        return 0;
    node->in_place = schema_arena_alloc(&c->schema->arena, n * sizeof(struct node *));
    if (!node->in_place)
        return no_memory(c);
    for (size_t i = 0; i < node->n_keywords; i++)
        node->n_in_place += list_in_place(&node->keywords[i], node->in_place + node->n_in_place);
    return 0;
}

static int compile_node(struct compiler *c, struct node *node)
{
    if (node->is_boolean)
        return 0;
    if (node->resource->root == node->object && node->dialect != c->schema->root->dialect) {
        const struct place *p = schema_index_get(&c->index, node->object);
        int rc = meta_check(node->object, node->dialect, p->path, c->err);
        if (rc)
            return rc;
    }
    const struct lh_table *members = json_object_get_object(node->object);
    struct json_object *ref = sibling(node, "$ref");
    const bool only_ref = node->dialect <= DRAFT7 && json_object_is_type(ref, json_type_string);
    size_t n = 0;
    for (const struct lh_entry *e = members->head; e; e = e->next)
        n += active_keyword(c, node, e->k) != NULL;
    node->keywords = schema_arena_alloc(&c->schema->arena, (n + 1) * sizeof *node->keywords);
    if (!node->keywords)
        return no_memory(c);
    for (const struct lh_entry *e = members->head; e; e = e->next) {
        const struct keyword_info *info = active_keyword(c, node, e->k);
        if (!info || (only_ref && info->kind != K_REF))
            continue;
        struct keyword *k = &node->keywords[node->n_keywords];
        k->kind = info->kind;
        k->value = (struct json_object *)(uintptr_t)e->v;
        if (k->kind == K_REF && !json_object_is_type(k->value, json_type_string))
            continue;
        int rc = compile_keyword(c, node, info->name, k);
        if (rc)
            return rc;
        if (!is_idle(k))
            node->n_keywords++;
        else
            *k = (struct keyword){0};
    }
    note_siblings(node);
    return note_in_place(c, node);
}

/* --- loops --- */

enum { UNSEEN, OPEN, CLOSED };

struct visit {
    struct node *node;
    size_t next;
};

/* The longest chain of subschemas applied to one value; a chain without end is a loop.  Depth first,
 * without recursion: chains may be long. */
static int measure_chain(struct compiler *c, struct node *start, struct visit *stack)
{
    size_t n = 0;
    stack[n++] = (struct visit){start, 0};
    start->state = OPEN;
    while (n) {
        struct visit *top = &stack[n - 1];
        struct node *node = top->node;
        if (top->next == node->n_in_place) {
            for (size_t i = 0; i < node->n_in_place; i++)
                if (node->in_place[i]->chain >= node->chain)
                    node->chain = node->in_place[i]->chain + 1;
            node->state = CLOSED;
            n--;
            continue;
        }
        struct node *child = schema_index_get(&c->index, node->in_place[top->next++]->object)->node;
        if (child->state == OPEN) {
            struct message_text text = {.len = 0};
            text_printf(&text, "this leads back to itself without end");
            const struct place *p = schema_index_get(&c->index, child->object);
            return schema_error(c->err, p->path, &text);
        }
        if (child->state == UNSEEN) {
            child->state = OPEN;
            stack[n++] = (struct visit){child, 0};
        }
    }
    return 0;
}

static int check_loops(struct compiler *c)
{
    AUTO_FREE struct visit *stack = malloc((c->n_todo + 1) * sizeof *stack);
    if (!stack)
        return no_memory(c);
    for (size_t i = 0; i < c->n_todo; i++) {
        struct node *node = c->todo[i];
        int rc = node->state == UNSEEN ? measure_chain(c, node, stack) : 0;
        if (rc)
            return rc;
        if (node->chain > SCHEMA_CHAIN_MAX) {
            struct message_text text = {.len = 0};
            text_printf(&text, "more than %d schemas are applied to one value in a row",
                        SCHEMA_CHAIN_MAX);
            const struct place *p = schema_index_get(&c->index, node->object);
            return schema_error(c->err, p->path, &text);
        }
    }
    return 0;
}

/* A node that is nothing but a reference need not be entered, unless dynamic references may look
 * for the resource that it is in. */
static void find_aliases(const struct compiler *c)
{
    for (size_t i = 0; i < c->n_todo; i++) {
        struct node *node = c->todo[i];
        if (node->n_keywords != 1 || node->keywords[0].kind != K_REF)
            continue;
        const struct node *target = node->keywords[0].as.node;
        if (!c->schema->has_dynamic || node->resource == target->resource)
            node->alias = target;
    }
    for (size_t i = 0; i < c->n_todo; i++)
        while (c->todo[i]->alias && c->todo[i]->alias->alias)
            c->todo[i]->alias = c->todo[i]->alias->alias;
}

/* --- the whole --- */

static int compile_all(struct compiler *c)
{
    struct json_schema *s = c->schema;
    int rc = schema_index_add(&c->index, s->document, NULL, NULL, c->err);
    if (rc)
        return rc;
    rc = meta_check(s->document, schema_index_get(&c->index, s->document)->resource->dialect, NULL,
                    c->err);
    if (rc)
        return rc;
    s->root = node_of(c, s->document);
    if (!s->root)
        return no_memory(c);
    while (c->n_done < c->n_todo) {
        rc = compile_node(c, c->todo[c->n_done++]);
        if (rc)
            return rc;
    }
    rc = check_loops(c);
    if (!rc)
        find_aliases(c);
    return rc;
}

int json_schema_compile(struct json_object *schema, unsigned flags, struct json_schema **ret,
                        struct error *err)
{
    const enum json_type type = json_object_get_type(schema);
    if (type != json_type_object && type != json_type_boolean) {
        struct message_text text = {.len = 0};
        text_repr(&text, schema);
        text_printf(&text, " is not of type 'object', 'boolean'");
        return schema_error(err, NULL, &text);
    }
    struct json_schema *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory");
    atomic_init(&s->refs, 1);
    s->document = json_object_get(schema);
    s->hash = json_object_is_type(schema, json_type_object)
                  ? json_object_get_object(schema)->hash_fn
                  : NULL;
    struct compiler c = {.schema = s, .flags = flags, .err = err};
    schema_index_init(&c.index, &s->arena);
    int rc = compile_all(&c);
    schema_index_release(&c.index);
    free(c.todo);
    if (rc)
        json_schema_unref(s);
    else
        *ret = s;
    return rc;
}

struct json_schema *json_schema_ref(struct json_schema *schema)
{
    atomic_fetch_add_explicit(&schema->refs, 1, memory_order_relaxed);
    return schema;
}

void json_schema_unref(struct json_schema *schema)
{
    if (!schema || atomic_fetch_sub_explicit(&schema->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < schema->n_patterns; i++)
        pattern_free(schema->patterns[i]);
    free(schema->patterns);
    pattern_spare_free(atomic_load(&schema->spare));
    schema_arena_release(&schema->arena);
    json_object_put(schema->document);
    free(schema);
}
