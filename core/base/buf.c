#include "base/buf.h"

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf)BUF_INIT(max);
}

void buf_release(struct buf *b)
{
    if (!b)
        return;
    free(b->data);
    *b = (struct buf)BUF_INIT(b->max);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    char *data = b->data;
    if (ret_len)
        *ret_len = b->len;
    *b = (struct buf)BUF_INIT(b->max);
    return data;
}

int buf_reserve(struct buf *b, size_t n)
{
    if (b->failed)
        return ERR_LIMIT;
    if (n > b->max || b->len > b->max - n) {
        b->failed = true;
        return ERR_LIMIT;
    }
    size_t need = b->len + n + 1;
    if (need <= b->cap)
        return 0;
    size_t cap = b->cap ? b->cap : 64;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max && b->max < SIZE_MAX)
        cap = b->max + 1; /* never more than the ceiling and its NUL */
    char *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return ERR_NOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, const void *bytes, size_t n)
{
    int rc = buf_reserve(b, n);
    if (rc)
        return rc;
    if (n)
        memcpy(b->data + b->len, bytes, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int buf_append_str(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_append_int(struct buf *b, long long value)
{
    char digits[24];
    char *p = digits + sizeof digits;
    unsigned long long rest =
        value < 0 ? 0ull - (unsigned long long)value : (unsigned long long)value;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        *--p = '-';
    return buf_append(b, p, (size_t)(digits + sizeof digits - p));
}

int buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    int rc = n < 0 ? ERR_INVALID : buf_reserve(b, (size_t)n);
    if (!rc) {
        vsnprintf(b->data + b->len, (size_t)n + 1, format, again);
        b->len += (size_t)n;
    } else if (n < 0) {
        b->failed = true;
    }
    va_end(again);
    return rc;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}
