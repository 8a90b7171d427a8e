/* What the control thread tells the reading thread: subscriptions that come and go, in order. */
#ifndef HYPRXA_CSV_INBOX_H
#define HYPRXA_CSV_INBOX_H

#include "item.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct change {
    struct item *comes; /* or */
    const struct hyprxa_subscription *leaves;
    struct change *next;
};

struct inbox {
    int wake_fd;         /* readable when there is something.  Const after inbox_init() */
    atomic_bool waiting; /* there is something */
    pthread_mutex_t lock;
    struct change *first, **last; /* guarded by lock */
};

bool inbox_init(struct inbox *in); /* false: no descriptor */
void inbox_release(struct inbox *in);

/* A list of changes that is not in the box yet. */
struct change *change_new(struct item *comes, const struct hyprxa_subscription *leaves);
void changes_free(struct change *first); /* with the items that come */

void inbox_put(struct inbox *in, struct change *first); /* [control] */
struct change *inbox_take(struct inbox *in);            /* all of them, in order.  [run] */

#endif
