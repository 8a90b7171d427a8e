/* App: everything wired together.
 *
 * Arrows point down here: app alone knows every subsystem and passes one what it needs of another.
 * Lock order of the whole server, outermost first: source.lock, manager.control, manager.lock,
 * feeds.lock, channel and streamer, broker, storage, log (none). */
#ifndef HYPRXA_APP_APP_H
#define HYPRXA_APP_APP_H

#include "base/buf.h"
#include "base/error.h"
#include "config/config.h"

#include <stdbool.h>

struct app;

/* Check everything that can be checked without starting anything: sources, plugins, options, listen
 * addresses and authentication.  All problems are lines in `problems`. */
int app_check(const struct settings *settings, const struct source_configs *sources,
              struct buf *problems, struct error *err);

/* Open the back ends, wire the services, start to serve.  Sources with problems are left out; their
 * lines are in `problems`, and the others run.  [control] */
int app_start(const struct settings *settings, const struct source_configs *sources,
              struct buf *problems, struct app **ret, struct error *err);

/* The port of the i-th listener. */
unsigned app_port(const struct app *app, size_t i);

/* Does it make progress: do the streamer's threads and the writer of the storage answer?  0, also when
 * the storage answers with an error.  Blocks while the writer is stuck.  [any], not while stopping */
int app_check_progress(struct app *app, struct error *err);

/* Tell the streams, flush the queues, release all.  False: a plugin's thread was abandoned and the
 * process must end by _exit(). */
bool app_stop(struct app *app);

#endif
