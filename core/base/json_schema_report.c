/* Failures: their text, their relevance, and which of them is told. */
#include "base/json_schema_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct failure {
    struct failure *context[2]; /* the two least relevant failures of the branches */
    int relevance;              /* higher: more relevant */
    char *path;                 /* JSONPath */
    char *pointer;              /* JSON pointer of the same place */
    char *message;
};

static void failure_free(struct failure *f)
{
    /* Contexts nest as deep as anyOf in the schema does, which the limit of depth bounds. */
    if (!f)
        return;
    failure_free(f->context[0]);
    failure_free(f->context[1]);
    free(f->path);
    free(f->pointer);
    free(f->message);
    free(f);
}

void sink_release(struct sink *s)
{
    failure_free(s->kept[0]);
    failure_free(s->kept[1]);
    s->kept[0] = s->kept[1] = NULL;
}

/* Of an anyOf's failure, the one inside that says most; as long as one stands out. */
static const struct failure *best_of(const struct failure *f)
{
    while (f->context[0]) {
        if (f->context[1] && f->context[0]->relevance == f->context[1]->relevance)
            break;
        f = f->context[0];
    }
    return f;
}

void sink_error(const struct sink *s, struct error *err)
{
    const struct failure *best = best_of(s->kept[0]);
    error_set(err, ERR_INVALID, "%s-%s", best->path, best->message);
}

static bool sink_wants(const struct sink *s, int relevance)
{
    switch (s->mode) {
    case SINK_BEST:
        return !s->kept[0] || relevance > s->kept[0]->relevance;
    case SINK_LEAST:
        return !s->kept[0] || !s->kept[1] || relevance < s->kept[1]->relevance;
    default:
        return true;
    }
}

static void sink_take(struct sink *s, struct failure *f)
{
    switch (s->mode) {
    case SINK_BEST:
        failure_free(s->kept[0]);
        s->kept[0] = f;
        break;
    case SINK_LEAST:
        failure_free(s->kept[1]);
        if (s->kept[0] && f->relevance >= s->kept[0]->relevance) {
            s->kept[1] = f;
        } else {
            s->kept[1] = s->kept[0];
            s->kept[0] = f;
        }
        break;
    default: {
        const struct failure *best = best_of(f);
        s->n++;
        if (s->each)
            s->each(s->ctx, best->pointer, best->path, best->message);
        failure_free(f);
    }
    }
}

/* --- where --- */

static void put_pointer_token(struct message_text *t, const char *key)
{
    for (; *key; key++) {
        if (*key == '~')
            text_put(t, "~0", 2);
        else if (*key == '/')
            text_put(t, "~1", 2);
        else
            text_put(t, key, 1);
    }
}

/* Both are malloced; NULL: out of memory. */
static char *pointer_of(const struct eval *ev)
{
    struct message_text text = {.len = 0}, *const t = &text;
    for (size_t i = 0; i < ev->n_path; i++) {
        const struct path_part *p = &ev->path[i];
        text_put(t, "/", 1);
        if (p->key)
            put_pointer_token(t, p->key);
        else
            text_printf(t, "%zu", p->index);
    }
    return strdup(text.text);
}

static char *path_of(const struct eval *ev)
{
    struct message_text text = {.len = 0}, *const t = &text;
    text_put(t, "$", 1);
    for (size_t i = 0; i < ev->n_path; i++) {
        const struct path_part *p = &ev->path[i];
        if (p->key) {
            text_put(t, ".", 1);
            text_put(t, p->key, strlen(p->key));
        } else {
            text_printf(t, "[%zu]", p->index);
        }
    }
    return strdup(text.text);
}

/* --- why --- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in `names` sorted, as repr(), separated by commas. */
static void put_names(struct message_text *t, const char **names, size_t n)
{
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n && t->len < SCHEMA_MESSAGE_SIZE / 2; i++) {
        if (i)
            text_put(t, ", ", 2);
        text_repr_string(t, names[i], strlen(names[i]));
    }
}

static void put_additional(struct message_text *t, struct eval *ev, const struct node *node,
                           struct json_object *value)
{
    const struct lh_table *table = json_object_get_object(value);
    const char **names = malloc(((size_t)json_object_object_length(value) + 1) * sizeof *names);
    size_t n = 0;
    if (!names)
        return;
    for (const struct lh_entry *e = table->head; e; e = e->next)
        if (eval_is_additional(ev, node, e))
            names[n++] = e->k;
    if (node->patterns) {
        put_names(t, names, n);
        text_printf(t, " %s not match any of the regexes: ", n == 1 ? "does" : "do");
        const struct keyword *k = node->patterns;
        const char **patterns = malloc((k->n + 1) * sizeof *patterns);
        for (size_t i = 0; patterns && i < k->n; i++)
            patterns[i] = k->as.properties[i].name.text;
        if (patterns)
            put_names(t, patterns, k->n);
        free(patterns);
    } else {
        text_printf(t, "Additional properties are not allowed (");
        put_names(t, names, n);
        text_printf(t, " %s unexpected)", n == 1 ? "was" : "were");
    }
    free(names);
}

static void put_additional_items(struct message_text *t, const struct node *node,
                                 struct json_object *value)
{
    const size_t n = json_object_array_length(value);
    text_printf(t, "Additional items are not allowed (");
    for (size_t i = node->n_prefix; i < n && t->len < SCHEMA_MESSAGE_SIZE / 2; i++) {
        if (i > node->n_prefix)
            text_put(t, ", ", 2);
        text_repr(t, json_object_array_get_idx(value, i));
    }
    text_printf(t, " %s unexpected)", n - node->n_prefix == 1 ? "was" : "were");
}

static void put_types(struct message_text *t, struct json_object *types)
{
    if (json_object_is_type(types, json_type_string)) {
        text_repr(t, types);
        return;
    }
    for (size_t i = 0; i < json_object_array_length(types); i++) {
        if (i)
            text_put(t, ", ", 2);
        text_repr(t, json_object_array_get_idx(types, i));
    }
}

static void put_contains(struct message_text *t, const struct node *node, const struct keyword *k,
                         struct json_object *value, const struct detail *d)
{
    if (node->dialect < DRAFT2019) {
        text_printf(t, "None of ");
        text_repr(t, value);
        text_printf(t, " are valid under the given schema");
    } else if (d->is_variant) {
        text_printf(t, "Too many items match the given schema (expected at most %lld)",
                    (long long)k->max);
    } else if (d->n == 0) {
        text_repr(t, value);
        text_printf(t, " does not contain items matching the given schema");
    } else {
        text_printf(t,
                    "Too few items match the given schema (expected at least %lld but only %lld "
                    "matched)",
                    (long long)k->min, (long long)d->n);
    }
}

/* The value, then what is said of it, then the keyword's value where there is something to show. */
static void put_about(struct message_text *t, struct json_object *value, const char *what,
                      struct json_object *shown)
{
    text_repr(t, value);
    text_put(t, what, strlen(what));
    if (shown)
        text_repr(t, shown);
}

static void put_limit(struct message_text *t, const struct keyword *k, struct json_object *value)
{
    const bool exclusive =
        k->exclusive || k->kind == K_EXCLUSIVE_MAXIMUM || k->kind == K_EXCLUSIVE_MINIMUM;
    const bool is_maximum = k->kind == K_MAXIMUM || k->kind == K_EXCLUSIVE_MAXIMUM;
    text_repr(t, value);
    text_printf(t, " is %s than %s%s of ", is_maximum ? "greater" : "less",
                exclusive ? "or equal to " : "", is_maximum ? "the maximum" : "the minimum");
    text_repr(t, k->value);
}

static void describe_name(struct message_text *t, const struct keyword *k, const struct detail *d)
{
    text_repr_string(t, d->name, strlen(d->name));
    if (k->kind == K_REQUIRED) {
        text_printf(t, " is a required property");
    } else {
        text_printf(t, " is a dependency of ");
        text_repr_string(t, d->needed_by, strlen(d->needed_by));
    }
}

static void describe(struct message_text *t, struct eval *ev, const struct node *node,
                     const struct keyword *k, struct json_object *value, const struct detail *d)
{
    if (!k) {
        text_printf(t, "False schema does not allow ");
        text_repr(t, value);
        return;
    }
    switch (k->kind) {
    case K_ADDITIONAL_PROPERTIES:
        put_additional(t, ev, node, value);
        break;
    case K_ADDITIONAL_ITEMS:
        put_additional_items(t, node, value);
        break;
    case K_ITEMS:
        text_printf(t, "Expected at most %zu items, but found %zu", node->n_prefix,
                    json_object_array_length(value));
        break;
    case K_CONST:
        text_repr(t, k->value);
        text_printf(t, " was expected");
        break;
    case K_CONTAINS:
        put_contains(t, node, k, value, d);
        break;
    case K_MINIMUM:
    case K_MAXIMUM:
    case K_EXCLUSIVE_MINIMUM:
    case K_EXCLUSIVE_MAXIMUM:
        put_limit(t, k, value);
        break;
    case K_MULTIPLE_OF:
        put_about(t, value, " is not a multiple of ", k->value);
        break;
    case K_MIN_ITEMS:
    case K_MIN_LENGTH:
        put_about(t, value, " is too short", NULL);
        break;
    case K_MAX_ITEMS:
    case K_MAX_LENGTH:
        put_about(t, value, " is too long", NULL);
        break;
    case K_MIN_PROPERTIES:
        put_about(t, value, " does not have enough properties", NULL);
        break;
    case K_MAX_PROPERTIES:
        put_about(t, value, " has too many properties", NULL);
        break;
    case K_UNIQUE_ITEMS:
        put_about(t, value, " has non-unique elements", NULL);
        break;
    case K_PATTERN:
        put_about(t, value, " does not match ", k->value);
        break;
    case K_FORMAT:
        put_about(t, value, " is not a ", k->value);
        break;
    case K_ENUM:
        put_about(t, value, " is not one of ", k->value);
        break;
    case K_NOT:
        put_about(t, value, " should not be valid under ", k->value);
        break;
    case K_TYPE:
        put_about(t, value, " is not of type ", NULL);
        put_types(t, k->value);
        break;
    case K_REQUIRED:
    case K_DEPENDENCIES:
    case K_DEPENDENT_REQUIRED:
        describe_name(t, k, d);
        break;
    case K_ANY_OF:
    case K_ONE_OF:
        if (!d->text) {
            put_about(t, value, " is not valid under any of the given schemas", NULL);
        } else {
            put_about(t, value, " is valid under each of ", NULL);
            text_put(t, d->text->text, d->text->len);
        }
        break;
    case K_UNEVALUATED_ITEMS:
    case K_UNEVALUATED_PROPERTIES:
        text_printf(t, "Unevaluated %s are not allowed (%s %s unexpected)",
                    k->kind == K_UNEVALUATED_ITEMS ? "items" : "properties", d->text->text,
                    d->n == 1 ? "was" : "were");
        break;
    default:
        put_about(t, value, " is not valid under the given schema", NULL);
    }
}

/* --- relevance, as best_match weighs it: near the root first, anyOf and oneOf behind others at the
 * same place, and values of the declared type behind those of another --- */

static int relevance_of(const struct eval *ev, const struct node *node, const struct keyword *k,
                        struct json_object *value)
{
    const bool is_weak = k && (k->kind == K_ANY_OF || k->kind == K_ONE_OF);
    const bool has_type = k && (node->types & value_types(value, node->dialect));
    const int nearness = SCHEMA_PATH_MAX - (int)ev->n_path;
    return nearness << 2 | (is_weak ? 0 : 2) | (has_type ? 0 : 1);
}

bool report(struct eval *ev, const struct node *node, const struct keyword *k,
            struct json_object *value, const struct detail *detail)
{
    if (!ev->sink || ev->rc)
        return false;
    const int relevance = relevance_of(ev, node, k, value);
    if (!sink_wants(ev->sink, relevance))
        return false;
    static const struct detail none;
    struct message_text message = {.len = 0};
    struct sink *const outer = ev->sink;
    ev->sink = NULL; /* describing asks patterns again */
    describe(&message, ev, node, k, value, detail ? detail : &none);
    ev->sink = outer;
    struct failure *f = calloc(1, sizeof *f);
    if (f) {
        f->relevance = relevance;
        f->path = path_of(ev);
        f->pointer = pointer_of(ev);
        f->message = strdup(message.text);
    }
    if (!f || !f->path || !f->pointer || !f->message) {
        failure_free(f);
        ev->rc = ERR_NOMEM;
        return false;
    }
    if (detail && detail->context) {
        memcpy(f->context, detail->context->kept, sizeof f->context);
        memset(detail->context->kept, 0, sizeof detail->context->kept);
    }
    sink_take(outer, f);
    return false;
}
