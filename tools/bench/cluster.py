"""The bench's parts that need RabbitMQ and a MongoDB, each beside a bare loop of the client library.

Both servers are private ones of tools/services.  What stands for MongoDB is named in the table: where
there is no mongod it is FerretDB on SQLite, whose figures say nothing about MongoDB's own.
"""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "services"))
from services import Missing, MongoDB, RabbitMQ  # noqa: E402

BODY = '{"topic":"b","routing_key":"b.k","payload":{"level":3,"note":"abc"}}'
RATE = 200  # events a second while latency is measured


class Cluster:
    """`server`, `request`, `until`, `wrk`: what tools/bench/run has."""

    def __init__(self, bench, server, request, until, wrk):
        self.bench, self.server, self.request = bench, server, request
        self.until, self.wrk = until, wrk

    @contextlib.contextmanager
    def nodes(self, n, broker, exchange):
        """`n` nodes on one broker, each with storage of its own: what is measured is the way through
        the broker, not the database behind it."""
        env = {"RABBITMQ_CONNECTION_URI": broker.uri, "HYPRXA_CLUSTER": "single",
               "EVENTS_EXCHANGE": exchange,
               # A stream that lags skips nothing: all of it counts.
               "EVENTS_MAXLEN": "10000000", "HYPRXA_MAX_BACKLOG": "1GiB"}
        with contextlib.ExitStack() as stack:
            servers = [stack.enter_context(self.server(self.bench.build, env=env)) for _ in range(n)]
            for s in servers:
                self.request(s.port, "POST", "/topics/save", {"topic": "b", "jschema": {}})
            yield servers

    def listen(self, server, events, silence=30):
        client = subprocess.Popen(
            [self.bench.build / "bin/sse_client", "--port", str(server.port), "--path",
             "/events/b/stream", "--connections", "1", "--events", str(events), "--silence",
             str(silence)], stdout=subprocess.PIPE, text=True)
        assert client.stdout.readline().strip() == "ready"
        return client

    def counts(self, servers, name):
        return [self.bench.metric(s, name) for s in servers]

    def load(self, servers, seconds):
        """64 clients, spread over the nodes, publish as fast as they are answered."""
        script = servers[0].folder / "publish.lua"
        script.write_text('wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
                          f"wrk.body = '{BODY}'\n")
        threads = [threading.Thread(target=self.wrk, args=(
            s.port, "/events/publish", 64 // len(servers), seconds, script)) for s in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def throughput(self, servers, broker, seconds):
        """With a stream at each node: events a second from the first request to the last delivery; of
        those that waited for RabbitMQ, from its return to the last delivery; how many these were."""
        clients = [self.listen(s, 10 ** 9, 60) for s in servers]
        accepted, delivered = "hyprxa_events_accepted_total", "hyprxa_stream_deliveries_total"
        total = sum(self.counts(servers, accepted))
        before = self.counts(servers, delivered)

        def wait():
            """How many came since the last call, once all have come to each node."""
            nonlocal total, before
            def all_came():
                time.sleep(0.02)  # asking costs what is measured
                came = min(now - then for now, then in zip(self.counts(servers, delivered), before))
                return came >= sum(self.counts(servers, accepted)) - total
            self.until(all_came, "every event at every node", 60)
            count = sum(self.counts(servers, accepted)) - total
            total, before = total + count, self.counts(servers, delivered)
            return count
        began = time.monotonic()
        self.load(servers, seconds)
        end_to_end = wait() / (time.monotonic() - began)
        broker.pause()
        try:
            self.load(servers, seconds)
        finally:
            broker.resume()
        began = time.monotonic()
        count = wait()
        waited = count / (time.monotonic() - began)
        for client in clients:
            client.terminate()
            client.wait()
        return end_to_end, waited, int(count)

    def latency(self, servers, n):
        """Milliseconds from before the request at the first node to a stream of the last one."""
        client = self.listen(servers[-1], n)
        with socket.create_connection(("127.0.0.1", servers[0].port), 30) as c:
            c.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            began = time.monotonic()
            for i in range(n):
                time.sleep(max(0.0, began + i / RATE - time.monotonic()))
                body = {"topic": "b", "routing_key": "b.k", "payload": {"sent_ns": time.time_ns()}}
                assert self.request(servers[0].port, "POST", "/events/publish", body, c)[0] == 200
        return json.loads(client.communicate()[0])

    def bare(self, broker, messages, n, rate=0):
        done = subprocess.run([self.bench.build / "bin/amqp_loop", "127.0.0.1", str(broker.port),
                               str(messages), str(n), str(n), str(rate)], check=True,
                              capture_output=True, text=True)
        return json.loads(done.stdout)

    def events(self):
        seconds = 2 if self.bench.quick else 4
        with RabbitMQ() as broker:
            for n in (1, 2, 3):
                with self.nodes(n, broker, f"hyprxa.bench.{n}") as servers:
                    slow = self.latency(servers, 2 * RATE)
                    rate, waited, count = self.throughput(servers, broker, seconds)
                peer = self.bare(broker, count // n * n, n)
                peer_slow = self.bare(broker, 2 * RATE, n, RATE)
                self.bench.figure(f"cluster_{n}", {
                    "events_per_s": rate, "waited_per_s": waited, "bare_per_s": peer["per_s"],
                    "p50_ms": slow["p50_ms"], "p99_ms": slow["p99_ms"],
                    "bare_p50_ms": peer_slow["p50_ms"], "bare_p99_ms": peer_slow["p99_ms"]})
                self.bench.row(f"events/s, {n} node(s): request to stream", f"{rate:,.0f}",
                               f"rabbitmq-c {peer['per_s']:,.0f}",
                               self.bench.limit(rate / peer["per_s"], 0.7, least=True))
                self.bench.row("events/s of those that waited for RabbitMQ", f"{waited:,.0f}",
                               f"rabbitmq-c {peer['per_s']:,.0f}",
                               self.bench.limit(waited / peer["per_s"], 0.7, least=True))
                self.bench.row(f"latency p50/p99 at {RATE}/s, ms",
                               f"{slow['p50_ms']:.2f}/{slow['p99_ms']:.2f}",
                               f"rabbitmq-c {peer_slow['p50_ms']:.2f}/{peer_slow['p99_ms']:.2f}")

    def samples(self):
        total = 20_000 if self.bench.quick else 60_000
        conf = ("sources:\n  flood:\n    plugin: flood\n    record: all\n    options: "
                f"{{ series: 100, batches: 1000, total: {total} }}\n")
        with MongoDB() as database:
            loop = [str(self.bench.build / "bin/mongo_loop"), database.uri]

            def run(*more):
                return subprocess.run([*loop, *more], check=True, capture_output=True,
                                      text=True).stdout
            peer = json.loads(run(str(total)))["per_s"]
            env = {"MONGODB_CONNECTION_URI": database.uri, "TIMESERIES_DATABASE_NAME": "bench",
                   "TIMESERIES_COLLECTION_NAME": "ours", "TIMESERIES_EXPIRE_AFTER": "36500d"}
            began = time.monotonic()
            with self.server(self.bench.build, {"flood.yaml": conf},
                             self.bench.build / "tests/plugins", env) as s:
                def is_stored():
                    time.sleep(0.05)  # asking costs what is measured
                    return self.bench.metric(s, "hyprxa_storage_samples_total") >= total
                self.until(is_stored, "all samples in the database", 120)
                rate = total / (time.monotonic() - began)
                assert int(run()) == total
        self.bench.figure("mongodb", {"samples_per_s": rate, "bare_per_s": peer,
                                      "server": database.kind})
        self.bench.row(f"samples/s into {database.kind}", f"{rate:,.0f}",
                       f"mongoc {peer:,.0f} documents/s",
                       self.bench.limit(rate / peer, 0.8, least=True))


def measure(bench, **tools):
    cluster = Cluster(bench, **tools)
    for part in (cluster.events, cluster.samples):
        try:
            part()
        except Missing as missing:
            print(f"skipped: {missing}", file=sys.stderr)
