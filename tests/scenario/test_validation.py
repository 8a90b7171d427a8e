"""What the server says to bad input, row by row of contract sections 1.2 and 1.3, and the defects of
the original around it.  `[D n]` names the row of contract section 14 that a test decides."""

import datetime
import json
import unittest

from lib import client
from lib.server import Server, serve, until

CONF = """
sources:
  host: { plugin: host }
  My Source: { plugin: csv, record: all, options: { path: %s, poll: 200ms } }
"""
# Not further back than samples are kept.
EPOCH = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None, microsecond=0)
EPOCH -= datetime.timedelta(days=1)
JSON = {"Content-Type": "application/json"}
MISSING = ("field required", "value_error.missing")
NONE = ("none is not an allowed value", "type_error.none.not_allowed")
TEXT = ("str type expected", "type_error.str")
DICT = ("value is not a valid dict", "type_error.dict")
LIST = ("value is not a valid list", "type_error.list")
INTEGER = ("value is not a valid integer", "type_error.integer")
BOOLEAN = ("value could not be parsed to a boolean", "type_error.bool")
CPU = {"source": "host", "metric": "cpu.user"}
ENUM = ("value is not a valid enumeration member; permitted: 'host', 'My Source'",
        "type_error.enum", {"enum_values": ["host", "My Source"]})


def row(second, ab, ba):
    return f"{(EPOCH + datetime.timedelta(seconds=second)).isoformat()},{ab},{ba}\n"


def error(loc, text, ctx=None):
    """One entry of `detail`."""
    entry = {"loc": list(loc), "msg": text[0], "type": text[1]}
    if len(text) > 2:
        entry["ctx"] = text[2]
    return entry


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = cls.server = Server()
        cls.addClassCleanup(server.__exit__, None, None, None)
        rows = server.folder / "rows.csv"
        rows.write_text("timestamp,ab,ba\n" + row(0, 1, 2))
        (server.conf_dir / "x.yaml").write_text(CONF % rows)
        server.start()
        cls.get, cls.post = staticmethod(server.get), staticmethod(server.post)
        server.post("/topics/save", {"topic": "t", "jschema": {
            "properties": {"v": {"type": "number"}, "o": {"properties": {"k": {"enum": [1]}}}}}})
        server.save_unitop("u1", {"cpu": CPU})

    def check(self, reply, *errors):
        self.assertEqual((reply.status, reply.json()), (422, {"detail": list(errors)}))
        self.assertEqual(reply.headers["content-type"], "application/json")

    def says(self, reply, status, detail):
        self.assertEqual((reply.status, reply.json()), (status, {"detail": detail}))

    def ok(self, reply):
        self.assertEqual((reply.status, reply.json()), (200, {"status": "OK"}))


class Bodies(Base):
    def test_each_field_of_each_model(self):
        """[D 5]"""
        sub = lambda value: {"name": "x", "data_mapping": {"i": value}, "meta": {}}
        for path, body, errors in (
            # nothing, and not an object
            ("/topics/save", None, [error(["body"], MISSING)]),
            ("/topics/save", 5, [error(["body"], DICT)]),
            ("/topics/save", "text", [error(["body"], DICT)]),
            ("/topics/save", [1], [error(["body"], DICT)]),
            ("/topics/save", [["a"]], [error(["body"], DICT)]),
            # Topic
            ("/topics/save", {}, [error(["body", "topic"], MISSING),
                                  error(["body", "jschema"], MISSING)]),
            ("/topics/save", [], [error(["body", "topic"], MISSING),
                                  error(["body", "jschema"], MISSING)]),
            ("/topics/save", {"topic": None, "jschema": None},
             [error(["body", "topic"], NONE), error(["body", "jschema"], NONE)]),
            ("/topics/save", {"topic": {}, "jschema": 1},
             [error(["body", "topic"], TEXT), error(["body", "jschema"], DICT)]),
            ("/topics/save", {"topic": [], "jschema": [1]},
             [error(["body", "topic"], TEXT), error(["body", "jschema"], DICT)]),
            ("/topics/save", {"topic": "x", "jschema": "[1]"}, [error(["body", "jschema"], DICT)]),
            ("/topics/save", {"topic": "x", "jschema": "{x"}, [error(["body", "jschema"], DICT)]),
            ("/topics/save", {"topic": "x", "jschema": True}, [error(["body", "jschema"], DICT)]),
            # Event
            ("/events/publish", {}, [error(["body", "topic"], MISSING),
                                     error(["body", "payload"], MISSING)]),
            ("/events/publish", {"topic": None, "routing_key": {}, "payload": "x"},
             [error(["body", "topic"], NONE), error(["body", "routing_key"], TEXT),
              error(["body", "payload"], DICT)]),
            ("/events/publish", {"topic": "t", "payload": None}, [error(["body", "payload"], NONE)]),
            ("/events/publish", {"topic": "t", "payload": [1]}, [error(["body", "payload"], DICT)]),
            # UnitOp
            ("/unitops/save", {}, [error(["body", "name"], MISSING),
                                   error(["body", "data_mapping"], MISSING),
                                   error(["body", "meta"], MISSING)]),
            ("/unitops/save", {"name": None, "data_mapping": None, "meta": None},
             [error(["body", "name"], NONE), error(["body", "data_mapping"], NONE),
              error(["body", "meta"], NONE)]),
            ("/unitops/save", {"name": {}, "data_mapping": "x", "meta": 1},
             [error(["body", "name"], TEXT), error(["body", "data_mapping"], DICT),
              error(["body", "meta"], DICT)]),
            ("/unitops/save", sub(None), [error(["body", "data_mapping", "i"], NONE)]),
            ("/unitops/save", sub("x"), [error(["body", "data_mapping", "i"], DICT)]),
            ("/unitops/save", sub({}), [error(["data_mapping", "i", "source"], MISSING)]),
            ("/unitops/save", sub({"source": None}), [error(["data_mapping", "i", "source"], NONE)]),
            ("/unitops/save", sub({"source": "nope"}), [error(["data_mapping", "i", "source"], ENUM)]),
            ("/unitops/save", sub({"source": "HOST"}), [error(["data_mapping", "i", "source"], ENUM)]),
            # UnitopSubscriptionRequest
            ("/timeseries/subscribe", {}, [error(["body", "items"], MISSING)]),
            ("/timeseries/subscribe", {"items": None}, [error(["body", "items"], NONE)]),
            ("/timeseries/subscribe", {"items": "a"}, [error(["body", "items"], LIST)]),
            ("/timeseries/subscribe", {"items": {"a": 1}}, [error(["body", "items"], LIST)]),
            ("/timeseries/subscribe", {"items": ["a", None, {}, "a\0b"]},
             [error(["body", "items", 1], NONE), error(["body", "items", 2], TEXT),
              error(["body", "items", 3], TEXT)]),
        ):
            with self.subTest(path=path, body=body):
                data = json.dumps(body).encode()
                self.check(self.server.request("POST", path, data, JSON), *errors)

    def test_all_of_several_unknown_sources_are_named(self):
        self.check(self.post("/unitops/save", {"name": "x", "meta": {}, "data_mapping": {
            "a": {"source": "q"}, "b": CPU, "c": {"source": "r"}}}),
            error(["data_mapping", "a", "source"], ENUM), error(["data_mapping", "c", "source"], ENUM))

    def test_numbers_and_booleans_are_taken_for_texts(self):
        for value, text in ((5, "5"), (True, "True"), (False, "False")):
            self.ok(self.post("/topics/save", {"topic": value, "jschema": {}}))
            self.assertEqual(self.get(f"/topics/search/{text}").json()["topic"], text)
            self.ok(self.post("/unitops/save", {"name": value, "data_mapping": {}, "meta": {}}))
            self.assertEqual(self.get(f"/unitops/search/{text}").json()["name"], text)
        self.ok(self.post("/events/publish", {"topic": 5, "routing_key": 1.5, "payload": {}}))
        self.assertEqual(self.get("/events/5/last").json()["routing_key"], "1.5")
        token = lambda items: self.post("/timeseries/subscribe", {"items": items}).json()["token"]
        self.assertEqual(token([1, 2.5, True]), token(["True", "2.5", "1"]))

    def test_a_list_of_pairs_is_taken_for_an_object_everywhere(self):
        self.ok(self.post("/topics/save", [["topic", "pairs"], ["jschema", [["type", "object"]]]]))
        self.assertEqual(self.get("/topics/search/pairs").json()["jschema"], {"type": "object"})
        for payload, stored in (([["a", 1], ["b", [1.0, None]]], {"a": 1, "b": [1.0, None]}),
                                ([], {}), ([["a", 1], ["a", 2]], {"a": 2})):
            self.ok(self.post("/events/publish", {"topic": "pairs", "payload": payload}))
            self.assertEqual(self.get("/events/pairs/last").json()["payload"], stored)
        with self.server.stream("/events/pairs/stream") as stream:
            self.ok(self.post("/events/publish", [["topic", "pairs"], ["payload", {"b": 1}]]))
            self.assertEqual(stream.next().json()["payload"], {"b": 1})
        self.ok(self.post("/unitops/save", {"name": "pairs", "meta": [["a", []]],
                                            "data_mapping": [["cpu", CPU]]}))
        unitop = self.get("/unitops/search/pairs").json()
        self.assertEqual((unitop["data_mapping"], unitop["meta"]), ({"cpu": CPU}, {"a": []}))

    def test_a_schema_may_come_as_a_text(self):
        """[D 50]"""
        schema = {"type": "object", "required": ["x"]}
        self.ok(self.post("/topics/save", {"topic": "text", "jschema": json.dumps(schema)}))
        self.assertEqual(self.get("/topics/search/text").json()["jschema"], schema)
        self.says(self.post("/events/publish", {"topic": "text", "payload": {}}), 400,
                  "$-'x' is a required property")

    def test_a_bad_schema_is_told_by_its_path(self):
        self.check(self.post("/topics/save", {"topic": "x", "jschema": {"type": "nope"}}), error(
            ["body", "jschema"], ("deque(['type'])-'nope' is not valid under any of the given schemas",
                                  "value_error")))

    def test_a_body_that_is_not_json(self):
        send = lambda text, kind: self.server.request("POST", "/topics/save", text,
                                                      {"Content-Type": kind})
        msg = "Expecting property name enclosed in double quotes"
        for kind in ("application/json", "application/json; charset=utf-8", "application/x+json"):
            self.check(send(b"{x", kind), error(["body", 1], (
                msg + ": line 1 column 2 (char 1)", "value_error.jsondecode",
                {"msg": msg, "doc": "{x", "pos": 1, "lineno": 1, "colno": 2})))
        for kind in ("text/plain", "application/xml", "application/x-www-form-urlencoded"):
            self.check(send(b"{}", kind), error(["body"], DICT))
        self.check(send(b"", "application/json"), error(["body"], MISSING))


class Queries(Base):
    def test_each_typed_parameter(self):
        q = "/unitops/search?q="
        for path, entry in (
            (q, error(["query", "q"], MISSING)),
            (q + "x", error(["query", "q"], ("Invalid JSON", "value_error.json"))),
            (q + "%7B%7D&mapSubscriptions=2", error(["query", "mapSubscriptions"], BOOLEAN)),
            ("/unitops/search/u1?mapSubscriptions=x", error(["query", "mapSubscriptions"], BOOLEAN)),
            ("/events/t/query", error(["query", "routingKey"], MISSING)),
            ("/timeseries/u1/samples", error(["query", "dataItem"], MISSING)),
            ("/timeseries/u1/samples?dataItem=cpu&limit=x", error(["query", "limit"], INTEGER)),
            ("/timeseries/u1/samples?dataItem=cpu&limit=1.5", error(["query", "limit"], INTEGER)),
            ("/timeseries/u1/recorded?scanRate=x", error(["query", "scanRate"], INTEGER)),
            ("/timeseries/u1/recorded?scan_rate=5.0", error(["query", "scan_rate"], INTEGER)),
        ):
            with self.subTest(path=path):
                self.check(self.get(path), entry)

    def test_errors_of_several_parameters_come_in_one_answer(self):
        self.check(self.get("/unitops/search?q=x&mapSubscriptions=z"),
                   error(["query", "q"], ("Invalid JSON", "value_error.json")),
                   error(["query", "mapSubscriptions"], BOOLEAN))

    def test_details_of_everything_else(self):
        """[D 19]"""
        token = "0" * 32
        for path, status, detail in (
            ("/topics/search/none", 404, "No topics found matching criteria."),
            ("/events/none/last", 404, "No topics found matching criteria."),
            ("/events/none/stream", 404, "No topics found matching criteria."),
            ("/events/t/last?routingKey=none", 404, "No events found matching criteria."),
            ("/events/t/query?routingKey=none", 404, "No events found matching criteria."),
            ("/unitops/search/none", 404, "No unitops found matching criteria."),
            ("/unitops/search?q=%7B%22name%22:1%7D", 404, "No unitops found matching criteria."),
            ("/unitops/search?q=5", 400, "Invalid query."),
            ("/unitops/search?q=%5B%5D", 400, "Invalid query."),
            ("/timeseries/none/stream", 404, "No unitops found matching criteria."),
            ("/timeseries/none/samples?dataItem=x", 404, "No unitops found matching criteria."),
            ("/timeseries/u1/samples?dataItem=x", 400, "'x' not in 'u1'."),
            ("/timeseries/u1/samples?dataItem=x&limit=15001", 400,
             "Limit cannot be greater than 15000."),
            ("/timeseries/u1/stream?dataItem=x", 400, "No subscriptions matching criteria."),
            ("/timeseries/u1/recorded?dataItem=x", 400, "No subscriptions matching criteria."),
            (f"/timeseries/u1/stream?token={token}", 404, "Token was not found or it has expired."),
            (f"/timeseries/u1/recorded?token={token}&dataItem=cpu", 404,
             "Token was not found or it has expired."),
            ("/timeseries/u1/recorded?token=x", 404, "Token was not found or it has expired."),
        ):
            with self.subTest(path=path):
                self.says(self.get(path), status, detail)
        self.says(self.server.post("/timeseries/admin/manager/restart/nosuch"), 400,
                  "nosuch is not a registered source.")
        for path in ("/events/t/recorded", "/timeseries/u1/recorded"):
            self.says(self.get(path, {"Accept": "image/png"}), 415, "Unsupported Media Type")

    def test_a_payload_against_its_schema(self):
        for payload, detail in (({"v": "x"}, "$.v-'x' is not of type 'number'"),
                                ({"o": {"k": 2}}, "$.o.k-2 is not one of [1]")):
            self.says(self.post("/events/publish", {"topic": "t", "payload": payload}), 400, detail)
        self.says(self.post("/events/publish", {"topic": "none", "payload": {}}), 404,
                  "No topics found matching criteria.")


class Keys(Base):
    def publish(self, topic, key, payload):
        event = {"topic": topic, "payload": payload}
        if key is not None:
            event["routing_key"] = key
        self.ok(self.post("/events/publish", event))

    def test_a_stream_without_a_key_gets_the_whole_topic_and_a_dollar_is_a_hash(self):
        """[D 1]"""
        with self.server.stream("/events/t/stream") as whole, \
             self.server.stream("/events/t/stream?routingKey=$") as dollar, \
             self.server.stream("/events/t/stream?routingKey=a.$") as branch:
            for key in (None, "a", "a.b.c", "b"):
                self.publish("t", key, {})
            for stream in (whole, dollar):
                self.assertEqual([stream.next().json()["routing_key"] for _ in range(4)],
                                 ["t", "a", "a.b.c", "b"])
            self.assertEqual([branch.next().json()["routing_key"] for _ in range(2)], ["a", "a.b.c"])

    def test_a_key_is_found_with_its_topic_and_without(self):
        """[D 4]"""
        self.post("/topics/save", {"topic": "sample", "jschema": {}})
        with self.server.stream("/events/sample/stream?routingKey=b.c") as stream:
            for n, key in enumerate(("b.c", "sample.b.c")):
                self.publish("sample", key, {"n": n})
                self.assertEqual(stream.next().json(), dict(stream_event(self, "sample"),
                                                            routing_key=key, payload={"n": n}))
                for asked in ("b.c", "sample.b.c"):
                    last = self.get(f"/events/sample/last?routingKey={asked}").json()
                    self.assertEqual((last["routing_key"], last["payload"]), (key, {"n": n}))

    def test_another_topic_whose_name_begins_alike_is_another_topic(self):
        """[D 26]"""
        self.post("/topics/save", {"topic": "like", "jschema": {}})
        self.post("/topics/save", {"topic": "likes", "jschema": {}})
        with self.server.stream("/events/like/stream?routingKey=likes.x") as stream:
            self.publish("likes", "x", {"of": "likes"})
            self.publish("like", "likes.x", {"of": "like"})
            self.assertEqual(stream.next().json()["payload"], {"of": "like"})

    def test_a_changed_topic_is_saved_and_holds_at_once(self):
        """[D 13]"""
        for kind, good, bad in (("string", "x", 1), ("integer", 1, "x"), ("string", "y", 2)):
            self.ok(self.post("/topics/save", {
                "topic": "changing", "jschema": {"properties": {"v": {"type": kind}}}}))
            self.publish("changing", "k", {"v": good})
            reply = self.post("/events/publish", {"topic": "changing", "payload": {"v": bad}})
            self.assertEqual(reply.status, 400, reply)
        self.assertEqual(self.get("/topics/search").json()["items"].count("changing"), 1)

    def test_a_limit_of_subscribers_is_503_with_retry_after(self):
        """[D 2]"""
        server = serve(self, {"EVENTS_MAX_SUBSCRIBERS": "1"})
        server.post("/topics/save", {"topic": "t", "jschema": {}})
        with server.stream("/events/t/stream"):
            reply = server.get("/events/t/stream?routingKey=other")
            self.assertEqual((reply.status, reply.json(), reply.headers["retry-after"]),
                             (503, {"detail": "Broker is unavailable."}, "5"))


def stream_event(test, topic):
    """The newest event as /last has it; a stream has the same."""
    return test.get(f"/events/{topic}/last").json()


class Items(Base):
    def column(self, name):
        return {"source": "My Source", "column": name}

    def test_the_limit_of_samples_takes_the_newest_and_gives_them_ascending(self):
        """[D 15]"""
        path = self.server.folder / "rows.csv"
        with open(path, "a") as file:
            file.writelines(row(n, n, 0) for n in range(1, 60))
        self.server.save_unitop("many", {"n": self.column("ab")})
        full = until(lambda: (lambda s: s if len(s) == 60 else None)(
            self.server.samples("many", "n")), "the rows are read")
        for limit in (1, 7, 59, 60, 61):
            self.assertEqual(self.server.samples("many", "n", limit=limit), full[-limit:])

    def test_a_token_stands_for_its_items_and_only_for_them(self):
        """[D 19]"""
        self.server.save_unitop("tokens", {"ab": self.column("ab"), "c": self.column("ba"),
                                           "a": CPU})
        token = lambda *items: self.post("/timeseries/subscribe", {"items": items}).json()["token"]
        self.assertEqual(token("ab", "c"), token("c", "ab"))
        self.assertNotEqual(token("ab", "c"), token("a", "bc"))
        header = lambda **query: sorted(self.server.recorded("tokens", **query)[0][1:])
        self.assertEqual(header(token=token("ab")), ["ab"])
        self.assertEqual(header(token=token("ab"), dataItem="c"), ["ab", "c"])
        self.assertEqual(header(token=token("ab", "none")), ["ab"])
        self.assertEqual(header(token=token()), ["a", "ab", "c"])  # none asked for: all
        reply = self.get(f"/timeseries/tokens/recorded?token={token('none')}")
        self.says(reply, 400, "No subscriptions matching criteria.")

    def test_a_source_needs_no_scopes(self):
        """[D 41]"""
        self.server.save_unitop("open", {"cpu": CPU})
        with self.server.stream("/timeseries/open/stream") as stream:
            self.assertEqual(stream.next().json()["subscription"], CPU)


if __name__ == "__main__":
    unittest.main()
