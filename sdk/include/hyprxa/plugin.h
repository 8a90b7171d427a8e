/* The whole binary contract between hyprxa and a plugin.  hyprxa/helpers.h makes it comfortable.
 *
 * A plugin is a shared object that exports one constant, `hyprxa_plugin_v1`.  It describes a kind of
 * source; conf.d names the sources.  For each source the host makes one *integration*, which holds
 * *connections*; a connection carries *subscriptions* (JSON objects that the plugin's schema allows)
 * and publishes samples for them from a thread the host made for it.
 *
 * The easy way: fill in `connection` only.  The host then pools: it spreads subscriptions over
 * connections of at most `max_subscriptions_per_connection` and calls connection->create() for each.
 * The full way: also fill in `integration`, whose subscribe() decides on connections itself.
 *
 * The host does the bookkeeping: which subscriptions exist, order, duplicates, the bounded queue,
 * staleness, counters, restart with back-off, stopping.
 *
 * Texts are UTF-8 and end with NUL.  Times are microseconds since 1970-01-01T00:00:00 UTC.  Nothing
 * crosses with a duty to free: pointers are borrowed for the call unless said otherwise.  A result
 * (`ret`, `ret_...`) is written on success only.  An `err` may be NULL.
 *
 * Threads
 *   [control]  a thread of the host, one call at a time per integration; may block for a bounded time
 *   [run]      the connection's own thread, made by the host
 *   [any]      concurrently; must not block
 * Threads a plugin makes itself may call log() only, and must be gone when destroy() returns: they
 * hand their data to run().  A plugin must not call setlocale(), signal(), exit() or fork() without
 * exec(), and must not leave signals unblocked in threads of its own.
 *
 * Structs with a `size` only grow at the end; `size` is sizeof as the owner was compiled.  Before
 * using a member younger than 1.0 ask HYPRXA_HAS().  Members without a note are of 1.0. */
#ifndef HYPRXA_PLUGIN_H
#define HYPRXA_PLUGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* True if `*p` is new enough to have `member` and it is not NULL or 0. */
#define HYPRXA_HAS(type, p, member) \
    ((p)->size >= offsetof(type, member) + sizeof((p)->member) && (p)->member)

/* --- status --- */

typedef int32_t hyprxa_status; /* HYPRXA_OK or one of HYPRXA_E_...; unknown ones mean failure */
enum {
    HYPRXA_OK = 0,
    HYPRXA_E_INVALID = -1,      /* the input is wrong; trying again cannot help */
    HYPRXA_E_NOMEM = -2,        /* out of memory */
    HYPRXA_E_AGAIN = -3,        /* no room or not ready; nothing was taken, try again later */
    HYPRXA_E_CANCELED = -4,     /* asked to stop */
    HYPRXA_E_CAPACITY = -5,     /* a limit would be passed */
    HYPRXA_E_ORDER = -6,        /* times do not rise */
    HYPRXA_E_OFFLINE = -7,      /* the connection is not online */
    HYPRXA_E_SOURCE = -8,       /* the source failed, cannot be reached or answered nonsense */
    HYPRXA_E_NOT_FOUND = -9,    /* there is none; for a source: it has no such item */
    HYPRXA_E_UNSUPPORTED = -10, /* not offered */
};

/* Why something failed.  The caller's memory, `size` set by the caller; the callee fills in `code` and
 * a sentence for a person, without a line break.  See hyprxa_error_set(). */
struct hyprxa_error {
    uint32_t size;
    hyprxa_status code;
    char message[248];
};

/* --- values and samples --- */

enum { /* hyprxa_value.type */
       HYPRXA_NULL = 0,
       HYPRXA_BOOL = 1,   /* as.boolean, 0 or 1 */
       HYPRXA_INT64 = 2,  /* as.i64 */
       HYPRXA_DOUBLE = 3, /* as.f64; NaN and infinities are stored, and shown as null */
       HYPRXA_STRING = 4, /* as.ptr, UTF-8, `len` bytes, no NUL needed */
       HYPRXA_BYTES = 5,  /* as.ptr, `len` bytes */
       HYPRXA_JSON = 6,   /* as.ptr, `len` bytes of JSON text without line breaks */
};
enum { HYPRXA_VALUE_MAX = 65536 }; /* most bytes of one STRING, BYTES or JSON */

struct hyprxa_value {
    uint32_t type;
    uint32_t len; /* STRING, BYTES, JSON: bytes at as.ptr; else 0 */
    union {
        uint8_t boolean;
        int64_t i64;
        double f64;
        const void *ptr; /* copied before publish() returns */
    } as;
};

enum { /* hyprxa_sample.quality, as in OPC */
       HYPRXA_GOOD = 0,
       HYPRXA_UNCERTAIN = 1,
       HYPRXA_BAD = 2,
};

struct hyprxa_sample { /* 32 bytes */
    int64_t time_us;   /* years 1 to 9999 */
    struct hyprxa_value value;
    uint32_t quality;
    uint32_t source_code; /* the source's own status word, kept for diagnosis; 0: none */
};

/* --- subscriptions --- */

/* One series of a source.  The host's, read-only.  The same address from the subscribe(), create() or
 * add() that brings it until the unsubscribe(), remove(), drop() or destroy() that ends it.  Readable
 * for longer: until the connection that carried it is destroyed or, in one with a remove(), at least
 * a minute after that, so that run() may be about to publish meanwhile. */
struct hyprxa_subscription {
    uint32_t size;
    uint32_t json_len;
    const char
        *json;      /* an object, compact, valid against subscription_schema, defaults filled in */
    const char *id; /* short digest of it, for logs */
    int64_t last_time_us; /* newest time known when it was subscribed; HYPRXA_NO_TIME: none */
};
#define HYPRXA_NO_TIME INT64_MIN
typedef const struct hyprxa_subscription *const *hyprxa_subs; /* an array of pointers */

/* Samples of one subscription. */
struct hyprxa_batch {
    const struct hyprxa_subscription *subscription; /* one the link carries */
    const struct hyprxa_sample *samples;            /* times strictly rising */
    size_t n;
};

/* --- what the host gives --- */

struct hyprxa_host;
struct hyprxa_base_connection;

/* One integration, as the plugin sees it.  The host's, read-only, from create() until destroy() of
 * the integration and of its connections has returned. */
struct hyprxa_ctx {
    uint32_t size;
    uint32_t options_len;
    const struct hyprxa_host *host;
    const char *source;  /* its name in conf.d */
    const char *options; /* JSON object, valid against options_schema, defaults filled in; "{}" */
};

/* One connection, as the plugin sees it.  The host's, read-only, from connect() or create() until
 * destroy() of the connection has returned. */
struct hyprxa_link {
    uint32_t size;
    uint32_t number; /* counts the connections of the integration, from 1 */
    const struct hyprxa_host *host;
    struct hyprxa_ctx *ctx;
};

enum { HYPRXA_LOG_DEBUG = 0, HYPRXA_LOG_INFO = 1, HYPRXA_LOG_WARNING = 2, HYPRXA_LOG_ERROR = 3 };

/* The host's functions.  Outlives every object of the plugin.  All members are set. */
struct hyprxa_host {
    uint32_t size;
    uint32_t abi_minor;

    /* Write a line to the log, under the source's name.  Control characters are escaped, 1,000 bytes
     * are kept.  `level`: HYPRXA_LOG_...  [any] */
    void (*log)(struct hyprxa_ctx *ctx, int32_t level, const char *message);

    /* --- connections, for plugins with an integration of their own: connect() and attach() only inside
     * its subscribe(), disconnect() and detach() also inside its unsubscribe().  What is done is staged:
     * it becomes real if that function returns OK and all new connections start; else it is undone.
     * [control] --- */

    /* Add a connection that carries `subs` (at least one).  The host copies the array and owns `conn`
     * from then on (destroy() is called in any case); on failure the caller still does.
     * E_INVALID: not inside subscribe(), or a subscription that is not of this integration.
     * E_NOMEM. */
    hyprxa_status (*connect)(struct hyprxa_ctx *ctx, const struct hyprxa_base_connection *ops,
                             void *conn, hyprxa_subs subs, size_t n, struct hyprxa_link **ret,
                             struct hyprxa_error *err);
    /* Stop, join and destroy a connection.  What only it carries is unsubscribed: give such
     * subscriptions to another connection in the same call, if they are to stay. */
    void (*disconnect)(struct hyprxa_link *link);
    /* Let a running connection carry `subs` too.  Calls its add() now and, if the whole is undone, its
     * remove().  E_UNSUPPORTED: it has no add(); else what add() said.  E_INVALID, E_NOMEM. */
    hyprxa_status (*attach)(struct hyprxa_link *link, hyprxa_subs subs, size_t n,
                            struct hyprxa_error *err);
    /* Let a connection no longer carry `subs`.  Its remove(), if any, is called when the whole becomes
     * real; a connection left with none is disconnected. */
    void (*detach)(struct hyprxa_link *link, hyprxa_subs subs, size_t n);

    /* --- of a running connection, from start() and run() only.  [run] --- */

    /* Publish `n` batches: live, and to storage.  Copies everything.  One call with many batches is much
     * cheaper than many calls.  Waits up to `timeout_ms` for room in the queue (0: not at all; -1: until
     * there is).
     * E_AGAIN, E_CANCELED (stop: at once, also while waiting), E_OFFLINE (set_online(false), or start() has
     * not returned), E_NOMEM: nothing was taken.
     * E_ORDER, E_INVALID: the wrong batches were refused, each whole, and counted; all others were
     * taken.  The code is that of the first wrong one.  E_ORDER: a time lies before one already
     * published for this subscription, by whichever connection, in this run of the server or an
     * earlier one.  A sample *at* the last time is left out and counted as duplicate; that is no error.
     * E_INVALID: a subscription the link never carried, an unknown type or quality, a time out of
     * range, a value over HYPRXA_VALUE_MAX; or the call as a whole is larger than the queue, then
     * nothing was taken.
     * E_NOT_FOUND: a subscription was removed meanwhile; its batches were left out, all others were
     * taken.  remove() or stop follows or came already: nothing to do but not to count them as
     * published.  A connection without a remove() gets OK instead. */
    hyprxa_status (*publish)(struct hyprxa_link *link, const struct hyprxa_batch *batches, size_t n,
                             int32_t timeout_ms);
    /* As publish(), to storage only and in any order: what a source has from before.  The first sample
     * stored for a time stays. */
    hyprxa_status (*publish_history)(struct hyprxa_link *link, const struct hyprxa_batch *batches,
                                     size_t n, int32_t timeout_ms);
    /* Read what state_set() saved under `key` for this source, by whichever connection, in this run of
     * the server or an earlier one.  `ret_len` gets the length, also with E_CAPACITY (more than
     * `cap` bytes: nothing was copied).  E_NOT_FOUND, E_SOURCE: storage failed. */
    hyprxa_status (*state_get)(struct hyprxa_link *link, const char *key, void *bytes, size_t cap,
                               size_t *ret_len);
    /* Save up to HYPRXA_STATE_MAX bytes under `key` (1 to 200 bytes) with the samples that this link
     * published before: after a crash the state is never newer than the samples.  It may be older;
     * publishing the same samples again is then harmless, they are duplicates.  Waits for room as
     * publish(..., -1).  E_CANCELED, E_INVALID, E_NOMEM.  Works offline too. */
    hyprxa_status (*state_set)(struct hyprxa_link *link, const char *key, const void *bytes,
                               size_t len);
    /* false: the source is away, publish() is refused with E_OFFLINE; true: it is back.  A connection is
     * online when run() is entered. */
    void (*set_online)(struct hyprxa_link *link, bool online);
    /* Give up `subs`: the source no longer serves them.  Subscribers that no other connection serves are
     * told `why`.  With the last one the connection is asked to stop. */
    void (*drop)(struct hyprxa_link *link, hyprxa_subs subs, size_t n,
                 const struct hyprxa_error *why);
    /* Sleep up to `timeout_ms` (0: only look; -1: until stop).  True: leave start() or run() now. */
    bool (*wait)(struct hyprxa_link *link, int32_t timeout_ms);
    /* A descriptor that becomes readable when asked to stop, for poll().  The host's: neither read nor
     * close it.  -1: no descriptor left. */
    int (*stop_fd)(struct hyprxa_link *link);
};
enum { HYPRXA_STATE_MAX = 1048576, HYPRXA_STATE_KEY_MAX = 200 };

/* --- what the plugin gives --- */

/* The base of a connection: one per connection to the source, with a thread of its own.
 *
 * Life: create() or host->connect(); start(); run() until stopped; destroy().
 * When run() or a later start() fails the connection is offline; the host waits (1 s, doubling to
 * 30 s, with jitter) and calls start() and run() again on the same object, subscriptions kept.
 * HYPRXA_E_INVALID, _NOT_FOUND and _UNSUPPORTED are final: the subscriptions are dropped with that
 * reason, the object is destroyed.  The same holds for run() returning OK unasked: the source has
 * ended. */
struct hyprxa_base_connection {
    uint32_t size;
    uint32_t reserved; /* 0 */

    /* Pump until host->wait() or stop_fd say so, or publish() returns E_CANCELED; then return within the
     * grace time (5 s), with any status.  A run() that does not is abandoned: the object is never
     * destroyed and the integration takes no more subscriptions.  [run] */
    hyprxa_status (*run)(void *conn, struct hyprxa_link *link, struct hyprxa_error *err);
    /* Free it.  Exactly once, never while start() or run() is inside.  [control] */
    void (*destroy)(void *conn);

    /* Make a connection for these subscriptions; quick, start() is the place to wait.  Required without
     * an integration->subscribe(), else not called.  `self` is what integration->create() made, else
     * NULL.  `subs` the array is borrowed, what it points to stays.  E_INVALID, _NOT_FOUND: a
     * subscription that cannot be served.  Undone (destroy) if another fails to start.  [control] */
    hyprxa_status (*create)(struct hyprxa_ctx *ctx, void *self, hyprxa_subs subs, size_t n,
                            void **ret, struct hyprxa_error *err);

    /* --- optional --- */

    /* Open the source.  Subscribers wait for it, no longer than the connect deadline (10 s): failing, or
     * passing it, undoes the whole subscribe, and the client is told.  Not given: connected at once.
     * Again before every restart of run().  [run] */
    hyprxa_status (*start)(void *conn, struct hyprxa_link *link, struct hyprxa_error *err);
    /* Wake start() or run() out of a wait that host->wait() and stop_fd do not reach.  May be called more
     * than once, also when neither is inside.  [any] */
    void (*stop)(void *conn);
    /* Carry these too, all or none.  `conn` may be inside start() or run(): lock.  Without it the pool
     * makes new connections only.  [control] */
    hyprxa_status (*add)(void *conn, hyprxa_subs subs, size_t n, struct hyprxa_error *err);
    /* Carry these no longer; cannot fail.  `conn` may be inside start() or run(): lock.  Without it the
     * host leaves out what is still published for them.  [control] */
    void (*remove)(void *conn, hyprxa_subs subs, size_t n);
};

typedef void hyprxa_list_fn(void *arg, const char *subscription_json);

/* The base of an integration: one per source.  Every member is optional.  Without subscribe() the host
 * pools connections; the other members work all the same. */
struct hyprxa_base_integration {
    uint32_t size;
    uint32_t reserved; /* 0 */

    /* Make the plugin's own object for a source; `self` below.  Not given: `self` is NULL.  Only
     * host->log may be called here.  [control] */
    hyprxa_status (*create)(struct hyprxa_ctx *ctx, void **ret, struct hyprxa_error *err);
    /* Serve these, none of which is served yet, all or none: connect() or attach() so that each is carried
     * by a connection.  [control] */
    hyprxa_status (*subscribe)(void *self, hyprxa_subs subs, size_t n, struct hyprxa_error *err);
    /* subscribe() returned OK, but a connection did not start: forget these.  destroy() of the staged
     * connections comes before or, if a start() is slow to end, after this.  [control] */
    void (*subscribe_undone)(void *self, hyprxa_subs subs, size_t n);
    /* Serve these no longer.  Not given, or what it leaves undone: the host detaches them from every
     * connection.  Failing keeps all of them.  [control] */
    hyprxa_status (*unsubscribe)(void *self, hyprxa_subs subs, size_t n, struct hyprxa_error *err);
    /* How many more it would take now; -1: no limit of its own.  Not given: no limit but the pool's.
     * [control] */
    int64_t (*capacity)(void *self);
    /* Prepare to end: no call but destroy() follows for `self`.  The host then disconnects every
     * connection.  [control] */
    void (*close)(void *self);
    /* Free it.  Once, after close() and after every connection was destroyed; not called when one was
     * abandoned.  [control] */
    void (*destroy)(void *self);
    /* Own details for the administrator: a JSON object written to `json` with its NUL, if `cap` bytes
     * suffice.  Returns its length without NUL, like snprintf; 0: none now.  [control] */
    size_t (*info)(void *self, char *json, size_t cap);
    /* Name the items the source offers, for browsing and for `record: all`: `item(arg, json)` for each, a
     * subscription without its "source".  [control] */
    hyprxa_status (*list)(struct hyprxa_ctx *ctx, void *self, hyprxa_list_fn *item, void *arg,
                          struct hyprxa_error *err);
};

enum { /* hyprxa_plugin.flags */
       /* One of the scopes suffices.  Default: a client needs all. */
       HYPRXA_PLUGIN_SCOPES_ANY = 1u << 0,
       /* After deinit() nothing of it is in use: the host may unmap it.  Default: it stays mapped. */
       HYPRXA_PLUGIN_UNLOADABLE = 1u << 1,
       /* Two generations must not run side by side: on replacement the old one stops first. */
       HYPRXA_PLUGIN_EXCLUSIVE = 1u << 2,
};

/* The plugin.  The first four members are checked before anything else is read. */
struct hyprxa_plugin {
    uint32_t size;                   /* sizeof(struct hyprxa_plugin) */
    uint32_t abi_major;              /* HYPRXA_ABI_MAJOR */
    uint32_t abi_minor;              /* HYPRXA_ABI_MINOR */
    uint32_t flags;                  /* HYPRXA_PLUGIN_... */
    const char *name;                /* required: letters, digits, `_`, `-`, `.` */
    const char *version;             /* required, free text */
    const char *description;         /* required, one sentence */
    const char *subscription_schema; /* required, JSON Schema of a subscription (with "source") */
    const char *options_schema;      /* JSON Schema of `options`; NULL: takes no options */
    const char *const *scopes;       /* ends with NULL; NULL: conf.d alone decides */
    const struct hyprxa_base_integration *integration; /* NULL: the host pools */
    const struct hyprxa_base_connection *connection;   /* required without integration->subscribe */
    uint32_t max_subscriptions_per_connection;         /* of the pool; 0: no limit */
    uint32_t max_connections;                          /* of the pool, per source; 0: no limit */

    /* --- optional --- */
    hyprxa_status (*init)(struct hyprxa_error *err); /* once, before anything else.  [control] */
    void (*deinit)(void);                            /* after the last destroy().  [control] */
    const void *(*extension)(const char *id); /* later additions by name; NULL: unknown.  [any] */
};

/* The one symbol a plugin exports. */
extern
#if defined(__GNUC__)
    __attribute__((visibility("default")))
#endif
    const struct hyprxa_plugin hyprxa_plugin_v1;

#ifdef __cplusplus
}
#endif

#endif
