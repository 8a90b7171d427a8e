#include "translate.h"

#include "base/auto.h"
#include "base/buf.h"
#include "base/json.h"

#include <json-c/json.h>
#include <string.h>

/* `$recursiveRef` became `$dynamicRef` with other rules, and `contains` evaluates items now. */
static bool means_another_thing(const char *schema)
{
    return strstr(schema, "\"$recursive") ||
           (strstr(schema, "\"unevaluatedItems\"") && strstr(schema, "\"contains\""));
}

static struct json_object *translate(struct json_object *value);

/* The dialect's name, and the places that have moved, wherever a text is a URI. */
static struct json_object *translate_text(struct json_object *value)
{
    const char *text = json_object_get_string(value);
    static const struct {
        const char *old, *new;
    } words[] = {{"draft/2019-09/", "draft/2020-12/"}, {"#/items/", "#/prefixItems/"}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const char *at = strstr(text, words[i].old);
        if (!at)
            continue;
        AUTO(buf) out = BUF_INIT(4096);
        buf_printf(&out, "%.*s%s%s", (int)(at - text), text, words[i].new,
                   at + strlen(words[i].old));
        return json_object_new_string(out.data);
    }
    return json_object_get(value);
}

/* `items` as an array is `prefixItems`, `additionalItems` beside it is `items`. */
static struct json_object *translate_object(struct json_object *object)
{
    struct json_object *out = json_object_new_object(), *items = NULL;
    json_object_object_get_ex(object, "items", &items);
    const bool is_list = json_object_is_type(items, json_type_array);
    json_object_object_foreach (object, key, member) {
        const char *name = key;
        if (strcmp(key, "items") == 0 && is_list)
            name = "prefixItems";
        else if (strcmp(key, "additionalItems") == 0 && is_list)
            name = "items";
        json_object_object_add(out, name, translate(member));
    }
    return out;
}

static struct json_object *translate(struct json_object *value)
{
    if (json_object_is_type(value, json_type_string))
        return translate_text(value);
    if (json_object_is_type(value, json_type_object))
        return translate_object(value);
    if (!json_object_is_type(value, json_type_array))
        return json_object_get(value);
    struct json_object *out = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(value); i++)
        json_object_array_add(out, translate(json_object_array_get_idx(value, i)));
    return out;
}

struct json_object *translate_group(struct json_object *group)
{
    struct json_object *schema = NULL;
    json_object_object_get_ex(group, "schema", &schema);
    AUTO(buf) text = BUF_INIT(1 << 20);
    if (json_write_value(&text, schema) || means_another_thing(text.data))
        return NULL;
    struct json_object *out = json_object_new_object();
    json_object_object_foreach (group, key, member)
        json_object_object_add(
            out, key, strcmp(key, "schema") == 0 ? translate(member) : json_object_get(member));
    return out;
}
