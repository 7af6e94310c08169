"""RESULTS.md, written from the kept results; only the reasons for what falls short are written by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec

from benchmarks.harness import RESULTS, Ceiling, Figure, Result, number
from benchmarks.machine import Machine

TARGET = Path(__file__).parent / "RESULTS.md"
SHORTFALLS = Path(__file__).parent / "shortfalls.md"
"""Written by hand: what missed its promise, with the profile and the reason."""


def write() -> Path:
    """Writes RESULTS.md anew and returns its path."""
    results = [msgspec.json.decode(path.read_bytes(), type=Result) for path in sorted(RESULTS.glob("*.json"))]
    TARGET.write_text(render(results, SHORTFALLS.read_text().strip()))
    return TARGET


def render(results: list[Result], shortfalls: str = "") -> str:
    """The page as Markdown."""
    parts = [
        "# Results",
        "Written by `python -m benchmarks report` from the JSON in `benchmarks/results/`, which `python -m benchmarks NAME` "
        "measured. The load generator runs on the same cores as the server. A ceiling is a back-of-the-envelope bound "
        "for this machine: the parts that cannot be left out, timed alone.",
        "## Promises",
        _promises(results),
        *([shortfalls] if shortfalls else []),
    ]
    parts += [_section(result) for result in results]
    return "\n\n".join(parts) + "\n"


def _promises(results: list[Result]) -> str:
    rows = [
        [verdict.promise, verdict.measured, "met" if verdict.met else "**missed**"]
        for result in results
        for verdict in result.outcome.verdicts
    ]
    return _table(["promise", "measured", ""], rows)


def _section(result: Result) -> str:
    outcome = result.outcome
    metrics = list(dict.fromkeys(name for figure in outcome.figures for name in figure.metrics))
    rows = [[figure.case, figure.subject, *(_cell(figure, name) for name in metrics)] for figure in outcome.figures]
    parts = [f"## {result.title}", _table(["case", "server", *metrics], rows)]
    if outcome.ceilings:
        parts.append("\n".join(_ceiling(ceiling, outcome.figures) for ceiling in outcome.ceilings))
    parts += outcome.skipped
    parts.append(f"`{result.benchmark}`, {result.measured_at}, {_machine(result.machine)}")
    return "\n\n".join(parts)


def _cell(figure: Figure, metric: str) -> str:
    return number(figure.metrics[metric]) if metric in figure.metrics else ""


def _ceiling(ceiling: Ceiling, figures: list[Figure]) -> str:
    own = [f.metrics[ceiling.metric] for f in figures if f.case == ceiling.case and ceiling.metric in f.metrics][:1]
    share = f" Headrace reaches {own[0] / ceiling.value:.0%} of it." if own else ""
    return f"- Ceiling, {ceiling.case}: {number(ceiling.value)} {ceiling.metric}: {ceiling.reckoning}.{share}"


def _machine(machine: Machine) -> str:
    libraries = ", ".join(f"{name} {release}" for name, release in machine.libraries.items())
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gb:g} GB, Linux {machine.kernel}, Python {machine.python}, "
        f"{libraries}; fdatasync {machine.fdatasync_ms:g} ms, disk {number(machine.disk_mb_s)} MB/s, "
        f"loopback {number(machine.loopback_mb_s)} MB/s."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
