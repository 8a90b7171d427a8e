/* The work of a connection: finds the files, follows them, and hands rows on.
 *
 * Order: files are read oldest first, each to its end, at its front cursor; what late subscriptions
 * have to catch up on is read block by block while nothing new is there. */
#ifndef HYPRXA_CSV_READER_H
#define HYPRXA_CSV_READER_H

#include "options.h"
#include "report.h"

#include <hyprxa/plugin.h>

struct reader;

/* Both are borrowed.  NULL: out of memory or descriptors. */
struct reader *reader_new(const struct csv_options *options, struct csv_counters *counters);
void reader_free(struct reader *r);

/* All or none.  E_NOMEM.  [control] */
hyprxa_status reader_add(struct reader *r, hyprxa_subs subs, size_t n, struct hyprxa_error *err);
void reader_remove(struct reader *r, hyprxa_subs subs, size_t n); /* [control] */

/* Until the link is asked to stop.  Positions are taken from the saved state anew.  [run] */
hyprxa_status reader_run(struct reader *r, struct hyprxa_link *link, struct hyprxa_error *err);

#endif
