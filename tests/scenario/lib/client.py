"""HTTP over a bare socket: sees every byte, repairs nothing, and gives up after a deadline."""

import csv
import io
import json
import os
import socket
import time
from urllib.parse import urlencode

PATIENCE = float(os.environ.get("HYPRXA_TEST_PATIENCE", "1"))
SECONDS = 10.0 * PATIENCE  # for one reply, or for silence on a stream


class ProtocolError(AssertionError):
    """The peer broke HTTP or SSE."""


def with_query(path, **query):
    """`path` with its query; a list repeats its key, None leaves it out."""
    pairs = [(key, value) for key, value in query.items() if value is not None]
    return f"{path}?{urlencode(pairs, doseq=True)}" if pairs else path


class Wire:
    """A connection, read by lines and lengths."""

    def __init__(self, address, seconds=SECONDS):
        self.socket = socket.create_connection(address, seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _more(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError("the peer closed the connection")
        self.rest += data

    def line(self):
        while b"\r\n" not in self.rest:
            if len(self.rest) > 65536:
                raise ProtocolError("a line of more than 64 KiB")
            self._more()
        line, self.rest = self.rest.split(b"\r\n", 1)
        return line

    def exactly(self, n):
        while len(self.rest) < n:
            self._more()
        data, self.rest = self.rest[:n], self.rest[n:]
        return data

    def to_end(self):
        try:
            while True:
                self._more()
        except EOFError:
            data, self.rest = self.rest, b""
            return data

    def head(self):
        """Status and headers of a reply."""
        version, status, *_ = self.line().split(b" ", 2)
        if not version.startswith(b"HTTP/1."):
            raise ProtocolError(f"not HTTP: {version!r}")
        headers = []
        while True:
            line = self.line()
            if not line:
                return int(status), headers
            name, colon, value = line.partition(b":")
            if not colon:
                raise ProtocolError(f"not a header: {line!r}")
            headers.append((name.decode().lower(), value.strip().decode("latin-1")))

    def chunk(self):
        """The bytes of one chunk; empty: the last one."""
        size = int(self.line().split(b";")[0], 16)
        data = self.exactly(size)
        if self.line() != b"":
            raise ProtocolError("a chunk does not end with CRLF")
        return data


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = dict(headers)
        self.header_list = headers
        self.body = body

    def json(self):
        return json.loads(self.body)

    def csv(self):
        return list(csv.reader(io.StringIO(self.body.decode(), newline="")))

    def __repr__(self):
        return f"<{self.status} {self.body[:500]!r}>"


def read_reply(wire, method):
    status, headers = wire.head()
    named = dict(headers)
    if method == "HEAD" or status in (204, 304):
        body = b""
    elif named.get("transfer-encoding", "").lower() == "chunked":
        chunks = []
        while chunk := wire.chunk():
            chunks.append(chunk)
        body = b"".join(chunks)
    elif "content-length" in named:
        body = wire.exactly(int(named["content-length"]))
    else:
        body = wire.to_end()
    return Reply(status, headers, body)


def request(address, method, path, body=None, headers=None):
    """One request on a connection of its own.  A `body` that is not bytes is sent as JSON."""
    lines = {"Host": f"{address[0]}:{address[1]}", "Connection": "close"}
    if body is not None:
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            lines["Content-Type"] = "application/json"
        lines["Content-Length"] = str(len(body))
    lines.update(headers or {})
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
    wire = Wire(address)
    try:
        wire.send(head.encode() + b"\r\n" + (body or b""))
        return read_reply(wire, method)
    finally:
        wire.close()


class Event:
    def __init__(self, name, text, id):
        self.name = name  # None: an ordinary message
        self.text = text
        self.id = id

    def json(self):
        return json.loads(self.text)

    def __repr__(self):
        return f"<event {self.name or 'message'} {self.text[:300]}>"


class EventStream:
    """An SSE stream.  Insists on exactly one event or comment per chunk: a client depends on it."""

    def __init__(self, address, path, headers=None):
        self.comments = []
        self.wire = Wire(address)
        lines = {"Host": f"{address[0]}:{address[1]}", "Accept": "text/event-stream"}
        lines.update(headers or {})
        head = f"GET {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        self.wire.send(head.encode() + b"\r\n")
        self.status, header_list = self.wire.head()
        self.headers = dict(header_list)
        if self.status != 200:
            length = int(self.headers.get("content-length", "0"))
            body = self.wire.exactly(length)
            self.wire.close()
            raise AssertionError(f"{path} answered {self.status} {body!r}")
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            raise ProtocolError(f"not a stream: {self.headers}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.wire.close()

    def next(self, seconds=SECONDS):
        """The next event; comments are kept aside.  None: the stream has ended properly."""
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no event within {seconds:g} s")
            self.wire.socket.settimeout(left)
            try:
                chunk = self.wire.chunk()
            except socket.timeout:
                raise AssertionError(f"no event within {seconds:g} s") from None
            if not chunk:
                return None
            event = self._parse(chunk)
            if event:
                return event

    def _parse(self, chunk):
        text = chunk.decode()
        if not text.endswith("\r\n\r\n") or "\r\n\r\n" in text[:-4]:
            raise ProtocolError(f"not exactly one event in a chunk: {text!r}")
        name = id = None
        data = []
        for line in text[:-4].split("\r\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "":
                self.comments.append(value)
            elif field == "data":
                data.append(value)
            elif field == "event":
                name = value
            elif field == "id":
                id = value
        return Event(name, "\n".join(data), id) if data else None
