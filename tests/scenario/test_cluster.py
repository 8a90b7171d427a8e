"""Two nodes over real RabbitMQ, MongoDB and Memcached, and what happens when one of these is away."""

import json
import unittest

from lib.cluster import Cluster, main
from lib.server import Server, until


class TwoNodes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster()
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.start()
        cls.a, cls.b = cls.cluster.a, cls.cluster.b

    def topic(self, name):
        reply = self.a.post("/topics/save", {"topic": name, "jschema": {"type": "object"}})
        self.assertEqual(reply.status, 200, reply)

    def publish(self, node, topic, n):
        reply = node.post("/events/publish",
                          {"topic": topic, "routing_key": f"k{n % 3}", "payload": {"n": n}})
        self.assertEqual((reply.status, reply.json()), (200, {"status": "OK"}), reply)

    def recorded(self, node, topic):
        reply = node.get(f"/events/{topic}/recorded?startTime=-1h", {"Accept": "text/csv"})
        self.assertEqual(reply.status, 200, reply)
        return [json.loads(row[4])["n"] for row in reply.csv()[1:]]

    def await_recorded(self, node, topic, numbers):
        until(lambda: sorted(self.recorded(node, topic)) == list(numbers),
              f"all of {topic} in the database, once each", 40)

    def test_event_published_on_one_node_is_streamed_by_the_other(self):
        self.topic("across")
        with self.b.stream("/events/across/stream") as at_b, \
                self.a.stream("/events/across/stream?routingKey=k1") as at_a:
            for n in range(30):
                self.publish(self.a if n % 2 else self.b, "across", n)
            got = [at_b.next().json()["payload"]["n"] for _ in range(30)]
            self.assertEqual(sorted(got), list(range(30)))
            self.assertEqual([n for n in got if n % 2], list(range(1, 30, 2)), "order of a node")
            self.assertEqual(sorted(at_a.next().json()["payload"]["n"] for _ in range(10)),
                             list(range(1, 30, 3)))
        self.await_recorded(self.a, "across", range(30))
        self.await_recorded(self.b, "across", range(30))

    def test_replay_says_that_events_of_the_other_node_may_be_missing(self):
        self.topic("resumed")
        with self.b.stream("/events/resumed/stream") as stream:
            place = stream.place()
        self.publish(self.b, "resumed", 0)
        self.publish(self.a, "resumed", 1)
        for path, headers in (("", {"Last-Event-ID": place}), ("?since=-1m", {})):
            with self.b.stream("/events/resumed/stream" + path, headers) as stream:
                gap, event = stream.next(), stream.next()
                self.assertEqual((gap.name, gap.json()["count"]), ("gap", None))
                self.assertEqual((event.name, event.json()["payload"]["n"]), (None, 0))

    def test_save_on_one_node_is_seen_by_the_other_at_once(self):
        for n in range(20):
            kind = "integer" if n % 2 else "string"
            schema = {"type": "object", "properties": {"v": {"type": kind}}}
            self.a.post("/topics/save", {"topic": "saved", "jschema": schema})
            until(lambda: self.publish_value(self.b, 1 if n % 2 else "1") == 200 and
                  self.publish_value(self.b, "1" if n % 2 else 1) == 400,
                  "the new schema, well before a copy counts as old", 2)
            self.a.save_unitop("saved", {f"cpu{n}": {"source": "host", "metric": "cpu.user"}})
            until(lambda: list(self.b.get("/unitops/search/saved").json()["data_mapping"]) ==
                  [f"cpu{n}"], "the new unitop", 2)

    def publish_value(self, node, value):
        return node.post("/events/publish", {"topic": "saved", "payload": {"v": value}}).status

    def test_documents_and_tokens_are_shared(self):
        self.a.save_unitop("shared", {"cpu": {"source": "host", "metric": "cpu.user"}})
        self.assertEqual(self.b.get("/unitops/search/shared").json()["name"], "shared")
        token = self.a.post("/timeseries/subscribe", {"items": ["cpu"]}).json()["token"]
        reply = self.b.get(f"/timeseries/shared/recorded?token={token}", {"Accept": "text/csv"})
        self.assertEqual(reply.csv()[0], ["timestamp", "cpu"])

    def test_samples_stored_by_one_node_are_read_by_the_other(self):
        self.a.save_unitop("machine", {"cpu": {"source": "host", "metric": "cpu.user"}})
        with self.a.stream("/timeseries/machine/stream") as stream:
            seen = [stream.next().json()["items"][-1]["timestamp"] for _ in range(5)]
            until(lambda: {s["timestamp"] for s in self.b.samples("machine", "cpu")} >=
                  {t[:23] + "000" if "." in t else t for t in seen}, "the samples at the other node")

    def test_rabbitmq_that_restarts_loses_nothing_that_was_published_meanwhile(self):
        self.topic("outage")
        with self.a.stream("/events/outage/stream") as stream:
            self.publish(self.a, "outage", 0)
            self.assertEqual(stream.next().json()["payload"]["n"], 0)
            self.cluster.rabbitmq.kill()
            try:
                for n in range(1, 20):
                    self.publish(self.a, "outage", n)
            finally:
                self.cluster.rabbitmq.start()
            got = [stream.next(40).json()["payload"]["n"] for _ in range(19)]
            self.assertEqual(got, list(range(1, 20)))
        self.await_recorded(self.b, "outage", range(20))

    def test_mongodb_that_is_away_delays_and_loses_nothing(self):
        self.topic("database")
        self.publish(self.a, "database", 0)
        self.await_recorded(self.a, "database", [0])
        with self.b.stream("/events/database/stream") as stream:
            self.cluster.mongodb.kill()
            try:
                for n in range(1, 50):
                    self.publish(self.a, "database", n)
                self.assertEqual([stream.next().json()["payload"]["n"] for _ in range(49)],
                                 list(range(1, 50)), "live delivery needs no database")
                reply = self.a.get("/events/database/last")
                self.assertEqual(reply.status, 503, reply)
                self.assertEqual(reply.headers.get("retry-after"), "5")
                self.assertEqual(reply.json(), {"detail": "Application database is unavailable."})
                self.assertEqual(self.a.get("/health/live").status, 200)
                self.assertEqual(self.a.get("/health/ready").status, 503)
                self.a.kill()  # what it acknowledged is in its journal only
            finally:
                self.cluster.mongodb.start()
        self.a.start()
        self.await_recorded(self.b, "database", range(50))

    def test_memcached_that_is_away_costs_only_what_needs_it(self):
        self.a.save_unitop("token", {"cpu": {"source": "host", "metric": "cpu.user"}})
        self.cluster.memcached.kill()
        try:
            reply = self.a.post("/timeseries/subscribe", {"items": ["cpu"]})
            self.assertEqual((reply.status, reply.headers.get("retry-after")), (503, "5"), reply)
            self.topic("without")
            self.publish(self.a, "without", 1)
        finally:
            self.cluster.memcached.start()
        until(lambda: self.a.post("/timeseries/subscribe", {"items": ["cpu"]}).status == 200,
              "tokens again", 20)


class Settings(unittest.TestCase):
    def test_shared_broker_with_storage_of_each_its_own_must_be_meant(self):
        env = {"RABBITMQ_CONNECTION_URI": "amqp://guest:secret@127.0.0.1:1/"}
        with self.assertRaises(AssertionError) as refused:
            with Server(env=env) as server:
                server.start()
        self.assertIn("MONGODB_CONNECTION_URI", str(refused.exception))
        self.assertNotIn("secret", str(refused.exception))


if __name__ == "__main__":
    main()
