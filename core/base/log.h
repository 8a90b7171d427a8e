/* Logging: one JSON object a line on standard error.
 *
 * The line is a compact form of the log document (timestamp, level, logger, message, and where set
 * request id and user), written with one write(2) and no lock held over it.  Library code returns
 * errors and does not log; a request, a manager loop and main do, once.  Control characters and
 * line breaks in texts are escaped: nobody can forge a line. */
#ifndef HYPRXA_BASE_LOG_H
#define HYPRXA_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

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
bool log_enabled(enum log_level level);

/* What every line of this thread carries until changed; NULL clears.  The texts are copied.  [any] */
void log_set_request(const char *request_id, const char *user, const char *address);

/* `logger` is "hyprxa.<subsystem>".  [any] */
void log_write(enum log_level level, const char *logger, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(logger, ...)                                 \
    do {                                                       \
        if (log_enabled(LOG_LEVEL_DEBUG))                      \
            log_write(LOG_LEVEL_DEBUG, (logger), __VA_ARGS__); \
    } while (0)
#define log_info(logger, ...)     log_write(LOG_LEVEL_INFO, (logger), __VA_ARGS__)
#define log_warning(logger, ...)  log_write(LOG_LEVEL_WARNING, (logger), __VA_ARGS__)
#define log_error(logger, ...)    log_write(LOG_LEVEL_ERROR, (logger), __VA_ARGS__)
#define log_critical(logger, ...) log_write(LOG_LEVEL_CRITICAL, (logger), __VA_ARGS__)

/* Lines logged so far at warning and above, for /metrics.  [any] */
unsigned long long log_count(enum log_level level);

#endif
