/* What every back end of storage promises of events and documents. */
#include "contract/storage_fixture.h"

#include "base/auto.h"
#include "base/json.h"
#include "base/thread.h"
#include "base/time.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <json-c/json.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(storage, .timeout = 60);

static struct message_id post(struct fixture *f, const char *topic, const char *key,
                              const char *payload, int64_t time_us)
{
    char full_key[128];
    struct error err = ERROR_INIT;
    struct message_id id = {0};
    snprintf(full_key, sizeof full_key, key ? "%s.%s" : "%s", topic, key);
    struct storage_event event = {.topic = topic,
                                  .routing_key = key,
                                  .full_key = full_key,
                                  .payload = payload,
                                  .payload_len = strlen(payload),
                                  .posted_by = "ada",
                                  .time_us = time_us};
    cr_assert_eq(storage_event_append(f->st, &event, INT64_MAX, &id, &err), 0, "%s", err.message);
    return id;
}

#define expect_text(b, expected) cr_expect_str_eq((b).data, expected, "%s", (b).data)

/* --- events --- */

Test(storage, appended_event_is_the_last_one_as_a_document)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    post(&f, "alarms", "tank1", "{\"level\":3}", at(0));
    cr_assert_eq(storage_event_last(f.st, "alarms", NULL, &out, NULL), 0);
    expect_text(out, "{\"topic\":\"alarms\",\"routing_key\":\"tank1\",\"payload\":{\"level\":3},"
                     "\"timestamp\":\"2023-03-01T08:16:00.123000\",\"posted_by\":\"ada\"}");
    tear_down(&f);
}

Test(storage, microseconds_are_kept)
{
    struct fixture f;
    set_up(&f);
    if (is_remote(&f))
        cr_skip_test("the database keeps milliseconds");
    AUTO(buf) out = BUF_INIT(4096);
    post(&f, "alarms", "tank1", "{}", at(0) + 456);
    cr_assert_eq(storage_event_last(f.st, "alarms", NULL, &out, NULL), 0);
    cr_expect_not_null(strstr(out.data, "08:16:00.123456"));
    tear_down(&f);
}

Test(storage, absent_routing_key_is_the_topic_and_nobody_is_null)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    struct storage_event event = {.topic = "alarms",
                                  .full_key = "alarms",
                                  .payload = "{}",
                                  .payload_len = 2,
                                  .time_us = at(0) - 123000};
    cr_assert_eq(storage_event_append(f.st, &event, INT64_MAX, NULL, NULL), 0);
    cr_assert_eq(storage_event_last(f.st, "alarms", "alarms", &out, NULL), 0);
    expect_text(out, "{\"topic\":\"alarms\",\"routing_key\":\"alarms\",\"payload\":{},"
                     "\"timestamp\":\"2023-03-01T08:16:00\",\"posted_by\":null}");
    tear_down(&f);
}

Test(storage, last_finds_a_key_as_posted_and_in_full)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) raw = BUF_INIT(4096);
    AUTO(buf) full = BUF_INIT(4096);
    post(&f, "alarms", "tank1", "{\"n\":1}", at(1));
    post(&f, "alarms", "tank2", "{\"n\":2}", at(2));
    post(&f, "alarms", "tank1", "{\"n\":3}", at(3));
    post(&f, "alarms", "tank1", "{\"n\":4}", at(0)); /* older, though it came last */
    post(&f, "alarms", "tank2", "{\"n\":5}", at(4));
    cr_assert_eq(storage_event_last(f.st, "alarms", "tank1", &raw, NULL), 0);
    cr_assert_eq(storage_event_last(f.st, "alarms", "alarms.tank1", &full, NULL), 0);
    cr_expect_not_null(strstr(raw.data, "{\"n\":3}"));
    cr_expect_str_eq(raw.data, full.data);
    tear_down(&f);
}

Test(storage, of_events_at_one_time_the_last_committed_is_the_newest)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    post(&f, "alarms", "a", "1", at(0));
    post(&f, "alarms", "b", "2", at(0));
    cr_assert_eq(storage_event_last(f.st, "alarms", NULL, &out, NULL), 0);
    cr_expect_not_null(strstr(out.data, "\"payload\":2,"));
    tear_down(&f);
}

Test(storage, what_was_never_posted_is_not_found)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    cr_expect_eq(storage_event_last(f.st, "alarms", NULL, &out, NULL), ERR_NOT_FOUND);
    post(&f, "alarms", "a", "1", at(0));
    cr_expect_eq(storage_event_last(f.st, "alarms", "b", &out, NULL), ERR_NOT_FOUND);
    cr_expect_eq(storage_event_last(f.st, "batches", NULL, &out, NULL), ERR_NOT_FOUND);
    cr_expect_eq(out.len, 0);
    tear_down(&f);
}

Test(storage, ids_rise_in_order_of_commit_and_the_epoch_with_each_start)
{
    struct fixture f;
    set_up(&f);
    uint64_t origin = storage_origin(f.st), epoch = storage_epoch(f.st);
    struct message_id a = post(&f, "alarms", "a", "1", at(2));
    struct message_id b = post(&f, "alarms", "a", "2", at(1));
    cr_expect_neq(origin, 0);
    cr_expect_eq(a.origin, origin);
    cr_expect_eq(a.epoch, epoch);
    cr_expect_eq(a.sequence, 1);
    cr_expect_eq(b.sequence, 2);
    reopen(&f);
    struct message_id c = post(&f, "alarms", "a", "3", at(3));
    cr_expect_eq(c.origin, origin);
    cr_expect_gt(c.epoch, epoch);
    cr_expect_eq(c.epoch, storage_epoch(f.st));
    cr_expect_gt(c.sequence, b.sequence);
    tear_down(&f);
}

Test(storage, query_gives_the_newest_event_of_each_matching_key)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    size_t n = 0;
    struct error err = ERROR_INIT;
    post(&f, "alarms", "Tank2", "1", at(1));
    post(&f, "alarms", "tank1", "2", at(2));
    post(&f, "alarms", "tank1", "3", at(3));
    post(&f, "alarms", "pump", "4", at(4));
    post(&f, "batches", "tank9", "5", at(5));
    cr_assert_eq(storage_event_query(f.st, "alarms", "tANK", &out, &n, &err), 0, "%s", err.message);
    cr_expect_eq(n, 2);
    expect_text(out, "{\"topic\":\"alarms\",\"routing_key\":\"Tank2\",\"payload\":1,"
                     "\"timestamp\":\"2023-03-01T08:16:01.123000\",\"posted_by\":\"ada\"},"
                     "{\"topic\":\"alarms\",\"routing_key\":\"tank1\",\"payload\":3,"
                     "\"timestamp\":\"2023-03-01T08:16:03.123000\",\"posted_by\":\"ada\"}");
    buf_clear(&out);
    cr_assert_eq(storage_event_query(f.st, "alarms", NULL, &out, &n, NULL), 0);
    cr_expect_eq(n, 3);
    buf_clear(&out);
    cr_assert_eq(storage_event_query(f.st, "alarms", "^alarms", &out, &n, NULL), 0);
    cr_expect_eq(n, 0);
    tear_down(&f);
}

Test(storage, bad_expression_is_refused_with_its_place)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    size_t n = 0;
    struct storage_event_cursor *cursor;
    struct error err = ERROR_INIT;
    cr_expect_eq(storage_event_query(f.st, "alarms", "a(b", &out, &n, &err), ERR_INVALID);
    cr_expect_str_eq(err.message, "regular expression, offset 3: missing closing parenthesis");
    cr_expect_eq(storage_event_range(f.st, "alarms", "[", at(0), at(1), &cursor, &err),
                 ERR_INVALID);
    tear_down(&f);
}

Test(storage, expensive_expression_ends_in_an_error)
{
    struct fixture f;
    set_up(&f);
    AUTO(buf) out = BUF_INIT(4096);
    size_t n = 0;
    struct error err = ERROR_INIT;
    post(&f, "alarms", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "1", at(1));
    cr_expect_eq(storage_event_query(f.st, "alarms", "^(a+)+$", &out, &n, &err), ERR_LIMIT);
    tear_down(&f);
}

/* --- ranges --- */

static size_t count_range(struct fixture *f, const char *regex, int64_t start_us, int64_t end_us)
{
    struct storage_event_cursor *cursor;
    struct storage_event_row row;
    struct error err = ERROR_INIT;
    int64_t last_us = INT64_MIN;
    uint64_t last_sequence = 0;
    size_t n = 0;
    int more;
    cr_assert_eq(storage_event_range(f->st, "alarms", regex, start_us, end_us, &cursor, &err), 0,
                 "%s", err.message);
    while ((more = storage_event_next(cursor, &row, &err)) > 0) {
        cr_assert(row.time_us >= start_us && row.time_us <= end_us);
        cr_assert(row.time_us > last_us ||
                  (row.time_us == last_us && (row.id.sequence > last_sequence || is_remote(f))));
        last_us = row.time_us;
        last_sequence = row.id.sequence;
        n++;
    }
    cr_assert_eq(more, 0, "%s", err.message);
    cr_assert_eq(storage_event_next(cursor, &row, NULL), 0);
    storage_event_cursor_close(cursor);
    return n;
}

Test(storage, range_includes_both_ends_and_is_ordered_by_time_then_id)
{
    struct fixture f;
    set_up(&f);
    static const int seconds[] = {5, 1, 3, 3, 3, 2, 4};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        post(&f, "alarms", "a", "1", at(seconds[i]));
    post(&f, "batches", "a", "1", at(3));
    cr_expect_eq(count_range(&f, NULL, at(1), at(5)), 7);
    cr_expect_eq(count_range(&f, NULL, at(2), at(4)), 5);
    cr_expect_eq(count_range(&f, NULL, at(3), at(3)), 3);
    cr_expect_eq(count_range(&f, NULL, at(6), at(9)), 0);
    cr_expect_eq(count_range(&f, NULL, at(4), at(2)), 0);
    tear_down(&f);
}

Test(storage, range_row_has_every_part)
{
    struct fixture f;
    set_up(&f);
    struct storage_event_cursor *cursor;
    struct storage_event_row row;
    struct message_id id = post(&f, "alarms", "tank1", "{\"a\":[1,2]}", at(0));
    cr_assert_eq(storage_event_range(f.st, "alarms", NULL, at(0), at(0), &cursor, NULL), 0);
    cr_assert_eq(storage_event_next(cursor, &row, NULL), 1);
    cr_expect_str_eq(row.topic, "alarms");
    cr_expect_str_eq(row.routing_key, "tank1");
    cr_expect_str_eq(row.posted_by, "ada");
    cr_expect_str_eq(row.payload, "{\"a\":[1,2]}");
    cr_expect_eq(row.payload_len, strlen(row.payload));
    cr_expect_eq(row.time_us, at(0));
    if (!is_remote(&f)) /* the original's documents have no place for ids */
        cr_expect_eq(memcmp(&row.id, &id, sizeof id), 0);
    storage_event_cursor_close(cursor);
    tear_down(&f);
}

/* --- following by number --- */

static bool is_north(void *ctx, const char *full_key)
{
    (void)ctx;
    return strncmp(full_key, "alarms.north", strlen("alarms.north")) == 0;
}

static bool is_any(void *ctx, const char *full_key)
{
    (void)ctx, (void)full_key;
    return true;
}

/* Read until nothing later is stored; the rows' numbers must rise. */
static size_t read_on(struct storage_event_cursor *cursor, uint64_t *last)
{
    struct storage_event_row row;
    struct error err = ERROR_INIT;
    uint64_t reached;
    size_t n = 0;
    int more;
    do {
        while ((more = storage_event_next(cursor, &row, &err)) > 0) {
            cr_assert_gt(row.id.sequence, *last);
            *last = row.id.sequence;
            n++;
        }
        cr_assert_eq(more, 0, "%s", err.message);
    } while (!storage_event_followed(cursor, &reached));
    cr_assert_geq(reached, *last);
    return n;
}

Test(storage, follower_gets_what_comes_after_a_number_of_every_topic)
{
    struct fixture f;
    set_up(&f);
    struct storage_event_cursor *cursor;
    struct message_id first = post(&f, "alarms", "north.1", "1", at(0));
    struct message_id last = {0};
    uint64_t seen = first.sequence, reached;
    post(&f, "alarms", "south.1", "2", at(1));
    post(&f, "alarms.north", "2", "3", at(2));
    post(&f, "alarms", "north.3", "4", at(3));
    last = post(&f, "batches", NULL, "5", at(4));
    cr_assert_eq(
        storage_event_follow(f.st, first.sequence, INT64_MIN, is_north, NULL, &cursor, NULL), 0);
    cr_expect_eq(read_on(cursor, &seen), 2);
    cr_expect(storage_event_followed(cursor, &reached));
    cr_expect_eq(reached, last.sequence);
    cr_expect_eq(read_on(cursor, &seen), 0);
    post(&f, "alarms", "north.4", "6", at(5));
    cr_expect_eq(read_on(cursor, &seen), 1);
    storage_event_cursor_close(cursor);
    tear_down(&f);
}

Test(storage, follower_since_a_time_starts_at_the_first_event_not_before_it)
{
    struct fixture f;
    set_up(&f);
    struct storage_event_cursor *cursor;
    uint64_t after = 99, seen;
    cr_assert_eq(storage_event_since(f.st, at(0), &after, NULL), 0);
    cr_expect_eq(after, 0);
    static const int seconds[] = {1, 3, 2, 4}; /* the third was on its way longer */
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        post(&f, i % 2 ? "alarms" : "batches", "a", "1", at(seconds[i]));
    static const size_t expected[] = {4, 4, 3, 2, 1, 0};
    for (int s = 0; s < 6; s++) {
        cr_assert_eq(storage_event_since(f.st, at(s), &after, NULL), 0);
        cr_assert_eq(storage_event_follow(f.st, after, at(s), is_any, NULL, &cursor, NULL), 0);
        seen = after;
        cr_expect_eq(read_on(cursor, &seen), expected[s], "since %d", s);
        storage_event_cursor_close(cursor);
    }
    tear_down(&f);
}

Test(storage, place_of_an_event_tells_what_lies_after_it)
{
    struct fixture f;
    set_up(&f);
    struct storage_event_place place;
    struct message_id first = post(&f, "alarms", "a", "1", at(1));
    struct message_id second = post(&f, "alarms", "a", "2", at(2));
    cr_assert_eq(storage_event_place(f.st, &first, &place, NULL), 0);
    cr_expect(place.stored);
    cr_expect_eq(place.time_us, at(1));
    cr_expect_eq(place.oldest, second.sequence);
    cr_expect_eq(place.oldest_us, at(2));
    cr_expect_eq(place.newest, second.sequence);
    cr_assert_eq(storage_event_place(f.st, &second, &place, NULL), 0);
    cr_expect(place.stored);
    cr_expect_eq(place.oldest, 0);
    struct message_id strange[] = {first, first, first};
    strange[0].origin++;
    strange[1].epoch--;
    strange[2].sequence = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(storage_event_place(f.st, &strange[i], &place, NULL), 0);
        cr_expect_not(place.stored, "%d", i);
    }
    tear_down(&f);
}

struct many {
    struct fixture *f;
    int first, n;
};

static void *post_many(void *arg)
{
    const struct many *m = arg;
    for (int i = m->first; i < m->first + m->n; i++)
        post(m->f, "alarms", i % 3 == 0 ? "tank" : "pump", "{\"level\":1}", at(i / 10));
    return NULL;
}

static void post_in_parallel(struct many *work, int n_threads)
{
    pthread_t threads[16];
    cr_assert_leq(n_threads, 16);
    for (int i = 0; i < n_threads; i++)
        cr_assert_eq(thread_start(&threads[i], "post", post_many, &work[i], NULL), 0);
    for (int i = 0; i < n_threads; i++)
        pthread_join(threads[i], NULL);
}

Test(storage, range_of_many_windows_is_complete)
{
    struct fixture f;
    set_up(&f);
    enum { THREADS = 16, EACH = 300 };
    struct many work[THREADS];
    for (int i = 0; i < THREADS; i++)
        work[i] = (struct many){&f, i * EACH, EACH};
    post_in_parallel(work, THREADS);
    cr_expect_eq(count_range(&f, NULL, at(0), at(100000)), THREADS * EACH);
    cr_expect_eq(count_range(&f, "^TANK$", at(0), at(100000)), THREADS * EACH / 3);
    tear_down(&f);
}

/* --- what follows a commit --- */

struct followed {
    pthread_mutex_t lock;
    uint64_t last_sequence;
    size_t n;
    bool in_order, keys_right;
    char *body;
};

static void follow(void *ctx, const char *const *keys, struct message *const *messages, size_t n)
{
    struct followed *f = ctx;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < n; i++) {
        f->in_order &= message_id(messages[i])->sequence > f->last_sequence;
        f->last_sequence = message_id(messages[i])->sequence;
        f->keys_right &= strncmp(keys[i], "alarms.", 7) == 0;
        free(f->body);
        f->body = strdup(message_body(messages[i]).data);
        f->n++;
    }
    pthread_mutex_unlock(&f->lock);
}

Test(storage, commits_are_told_in_order_with_the_document)
{
    struct fixture f;
    struct followed followed = {.in_order = true, .keys_right = true};
    enum { THREADS = 8, EACH = 200 };
    struct many work[THREADS];
    AUTO(buf) out = BUF_INIT(4096);
    set_up(&f);
    lock_init(&followed.lock);
    storage_on_event_commit(f.st, follow, &followed);
    for (int i = 0; i < THREADS; i++)
        work[i] = (struct many){&f, i * EACH, EACH};
    post_in_parallel(work, THREADS);
    post(&f, "alarms", "tank", "{\"last\":true}", at(100000));
    cr_expect_eq(followed.n, THREADS * EACH + 1);
    cr_expect(followed.in_order);
    cr_expect(followed.keys_right);
    cr_assert_eq(storage_event_last(f.st, "alarms", NULL, &out, NULL), 0);
    cr_expect_str_eq(followed.body, out.data);
    free(followed.body);
    tear_down(&f);
}

Test(storage, after_stop_appends_are_refused_and_reads_work)
{
    struct fixture f;
    AUTO(buf) out = BUF_INIT(4096);
    set_up(&f);
    post(&f, "alarms", "a", "1", at(0));
    storage_stop(f.st);
    storage_stop(f.st);
    struct storage_event event = {
        .topic = "alarms", .full_key = "alarms", .payload = "1", .payload_len = 1};
    cr_expect_eq(storage_event_append(f.st, &event, INT64_MAX, NULL, NULL), ERR_CLOSED);
    cr_expect_eq(storage_event_last(f.st, "alarms", NULL, &out, NULL), 0);
    tear_down(&f);
}

Test(storage, statistics_count_events_and_commits)
{
    struct fixture f;
    struct storage_stats stats;
    set_up(&f);
    for (int i = 0; i < 5; i++)
        post(&f, "alarms", "a", "1", at(i));
    storage_get_stats(f.st, &stats);
    cr_expect_eq(stats.events_committed, 5);
    cr_expect_eq(stats.event_commits, 5);
    cr_expect_eq(stats.events_failed, 0);
    cr_expect_eq(stats.events_queued, 0);
    cr_expect_gt(stats.bytes_on_disk, 0);
    tear_down(&f);
}

Test(storage, ping_succeeds_while_open_and_fails_after_stop)
{
    struct fixture f;
    struct error err = ERROR_INIT;
    set_up(&f);
    cr_expect_eq(storage_ping(f.st, &err), 0, "%s", err.message);
    storage_stop(f.st);
    cr_expect_neq(storage_ping(f.st, &err), 0);
    tear_down(&f);
}

/* --- documents --- */

static void save(struct fixture *f, enum storage_collection c, const char *key, const char *text,
                 bool expect_inserted)
{
    bool inserted = !expect_inserted;
    struct error err = ERROR_INIT;
    AUTO_JSON *document = json_tokener_parse(text);
    cr_assert_eq(storage_document_save(f->st, c, key, document, &inserted, &err), 0, "%s",
                 err.message);
    cr_expect_eq(inserted, expect_inserted);
}

static void expect_document(struct fixture *f, enum storage_collection c, const char *key,
                            const char *text)
{
    struct error err = ERROR_INIT;
    AUTO_JSON *document = NULL;
    cr_assert_eq(storage_document_get(f->st, c, key, &document, &err), 0, "%s", err.message);
    cr_expect_str_eq(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN), text);
}

Test(storage, document_comes_back_as_saved_and_is_replaced_by_the_next)
{
    static const char first[] =
        "{\"topic\":\"alarms\",\"modified_at\":1677658560123000,\"x\":null}";
    static const char second[] = "{\"topic\":\"alarms\",\"modified_at\":1677658560124000}";
    struct fixture f;
    AUTO_JSON *none = NULL;
    set_up(&f);
    cr_expect_eq(storage_document_get(f.st, STORAGE_TOPICS, "alarms", &none, NULL), ERR_NOT_FOUND);
    save(&f, STORAGE_TOPICS, "alarms", first, true);
    expect_document(&f, STORAGE_TOPICS, "alarms", first);
    save(&f, STORAGE_TOPICS, "alarms", second, false);
    cr_expect_eq(storage_document_get(f.st, STORAGE_UNITOPS, "alarms", &none, NULL), ERR_NOT_FOUND);
    reopen(&f);
    expect_document(&f, STORAGE_TOPICS, "alarms", second);
    tear_down(&f);
}

struct found {
    struct buf keys;
    size_t n, enough;
};

static bool collect(void *ctx, const char *key, struct json_object *document)
{
    struct found *f = ctx;
    cr_assert_eq(strcmp(json_get_string(document, "name", ""), key), 0);
    buf_printf(&f->keys, "%s ", key);
    return ++f->n != f->enough;
}

static struct found find(struct fixture *f, const char *filter, size_t enough)
{
    struct found found = {.keys = BUF_INIT(65536), .enough = enough};
    struct error err = ERROR_INIT;
    AUTO_JSON *query = filter ? json_tokener_parse(filter) : NULL;
    cr_assert_eq(storage_document_find(f->st, STORAGE_UNITOPS, query, collect, &found, &err), 0,
                 "%s", err.message);
    return found;
}

Test(storage, find_goes_by_key_through_all_that_match_until_told_to_stop)
{
    struct fixture f;
    set_up(&f);
    for (int i = 149; i >= 0; i--) {
        char key[16], text[64];
        snprintf(key, sizeof key, "u%03d", i);
        snprintf(text, sizeof text, "{\"name\":\"%s\",\"meta\":{\"n\":%d}}", key, i);
        save(&f, STORAGE_UNITOPS, key, text, true);
    }
    struct found all = find(&f, NULL, 0), some = find(&f, "{\"meta.n\":{\"$gte\":147}}", 0);
    struct found two = find(&f, NULL, 2), none = find(&f, "{\"meta.n\":-1}", 0);
    cr_expect_eq(all.n, 150);
    cr_expect_eq(strncmp(all.keys.data, "u000 u001 u002 ", 15), 0);
    cr_expect_str_eq(some.keys.data, "u147 u148 u149 ");
    cr_expect_str_eq(two.keys.data, "u000 u001 ");
    cr_expect_eq(none.n, 0);
    buf_release(&all.keys);
    buf_release(&some.keys);
    buf_release(&two.keys);
    buf_release(&none.keys);
    tear_down(&f);
}

Test(storage, find_names_an_operator_that_is_not_offered)
{
    struct fixture f;
    struct error err = ERROR_INIT;
    struct found found = {.keys = BUF_INIT(64)};
    AUTO_JSON *query = json_tokener_parse("{\"$where\":\"1\"}");
    set_up(&f);
    cr_expect_eq(storage_document_find(f.st, STORAGE_UNITOPS, query, collect, &found, &err),
                 ERR_UNSUPPORTED);
    cr_expect_not_null(strstr(err.message, "'$where'"));
    tear_down(&f);
}
