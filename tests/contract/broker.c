/* The broker's contract: one body, each back end a row of the table. */
#include "broker/broker.h"

#include "base/thread.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(broker, .timeout = 60);

struct back_end {
    char name[16];
    char uri_variable[32]; /* environment; empty: always at hand */
};

static struct back_end back_ends[] = {{"memory:", ""}, {"rabbitmq", "RABBITMQ_TEST_URI"}};

#define BROKER_CONTRACT(claim)                                            \
    ParameterizedTestParameters(broker, claim)                            \
    {                                                                     \
        return cr_make_param_array(struct back_end, back_ends,            \
                                   sizeof back_ends / sizeof *back_ends); \
    }                                                                     \
    ParameterizedTest(struct back_end *back_end, broker, claim)

static struct broker *open_broker(const struct back_end *back_end, size_t max_queued)
{
    const char *uri = back_end->name;
    if (*back_end->uri_variable && !(uri = getenv(back_end->uri_variable)))
        cr_skip_test("%s is not set", back_end->uri_variable);
    char events[64], series[64]; /* each test's own, on a server that all share */
    snprintf(events, sizeof events, "test.events.%d", (int)getpid());
    snprintf(series, sizeof series, "test.timeseries.%d", (int)getpid());
    struct broker_options options = {
        .uri = uri,
        .exchange_names = {events, series},
        .max_queued = max_queued,
    };
    struct error err = ERROR_INIT;
    struct broker *broker = NULL;
    cr_assert_eq(broker_open(&options, &broker, &err), 0, "%s", err.message);
    return broker;
}

/* A sink that remembers what it got, and can be held. */
struct inbox {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t numbers[20000];
    size_t n;
    uint64_t lost;
    bool hold, holding;
};

static struct inbox *inbox_new(void)
{
    static struct inbox boxes[8]; /* each test is a process of its own */
    static size_t used;
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&lock);
    cr_assert_lt(used, sizeof boxes / sizeof *boxes);
    struct inbox *box = &boxes[used++];
    pthread_mutex_unlock(&lock);
    lock_init(&box->lock);
    cond_init(&box->changed);
    return box;
}

static void inbox_sink(void *ctx, struct message *m, uint64_t lost)
{
    struct inbox *box = ctx;
    pthread_mutex_lock(&box->lock);
    box->holding = box->hold;
    pthread_cond_broadcast(&box->changed);
    while (box->hold)
        cond_wait_until(&box->changed, &box->lock, INT64_MAX);
    box->holding = false;
    box->numbers[box->n++] = strtoll(message_body(m).data + strlen("{\"n\":"), NULL, 10);
    box->lost += lost;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->lock);
}

static void inbox_await(struct inbox *box, size_t n)
{
    int64_t deadline = time_monotonic_ms() + 20000;
    pthread_mutex_lock(&box->lock);
    while (box->n < n)
        cr_assert(cond_wait_until(&box->changed, &box->lock, deadline), "%zu of %zu came", box->n,
                  n);
    pthread_mutex_unlock(&box->lock);
}

/* Until the newest is `number`. */
static void inbox_await_last(struct inbox *box, int64_t number)
{
    int64_t deadline = time_monotonic_ms() + 20000;
    pthread_mutex_lock(&box->lock);
    while (!box->n || box->numbers[box->n - 1] != number)
        cr_assert(cond_wait_until(&box->changed, &box->lock, deadline), "%lld did not come",
                  (long long)number);
    pthread_mutex_unlock(&box->lock);
}

static void inbox_hold(struct inbox *box, bool hold)
{
    pthread_mutex_lock(&box->lock);
    box->hold = hold;
    pthread_cond_broadcast(&box->changed);
    pthread_mutex_unlock(&box->lock);
}

static void inbox_await_holding(struct inbox *box)
{
    pthread_mutex_lock(&box->lock);
    while (!box->holding)
        cond_wait_until(&box->changed, &box->lock, INT64_MAX);
    pthread_mutex_unlock(&box->lock);
}

/* A message whose body holds its number: a JSON object, for others are dropped. */
static struct message *numbered(int64_t number)
{
    char body[32];
    int len = snprintf(body, sizeof body, "{\"n\":%lld}", (long long)number);
    return message_new(NULL, number, body, (size_t)len);
}

/* Does its queue stand in this process, so that the test decides when it is full or empty? */
static bool in_process(const struct back_end *back_end)
{
    return strcmp(back_end->name, "memory:") == 0;
}

static int publish(struct broker *broker, enum broker_exchange exchange, const char *key,
                   int64_t number)
{
    struct message *m = numbered(number);
    size_t taken = 77;
    int rc = broker_publish(broker, exchange, &key, &m, 1, &taken);
    cr_assert_eq(taken, rc == 0);
    message_unref(m);
    return rc;
}

static struct broker_subscription *subscribe(struct broker *broker, enum broker_exchange exchange,
                                             const char *key, struct inbox *box)
{
    struct broker_subscription *s = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(broker_subscribe(broker, exchange, &key, 1, inbox_sink, box, &s, &err), 0, "%s",
                 err.message);
    return s;
}

BROKER_CONTRACT(events_reach_the_patterns_that_match)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *all = inbox_new(), *one = inbox_new();
    struct broker_subscription *a = subscribe(broker, BROKER_EVENTS, "t.#", all);
    struct broker_subscription *b = subscribe(broker, BROKER_EVENTS, "t.x", one);
    publish(broker, BROKER_EVENTS, "t", 1);
    publish(broker, BROKER_EVENTS, "t.x", 2);
    publish(broker, BROKER_EVENTS, "u.x", 3);
    publish(broker, BROKER_EVENTS, "t.x.y", 4);
    inbox_await(all, 3);
    cr_assert_eq(all->numbers[0], 1);
    cr_assert_eq(all->numbers[1], 2);
    cr_assert_eq(all->numbers[2], 4);
    inbox_await(one, 1);
    cr_assert_eq(one->numbers[0], 2);
    broker_unsubscribe(a);
    broker_unsubscribe(b);
    broker_close(broker);
}

BROKER_CONTRACT(exchanges_are_apart_and_the_series_one_is_direct)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *events = inbox_new(), *series = inbox_new();
    struct broker_subscription *a = subscribe(broker, BROKER_EVENTS, "#", events);
    struct broker_subscription *b = subscribe(broker, BROKER_TIMESERIES, "src-1", series);
    struct broker_subscription *c = subscribe(broker, BROKER_TIMESERIES, "#", series);
    publish(broker, BROKER_TIMESERIES, "src-2", 1);
    publish(broker, BROKER_TIMESERIES, "src-1", 2);
    publish(broker, BROKER_EVENTS, "src-1", 3);
    inbox_await(series, 1);
    inbox_await(events, 1);
    cr_assert_eq(series->numbers[0], 2);
    cr_assert_eq(events->numbers[0], 3);
    broker_unsubscribe(a);
    broker_unsubscribe(b);
    broker_unsubscribe(c);
    broker_close(broker);
}

struct publisher {
    struct broker *broker;
    char key[16];
    pthread_t thread;
};

enum { PUBLISHERS = 4, EACH = 4000 };

static void *publish_many(void *arg)
{
    struct publisher *p = arg;
    for (int i = 0; i < EACH; i++)
        cr_assert_eq(publish(p->broker, BROKER_EVENTS, p->key, i), 0);
    return NULL;
}

BROKER_CONTRACT(order_of_each_publisher_is_kept)
{
    struct broker *broker = open_broker(back_end, 0);
    struct publisher publishers[PUBLISHERS];
    struct broker_subscription *subscriptions[PUBLISHERS];
    struct inbox *boxes[PUBLISHERS];
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i].broker = broker;
        snprintf(publishers[i].key, sizeof publishers[i].key, "p.%d", i);
        boxes[i] = inbox_new();
        subscriptions[i] = subscribe(broker, BROKER_EVENTS, publishers[i].key, boxes[i]);
    }
    for (int i = 0; i < PUBLISHERS; i++)
        thread_start(&publishers[i].thread, "publisher", publish_many, &publishers[i], NULL);
    for (int i = 0; i < PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    for (int i = 0; i < PUBLISHERS; i++) {
        inbox_await(boxes[i], EACH);
        for (int k = 0; k < EACH; k++)
            cr_assert_eq(boxes[i]->numbers[k], k);
        broker_unsubscribe(subscriptions[i]);
    }
    broker_close(broker);
}

BROKER_CONTRACT(subscription_sees_nothing_published_before_it)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *held = inbox_new(), *late = inbox_new();
    struct broker_subscription *a = subscribe(broker, BROKER_EVENTS, "k", held);
    inbox_hold(held, true);
    publish(broker, BROKER_EVENTS, "k", 1);
    inbox_await_holding(held);
    publish(broker, BROKER_EVENTS, "k", 2);
    struct broker_subscription *b = subscribe(broker, BROKER_EVENTS, "k", late);
    publish(broker, BROKER_EVENTS, "k", 3);
    inbox_hold(held, false);
    inbox_await(held, 3);
    inbox_await_last(late, 3);
    if (in_process(back_end)) /* through a server what was published just before may still come */
        cr_assert_eq(late->n, 1);
    broker_unsubscribe(a);
    broker_unsubscribe(b);
    broker_close(broker);
}

static void *unsubscribe_it(void *arg)
{
    broker_unsubscribe(arg);
    return NULL;
}

BROKER_CONTRACT(unsubscribe_waits_for_the_running_sink)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *box = inbox_new();
    struct broker_subscription *s = subscribe(broker, BROKER_EVENTS, "k", box);
    inbox_hold(box, true);
    publish(broker, BROKER_EVENTS, "k", 1);
    inbox_await_holding(box);
    pthread_t thread;
    thread_start(&thread, "unsubscribe", unsubscribe_it, s, NULL);
    cr_assert_not(thread_join_within(thread, 50), "it returned while the sink was inside");
    inbox_hold(box, false);
    pthread_join(thread, NULL);
    size_t before = box->n;
    publish(broker, BROKER_EVENTS, "k", 2);
    broker_stop(broker); /* drains */
    cr_assert_eq(box->n, before);
    broker_close(broker);
}

BROKER_CONTRACT(full_queue_takes_a_part_and_says_so)
{
    if (!in_process(back_end))
        cr_skip_test("the server takes what is queued; tests/contract/rabbitmq.c has it away");
    struct broker *broker = open_broker(back_end, 10);
    struct inbox *box = inbox_new();
    struct broker_subscription *s = subscribe(broker, BROKER_EVENTS, "k", box);
    inbox_hold(box, true);
    publish(broker, BROKER_EVENTS, "k", 0);
    inbox_await_holding(box); /* the queue is empty now, and the dispatcher held */
    const char *keys[30];
    struct message *messages[30];
    for (int i = 0; i < 30; i++) {
        keys[i] = "k";
        messages[i] = numbered(i + 1);
    }
    size_t taken = 0;
    cr_assert_eq(broker_publish(broker, BROKER_EVENTS, keys, messages, 30, &taken), ERR_AGAIN);
    cr_assert_eq(taken, 10);
    cr_assert_eq(publish(broker, BROKER_EVENTS, "k", 99), ERR_AGAIN);
    inbox_hold(box, false);
    inbox_await(box, 11);
    for (int i = 0; i < 11; i++)
        cr_assert_eq(box->numbers[i], i);
    cr_assert_eq(publish(broker, BROKER_EVENTS, "k", 11), 0);
    inbox_await(box, 12);
    for (int i = 0; i < 30; i++)
        message_unref(messages[i]);
    broker_unsubscribe(s);
    broker_close(broker);
}

BROKER_CONTRACT(stop_delivers_what_is_queued_and_refuses_more)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *box = inbox_new();
    struct broker_subscription *s = subscribe(broker, BROKER_EVENTS, "k", box);
    for (int i = 0; i < 5000; i++)
        publish(broker, BROKER_EVENTS, "k", i);
    broker_stop(broker);
    cr_assert_eq(box->n, 5000);
    cr_assert_eq(publish(broker, BROKER_EVENTS, "k", 1), ERR_CLOSED);
    struct broker_subscription *none = NULL;
    const char *key = "k";
    cr_assert_eq(broker_subscribe(broker, BROKER_EVENTS, &key, 1, inbox_sink, box, &none, NULL),
                 ERR_CLOSED);
    broker_unsubscribe(s);
    broker_stop(broker);
    broker_close(broker);
}

BROKER_CONTRACT(bad_keys_are_refused)
{
    struct broker *broker = open_broker(back_end, 0);
    static const char *const bad[] = {"", "a.*", "#", "a..b", ".a", "a.", "a#"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(publish(broker, BROKER_EVENTS, bad[i], 1), ERR_INVALID, "'%s'", bad[i]);
    char key[258];
    memset(key, 'x', sizeof key);
    key[255] = '\0';
    cr_assert_eq(publish(broker, BROKER_EVENTS, key, 1), 0);
    key[255] = 'x';
    key[256] = '\0';
    cr_assert_eq(publish(broker, BROKER_EVENTS, key, 1), ERR_INVALID);
    cr_assert_eq(publish(broker, BROKER_TIMESERIES, key, 1), ERR_INVALID);
    struct broker_subscription *s = NULL;
    const char *keys[] = {"fine", key};
    struct error err = ERROR_INIT;
    cr_assert_eq(broker_subscribe(broker, BROKER_EVENTS, keys, 2, inbox_sink, NULL, &s, &err),
                 ERR_INVALID);
    cr_assert(strstr(err.message, "255"));
    broker_close(broker);
}

BROKER_CONTRACT(wanted_follows_the_bindings)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *box = inbox_new();
    struct broker_subscription *a = subscribe(broker, BROKER_EVENTS, "t.*", box);
    struct broker_subscription *b = subscribe(broker, BROKER_TIMESERIES, "s-1", box);
    cr_assert(broker_wanted(broker, BROKER_EVENTS, "t.x"));
    cr_assert(broker_wanted(broker, BROKER_TIMESERIES, "s-1"));
    if (in_process(back_end)) { /* alone it knows for certain */
        cr_assert_not(broker_wanted(broker, BROKER_EVENTS, "u.x"));
        cr_assert_not(broker_wanted(broker, BROKER_TIMESERIES, "s-2"));
        broker_unsubscribe(a);
        cr_assert_not(broker_wanted(broker, BROKER_EVENTS, "t.x"));
    } else {
        broker_unsubscribe(a);
    }
    broker_unsubscribe(b);
    broker_close(broker);
}

BROKER_CONTRACT(stats_count)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *box = inbox_new();
    struct broker_subscription *a = subscribe(broker, BROKER_EVENTS, "t.#", box);
    struct broker_subscription *b = subscribe(broker, BROKER_EVENTS, "t.x", box);
    publish(broker, BROKER_EVENTS, "t.x", 1);
    publish(broker, BROKER_EVENTS, "nobody", 2);
    struct broker_stats stats;
    broker_get_stats(broker, BROKER_EVENTS, &stats);
    cr_assert_eq(stats.subscriptions, 2);
    broker_stop(broker);
    broker_get_stats(broker, BROKER_EVENTS, &stats);
    cr_assert_not(stats.connected);
    cr_assert_eq(stats.published, 2);
    cr_assert_eq(stats.delivered, 2);
    if (in_process(back_end)) /* else nobody here has seen it */
        cr_assert_eq(stats.unroutable, 1);
    cr_assert_eq(stats.queued, 0);
    broker_unsubscribe(a);
    broker_unsubscribe(b);
    broker_close(broker);
}

enum { CHURNERS = 3, TURNS = 300 };

struct churner {
    struct broker *broker;
    pthread_t thread;
};

static void *churn(void *arg)
{
    struct churner *c = arg;
    struct inbox *box = inbox_new();
    for (int i = 0; i < TURNS; i++) {
        struct broker_subscription *s = subscribe(c->broker, BROKER_EVENTS, "p.#", box);
        broker_unsubscribe(s);
        pthread_mutex_lock(&box->lock);
        box->n = 0;
        pthread_mutex_unlock(&box->lock);
    }
    return NULL;
}

BROKER_CONTRACT(subscribers_come_and_go_under_load)
{
    struct broker *broker = open_broker(back_end, 0);
    struct inbox *box = inbox_new();
    struct broker_subscription *steady = subscribe(broker, BROKER_EVENTS, "p.0", box);
    struct publisher publisher = {.broker = broker, .key = "p.0"};
    struct churner churners[CHURNERS];
    thread_start(&publisher.thread, "publisher", publish_many, &publisher, NULL);
    for (int i = 0; i < CHURNERS; i++) {
        churners[i].broker = broker;
        thread_start(&churners[i].thread, "churner", churn, &churners[i], NULL);
    }
    pthread_join(publisher.thread, NULL);
    for (int i = 0; i < CHURNERS; i++)
        pthread_join(churners[i].thread, NULL);
    inbox_await(box, EACH);
    for (int k = 0; k < EACH; k++)
        cr_assert_eq(box->numbers[k], k);
    broker_unsubscribe(steady);
    broker_close(broker);
}

Test(broker, unknown_scheme_is_named_without_its_secrets)
{
    struct broker_options options = {.uri = "redis://ada:secret@localhost"};
    struct broker *broker = NULL;
    struct error err = ERROR_INIT;
    cr_assert_eq(broker_open(&options, &broker, &err), ERR_UNSUPPORTED);
    cr_assert(strstr(err.message, "redis"));
    cr_assert_not(strstr(err.message, "secret"));
}
