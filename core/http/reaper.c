/* The reaper: a thread that ends waits civetweb would allow to last.
 *
 * civetweb cannot be told how slowly a head or a body may trickle in, and holds a worker meanwhile.
 * Every worker notes what it waits for and until when (its watch).  The reaper looks at the watches
 * a few times a second; when one is overdue it finds the socket among the process's descriptors by
 * the names of both its ends and calls shutdown() on it, never close(): the number stays civetweb's.
 * It holds the worker's lock meanwhile, and a worker takes that lock before it closes a socket, so
 * the number cannot have passed to another connection.
 *
 * Before the first complete head civetweb does not say which connection a worker holds.  While some
 * worker waits for one, the reaper notes since when it sees each socket of a listener that no worker
 * owns up to, and ends it by that age; it checks the names just before. */
#include "http/http_priv.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    MANY_CONNECTIONS = 16, /* held by workers */
    TICK_MAX_MS = 250,
    TICK_STOPPING_MS = 10,
    /* When three of four workers hold a connection: */
    CROWD_IDLE_MS = 1000,  /* a kept-alive one may rest this long */
    CROWD_HEADER_MS = 250, /* and a head of an address with more than its share take this long */
};

void http_watch(struct http_worker *w, enum http_phase phase, int64_t timeout_ms)
{
    int64_t now_ms = time_monotonic_ms();
    pthread_mutex_lock(&w->lock);
    w->phase = phase;
    w->since_ms = now_ms;
    w->deadline_ms = timeout_ms == INT64_MAX ? INT64_MAX : now_ms + timeout_ms;
    w->reaped = false;
    pthread_mutex_unlock(&w->lock);
}

bool http_unwatch(struct http_worker *w)
{
    pthread_mutex_lock(&w->lock);
    bool reaped = w->reaped;
    w->phase = HTTP_PHASE_BUSY;
    w->deadline_ms = INT64_MAX;
    w->reaped = false;
    pthread_mutex_unlock(&w->lock);
    return reaped;
}

/* --- sockets --- */

/* A connection by the names of its ends; ports in host order. */
struct ends {
    uint32_t peer_ip;
    uint16_t peer_port, local_port;
};

static bool ends_equal(const struct ends *a, const struct ends *b)
{
    return a->peer_ip == b->peer_ip && a->peer_port == b->peer_port &&
           a->local_port == b->local_port;
}

static bool ends_of(int fd, struct ends *ret)
{
    struct sockaddr_in peer = {0}, local = {0};
    socklen_t peer_len = sizeof peer, local_len = sizeof local;
    if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0 || peer.sin_family != AF_INET ||
        getsockname(fd, (struct sockaddr *)&local, &local_len) != 0)
        return false;
    *ret = (struct ends){peer.sin_addr.s_addr, ntohs(peer.sin_port), ntohs(local.sin_port)};
    return true;
}

static bool is_socket_of(int fd, const struct ends *expected)
{
    struct ends actual;
    return ends_of(fd, &actual) && ends_equal(&actual, expected);
}

/* A worker as the sweep found it. */
struct watch {
    struct http_worker *worker;
    enum http_phase phase;
    int64_t since_ms, deadline_ms;
    struct ends ends; /* zeros in HTTP_PHASE_HEADER: civetweb tells nobody yet */
};

/* An accepted socket as the sweep found it, by descriptor. */
struct seen {
    struct ends ends;
    int64_t since_ms; /* first seen without a worker that owns up to it; 0: not so */
};

struct reaper_memory {
    struct http_server *server;
    struct watch *watches; /* of each worker */
    struct seen *seen;     /* of each descriptor below the floor */
    int floor;
    /* of the running sweep */
    int64_t now_ms;
    unsigned held;  /* workers with a connection */
    unsigned heads; /* of them, those still waiting for the first head */
    bool crowd;     /* three of four workers are held */
    bool stopping;
    bool searched; /* `seen` holds something */
};

static void count_timeout(struct http_server *server)
{
    atomic_fetch_add_explicit(&server->refused[HTTP_REFUSED_TIMEOUT], 1, memory_order_relaxed);
}

/* --- connections whose worker has named them: all after the first head --- */

static bool is_overdue(const struct reaper_memory *m, const struct watch *w)
{
    if (w->phase == HTTP_PHASE_FREE || w->phase == HTTP_PHASE_HEADER || w->phase == HTTP_PHASE_BUSY)
        return false;
    if (w->deadline_ms <= m->now_ms || m->stopping) /* stopping: handlers had their time before */
        return true;
    return m->crowd && w->phase == HTTP_PHASE_IDLE && m->now_ms - w->since_ms > CROWD_IDLE_MS;
}

static void end_wait(const struct reaper_memory *m, const struct watch *v, int fd)
{
    struct http_worker *w = v->worker;
    pthread_mutex_lock(&w->lock);
    /* The same wait as when it was chosen?  Then the worker cannot close the socket before we let
     * go of its lock. */
    if (w->phase == v->phase && w->since_ms == v->since_ms && is_socket_of(fd, &v->ends)) {
        /* Reading only, so that a late request already received is served and a slow body gets its
         * answer; a reader that takes nothing gets nothing more. */
        shutdown(fd, v->phase == HTTP_PHASE_WRITE ? SHUT_RDWR : SHUT_RD);
        w->deadline_ms = INT64_MAX;
        w->reaped = true;
        if (!m->stopping && (v->phase == HTTP_PHASE_READ || v->phase == HTTP_PHASE_WRITE))
            count_timeout(m->server);
    }
    pthread_mutex_unlock(&w->lock);
}

/* --- connections nobody has named: before the first head, or in civetweb's queue --- */

/* Bytes unread mean that no worker has taken the connection up: it waits in the queue. */
static bool is_queued(int fd)
{
    int unread = 0;
    return ioctl(fd, FIONREAD, &unread) == 0 && unread > 0;
}

static unsigned strangers_from(const struct reaper_memory *m, uint32_t ip)
{
    unsigned n = 0;
    for (int fd = 0; fd < m->floor; fd++)
        n += m->seen[fd].since_ms > 0 && m->seen[fd].ends.peer_ip == ip;
    return n;
}

static void end_stranger(const struct reaper_memory *m, int fd)
{
    struct seen *s = &m->seen[fd];
    int64_t age_ms = m->now_ms - s->since_ms;
    bool excess = m->crowd && age_ms >= CROWD_HEADER_MS &&
                  strangers_from(m, s->ends.peer_ip) > m->server->options.workers / 2;
    if (!m->stopping && !excess && age_ms < m->server->options.header_timeout_ms)
        return;
    if ((is_queued(fd) && !m->stopping) || !is_socket_of(fd, &s->ends))
        return;
    shutdown(fd, SHUT_RD);
    s->since_ms = INT64_MAX; /* not again */
    if (!m->stopping)
        count_timeout(m->server);
}

static const struct watch *owner_of(const struct reaper_memory *m, const struct ends *ends)
{
    for (unsigned i = 0; i < m->server->options.workers; i++) {
        const struct watch *w = &m->watches[i];
        if (w->phase != HTTP_PHASE_FREE && w->phase != HTTP_PHASE_HEADER &&
            ends_equal(&w->ends, ends))
            return w;
    }
    return NULL;
}

static bool is_listener_port(const struct http_server *server, uint16_t port)
{
    for (size_t i = 0; i < server->n_listeners; i++) {
        if (server->listeners[i].port == port)
            return true;
    }
    return false;
}

static void look_at(struct reaper_memory *m, int fd)
{
    struct seen *s = &m->seen[fd];
    struct ends ends;
    if (!ends_of(fd, &ends) || !is_listener_port(m->server, ends.local_port)) {
        s->since_ms = 0;
        return;
    }
    const struct watch *owner = owner_of(m, &ends);
    if (owner) {
        s->since_ms = 0;
        if (is_overdue(m, owner))
            end_wait(m, owner, fd);
    } else if (s->since_ms == 0 || !ends_equal(&s->ends, &ends)) {
        *s = (struct seen){ends, m->now_ms};
    }
}

/* --- the sweep --- */

/* Look at every worker; true: some descriptor must be looked for. */
static bool look_at_workers(struct reaper_memory *m)
{
    struct http_server *server = m->server;
    m->held = m->heads = 0;
    for (unsigned i = 0; i < server->options.workers; i++) {
        struct http_worker *w = &server->workers[i];
        pthread_mutex_lock(&w->lock);
        m->watches[i] = (struct watch){
            w, w->phase, w->since_ms, w->deadline_ms, {w->peer_ip, w->peer_port, w->local_port}};
        pthread_mutex_unlock(&w->lock);
        m->held += m->watches[i].phase != HTTP_PHASE_FREE;
        m->heads += m->watches[i].phase == HTTP_PHASE_HEADER;
    }
    m->crowd = m->held * 4 >= server->options.workers * 3;
    atomic_store_explicit(&server->many, m->held >= MANY_CONNECTIONS, memory_order_relaxed);
    atomic_store_explicit(&server->crowded, m->held == server->options.workers,
                          memory_order_relaxed);
    bool search = m->heads > 0;
    for (unsigned i = 0; i < server->options.workers && !search; i++)
        search = is_overdue(m, &m->watches[i]);
    return search;
}

static void sweep(struct reaper_memory *m, bool stopping)
{
    m->now_ms = time_monotonic_ms();
    m->stopping = stopping;
    if (!look_at_workers(m)) {
        if (m->searched)
            memset(m->seen, 0, (size_t)m->floor * sizeof *m->seen);
        m->searched = false;
        return;
    }
    m->searched = true;
    for (int fd = 0; fd < m->floor; fd++)
        look_at(m, fd);
    for (int fd = 0; fd < m->floor; fd++) {
        if (m->seen[fd].since_ms > 0 && m->seen[fd].since_ms <= m->now_ms)
            end_stranger(m, fd);
    }
}

static bool is_listener(const struct http_server *server, int fd)
{
    struct sockaddr_in at = {0};
    socklen_t at_len = sizeof at, listens_len = sizeof(int);
    int listens = 0;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_len) != 0 || !listens ||
        getsockname(fd, (struct sockaddr *)&at, &at_len) != 0 || at.sin_family != AF_INET)
        return false;
    for (size_t i = 0; i < server->n_listeners; i++)
        if (at.sin_addr.s_addr == server->listeners[i].ip &&
            ntohs(at.sin_port) == server->listeners[i].port)
            return true;
    return false;
}

/* The master thread of civetweb sleeps up to 2 s in poll(): its listeners' hang-up wakes it.  (A
 * connection would, too, but one it accepts now is never closed.) */
static void hang_up_listeners(const struct reaper_memory *m)
{
    for (int fd = 0; fd < m->floor; fd++)
        if (is_listener(m->server, fd))
            shutdown(fd, SHUT_RD);
}

static int64_t tick_of(const struct http_server *server)
{
    int64_t shortest = server->options.header_timeout_ms;
    if (server->options.request_timeout_ms < shortest)
        shortest = server->options.request_timeout_ms;
    if (server->options.keep_alive_timeout_ms < shortest)
        shortest = server->options.keep_alive_timeout_ms;
    int64_t tick_ms = shortest / 4;
    return tick_ms < 1 ? 1 : tick_ms > TICK_MAX_MS ? TICK_MAX_MS : tick_ms;
}

static void reaper_memory_free(struct reaper_memory *m)
{
    if (!m)
        return;
    free(m->watches);
    free(m->seen);
    free(m);
}

static void *run(void *arg)
{
    struct reaper_memory *memory = arg;
    struct http_server *server = memory->server;
    int64_t tick_ms = tick_of(server);
    pthread_mutex_lock(&server->lock);
    while (!server->reaper_ends) {
        bool stopping = server->civetweb_stops;
        pthread_mutex_unlock(&server->lock);
        sweep(memory, stopping);
        if (stopping)
            hang_up_listeners(memory);
        pthread_mutex_lock(&server->lock);
        int64_t until_ms = time_monotonic_ms() + (stopping ? TICK_STOPPING_MS : tick_ms);
        while (!server->reaper_ends && server->civetweb_stops == stopping &&
               cond_wait_until(&server->changed, &server->lock, until_ms)) {}
    }
    pthread_mutex_unlock(&server->lock);
    reaper_memory_free(memory);
    return NULL;
}

int reaper_start(struct http_server *server, struct error *err)
{
    struct reaper_memory *memory = calloc(1, sizeof *memory);
    int code = 0;
    if (memory) {
        memory->server = server;
        memory->floor = http_fd_floor(server);
        memory->watches = calloc(server->options.workers, sizeof *memory->watches);
        memory->seen = calloc((size_t)memory->floor, sizeof *memory->seen);
    }
    if (!memory || !memory->watches || !memory->seen)
        code = error_set(err, ERR_NOMEM, "out of memory");
    else
        code = thread_start(&server->reaper, "http-reaper", run, memory, err);
    if (code) {
        reaper_memory_free(memory);
        return code;
    }
    pthread_mutex_lock(&server->lock);
    server->reaper_runs = true;
    pthread_mutex_unlock(&server->lock);
    return 0;
}

void reaper_stop(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool runs = server->reaper_runs;
    server->reaper_runs = false;
    server->reaper_ends = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    if (runs)
        pthread_join(server->reaper, NULL);
}
