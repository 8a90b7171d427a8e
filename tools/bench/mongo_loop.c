/* A bare loop of bulk inserts, for the bench: what mongo-c-driver alone does with the same documents.
 *
 *     mongo_loop URI SAMPLES     insert, 1000 at a time, unordered; prints {"per_s": ...}
 *     mongo_loop URI             how many documents the server's own bench has stored so far
 *
 * The documents are those of samples, in the collection `bare` of the database `bench`; the server
 * under test writes to `ours` beside it.  Both have its two indexes. */
#include <mongoc/mongoc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BULK = 1000, SERIES = 100, RUN = 100 };

static const int64_t first_ms = INT64_C(1577836800000);

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void need(bool ok, const char *what, const bson_error_t *e)
{
    if (ok)
        return;
    fprintf(stderr, "mongo_loop: %s: %s\n", what, e->message);
    exit(1);
}

static void make_index(mongoc_client_t *client)
{
    bson_error_t e;
    mongoc_database_t *db = mongoc_client_get_database(client, "bench");
    bson_t *command = BCON_NEW(
        "createIndexes", BCON_UTF8("bare"), "indexes", "[", "{", "key", "{", "timestamp",
        BCON_INT32(1), "subscription", BCON_INT32(1), "source", BCON_INT32(1), "}", "name",
        BCON_UTF8("timestamp_1_subscription_1_source_1"), "unique", BCON_BOOL(true), "}", "{",
        "key", "{", "expire", BCON_INT32(1), "}", "name", BCON_UTF8("expire_1"), "}", "]");
    need(mongoc_database_write_command_with_opts(db, command, NULL, NULL, &e), "making the index",
         &e);
    bson_destroy(command);
    mongoc_database_destroy(db);
}

/* The i-th sample in the order in which a node writes: runs of one series. */
static void make_sample(bson_t *doc, long i)
{
    long group = i / (SERIES * RUN), within = i % (SERIES * RUN);
    bson_append_utf8(doc, "source", -1, "flood", -1);
    bson_append_int64(doc, "subscription", -1, INT64_C(1234567890123456) + within / RUN);
    bson_append_date_time(doc, "timestamp", -1, first_ms + (group * RUN + within % RUN) * 1000);
    bson_append_double(doc, "value", -1, (double)i / 3);
    bson_append_date_time(doc, "expire", -1, first_ms);
}

static void insert_bulk(mongoc_collection_t *collection, long begin, long n)
{
    bson_error_t e;
    bson_t *opts = BCON_NEW("ordered", BCON_BOOL(false));
    mongoc_bulk_operation_t *bulk =
        mongoc_collection_create_bulk_operation_with_opts(collection, opts);
    for (long i = begin; i < begin + n; i++) {
        bson_t doc = BSON_INITIALIZER;
        make_sample(&doc, i);
        mongoc_bulk_operation_insert_with_opts(bulk, &doc, NULL, NULL);
        bson_destroy(&doc);
    }
    need(mongoc_bulk_operation_execute(bulk, NULL, &e), "inserting", &e);
    mongoc_bulk_operation_destroy(bulk);
    bson_destroy(opts);
}

static void measure(mongoc_client_t *client, long samples)
{
    mongoc_collection_t *collection = mongoc_client_get_collection(client, "bench", "bare");
    make_index(client);
    double begun = now_s();
    for (long i = 0; i < samples; i += BULK)
        insert_bulk(collection, i, samples - i < BULK ? samples - i : BULK);
    printf("{\"per_s\": %.1f}\n", (double)samples / (now_s() - begun));
    mongoc_collection_destroy(collection);
}

static void count(mongoc_client_t *client)
{
    bson_error_t e;
    mongoc_collection_t *collection = mongoc_client_get_collection(client, "bench", "ours");
    int64_t n = mongoc_collection_estimated_document_count(collection, NULL, NULL, NULL, &e);
    need(n >= 0, "counting", &e);
    printf("%lld\n", (long long)n);
    mongoc_collection_destroy(collection);
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: mongo_loop URI [SAMPLES]\n");
        return 64;
    }
    mongoc_init();
    mongoc_client_t *client = mongoc_client_new(argv[1]);
    if (!client) {
        fprintf(stderr, "mongo_loop: that is no URI\n");
        return 64;
    }
    if (argc == 3)
        measure(client, atol(argv[2]));
    else
        count(client);
    mongoc_client_destroy(client);
    mongoc_cleanup();
    return 0;
}
