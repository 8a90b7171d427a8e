"""OpenMetrics 1.0 text, read by the letter: what its grammar does not allow is an AssertionError."""

import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
TEXT = r'(?:[^\\\n"]|\\[\\n"])*'  # a label's value, escaped
LABEL = rf'[a-zA-Z_][a-zA-Z0-9_]*="{TEXT}"'
NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?Inf|NaN"
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL}(?:,{LABEL})*)?)\}})? ({NUMBER})")
DESCRIPTOR = re.compile(rf"# (TYPE|HELP|UNIT) ({NAME}) (.+)")
HELP = re.compile(r'(?:[^\\\n"]|\\[\\n"])*')
SUFFIXES = {"counter": ("_total", "_created"), "gauge": ("",), "info": ("_info",)}


class Family:
    def __init__(self, name):
        self.name = name
        self.type = self.help = None
        self.samples = {}  # (name, labels) -> value


def _describe(family, kind, text, line):
    assert not family.samples, f"behind a sample: {line}"
    if kind == "TYPE":
        assert family.type is None and text in SUFFIXES, line
        family.type = text
    elif kind == "HELP":
        assert family.help is None and HELP.fullmatch(text), line
        family.help = text
    else:
        assert family.name.endswith("_" + text), line


def _add(family, line):
    match = SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    name, labels, value = match[1], match[2] or "", float(match[3].replace("Inf", "inf"))
    assert family is not None and family.type, f"a sample without a type: {line}"
    assert name.startswith(family.name) and name[len(family.name):] in SUFFIXES[family.type], line
    names = re.findall(rf'({NAME})="{TEXT}"', labels)
    assert len(names) == len(set(names)), f"a label twice: {line}"
    key = name, tuple(sorted(re.findall(LABEL, labels)))
    assert key not in family.samples, f"a sample twice: {line}"
    if family.type == "counter":
        assert value >= 0 and not math.isinf(value), line
    if family.type == "info":
        assert value == 1, line
    family.samples[key] = value


def parse(text):
    """The families, by name."""
    assert text.endswith("\n# EOF\n"), text[-200:]
    families, family = {}, None
    for line in text[:-len("# EOF\n") - 1].split("\n"):
        if not line.startswith("#"):
            _add(family, line)
            continue
        match = DESCRIPTOR.fullmatch(line)
        assert match, f"not a descriptor: {line!r}"
        if family is None or family.name != match[2]:
            assert match[2] not in families, f"a family twice: {line}"
            family = families[match[2]] = Family(match[2])
        _describe(family, match[1], match[3], line)
    owners = {}
    for family in families.values():
        for suffix in SUFFIXES[family.type]:
            owner = owners.setdefault(family.name + suffix, family)
            assert owner is family, f"{family.name} and {owner.name} share a name"
    return families
