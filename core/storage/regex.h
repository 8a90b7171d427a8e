/* Regular expressions from outside: PCRE2 under limits, so that no pattern can take a core away. */
#ifndef HYPRXA_STORAGE_REGEX_H
#define HYPRXA_STORAGE_REGEX_H

#include "base/error.h"

#include <stddef.h>

struct regex; /* used by one thread at a time */

enum regex_option {
    REGEX_IGNORE_CASE = 1 << 0,
    REGEX_MULTILINE = 1 << 1,
    REGEX_DOT_ALL = 1 << 2,
    REGEX_EXTENDED = 1 << 3,
};

/* ERR_INVALID: the pattern is wrong, with the offset and PCRE2's words; ERR_NOMEM. */
int regex_new(const char *pattern, size_t len, unsigned options, struct regex **ret,
              struct error *err);
void regex_free(struct regex *re);
/* 1: found somewhere in `text`; 0: not; ERR_LIMIT: too many steps; ERR_NOMEM. */
int regex_search(struct regex *re, const char *text, size_t len, struct error *err);

#endif
