"""WebSockets: the handshake, what a client gets, what it may do, and how it ends."""

import unittest

from lib import client
from lib.client import WebSocket, websocket_frame
from lib.server import PATIENCE, serve, until

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MESSAGE_MAX = 1000
SOCKETS = 1000 if PATIENCE <= 1 else 200

HOST = """\
sources:
  machine:
    plugin: host
    options: { interval: 200ms }
"""


def close(code, reason=b""):
    return code.to_bytes(2, "big") + reason


class Sockets(unittest.TestCase):
    env = {}
    settings = None

    def setUp(self):
        env = {"HYPRXA_MAX_WEBSOCKET_MESSAGE": f"{MESSAGE_MAX}B", **self.env}
        self.server = serve(self, env, {"host.yaml": HOST}, self.settings)
        self.server.post("/topics/save", {"topic": "t", "jschema": {}})

    def publish(self, n, key=None, **payload):
        body = {"topic": "t", "payload": {"n": n, **payload}}
        if key:
            body["routing_key"] = key
        reply = self.server.post("/events/publish", body)
        self.assertEqual(reply.status, 200, reply)

    def socket(self, path="/events/t/ws", **options):
        ws = self.server.websocket(path, **options)
        self.assertIsNone(ws.refused, ws.refused)
        self.addCleanup(ws.wire.close)
        return ws

    def metric(self, name):
        for line in self.server.get("/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return int(line.split()[1])
        raise AssertionError(f"no metric {name}")


class Handshake(Sockets):
    def refused(self, path="/events/t/ws", **options):
        reply = self.server.websocket(path, **options).refused
        self.assertIsNotNone(reply, "accepted")
        return reply

    def test_what_is_no_handshake_is_answered_as_http(self):
        for options, status, header in (
                ({"without": ["Upgrade"]}, 426, ("upgrade", "websocket")),
                ({"headers": {"Upgrade": "h2c"}}, 426, ("upgrade", "websocket")),
                ({"headers": {"Sec-WebSocket-Version": "8"}}, 426, ("sec-websocket-version", "13")),
                ({"without": ["Sec-WebSocket-Version"]}, 426, ("sec-websocket-version", "13")),
                ({"without": ["Connection"]}, 400, None),
                ({"headers": {"Connection": "keep-alive"}}, 400, None),
                ({"without": ["Sec-WebSocket-Key"]}, 400, None),
                ({"headers": {"Sec-WebSocket-Key": "c2hvcnQ="}}, 400, None),
                ({"headers": {"Sec-WebSocket-Key": "x" * 24}}, 400, None)):
            reply = self.refused(**options)
            self.assertEqual(reply.status, status, (options, reply))
            self.assertIsInstance(reply.json()["detail"], str)
            if header:
                self.assertEqual(reply.headers.get(header[0]), header[1], options)
        self.assertEqual(self.server.get("/events/t/ws").status, 426)
        self.assertEqual(self.server.post("/events/t/ws").status, 405)

    def test_headers_are_read_as_lists_without_case(self):
        with self.server.websocket("/events/t/ws", {"Upgrade": "WebSocket",
                                                    "Connection": "keep-alive, upgrade"}):
            pass

    def test_extensions_and_subprotocols_are_declined_by_silence(self):
        with self.server.websocket("/events/t/ws", {
                "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
                "Sec-WebSocket-Protocol": "chat"}) as ws:
            self.assertNotIn("sec-websocket-extensions", ws.headers)
            self.assertNotIn("sec-websocket-protocol", ws.headers)

    def test_errors_have_the_status_they_have_elsewhere(self):
        self.assertEqual(self.refused("/events/nosuch/ws").json(),
                         {"detail": "No topics found matching criteria."})
        self.assertEqual(self.refused("/events/nosuch/ws").status, 404)
        self.assertEqual(self.refused("/timeseries/nosuch/ws").status, 404)
        self.assertEqual(self.refused("/no/such/ws").status, 404)
        reply = self.refused("/events/t/ws?routingKey=" + "k" * 255)
        self.assertEqual((reply.status, reply.json()["detail"][0]["loc"]),
                         (422, ["query", "routingKey"]))
        self.server.save_unitop("u", {"cpu": {"source": "machine", "metric": "cpu.user"}})
        reply = self.refused("/timeseries/u/ws?dataItem=nosuch")
        self.assertEqual((reply.status, reply.json()),
                         (400, {"detail": "No subscriptions matching criteria."}))

    def test_foreign_origins_are_refused(self):
        port = self.server.port
        for origin, status in (("http://evil.example", 403), ("null", 403),
                               (f"http://127.0.0.1:{port + 1}", 403)):
            self.assertEqual(self.refused(headers={"Origin": origin}).status, status, origin)
        for origin in (f"http://127.0.0.1:{port}", "http://localhost:5173"):
            with self.server.websocket("/events/t/ws", {"Origin": origin}):
                pass

    def test_body_is_refused(self):
        reply = self.refused(headers={"Content-Length": "5"}, body=b"hello")
        self.assertEqual(reply.status, 400)


class Limited(Sockets):
    env = {"EVENTS_MAX_SUBSCRIBERS": "1"}

    def test_one_subscriber_too_many_is_503(self):
        with self.server.websocket("/events/t/ws"):
            reply = self.server.websocket("/events/t/ws").refused
            self.assertEqual((reply.status, reply.headers["retry-after"]), (503, "5"))
        def again():
            ws = self.server.websocket("/events/t/ws")
            ws.wire.close()
            return ws.refused is None
        until(again, "the first one's place")


class Nobody(Sockets):
    settings = "auth: { debug: { require_token: true } }"

    def test_nobody_is_401(self):
        reply = self.server.websocket("/events/t/ws").refused
        self.assertEqual((reply.status, reply.json()), (401, {"detail": "Not Authenticated."}))
        # Whether the request is a handshake is nobody's business before.
        self.assertEqual(self.server.get("/events/t/ws").status, 401)


class Stranger(Sockets):
    settings = "auth: { debug: { user: { scopes: [WRITE] } } }"

    def test_user_without_the_scope_is_403(self):
        reply = self.server.websocket("/events/t/ws").refused
        self.assertEqual(reply.status, 403, reply)


class Silence(Sockets):
    env = {"HYPRXA_HEARTBEAT": "2"}

    def test_silent_client_is_cut_and_one_that_answers_pings_is_not(self):
        silent, lively = self.socket(), self.socket()
        self.assertEqual(silent.frame(), (PING, b""))
        pings = 0
        while self.metric("hyprxa_websocket_silent_total") == 0:
            self.assertEqual(lively.frame(), (PING, b""))
            lively.send(PONG)
            pings += 1
        self.assertTrue(silent.ended())
        self.assertGreater(pings, 1)
        self.publish(1)
        self.assertEqual(lively.next()["payload"]["n"], 1)


class Messages(Sockets):
    def test_what_is_stored_can_be_replayed_first(self):
        for i in range(5):
            self.publish(i)
        with self.server.websocket("/events/t/ws?since=-1h") as ws:
            self.publish(5)
            self.assertEqual([ws.next()["payload"]["n"] for _ in range(6)], list(range(6)))
            ws.send(PING, b"after")
            self.assertEqual(ws.frame(), (PONG, b"after"))

    def test_events_are_the_same_json_as_by_sse_and_keys_bind_alike(self):
        with self.server.stream("/events/t/stream?routingKey=a.$") as stream, \
                self.server.websocket("/events/t/ws?routingKey=a.$") as ws:
            self.publish(0, "b.c")
            for size in (0, 125, 126, 65535, 65536, 200_000):  # around each form of the length
                self.publish(size, "a.b", padding="x" * size)
                opcode, payload = ws.frame()
                self.assertEqual((opcode, payload.decode()), (TEXT, stream.next().text))

    def test_samples_are_the_same_json_as_by_sse(self):
        self.server.save_unitop("u", {"cpu": {"source": "machine", "metric": "cpu.user"}})
        with self.server.stream("/timeseries/u/stream") as stream, \
                self.server.websocket("/timeseries/u/ws") as ws:
            seen = [ws.next() for _ in range(2)]
            while (message := stream.next().json()) != seen[-1]:
                pass
            self.assertEqual(set(message), {"items", "subscription"})

    def test_a_thousand_sockets_get_every_event(self):
        sockets = [self.socket() for _ in range(SOCKETS)]
        self.assertEqual(self.metric("hyprxa_websockets"), SOCKETS)
        for i in range(3):
            self.publish(i)
        for ws in sockets:
            self.assertEqual([ws.next()["payload"]["n"] for _ in range(3)], [0, 1, 2])
        for ws in sockets:
            ws.wire.close()
        until(lambda: self.metric("hyprxa_websockets") == 0, "sockets to be freed")

    def test_info_lists_them_as_subscribers(self):
        with self.server.websocket("/events/t/ws") as ws:
            self.publish(1)
            ws.next()
            info = self.server.get("/admin/info").body.decode()
            self.assertIn('"name":"EventSubscriber"', info.replace(" ", ""))


class Ends(Sockets):
    def test_close_is_echoed_and_the_connection_ends(self):
        for payload, code in ((close(1000, b"bye"), 1000), (close(1001), 1001), (b"", None),
                              (close(3000), 3000), (close(4999, "\u00e9".encode()), 4999),
                              (close(1000, b"x" * 123), 1000)):
            ws = self.socket()
            ws.send(CLOSE, payload)
            self.assertEqual(ws.closed(), (code, ""), payload)
            self.assertTrue(ws.ended())
        until(lambda: self.metric("hyprxa_websockets") == 0, "sockets to be freed")

    def test_manager_restart_says_so(self):
        ws = self.socket()
        self.assertEqual(self.server.post("/events/admin/manager/restart").status, 200)
        self.assertEqual(ws.closed(), (1001, "The event manager was restarted."))
        ws.send(CLOSE, close(1001))
        self.assertTrue(ws.ended())
        self.publish(1)  # and the manager works again
        with self.server.websocket("/events/t/ws") as again:
            self.publish(2)
            self.assertEqual(again.next()["payload"]["n"], 2)

    def test_source_restart_says_so(self):
        self.server.save_unitop("u", {"cpu": {"source": "machine", "metric": "cpu.user"}})
        ws = self.socket("/timeseries/u/ws")
        ws.next()
        reply = self.server.post("/timeseries/admin/manager/restart/machine")
        self.assertEqual(reply.status, 200, reply)
        self.assertEqual(ws.closed(), (1001, "The source was stopped."))

    def test_client_that_never_answers_a_close_frame_is_cut(self):
        ws = self.socket()
        self.server.post("/events/admin/manager/restart")
        self.assertEqual(ws.closed()[0], 1001)
        self.assertTrue(ws.ended(10 * PATIENCE))

    def test_server_stop_says_1001_to_all(self):
        sockets = [self.socket() for _ in range(20)]
        for ws in sockets[10:]:
            ws.send(PING, b"still there")
            self.assertEqual(ws.frame(), (PONG, b"still there"))
        self.server.process.terminate()
        for ws in sockets:
            code, reason = ws.closed()
            self.assertEqual((code, "stopping" in reason), (1001, True))
            ws.send(CLOSE, close(1001))
            self.assertTrue(ws.ended())
        self.assertEqual(self.server.process.wait(10 * PATIENCE), 0)
        self.server.process = None

    def test_half_closed_client_is_ended(self):
        ws = self.socket()
        ws.wire.socket.shutdown(1)
        self.assertTrue(ws.ended())
        ws = self.socket()
        ws.wire.send(websocket_frame(CLOSE, close(1000)))
        ws.wire.socket.shutdown(1)
        self.assertEqual(ws.closed(), (1000, ""))
        self.assertTrue(ws.ended())

    def test_hanging_up_frees_at_once(self):
        for ws in [self.socket() for _ in range(20)]:
            ws.wire.close()
        until(lambda: self.metric("hyprxa_websockets") == 0, "sockets to be freed", 5)


class Violations(Sockets):
    def fault(self, bytes_sent, code, reason):
        name = f'hyprxa_websocket_faults_total{{reason="{reason}"}}'
        before = self.metric(name)
        ws = self.socket()
        ws.wire.send(bytes_sent)
        self.assertEqual(ws.closed()[0], code, bytes_sent[:40])
        self.assertTrue(ws.ended())
        self.assertEqual(self.metric(name), before + 1)

    def test_each_ends_the_connection_with_its_code_and_is_counted(self):
        frame = websocket_frame
        for sent, code, reason in (
                (frame(TEXT, b"hello", mask=False), 1002, "unmasked"),
                (frame(PING, mask=False), 1002, "unmasked"),
                (frame(TEXT, b"hello", bits=0x40), 1002, "reserved"),
                (frame(TEXT, b"hello", bits=0x10), 1002, "reserved"),
                (frame(3, b"hello"), 1002, "reserved"),
                (frame(11), 1002, "reserved"),
                (frame(PING, b"x" * 126), 1002, "control"),
                (frame(PING, b"x", final=False), 1002, "control"),
                (frame(CLOSE, close(1000), final=False), 1002, "control"),
                (frame(TEXT, b"hello", length=b"\x7e\x00\x05"), 1002, "length"),
                (frame(TEXT, b"hello", length=b"\x7f" + (5).to_bytes(8, "big")), 1002, "length"),
                (frame(0, b"hello"), 1002, "continuation"),
                (frame(TEXT, b"a", final=False) + frame(TEXT, b"b"), 1002, "continuation"),
                (frame(CLOSE, b"\x03"), 1002, "close_code"),
                (frame(CLOSE, close(999)), 1002, "close_code"),
                (frame(CLOSE, close(1004)), 1002, "close_code"),
                (frame(CLOSE, close(1005)), 1002, "close_code"),
                (frame(CLOSE, close(1006)), 1002, "close_code"),
                (frame(CLOSE, close(1015)), 1002, "close_code"),
                (frame(CLOSE, close(2999)), 1002, "close_code"),
                (frame(CLOSE, close(5000)), 1002, "close_code"),
                (frame(CLOSE, close(1000, b"\xff")), 1007, "utf8"),
                (frame(TEXT, b"\xc3"), 1007, "utf8"),
                (frame(TEXT, b"\xed\xa0\x80"), 1007, "utf8"),
                (frame(TEXT, b"\xc0\xaf"), 1007, "utf8"),
                (frame(BINARY, b"x" * (MESSAGE_MAX + 1)), 1009, "size")):
            self.fault(sent, code, reason)

    def test_size_is_counted_over_the_fragments(self):
        half = MESSAGE_MAX // 2
        ws = self.socket()
        ws.send(BINARY, b"x" * MESSAGE_MAX)
        ws.send(BINARY, b"x" * half, final=False)
        ws.send(0, b"x" * half)
        ws.send(PING, b"alive")
        self.assertEqual(ws.frame(), (PONG, b"alive"))
        self.fault(websocket_frame(BINARY, b"x" * half, final=False)
                   + websocket_frame(0, b"x" * (half + 1)), 1009, "size")
        self.fault(websocket_frame(BINARY, length=b"\x7f" + (1 << 62).to_bytes(8, "big")), 1009,
                   "size")

    def test_what_follows_a_violation_is_ignored(self):
        ws = self.socket()
        ws.wire.send(websocket_frame(TEXT, b"x", mask=False) + websocket_frame(PING, b"no") * 100)
        self.assertEqual(ws.closed()[0], 1002)
        self.assertTrue(ws.ended())


class Chatter(Sockets):
    def test_messages_of_clients_are_ignored_however_they_are_cut(self):
        ws = self.socket()
        euro = "\u20ac".encode()
        bytes_sent = (websocket_frame(TEXT, b"hello") + websocket_frame(BINARY, b"\xff\x00")
                      + websocket_frame(TEXT, b"a" + euro[:1], final=False)
                      + websocket_frame(PING, b"between") + websocket_frame(0, euro[1:2], final=False)
                      + websocket_frame(0, b"", final=False) + websocket_frame(0, euro[2:])
                      + websocket_frame(PONG, b"unasked") + websocket_frame(PING, b""))
        for i in range(0, len(bytes_sent), 3):
            ws.wire.send(bytes_sent[i:i + 3])
        self.assertEqual(ws.frame(), (PONG, b"between"))
        self.assertEqual(ws.frame(), (PONG, b""))
        self.publish(7)
        self.assertEqual(ws.next()["payload"]["n"], 7)

    def test_pings_are_answered_in_order_with_their_payload(self):
        ws = self.socket()
        payloads = [b"", b"\x00\xff", b"x" * 125] + [b"%d" % i for i in range(5)]
        for payload in payloads:
            ws.send(PING, payload)
            self.assertEqual(ws.frame(), (PONG, payload))

    def test_flood_of_pings_that_reads_nothing_costs_no_memory_and_harms_nobody(self):
        flooder = self.socket(receive_buffer=4096)
        pings = websocket_frame(PING, b"x" * 125) * 500
        flooder.wire.socket.settimeout(0.2)
        sent = 0
        try:
            for _ in range(300):
                flooder.wire.send(pings)
                sent += 500
        except TimeoutError:
            pass  # the server need not read on
        self.assertGreater(sent, 5000)
        with self.server.websocket("/events/t/ws") as ws:
            self.publish(1)
            self.assertEqual(ws.next()["payload"]["n"], 1)
        # It is a slow reader now: its events are kept and the newest ping is answered.
        flooder.wire.socket.settimeout(client.SECONDS)
        answered = 0
        while True:
            opcode, payload = flooder.frame()
            if opcode == TEXT:
                break
            self.assertEqual((opcode, payload), (PONG, b"x" * 125))
            answered += 1
        self.assertLessEqual(answered, sent)


class Slow(Sockets):
    env = {"HYPRXA_SLOW_SUBSCRIBER": "disconnect", "EVENTS_MAXLEN": "20"}

    def test_slow_subscriber_is_ended_with_1013(self):
        deaf = self.socket(receive_buffer=4096)
        for i in range(100):
            self.publish(i, padding="x" * 60_000)
        until(lambda: self.metric("hyprxa_stream_disconnected_slow_total") == 1, "the end of it")
        self.assertEqual(deaf.closed(), (1013, "too slow"))


class Skipping(Sockets):
    env = {"EVENTS_MAXLEN": "20"}

    def test_slow_subscriber_skips_and_gets_nothing_but_messages(self):
        deaf = self.socket(receive_buffer=4096)
        for i in range(200):
            self.publish(i, padding="x" * 60_000)
        numbers = []
        while not numbers or numbers[-1] < 199:
            numbers.append(deaf.next()["payload"]["n"])
        self.assertEqual(numbers, sorted(numbers))
        self.assertLess(len(numbers), 200)
        self.assertGreater(self.metric("hyprxa_websocket_untold_total"), 0)
        self.assertEqual(self.metric("hyprxa_stream_dropped_total"), 200 - len(numbers))


if __name__ == "__main__":
    unittest.main()
