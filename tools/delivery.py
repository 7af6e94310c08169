"""What of Data Firehose and of its functions works, told from the tests: the page ``docs/firehose-coverage.md``.

``tests/firehose/surface.txt`` lists what AWS documents, a row a line with its evidence:

    test NAME, NAME        test functions of those names
    case WORDS in NAME     these words stand in the file of that test: one of the cases that it runs through
    otherwise SENTENCE     done otherwise on purpose
    open                   nothing yet

A third column `later` says that the row is refused in those words, until it is built.
`python -m tools.delivery` prints each row with covered or not covered; its exit code is 1 if one is not.
"""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
MADE = "<!-- Made by `python -m tools.reference --write` from tests/firehose/surface.txt. -->\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of what is documented; `kind` is the evidence's first word, `detail` the rest."""

    section: str
    name: str
    kind: str
    detail: str
    later: bool

    @property
    def tests(self) -> list[str]:
        """The names of the test functions that show it."""
        if self.kind == "test":
            return [name.strip() for name in self.detail.split(",")]
        return [self.detail.rpartition(" in ")[2]] if self.kind == "case" else []

    @property
    def covered(self) -> bool:
        """Whether the tests that it names exist, with its words."""
        if self.kind == "otherwise":
            return True
        files = [file for name in self.tests for file in known().get(name, ())]
        if any(name not in known() for name in self.tests) or not self.tests:
            return False
        words = self.detail.rpartition(" in ")[0]
        return self.kind == "test" or any(words in said(file) for file in files)


def rows() -> list[Row]:
    """What is documented, in its order."""
    found, section = [], ""
    for line in (TESTS / "firehose" / "surface.txt").read_text().splitlines():
        if line.startswith("# "):
            section = line[2:]
        elif line:
            name, evidence, *later = line.split(" | ")
            kind, _, detail = evidence.partition(" ")
            found.append(Row(section, name, kind, detail, later == ["later"]))
    return found


@cache
def known() -> dict[str, list[Path]]:
    """The files of the test functions, by their names without ``test_``."""
    found: dict[str, list[Path]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name in re.findall(r"^(?:async )?def test_(\w+)\(", path.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(path)
    return found


@cache
def said(path: Path) -> str:
    """What stands in a test's file: its text, and its literals whole where they go over several lines, without the
    backslashes of patterns."""
    text = path.read_text()
    literals = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    return "\n".join([text, *(value.replace("\\", "") for value in literals if isinstance(value, str))])


def page() -> str:
    """Every row with its state and the test that says so."""
    every = rows()
    otherwise, later = sum(row.kind == "otherwise" for row in every), sum(row.later for row in every)
    works = sum(row.covered for row in every) - otherwise - later
    lines = [
        f"# What of Data Firehose works\n\n{MADE}",
        f"Of {len(every)} rows of what AWS documents of delivery to files and HTTP endpoints, {works} work and are tested, "
        f"{otherwise} are done otherwise on purpose, {later} are refused with a sentence until they are built.\n",
    ]
    section = ""
    for row in every:
        if row.section != section:
            section = row.section
            lines.append(f"{'' if len(lines) == 2 else chr(10)}## {section}\n\n| | | |\n|---|---|---|")
        state = "refused" if row.later else "otherwise" if row.kind == "otherwise" else "works"
        shown = ", ".join(f"`test_{name}`" for name in row.tests) or _shown(row.detail)
        lines.append(f"| {_shown(row.name)} | {state if row.covered else 'not covered'} | {shown} |")
    return "\n".join(lines) + "\n"


def _shown(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    uncovered = [row for row in rows() if not row.covered]
    for row in rows():
        sys.stdout.write(f"{'not covered' if row in uncovered else 'covered':12}{row.section}: {row.name}\n")
    sys.exit(1 if uncovered else 0)
