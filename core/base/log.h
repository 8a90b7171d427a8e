/* Logging: one JSON object a line on standard error.
 *
 * The line is a compact form of the log document (timestamp, level, logger, message, and where set
 * request id and user), written with one write(2) and no lock held over it.  Library code returns
 * errors and does not log; a request, a manager loop and main do, once.  Control characters and
 * line breaks in texts are escaped: nobody can forge a line.
 *
 * Beside the line every record at or above a level of its own may go to one *sink*, with the place in
 * the code, the thread and the error behind it; app sets it, to keep logs as documents. */
#ifndef HYPRXA_BASE_LOG_H
#define HYPRXA_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_CRITICAL
};

void log_set_level(enum log_level level);                        /* default INFO.  [any] */
bool log_level_from_name(const char *name, enum log_level *ret); /* "debug" ... "critical" */
const char *log_level_name(enum log_level level);
bool log_enabled(enum log_level level); /* for the line or for the sink */

/* What every line of this thread carries until changed; NULL clears.  The texts are copied.  [any] */
void log_set_request(const char *request_id, const char *user, const char *address);

struct log_place {
    const char *file, *function;
    int line;
};
#define LOG_PLACE (&(const struct log_place){__FILE__, __func__, __LINE__})

/* `error` (may be NULL) is what the message tells of; the sink gets it as data.  [any] */
void log_write_from(const struct log_place *place, enum log_level level, const char *logger,
                    const struct error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* `logger` is "hyprxa.<subsystem>".  [any] */
#define log_write(level, logger, ...) \
    log_write_from(LOG_PLACE, (level), (logger), NULL, __VA_ARGS__)
/* The message of a `struct error` belongs into the text as well. */
#define log_cause(level, logger, error, ...) \
    log_write_from(LOG_PLACE, (level), (logger), (error), __VA_ARGS__)
#define log_debug(logger, ...)                                 \
    do {                                                       \
        if (log_enabled(LOG_LEVEL_DEBUG))                      \
            log_write(LOG_LEVEL_DEBUG, (logger), __VA_ARGS__); \
    } while (0)
#define log_info(logger, ...)     log_write(LOG_LEVEL_INFO, (logger), __VA_ARGS__)
#define log_warning(logger, ...)  log_write(LOG_LEVEL_WARNING, (logger), __VA_ARGS__)
#define log_error(logger, ...)    log_write(LOG_LEVEL_ERROR, (logger), __VA_ARGS__)
#define log_critical(logger, ...) log_write(LOG_LEVEL_CRITICAL, (logger), __VA_ARGS__)

/* --- the sink --- */

/* One record, lent for the call.  Texts may hold any bytes but NUL; those of no request are empty. */
struct log_record {
    int64_t time_us;
    enum log_level level;
    const char *logger, *message;
    const char *request_id, *user, *address;
    struct log_place place;
    const struct error *error; /* NULL: none */
    int process_id, thread_id;
    const char *thread_name;
};

/* Called on the logging thread, which it must not block; what it logs itself goes to the console
 * only. */
typedef void log_sink_fn(void *ctx, const struct log_record *record);
/* From now on `sink` gets what is at or above `level`; NULL: nobody does.  Returns when no thread is
 * in the sink before it any more.  [control] */
void log_set_sink(log_sink_fn *sink, void *ctx, enum log_level level);
/* Keep what this thread logs from the sink (it works for the sink), or no longer. */
void log_mute_sink(bool muted);

/* Lines logged so far at warning and above, for /metrics.  [any] */
unsigned long long log_count(enum log_level level);

#endif
