"""hyprxa, the command line tool: its exit codes and words, and the server's verdict in its own."""

import json
import subprocess
import tempfile
import unittest
from pathlib import Path

from lib.server import BUILD, Server

PROGRAM = BUILD / "bin" / "hyprxa"

BAD_TYPE = "deque(['type'])-'nope' is not valid under any of the given schemas"
DRAFT4 = "http://json-schema.org/draft-04/schema#"
NUMBER = {"properties": {"v": {"type": "number"}}}

# Schema, payload, and what both must say; None: accepted.
VERDICTS = [
    (NUMBER, {"v": 1}, None),
    (NUMBER, {"v": "x"}, "$.v-'x' is not of type 'number'"),
    ({"required": ["a"]}, {}, "$-'a' is a required property"),
    ({"properties": {"l": {"items": {"minimum": 2}}}}, {"l": [2, 1]},
     "$.l[1]-1 is less than the minimum of 2"),
    ({"$schema": DRAFT4, "properties": {"v": {"minimum": 1, "exclusiveMinimum": True}}}, {"v": 1},
     "$.v-1 is less than or equal to the minimum of 1"),
    ({"properties": {"v": {"enum": ["a", None, 1.5]}}}, {"v": "b"},
     "$.v-'b' is not one of ['a', None, 1.5]"),
    ({"properties": {"t": {"format": "date-time"}}}, {"t": "yesterday"}, None),
    ({"properties": {"v": {"multipleOf": 0.5}}}, {"v": 4.5}, None),
    ({"additionalProperties": False}, {"v": {"deep": [1]}},
     "$-Additional properties are not allowed ('v' was unexpected)"),
    ({"properties": {"v": {"pattern": "^(a+)+$"}}}, {"v": "a" * 60 + "b"},
     "the value takes too many steps to validate"),
    ({"unevaluatedProperties": False, "anyOf": [{"properties": {"a": True}}]}, {"a": 1, "b": 2},
     "$-Unevaluated properties are not allowed ('b' was unexpected)"),
    ({"properties": {"ü": {"type": "string"}}}, {"ü": 1}, "$.ü-1 is not of type 'string'"),
]
BAD_SCHEMAS = [
    ({"type": "nope"}, BAD_TYPE),
    ({"properties": {"a": {"minLength": -1}}},
     "deque(['properties', 'a', 'minLength'])-"),
    ({"$ref": "https://example.org/other"}, "deque(['$ref'])-"),
    ({"$ref": "#"}, "deque("),
    ({"pattern": "("}, "deque(['pattern'])-"),
]


def hyprxa(*arguments, stdin=""):
    return subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, text=True,
                          timeout=60, check=False)


class Cli(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def ends(self, done, status, out="", err=""):
        self.assertEqual((done.returncode, done.stdout, done.stderr), (status, out, err))

    def validate(self, schema, instance, *flags):
        return hyprxa("schema", "validate", *flags, self.file("schema.json", schema),
                      self.file("instance.json", instance))

    # --- the command line ---

    def test_help_is_everywhere(self):
        for arguments in ([], ["schema"], ["schema", "validate"]):
            done = hyprxa(*arguments, "--help")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout.startswith("Usage: hyprxa "), done.stdout)
            self.assertIn("validate", done.stdout)

    def test_version_is_the_servers(self):
        server = subprocess.run([BUILD / "bin" / "hyprxad", "--version"], capture_output=True,
                                text=True, check=True).stdout
        self.ends(hyprxa("--version"), 0, server.replace("hyprxad", "hyprxa"))

    def test_wrong_command_lines_end_with_64(self):
        schema = self.file("schema.json", NUMBER)
        for arguments in ([], ["nothing"], ["schema"], ["schema", "nothing"],
                          ["schema", "validate"], ["schema", "validate", schema],
                          ["schema", "validate", schema, schema, schema],
                          ["schema", "validate", "--nothing", schema, schema],
                          ["schema", "validate", "-", "-"]):
            done = hyprxa(*arguments)
            self.assertEqual((done.returncode, done.stdout), (64, ""), arguments)
            self.assertTrue(done.stderr, arguments)

    # --- schema validate ---

    def test_valid_is_0_and_silent(self):
        self.ends(self.validate(NUMBER, {"v": 1}), 0)

    def test_invalid_is_1_with_the_reason(self):
        self.ends(self.validate(NUMBER, {"v": "x"}), 1, "$.v-'x' is not of type 'number'\n")

    def test_bad_schema_is_2_with_the_reason(self):
        self.ends(self.validate({"type": "nope"}, {}), 2, "", BAD_TYPE + "\n")
        for text in ("{", "[1]", "\ufeff{}", '{"a":1,"a":2}', "1e400", "[" * 100000):
            done = self.validate(text, {})
            self.assertEqual((done.returncode, done.stdout), (2, ""), text[:20])

    def test_what_is_no_json_is_65(self):
        for text in ("", "{'v':1}", "NaN", "[" * 100000, '"\\ud800"', "9" * 10000):
            done = self.validate(NUMBER, text)
            self.assertEqual((done.returncode, done.stdout), (65, ""), text[:20])
            self.assertIn("instance.json: ", done.stderr)

    def test_what_cannot_be_read_is_66(self):
        schema = self.file("schema.json", NUMBER)
        for other in ("nothing.json", "."):
            for pair in ((schema, self.folder / other), (self.folder / other, schema)):
                done = hyprxa("schema", "validate", *pair)
                self.assertEqual((done.returncode, done.stdout), (66, ""), pair)

    def test_either_is_standard_input(self):
        schema, instance = self.file("s", NUMBER), self.file("i", {"v": "x"})
        said = "$.v-'x' is not of type 'number'\n"
        self.ends(hyprxa("schema", "validate", "-", instance, stdin=json.dumps(NUMBER)), 1, said)
        self.ends(hyprxa("schema", "validate", schema, "-", stdin='{"v":"x"}'), 1, said)

    def test_all_prints_every_failure(self):
        schema = {"required": ["z"], "properties": {"l": {"items": {"minimum": 2}}}}
        done = self.validate(schema, {"l": [1, 5, 0]}, "--all")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(sorted(done.stdout.splitlines()),
                         ["$-'z' is a required property", "$.l[0]-1 is less than the minimum of 2",
                          "$.l[2]-0 is less than the minimum of 2"])

    def test_format_is_checked_on_request(self):
        schema = {"properties": {"t": {"format": "date"}}}
        self.ends(self.validate(schema, {"t": "1.1.2020"}), 0)
        self.ends(self.validate(schema, {"t": "1.1.2020"}, "--format"), 1,
                  "$.t-'1.1.2020' is not a 'date'\n")

    # --- the same as the server ---

    def test_the_server_gives_the_same_verdict(self):
        with Server() as server:
            server.start()
            for i, (schema, payload, expected) in enumerate(VERDICTS):
                with self.subTest(schema=schema):
                    topic = f"t{i}"
                    reply = server.post("/topics/save", {"topic": topic, "jschema": schema})
                    self.assertEqual(reply.status, 200, reply)
                    reply = server.post("/events/publish",
                                        {"topic": topic, "routing_key": "a", "payload": payload})
                    said = None if reply.status == 200 else reply.json()["detail"]
                    self.assertEqual((reply.status, said), (400 if expected else 200, expected))
                    self.ends(self.validate(schema, payload), 1 if expected else 0,
                              f"{expected}\n" if expected else "")
            for schema, expected in BAD_SCHEMAS:
                with self.subTest(schema=schema):
                    reply = server.post("/topics/save", {"topic": "bad", "jschema": schema})
                    self.assertEqual(reply.status, 422, reply)
                    (error,) = reply.json()["detail"]
                    self.assertEqual(error["loc"], ["body", "jschema"])
                    self.assertTrue(error["msg"].startswith(expected), error)
                    self.ends(self.validate(schema, {}), 2, "", error["msg"] + "\n")

    def test_nesting_is_cut_where_the_server_cuts_it(self):
        with Server() as server:
            server.start()
            server.post("/topics/save", {"topic": "deep", "jschema": {}})
            for depth, status, code in ((63, 200, 0), (64, 422, 65)):
                payload = '{"a":' * depth + "1" + "}" * depth
                body = f'{{"topic":"deep","routing_key":"a","payload":{payload}}}'
                self.assertEqual(server.post("/events/publish", body.encode()).status, status)
                self.assertEqual(self.validate({}, payload).returncode, code, depth)


if __name__ == "__main__":
    unittest.main()
