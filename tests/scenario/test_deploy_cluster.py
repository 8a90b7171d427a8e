"""A cluster as the README shows it, behind the balancer of tools/deploy, and stopped in an outage."""

import signal
import subprocess
import tempfile
import time
import unittest

from lib.cluster import Cluster, main
from lib.server import BUILD, PATIENCE, PLUGINS, PROGRAM, ROOT, free_port, until
from test_deploy import Balancer, needs
from test_readme import blocks


class Readme(unittest.TestCase):
    def test_cluster_on_one_machine(self):
        (block,) = blocks("cluster")
        a, b = free_port(), free_port()
        for old, new in (("tools/services/serve", ROOT / "tools/services/serve"),
                         ("build/bin/hyprxad", PROGRAM), ("build/plugins", PLUGINS),
                         ("--conf-dir conf.d", f"--conf-dir {ROOT}/conf.d"),
                         (":8000", f":{a}"), (":8001", f":{b}"), ("data-a 8000", f"data-a {a}"),
                         ("data-b 8001", f"data-b {b}")):
            self.assertIn(old, block)
            block = block.replace(old, str(new))
        with tempfile.TemporaryDirectory() as folder:
            # `wait`: what it started is over before the folder goes.
            done = subprocess.run(["bash", "-uc", f"cd {folder}\n{block}\nwait"], text=True,
                                  capture_output=True, timeout=240 * PATIENCE)
        self.assertEqual(done.stdout.count('"payload":{"level":3}'), 1, done.stdout + done.stderr)
        self.assertIn('{"status":"OK"}', done.stdout)


class Deployed(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.close)
        self.cluster.start()

    def publish(self, server, n):
        return server.post("/events/publish", {"topic": "front", "payload": {"n": n}}).status

    @needs("haproxy")
    def test_events_are_accepted_through_the_balancer_while_no_node_is_ready(self):
        front = Balancer(self.cluster.a, self.cluster.b)
        self.addCleanup(front.close)
        front.post("/topics/save", {"topic": "front", "jschema": {}})
        for node in self.cluster.nodes:  # each knows the topic from now on
            self.assertEqual(self.publish(node, 0), 200)
        with front.stream("/events/front/stream") as stream:
            self.cluster.mongodb.kill()
            try:
                until(lambda: front.get("/health/ready").status == 503, "no node is ready", 30)
                for n in range(1, 11):
                    self.assertEqual(self.publish(front, n), 200)
                got = set()
                while len(got - {0}) < 10:
                    got.add(stream.next().json()["payload"]["n"])
            finally:
                self.cluster.mongodb.start()
        until(lambda: front.get("/health/ready").status == 200, "a node that is ready", 30)

    def test_a_node_stops_in_time_while_nothing_answers(self):
        self.cluster.a.post("/topics/save", {"topic": "front", "jschema": {}})
        self.assertEqual(self.publish(self.cluster.a, 0), 200)  # the topic is remembered
        for service in self.cluster.services:
            service.pause()
        try:
            self.assertEqual(self.publish(self.cluster.a, 1), 200)
            begun = time.monotonic()
            self.cluster.a.process.send_signal(signal.SIGTERM)
            self.cluster.a.process.wait(120 * PATIENCE)
            took = time.monotonic() - begun
        finally:
            for service in self.cluster.services:
                service.resume()
        self.cluster.a.process = None
        unit = (BUILD / "tools/deploy/hyprxad.service").read_text()
        (allowed,) = [line for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
        self.assertLess(took, float(allowed.split("=")[1].rstrip("s")) * PATIENCE)


if __name__ == "__main__":
    main()
