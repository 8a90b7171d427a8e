#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Cut `text` (of `size` bytes, wholly used) at a character boundary and mark the cut. */
static void mark_cut(char *text, size_t size)
{
    size_t end = size - 4;
    while (end > 0 && ((unsigned char)text[end] & 0xC0u) == 0x80u)
        end--;
    memcpy(text + end, "...", 4);
}

int error_setv(struct error *err, int code, const char *format, va_list args)
{
    if (err) {
        err->code = code;
        err->sys = 0;
        int n = vsnprintf(err->message, sizeof err->message, format, args);
        if (n < 0)
            err->message[0] = '\0';
        else if ((size_t)n >= sizeof err->message)
            mark_cut(err->message, sizeof err->message);
    }
    return code;
}

int error_set(struct error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_setv(err, code, format, args);
    va_end(args);
    return code;
}

int error_set_errno(struct error *err, int errno_value, const char *format, ...)
{
    int code = errno_value == ENOMEM ? ERR_NOMEM : ERR_IO;
    char what[ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    char text[128];
    /* The GNU strerror_r: the returned text is either static or in `text`. */
    error_set(err, code, "%s: %s", what, strerror_r(errno_value, text, sizeof text));
    if (err)
        err->sys = errno_value;
    return code;
}

void error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return;
    char prefix[ERROR_MESSAGE_SIZE], whole[ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    int n = snprintf(whole, sizeof whole, "%s: %s", prefix, err->message);
    if (n >= 0 && (size_t)n >= sizeof whole)
        mark_cut(whole, sizeof whole);
    memcpy(err->message, whole, sizeof whole);
}

const char *error_code_name(int code)
{
    switch (code) {
    case 0:
        return "ok";
    case ERR_INVALID:
        return "invalid";
    case ERR_NOMEM:
        return "out of memory";
    case ERR_AGAIN:
        return "full";
    case ERR_CLOSED:
        return "closed";
    case ERR_EXISTS:
        return "exists";
    case ERR_NOT_FOUND:
        return "not found";
    case ERR_LIMIT:
        return "limit";
    case ERR_IO:
        return "i/o error";
    case ERR_CORRUPT:
        return "corrupt";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_TIMEOUT:
        return "timeout";
    case ERR_REFUSED:
        return "refused";
    case ERR_UNSUPPORTED:
        return "unsupported";
    default:
        return "unknown";
    }
}
