"""What the operator or a plugin's author got wrong: said with its place, and the others run on."""

import subprocess
import unittest

from lib.server import BUILD, PLUGINS, PROGRAM, Server, until

GOOD = "sources:\n  good:\n    plugin: host\n    options: { interval: 100ms }\n" \
       "    record: [{ metric: load.1 }]\n"
RECORD = "    record: [{ item: \"1\" }]\n"
FIXTURES = BUILD / "tests" / "plugins"


def source(plugin, rest=""):
    return f"sources:\n  bad:\n    plugin: {plugin}\n{rest}"


class Check(unittest.TestCase):
    def check(self, conf, *expected, env=None):
        with Server({"bad.yaml": conf}, env) as server:
            done = subprocess.run([PROGRAM, "--check", "--conf-dir", server.conf_dir,
                                   "--plugin-dir", PLUGINS, "--data-dir", server.data_dir],
                                  capture_output=True, text=True, env=server.env)
            self.assertEqual(done.returncode, 78, done.stderr)
            for text in expected:
                self.assertIn(text, done.stderr)
            self.assertFalse(server.data_dir.exists(), "--check must start nothing")

    def test_unknown_key(self):
        self.check(source("host", "    optoins: {}\n"), "bad.yaml:4:", "optoins")

    def test_wrong_type(self):
        self.check(source("host", "    enabled: 3\n"), "bad.yaml:4:", "boolean")

    def test_not_yaml(self):
        self.check("sources: [\n", "bad.yaml:")

    def test_duplicate_key(self):
        self.check("sources:\n  a: {plugin: host}\n  a: {plugin: host}\n", "bad.yaml:3:", "a")

    def test_unset_variable(self):
        self.check(source("host", "    options: { interval: \"${NO_SUCH_VARIABLE}\" }\n"),
                   "bad.yaml:4:", "NO_SUCH_VARIABLE")

    def test_missing_plugin(self):
        self.check(source("nosuch"), "bad.yaml:3:", "nosuch")

    def test_bad_option(self):
        self.check(source("host", "    options: { interval: soon }\n"), "bad.yaml:4:", "soon")
        self.check(source("host", "    options: { speed: 1 }\n"), "bad.yaml:4:", "speed")

    def test_bad_recorded_subscription(self):
        self.check(source("host", "    record: [{ metric: 3 }]\n"), "bad.yaml:4:", "record")

    def test_wrong_abi_and_missing_symbol(self):
        self.check(source(FIXTURES / "wrong_major.so"), "bad.yaml:3:", "ABI")
        self.check(source(FIXTURES / "no_symbol.so"), "bad.yaml:3:", "hyprxa_plugin_v1")
        self.check(source(FIXTURES / "short_struct.so"), "bad.yaml:3:")
        self.check(source(FIXTURES / "bad_schema.so"), "bad.yaml:3:", "schema")

    def test_bad_setting(self):
        self.check(GOOD, "EVENTS_MAXLEN", env={"EVENTS_MAXLEN": "-1"})

    def test_listening_beyond_loopback_needs_consent(self):
        self.check(GOOD, "--allow-plain", env={"HYPRXA_LISTEN": '["0.0.0.0:8123"]'})


class OthersRunOn(unittest.TestCase):
    """A bad source is reported; the good one streams."""

    def run_beside(self, conf, *expected, flags=(), stop_seconds=6):
        with Server({"a_bad.yaml": conf, "good.yaml": GOOD}, flags=flags) as server:
            server.start()
            until(lambda: all(text in server.log() for text in expected), expected)
            server.save_unitop("u", {"load": {"source": "good", "metric": "load.1"}})
            with server.stream("/timeseries/u/stream") as stream:
                stream.next()
            self.assertEqual(server.stop(stop_seconds), 0)
            return server

    def test_unknown_key(self):
        self.run_beside(source("host", "    optoins: {}\n"), "a_bad.yaml:4:", "optoins")

    def test_missing_plugin(self):
        self.run_beside(source("nosuch"), "a_bad.yaml:3:", "nosuch")

    def test_create_fails(self):
        self.run_beside(source(FIXTURES / "create_fails.so", "    record: all\n"), "bad",
                        "could not be started")

    def test_unordered_samples_are_refused_and_counted(self):
        with Server({"bad.yaml": source(FIXTURES / "unordered.so", RECORD),
                     "good.yaml": GOOD}) as server:
            server.start()

            def refused():
                for line in server.get("/metrics").body.decode().splitlines():
                    if line.startswith('hyprxa_source_dropped_total{source="bad",reason="order"}'):
                        return float(line.split()[-1]) > 0
            until(refused, "refused samples in /metrics")

    def test_plugin_that_never_stops(self):
        self.run_beside(source(FIXTURES / "stuck.so", RECORD), stop_seconds=5)


if __name__ == "__main__":
    unittest.main()
