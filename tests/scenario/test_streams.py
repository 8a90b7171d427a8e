"""Streams in numbers: 10,000 of them, one that never reads, and everything given back afterwards."""

import resource
import selectors
import socket
import struct
import unittest
from pathlib import Path

from lib.server import PATIENCE, Server, until

STREAMS = 10_000 if PATIENCE <= 1 else 1_000  # sanitized builds take ten times the memory and time


class Crowd:
    """Many SSE streams, counted by their blank lines; nothing else is looked at."""

    def __init__(self, address, path, n):
        self.selector = selectors.DefaultSelector()
        self.sockets = []
        self.heads = 0
        self.events = 0
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        for begun in range(n):
            s = socket.create_connection(address, 30)
            s.sendall(request)
            s.setblocking(False)
            self.sockets.append(s)
            self.selector.register(s, selectors.EVENT_READ, [b""])
            if begun % 100 == 99:
                until(lambda: self.read(0) or self.heads >= begun - 50, "stream heads", 60)
        until(lambda: self.read(0.1) or self.heads == n, "every stream's head", 60)

    def read(self, seconds):
        for key, _ in self.selector.select(seconds):
            try:
                data = key.fileobj.recv(1 << 16)
            except BlockingIOError:
                continue
            if not data:
                raise AssertionError("the server closed a stream")
            text = key.data[0] + data
            self.events += text.count(b"\ndata: ")
            if text.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" in text:
                self.heads += 1
            # Kept for the next read: an unfinished head, or the beginning of a data line.
            unfinished = text.startswith(b"HTTP") and b"\r\n\r\n" not in text
            key.data[0] = text if unfinished else text[-6:]

    def close(self):
        # Reset rather than closed: 10,000 sockets in TIME_WAIT would use up the ports.
        for s in self.sockets:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.selector.close()


def descriptors(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident_kib(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Streams(unittest.TestCase):
    def setUp(self):
        self.limit = raise_descriptor_limit()
        self.server = Server().start()
        self.addCleanup(self.server.__exit__, None, None, None)
        self.server.post("/topics/save", {"topic": "t", "jschema": {}})
        self.pid = self.server.process.pid

    def publish(self, n, **payload):
        reply = self.server.post("/events/publish", {"topic": "t", "payload": {"n": n, **payload}})
        self.assertEqual(reply.status, 200, reply)

    def live_streams(self):
        for line in self.server.get("/metrics").body.decode().splitlines():
            if line.startswith("hyprxa_streams "):
                return int(line.split()[1])

    def test_ten_thousand_streams_get_every_event_while_requests_are_answered(self):
        n = min(STREAMS, self.limit - 2500)
        for _ in range(2):  # the second crowd shows what a first one leaves behind
            idle = descriptors(self.pid), resident_kib(self.pid)
            crowd = Crowd(self.server.address, "/events/t/stream", n)
            self.assertEqual(self.live_streams(), n)
            for i in range(5):
                self.publish(i)
                self.assertEqual(self.server.get("/topics/search/t").status, 200)
            until(lambda: crowd.read(0.1) or crowd.events >= 5 * n, "5 events on each", 60)
            self.assertEqual(crowd.events, 5 * n)
            crowd.close()
            until(lambda: self.live_streams() == 0, "streams to be freed", 30)
        # Workers' own sockets come and go: a few descriptors of difference are theirs.
        until(lambda: descriptors(self.pid) <= idle[0] + 20, "descriptors to be given back")
        if PATIENCE <= 1:
            self.assertLess(resident_kib(self.pid), idle[1] + 4096, "memory is not given back")

    def test_stream_that_never_reads_harms_nobody(self):
        deaf = socket.create_connection(self.server.address)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.sendall(b"GET /events/t/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        self.addCleanup(deaf.close)
        until(lambda: self.live_streams() == 1, "the deaf stream")
        with self.server.stream("/events/t/stream") as stream:
            for i in range(1500):
                self.publish(i, padding="x" * 2000)
                self.assertEqual(stream.next().json()["payload"]["n"], i)
        # What it is told once it reads: the gap, as a comment of its own chunk.
        deaf.settimeout(10 * PATIENCE)
        seen = b""
        while b"\r\n: dropped " not in seen:
            seen = seen[-100:] + deaf.recv(1 << 20)
        dropped = [line for line in self.server.get("/metrics").body.decode().splitlines()
                   if line.startswith("hyprxa_stream_dropped_total ")]
        self.assertGreater(int(dropped[0].split()[1]), 0)

    def test_hanging_up_frees_at_once(self):
        streams = [self.server.stream("/events/t/stream") for _ in range(50)]
        self.assertEqual(self.live_streams(), 50)
        for stream in streams:
            stream.close()
        until(lambda: self.live_streams() == 0, "streams to be freed", 5)


if __name__ == "__main__":
    unittest.main()
