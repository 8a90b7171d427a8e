"""What holds for every route: ids, CORS, methods, redirects, order of checks, switches (contract 1.1
to 1.5).  `[D n]` names the row of contract section 14 that a test decides."""

import json
import unittest
import uuid

from lib import client
from lib.server import serve

GOOD, EVIL = "http://localhost:3000", "http://evil.example"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
HOST = "sources: { My Machine: { plugin: host } }"
NO_SCOPES = {"detail": "No scopes specified."}
NOBODY = {"detail": "Not Authenticated."}
FORBIDDEN = {"detail": "User does not have the required scopes to access this resource."}

# Every route that changes something, with a request that would succeed.
CHANGES = [
    ("POST", "/topics/save", {"topic": "t", "jschema": {}}),
    ("POST", "/events/publish", {"topic": "t", "payload": {}}),
    ("POST", "/events/admin/manager/restart", None),
    ("GET", "/events/admin/manager/restart", None),
    ("POST", "/unitops/save", {"name": "u", "data_mapping": {}, "meta": {}}),
    ("POST", "/timeseries/subscribe", {"items": ["a"]}),
    ("POST", "/timeseries/admin/manager/restart/My%20Machine", None),
    ("GET", "/timeseries/admin/manager/restart", None),
    ("POST", "/token", b"username=ada&password=pw"),
]


class Common(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls, {"HYPRXA_ALLOW_ORIGINS": json.dumps(
            ["http://localhost*", "https://app.example", "http://*"])}, {"host.yaml": HOST})
        cls.server.post("/topics/save", {"topic": "t", "jschema": {}})

    def request(self, method, path, **headers):
        return self.server.request(method, path,
                                   headers={k.replace("_", "-"): v for k, v in headers.items()})

    # --- request ids ---

    def test_a_uuid_in_any_spelling_is_echoed_as_it_came(self):
        plain = str(uuid.uuid4())
        for given in (plain, plain.upper(), plain.replace("-", ""), "{" + plain + "}",
                      "urn:uuid:" + plain):
            reply = self.request("GET", "/users/whoami", X_Request_ID=given)
            self.assertEqual(reply.headers["x-request-id"], given)

    def test_anything_else_gets_a_new_id(self):
        for given in ("", "x", str(uuid.uuid4()) + "0", "{" + str(uuid.uuid4()), "1" * 500):
            reply = self.request("GET", "/users/whoami", X_Request_ID=given)
            made = reply.headers["x-request-id"]
            self.assertNotEqual(made, given)
            self.assertEqual((len(made), uuid.UUID(made).version), (32, 4))

    def test_errors_have_ids_and_preflights_have_none(self):
        for method, path in (("GET", "/none"), ("PUT", "/topics/save"), ("GET", "/topics/search/x"),
                             ("OPTIONS", "/topics/save")):
            reply = self.request(method, path)
            self.assertIn("x-request-id", reply.headers, path)
            self.assertEqual(reply.headers["access-control-expose-headers"], "X-Request-ID")
        for origin in (GOOD, EVIL):
            reply = self.request("OPTIONS", "/topics/save", Origin=origin,
                                 Access_Control_Request_Method="POST")
            self.assertNotIn("x-request-id", reply.headers)
            self.assertNotIn("access-control-expose-headers", reply.headers)

    # --- CORS ---

    def test_a_trailing_star_stands_for_any_port_and_nothing_else(self):
        """[D 30]"""
        for origin, allowed in (("http://localhost", True), ("http://localhost:1", True),
                                ("http://localhost:65535", True), ("https://app.example", True),
                                ("https://localhost:3000", False), ("http://localhost:", False),
                                ("http://localhost:3000x", False), ("http://localhost:30/", False),
                                ("http://localhost.evil.example", False),
                                ("http://localhostevil:80", False), ("http://evil", False),
                                ("https://app.example:8443", False),
                                ("http://app.example", False), ("null", False)):
            reply = self.request("GET", "/users/whoami", Origin=origin)
            self.assertEqual(reply.status, 200)
            self.assertEqual(reply.headers.get("access-control-allow-origin"),
                             origin if allowed else None, origin)
            self.assertEqual(reply.headers["access-control-allow-credentials"], "true")
            self.assertEqual(reply.headers["vary"], "Origin")

    def test_without_an_origin_nothing_is_said_of_cors(self):
        reply = self.request("GET", "/users/whoami")
        self.assertFalse([name for name in reply.headers
                          if name.startswith("access-control-allow") or name == "vary"])

    def test_errors_and_downloads_and_streams_say_so_too(self):
        for path in ("/none", "/topics/search/none", "/events/t/recorded"):
            reply = self.request("GET", path, Origin=GOOD)
            self.assertEqual(reply.headers["access-control-allow-origin"], GOOD, path)
        with client.EventStream(self.server.address, "/events/t/stream", {"Origin": GOOD}) as stream:
            self.assertEqual(stream.headers["access-control-allow-origin"], GOOD)
            self.assertEqual(stream.headers["access-control-allow-credentials"], "true")

    def preflight(self, origin, method="POST", path="/topics/save", **headers):
        return self.request("OPTIONS", path, Origin=origin, Access_Control_Request_Method=method,
                            **headers)

    def test_a_preflight_is_answered_for_every_path_and_method(self):
        for path in ("/topics/save", "/none", "/users/whoami/"):
            for method in ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"):
                reply = self.preflight(GOOD, method, path, Access_Control_Request_Headers="x-a, b")
                self.assertEqual((reply.status, reply.body), (200, b"OK"))
                self.assertTrue(reply.headers["content-type"].startswith("text/plain"))
                self.assertEqual(reply.headers["access-control-allow-origin"], GOOD)
                self.assertEqual(reply.headers["access-control-allow-credentials"], "true")
                self.assertEqual(reply.headers["access-control-allow-methods"],
                                 "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
                self.assertEqual(reply.headers["access-control-allow-headers"], "x-a, b")
                self.assertEqual(reply.headers["access-control-max-age"], "600")
                self.assertEqual(reply.headers["vary"], "Origin")

    def test_a_preflight_of_a_foreign_origin_or_an_unknown_method_is_refused(self):
        for origin, method, text in ((EVIL, "POST", "Disallowed CORS origin"),
                                     (GOOD, "TRACE", "Disallowed CORS method"),
                                     (GOOD, "post", "Disallowed CORS method"),
                                     (EVIL, "X", "Disallowed CORS origin, method")):
            reply = self.preflight(origin, method)
            self.assertEqual((reply.status, reply.body.decode()), (400, text))
        self.assertNotIn("access-control-allow-origin", self.preflight(EVIL).headers)

    # --- methods and paths ---

    def test_405_names_the_methods(self):
        for method, path, allow in (("GET", "/topics/save", "POST"),
                                    ("POST", "/users/whoami", "GET, HEAD"),
                                    ("PUT", "/events/admin/manager/restart", "GET, HEAD, POST"),
                                    ("DELETE", "/topics/search/t", "GET, HEAD"),
                                    ("HEAD", "/topics/save", "POST")):
            reply = self.request(method, path)
            self.assertEqual((reply.status, reply.headers["allow"]), (405, allow), path)
            if method != "HEAD":
                self.assertEqual(reply.json(), {"detail": "Method Not Allowed"})

    def test_options_without_a_preflight_names_the_methods(self):
        for headers in ({}, {"Origin": GOOD}):
            reply = self.request("OPTIONS", "/events/admin/manager/restart", **headers)
            self.assertEqual((reply.status, reply.headers["allow"], reply.body),
                             (204, "GET, HEAD, POST, OPTIONS", b""))
            self.assertNotIn("content-length", reply.headers)
        self.assertEqual(self.request("OPTIONS", "/none").status, 404)

    def test_the_connection_goes_on_after_204(self):
        wire = client.Wire(self.server.address)
        for method, status in (("OPTIONS", 204), ("HEAD", 200), ("GET", 200)):
            wire.send(f"{method} /users/whoami HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            self.assertEqual(client.read_reply(wire, method).status, status)
        wire.close()

    def test_unknown_paths_are_404_in_every_method(self):
        for path in ("/none", "/none/", "/topics", "/topics/search/a/b", "/TOPICS/search", "/topics//save",
                     "//users/whoami", "/users/whoami//"):
            for method in ("GET", "POST", "DELETE"):
                reply = self.request(method, path)
                self.assertEqual((reply.status, reply.json()), (404, {"detail": "Not Found"}), path)

    def test_a_trailing_slash_is_redirected_with_its_query(self):
        base = f"http://127.0.0.1:{self.server.port}"
        for method, path, target in (("GET", "/users/whoami/", "/users/whoami"),
                                     ("GET", "/topics/search/?a=b%20c", "/topics/search?a=b%20c"),
                                     ("POST", "/topics/save/", "/topics/save"),
                                     ("HEAD", "/topics/search/t/", "/topics/search/t"),
                                     ("GET", "/topics/search/a%20b/", "/topics/search/a%20b")):
            reply = self.request(method, path)
            self.assertEqual((reply.status, reply.headers["location"]), (307, base + target))
        self.assertEqual(self.request("GET", "/none/").status, 404)

    def test_head_is_get_without_its_body(self):
        for path in ("/users/whoami", "/topics/search/t", "/topics/search/none", "/none"):
            get, head = self.request("GET", path), self.request("HEAD", path)
            self.assertEqual((head.status, head.body), (get.status, b""))
            for name in ("content-length", "content-type"):
                self.assertEqual(head.headers[name], get.headers[name], path)
        for path in ("/events/t/stream", "/events/t/recorded"):
            self.assertEqual(self.request("HEAD", path).status, 200, path)

    # --- query ---

    def test_empty_values_are_absent_values(self):
        """[D 47]"""
        self.server.save_unitop("u", {"cpu": {"source": "My Machine", "metric": "cpu.user"}})
        for path in ("/timeseries/u/samples?dataItem=cpu&startTime=&endTime=&timezone=&limit=",
                     "/timeseries/u/recorded?start_time=&end_time=&timezone=&scan_rate=&dataItem=&"
                     "token=", "/unitops/search/u?mapSubscriptions=",
                     "/events/t/recorded?start_time=&end_time=&routingKey=&timezone="):
            self.assertEqual(self.request("GET", path).status, 200, path)
        with self.server.stream("/events/t/stream?routingKey=") as stream:
            self.server.post("/events/publish", {"topic": "t", "routing_key": "x", "payload": {}})
            self.assertEqual(stream.next().json()["routing_key"], "x")
        for path, field in (("/unitops/search?q=", "q"), ("/events/t/query?routingKey=",
                                                          "routingKey"),
                            ("/timeseries/u/samples?dataItem=", "dataItem")):
            self.assertEqual(self.request("GET", path).json()["detail"][0]["loc"],
                             ["query", field])

    def test_booleans_in_every_spelling(self):
        self.server.save_unitop("b", {"cpu": {"source": "My Machine", "metric": "cpu.user"}})
        for text in ("true", "false", "1", "0", "on", "off", "t", "f", "y", "n", "yes", "no", "TRUE",
                     "Off"):
            path = f"/unitops/search/b?mapSubscriptions={text}"
            self.assertEqual(self.request("GET", path).status, 200, text)
        for text in ("2", "tru", "null", "%20"):
            reply = self.request("GET", f"/unitops/search/b?mapSubscriptions={text}")
            self.assertEqual((reply.status, reply.json()), (422, {"detail": [{
                "loc": ["query", "mapSubscriptions"],
                "msg": "value could not be parsed to a boolean", "type": "type_error.bool"}]}))

    def test_unknown_keys_are_ignored(self):
        self.assertEqual(self.request("GET", "/users/whoami?what=ever&x").status, 200)
        reply = self.server.post("/topics/save", {"topic": "t", "jschema": {}, "more": [1]})
        self.assertEqual(reply.json(), {"status": "OK"})

    # --- aliases of the shipped client ---

    def test_routes_and_parameters_as_the_shipped_client_spells_them(self):
        """[D 47]"""
        for path in ("/events/admin/manager/restart", "/timeseries/admin/manager/restart"):
            reply = self.request("GET", path)
            self.assertEqual((reply.status, reply.json()), (200, {"status": "OK"}), path)
        self.server.save_unitop("alias", {"cpu": {"source": "My Machine", "metric": "cpu.user"}})
        found = self.request("GET", client.with_query("/timeseries/unitop/search",
                                                      q='{"name":"alias"}', mapSubscriptions="false"))
        self.assertEqual([u["name"] for u in found.json()["items"]], ["alias"])
        reply = self.request("GET", client.with_query(
            "/timeseries/alias/recorded", start_time="2020-01-01 00:00:00",
            end_time="2020-01-02 00:00:00", scan_rate=5))
        self.assertEqual(reply.body, b"timestamp,cpu\r\n")
        self.assertEqual(self.request("GET", client.with_query(
            "/events/t/recorded", start_time="2020-01-01 00:00:00", end_time="bogus")).status, 422)
        self.assertEqual(self.request("GET", "/timeseries/alias/recorded?scan_rate=x").status, 422)

    def test_a_source_is_used_by_its_exact_name(self):
        """[D 31]"""
        save = lambda source: self.server.post("/unitops/save", {
            "name": "exact", "meta": {},
            "data_mapping": {"cpu": {"source": source, "metric": "cpu.user"}}})
        self.assertEqual(self.request("GET", "/timeseries/sources").json(),
                         {"sources": ["My Machine"]})
        for wrong in ("my_machine", "my machine", "MY MACHINE", "My_Machine", ""):
            self.assertEqual(save(wrong).status, 422, wrong)
        self.assertEqual(save("My Machine").json(), {"status": "OK"})
        self.assertEqual(self.request("GET", "/timeseries/exact/recorded").status, 200)


class Origin(unittest.TestCase):
    """Design decision 18: a foreign page may change nothing, whatever the method."""

    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls, conf={"host.yaml": HOST})

    def change(self, method, path, body, origin):
        headers = {"Origin": origin} if origin else {}
        if isinstance(body, bytes):
            headers.update(FORM)
        elif body is not None:
            headers.update(JSON)
            body = json.dumps(body).encode()
        return self.server.request(method, path, body, headers)

    def test_every_route_that_changes_something_refuses_a_foreign_origin(self):
        for method, path, body in CHANGES:
            for origin in (EVIL, "null", "http://localhost.evil.example"):
                reply = self.change(method, path, body, origin)
                self.assertEqual((reply.status, reply.json()),
                                 (403, {"detail": "Origin not allowed."}), f"{method} {path}")
        self.assertEqual(self.server.get("/topics/search").json(), {"items": []})

    def test_the_same_requests_pass_from_here_and_from_allowed_pages(self):
        own = f"http://127.0.0.1:{self.server.port}"
        for origin in (None, GOOD, own):
            for method, path, body in CHANGES:
                reply = self.change(method, path, body, origin)
                self.assertEqual(reply.status, 200, f"{origin} {method} {path} {reply}")

    def test_a_link_or_image_of_another_page_changes_nothing_either(self):
        """It is sent without Origin; browsers tell by Sec-Fetch-Site."""
        for path in ("/events/admin/manager/restart", "/timeseries/admin/manager/restart"):
            for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200),
                                 ("none", 200)):
                reply = self.server.get(path, {"Sec-Fetch-Site": site})
                self.assertEqual(reply.status, status, f"{path} {site}")
            reply = self.server.get(path, {"Sec-Fetch-Site": "cross-site", "Origin": GOOD})
            self.assertEqual(reply.status, 200)
        self.assertEqual(self.server.get("/users/whoami", {"Sec-Fetch-Site": "cross-site"}).status,
                         200)

    def test_every_post_route_is_listed_above(self):
        """What the server says of itself decides, so that a new route cannot be forgotten."""
        reply = self.server.get("/openapi.json")
        if reply.status == 404:
            self.skipTest("no /openapi.json in this build")
        posts = {path for path, methods in reply.json()["paths"].items() if "post" in methods}
        listed = {path.replace("My%20Machine", "{source}") for method, path, _ in CHANGES
                  if method == "POST"}
        self.assertEqual(posts, listed)

    def test_reading_is_allowed_and_not_shown(self):
        reply = self.server.get("/topics/search", {"Origin": EVIL})
        self.assertEqual(reply.status, 200)
        self.assertNotIn("access-control-allow-origin", reply.headers)


class Order(unittest.TestCase):
    """Contract 1.3: syntax of the body, then scopes, then everything else."""

    @classmethod
    def setUpClass(cls):
        cls.server = serve(cls, {"AUTH_DEBUG_REQUIRE_TOKEN": "true",
                                 "AUTH_DEBUG_USER_SCOPES": '["READ"]'},
                           {"host.yaml": HOST})
        reply = cls.server.request("POST", "/token", b"username=ada&password=pw", FORM)
        cls.reader = {"Authorization": "Bearer " + reply.json()["access_token"]}

    def post(self, path, body, headers=None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.server.request("POST", path, body, {**JSON, **(headers or {})})

    def test_syntax_comes_before_scopes_even_for_nobody(self):
        for path in ("/topics/save", "/events/publish", "/unitops/save", "/timeseries/subscribe"):
            reply = self.post(path, b"{x")
            self.assertEqual(reply.json()["detail"][0]["type"], "value_error.jsondecode", path)
            self.assertEqual(self.post(path, {}).json(), NOBODY, path)

    def test_scopes_come_before_what_the_body_lacks(self):
        for path in ("/topics/save", "/events/publish", "/unitops/save"):
            reply = self.post(path, {}, self.reader)
            self.assertEqual((reply.status, reply.json()), (403, FORBIDDEN), path)
        self.assertEqual(self.post("/timeseries/subscribe", {}, self.reader).status, 422)

    def test_scopes_come_before_query_parameters_and_look_ups(self):
        for path in ("/topics/search/none", "/unitops/search?q=x", "/timeseries/none/samples",
                     "/events/none/last", "/admin/info"):
            self.assertEqual(self.server.get(path).json(), NOBODY, path)
        self.assertEqual(self.server.get("/admin/info", self.reader).json(), FORBIDDEN)

    def test_an_unknown_source_comes_even_before_scopes(self):
        unitop = {"name": "u", "meta": {},
                  "data_mapping": {"x": {"source": "nope"}, "y": {"source": "My Machine"}}}
        for headers in ({}, self.reader):
            reply = self.post("/unitops/save", unitop, headers)
            self.assertEqual((reply.status, reply.json()), (422, {"detail": [{
                "loc": ["data_mapping", "x", "source"],
                "msg": "value is not a valid enumeration member; permitted: 'My Machine'",
                "type": "type_error.enum", "ctx": {"enum_values": ["My Machine"]}}]}))
        del unitop["meta"]  # not whole: then scopes are first
        self.assertEqual(self.post("/unitops/save", unitop).json(), NOBODY)

    def test_paths_methods_and_origins_come_before_who_asks(self):
        self.assertEqual(self.server.get("/none").status, 404)
        self.assertEqual(self.server.get("/topics/save").status, 405)
        self.assertEqual(self.post("/topics/save", {}, {"Origin": EVIL}).status, 403)

    def test_of_nobody_401_comes_before_501_and_of_others_501_before_403(self):
        server = serve(self, {"AUTH_DEBUG_REQUIRE_TOKEN": "true"}, {"host.yaml":
                       "sources: { m: { plugin: host, raise_on_no_scopes: true } }"})
        reply = server.request("POST", "/token", b"username=ada&password=pw", FORM)
        bearer = {"Authorization": "Bearer " + reply.json()["access_token"]}
        body = json.dumps({"name": "u", "meta": {}, "data_mapping": {
            "cpu": {"source": "m", "metric": "cpu.user"}}}).encode()
        reply = server.request("POST", "/unitops/save", body, {**JSON, **bearer})
        self.assertEqual(reply.status, 200, reply)
        for path in ("stream", "recorded", "samples?dataItem=cpu"):
            self.assertEqual(server.get(f"/timeseries/u/{path}").json(), NOBODY)
            reply = server.get(f"/timeseries/u/{path}", bearer)
            self.assertEqual((reply.status, reply.json()), (501, NO_SCOPES), path)


class Features(unittest.TestCase):
    def paths(self, server):
        reply = server.get("/openapi.json")
        return list(reply.json()["paths"]) if reply.status == 200 else []

    def check(self, settings, absent, present, managers):
        server = serve(self, conf={"host.yaml": HOST + "\n"}, settings=settings)
        for method, path, body in CHANGES:
            reply = server.request(method, path, json.dumps(body).encode() if body and
                                   not isinstance(body, bytes) else body,
                                   FORM if isinstance(body, bytes) else JSON)
            gone = path.startswith(absent)
            self.assertEqual(reply.status == 404, gone, f"{path} {reply}")
        for path in ("/topics/search", "/events/t/last", "/timeseries/sources", "/unitops/search",
                     "/timeseries/unitop/search"):
            self.assertEqual(server.get(path).json() == {"detail": "Not Found"},
                             path.startswith(absent), path)
        for path in present:
            self.assertEqual(server.get(path).status, 200, path)
        if "/timeseries" not in absent:
            server.save_unitop("u", {"cpu": {"source": "My Machine", "metric": "cpu.user"}})
            with server.stream("/timeseries/u/stream") as stream:
                self.assertEqual(stream.next().json()["subscription"]["source"], "My Machine")
        self.assertFalse([p for p in self.paths(server) if p.startswith(absent)])
        self.assertEqual({m["name"] for m in server.get("/admin/info").json()["info"]}, managers)
        text = server.get("/metrics").body.decode()
        self.assertTrue(text.endswith("# EOF\n"))
        self.assertEqual(server.stop(), 0)

    def test_without_events_the_rest_runs(self):
        self.check("features: {events: false}", ("/events", "/topics"),
                   ("/timeseries/sources", "/users/whoami", "/health/ready"), {"TimeseriesManager"})

    def test_without_timeseries_the_rest_runs(self):
        self.check("features: {timeseries: false}", ("/timeseries", "/unitops"),
                   ("/topics/search", "/users/whoami", "/health/ready"), {"EventManager"})

    def test_without_both_there_is_still_a_server(self):
        self.check("features: {events: false, timeseries: false}",
                   ("/events", "/topics", "/timeseries", "/unitops"),
                   ("/users/whoami", "/health/ready"), set())


if __name__ == "__main__":
    unittest.main()
