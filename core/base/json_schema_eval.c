/* Applying a compiled schema to a value.
 *
 * The same walk serves two ends: without a sink it answers as soon as it knows; with one it goes on
 * and reports every failure.  It recurses, so the functions that do keep small frames (and are not
 * inlined into each other): a level takes 300 to 500 bytes, and SCHEMA_STACK_MAX bounds their sum. */
#include "base/json_schema_priv.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OWN_FRAME __attribute__((noinline))

/* --- marks: which members or items of one value have been evaluated --- */

struct marks {
    uint64_t *bits; /* `few` or malloced */
    size_t n_words;
    uint64_t few[2];
};

static bool marks_init(struct marks *m, struct json_object *value)
{
    size_t n = json_object_is_type(value, json_type_object)
                   ? (size_t)json_object_get_object(value)->size
                   : json_object_array_length(value);
    m->n_words = (n + 63) / 64;
    m->few[0] = m->few[1] = 0;
    m->bits = m->n_words <= 2 ? m->few : calloc(m->n_words, sizeof *m->bits);
    return m->bits != NULL;
}

static void marks_release(struct marks *m)
{
    if (m->bits != m->few)
        free(m->bits);
}

static inline void mark(struct marks *m, size_t i)
{
    if (m)
        m->bits[i / 64] |= UINT64_C(1) << i % 64;
}

static inline bool is_marked(const struct marks *m, size_t i)
{
    return m->bits[i / 64] >> i % 64 & 1;
}

static void marks_add(struct marks *m, const struct marks *more)
{
    for (size_t i = 0; i < m->n_words; i++)
        m->bits[i] |= more->bits[i];
}

/* A member's mark is that of its slot in json-c's table. */
static inline size_t slot_of(const struct lh_table *table, const struct lh_entry *e)
{
    return (size_t)(e - table->table);
}

static inline struct json_object *member_value(const struct lh_entry *e)
{
    return (struct json_object *)(uintptr_t)e->v;
}

/* --- basics --- */

static bool apply(struct eval *ev, const struct node *node, struct json_object *value,
                  struct marks *marks);

static struct lh_entry *find_member(const struct eval *ev, struct lh_table *table,
                                    const struct name *name)
{
    if (table->hash_fn == ev->schema->hash)
        return lh_table_lookup_entry_w_hash(table, name->text, name->hash);
    return lh_table_lookup_entry(table, name->text);
}

/* Apply to a member (key) or an item (index) of the current value. */
OWN_FRAME static bool descend(struct eval *ev, const struct node *node, struct json_object *value,
                              const char *key, size_t index)
{
    if (node->is_boolean && node->boolean)
        return true;
    if (ev->n_path == SCHEMA_PATH_MAX) {
        ev->rc = ERR_LIMIT;
        return false;
    }
    ev->path[ev->n_path++] = (struct path_part){.key = key, .index = index};
    bool ok = apply(ev, node, value, NULL);
    ev->n_path--;
    return ok;
}

/* Only whether: nothing is reported. */
OWN_FRAME static bool is_valid(struct eval *ev, const struct node *node, struct json_object *value,
                               struct marks *marks)
{
    struct sink *const sink = ev->sink;
    ev->sink = NULL;
    bool ok = apply(ev, node, value, marks);
    ev->sink = sink;
    return ok;
}

/* Whether a walk that found `ok` so far need not go on. */
static inline bool is_over(const struct eval *ev, bool ok)
{
    return ev->rc || (!ok && !ev->sink);
}

static void spend(struct eval *ev, size_t steps)
{
    if (steps > SCHEMA_STEPS_MAX - ev->steps)
        ev->rc = ERR_LIMIT;
    else
        ev->steps += (unsigned)steps;
}

static int64_t thread_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

bool eval_pattern(struct eval *ev, const struct pattern *p, const char *text, size_t len)
{
    /* A few matches are bounded by PCRE2's own limit, many of them by the clock: that of the CPU,
     * because a busy machine must not make a value invalid. */
    if (++ev->n_matches % 8 == 0) {
        const int64_t now_ns = thread_cpu_ns();
        if (!ev->pattern_deadline_ns)
            ev->pattern_deadline_ns = now_ns + SCHEMA_PATTERN_TIME_MS * INT64_C(1000000);
        else if (now_ns > ev->pattern_deadline_ns)
            ev->rc = ERR_LIMIT;
    }
    spend(ev, 2 + len / 64);
    if (ev->rc)
        return false;
    switch (pattern_match(p, text, len, &ev->spare)) {
    case PATTERN_YES:
        return true;
    case PATTERN_LIMIT:
        ev->rc = ERR_LIMIT;
        return false;
    case PATTERN_NOMEM:
        ev->rc = ERR_NOMEM;
        return false;
    default:
        return false;
    }
}

/* --- objects --- */

OWN_FRAME static bool check_properties(struct eval *ev, const struct keyword *k,
                                       struct lh_table *table, struct marks *marks)
{
    bool ok = true;
    for (size_t i = 0; i < k->n; i++) {
        const struct property *p = &k->as.properties[i];
        const struct lh_entry *e = find_member(ev, table, &p->name);
        if (!e)
            continue;
        if (descend(ev, p->node, member_value(e), e->k, 0))
            mark(marks, slot_of(table, e));
        else
            ok = false;
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

OWN_FRAME static bool check_patterns(struct eval *ev, const struct keyword *k,
                                     const struct lh_table *table, struct marks *marks)
{
    bool ok = true;
    for (size_t i = 0; i < k->n; i++) {
        const struct property *p = &k->as.properties[i];
        for (const struct lh_entry *e = table->head; e; e = e->next) {
            if (!eval_pattern(ev, p->pattern, e->k, strlen(e->k))) {
                if (ev->rc)
                    return false;
                continue;
            }
            if (descend(ev, p->node, member_value(e), e->k, 0))
                mark(marks, slot_of(table, e));
            else
                ok = false;
            if (is_over(ev, ok))
                return false;
        }
    }
    return ok;
}

bool eval_is_additional(struct eval *ev, const struct node *node, const struct lh_entry *member)
{
    const struct keyword *k = node->properties;
    const size_t len = strlen(member->k);
    if (k && k->n <= 16) {
        for (size_t i = 0; i < k->n; i++)
            if (k->as.properties[i].name.len == len &&
                memcmp(k->as.properties[i].name.text, member->k, len) == 0)
                return false;
    } else if (k) {
        struct lh_table *known = json_object_get_object(k->value);
        if (lh_table_lookup_entry(known, member->k))
            return false;
    }
    for (size_t i = 0; node->patterns && i < node->patterns->n; i++)
        if (eval_pattern(ev, node->patterns->as.properties[i].pattern, member->k, len))
            return false;
    return true;
}

OWN_FRAME static bool check_additional(struct eval *ev, const struct node *node,
                                       const struct keyword *k, struct json_object *value,
                                       struct marks *marks)
{
    const struct lh_table *table = json_object_get_object(value);
    const struct node *schema = k->as.node;
    bool ok = true;
    for (const struct lh_entry *e = table->head; e; e = e->next) {
        if (!eval_is_additional(ev, node, e))
            continue;
        if (schema->is_boolean && !schema->boolean)
            return report(ev, node, k, value, NULL);
        if (descend(ev, schema, member_value(e), e->k, 0))
            mark(marks, slot_of(table, e));
        else
            ok = false;
        if (is_over(ev, ok))
            return false;
    }
    return ok && !ev->rc;
}

OWN_FRAME static bool check_names(struct eval *ev, const struct keyword *k,
                                  const struct lh_table *table)
{
    bool ok = true;
    for (const struct lh_entry *e = table->head; e; e = e->next) {
        struct json_object *name = json_object_new_string(e->k);
        if (!name) {
            ev->rc = ERR_NOMEM;
            return false;
        }
        ok = apply(ev, k->as.node, name, NULL) && ok;
        json_object_put(name);
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

OWN_FRAME static bool check_required(struct eval *ev, const struct node *node,
                                     const struct keyword *k, struct json_object *value)
{
    struct lh_table *table = json_object_get_object(value);
    bool ok = true;
    for (size_t i = 0; i < k->n; i++)
        if (!find_member(ev, table, &k->as.names[i])) {
            ok = report(ev, node, k, value, &(struct detail){.name = k->as.names[i].text});
            if (is_over(ev, ok))
                return false;
        }
    return ok;
}

/* One member of dependencies or dependentRequired that lists names. */
OWN_FRAME static bool has_all(struct eval *ev, const struct node *node, const struct keyword *k,
                              const struct property *p, struct json_object *value)
{
    bool ok = true;
    for (size_t i = 0; i < json_object_array_length(p->names); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(p->names, i));
        if (!json_object_object_get_ex(value, name, NULL))
            ok = report(ev, node, k, value,
                        &(struct detail){.name = name, .needed_by = p->name.text});
    }
    return ok;
}

OWN_FRAME static bool check_dependencies(struct eval *ev, const struct node *node,
                                         const struct keyword *k, struct json_object *value,
                                         struct marks *marks)
{
    struct lh_table *table = json_object_get_object(value);
    bool ok = true;
    for (size_t i = 0; i < k->n && !is_over(ev, ok); i++) {
        const struct property *p = &k->as.properties[i];
        if (!find_member(ev, table, &p->name))
            continue;
        if (p->names)
            ok = has_all(ev, node, k, p, value) && ok;
        else
            ok = apply(ev, p->node, value, marks) && ok;
    }
    return ok;
}

static bool check_object(struct eval *ev, const struct node *node, const struct keyword *k,
                         struct json_object *value, struct marks *marks)
{
    switch (k->kind) {
    case K_PROPERTIES:
        return check_properties(ev, k, json_object_get_object(value), marks);
    case K_PATTERN_PROPERTIES:
        return check_patterns(ev, k, json_object_get_object(value), marks);
    case K_ADDITIONAL_PROPERTIES:
        return check_additional(ev, node, k, value, marks);
    case K_PROPERTY_NAMES:
        return check_names(ev, k, json_object_get_object(value));
    case K_REQUIRED:
        return check_required(ev, node, k, value);
    case K_DEPENDENCIES:
    case K_DEPENDENT_REQUIRED:
    case K_DEPENDENT_SCHEMAS:
        return check_dependencies(ev, node, k, value, marks);
    case K_MIN_PROPERTIES:
        return json_object_object_length(value) >= k->as.count || report(ev, node, k, value, NULL);
    case K_MAX_PROPERTIES:
        return json_object_object_length(value) <= k->as.count || report(ev, node, k, value, NULL);
    default:
        return true;
    }
}

/* --- arrays --- */

/* Items from `first` on, each against the same schema. */
OWN_FRAME static bool check_rest(struct eval *ev, const struct node *schema,
                                 struct json_object *array, size_t first, struct marks *marks)
{
    const size_t n = json_object_array_length(array);
    bool ok = true;
    for (size_t i = first; i < n; i++) {
        if (descend(ev, schema, json_object_array_get_idx(array, i), NULL, i))
            mark(marks, i);
        else
            ok = false;
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

OWN_FRAME static bool check_prefix(struct eval *ev, const struct keyword *k,
                                   struct json_object *array, struct marks *marks)
{
    const size_t n = json_object_array_length(array);
    bool ok = true;
    for (size_t i = 0; i < n && i < k->n; i++) {
        if (descend(ev, k->as.nodes[i], json_object_array_get_idx(array, i), NULL, i))
            mark(marks, i);
        else
            ok = false;
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

static bool check_items(struct eval *ev, const struct node *node, const struct keyword *k,
                        struct json_object *array, struct marks *marks)
{
    if (k->exclusive)
        return check_prefix(ev, k, array, marks);
    const struct node *schema = k->as.node;
    const bool is_2020 = node->dialect == DRAFT2020;
    const size_t first = is_2020 ? node->n_prefix : 0;
    if (is_2020 && schema->is_boolean && !schema->boolean)
        return json_object_array_length(array) <= first || report(ev, node, k, array, NULL);
    return check_rest(ev, schema, array, first, marks);
}

static bool check_additional_items(struct eval *ev, const struct node *node,
                                   const struct keyword *k, struct json_object *array,
                                   struct marks *marks)
{
    const struct node *schema = k->as.node;
    if (!node->has_items_list)
        return true;
    if (schema->is_boolean && !schema->boolean)
        return json_object_array_length(array) <= node->n_prefix ||
               report(ev, node, k, array, NULL);
    return check_rest(ev, schema, array, node->n_prefix, marks);
}

OWN_FRAME static bool check_contains(struct eval *ev, const struct node *node,
                                     const struct keyword *k, struct json_object *array,
                                     struct marks *marks)
{
    const size_t n = json_object_array_length(array);
    int64_t found = 0;
    for (size_t i = 0; i < n; i++) {
        const bool ok = is_valid(ev, k->as.node, json_object_array_get_idx(array, i), NULL);
        if (ev->rc)
            return false;
        if (!ok)
            continue;
        if (node->dialect >= DRAFT2020)
            mark(marks, i);
        if (++found > k->max)
            return report(ev, node, k, array, &(struct detail){.is_variant = true});
        if (found >= k->min && k->max == INT64_MAX && !marks)
            return true;
    }
    return found >= k->min || report(ev, node, k, array, &(struct detail){.n = found});
}

static bool check_unique(struct eval *ev, const struct node *node, const struct keyword *k,
                         struct json_object *array)
{
    bool is_unique = true;
    spend(ev, json_object_array_length(array));
    if (ev->rc)
        return false;
    ev->rc = value_all_unique(array, &is_unique);
    return is_unique || report(ev, node, k, array, NULL);
}

static bool check_array(struct eval *ev, const struct node *node, const struct keyword *k,
                        struct json_object *array, struct marks *marks)
{
    switch (k->kind) {
    case K_ITEMS:
        return check_items(ev, node, k, array, marks);
    case K_PREFIX_ITEMS:
        return check_prefix(ev, k, array, marks);
    case K_ADDITIONAL_ITEMS:
        return check_additional_items(ev, node, k, array, marks);
    case K_CONTAINS:
        return check_contains(ev, node, k, array, marks);
    case K_MIN_ITEMS:
        return (int64_t)json_object_array_length(array) >= k->as.count ||
               report(ev, node, k, array, NULL);
    case K_MAX_ITEMS:
        return (int64_t)json_object_array_length(array) <= k->as.count ||
               report(ev, node, k, array, NULL);
    case K_UNIQUE_ITEMS:
        return check_unique(ev, node, k, array);
    default:
        return true;
    }
}

/* --- strings --- */

static bool holds_for_string(struct eval *ev, const struct keyword *k, struct json_object *value)
{
    const char *text = json_object_get_string(value);
    const size_t len = (size_t)json_object_get_string_len(value);
    switch (k->kind) {
    case K_MIN_LENGTH:
        return (int64_t)utf8_characters(text, len) >= k->as.count;
    case K_MAX_LENGTH:
        return (int64_t)len <= k->as.count || (int64_t)utf8_characters(text, len) <= k->as.count;
    case K_PATTERN:
        return eval_pattern(ev, k->as.pattern, text, len);
    case K_FORMAT:
        return k->as.format(text, len);
    default:
        return true;
    }
}

/* --- any value --- */

static bool is_in_enum(struct eval *ev, const struct keyword *k, struct json_object *value)
{
    const size_t n = json_object_array_length(k->value);
    spend(ev, n / 8);
    for (size_t i = 0; i < n && !ev->rc; i++)
        if (value_equal(json_object_array_get_idx(k->value, i), value))
            return true;
    return false;
}

OWN_FRAME static bool check_all_of(struct eval *ev, const struct keyword *k,
                                   struct json_object *value, struct marks *marks)
{
    bool ok = true;
    for (size_t i = 0; i < k->n && !is_over(ev, ok); i++)
        ok = apply(ev, k->as.nodes[i], value, marks) && ok;
    return ok;
}

/* How many branches hold, at most `enough` (where nobody needs the marks of the others). */
OWN_FRAME static size_t count_valid(struct eval *ev, const struct keyword *k,
                                    struct json_object *value, struct marks *marks, size_t enough)
{
    size_t n = 0;
    for (size_t i = 0; i < k->n && !ev->rc; i++) {
        n += is_valid(ev, k->as.nodes[i], value, marks);
        if (n >= enough)
            break;
    }
    return n;
}

/* No branch holds: say so, with what each of them had against the value. */
OWN_FRAME static bool report_branches(struct eval *ev, const struct node *node,
                                      const struct keyword *k, struct json_object *value)
{
    struct sink context = {.mode = SINK_LEAST}, *const outer = ev->sink;
    ev->sink = &context;
    for (size_t i = 0; i < k->n && !ev->rc; i++)
        apply(ev, k->as.nodes[i], value, NULL);
    ev->sink = outer;
    report(ev, node, k, value, &(struct detail){.context = &context});
    sink_release(&context);
    return false;
}

/* Which branches of a oneOf hold, the first one last. */
OWN_FRAME static bool report_more_than_one(struct eval *ev, const struct node *node,
                                           const struct keyword *k, struct json_object *value)
{
    struct message_text text = {.len = 0};
    struct json_object *first = NULL;
    bool any = false;
    for (size_t i = 0; i < k->n && !ev->rc; i++) {
        if (!is_valid(ev, k->as.nodes[i], value, NULL))
            continue;
        struct json_object *branch = json_object_array_get_idx(k->value, i);
        if (any) {
            text_repr(&text, branch);
            text_put(&text, ", ", 2);
        } else {
            first = branch;
        }
        any = true;
    }
    text_repr(&text, first);
    return report(ev, node, k, value, &(struct detail){.text = &text});
}

static bool check_any_of(struct eval *ev, const struct node *node, const struct keyword *k,
                         struct json_object *value, struct marks *marks)
{
    const size_t enough = marks ? k->n + 1 : 1;
    if (count_valid(ev, k, value, marks, enough))
        return !ev->rc;
    return ev->sink ? report_branches(ev, node, k, value) : false;
}

static bool check_one_of(struct eval *ev, const struct node *node, const struct keyword *k,
                         struct json_object *value, struct marks *marks)
{
    const size_t n = count_valid(ev, k, value, marks, 2);
    if (n == 1 || !ev->sink)
        return n == 1;
    return n ? report_more_than_one(ev, node, k, value) : report_branches(ev, node, k, value);
}

OWN_FRAME static bool check_if(struct eval *ev, const struct keyword *k, struct json_object *value,
                               struct marks *marks)
{
    const bool holds = is_valid(ev, k->as.node, value, marks);
    const struct node *next = k->other[holds ? 0 : 1];
    if (ev->rc)
        return false;
    return !next || apply(ev, next, value, marks);
}

/* --- references --- */

struct scope {
    const struct resource *resource;
    const struct scope *outer;
};

/* The anchor in the outermost resource on the way here that has it. */
static const struct node *dynamic_target(const struct eval *ev, const struct keyword *k)
{
    const struct node *found = k->other[0];
    for (const struct scope *s = ev->scope; k->n && s; s = s->outer)
        for (size_t i = 0; i < k->n; i++)
            if (k->as.targets[i].resource == s->resource)
                found = k->as.targets[i].node;
    return found;
}

/* --- unevaluated: after everything else of the node --- */

OWN_FRAME static bool check_unevaluated_properties(struct eval *ev, const struct keyword *k,
                                                   struct json_object *value, struct marks *marks)
{
    const struct lh_table *table = json_object_get_object(value);
    bool ok = true;
    for (const struct lh_entry *e = table->head; e && !ev->rc; e = e->next) {
        if (is_marked(marks, slot_of(table, e)))
            continue;
        if (is_valid(ev, k->as.node, member_value(e), NULL))
            mark(marks, slot_of(table, e));
        else
            ok = false;
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

OWN_FRAME static bool check_unevaluated_items(struct eval *ev, const struct keyword *k,
                                              struct json_object *array, struct marks *marks)
{
    const size_t n = json_object_array_length(array);
    bool ok = true;
    for (size_t i = 0; i < n && !ev->rc; i++) {
        if (is_marked(marks, i))
            continue;
        if (is_valid(ev, k->as.node, json_object_array_get_idx(array, i), NULL))
            mark(marks, i);
        else
            ok = false;
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

/* What is still without a mark, in one message. */
OWN_FRAME static bool report_unevaluated(struct eval *ev, const struct node *node,
                                         const struct keyword *k, struct json_object *value,
                                         const struct marks *marks)
{
    struct message_text text = {.len = 0};
    struct detail d = {.text = &text};
    if (k->kind == K_UNEVALUATED_ITEMS) {
        for (size_t i = 0; i < json_object_array_length(value); i++)
            if (!is_marked(marks, i) && ++d.n && text.len < SCHEMA_MESSAGE_SIZE / 2) {
                text_printf(&text, "%s", d.n > 1 ? ", " : "");
                text_repr(&text, json_object_array_get_idx(value, i));
            }
    } else {
        const struct lh_table *table = json_object_get_object(value);
        for (const struct lh_entry *e = table->head; e; e = e->next)
            if (!is_marked(marks, slot_of(table, e)) && ++d.n &&
                text.len < SCHEMA_MESSAGE_SIZE / 2) {
                text_printf(&text, "%s", d.n > 1 ? ", " : "");
                text_repr_string(&text, e->k, strlen(e->k));
            }
    }
    return report(ev, node, k, value, &d);
}

static bool check_unevaluated(struct eval *ev, const struct node *node, struct json_object *value,
                              struct marks *marks)
{
    bool ok = true;
    const bool is_array = json_object_is_type(value, json_type_array);
    for (size_t i = 0; i < node->n_keywords && !is_over(ev, ok); i++) {
        const struct keyword *k = &node->keywords[i];
        bool holds = true;
        if (is_array && k->kind == K_UNEVALUATED_ITEMS)
            holds = check_unevaluated_items(ev, k, value, marks);
        else if (!is_array && k->kind == K_UNEVALUATED_PROPERTIES)
            holds = check_unevaluated_properties(ev, k, value, marks);
        if (!holds)
            ok = ev->sink && !ev->rc ? report_unevaluated(ev, node, k, value, marks) : false;
    }
    return ok;
}

/* --- a node --- */

static bool check_keyword(struct eval *ev, const struct node *node, const struct keyword *k,
                          struct json_object *value, struct marks *marks)
{
    switch (k->kind) {
    case K_TYPE:
        return (value_types(value, node->dialect) & k->as.types) ||
               report(ev, node, k, value, NULL);
    case K_ENUM:
        return is_in_enum(ev, k, value) || report(ev, node, k, value, NULL);
    case K_CONST:
        return value_equal(k->value, value) || report(ev, node, k, value, NULL);
    case K_REF:
        return apply(ev, k->as.node, value, marks);
    case K_REF_META:
        return meta_is_valid(value, k->as.dialect) || report(ev, node, k, value, NULL);
    case K_DYNAMIC_REF:
        return apply(ev, dynamic_target(ev, k), value, marks);
    case K_ALL_OF:
        return check_all_of(ev, k, value, marks);
    case K_ANY_OF:
        return check_any_of(ev, node, k, value, marks);
    case K_ONE_OF:
        return check_one_of(ev, node, k, value, marks);
    case K_NOT:
        return !is_valid(ev, k->as.node, value, NULL) || report(ev, node, k, value, NULL);
    case K_IF:
        return check_if(ev, k, value, marks);
    default:
        break;
    }
    switch (json_object_get_type(value)) {
    case json_type_object:
        return check_object(ev, node, k, value, marks);
    case json_type_array:
        return check_array(ev, node, k, value, marks);
    case json_type_string:
        return holds_for_string(ev, k, value) || report(ev, node, k, value, NULL);
    case json_type_int:
    case json_type_double:
        return number_holds(k, value) || report(ev, node, k, value, NULL);
    default:
        return true;
    }
}

static inline bool check_keywords(struct eval *ev, const struct node *node,
                                  struct json_object *value, struct marks *marks)
{
    bool ok = true;
    for (size_t i = 0; i < node->n_keywords; i++) {
        ok = check_keyword(ev, node, &node->keywords[i], value, marks) && ok;
        if (is_over(ev, ok))
            return false;
    }
    return ok;
}

OWN_FRAME static bool apply_marked(struct eval *ev, const struct node *node,
                                   struct json_object *value, struct marks *outer)
{
    struct marks own;
    if (!marks_init(&own, value)) {
        ev->rc = ERR_NOMEM;
        return false;
    }
    bool ok = check_keywords(ev, node, value, &own);
    if (node->needs_marks && !is_over(ev, ok))
        ok = check_unevaluated(ev, node, value, &own) && ok;
    if (ok && outer)
        marks_add(outer, &own);
    marks_release(&own);
    return ok;
}

/* Enter another resource: dynamic references look back at the way here. */
OWN_FRAME static bool apply_scoped(struct eval *ev, const struct node *node,
                                   struct json_object *value, struct marks *marks)
{
    const struct scope scope = {.resource = node->resource, .outer = ev->scope};
    ev->scope = &scope;
    bool ok = apply(ev, node, value, marks);
    ev->scope = scope.outer;
    return ok;
}

/* Frames differ in size: what counts in the end is the stack they take. */
static inline bool is_deep(const struct eval *ev)
{
    const char *here = __builtin_frame_address(0);
    return (size_t)(ev->stack_start - here) > SCHEMA_STACK_MAX;
}

static bool apply(struct eval *ev, const struct node *node, struct json_object *value,
                  struct marks *marks)
{
    if (node->alias)
        node = node->alias;
    if (node->is_boolean)
        return node->boolean || report(ev, node, NULL, value, NULL);
    if (ev->schema->has_dynamic && (!ev->scope || ev->scope->resource != node->resource))
        return apply_scoped(ev, node, value, marks);
    if (ev->depth == SCHEMA_DEPTH_MAX || ev->steps >= SCHEMA_STEPS_MAX || is_deep(ev))
        ev->rc = ERR_LIMIT;
    if (ev->rc)
        return false;
    ev->depth++;
    ev->steps++;
    bool ok;
    const bool is_container =
        json_object_is_type(value, json_type_object) || json_object_is_type(value, json_type_array);
    if (is_container && (marks || node->needs_marks))
        ok = apply_marked(ev, node, value, marks);
    else
        ok = check_keywords(ev, node, value, NULL);
    ev->depth--;
    return ok && !ev->rc;
}

bool schema_eval(struct eval *ev, const struct node *node, struct json_object *value)
{
    ev->stack_start = __builtin_frame_address(0);
    return apply(ev, node, value, NULL);
}
