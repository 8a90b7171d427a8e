/* The gate: what comes from a shared broker, seen once per node before any stream.
 *
 * Between a node's check of its lease and what it does next another may take over, and RabbitMQ may
 * bring late what was sent early.  So of each series the gate knows the newest time that went through:
 * a message without anything newer is dropped, one that is partly newer is cut, and both are counted.
 * Where another node goes on with a series and something may be missing in between, streams are told by
 * a `gap`.  Whatever is no message of samples, or not of this subscription, is dropped, too.
 *
 * Runs on the broker's dispatcher; does nothing where only this node publishes. */
#ifndef HYPRXA_TIMESERIES_GATE_H
#define HYPRXA_TIMESERIES_GATE_H

#include "base/error.h"
#include "base/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gate;
struct series;

struct gate_options {
    /* The series may lack samples between the two times.  On the dispatcher; must not block. */
    void (*gap)(void *ctx, struct series *series, int64_t from_us, int64_t to_us);
    void *ctx;
};

int gate_new(const struct gate_options *options, struct gate **ret, struct error *err);
void gate_free(struct gate *g); /* NULL is fine */

/* From now on the gate minds this series.  Once or more; NULL is fine.  ERR_NOMEM.  [any] */
int gate_watch(struct gate *g, struct series *series);

/* The newest time that went through.  ERR_NOT_FOUND: none yet.  [any] */
int gate_last_time(struct gate *g, const struct series *series, int64_t *ret_us);

/* A broker_filter_fn; ctx is the gate. */
struct message *gate_filter(void *gate, const char *key, struct message *message);

struct gate_stats {
    uint64_t duplicates; /* messages that had nothing new */
    uint64_t cut;        /* ... that had something old */
    uint64_t invalid;
    uint64_t foreign; /* ... of another subscription with the same hash */
    uint64_t gaps;
};
void gate_get_stats(struct gate *g, struct gate_stats *ret); /* NULL: zeros */

#endif
