/* Shared by the files of topics only. */
#ifndef HYPRXA_TOPICS_TOPICS_PRIV_H
#define HYPRXA_TOPICS_TOPICS_PRIV_H

struct http_request;

struct topics {
    struct storage *storage; /* set at init, then const */
    struct document_cache *cache;
};

void topics_asyncapi(struct http_request *r, void *ctx); /* asyncapi.c */

#endif
