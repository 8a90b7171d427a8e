"""Documents, messages and keys of the original system read by ours, and ours by it.

The original is played by original.py: its statements, by its libraries.  Both share RabbitMQ,
MongoDB and Memcached of tools/services, with HYPRXA_SUBSCRIPTION_HASH=hyprxa.
"""

import json
import sys
import unittest
import uuid
from datetime import datetime, timedelta

import orjson
from bson.int64 import Int64
from pymemcache.client.base import Client as MemcacheClient

from original import (MINUTE, UUID_HEX, Broker, Database, bind_key, subscriber_key,
                      subscription_hash, utc)
from lib.server import BUILD, ROOT, Server, until

sys.path.insert(0, str(ROOT / "tools" / "services"))
from services import Memcached, Missing, MongoDB, RabbitMQ  # noqa: E402

LEVEL = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}
EVENT_KEYS = ["topic", "routing_key", "payload", "timestamp", "posted_by"]
# Small, large and not whole; what JSON has no type for does not occur.
PAYLOAD = {"level": 3, "large": 2 ** 40, "real": 2.0, "text": "Zürich ☂", "none": None, "yes": True,
           "list": [1, 2.5, "x"], "nested": {"a": {"b": -1}}}
# Times of samples: whole milliseconds, as a document keeps them.
BASE = datetime(2024, 5, 6, 7, 8, 9, 250000)
VALUES = {"whole": 7, "large": 2 ** 50, "real": 2.0, "flag": True, "text": "on, off", "none": None}


def iso(time):
    """As orjson writes a datetime without a zone."""
    return orjson.dumps(time).decode().strip('"')


def microseconds(time):
    return (time - datetime(1970, 1, 1)) // timedelta(microseconds=1)


class Interop(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.services = []
        for service in (RabbitMQ, MongoDB, Memcached):
            cls.services.append(service().start())
            cls.addClassCleanup(cls.services[-1].remove)
        rabbitmq, mongodb, memcached = cls.services
        cls.broker, cls.database = Broker(rabbitmq.uri), Database(mongodb.uri)
        cls.addClassCleanup(cls.broker.close)
        cls.addClassCleanup(cls.database.close)
        cls.cache = MemcacheClient(("127.0.0.1", memcached.port), timeout=10)
        cls.server = Server(env={
            "RABBITMQ_CONNECTION_URI": rabbitmq.uri, "MONGODB_CONNECTION_URI": mongodb.uri,
            "MEMCACHED_CONNECTION_URI": f"127.0.0.1:{memcached.port}",
            "HYPRXA_SUBSCRIPTION_HASH": "hyprxa", "EVENTS_FLUSH_INTERVAL": "0.1"})
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        # Series of our own that are recorded from the start.
        cls.recorded = {item: {"source": "replay", "item": item} for item in VALUES}
        types = {int: "int", float: "double", bool: "bool", str: "text", type(None): "null"}
        lines = [f"{item} {microseconds(BASE)} 0 {types[type(value)]} {cls.spell(value)}\n"
                 for item, value in VALUES.items()]
        # A quality that is not good has no place in the original's documents.
        lines += [f"whole {microseconds(BASE) + 1000} 1 int 8\n"]
        replay = cls.server.folder / "replay.txt"
        replay.write_text("".join(lines))
        (cls.server.conf_dir / "all.yaml").write_text(json.dumps({"sources": {
            "replay": {"plugin": str(BUILD / "tests/plugins/replay.so"),
                       "options": {"file": str(replay)}, "record": list(cls.recorded.values())},
            "host": {"plugin": "host", "options": {"interval": "100ms"}}}}))
        cls.server.start()

    @staticmethod
    def spell(value):
        return {None: "-", True: "true"}.get(value, value)

    def ok(self, reply):
        self.assertEqual(reply.status, 200, reply)
        return reply.json()

    def event(self, topic, key, payload, at):
        return {"topic": topic, "routing_key": key, "payload": payload, "timestamp": at,
                "posted_by": "ada"}


class Theirs(Interop):
    """Written by the original, read by ours."""

    def test_topic(self):
        self.database.save_topic("theirs", LEVEL)
        document = self.ok(self.server.get("/topics/search/theirs"))
        at = document.pop("modified_at")
        self.assertEqual(document, {"topic": "theirs", "jschema": LEVEL, "modified_by": "ada"})
        self.assertEqual(datetime.fromisoformat(at), self.database.topic("theirs")["modified_at"])
        self.assertIn("theirs", self.ok(self.server.get("/topics/search"))["items"])
        body = {"topic": "theirs", "routing_key": "k", "payload": {"level": "high"}}
        self.assertEqual(self.server.post("/events/publish", body).status, 400)

    def test_unitop(self):
        mapping = {"cpu": {"source": "host", "metric": "cpu.user"}}
        self.database.save_unitop("their_unit", mapping, {"room": 5, "share": 0.5})
        document = self.ok(self.server.get("/unitops/search/their_unit"))
        document.pop("modified_at")
        self.assertEqual(document, {"name": "their_unit", "data_mapping": mapping,
                                    "meta": {"room": 5, "share": 0.5}, "modified_by": "ada"})
        reply = self.server.get('/unitops/search?q={"meta.room":{"$gt":4}}')
        self.assertIn("their_unit", [unitop["name"] for unitop in self.ok(reply)["items"]])

    def test_events_over_several_buckets(self):
        now = utc() - 10 * MINUTE
        self.database.save_topic("many", {})
        for n in range(1003):
            self.database.store_event(self.event("many", "many.k", {"n": n},
                                                 now + timedelta(milliseconds=n)))
        other = self.event("many", "raw.key", PAYLOAD, now + timedelta(milliseconds=500))
        self.database.store_event(other)
        self.assertEqual(len(self.database.buckets("many")), 3)
        last = self.ok(self.server.get("/events/many/last"))
        self.assertEqual((list(last), last["payload"]), (EVENT_KEYS, {"n": 1002}))
        last = self.server.get("/events/many/last?routingKey=raw.key").body
        self.assertEqual(orjson.dumps(json.loads(last)), orjson.dumps(dict(other, timestamp=iso(
            other["timestamp"]).ljust(26, "0"))), "types and order kept apart")
        found = self.ok(self.server.get("/events/many/query?routingKey=KEY$"))["items"]
        self.assertEqual([event["routing_key"] for event in found], ["raw.key"])
        reply = self.server.get("/events/many/recorded?startTime=-1h", {"Accept": "text/csv"})
        self.assertEqual(reply.status, 200, reply)
        rows = reply.csv()
        numbers = [json.loads(row[4]).get("n") for row in rows[1:]]
        self.assertEqual(len(numbers), 1004)
        self.assertEqual([n for n in numbers if n is not None], list(range(1003)))

    def test_samples(self):
        mapping = {item: {"source": "replay", "item": f"their_{item}"} for item in VALUES}
        self.database.save_unitop("their_samples", mapping, {})
        for item, value in VALUES.items():
            self.database.store_samples(mapping[item], [(BASE, value), (BASE + MINUTE, value)])
        for item, value in VALUES.items():
            with self.subTest(item):
                self.assertEqual(self.server.samples("their_samples", item),
                                 [{"timestamp": BASE.isoformat(), "value": value},
                                  {"timestamp": (BASE + MINUTE).isoformat(), "value": value}])
        self.assertIn(b'"value":2.0', self.server.get(
            "/timeseries/their_samples/samples?dataItem=real&startTime=2024-01-01").body)
        rows = self.server.recorded("their_samples")
        self.assertEqual(len(rows), 3)
        row = dict(zip(rows[0], rows[1]))
        self.assertEqual({item: row[item] for item in VALUES},
                         {"whole": "7", "large": str(2 ** 50), "real": "2.0", "flag": "true",
                          "text": "on, off", "none": ""})

    def test_event_is_streamed(self):
        self.database.save_topic("streamed", {})
        event = self.event("streamed", "streamed.tank1", PAYLOAD, datetime.utcnow())
        with self.server.stream("/events/streamed/stream?routingKey=tank1") as stream, \
                self.server.websocket("/events/streamed/ws") as ws:
            for _ in range(2):  # two events that are alike are two
                self.broker.publish(Broker.EVENTS, event["routing_key"], event)
                self.assertEqual(orjson.loads(stream.next().text), orjson.loads(orjson.dumps(event)))
                self.assertEqual(ws.next()["payload"], PAYLOAD)

    def test_samples_are_streamed_while_the_original_reads_the_source(self):
        subscription = {"source": "replay", "item": "theirs_live"}
        key = subscription_hash(subscription)
        self.cache.set(str(key), uuid.uuid4().hex, expire=60)  # its lock
        self.database.save_unitop("their_live", {"item": subscription}, {})
        with self.server.stream("/timeseries/their_live/stream") as stream:
            for n in (1, 2.5, "three"):
                items = [{"timestamp": datetime.utcnow(), "value": n}]
                self.broker.publish(Broker.TIMESERIES, f"replay-{key}",
                                    {"subscription": subscription, "items": items})
                message = stream.next().json()
                self.assertEqual(message["subscription"], subscription)
                self.assertEqual([item["value"] for item in message["items"]], [n])

    def test_body_that_is_no_event_harms_nobody(self):
        self.database.save_topic("broken", {})
        with self.server.stream("/events/broken/stream") as stream:
            for body in (b"", b"\xff\xfe", b"{", b"[]", b"{}\r\n\r\ndata: forged"):
                self.broker.publish(Broker.EVENTS, "broken.k", body)
            event = self.event("broken", "broken.k", {"n": 1}, datetime.utcnow())
            self.broker.publish(Broker.EVENTS, "broken.k", event)
            self.assertEqual(stream.next().json()["payload"], {"n": 1})
        self.assertEqual(self.server.metric("hyprxa_events_malformed_total"), 5)


class Ours(Interop):
    """Written by ours, read by the original."""

    def topic(self, name, schema=None):
        reply = self.server.post("/topics/save", {"topic": name, "jschema": schema or {}})
        self.assertEqual(reply.status, 200, reply)

    def publish(self, topic, key, payload):
        reply = self.server.post("/events/publish",
                                 {"topic": topic, "routing_key": key, "payload": payload})
        self.assertEqual((reply.status, reply.json()), (200, {"status": "OK"}), reply)

    def test_topic(self):
        self.topic("ours", LEVEL)
        document = self.database.topic("ours")
        self.assertEqual(set(document), {"_id", "topic", "jschema", "modified_by", "modified_at"})
        self.assertEqual((document["jschema"], document["modified_by"]), (LEVEL, "admin"))
        self.assertLess(abs(document["modified_at"] - datetime.utcnow()), MINUTE)

    def test_unitop(self):
        mapping = {"cpu": {"source": "host", "metric": "cpu.user"}}
        self.server.save_unitop("our_unit", mapping)
        document = self.database.unitop("our_unit")
        self.assertEqual(set(document),
                         {"_id", "name", "data_mapping", "meta", "modified_by", "modified_at"})
        self.assertEqual(document["data_mapping"], mapping)
        self.assertIsInstance(document["modified_at"], datetime)

    def test_what_one_saved_the_other_changes(self):
        self.topic("both", {"type": "object"})
        self.database.save_topic("both_new", LEVEL)
        self.database.save_topic("both", LEVEL, by="grace")
        self.topic("both_new", {"type": "array"})
        self.assertEqual(self.database.db["topics"].count_documents({"topic": "both"}), 1)
        self.assertEqual(self.database.topic("both_new")["jschema"], {"type": "array"})

    def test_events_in_the_database(self):
        self.topic("kept")
        for n in range(3):
            self.publish("kept", "kept.k", dict(PAYLOAD, n=n))
        until(lambda: sum(b["count"] for b in self.database.buckets("kept")) == 3, "the events")
        for bucket in self.database.buckets("kept"):
            self.assertGreaterEqual(set(bucket), {"_id", "topic", "routing_key", "count",
                                                  "timestamp", "events"})
            self.assertEqual(bucket["count"], len(bucket["events"]))
            self.assertEqual(bucket["timestamp"], bucket["events"][-1]["timestamp"])
        last = self.database.last_event("kept", "kept.k")
        self.assertEqual(list(last), EVENT_KEYS)
        self.assertEqual((last["payload"], last["posted_by"]), (dict(PAYLOAD, n=2), "admin"))
        self.assertIs(type(last["timestamp"]), datetime)
        self.assertIs(type(last["payload"]["level"]), int)
        self.assertIs(type(last["payload"]["large"]), Int64)
        self.assertIs(type(last["payload"]["real"]), float)
        self.assertEqual(list(last["payload"]), [*PAYLOAD, "n"], "order of the members")
        self.assertEqual(self.database.event_keys("kept", "^KEPT"), ["kept.k"])
        self.assertEqual([event["payload"]["n"] for event in
                          self.database.events("kept", utc() - MINUTE, utc() + MINUTE)], [0, 1, 2])

    def test_both_write_events_of_one_key(self):
        self.topic("shared")
        for n in range(0, 6, 2):
            self.publish("shared", "shared.k", {"n": n})
            until(lambda: n in self.numbers("shared"), "our event")
            self.database.store_event(self.event("shared", "shared.k", {"n": n + 1}, utc()))
        self.assertEqual(sorted(self.numbers("shared")), list(range(6)))
        reply = self.server.get("/events/shared/recorded?startTime=-1h", {"Accept": "text/csv"})
        self.assertEqual(sorted(json.loads(row[4])["n"] for row in reply.csv()[1:]), list(range(6)))
        self.assertEqual(self.ok(self.server.get("/events/shared/last"))["payload"], {"n": 5})

    def numbers(self, topic):
        return [event["payload"]["n"] for bucket in self.database.buckets(topic)
                for event in bucket["events"]]

    def test_event_on_the_broker(self):
        self.topic("sent")
        messages = self.broker.subscribe(Broker.EVENTS, bind_key("sent"))
        self.publish("sent", "tank1", PAYLOAD)
        message = self.broker.receive(messages)
        event = orjson.loads(message.body)
        self.assertEqual((list(event), event["payload"]), (EVENT_KEYS, PAYLOAD))
        self.assertIsNone(datetime.fromisoformat(event["timestamp"]).tzinfo)
        properties = message.header.properties
        self.assertEqual(properties.delivery_mode, 1)
        self.assertTrue(properties.message_id)
        self.assertIsNone(properties.content_type)

    def test_samples_in_the_database(self):
        for item, value in VALUES.items():
            with self.subTest(item):
                subscription = self.recorded[item]
                found = until(lambda: self.database.samples(subscription, BASE, BASE), item, 20)
                (sample,) = found
                self.assertEqual(set(sample), {"_id", "source", "subscription", "timestamp", "value",
                                               "expire"})
                self.assertEqual((sample["value"], sample["timestamp"]), (value, BASE))
                self.assertEqual(type(sample["subscription"]), Int64)
                self.assertLess(abs(sample["expire"] - datetime.utcnow()), 5 * MINUTE)
                kind = int if isinstance(value, int) and not isinstance(value, bool) else type(value)
                self.assertIsInstance(sample["value"], kind)
        doubtful = until(lambda: self.database.samples(self.recorded["whole"], BASE + MINUTE / 60000,
                                                       BASE + MINUTE), "the doubtful one")
        self.assertNotIn("quality", doubtful[0])
        indexes = self.database.db["timeseries"].index_information().values()
        self.assertIn([("timestamp", 1), ("subscription", 1), ("source", 1)],
                      [index["key"] for index in indexes if index.get("unique")])

    def test_samples_on_the_broker_and_keys_in_the_cache(self):
        subscription = {"source": "host", "metric": "cpu.idle"}
        key = subscription_hash(subscription)
        messages = self.broker.subscribe(Broker.TIMESERIES, f"host-{key}")
        self.server.save_unitop("live", {"cpu": subscription})
        with self.server.stream("/timeseries/live/stream"):
            body = orjson.loads(self.broker.receive(messages).body)
            self.assertEqual((list(body), body["subscription"]), (["subscription", "items"],
                                                                  subscription))
            self.assertEqual([list(item) for item in body["items"]],
                             [["timestamp", "value"]] * len(body["items"]))
            owner = until(lambda: self.cache.get(str(key)), "the lock")
            self.assertTrue(UUID_HEX.fullmatch(owner.decode()), owner)
            wanted = until(lambda: self.cache.get(subscriber_key(subscription)), "the registration")
            self.assertTrue(UUID_HEX.fullmatch(wanted.decode()), wanted)
        until(lambda: self.cache.get(str(key)) is None, "the lock released", 30)


if __name__ == "__main__":
    try:
        for service in (RabbitMQ, Memcached, MongoDB):
            probe = service()
            try:
                probe.command()
            finally:
                probe.remove()
    except Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
    unittest.main()
