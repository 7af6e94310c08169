"""Sliding windows: a small batch behind many rows of the frame, as it is run and by a query over all of them."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.operators.running import RunningSliding
from analytics.operators.sliding import Sliding
from analytics.plan import Plan
from analytics.state import State
from benchmarks.harness import Benchmark, Figure, Outcome, progress
from connectors.formats.schema import Column

KEYS = (1, 10, 100)
FRAME_MS = 3_600_000
BATCH = 5_000
FILLING = 50_000
ROUNDS = 5
PROGRAM = """
CREATE STREAM result (k BIGINT, n BIGINT, total BIGINT, mean BIGINT, low BIGINT, high BIGINT);
CREATE PUMP p AS INSERT INTO result SELECT STREAM k, COUNT(*) OVER w, SUM(v) OVER w, AVG(v) OVER w, MIN(v) OVER w, MAX(v) OVER w
FROM s WINDOW w AS (PARTITION BY k RANGE INTERVAL '1' HOUR PRECEDING)"""


def sliding(quick: bool) -> Outcome:
    rows = 20_000 if quick else 300_000
    figures = []
    for keys in KEYS:
        for subject, change in (("headrace", False), ("headrace, by a query", True)):
            progress(f"{keys} keys, {subject}")
            cpu_s = _batch_cpu_s(_plan(change), keys, rows)
            metrics = {"CPU ms a batch": cpu_s * 1e3, "CPU s per million": cpu_s / BATCH * 1e6}
            case = f"{BATCH:,} rows behind {rows:,} of an hour, keys: {keys}"
            figures.append(Figure(case=case, subject=subject, metrics=metrics))
    return Outcome(figures=figures)


def _plan(queried: bool) -> Plan:
    """The program's plan; `queried`, with the operator that asks for every frame anew."""
    plan = compile_program(parse(PROGRAM), {"S": [Column("K", pa.int64()), Column("V", pa.int64())]}, {})
    if not queried:
        return plan
    pumps = []
    for pump in plan.pumps:
        operator = pump.operator
        if isinstance(operator, RunningSliding):
            operator = Sliding(operator.buffer, operator.kept, operator.frames, operator.results)
        pumps.append(replace(pump, operator=operator))
    return replace(plan, pumps=tuple(pumps))


def _batch_cpu_s(plan: Plan, keys: int, rows: int) -> float:
    """The least CPU time of a batch, once the frame is full."""
    state = State(None, PROGRAM)
    Engine.create(plan, state.connection)
    engine = Engine(plan, state.connection)
    random, source = np.random.default_rng(1), plan.inputs["S"].physical
    step_ms = FRAME_MS // rows
    at_ms = 0

    def batch(count: int) -> float:
        nonlocal at_ms
        times = at_ms + np.arange(1, count + 1) * step_ms
        at_ms = int(times[-1])
        table = pa.table(
            {
                "rt": pa.array(times).cast(pa.timestamp("ms")),
                "c0": pa.array(random.integers(0, keys, count)),
                "c1": pa.array(random.integers(0, 1_000, count)),
            }
        )
        began = time.process_time()
        made = engine.step({source: table}, {source: at_ms}, 0)
        state.commit(made.changes, {}, (), ())
        engine.applied(made.changes)
        return time.process_time() - began

    try:
        for first in range(0, rows, FILLING):
            batch(min(FILLING, rows - first))
        return min(batch(BATCH) for _ in range(ROUNDS))
    finally:
        state.close()


BENCHMARKS = [Benchmark(name="sliding", title="Sliding windows: a batch behind a full frame", minutes=3, run=sliding)]
