/* Logs: what the server logs, as documents: stored, streamed live, downloadable.
 *
 * It is the sink of base/log: the logging thread encodes the document (contract 8.1) and leaves it
 * in a bounded queue, or counts it as dropped; it never waits.  One thread passes the documents on
 * to the live streams at once, and writes them to the storage every flush interval, at once for
 * error and above.  So a crash loses the last interval at most.  What that thread has to say of its
 * own failures goes to the console only, now and then.  Routes: /admin/logs/... */
#ifndef HYPRXA_LOGS_LOGS_H
#define HYPRXA_LOGS_LOGS_H

#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "http/streamer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;
struct logs;
struct storage;
struct streamer;

struct logs_options {
    bool enabled; /* false: nothing is kept, the routes answer 501 */
    enum log_level level;
    struct storage *storage;
    struct streamer *streamer;
    struct channel_options channel;
    size_t max_buffered; /* documents not yet stored; default 10,000 */
    int64_t flush_interval_us;
};

/* Start to take what is logged. */
int logs_new(const struct logs_options *options, struct logs **ret, struct error *err);
/* Before http_server_start(). */
int logs_add_routes(struct logs *l, struct http_server *server, struct error *err);
/* Take no more, end the streams, store what there is; before the storage stops.  Idempotent. */
void logs_stop(struct logs *l);
void logs_free(struct logs *l); /* after the streamer has stopped */

/* Wait until all that was logged before is stored and readable.  ERR_UNAVAILABLE: the worker does
 * not run; ERR_TIMEOUT.  [any] */
int logs_flush(struct logs *l, int64_t timeout_ms, struct error *err);

/* --- queries [any] --- */
int logs_info(struct logs *l, struct buf *out); /* one JSON object, for /admin/info */
int logs_metrics(struct logs *l, struct buf *out);

#endif
