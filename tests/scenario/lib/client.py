"""HTTP over a bare socket: sees every byte, repairs nothing, and gives up after a deadline."""

import base64
import csv
import hashlib
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

    def __init__(self, address, seconds=SECONDS, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(seconds)
        self.socket.connect(address)
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
        self.last_id = None  # as an EventSource keeps it, also of an event without data
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

    def place(self):
        """The id that a stream begins with, in an event of its own without data."""
        chunk = self.wire.chunk()
        if self._parse(chunk) or not chunk.startswith(b"id: "):
            raise ProtocolError(f"not an id only: {chunk!r}")
        return self.last_id

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
                id = self.last_id = value
        return Event(name, "\n".join(data), id) if data else None


class WebSocket:
    """A WebSocket client that checks every byte the server sends and sends any nonsense asked for."""

    TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

    def __init__(self, address, path, headers=None, without=(), body=b"",
                 receive_buffer=None):
        self.wire = Wire(address, receive_buffer=receive_buffer)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = {"Host": f"{address[0]}:{address[1]}", "Upgrade": "websocket",
                 "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
        lines.update(headers or {})
        head = "".join(f"{k}: {v}\r\n" for k, v in lines.items() if k not in without)
        self.wire.send(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        status, header_list = self.wire.head()
        self.headers = dict(header_list)
        self.refused = None  # the reply, where there is no 101
        if status != 101:
            body = self.wire.exactly(int(self.headers.get("content-length", "0")))
            self.wire.close()
            self.refused = Reply(status, header_list, body)
            return
        digest = hashlib.sha1((lines["Sec-WebSocket-Key"] + WEBSOCKET_GUID).encode()).digest()
        if self.headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
            raise ProtocolError(f"not the answer to our key: {self.headers}")
        if (self.headers.get("upgrade", "").lower() != "websocket"
                or self.headers.get("connection", "").lower() != "upgrade"):
            raise ProtocolError(f"no upgrade: {self.headers}")

    def __enter__(self):
        assert self.refused is None, self.refused
        return self

    def __exit__(self, *_):
        self.wire.close()

    def send(self, opcode, payload=b"", final=True, mask=True, bits=0, length=None):
        """A frame.  `bits`: reserved ones; `length`: its length field, with the 2 or 8 bytes after
        it, in place of the right one."""
        self.wire.send(websocket_frame(opcode, payload, final, mask, bits, length))

    def frame(self, seconds=SECONDS):
        """(opcode, payload) of the next frame."""
        self.wire.socket.settimeout(seconds)
        first, second = self.wire.exactly(2)
        if not first & 0x80 or first & 0x70 or second & 0x80:
            raise ProtocolError(f"a frame begins with {first:#x} {second:#x}")
        length = second
        if second == 126:
            length = int.from_bytes(self.wire.exactly(2), "big")
        elif second == 127:
            length = int.from_bytes(self.wire.exactly(8), "big")
        shortest = 126 if length < 65536 else 127
        if (second >= 126 and second != shortest) or (second == 126 and length < 126):
            raise ProtocolError(f"a length of {length} is not in its shortest form")
        return first & 0x0F, self.wire.exactly(length)

    def next(self, seconds=SECONDS):
        """The next message, parsed.  Pings are answered."""
        while True:
            opcode, payload = self.frame(seconds)
            if opcode == self.TEXT:
                return json.loads(payload.decode())
            if opcode != self.PING:
                raise ProtocolError(f"opcode {opcode}, not a text frame: {payload!r}")
            self.send(self.PONG, payload)

    def closed(self, seconds=SECONDS):
        """The code and reason of the close frame that comes, after any messages."""
        while True:
            opcode, payload = self.frame(seconds)
            if opcode == self.CLOSE:
                if not payload:
                    return None, ""
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()

    def ended(self, seconds=SECONDS):
        """Does the server end the connection with nothing more to say?"""
        self.wire.socket.settimeout(seconds)
        return self.wire.to_end() == b""


WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def websocket_frame(opcode, payload=b"", final=True, mask=True, bits=0, length=None):
    if length is None:
        if len(payload) < 126:
            length = bytes([len(payload)])
        elif len(payload) < 65536:
            length = b"\x7e" + len(payload).to_bytes(2, "big")
        else:
            length = b"\x7f" + len(payload).to_bytes(8, "big")
    head = bytes([(0x80 if final else 0) | bits | opcode, (0x80 if mask else 0) | length[0]])
    head += length[1:]
    if not mask:
        return head + payload
    key = os.urandom(4)
    return head + key + bytes(b ^ key[i & 3] for i, b in enumerate(payload))
