/* Time zones: local time to UTC, from the system's zone files.
 *
 * The C library converts only through the process-wide TZ, which a plugin must not touch, so the
 * zone's TZif file is read here.  Its closing rule is expanded once, up to the year 2500.  A zone is
 * constant after zone_open(): any thread may use it. */
#ifndef HYPRXA_CSV_ZONE_H
#define HYPRXA_CSV_ZONE_H

#include <stddef.h>
#include <stdint.h>

struct zone;

/* Open the IANA zone `name` ("Europe/Berlin"; "UTC" needs no file) of the folder `dir` (NULL: the
 * system's).  Returns NULL with a text in `message` when it is unknown, unreadable or memory is out. */
struct zone *zone_open(const char *dir, const char *name, char *message, size_t message_size);
void zone_free(struct zone *zone);

/* The UTC times a local clock reading may stand for, both in seconds since 1970.  Where the clock was
 * set back, a reading occurs twice and the two differ; elsewhere they are equal.  A reading that the
 * clock skipped counts with the offset before the jump. */
void zone_to_utc(const struct zone *zone, int64_t local_s, int64_t *ret_earlier_s,
                 int64_t *ret_later_s);

#endif
