#include "contract/storage_fixture.h"

#include "base/time.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void reopen(struct fixture *f)
{
    struct error err = ERROR_INIT;
    storage_close(f->st);
    f->st = NULL;
    cr_assert_eq(storage_open(&f->options, &f->st, &err), 0, "%s", err.message);
}

void set_up(struct fixture *f)
{
    *f = (struct fixture){.folder = "/tmp/hyprxa-storage-XXXXXX"};
    cr_assert_not_null(mkdtemp(f->folder));
    const char *server = getenv("MONGODB_TEST_URI");
    if (server) {
        snprintf(f->uri, sizeof f->uri, "%s", server);
        snprintf(f->database, sizeof f->database, "test%s", f->folder + strlen(f->folder) - 6);
        f->options.remote.data_dir = f->folder;
        for (int c = 0; c < STORAGE_REMOTE_COLLECTIONS; c++)
            f->options.remote.collections[c][0] = f->database;
    } else {
        snprintf(f->uri, sizeof f->uri, "sqlite://%s/hyprxa.db", f->folder);
    }
    f->options.uri = f->uri;
    reopen(f);
}

static int remove_entry(const char *path, const struct stat *st, int flag, struct FTW *at)
{
    (void)st, (void)flag, (void)at;
    return remove(path);
}

void tear_down(struct fixture *f)
{
    storage_close(f->st);
    nftw(f->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

bool is_remote(const struct fixture *f)
{
    return strncmp(f->uri, "mongodb", 7) == 0;
}

int64_t at(int seconds)
{
    return INT64_C(1677658560123000) + seconds * TIME_US_PER_SECOND;
}
