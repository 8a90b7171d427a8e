"""Every limit at its edge: what is at it is accepted, one more is refused with the right status."""

import json
import unittest

from lib import client
from lib.server import serve

HOST = "sources: { m: { plugin: host } }"
JSON = {"Content-Type": "application/json"}
TOO_LARGE = {"detail": "Request body is too large."}


def padded(value, size):
    """`value` as JSON of exactly `size` bytes."""
    text = json.dumps(value)
    return (text + " " * (size - len(text))).encode()


def nested(depth):
    """JSON of that depth, as text."""
    return '{"a":' * (depth - 1) + "{}" + "}" * (depth - 1)


class Limits(unittest.TestCase):
    env = {}
    body, event, header, url, samples = 1 << 20, 256 << 10, 16 << 10, 8 << 10, 15000

    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls, cls.env, {"host.yaml": HOST})
        cls.server.post("/topics/save", {"topic": "t", "jschema": {}})
        cls.server.save_unitop("u", {"cpu": {"source": "m", "metric": "cpu.user"}})

    def post(self, path, body):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.server.request("POST", path, body, JSON)

    def chunked(self, path, body, size=65536):
        """The same body without a Content-Length."""
        wire = client.Wire(self.server.address)
        try:
            wire.send(f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode())
            for at in range(0, len(body), size):
                piece = body[at:at + size]
                wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            wire.send(b"0\r\n\r\n")
            return client.read_reply(wire, "POST")
        finally:
            wire.close()

    # --- of any server ---

    def test_a_body(self):
        unitop = {"name": "padded", "data_mapping": {}, "meta": {}}
        for send in (self.post, self.chunked):
            self.assertEqual(send("/unitops/save", padded(unitop, self.body)).status, 200)
            reply = send("/unitops/save", padded(unitop, self.body + 1))
            self.assertEqual((reply.status, reply.json()), (413, TOO_LARGE))

    def test_a_published_event(self):
        event = {"topic": "t", "payload": {}}
        for send in (self.post, self.chunked):
            self.assertEqual(send("/events/publish", padded(event, self.event)).status, 200)
            reply = send("/events/publish", padded(event, self.event + 1))
            self.assertEqual((reply.status, reply.json()), (413, TOO_LARGE))

    def test_a_request_head(self):
        for more, status in ((0, 200), (1, 431)):
            head = b"GET /users/whoami HTTP/1.1\r\nHost: localhost\r\nX: "
            head += b"x" * (self.header - len(head) - 4 + more) + b"\r\n\r\n"
            wire = client.Wire(self.server.address)
            wire.send(head)
            self.assertEqual(client.read_reply(wire, "GET").status, status)
            wire.close()

    def test_a_url(self):
        path = "/users/whoami?x="
        for more, status in ((0, 200), (1, 414)):
            url = path + "y" * (self.url - len(path) + more)
            self.assertEqual(self.server.get(url).status, status)

    def test_the_limit_of_samples(self):
        get = lambda limit: self.server.get(f"/timeseries/u/samples?dataItem=cpu&limit={limit}")
        self.assertEqual(get(self.samples).status, 200)
        reply = get(self.samples + 1)
        self.assertEqual((reply.status, reply.json()),
                         (400, {"detail": f"Limit cannot be greater than {self.samples}."}))


class Lowered(Limits):
    """The same edges where the settings put them."""
    env = {"HYPRXA_MAX_BODY": "2KiB", "EVENTS_MAX_BODY": "1KiB", "HYPRXA_MAX_HEADER": "2KiB",
           "HYPRXA_MAX_URL": "300", "TIMESERIES_MAX_SAMPLES": "10"}
    body, event, header, url, samples = 2048, 1024, 2048, 300, 10


class Raised(Limits):
    env = {"HYPRXA_MAX_BODY": "2MiB", "EVENTS_MAX_BODY": "512KiB", "HYPRXA_MAX_HEADER": "64KiB",
           "HYPRXA_MAX_URL": "32KiB", "TIMESERIES_MAX_SAMPLES": "20000"}
    body, event, header, url, samples = 2 << 20, 512 << 10, 64 << 10, 32 << 10, 20000


class Fixed(unittest.TestCase):
    setUpClass = Limits.__dict__["setUpClass"]
    env = {}
    post = Limits.post

    def errors(self, reply, *loc):
        self.assertEqual(reply.status, 422, reply)
        self.assertEqual(reply.json()["detail"][0]["loc"], list(loc))

    def test_depth_of_a_body(self):
        """64: the body is one level, the payload the others."""
        event = lambda depth: f'{{"topic":"t","payload":{nested(depth - 1)}}}'.encode()
        self.assertEqual(self.post("/events/publish", event(64)).status, 200)
        reply = self.post("/events/publish", event(65))
        self.assertEqual((reply.status, reply.json()["detail"][0]["type"]),
                         (422, "value_error.jsondecode"))

    def test_depth_of_a_query_document(self):
        get = lambda text: self.server.get(client.with_query("/unitops/search", q=text))
        deep = lambda n: '{"meta":' + "[" * (n - 1) + "]" * (n - 1) + "}"
        self.assertNotEqual(get(deep(64)).status, 422)
        self.assertEqual(get(deep(65)).json()["detail"][0]["msg"], "Invalid JSON")

    def test_pairs_of_a_query(self):
        get = lambda n: self.server.get("/users/whoami?" + "&".join(["a=1"] * n))
        self.assertEqual(get(256).status, 200)
        reply = get(257)
        self.assertEqual((reply.status, reply.json()), (400, {"detail": "Too many parameters."}))

    def test_header_lines(self):
        get = lambda n: self.server.get("/users/whoami", {f"X-{i}": "1" for i in range(n)})
        self.assertEqual(get(60).status, 200)  # with Host and Connection 62
        self.assertEqual(get(64).status, 431)

    def test_a_routing_key(self):
        """255 bytes with its topic, as AMQP has it."""
        publish = lambda key: self.post("/events/publish", {"topic": "t", "routing_key": key,
                                                            "payload": {}})
        for fits in ("x" * 253, "é" * 126, "t." + "x" * 253):
            self.assertEqual(publish(fits).status, 200, fits)
            with self.server.stream(client.with_query("/events/t/stream", routingKey=fits)):
                pass
        for over in ("x" * 254, "é" * 127, "t." + "x" * 254):
            self.errors(publish(over), "body", "routing_key")
            self.errors(self.server.get(client.with_query("/events/t/stream", routingKey=over)),
                        "query", "routingKey")
            reply = self.server.get(client.with_query("/events/t/last", routingKey=over))
            self.assertEqual(reply.json(), {"detail": "No events found matching criteria."})

    def test_a_topics_name(self):
        """[D 44]"""
        save = lambda name: self.post("/topics/save", {"topic": name, "jschema": {}})
        self.assertEqual(save("x" * 200).json(), {"status": "OK"})
        for bad in ("x" * 201, "", "a.b", "a*", "a#", "a b", "a/b", "é", "a\n"):
            self.errors(save(bad), "body", "topic")

    def test_a_unitops_name(self):
        save = lambda name: self.post("/unitops/save", {"name": name, "data_mapping": {},
                                                        "meta": {}})
        for good in ("x" * 1000, "Kessel 3 – Süd", "a.b*#"):
            self.assertEqual(save(good).json(), {"status": "OK"}, good)
        for bad in ("x" * 1001, "", "a/b", "é" * 501):
            self.errors(save(bad), "body", "name")

    def test_the_items_of_a_token(self):
        """512 KiB for all names, one byte of separation each."""
        names = lambda n: ["%063d" % i for i in range(n - 1)] + ["x" * 62]
        count = (512 << 10) // 64
        subscribe = lambda items: self.post("/timeseries/subscribe", {"items": items})
        reply = subscribe(names(count))
        self.assertEqual(reply.status, 200, reply)
        token = reply.json()["token"]
        reply = self.server.get(f"/timeseries/u/recorded?token={token}&dataItem=cpu")
        self.assertEqual(reply.status, 200, reply)
        reply = subscribe(names(count) + [""])
        self.assertEqual((reply.status, reply.json()),
                         (413, {"detail": "The list of items is too long."}))

    def test_a_limit_of_nothing_is_the_default(self):
        for limit in ("0", "5000", ""):
            reply = self.server.get(f"/timeseries/u/samples?dataItem=cpu&limit={limit}")
            self.assertEqual(reply.status, 200, limit)
        for limit in ("-1", "1.5", "many", "9223372036854775808"):
            self.errors(self.server.get(f"/timeseries/u/samples?dataItem=cpu&limit={limit}"),
                        "query", "limit")


class Heartbeat(unittest.TestCase):
    def test_a_silent_stream_says_so_as_often_as_the_setting_asks(self):
        server = serve(self, {"HYPRXA_HEARTBEAT": "1"})
        server.post("/topics/save", {"topic": "t", "jschema": {}})
        with server.stream("/events/t/stream") as stream:
            stream.place()
            for _ in range(2):
                self.assertEqual(stream.wire.chunk(), b": ping\r\n\r\n")


if __name__ == "__main__":
    unittest.main()
