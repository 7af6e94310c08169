"""The import graph of the house: which room leans on which, read from the source. `--write` puts it into ARCHITECTURE.md.

A room is a top-level package, and inside `streams` each sub-package (`streams/operations` and `streams/service.py` are
one floor). The rules stand in `RULES`; a test checks that the graph obeys them, has no cycle, and is what the page shows.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "ARCHITECTURE.md"
BEGIN, END = "<!-- imports: begin -->", "<!-- imports: end -->"

PACKAGES = ("streams", "connectors", "firehose", "analytics", "gateway")

RULES: dict[str, frozenset[str]] = {
    "streams.core": frozenset(),
    "streams.log": frozenset({"streams.core"}),
    "streams.kafka": frozenset({"streams.core", "streams.log"}),
    "streams.wire": frozenset({"streams.core"}),
    "streams.control": frozenset({"streams.core", "streams.log"}),
    "streams.queues": frozenset({"streams.core", "streams.log", "streams.control"}),
    "streams.groups": frozenset({"streams.core", "streams.log", "streams.control"}),
    "streams.operations": frozenset(
        {"streams.core", "streams.log", "streams.control", "streams.queues", "streams.groups"}
    ),
    "streams.sdk": frozenset({"streams.core", "streams.wire"}),
    "streams": frozenset({"streams.core", "streams.log", "streams.kafka", "streams.operations", "streams.sdk"}),
    "connectors": frozenset({"streams.core", "streams.sdk"}),
    "firehose": frozenset({"streams.core", "streams.control", "streams.sdk", "connectors"}),
    "analytics": frozenset({"streams.core", "streams.control", "streams.sdk", "connectors"}),
    "gateway": frozenset(
        {
            "streams",
            "streams.core",
            "streams.log",
            "streams.wire",
            "streams.control",
            "streams.operations",
            "streams.sdk",
            "connectors",
            "firehose",
            "analytics",
        }
    ),
}
"""What a room may import of ours. Everything that a room leans on stands below it."""


def room_of(module: str) -> str:
    """``streams.log.frames`` → ``streams.log``; ``streams.service`` → ``streams.operations``; ``gateway.cli.put`` → ``gateway``."""
    parts = module.split(".")
    if parts[0] != "streams" or len(parts) == 1:
        return parts[0]
    room = f"streams.{parts[1]}"
    if room in RULES:
        return room
    return "streams.operations" if parts[1] in ("service",) else "streams"


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of ours that `path` imports, anywhere in it (a lazy import leans as heavily as any other)."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            origin = node.module or ""
            names |= {f"{origin}.{alias.name}" if f"{origin}.{alias.name}" in known else origin for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES}


def graph() -> dict[str, dict[str, list[str]]]:
    """room → room it imports → "module imports module" for each such import."""
    known = modules()
    edges: dict[str, dict[str, list[str]]] = {room: {} for room in RULES}
    for module, path in known.items():
        room = room_of(module)
        for target in sorted(imported(module, path, known)):
            other = room_of(target)
            if other != room:
                edges[room].setdefault(other, []).append(f"{module} imports {target}")
    return edges


def violations() -> list[str]:
    """Imports that point where they must not."""
    return [
        f"{why}: {room} may not lean on {other}"
        for room, targets in graph().items()
        for other, reasons in targets.items()
        if other not in RULES[room]
        for why in reasons
    ]


def cycles() -> list[list[str]]:
    """Cycles between modules (not only rooms): each as the modules in order. Empty is the only good answer."""
    known = modules()
    edges = {module: imported(module, path, known) & known.keys() for module, path in known.items()}
    found: list[list[str]] = []
    state: dict[str, int] = defaultdict(int)
    trail: list[str] = []

    def visit(module: str) -> None:
        state[module] = 1
        trail.append(module)
        for target in sorted(edges[module]):
            if state[target] == 1 and target != module:
                found.append([*trail[trail.index(target) :], target])
            elif state[target] == 0:
                visit(target)
        trail.pop()
        state[module] = 2

    for module in sorted(edges):
        if state[module] == 0:
            visit(module)
    return found


def drawing() -> str:
    """The graph as text, bottom first."""
    edges = graph()
    width = max(map(len, RULES))
    lines = [
        f"{room:<{width}}  →  {', '.join(t for t in RULES if t in edges[room]) or '(nothing of ours)'}"
        for room in RULES
    ]
    return "\n".join(["```text", *lines, "```"])


def page_with_drawing() -> str:
    """ARCHITECTURE.md with today's drawing between its marks."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{drawing()}\n{END}{after}"


if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page_with_drawing())
    sys.stdout.write(drawing() + "\n")
    wrong = violations() + [" → ".join(cycle) for cycle in cycles()]
    if wrong:
        sys.exit("\n".join(wrong))
