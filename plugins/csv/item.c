#include "item.h"

#include "position.h"

#include <hyprxa/helpers.h>

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static char *read_text(struct hyprxa_json object, const char *key)
{
    struct hyprxa_json value = hyprxa_json_get(object, key);
    char *text = calloc(1, value.len + 1);
    if (text && value.text && hyprxa_json_string(value, text, value.len + 1) != HYPRXA_OK) {
        text[0] = '\0'; /* a name with U+0000: no column has it */
    }
    return text;
}

struct item *item_new(const struct hyprxa_subscription *subscription)
{
    struct hyprxa_json json = hyprxa_json_of(subscription->json);
    struct item *item = calloc(1, sizeof(*item));
    if (!item) {
        return NULL;
    }
    item->subscription = subscription;
    item->published_us = item->last_us = subscription->last_time_us;
    item->column = read_text(json, "column");
    item->file = hyprxa_json_get(json, "file").text ? read_text(json, "file") : NULL;
    if (!item->column || (!item->file && hyprxa_json_get(json, "file").text)) {
        item_free(item);
        return NULL;
    }
    /* The parts' digests and not that of the JSON text, whose order of keys is not ours. */
    uint64_t parts[2] = {digest_bytes(item->column, strlen(item->column)),
                         item->file ? digest_bytes(item->file, strlen(item->file)) : 0};
    item->key = digest_bytes(parts, sizeof(parts));
    return item;
}

void item_free(struct item *item)
{
    if (item) {
        free(item->column);
        free(item->file);
        free(item->live.samples);
        free(item->old.samples);
        free(item);
    }
}

bool item_wants(const struct item *item, const char *name)
{
    return !item->file || strcmp(item->file, name) == 0 || fnmatch(item->file, name, 0) == 0;
}

bool item_gather(struct item *item, int64_t time_us, const struct hyprxa_value *value)
{
    struct sample_list *list = time_us >= item->last_us ? &item->live : &item->old;
    if (list->n == list->room) {
        size_t room = list->room ? list->room * 2 : 16;
        struct hyprxa_sample *grown = realloc(list->samples, room * sizeof(*grown));
        if (!grown) {
            return false;
        }
        list->samples = grown;
        list->room = room;
    }
    list->samples[list->n++] = hyprxa_sample_at(time_us, *value);
    list->bytes += value->len;
    if (time_us > item->last_us) {
        item->last_us = time_us;
    }
    return true;
}

void item_clear(struct item *item, bool published)
{
    item->live.n = item->old.n = 0;
    item->live.bytes = item->old.bytes = 0;
    if (published) {
        item->published_us = item->last_us;
    } else {
        item->last_us = item->published_us;
    }
}
