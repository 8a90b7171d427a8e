#include "broker/router.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(router, .timeout = 30);

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

static bool routed(struct router *r, const char *key, const struct broker_subscription *s)
{
    struct route *route = router_match(r, key);
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

Test(router, agrees_with_topic_match)
{
    static const char *const pattern_words[] = {"a", "b", "c", "*", "#", "#"};
    enum { PATTERNS = 300, KEYS = 400 };
    struct broker_subscription *bound[PATTERNS];
    unsigned seed = 7;
    struct router r;
    cr_assert_eq(router_init(&r, true), 0);
    for (int i = 0; i < PATTERNS; i++) {
        char text[64];
        random_text(&seed, pattern_words, 6, text);
        bound[i] = binding((const char *[]){text}, 1);
        cr_assert_eq(router_add(&r, bound[i]), 0);
    }
    for (int k = 0; k < KEYS; k++) {
        char key[64];
        random_text(&seed, pattern_words, 3, key);
        for (int i = 0; i < PATTERNS; i++)
            cr_assert_eq(routed(&r, key, bound[i]), topic_match(bound[i]->keys[0], key),
                         "'%s' against '%s'", bound[i]->keys[0], key);
    }
    for (int i = 0; i < PATTERNS; i++) {
        router_remove(&r, bound[i]);
        binding_free(bound[i]);
    }
    cr_assert_eq(r.n_nodes, 1); /* only the root is left */
    router_release(&r);
}

Test(router, subscription_with_several_matching_keys_is_routed_once)
{
    struct router r;
    cr_assert_eq(router_init(&r, true), 0);
    struct broker_subscription *s = binding((const char *[]){"a.#", "a.*", "a.b", "a.b"}, 4);
    cr_assert_eq(router_add(&r, s), 0);
    cr_assert(routed(&r, "a.b", s));
    cr_assert_not(routed(&r, "b", s));
    router_remove(&r, s);
    cr_assert_not(routed(&r, "a.b", s));
    binding_free(s);
    router_release(&r);
}

Test(router, direct_keys_know_no_wildcards)
{
    struct router r;
    cr_assert_eq(router_init(&r, false), 0);
    struct broker_subscription *wild = binding((const char *[]){"#", "a.*"}, 2);
    struct broker_subscription *plain = binding((const char *[]){"a.b"}, 1);
    cr_assert_eq(router_add(&r, wild), 0);
    cr_assert_eq(router_add(&r, plain), 0);
    cr_assert(routed(&r, "a.b", plain));
    cr_assert_not(routed(&r, "a.b", wild));
    cr_assert(routed(&r, "a.*", wild));
    cr_assert_not(routed(&r, "a", plain));
    router_remove(&r, wild);
    router_remove(&r, plain);
    binding_free(wild);
    binding_free(plain);
    router_release(&r);
}

Test(router, remembered_routes_stay_bounded_and_right)
{
    struct router r;
    cr_assert_eq(router_init(&r, true), 0);
    struct broker_subscription *s = binding((const char *[]){"k.#"}, 1);
    cr_assert_eq(router_add(&r, s), 0);
    for (int i = 0; i < 40000; i++) {
        char key[32];
        snprintf(key, sizeof key, "k.%d", i);
        cr_assert(routed(&r, key, s));
        cr_assert_leq(r.routes.n, 20000);
    }
    router_remove(&r, s);
    binding_free(s);
    router_release(&r);
}
