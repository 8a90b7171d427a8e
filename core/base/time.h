/* Clocks, and times as text.
 *
 * A point in time is int64_t microseconds since 1970-01-01T00:00:00 UTC and its name ends in
 * `_us`; years 1 to 9999 are representable.  A duration for waiting is int64_t nanoseconds or int
 * milliseconds, named so.  Deadlines are on the monotonic clock. */
#ifndef HYPRXA_BASE_TIME_H
#define HYPRXA_BASE_TIME_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define TIME_US_PER_SECOND INT64_C(1000000)
#define TIME_US_MIN        INT64_C(-62135596800000000) /* 0001-01-01T00:00:00 */
#define TIME_US_MAX        INT64_C(253402300799999999) /* 9999-12-31T23:59:59.999999 */

enum { TIME_ISO_SIZE = 32 }; /* room for an ISO text and its NUL */

int64_t time_now_us(void);       /* wall clock, UTC.  [any] */
int64_t time_monotonic_ms(void); /* for deadlines and durations.  [any] */
int64_t time_monotonic_ns(void);

/* Write `YYYY-MM-DDTHH:MM:SS[.ffffff]` (no fraction when it is zero, no zone: UTC) and return its
 * length.  Times out of range are clamped.  [any] */
size_t time_format_iso(int64_t time_us, char out[TIME_ISO_SIZE]);

/* Broken-down UTC -> microseconds; month 1-12, day 1-31, no range check beyond int64.  [any] */
int64_t time_from_civil(int year, int month, int day, int hour, int minute, int second, int us);

/* Parse a time of a request.  Accepts ISO 8601 dates and date-times (`T` or space between, seconds
 * and fraction optional, `.` or `,`), `YYYYMMDD`, `MM/DD/YYYY`, `Month D YYYY [H[am|pm]]`, `HH:MM`
 * (today), `YYYY-MM`; an offset or `Z` in the text wins, else it is local time in `zone` (an IANA
 * name; NULL or empty: the server's own zone); relative `now`, `-15m`, `-8h`, `-7d`.
 * ERR_INVALID: the text cannot be read.  ERR_NOT_FOUND: the zone is unknown.  [any] */
int time_parse(const char *text, const char *zone, int64_t now_us, int64_t *ret_us,
               struct error *err);

/* Parse a duration of the configuration, `<int>(us|ms|s|m|h|d)`, into microseconds.  ERR_INVALID. */
int time_parse_duration(const char *text, int64_t *ret_us, struct error *err);

#endif
