/* A bare loop through RabbitMQ, for the bench: what rabbitmq-c alone does with the same messages.
 *
 *     amqp_loop HOST PORT MESSAGES PUBLISHERS CONSUMERS RATE
 *
 * Each publisher sends its share of MESSAGES, transient and confirmed in windows, to a topic exchange;
 * each consumer has a queue of its own and takes all of them.  RATE messages a second, 0: as fast as
 * they are confirmed.  Prints one line of JSON: messages a second from the first to the last one at the
 * slowest consumer, and the latency in milliseconds. */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WINDOW = 1024, THREADS_MAX = 8, BODY_BYTES = 150, BUCKETS = 100000, BUCKET_US = 20 };

static const char exchange[] = "hyprxa.bench";

static struct {
    const char *host;
    int port;
    long messages, rate;
    int publishers, consumers;
    pthread_barrier_t begin; /* every queue is bound */
} run;

struct consumer {
    pthread_t thread;
    int64_t last_ns;
    uint64_t *latencies; /* BUCKETS */
};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void need(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "amqp_loop: %s failed\n", what);
    exit(1);
}

static void need_reply(amqp_connection_state_t c, const char *what)
{
    need(amqp_get_rpc_reply(c).reply_type == AMQP_RESPONSE_NORMAL, what);
}

static amqp_connection_state_t open_connection(void)
{
    amqp_connection_state_t c = amqp_new_connection();
    amqp_socket_t *s = amqp_tcp_socket_new(c);
    need(s && amqp_socket_open(s, run.host, run.port) == AMQP_STATUS_OK, "connecting");
    need(amqp_login(c, "/", 0, 131072, 60, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type ==
             AMQP_RESPONSE_NORMAL,
         "logging in");
    amqp_channel_open(c, 1);
    need_reply(c, "opening a channel");
    amqp_exchange_declare(c, 1, amqp_cstring_bytes(exchange), amqp_cstring_bytes("topic"), 0, 0, 0,
                          0, amqp_empty_table);
    need_reply(c, "declaring the exchange");
    return c;
}

static void close_connection(amqp_connection_state_t c)
{
    amqp_connection_close(c, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(c);
}

/* --- publishing --- */

/* Wait for a confirm; how many it confirms, given the last one that was. */
static uint64_t await_confirm(amqp_connection_state_t c, uint64_t confirmed)
{
    amqp_frame_t frame;
    need(amqp_simple_wait_frame(c, &frame) == AMQP_STATUS_OK, "waiting for a confirm");
    need(frame.frame_type == AMQP_FRAME_METHOD && frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
         "a confirm");
    const amqp_basic_ack_t *ack = frame.payload.method.decoded;
    uint64_t n = ack->multiple ? ack->delivery_tag - confirmed : 1;
    amqp_maybe_release_buffers(c);
    return n;
}

static void wait_turn(int64_t begun_ns, long i)
{
    int64_t per_s = run.rate / run.publishers;
    if (per_s <= 0)
        return;
    int64_t left_ns = begun_ns + (int64_t)i * 1000000000 / per_s - now_ns();
    struct timespec t = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    if (left_ns > 0)
        nanosleep(&t, NULL);
}

static void *publish(void *arg)
{
    (void)arg;
    amqp_connection_state_t c = open_connection();
    amqp_confirm_select(c, 1);
    need_reply(c, "asking for confirms");
    char body[BODY_BYTES] = {0};
    amqp_basic_properties_t p = {._flags =
                                     AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG,
                                 .delivery_mode = AMQP_DELIVERY_NONPERSISTENT,
                                 .message_id = amqp_cstring_bytes("0123456789abcdef:1:12345678")};
    pthread_barrier_wait(&run.begin);
    int64_t begun_ns = now_ns();
    uint64_t confirmed = 0;
    long n = run.messages / run.publishers;
    for (long i = 0; i < n; i++) {
        wait_turn(begun_ns, i);
        int64_t sent_ns = now_ns();
        memcpy(body, &sent_ns, sizeof sent_ns);
        need(amqp_basic_publish(c, 1, amqp_cstring_bytes(exchange), amqp_cstring_bytes("b.k"), 0, 0,
                                &p, (amqp_bytes_t){sizeof body, body}) == AMQP_STATUS_OK,
             "publishing");
        while ((uint64_t)i + 1 - confirmed >= WINDOW)
            confirmed += await_confirm(c, confirmed);
    }
    while (confirmed < (uint64_t)n)
        confirmed += await_confirm(c, confirmed);
    close_connection(c);
    return NULL;
}

/* --- consuming --- */

static void *consume(void *arg)
{
    struct consumer *me = arg;
    amqp_connection_state_t c = open_connection();
    amqp_queue_declare_ok_t *q =
        amqp_queue_declare(c, 1, amqp_empty_bytes, 0, 0, 1, 1, amqp_empty_table);
    need_reply(c, "declaring a queue");
    amqp_bytes_t queue = amqp_bytes_malloc_dup(q->queue);
    amqp_queue_bind(c, 1, queue, amqp_cstring_bytes(exchange), amqp_cstring_bytes("b.#"),
                    amqp_empty_table);
    need_reply(c, "binding");
    amqp_basic_consume(c, 1, queue, amqp_empty_bytes, 0, 1, 1, amqp_empty_table);
    need_reply(c, "consuming");
    pthread_barrier_wait(&run.begin);
    long n = run.messages / run.publishers * run.publishers;
    for (long i = 0; i < n; i++) {
        amqp_envelope_t e;
        int64_t sent_ns;
        amqp_maybe_release_buffers(c);
        need(amqp_consume_message(c, &e, NULL, 0).reply_type == AMQP_RESPONSE_NORMAL, "receiving");
        memcpy(&sent_ns, e.message.body.bytes, sizeof sent_ns);
        me->last_ns = now_ns();
        int64_t bucket = (me->last_ns - sent_ns) / 1000 / BUCKET_US;
        me->latencies[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
        amqp_destroy_envelope(&e);
    }
    amqp_bytes_free(queue);
    close_connection(c);
    return NULL;
}

/* --- the result --- */

static double percentile_ms(const struct consumer *all, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)run.messages * run.consumers), seen = 0;
    for (int64_t b = 0; b < BUCKETS; b++) {
        for (int i = 0; i < run.consumers; i++)
            seen += all[i].latencies[b];
        if (seen >= wanted)
            return (double)(b + 1) * BUCKET_US / 1000;
    }
    return (double)BUCKETS * BUCKET_US / 1000;
}

int main(int argc, char **argv)
{
    need(argc == 7, "reading the arguments: HOST PORT MESSAGES PUBLISHERS CONSUMERS RATE");
    run.host = argv[1];
    run.port = atoi(argv[2]);
    run.messages = atol(argv[3]);
    run.publishers = atoi(argv[4]);
    run.consumers = atoi(argv[5]);
    run.rate = atol(argv[6]);
    need(run.publishers >= 1 && run.publishers <= THREADS_MAX && run.consumers >= 1 &&
             run.consumers <= THREADS_MAX,
         "reading the arguments: 1 to 8 publishers and consumers");
    struct consumer consumers[THREADS_MAX] = {0};
    pthread_t publishers[THREADS_MAX];
    pthread_barrier_init(&run.begin, NULL, (unsigned)(run.publishers + run.consumers + 1));
    for (int i = 0; i < run.consumers; i++) {
        consumers[i].latencies = calloc(BUCKETS, sizeof *consumers[i].latencies);
        need(consumers[i].latencies &&
                 !pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]),
             "starting a thread");
    }
    for (int i = 0; i < run.publishers; i++)
        need(!pthread_create(&publishers[i], NULL, publish, NULL), "starting a thread");
    pthread_barrier_wait(&run.begin);
    int64_t begun_ns = now_ns(), last_ns = 0;
    for (int i = 0; i < run.publishers; i++)
        pthread_join(publishers[i], NULL);
    for (int i = 0; i < run.consumers; i++) {
        pthread_join(consumers[i].thread, NULL);
        if (consumers[i].last_ns > last_ns)
            last_ns = consumers[i].last_ns;
    }
    printf("{\"per_s\": %.1f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n",
           (double)run.messages * 1e9 / (double)(last_ns - begun_ns), percentile_ms(consumers, 0.5),
           percentile_ms(consumers, 0.99));
    for (int i = 0; i < run.consumers; i++)
        free(consumers[i].latencies);
    return 0;
}
