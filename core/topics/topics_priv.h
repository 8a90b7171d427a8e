/* Shared by the files of topics only. */
#ifndef HYPRXA_TOPICS_TOPICS_PRIV_H
#define HYPRXA_TOPICS_TOPICS_PRIV_H

struct topics {
    struct storage *storage; /* set at init, then const */
    struct document_cache *cache;
};

#endif
