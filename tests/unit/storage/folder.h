/* A folder under /tmp for one test, and storage opened in it. */
#ifndef HYPRXA_TESTS_STORAGE_FOLDER_H
#define HYPRXA_TESTS_STORAGE_FOLDER_H

#include "storage/storage.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>

struct folder {
    char path[64];
    char database[96];
    char uri[128];
};

static inline void folder_make(struct folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/hyprxa-storage-XXXXXX");
    cr_assert_not_null(mkdtemp(f->path));
    snprintf(f->database, sizeof f->database, "%s/hyprxa.db", f->path);
    snprintf(f->uri, sizeof f->uri, "sqlite://%s", f->database);
}

static inline int folder_remove_entry(const char *path, const struct stat *st, int flag,
                                      struct FTW *at)
{
    (void)st, (void)flag, (void)at;
    return remove(path);
}

static inline void folder_remove(struct folder *f)
{
    nftw(f->path, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline struct storage *folder_open(struct folder *f, struct storage_options options)
{
    struct storage *st = NULL;
    struct error err = ERROR_INIT;
    options.uri = f->uri;
    cr_assert_eq(storage_open(&options, &st, &err), 0, "%s", err.message);
    return st;
}

#endif
