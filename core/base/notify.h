/* Telling a service manager how this process is: the protocol of sd_notify(3), without its library.
 *
 * systemd names a datagram socket in $NOTIFY_SOCKET and, where it watches over the service, the
 * longest silence in $WATCHDOG_USEC.  Without these variables everything here does nothing. */
#ifndef HYPRXA_BASE_NOTIFY_H
#define HYPRXA_BASE_NOTIFY_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct notify;

/* Read the variables and take them out of the environment, so that no child speaks for us.  *ret is
 * NULL where nobody listens.  [control], before any thread */
int notify_open(struct notify **ret, struct error *err);

/* Send a state, such as "READY=1\nSTATUS=...".  What cannot be sent is logged once.  [any] */
void notify_send(struct notify *n, const char *state);

/* Does the server make progress?  0, also when it is merely in trouble that a restart would not mend;
 * else *err says what is stuck.  It may block: that is no progress either. */
typedef int notify_check_fn(void *ctx, struct error *err);

/* From now on ask `check` twice in each period of the watchdog, on a thread of its own, and send
 * WATCHDOG=1 when the answer is 0.  Nothing where no watchdog was asked for.  [control] */
int notify_watch(struct notify *n, notify_check_fn *check, void *ctx, struct error *err);
/* No more checks once it returns.  A check that is stuck is waited for no longer than `timeout_ms`:
 * false, and the process must end by _exit(). */
bool notify_unwatch(struct notify *n, int64_t timeout_ms);

void notify_close(struct notify *n);

#endif
