"""A hyprxad of the test's own: free port, temporary folders, stopped or killed as the test likes."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lib import client

ROOT = Path(__file__).resolve().parents[3]
BUILD = Path(os.environ.get("HYPRXA_BUILD", ROOT / "build"))
PROGRAM = Path(os.environ.get("HYPRXAD", BUILD / "bin" / "hyprxad"))
PLUGINS = Path(os.environ.get("HYPRXA_TEST_PLUGINS", BUILD / "plugins"))

# Sanitizers slow the server down; deadlines are for hangs, not for speed.
PATIENCE = float(os.environ.get("HYPRXA_TEST_PATIENCE", "1"))


def free_port():
    """A port nobody listens on, below the ephemeral ones (those can connect to themselves)."""
    for _ in range(1000):
        port = random.randrange(10000, 32000)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port between 10000 and 32000")


def until(condition, what, seconds=10.0, pause=0.02):
    """Poll `condition` until it gives something true, and return that."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds * PATIENCE:g} s in vain: {what}")
        time.sleep(pause)


class Server:
    """Use as a context manager; `start` again after `kill` or `stop` keeps the data folder."""

    def __init__(self, conf=None, env=None, flags=()):
        """`conf`: name of a file in conf.d -> its text."""
        self.folder = Path(tempfile.mkdtemp(prefix="hyprxa-scenario-"))
        self.data_dir = self.folder / "data"
        self.conf_dir = self.folder / "conf.d"
        self.conf_dir.mkdir()
        for name, text in (conf or {}).items():
            (self.conf_dir / name).write_text(text)
        self.flags = list(flags)
        self.env = dict(os.environ, **(env or {}))
        self.port = free_port()
        self.log_path = self.folder / "log"
        self.process = None

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    # --- life ---

    def start(self, path="/health/ready"):
        """`path`: what must answer 200; `/health/live` where a back end is away."""
        assert self.process is None, "the server runs already"
        command = [PROGRAM, "--conf-dir", self.conf_dir, "--plugin-dir", PLUGINS,
                   "--data-dir", self.data_dir, "--listen", f"127.0.0.1:{self.port}", *self.flags]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(c) for c in command], env=self.env,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: self._answers(path), path, seconds=20)
        return self

    def _answers(self, path):
        if self.process.poll() is not None:
            code, self.process = self.process.returncode, None
            raise AssertionError(f"hyprxad ended with {code} before it was ready:\n{self.log()}")
        try:
            return self.get(path).status == 200
        except OSError:
            return False

    def kill(self):
        """kill -9: nothing is flushed, nothing is said."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process = None

    def stop(self, seconds=10.0):
        """SIGTERM, and the exit code."""
        self._insist_on_declared()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"hyprxad did not end within {seconds:g} s of SIGTERM") from None
        self.process = None
        return code

    def __enter__(self):
        return self

    def _insist_on_declared(self):
        """Every parameter and status that a route used stands in its row (core/http/route.h)."""
        undeclared = re.search(r'"[^"]*, which it does not declare[^"]*"', self._whole_log())
        assert not undeclared, undeclared.group()

    def __exit__(self, kind, error, trace):
        if self.process is not None:
            self.kill()
        if error is not None:
            print(f"--- log of the server ---\n{self.log()}", file=sys.stderr)
        try:
            self._insist_on_declared()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        """What it wrote so far, the last 20 KB."""
        return self._whole_log()[-20000:]

    def _whole_log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    # --- requests ---

    def request(self, method, path, body=None, headers=None):
        return client.request(self.address, method, path, body, headers)

    def get(self, path, headers=None):
        return self.request("GET", path, headers=headers)

    def post(self, path, body=None):
        return self.request("POST", path, body)

    def stream(self, path, headers=None):
        return client.EventStream(self.address, path, headers)

    def metric(self, name):
        """A sample of /metrics without labels."""
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
        raise AssertionError(f"no metric {name}")

    def websocket(self, path, headers=None, **options):
        return client.WebSocket(self.address, path, headers, **options)

    # --- unitops ---

    def save_unitop(self, name, items):
        """`items`: data item -> subscription."""
        reply = self.post("/unitops/save", {"name": name, "data_mapping": items, "meta": {}})
        assert reply.status == 200, reply
        assert reply.json() == {"status": "OK"}, reply

    def recorded(self, unitop, start="2000-01-01", end="2100-01-01", **query):
        """The rows of /timeseries/{unitop}/recorded as lists of texts, the header first."""
        path = client.with_query(f"/timeseries/{unitop}/recorded",
                                 startTime=start, endTime=end, **query)
        reply = self.get(path, {"Accept": "text/csv"})
        assert reply.status == 200, reply
        return reply.csv()

    def samples(self, unitop, item, start="2000-01-01", end="2100-01-01", **query):
        path = client.with_query(f"/timeseries/{unitop}/samples", dataItem=item,
                                 startTime=start, endTime=end, **query)
        reply = self.get(path)
        assert reply.status == 200, reply
        return reply.json()["items"]


def serve(test, env=None, conf=None, settings=None):
    """A running server until the test, or the class of tests, is over; `settings`: its settings file."""
    server = Server(conf, env)
    add_cleanup = getattr(test, "addClassCleanup" if isinstance(test, type) else "addCleanup")
    add_cleanup(server.__exit__, None, None, None)
    if settings:
        path = server.folder / "hyprxa.yaml"
        path.write_text(settings)
        server.flags += ["--config", path]
    return server.start()
