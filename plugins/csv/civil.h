/* The calendar: days since 1970-01-01 of a proleptic Gregorian date. */
#ifndef HYPRXA_CSV_CIVIL_H
#define HYPRXA_CSV_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

static inline bool civil_is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static inline int civil_month_days(int year, int month)
{
    static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && civil_is_leap(year) ? 1 : 0);
}

/* Valid for years from 1 on; month 1-12, day 1-31. */
static inline int64_t civil_days(int year, int month, int day)
{
    static const int16_t before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    int64_t y = year - 1;
    int64_t days = y * 365 + y / 4 - y / 100 + y / 400 - 719162; /* 1 January of the year */
    return days + before[month - 1] + (month > 2 && civil_is_leap(year) ? 1 : 0) + day - 1;
}

#endif
