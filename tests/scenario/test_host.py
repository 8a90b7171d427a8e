"""The plugin host on this machine: live, recorded, and refused by name."""

import unittest

from lib.server import Server, until

CONF = """
sources:
  host:
    plugin: host
    record: [{ metric: load.1 }, { metric: memory.used }]
    options: { interval: 50ms }
"""


class Host(unittest.TestCase):
    def test_metrics_stream_live(self):
        with Server({"host.yaml": CONF}).start() as server:
            items = {"load": {"source": "host", "metric": "load.1"},
                     "idle": {"source": "host", "metric": "cpu.idle"}}
            server.save_unitop("machine", items)
            seen = {}
            with server.stream("/timeseries/machine/stream") as stream:
                while len(seen) < 2 or min(map(len, seen.values())) < 3:
                    message = stream.next().json()
                    metric = message["subscription"]["metric"]
                    seen.setdefault(metric, []).extend(message["items"])
            for samples in seen.values():
                times = [s["timestamp"] for s in samples]
                self.assertEqual(times, sorted(set(times)))
            for sample in seen["cpu.idle"]:
                self.assertTrue(0 <= sample["value"] <= 100, sample)

    def test_recorded_metrics_are_kept_with_nobody_watching_and_survive_kill_9(self):
        with Server({"host.yaml": CONF}).start() as server:
            server.save_unitop("machine", {"used": {"source": "host", "metric": "memory.used"}})
            # The newest are in memory only, for as long as a flush takes (half a second).
            kept = until(lambda: server.samples("machine", "used")[:-40], "samples of two seconds")
            server.kill()
            server.start()
            after = server.samples("machine", "used")
            self.assertLess({s["timestamp"] for s in kept}, {s["timestamp"] for s in after})
            rows = server.recorded("machine")
            self.assertEqual(rows[0], ["timestamp", "used"])
            self.assertTrue(all(int(used) > 0 for _, used in rows[1:]))
            self.assertEqual(server.stop(), 0)

    def test_a_metric_this_machine_lacks_is_refused_and_the_log_names_it(self):
        with Server({"host.yaml": CONF}).start() as server:
            server.save_unitop("machine",
                               {"gone": {"source": "host", "metric": "net.nosuch0.rx_bytes"}})
            reply = server.get("/timeseries/machine/stream")
            self.assertEqual(reply.status, 500, reply)
            until(lambda: "net.nosuch0.rx_bytes" in server.log(), "the log to name the metric")
            self.assertEqual(server.get("/health/ready").status, 200)


if __name__ == "__main__":
    unittest.main()
