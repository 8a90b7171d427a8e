"""Reading samples back: aggregates, fill, points, the newest; files aligned on time."""

import json
import math
import os
import random
import statistics
import unittest
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from lib import client
from lib.server import BUILD, Server, until

EPOCH = datetime(1970, 1, 1)
BASE = 1_700_000_000_000_000  # 2023-11-14T22:13:20
SECOND = 1_000_000


def iso(us):
    return (EPOCH + timedelta(microseconds=us)).isoformat()


def us_of(text):
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def line(item, at, value, quality=0):
    if value is None:
        return f"{item} {at} {quality} null \n"
    if isinstance(value, bool):
        return f"{item} {at} {quality} bool {'true' if value else 'false'}\n"
    if isinstance(value, (dict, list)):
        return f"{item} {at} {quality} json {json.dumps(value, separators=(',', ':'))}\n"
    kind = {int: "int", float: "double", str: "text"}[type(value)]
    return f"{item} {at} {quality} {kind} {value}\n"


class Data:
    """A server that holds `samples`: {item: [(time_us, value[, quality])]}, as the unitop `u`."""

    def __init__(self, samples, source=None):
        """`source`: more keys of the source in conf.d."""
        self.server = Server(env={"TIMESERIES_EXPIRE_AFTER": "36500d"})  # they are of 2023
        replay = self.server.folder / "replay.txt"
        replay.write_text("".join(line(item, *s) for item, list_ in samples.items()
                                  for s in list_))
        (self.server.conf_dir / "replay.yaml").write_text(json.dumps({"sources": {"replay": {
            "plugin": str(BUILD / "tests/plugins/replay.so"), "options": {"file": str(replay)},
            "record": [{"item": item} for item in samples], **(source or {})}}}))
        self.server.start()
        self.server.save_unitop("u", {i: {"source": "replay", "item": i} for i in samples})
        total = sum(map(len, samples.values()))
        until(lambda: f"\nhyprxa_storage_samples_total {total}\n" in
              self.server.get("/metrics").body.decode(), "the samples to be stored", 30)

    def close(self):
        """Stop it as an operator does: a sanitizer tells of leaks by the exit code."""
        try:
            code = self.server.stop(30)
        finally:
            self.server.__exit__(None, None, None)
        assert code == 0, code

    def get(self, path, headers=None, **query):
        query = {"startTime": iso(BASE), "endTime": iso(BASE + 86400 * SECOND),
                 "timezone": "UTC", **query}
        return self.server.get(client.with_query(f"/timeseries/u/{path}", **query), headers)

    def items(self, item, **query):
        reply = self.get("samples", dataItem=item, **query)
        assert reply.status == 200, reply
        body = reply.json()
        assert set(body) == {"subscription", "items"}, body
        assert body["subscription"] == {"source": "replay", "item": item}, body
        return [(us_of(i["timestamp"]), i["value"]) for i in body["items"]]

    def values(self, item, **query):
        return [v for _, v in self.items(item, **query)]


MAX = 2**63 - 1
# The buckets of 10 s from BASE on: samples, none, samples, only nulls, one sample.
FIXED = {
    "number": [(BASE + 1 * SECOND, 1.5), (BASE + 4 * SECOND, 4.0), (BASE + 9_999_999, -2.0),
               (BASE + 20 * SECOND, 10.0), (BASE + 21 * SECOND, 20.0),
               (BASE + 30 * SECOND, math.nan), (BASE + 31 * SECOND, None),
               (BASE + 32 * SECOND, math.inf), (BASE + 45 * SECOND, 7.0)],
    "whole": [(BASE, MAX), (BASE + SECOND, MAX - 2), (BASE + 10 * SECOND, 5),
              (BASE + 11 * SECOND, -7), (BASE + 20 * SECOND, 3), (BASE + 21 * SECOND, 0.5)],
    "flag": [(BASE, True), (BASE + SECOND, False), (BASE + 2 * SECOND, True),
             (BASE + 3 * SECOND, True), (BASE + 20 * SECOND, False)],
    "text": [(BASE, "on"), (BASE + SECOND, "off, \"so\" to say"), (BASE + 20 * SECOND, "é|")],
    "box": [(BASE, {"k": [1, "x"]}), (BASE + 20 * SECOND, [])],
    "bad": [(BASE, 1.0), (BASE + SECOND, 100.0, 2), (BASE + 2 * SECOND, 3.0, 1),
            (BASE + 10 * SECOND, 100.0, 2)],
    "none": [],
}


class Fixed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = Data(FIXED)
        cls.addClassCleanup(cls.data.close)

    def refused(self, loc, **query):
        reply = self.data.get("samples", dataItem="number", **query)
        self.assertEqual(reply.status, 422, reply)
        self.assertEqual([e["loc"] for e in reply.json()["detail"]], [["query", loc]], reply)

    def check(self, item, aggregate, expected, **query):
        got = self.data.values(item, interval="10s", aggregate=aggregate, **query)
        self.assertEqual(got, expected, (item, aggregate))

    # --- aggregates ---

    def test_buckets_start_at_multiples_of_the_interval(self):
        got = self.data.items("number", interval="10s", aggregate="count")
        self.assertEqual(got, [(BASE, 3), (BASE + 20 * SECOND, 2), (BASE + 40 * SECOND, 1)])
        got = self.data.items("number", interval="1h", aggregate="count")
        self.assertEqual([iso(t) for t, _ in got], ["2023-11-14T22:00:00"])

    def test_samples_outside_of_the_range_do_not_count(self):
        got = self.data.items("number", interval="10s", aggregate="count",
                              startTime=iso(BASE + 4 * SECOND), endTime=iso(BASE + 20 * SECOND))
        self.assertEqual(got, [(BASE, 2), (BASE + 20 * SECOND, 1)])

    def test_numbers(self):
        self.check("number", "avg", [3.5 / 3, 15.0, 7.0])
        self.check("number", "min", [-2.0, 10.0, 7.0])
        self.check("number", "max", [4.0, 20.0, 7.0])
        self.check("number", "sum", [3.5, 30.0, 7.0])
        self.check("number", "first", [1.5, 10.0, 7.0])
        self.check("number", "last", [-2.0, 20.0, 7.0])
        got = self.data.values("number", interval="10s", aggregate="stddev")
        self.assertEqual(len(got), 2)
        for value, list_ in zip(got, ([1.5, 4.0, -2.0], [10.0, 20.0])):
            self.assertAlmostEqual(value, statistics.stdev(list_), places=12)

    def test_integers_near_the_limit_do_not_overflow(self):
        self.check("whole", "sum", [float(2 * MAX - 2), -2, 3.5])
        self.check("whole", "max", [MAX, 5, 3])
        self.check("whole", "min", [MAX - 2, -7, 0.5])
        got = self.data.values("whole", interval="10s", aggregate="stddev")
        self.assertAlmostEqual(got[0], statistics.stdev([0, 2]), places=12)

    def test_booleans(self):
        self.check("flag", "avg", [0.75, 0.0])
        self.check("flag", "sum", [3, 0])
        self.check("flag", "min", [False, False])
        self.check("flag", "max", [True, False])
        self.check("flag", "first", [True, False])
        self.check("flag", "count", [4, 1])

    def test_texts_and_containers(self):
        self.check("text", "first", ["on", "é|"])
        self.check("text", "last", ["off, \"so\" to say", "é|"])
        self.check("text", "count", [2, 1])
        self.check("text", "last", ["off, \"so\" to say", "off, \"so\" to say", "é|"],
                   fill="previous", endTime=iso(BASE + 29 * SECOND))
        self.check("box", "last", [{"k": [1, "x"]}, []])
        for item, kind in (("text", "a text"), ("box", "an object or list")):
            for aggregate in ("avg", "min", "max", "sum", "stddev"):
                reply = self.data.get("samples", dataItem=item, interval="10s",
                                      aggregate=aggregate)
                self.assertEqual((reply.status, reply.json()), (422, {
                    "detail": f"'{item}' holds {kind}: '{aggregate}' is of numbers and booleans; "
                              "'first', 'last' and 'count' are of any values."}))

    def test_samples_of_bad_quality_do_not_count(self):
        self.check("bad", "count", [2])
        self.check("bad", "avg", [2.0])
        self.check("bad", "last", [3.0])
        items = self.data.get("samples", dataItem="bad").json()["items"]
        self.assertEqual([i.get("quality") for i in items], [None, "bad", "uncertain", "bad"])

    def test_a_series_without_samples_has_no_buckets(self):
        self.check("none", "avg", [])
        self.check("none", "avg", [None, None], fill="previous",
                   endTime=iso(BASE + 10 * SECOND))

    # --- fill ---

    def test_fill(self):
        end = iso(BASE + 59 * SECOND)
        self.check("number", "sum", [3.5, None, 30.0, None, 7.0, None], fill="null", endTime=end)
        self.check("number", "sum", [3.5, 3.5, 30.0, 30.0, 7.0, 7.0], fill="previous", endTime=end)
        self.check("number", "sum", [3.5, 16.75, 30.0, 18.5, 7.0, None], fill="linear",
                   endTime=end)
        for fill in ("null", "previous", "linear"):
            self.check("number", "count", [3, 0, 2, 0, 1, 0], fill=fill, endTime=end)
        got = self.data.items("number", interval="10s", aggregate="avg", fill="previous",
                              startTime=iso(BASE + 12 * SECOND), endTime=iso(BASE + 20 * SECOND))
        self.assertEqual(got, [(BASE + 10 * SECOND, None), (BASE + 20 * SECOND, 10.0)])

    def test_linear_fill_needs_numbers(self):
        reply = self.data.get("samples", dataItem="text", interval="10s", aggregate="last",
                              fill="linear")
        self.assertEqual(reply.status, 422, reply)
        self.assertIn("'text'", reply.json()["detail"])

    # --- days ---

    def test_days_are_local(self):
        got = self.data.items("flag", interval="1d", aggregate="count",
                              timezone="America/New_York", startTime="2023-11-04",
                              endTime="2023-11-14T23:00:00", fill="null")
        zone = ZoneInfo("America/New_York")
        days = [datetime(2023, 11, d, tzinfo=zone).astimezone(timezone.utc) for d in range(4, 15)]
        self.assertEqual([iso(t) for t, _ in got],
                         [d.replace(tzinfo=None).isoformat() for d in days])
        self.assertEqual([v for _, v in got], [0] * 10 + [5])

    # --- refusals ---

    def test_parameters_that_do_not_fit(self):
        self.refused("aggregate", interval="10s")
        self.refused("interval", aggregate="avg")
        self.refused("fill", fill="null")
        self.refused("points", points=3, interval="10s", aggregate="avg")
        self.refused("points", points=3, limit=7)
        self.refused("points", points=2)
        self.refused("points", points=15001)
        self.refused("points", points="many")
        for interval in ("0s", "-5s", "10", "s", "1.5h", "99999999999999d", "4000000d"):
            self.refused("interval", interval=interval, aggregate="avg")
        reply = self.data.get("samples", dataItem="number", interval="1s", aggregate="mean")
        self.assertEqual(reply.json()["detail"][0], {
            "loc": ["query", "aggregate"], "type": "type_error.enum",
            "msg": "value is not a valid enumeration member; permitted: 'avg', 'min', 'max', 'sum', "
                   "'count', 'first', 'last', 'stddev'",
            "ctx": {"enum_values": ["avg", "min", "max", "sum", "count", "first", "last",
                                    "stddev"]}})
        self.refused("fill", interval="1s", aggregate="avg", fill="zero")

    def test_number_of_intervals_at_its_edge(self):
        ask = lambda seconds, **more: self.data.get(
            "samples", dataItem="number", interval="1s", aggregate="avg", fill="null",
            endTime=iso(BASE + seconds * SECOND), **more)
        reply = ask(14999)
        self.assertEqual((reply.status, len(reply.json()["items"])), (200, 15000))
        reply = ask(15000)
        self.assertEqual((reply.status, reply.json()["detail"][0]["loc"]),
                         (422, ["query", "interval"]), reply)
        self.assertEqual(ask(6, limit=7).status, 200)
        self.assertEqual(ask(7, limit=7).status, 422)

    # --- samples as they are ---

    def test_limit_gives_the_newest_in_order(self):
        self.assertEqual(self.data.values("whole", limit=2), [3, 0.5])
        self.assertEqual(len(self.data.values("whole", limit=0)), 6)
        self.assertEqual(self.data.get("samples", dataItem="whole", limit=15001).json(),
                         {"detail": "Limit cannot be greater than 15000."})
        self.assertEqual(self.data.get("samples", dataItem="whole", limit=15000).status, 200)
        self.assertEqual(self.data.get("samples", dataItem="whole", limit=-1).status, 422)

    def test_values_json_cannot_hold_are_null(self):
        self.assertEqual(self.data.values("number")[5:8], [None, None, None])

    def test_start_equal_to_end_is_a_point_and_after_it_an_error(self):
        at = iso(BASE + 20 * SECOND)
        self.assertEqual(self.data.items("number", startTime=at, endTime=at),
                         [(BASE + 20 * SECOND, 10.0)])
        rows = self.data.get("recorded", startTime=at, endTime=at).csv()
        self.assertEqual(len(rows), 2)
        for path in ("samples", "recorded"):
            reply = self.data.get(path, dataItem="number", startTime=at, endTime=iso(BASE))
            self.assertEqual(reply.status, 422, reply)

    # --- the newest ---

    def test_last(self):
        reply = self.data.get("last")
        self.assertEqual(reply.status, 200, reply)
        last = {i["dataItem"]: i for i in reply.json()["items"]}
        self.assertEqual(set(last), set(FIXED))
        self.assertEqual(last["whole"], {
            "dataItem": "whole", "subscription": {"source": "replay", "item": "whole"},
            "timestamp": iso(BASE + 21 * SECOND), "value": 0.5})
        self.assertEqual(last["bad"]["quality"], "bad")
        self.assertEqual((last["none"]["timestamp"], last["none"]["value"]), (None, None))
        some = self.data.get("last", dataItem=["text", "flag"]).json()["items"]
        self.assertEqual([i["value"] for i in some], [False, "é|"])
        token = self.data.server.post("/timeseries/subscribe", {"items": ["box"]}).json()["token"]
        self.assertEqual(self.data.get("last", token=token).json()["items"][0]["value"], [])
        self.assertEqual(self.data.get("last", token="0" * 32).status, 404)
        self.assertEqual(self.data.get("last", dataItem="x").json(),
                         {"detail": "No subscriptions matching criteria."})

    # --- points ---

    def test_few_samples_are_all_shown(self):
        self.assertEqual(self.data.values("whole", points=6), [MAX, MAX - 2, 5, -7, 3, 0.5])
        self.assertEqual(self.data.values("none", points=3), [])
        self.assertEqual(len(self.data.values("number", points=9)), 9)

    def test_points_need_numbers(self):
        reply = self.data.get("samples", dataItem="text", points=3)
        self.assertEqual(reply.status, 422)
        self.assertIn("'text'", reply.json()["detail"])

    # --- files ---

    def rows(self, **query):
        reply = self.data.get("recorded", **query)
        self.assertEqual(reply.status, 200, reply)
        return reply.csv()

    def test_files_are_an_outer_join_on_time(self):
        for accept in (None, "application/x-jsonlines"):
            reply = self.data.get("recorded", {"Accept": accept} if accept else None)
            rows = [json.loads(l) for l in reply.body.splitlines()] if accept else reply.csv()
            header = rows[0]
            self.assertEqual((header[0], set(header[1:])), ("timestamp", set(FIXED)))
            times = sorted({s[0] for list_ in FIXED.values() for s in list_})
            self.assertEqual([row[0] for row in rows[1:]], [iso(t) for t in times])
            for i, item in enumerate(header[1:], 1):
                samples = {iso(s[0]): s[1] for s in FIXED[item]}
                for row in rows[1:]:
                    value = samples.get(row[0])
                    if isinstance(value, float) and not math.isfinite(value):
                        value = None
                    if accept is None:
                        if value is None:
                            value = ""
                        elif not isinstance(value, str):
                            value = json.loads(row[i]) if json.loads(row[i]) == value else value
                            self.assertEqual(json.loads(row[i]), value)
                            continue
                    self.assertEqual(row[i], value, (item, row))

    def test_quality_has_columns_of_its_own(self):
        rows = self.rows(dataItem=["bad", "flag"], quality="true")
        header = rows[0]
        for item in ("bad", "flag"):
            self.assertEqual(header.index(f"{item}.quality"), header.index(item) + 1)
        by_time = {row[0]: dict(zip(header, row)) for row in rows[1:]}
        self.assertEqual(by_time[iso(BASE + SECOND)]["bad.quality"], "bad")
        self.assertEqual(by_time[iso(BASE + 2 * SECOND)]["bad.quality"], "uncertain")
        self.assertEqual(by_time[iso(BASE)]["flag.quality"], "good")
        self.assertEqual(by_time[iso(BASE + 20 * SECOND)]["bad.quality"], "")
        self.assertEqual(self.rows(dataItem="bad", quality="false")[0], ["timestamp", "bad"])
        self.assertEqual(self.data.get("recorded", quality="perhaps").status, 422)

    def test_files_by_interval(self):
        rows = self.rows(dataItem=["number", "flag"], interval="10s", aggregate="sum")
        header = rows[0]
        table = [dict(zip(header, row)) for row in rows[1:]]
        self.assertEqual([(r["timestamp"], r["number"], r["flag"]) for r in table], [
            (iso(BASE), "3.5", "3"), (iso(BASE + 20 * SECOND), "30.0", "0"),
            (iso(BASE + 40 * SECOND), "7.0", "")])
        rows = self.rows(dataItem=["number", "flag"], interval="10s", aggregate="sum",
                         fill="previous", endTime=iso(BASE + 59 * SECOND))
        self.assertEqual([dict(zip(header, row))["number"] for row in rows[1:]],
                         ["3.5", "3.5", "30.0", "30.0", "7.0", "7.0"])
        self.assertEqual([dict(zip(header, row))["flag"] for row in rows[1:]],
                         ["3", "3", "0", "0", "0", "0"])

    def test_files_refuse(self):
        cases = [("scanRate", {"scanRate": 0}), ("scanRate", {"scanRate": -5}),
                 ("scanRate", {"scanRate": "1.5"}), ("scan_rate", {"scan_rate": 0}),
                 ("points", {"points": 5}), ("interval", {"interval": "0s", "aggregate": "avg"}),
                 ("aggregate", {"interval": "1s"}), ("fill", {"fill": "null"}),
                 ("quality", {"quality": "true", "interval": "1s", "aggregate": "avg"}),
                 ("interval", {"interval": "1us", "aggregate": "avg", "fill": "null"})]
        for loc, query in cases:
            reply = self.data.get("recorded", **query)
            self.assertEqual(reply.status, 422, (query, reply))
            self.assertEqual([e["loc"] for e in reply.json()["detail"]], [["query", loc]], query)
        reply = self.data.get("recorded", interval="10s", aggregate="avg")
        self.assertEqual(reply.status, 422, "texts have no average")
        self.assertNotIn("content-disposition", reply.headers)

    def test_files_of_equal_subscriptions_keep_the_names_asked_for(self):
        same = {"source": "replay", "item": "flag"}
        self.data.server.save_unitop("twice", {"a": same, "b": same})
        for items in (["a", "b"], ["b"], ["a"]):
            rows = self.data.server.recorded("twice", dataItem=items)
            self.assertEqual(rows[0], ["timestamp", *items])
            self.assertEqual(rows[1][1:], ["true"] * len(items))

    def test_http_1_0_gets_a_body_that_ends_with_the_connection(self):
        wire = client.Wire(self.data.server.address)
        path = client.with_query("/timeseries/u/recorded", startTime=iso(BASE), dataItem="flag")
        wire.send(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        status, headers = wire.head()
        self.assertEqual(status, 200)
        self.assertNotIn("transfer-encoding", dict(headers))
        self.assertEqual(len(wire.to_end().splitlines()), 6)
        wire.close()


class Refusals(unittest.TestCase):
    @unittest.skipIf(os.environ.get("HYPRXA_SANITIZE"), "of sizes")
    def test_an_answer_that_is_too_large_is_refused(self):
        data = Data({"text": [(BASE + i, "x" * 60000) for i in range(1200)]})
        self.addCleanup(data.close)
        self.assertEqual(len(data.items("text", limit=50)), 50)
        reply = data.get("samples", dataItem="text", limit=1200)
        self.assertEqual((reply.status, reply.json()),
                         (422, {"detail": "The answer is too large: ask for less at a time."}))

    def test_scopes_of_the_source_are_checked(self):
        data = Data({"number": [(BASE, 1.0)]}, source={"raise_on_no_scopes": True})
        self.addCleanup(data.close)
        for path in ("samples", "recorded", "last"):
            reply = data.get(path, dataItem="number")
            self.assertEqual((reply.status, reply.json()),
                             (501, {"detail": "No scopes specified."}), path)


def largest_triangles(samples, points):
    """Steinarsson's downsampling, as his thesis has it."""
    every = (len(samples) - 2) / (points - 2)
    x0 = samples[0][0]
    kept, a = [samples[0]], 0
    for i in range(points - 2):
        begin, end = int((i + 1) * every) + 1, min(int((i + 2) * every) + 1, len(samples))
        mean_x = sum(float(x - x0) for x, _ in samples[begin:end]) / (end - begin)
        mean_y = sum(float(y) for _, y in samples[begin:end]) / (end - begin)
        best = -1.0
        ax, ay = float(samples[a][0] - x0), float(samples[a][1])
        for j in range(int(i * every) + 1, begin):
            x, y = float(samples[j][0] - x0), float(samples[j][1])
            area = abs((ax - mean_x) * (y - ay) - (ax - x) * (mean_y - ay)) * 0.5
            if area > best:
                best, next_a = area, j
        kept.append(samples[next_a])
        a = next_a
    return kept + [samples[-1]]


class Points(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        rng = random.Random(3)
        cls.series = {}
        at = BASE
        walk = []
        for i in range(5000):  # gaps in time, jumps in value
            at += rng.choice([1000, SECOND, 20 * SECOND])
            walk.append((at, rng.gauss(0, 1) + (walk[-1][1] if walk else 0.0)))
        cls.series["walk"] = walk
        cls.series["steps"] = [(BASE + i * SECOND, rng.randrange(5)) for i in range(4000)]
        cls.series["flags"] = [(BASE + i * SECOND, i % 7 == 0) for i in range(100)]
        # Nothing between 300 and 700, and single nulls elsewhere.
        cls.series["holes"] = [(BASE + i * SECOND,
                                None if 300 <= i < 700 or i % 10 == 3 else float(i % 13))
                               for i in range(1000)]
        cls.series["late"] = [(BASE + i * SECOND, float(i), 2 if i in (0, 999) else 0)
                              for i in range(1000)]
        cls.data = Data(cls.series)
        cls.addClassCleanup(cls.data.close)

    def test_points_equal_a_reference(self):
        for item in ("walk", "steps", "flags"):
            for points in (3, 4, 10, 57, 99):
                got = self.data.items(item, points=points)
                self.assertEqual(got, largest_triangles(self.series[item], points),
                                 (item, points))
        got = self.data.items("walk", points=4999)
        self.assertEqual(got, largest_triangles(self.series["walk"], 4999))
        self.assertEqual(self.data.items("walk", points=5000), self.series["walk"])

    def test_first_and_last_sample_are_kept(self):
        for item in ("walk", "holes", "late"):
            times = [t for t, _ in self.data.items(item, points=20)]
            self.assertEqual(len(times), 20)
            self.assertEqual(times, sorted(set(times)))
            self.assertEqual((times[0], times[-1]),
                             (self.series[item][0][0], self.series[item][-1][0]))
        self.assertEqual([v for _, v in self.data.items("late", points=5)][::4], [None, None])

    def test_long_gaps_are_shown_as_null(self):
        got = self.data.items("holes", points=52)  # buckets of about 20 samples
        nulls = [(t - BASE) // SECOND for t, v in got if v is None]
        self.assertTrue(nulls)
        self.assertTrue(all(300 <= n < 700 for n in nulls), nulls)
        self.assertGreaterEqual(len(nulls), 18)

    def test_a_part_of_the_range(self):
        start, end = self.series["walk"][100][0], self.series["walk"][2099][0]
        got = self.data.items("walk", points=50, startTime=iso(start), endTime=iso(end))
        self.assertEqual(got, largest_triangles(self.series["walk"][100:2100], 50))


class Model(unittest.TestCase):
    """Random irregular series against a plain model in Python."""

    def make(self, rng, kind):
        at, list_ = BASE, []
        for _ in range(rng.randrange(1, 400)):
            at += rng.choice([1, 1000, SECOND, 7 * SECOND, 61 * SECOND, 1000 * SECOND])
            number = {"int": lambda: rng.randrange(-MAX, MAX), "bool": lambda: rng.random() < 0.5,
                      "double": lambda: rng.uniform(-1e6, 1e6)}
            roll = rng.random()
            value = None if roll < 0.05 else math.nan if roll < 0.08 else number[
                kind if kind != "mixed" else rng.choice(list(number))]()
            list_.append((at, value, rng.choice([0, 0, 0, 1, 2])))
        return list_

    def aggregate(self, what, values):
        if what == "count":
            return len(values)
        if what in ("first", "last"):
            return values[0 if what == "first" else -1]
        if what in ("min", "max"):
            return (min if what == "min" else max)(values)
        if what == "sum":
            if any(isinstance(v, float) for v in values):
                return math.fsum(values)
            total = sum(values)
            return total if -MAX - 1 <= total <= MAX else float(total)
        if what == "avg":
            if any(isinstance(v, float) for v in values):
                return math.fsum(values) / len(values)
            return float(sum(values)) / len(values)
        return statistics.stdev([float(v) if isinstance(v, float) else int(v) for v in values]) \
            if len(values) > 1 else None

    def buckets(self, list_, interval, what, start, end):
        found = {}
        for at, value, quality in list_:
            if start <= at <= end and value is not None and quality != 2 and \
                    not (isinstance(value, float) and not math.isfinite(value)):
                found.setdefault(at // interval * interval, []).append(value)
        results = {b: self.aggregate(what, v) for b, v in found.items()}
        return {b: v for b, v in sorted(results.items()) if v is not None}

    def filled(self, found, interval, what, fill, start, end):
        rows, previous = [], None
        later = sorted(found)
        for b in range(start // interval * interval, end + 1, interval):
            value = found.get(b)
            if b in found:
                previous = b
            elif what == "count":
                value = 0
            elif fill == "previous" and previous is not None:
                value = found[previous]
            elif fill == "linear" and previous is not None:
                after = next((x for x in later if x > b), None)
                if after is not None:
                    share = (b - previous) / (after - previous)
                    value = float(found[previous]) * (1 - share) + float(found[after]) * share
            rows.append((b, value))
        return rows

    def same(self, got, expected, what, context):
        self.assertEqual([t for t, _ in got], [t for t, _ in expected], context)
        for (at, a), (_, b) in zip(got, expected):
            if isinstance(b, float) and a is not None:
                scale = max(1.0, abs(b)) if what != "stddev" else max(1e-3, abs(b))
                self.assertLessEqual(abs(a - b), 1e-9 * scale, (context, at, a, b))
            else:
                self.assertEqual((type(a), a), (type(b), b), (context, at))

    def test_aggregates(self):
        seed = random.randrange(1 << 30)
        rng = random.Random(seed)
        samples = {f"{kind}{i}": self.make(rng, kind)
                   for kind in ("int", "bool", "double", "mixed") for i in range(3)}
        data = Data(samples)
        self.addCleanup(data.close)
        for round_ in range(150):
            item = rng.choice(list(samples))
            what = rng.choice(["avg", "min", "max", "sum", "count", "first", "last", "stddev"])
            interval = rng.choice([7, 60, 600, 3600, 5000])
            start = BASE + rng.randrange(-100, 1000) * SECOND
            end = start + rng.randrange(0, min(15000 * interval - interval, 90000)) * SECOND
            fill = rng.choice([None, "null", "previous", "linear"])
            context = f"seed {seed} round {round_}: {item} {what} {interval}s {fill}"
            got = data.items(item, interval=f"{interval}s", aggregate=what, fill=fill,
                             startTime=iso(start), endTime=iso(end))
            found = self.buckets(samples[item], interval * SECOND, what, start, end)
            expected = self.filled(found, interval * SECOND, what, fill, start, end) if fill \
                else list(found.items())
            self.same(got, expected, what, context)

    def test_files_equal_the_samples(self):
        rng = random.Random()
        samples = {f"c{i}": self.make(rng, "double") for i in range(70)}
        data = Data(samples)
        self.addCleanup(data.close)
        rows = data.get("recorded", endTime=iso(BASE + 10**7 * SECOND)).csv()
        times = sorted({s[0] for list_ in samples.values() for s in list_})
        self.assertEqual([r[0] for r in rows[1:]], [iso(t) for t in times])
        for i, item in enumerate(rows[0][1:], 1):
            got = [(r[0], float(r[i])) for r in rows[1:] if r[i]]
            self.assertEqual(got, [(iso(t), v) for t, v, _ in samples[item]
                                   if v is not None and math.isfinite(v)])


if __name__ == "__main__":
    unittest.main()
