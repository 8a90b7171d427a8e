/* Shared by the files of unitops only. */
#ifndef HYPRXA_UNITOPS_UNITOPS_PRIV_H
#define HYPRXA_UNITOPS_UNITOPS_PRIV_H

#include "unitops/unitops.h"

struct unitops {
    struct storage *storage; /* set at init, then const */
    struct document_cache *cache;
    struct unitops_sources sources;
};

/* The UnitOpDocument of a stored document; `mapping` (NULL: the stored one) in its place. */
int unitop_write(struct buf *out, const char *name, struct json_object *document,
                 struct json_object *mapping);

#endif
