/* What reader.c (the loop) and follow.c (which files there are) share. */
#ifndef HYPRXA_CSV_READER_PRIV_H
#define HYPRXA_CSV_READER_PRIV_H

#include "file.h"
#include "inbox.h"
#include "pump.h"
#include "reader.h"
#include "scan.h"

enum {
    OPEN_MAX_FILES = 200,       /* kept open at a time; of more, only those being read */
    GONE_LINGER_MS = 60 * 1000, /* a writer may go on with a renamed file for so long */
};

struct reader {
    const struct csv_options *options;
    struct csv_counters *counters;
    struct inbox inbox;

    /* the reading thread's; items outlive a run() */
    struct item **items;
    size_t n_items, items_room;

    struct hyprxa_link *link;
    struct report report;
    struct pump pump;
    struct watch watch;
    bool told_watch, told_none; /* logged already */
    bool rescan;                /* files have come, gone or been renamed */
    struct csv_file **files;    /* in the order in which they are read */
    size_t n_files, files_room, n_open;
};

/* Compare the files there are with those known: new ones come, others are renamed or gone. */
hyprxa_status follow_scan(struct reader *r, struct hyprxa_error *err);

/* Make the file readable: open, positions looked up, header read, items placed.  False: not now; what is
 * wrong has been logged, once.  An error of the host or of memory is left in `err`, with *ret_status. */
bool follow_prepare(struct reader *r, struct csv_file *f, hyprxa_status *ret_status,
                    struct hyprxa_error *err);
/* The file does not hold any more what was read: it begins anew.  False as above. */
bool follow_restart(struct reader *r, struct csv_file *f, hyprxa_status *ret_status,
                    struct hyprxa_error *err);
void follow_close(struct reader *r, struct csv_file *f);

/* Drop files that are gone and have been read to their end. */
hyprxa_status follow_drop_gone(struct reader *r);
void follow_release(struct reader *r);

/* state_get() into memory of the right size; free().  E_NOT_FOUND: *ret is NULL. */
hyprxa_status follow_state(struct reader *r, const char *key, void **ret, size_t *ret_len);

#endif
