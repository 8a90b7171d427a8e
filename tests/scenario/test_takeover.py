"""Three nodes over real RabbitMQ, Memcached and MongoDB: each series is streamed by exactly one of them,
seen on all, and goes on when that one stops, dies or is paused.

The fixture `clock` gives the same on every node: every 100 ms the number of that tenth of a second.  So
what is lost shows as a hole in the numbers, and what is there twice as a number that does not rise."""

import signal
import socket
import sys
import threading
import time
import unittest

from lib.cluster import Cluster, main
from lib.server import BUILD, PATIENCE, until

TTL = 5
PERIOD = 0.1
CLOCK = f"sources:\n  clock:\n    plugin: {BUILD}/tests/plugins/clock.so\n"
SETTINGS = {"TIMESERIES_LOCK_TTL": str(TTL), "TIMESERIES_FLUSH_INTERVAL": "200ms",
            "TIMESERIES_MAXLEN": "10000"}  # a paused node has much to send when it wakes up


class Watcher:
    """Reads a stream on a thread: per item the numbers and when they came; and who sent them."""

    def __init__(self, node, unitop):
        self.numbers, self.arrivals, self.origins, self.gaps = {}, {}, set(), []
        self.ended = None
        self.lock = threading.Lock()
        self.stream = node.stream(f"/timeseries/{unitop}/stream")
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while (event := self.stream.next(60)) is not None:
                with self.lock:
                    self._take(event)
            self.ended = "properly"
        except (OSError, EOFError, AssertionError, ValueError) as error:
            self.ended = repr(error)

    def _take(self, event):
        if event.name == "gap":
            self.gaps.append(event.json())
        if event.name:
            return
        body = event.json()
        item = body["subscription"]["item"]
        self.numbers.setdefault(item, []).extend(i["value"] for i in body["items"])
        self.arrivals.setdefault(item, []).append(time.monotonic())
        self.origins.add(event.id.split(":")[0])

    def close(self):
        try:
            self.stream.wire.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already
        self.thread.join(10)
        self.stream.close()
        return self

    def copy(self):
        with self.lock:
            return {item: list(numbers) for item, numbers in self.numbers.items()}

    def last(self):
        """The newest number that every item has."""
        numbers = self.copy()
        return min((n[-1] for n in numbers.values()), default=0)

    def longest_silence(self, since=0.0):
        """Seconds, of any item, counted from its last sample before `since`."""
        longest = 0.0
        with self.lock:
            for times in self.arrivals.values():
                pairs = zip(times, times[1:])
                longest = max([longest] + [b - a for a, b in pairs if b >= since])
        return longest


def holes(numbers):
    """What breaks a series of numbers that rise by one: (before, behind)."""
    return [(a, b) for a, b in zip(numbers, numbers[1:]) if b != a + 1]


def metric(node, name, reason=None):
    """The sum over all sources."""
    label = f'reason="{reason}"' if reason else ""
    total = 0.0
    for line in node.get("/metrics").body.decode().splitlines():
        if line.startswith((f"{name} ", f"{name}{{")) and label in line:
            total += float(line.rsplit(" ", 1)[1])
    return total


class Takeover(unittest.TestCase):
    def setUp(self):
        self.cluster = Cluster(CLOCK, SETTINGS, 3)
        self.addCleanup(self.cluster.close)
        self.cluster.start()
        self.nodes = self.cluster.nodes
        self.watchers = []
        self.addCleanup(lambda: [w.close() for w in self.watchers])

    def unitop(self, name, n):
        self.nodes[0].save_unitop(
            name, {f"i{i}": {"source": "clock", "item": f"{name}-{i}"} for i in range(n)})

    def watch(self, node, unitop):
        watcher = Watcher(node, unitop)
        self.watchers.append(watcher)
        return watcher

    def await_all(self, watcher, n, seconds=30):
        until(lambda: len(watcher.copy()) == n, f"samples of all {n} items", seconds)

    def await_progress(self, watcher, samples, seconds=30):
        begin = watcher.last()
        until(lambda: watcher.last() >= begin + samples, f"{samples} samples more", seconds)

    def held(self):
        return [int(metric(node, "hyprxa_leases_held")) if node.process else 0
                for node in self.nodes]

    def holder(self):
        """The one node with leases."""
        held = self.held()
        self.assertEqual(sum(h > 0 for h in held), 1, held)
        return self.nodes[max(range(len(held)), key=held.__getitem__)]

    def others(self, node):
        return [other for other in self.nodes if other is not node]

    def assert_whole(self, watcher):
        for item, numbers in watcher.copy().items():
            self.assertEqual(holes(numbers), [], f"{item} of {len(numbers)} samples")

    def assert_rises(self, watcher):
        for item, numbers in watcher.copy().items():
            self.assertEqual([h for h in holes(numbers) if h[1] <= h[0]], [], item)

    def dropped(self, reason):
        return sum(metric(node, "hyprxa_timeseries_messages_dropped_total", reason) for node in self.nodes
                   if node.process)


class Streaming(Takeover):
    def test_one_node_streams_what_all_see_and_goes_on_when_it_stops(self):
        n = 20
        self.unitop("shared", n)
        streams = [self.watch(node, "shared") for node in self.nodes]
        for stream in streams:
            self.await_all(stream, n)
        self.assertEqual(sum(self.held()), n)
        holder = self.holder()
        self.await_progress(streams[0], 10)
        for stream in streams:
            self.assertEqual(len(stream.origins), 1, "one node streams")
        self.assertEqual({o for s in streams for o in s.origins}, streams[0].origins)

        rest = [s for s, node in zip(streams, self.nodes) if node is not holder]
        began = time.monotonic()
        self.assertEqual(holder.stop(20), 0)
        for stream in rest:
            self.await_progress(stream, 20)
            self.assert_whole(stream)
            self.assertEqual(stream.gaps, [])
        self.assertEqual(sum(self.held()), n)
        self.assertEqual(self.dropped("duplicate"), 0, "two nodes streamed at a time")
        silence = max(s.longest_silence(began) for s in rest)
        print(f"hand-over of {n} series: silence of {silence:.2f} s", file=sys.stderr)
        # Without hand-over it is the rest of the lease and two seconds.
        self.assertLess(silence, 2 * PATIENCE)
        self.assertEqual(sum(metric(node, "hyprxa_leases_taken_over_total", "handover")
                             for node in self.nodes if node.process), n)

    def test_memcached_away_stops_no_stream_but_begins_none(self):
        self.unitop("early", 3)
        self.unitop("late", 2)
        stream = self.watch(self.nodes[1], "early")
        self.await_all(stream, 3)
        self.cluster.memcached.kill()
        reply = self.nodes[2].get("/timeseries/late/stream")
        self.assertEqual((reply.status, reply.headers.get("retry-after")), (503, "5"), reply)
        self.assertEqual(reply.json(), {"detail": "Broker is unavailable."})
        self.await_progress(stream, int(TTL / PERIOD) + 20)  # longer than the leases last
        self.assert_whole(stream)
        self.cluster.memcached.start()
        late = until(lambda: self.try_watch(self.nodes[2], "late"), "a new stream", 20)
        self.await_all(late, 2)
        self.await_progress(stream, 30)
        self.assert_whole(stream)
        self.assertEqual(sum(self.held()), 5, "claimed again")
        self.assertEqual(self.dropped("duplicate"), 0)

    def test_restarted_manager_hands_its_series_over(self):
        n = 10
        self.unitop("restart", n)
        first = self.watch(self.nodes[0], "restart")
        self.await_all(first, n)
        stream = self.watch(self.nodes[1], "restart")
        self.await_all(stream, n)
        self.assertEqual(self.held(), [n, 0, 0])
        reply = self.nodes[0].post("/timeseries/admin/manager/restart/clock")
        self.assertEqual(reply.status, 200, reply)
        until(lambda: first.ended, "the streams of the manager end")
        self.await_progress(stream, 20)
        self.assert_whole(stream)
        self.assertEqual(sum(self.held()), n)
        self.assertEqual(self.dropped("duplicate"), 0)

    def test_resumed_stream_is_told_of_a_gap_and_gets_nothing_twice(self):
        self.unitop("resume", 1)
        first = self.watch(self.nodes[0], "resume")
        self.await_all(first, 1)
        for node in self.nodes:  # of the holder's samples, at the holder and elsewhere
            with node.stream("/timeseries/resume/stream") as stream:
                before = [event for event in (stream.next() for _ in range(6)) if not event.name]
            with node.stream("/timeseries/resume/stream", {"Last-Event-ID": before[-1].id}) as stream:
                events = [stream.next() for _ in range(8)]
            names = [event.name for event in events if event.name]
            numbers = [item["value"] for event in before + events if not event.name
                       for item in event.json()["items"]]
            self.assertEqual([h for h in holes(numbers) if h[1] <= h[0]], [])
            if node is self.nodes[0]:
                self.assertEqual((names, holes(numbers)), ([], []), "it is complete there")
            else:
                self.assertIn("gap", names)

    def test_what_is_recorded_is_recorded_by_one_node(self):
        listed = "".join(f"      - item: r{i}\n" for i in range(6))
        for node in self.nodes:
            node.stop(20)
            (node.conf_dir / "sources.yaml").write_text(CLOCK + "    record:\n" + listed)
        for node in self.nodes:
            node.start()
        until(lambda: sum(self.held()) == 6, "leases", 20)
        until(lambda: sum(int(metric(n, "hyprxa_leases_remote")) for n in self.nodes) == 12,
              "the others stand by", 20)
        self.nodes[0].save_unitop("r", {f"i{i}": {"source": "clock", "item": f"r{i}"}
                                        for i in range(6)})
        holder = self.nodes[max(range(3), key=self.held().__getitem__)]
        count = int(metric(holder, "hyprxa_leases_held"))
        self.assertEqual(holder.stop(20), 0)
        reader = self.others(holder)[0]
        until(lambda: sum(self.held()) == 6, f"the other {count} leases", 20)

        def stored():
            return [item["value"] for item in reader.samples("r", "i0", start="-5m", end="now")]
        begin = len(stored())
        until(lambda: len(stored()) > begin + 20, "samples of the next holder", 20)
        self.assertEqual(holes(stored()), [])

    def try_watch(self, node, unitop):
        try:
            return self.watch(node, unitop)
        except AssertionError:
            return None


class Drills(Takeover):
    """Longer than ten seconds each."""

    def test_killed_node_is_replaced_within_two_and_a_half_leases(self):
        n = 50
        self.unitop("kill", n)
        first = self.watch(self.nodes[0], "kill")
        self.await_all(first, n)
        streams = [self.watch(node, "kill") for node in self.nodes[1:]]
        for stream in streams:
            self.await_all(stream, n)
            self.await_progress(stream, 10)
        holder = self.holder()
        self.assertIs(holder, self.nodes[0])
        began = time.monotonic()
        holder.kill()
        for stream in streams:
            self.await_progress(stream, 30, 3 * TTL)
            self.assert_whole(stream)  # what it had not stored is read again by the next
        silence = max(s.longest_silence(began) for s in streams)
        print(f"kill -9: silence of {silence:.2f} s at a lease of {TTL} s", file=sys.stderr)
        self.assertLess(silence, 2.5 * TTL * PATIENCE)
        self.assertEqual(sum(self.held()), n)
        holder.start()
        back = self.watch(holder, "kill")
        self.await_all(back, n)
        self.assert_whole(back)
        self.assertEqual(sum(self.held()), n)

    def test_paused_node_wakes_up_without_its_leases(self):
        n = 20
        self.unitop("pause", n)
        first = self.watch(self.nodes[0], "pause")
        self.await_all(first, n)
        stream = self.watch(self.nodes[1], "pause")
        self.await_all(stream, n)
        holder = self.holder()
        self.assertIs(holder, self.nodes[0])
        began = time.monotonic()
        holder.process.send_signal(signal.SIGSTOP)
        try:
            until(lambda: sum(h for h in [int(metric(node, "hyprxa_leases_held"))
                                          for node in self.nodes[1:]]) == n, "takeover", 3 * TTL)
            self.await_progress(stream, 20)
        finally:
            holder.process.send_signal(signal.SIGCONT)
        silence = stream.longest_silence(began)
        print(f"SIGSTOP: silence of {silence:.2f} s", file=sys.stderr)
        self.await_progress(stream, 20)
        until(lambda: metric(holder, "hyprxa_leases_held") == 0, "the loser stops", 10)
        self.await_progress(first, 20)
        self.assert_whole(stream)
        self.assert_whole(first)  # it, too, gets what the other streams
        self.assertEqual(metric(holder, "hyprxa_leases_lost_total"), n)
        self.assertGreater(metric(holder, "hyprxa_source_dropped_total", "lease"), 0)

    def test_memcached_restart_leaves_each_series_with_one_node(self):
        n = 30
        for i, node in enumerate(self.nodes):
            self.unitop(f"u{i}", n)
        streams = [self.watch(node, f"u{i}") for i, node in enumerate(self.nodes)]
        across = [self.watch(node, f"u{i - 1 if i else 2}") for i, node in enumerate(self.nodes)]
        for stream in streams + across:
            self.await_all(stream, n)
        for _ in range(2):
            self.cluster.memcached.restart()
            for stream in streams + across:
                self.await_progress(stream, 40)
        for stream in streams + across:
            self.assert_whole(stream)
        self.assertEqual(self.held(), [n, n, n])
        self.assertEqual(self.dropped("duplicate"), 0)

    def test_paused_memcached_stops_no_stream(self):
        n = 10
        self.unitop("stuck", n)
        streams = [self.watch(node, "stuck") for node in self.nodes]
        for stream in streams:
            self.await_all(stream, n)
        held = self.held()
        self.cluster.memcached.pause()
        try:
            for stream in streams:
                self.await_progress(stream, int(2 * TTL / PERIOD))
        finally:
            self.cluster.memcached.resume()
        for stream in streams:
            self.await_progress(stream, int(2 * TTL / PERIOD))
            self.assert_whole(stream)
        self.assertEqual(self.held(), held)
        self.assertEqual(self.dropped("duplicate"), 0)

    def test_series_is_streamed_as_long_as_somebody_anywhere_watches(self):
        n = 5
        self.unitop("wanted", n)
        first = self.watch(self.nodes[0], "wanted")
        self.await_all(first, n)
        stream = self.watch(self.nodes[1], "wanted")
        self.await_all(stream, n)
        first.close()
        self.await_progress(stream, int(3 * TTL / PERIOD))
        self.assertEqual(self.held(), [n, 0, 0], "for the other node's sake")
        self.assert_whole(stream)
        stream.close()
        until(lambda: sum(self.held()) == 0, "nobody wants it any more", 5 * TTL)

    def test_rabbitmq_restart_brings_nothing_twice(self):
        n = 10
        self.unitop("broker", n)
        streams = [self.watch(node, "broker") for node in self.nodes]
        for stream in streams:
            self.await_all(stream, n)
        self.cluster.rabbitmq.kill()
        time.sleep(2)  # the outage itself
        self.cluster.rabbitmq.start()
        for stream in streams:
            self.await_progress(stream, 30, 60)
            self.assert_rises(stream)
        self.assertEqual(sum(self.held()), n)

    def test_rolling_restart_delivers_every_sample_once(self):
        n = 200
        self.unitop("rolling", n)
        streams = [self.watch(node, "rolling") for node in self.nodes]
        for stream in streams:
            self.await_all(stream, n, 60)
            self.await_progress(stream, 10)
        silences = []
        for i, node in enumerate(self.nodes):
            held = int(metric(node, "hyprxa_leases_held"))
            rest = [s for k, s in enumerate(streams) if k != i]
            before = time.monotonic()
            self.assertEqual(node.stop(30), 0)
            for stream in rest:
                self.await_progress(stream, 20, 60)
            silences.append((held, max(s.longest_silence(before) for s in rest)))
            streams[i].close()
            self.assert_whole(streams[i])
            node.start()
            streams[i] = self.watch(node, "rolling")
            self.await_all(streams[i], n, 60)
            self.await_progress(streams[i], 10, 60)
        for held, silence in silences:
            print(f"rolling restart: {held} leases handed over, silence of {silence:.2f} s",
                  file=sys.stderr)
        for stream in streams:
            self.assert_whole(stream)
            self.assertEqual(stream.gaps, [])
        self.assertEqual(self.dropped("duplicate"), 0, "two nodes streamed at a time")
        self.assertEqual(sum(self.held()), n)
        self.assertLess(max(s for _, s in silences), 2 * PATIENCE)


if __name__ == "__main__":
    main()
