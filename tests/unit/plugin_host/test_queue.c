#include "support.h"

#include "base/thread.h"
#include "base/time.h"
#include "plugin_host/queue.h"

#include <string.h>

TestSuite(queue, .timeout = 30);

static struct sample_block *block_of(size_t n_samples)
{
    struct sample_block *b = sample_block_new(0, n_samples, 0, 0, NULL);
    cr_assert_not_null(b);
    return b;
}

static int push(struct queue *q, struct queue_waiter *w, size_t n, int64_t timeout_ms)
{
    struct sample_block *b = block_of(n);
    size_t bytes = b->n_bytes;
    int rc = queue_reserve(q, w, n, bytes, timeout_ms);
    if (rc)
        sample_block_unref(b);
    else
        queue_push(q, b, n, bytes);
    return rc;
}

static size_t take(struct queue *q)
{
    struct queue_entry entry = {NULL, NULL};
    cr_assert_eq(queue_take(q, time_monotonic_ms() + 5000, &entry), 0);
    size_t n = entry.block->n_samples;
    sample_block_unref(entry.block);
    return n;
}

Test(queue, gives_back_in_order_through_growth)
{
    struct queue q;
    struct queue_waiter w;
    queue_init(&q, 100000, 1u << 24);
    queue_waiter_init(&w);
    size_t next = 1;
    for (size_t i = 1; i <= 300; i++) {
        cr_assert_eq(push(&q, &w, i, 0), 0);
        if (i % 3 == 0)
            cr_assert_eq(take(&q), next++);
    }
    while (next <= 300)
        cr_assert_eq(take(&q), next++);
    size_t samples, bytes;
    queue_level(&q, &samples, &bytes);
    cr_expect_eq(samples, 0);
    cr_expect_eq(bytes, 0);
    queue_waiter_release(&w);
    queue_release(&q);
}

Test(queue, is_bounded_in_samples_and_in_bytes)
{
    struct queue q;
    struct queue_waiter w;
    queue_init(&q, 100, 4000);
    queue_waiter_init(&w);
    cr_expect_eq(queue_reserve(&q, &w, 101, 1, -1), ERR_LIMIT);
    cr_expect_eq(queue_reserve(&q, &w, 1, 4001, -1), ERR_LIMIT);
    cr_assert_eq(queue_reserve(&q, &w, 60, 3000, 0), 0);
    cr_expect_eq(queue_reserve(&q, &w, 41, 0, 0), ERR_AGAIN);
    cr_expect_eq(queue_reserve(&q, &w, 1, 1001, 0), ERR_AGAIN);
    cr_expect_eq(queue_reserve(&q, &w, 1, 1001, 20), ERR_AGAIN);
    cr_assert_eq(queue_reserve(&q, &w, 40, 1000, 0), 0);
    queue_push(&q, NULL, 60, 3000);
    queue_push(&q, NULL, 40, 1000);
    cr_expect_eq(queue_reserve(&q, &w, 100, 4000, 0), 0);
    queue_push(&q, NULL, 100, 4000);
    queue_waiter_release(&w);
    queue_release(&q);
}

struct publisher {
    struct queue *q;
    struct queue_waiter waiter;
    size_t n;
    int rc;
    pthread_t thread;
};

static void *publisher_main(void *arg)
{
    struct publisher *p = arg;
    p->rc = push(p->q, &p->waiter, p->n, -1);
    return NULL;
}

static void publisher_start(struct publisher *p, struct queue *q, size_t n)
{
    *p = (struct publisher){.q = q, .n = n};
    queue_waiter_init(&p->waiter);
    cr_assert_eq(thread_start(&p->thread, "publisher", publisher_main, p, NULL), 0);
    for (bool waits = false; !waits;) {
        pthread_mutex_lock(&q->lock);
        for (struct queue_waiter *w = q->waiters; w; w = w->next)
            waits = waits || w == &p->waiter;
        pthread_mutex_unlock(&q->lock);
    }
}

static void publisher_join(struct publisher *p)
{
    pthread_join(p->thread, NULL);
    queue_waiter_release(&p->waiter);
}

Test(queue, serves_waiting_publishers_in_the_order_they_came)
{
    struct queue q;
    struct queue_waiter w;
    struct publisher large, small;
    queue_init(&q, 100, 1u << 20);
    queue_waiter_init(&w);
    cr_assert_eq(push(&q, &w, 50, 0), 0);
    cr_assert_eq(push(&q, &w, 50, 0), 0);
    publisher_start(&large, &q, 80);
    publisher_start(&small, &q, 30); /* has room before the large one, but came later */
    cr_expect_eq(push(&q, &w, 1, 0), ERR_AGAIN);
    cr_expect_eq(take(&q), 50);
    cr_expect_eq(take(&q), 50);
    cr_expect_eq(take(&q), 80);
    cr_expect_eq(take(&q), 30);
    publisher_join(&large);
    publisher_join(&small);
    cr_expect_eq(large.rc, 0);
    cr_expect_eq(small.rc, 0);
    queue_waiter_release(&w);
    queue_release(&q);
}

Test(queue, cancels_one_waiter_and_lets_the_next_in)
{
    struct queue q;
    struct queue_waiter w;
    struct publisher first, second_one;
    queue_init(&q, 100, 1u << 20);
    queue_waiter_init(&w);
    cr_assert_eq(push(&q, &w, 60, 0), 0);
    publisher_start(&first, &q, 80);
    publisher_start(&second_one, &q, 40);
    queue_cancel(&q, &first.waiter);
    publisher_join(&first);
    publisher_join(&second_one);
    cr_expect_eq(first.rc, ERR_CLOSED);
    cr_expect_eq(second_one.rc, 0);
    queue_waiter_release(&w);
    queue_release(&q);
}

Test(queue, closed_gives_what_is_left_and_then_says_so)
{
    struct queue q;
    struct queue_waiter w;
    struct queue_entry entry;
    queue_init(&q, 100, 1u << 20);
    queue_waiter_init(&w);
    cr_assert_eq(push(&q, &w, 7, 0), 0);
    queue_close(&q);
    cr_expect_eq(push(&q, &w, 1, -1), ERR_CLOSED);
    cr_expect_eq(take(&q), 7);
    cr_expect_eq(queue_take(&q, INT64_MAX, &entry), ERR_CLOSED);
    queue_waiter_release(&w);
    queue_release(&q);
}

Test(queue, a_promised_announcement_always_fits)
{
    struct queue q;
    struct queue_waiter w;
    struct queue_entry entry = {NULL, NULL};
    struct news *news = (struct news *)(void *)&w; /* only passed through */
    queue_init(&q, 200, 1u << 20);
    queue_waiter_init(&w);
    cr_assert_eq(queue_promise(&q), 0);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(push(&q, &w, 1, 0), 0);
    cr_expect_eq(push(&q, &w, 1, 0), ERR_AGAIN);
    queue_push_news(&q, news);
    for (int i = 0; i < 200; i++)
        cr_assert_eq(take(&q), 1);
    cr_assert_eq(queue_take(&q, 0, &entry), 0);
    cr_expect_eq(entry.news, news);
    queue_waiter_release(&w);
    queue_release(&q);
}

Test(queue, wake_ends_a_wait_once)
{
    struct queue q;
    struct queue_entry entry;
    queue_init(&q, 100, 1u << 20);
    queue_wake(&q);
    cr_expect_eq(queue_take(&q, INT64_MAX, &entry), ERR_TIMEOUT);
    int64_t begun_ms = time_monotonic_ms();
    cr_expect_eq(queue_take(&q, begun_ms + 30, &entry), ERR_TIMEOUT);
    cr_expect_geq(time_monotonic_ms(), begun_ms + 30);
    queue_release(&q);
}
