/* Shared by the files of logs only. */
#ifndef HYPRXA_LOGS_LOGS_PRIV_H
#define HYPRXA_LOGS_LOGS_PRIV_H

#include "logs/logs.h"

#include "base/message.h"
#include "base/thread.h"

#include <stdatomic.h>

enum { HOST_NAME_SIZE = 256 };

/* Why documents were not stored. */
enum logs_dropped {
    LOGS_DROPPED_FULL,    /* max_buffered, or 16 MiB, waited already */
    LOGS_DROPPED_MEMORY,  /* no memory for one */
    LOGS_DROPPED_STORAGE, /* the storage failed until the server stopped */
    LOGS_DROPPED_REASONS
};

struct entry {
    struct message *message; /* the document */
    bool urgent;             /* error or above */
    struct entry *next;
};

struct logs {
    struct logs_options options; /* set at init, then const, as are the next two */
    char host[HOST_NAME_SIZE];
    struct channel *channel;
    pthread_t thread;

    pthread_mutex_t lock;
    /* guarded by lock */
    pthread_cond_t work;   /* the worker waits: something logged, a flush asked, or stopping */
    pthread_cond_t stored; /* flushers wait */
    struct entry *first, **last;
    size_t n_held, held_bytes; /* queued, or with the worker and not yet stored */
    uint64_t n_taken;          /* documents that entered the queue */
    uint64_t n_done;           /* of them, those stored */
    uint64_t flush_to;         /* somebody waits until n_done reaches this */
    uint64_t n_failed;         /* writes that failed */
    bool sleeping;             /* the worker needs a signal to see the queue */
    bool running, stopping;

    /* atomic */
    atomic_ullong n_stored, n_expired;
    atomic_ullong n_dropped[LOGS_DROPPED_REASONS];
    atomic_size_t n_streams;
};

/* document.c: append the document of `record`, compact JSON without line breaks.  [any] */
int logs_write_document(struct buf *out, const struct log_record *record, const char *host);

/* worker.c.  What the worker itself says of missing logs finds room always. */
extern _Thread_local bool logs_is_worker;
void *logs_run(void *arg);

static inline bool logs_is_running(struct logs *l)
{
    pthread_mutex_lock(&l->lock);
    bool running = l->running && !l->stopping;
    pthread_mutex_unlock(&l->lock);
    return running;
}

#endif
