#include "cache/cache_priv.h"

#include "base/time.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(lease, .timeout = 30);

/* A back end in front of the real one that loses answers or cannot be reached. */
struct lossy {
    struct cache *inner;
    bool lose_answer; /* of the next change: it is done, but the caller gets an error */
    bool unreachable;
};

static int answer(struct lossy *l, int rc, struct error *err)
{
    bool lost = l->lose_answer;
    l->lose_answer = false;
    return lost ? error_set(err, ERR_UNAVAILABLE, "no answer") : rc;
}

static int lossy_get(void *self, const char *key, struct buf *out, uint64_t *ret_version,
                     struct error *err)
{
    struct lossy *l = self;
    return l->unreachable ? error_set(err, ERR_UNAVAILABLE, "away")
                          : cache_get(l->inner, key, out, ret_version, err);
}

static int lossy_add(void *self, const struct cache_item *item, uint64_t *ret_version,
                     struct error *err)
{
    struct lossy *l = self;
    return l->unreachable
               ? error_set(err, ERR_UNAVAILABLE, "away")
               : answer(l, l->inner->ops->add(l->inner->self, item, ret_version, err), err);
}

static int lossy_replace(void *self, const struct cache_item *item, uint64_t version,
                         uint64_t *ret_version, struct error *err)
{
    struct lossy *l = self;
    return l->unreachable
               ? error_set(err, ERR_UNAVAILABLE, "away")
               : answer(l, l->inner->ops->replace(l->inner->self, item, version, ret_version, err),
                        err);
}

static int lossy_remove(void *self, const char *key, uint64_t version, struct error *err)
{
    struct lossy *l = self;
    return l->unreachable ? error_set(err, ERR_UNAVAILABLE, "away")
                          : cache_remove(l->inner, key, version, err);
}

static const struct cache_ops lossy_ops = {
    .get = lossy_get, .add = lossy_add, .replace = lossy_replace, .remove = lossy_remove};

static struct lossy lossy;
static struct cache cache = {&lossy_ops, &lossy};
static struct error err;

static void open_lossy(void)
{
    cr_assert_eq(cache_open(&(struct cache_options){.uri = "memory:"}, &lossy.inner, &err), 0);
}

static void close_lossy(void)
{
    cache_close(lossy.inner);
}

Test(lease, an_answer_that_was_lost_does_not_lose_the_lease, .init = open_lossy,
     .fini = close_lossy)
{
    struct lease lease = {0};
    lossy.lose_answer = true;
    cr_expect_eq(lease_acquire(&cache, &lease, "k", "me", 5000, &err), ERR_UNAVAILABLE);
    cr_expect_not(lease_held(&lease, time_monotonic_ms()));
    cr_assert_eq(lease_acquire(&cache, &lease, "k", "me", 5000, &err), 0);
    cr_expect(lease_held(&lease, time_monotonic_ms()));

    lossy.lose_answer = true;
    cr_expect_eq(lease_extend(&cache, &lease, &err), ERR_UNAVAILABLE);
    cr_expect(lease_held(&lease, time_monotonic_ms()), "it holds until its time");
    cr_expect_eq(lease_extend(&cache, &lease, &err), 0);

    lossy.lose_answer = true;
    cr_expect_eq(lease_extend(&cache, &lease, &err), ERR_UNAVAILABLE);
    cr_expect_eq(lease_release(&cache, &lease, &err), 0);
    struct lease other = {0};
    cr_expect_eq(lease_acquire(&cache, &other, "k", "you", 5000, &err), 0);
}

Test(lease, it_counts_as_lost_before_the_server_forgets_it, .init = open_lossy, .fini = close_lossy)
{
    struct lease lease = {0};
    int64_t before = time_monotonic_ms();
    cr_assert_eq(lease_acquire(&cache, &lease, "k", "me", 5000, &err), 0);
    int64_t after = time_monotonic_ms();
    cr_expect(lease.held_until_ms >= before + 3500 && lease.held_until_ms <= after + 3500);
    cr_expect(lease_held(&lease, before + 3499));
    cr_expect_not(lease_held(&lease, after + 3500));

    lossy.unreachable = true;
    cr_expect_eq(lease_extend(&cache, &lease, &err), ERR_UNAVAILABLE);
    cr_expect(lease.held_until_ms <= after + 3500, "a failure must not extend");
    cr_expect_eq(lease_release(&cache, &lease, &err), ERR_UNAVAILABLE);
    cr_expect_not(lease_held(&lease, before));
}

Test(lease, a_short_ttl_counts_as_three_seconds, .init = open_lossy, .fini = close_lossy)
{
    struct lease lease = {0};
    cr_assert_eq(lease_acquire(&cache, &lease, "k", "me", 1000, &err), 0);
    cr_expect_eq(lease.ttl_ms, 3000);
}

Test(lease, bad_names_are_refused, .init = open_lossy, .fini = close_lossy)
{
    struct lease lease = {0};
    char long_name[300];
    memset(long_name, 'k', sizeof long_name);
    long_name[251] = '\0';
    cr_expect_eq(lease_acquire(&cache, &lease, long_name, "me", 5000, &err), ERR_INVALID);
    cr_expect_eq(lease_acquire(&cache, &lease, "a b", "me", 5000, &err), ERR_INVALID);
    cr_expect_eq(lease_acquire(&cache, &lease, "k", "", 5000, &err), ERR_INVALID);
    long_name[33] = '\0';
    cr_expect_eq(lease_acquire(&cache, &lease, "k", long_name, 5000, &err), ERR_INVALID);
    cr_expect_eq(lease_extend(&cache, &lease, &err), ERR_NOT_FOUND);
}
