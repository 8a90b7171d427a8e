"""tools/deploy: what is installed, the unit and its protocol, the image's list, the balancer."""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

from lib.server import BUILD, PATIENCE, ROOT, Server, serve, until

DEPLOY = ROOT / "tools" / "deploy"


def needs(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    return unittest.skipUnless(path, f"there is no {program}")


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120,
                          **options)


class Installed(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = pathlib.Path(folder.name)
        done = run("cmake", "--install", BUILD, env=dict(os.environ, DESTDIR=str(cls.root)))
        assert done.returncode == 0, done.stderr
        (cls.unit,) = cls.root.rglob("hyprxad.service")

    def test_unit_names_what_is_installed(self):
        text = self.unit.read_text()
        for path in re.findall(r"^(?:ExecStart|ExecStartPre|EnvironmentFile|Documentation)=(?:-|file:)?(/\S+)",
                               text, re.M):
            self.assertTrue((self.root / path.lstrip("/")).exists(), path)
        self.assertNotIn("@HYPRXA", text)
        (env,) = self.root.rglob("hyprxad.env")
        self.assertEqual(env.stat().st_mode & 0o777, 0o600, "it will hold passwords")

    def test_installed_server_starts_and_finds_its_parts(self):
        (program,) = self.root.rglob("bin/hyprxad")
        done = run(program, "--version")
        self.assertEqual(done.returncode, 0, done.stderr)
        (plugins,) = {p.parent for p in self.root.rglob("plugins/host.so")}
        conf = self.root / "conf.d"
        conf.mkdir()
        (conf / "host.yaml").write_text((ROOT / "conf.d" / "host.yaml").read_text())
        done = run(program, "--check", "--conf-dir", conf, "--plugin-dir", plugins)
        self.assertEqual(done.returncode, 0, done.stderr)

    @needs("systemd-analyze")
    def test_systemd_accepts_every_line_of_the_unit(self):
        # Beside its program alone: what else stands in the image is not the unit's matter.
        done = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no",
                   f"--root={self.root}", "/" + str(self.unit.relative_to(self.root)))
        ours = [line for line in done.stderr.splitlines() if "hyprxad.service" in line]
        self.assertEqual((done.returncode, ours), (0, []), done.stderr)

    @needs("systemd-analyze")
    def test_unit_gives_up_what_it_does_not_need(self):
        done = run("systemd-analyze", "security", "--offline=true", "--threshold=25", self.unit)
        self.assertEqual(done.returncode, 0, done.stdout[-3000:] + done.stderr)

    @needs("dpkg-query")
    @needs("readelf")
    def test_image_has_every_library_that_is_linked(self):
        needed = set()
        for path in self.root.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.open("rb").read(4) == b"\x7fELF":
                needed |= set(re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", path).stdout))
        needed = {name for name in needed if not name.startswith("libhyprxa")}
        packages = set()
        for name in needed:
            found = run("dpkg-query", "-S", f"*/{name}").stdout
            packages.add(found.split(":")[0])
        packages = {p for p in packages if not re.match("libc6|libgcc", p)}  # of every image
        text = (DEPLOY / "Dockerfile").read_text().split("FROM debian:12-slim\n")[-1]
        listed = set(re.findall(r"\blib[a-z0-9.+-]+", text))
        if not any(p.startswith("libasan") or p.startswith("libtsan") for p in packages):
            self.assertLessEqual(packages, listed)


class Notified(unittest.TestCase):
    """What a service manager hears."""

    def start(self, **env):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "notify")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(path)
        self.manager.settimeout(20 * PATIENCE)
        return serve(self, env=dict(env, NOTIFY_SOCKET=path))

    def hear(self):
        return dict(line.split("=", 1) for line in self.manager.recv(4096).decode().splitlines())

    def hear_until(self, key):
        while True:
            state = self.hear()
            if key in state:
                return state

    def test_ready_is_said_when_it_serves_and_stopping_when_it_stops(self):
        server = self.start()
        ready = self.hear()
        self.assertEqual((ready["READY"], ready["STATUS"]), ("1", "Serving"))
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.hear()["STOPPING"], "1")
        self.assertEqual(server.process.wait(20 * PATIENCE), 0)
        self.assertLess(time.monotonic() - started, 45, "TimeoutStopSec of the unit")
        server.process = None

    def test_a_server_that_cannot_start_is_never_ready(self):
        with self.assertRaises(AssertionError):
            self.start(HYPRXA_STORAGE="sqlite:///nowhere/at/all.db")
        self.manager.settimeout(0.2)
        self.assertRaises(OSError, self.manager.recv, 4096)

    def test_watchdog_hears_signs_of_life_twice_a_period(self):
        server = self.start(WATCHDOG_USEC=str(int(1e6 * PATIENCE)))
        self.hear_until("WATCHDOG")
        begun = time.monotonic()
        for _ in range(4):
            self.assertEqual(self.hear_until("WATCHDOG")["WATCHDOG"], "1")
        self.assertGreater(time.monotonic() - begun, 1.2 * PATIENCE, "too often")
        self.assertEqual(server.stop(), 0)


@needs("haproxy")
class Balanced(unittest.TestCase):
    """tools/deploy/haproxy.cfg in front of two nodes, each by itself."""

    HOST = "sources:\n  host:\n    plugin: host\n    options: {interval: 100ms}\n"

    @classmethod
    def setUpClass(cls):
        cls.nodes = [serve(cls, conf={"host.yaml": cls.HOST}, env={"HYPRXA_HEARTBEAT": "1"})
                     for _ in range(2)]
        cls.front = Balancer(*cls.nodes)
        cls.addClassCleanup(cls.front.close)
        for node in cls.nodes:
            node.post("/topics/save", {"topic": "balanced", "jschema": {"type": "object"}})

    def publish(self, n):
        for node in self.nodes:
            reply = node.post("/events/publish", {"topic": "balanced", "payload": {"n": n}})
            self.assertEqual(reply.status, 200, reply)

    def test_a_stream_passes_event_by_event(self):
        with self.front.stream("/events/balanced/stream") as stream:
            for n in range(3):
                self.publish(n)  # and the next only when this one has come
                self.assertEqual(stream.next().json()["payload"]["n"], n)

    def test_a_burst_keeps_its_chunks(self):
        # The client insists on one event in each; nothing is read until all have come.
        with self.front.stream("/events/balanced/stream") as stream:
            for n in range(50):
                self.publish(n)
            self.assertEqual([stream.next().json()["payload"]["n"] for _ in range(50)],
                             list(range(50)))

    def test_a_websocket_passes_message_by_message(self):
        with self.front.websocket("/events/balanced/ws") as ws:
            for n in range(3):
                self.publish(n)
                self.assertEqual(ws.next()["payload"]["n"], n)

    def test_a_silent_stream_outlives_the_timeouts(self):
        # They are 3 s here, a heartbeat comes every second.
        with self.front.stream("/events/balanced/stream") as stream, \
                self.front.websocket("/events/balanced/ws") as ws:
            for _ in range(5):
                opcode, payload = ws.frame()
                self.assertEqual(opcode, ws.PING)
                ws.send(ws.PONG, payload)
            self.publish(9)
            self.assertEqual(stream.next().json()["payload"]["n"], 9)
            self.assertEqual(ws.next()["payload"]["n"], 9)
            self.assertGreaterEqual(len(stream.comments), 4)

    def test_requests_go_on_when_a_node_dies_and_come_back_to_it(self):
        a, b = self.nodes
        a.kill()
        try:
            for _ in range(20):
                self.assertEqual(self.front.get("/health/live").status, 200)
        finally:
            a.start()
        b.kill()
        try:
            until(lambda: self.front.get("/health/ready").status == 200, "the first node again", 20)
        finally:
            b.start()


class Balancer(Server):
    """HAProxy with our file; its timeouts are cut so that a test can outlive them."""

    def __init__(self, a, b):
        super().__init__()
        text = (DEPLOY / "haproxy.cfg").read_text()
        text = re.sub(r"(timeout (?:client|server)) 60s", r"\1 3s", text)
        (self.folder / "haproxy.cfg").write_text(text)
        env = dict(os.environ, LISTEN=f"127.0.0.1:{self.port}",
                   NODE_A="%s:%d" % a.address, NODE_B="%s:%d" % b.address,
                   PATH=os.environ.get("PATH", "") + ":/usr/sbin")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(["haproxy", "-db", "-f", self.folder / "haproxy.cfg"],
                                            env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self._answers("/health/ready"), "the balancer", 20)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.process = None
        shutil.rmtree(self.folder)


class Compose(unittest.TestCase):
    def test_compose_file_is_accepted(self):
        for command in (["docker", "compose"], ["docker-compose"]):
            if shutil.which(command[0]) and run(*command, "version").returncode == 0:
                done = run(*command, "-f", DEPLOY / "compose.yaml", "config", "--quiet")
                self.assertEqual(done.returncode, 0, done.stderr)
                return
        self.skipTest("there is no docker compose")

    def test_only_the_balancer_is_reachable_and_from_loopback_only(self):
        text = (DEPLOY / "compose.yaml").read_text()
        self.assertEqual(re.findall(r"ports: (.*)", text), ['["127.0.0.1:8000:8000"]'])
        self.assertIn("internal: {internal: true}", text)


if __name__ == "__main__":
    unittest.main()
