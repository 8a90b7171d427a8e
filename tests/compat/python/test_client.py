"""Every method of the Python client, blocking and asynchronous, against the real server."""

import concurrent.futures
import contextlib
import csv
import io
import itertools
import json
import os
import tempfile
import unittest
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from client import SECONDS, Awaited, Blocking, public_methods
from hyprxa.client.client import Event, Topic, UnitOp
from lib.server import Server, until

CONF = """
sources:
  line3:
    plugin: csv
    options: {{ path: {folder}, timestamp: {{ column: time }} }}
    record: [{{ column: pressure }}, {{ column: valve }}]
  host:
    plugin: host
    options: {{ interval: 100ms }}
"""
LEVEL = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}
MAPPING = {"pressure": {"source": "line3", "column": "pressure"},
           "valve": {"source": "line3", "column": "valve"}}
FIRST = datetime.utcnow().replace(microsecond=0) - timedelta(minutes=10)


class Fixture(unittest.TestCase):
    face = None  # Blocking or Awaited
    env = {"LOGS_LEVEL": "debug"}  # a log for each request

    @classmethod
    def setUpClass(cls):
        # Ends last: a stream that gives nothing ends with the server.
        cls.pool = cls.enterClassContext(concurrent.futures.ThreadPoolExecutor())
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.csv = Path(folder) / "line3.csv"
        rows = [f"{(FIRST + timedelta(seconds=n)).isoformat()},{n}.5,{'true' if n % 2 else 'false'}\n"
                for n in range(20)]
        cls.csv.write_text("time,pressure,valve\n" + "".join(rows))
        cls.server = Server({"all.yaml": CONF.format(folder=folder)}, env=cls.env).start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.client = cls.enterClassContext(cls.face(f"http://127.0.0.1:{cls.server.port}"))

    def fails(self, status):
        context = self.assertRaises(httpx.HTTPStatusError)
        self.addCleanup(lambda: self.assertEqual(context.exception.response.status_code, status))
        return context

    def subscribers(self):
        return self.server.get("/admin/info").json()["info"][0]["active_subscribers"]

    def collect(self, stream, n, meanwhile=None):
        """The first `n` messages of `stream`; `meanwhile` is called once it is subscribed."""
        until(lambda: self.subscribers() == 0, "the end of earlier streams", SECONDS)

        def take():
            with contextlib.closing(stream):
                return list(itertools.islice(stream, n))
        taken = self.pool.submit(take)
        if meanwhile:
            until(lambda: self.subscribers() == 1 or taken.done(), "the stream", SECONDS)
            meanwhile()
        return taken.result(SECONDS)

    def status_is_ok(self, answer):
        self.assertEqual(type(answer).__name__, "Status")
        self.assertEqual(json.loads(answer.json()), {"status": "OK"})

    def topic(self, name, schema=LEVEL):
        self.status_is_ok(self.client.create_topic(Topic(topic=name, jschema=schema)))

    def publish(self, topic, key, **payload):
        event = Event(topic=topic, routing_key=key, payload=payload)
        self.status_is_ok(self.client.publish_event(event))


class Methods:
    @classmethod
    def tearDownClass(cls):
        tests = {name for name in dir(cls) if name.startswith("test_")}
        if tests == cls.ran:
            missing = public_methods(cls.face.kind) - cls.client.called
            assert not missing, f"methods that no test calls: {missing}"

    def setUp(self):
        self.ran.add(self._testMethodName)

    def test_whoami(self):
        user = self.client.whoami()
        self.assertEqual(type(user).__name__, "BaseUser")
        self.assertEqual((user.username, user.email, user.upi), ("admin", "admin@noreturn.com",
                                                                 19960219))
        self.assertLessEqual({"READ", "WRITE", "ADMIN"}, set(user.scopes))

    # --- topics and events ---

    def test_topics(self):
        self.topic("alarms")
        topic = self.client.get_topic("alarms")
        self.assertEqual((topic.topic, topic.jschema, topic.modified_by), ("alarms", LEVEL, "admin"))
        self.assertTrue(topic.modified_at)
        self.assertIn("alarms", self.client.get_topics().items)
        with self.fails(404):
            self.client.get_topic("none")

    def test_events_come_back_as_documents(self):
        self.topic("batches")
        self.publish("batches", "north.a", level=1)
        self.publish("batches", "north.b", level=2)
        self.publish("batches", "north.a", level=3)
        newest = self.client.get_event("batches")
        self.assertEqual((newest.routing_key, newest.payload, newest.posted_by),
                         ("north.a", {"level": 3}, "admin"))
        self.assertEqual(self.client.get_event("batches", "north.b").payload, {"level": 2})
        found = self.client.query_events("batches", "NORTH").items
        self.assertEqual(sorted((e.routing_key, e.payload["level"]) for e in found),
                         [("north.a", 3), ("north.b", 2)])
        self.assertTrue(all(isinstance(e.timestamp, datetime) and e.timestamp.tzinfo is None
                            for e in found))
        with self.fails(400):
            self.publish("batches", "north.a", level="high")

    def test_stream_of_a_burst_of_events(self):
        """More events at once than one write holds: the client takes one event per chunk."""
        self.topic("burst", {})
        text = "é\r\n\u2028" * 40

        def publish():
            for n in range(200):
                body = {"topic": "burst", "payload": {"n": n, "text": text}}
                self.server.request("POST", "/events/publish",
                                    json.dumps(body, ensure_ascii=False).encode(),
                                    {"Content-Type": "application/json"})
        events = self.collect(self.client.stream_events("burst"), 200, publish)
        self.assertEqual([e.payload["n"] for e in events], list(range(200)))
        self.assertEqual({e.payload["text"] for e in events}, {text})
        self.assertEqual({type(e).__name__ for e in events}, {"EventDocument"})

    def test_stream_of_a_sub_topic(self):
        self.topic("plant")

        def publish():
            self.publish("plant", "south.tank", level=1)
            self.publish("plant", "north.tank", level=2)
        for key in ("north.$", "north.#", "*.tank", "plant.north.tank"):
            wanted = 1 if key == "*.tank" else 2
            event, = self.collect(self.client.stream_events("plant", key), 1, publish)
            self.assertEqual(event.payload, {"level": wanted}, key)

    def test_readme_example(self):
        """Topic from a pydantic schema, ten events, a listener; then one sub-topic of two."""
        schema = {"title": "SampleEvent", "type": "object", "required": ["sample_val"],
                  "properties": {
                      "sample_val": {"title": "Sample Val", "type": "number"},
                      "timestamp": {"title": "Timestamp", "type": "string",
                                    "format": "date-time"}}}
        # The example gives the schema as JSON in a string, and events no routing key.
        # The client of today accepts neither, the server both.
        self.topic("sample", schema)
        answer = self.server.post("/topics/save", {"topic": "sample", "jschema": json.dumps(schema)})
        self.assertEqual((answer.status, answer.json()), (200, {"status": "OK"}))
        self.assertEqual(self.client.get_topic("sample").jschema, schema)

        def payload(n):
            return {"sample_val": n, "timestamp": datetime.now().isoformat()}

        def without_key():
            for n in range(10):
                answer = self.server.post("/events/publish",
                                          {"topic": "sample", "payload": payload(n)})
                self.assertEqual((answer.status, answer.json()), (200, {"status": "OK"}))
        events = self.collect(self.client.stream_events(topic="sample"), 10, without_key)
        self.assertEqual([e.payload["sample_val"] for e in events], list(range(10)))
        self.assertEqual({e.topic for e in events}, {"sample"})

        def with_key():
            for n in range(10):
                self.publish("sample", "other", **payload(-1))
                self.publish("sample", "mytestsamples", **payload(n))
        stream = self.client.stream_events(topic="sample", routing_key="mytestsamples")
        events = self.collect(stream, 10, with_key)
        self.assertEqual([e.payload["sample_val"] for e in events], list(range(10)))
        self.assertEqual({e.routing_key for e in events}, {"mytestsamples"})

    def test_download_of_events(self):
        self.topic("archive", {})
        for n in range(3):
            self.publish("archive", f"k{n}", n=n, note='a "quoted", é')
        to = io.StringIO()
        self.client.download_events("archive", destination=to)
        rows = list(csv.reader(io.StringIO(to.getvalue())))
        self.assertEqual(rows[0], ["timestamp", "posted_by", "topic", "routing_key", "payload"])
        self.assertEqual([json.loads(r[4]) for r in rows[1:]],
                         [{"n": n, "note": 'a "quoted", é'} for n in range(3)])
        with tempfile.TemporaryDirectory() as folder:
            self.client.download_events("archive", folder, routing_key="k1", timezone="Europe/Rome",
                                        start_time=datetime.now() - timedelta(days=2),
                                        end_time=datetime.now() + timedelta(days=2))
            name, = os.listdir(folder)
            self.assertRegex(name, r"^\d+\.csv$")
            self.assertEqual(len((Path(folder) / name).read_text().splitlines()), 2)

    def test_restart_of_the_event_manager(self):
        self.status_is_ok(self.client.restart_event_manager())

    # --- unitops and timeseries ---

    def unitop(self, name, mapping=None):
        unitop = UnitOp(name=name, data_mapping=mapping or MAPPING, meta={"area": name})
        self.status_is_ok(self.client.create_unitop(unitop))

    def test_unitops(self):
        self.unitop("press1")
        plain = self.client.get_unitop("press1")
        self.assertEqual((plain.name, plain.meta, plain.modified_by),
                         ("press1", {"area": "press1"}, "admin"))
        self.assertEqual(self.mapping(plain), MAPPING)
        mapped = self.client.get_unitop("press1", map_subscriptions=True)
        self.assertEqual({s["source"] for s in self.mapping(mapped).values()}, {"line3"})
        for q in ({"meta.area": "press1"}, '{"meta.area": {"$in": ["press1"]}}'):
            for flag in (False, True):
                found = self.client.get_unitops(q, flag).items
                self.assertEqual([u.name for u in found], ["press1"])
        with self.fails(404):
            self.client.get_unitop("none")

    @staticmethod
    def mapping(unitop):
        return {item: s if isinstance(s, dict) else s.dict()
                for item, s in unitop.data_mapping.items()}

    def test_sources(self):
        self.assertEqual(sorted(self.client.get_sources().sources), ["host", "line3"])

    def test_stored_samples(self):
        self.unitop("stored")

        def ready():
            return len(self.client.get_data("stored", "pressure").items) == 20
        until(ready, "the file's rows", SECONDS)
        message = self.client.get_data("stored", "pressure")
        self.assertEqual(message.subscription.dict(), MAPPING["pressure"])
        self.assertEqual([(i.timestamp, i.value) for i in message.items],
                         [(FIRST + timedelta(seconds=n), n + 0.5) for n in range(20)])
        part = self.client.get_data("stored", "valve", start_time=FIRST + timedelta(seconds=3),
                                    end_time=FIRST + timedelta(seconds=6), timezone="UTC")
        self.assertEqual([i.value for i in part.items], [True, False, True, False])
        newest = self.client.get_data("stored", "pressure", limit=2)
        self.assertEqual([i.value for i in newest.items], [18.5, 19.5])
        unlimited = self.client.get_data("stored", "pressure", limit=None)  # sent as `limit=`
        self.assertEqual(unlimited, message)
        with self.fails(400):
            self.client.get_data("stored", "nothing")

    def test_download_of_data(self):
        self.unitop("sheet")
        until(lambda: len(self.client.get_data("sheet", "valve").items) == 20, "the file's rows",
              SECONDS)
        to = io.StringIO()
        # The client loses the data items on their way: what comes has every item.
        self.client.download_data("sheet", destination=to, data_items=["valve"],
                                  start_time=FIRST, end_time=FIRST + timedelta(seconds=19),
                                  timezone="UTC", scan_rate=1)
        rows = list(csv.DictReader(io.StringIO(to.getvalue())))
        self.assertEqual(set(rows[0]), {"timestamp", "pressure", "valve"})
        self.assertEqual([float(r["pressure"]) for r in rows], [n + 0.5 for n in range(20)])
        with tempfile.TemporaryDirectory() as folder:
            self.client.download_data("sheet", Path(folder) / "here.csv")
            self.assertEqual(len((Path(folder) / "here.csv").read_text().splitlines()), 21)

    def test_live_samples(self):
        self.unitop("box", {"cpu": {"source": "host", "metric": "cpu.user"},
                            "memory": {"source": "host", "metric": "memory.used"}})
        token = self.client.subscribe_to_data_items(["memory", "cpu"])
        self.assertEqual(token.token, self.client.subscribe_to_data_items(["cpu", "memory"]).token)
        messages = self.collect(self.client.stream_data("box"), 10)
        self.assertEqual({m.subscription.metric for m in messages}, {"cpu.user", "memory.used"})
        messages = self.collect(self.client.stream_data("box", ["memory"]), 5)
        self.assertEqual({m.subscription.metric for m in messages}, {"memory.used"})
        times = [i.timestamp for m in messages for i in m.items]
        self.assertEqual(times, sorted(set(times)))
        self.assertTrue(all(t.tzinfo is None for t in times))

    def test_restart_of_the_timeseries_managers(self):
        self.status_is_ok(self.client.restart_timeseries_manager("line3"))

    # --- administration ---

    def test_info_tells_the_managers_apart(self):
        self.topic("seen", {})
        self.unitop("watched", {"cpu": {"source": "host", "metric": "cpu.idle"}})
        info = []
        self.collect(self.client.stream_data("watched"), 1)  # a manager comes with its first use
        self.collect(self.client.stream_events("seen"), 1, lambda: (
            info.append(self.client.get_info()), self.publish("seen", "k")))
        managers = info[0].info
        self.assertEqual(info[0].status, "ok")
        event = [m for m in managers if type(m).__name__ == "EventManagerInfo"]
        self.assertEqual([m.name for m in event], ["EventManager"])
        self.assertEqual(event[0].status, "connected")
        self.assertGreaterEqual(event[0].active_subscribers, 1)
        self.assertEqual(event[0].subscribers[0].name, "EventSubscriber")
        series = [m for m in managers if type(m).__name__ == "TimeseriesManagerInfo"]
        self.assertEqual(sorted(m.source for m in series), ["host", "line3"])
        self.assertEqual(len(managers), 3)

    def test_logs_live(self):
        stream = self.client.stream_logs()
        taken = self.pool.submit(lambda: next(stream))
        until(lambda: self.server.get("/users/whoami") and taken.done(), "a log document", SECONDS,
              pause=0.1)
        document = taken.result(SECONDS)
        stream.close()
        self.assertIn("timestamp", document)
        self.assertIn(document["log"]["level"], {"debug", "info", "warning", "error", "critical"})
        self.assertNotIn("_id", document)

    def test_download_of_logs(self):
        def documents(q):
            to = io.StringIO()
            self.client.download_logs(q, to)
            return [json.loads(line) for line in to.getvalue().splitlines()]
        until(lambda: documents({"log.level": {"$exists": True}}), "stored log documents", SECONDS)
        both = documents('{"$or": [{"log.level": "info"}, {"log.level": "warning"}]}')
        self.assertLessEqual({d["log"]["level"] for d in both}, {"info", "warning"})
        times = [d["timestamp"] for d in both]
        self.assertEqual(times, sorted(times))
        self.assertEqual(documents({"log.level": "nosuch"}), [])


class BlockingMethods(Methods, Fixture):
    face, ran = Blocking, set()


class AwaitedMethods(Methods, Fixture):
    face, ran = Awaited, set()


class Retry:
    """The server's 503 is one that the client waits out."""

    env = {"EVENTS_MAX_SUBSCRIBERS": "1"}

    def test_503_is_retried_after_the_time_it_names(self):
        self.topic("few", {})
        with self.server.stream("/events/few/stream"):
            reply = self.server.get("/events/few/stream")
            self.assertEqual((reply.status, reply.headers["retry-after"], reply.json()),
                             (503, "5", {"detail": "Broker is unavailable."}))
            begun = datetime.now()
            stream = self.client.stream_events("few")
            taken = self.pool.submit(lambda: next(stream))
            with self.assertRaises(concurrent.futures.TimeoutError):
                taken.result(1)
        until(lambda: self.subscribers() == 0, "the first stream's end")
        until(lambda: self.subscribers() == 1, "the client's second try", SECONDS)
        self.assertGreater(datetime.now() - begun, timedelta(seconds=4.5))
        self.publish("few", "k", n=1)
        self.assertEqual(taken.result(SECONDS).payload, {"n": 1})
        stream.close()


class BlockingRetry(Retry, Fixture):
    face = Blocking


class AwaitedRetry(Retry, Fixture):
    face = Awaited


if __name__ == "__main__":
    unittest.main()
