/* Zones of the system's tz database, read by us: libc's own reader keeps one zone per process and
 * changes it through the environment, which threads cannot share. */
#ifndef HYPRXA_BASE_TIME_ZONE_H
#define HYPRXA_BASE_TIME_ZONE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct time_zone;

/* An IANA name ("Europe/Berlin", "EST", "UTC"); NULL or empty: the server's own zone.  ERR_NOT_FOUND:
 * there is no such zone.  ERR_CORRUPT: its file is damaged.  [any] */
int time_zone_open(const char *name, struct time_zone **ret, struct error *err);
/* From the bytes of a TZif file (RFC 8536, any version).  ERR_CORRUPT. */
int time_zone_parse(const unsigned char *bytes, size_t len, struct time_zone **ret,
                    struct error *err);
void time_zone_free(struct time_zone *zone); /* NULL is fine */

/* Seconds to add to UTC at that moment. */
int64_t time_zone_offset_s(const struct time_zone *zone, int64_t utc_s);
/* Of a local time, as seconds since 1970-01-01T00:00:00 local, the UTC.  A local time that exists
 * twice, or not at all, is the later of its two readings. */
int64_t time_zone_to_utc_s(const struct time_zone *zone, int64_t local_s);

#endif
