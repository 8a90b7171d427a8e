/* Unitops: named groups of subscriptions (`data_mapping`: data item -> subscription).
 *
 * Stored as documents, compiled at first use and shared.  Which sources exist, and how a
 * subscription looks with its schema's defaults, is asked of whoever runs the sources, through two
 * functions that app passes in.  Routes: /unitops/... */
#ifndef HYPRXA_UNITOPS_UNITOPS_H
#define HYPRXA_UNITOPS_UNITOPS_H

#include "base/buf.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct document_cache_options;
struct http_server;
struct json_object;
struct storage;
struct unitops;

struct unitop_item {
    const char *name;
    struct json_object *subscription; /* as stored; constant */
};

/* One unitop as of its last save: immutable, reference-counted. */
struct unitop {
    atomic_uint refs;
    char *name;
    struct json_object *document; /* {"name","data_mapping","meta","modified_by","modified_at"} */
    struct unitop_item *items;    /* in stored order */
    size_t n_items;
    struct buf text; /* the UnitOpDocument as JSON, subscriptions as stored */
};
void unitop_unref(struct unitop *u);

struct unitops_sources {
    bool (*known)(void *ctx, const char *source);
    /* Append the names for the 422's text: 'a', 'b'; and as a JSON list. */
    int (*permitted)(void *ctx, struct buf *quoted, struct buf *json_list);
    /* Check `subscription` against its source's schema and fill in defaults; *ret is the caller's.
     * ERR_UNSUPPORTED: the source is not configured here. */
    int (*map)(void *ctx, struct json_object *subscription, struct json_object **ret,
               struct error *err);
    void *ctx;
};

int unitops_new(struct storage *st, const struct unitops_sources *sources,
                const struct document_cache_options *cache, struct unitops **ret,
                struct error *err);
void unitops_recheck(struct unitops *u, const char *name); /* another node saved it.  [any] */
void unitops_free(struct unitops *u);

/* ERR_NOT_FOUND: "No unitops found matching criteria."; the caller unrefs.  [any] */
int unitops_get(struct unitops *u, const char *name, struct unitop **ret, struct error *err);
int unitops_save(struct unitops *u, const char *name, struct json_object *data_mapping,
                 struct json_object *meta, const char *user, struct error *err);

int unitops_add_routes(struct unitops *u, struct http_server *server, struct error *err);

#endif
