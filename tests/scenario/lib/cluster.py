"""Nodes over private RabbitMQ, MongoDB and Memcached, and a wire between that can be cut."""

import sys
import unittest

from lib.server import ROOT, Server

sys.path.insert(0, str(ROOT / "tools" / "services"))
from services import Memcached, Missing, MongoDB, RabbitMQ  # noqa: E402

HOST = "sources:\n  host:\n    plugin: host\n    options: {interval: 100ms}\n"
SKIPPED = 77


class Cluster:
    """The three services and nodes with the same sources and settings; the first two are `a` and `b`."""

    def __init__(self, conf=HOST, env=None, nodes=2):
        self.rabbitmq, self.mongodb, self.memcached = RabbitMQ(), MongoDB(), Memcached()
        self.services = [self.rabbitmq, self.mongodb, self.memcached]
        self.conf, self.env, self.n_nodes, self.nodes = conf, env or {}, nodes, []

    def start(self, a=None, b=None):
        """`a`, `b`: more of the environment of a node."""
        for service in self.services:
            service.start()
        env = {"RABBITMQ_CONNECTION_URI": self.rabbitmq.uri,
               "MONGODB_CONNECTION_URI": self.mongodb.uri,
               "MEMCACHED_CONNECTION_URI": f"127.0.0.1:{self.memcached.port}",
               "MEMCACHED_TIMEOUT": "1", "EVENTS_FLUSH_INTERVAL": "0.1",
               "EVENTS_INITIAL_BACKOFF": "0.1", "EVENTS_MAX_BACKOFF": "0.5", **self.env}
        own = [a or {}, b or {}]
        for i in range(self.n_nodes):
            more = own[i] if i < len(own) else {}
            self.nodes.append(Server(conf={"sources.yaml": self.conf}, env={**env, **more}))
            self.nodes[-1].start()
        self.a, self.b = self.nodes[:2]
        return self

    def close(self):
        for node in self.nodes:
            node.__exit__(None, None, None)
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
