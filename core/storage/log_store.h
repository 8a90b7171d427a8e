/* Logs in SQLite: logs.db beside hyprxa.db, one JSON text a row.
 *
 * A file of its own: a flood of logs fills and slows nothing else, and the file may be deleted while
 * the server is down.  A commit is safe from a crash of the process; its fsync comes with the
 * checkpoint.  The file is opened at first use; what is wrong with it stops nobody else. */
#ifndef HYPRXA_STORAGE_LOG_STORE_H
#define HYPRXA_STORAGE_LOG_STORE_H

#include "storage/storage.h"

struct log_store;

int log_store_new(const char *path, int64_t expire_after_us, struct log_store **ret,
                  struct error *err);
void log_store_free(struct log_store *ls); /* NULL is fine */
uint64_t log_store_bytes(const struct log_store *ls);

/* Each does what the storage_logs_ function of its name promises in storage.h. */
int log_store_append(struct log_store *ls, const struct storage_log *logs, size_t n,
                     struct error *err);
int log_store_purge(struct log_store *ls, int64_t now_us, size_t *ret_n, struct error *err);
int log_store_range(struct log_store *ls, int64_t start_us, int64_t end_us,
                    struct json_object *filter, struct storage_log_cursor **ret, struct error *err);
int log_store_next(struct storage_log_cursor *cursor, struct storage_log *ret, struct error *err);
void log_store_cursor_close(struct storage_log_cursor *cursor);

#endif
