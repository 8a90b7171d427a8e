"""The server's description of itself: it says what the server does, and the server does what it says."""

import gzip
import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path
from urllib.parse import quote

from lib import client
from lib.server import BUILD, Server, until

# The names of the examples in core/app/api.json, so that they can be sent as they stand.
SOURCES = """
sources:
  plc:
    plugin: host
    options: { interval: 200ms }
    record: [{ metric: cpu.user }]
"""
TOPIC = {"topic": "alarms",
         "jschema": {"type": "object", "required": ["level"],
                     "properties": {"level": {"type": "integer"}}}}
UNITOP = {"name": "boiler", "meta": {"area": "north"},
          "data_mapping": {"temp": {"source": "plc", "metric": "cpu.user"}}}
EVENT = {"topic": "alarms", "routing_key": "alarms.tank1", "payload": {"level": 3}}

# Where an example cannot be sent as it stands: the plugin at hand has no tags.
BODIES = {"/unitops/save": UNITOP}
# Routes that end others' streams or need what is not here: any status they declare will do.
ANY_STATUS = {"/token"}


class Validator:
    """`hyprxa schema validate` with a schema of a document's components."""

    def __init__(self, document):
        self.components = document["components"]
        self.folder = tempfile.TemporaryDirectory()

    def failure(self, schema, instance):
        """Why not; None when it is valid."""
        folder = Path(self.folder.name)
        # The references stay as they are.  In an array, for `schema` may be a reference itself.
        (folder / "schema").write_text(json.dumps(
            {"components": self.components, "allOf": [schema]}), encoding="utf-8")
        (folder / "instance").write_text(json.dumps(instance), encoding="utf-8")
        done = subprocess.run([BUILD / "bin" / "hyprxa", "schema", "validate", folder / "schema",
                               folder / "instance"], capture_output=True, text=True, timeout=60,
                              check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.stdout if done.returncode else None


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation


def media_of(answer):
    return answer.get("content", {})


def part_of(parameter):
    """What holds its schema and example."""
    return media_of(parameter).get("application/json", parameter)


class Described(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server({"plc.yaml": SOURCES}).start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        for path, body in (("/topics/save", TOPIC), ("/unitops/save", UNITOP),
                           ("/events/publish", EVENT)):
            reply = cls.server.post(path, body)
            assert reply.status == 200, reply
        cls.document = cls.server.get("/openapi.json").json()
        cls.validator = Validator(cls.document)
        cls.addClassCleanup(cls.validator.folder.cleanup)

    def assertValid(self, schema, instance, what):
        failure = self.validator.failure(schema, instance)
        self.assertIsNone(failure, f"{what}: {failure}")

    # --- the document ---

    def test_names_itself(self):
        self.assertTrue(self.document["openapi"].startswith("3.1."))
        self.assertEqual(self.document["info"]["title"], "hyprxa")
        version = subprocess.run([BUILD / "bin" / "hyprxad", "--version"], capture_output=True,
                                 text=True, check=True).stdout
        self.assertIn(self.document["info"]["version"], version)

    def test_leaves_nothing_out(self):
        """The server logs, at start, each route whose example, schema or description is missing."""
        self.assertNotIn("api.json", self.server.log())
        for path, method, operation in operations(self.document):
            with self.subTest(f"{method} {path}"):
                self.assertTrue(operation["summary"])
                self.assertTrue({"200", "101"} & operation["responses"].keys())
                for parameter in operation["parameters"]:
                    self.assertTrue(parameter["description"])

    def test_operation_ids_have_the_original_form_and_are_distinct(self):
        ids = [operation["operationId"] for _, _, operation in operations(self.document)]
        self.assertEqual(len(ids), len(set(ids)))
        for known in ("publish_events_publish_post",
                      "reset_manager_events_admin_manager_restart_post",
                      "stream_events__topic__stream_get"):
            self.assertIn(known, ids)

    def test_every_reference_leads_somewhere(self):
        def references(value):
            if isinstance(value, dict):
                if isinstance(value.get("$ref"), str):
                    yield value["$ref"]
                value = list(value.values())
            if isinstance(value, list):
                for item in value:
                    yield from references(item)

        for reference in set(references(self.document)):
            at = self.document
            for step in reference.removeprefix("#/").split("/"):
                self.assertIn(step, at, reference)
                at = at[step]

    def test_examples_satisfy_their_schemas(self):
        checked = 0
        for path, method, operation in operations(self.document):
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            parts = [part for body in bodies for part in media_of(body).values()]
            parts += [part_of(p) for p in operation["parameters"]]
            parts.append(operation.get("x-websocket", {}))
            for part in parts:
                if "example" in part and "schema" in part:
                    self.assertValid(part["schema"], part["example"], f"{method} {path}")
                    checked += 1
        for status, answer in self.document["components"]["responses"].items():
            for part in media_of(answer).values():
                self.assertValid(part["schema"], part["example"], status)
                checked += 1
        self.assertGreater(checked, 50)

    def test_the_validator_would_notice(self):
        self.assertIsNotNone(self.validator.failure(
            {"$ref": "#/components/schemas/EventDocument"}, {"topic": "alarms"}))

    # --- the server ---

    def request_of(self, path, operation):
        """Path with query, body and headers, from the examples."""
        query = {}
        for parameter in operation["parameters"]:
            name, value = parameter["name"], part_of(parameter).get("example")
            if parameter["in"] == "path":
                path = path.replace("{%s}" % name, quote(value, safe=""))
            elif parameter["in"] == "query" and value is not None:
                if isinstance(value, (dict, bool)):
                    value = json.dumps(value)
                query[name] = value
        body, headers = None, {}
        for media, part in media_of(operation.get("requestBody", {})).items():
            if media == "application/json":
                body = BODIES.get(path, part["example"])
            elif media == "application/x-www-form-urlencoded":
                body = client.with_query("", **part["example"])[1:].encode()
                headers["Content-Type"] = media
        return client.with_query(path, **query), body, headers

    def check_stream(self, path, part, what):
        with self.server.stream(path) as stream:
            if path.startswith("/events/"):
                self.server.post("/events/publish", EVENT)
            elif path.startswith("/admin/"):
                return  # logs come when they come
            self.assertValid(part["schema"], stream.next().json(), what)

    def check_answer(self, path, method, operation):
        what = f"{method} {path}"
        target, body, headers = self.request_of(path, operation)
        success = media_of(operation["responses"].get("200", {}))
        if "101" in operation["responses"]:
            reply = self.server.get(target)  # without the handshake
            self.assertIn(str(reply.status), operation["responses"], what)
            return
        if "text/event-stream" in success:
            self.check_stream(target, success["text/event-stream"], what)
            return
        for media in success:
            reply = self.server.request(method, target, body, {**headers, "Accept": media})
            self.assertIn(str(reply.status), operation["responses"], what)
            if path in ANY_STATUS:
                continue
            self.assertEqual(reply.status, 200, f"{what}: {reply}")
            sent = reply.headers["content-type"].partition(";")[0]
            self.assertTrue(media in (sent, "*/*"), f"{what}: {sent}")
            if media == "application/json":
                self.assertValid(success[media]["schema"], reply.json(), what)

    def test_every_route_answers_its_example_as_it_says(self):
        until(lambda: self.server.samples("boiler", "temp"), "samples of the unitop")
        ending = lambda item: "restart" in item[0]  # last: these end streams
        for path, method, operation in sorted(operations(self.document), key=ending):
            with self.subTest(f"{method} {path}"):
                self.check_answer(path, method, operation)
        # And none of them used what its row does not declare.
        metrics = self.server.get("/metrics").body.decode()
        self.assertIn("\nhyprxa_http_undeclared_total 0\n", metrics)

    def test_refusals_have_the_described_shape(self):
        detail = {"$ref": "#/components/schemas/Detail"}
        invalid = {"$ref": "#/components/schemas/HTTPValidationError"}
        for reply, status, schema in (
                (self.server.get("/topics/search/nothing"), 404, detail),
                (self.server.post("/events/publish", {**EVENT, "payload": {}}), 400, detail),
                (self.server.post("/events/publish", {}), 422, invalid),
                (self.server.get("/events/alarms/recorded?startTime=bogus"), 422, invalid),
                (self.server.get("/events/alarms/recorded", {"Accept": "image/png"}), 415, detail)):
            self.assertEqual(reply.status, status)
            self.assertValid(schema, reply.json(), reply)

    # --- caching ---

    def test_is_sent_again_only_when_it_changed(self):
        reply = self.server.get("/openapi.json")
        self.assertEqual(reply.headers["content-type"], "application/json")
        for headers in ({"If-None-Match": reply.headers["etag"]},
                        {"If-None-Match": f'"other", W/{reply.headers["etag"]}'},
                        {"If-Modified-Since": reply.headers["last-modified"]}):
            again = self.server.get("/openapi.json", headers)
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(again.headers["etag"], reply.headers["etag"])
            self.assertNotIn("content-length", again.headers)
        for headers in ({"If-None-Match": '"other"'},
                        {"If-None-Match": '"other"',
                         "If-Modified-Since": reply.headers["last-modified"]},
                        {"If-Modified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}):
            self.assertEqual(self.server.get("/openapi.json", headers).status, 200)


class Switched(unittest.TestCase):
    def document(self, **env):
        with Server(env=env) as server:
            return server.start().get("/openapi.json").json()

    def test_routes_that_are_left_out_are_not_described(self):
        everything = self.document()["paths"].keys()
        events = {p for p in everything if re.match("/(events|topics|asyncapi.json)", p)}
        series = {p for p in everything if re.match("/(timeseries|unitops)/", p)}
        self.assertTrue(events and series)
        for switch, gone in (("FEATURES_EVENTS", events), ("FEATURES_TIMESERIES", series)):
            self.assertEqual(self.document(**{switch: "false"})["paths"].keys(),
                             everything - gone)

    def test_a_login_is_described_when_it_is_offered(self):
        schemes = self.document()["components"]["securitySchemes"]
        self.assertEqual(schemes["HTTPBearer"]["type"], "http")
        document = self.document(HYPRXA_INTERACTIVE_AUTH="true", HYPRXA_TOKEN_PATH="/log/in")
        self.assertEqual(document["components"]["securitySchemes"], {
            "OAuth2PasswordBearer": {"type": "oauth2", "flows": {
                "password": {"scopes": {}, "tokenUrl": "/log/in"}}}})
        self.assertIn("/log/in", document["paths"])
        security = document["paths"]["/topics/save"]["post"]["security"]
        self.assertEqual(security, [{"OAuth2PasswordBearer": []}])


class Pages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)
        cls.get = staticmethod(cls.server.get)

    def test_pages_are_named_and_have_everything_from_here(self):
        for path, title in (("/", "hyprxa"), ("/docs", "hyprxa - OpenAPI"),
                            ("/redoc", "hyprxa - OpenAPI"),
                            ("/docs/oauth2-redirect", "hyprxa - OpenAPI")):
            reply = self.get(path)
            self.assertEqual(reply.status, 200)
            self.assertEqual(reply.headers["content-type"], "text/html; charset=utf-8")
            text = reply.body.decode()
            self.assertIn(f"<title>{title}</title>", text)
            policy = reply.headers["content-security-policy"]
            self.assertIn("default-src 'self'", policy)
            self.assertNotIn("script-src", policy)  # scripts: the default
            self.assertNotIn("http:", text.replace("http://127.0.0.1:8000", ""))
            self.assertNotIn("https:", text)
            self.assertNotRegex(text, r"<script(?! src)")  # none inline
            for name in re.findall(r'(?:src|href)="(?:\.\./)?static/([^"]+)"', text):
                self.assertEqual(self.get(f"/static/{name}").status, 200, name)

    def test_pages_say_what_is_missing(self):
        with tempfile.TemporaryDirectory() as empty:
            with Server(env={"HYPRXA_WEB_DIR": empty}) as server:
                server.start()
                for path in ("/docs", "/redoc", "/docs/oauth2-redirect", "/"):
                    reply = server.get(path)
                    self.assertEqual(reply.status, 200)
                    self.assertIn(b"tools/setup", reply.body)
                self.assertEqual(server.get("/favicon.ico").status, 404)
                self.assertEqual(server.get("/openapi.json").status, 200)

    def test_icon(self):
        for path in ("/favicon.ico", "/static/favicon.png"):
            reply = self.get(path)
            self.assertEqual(reply.headers["content-type"], "image/png")
            self.assertEqual(reply.body[:8], b"\x89PNG\r\n\x1a\n")
            self.assertEqual(reply.headers["cache-control"], "no-cache")
            head = self.server.request("HEAD", path)
            self.assertEqual((head.status, head.body), (200, b""))
            self.assertEqual(head.headers["content-length"], str(len(reply.body)))
            for header, value in (("If-None-Match", reply.headers["etag"]),
                                  ("If-Modified-Since", reply.headers["last-modified"])):
                self.assertEqual(self.get(path, {header: value}).status, 304)

    def test_an_asset_is_named_and_never_a_file(self):
        for name in ("nothing", "..", "../openapi.json", "..%2f..%2fbin%2fhyprxad", "%2e%2e",
                     "docs.js.gz", "favicon.png%00", "sub/docs.js", "..%5cdocs.js"):
            self.assertIn(self.get(f"/static/{name}").status, (400, 404), name)

    def test_compressed_for_whoever_takes_it(self):
        if self.get("/static/swagger-ui.css").status == 404:
            self.skipTest("the libraries are not there: no npm registry at build time")
        path = "/static/swagger-ui.css"
        plain = self.get(path)
        self.assertNotIn("content-encoding", plain.headers)
        for accept in ("gzip", "br, gzip;q=0.5", "deflate, GZIP"):
            reply = self.get(path, {"Accept-Encoding": accept})
            self.assertEqual(reply.headers["content-encoding"], "gzip", accept)
            self.assertEqual(reply.headers["vary"], "Accept-Encoding")
            self.assertEqual(gzip.decompress(reply.body), plain.body)
        for accept in ("br", "gzip;q=0", "x-gzip2", ""):
            reply = self.get(path, {"Accept-Encoding": accept})
            self.assertNotIn("content-encoding", reply.headers, accept)

    def test_libraries_ask_nobody_else(self):
        reply = self.get("/static/redoc.standalone.js")
        if reply.status == 404:
            self.skipTest("the libraries are not there: no npm registry at build time")
        self.assertNotIn(b"cdn.redoc.ly", reply.body)
        self.assertIn(b"validatorUrl: null", self.get("/static/docs.js").body)


class Topics(unittest.TestCase):
    """/asyncapi.json"""

    def setUp(self):
        self.server = Server().start()
        self.addCleanup(self.server.__exit__, None, None, None)

    def save(self, topic, schema):
        reply = self.server.post("/topics/save", {"topic": topic, "jschema": schema})
        self.assertEqual(reply.status, 200, reply)

    def document(self):
        reply = self.server.get("/asyncapi.json")
        self.assertEqual(reply.status, 200)
        return reply.json()

    def test_has_a_channel_for_every_topic_of_the_moment(self):
        self.assertEqual(self.document()["channels"], {})
        self.save("alarms", TOPIC["jschema"])
        before = self.server.get("/asyncapi.json")
        etag = {"If-None-Match": before.headers["etag"]}
        self.assertEqual(self.server.get("/asyncapi.json", etag).status, 304)
        self.save("batches", {"$schema": "http://json-schema.org/draft-07/schema#"})
        self.assertEqual(self.server.get("/asyncapi.json", etag).status, 200)
        document = self.document()
        self.assertEqual(document["asyncapi"], "3.0.0")
        self.assertEqual(document["channels"].keys(), {"alarms", "batches"})
        channel = document["channels"]["alarms"]
        self.assertEqual(channel["address"], "alarms.{routing_key}")
        self.assertEqual(channel["x-server-sent-events"],
                         "/events/alarms/stream?routingKey={routing_key}")
        schemas = document["components"]["schemas"]
        self.assertEqual(schemas["alarms"]["schema"], TOPIC["jschema"])
        self.assertTrue(schemas["batches"]["schemaFormat"].endswith("version=draft-07"))

    def test_messages_are_what_is_streamed_and_posted(self):
        self.save("alarms", {"properties": {"level": {"$ref": "#/$defs/level"}},
                             "required": ["level"], "$defs": {"level": {"type": "integer"}}})
        document = self.document()
        validator = Validator(document)
        self.addCleanup(validator.folder.cleanup)
        message = document["components"]["messages"]
        with self.server.stream("/events/alarms/stream") as stream:
            self.server.post("/events/publish", EVENT)
            event = stream.next().json()
        self.assertIsNone(validator.failure(message["alarms"]["payload"], event))
        self.assertIsNone(validator.failure(message["alarms.post"]["payload"], EVENT))
        event["payload"]["level"] = "high"  # found through the rewritten reference
        self.assertIn("is not of type 'integer'",
                      validator.failure(message["alarms"]["payload"], event))

    def test_references_lead_where_the_schema_stands(self):
        self.save("alarms", {
            "$id": "http://example.com/a.json", "$ref": "http://example.com/a.json#/$defs/a",
            "properties": {"default": {"$ref": "#"}, "b": {"default": {"$ref": "#/data"}},
                           "c": {"$ref": "#named"}, "d": {"$id": "d", "$ref": "#/$defs/x",
                                                          "$defs": {"x": True}}},
            "allOf": [{"$ref": "#/$defs/a"}],
            "$defs": {"a": {"type": "object"}, "n": {"$anchor": "named"}}})
        at = "#/components/schemas/alarms/schema"
        schema = self.document()["components"]["schemas"]["alarms"]["schema"]
        self.assertNotIn("$id", schema)
        self.assertEqual(schema["$ref"], f"{at}/$defs/a")
        self.assertEqual(schema["allOf"], [{"$ref": f"{at}/$defs/a"}])
        self.assertEqual(schema["properties"]["default"], {"$ref": at})
        self.assertEqual(schema["properties"]["b"], {"default": {"$ref": "#/data"}})
        self.assertEqual(schema["properties"]["c"], {"$ref": "#named"})
        self.assertEqual(schema["properties"]["d"]["$ref"], "#/$defs/x")

    def test_what_does_not_fit_is_left_out_and_counted(self):
        large = {"description": "x" * 1_000_000}
        for i in range(20):
            self.save(f"large{i:02}", large)
        self.save("small", {})
        document = self.document()
        self.assertGreater(document["x-omitted"], 0)
        self.assertEqual(len(document["channels"]) + document["x-omitted"], 21)
        self.assertEqual(document["channels"].keys(), document["components"]["schemas"].keys())
        self.assertIn("small", document["channels"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
