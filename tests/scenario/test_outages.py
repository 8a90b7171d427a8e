"""Nothing acknowledged is lost between nodes and back ends, and nothing comes twice: counted at the
ends, while back ends and nodes are killed, paused and cut off."""

import threading
import unittest

from lib.cluster import Cluster, main
from lib.server import until

PUBLISHERS = 4
PAUSE = 0.005  # between posts of each


class Storm:
    """Publishers that post numbers as fast as they are answered; `acknowledged`: (publisher, number)."""

    def __init__(self, node, topic, name=""):
        self.node, self.topic, self.name = node, topic, name
        self.acknowledged = []
        self.refused = 0
        self.next = [0] * PUBLISHERS
        self.threads = []

    def start(self):
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=(i,)) for i in range(PUBLISHERS)]
        for thread in self.threads:
            thread.start()
        return self

    def _post(self, publisher):
        while not self.stopping.wait(PAUSE):
            number = self.next[publisher]
            self.next[publisher] += 1
            try:
                reply = self.node.post("/events/publish", {
                    "topic": self.topic, "routing_key": f"p{publisher}",
                    "payload": {"publisher": f"{self.name}{publisher}", "n": number}})
            except (OSError, EOFError):
                return  # the node is gone; whether it took this one is open
            if reply.status == 200:
                self.acknowledged.append((f"{self.name}{publisher}", number))
            else:
                self.refused += 1

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def reach(self, n):
        until(lambda: len(self.acknowledged) >= n, f"{n} acknowledged events", 60)


class Reader:
    """Reads a stream to its end in a thread of its own."""

    def __init__(self, node, topic):
        self.stream = node.stream(f"/events/{topic}/stream")
        self.seen, self.notices, self.ended = [], [], False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            while (event := self.stream.next(600)) is not None:
                if event.name:
                    self.notices.append((event.name, event.json()))
                else:
                    payload = event.json()["payload"]
                    self.seen.append((payload["publisher"], payload["n"]))
        except (OSError, EOFError, AssertionError, ValueError):
            pass
        self.ended = True

    def close(self):
        self.stream.close()


class Outages(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster()
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        self.a, self.b = self.cluster.a, self.cluster.b

    def topic(self, name):
        reply = self.a.post("/topics/save", {"topic": name, "jschema": {"type": "object"}})
        self.assertEqual(reply.status, 200, reply)

    def assert_exactly_once(self, acknowledged, reader):
        """All that was acknowledged, and nothing twice; each publisher's in order."""
        wanted = set(acknowledged)
        try:
            until(lambda: wanted <= set(reader.seen), "all events", 60, 0.2)
        except AssertionError:
            missing = sorted(wanted - set(reader.seen))
            self.fail(f"{len(missing)} of {len(wanted)} events are missing: {missing[:20]}")
        self.assertEqual(len(reader.seen), len(set(reader.seen)), "some came twice")
        for publisher in {p for p, _ in reader.seen}:
            numbers = [n for p, n in reader.seen if p == publisher]
            self.assertEqual(numbers, sorted(numbers), "order of a node")
        self.assertEqual(reader.notices, [])

    def test_node_killed_in_a_storm_while_rabbitmq_is_away_sends_all_it_acknowledged(self):
        self.topic("storm")
        reader = Reader(self.b, "storm")
        storm = Storm(self.a, "storm").start()
        storm.reach(200)
        self.cluster.rabbitmq.pause()
        storm.reach(1000)
        self.a.kill()
        storm.stop()
        self.cluster.rabbitmq.kill()
        self.cluster.rabbitmq.start()
        self.a.start()
        self.assert_exactly_once(storm.acknowledged, reader)
        reader.close()

    def test_two_nodes_that_publish_while_rabbitmq_is_killed_again_and_again_miss_nothing(self):
        self.topic("killed")
        readers = [Reader(self.a, "killed"), Reader(self.b, "killed")]
        storms = [Storm(self.a, "killed", "a").start(), Storm(self.b, "killed", "b").start()]
        for _ in range(3):
            self.cluster.rabbitmq.kill()
            self.cluster.rabbitmq.start()
            n = len(storms[0].acknowledged)
            storms[0].reach(n + 300)
        for storm in storms:
            storm.stop()
        acknowledged = storms[0].acknowledged + storms[1].acknowledged
        for reader in readers:
            self.assert_exactly_once(acknowledged, reader)
            told = [c for c in reader.stream.comments if c.startswith("broker")]
            self.assertEqual(told, ["broker away", "broker back"] * (len(told) // 2))
            self.assertGreaterEqual(len(told), 2)
            reader.close()


if __name__ == "__main__":
    main()
