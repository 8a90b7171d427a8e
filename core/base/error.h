/* What went wrong, for code (a number) and for a person (a bounded sentence).
 *
 * A function that can fail in more than one way returns 0 or one of these negative codes; where a
 * human needs the why it also fills a caller-owned `struct error`, which may be NULL.  Callers add
 * context with error_prefix() on the way up; the error is logged or answered once, at the top. */
#ifndef HYPRXA_BASE_ERROR_H
#define HYPRXA_BASE_ERROR_H

#include <stdarg.h>

enum error_code {
    ERR_INVALID = -1,      /* the input is wrong; trying again cannot help */
    ERR_NOMEM = -2,        /* out of memory */
    ERR_AGAIN = -3,        /* full or not ready: nothing was taken, try again later */
    ERR_CLOSED = -4,       /* the object was stopped */
    ERR_EXISTS = -5,       /* there is one already */
    ERR_NOT_FOUND = -6,    /* there is none */
    ERR_LIMIT = -7,        /* a configured or built-in limit would be passed */
    ERR_IO = -8,           /* the system said no; `sys` holds errno */
    ERR_CORRUPT = -9,      /* stored or received bytes are not what they must be */
    ERR_UNAVAILABLE = -10, /* a back end cannot be reached */
    ERR_TIMEOUT = -11,     /* a deadline passed */
    ERR_REFUSED = -12,     /* a plugin or policy said no */
    ERR_UNSUPPORTED = -13, /* not offered by this build, back end or version */
};

enum { ERROR_MESSAGE_SIZE = 512 };

struct error {
    int code; /* 0 or an error_code */
    int sys;  /* errno where it explains `code`, else 0 */
    char message[ERROR_MESSAGE_SIZE];
};

#define ERROR_INIT \
    {              \
        0, 0, ""   \
    }

/* Fill `err` (NULL: nothing is kept) and return `code`, so that `return error_set(...)` reads well.
 * A message longer than the array is cut at a UTF-8 boundary and ends in "...".  [any] */
int error_set(struct error *err, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int error_setv(struct error *err, int code, const char *format, va_list args);

/* As error_set() with ": <text of errno_value>" appended and `sys` set.  Code ERR_NOMEM for ENOMEM,
 * else ERR_IO.  [any] */
int error_set_errno(struct error *err, int errno_value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Put "<text>: " before the message.  NULL is allowed.  [any] */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The code's name in lower case ("invalid", "not found"), never NULL.  [any] */
const char *error_code_name(int code);

#endif
