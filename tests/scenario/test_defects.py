"""Defects of the original system that have no test elsewhere: `[D n]` names the row of contract
section 14.  tests/compat/README.md has all of them."""

import json
import tempfile
import threading
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lib import client
from lib.server import BUILD, Server, until

CONF = """
sources:
  files:
    plugin: csv
    options: {{ path: {folder}, timestamp: {{ column: time }} }}
    record: [{{ column: T1 }}, {{ column: 1T }}]
  host:
    plugin: host
    options: {{ interval: 50ms }}
  broken:
    plugin: {plugins}/create_fails.so
"""
START = datetime.now(timezone.utc).replace(microsecond=0, tzinfo=None) - timedelta(minutes=5)


def iso(seconds):
    return (START + timedelta(seconds=seconds)).isoformat()


class Defects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        rows = [f"{iso(0)},1,10", f"{iso(1)},NaN,20", f"{iso(2)},Inf,30", f"{iso(3)},4,40"]
        (Path(folder.name) / "a.csv").write_text("time,T1,1T\n" + "\n".join(rows) + "\n")
        conf = CONF.format(folder=folder.name, plugins=BUILD / "tests" / "plugins")
        cls.server = Server({"all.yaml": conf}, env={"TZ": "America/New_York"}).start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.get = staticmethod(cls.server.get)
        cls.server.save_unitop("tags", {
            "first": {"source": "files", "column": "T1"},
            "second": {"source": "files", "column": "1T"},
            "same": {"source": "files", "column": "T1"}})
        until(lambda: len(cls.server.samples("tags", "second")) == 4, "the file's rows")

    def topic(self, name):
        reply = self.server.post("/topics/save", {"topic": name, "jschema": {}})
        self.assertEqual(reply.status, 200, reply)

    def publish(self, topic, key, **payload):
        body = {"topic": topic, "routing_key": key, "payload": payload}
        reply = self.server.post("/events/publish", body)
        self.assertEqual((reply.status, reply.json()), (200, {"status": "OK"}), reply)

    def manager(self, name, source=None):
        for entry in self.get("/admin/info").json()["info"]:
            if entry["name"] == name and entry.get("source") == source:
                return entry
        return None

    # --- downloads ---

    def test_later_events_of_a_key_do_not_hide_earlier_ones(self):
        """[D 9]"""
        self.topic("buckets")
        for n in range(10):
            self.publish("buckets", f"k{n % 2}", n=n)
        rows = self.get("/events/buckets/recorded").csv()[1:]
        self.assertEqual([json.loads(row[4])["n"] for row in rows], list(range(10)))
        path = client.with_query("/events/buckets/recorded", startTime=rows[2][0],
                                 endTime=rows[5][0], timezone="UTC")
        part = self.get(path).csv()[1:]
        self.assertEqual([json.loads(row[4])["n"] for row in part], [2, 3, 4, 5])

    def test_range_of_samples_includes_its_end(self):
        """[D 8]"""
        rows = self.server.recorded("tags", iso(1), iso(3), timezone="UTC", dataItem="second")
        self.assertEqual(rows[1:], [[iso(1), "20"], [iso(2), "30"], [iso(3), "40"]])

    def test_column_has_the_name_that_was_asked_for(self):
        """[D 24]"""
        for items in (["same"], ["first"], ["first", "same"], ["same", "second"]):
            header = self.server.recorded("tags", dataItem=items)[0]
            self.assertEqual(header[0], "timestamp")
            self.assertEqual(set(header[1:]), set(items))

    def test_anagrams_are_series_of_their_own(self):
        """[D 12]"""
        values = {item: [s["value"] for s in self.server.samples("tags", item)]
                  for item in ("first", "second", "same")}
        self.assertEqual(values["second"], [10, 20, 30, 40])
        self.assertEqual(values["first"][0], 1)
        self.assertEqual(values["first"], values["same"])

    def test_values_that_json_cannot_hold_are_null(self):
        """[D 43]"""
        self.assertEqual([s["value"] for s in self.server.samples("tags", "first")],
                         [1, None, None, 4])
        rows = self.server.recorded("tags", dataItem="first")
        self.assertEqual([row[1] for row in rows[1:]], ["1", "", "", "4"])

    # --- bad requests ---

    def test_bad_parameters_are_refused_before_a_download_begins(self):
        """[D 20]"""
        self.topic("strict")
        bad = [("/events/strict/recorded", dict(routingKey="(")),
               ("/events/strict/query", dict(routingKey="(")),
               ("/admin/logs/recorded", dict(q="[]"))]
        for path in ("/events/strict/recorded", "/timeseries/tags/recorded"):
            bad += [(path, dict(startTime="2023-01-02", endTime="2023-01-01")),
                    (path, dict(startTime="2023-01-02", timezone="No/Where")),
                    (path, dict(startTime="99999-01-01")), (path, dict(endTime="bogus"))]
        bad += [("/timeseries/tags/recorded", dict(scanRate=rate)) for rate in (0, -1, "x")]
        for path, query in bad:
            reply = self.get(client.with_query(path, **query))
            self.assertIn(reply.status, (400, 422), (path, query, reply))
            self.assertTrue(reply.json()["detail"])

    def test_integer_beyond_64_bits_is_refused_and_harms_nobody(self):
        """[D 28]"""
        self.topic("numbers")
        with self.server.stream("/events/numbers/stream") as stream:
            for number in ("9223372036854775808", "-9223372036854775809", "1" + "0" * 400):
                body = '{"topic":"numbers","routing_key":"k","payload":{"n":%s}}' % number
                reply = self.server.request("POST", "/events/publish", body.encode(),
                                            {"Content-Type": "application/json"})
                self.assertEqual(reply.status, 422, reply)
            for number in (2**63 - 1, -2**63):
                self.publish("numbers", "k", n=number)
                self.assertEqual(stream.next().json()["payload"], {"n": number})
        self.assertEqual(len(self.get("/events/numbers/recorded").csv()), 1 + 2)

    def test_tokens_of_different_lists_differ(self):
        """[D 25]"""
        lists = ["ab", "c"], ["a", "bc"], ["abc"], ["a", "b", "c"], [], [""]
        tokens = {self.server.post("/timeseries/subscribe", {"items": items}).json()["token"]
                  for items in lists}
        self.assertEqual(len(tokens), len(lists))

    # --- streams ---

    def test_event_published_right_after_the_head_arrives(self):
        """[D 29]"""
        self.topic("early")
        for n in range(50):
            with self.server.stream("/events/early/stream") as stream:
                self.publish("early", "k", n=n)
                self.assertEqual(stream.next().json()["payload"], {"n": n})

    def test_source_that_cannot_start_says_so_and_leaves_the_others_free(self):
        """[D 35] [D 37]"""
        self.server.save_unitop("half", {"cpu": {"source": "host", "metric": "cpu.user"},
                                         "none": {"source": "broken", "item": "x"}})
        for _ in range(3):
            reply = self.get("/timeseries/half/stream")
            self.assertEqual(reply.status, 500, reply)
            detail = reply.json()["detail"]
            self.assertTrue(detail.startswith("Integration refused subscriptions."), detail)
        until(lambda: self.manager("TimeseriesManager", "host")["integration"]
              ["active_subscriptions"] == 0, "the working source to be released")
        self.assertEqual(self.manager("TimeseriesManager", "host")["active_subscribers"], 0)
        with self.server.stream("/timeseries/half/stream?dataItem=cpu") as stream:
            self.assertEqual(stream.next().json()["subscription"]["metric"], "cpu.user")

    # --- administration ---

    def test_times_of_creation_are_utc(self):
        """[D 33]"""
        self.topic("clock")
        with self.server.stream("/events/clock/stream"):
            manager = self.manager("EventManager")
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        for entry in (manager, manager["subscribers"][0], manager["storage"]):
            age = now - datetime.fromisoformat(entry["created"])
            self.assertLess(abs(age), timedelta(minutes=30), entry)

    def test_restart_with_work_pending_neither_hangs_nor_loses(self):
        """[D 34]"""
        self.topic("pending")
        going, acknowledged = True, []

        def publisher(number):
            n = 0
            while going:
                self.publish("pending", f"p{number}", n=n)
                acknowledged.append((number, n))
                n += 1
        threads = [threading.Thread(target=publisher, args=(number,)) for number in range(4)]
        with self.server.stream("/timeseries/tags/stream"):
            for thread in threads:
                thread.start()
            for _ in range(5):
                before = len(acknowledged)
                until(lambda: len(acknowledged) > before + 20, "events to be published")
                for path in ("/events/admin/manager/restart",
                             "/timeseries/admin/manager/restart/files"):
                    self.assertEqual(self.server.post(path).json(), {"status": "OK"})
            going = False
            for thread in threads:
                thread.join()
        rows = self.get("/events/pending/recorded").csv()[1:]
        stored = [(int(row[3][1:]), json.loads(row[4])["n"]) for row in rows]
        self.assertEqual(sorted(stored), sorted(acknowledged))


if __name__ == "__main__":
    unittest.main()
