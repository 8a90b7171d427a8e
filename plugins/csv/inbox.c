#include "inbox.h"

#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool inbox_init(struct inbox *in)
{
    in->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    atomic_init(&in->waiting, false);
    pthread_mutex_init(&in->lock, NULL);
    in->first = NULL;
    in->last = &in->first;
    return in->wake_fd >= 0;
}

void inbox_release(struct inbox *in)
{
    changes_free(in->first);
    pthread_mutex_destroy(&in->lock);
    if (in->wake_fd >= 0) {
        close(in->wake_fd);
    }
}

struct change *change_new(struct item *comes, const struct hyprxa_subscription *leaves)
{
    struct change *change = calloc(1, sizeof(*change));
    if (change) {
        change->comes = comes;
        change->leaves = leaves;
    }
    return change;
}

void changes_free(struct change *first)
{
    while (first) {
        struct change *next = first->next;
        item_free(first->comes);
        free(first);
        first = next;
    }
}

void inbox_put(struct inbox *in, struct change *first)
{
    pthread_mutex_lock(&in->lock);
    *in->last = first;
    while (*in->last) {
        in->last = &(*in->last)->next;
    }
    atomic_store(&in->waiting, true);
    pthread_mutex_unlock(&in->lock);
    eventfd_write(in->wake_fd, 1);
}

struct change *inbox_take(struct inbox *in)
{
    eventfd_t ignored;
    eventfd_read(in->wake_fd, &ignored);
    pthread_mutex_lock(&in->lock);
    struct change *first = in->first;
    in->first = NULL;
    in->last = &in->first;
    atomic_store(&in->waiting, false);
    pthread_mutex_unlock(&in->lock);
    return first;
}
