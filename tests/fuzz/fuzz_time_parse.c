/* Input: a time and the name of a zone, a line each.  A time that is read lies within years 1 to 9999,
 * and its ISO text means the same; a duration is read or refused with a reason. */
#include "base/auto.h"
#include "base/time.h"
#include "fuzz.h"

static const int64_t now_us = INT64_C(1700000000123456);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = fuzz_text(&data, &size);
    AUTO_FREE char *zone = fuzz_text(&data, &size);
    struct error err = ERROR_INIT;
    int64_t time_us = 0, again_us = 0;
    int rc = time_parse(text, zone, now_us, &time_us, &err);
    require(rc == 0 || err.message[0], "a time is refused with a reason");
    if (rc == 0) {
        require(time_us >= TIME_US_MIN && time_us <= TIME_US_MAX, "a time is representable");
        char iso[TIME_ISO_SIZE];
        require(time_format_iso(time_us, iso) == strlen(iso), "its text has its length");
        require(time_parse(iso, "UTC", 0, &again_us, &err) == 0 && again_us == time_us,
                "its text means the same");
    }
    int64_t duration_us = -1;
    rc = time_parse_duration(text, &duration_us, &err);
    require(rc ? err.message[0] != '\0' : duration_us >= 0, "a duration is not negative");
    return 0;
}
