/* Topics and unitops that this node keeps in memory follow what other nodes save: a save is told to all
 * of them over the broker. */
#ifndef HYPRXA_APP_MEMO_H
#define HYPRXA_APP_MEMO_H

#include "storage/document_cache.h"

struct broker;
struct settings;
struct topics;
struct unitops;

struct memo {
    struct broker *broker;
    struct topics *topics;   /* NULL: the feature is off */
    struct unitops *unitops; /* likewise */
};

/* For the caches; `memo` outlives them. */
struct document_cache_options memo_options(struct memo *memo, const struct settings *s);
/* All is made: hear of the saves of others from now on.  [control] */
void memo_listen(struct memo *memo);

#endif
