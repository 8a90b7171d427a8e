#include "base/time.h"

#include <time.h>

int64_t time_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * TIME_US_PER_SECOND + now.tv_nsec / 1000;
}

int64_t time_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

int64_t time_monotonic_ms(void)
{
    return time_monotonic_ns() / 1000000;
}

/* Days since 1970-01-01 of a civil date and back: H. Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms" (eras of 400 years that start on 1 March). */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void civil_from_days(int64_t days, int *year, int *month, int *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

int64_t time_from_civil(int year, int month, int day, int hour, int minute, int second, int us)
{
    int64_t seconds =
        days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    return seconds * TIME_US_PER_SECOND + us;
}

static char *put_digits(char *p, int value, int width)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        p[i] = (char)('0' + value % 10);
    return p + width;
}

size_t time_format_iso(int64_t time_us, char out[TIME_ISO_SIZE])
{
    if (time_us < TIME_US_MIN)
        time_us = TIME_US_MIN;
    if (time_us > TIME_US_MAX)
        time_us = TIME_US_MAX;
    const int64_t day_us = 86400 * TIME_US_PER_SECOND;
    int64_t days = time_us / day_us - (time_us % day_us < 0);
    int64_t rest = time_us - days * day_us;
    int seconds = (int)(rest / TIME_US_PER_SECOND), us = (int)(rest % TIME_US_PER_SECOND);
    int year, month, day;
    civil_from_days(days, &year, &month, &day);
    char *p = put_digits(out, year, 4);
    *p++ = '-';
    p = put_digits(p, month, 2);
    *p++ = '-';
    p = put_digits(p, day, 2);
    *p++ = 'T';
    p = put_digits(p, seconds / 3600, 2);
    *p++ = ':';
    p = put_digits(p, seconds / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, seconds % 60, 2);
    if (us) {
        *p++ = '.';
        p = put_digits(p, us, 6);
    }
    *p = '\0';
    return (size_t)(p - out);
}
