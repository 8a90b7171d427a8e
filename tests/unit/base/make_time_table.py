#!/usr/bin/env python3
"""Make time_table.inc: texts as python-dateutil (2.9) reads them, in zones as zoneinfo has them.

    python3 make_time_table.py > time_table.inc

The rows are committed; run this again to add forms.  Contract section 2 says what the judge does not
know: a local time that exists twice, or not at all, is the later of its readings."""

import datetime
import warnings
import zoneinfo

from dateutil import parser

warnings.simplefilter("error")  # a zone the judge does not know is no judgement
NOW = datetime.datetime(2023, 3, 31, 22, 30, 0, 500000, datetime.timezone.utc)

DATES = ["2023-07-04", "2023-7-4", "20230704", "07/04/2023", "7/4/2023", "2023/07/04", "2023/7/4",
         "July 4 2023", "July 4, 2023", "4 July 2023", "4 Jul 2023", "Jul 4th, 2023",
         "Tue, 04 Jul 2023", "Tuesday 4 July 2023", "2023-02", "2023-07", "2024-02-29",
         "1969-12-31", "0001-01-01", "9999-12-31"]
TIMES = ["", "T10:00", "T10:00:00", " 10:00", " 10:00:05", " 10:00:05.25", " 10:00:05,250000",
         "T10:00:05.123456789", "T10", "T1000", "T100005", " 5pm", " 5 pm", " 5:30 PM", " 12am",
         " 12:30am", " 23:59:59.999999"]
OFFSETS = ["", "Z", " Z", " UTC", "+02:00", "-0530", "+02", " +0200", " -08:00", " 02:00"]
ZONES = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia",
         "Europe/London", "EST"]
ALONE = ["10:00", "10:00:00.5", "5pm", "00:00", "23:59", "10:00Z"]
# Around changes of the clock, and of the whole calendar day (Apia skipped 2011-12-30).
LOCAL = [("America/New_York", "2023-03-12"), ("America/New_York", "2023-11-05"),
         ("Europe/London", "2023-03-26"), ("Europe/London", "2023-10-29"),
         ("Australia/Lord_Howe", "2023-04-02"), ("Australia/Lord_Howe", "2023-10-01"),
         ("America/Sao_Paulo", "2018-11-04"), ("Africa/Casablanca", "2023-03-19"),
         ("Asia/Tehran", "2022-03-22"), ("Europe/Dublin", "2023-10-29"),
         ("America/New_York", "2045-03-12"), ("Europe/London", "2060-10-31"),
         ("Pacific/Apia", "2011-12-30"), ("Asia/Kathmandu", "1986-01-01")]
CLOCK = ["00:00", "00:15", "00:30", "01:00", "01:15", "01:30", "01:45", "01:59:59", "02:00", "02:15",
         "02:30", "02:59:59", "03:00", "12:00"]
REFUSED = ["bogus", "2023-13-01", "2023-02-30", "2023-02-29", "T24:00:00", "2023-07-04T24:00:00",
           "2023-07-04T10:60", "2023-07-04T10:00:60", " ", "1688169600", "1688169600000",
           "2023-07-04T25:00", "2023-07-04T10:00+25:00", "13/13/2023", "July 32 2023",
           "0000-01-01", "10000-01-01", "2023-00-10", "2023-07-00"]


def judge(text, zone):
    today = NOW.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None, hour=0, minute=0, second=0,
                                                             microsecond=0)
    try:
        said = parser.parse(text, default=today)
        if said.tzinfo is None:
            local = zoneinfo.ZoneInfo(zone)
            said = max((said.replace(tzinfo=local, fold=fold).astimezone(datetime.timezone.utc)
                        for fold in (0, 1)))
        return said.astimezone(datetime.timezone.utc).replace(tzinfo=None).isoformat()
    except (parser.ParserError, OverflowError, ValueError, Warning):
        return ""


def texts():
    for n, date in enumerate(DATES):
        for m, time in enumerate(TIMES):
            if len(date) == 7 and time.startswith("T10") and ":" not in time:
                continue  # the judge takes T10 for the 10th
            # Every date with every time; the offsets take turns.
            yield date + time, ZONES[(n + m) % len(ZONES)]
            # A day that is left out is the offset's today; the judge has no such thing.
            if time and time.strip()[-1:].isdigit() and len(date) > 7:
                yield date + time + OFFSETS[1 + (n + m) % (len(OFFSETS) - 1)], "America/New_York"
    for time in ALONE:
        for zone in ["UTC"] if "Z" in time else ZONES:
            yield time, zone
    for zone, date in LOCAL:
        for clock in CLOCK:
            yield f"{date}T{clock}", zone
    for text in REFUSED:
        yield text, "UTC"


if __name__ == "__main__":
    print("/* Made by make_time_table.py: what is read, in which zone, and what it is in UTC; \"\": refused. */")
    for text, zone in texts():
        print(f'{{"{text}", "{zone}", "{judge(text, zone)}"}},')
