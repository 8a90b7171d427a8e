/* A subscription as the reader sees it: a column, and the samples gathered for the next publish. */
#ifndef HYPRXA_CSV_ITEM_H
#define HYPRXA_CSV_ITEM_H

#include <hyprxa/plugin.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sample_list {
    struct hyprxa_sample *samples;
    size_t n, room;
    size_t bytes; /* of texts */
};

struct item {
    const struct hyprxa_subscription *subscription;
    uint64_t key; /* digest of column and file; positions are saved under it */
    char *column;
    char *file;           /* a name or pattern; NULL: every file */
    int64_t published_us; /* newest time published */
    int64_t last_us;      /* newest time published or gathered */
    bool settled;         /* was there before: what has no position now is a new file */
    struct sample_list live, old;
};

/* Read a subscription.  NULL: out of memory. */
struct item *item_new(const struct hyprxa_subscription *subscription);
void item_free(struct item *item);

/* The file called `name` is one it asks for. */
bool item_wants(const struct item *item, const char *name);

/* Gather a sample: behind the last one it is live, before it history.  A text is borrowed until the
 * lists are emptied.  False: out of memory. */
bool item_gather(struct item *item, int64_t time_us, const struct hyprxa_value *value);
/* Empty the lists.  `published`: what they held has been taken by the host. */
void item_clear(struct item *item, bool published);

#endif
