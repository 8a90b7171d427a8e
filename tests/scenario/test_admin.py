"""/admin/info as contract section 12 has it, field by field, and /metrics as OpenMetrics has it."""

import re
import unittest

from lib import openmetrics
from lib.client import with_query
from lib.server import BUILD, Server, until

QUOTED = 'the "big" \\one'
CONF = f"""
sources:
  host:
    plugin: host
    options: {{ interval: 50ms }}
  '{QUOTED}':
    plugin: host
    options: {{ interval: 50ms }}
  broken:
    plugin: {BUILD}/tests/plugins/create_fails.so
"""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?")


def time(value):
    return isinstance(value, str) and TIME.fullmatch(value)


def whole(value):
    return type(value) is int and value >= 0


def room(value):
    return type(value) is int and value >= -1  # -1: no limit


def boolean(value):
    return type(value) is bool


def text(value):
    return isinstance(value, str) and value


def status(value):
    return value in ("connected", "disconnected")


def one_of(name):
    return lambda value: value == name


# Each object's fields in order; a list stands for a list of such objects.
SUBSCRIBER = {"stopped": boolean, "created": time, "uptime": whole,
              "total_published_messages": whole, "total_subscriptions": whole}
WORKER = {"running": boolean, "stopped": boolean, "queue_length": whole,
          "pending_batch_length": whole, "pending_batch_size": whole}
STORAGE = {"created": time, "uptime": whole, "workers_used": whole, "worker": WORKER}
CONNECTION = {"name": text, "online": boolean, "created": time, "uptime": whole,
              "total_published_messages": whole, "total_subscriptions": whole}
INTEGRATION = {"name": text, "closed": boolean, "data_queue_size": whole,
               "dropped_connection_queue_size": whole, "created": time, "uptime": whole,
               "active_connections": whole, "active_subscriptions": whole,
               "subscription_capacity": room, "total_connections_serviced": whole,
               "connection_info": [CONNECTION]}
LOCK = {"name": one_of("SubscriptionLock"), "created": time, "uptime": whole}


def manager(name):
    return {"name": one_of(f"{name}Manager"), "closed": boolean, "status": status,
            "created": time, "uptime": whole, "active_subscribers": whole,
            "active_subscriptions": whole, "subscriber_capacity": whole,
            "total_subscribers_serviced": whole,
            "subscribers": [{"name": one_of(f"{name}Subscriber"), **SUBSCRIBER}]}


EVENTS = {**manager("Event"), "publish_buffer_size": whole, "storage_buffer_size": whole,
          "total_published": whole, "total_stored": whole, "storage": STORAGE}
SAMPLES = {**manager("Timeseries"), "source": text, "integration": INTEGRATION, "lock": LOCK,
           "storage_buffer_size": whole, "storage": STORAGE, "total_published": whole,
           "total_stored": whole}
# What we add, behind the contract's fields.
ADDED = {"dropped", "journal", "restarts", "abandoned", "stale", "leases"}


class Admin(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server({"all.yaml": CONF}, {"EVENTS_MAX_SUBSCRIBERS": "5",
                                                 "TIMESERIES_MAX_SUBSCRIBERS": "7"}).start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.server.post("/topics/save", {"topic": "t", "jschema": {}})
        cls.server.save_unitop("u", {"cpu": {"source": "host", "metric": "cpu.user"},
                                     "memory": {"source": "host", "metric": "memory.used"}})
        cls.server.save_unitop("q", {"cpu": {"source": QUOTED, "metric": "cpu.user"}})
        cls.server.save_unitop("b", {"x": {"source": "broken", "item": "x"}})

    def setUp(self):
        until(lambda: not any(m["active_subscribers"] for m in self.info()["info"]),
              "the streams of the test before to be gone")

    def publish(self, key, n):
        reply = self.server.post("/events/publish",
                                 {"topic": "t", "routing_key": key, "payload": {"n": n}})
        self.assertEqual(reply.status, 200, reply)

    def info(self):
        reply = self.server.get("/admin/info")
        self.assertEqual(reply.status, 200, reply)
        return reply.json()

    def check(self, value, shape, where):
        if isinstance(shape, list):
            self.assertIsInstance(value, list, where)
            for i, item in enumerate(value):
                self.check(item, shape[0], f"{where}[{i}]")
        elif isinstance(shape, dict):
            self.assertIsInstance(value, dict, where)
            self.assertEqual(list(value)[:len(shape)], list(shape), where)
            self.assertLessEqual(set(value) - set(shape), ADDED, where)
            for name in shape:
                self.check(value[name], shape[name], f"{where}.{name}")
        else:
            self.assertTrue(shape(value), f"{where}: {value!r}")

    def managers(self):
        """Source (None: events) -> its manager, each checked."""
        found = {}
        for i, entry in enumerate(self.info()["info"]):
            self.check(entry, SAMPLES if "source" in entry else EVENTS, f"info[{i}]")
            self.assertNotIn(entry.get("source"), found)
            found[entry.get("source")] = entry
        return found

    def test_every_field_of_managers_whose_streams_run(self):
        with self.server.stream("/events/t/stream?routingKey=a.$") as sse, \
                self.server.websocket("/events/t/ws?routingKey=b.$") as ws, \
                self.server.stream("/timeseries/u/stream") as sse_of_samples, \
                self.server.websocket("/timeseries/u/ws?dataItem=cpu") as ws_of_samples:
            for n in range(3):
                self.publish("a.x", n)
                self.publish("b.x", n)
                self.assertEqual(sse.next().json()["payload"], {"n": n})
                self.assertEqual(ws.next()["payload"], {"n": n})
            sse_of_samples.next()
            ws_of_samples.next()
            found = self.managers()
            body = self.info()
        self.assertEqual(body["status"], "ok")
        events, samples = found[None], found["host"]
        self.assertEqual((events["status"], events["closed"]), ("connected", False))
        self.assertEqual((events["active_subscribers"], events["subscriber_capacity"],
                          events["active_subscriptions"]), (2, 3, 2))
        self.assertGreaterEqual(events["total_subscribers_serviced"], 2)
        self.assertEqual([(s["total_published_messages"], s["total_subscriptions"])
                          for s in events["subscribers"]], [(3, 1), (3, 1)])
        self.assertGreaterEqual(events["total_published"], 6)
        self.assertGreaterEqual(events["total_stored"], 6)
        self.assertEqual((samples["active_subscribers"], samples["subscriber_capacity"],
                          samples["active_subscriptions"]), (2, 5, 2))
        self.assertEqual(sorted(s["total_subscriptions"] for s in samples["subscribers"]), [1, 2])
        self.assertTrue(all(s["total_published_messages"] for s in samples["subscribers"]))
        integration = samples["integration"]
        self.assertEqual((integration["name"], integration["closed"],
                          integration["active_subscriptions"]), ("host", False, 2))
        connections = integration["connection_info"]
        self.assertEqual(len(connections), integration["active_connections"])
        self.assertTrue(all(c["online"] for c in connections), connections)
        self.assertEqual(sum(c["total_subscriptions"] for c in connections), 2)
        self.assertGreater(samples["total_published"], 0)

    def test_the_two_kinds_of_managers_can_be_told_apart(self):
        with self.server.stream("/timeseries/u/stream"):
            found = self.managers()
        only_events = set(EVENTS) - set(SAMPLES)
        only_samples = set(SAMPLES) - set(EVENTS)
        self.assertEqual(only_events, {"publish_buffer_size"})
        self.assertFalse(only_samples & set(found[None]))
        self.assertFalse(only_events & set(found["host"]))

    def test_a_source_that_never_started_has_a_closed_integration(self):
        self.assertEqual(self.server.get("/timeseries/b/stream").status, 500)
        integration = self.managers()["broken"]["integration"]
        self.assertEqual((integration["closed"], integration["connection_info"]), (True, []))

    def test_the_limit_on_streams_of_samples_is_one_over_all_sources(self):
        with self.server.stream("/timeseries/u/stream"), \
                self.server.stream("/timeseries/q/stream") as at_q:
            found = self.managers()
            self.assertEqual([found[s]["active_subscribers"] for s in ("host", QUOTED)], [1, 1])
            self.assertEqual([found[s]["subscriber_capacity"] for s in ("host", QUOTED)], [5, 5])
            at_q.close()
            until(lambda: self.managers()["host"]["subscriber_capacity"] == 6, "a free place")

    def test_streams_that_end_leave_the_list(self):
        with self.server.stream("/events/t/stream"), self.server.websocket("/events/t/ws"):
            self.assertEqual(len(self.managers()[None]["subscribers"]), 2)
            self.assertEqual(self.managers()[None]["active_subscriptions"], 1)
        until(lambda: self.managers()[None]["subscribers"] == [], "an empty list")
        self.assertEqual(self.managers()[None]["subscriber_capacity"], 5)

    def metrics(self):
        reply = self.server.get("/metrics")
        self.assertEqual(reply.headers["content-type"],
                         "application/openmetrics-text; version=1.0.0; charset=utf-8")
        return openmetrics.parse(reply.body.decode())

    def test_metrics_keep_to_the_grammar(self):
        with self.server.stream("/timeseries/q/stream") as stream, \
                self.server.websocket("/events/t/ws"):
            stream.next()
            self.server.get("/nothing")
            before = self.metrics()
            self.publish("k", 1)
            after = self.metrics()
        self.assertTrue(all(f.help for f in after.values()))
        escaped = 'source="the \\"big\\" \\\\one"'
        samples = after["hyprxa_source_samples"].samples
        self.assertGreater(samples["hyprxa_source_samples_total", (escaped,)], 0)
        self.assertEqual(after["hyprxa"].type, "info")
        for name, family in before.items():
            if family.type == "counter":
                for key, value in family.samples.items():
                    self.assertGreaterEqual(after[name].samples[key], value, key)

    def test_metrics_agree_with_info(self):
        with self.server.stream("/events/t/stream"), \
                self.server.websocket("/timeseries/u/ws"), \
                self.server.stream(with_query("/timeseries/u/stream", dataItem="cpu")):
            families, found = self.metrics(), self.managers()
            for family, source in (("hyprxa_events_subscribers", None),
                                   ("hyprxa_timeseries_subscribers", "host")):
                self.assertEqual(families[family].samples[family, ()],
                                 found[source]["active_subscribers"])


if __name__ == "__main__":
    unittest.main()
