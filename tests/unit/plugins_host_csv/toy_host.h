/* A small real host for tests of plugins: one source, one connection, everything kept in memory.
 *
 * It keeps the rules of hyprxa/plugin.h for order, duplicates and state, and records what the plugin
 * did as a list of operations.  `struct toy_store` is what a disk would hold: it takes a prefix of
 * them, as a crash would leave it.  One test thread; the plugin's run() has its own. */
#ifndef HYPRXA_TESTS_TOY_HOST_H
#define HYPRXA_TESTS_TOY_HOST_H

#include <hyprxa/plugin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOY_PATIENCE_MS = 10000 };

struct toy_sample {
    int64_t time_us;
    size_t order; /* of arrival */
    char *text;   /* "i 1", "d 1.5", "b 1", "s text" */
};
struct toy_series {
    char *json;
    struct toy_sample *samples;
    size_t n, room;
    int64_t last_us; /* of the live ones */
};
struct toy_state {
    char *key;
    void *bytes;
    size_t len;
};
/* What survives a crash. */
struct toy_store {
    struct toy_series *series;
    size_t n_series;
    struct toy_state *states;
    size_t n_states;
};
void toy_store_release(struct toy_store *store);
/* Order a series by time; of several samples for a time the first stays.  NULL: never stored. */
const struct toy_series *toy_store_series(struct toy_store *store, const char *json);

struct toy_host;

/* Load build/plugins/NAME.so and make its integration.  `store` may hold what an earlier host left; it
 * is changed by toy_commit() only.  NULL: create() failed with `err`. */
struct toy_host *toy_open(const char *name, const char *options, struct toy_store *store,
                          struct hyprxa_error *err);
/* Subscribe: a new connection, or add() to the running one. */
hyprxa_status toy_subscribe(struct toy_host *t, const char *const *jsons, size_t n,
                            struct hyprxa_error *err);
void toy_unsubscribe(struct toy_host *t, const char *json);
/* Stop and join run(), destroy all.  What is not committed is gone. */
void toy_close(struct toy_host *t);
/* Stop and join run(), so that the operations stand still. */
void toy_stop(struct toy_host *t);

/* Wait until `n` samples have been published, live or history, or TOY_PATIENCE_MS have passed. */
bool toy_wait_samples(struct toy_host *t, size_t n);
/* Wait until a line containing `text` has been logged. */
bool toy_wait_log(struct toy_host *t, const char *text);
size_t toy_count_log(struct toy_host *t, const char *text);
/* How often publish() and publish_history() were called, and how many samples were live, history and
 * duplicates. */
struct toy_counts {
    size_t calls, live, history, duplicates, refused;
};
struct toy_counts toy_counts(struct toy_host *t);
/* Wait until something has been saved under a key that begins with `prefix`. */
bool toy_wait_state(struct toy_host *t, const char *prefix);
/* Wait until state has been saved after the last sample. */
bool toy_wait_saved(struct toy_host *t);
/* Wait until `n` different times of a series are stored or published. */
bool toy_wait_times(struct toy_host *t, const char *json, size_t n);
/* How many samples of a series were published, and wait for so many. */
size_t toy_samples_of(struct toy_host *t, const char *json);
bool toy_wait_samples_of(struct toy_host *t, const char *json, size_t n);
/* Count samples only, without recording them: for speed. */
void toy_count_only(struct toy_host *t);

/* Move the first `n` operations to the store (SIZE_MAX: all).  After toy_stop(). */
size_t toy_operations(struct toy_host *t);
void toy_commit(struct toy_host *t, size_t n);

/* The items that list() names, one a line, sorted; free().  And info(). */
char *toy_list(struct toy_host *t);
char *toy_info(struct toy_host *t);
const struct hyprxa_plugin *toy_plugin(struct toy_host *t);

#endif
