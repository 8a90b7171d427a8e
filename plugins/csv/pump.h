/* Moves a cursor of a file: reads a block, makes samples of its rows, publishes them, saves the place. */
#ifndef HYPRXA_CSV_PUMP_H
#define HYPRXA_CSV_PUMP_H

#include "file.h"
#include "report.h"
#include "row.h"

struct pump {
    struct hyprxa_link *link;
    const struct csv_options *options;
    struct report *report;
    char *block;   /* kept as read: marks are made of it */
    char *scratch; /* as large; the texts that had doubled quotes */
    size_t room, scratch_used;
    struct row row;
    struct hyprxa_batch *batches;
    size_t batches_room;
    size_t n_samples, bytes; /* gathered in the step under way */
};

enum pump_result {
    PUMP_MORE,      /* moved: there may be more */
    PUMP_DRY,       /* no complete row behind the cursor now */
    PUMP_REWRITTEN, /* the file no longer holds what was read: it begins anew */
    PUMP_LEAVING,   /* a subscription was ended meanwhile: not moved, word of it follows */
    PUMP_AWAY,      /* it cannot be read: errno */
    PUMP_STOP,      /* asked to stop */
    PUMP_FAILED,    /* `err` */
};

bool pump_init(struct pump *p, struct hyprxa_link *link, const struct csv_options *options,
               struct report *report);
void pump_release(struct pump *p);

/* Move the active cursor `c` of the open file `f` by one block at most.  Pointers to cursors of `f` are
 * void afterwards. */
enum pump_result pump_step(struct pump *p, struct csv_file *f, struct cursor *c,
                           struct hyprxa_error *err);

/* Save the positions of `f`.  With the samples published before, by the host's promise. */
hyprxa_status pump_save(struct pump *p, const struct csv_file *f);
enum { STATE_KEY_SIZE = 64 };
void pump_state_key(char key[STATE_KEY_SIZE], dev_t dev, ino_t ino);

#endif
