"""Today's Python libraries and curl as readers of a stream: each chunk is one event."""

import asyncio
import http.client
import json
import re
import subprocess
import threading
import unittest

import aiohttp
import httpx

from lib.server import Server, until

N = 100


class Consumers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.url = f"http://127.0.0.1:{cls.server.port}"

    def setUp(self):
        """A topic of the test's own, and N events for it as soon as it has a reader."""
        topic = self._testMethodName
        self.server.post("/topics/save", {"topic": topic, "jschema": {}})
        self.path = f"/events/{topic}/stream"

        def publish():
            until(lambda: self.server.get("/admin/info").json()["info"][0]["active_subscribers"],
                  "a reader", 30)
            for n in range(N):
                reply = self.server.post("/events/publish", {"topic": topic, "payload": {"n": n}})
                assert reply.status == 200, reply
        thread = threading.Thread(target=publish)
        thread.start()
        self.addCleanup(until, lambda: not self.server.get("/admin/info").json()["info"][0]
                        ["active_subscribers"], "the reader's end", 30)
        self.addCleanup(thread.join)

    def numbers(self, chunks):
        """The event's number in each chunk; a comment is none."""
        got = []
        for chunk in chunks:
            self.assertEqual(chunk.count(b"\r\n\r\n"), 1, chunk)
            self.assertTrue(chunk.endswith(b"\r\n\r\n"), chunk)
            if data := re.search(rb"^data: (.*)\r$", chunk, re.M):
                got.append(json.loads(data[1])["payload"]["n"])
        return got

    def test_a_chunk_is_one_event(self):
        """httpx gives the chunks as the server wrote them."""
        chunks = []
        with httpx.stream("GET", self.url + self.path, timeout=30) as reply:
            for chunk in reply.iter_raw():
                chunks.append(chunk)
                if len(self.numbers(chunks)) == N:
                    break
        self.assertEqual(self.numbers(chunks), list(range(N)))

    def test_aiohttp(self):
        async def read():
            got, chunk = [], b""
            async with aiohttp.ClientSession() as session:
                async with session.get(self.url + self.path) as reply:
                    async for data, ends in reply.content.iter_chunks():
                        chunk += data
                        if ends:
                            got += self.numbers([chunk])
                            chunk = b""
                        if len(got) == N:
                            return got
        self.assertEqual(asyncio.run(asyncio.wait_for(read(), 30)), list(range(N)))

    def test_http_client(self):
        connection = http.client.HTTPConnection(*self.server.address, timeout=30)
        connection.request("GET", self.path)
        reply = connection.getresponse()
        got = []
        while len(got) < N:
            line = reply.readline()
            if line.startswith(b"data: "):
                got.append(json.loads(line[6:])["payload"]["n"])
        connection.close()
        self.assertEqual(got, list(range(N)))

    def test_curl(self):
        """Its --raw shows the chunks' sizes too."""
        curl = subprocess.Popen(["curl", "-sN", "--raw", "--max-time", "30", self.url + self.path],
                                stdout=subprocess.PIPE)
        got = []
        while len(got) < N:
            size = int(curl.stdout.readline(), 16)
            got += self.numbers([curl.stdout.read(size)])
            self.assertEqual(curl.stdout.read(2), b"\r\n")
        curl.terminate()
        curl.wait()
        curl.stdout.close()
        self.assertEqual(got, list(range(N)))


if __name__ == "__main__":
    unittest.main()
