#include "base/json_schema.h"

#include "base/json_schema_priv.h"

#include <string.h>

/* The working memory of patterns goes round among the threads that validate: one at a time has it,
 * the others make their own for the while. */
static void eval_begin(struct eval *ev, const struct json_schema *schema, struct sink *sink)
{
    ev->schema = schema;
    ev->sink = sink;
    ev->rc = 0;
    ev->depth = ev->steps = ev->n_matches = 0;
    ev->pattern_deadline_ns = 0;
    ev->scope = NULL;
    ev->n_path = 0;
    ev->spare = NULL;
    if (schema->n_patterns)
        ev->spare = atomic_exchange(&((struct json_schema *)(uintptr_t)schema)->spare, NULL);
}

static void eval_end(struct eval *ev)
{
    struct json_schema *schema = (struct json_schema *)(uintptr_t)ev->schema;
    if (ev->spare)
        pattern_spare_free(atomic_exchange(&schema->spare, ev->spare));
}

static int limit_error(int rc, struct error *err)
{
    if (rc == ERR_NOMEM)
        return error_set(err, rc, "out of memory");
    return error_set(err, rc, "the value takes too many steps to validate");
}

int json_schema_validate(const struct json_schema *schema, struct json_object *instance,
                         struct error *err)
{
    struct eval ev;
    eval_begin(&ev, schema, NULL);
    const bool ok = schema_eval(&ev, schema->root, instance);
    eval_end(&ev);
    if (ev.rc)
        return limit_error(ev.rc, err);
    if (ok)
        return 0;
    if (!err)
        return ERR_INVALID;
    /* Again, to find out why. */
    struct sink sink = {.mode = SINK_BEST};
    eval_begin(&ev, schema, &sink);
    schema_eval(&ev, schema->root, instance);
    eval_end(&ev);
    int rc = ERR_INVALID;
    if (sink.kept[0])
        sink_error(&sink, err);
    else
        rc = limit_error(ev.rc ? ev.rc : ERR_LIMIT, err);
    sink_release(&sink);
    return rc;
}

int json_schema_validate_all(const struct json_schema *schema, struct json_object *instance,
                             json_schema_failure_fn *each, void *ctx)
{
    struct sink sink = {.mode = SINK_EACH, .each = each, .ctx = ctx};
    struct eval ev;
    eval_begin(&ev, schema, &sink);
    schema_eval(&ev, schema->root, instance);
    eval_end(&ev);
    if (ev.rc) {
        struct error err = ERROR_INIT;
        limit_error(ev.rc, &err);
        if (each)
            each(ctx, "", "$", err.message);
        sink.n++;
    }
    return sink.n;
}

int json_schema_apply_defaults(const struct json_schema *schema, struct json_object *instance)
{
    const struct keyword *k = schema->root->properties;
    if (!json_object_is_type(instance, json_type_object))
        return ERR_INVALID;
    for (size_t i = 0; k && i < k->n; i++) {
        const struct property *p = &k->as.properties[i];
        struct json_object *value, *copy = NULL;
        if (p->node->is_boolean || !json_object_object_get_ex(p->node->object, "default", &value) ||
            json_object_object_get_ex(instance, p->name.text, NULL))
            continue;
        if (value && json_object_deep_copy(value, &copy, NULL) != 0)
            return ERR_NOMEM;
        if (json_object_object_add(instance, p->name.text, copy) != 0) {
            json_object_put(copy);
            return ERR_NOMEM;
        }
    }
    return 0;
}
