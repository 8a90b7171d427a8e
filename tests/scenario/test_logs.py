"""Logs as data: stored, streamed, downloaded, expired; and nobody suffers from them."""

import contextlib
import json
import re
import sqlite3
import threading
import time
import unittest
import uuid

from lib import client
from lib.server import Server, until

ALL = {"LOGS_LEVEL": "debug", "HYPRXA_LOG_LEVEL": "warning"}  # debug: a record for each request


def recorded(server, **query):
    """The documents of /admin/logs/recorded."""
    if isinstance(query.get("q"), dict):
        query["q"] = json.dumps(query["q"])
    reply = server.get(client.with_query("/admin/logs/recorded", **query))
    assert reply.status == 200, reply
    return [json.loads(line) for line in reply.body.decode().split("\n")[:-1]]


def metric(server, name):
    text = server.get("/metrics").body.decode()
    return int(re.search(f"^{re.escape(name)} (\\d+)$", text, re.MULTILINE)[1])


def resident_kib(server):
    with open(f"/proc/{server.process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])


@contextlib.contextmanager
def database(server):
    connection = sqlite3.connect(server.data_dir / "logs.db", isolation_level=None, timeout=30)
    try:
        yield connection
    finally:
        connection.close()


class Logs(unittest.TestCase):
    def run_server(self, env=None, conf=None):
        server = Server(conf, dict(ALL, **(env or {})))
        self.addCleanup(server.__exit__, None, None, None)
        return server.start()

    def test_document_says_who_asked_for_what(self):
        server = self.run_server()
        id = str(uuid.uuid4())
        server.get("/users/whoami?token=secret", {"X-Request-ID": id})
        # A request is logged when it has been answered: perhaps after the next one has come.
        documents = until(lambda: recorded(server, q={"context.correlation_id": id}), "its log")
        self.assertEqual(len(documents), 1, documents)
        d = documents[0]
        self.assertRegex(d["timestamp"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$")
        self.assertEqual(set(d), {"timestamp", "api_version", "context", "log", "origin", "process"})
        self.assertEqual(d["context"]["user"], "admin")
        self.assertEqual(d["context"]["ip_address"], "127.0.0.1")
        self.assertTrue(d["context"]["host"])
        self.assertEqual(d["log"]["level"], "debug")
        self.assertEqual(d["log"]["logger"], "hyprxa.http")
        self.assertRegex(d["log"]["original"], r"^GET /users/whoami 200 \d+ us$")
        self.assertNotIn("secret", json.dumps(d))
        self.assertTrue(d["origin"]["function"])
        self.assertTrue(d["origin"]["file"]["name"].endswith(".c"))
        self.assertGreater(d["origin"]["file"]["line"], 0)
        self.assertEqual(d["process"]["pid"], server.process.pid)
        self.assertTrue(d["process"]["thread"]["name"])

    def test_error_of_a_source_has_its_cause_as_data(self):
        server = self.run_server(conf={"bad.yaml": "sources: {bad: {plugin: nosuch}}\n"})
        documents = recorded(server, q={"log.level": "error"})
        self.assertEqual(len(documents), 1, documents)
        self.assertIn("nosuch", documents[0]["log"]["original"])
        self.assertNotIn("user", documents[0]["context"])

    def test_both_paths_stream_what_other_requests_log(self):
        server = self.run_server()
        for path in ("/admin/logs/stream", "/admin/logs"):
            with server.stream(path) as stream:
                id = str(uuid.uuid4())
                server.get("/health/live", {"X-Request-ID": id})
                while True:
                    event = stream.next()
                    document = event.json()
                    if document["context"].get("correlation_id") == id:
                        break
                self.assertIsNone(event.name)
                self.assertNotIn("_id", document)
                self.assertEqual(recorded(server, q={"context.correlation_id": id}), [document])

    def test_streams_do_not_log_about_what_they_deliver(self):
        server = self.run_server()
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(server.stream("/admin/logs")) for _ in range(3)]
            server.get("/first")
            texts = []
            while not texts or "/first" not in texts[-1]:
                texts.append(streams[0].next().json()["log"]["original"])
            server.get("/second")
            while "/second" not in texts[-1]:
                texts.append(streams[0].next().json()["log"]["original"])
            begun = [text for text in texts if text.startswith("GET /admin/logs ")]
            self.assertLessEqual(len(begun), 3, texts)
            # Then silence.  Something else may be logged once; a log about a log never ends.
            further = []
            with self.assertRaises(AssertionError, msg=further):
                for _ in range(10):
                    further.append(streams[0].next(seconds=1).json()["log"]["original"])
            self.assertFalse([text for text in further if "/admin/logs" in text])

    def test_download_is_json_lines_whatever_the_client_accepts(self):
        server = self.run_server()
        for accept in ("text/html", "text/csv", "application/x-jsonlines", None):
            server.get("/health/live")
            reply = server.get("/admin/logs/recorded", {"Accept": accept} if accept else None)
            self.assertEqual(reply.status, 200, reply)
            self.assertEqual(reply.headers["content-type"], "application/x-jsonlines")
            self.assertRegex(reply.headers["content-disposition"],
                             r"^attachment; filename=\d+\.jsonl$")
        lines = reply.body.decode().split("\n")
        self.assertEqual(lines.pop(), "")
        self.assertGreater(len(lines), 6)
        for line in lines:  # as Python's json module writes it
            self.assertEqual(line, json.dumps(json.loads(line), ensure_ascii=False))
        times = [json.loads(line)["timestamp"] for line in lines]
        self.assertEqual(times, sorted(times))

    def test_query_selects_by_any_member(self):
        server = self.run_server()
        for path in ("/nosuch/1", "/nosuch/2", "/health/live"):
            server.get(path)
        self.assertEqual(len(recorded(server, q={"log.original": {"$regex": "^GET /nosuch/"}})), 2)
        self.assertEqual(recorded(server, q={"log.level": "critical"}), [])
        everything = recorded(server, q="{}")
        middle = everything[len(everything) // 2]["timestamp"]
        self.assertEqual([d for d in everything if d["timestamp"] >= middle],
                         [d for d in recorded(server, q={"timestamp": {"$gte": middle}})
                          if d["timestamp"] <= everything[-1]["timestamp"]])

    def test_query_that_is_none_is_refused(self):
        server = self.run_server()
        for q, status, detail in (
                ("{", 422, [{"loc": ["query", "q"], "msg": "Invalid JSON",
                             "type": "value_error.json"}]),
                ("{'a':1}", 422, None),
                ("[]", 400, "Invalid query."),
                ("3", 400, "Invalid query."),
                ("null", 400, "Invalid query."),
                ('{"a":{"$near":1}}', 400, "filter: operator '$near' is not supported"),
                ('{"a":{"$in":1}}', 400, None)):
            reply = server.get(client.with_query("/admin/logs/recorded", q=q))
            self.assertEqual(reply.status, status, (q, reply))
            if detail:
                self.assertEqual(reply.json(), {"detail": detail})
        self.assertEqual(server.get("/admin/logs/recorded?q=").status, 200)  # the client sends it

    def test_time_range_is_optional(self):
        server = self.run_server()
        server.stop()
        with database(server) as db:
            for time_us, text in ((1600000000000000, "2020-09-13T12:26:40.000000"),
                                  (1600000001000000, "2020-09-13T12:26:41.000000")):
                db.execute("INSERT INTO logs(time, document) VALUES(?, ?)",
                           (time_us, json.dumps({"timestamp": text})))
        server.env["LOGS_EXPIRE_AFTER"] = "3153600000"
        server.start()
        self.assertEqual(recorded(server)[0], {"timestamp": "2020-09-13T12:26:40.000000"})
        day = dict(startTime="2020-09-13", endTime="2020-09-14", timezone="UTC")
        self.assertEqual(len(recorded(server, **day)), 2)
        self.assertEqual(len(recorded(server, start_time="2020-09-13T14:26:41",
                                      end_time="2020-09-13T14:26:41",
                                      timezone="Europe/Berlin")), 1)
        self.assertEqual(len(recorded(server, endTime="2020-09-13T12:26:40Z")), 1)
        for bad in (dict(startTime="soon"), dict(startTime="2020-01-01", timezone="Mars/Base"),
                    dict(startTime="2021-01-01", endTime="2020-01-01")):
            reply = server.get(client.with_query("/admin/logs/recorded", **bad))
            self.assertEqual(reply.status, 422, reply)

    def test_switched_off(self):
        server = self.run_server({"LOGS_LEVEL": "off"})
        for path in ("/admin/logs", "/admin/logs/stream", "/admin/logs/recorded"):
            reply = server.get(path)
            self.assertEqual(reply.status, 501, reply)
            self.assertEqual(reply.json(), {"detail": "Logging to database is not configured."})
        self.assertFalse((server.data_dir / "logs.db").exists())

    def test_level_of_what_is_stored_is_not_that_of_the_console(self):
        server = self.run_server({"LOGS_LEVEL": "warning", "HYPRXA_LOG_LEVEL": "info"})
        self.assertIn("listening", server.log())
        self.assertEqual([d["log"]["level"] for d in recorded(server)], ["warning"])

    def test_old_ones_are_removed(self):
        server = self.run_server({"LOGS_EXPIRE_AFTER": "3600"})
        server.stop()
        now_us = int(time.time() * 1e6)
        with database(server) as db:
            db.executemany("INSERT INTO logs(time, document) VALUES(?, ?)",
                           [(now_us - 3700 * 1000000 + i, '{"old":true}') for i in range(5000)])
            db.execute("INSERT INTO logs(time, document) VALUES(?, ?)",
                       (now_us - 3000 * 1000000, '{"old":false}'))
        server.start()
        until(lambda: metric(server, "hyprxa_logs_expired_total") == 5000, "5000 expired logs")
        self.assertEqual(recorded(server, q={"old": {"$exists": True}}), [{"old": False}])

    def test_kill_loses_the_last_interval_at_most(self):
        server = self.run_server({"LOGS_FLUSH_INTERVAL": "3600"},
                                 {"bad.yaml": "sources: {bad: {plugin: nosuch}}\n"})
        # The error about the source was written at once, with what came before it.
        until(lambda: metric(server, "hyprxa_logs_stored_total") >= 2, "the error stored")
        server.get("/lost")
        server.kill()
        server.start()
        texts = [d["log"]["original"] for d in recorded(server)]
        self.assertEqual(len([t for t in texts if "nosuch" in t]), 2, texts)  # of both starts
        self.assertFalse([t for t in texts if "/lost" in t])
        server.env["LOGS_FLUSH_INTERVAL"] = "0.1"
        server.stop()
        server.start()
        server.get("/kept")
        until(lambda: metric(server, "hyprxa_logs_buffered") == 0, "everything stored")
        server.kill()
        server.start()
        self.assertTrue(recorded(server, q={"log.original": {"$regex": "GET /kept "}}))

    def test_flood_without_a_database_blocks_nobody_and_takes_no_memory(self):
        server = self.run_server({"LOGS_MAX_BUFFERED": "500", "LOGS_FLUSH_INTERVAL": "0.05"})
        until(lambda: metric(server, "hyprxa_logs_stored_total") > 0, "the database")
        server.get("/health/live")
        before = resident_kib(server)
        with database(server) as db, server.stream("/admin/logs") as stream:
            db.execute("BEGIN IMMEDIATE")  # as a shell or a backup would
            slowest = self.flood(server, threads=4, requests=1000)
            self.assertLess(slowest, 5 * client.PATIENCE)
            info = server.get("/admin/info").json()["logs"]
            self.assertGreater(info["dropped"]["full"], 1000, info)
            self.assertLessEqual(info["storage_buffer_size"], 500)
            self.assertGreater(metric(server, 'hyprxa_logs_dropped_total{reason="full"}'), 1000)
            until(lambda: metric(server, "hyprxa_logs_write_failures_total") > 0, "failures")
            self.assertEqual(server.log().count("logs cannot be stored"), 1)  # now and then
            self.assertTrue(recorded(server))  # reading goes on
            self.assertTrue(stream.next().json()["log"])  # and so does the stream
            if client.PATIENCE <= 1:
                self.assertLess(resident_kib(server) - before, 32 * 1024)
            db.execute("ROLLBACK")
        until(lambda: metric(server, "hyprxa_logs_buffered") == 0, "the buffer stored", 20)
        told = recorded(server, q={"log.logger": "hyprxa.logs"})
        self.assertRegex(told[0]["log"]["original"], r"^\d+ logs were not stored: ")

    def flood(self, server, threads, requests):
        """The longest time a request took."""
        times = []

        def run():
            wire = client.Wire(server.address)
            for _ in range(requests):
                begin = time.monotonic()
                wire.send(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                assert client.read_reply(wire, "GET").status == 200
                times.append(time.monotonic() - begin)
            wire.close()

        running = [threading.Thread(target=run) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        self.assertEqual(len(times), threads * requests)
        return max(times)

    def test_text_of_a_request_forges_neither_line_nor_document(self):
        server = self.run_server({"HYPRXA_LOG_LEVEL": "debug"})
        forged = '"},"log":{"level":"critical","original":"forged"},"x":{"y":"'
        with server.stream("/admin/logs") as stream:
            for path in ("/" + forged.replace(" ", ""), "/%0d%0a%0d%0adata:%20forged",
                         "/\xff\xc3(\xed\xa0\x80"):
                wire = client.Wire(server.address)
                wire.send(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
                          .encode("latin-1"))
                wire.to_end()
                wire.close()
            server.get("/the-end")
            events = []
            while not events or "/the-end" not in events[-1]["log"]["original"]:
                events.append(stream.next().json())
        for document in events + recorded(server):
            self.assertEqual(document["log"]["level"] == "critical", False, document)
            self.assertNotIn("x", document)
        self.assertTrue([d for d in events if forged in d["log"]["original"]], events)
        for line in server.log_path.read_bytes().splitlines():
            self.assertNotEqual(json.loads(line.decode(errors="replace"))["level"], "critical")

    def test_many_are_downloaded_in_bounded_memory(self):
        server = self.run_server()
        server.stop()
        document = json.dumps({"timestamp": "x", "log": {"original": "y" * 400}})
        now_us = int(time.time() * 1e6)
        with database(server) as db:
            db.execute("BEGIN")
            db.executemany("INSERT INTO logs(time, document) VALUES(?, ?)",
                           ((now_us - 300000 + i, document) for i in range(200000)))
            db.execute("COMMIT")
        server.start()
        server.get("/admin/logs/recorded?q=%7B%22timestamp%22%3A%22nosuch%22%7D")
        before = resident_kib(server)
        reply = server.get("/admin/logs/recorded")
        self.assertGreater(reply.body.count(b"\n"), 200000)
        if client.PATIENCE <= 1:
            self.assertLess(resident_kib(server) - before, 16 * 1024)


if __name__ == "__main__":
    unittest.main()
