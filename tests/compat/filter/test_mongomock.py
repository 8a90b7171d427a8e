"""Filters against mongomock, over random documents and queries.

Where mongomock differs from MongoDB, MongoDB's manual decides: DEVIATIONS says how, and which queries
are left out for it."""

import json
import os
import random
import subprocess
import unittest
from pathlib import Path

from mongomock.filtering import filter_applies

PROBE = Path(os.environ["HYPRXA_BUILD"]) / "bin" / "compat_filter_probe"
ROUNDS = 20000

# No 0 and 1: to Python, and so to mongomock, they equal false and true; to MongoDB they do not.
SCALARS = [None, True, False, 2, 3, 4, 2.5, -1, "", "a", "b", "ab", "B", "a\nb"]
NAMES = ["a", "b", "c"]
PATHS = ["a", "b", "c", "a.b", "a.b.c", "a.0", "a.1", "b.a", "b.0.a", "a.c", "c.0"]
PATTERNS = ["a", "^a", "b$", "^$", "[ab]+", "A", "a.b", "^b"]


class Random(random.Random):
    def value(self, depth):
        kind = self.random()
        if depth == 0 or kind < 0.55:
            return self.choice(SCALARS)
        if kind < 0.8:
            return [self.value(depth - 1) for _ in range(self.randrange(4))]
        return self.document(depth - 1)

    def document(self, depth=3):
        return {name: self.value(depth) for name in NAMES if self.random() < 0.7}

    def operators(self, depth):
        pick = self.choice(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists",
                            "$size", "$type", "$regex", "$all", "$elemMatch", "$not", "two"])
        if pick in ("$eq", "$ne"):
            return {pick: self.value(2)}
        if pick in ("$gt", "$gte", "$lt", "$lte"):
            return {pick: self.choice([2, 3, 4, 2.5, "a", "b"])}
        if pick in ("$in", "$nin", "$all"):
            return {pick: [self.value(1) for _ in range(self.randrange(1, 4))]}
        if pick == "$exists":
            return {pick: self.choice([True, False])}
        if pick == "$size":
            return {pick: self.randrange(4)}
        if pick == "$type":
            return {pick: self.choice(["string", "object", "array", "bool", "number"])}
        if pick == "$regex":
            return {pick: self.choice(PATTERNS), "$options": self.choice(["", "i", "m", "s"])}
        if pick == "$elemMatch":
            return {pick: self.query(depth - 1) if depth and self.random() < 0.5
                    else self.operators(0)}
        if pick == "$not" and depth:
            return {pick: self.operators(depth - 1)}
        return {"$gte": self.choice([-1, 2]), "$lt": self.choice([3, 4])}

    def query(self, depth=2):
        kind = self.random()
        if depth and kind < 0.2:
            return {self.choice(["$and", "$or", "$nor"]):
                    [self.query(depth - 1) for _ in range(self.randrange(1, 4))]}
        paths = self.sample(PATHS, self.choice([1, 1, 1, 2]))
        return {path: self.value(2) if self.random() < 0.3 else self.operators(depth)
                for path in paths}


def _members(query):
    """Every (key, value) of a query, at any depth."""
    if isinstance(query, dict):
        for key, value in query.items():
            yield key, value
            yield from _members(value)
    elif isinstance(query, list):
        for value in query:
            yield from _members(value)


def _goes_through_a_scalar(query, document):
    """"a.b" of {"a": 1} is missing, which equals null and fulfils $not; mongomock denies both."""
    def ends(value, names):
        if not names:
            return False
        if isinstance(value, dict):
            return names[0] in value and ends(value[names[0]], names[1:])
        if isinstance(value, list):
            return any(ends(v, names) for v in value) or (
                names[0].isdigit() and int(names[0]) < len(value) and
                ends(value[int(names[0])], names[1:]))
        return True
    return any(ends(document, key.split(".")) for key, _ in _members(query) if "." in key)


def _has_an_empty_object(query, _):
    """{"a": {}} is equality with an empty object; mongomock takes it for no condition."""
    return any(value == {} for _, value in _members(query))


def _asks_for_the_size_of_an_object(query, document):
    """$size is about arrays; mongomock counts members, too, and takes 1 for a scalar's size."""
    sizes = [value for key, value in _members(query) if key == "$size"]
    objects = [document] + [v for _, v in _members(document) if isinstance(v, dict)]
    return 1 in sizes or any(len(o) in sizes for o in objects)


def _asks_all_for_null(query, _):
    """{"a": {"$all": [null]}} is {"$and": [{"a": null}]}, which a missing member fulfils."""
    return any(key == "$all" and None in value for key, value in _members(query))


def _has_an_empty_array(query, document):
    """[] equals [], as a value and as an element; mongomock sees an array without elements."""
    return [] in [v for _, v in _members(query)] + [
        e for _, v in _members(query) if isinstance(v, list) for e in v]


def _negates_a_path(query, _):
    """$not holds where nothing is found at the path; mongomock asks for one thing at least. And
    "$exists": false is no element having it; mongomock is content with one that has not."""
    return any("." in key and isinstance(value, dict) and
               ("$not" in value or value.get("$exists") is False)
               for key, value in _members(query))


def _asks_an_index_for_null(query, _):
    """"a.0" is also the member "0" of each object in a, and missing there; not so in mongomock."""
    return any(any(name.isdigit() for name in key.split(".")) and "null" in json.dumps(value)
               for key, value in _members(query) if "." in key)


def _matches_elements(query, document):
    """$elemMatch with a query takes objects only, and with operators does not look into arrays in
    the array; mongomock does both."""
    operands = [value for key, value in _members(query) if key == "$elemMatch"]
    return any(not all(k.startswith("$") for k in o) for o in operands) or (
        operands and any(isinstance(v, list) and any(isinstance(e, list) for e in v)
                         for _, v in _members(document)))


DEVIATIONS = [_goes_through_a_scalar, _has_an_empty_object, _asks_for_the_size_of_an_object,
              _asks_all_for_null, _has_an_empty_array, _negates_a_path, _asks_an_index_for_null,
              _matches_elements]


def deviates(query, document):
    return any(rule(query, document) for rule in DEVIATIONS)


class Mongomock(unittest.TestCase):
    def test_random_filters_match_alike(self):
        chance = Random(int(os.environ.get("HYPRXA_SEED", "1")))
        cases, expected, left_out = [], [], 0
        while len(cases) < ROUNDS:
            query, document = chance.query(), chance.document()
            if deviates(query, document):
                left_out += 1
                continue
            try:
                expected.append("1" if filter_applies(query, document) else "0")
            except Exception:  # it cannot do it
                left_out += 1
                continue
            cases.append((json.dumps(query), json.dumps(document)))
        lines = "".join(f"{query}\t{document}\n" for query, document in cases)
        done = subprocess.run([PROBE], input=lines, capture_output=True, text=True, check=True)
        answers = done.stdout.splitlines()
        self.assertEqual(len(answers), len(cases))
        different = [(c, ours, theirs) for c, ours, theirs in zip(cases, answers, expected)
                     if ours != theirs]
        print(f"{len(cases)} compared, {expected.count('1')} of them match; "
              f"{left_out} left out: mongomock differs from MongoDB there")
        self.assertEqual(different[:20], [], f"{len(different)} of {len(cases)}")


if __name__ == "__main__":
    unittest.main()
