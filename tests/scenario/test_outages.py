"""Nothing acknowledged is lost between nodes and back ends, and nothing comes twice: counted at the
ends, while back ends and nodes are killed, paused and cut off."""

import json
import resource
import threading
import time
import unittest

from lib.cluster import Cluster, main
from lib.client import with_query
from lib.server import until
from lib.wire import Wire

PUBLISHERS = 4
PAUSE = 0.005  # between posts of each


class Storm:
    """Publishers that post numbers as fast as they are answered; `acknowledged`: (publisher, number)."""

    def __init__(self, node, topic, name="", pause=PAUSE):
        self.node, self.topic, self.name, self.pause = node, topic, name, pause
        self.acknowledged = []
        self.refused = 0
        self.next = [0] * PUBLISHERS
        self.threads = []

    def start(self):
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=(i,)) for i in range(PUBLISHERS)]
        for thread in self.threads:
            thread.start()
        return self

    def _post(self, publisher):
        while not self.stopping.wait(self.pause):
            number = self.next[publisher]
            self.next[publisher] += 1
            try:
                reply = self.node.post("/events/publish", {
                    "topic": self.topic, "routing_key": f"p{publisher}",
                    "payload": {"publisher": f"{self.name}{publisher}", "n": number}})
            except (OSError, EOFError):
                return  # the node is gone; whether it took this one is open
            if reply.status == 200:
                self.acknowledged.append((f"{self.name}{publisher}", number))
            else:
                self.refused += 1

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def reach(self, n):
        until(lambda: len(self.acknowledged) >= n, f"{n} acknowledged events", 60)


class Reader:
    """Reads a stream to its end in a thread of its own."""

    def __init__(self, node, topic):
        self.stream = node.stream(f"/events/{topic}/stream")
        self.seen, self.notices, self.ended = [], [], False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            while (event := self.stream.next(600)) is not None:
                if event.name:
                    self.notices.append((event.name, event.json()))
                else:
                    payload = event.json()["payload"]
                    self.seen.append((payload["publisher"], payload["n"]))
        except (OSError, EOFError, AssertionError, ValueError):
            pass
        self.ended = True

    def close(self):
        self.stream.close()


class Drill(unittest.TestCase):
    def start(self, a=None, b=None):
        self.cluster.start(a, b)
        self.a, self.b = self.cluster.a, self.cluster.b

    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.close)

    def topic(self, name):
        reply = self.a.post("/topics/save", {"topic": name, "jschema": {"type": "object"}})
        self.assertEqual(reply.status, 200, reply)

    def assert_exactly_once(self, acknowledged, reader):
        """All that was acknowledged, and nothing twice; each publisher's in order."""
        wanted = set(acknowledged)
        try:
            until(lambda: wanted <= set(reader.seen), "all events", 60, 0.2)
        except AssertionError:
            missing = sorted(wanted - set(reader.seen))
            self.fail(f"{len(missing)} of {len(wanted)} events are missing: {missing[:20]}")
        self.assertEqual(len(reader.seen), len(set(reader.seen)), "some came twice")
        for publisher in {p for p, _ in reader.seen}:
            numbers = [n for p, n in reader.seen if p == publisher]
            self.assertEqual(numbers, sorted(numbers), "order of a node")
        self.assertEqual(reader.notices, [])

    def assert_stored_once(self, acknowledged, node, topic):
        """All that was acknowledged is in the database, once each."""
        def stored():
            path = with_query(f"/events/{topic}/recorded", startTime="-1h")
            reply = node.get(path, {"Accept": "text/csv"})
            self.assertEqual(reply.status, 200, reply)
            payloads = [json.loads(row[4]) for row in reply.csv()[1:]]
            return [(p["publisher"], p["n"]) for p in payloads]
        found = []

        def is_all_there():
            found[:] = stored()
            return set(acknowledged) <= set(found)
        try:
            until(is_all_there, "all events", 60, 0.5)
        except AssertionError:
            missing = sorted(set(acknowledged) - set(found))
            journal = self.a.get("/admin/info").json()["info"][0]["journal"]
            self.fail(f"{len(missing)} of {len(acknowledged)} events are not stored: {missing[:20]}; "
                      f"the journal of a: {journal}; log: {self.a.log()[-3000:]}")
        self.assertEqual(len(found), len(set(found)), "some are there twice")

    def statuses(self, node):
        manager = node.get("/admin/info").json()["info"][0]
        return (node.get("/health/live").status, node.get("/health/ready").status,
                manager["status"])


class Outages(Drill):
    def setUp(self):
        super().setUp()
        self.start()

    def test_node_killed_in_a_storm_while_rabbitmq_is_away_sends_all_it_acknowledged(self):
        self.topic("storm")
        reader = Reader(self.b, "storm")
        storm = Storm(self.a, "storm").start()
        storm.reach(200)
        self.cluster.rabbitmq.pause()
        storm.reach(1000)
        self.a.kill()
        storm.stop()
        self.cluster.rabbitmq.kill()
        self.cluster.rabbitmq.start()
        self.a.start()
        self.assert_exactly_once(storm.acknowledged, reader)
        reader.close()

    def test_two_nodes_that_publish_while_rabbitmq_is_killed_again_and_again_miss_nothing(self):
        self.topic("killed")
        readers = [Reader(self.a, "killed"), Reader(self.b, "killed")]
        storms = [Storm(self.a, "killed", "a").start(), Storm(self.b, "killed", "b").start()]
        for _ in range(3):
            self.cluster.rabbitmq.kill()
            self.cluster.rabbitmq.start()
            n = len(storms[0].acknowledged)
            storms[0].reach(n + 300)
        for storm in storms:
            storm.stop()
        acknowledged = storms[0].acknowledged + storms[1].acknowledged
        for reader in readers:
            self.assert_exactly_once(acknowledged, reader)
            told = [c for c in reader.stream.comments if c.startswith("broker")]
            self.assertEqual(told, ["broker away", "broker back"] * (len(told) // 2))
            self.assertGreaterEqual(len(told), 2)
            reader.close()

    def test_rabbitmq_paused_for_thirty_seconds_delays_and_loses_nothing(self):
        self.topic("paused")
        readers = [Reader(self.a, "paused"), Reader(self.b, "paused")]
        storm = Storm(self.a, "paused").start()
        storm.reach(200)
        self.cluster.rabbitmq.pause()
        time.sleep(30)  # the drill
        self.assertEqual(self.a.get("/health/live").status, 200)
        self.cluster.rabbitmq.resume()
        storm.reach(len(storm.acknowledged) + 200)
        storm.stop()
        for reader in readers:
            self.assert_exactly_once(storm.acknowledged, reader)
            reader.close()

    def test_samples_go_on_after_rabbitmq_was_killed_behind_a_gap(self):
        self.a.save_unitop("machine", {"cpu": {"source": "host", "metric": "cpu.user"}})
        with self.a.stream("/timeseries/machine/stream") as at_a, \
                self.b.stream("/timeseries/machine/stream") as at_b:
            for stream in (at_a, at_b):
                self.assertIsNone(stream.next().name)
            self.cluster.rabbitmq.kill()
            self.cluster.rabbitmq.start()
            back = time.monotonic()
            for stream in (at_a, at_b):
                event = None
                while not event or event.name or "broker back" not in stream.comments:
                    event = stream.next(20)
                self.assertIn("subscription", event.json())
            self.assertLess(time.monotonic() - back, 10, "samples flow as soon as it is back")

    def test_node_that_starts_without_rabbitmq_accepts_events_and_sends_them_later(self):
        self.topic("later")
        self.a.stop()
        reader = Reader(self.b, "later")
        self.cluster.rabbitmq.kill()
        self.a.start("/health/live")
        storm = Storm(self.a, "later").start()
        storm.reach(300)
        storm.stop()
        self.assertEqual(self.statuses(self.a), (200, 503, "disconnected"))
        reply = self.a.get("/health/ready")
        self.assertEqual(reply.json(), {"detail": "Broker is unavailable."}, reply)
        self.a.kill()
        self.a.start("/health/live")
        self.cluster.rabbitmq.start()
        self.assert_exactly_once(storm.acknowledged, reader)
        self.assertEqual(self.statuses(self.a), (200, 200, "connected"))
        reader.close()

    def test_mongodb_paused_for_thirty_seconds_then_killed_delays_and_loses_nothing(self):
        self.topic("database")
        reader = Reader(self.b, "database")
        storm = Storm(self.a, "database", pause=0.05).start()  # FerretDB is slow to catch up
        storm.reach(200)
        self.cluster.mongodb.pause()
        time.sleep(30)  # the drill
        self.cluster.mongodb.resume()
        storm.reach(len(storm.acknowledged) + 200)
        self.cluster.mongodb.kill()
        storm.reach(len(storm.acknowledged) + 200)
        self.cluster.mongodb.start()
        storm.stop()
        self.assert_exactly_once(storm.acknowledged, reader)
        self.assert_stored_once(storm.acknowledged, self.b, "database")
        reader.close()

    def test_full_disk_is_answered_and_loses_nothing(self):
        self.topic("disk")
        reader = Reader(self.b, "disk")
        storm = Storm(self.a, "disk").start()
        storm.reach(200)
        sizes = [f.stat().st_size for f in self.a.data_dir.iterdir()]
        everything = resource.prlimit(self.a.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.a.process.pid, resource.RLIMIT_FSIZE,
                         (max(sizes) + 65536, everything[1]))
        until(lambda: storm.refused > 20, "refusals", 30)
        reply = self.a.post("/events/publish", {"topic": "disk", "payload": {}})
        self.assertEqual((reply.status, reply.headers.get("retry-after")), (503, "5"), reply)
        self.assertEqual(reply.json(), {"detail": "Event storage is full."})
        self.assertEqual(self.a.get("/health/live").status, 200)
        resource.prlimit(self.a.process.pid, resource.RLIMIT_FSIZE, everything)
        storm.reach(len(storm.acknowledged) + 200)
        storm.stop()
        self.assert_exactly_once(storm.acknowledged, reader)
        self.assert_stored_once(storm.acknowledged, self.b, "disk")
        reader.close()


class CutNetwork(Drill):
    def cut_off(self, topic, publisher):
        """Node `a` loses RabbitMQ, silently; `publisher` publishes all the while."""
        wire = Wire(self.cluster.rabbitmq.port)
        self.addCleanup(wire.close)
        uri = self.cluster.rabbitmq.uri.replace(str(self.cluster.rabbitmq.port), str(wire.port))
        self.start(a={"RABBITMQ_CONNECTION_URI": f"{uri}?heartbeat=2"})
        self.topic(topic)
        readers = [Reader(self.a, topic), Reader(self.b, topic)]
        storm = Storm(publisher(), topic).start()
        storm.reach(200)
        wire.cut()
        until(lambda: self.statuses(self.a) == (200, 503, "disconnected"), "the loss is seen", 30)
        self.assertEqual(self.statuses(self.b), (200, 200, "connected"))
        storm.reach(len(storm.acknowledged) + 500)
        wire.mend()
        storm.reach(len(storm.acknowledged) + 200)
        storm.stop()
        for reader in readers:
            self.assert_exactly_once(storm.acknowledged, reader)
            reader.close()

    def test_node_cut_off_from_rabbitmq_sends_what_it_accepted_meanwhile(self):
        self.cut_off("sends", lambda: self.a)

    def test_node_cut_off_from_rabbitmq_gets_what_others_published_meanwhile(self):
        self.cut_off("gets", lambda: self.b)

    def test_node_cut_off_from_mongodb_stores_what_it_accepted_meanwhile(self):
        wire = Wire(self.cluster.mongodb.port)
        self.addCleanup(wire.close)
        uri = self.cluster.mongodb.uri.replace(str(self.cluster.mongodb.port), str(wire.port))
        self.start(a={"MONGODB_CONNECTION_URI": uri, "MONGODB_SOCKET_TIMEOUT": "2000"})
        self.topic("stores")
        storm = Storm(self.a, "stores").start()
        storm.reach(200)
        wire.cut()
        until(lambda: self.a.get("/health/ready").status == 503, "the loss is seen", 30)
        storm.reach(len(storm.acknowledged) + 500)
        wire.mend()
        storm.stop()
        self.assert_stored_once(storm.acknowledged, self.b, "stores")


class Copies(Drill):
    def test_save_that_could_not_be_told_is_seen_within_seconds(self):
        self.start()
        self.topic("copies")
        event = {"topic": "copies", "payload": {"v": 1}}
        self.assertEqual(self.b.post("/events/publish", event).status, 200)
        self.cluster.rabbitmq.kill()
        schema = {"type": "object", "properties": {"v": {"type": "string"}}}
        self.a.post("/topics/save", {"topic": "copies", "jschema": schema})
        until(lambda: self.b.post("/events/publish", event).status == 400,
              "5 s, after which a copy is compared", 15)


class ReconnectTimeout(Drill):
    def test_streams_survive_an_outage_up_to_the_timeout_then_end_with_a_reason(self):
        self.start(a={"EVENTS_RECONNECT_TIMEOUT": "2"}, b={"EVENTS_RECONNECT_TIMEOUT": "60"})
        self.topic("timeout")
        with self.a.stream("/events/timeout/stream") as ends, \
                self.b.stream("/events/timeout/stream") as stays, \
                self.a.websocket("/events/timeout/ws") as websocket:
            self.cluster.rabbitmq.kill()
            end = ends.next(30)
            self.assertEqual((end.name, end.json()),
                             ("end", {"reason": "The broker is unavailable."}))
            self.assertIsNone(ends.next(), "the stream has ended")
            self.assertEqual(ends.comments, ["broker away"])
            self.assertEqual(websocket.closed(), (1013, "The broker is unavailable."))
            self.cluster.rabbitmq.start()
            reply = self.a.post("/events/publish", {"topic": "timeout", "payload": {"n": 1}})
            self.assertEqual(reply.status, 200, reply)
            self.assertEqual(stays.next(30).json()["payload"], {"n": 1})
            self.assertEqual(stays.comments[:1], ["broker away"])


if __name__ == "__main__":
    main()
