/* The reaper: a thread that ends waits civetweb would allow to last.
 *
 * civetweb cannot be told how slowly a head or a body may trickle in, and holds a worker meanwhile.
 * Every worker notes what it waits for and until when (its watch).  The reaper looks at the watches
 * a few times a second; when one is overdue it finds the socket among the process's descriptors by
 * the names of both its ends and calls shutdown() on it, never close(): the number stays civetweb's.
 * It holds the worker's lock meanwhile, and a worker takes that lock before it closes a socket, so
 * the number cannot have passed to another connection. */
#include "http/http_priv.h"

#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
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

/* --- finding sockets --- */

struct victim {
    struct http_worker *worker;
    enum http_phase phase;
    int64_t since_ms;
    uint32_t peer_ip;
    uint16_t peer_port, local_port;
    int fd;
};

/* Is `fd` the connection from ip:peer_port to local_port of ours? */
static bool is_socket_of(int fd, uint32_t ip, uint16_t peer_port, uint16_t local_port)
{
    struct sockaddr_in peer = {0}, local = {0};
    socklen_t peer_len = sizeof peer, local_len = sizeof local;
    return getpeername(fd, (struct sockaddr *)&peer, &peer_len) == 0 &&
           peer.sin_family == AF_INET && peer.sin_addr.s_addr == ip &&
           ntohs(peer.sin_port) == peer_port &&
           getsockname(fd, (struct sockaddr *)&local, &local_len) == 0 &&
           ntohs(local.sin_port) == local_port;
}

/* One pass over the descriptors finds the sockets of all victims. */
static void find_sockets(const struct http_server *server, struct victim *victims, size_t n)
{
    int floor = http_fd_floor(server);
    size_t missing = n;
    for (int fd = 0; fd < floor && missing > 0; fd++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 || peer.sin_family != AF_INET)
            continue;
        for (size_t i = 0; i < n; i++) {
            struct victim *v = &victims[i];
            if (v->fd < 0 && v->peer_port == ntohs(peer.sin_port) &&
                is_socket_of(fd, v->peer_ip, v->peer_port, v->local_port)) {
                v->fd = fd;
                missing--;
                break;
            }
        }
    }
}

static void shut_down(struct victim *v, bool counts)
{
    struct http_worker *w = v->worker;
    pthread_mutex_lock(&w->lock);
    /* The same wait as when it was chosen?  Then the worker cannot close the socket before we
     * let go of its lock. */
    if (w->phase == v->phase && w->since_ms == v->since_ms && w->peer_port == v->peer_port &&
        w->peer_ip == v->peer_ip && is_socket_of(v->fd, v->peer_ip, v->peer_port, v->local_port)) {
        /* Reading only, so that a late request already received is served and a slow body gets its
         * answer; a reader that takes nothing gets nothing more. */
        shutdown(v->fd, v->phase == HTTP_PHASE_WRITE ? SHUT_RDWR : SHUT_RD);
        w->deadline_ms = INT64_MAX;
        w->reaped = true;
        if (counts)
            atomic_fetch_add_explicit(&w->server->refused[HTTP_REFUSED_TIMEOUT], 1,
                                      memory_order_relaxed);
    }
    pthread_mutex_unlock(&w->lock);
}

/* --- choosing --- */

struct census {
    unsigned held; /* workers with a connection */
    int64_t now_ms;
    bool crowd; /* three of four are */
    bool stopping;
};

/* Connections waiting for a head from the address of `victims[i]`. */
static unsigned heads_from(const struct victim *all, size_t n, uint32_t ip)
{
    unsigned count = 0;
    for (size_t i = 0; i < n; i++)
        count += all[i].phase == HTTP_PHASE_HEADER && all[i].peer_ip == ip;
    return count;
}

static bool is_victim(const struct victim *all, size_t n, size_t i, int64_t deadline_ms,
                      const struct census *census)
{
    const struct victim *v = &all[i];
    int64_t age_ms = census->now_ms - v->since_ms;
    if (deadline_ms <= census->now_ms)
        return true;
    if (census->stopping) /* handlers had their time before */
        return true;
    if (!census->crowd)
        return false;
    if (v->phase == HTTP_PHASE_IDLE)
        return age_ms > CROWD_IDLE_MS;
    return v->phase == HTTP_PHASE_HEADER && age_ms > CROWD_HEADER_MS &&
           heads_from(all, n, v->peer_ip) > n / 2;
}

/* Look at every worker once.  `all` and `deadlines` have room for each. */
static void sweep(struct http_server *server, struct victim *all, int64_t *deadlines, bool stopping)
{
    unsigned n = server->options.workers;
    struct census census = {.now_ms = time_monotonic_ms(), .stopping = stopping};
    for (unsigned i = 0; i < n; i++) {
        struct http_worker *w = &server->workers[i];
        pthread_mutex_lock(&w->lock);
        all[i] =
            (struct victim){w, w->phase, w->since_ms, w->peer_ip, w->peer_port, w->local_port, -1};
        deadlines[i] = w->deadline_ms;
        pthread_mutex_unlock(&w->lock);
        census.held += all[i].phase != HTTP_PHASE_FREE;
    }
    census.crowd = census.held * 4 >= n * 3;
    atomic_store_explicit(&server->crowded, census.held == n, memory_order_relaxed);

    struct victim *chosen = all + n; /* the second half of the array */
    size_t n_chosen = 0;
    for (unsigned i = 0; i < n; i++) {
        if (all[i].phase != HTTP_PHASE_FREE && all[i].phase != HTTP_PHASE_BUSY &&
            is_victim(all, n, i, deadlines[i], &census))
            chosen[n_chosen++] = all[i];
    }
    if (n_chosen == 0)
        return;
    find_sockets(server, chosen, n_chosen);
    for (size_t i = 0; i < n_chosen; i++) {
        if (chosen[i].fd >= 0)
            shut_down(&chosen[i], !stopping && chosen[i].phase != HTTP_PHASE_IDLE &&
                                      chosen[i].phase != HTTP_PHASE_DRAIN);
    }
}

/* The master thread of civetweb sleeps up to 2 s in poll(): a connection wakes it. */
static void knock(const struct http_server *server)
{
    for (size_t i = 0; i < server->n_listeners; i++) {
        uint32_t ip = server->listeners[i].ip;
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(server->listeners[i].port),
                                 .sin_addr = {ip == INADDR_ANY ? htonl(INADDR_LOOPBACK) : ip}};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        /* In progress or refused: either is as good. */
        (void)!connect(fd, (struct sockaddr *)&to, sizeof to);
        close(fd);
    }
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

struct reaper_memory {
    struct http_server *server;
    struct victim *victims;
    int64_t *deadlines;
};

static void *run(void *arg)
{
    struct reaper_memory *memory = arg;
    struct http_server *server = memory->server;
    int64_t tick_ms = tick_of(server);
    pthread_mutex_lock(&server->lock);
    while (!server->reaper_ends) {
        bool stopping = server->civetweb_stops;
        pthread_mutex_unlock(&server->lock);
        sweep(server, memory->victims, memory->deadlines, stopping);
        if (stopping)
            knock(server);
        pthread_mutex_lock(&server->lock);
        int64_t until_ms = time_monotonic_ms() + (stopping ? TICK_STOPPING_MS : tick_ms);
        while (!server->reaper_ends && server->civetweb_stops == stopping &&
               cond_wait_until(&server->changed, &server->lock, until_ms)) {}
    }
    pthread_mutex_unlock(&server->lock);
    free(memory->victims);
    free(memory->deadlines);
    free(memory);
    return NULL;
}

int reaper_start(struct http_server *server, struct error *err)
{
    size_t n = server->options.workers;
    struct reaper_memory *memory = calloc(1, sizeof *memory);
    int code = 0;
    if (memory) {
        memory->server = server;
        memory->victims = calloc(2 * n, sizeof *memory->victims);
        memory->deadlines = calloc(n, sizeof *memory->deadlines);
    }
    if (!memory || !memory->victims || !memory->deadlines)
        code = error_set(err, ERR_NOMEM, "out of memory");
    else
        code = thread_start(&server->reaper, "http-reaper", run, memory, err);
    if (code) {
        if (memory) {
            free(memory->victims);
            free(memory->deadlines);
        }
        free(memory);
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
