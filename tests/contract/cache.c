/* The cache's contract: one body, each back end a row of the table. */
#include "cache/cache.h"

#include "base/digest.h"
#include "base/thread.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(cache, .timeout = 60);

struct back_end {
    char name[16];
    char uri_variable[32]; /* environment; empty: always at hand */
};

static struct back_end back_ends[] = {{"memory:", ""}, {"memcached", "MEMCACHED_TEST_URI"}};

#define CACHE_CONTRACT(claim)                                             \
    ParameterizedTestParameters(cache, claim)                             \
    {                                                                     \
        return cr_make_param_array(struct back_end, back_ends,            \
                                   sizeof back_ends / sizeof *back_ends); \
    }                                                                     \
    ParameterizedTest(struct back_end *back_end, cache, claim)

static struct error err;

/* A key of this run only: a server may hold what an earlier run left. */
static char key[64];

static struct cache *open_cache(const struct back_end *back_end)
{
    const char *uri = back_end->name;
    if (*back_end->uri_variable && !(uri = getenv(back_end->uri_variable)))
        cr_skip_test("%s is not set", back_end->uri_variable);
    struct cache *c = NULL;
    cr_assert_eq(cache_open(&(struct cache_options){.uri = uri}, &c, &err), 0, "%s", err.message);
    char unique[33];
    digest_uuid4(unique);
    snprintf(key, sizeof key, "test:%s", unique);
    return c;
}

static void expect_value(struct cache *c, const char *expected, size_t len)
{
    struct buf out = BUF_INIT(2 << 20);
    uint64_t version = 0;
    cr_assert_eq(cache_get(c, key, &out, &version, &err), 0, "%s", err.message);
    cr_expect(out.len == len && memcmp(out.data, expected, len) == 0);
    cr_expect_neq(version, 0);
    buf_release(&out);
}

static uint64_t version_of(struct cache *c)
{
    struct buf out = BUF_INIT(2 << 20);
    uint64_t version = 0;
    cr_assert_eq(cache_get(c, key, &out, &version, &err), 0, "%s", err.message);
    buf_release(&out);
    return version;
}

static int get(struct cache *c)
{
    struct buf out = BUF_INIT(2 << 20);
    int rc = cache_get(c, key, &out, NULL, &err);
    buf_release(&out);
    return rc;
}

CACHE_CONTRACT(what_is_set_is_got_byte_by_byte)
{
    struct cache *c = open_cache(back_end);
    cr_expect_eq(get(c), ERR_NOT_FOUND);
    cr_assert_eq(cache_set(c, key, "a\0\r\nb", 5, 60000, &err), 0);
    expect_value(c, "a\0\r\nb", 5);
    cr_assert_eq(cache_set(c, key, "", 0, 60000, &err), 0);
    expect_value(c, "", 0);
    cr_assert_eq(cache_remove(c, key, 0, &err), 0);
    cr_expect_eq(get(c), ERR_NOT_FOUND);
    cache_close(c);
}

CACHE_CONTRACT(add_succeeds_only_where_nothing_is)
{
    struct cache *c = open_cache(back_end);
    cr_expect_eq(cache_add(c, key, "1", 1, 60000, &err), 0);
    cr_expect_eq(cache_add(c, key, "2", 1, 60000, &err), ERR_EXISTS);
    expect_value(c, "1", 1);
    cr_expect_eq(cache_remove(c, key, 0, &err), 0);
    cr_expect_eq(cache_add(c, key, "3", 1, 60000, &err), 0);
    expect_value(c, "3", 1);
    cache_remove(c, key, 0, NULL);
    cache_close(c);
}

CACHE_CONTRACT(replace_and_remove_compare_versions)
{
    struct cache *c = open_cache(back_end);
    cr_assert_eq(cache_set(c, key, "1", 1, 60000, &err), 0);
    uint64_t first = version_of(c);
    cr_assert_eq(cache_replace(c, key, first, "2", 1, 60000, &err), 0);
    cr_expect_eq(cache_replace(c, key, first, "3", 1, 60000, &err), ERR_EXISTS);
    cr_expect_eq(cache_remove(c, key, first, &err), ERR_EXISTS);
    expect_value(c, "2", 1);
    uint64_t second = version_of(c);
    cr_expect_neq(second, first);
    cr_expect_eq(cache_remove(c, key, second, &err), 0);
    cr_expect_eq(cache_replace(c, key, second, "4", 1, 60000, &err), ERR_NOT_FOUND);
    cr_expect_eq(cache_remove(c, key, second, &err), ERR_NOT_FOUND);
    cache_close(c);
}

CACHE_CONTRACT(a_key_expires)
{
    struct cache *c = open_cache(back_end);
    cr_assert_eq(cache_set(c, key, "1", 1, 1000, &err), 0);
    cr_expect_eq(get(c), 0);
    int64_t deadline_ms = time_monotonic_ms() + 10000;
    struct timespec pause = {.tv_nsec = 20000000};
    while (get(c) == 0 && time_monotonic_ms() < deadline_ms)
        nanosleep(&pause, NULL);
    cr_expect_eq(get(c), ERR_NOT_FOUND);
    cache_close(c);
}

/* A reference token posted again lives on for its whole time [D 46]. */
CACHE_CONTRACT(a_key_set_again_lives_for_its_new_time)
{
    struct cache *c = open_cache(back_end);
    cr_assert_eq(cache_set(c, key, "1", 1, 1000, &err), 0);
    cr_assert_eq(cache_set(c, key, "1", 1, 60000, &err), 0);
    int64_t past_ms = time_monotonic_ms() + 2500; /* memcached's clock ticks in seconds */
    struct timespec pause = {.tv_nsec = 20000000};
    while (time_monotonic_ms() < past_ms)
        nanosleep(&pause, NULL);
    cr_expect_eq(get(c), 0);
    cache_close(c);
}

CACHE_CONTRACT(what_is_not_allowed_is_refused)
{
    struct cache *c = open_cache(back_end);
    static char big[(1 << 20) + 1], long_key[252];
    memset(long_key, 'k', 251);
    static const char *const bad[] = {"", "a b", "a\n", "a\r\nset x 0 0 1", "\xc3\xa9", long_key};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct buf out = BUF_INIT(100);
        cr_expect_eq(cache_set(c, bad[i], "v", 1, 60000, &err), ERR_INVALID, "%zu", i);
        cr_expect_eq(cache_get(c, bad[i], &out, NULL, &err), ERR_INVALID, "%zu", i);
        cr_expect_eq(cache_remove(c, bad[i], 0, &err), ERR_INVALID, "%zu", i);
    }
    cr_expect_eq(cache_set(c, key, big, sizeof big, 60000, &err), ERR_INVALID);
    cr_expect_eq(cache_set(c, key, "v", 1, 999, &err), ERR_INVALID);
    cr_expect_eq(cache_add(c, key, "v", 1, 0, &err), ERR_INVALID);
    long_key[250] = '\0';
    cr_expect_eq(cache_set(c, long_key, "v", 1, 1000, &err), 0);
    cr_expect_eq(cache_remove(c, long_key, 0, &err), 0);
    cache_close(c);
}

/* --- leases --- */

/* [D 11] Nobody extends or releases the lease of another. */
CACHE_CONTRACT(a_lease_has_one_owner_until_it_is_released)
{
    struct cache *c = open_cache(back_end);
    struct lease mine = {0}, theirs = {0}, again = {0};
    cr_assert_eq(lease_acquire(c, &mine, key, "me", 15000, &err), 0);
    cr_expect(lease_held(&mine, time_monotonic_ms()));
    cr_expect_eq(lease_acquire(c, &theirs, key, "you", 15000, &err), ERR_EXISTS);
    cr_expect_not(lease_held(&theirs, time_monotonic_ms()));
    cr_expect_eq(lease_extend(c, &theirs, &err), ERR_NOT_FOUND);
    cr_expect_eq(lease_release(c, &theirs, &err), 0);
    cr_expect_eq(lease_extend(c, &mine, &err), 0);
    cr_expect_eq(lease_acquire(c, &again, key, "me", 15000, &err), 0, "an own one is taken over");
    cr_expect_eq(lease_release(c, &again, &err), 0);
    cr_expect_eq(lease_acquire(c, &theirs, key, "you", 15000, &err), 0);
    cr_expect_eq(lease_extend(c, &mine, &err), ERR_NOT_FOUND);
    cr_expect_not(lease_held(&mine, time_monotonic_ms()));
    cr_expect_eq(lease_release(c, &mine, &err), 0);
    cr_expect_eq(lease_extend(c, &theirs, &err), 0, "another's release must not touch it");
    cr_expect_eq(lease_release(c, &theirs, &err), 0);
    cache_close(c);
}

struct contender {
    struct cache *cache;
    char owner[16];
    atomic_int *owners;
    int wins;
    pthread_t thread;
};

static void *contend(void *arg)
{
    struct contender *t = arg;
    for (int i = 0; i < 200; i++) {
        struct lease lease = {0};
        if (lease_acquire(t->cache, &lease, key, t->owner, 15000, NULL) != 0)
            continue;
        cr_assert_eq(atomic_fetch_add(t->owners, 1), 0, "two owners at once");
        cr_assert_eq(lease_extend(t->cache, &lease, NULL), 0);
        atomic_fetch_sub(t->owners, 1);
        cr_assert_eq(lease_release(t->cache, &lease, NULL), 0);
        t->wins++;
    }
    return NULL;
}

/* [D 10] */
CACHE_CONTRACT(a_lease_excludes_under_contention)
{
    struct cache *c = open_cache(back_end);
    atomic_int owners = 0;
    struct contender contenders[4];
    int wins = 0;
    for (int i = 0; i < 4; i++) {
        contenders[i] = (struct contender){.cache = c, .owners = &owners};
        snprintf(contenders[i].owner, sizeof contenders[i].owner, "owner%d", i);
        thread_start(&contenders[i].thread, "contender", contend, &contenders[i], NULL);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(contenders[i].thread, NULL);
        wins += contenders[i].wins;
    }
    cr_expect_gt(wins, 0);
    cache_close(c);
}
