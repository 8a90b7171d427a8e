/* A growable run of bytes with a ceiling.
 *
 * The owner gives the ceiling once, so that no input can make a buffer grow without end.  Failure is
 * sticky: after an append that did not fit, every later one fails too and `failed` stays set, so a
 * writer may append twenty times and look once.  `data` is always NUL-terminated after the first
 * append (the NUL is not counted).  Not shared between threads. */
#ifndef HYPRXA_BASE_BUF_H
#define HYPRXA_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data; /* NULL until the first append */
    size_t len; /* bytes used */
    size_t cap; /* bytes allocated */
    size_t max; /* ceiling of len */
    bool failed;
};

#define BUF_INIT(max_len)            \
    {                                \
        NULL, 0, 0, (max_len), false \
    }

/* --- life cycle --- */
void buf_init(struct buf *b, size_t max);
void buf_release(struct buf *b); /* NULL and zeroed are fine */
void buf_clear(struct buf *b);   /* empty it and forget a failure; keeps the memory */
/* Hand the bytes over (free() them); `b` is empty again.  NULL if nothing was ever appended. */
char *buf_take(struct buf *b, size_t *ret_len);

/* --- operations: 0, ERR_LIMIT past the ceiling, or ERR_NOMEM; on failure nothing is appended --- */
int buf_reserve(struct buf *b, size_t n); /* room for n more bytes at data + len */
int buf_append(struct buf *b, const void *bytes, size_t n);
int buf_append_str(struct buf *b, const char *text);
int buf_append_char(struct buf *b, char c);
int buf_append_int(struct buf *b, long long value); /* decimal */
int buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_consume(struct buf *b, size_t n); /* drop the first n bytes (n <= len) */

#define buf_append_lit(b, literal) buf_append((b), "" literal, sizeof(literal) - 1)

#endif
