"""Streams that go on where they left off: nothing lost, nothing twice, gaps said."""

import json
import random
import threading
import unittest

from lib import client
from lib.client import with_query
from lib.server import PATIENCE, Server, until

FAR = 100 * PATIENCE


class Follower(threading.Thread):
    """Reads a stream, hangs up at random moments, comes back with the last id it saw."""

    def __init__(self, server, path, done, seed, way="header"):
        super().__init__()
        self.server, self.path, self.done, self.way = server, path, done, way
        self.random = random.Random(seed)
        self.messages, self.gaps, self.connections = [], [], 0
        self.last_id = None
        self.error = None
        self.ready = threading.Event()

    def connect(self):
        self.connections += 1
        path, headers = self.path, {}
        if self.last_id and self.way == "header":
            headers["Last-Event-ID"] = self.last_id
        elif self.last_id:
            path += ("&" if "?" in path else "?") + "last_event_id=" + self.last_id
        return self.server.stream(path, headers)

    def read(self, stream, n):
        for _ in range(n):
            event = stream.next(FAR)
            if event is None:
                return
            if event.name == "gap":
                self.gaps.append(event.json())
            elif event.name is None:
                self.messages.append(event.json())
            if event.id:
                self.last_id = event.id
            if self.done(self.messages):
                return

    def run(self):
        try:
            while not self.done(self.messages):
                try:
                    with self.connect() as stream:
                        self.ready.set()
                        self.read(stream, self.random.choice([1, 2, 20, 100, 300]))
                except (OSError, EOFError):
                    self.random.random()  # the server stops or starts: come again
        except BaseException as error:  # told by the main thread
            self.error = error
        self.ready.set()


def publish_many(server, topic, publisher, n, keys):
    wire = client.Wire(server.address)
    for i in range(n):
        body = json.dumps({"topic": topic, "routing_key": keys[i % len(keys)],
                           "payload": {"publisher": publisher, "n": i}}).encode()
        wire.send((f"POST /events/publish HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
                  .encode() + body)
        assert client.read_reply(wire, "POST").status == 200
    wire.close()


def each(messages):
    return [(m["payload"]["publisher"], m["payload"]["n"]) for m in messages]


class Events(unittest.TestCase):
    def setUp(self):
        self.server = Server().start()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.save("storm")

    def save(self, topic):
        self.assertEqual(self.server.post("/topics/save", {"topic": topic, "jschema": {}}).status,
                         200)

    def publish(self, topic="storm", key=None, **payload):
        body = {"topic": topic, "payload": payload}
        if key:
            body["routing_key"] = key
        self.assertEqual(self.server.post("/events/publish", body).status, 200)

    def check(self, follower, publishers, n, wanted=lambda i: True):
        if follower.error:
            raise follower.error
        got = each(follower.messages)
        self.assertEqual(len(got), len(set(got)), "an event came twice")
        self.assertEqual(set(got), {(p, i) for p in range(publishers) for i in range(n)
                                    if wanted(i)})
        for p in range(publishers):
            mine = [i for publisher, i in got if publisher == p]
            self.assertEqual(mine, sorted(mine), "events of one publisher changed places")
        self.assertEqual(follower.gaps, [])

    def test_storm_with_random_hang_ups_gives_every_event_once_and_in_order(self):
        publishers, n, keys = 6, 1500, ["north.a", "north.b", "south.a"]
        self.publish(publisher=-1, n=0)
        first = self.server.stream("/events/storm/stream?since=-1h").next().id
        followers = [Follower(self.server, "/events/storm/stream",
                              lambda m: len(m) >= publishers * n, 1),
                     Follower(self.server, "/events/storm/stream",
                              lambda m: len(m) >= publishers * n, 2, "query"),
                     Follower(self.server, "/events/storm/stream?routingKey=north.*",
                              lambda m: len(m) >= publishers * n * 2 // 3, 3)]
        for f in followers:
            f.last_id = first
            f.start()
        threads = [threading.Thread(target=publish_many, args=(self.server, "storm", p, n, keys))
                   for p in range(publishers)]
        for t in threads:
            t.start()
        for t in threads + followers:
            t.join()
        self.check(followers[0], publishers, n)
        self.check(followers[1], publishers, n)
        self.check(followers[2], publishers, n, lambda i: i % 3 != 2)
        self.assertGreater(min(f.connections for f in followers), 5)
        self.assertGreater(self.server.metric("hyprxa_replays_total"), 15)

    def test_restart_and_kill_9_lose_no_event_for_who_comes_back(self):
        self.publish(publisher=0, n=0)
        n = 1
        last = self.server.stream("/events/storm/stream?since=-1h").next().id
        for end in (self.server.stop, self.server.kill, self.server.stop):
            for _ in range(20):
                self.publish(publisher=0, n=n)
                n += 1
            end()
            self.server.start()
            self.publish(publisher=0, n=n)
            n += 1
            with self.server.stream("/events/storm/stream", {"Last-Event-ID": last}) as stream:
                for i in range(n - 21, n):
                    event = stream.next()
                    self.assertEqual((event.name, event.json()["payload"]["n"]), (None, i))
                    last = event.id

    def test_since_gives_what_is_stored_from_then_on_and_goes_live(self):
        for i in range(5):
            self.publish(publisher=0, n=i)
        at = self.server.get("/events/storm/recorded").csv()[3][0]
        for since in (at, at + "Z"):
            with self.server.stream(with_query("/events/storm/stream", since=since,
                                               timezone="UTC")) as stream:
                self.assertEqual([stream.next().json()["payload"]["n"] for _ in range(3)],
                                 [2, 3, 4])
                self.publish(publisher=0, n=99)
                self.assertEqual(stream.next().json()["payload"]["n"], 99)
        with self.server.stream("/events/storm/stream?since=2100-01-01") as stream:
            self.publish(publisher=0, n=100)
            self.assertEqual(stream.next().json()["payload"]["n"], 100)

    def test_last_event_id_wins_over_since(self):
        for i in range(4):
            self.publish(publisher=0, n=i)
        with self.server.stream("/events/storm/stream?since=-1h") as stream:
            ids = [stream.next().id for _ in range(4)]
        for path, headers in (("since=-1h", {"Last-Event-ID": ids[2]}),
                              (f"since=-1h&last_event_id={ids[2]}", {}),
                              (f"last_event_id={ids[0]}", {"Last-Event-ID": ids[2]})):
            with self.server.stream("/events/storm/stream?" + path, headers) as stream:
                self.assertEqual(stream.next().json()["payload"]["n"], 3)

    def test_place_that_is_none_of_ours_is_a_gap_and_then_live(self):
        self.publish(publisher=0, n=0)
        with self.server.stream("/events/storm/stream?since=-1h") as stream:
            origin, epoch, sequence = stream.next().id.split(":")
        for strange in ("nonsense", f"{'0' * 15}1:{epoch}:{sequence}", f"{origin}:{epoch}:999999",
                        f"{origin}:99:{sequence}", f"{origin}:{epoch}:{sequence}@1.{'0' * 16}"):
            with self.server.stream("/events/storm/stream",
                                    {"Last-Event-ID": strange}) as stream:
                gap = stream.next()
                self.assertEqual(gap.name, "gap")
                self.assertEqual(set(gap.json()), {"from", "to", "count"})
                self.assertIsNone(gap.json()["count"])
                self.publish(publisher=0, n=1)
                self.assertEqual(stream.next().json()["payload"]["n"], 1)
            # The gap has an id: who comes back with it has been told already.
            with self.server.stream("/events/storm/stream", {"Last-Event-ID": gap.id}) as stream:
                self.assertIsNone(stream.next().name)
        self.assertGreaterEqual(self.server.metric("hyprxa_replay_gaps_total"), 5)

    def test_what_cannot_be_read_in_a_query_is_422(self):
        for query in ("last_event_id=nonsense", "last_event_id=1:2:3:4", "since=nonsense",
                      "since=2020-01-01&timezone=Mars/Olympus"):
            reply = self.server.get("/events/storm/stream?" + query)
            self.assertEqual(reply.status, 422, reply)
        with self.server.stream("/events/storm/stream?last_event_id=&since="):
            pass

    def test_replay_binds_keys_as_the_live_stream_does(self):
        self.save("other")
        keys = ["a.b", "a.b.c", None, "storm.a.x", "b.b"]
        for n, key in enumerate(keys):
            self.publish("storm", key, n=n)
            self.publish("other", key, n=-1)
        for pattern, expected in (("a.*", [0, 3]), ("$", [0, 1, 2, 3, 4]), ("*.b", [0, 4]),
                                  ("a.$", [0, 1, 3])):
            path = with_query("/events/storm/stream", routingKey=pattern, since="-1h")
            with self.server.stream(path) as stream:
                got = [stream.next().json()["payload"]["n"] for _ in expected]
                self.assertEqual(got, expected, pattern)

    def test_http_1_0_is_replayed_without_chunks(self):
        for i in range(3):
            self.publish(publisher=0, n=i)
        wire = client.Wire(self.server.address)
        wire.send(b"GET /events/storm/stream?since=-1h HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        status, headers = wire.head()
        self.assertEqual(status, 200)
        self.assertNotIn("transfer-encoding", dict(headers))
        seen = []
        while len(seen) < 3:
            line = wire.line().decode()
            if line.startswith("data: "):
                seen.append(json.loads(line[6:])["payload"]["n"])
        self.assertEqual(seen, [0, 1, 2])
        wire.close()


if __name__ == "__main__":
    unittest.main()
