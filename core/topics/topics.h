/* Topics: named JSON Schemas that events must satisfy.
 *
 * A topic is stored as a document, compiled at first use and shared.  Routes: /topics/... */
#ifndef HYPRXA_TOPICS_TOPICS_H
#define HYPRXA_TOPICS_TOPICS_H

#include "base/buf.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stddef.h>

struct document_cache_options;
struct http_server;
struct json_object;
struct json_schema;
struct storage;
struct topics;

/* One topic as of its last save: immutable, reference-counted. */
struct topic {
    atomic_uint refs;
    char *name;
    struct json_schema *schema;
    struct buf document; /* the TopicDocument as JSON, ready to be sent */
};
void topic_unref(struct topic *t);

int topics_new(struct storage *st, const struct document_cache_options *cache, struct topics **ret,
               struct error *err);
void topics_free(struct topics *t);

/* ERR_NOT_FOUND: "No topics found matching criteria."; *ret is the caller's to unref.  [any] */
int topics_get(struct topics *t, const char *name, struct topic **ret, struct error *err);

/* Insert or replace.  ERR_INVALID: bad name or schema.  `user` may be NULL.  [any] */
int topics_save(struct topics *t, const char *name, struct json_object *schema, const char *user,
                struct error *err);

void topics_recheck(struct topics *t, const char *name); /* another node saved it.  [any] */

/* 1-200 ASCII letters, digits, '_' and '-': what a new topic may be called. */
int topic_name_check(const char *name, struct error *err);

int topics_add_routes(struct topics *t, struct http_server *server, struct error *err);

#endif
