"""Every row of README.md's table is there and names tests that exist."""

import re
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# How a test of each language says its name.
SAYS = {".py": r"def {}\(", ".c": r"Test\(\w+, {}[,)]|CONTRACT\({}\)",
        ".js": r'test\("{}"'}


def exists(reference):
    file, name = reference.split("::")
    path = TESTS / file
    pattern = SAYS[path.suffix].replace("{}", re.escape(name))
    return path.is_file() and re.search(pattern, path.read_text())


def problems(text):
    rows = re.findall(r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", text, re.M)
    if [int(number) for number, *_ in rows] != list(range(1, 51)):
        yield "the rows are not 1 to 50"
    for number, _, _, tests in rows:
        references = re.findall(r"`([^`]+::[^`]+)`", tests)
        if not references or re.sub(r"`[^`]+::[^`]+`", "", tests).strip():
            yield f"row {number}: not a list of tests: {tests}"
        for reference in references:
            if not exists(reference):
                yield f"row {number}: there is no {reference}"


def main():
    found = list(problems((TESTS / "compat" / "README.md").read_text()))
    print("\n".join(found), file=sys.stderr, end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
