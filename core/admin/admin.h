/* Admin: what an operator asks of a running server.  Routes: /admin/info, /health/live,
 * /health/ready, /metrics (OpenMetrics 1.0). */
#ifndef HYPRXA_ADMIN_ADMIN_H
#define HYPRXA_ADMIN_ADMIN_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdint.h>

struct broker;
struct cache;
struct events;
struct http_server;
struct logs;
struct storage;
struct timeseries;

/* What the routes look at; outlives the server. */
struct admin {
    struct http_server *server;
    struct storage *storage;
    struct broker *broker;
    struct cache *cache;
    struct logs *logs;
    struct events *events;         /* NULL: the feature is off */
    struct timeseries *timeseries; /* likewise */
    int64_t started_us;
    atomic_bool ready; /* set when all is wired, cleared when stopping */
};

int admin_add_routes(struct admin *admin, struct http_server *server, struct error *err);

#endif
