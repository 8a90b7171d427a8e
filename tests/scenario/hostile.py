"""Schemas and instances made to take a validator's time, memory or stack."""

import json


class Raw(str):
    """JSON text as it stands."""


def _text(value):
    return value if isinstance(value, Raw) else json.dumps(value, separators=(",", ":"))


def _nested(before, inside, after, n):
    return Raw(before * n + inside + after * n)


def _chain(n, keyword, tail):
    """$defs d0 to dn, each holding the next one twice under `keyword`."""
    defs = {f"d{i}": {keyword: [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(n)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{n}": tail}}


def _tree(n):
    """A schema that applies itself 2^n times to a value of n levels."""
    return {"$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}, "minItems": 9}] * 2}},
            "$ref": "#/$defs/a"}


_OBJECTS = [{"a": i, "b": [i, {"c": str(i)}]} for i in range(10000)]
_DIGITS = "9" * 10000
_MEMBERS = {f"m{i}": i for i in range(20000)}

# Name, schema, instance, what `hyprxa schema validate` may end with: 0 valid, 1 not valid,
# 2 bad schema, 65 bad instance.
CASES = [(name, _text(schema), _text(instance), codes) for name, schema, instance, codes in [
    # regular expressions
    ("catastrophic pattern", {"pattern": "^(a+)+$"}, "a" * 5000 + "b", {1}),
    ("catastrophic alternation", {"pattern": "^(a|a|a)*$"}, "a" * 5000 + "b", {1}),
    ("catastrophic look-ahead", {"pattern": "^(?=(a+)+$)"}, "a" * 60 + "b", {1}),
    ("catastrophic back-reference", {"pattern": r"^(.*)(.*)(.*)(.*)\1\2\3\4x$"}, "a" * 4000, {1}),
    ("recursive pattern", {"pattern": "^(a(?1)?a)*$"}, "a" * 4000 + "b", {1}),
    ("many slow patterns", {"allOf": [{"pattern": f"^(a+)+{i}$"} for i in range(500)]},
     "a" * 2000 + "b", {1}),
    ("slow pattern for each item", {"items": {"pattern": "^(a+)+$"}}, ["a" * 40 + "b"] * 2000,
     {1}),
    ("slow patternProperties", {"patternProperties": {f"^(a+)+{i}$": {} for i in range(300)}},
     {"a" * 40 + str(i) + "b": 1 for i in range(300)}, {1}),
    ("pattern that explodes when compiled", {"pattern": "((((a{1,999}){1,999}){1,999}){1,999})"},
     "x", {2}),
    ("deeply nested parentheses", {"pattern": "(" * 5000 + ")" * 5000}, "x", {2}),
    ("pattern of a million letters", {"pattern": "a" * 1000000}, "x", {1, 2}),
    ("many big patterns", {"allOf": [{"pattern": f"[a-z]{{1,500}}{i}"} for i in range(1500)]},
     "x", {1, 2}),
    ("pattern over a long text", {"pattern": "x.*y.*z"}, "xy" * 100000, {1}),
    ("patterns just below the limit of one", {"items": {"not": {"pattern": "^(a+)+$"}}},
     ["a" * 14 + "b"] * 5000, {0, 1}),
    # references
    ("reference to itself", {"$ref": "#"}, "x", {2}),
    ("loop of references", {"$ref": "#/$defs/a", "$defs": {
        "a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "x", {2}),
    ("long chain of references", {"$ref": "#/$defs/d0", "$defs": {
        f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} if i < 9999 else {} for i in range(10000)}}, "x",
     {0, 1, 2}),
    ("exponential allOf", _chain(40, "allOf", {"type": "string"}), 1, {1, 2}),
    ("exponential anyOf that fails", _chain(40, "anyOf", {"type": "string"}), 1, {1, 2}),
    ("exponential oneOf", _chain(40, "oneOf", {"type": "integer"}), 1, {1, 2}),
    ("exponential oneOf over items", _tree(60), _nested("[", "1", "]", 60), {1, 2}),
    ("exponential dynamic references", {"$dynamicAnchor": "n", "anyOf": [
        {"items": {"$dynamicRef": "#n"}, "minItems": 9}] * 2}, _nested("[", "1", "]", 60), {1, 2}),
    ("exponential unevaluatedProperties", {"$defs": {"a": {
        "anyOf": [{"properties": {"x": {"$ref": "#/$defs/a"}}, "unevaluatedProperties": False,
                   "minProperties": 2}] * 2}}, "$ref": "#/$defs/a"},
     _nested('{"x":', "1", "}", 60), {1, 2}),
    # nesting
    ("schema nested 100,000 deep", _nested('{"not":', "{}", "}", 100000), "x", {2}),
    ("instance nested 100,000 deep", {}, _nested("[", "", "]", 100000), {65}),
    ("instance of 100,000 open brackets", {}, Raw("[" * 100000), {65}),
    ("recursive schema at the limit", {"items": {"$ref": "#"}, "type": "array"},
     _nested("[", "", "]", 63), {0}),
    # numbers
    (Raw("1e400"), {"type": "number"}, Raw("1e400"), {65}),
    ("-1e400 in the schema", Raw('{"minimum":-1e400}'), 1, {2}),
    ("integer of 10,000 digits", {"type": "integer"}, Raw(_DIGITS), {65}),
    ("10,000 digits in the schema", Raw(f'{{"maximum":{_DIGITS}}}'), 1, {2}),
    ("fraction of 10,000 digits", {"multipleOf": 0.01}, Raw("0." + "3" * 10000), {1}),
    ("exponent of 10,000 digits", {}, Raw("1e" + _DIGITS), {65}),
    ("multipleOf 1e-400", Raw('{"multipleOf":1e-400}'), 1, {2}),
    ("multipleOf the least double", Raw('{"multipleOf":5e-324}'), Raw("1e308"), {0}),
    ("multipleOf 1e308", Raw('{"multipleOf":1e308}'), Raw("5e-324"), {1}),
    ("enormous maxLength", {"maxLength": 2**63 - 1, "minLength": 0}, "x", {0}),
    ("minItems of 1e300", Raw('{"minItems":1e300}'), Raw("[]"), {1, 2}),
    ("contains a great many", {"contains": {}, "minContains": 2**62}, [1] * 1000, {1}),
    # width
    ("enum of 50,000 texts", {"enum": [f"v{i}" for i in range(50000)]}, "none", {1}),
    ("enum of objects, for each item", {"items": {"enum": _OBJECTS[:500]}}, _OBJECTS[500:1000],
     {1}),
    ("enum of 5,000 for each of 5,000", {"items": {"enum": list(range(5000))}},
     list(range(5000)), {0, 1}),
    ("allOf of 15,000", {"allOf": [{"type": "integer"}] * 15000}, 1, {0, 1, 2}),
    ("allOf of 1,000 for each of 5,000", {"items": {"allOf": [{"minimum": 0}] * 1000}},
     list(range(5000)), {0, 1}),
    ("more subschemas than there may be", {"allOf": [{}] * 100000}, 1, {2}),
    ("uniqueItems over 10,000 objects", {"uniqueItems": True}, _OBJECTS, {0}),
    ("uniqueItems, two equal at the ends", {"uniqueItems": True}, _OBJECTS + [_OBJECTS[0]], {1}),
    ("uniqueItems over 100,000 numbers", {"uniqueItems": True}, list(range(100000)), {0}),
    ("uniqueItems over equal-looking numbers", {"uniqueItems": True},
     Raw("[" + ",".join(f"{i}.0,{i + 50000}" for i in range(20000)) + "]"), {0}),
    ("uniqueItems over nested arrays", {"uniqueItems": True},
     [[[i % 2, [i]], {"k": [i] * 5}] for i in range(5000)], {0}),
    ("20,000 properties against 1,000 patterns", {
        "patternProperties": {f"x{i}$": {} for i in range(1000)}, "additionalProperties": True},
     _MEMBERS, {0, 1}),
    ("20,000 properties, none allowed", {"additionalProperties": False}, _MEMBERS, {1}),
    ("20,000 properties, all unevaluated", {"unevaluatedProperties": False,
                                            "anyOf": [{"properties": {}}] * 50}, _MEMBERS, {1}),
    ("20,000 properties required", {"required": list(_MEMBERS)}, {}, {1}),
    ("20,000 properties defined", {"properties": {k: True for k in list(_MEMBERS)[:15000]}},
     _MEMBERS, {0, 2}),
    ("dependentRequired of 5,000", {"dependentRequired": {
        f"m{i}": [f"m{i + 1}"] for i in range(5000)}}, _MEMBERS, {0}),
    ("unevaluatedItems under 200 branches", {
        "unevaluatedItems": False, "anyOf": [{"prefixItems": [{}] * 50}] * 200},
     list(range(20000)), {1}),
    ("if-then-else nested", _nested('{"if":{"minimum":1},"then":', "{}", "}", 60), 5, {0, 2}),
    ("the message of a huge value", {"type": "string"}, _OBJECTS, {1}),
    ("duplicate keys at the end", {}, Raw("{" + '"a":1,' * 100000 + '"a":2}'), {65}),
    ("100,000 empty objects", {}, [{}] * 100000, {65}),
    ("100,000 empty arrays", {}, [[]] * 100000, {0}),
    ("keys of equal hash length", {}, {f"{i:06d}": i for i in range(50000)}, {0}),
]]
