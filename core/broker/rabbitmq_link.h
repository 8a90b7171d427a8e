/* A connection to RabbitMQ, opened again and again by the one thread that uses it.
 *
 * Everything but link_wake() and link_interrupt() belongs to that thread. */
#ifndef HYPRXA_BROKER_RABBITMQ_LINK_H
#define HYPRXA_BROKER_RABBITMQ_LINK_H

#include "base/backoff.h"
#include "base/error.h"

#include <amqp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { LINK_CHANNEL = 1 };

/* Where the server is.  From amqp(s)://user:password@host:port/vhost?heartbeat=60, for amqps also
 * &cafile=FILE&certfile=FILE&keyfile=FILE&no_verify_ssl=1; without a cafile the system's authorities are
 * trusted.  An empty vhost, or "/", is "/". */
struct rabbitmq_uri {
    char *text; /* what the members below point into */
    char *query;
    const char *host, *user, *password, *vhost;
    int port;
    bool tls, verify;
    const char *ca_file, *cert_file, *key_file; /* NULL: none */
    int heartbeat_s;
};
/* ERR_INVALID names what is wrong, never the text itself: it holds a password. */
int rabbitmq_uri_parse(const char *text, struct rabbitmq_uri *ret, struct error *err);
void rabbitmq_uri_release(struct rabbitmq_uri *uri);

struct link {
    /* set at init, then const */
    const struct rabbitmq_uri *uri;
    const char *name; /* for logs: "events publisher" */
    int wake_fd;

    /* the thread's own */
    amqp_connection_state_t conn; /* NULL: not connected */
    struct backoff backoff;
    bool reported; /* that it is away was logged */

    pthread_mutex_t lock;
    /* guarded by lock */
    int fd; /* of the connection, or -1 */
    bool interrupted;
};

int link_init(struct link *l, const struct rabbitmq_uri *uri, const char *name, int64_t initial_ms,
              int64_t max_ms, struct error *err);
void link_release(struct link *l);

/* Connect, log in, open the channel. */
int link_open(struct link *l, struct error *err);
/* What the thread does first has succeeded, too: the server is back, and the back-off begins anew. */
void link_ready(struct link *l);
void link_close(struct link *l);
/* It failed: close it, log that once, wait as the back-off says (or until woken). */
void link_failed(struct link *l, const struct error *err);

/* Wait until the server has something to say, somebody wakes, or half a heartbeat is over. */
void link_wait(struct link *l);
void link_wait_ms(struct link *l, int64_t timeout_ms);
/* The answer to the last synchronous call: 0, or ERR_UNAVAILABLE with what the server or the library
 * said about `what`. */
int link_check(struct link *l, const char *what, struct error *err);
/* As link_check(), from a status of the library. */
int link_status(int status, const char *what, struct error *err);
/* A frame that is no delivery and no confirm: the server closes the channel or the connection.  */
int link_unexpected(struct link *l, const amqp_frame_t *frame, struct error *err);

void link_wake(struct link *l); /* [any] */
void link_interrupt(
    struct link *l); /* end a call that waits for the server, and all later ones.  [any] */

#endif
