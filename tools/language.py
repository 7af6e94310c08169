"""What of the streaming SQL language works, told from the tests: the page ``docs/sql-coverage.md``.

``tests/analytics/language.txt`` lists the language, an item a line with its evidence:

    values            expressions with their values, under the item's name in ``values.txt``
    program NAME      a program with its input and its expected rows, in ``programs/NAME``
    test NAME         a test function of that name
    refused SENTENCE  a program that is refused with this sentence, in ``errors.txt``
    forbidden SENTENCE  the same, and the language itself has it not, or refuses it
    open              nothing yet
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests" / "analytics"
MADE = "<!-- Made by `python -m tools.reference --write` from tests/analytics. -->\n"


@dataclass(frozen=True, slots=True)
class Item:
    """One statement, clause or function; `kind` is the evidence's first word, `detail` the rest."""

    section: str
    name: str
    kind: str
    detail: str


def items() -> list[Item]:
    """The language in the order of its list."""
    found, section = [], ""
    for line in (TESTS / "language.txt").read_text().splitlines():
        if line.startswith("# "):
            section = line[2:]
        elif line:
            name, _, evidence = line.rpartition(" | ")
            kind, _, detail = evidence.partition(" ")
            found.append(Item(section, name, kind, detail))
    return found


def values() -> dict[str, list[tuple[str, str]]]:
    """Expressions and what they give, by the name of the item: ``expression -> JSON`` or ``expression -> ! error``."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in (TESTS / "values.txt").read_text().splitlines():
        if line.startswith("# "):
            name = line[2:]
        elif line:
            expression, _, value = line.rpartition(" -> ")
            found.setdefault(name, []).append((expression, value))
    return found


def unproven() -> Iterator[str]:
    """What the list says and the tests do not."""
    known, errors = values(), (TESTS / "errors.txt").read_text()
    sources = "\n".join(path.read_text() for path in TESTS.glob("test_*.py"))
    for item in items():
        proven = {
            "open": lambda item: True,
            "values": lambda item: item.name in known,
            "program": lambda item: all(
                (TESTS / "programs" / n.strip() / "app.sql").exists() for n in item.detail.split(",")
            ),
            "test": lambda item: re.search(rf"def test_{item.detail}\b", sources),
            "refused": lambda item: any(item.detail in line for line in errors.splitlines() if line.startswith("=> ")),
        }
        proven["forbidden"] = proven["refused"]
        if item.kind not in proven or not proven[item.kind](item):
            yield f"{item.name}: {item.kind} {item.detail}"
    listed = {item.name for item in items() if item.kind == "values"}
    yield from (f"{name}: values of no item" for name in known.keys() - listed)


def page() -> str:
    """Every item with its state and the test that says so."""
    every = items()
    built = sum(item.kind in ("values", "program", "test") for item in every)
    forbidden = sum(item.kind == "forbidden" for item in every)
    refused = sum(item.kind == "refused" for item in every)
    lines = [
        f"# What of the SQL language works\n\n{MADE}",
        f"Of {len(every)} statements, clauses, types and functions, {built} work and are tested, {forbidden} the "
        f"language itself refuses or has not, as here, with a sentence, {refused} more are refused with one, "
        f"{len(every) - built - forbidden - refused} are not built.\n",
    ]
    section = ""
    for item in every:
        if item.section != section:
            section = item.section
            lines.append(f"{'' if len(lines) == 2 else chr(10)}## {section}\n\n| | | test |\n|---|---|---|")
        lines.append(f"| {_shown(item.name)} | {_state(item)} | {_evidence(item)} |")
    return "\n".join(lines) + "\n"


def _state(item: Item) -> str:
    states = {"refused": "refused", "forbidden": "refused, as in the language", "open": "not built"}
    return states.get(item.kind, "works")


def _evidence(item: Item) -> str:
    match item.kind:
        case "values":
            count = len(values()[item.name])
            return f"{count} value{'s' if count > 1 else ''} in `values.txt`"
        case "program":
            return ", ".join(f"`programs/{name.strip()}`" for name in item.detail.split(","))
        case "test":
            return f"`test_{item.detail}`"
        case "refused" | "forbidden":
            return f"“{_shown(item.detail)}”"
        case _:
            return ""


def _shown(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
