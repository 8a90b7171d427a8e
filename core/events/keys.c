#include "events/events.h"

#include <stdio.h>
#include <string.h>

static bool has_topic_prefix(const char *topic, const char *key)
{
    size_t len = strlen(topic);
    return strncmp(topic, key, len) == 0 && (key[len] == '\0' || key[len] == '.');
}

/* `key`, behind `topic.` unless it begins with the topic. */
static int join(const char *topic, const char *key, char out[EVENT_KEY_MAX + 1], struct error *err)
{
    bool whole = has_topic_prefix(topic, key);
    int n = snprintf(out, EVENT_KEY_MAX + 1, "%s%s%s", whole ? "" : topic, whole ? "" : ".", key);
    if (n < 0 || n > EVENT_KEY_MAX)
        return error_set(err, ERR_INVALID,
                         "a routing key is at most %d bytes with its topic, not %d", EVENT_KEY_MAX,
                         n);
    return 0;
}

int event_publish_key(const char *topic, const char *posted, char out[EVENT_KEY_MAX + 1],
                      struct error *err)
{
    if (!posted || !*posted)
        posted = topic;
    else if (strpbrk(posted, "*#"))
        return error_set(err, ERR_INVALID,
                         "a published routing key holds no '*' and no '#': these bind only");
    else if (posted[0] == '.' || posted[strlen(posted) - 1] == '.' || strstr(posted, ".."))
        return error_set(err, ERR_INVALID, "a published routing key has no empty words");
    return join(topic, posted, out, err);
}

int event_bind_key(const char *topic, const char *asked, char out[EVENT_KEY_MAX + 1],
                   struct error *err)
{
    char key[4 * EVENT_KEY_MAX];
    size_t n = 0;
    if (asked && strlen(asked) >= sizeof key)
        return error_set(err, ERR_INVALID, "a routing key is at most %d bytes", EVENT_KEY_MAX);
    for (const char *p = asked ? asked : ""; *p; p++) {
        bool empty_word = *p == '.' && (n == 0 || key[n - 1] == '.');
        if (!empty_word)
            key[n++] = *p == '$' ? '#' : *p;
    }
    while (n && key[n - 1] == '.')
        n--;
    key[n] = '\0';
    return join(topic, n ? key : "#", out, err);
}
