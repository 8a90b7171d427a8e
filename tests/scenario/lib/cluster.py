"""Two nodes over private RabbitMQ, MongoDB and Memcached, and a wire between that can be cut."""

import sys
import unittest

from lib.server import ROOT, Server

sys.path.insert(0, str(ROOT / "tools" / "services"))
from services import Memcached, Missing, MongoDB, RabbitMQ  # noqa: E402

HOST = "sources:\n  host:\n    plugin: host\n    options: {interval: 100ms}\n"
SKIPPED = 77


class Cluster:
    """The three services and two nodes, `a` and `b`."""

    def __init__(self):
        self.rabbitmq, self.mongodb, self.memcached = RabbitMQ(), MongoDB(), Memcached()
        self.services = [self.rabbitmq, self.mongodb, self.memcached]

    def start(self):
        for service in self.services:
            service.start()
        env = {"RABBITMQ_CONNECTION_URI": self.rabbitmq.uri,
               "MONGODB_CONNECTION_URI": self.mongodb.uri,
               "MEMCACHED_CONNECTION_URI": f"127.0.0.1:{self.memcached.port}",
               "MEMCACHED_TIMEOUT": "1", "EVENTS_FLUSH_INTERVAL": "0.1",
               "EVENTS_INITIAL_BACKOFF": "0.1", "EVENTS_MAX_BACKOFF": "0.5"}
        self.a = Server(conf={"host.yaml": HOST}, env=env).start()
        self.b = Server(conf={"host.yaml": HOST}, env=env).start()
        return self

    def close(self):
        for server in (getattr(self, "a", None), getattr(self, "b", None)):
            if server:
                server.__exit__(None, None, None)
        for service in self.services:
            service.remove()


def main():
    """Run the tests of the script; where a service cannot be had, all of them are skipped."""
    try:
        for service in (RabbitMQ, Memcached, MongoDB):
            probe = service()
            try:
                probe.command()
            finally:
                probe.remove()
    except Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(SKIPPED)
    unittest.main()
