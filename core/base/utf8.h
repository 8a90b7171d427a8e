/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing past U+10FFFF. */
#ifndef HYPRXA_BASE_UTF8_H
#define HYPRXA_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length of the character that `text` (len > 0) starts with; 0: it starts with none.  [any] */
size_t utf8_first(const char *text, size_t len);
bool utf8_is_valid(const char *text, size_t len);

#endif
