"""Nexmark: events a second and CPU seconds per million events, from typed Arrow batches and from JSON in the log."""

from __future__ import annotations

import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import uvloop

from benchmarks.ceilings import best_of
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.nexmark import events, runs
from benchmarks.nexmark.queries import MISSING, QUERIES, Query
from benchmarks.stage import embedded
from connectors.formats.duck import literal

JSON_PER_CORE = {"q1": 2e6, "q2": 2e6}
"""Events a second and core that the path from JSON has promised."""
_CEILING_ROWS = 50_000


def nexmark(quick: bool) -> Outcome:
    count = 200_000 if quick else 2_000_000
    batches = list(events.events(count))
    figures = uvloop.run(_headrace(batches))
    return Outcome(
        figures=figures,
        ceilings=_ceilings(batches[0].slice(0, _CEILING_ROWS)),
        verdicts=[_per_core(figures, name, needed) for name, needed in JSON_PER_CORE.items()],
        skipped=[_missing(), *_notes()],
    )


async def _headrace(batches: list[pa.Table]) -> list[Figure]:
    figures = []
    checked = batches[:2]
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        folder = Path(name)
        side = runs.write_side(folder)
        async with embedded(folder / "checked") as small, embedded(folder / "data") as client:
            await runs.put(small, checked)
            await runs.put(client, batches)
            for query in QUERIES:
                progress(f"{query.name}: rows")
                wanted = runs.wanted(query, checked)
                _same(query, "Arrow", runs.differences(runs.from_arrow(query, checked, keep=True), wanted))
                wanted = await runs.wanted_of_log(query, small) if query.arrival else wanted
                _same(query, "JSON", runs.differences(await runs.from_log(query, small, side, keep=True), wanted))
                progress(f"{query.name}: from Arrow, from JSON")
                figures.append(_figure(query, "Arrow", runs.from_arrow(query, batches)))
                figures.append(_figure(query, "JSON", await runs.from_log(query, client, side)))
    return figures


def _same(query: Query, source: str, differences: int) -> None:
    if differences:
        raise AssertionError(f"{query.name} from {source}: {differences} rows differ from the batch query's")


def _figure(query: Query, source: str, run: runs.Run) -> Figure:
    metrics = {
        "events/s": run.events / run.seconds,
        "events/s per core": run.events / run.cpu_s,
        "CPU s per million": run.cpu_s / run.events * 1e6,
    }
    return Figure(case=f"{query.name} {query.title}, {source}", subject="headrace", metrics=metrics)


def _per_core(figures: list[Figure], name: str, needed: float) -> Verdict:
    (rate,) = (
        figure.metrics["events/s per core"]
        for figure in figures
        if figure.case.startswith(f"{name} ") and figure.case.endswith("JSON")
    )
    return Verdict(
        promise=f"Nexmark {name} from JSON: at least {needed / 1e6:g} million events/s per core",
        measured=f"{rate / 1e6:.2f} million",
        met=rate >= needed,
    )


def _ceilings(batch: pa.Table) -> list[Ceiling]:
    """What one thread of DuckDB does with a batch at best: its query alone, and reading the JSON of two columns alone."""
    query = next(query for query in QUERIES if query.name == "q1")
    texts = pa.table({"t": events.encode(batch).cast(pa.string())})
    shape = literal('{"event_type": "BIGINT", "price": "BIGINT"}')
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("events", batch)
        connection.register("texts", texts)
        ran = best_of(lambda: connection.sql(query.batch).to_arrow_table())
        read = best_of(lambda: connection.sql(f"SELECT json_transform(t, {shape}) FROM texts").to_arrow_table())
    return [
        Ceiling(
            case=f"{query.name} {query.title}, {source}",
            metric="events/s per core",
            value=len(batch) / seconds,
            reckoning=f"a DuckDB thread that does nothing else {what} of {len(batch):,} events in {seconds * 1e3:.1f} ms",
        )
        for source, seconds, what in (
            ("Arrow", ran, "runs the batch query over a batch"),
            ("JSON", read, "reads two columns out of the JSON"),
        )
    ]


def _missing() -> str:
    reasons: dict[str, list[str]] = {}
    for each in MISSING:
        reasons.setdefault(each.reason, []).append(each.name)
    told = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"The rows of every query above are those of a batch query over the same events. Not expressible: {told}."


def _notes() -> list[str]:
    return ["Unlike the published query: " + "; ".join(f"{q.name}: {q.note}" for q in QUERIES if q.note) + "."]


BENCHMARKS = [
    Benchmark(name="nexmark", title="Nexmark, two cores, two shards of JSON", minutes=2, run=nexmark),
]
