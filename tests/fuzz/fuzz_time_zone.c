/* Input: the bytes of a TZif file.  What is read as a zone has offsets of about a day at most, at
 * every time there is, and takes a local time back to a time near it. */
#include "base/time.h"
#include "base/time_zone.h"
#include "fuzz.h"

enum { OFFSET_MAX_S = 26 * 3600 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t years_s = 31556952;
    struct time_zone *zone = NULL;
    struct error err = ERROR_INIT;
    if (time_zone_parse(data, size, &zone, &err)) {
        require(err.message[0], "a file is refused with a reason");
        return 0;
    }
    for (int64_t year = -1970; year < 8030; year += 61) {
        const int64_t utc_s = year * years_s + year * 7919 % years_s;
        const int64_t offset_s = time_zone_offset_s(zone, utc_s);
        require(offset_s >= -OFFSET_MAX_S && offset_s <= OFFSET_MAX_S, "an offset is about a day");
        const int64_t back_s = time_zone_to_utc_s(zone, utc_s + offset_s);
        require(back_s - utc_s >= -2 * OFFSET_MAX_S && back_s - utc_s <= 2 * OFFSET_MAX_S,
                "a local time is a time near it");
    }
    time_zone_free(zone);
    return 0;
}
