/* What the contract tests of storage share: a back end, freshly made.
 *
 * SQLite, or, where MONGODB_TEST_URI is set, the journal with that server behind it.  Each test has a
 * folder of its own under /tmp, and a database of its own. */
#ifndef HYPRXA_TESTS_STORAGE_FIXTURE_H
#define HYPRXA_TESTS_STORAGE_FIXTURE_H

#include "storage/storage.h"

#include <stdbool.h>

struct fixture {
    struct storage *st;
    char folder[64], uri[512], database[32];
    struct storage_options options;
};

void set_up(struct fixture *f);
void reopen(struct fixture *f);
void tear_down(struct fixture *f);
/* A database elsewhere keeps milliseconds, as the original system's. */
bool is_remote(const struct fixture *f);
int64_t at(int seconds); /* a time, in whole milliseconds */

#endif
