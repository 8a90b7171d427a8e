"""Private RabbitMQ, Memcached and MongoDB-compatible servers, for tests and for trying out.

Each is a process of our own with a folder and ports of its own, so that nothing on the machine is
touched and several sets run side by side.  `stop` ends exactly what `start` began.  The classes also
do to a server what tests of faults need: kill, pause, resume, start again on the same port and data.

    with RabbitMQ() as broker:
        print(broker.uri)

`Missing` is raised where a server cannot be had; it says what would bring it.
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
# Programs that had to be built, kept from run to run.
CACHE = pathlib.Path(os.environ.get("HYPRXA_SERVICES_CACHE", ROOT / "build" / "services"))


class Missing(Exception):
    """The service cannot be had here."""


def free_ports(count):
    output = subprocess.run([HERE / "port", str(count)], check=True, capture_output=True, text=True)
    return [int(line) for line in output.stdout.split()]


def program(*names):
    """The first of `names` that is there; each a command or an absolute path."""
    for name in names:
        path = shutil.which(name)
        if path:
            return path
    return None


class Certificates:
    """A certificate authority of its own, in `folder`, and what it signed: one for `localhost`."""

    def __init__(self, folder, host="localhost"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.ca, self.certificate, self.key = (self.folder / name for name in
                                               ("ca.pem", "certificate.pem", "key.pem"))
        if not program("openssl"):
            raise Missing("openssl is not installed (apt-get install openssl)")
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
                      "/CN=hyprxa test CA", "-keyout", "ca.key", "-out", self.ca)
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={host}", "-keyout",
                      self.key, "-out", "request.pem")
        (self.folder / "extensions").write_text(f"subjectAltName=DNS:{host}\n")
        self._openssl("x509", "-req", "-in", "request.pem", "-CA", self.ca, "-CAkey", "ca.key",
                      "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out",
                      self.certificate)

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *(str(a) for a in arguments)], cwd=self.folder, check=True,
                       capture_output=True, timeout=60)


class Service:
    """What the three have in common."""

    name = variable = ""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"hyprxa-{self.name}-"))
        self.process = None
        self.ports = free_ports(self.n_ports)

    n_ports = 1
    start_seconds = 60

    @property
    def port(self):
        return self.ports[0]

    @property
    def log(self):
        return self.folder / "log"

    # --- each service's own ---

    def command(self):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def is_ready(self):
        """Does it answer in its own protocol?"""
        raise NotImplementedError

    # --- life ---

    def start(self):
        assert self.process is None, f"{self.name} runs already"
        with open(self.log, "ab") as log:
            # A group of its own: signals reach the processes it starts, and nothing else.
            self.process = subprocess.Popen(self.command(), cwd=self.folder, env=self.environment(),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            start_new_session=True)
        deadline = time.monotonic() + self.start_seconds
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = self.log.read_text(errors="replace")[-4000:]
                self.kill()
                raise RuntimeError(f"{self.name} did not start:\n{text}")
            time.sleep(0.05)
        return self

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def pause(self):
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """kill -9, with everything it started."""
        if self.process is None:
            return
        try:
            self.signal(signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.process = None

    def stop(self, seconds=20):
        if self.process is None:
            return
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def restart(self):
        self.stop()
        return self.start()

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.stop()
        self.remove()

    def exchange(self, data, n):
        """Send `data` to the port; up to `n` bytes of what comes back, b"" where nobody answers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 2) as s:
                s.sendall(data)
                return s.recv(n)
        except OSError:
            return b""


class Memcached(Service):
    name = "memcached"
    variable = "MEMCACHED_TEST_URI"

    @property
    def uri(self):
        return f"memcached://127.0.0.1:{self.port}"

    def command(self):
        path = program("memcached", "/usr/bin/memcached")
        if not path:
            raise Missing("memcached is not installed (apt-get install memcached)")
        # As root it insists on giving up its rights to somebody.
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        return [path, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64", *user]

    def is_ready(self):
        return self.exchange(b"version\r\n", 64).startswith(b"VERSION")


class RabbitMQ(Service):
    """A node by itself: its own home, cookie, epmd, database and log."""

    name = "rabbitmq"
    variable = "RABBITMQ_TEST_URI"
    n_ports = 4  # AMQP, epmd, Erlang's distribution, AMQP over TLS

    def __init__(self, certificates=None, ask_clients=False):
        """`certificates`: listen for TLS, too; `ask_clients`: it takes only clients of the same CA."""
        super().__init__()
        self.certificates, self.ask_clients = certificates, ask_clients

    @property
    def uri(self):
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def tls_uri(self):
        return f"amqps://guest:guest@localhost:{self.ports[3]}/"

    def tls_configuration(self):
        if not self.certificates:
            return ""
        return (f"listeners.ssl.1 = 127.0.0.1:{self.ports[3]}\n"
                f"ssl_options.cacertfile = {self.certificates.ca}\n"
                f"ssl_options.certfile = {self.certificates.certificate}\n"
                f"ssl_options.keyfile = {self.certificates.key}\n"
                f"ssl_options.verify = {'verify_peer' if self.ask_clients else 'verify_none'}\n"
                f"ssl_options.fail_if_no_peer_cert = {str(self.ask_clients).lower()}\n")

    def command(self):
        path = program("/usr/lib/rabbitmq/bin/rabbitmq-server")
        if not path:
            raise Missing("rabbitmq-server is not installed (apt-get install rabbitmq-server)")
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users.guest = true\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
            "disk_free_limit.absolute = 50MB\n" + self.tls_configuration())
        return [path]

    def environment(self):
        folder = str(self.folder)
        return dict(
            os.environ, HOME=folder, RABBITMQ_NODENAME=f"hyprxa{self.port}@localhost",
            RABBITMQ_BASE=folder, RABBITMQ_MNESIA_BASE=f"{folder}/mnesia",
            RABBITMQ_LOG_BASE=f"{folder}/logs", RABBITMQ_CONFIG_FILE=f"{folder}/rabbitmq",
            RABBITMQ_CONF_ENV_FILE=f"{folder}/none", RABBITMQ_ENABLED_PLUGINS_FILE=f"{folder}/plugins",
            RABBITMQ_NODE_PORT=str(self.port), RABBITMQ_DIST_PORT=str(self.ports[2]),
            RABBITMQ_NODE_IP_ADDRESS="127.0.0.1", RABBITMQ_PID_FILE=f"{folder}/pid",
            RABBITMQ_GENERATED_CONFIG_DIR=f"{folder}/generated",
            # Its own name service, which would otherwise stay behind: it ends with the group.
            ERL_EPMD_PORT=str(self.ports[1]), ERL_EPMD_ADDRESS="127.0.0.1",
            # Two schedulers do for a test, and leave the machine to what is tested.
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none")

    def is_ready(self):
        # The server speaks first only after a header it does not know: then it names its version.
        return self.exchange(b"AMQP\x00\x00\x00\x00", 8) == b"AMQP\x00\x00\x09\x01"

    def kill(self):
        super().kill()
        self._end_epmd()

    def _end_epmd(self):
        """epmd makes itself a daemon with a session of its own: found by the port that only it has."""
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if (entry / "comm").read_text().strip() == "epmd" and \
                        f"ERL_EPMD_PORT={self.ports[1]}".encode() in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue


class MongoDB(Service):
    """mongod where there is one (as a replica set of one), else FerretDB, built from mongodb/."""

    name = "mongodb"
    variable = "MONGODB_TEST_URI"

    def __init__(self):
        super().__init__()
        self.mongod = program("mongod")

    @property
    def kind(self):
        return "mongod" if self.mongod else "ferretdb"

    @property
    def uri(self):
        options = "?replicaSet=hyprxa" if self.mongod else ""
        return f"mongodb://127.0.0.1:{self.port}/{options}"

    def command(self):
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        if self.mongod:
            return [self.mongod, "--dbpath", str(data), "--port", str(self.port), "--bind_ip", "127.0.0.1",
                    "--replSet", "hyprxa"]
        return [self.ferretdb(), "-listen", f"127.0.0.1:{self.port}", "-dir", str(data)]

    @staticmethod
    def ferretdb():
        """The program, built once (a minute or two)."""
        source, target = HERE / "mongodb", CACHE / "ferretdb"
        if target.exists() and all(target.stat().st_mtime > f.stat().st_mtime for f in source.iterdir()):
            return str(target)
        go = program("go", "/usr/local/go/bin/go")
        if not go:
            raise Missing("there is no mongod, and no Go 1.22 to build FerretDB with")
        CACHE.mkdir(parents=True, exist_ok=True)
        print("tools/services: building FerretDB", file=sys.stderr, flush=True)
        built = subprocess.run([go, "build", "-o", target, "."], cwd=source, text=True,
                               capture_output=True, env=dict(os.environ, GOFLAGS="-mod=readonly"))
        if built.returncode:
            raise Missing(f"FerretDB could not be built:\n{built.stderr[-2000:]}")
        return str(target)

    def is_ready(self):
        # OP_MSG {ping: 1, $db: "admin"}
        document = b"\x10ping\x00\x01\x00\x00\x00\x02$db\x00\x06\x00\x00\x00admin\x00\x00"
        body = b"\x00\x00\x00\x00\x00" + (len(document) + 4).to_bytes(4, "little") + document
        head = (len(body) + 16).to_bytes(4, "little") + b"\x01\x00\x00\x00\x00\x00\x00\x00\xdd\x07\x00\x00"
        return len(self.exchange(head + body, 16)) == 16

    def start(self):
        super().start()
        if self.mongod and not (self.folder / "initiated").exists():
            self._initiate()
        return self

    def _initiate(self):
        shell = program("mongosh", "mongo")
        if not shell:
            raise Missing("mongod is there, but neither mongosh nor mongo to make it a replica set")
        subprocess.run([shell, "--quiet", "--port", str(self.port), "--eval",
                        "rs.initiate({_id: 'hyprxa', members: [{_id: 0, host: '127.0.0.1:%d'}]}); "
                        "while (!db.hello().isWritablePrimary) sleep(50)" % self.port],
                       check=True, capture_output=True, timeout=60)
        (self.folder / "initiated").touch()


SERVICES = {service.name: service for service in (RabbitMQ, Memcached, MongoDB)}
