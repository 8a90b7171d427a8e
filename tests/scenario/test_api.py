"""Every route's answer and every error's shape, as contract sections 1.1 to 1.6 have them."""

import json
import unittest
import uuid

from lib import client
from lib.server import Server

HOST = """
sources:
  this machine:
    plugin: host
    options: { interval: 200ms }
"""


class Api(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server({"host.yaml": HOST}).start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.get = staticmethod(cls.server.get)
        cls.post = staticmethod(cls.server.post)

    def answers(self, reply, status, body):
        self.assertEqual((reply.status, reply.json()), (status, body))
        self.assertEqual(reply.headers["content-type"], "application/json")

    def invalid(self, reply, *errors):
        self.assertEqual(reply.status, 422, reply)
        got = [(e["loc"], e["msg"], e["type"]) for e in reply.json()["detail"]]
        self.assertEqual(got, [tuple(e) for e in errors])

    # --- common rules ---

    def test_unknown_path_and_wrong_method(self):
        self.answers(self.get("/nothing/here"), 404, {"detail": "Not Found"})
        reply = self.get("/topics/save")
        self.answers(reply, 405, {"detail": "Method Not Allowed"})
        self.assertEqual(reply.headers["allow"], "POST")

    def test_trailing_slash_is_redirected(self):
        reply = self.get("/users/whoami/")
        self.assertEqual(reply.status, 307)
        host = f"{self.server.address[0]}:{self.server.port}"
        self.assertEqual(reply.headers["location"], f"http://{host}/users/whoami")

    def test_request_id_is_echoed_when_it_is_a_uuid(self):
        mine = str(uuid.uuid4())
        reply = self.get("/users/whoami", {"X-Request-ID": mine})
        self.assertEqual(reply.headers["x-request-id"], mine)
        self.assertEqual(reply.headers["access-control-expose-headers"], "X-Request-ID")
        made = self.get("/users/whoami", {"X-Request-ID": "evil"}).headers["x-request-id"]
        self.assertEqual(len(made), 32)
        self.assertEqual(uuid.UUID(made).version, 4)

    def test_head_is_get_without_body(self):
        reply = self.server.request("HEAD", "/users/whoami")
        self.assertEqual((reply.status, reply.body), (200, b""))

    def test_cors(self):
        good, bad = "http://localhost:3000", "http://evil.example"
        reply = self.get("/users/whoami", {"Origin": good})
        self.assertEqual(reply.headers["access-control-allow-origin"], good)
        self.assertEqual(reply.headers["access-control-allow-credentials"], "true")
        self.assertEqual(reply.headers["vary"], "Origin")
        asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
        reply = self.server.request("OPTIONS", "/events/publish", headers={"Origin": good, **asks})
        self.assertEqual((reply.status, reply.body), (200, b"OK"))
        self.assertEqual(reply.headers["access-control-allow-methods"],
                         "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
        self.assertEqual(reply.headers["access-control-allow-headers"], "x-a")
        self.assertEqual(reply.headers["access-control-max-age"], "600")
        reply = self.server.request("OPTIONS", "/events/publish", headers={"Origin": bad, **asks})
        self.assertEqual((reply.status, reply.body), (400, b"Disallowed CORS origin"))

    def test_foreign_origin_may_not_change_state(self):
        body = json.dumps({"topic": "t", "jschema": {}}).encode()
        headers = {"Origin": "http://evil.example", "Content-Type": "application/json"}
        reply = self.server.request("POST", "/topics/save", body, headers)
        self.assertEqual(reply.status, 403, reply)
        reply = self.get("/events/admin/manager/restart", {"Origin": "http://evil.example"})
        self.assertEqual(reply.status, 403, reply)

    def test_debug_authentication_answers_to_local_names_only(self):
        self.assertEqual(self.get("/users/whoami", {"Host": "evil.example"}).status, 421)
        self.assertEqual(self.get("/users/whoami", {"Host": "localhost"}).status, 200)
        self.assertEqual(self.get("/users/whoami", {"Host": "[::1]:8000"}).status, 200)

    # --- users ---

    def test_whoami(self):
        user = self.get("/users/whoami").json()
        self.assertEqual(list(user), ["username", "first_name", "last_name", "email", "upi",
                                      "company", "country", "scopes"])
        scopes = user.pop("scopes")
        self.assertEqual(user, {"username": "admin", "first_name": "admin", "last_name": "admin",
                                "email": "admin@noreturn.com", "upi": 19960219,
                                "company": "hyprxa", "country": "US"})
        self.assertLessEqual({"READ", "WRITE", "ADMIN"}, set(scopes))

    # --- topics ---

    def test_topics(self):
        schema = {"type": "object", "required": ["level"],
                  "properties": {"level": {"type": "integer"}}}
        self.answers(self.post("/topics/save", {"topic": "alarms", "jschema": schema}), 200,
                     {"status": "OK"})
        topic = self.get("/topics/search/alarms").json()
        self.assertEqual(list(topic), ["topic", "jschema", "modified_by", "modified_at"])
        self.assertEqual((topic["topic"], topic["jschema"], topic["modified_by"]),
                         ("alarms", schema, "admin"))
        self.assertRegex(topic["modified_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?$")
        self.assertIn("alarms", self.get("/topics/search").json()["items"])

        text = json.dumps({"type": "object"})
        self.answers(self.post("/topics/save", {"topic": "alarms", "jschema": text}), 200,
                     {"status": "OK"})
        self.assertEqual(self.get("/topics/search/alarms").json()["jschema"], {"type": "object"})
        self.answers(self.get("/topics/search/none"), 404,
                     {"detail": "No topics found matching criteria."})

    def test_bad_topics(self):
        self.invalid(self.post("/topics/save", {}),
                     (["body", "topic"], "field required", "value_error.missing"),
                     (["body", "jschema"], "field required", "value_error.missing"))
        self.invalid(self.post("/topics/save", {"topic": None, "jschema": 3}),
                     (["body", "topic"], "none is not an allowed value",
                      "type_error.none.not_allowed"),
                     (["body", "jschema"], "value is not a valid dict", "type_error.dict"))
        reply = self.post("/topics/save", {"topic": "x", "jschema": {"type": "nope"}})
        self.invalid(reply, (["body", "jschema"],
                             "deque(['type'])-'nope' is not valid under any of the given schemas",
                             "value_error"))
        for name in ("", "a.b", "a b", "x" * 201, "é"):
            reply = self.post("/topics/save", {"topic": name, "jschema": {}})
            self.assertEqual(reply.json()["detail"][0]["loc"], ["body", "topic"], name)
        self.answers(self.post("/topics/save", {"topic": "x" * 200, "jschema": {}}), 200,
                     {"status": "OK"})

    def test_bodies_that_are_not_json(self):
        def send(body, kind="application/json"):
            return self.server.request("POST", "/topics/save", body, {"Content-Type": kind})

        detail = send(b"{x}").json()["detail"][0]
        self.assertEqual((detail["loc"], detail["type"]), (["body", 1], "value_error.jsondecode"))
        self.assertEqual(detail["msg"], "Expecting property name enclosed in double quotes: "
                                        "line 1 column 2 (char 1)")
        self.assertEqual(detail["ctx"], {
            "msg": "Expecting property name enclosed in double quotes", "doc": "{x}", "pos": 1,
            "lineno": 1, "colno": 2})
        for text in (b"{'topic':1}", b"[1,]", b'{"a":NaN}', b'{"a":"\xff"}', b'{"a":"\n"}',
                     b'{"a":1,"a":2}', b'{"a":9223372036854775808}', b'"\\ud800"',
                     b"[" * 65 + b"]" * 65):
            self.assertEqual(send(text).status, 422, text)
        self.invalid(send(b""), (["body"], "field required", "value_error.missing"))
        self.invalid(send(b"{}", "text/plain"),
                     (["body"], "value is not a valid dict", "type_error.dict"))

    def test_bodies_too_large(self):
        padding = " " * (256 * 1024)
        body = json.dumps({"topic": "none", "payload": {}}).encode()
        reply = self.server.request("POST", "/events/publish", body + padding.encode(),
                                    {"Content-Type": "application/json"})
        self.assertEqual(reply.status, 413, reply)
        fits = body + b" " * (256 * 1024 - len(body))
        reply = self.server.request("POST", "/events/publish", fits,
                                    {"Content-Type": "application/json"})
        self.answers(reply, 404, {"detail": "No topics found matching criteria."})

    # --- unitops ---

    def test_unitops(self):
        cpu = {"source": "this machine", "metric": "cpu.user"}
        mapping = {"cpu": cpu, "load": {"source": "this machine", "metric": "load.1"}}
        self.answers(self.post("/unitops/save", {"name": "box", "data_mapping": mapping,
                                                 "meta": {"area": "north"}}), 200, {"status": "OK"})
        unitop = self.get("/unitops/search/box").json()
        self.assertEqual(list(unitop),
                         ["name", "data_mapping", "meta", "modified_by", "modified_at"])
        self.assertEqual(unitop["data_mapping"], mapping)
        found = self.get(client.with_query("/unitops/search", q='{"meta.area":"north"}')).json()
        self.assertEqual([u["name"] for u in found["items"]], ["box"])
        found = self.get(client.with_query("/timeseries/unitop/search", q='{"name":"box"}',
                                           mapSubscriptions="true")).json()
        self.assertEqual(found["items"][0]["data_mapping"]["cpu"]["metric"], "cpu.user")
        self.answers(self.get("/unitops/search/none"), 404,
                     {"detail": "No unitops found matching criteria."})
        self.answers(self.get(client.with_query("/unitops/search", q='{"name":"none"}')), 404,
                     {"detail": "No unitops found matching criteria."})
        self.answers(self.get(client.with_query("/unitops/search", q="[]")), 400,
                     {"detail": "Invalid query."})
        self.invalid(self.get("/unitops/search?q=nope"),
                     (["query", "q"], "Invalid JSON", "value_error.json"))
        self.assertEqual(self.get(client.with_query("/unitops/search", q='{"$where":"1"}')).status,
                         400)

    def test_bad_unitops(self):
        save = lambda mapping: self.post("/unitops/save",
                                         {"name": "bad", "data_mapping": mapping, "meta": {}})
        reply = save({"x": {"source": "nope", "metric": "cpu.user"}})
        self.assertEqual(reply.json(), {"detail": [{
            "loc": ["data_mapping", "x", "source"],
            "msg": "value is not a valid enumeration member; permitted: 'this machine'",
            "type": "type_error.enum", "ctx": {"enum_values": ["this machine"]}}]})
        self.assertEqual(save({"x": 1}).status, 422)
        self.assertEqual(save({"x": {}}).status, 422)
        self.assertEqual(save({"x": {"source": "this machine"}}).status, 422)
        self.assertEqual(self.get("/unitops/search/bad").status, 404)

    # --- timeseries ---

    def test_sources_and_tokens(self):
        self.answers(self.get("/timeseries/sources"), 200, {"sources": ["this machine"]})
        one = self.post("/timeseries/subscribe", {"items": ["b", "a"]}).json()["token"]
        two = self.post("/timeseries/subscribe", {"items": ["a", "b"]}).json()["token"]
        other = self.post("/timeseries/subscribe", {"items": ["ab"]}).json()["token"]
        self.assertEqual(one, two)
        self.assertNotEqual(one, other)
        self.invalid(self.post("/timeseries/subscribe", {"items": "a"}),
                     (["body", "items"], "value is not a valid list", "type_error.list"))

    def test_stream_and_reading_back(self):
        machine = "this machine"
        self.server.save_unitop("trend", {
            "cpu": {"source": machine, "metric": "cpu.user"},
            "memory": {"source": machine, "metric": "memory.used"}})
        token = self.post("/timeseries/subscribe", {"items": ["memory"]}).json()["token"]
        with self.server.stream(f"/timeseries/trend/stream?token={token}&dataItem=cpu") as stream:
            self.assertEqual(stream.headers["content-type"], "text/event-stream; charset=utf-8")
            self.assertEqual(stream.headers["cache-control"], "no-cache")
            self.assertEqual(stream.headers["x-accel-buffering"], "no")
            seen = {}
            while min((len(v) for v in seen.values()), default=0) < 3 or len(seen) < 2:
                message = stream.next().json()
                self.assertEqual(set(message), {"subscription", "items"})
                self.assertEqual(message["subscription"]["source"], machine)
                seen.setdefault(message["subscription"]["metric"], []).extend(message["items"])
        self.assertEqual(set(seen), {"cpu.user", "memory.used"})

        stored = self.server.samples("trend", "cpu")
        for item in seen["cpu.user"]:
            self.assertIn(item, stored)
        newest = self.server.samples("trend", "cpu", limit=2)
        self.assertEqual(newest, self.server.samples("trend", "cpu")[-2:])

        rows = self.server.recorded("trend")
        self.assertEqual(set(rows[0]), {"timestamp", "cpu", "memory"})
        column = rows[0].index("memory")
        values = {row[0]: float(row[column]) for row in rows[1:] if row[column]}
        for item in seen["memory.used"]:
            self.assertEqual(values[item["timestamp"]], item["value"])
        self.assertEqual([row[0] for row in rows[1:]], sorted(row[0] for row in rows[1:]))

    def test_reading_back_refuses(self):
        self.server.save_unitop("u1", {"cpu": {"source": "this machine", "metric": "cpu.idle"}})
        get = lambda path, **query: self.get(client.with_query(f"/timeseries/{path}", **query))
        self.invalid(get("u1/samples"),
                     (["query", "dataItem"], "field required", "value_error.missing"))
        self.answers(get("u1/samples", dataItem="x", limit=15001), 400,
                     {"detail": "Limit cannot be greater than 15000."})
        self.answers(get("u1/samples", dataItem="x"), 400, {"detail": "'x' not in 'u1'."})
        self.answers(get("u1/samples", dataItem="cpu", startTime="bogus"), 422,
                     {"detail": "Unprocessable Entity"})
        self.assertEqual(get("u1/samples", dataItem="cpu", startTime="2023-01-01",
                             timezone="No/Where").status, 422)
        self.assertEqual(get("u1/samples", dataItem="cpu", startTime="2023-01-02",
                             endTime="2023-01-01").status, 422)
        self.invalid(get("u1/samples", dataItem="cpu", limit="many"),
                     (["query", "limit"], "value is not a valid integer", "type_error.integer"))
        self.answers(get("u1/stream", dataItem="nope"), 400,
                     {"detail": "No subscriptions matching criteria."})
        self.answers(get("u1/stream", token="0" * 32), 404,
                     {"detail": "Token was not found or it has expired."})
        self.answers(get("none/stream"), 404, {"detail": "No unitops found matching criteria."})
        self.assertEqual(get("u1/recorded", scanRate=0).status, 422)
        reply = self.get("/timeseries/u1/recorded", {"Accept": "image/png"})
        self.answers(reply, 415, {"detail": "Unsupported Media Type"})

    def test_manager_restart(self):
        self.answers(self.post("/timeseries/admin/manager/restart/this%20machine"), 200,
                     {"status": "OK"})
        self.answers(self.post("/timeseries/admin/manager/restart/nosuch"), 400,
                     {"detail": "nosuch is not a registered source."})
        self.answers(self.get("/timeseries/admin/manager/restart"), 200, {"status": "OK"})

    # --- admin ---

    def test_info(self):
        info = self.get("/admin/info").json()
        self.assertEqual(info["status"], "ok")
        self.assertEqual(info["info"][0]["name"], "EventManager")
        for entry in info["info"][1:]:
            self.assertEqual(entry["name"], "TimeseriesManager")
            self.assertNotIn("publish_buffer_size", entry)

    def test_health_and_metrics(self):
        self.answers(self.get("/health/live"), 200, {"status": "OK"})
        self.answers(self.get("/health/ready"), 200, {"status": "OK"})
        reply = self.get("/metrics")
        self.assertTrue(reply.headers["content-type"].startswith("application/openmetrics-text"))
        text = reply.body.decode()
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertIn('hyprxa_source_samples_total{source="this machine"}', text)
        # Each family once, its samples right behind its type, as OpenMetrics wants it.
        families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
        self.assertEqual(len(families), len(set(families)))
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                family = line.split()[2]
            elif not line.startswith("#"):
                self.assertTrue(line.startswith(family), line)


if __name__ == "__main__":
    unittest.main()
