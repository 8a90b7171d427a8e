/* Everything at once, stopped in the middle: a plain program, because Criterion's sandbox does not
 * start under TSan.  Exit 0: every answer was one that may be given, and every event that was
 * acknowledged is counted. */
#include "storage/storage.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/thread.h"
#include "base/time.h"

#include <json-c/json.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { APPENDERS = 12, READERS = 12, RUN_MS = 1500 };

static struct storage *st;
static atomic_ullong acknowledged, published;
static atomic_bool over;

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "race_storage: %s: %s (%s)\n", what, err->message, error_code_name(err->code));
    exit(1);
}

static void count_published(void *ctx, const char *const *keys, struct message *const *messages,
                            size_t n)
{
    (void)ctx, (void)keys;
    for (size_t i = 0; i < n; i++)
        message_unref(message_ref(messages[i]));
    atomic_fetch_add(&published, n);
}

static void *append(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (;;) {
        struct error err = ERROR_INIT;
        char key[32], full_key[48];
        snprintf(key, sizeof key, "tank%d", rand_r(&seed) % 50);
        snprintf(full_key, sizeof full_key, "alarms.%s", key);
        struct storage_event event = {.topic = "alarms",
                                      .routing_key = key,
                                      .full_key = full_key,
                                      .payload = "{\"level\":1}",
                                      .payload_len = 11,
                                      .time_us = time_now_us()};
        int result = storage_event_append(st, &event, time_monotonic_ms() + 5000, NULL, &err);
        if (result == ERR_CLOSED)
            return NULL;
        if (result)
            die("append", &err);
        atomic_fetch_add(&acknowledged, 1);
    }
}

static void read_range(void)
{
    struct error err = ERROR_INIT;
    struct storage_event_cursor *cursor;
    struct storage_event_row row;
    int64_t now_us = time_now_us();
    int more = storage_event_range(st, "alarms", "^TANK[1-3]$", now_us - TIME_US_PER_SECOND, now_us,
                                   &cursor, &err);
    if (more)
        die("range", &err);
    while ((more = storage_event_next(cursor, &row, &err)) > 0)
        if (strlen(row.routing_key) != 5 || strlen(row.payload) != row.payload_len)
            die("row", &err);
    if (more < 0)
        die("next", &err);
    storage_event_cursor_close(cursor);
}

static void read_newest(void)
{
    AUTO(buf) out = BUF_INIT(65536);
    struct error err = ERROR_INIT;
    size_t n;
    int result = storage_event_last(st, "alarms", "alarms.tank7", &out, &err);
    if (result && result != ERR_NOT_FOUND)
        die("last", &err);
    if (storage_event_query(st, "alarms", "1", &out, &n, &err))
        die("query", &err);
}

static bool see_document(void *ctx, const char *key, struct json_object *document)
{
    (void)ctx;
    return strcmp(json_get_string(document, "topic", ""), key) == 0;
}

static void use_documents(unsigned *seed)
{
    char key[16];
    struct error err = ERROR_INIT;
    AUTO_JSON *document = json_object_new_object();
    AUTO_JSON *stored = NULL;
    snprintf(key, sizeof key, "t%d", rand_r(seed) % 20);
    json_object_object_add(document, "topic", json_object_new_string(key));
    int result = storage_document_save(st, STORAGE_TOPICS, key, document, NULL, &err);
    if (result == ERR_CLOSED)
        return;
    if (result || storage_document_get(st, STORAGE_TOPICS, key, &stored, &err) ||
        storage_document_find(st, STORAGE_TOPICS, NULL, see_document, NULL, &err))
        die("documents", &err);
}

static void *read_all(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct storage_stats stats;
    while (!atomic_load(&over)) {
        read_range();
        read_newest();
        use_documents(&seed);
        storage_get_stats(st, &stats);
        storage_ping(st, NULL);
    }
    return NULL;
}

int main(void)
{
    char folder[] = "/tmp/hyprxa-race-XXXXXX", uri[64], path[64];
    struct error err = ERROR_INIT;
    pthread_t appenders[APPENDERS], readers[READERS];
    if (!mkdtemp(folder))
        return 1;
    snprintf(uri, sizeof uri, "sqlite://%s/hyprxa.db", folder);
    struct storage_options options = {.uri = uri, .expire_after_us = 300000};
    if (storage_open(&options, &st, &err))
        die("open", &err);
    storage_on_event_commit(st, count_published, NULL);
    for (uintptr_t i = 0; i < APPENDERS; i++)
        if (thread_start(&appenders[i], "append", append, (void *)i, &err))
            die("thread", &err);
    for (uintptr_t i = 0; i < READERS; i++)
        if (thread_start(&readers[i], "read", read_all, (void *)i, &err))
            die("thread", &err);
    usleep(RUN_MS * 1000); /* how long the race runs, not a wait for anything */
    storage_stop(st);
    for (int i = 0; i < APPENDERS; i++)
        pthread_join(appenders[i], NULL);
    atomic_store(&over, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    struct storage_stats stats;
    storage_get_stats(st, &stats);
    storage_close(st);
    static const char *const names[] = {"hyprxa.db", "hyprxa.db.lock", "series.db"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
    printf("%llu events in %llu commits\n", (unsigned long long)stats.events_committed,
           (unsigned long long)stats.event_commits);
    return acknowledged > 0 && acknowledged == published && acknowledged == stats.events_committed
               ? 0
               : 1;
}
