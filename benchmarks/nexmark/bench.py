"""Nexmark: events a second and CPU seconds per million events, from typed Arrow batches and from JSON in the log."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import duckdb
import pyarrow as pa
import uvloop

from benchmarks.ceilings import best_of
from benchmarks.harness import Benchmark, Ceiling, Figure, Outcome, Verdict, progress
from benchmarks.nexmark import events, flink, runs
from benchmarks.nexmark.queries import MISSING, QUERIES
from benchmarks.nexmark.query import Query
from benchmarks.stage import embedded
from benchmarks.subjects import Unavailable
from connectors.formats import json_scan
from connectors.formats.json import decode_json
from connectors.formats.schema import Column
from streams.core.memory import keep_memory

JSON_PER_CORE = {"q1": 2e6, "q2": 2e6}
"""Events a second and core that the path from JSON has promised."""
FLINK = f"flink {flink.RELEASE}"
SUMS = f"{FLINK}, no rows made"
"""Flink where sums and constants stand for rows: the part of a query that is left when nobody makes and reads its events."""
_GENERATORS = (
    "From Arrow, the events of Headrace are there before the clock starts; Flink's are made while it runs, by its connector "
    "datagen, since that is what a run from a generator is. Where it makes no rows, sums and constants stand for them: its "
    "compiler makes them one with the query and leaves out what nobody asks for, as its sink asks for nothing."
)
_CEILING_ROWS = 50_000


def nexmark(quick: bool) -> Outcome:
    count = 100_000 if quick else 1_000_000
    batches = list(events.events(count))
    keep_memory()  # as the process of an application does
    reader = json_scan.load()
    figures = uvloop.run(_headrace(batches))
    beside, skipped = _flink(quick)
    return Outcome(
        figures=sorted([*figures, *beside], key=lambda figure: _place(figure.case)),
        ceilings=_ceilings(batches[0].slice(0, _CEILING_ROWS)),
        verdicts=[
            *(_per_core(figures, name, needed) for name, needed in JSON_PER_CORE.items()),
            *_against(figures, beside),
        ],
        skipped=[_missing(), *_notes(), _reader(reader), *([_GENERATORS] if beside else []), *skipped],
    )


def _place(case: str) -> tuple[int, str]:
    return int(case.split(" ", 1)[0][1:]), case.rsplit(", ", 1)[1]


def _flink(quick: bool) -> tuple[list[Figure], list[str]]:
    """Flink's figures, and why some are missing."""
    unit = 50_000 if quick else 1_000_000
    figures, skipped = [], []
    try:
        python = flink.install()
    except Unavailable as error:
        return [], [f"Apache Flink was skipped: {error}"]
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as name:
        flink.write_files(Path(name), events.events(flink.LONG * unit))
        generated = [query for query in QUERIES if query.generated]
        for source, queries in (("json", QUERIES), ("datagen", generated), ("sums", generated)):
            progress(f"Flink, {source}")
            titles = {query.name: query.title for query in queries}
            for found in flink.measure(python, Path(name), source, queries[:2] if quick else queries, unit):
                if found.error:
                    skipped.append(f"Flink did not run {found.name}: {found.error}.")
                    continue
                if found.cpu_s_per_million <= 0:
                    skipped.append(
                        f"Flink's long job over {found.name}, {source}, took no more CPU than its short one."
                    )
                    continue
                metrics = {
                    # On a machine with other work, the long job may take no longer than the short one.
                    **({"events/s": found.rate} if found.rate > 0 else {}),
                    "events/s per core": 1e6 / found.cpu_s_per_million,
                    "CPU s per million": found.cpu_s_per_million,
                }
                kind = "JSON" if source == "json" else "Arrow"
                case = f"{found.name} {titles[found.name]}, {kind}"
                figures.append(Figure(case=case, subject=SUMS if source == "sums" else FLINK, metrics=metrics))
    return figures, skipped


def _against(figures: list[Figure], beside: list[Figure]) -> list[Verdict]:
    """The promises against Flink, over all queries that both have run: the median of the ratios."""
    own = {figure.case: figure.metrics for figure in figures}

    def times_less(metric: str, kind: str, subject: str = FLINK) -> list[float]:
        """Flink's figure by ours, for each query."""
        rows = [
            each for each in beside if each.subject == subject and each.case.endswith(kind) and metric in each.metrics
        ]
        return [row.metrics[metric] / own[row.case][metric] for row in rows if row.case in own]

    cpu = "CPU s per million"
    found = []
    if less := times_less(cpu, "JSON"):
        promise = "Nexmark from JSON: CPU per event at least 3 × less than Flink's, in the median"
        found.append(_median(promise, less, 3))
    if slower := times_less("events/s", "JSON"):
        promise = "Nexmark from JSON: at least 1.5 × Flink's rate, in the median"
        found.append(_median(promise, [1 / ratio for ratio in slower], 1.5))
    if less := times_less(cpu, "Arrow"):
        promise = "Nexmark from Arrow: CPU per event at least 8 × less than Flink's from its generator, in the median"
        verdict = _median(promise, less, 8)
        if bare := times_less(cpu, "Arrow", SUMS):
            verdict.measured += f"; {_told(bare)} where Flink makes no rows"
        found.append(verdict)
    return found


def _median(promise: str, ratios: list[float], needed: float) -> Verdict:
    return Verdict(promise=promise, measured=_told(ratios), met=statistics.median(ratios) >= needed)


def _told(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.1f} × (of {len(ratios)} queries {min(ratios):.1f} to {max(ratios):.1f})"


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
    """What one thread does with a batch at best: DuckDB its query alone, and whoever reads JSON its columns alone."""
    query = next(query for query in QUERIES if query.name == "q1")
    data = events.encode(batch)
    names = ("event_type", "auction", "bidder", "price", "dateTime", "extra")
    columns = [Column(name, events.SCHEMA.field(name).type) for name in names]
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("events", batch)
        ran = best_of(lambda: connection.sql(query.batch).to_arrow_table())
    read = best_of(lambda: decode_json(data, columns))
    return [
        Ceiling(
            case=f"{query.name} {query.title}, {source}",
            metric="events/s per core",
            value=len(batch) / seconds,
            reckoning=f"a thread that does nothing else {what} of {len(batch):,} events in {seconds * 1e3:.1f} ms",
        )
        for source, seconds, what in (
            ("Arrow", ran, "runs the batch query over a batch"),
            ("JSON", ran + read, "reads the query's six columns out of the JSON and runs it"),
        )
    ]


def _missing() -> str:
    checked = "The rows of every query above are those of a batch query over the same events."
    reasons: dict[str, list[str]] = {}
    for each in MISSING:
        reasons.setdefault(each.reason, []).append(each.name)
    told = "; ".join(f"{', '.join(names)} ({reason})" for reason, names in reasons.items())
    return f"{checked} Not expressible: {told}." if told else f"{checked} No query of the benchmark is missing."


def _notes() -> list[str]:
    return ["Unlike the published query: " + "; ".join(f"{q.name}: {q.note}" for q in QUERIES if q.note) + "."]


def _reader(compiled: bool) -> str:
    """Flink is measured warm; so is what a process of ours loads after its first 250,000 records."""
    who = "The compiled reader reads JSON, loaded before" if compiled else "DuckDB reads all JSON: there is no numba"
    return f"{who}."


BENCHMARKS = [
    Benchmark(name="nexmark", title="Nexmark, two cores", minutes=17, run=nexmark),
]
