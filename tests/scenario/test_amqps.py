"""RabbitMQ over TLS, and the options of its URI."""

import pathlib
import sys
import tempfile
import time
import unittest

from lib.server import PATIENCE, ROOT, Server, until

sys.path.insert(0, str(ROOT / "tools" / "services"))
from services import Certificates, Missing, RabbitMQ  # noqa: E402


def environment(uri):
    return {"RABBITMQ_CONNECTION_URI": uri, "HYPRXA_CLUSTER": "single",
            "EVENTS_INITIAL_BACKOFF": "0.1", "EVENTS_MAX_BACKOFF": "0.5"}


def status(server):
    return server.get("/admin/info").json()["info"][0]["status"]


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.certificates = Certificates(cls.folder / "right")
        cls.others = Certificates(cls.folder / "wrong")
        cls.rabbitmq = RabbitMQ(cls.certificates).start()
        cls.addClassCleanup(cls.rabbitmq.remove)

    def start(self, uri):
        server = Server(env=environment(uri))
        self.addCleanup(server.__exit__, None, None, None)
        return server.start("/health/live")

    def passes(self, server):
        until(lambda: status(server) == "connected", "the broker", 20)
        server.post("/topics/save", {"topic": "tls", "jschema": {}})
        with server.stream("/events/tls/stream") as stream:
            server.post("/events/publish", {"topic": "tls", "payload": {"n": 1}})
            self.assertEqual(stream.next().json()["payload"], {"n": 1})

    def refused(self, server, *words):
        def told():
            lines = [line for line in server.log().splitlines() if "RabbitMQ at" in line]
            return lines and lines[0]
        line = until(told, "why it is not connected", 20)
        for word in words:
            self.assertIn(word, line)
        self.assertEqual(status(server), "disconnected")
        self.assertNotIn("guest", server.log(), "the password")

    def test_events_pass_over_tls(self):
        self.passes(self.start(f"{self.rabbitmq.tls_uri}?cafile={self.certificates.ca}&heartbeat=10"))

    def test_server_of_another_authority_is_refused(self):
        self.refused(self.start(f"{self.rabbitmq.tls_uri}?cafile={self.others.ca}"),
                     "certificate", "cafile")

    def test_server_is_refused_where_no_authority_vouches_for_it(self):
        self.refused(self.start(self.rabbitmq.tls_uri), "certificate", "cafile")

    def test_certificate_of_another_host_is_refused(self):
        uri = self.rabbitmq.tls_uri.replace("localhost", "127.0.0.1")
        self.refused(self.start(f"{uri}?cafile={self.certificates.ca}"), "certificate", "the host '127.0.0.1'")

    def test_nothing_is_verified_only_when_that_was_asked_for(self):
        self.passes(self.start(f"{self.rabbitmq.tls_uri}?no_verify_ssl=1"))

    def test_authority_that_cannot_be_read_is_named(self):
        self.refused(self.start(f"{self.rabbitmq.tls_uri}?cafile=/nowhere/ca.pem"), "cafile",
                     "/nowhere/ca.pem")

    def test_plain_client_at_a_tls_port_is_told(self):
        self.refused(self.start(self.rabbitmq.tls_uri.replace("amqps", "amqp")))

    def test_client_shows_its_certificate(self):
        with RabbitMQ(self.certificates, ask_clients=True) as strict:
            c = self.certificates
            without = self.start(f"{strict.tls_uri}?cafile={c.ca}")
            self.refused(without)
            self.passes(self.start(
                f"{strict.tls_uri}?cafile={c.ca}&certfile={c.certificate}&keyfile={c.key}"))


class Uri(unittest.TestCase):
    def refused(self, uri):
        server = Server(env=environment(uri))
        self.addCleanup(server.__exit__, None, None, None)
        with self.assertRaises(AssertionError) as refused:
            server.start()
        text = str(refused.exception)
        self.assertIn("ended with 78", text)
        self.assertNotIn("hidden", text)
        return text

    def test_options_that_are_wrong_stop_the_start_and_are_named(self):
        base = "amqp://user:hidden@127.0.0.1:1/"
        for option, word in (("heartbeat=0", "'heartbeat'"), ("heartbeat=3601", "'heartbeat'"),
                             ("heartbeat=x", "'heartbeat'"), ("hearbeat=5", "'hearbeat'"),
                             ("certfile=a.pem", "'keyfile'"), ("no_verify_ssl=perhaps", "no_verify_ssl")):
            with self.subTest(option):
                self.assertIn(word, self.refused(f"{base}?{option}"))

    def test_uri_that_is_none_is_refused(self):
        for uri in ("amqp://user:hidden@host:port/", "amqp://user:hidden@:5672:5/"):
            with self.subTest(uri):
                self.assertIn("amqp(s)://user:password@host:port/vhost", self.refused(uri))

    def test_wrong_password_is_told_and_not_shown(self):
        with RabbitMQ() as rabbitmq:
            server = serve_live(self, rabbitmq.uri.replace("guest:guest", "guest:hidden"))
            until(lambda: "ACCESS_REFUSED" in server.log(), "the refusal", 20)
            self.assertNotIn("hidden", server.log())

    def test_heartbeat_finds_a_server_that_is_silent(self):
        with RabbitMQ() as rabbitmq:
            server = serve_live(self, f"{rabbitmq.uri}?heartbeat=2")
            until(lambda: status(server) == "connected", "the broker", 20)
            rabbitmq.pause()
            try:
                begun = time.monotonic()
                until(lambda: status(server) == "disconnected", "two heartbeats missed", 20)
                self.assertLess(time.monotonic() - begun, 12 * PATIENCE)
            finally:
                rabbitmq.resume()
            until(lambda: status(server) == "connected", "the broker again", 30)


def serve_live(test, uri):
    server = Server(env=environment(uri))
    test.addCleanup(server.__exit__, None, None, None)
    return server.start("/health/live")


if __name__ == "__main__":
    try:
        RabbitMQ().command()
        with tempfile.TemporaryDirectory() as probe:
            Certificates(probe)
    except Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
    unittest.main()
