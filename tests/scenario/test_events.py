"""Events: published, checked, routed, streamed, read back; nothing acknowledged is ever lost."""

import json
import threading
import unittest

from lib import client
from lib.server import Server, until

LEVEL = {"type": "object", "required": ["level"], "properties": {"level": {"type": "integer"}}}


class Events(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def topic(self, name, schema=LEVEL):
        reply = self.server.post("/topics/save", {"topic": name, "jschema": schema})
        self.assertEqual(reply.status, 200, reply)

    def publish(self, topic, key=None, **payload):
        body = {"topic": topic, "payload": payload}
        if key is not None:
            body["routing_key"] = key
        reply = self.server.post("/events/publish", body)
        self.assertEqual((reply.status, reply.json()), (200, {"status": "OK"}), reply)

    def test_event_reaches_every_stream_that_bound_its_key(self):
        self.topic("plant")
        bound = {"": True, "north.$": True, "north.tank1": True, "*.tank1": True, "south.$": False,
                 "plant.north.tank1": True, "$.tank1": True, "*": False}
        streams = {key: self.server.stream(client.with_query("/events/plant/stream",
                                                             routingKey=key)) for key in bound}
        self.publish("plant", "north.tank1", level=1)
        self.publish("plant", "south.tank2", level=2)
        self.publish("plant", "last", level=3)
        for key, wanted in bound.items():
            with streams[key] as stream:
                if not wanted and key == "*":
                    self.assertEqual(stream.next().json()["routing_key"], "last", key)
                elif not wanted:
                    self.assertEqual(stream.next().json()["payload"], {"level": 2}, key)
                else:
                    event = stream.next().json()
                    self.assertEqual(list(event), ["topic", "routing_key", "payload", "timestamp",
                                                   "posted_by"])
                    self.assertEqual((event["routing_key"], event["payload"], event["posted_by"]),
                                     ("north.tank1", {"level": 1}, "admin"), key)

    def test_key_may_be_absent_empty_or_already_full(self):
        self.topic("keys")
        with self.server.stream("/events/keys/stream") as stream:
            self.publish("keys", level=1)
            self.publish("keys", "", level=2)
            self.publish("keys", "keys.a", level=3)
            self.publish("keys", "keysmith", level=4)
            got = [stream.next().json() for _ in range(4)]
        self.assertEqual([e["routing_key"] for e in got], ["keys", "keys", "keys.a", "keysmith"])
        last = self.server.get("/events/keys/last?routingKey=a").json()
        self.assertEqual(last["payload"], {"level": 3})

    def test_refused_events_name_the_cause_and_are_not_stored(self):
        self.topic("strict")
        post = lambda **body: self.server.post("/events/publish", {"topic": "strict", **body})
        reply = post(routing_key="k", payload={"level": "x"})
        self.assertEqual((reply.status, reply.json()),
                         (400, {"detail": "$.level-'x' is not of type 'integer'"}))
        reply = post(routing_key="k", payload={})
        self.assertEqual(reply.json(), {"detail": "$-'level' is a required property"})
        for key in ("a.*", "#", "a..b", ".a", "a.", "k" * 250):
            reply = post(routing_key=key, payload={"level": 1})
            self.assertEqual(reply.status, 422, key)
            self.assertEqual(reply.json()["detail"][0]["loc"], ["body", "routing_key"])
        longest = "k" * (255 - len("strict."))
        self.assertEqual(post(routing_key=longest, payload={"level": 1}).status, 200)
        self.assertEqual(post(routing_key="k").status, 422)
        reply = self.server.post("/events/publish", {"topic": "no", "payload": {}})
        self.assertEqual(reply.status, 404)
        rows = self.server.get("/events/strict/recorded").csv()
        self.assertEqual([row[3] for row in rows[1:]], [longest])

    def test_a_changed_schema_holds_at_once(self):
        self.topic("moving")
        self.publish("moving", "k", level=1)
        self.topic("moving", {"type": "object", "required": ["other"]})
        reply = self.server.post("/events/publish", {"topic": "moving", "payload": {"level": 1}})
        self.assertEqual(reply.status, 400)

    def test_reading_back(self):
        self.topic("log", {})
        for level, key in enumerate(["a.x", "b.x", "a.x", "c"]):
            self.publish("log", key, level=level, note='é, "quoted"')
        get = self.server.get
        self.assertEqual(get("/events/log/last").json()["payload"]["level"], 3)
        self.assertEqual(get("/events/log/last?routingKey=a.x").json()["payload"]["level"], 2)
        self.assertEqual(get("/events/log/last?routingKey=log.a.x").json()["payload"]["level"], 2)
        self.assertEqual(get("/events/log/last?routingKey=zz").json(),
                         {"detail": "No events found matching criteria."})
        found = get(client.with_query("/events/log/query", routingKey=r"^[AB]\.x$")).json()["items"]
        self.assertEqual([e["payload"]["level"] for e in found], [2, 1])
        self.assertEqual(get("/events/log/query").status, 422)
        self.assertEqual(get(client.with_query("/events/log/query", routingKey="(")).status, 422)

        reply = get("/events/log/recorded", {"Accept": "text/csv"})
        self.assertEqual(reply.headers["content-type"], "text/csv; charset=utf-8")
        self.assertRegex(reply.headers["content-disposition"],
                         r"^attachment; filename=\d+\.csv$")
        rows = reply.csv()
        self.assertEqual(rows[0], ["timestamp", "posted_by", "topic", "routing_key", "payload"])
        self.assertEqual([json.loads(row[4])["level"] for row in rows[1:]], [0, 1, 2, 3])
        self.assertEqual(json.loads(rows[1][4])["note"], 'é, "quoted"')
        rows = get("/events/log/recorded?routingKey=a").csv()
        self.assertEqual(len(rows), 1 + 2)
        self.assertEqual(len(get("/events/none/recorded").csv()), 1)

    def test_ids_rise_and_stream_ends_with_a_reason_on_restart(self):
        self.topic("ended", {})
        with self.server.stream("/events/ended/stream") as stream:
            self.publish("ended", level=1)
            self.publish("ended", level=2)
            first, second = stream.next(), stream.next()
            self.assertLess(int(first.id.split(":")[2]), int(second.id.split(":")[2]))
            self.assertEqual(self.server.post("/events/admin/manager/restart").json(),
                             {"status": "OK"})
            end = stream.next()
            self.assertEqual(end.name, "end")
            self.assertIn("restarted", end.json()["reason"])
            self.assertIsNone(stream.next())
        with self.server.stream("/events/ended/stream") as stream:
            self.publish("ended", level=3)
            self.assertEqual(stream.next().json()["payload"], {"level": 3})


class Stop(unittest.TestCase):
    def test_sigterm_tells_the_streams_and_exits_0(self):
        with Server() as server:
            server.start()
            server.post("/topics/save", {"topic": "t", "jschema": {}})
            with server.stream("/events/t/stream") as stream:
                self.assertEqual(server.stop(seconds=5), 0)
                self.assertEqual(stream.next().name, "end")
                self.assertIsNone(stream.next())

    def test_events_and_topics_are_there_after_a_stop(self):
        with Server() as server:
            server.start()
            server.post("/topics/save", {"topic": "t", "jschema": {}})
            server.post("/events/publish", {"topic": "t", "payload": {"n": 1}})
            self.assertEqual(server.stop(), 0)
            server.start()
            self.assertEqual(server.get("/events/t/last").json()["payload"], {"n": 1})


class Storm(unittest.TestCase):
    """64 publishers, kill -9, and an exact account afterwards."""

    CLIENTS, ROUNDS = 64, 6

    def publisher(self, server, number, round_number, sent, acknowledged):
        body = '{"topic":"storm","routing_key":"c%d","payload":{"client":%d,"round":%d,"n":%d}}'
        wire = client.Wire(server.address)
        try:
            for n in range(100000):
                data = (body % (number, number, round_number, n)).encode()
                head = (f"POST /events/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n")
                sent.add((number, round_number, n))
                wire.send(head.encode() + data)
                if client.read_reply(wire, "POST").status == 200:
                    acknowledged.add((number, round_number, n))
        except (OSError, EOFError, ValueError):
            pass  # the server was killed
        finally:
            wire.close()

    def test_kill_9_loses_no_acknowledged_event_and_invents_none(self):
        sent, acknowledged = set(), set()
        with Server() as server:
            for round_number in range(self.ROUNDS):
                server.start()
                if round_number == 0:
                    server.post("/topics/save", {"topic": "storm", "jschema": {}})
                before = len(acknowledged)
                threads = [threading.Thread(target=self.publisher,
                                            args=(server, c, round_number, sent, acknowledged))
                           for c in range(self.CLIENTS)]
                for thread in threads:
                    thread.start()
                target = before + 200 * (1 + round_number)
                until(lambda: len(acknowledged) >= target, "publishers to get going", 30)
                server.kill()
                for thread in threads:
                    thread.join()
            server.start()
            rows = server.get("/events/storm/recorded?startTime=-1d").csv()[1:]
        stored = []
        for row in rows:
            payload = json.loads(row[4])
            stored.append((payload["client"], payload["round"], payload["n"]))
        self.assertEqual(len(stored), len(set(stored)), "an event is stored twice")
        self.assertEqual(acknowledged - set(stored), set(), "acknowledged events are missing")
        self.assertEqual(set(stored) - sent, set(), "events nobody sent")
        self.assertEqual([row[0] for row in rows], sorted(row[0] for row in rows))


if __name__ == "__main__":
    unittest.main()
