/* The embedded back end: hyprxa.db with one committing writer and a few readers.
 *
 * sqlite.c opens and closes; writer.c commits; sqlite_readers.c lends connections;
 * sqlite_events.c and sqlite_documents.c say what is written and read. */
#ifndef HYPRXA_STORAGE_SQLITE_PRIV_H
#define HYPRXA_STORAGE_SQLITE_PRIV_H

#include "storage/sqlite_db.h"
#include "storage/storage_priv.h"

#include <sqlite3.h>

struct sqlite_storage {
    struct storage base;
    /* set at open, then const */
    char *path; /* of hyprxa.db */
    int lock_fd;
    sqlite3 *db; /* the writing connection */
    struct series_store *series;
};

static inline struct sqlite_storage *sqlite_of(struct storage *st)
{
    return (struct sqlite_storage *)st; /* its first member */
}

#endif
