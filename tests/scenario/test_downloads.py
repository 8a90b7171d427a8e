"""Downloads at size: bounded memory, slow and vanished readers, faults half-way, many at a time."""

import contextlib
import json
import os
import socket
import sqlite3
import unittest
from pathlib import Path

from lib import client
from lib.server import BUILD, PATIENCE, Server, until

FLOOD = str(BUILD / "tests/plugins/flood.so")
KEEP = {"TIMESERIES_EXPIRE_AFTER": "36500d"}  # its samples are of 2020
RANGE = "startTime=2000-01-01&endTime=2100-01-01"
ROWS, SERIES = 100_000, 8


def conf(total):
    return {"flood.yaml": json.dumps({"sources": {"flood": {
        "plugin": FLOOD, **({"record": "all"} if total else {}),
        "options": {"series": SERIES, "batches": 1000, "total": total}}}})}


def metric(server, name):
    for line in server.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


@contextlib.contextmanager
def without(database, table):
    """The table is gone meanwhile: whoever reads on finds a fault of the disk's kind."""
    db = sqlite3.connect(database, timeout=30)
    db.execute(f"ALTER TABLE {table} RENAME TO away")
    db.commit()
    try:
        yield
    finally:
        db.execute(f"ALTER TABLE away RENAME TO {table}")
        db.commit()
        db.close()


class Download:
    """A download read as the test likes."""

    def __init__(self, server, path, buffer=None, version="1.1"):
        self.socket = socket.socket()
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(30 * PATIENCE)
        self.socket.connect(server.address)
        self.wire = client.Wire.__new__(client.Wire)
        self.wire.socket, self.wire.rest = self.socket, b""
        self.wire.send(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
        self.status, headers = self.wire.head()
        self.headers = dict(headers)

    def rest(self):
        """The body's bytes, and whether it ended as it must."""
        body = []
        try:
            while chunk := self.wire.chunk():
                body.append(chunk)
            return b"".join(body), True
        except (EOFError, ConnectionResetError):
            return b"".join(body), False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Samples(unittest.TestCase):
    PATH = f"/timeseries/u/recorded?{RANGE}"

    @classmethod
    def setUpClass(cls):
        server = Server(conf(ROWS * SERIES), KEEP)
        cls.addClassCleanup(lambda: server.__exit__(None, None, None))
        server.start()
        until(lambda: metric(server, "hyprxa_storage_samples_total") == ROWS * SERIES,
              "the samples to be stored", 60)
        server.save_unitop("u", {f"i{i}": {"source": "flood", "series": i}
                                 for i in range(SERIES)})
        server.stop()
        (server.conf_dir / "flood.yaml").write_text(conf(0)["flood.yaml"])
        cls.server = server

    def setUp(self):
        self.server.env = dict(os.environ, **KEEP)

    def tearDown(self):
        if self.server.process is not None:
            self.assertEqual(self.server.stop(20), 0)

    def start(self, **env):
        self.server.env.update(env)
        return self.server.start()

    def resident(self, key):
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        return next(int(l.split()[1]) for l in status.splitlines() if l.startswith(key)) * 1024

    def test_memory_does_not_grow_with_rows(self):
        server = self.start()
        few = f"/timeseries/u/recorded?startTime=2020-01-01&endTime=2020-01-01T00:10:00"
        self.assertEqual(len(server.get(few).body.splitlines()), 602)
        before = self.resident("VmHWM")
        for _ in range(3):
            reply = server.get(self.PATH)
            self.assertEqual(reply.body.count(b"\r\n"), ROWS + 1)
        if not os.environ.get("HYPRXA_SANITIZE"):
            # 50 MB of text went out each time.
            self.assertLess(self.resident("VmHWM") - before, 12 << 20)
            self.assertLess(self.resident("VmHWM"), 64 << 20)

    def test_slow_and_vanished_readers_hinder_nobody(self):
        server = self.start()
        slow = [Download(server, self.PATH, buffer=4096) for _ in range(5)]
        until(lambda: metric(server, "hyprxa_http_downloads") == 5, "five downloads to wait")
        self.assertEqual(server.get(self.PATH).body.count(b"\r\n"), ROWS + 1)
        self.assertEqual(server.get("/users/whoami").status, 200)
        for download in slow[1:]:
            download.socket.close()
        until(lambda: metric(server, "hyprxa_http_downloads") == 1, "the vanished to be noticed")
        body, whole = slow[0].rest()
        self.assertTrue(whole)
        self.assertEqual(body.count(b"\r\n"), ROWS + 1)
        slow[0].socket.close()
        until(lambda: metric(server, "hyprxa_http_downloads") == 0, "the end of the last")

    def test_a_reader_that_takes_nothing_is_given_up(self):
        server = self.start(HYPRXA_REQUEST_TIMEOUT="1s")
        with Download(server, self.PATH, buffer=4096) as stuck:
            until(lambda: metric(server, "hyprxa_http_downloads") == 1, "the download")
            until(lambda: metric(server, "hyprxa_http_downloads") == 0, "it to be given up", 20)
            body, whole = stuck.rest()
            self.assertFalse(whole)
            self.assertLess(body.count(b"\r\n"), ROWS)

    def test_downloads_at_a_time_are_bounded(self):
        server = self.start(HYPRXA_MAX_DOWNLOADS="2")
        with Download(server, self.PATH, buffer=4096), Download(server, self.PATH, buffer=4096):
            until(lambda: metric(server, "hyprxa_http_downloads") == 2, "two downloads")
            reply = server.get(self.PATH)
            self.assertEqual((reply.status, reply.json()),
                             (503, {"detail": "Too many downloads at a time."}))
            self.assertEqual(reply.headers["retry-after"], "5")
            self.assertEqual(metric(server, 'hyprxa_http_refused_total{reason="downloads"}'), 1)
            self.assertEqual(server.get(f"/timeseries/u/samples?{RANGE}&dataItem=i0").status, 200)
        until(lambda: server.get(self.PATH).status == 200, "a free place")

    def test_columns_are_bounded(self):
        server = self.start(TIMESERIES_MAX_COLUMNS="2")
        path = "/timeseries/u/recorded?startTime=2020-01-01&endTime=2020-01-01&dataItem=i0&dataItem=i1"
        self.assertEqual(server.get(path).status, 200)
        reply = server.get(path + "&dataItem=i2")
        self.assertEqual((reply.status, reply.json()),
                         (422, {"detail": "A file has at most 2 data items, these are 3."}))

    def test_a_fault_half_way_leaves_out_the_final_chunk(self):
        server = self.start()
        with Download(server, self.PATH, buffer=4096) as download:
            with without(server.data_dir / "series.db", "chunks"):
                body, whole = download.rest()
        self.assertFalse(whole)
        self.assertGreater(body.count(b"\r\n"), 100)
        self.assertLess(body.count(b"\r\n"), ROWS)
        self.assertIn("broke off", server.log())
        self.assertEqual(server.get(self.PATH).body.count(b"\r\n"), ROWS + 1)

    def test_damaged_samples_are_left_out_and_the_file_is_not_called_whole(self):
        db = sqlite3.connect(self.server.data_dir / "series.db")
        (id, data), = db.execute("SELECT id, data FROM chunks WHERE series = 1 AND seq = 0 "
                                 "ORDER BY start LIMIT 1 OFFSET 20").fetchall()
        damaged = bytearray(data)
        damaged[len(data) // 2] ^= 0xFF
        db.execute("UPDATE chunks SET data = ? WHERE id = ?", (bytes(damaged), id))
        db.commit()
        try:
            server = self.start()
            with Download(server, self.PATH) as download:
                body, whole = download.rest()
            self.assertFalse(whole)
            self.assertEqual(body.count(b"\r\n"), ROWS + 1)  # of the other columns
            self.assertEqual(metric(server, "hyprxa_storage_damaged_total"), 1)
        finally:
            if self.server.process is not None:
                self.server.stop(20)
            db.execute("UPDATE chunks SET data = ? WHERE id = ?", (data, id))
            db.commit()
            db.close()

    def test_points_and_intervals_of_many_samples(self):
        server = self.start()
        ask = f"/timeseries/u/samples?{RANGE}&dataItem=i3&timezone=UTC&"
        points = server.get(ask + "points=500").json()["items"]
        self.assertEqual(len(points), 500)
        self.assertEqual(points[0]["timestamp"], "2020-01-01T00:00:00")
        self.assertEqual(points[-1]["timestamp"], "2020-01-02T03:46:39")
        counts = server.get("/timeseries/u/samples?startTime=2020-01-01&endTime=2020-01-03&"
                            "dataItem=i3&timezone=UTC&interval=1h&aggregate=count").json()["items"]
        self.assertEqual([c["value"] for c in counts], [3600] * 27 + [ROWS - 27 * 3600])


class Events(unittest.TestCase):
    EVENTS = 2000

    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.post("/topics/save", {"topic": "t", "jschema": {}})
        wire = client.Wire(cls.server.address)
        cls.sent = []
        for i in range(cls.EVENTS):  # of several keys in turns: the order is of time, not of keys
            event = {"topic": "t", "routing_key": f"t.k{i % 7}",
                     "payload": {"n": i, "note": "é, \"🌡\"", "fill": "x" * 6000}}  # more than sockets hold
            body = json.dumps(event).encode()
            wire.send(b"POST /events/publish HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(body), body))
            assert client.read_reply(wire, "POST").status == 200
            cls.sent.append(event)
        wire.close()

    PATH = f"/events/t/recorded?{RANGE}"

    def test_events_are_in_the_order_of_time(self):
        reply = self.server.get(self.PATH, {"Accept": "text/csv"})
        rows = reply.csv()
        self.assertEqual(rows[0], ["timestamp", "posted_by", "topic", "routing_key", "payload"])
        self.assertEqual([r[3] for r in rows[1:]], [e["routing_key"] for e in self.sent])
        self.assertEqual([json.loads(r[4])["n"] for r in rows[1:]], list(range(self.EVENTS)))
        self.assertEqual([r[0] for r in rows[1:]], sorted(r[0] for r in rows[1:]))
        self.assertEqual({(r[1], r[2]) for r in rows[1:]}, {("admin", "t")})

    def test_payloads_are_written_as_python_writes_them(self):
        expected = [json.dumps(e["payload"]) for e in self.sent]
        rows = self.server.get(self.PATH, {"Accept": "text/csv"}).csv()
        self.assertEqual([r[4] for r in rows[1:]], expected)
        for accept in ("application/x-jsonlines", "application/x-ndjson"):
            reply = self.server.get(self.PATH, {"Accept": accept})
            lines = reply.body.decode().splitlines()
            self.assertEqual(lines[0], '["timestamp", "posted_by", "topic", "routing_key", '
                                       '"payload"]')
            self.assertEqual([json.loads(l)[4] for l in lines[1:]], expected)
            # The line as a whole is Python's too.
            self.assertEqual(lines[1], json.dumps(json.loads(lines[1]), ensure_ascii=False))

    def test_a_range_and_a_key(self):
        rows = self.server.get(self.PATH, {"Accept": "text/csv"}).csv()
        start, end = rows[100][0], rows[200][0]
        reply = self.server.get(client.with_query("/events/t/recorded", startTime=start,
                                                  endTime=end, routingKey="k3$", timezone="UTC"))
        self.assertEqual(reply.csv()[1:], [r for r in rows[100:201] if r[3] == "t.k3"])
        reply = self.server.get(client.with_query("/events/t/recorded", routingKey="("))
        self.assertEqual(reply.status, 422)
        self.assertEqual(self.server.get(client.with_query(
            "/events/t/recorded", startTime=end, endTime=start)).status, 422)
        self.assertEqual(len(self.server.get("/events/none/recorded").csv()), 1)

    def test_http_1_0_gets_a_body_that_ends_with_the_connection(self):
        with Download(self.server, self.PATH, version="1.0") as download:
            self.assertEqual(download.status, 200)
            self.assertNotIn("transfer-encoding", download.headers)
            self.assertEqual(download.wire.to_end().count(b"\r\n"), self.EVENTS + 1)

    def test_a_fault_half_way_leaves_out_the_final_chunk(self):
        with Download(self.server, self.PATH, buffer=4096) as download:
            self.assertEqual(len(download.wire.chunk()), 65536)
            with without(self.server.data_dir / "hyprxa.db", "event_rows"):
                body, whole = download.rest()
        self.assertFalse(whole)
        self.assertLess(body.count(b"\r\n"), self.EVENTS)


if __name__ == "__main__":
    unittest.main()
