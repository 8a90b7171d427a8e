"""Streams that go on where they left off: nothing lost, nothing twice, gaps said."""

import datetime
import json
import random
import socket
import threading
import unittest

from lib import client
from lib.client import with_query
from lib.server import PATIENCE, Server, until

FAR = 100 * PATIENCE


class Follower(threading.Thread):
    """Reads a stream, hangs up at random moments, comes back with the last id it saw."""

    def __init__(self, server, path, total, seed, way="header"):
        super().__init__()
        self.server, self.path, self.total, self.way = server, path, total, way
        self.got = 0  # events, or samples
        self.random = random.Random(seed)
        self.messages, self.gaps, self.connections = [], [], 0
        self.last_id = None
        self.error = None

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
                self.got += len(self.messages[-1].get("items", [1]))
            if event.id:
                self.last_id = event.id
            if self.got >= self.total:
                return

    def run(self):
        try:
            while self.got < self.total:
                try:
                    with self.connect() as stream:
                        self.read(stream, self.random.choice([1, 2, 20, 100, 300]))
                except (OSError, EOFError):
                    threading.Event().wait(0.01)  # the server stops or starts: come again
                except AssertionError as error:
                    if "answered 503" not in str(error):
                        raise
        except BaseException as error:  # told by the main thread
            self.error = error


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
                              publishers * n, 1),
                     Follower(self.server, "/events/storm/stream",
                              publishers * n, 2, "query"),
                     Follower(self.server, "/events/storm/stream?routingKey=north.*",
                              publishers * n * 2 // 3, 3)]
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

    def test_client_cut_before_its_first_event_loses_none(self):
        """Also of a node that has never seen an event, and over a stop and a kill -9."""
        n = 0
        for end in (None, None, self.server.stop, self.server.kill):
            with self.server.stream("/events/storm/stream?routingKey=north.*") as stream:
                place = stream.place()
            self.publish(key="south.a", n=-1)
            for i in range(3):
                self.publish(key="north.a", n=n + i)
            if end:
                end()
                self.server.start()
            with self.server.stream("/events/storm/stream?routingKey=north.*",
                                    {"Last-Event-ID": place}) as stream:
                for i in range(n, n + 3):
                    event = stream.next()
                    self.assertEqual((event.name, event.json()["payload"]["n"]), (None, i))
            n += 3

    def test_every_way_to_begin_tells_the_place_and_none_needs_it_to_go_on(self):
        with self.server.stream("/events/storm/stream?since=-1h") as stream:
            place = stream.place()  # nothing is stored
        self.publish(n=0)
        for path, headers in (("?since=-1h", {}), ("", {"Last-Event-ID": place})):
            with self.server.stream("/events/storm/stream" + path, headers) as stream:
                self.assertEqual(stream.next().json()["payload"]["n"], 0)
                behind = stream.place()
            with self.server.stream("/events/storm/stream", {"Last-Event-ID": behind}) as stream:
                self.assertEqual(stream.place(), behind)
        wire = client.Wire(self.server.address)
        self.addCleanup(wire.close)
        wire.send(b"GET /events/storm/stream HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
        wire.head()
        self.assertEqual((wire.line(), wire.line()), (f"id: {behind}".encode(), b""))
        with self.server.websocket("/events/storm/ws") as ws:
            self.publish(n=1)
            self.assertEqual(ws.next()["payload"]["n"], 1)

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

    def test_websocket_goes_on_by_query_under_a_storm(self):
        publishers, n = 3, 500
        self.publish(publisher=-1, n=0)
        place = self.server.stream("/events/storm/stream?since=-1h").next().id
        threads = [threading.Thread(target=publish_many, args=(self.server, "storm", p, n, ["k"]))
                   for p in range(publishers)]
        for t in threads:
            t.start()
        until(lambda: self.server.get("/events/storm/last").json()["payload"]["n"] > 50, "a start")
        for query in (f"last_event_id={place}", "since=-1h"):
            with self.server.websocket("/events/storm/ws?" + query) as ws:
                messages = []
                while len(messages) < publishers * n:
                    message = ws.next(FAR)
                    if message["payload"]["publisher"] >= 0:
                        messages.append(message)
            got = each(messages)
            self.assertEqual(sorted(got), sorted((p, i) for p in range(publishers)
                                                 for i in range(n)))
        for t in threads:
            t.join()

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


CONF = """
sources:
  left:
    plugin: csv
    record: all
    options: { path: FOLDER/left.csv, poll: 200ms }
  right:
    plugin: csv
    record: all
    options: { path: FOLDER/right.csv, poll: 200ms }
"""
COLUMNS = ["a", "b", "c"]
ITEMS = {f"{source}.{column}": {"source": source, "column": column}
         for source in ("left", "right") for column in COLUMNS}
# Not further back than samples are kept.
EPOCH = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
EPOCH -= datetime.timedelta(days=2)


def stamp(n):
    return (EPOCH + datetime.timedelta(seconds=n)).isoformat()


class Table:
    """A CSV file that a source follows: row n has the time stamp(n) and in every column n."""

    def __init__(self, folder, name):
        self.file = open(folder / f"{name}.csv", "w")
        self.rows = 0
        self.file.write("timestamp," + ",".join(COLUMNS) + "\n")
        self.file.flush()

    def add(self, n):
        for _ in range(n):
            self.file.write(f"{stamp(self.rows)},{self.rows},{self.rows},{self.rows}\n")
            self.rows += 1
        self.file.flush()


def by_series(messages):
    """(source, column) -> the numbers in the order in which they came."""
    seen = {}
    for m in messages:
        key = m["subscription"]["source"], m["subscription"]["column"]
        seen.setdefault(key, []).extend(int(item["value"]) for item in m["items"])
    return seen


class Samples(unittest.TestCase):
    def setUp(self):
        self.server = Server()
        self.addCleanup(self.server.__exit__, None, None, None)
        folder = self.server.folder
        (self.server.conf_dir / "tables.yaml").write_text(CONF.replace("FOLDER", str(folder)))
        self.tables = [Table(folder, "left"), Table(folder, "right")]
        for table in self.tables:
            table.add(1)
        self.server.start()
        self.server.save_unitop("all", ITEMS)
        self.server.save_unitop("one", {"x": ITEMS["right.b"]})
        self.await_rows()

    def await_rows(self):
        """Until the last row of each table is stored in every column."""
        for name, table in zip(("left", "right"), self.tables):
            for column in COLUMNS:
                last = stamp(table.rows - 1)
                until(lambda: self.server.samples("all", f"{name}.{column}", last, last),
                      f"row {table.rows - 1} of {name}.{column}", 30)

    def grow(self, rows):
        """A storm: rows in portions of all sizes, at random moments."""
        chance = random.Random(99)
        pause = threading.Event()
        while min(t.rows for t in self.tables) < rows:
            table = chance.choice(self.tables)
            table.add(min(chance.randrange(1, 60), max(0, rows - table.rows)))
            pause.wait(chance.random() * 0.01)

    def followers(self, rows):
        since = f"since={stamp(0)}&timezone=UTC"
        return [Follower(self.server, f"/timeseries/all/stream?{since}", 6 * rows, 1),
                Follower(self.server, f"/timeseries/all/stream?{since}", 6 * rows, 2, "query"),
                Follower(self.server, f"/timeseries/one/stream?{since}", rows, 3)]

    def check(self, follower, rows, series, gaps=False):
        if follower.error:
            raise follower.error
        seen = by_series(follower.messages)
        self.assertEqual(len(seen), series)
        for key, numbers in seen.items():
            self.assertEqual(numbers, list(range(rows)), key)
        self.assertEqual(follower.gaps, [])

    def test_storm_with_random_hang_ups_gives_every_sample_once_and_in_order(self):
        rows = 3000
        followers = self.followers(rows)
        for f in followers:
            f.start()
        self.grow(rows)
        for f in followers:
            f.join()
        self.check(followers[0], rows, 6)
        self.check(followers[1], rows, 6)
        self.check(followers[2], rows, 1)
        self.assertGreater(followers[0].connections, 5)

    def test_nobody_watching_and_an_orderly_restart_lose_nothing(self):
        follower = self.server.stream(f"/timeseries/all/stream?since={stamp(0)}&timezone=UTC")
        seen, last = [], None
        for _ in range(6):
            event = follower.next()
            seen.append(event.json())
            last = event.id
        follower.close()
        for end in (None, self.server.stop, None, self.server.stop):
            for table in self.tables:
                table.add(30)
            self.await_rows()
            if end:
                self.assertEqual(end(), 0)
                self.assertTrue((self.server.data_dir / "replay.index").exists())
                self.server.start()
                self.assertFalse((self.server.data_dir / "replay.index").exists())
            rows = self.tables[0].rows
            with self.server.stream("/timeseries/all/stream", {"Last-Event-ID": last}) as stream:
                while any(len(v) < rows for v in by_series(seen).values()):
                    event = stream.next()
                    self.assertIsNone(event.name, event)
                    seen.append(event.json())
                    last = event.id
        for key, numbers in by_series(seen).items():
            self.assertEqual(numbers, list(range(rows)), key)

    def test_client_cut_before_its_first_sample_loses_none(self):
        for end in (None, None, self.server.stop):
            with self.server.stream("/timeseries/one/stream") as stream:
                place = stream.place()
            first = self.tables[1].rows
            self.tables[1].add(20)
            self.await_rows()
            if end:
                end()
                self.server.start()
            seen = []
            with self.server.stream("/timeseries/one/stream", {"Last-Event-ID": place}) as stream:
                while len(seen) < 20:
                    event = stream.next()
                    self.assertIsNone(event.name, event)
                    seen += by_series([event.json()])["right", "b"]
            self.assertEqual(seen, list(range(first, first + 20)))

    def test_storm_over_an_orderly_restart_loses_nothing(self):
        rows = 2000
        followers = self.followers(rows)
        for f in followers:
            f.start()
        writer = threading.Thread(target=self.grow, args=(rows,))
        writer.start()
        until(lambda: self.tables[0].rows > 300, "rows", 30)
        self.assertEqual(self.server.stop(), 0)
        self.server.start()
        writer.join()
        for f in followers:
            f.join()
        self.check(followers[0], rows, 6)
        self.check(followers[1], rows, 6)
        self.check(followers[2], rows, 1)

    def test_kill_9_is_a_gap_with_its_times_and_count(self):
        with self.server.stream(f"/timeseries/one/stream?since={stamp(0)}&timezone=UTC") as stream:
            stream.next()
            self.tables[1].add(1)
            last = stream.next().id
        self.await_rows()
        until(lambda: self.server.metric("hyprxa_storage_samples_queued") == 0, "a flush")
        before = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        self.server.kill()
        self.server.start()
        with self.server.stream("/timeseries/one/stream", {"Last-Event-ID": last}) as stream:
            gap = stream.next()
            self.assertEqual(gap.name, "gap")
            self.assertLessEqual(gap.json()["from"], before.isoformat())
            self.assertGreaterEqual(gap.json()["to"], before.isoformat())
            self.assertEqual(gap.json()["count"], 0)
            self.tables[1].add(1)
            self.assertEqual(stream.next().json()["items"][0]["value"], 2)
        with self.server.stream("/timeseries/one/stream", {"Last-Event-ID": gap.id}) as stream:
            self.assertEqual(stream.next().json()["items"][0]["value"], 2)

    def test_damaged_index_costs_the_index_only(self):
        with self.server.stream(f"/timeseries/one/stream?since={stamp(0)}&timezone=UTC") as stream:
            last = stream.next().id
            self.tables[1].add(1)
            last = stream.next().id
        self.server.stop()
        path = self.server.data_dir / "replay.index"
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        self.server.start()
        self.assertIn("replay.index", self.server.log())
        with self.server.stream("/timeseries/one/stream", {"Last-Event-ID": last}) as stream:
            self.assertEqual(stream.next().name, "gap")

    def test_since_is_inclusive_and_merges_series_on_time(self):
        for table in self.tables:
            table.add(9)
        self.await_rows()
        path = with_query("/timeseries/all/stream", since=stamp(4), timezone="UTC")
        with self.server.stream(path) as stream:
            messages = []
            while sum(len(m["items"]) for m in messages) < 36:
                messages.append(stream.next().json())
            times = [item["timestamp"] for m in messages for item in m["items"]]
            self.assertEqual(times, sorted(times))
            self.assertEqual(set(map(tuple, by_series(messages).values())), {tuple(range(4, 10))})
            self.tables[0].add(1)
            self.assertEqual({stream.next().json()["items"][0]["value"] for _ in COLUMNS}, {10})

    def test_websocket_since_goes_live_without_a_seam(self):
        rows = 1000
        writer = threading.Thread(target=self.grow, args=(rows,))
        writer.start()
        path = with_query("/timeseries/all/ws", since=stamp(0), timezone="UTC")
        with self.server.websocket(path) as ws:
            messages, n = [], 0
            while n < 6 * rows:
                messages.append(ws.next(FAR))
                n += len(messages[-1]["items"])
        writer.join()
        for key, numbers in by_series(messages).items():
            self.assertEqual(numbers, list(range(rows)), key)

    def test_reader_that_stops_in_a_replay_stalls_nobody(self):
        for table in self.tables:
            table.add(20000)
        self.await_rows()
        deaf = socket.create_connection(self.server.address)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.addCleanup(deaf.close)
        path = with_query("/timeseries/all/stream", since=stamp(0), timezone="UTC")
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        until(lambda: self.server.metric("hyprxa_replays_running") == 1, "the deaf reader's replay")
        with self.server.stream("/timeseries/one/stream") as stream:
            for i in range(5):
                self.tables[1].add(1)
                self.assertEqual(stream.next(5 * PATIENCE).json()["items"][0]["value"], 20001 + i)
        # It is cut by the request timeout, and gives its worker back.
        until(lambda: self.server.metric("hyprxa_replays_running") == 0, "the worker", 40)
        self.assertEqual(self.server.metric("hyprxa_replays_failed_total"), 1)


class Limits(unittest.TestCase):
    def test_half_of_the_workers_may_replay_and_the_next_is_503(self):
        with Server(env={"HYPRXA_WORKERS": "4"}) as server:
            server.start()
            server.post("/topics/save", {"topic": "t", "jschema": {}})
            for _ in range(40):
                server.post("/events/publish", {"topic": "t", "payload": {"x": "y" * 200000}})
            deaf = []
            for _ in range(2):
                s = socket.create_connection(server.address)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.sendall(b"GET /events/t/stream?since=-1h HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                deaf.append(s)
            until(lambda: server.metric("hyprxa_replays_running") == 2, "two replays")
            reply = server.get("/events/t/stream?since=-1h")
            self.assertEqual(reply.status, 503)
            self.assertEqual(reply.headers["retry-after"], "5")
            self.assertEqual(server.metric("hyprxa_replays_refused_total"), 1)
            with server.stream("/events/t/stream") as stream:  # live streams hold no worker
                server.post("/events/publish", {"topic": "t", "payload": {"n": 1}})
                self.assertEqual(stream.next().json()["payload"], {"n": 1})
            for s in deaf:
                s.close()

    def test_replay_that_takes_too_long_ends_to_be_resumed(self):
        with Server(env={"HYPRXA_REPLAY_TIMEOUT": "1"}) as server:
            server.start()
            server.post("/topics/save", {"topic": "t", "jschema": {}})
            n = 40
            for i in range(n):
                server.post("/events/publish", {"topic": "t",
                                                "payload": {"n": i, "x": "y" * 200000}})
            seen, headers, ends = [], {}, 0
            pause = threading.Event()
            while len(seen) < n:
                with server.stream("/events/t/stream?since=-1h", headers) as stream:
                    while len(seen) < n and (event := stream.next()):
                        if event.name == "end":
                            ends += 1
                        else:
                            seen.append(event.json()["payload"]["n"])
                            headers["Last-Event-ID"] = event.id
                        if not ends:
                            pause.wait(0.1)
            self.assertEqual(seen, list(range(n)))
            self.assertGreater(ends, 0)


if __name__ == "__main__":
    unittest.main()
