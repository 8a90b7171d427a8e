"""Times in queries and what lies between them, as contract section 2 has it.

`[D n]` names the row of contract section 14 that a test decides.  The forms of a time are tested in
tests/unit/base/test_time_table.c."""

import datetime
import unittest

from lib import client
from lib.server import Server, until

CONF = """
sources:
  line:
    plugin: csv
    record: all
    options: { path: %s, poll: 200ms }
"""
ITEM = {"n": {"source": "line", "column": "n"}}
UNREADABLE = {"detail": "Unprocessable Entity"}


def iso(moment):
    return moment.isoformat()


class Times(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(env={"TZ": "America/New_York"})
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        # Rows every half hour of the last two days, one of them 1 us after another.
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
        cls.times = [now - datetime.timedelta(minutes=30 * i + 5) for i in range(96, -1, -1)]
        cls.times.insert(50, cls.times[49] + datetime.timedelta(microseconds=1))
        cls.now = now
        path = cls.server.folder / "line.csv"
        path.write_text("timestamp,n\n" + "".join(f"{iso(t)},{i}\n" for i, t in enumerate(cls.times)))
        (cls.server.conf_dir / "line.yaml").write_text(CONF % path)
        cls.server.start()
        cls.server.save_unitop("u", ITEM)
        until(lambda: len(cls.server.samples("u", "n")) == len(cls.times), "the rows are read")
        cls.server.post("/topics/save", {"topic": "t", "jschema": {}})
        for key in ("a", "b", "a"):
            cls.server.post("/events/publish", {"topic": "t", "routing_key": key, "payload": {}})
        cls.events = [row[0] for row in cls.server.get("/events/t/recorded").csv()[1:]]

    def samples(self, **query):
        reply = self.server.get(client.with_query("/timeseries/u/samples", dataItem="n", **query))
        self.assertEqual(reply.status, 200, reply)
        return [item["timestamp"] for item in reply.json()["items"]]

    def recorded(self, **query):
        reply = self.server.get(client.with_query("/timeseries/u/recorded", **query))
        self.assertEqual(reply.status, 200, reply)
        return [row[0] for row in reply.csv()[1:]]

    def expected(self, start, end):
        return [iso(t) for t in self.times if start <= t <= end]

    # --- ends ---

    def test_both_ends_are_in_the_range_of_samples_and_of_rows(self):
        """[D 8]"""
        micro = datetime.timedelta(microseconds=1)
        for first, last in ((10, 20), (49, 50), (0, len(self.times) - 1)):
            start, end = self.times[first], self.times[last]
            for ask in (self.samples, self.recorded):
                # +00:00, since the server's own zone is New York
                zoned = lambda a, b: ask(startTime=iso(a) + "Z", endTime=iso(b) + "+00:00")
                self.assertEqual(zoned(start, end), self.expected(start, end))
                self.assertEqual(zoned(start + micro, end), self.expected(start + micro, end))
                self.assertEqual(zoned(start, end - micro), self.expected(start, end - micro))

    def test_both_ends_are_in_the_range_of_events_which_come_in_order(self):
        """[D 9]"""
        self.assertEqual(len(self.events), 3)
        self.assertEqual(self.events, sorted(self.events))
        ask = lambda start, end: [row[0] for row in self.server.get(client.with_query(
            "/events/t/recorded", startTime=start, endTime=end, timezone="UTC")).csv()[1:]]
        self.assertEqual(ask(self.events[0], self.events[2]), self.events)
        self.assertEqual(ask(self.events[0], self.events[1]), self.events[:2])
        later = datetime.datetime.fromisoformat(self.events[1]) + datetime.timedelta(microseconds=1)
        self.assertEqual(ask(iso(later), self.events[2]), self.events[2:])

    # --- defaults ---

    def test_without_times_it_is_the_last_hour(self):
        start = self.now - datetime.timedelta(hours=1)
        for ask in (self.samples, self.recorded):
            self.assertEqual(ask(), self.expected(start, self.now))

    def test_a_start_that_is_left_out_is_an_hour_before_now_whatever_the_end(self):
        end = self.now - datetime.timedelta(minutes=20)
        for ask in (self.samples, self.recorded):
            self.assertEqual(ask(endTime=iso(end) + "Z"),
                             self.expected(self.now - datetime.timedelta(hours=1), end))
        reply = self.server.get("/timeseries/u/samples?dataItem=n&endTime=-2h")
        self.assertEqual((reply.status, reply.json()),
                         (422, {"detail": "startTime must not be after endTime."}))

    # --- zones ---

    def test_a_time_without_offset_is_of_the_zone_or_else_of_the_server(self):
        at = lambda zone: self.now.replace(tzinfo=datetime.timezone.utc).astimezone(zone)
        import zoneinfo
        for query_zone, zone in ((None, "America/New_York"), ("", "America/New_York"),
                                 ("UTC", "UTC"), ("Asia/Kolkata", "Asia/Kolkata"),
                                 ("America/New_York", "America/New_York"), ("EST", "EST")):
            end = at(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None)
            start = (at(zoneinfo.ZoneInfo(zone)) - datetime.timedelta(hours=5)).replace(tzinfo=None)
            for text in (iso, str):
                got = self.recorded(startTime=text(start), endTime=text(end), timezone=query_zone)
                self.assertEqual(got, self.expected(self.now - datetime.timedelta(hours=5), self.now),
                                 f"{zone} {start}")

    def test_an_offset_in_the_time_wins(self):
        zone = datetime.timezone(datetime.timedelta(hours=2))
        start = (self.now.replace(tzinfo=datetime.timezone.utc) -
                 datetime.timedelta(hours=5)).astimezone(zone)
        self.assertEqual(self.samples(startTime=iso(start), timezone="Asia/Tokyo"),
                         self.expected(self.now - datetime.timedelta(hours=5), self.now))

    def test_a_plus_sent_as_it_is_reads_as_the_original_reads_it(self):
        day = self.now.date() - datetime.timedelta(days=1)
        reply = self.server.get(f"/timeseries/u/recorded?startTime={day}T00:00:00+02:00&timezone=UTC")
        start = datetime.datetime.combine(day, datetime.time(2))
        self.assertEqual([row[0] for row in reply.csv()[1:]], self.expected(start, self.now))

    # --- relative ---

    def test_relative_times(self):
        for text, back in (("-15m", {"minutes": 15}), ("-8h", {"hours": 8}), ("-7d", {"days": 7}),
                           ("-3600s", {"hours": 1})):
            self.assertEqual(self.samples(startTime=text, endTime="now"),
                             self.expected(self.now - datetime.timedelta(**back), self.now), text)
        self.assertEqual(self.recorded(startTime="-8h", endTime="-2h"),
                         self.expected(self.now - datetime.timedelta(hours=8),
                                       self.now - datetime.timedelta(hours=2)))

    # --- refusals ---

    def test_what_is_no_time_is_refused_by_every_route(self):
        """[D 20]"""
        for path in ("/timeseries/u/samples?dataItem=n", "/timeseries/u/recorded?",
                     "/events/t/recorded?"):
            for name in ("startTime", "endTime", "start_time", "end_time"):
                for text in ("bogus", "2023-13-01", "T24:00:00", "1688169600", "1688169600000",
                             "1688169600.5", "+", "%20", "2023-02-29", "-5", "-5y", "15m",
                             "0000-01-01", "10000-01-01", "0001-01-01T00:00:00%2B02:00"):
                    reply = self.server.get(f"{path}&{name}={text}")
                    self.assertEqual((reply.status, reply.json()), (422, UNREADABLE),
                                     f"{path}&{name}={text}")

    def test_unknown_zones_are_refused_even_when_no_time_needs_one(self):
        """[D 20]"""
        for path in ("/timeseries/u/samples?dataItem=n", "/timeseries/u/recorded?",
                     "/events/t/recorded?"):
            for zone in ("No/Where", "../etc/passwd", "/etc/localtime", "Europe", "europe/berlin2",
                         "posixrules/", "UTC%2B1"):
                for more in ("", "&startTime=2023-01-01", "&startTime=-1h"):
                    reply = self.server.get(f"{path}&timezone={zone}{more}")
                    self.assertEqual(reply.status, 422, f"{zone}{more}")
                    self.assertIn("unknown time zone", reply.json()["detail"])

    def test_a_range_that_goes_backward_is_refused(self):
        """[D 20]  Equal ends are one moment, as both are in the range."""
        for path in ("/timeseries/u/samples?dataItem=n", "/timeseries/u/recorded?",
                     "/events/t/recorded?"):
            for start, end in (("2023-01-02", "2023-01-01"), ("now", "-1h"),
                               ("2023-01-01T00:00:00.000001", "2023-01-01")):
                reply = self.server.get(f"{path}&startTime={start}&endTime={end}")
                self.assertEqual((reply.status, reply.json()),
                                 (422, {"detail": "startTime must not be after endTime."}))

    def test_a_bad_regex_and_a_bad_scan_rate_are_refused(self):
        """[D 20]"""
        for path in ("/events/t/query?routingKey=(", "/events/t/recorded?routingKey=(",
                     "/timeseries/u/recorded?scanRate=0", "/timeseries/u/recorded?scanRate=-1",
                     "/timeseries/u/recorded?scanRate=1.5", "/timeseries/u/recorded?scan_rate=x"):
            self.assertEqual(self.server.get(path).status, 422, path)


if __name__ == "__main__":
    unittest.main()
