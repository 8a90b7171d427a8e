/* Topic patterns as AMQP 0-9-1 defines them, one pattern against one key.  The bindings does the same
 * for many patterns at once; this is the definition it is tested against. */
#include "broker/broker.h"

#include <string.h>

/* A walk over the words of a text.  "" has no word; "a." has two, the second empty. */
struct words {
    const char *word; /* NULL: past the last */
    size_t len;
};

static struct words words_begin(const char *text)
{
    return *text ? (struct words){text, strcspn(text, ".")} : (struct words){NULL, 0};
}

static struct words words_next(struct words w)
{
    if (w.word[w.len] == '\0')
        return (struct words){NULL, 0};
    const char *next = w.word + w.len + 1;
    return (struct words){next, strcspn(next, ".")};
}

static bool word_is(struct words w, char c)
{
    return w.word && w.len == 1 && w.word[0] == c;
}

static bool word_equal(struct words pattern, struct words key)
{
    return pattern.word &&
           (word_is(pattern, '*') ||
            (pattern.len == key.len && memcmp(pattern.word, key.word, key.len) == 0));
}

/* As with globs, only the last '#' ever needs to take one word more: at most words x words steps. */
bool topic_match(const char *pattern, const char *key)
{
    struct words p = words_begin(pattern), k = words_begin(key);
    struct words after_hash = {NULL, 0}, retry = {NULL, 0};
    bool hash = false;
    while (k.word) {
        if (word_is(p, '#')) {
            hash = true;
            after_hash = p = words_next(p);
            retry = k;
        } else if (word_equal(p, k)) {
            p = words_next(p);
            k = words_next(k);
        } else if (hash) {
            p = after_hash;
            k = retry = words_next(retry);
        } else {
            return false;
        }
    }
    while (word_is(p, '#'))
        p = words_next(p);
    return !p.word;
}
