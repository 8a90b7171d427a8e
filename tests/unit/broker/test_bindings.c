#include "broker/bindings.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(bindings, .timeout = 30);

static struct broker_subscription *binding(const char *const *keys, size_t n)
{
    struct broker_subscription *s = calloc(1, sizeof *s + n * sizeof s->keys[0]);
    s->n_keys = n;
    for (size_t i = 0; i < n; i++)
        s->keys[i] = strdup(keys[i]);
    return s;
}

static void binding_free(struct broker_subscription *s)
{
    for (size_t i = 0; i < s->n_keys; i++)
        free(s->keys[i]);
    free(s);
}

static bool routed(struct bindings *b, const char *key, const struct broker_subscription *s)
{
    struct route *route = bindings_match(b, key);
    size_t times = 0;
    for (size_t i = 0; i < route->n; i++)
        times += route->subscriptions[i] == s;
    route_unref(route);
    cr_assert_leq(times, 1);
    return times == 1;
}

/* A word of a small alphabet, so that patterns and keys often meet. */
static void random_text(unsigned *seed, const char *const *words, unsigned n_words, char *out)
{
    unsigned n = 1 + (unsigned)rand_r(seed) % 6;
    *out = '\0';
    for (unsigned i = 0; i < n; i++) {
        strcat(out, i ? "." : "");
        strcat(out, words[(unsigned)rand_r(seed) % n_words]);
    }
}

Test(bindings, agrees_with_topic_match)
{
    static const char *const pattern_words[] = {"a", "b", "c", "*", "#", "#"};
    enum { PATTERNS = 300, KEYS = 400 };
    struct broker_subscription *bound[PATTERNS];
    unsigned seed = 7;
    struct bindings b;
    cr_assert_eq(bindings_init(&b, true), 0);
    for (int i = 0; i < PATTERNS; i++) {
        char text[64];
        random_text(&seed, pattern_words, 6, text);
        bound[i] = binding((const char *[]){text}, 1);
        cr_assert_eq(bindings_add(&b, bound[i]), 0);
    }
    for (int k = 0; k < KEYS; k++) {
        char key[64];
        random_text(&seed, pattern_words, 3, key);
        for (int i = 0; i < PATTERNS; i++)
            cr_assert_eq(routed(&b, key, bound[i]), topic_match(bound[i]->keys[0], key),
                         "'%s' against '%s'", bound[i]->keys[0], key);
    }
    for (int i = 0; i < PATTERNS; i++) {
        bindings_remove(&b, bound[i]);
        binding_free(bound[i]);
    }
    cr_assert_eq(b.n_nodes, 1); /* only the root is left */
    bindings_release(&b);
}

Test(bindings, subscription_with_several_matching_keys_is_routed_once)
{
    struct bindings b;
    cr_assert_eq(bindings_init(&b, true), 0);
    struct broker_subscription *s = binding((const char *[]){"a.#", "a.*", "a.b", "a.b"}, 4);
    cr_assert_eq(bindings_add(&b, s), 0);
    cr_assert(routed(&b, "a.b", s));
    cr_assert_not(routed(&b, "b", s));
    bindings_remove(&b, s);
    cr_assert_not(routed(&b, "a.b", s));
    binding_free(s);
    bindings_release(&b);
}

Test(bindings, direct_keys_know_no_wildcards)
{
    struct bindings b;
    cr_assert_eq(bindings_init(&b, false), 0);
    struct broker_subscription *wild = binding((const char *[]){"#", "a.*"}, 2);
    struct broker_subscription *plain = binding((const char *[]){"a.b"}, 1);
    cr_assert_eq(bindings_add(&b, wild), 0);
    cr_assert_eq(bindings_add(&b, plain), 0);
    cr_assert(routed(&b, "a.b", plain));
    cr_assert_not(routed(&b, "a.b", wild));
    cr_assert(routed(&b, "a.*", wild));
    cr_assert_not(routed(&b, "a", plain));
    bindings_remove(&b, wild);
    bindings_remove(&b, plain);
    binding_free(wild);
    binding_free(plain);
    bindings_release(&b);
}

Test(bindings, remembered_routes_stay_bounded_and_right)
{
    struct bindings b;
    cr_assert_eq(bindings_init(&b, true), 0);
    struct broker_subscription *s = binding((const char *[]){"k.#"}, 1);
    cr_assert_eq(bindings_add(&b, s), 0);
    for (int i = 0; i < 40000; i++) {
        char key[32];
        snprintf(key, sizeof key, "k.%d", i);
        cr_assert(routed(&b, key, s));
        cr_assert_leq(b.routes.n, 20000);
    }
    bindings_remove(&b, s);
    binding_free(s);
    bindings_release(&b);
}
