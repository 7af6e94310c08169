"""JSON records → columns, one thread: the compiled reader beside DuckDB's."""

from __future__ import annotations

import time
from collections.abc import Callable

import duckdb
import pyarrow as pa

from benchmarks.harness import Benchmark, Figure, Outcome
from benchmarks.nexmark import events
from connectors.formats import json_scan
from connectors.formats.duck import literal
from connectors.formats.json import decode_json
from connectors.formats.schema import Column
from streams.core.memory import keep_memory

ROWS = 50_000
"""Of a batch, as applications read them."""
CASES = {
    "2 columns": ["event_type", "price"],
    "6 columns": ["event_type", "auction", "bidder", "price", "dateTime", "extra"],
    "21 columns": events.SCHEMA.names,
}
_COMPILED, _DUCKDB, _TRANSFORM = "headrace", "headrace without numba", "duckdb, json_transform alone"


def columns(quick: bool) -> Outcome:
    keep_memory()  # as the process of an application does
    (batch,) = list(events.events(ROWS))
    data = events.encode(batch)
    outcome = Outcome(figures=[])
    if not json_scan.load():
        outcome.skipped.append("The compiled reader was skipped: it needs numba, of the extra `fast`")
    rounds = 3 if quick else 15
    for case, names in CASES.items():
        wanted = [Column(name, events.SCHEMA.field(name).type) for name in names]
        best = {_COMPILED: 0.0, _DUCKDB: 0.0} if json_scan.load() else {_DUCKDB: 0.0}
        for _ in range(rounds):  # by turns, for the machine may be another one a second later
            for subject in best:
                with json_scan.used(subject == _COMPILED):
                    taken = _cpu_s(lambda wanted=wanted: decode_json(data, wanted))  # type: ignore[misc]
                best[subject] = min(best[subject] or taken, taken)
        best[_TRANSFORM] = _transform(data, wanted, rounds)
        for subject, taken in best.items():
            figure = {"events/s per core": ROWS / taken, "CPU µs an event": taken / ROWS * 1e6}
            outcome.figures.append(Figure(case=case, subject=subject, metrics=figure))
    return outcome


def _transform(data: pa.Array, wanted: list[Column], rounds: int) -> float:
    """DuckDB alone, before any value has the type of its column."""
    kinds = ", ".join(
        f'"{each.name}": "{"DOUBLE" if pa.types.is_integer(each.type) else "VARCHAR"}"' for each in wanted
    )
    sql = f"SELECT json_transform(t, {literal('{' + kinds + '}')}) FROM texts"
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("texts", pa.table({"t": data.cast(pa.string())}))
        return min(_cpu_s(lambda: connection.sql(sql).to_arrow_table()) for _ in range(rounds))


def _cpu_s(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began


BENCHMARKS = [
    Benchmark(name="json", title="JSON records to columns, one core", minutes=0.3, run=columns),
]
