/* What the fuzz targets share.  An input may hold several parts, each on a line of its own. */
#ifndef HYPRXA_TESTS_FUZZ_H
#define HYPRXA_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void require(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "violated: %s\n", what);
    abort();
}

/* The next line as text with a NUL; malloced.  Takes it from data and size; "" when there is none. */
static inline char *fuzz_text(const uint8_t **data, size_t *size)
{
    const uint8_t *end = *size ? memchr(*data, '\n', *size) : NULL;
    const size_t len = end ? (size_t)(end - *data) : *size;
    char *text = malloc(len + 1);
    if (!text)
        abort();
    if (len)
        memcpy(text, *data, len);
    text[len] = '\0';
    *data += end ? len + 1 : len;
    *size -= end ? len + 1 : len;
    return text;
}

#endif
