/* Timestamps of rows: text to microseconds UTC, in the format that the source's options name. */
#ifndef HYPRXA_CSV_TIMESTAMP_H
#define HYPRXA_CSV_TIMESTAMP_H

#include "zone.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum timestamp_kind {
    TIMESTAMP_ISO8601, /* YYYY-MM-DD[(T| )HH:MM[:SS[(.|,)fraction]]][Z|(+|-)HH[[:]MM]], or YYYYMMDD... */
    TIMESTAMP_UNIX,    /* seconds since 1970, a fraction allowed */
    TIMESTAMP_UNIX_MS, /* milliseconds since 1970, a fraction allowed */
    TIMESTAMP_PATTERN, /* strptime(3), and %f for the digits of a fraction of a second */
};

enum { TIMESTAMP_TEXT_MAX = 128 }; /* a longer text is no timestamp */

struct timestamp_format {
    enum timestamp_kind kind;
    const char *pattern;     /* of TIMESTAMP_PATTERN; borrowed */
    const struct zone *zone; /* of times that do not tell their offset; borrowed */
};

/* Does not look at the text beyond `len`.  `after_us` is the time of the row before (INT64_MIN: none):
 * it tells the first from the second pass of an hour that the clock shows twice.  False, and
 * *ret_us untouched, when the text is not such a timestamp or lies outside the years 1 to 9999. */
bool timestamp_parse(const struct timestamp_format *format, const char *text, size_t len,
                     int64_t after_us, int64_t *ret_us);

#endif
