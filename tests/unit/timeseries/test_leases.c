#include "timeseries/leases.h"

#include "base/sample.h"
#include "base/series_hash.h"
#include "base/time.h"
#include "cache/cache_priv.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TestSuite(leases, .timeout = 90);

enum { TTL_MS = 3000, HASH = 42 };

/* A node: its way to the cache, which may be cut, and its claim to the series. */
struct node {
    struct cache cache;
    atomic_bool cut;
    struct leases *leases;
    struct series *series;
    struct claim *claim;
    atomic_int changes;
    char owner[33];
};

/* --- the cache that the nodes share --- */

static struct cache *shared;

static int check(void *self, struct error *err)
{
    struct node *n = self;
    return atomic_load(&n->cut) ? error_set(err, ERR_UNAVAILABLE, "away") : 0;
}

static int node_get(void *self, const char *key, struct buf *out, uint64_t *ret_version,
                    struct error *err)
{
    int rc = check(self, err);
    return rc ? rc : shared->ops->get(shared->self, key, out, ret_version, err);
}

static int node_set(void *self, const struct cache_item *item, struct error *err)
{
    int rc = check(self, err);
    return rc ? rc : shared->ops->set(shared->self, item, err);
}

static int node_add(void *self, const struct cache_item *item, uint64_t *ret_version,
                    struct error *err)
{
    int rc = check(self, err);
    return rc ? rc : shared->ops->add(shared->self, item, ret_version, err);
}

static int node_replace(void *self, const struct cache_item *item, uint64_t version,
                        uint64_t *ret_version, struct error *err)
{
    int rc = check(self, err);
    return rc ? rc : shared->ops->replace(shared->self, item, version, ret_version, err);
}

static int node_remove(void *self, const char *key, uint64_t version, struct error *err)
{
    int rc = check(self, err);
    return rc ? rc : shared->ops->remove(shared->self, key, version, err);
}

static const struct cache_ops node_ops = {.shared = true,
                                          .get = node_get,
                                          .set = node_set,
                                          .add = node_add,
                                          .replace = node_replace,
                                          .remove = node_remove};

static bool is_registered(void)
{
    char key[SERIES_REGISTRATION_SIZE];
    struct buf value = BUF_INIT(100);
    cr_assert_eq(series_registration_key(HASH, key), 0);
    bool found = cache_get(shared, key, &value, NULL, NULL) == 0;
    buf_release(&value);
    return found;
}

/* --- nodes --- */

static struct node a, b;

static void changed(void *who)
{
    struct node *n = who;
    atomic_fetch_add(&n->changes, 1);
}

static void open_node(struct node *n, char letter)
{
    struct error err;
    n->cache = (struct cache){&node_ops, n};
    memset(n->owner, letter, 32);
    struct leases_options options = {.cache = &n->cache, .ttl_ms = TTL_MS, .changed = changed};
    cr_assert_eq(leases_new(&options, &n->leases, &err), 0);
    n->series = series_new("s", "{\"source\":\"s\"}", "{\"source\":\"s\"}", HASH);
    cr_assert_eq(claim_new(n->leases, n->series, n->owner, n, &n->claim), 0);
}

static void close_node(struct node *n)
{
    claim_free(n->claim);
    leases_free(n->leases);
    series_unref(n->series);
}

static void setup(void)
{
    struct error err;
    cr_assert_eq(cache_open(&(struct cache_options){.uri = "memory:"}, &shared, &err), 0);
    open_node(&a, 'a');
    open_node(&b, 'b');
}

static void teardown(void)
{
    close_node(&a);
    close_node(&b);
    cache_close(shared);
}

static void acquire(struct node *n, enum claim_state expected)
{
    struct error err = ERROR_INIT;
    claim_want(n->claim, true);
    cr_assert_eq(claim_acquire(n->claim, &err), 0, "%s", err.message);
    cr_assert_eq(claim_state(n->claim), expected);
    cr_assert(expected != CLAIM_HELD || leases_hold(n->leases, n->series));
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static bool await_state(struct node *n, enum claim_state state, int64_t within_ms)
{
    int64_t deadline_ms = time_monotonic_ms() + within_ms;
    while (claim_state(n->claim) != state && time_monotonic_ms() < deadline_ms)
        pause_ms(5);
    return claim_state(n->claim) == state;
}

/* --- tests --- */

Test(leases, without_other_nodes_every_claim_holds_for_ever, .init = setup, .fini = teardown)
{
    struct error err;
    struct leases *alone = NULL;
    struct claim *c = NULL;
    struct leases_options options = {.cache = shared, .ttl_ms = TTL_MS, .changed = changed};
    struct series *s = series_new("s", "{}", "{}", 1);
    cr_assert_eq(leases_new(&options, &alone, &err), 0);
    cr_assert_eq(claim_new(alone, s, a.owner, &a, &c), 0);
    cr_assert_eq(claim_acquire(c, &err), 0);
    cr_expect_eq(claim_state(c), CLAIM_HELD);
    cr_expect(leases_hold(alone, s));
    cr_expect_eq(atomic_load(&s->held_until_ms), INT64_MAX);
    cr_expect_eq(atomic_load(&s->held_since_us), 0, "its replays are complete");
    cr_expect(claim_is_unneeded(c), "nobody else could need it");
    claim_want(c, true);
    cr_expect_not(claim_is_unneeded(c));
    struct buf value = BUF_INIT(100);
    cr_expect_eq(cache_get(shared, "1", &value, NULL, &err), ERR_NOT_FOUND, "nobody is asked");
    buf_release(&value);
    claim_free(c);
    leases_free(alone);
    series_unref(s);
}

Test(leases, one_node_holds_and_the_other_stands_by, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    acquire(&b, CLAIM_REMOTE);
    cr_expect_gt(atomic_load(&a.series->held_since_us), 0);
    cr_expect_eq(atomic_load(&b.series->held_since_us), INT64_MAX);
    pause_ms(2 * TTL_MS); /* what is not extended would be gone */
    cr_expect_eq(claim_state(a.claim), CLAIM_HELD);
    cr_expect_eq(claim_state(b.claim), CLAIM_REMOTE);
    cr_expect(leases_hold(a.leases, a.series));
    struct leases_stats stats;
    leases_get_stats(a.leases, &stats);
    cr_expect(stats.shared && !stats.away && stats.held == 1 && stats.reclaimed == 0);
    leases_get_stats(b.leases, &stats);
    cr_expect(stats.held == 0 && stats.remote == 1);
}

Test(leases, what_is_handed_over_is_free_at_once, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    acquire(&b, CLAIM_REMOTE);
    cr_expect(claim_release(a.claim));
    struct handed items[] = {{HASH - 1, 5}, {HASH, 77}, {HASH + 1, 6}};
    int before = atomic_load(&b.changes);
    cr_assert_eq(leases_handed_over(b.leases, items, 3), 0);
    cr_assert(await_state(&b, CLAIM_FREE, 2000));
    while (atomic_load(&b.changes) == before) /* the suite's timeout */
        pause_ms(1);
    cr_expect_eq(atomic_load(&b.series->handed_us), 77);
    acquire(&b, CLAIM_HELD);
    acquire(&a, CLAIM_REMOTE);
    struct leases_stats stats;
    leases_get_stats(b.leases, &stats);
    cr_expect(stats.takeovers == 1 && stats.handovers == 1);
    cr_expect_not(claim_release(a.claim), "it does not hold it");
    cr_expect_eq(claim_state(b.claim), CLAIM_HELD);
}

Test(leases, what_nobody_hands_over_is_free_when_its_time_is_up, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    acquire(&b, CLAIM_REMOTE);
    atomic_store(&a.cut, true);
    cr_assert(await_state(&b, CLAIM_FREE, 5 * TTL_MS));
    cr_expect(leases_hold(a.leases, a.series), "as far as it can know nobody can take it");
    acquire(&b, CLAIM_HELD);
    struct leases_stats stats;
    leases_get_stats(b.leases, &stats);
    cr_expect(stats.takeovers == 1 && stats.handovers == 0);

    int before = atomic_load(&a.changes);
    atomic_store(&a.cut, false);
    cr_assert(await_state(&a, CLAIM_LOST, 2 * TTL_MS));
    cr_expect_not(leases_hold(a.leases, a.series));
    while (atomic_load(&a.changes) == before)
        pause_ms(1);
    claim_stand_by(a.claim);
    cr_expect_eq(claim_state(a.claim), CLAIM_REMOTE);
    leases_get_stats(a.leases, &stats);
    cr_expect_eq(stats.lost, 1);
}

Test(leases, a_cache_that_forgets_leaves_them_with_their_node, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    acquire(&b, CLAIM_REMOTE);
    for (uint64_t i = 1; i <= 3; i++) {
        struct leases_stats stats;
        cr_assert_eq(cache_remove(shared, "42", 0, NULL), 0);
        do {
            pause_ms(5);
            leases_get_stats(a.leases, &stats);
        } while (stats.reclaimed < i);
        cr_expect_eq(claim_state(a.claim), CLAIM_HELD);
        cr_expect_eq(claim_state(b.claim), CLAIM_REMOTE);
        cr_expect(leases_hold(a.leases, a.series));
        pause_ms(TTL_MS / 2); /* so that the other node sees it is there again */
    }
}

Test(leases, without_the_cache_none_begins_and_those_held_stay, .init = setup, .fini = teardown)
{
    struct error err;
    acquire(&a, CLAIM_HELD);
    atomic_store(&a.cut, true);
    atomic_store(&b.cut, true);
    claim_want(b.claim, true);
    cr_expect_eq(claim_acquire(b.claim, &err), ERR_UNAVAILABLE);
    cr_expect_eq(claim_state(b.claim), CLAIM_NONE);
    for (int i = 0; i < 20; i++) {
        cr_expect(leases_hold(a.leases, a.series));
        pause_ms(TTL_MS / 10);
    }
    struct leases_stats stats;
    leases_get_stats(a.leases, &stats);
    cr_expect(stats.away);
    atomic_store(&a.cut, false);
    do {
        pause_ms(5);
        leases_get_stats(a.leases, &stats);
    } while (stats.away);
    cr_expect_eq(claim_state(a.claim), CLAIM_HELD);
}

Test(leases, a_process_that_was_stopped_asks_before_it_goes_on, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    atomic_store(&a.cut, true);
    struct leases_stats stats;
    do {
        pause_ms(5);
        leases_get_stats(a.leases, &stats);
    } while (!stats.away);
    cr_assert(leases_hold(a.leases, a.series));
    pid_t self = getpid(), other = fork();
    if (other == 0) {
        kill(self, SIGSTOP);
        pause_ms(TTL_MS + 500);
        kill(self, SIGCONT);
        _exit(0);
    }
    waitpid(other, NULL, 0); /* stopped meanwhile */
    for (int i = 0; i < 100; i++) {
        cr_expect_not(leases_hold(a.leases, a.series));
        pause_ms(5);
    }
    atomic_store(&a.cut, false);
    int64_t deadline_ms = time_monotonic_ms() + 2 * TTL_MS;
    while (!leases_hold(a.leases, a.series) && time_monotonic_ms() < deadline_ms)
        pause_ms(5);
    cr_expect(leases_hold(a.leases, a.series), "nobody took it");
}

Test(leases, a_holder_knows_whether_somebody_else_wants_it, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    cr_expect(is_registered());
    claim_want(a.claim, false);
    acquire(&b, CLAIM_REMOTE);
    int64_t until_ms = time_monotonic_ms() + 3 * TTL_MS;
    while (time_monotonic_ms() < until_ms) {
        cr_assert_not(claim_is_unneeded(a.claim));
        cr_assert(is_registered());
        pause_ms(50);
    }
    claim_want(b.claim, false);
    int before = atomic_load(&a.changes);
    while (!claim_is_unneeded(a.claim)) /* the suite's timeout */
        pause_ms(5);
    cr_expect_not(is_registered());
    while (atomic_load(&a.changes) == before)
        pause_ms(1);
    claim_want(a.claim, true);
    cr_expect_not(claim_is_unneeded(a.claim));
    cr_expect(is_registered(), "before the call returns");
}

Test(leases, a_claim_that_goes_gives_its_lease_back, .init = setup, .fini = teardown)
{
    acquire(&a, CLAIM_HELD);
    claim_free(a.claim);
    a.claim = NULL;
    acquire(&b, CLAIM_HELD);
}
