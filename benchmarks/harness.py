"""What every benchmark shares: figures, what they are judged by, and how they are shown and kept."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.load import Load
from benchmarks.machine import Machine, describe
from benchmarks.subjects import PEER_SUBJECTS, Server, Subject, Unavailable, headrace

RESULTS = Path(__file__).parent / "results"


class Figure(msgspec.Struct, kw_only=True):
    """One measurement: `case` is what was done, `subject` who did it; each metric's name ends in its unit."""

    case: str
    subject: str
    metrics: dict[str, float]


class Ceiling(msgspec.Struct, kw_only=True):
    """The back-of-the-envelope bound of a case: a value in the unit of the metric that it bounds, and the reckoning."""

    case: str
    metric: str
    value: float
    reckoning: str


class Verdict(msgspec.Struct, kw_only=True):
    """One figure that the project has promised: the measured value against the needed one."""

    promise: str
    measured: str
    met: bool


class Outcome(msgspec.Struct, kw_only=True):
    """What a benchmark function gives back."""

    figures: list[Figure]
    ceilings: list[Ceiling] = []
    verdicts: list[Verdict] = []
    skipped: list[str] = []


class Result(msgspec.Struct, kw_only=True):
    """An outcome with its circumstances: what is kept as JSON and what the report is written from."""

    benchmark: str
    title: str
    measured_at: str
    quick: bool
    machine: Machine
    outcome: Outcome


class Benchmark(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the menu. `run(quick)` takes about `minutes` unless it is quick."""

    name: str
    title: str
    minutes: float
    run: Callable[[bool], Outcome]


def measure(benchmark: Benchmark, quick: bool) -> Result:
    return Result(
        benchmark=benchmark.name,
        title=benchmark.title,
        measured_at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        quick=quick,
        machine=describe(),
        outcome=benchmark.run(quick),
    )


def subjects(names: tuple[str, ...] = tuple(PEER_SUBJECTS)) -> tuple[list[Subject], list[str]]:
    """Headrace and the peers that can run here, and a sentence for each that cannot."""
    found, skipped = [headrace()], []
    for name in names:
        try:
            found.append(PEER_SUBJECTS[name]())
        except Unavailable as error:
            skipped.append(f"{name} was skipped: {error}")
    return found, skipped


def generate_load(server: Server, operation: str, *, count: int, size: int, concurrency: int, seconds: float) -> Load:
    """Runs the load generator in a process of its own."""
    options = {
        "port": server.port,
        "server-pid": server.pid,
        "operation": operation,
        "count": count,
        "size": size,
        "concurrency": concurrency,
        "seconds": seconds,
        "warmup": min(1.0, seconds / 2),
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load", *arguments],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=seconds * 10 + 120,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed against {server.name}:\n{done.stderr[-2000:]}")
    return msgspec.json.decode(done.stdout, type=Load)


def times_fastest_peer(figures: list[Figure], case: str, metric: str, *, lower_is_better: bool = False) -> float | None:
    """How many times better Headrace's metric is than the best peer's; None where no peer was measured."""
    of_case = {figure.subject: figure.metrics[metric] for figure in figures if figure.case == case}
    own = of_case.pop("headrace", None)
    if own is None or not of_case:
        return None
    return min(of_case.values()) / own if lower_is_better else own / max(of_case.values())


def times_verdict(promise: str, factor: float | None, needed: float) -> list[Verdict]:
    """The verdict over a factor against the peers; none where nothing was compared."""
    if factor is None:
        return []
    return [Verdict(promise=f"{promise}: at least {needed:g} ×", measured=f"{factor:.1f} ×", met=factor >= needed)]


def show(result: Result, console: Console) -> None:
    """A table of the figures for people, with ceilings and verdicts under it."""
    outcome = result.outcome
    metrics = list(dict.fromkeys(name for figure in outcome.figures for name in figure.metrics))
    table = Table(title=f"{result.title}{' (quick: not a measurement)' if result.quick else ''}", title_justify="left")
    table.add_column("case")
    table.add_column("server")
    for name in metrics:
        table.add_column(name, justify="right")
    for figure in outcome.figures:
        cells = [number(figure.metrics[name]) if name in figure.metrics else "" for name in metrics]
        table.add_row(figure.case, figure.subject, *cells)
    console.print(table)
    for ceiling in outcome.ceilings:
        console.print(f"ceiling, {ceiling.case}: {number(ceiling.value)} {ceiling.metric} ({ceiling.reckoning})")
    for verdict in outcome.verdicts:
        console.print(f"{'met' if verdict.met else 'MISSED'}: {verdict.promise}; measured {verdict.measured}")
    for sentence in outcome.skipped:
        console.print(sentence)


def number(value: float) -> str:
    """Three significant digits or whole thousands, whatever reads better."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def keep(result: Result) -> Path:
    """Writes the result where the report finds it. Quick runs are never kept."""
    assert not result.quick
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{result.benchmark}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


def progress(sentence: str) -> None:
    """What is being done now, for the person who waits: on stderr."""
    click.echo(sentence, err=True)
