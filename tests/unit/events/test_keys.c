/* Keys of events: contract section 6, with its defects 4 and 26 mended. */
#include "events/events.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

TestSuite(keys, .timeout = 10);

static const struct {
    const char *topic, *given, *full;
} published[] = {
    {"sample", NULL, "sample"},         {"sample", "", "sample"},
    {"sample", "a.b", "sample.a.b"},    {"sample", "sample", "sample"},
    {"sample", "sample.a", "sample.a"}, {"sample", "samples.x", "sample.samples.x"},
    {"sample", "$", "sample.$"},
};

static const struct {
    const char *topic, *given, *bound;
} asked[] = {
    {"sample", NULL, "sample.#"},
    {"sample", "", "sample.#"},
    {"sample", "a.b", "sample.a.b"},
    {"sample", "sample.a", "sample.a"},
    {"sample", "#", "sample.#"},
    {"sample", "$", "sample.#"},
    {"s", "..a..b.", "s.a.b"},
    {"sample", "samples.x", "sample.samples.x"},
    {"sample", "...", "sample.#"},
    {"sample", "*.b", "sample.*.b"},
    {"sample", "sample.$.x", "sample.#.x"},
};

Test(keys, published_key_is_behind_its_topic)
{
    char out[EVENT_KEY_MAX + 1];
    for (size_t i = 0; i < sizeof published / sizeof *published; i++) {
        cr_assert_eq(event_publish_key(published[i].topic, published[i].given, out, NULL), 0);
        cr_assert_str_eq(out, published[i].full);
    }
}

Test(keys, bound_key_is_normalised)
{
    char out[EVENT_KEY_MAX + 1];
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        cr_assert_eq(event_bind_key(asked[i].topic, asked[i].given, out, NULL), 0);
        cr_assert_str_eq(out, asked[i].bound);
    }
}

Test(keys, published_key_with_wildcard_or_empty_word_is_invalid)
{
    static const char *const bad[] = {"a.*", "#", "a*b", ".a", "a.", "a..b", "."};
    char out[EVENT_KEY_MAX + 1] = "untouched";
    struct error err = ERROR_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(event_publish_key("t", bad[i], out, &err), ERR_INVALID, "%s", bad[i]);
        cr_assert_neq(strlen(err.message), 0);
    }
}

Test(keys, longest_key_has_255_bytes_with_its_topic)
{
    char key[EVENT_KEY_MAX + 2], out[EVENT_KEY_MAX + 1];
    memset(key, 'k', sizeof key);
    key[EVENT_KEY_MAX - 2] = '\0'; /* behind "t." */
    cr_assert_eq(event_publish_key("t", key, out, NULL), 0);
    cr_assert_eq(strlen(out), EVENT_KEY_MAX);
    cr_assert_eq(event_bind_key("t", key, out, NULL), 0);
    key[EVENT_KEY_MAX - 2] = 'k';
    key[EVENT_KEY_MAX - 1] = '\0';
    cr_assert_eq(event_publish_key("t", key, out, NULL), ERR_INVALID);
    cr_assert_eq(event_bind_key("t", key, out, NULL), ERR_INVALID);
}
