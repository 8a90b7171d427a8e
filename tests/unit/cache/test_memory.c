#include "cache/cache_priv.h"

#include "base/thread.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

TestSuite(memory, .timeout = 30);

static int64_t clock_ms = 1000000;
static struct error err;

static int64_t fake_clock(void)
{
    return clock_ms;
}

static struct cache *open_cache(size_t max_bytes)
{
    struct cache *c;
    cr_assert_eq(cache_open_memory(max_bytes, fake_clock, &c, &err), 0);
    return c;
}

static bool has(struct cache *c, const char *key)
{
    struct buf out = BUF_INIT(CACHE_VALUE_MAX);
    int rc = cache_get(c, key, &out, NULL, &err);
    buf_release(&out);
    cr_assert(rc == 0 || rc == ERR_NOT_FOUND);
    return rc == 0;
}

Test(memory, a_key_lives_for_its_ttl_and_not_longer)
{
    struct cache *c = open_cache(1 << 20);
    cr_assert_eq(cache_set(c, "k", "v", 1, 5000, &err), 0);
    clock_ms += 4999;
    cr_expect(has(c, "k"));
    clock_ms += 1;
    cr_expect_not(has(c, "k"));
    cr_expect_eq(cache_remove(c, "k", 0, &err), ERR_NOT_FOUND);
    cr_expect_eq(cache_add(c, "k", "w", 1, 5000, &err), 0);
    clock_ms += 4000;
    cr_assert_eq(cache_set(c, "k", "v", 1, 5000, &err), 0);
    clock_ms += 4000;
    cr_expect(has(c, "k"), "setting again must begin a new life");
    cache_close(c);
}

/* [D 46] So a token that is asked for again lives an hour from then. */
Test(memory, a_key_that_is_set_again_lives_for_its_ttl_from_then)
{
    struct cache *c = open_cache(1 << 20);
    cr_assert_eq(cache_set(c, "k", "v", 1, 5000, &err), 0);
    clock_ms += 4000;
    cr_assert_eq(cache_set(c, "k", "v", 1, 5000, &err), 0);
    clock_ms += 4999;
    cr_expect(has(c, "k"));
    clock_ms += 1;
    cr_expect_not(has(c, "k"));
    cache_close(c);
}

Test(memory, what_was_not_used_for_longest_goes_first)
{
    struct cache *c = open_cache(64 * 1024);
    char value[8000], key[16];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 7; i++) {
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(cache_set(c, key, value, sizeof value, 60000, &err), 0);
    }
    cr_expect(has(c, "k0"));
    for (int i = 7; i < 12; i++) {
        snprintf(key, sizeof key, "k%d", i);
        cr_assert_eq(cache_set(c, key, value, sizeof value, 60000, &err), 0);
        cr_expect(has(c, "k0"), "a key in use was lost");
    }
    cr_expect_not(has(c, "k1"));
    cr_expect_not(has(c, "k4"));
    cr_expect(has(c, "k11"));
    cache_close(c);
}

Test(memory, what_expired_is_given_back_without_being_asked_for)
{
    struct cache *c = open_cache(1 << 20);
    char key[16];
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof key, "old%d", i);
        cr_assert_eq(cache_set(c, key, "v", 1, 1000, &err), 0);
    }
    clock_ms += 1000;
    /* Under a tight limit the expired would push out the live, if they were still there. */
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "new%d", i % 100);
        cr_assert_eq(cache_set(c, key, "v", 1, 60000, &err), 0);
    }
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "new%d", i);
        cr_expect(has(c, key));
    }
    cache_close(c);
}

struct adder {
    struct cache *cache;
    atomic_int *wins;
    pthread_t thread;
};

enum { ADDERS = 4, ROUNDS = 500 };

static void *add_all(void *arg)
{
    struct adder *a = arg;
    char key[16];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (cache_add(a->cache, key, "v", 1, 60000, NULL) == 0)
            atomic_fetch_add(&a->wins[i], 1);
    }
    return NULL;
}

Test(memory, exactly_one_of_many_adds_wins)
{
    static atomic_int wins[ROUNDS];
    struct cache *c = open_cache(64 << 20);
    struct adder adders[ADDERS];
    for (int i = 0; i < ADDERS; i++) {
        adders[i] = (struct adder){.cache = c, .wins = wins};
        cr_assert_eq(thread_start(&adders[i].thread, "adder", add_all, &adders[i], &err), 0);
    }
    for (int i = 0; i < ADDERS; i++)
        pthread_join(adders[i].thread, NULL);
    for (int i = 0; i < ROUNDS; i++)
        cr_expect_eq(wins[i], 1);
    cache_close(c);
}

Test(memory, a_back_end_that_is_not_there_is_named)
{
    struct cache *c;
    cr_expect_eq(cache_open(&(struct cache_options){.uri = "redis:"}, &c, &err), ERR_INVALID);
    cr_expect_null(c);
}
