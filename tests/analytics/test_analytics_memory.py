"""What an application keeps is bounded by its windows, not by how long it has run: state rows, bytes of the file, memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.operators.work import END
from analytics.state import State
from connectors.formats.schema import Column

SQL = """
CREATE STREAM counts (k INTEGER, n BIGINT, total DOUBLE);
CREATE PUMP a AS INSERT INTO counts
SELECT STREAM k, COUNT(*), SUM(v) FROM s GROUP BY k, STEP(s.ROWTIME BY INTERVAL '10' SECOND);
CREATE STREAM spread (k INTEGER, middle DOUBLE, kinds BIGINT);
CREATE PUMP b AS INSERT INTO spread
SELECT STREAM k, STDDEV_POP(v), COUNT(DISTINCT id) FROM s WHERE k < 50 GROUP BY k, STEP(s.ROWTIME BY INTERVAL '5' SECOND);
CREATE STREAM moving (k INTEGER, n BIGINT, mean DOUBLE, back DOUBLE);
CREATE PUMP c AS INSERT INTO moving SELECT STREAM k, COUNT(*) OVER w, AVG(v) OVER w, LAG(v) OVER w FROM s WHERE k < 100
WINDOW w AS (PARTITION BY k RANGE INTERVAL '5' SECOND PRECEDING);
CREATE STREAM pairs (id BIGINT, v DOUBLE, w DOUBLE);
CREATE PUMP d AS INSERT INTO pairs SELECT STREAM s.id, s.v, t.w
FROM s OVER (RANGE INTERVAL '2' SECOND PRECEDING) AS s LEFT JOIN t OVER (RANGE INTERVAL '2' SECOND PRECEDING) AS t
ON s.id = t.id WHERE s.k < 50;
CREATE STREAM runs (k INTEGER, n BIGINT);
CREATE PUMP e AS INSERT INTO runs SELECT STREAM k, COUNT(*) FROM s WHERE k < 20
WINDOWED BY STAGGER (PARTITION BY k RANGE INTERVAL '3' SECOND);
"""
KEYS = 1_000
LONGEST_S = 10


class Running:
    """The program over a stream that goes on for ever: `rate` rows of event time a second, five seconds a step; every tenth
    row has its partner in the other stream, a second later."""

    def __init__(self, path: str | None, rate: int, seed: int) -> None:
        columns = [Column("K", pa.int32()), Column("ID", pa.int64()), Column("V", pa.float64())]
        other = [Column("ID", pa.int64()), Column("W", pa.float64())]
        self.plan = compile_program(parse(SQL), {"S": columns, "T": other}, {})
        self.state = State(path, SQL)
        Engine.create(self.plan, self.state.connection)
        self.engine = Engine(self.plan, self.state.connection)
        self.random = np.random.default_rng(seed)
        self.rate, self.rows, self.at_ms = rate, 0, 1_750_000_000_000
        self.due = {"MOVING": 0, "PAIRS": 0}
        self.made = dict.fromkeys(self.plan.streams, 0)

    def step(self, seconds: int = 5) -> None:
        count = self.rate * seconds
        times = self.at_ms + np.arange(count) * 1_000 // self.rate
        ids = np.arange(self.rows, self.rows + count)
        keys = self.random.integers(0, KEYS, count, np.int32)
        table = pa.table(
            {"rt": pa.array(times).cast(pa.timestamp("ms")), "c0": keys, "c1": ids, "c2": self.random.random(count)}
        )
        self.due["MOVING"] += int((keys < 100).sum())
        self.due["PAIRS"] += int((keys < 50).sum())
        late = pa.table(
            {"rt": pa.array(times[::10] + 1_000).cast(pa.timestamp("ms")), "c0": ids[::10], "c1": ids[::10] * 0.5}
        )
        self.rows += count
        self.at_ms += seconds * 1_000
        physical = {name: relation.physical for name, relation in self.plan.inputs.items()}
        self._commit({physical["S"]: table, physical["T"]: late}, dict.fromkeys(physical.values(), self.at_ms - 1))

    def end(self) -> None:
        self._commit({}, {relation.physical: END for relation in self.plan.inputs.values()})

    def _commit(self, tables: dict[str, pa.Table], frontiers: dict[str, int]) -> None:
        made = self.engine.step(tables, frontiers, self.at_ms)
        assert made.faulty == []
        self.state.commit(made.changes, {}, [], [])
        self.engine.applied(made.changes)
        for name, stream in self.plan.streams.items():
            self.made[name] += len(made.rows.get(stream.physical, ()))

    def kept(self) -> dict[str, int]:
        """Rows of each table of the state."""
        tables = [pump.window.table for pump in self.plan.pumps if pump.window is not None]
        tables += [table for pump in self.plan.pumps if pump.operator is not None for table in pump.operator.tables]
        run = self.state.connection.execute
        return {table: run(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables}


def test_state_is_dropped_as_time_goes_on(seed: int) -> None:
    running = Running(None, 200, seed)
    try:
        most = 0
        for _ in range(24):
            running.step()
            most = max(most, *running.kept().values())
        # The longest window keeps ten seconds of rows; a step adds five before it drops any.
        assert most <= running.rate * (LONGEST_S + 5)
        assert running.rows >= 8 * most, "it has seen many times what it keeps"
        running.end()
        assert {name: running.made[name] for name in running.due} == running.due
        assert all(running.made.values())
    finally:
        running.state.close()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_memory_is_flat_over_a_hundred_million_rows(tmp_path: Path, seed: int) -> None:
    """``HEADRACE_SOAK_ROWS`` says how many; memory and the file are looked at a hundred times."""
    goal = int(os.environ.get("HEADRACE_SOAK_ROWS") or 100_000_000)
    path = tmp_path / "state.duckdb"
    running = Running(str(path), 10_000, seed)
    samples: list[tuple[int, int, int, int]] = []
    try:
        while running.rows < goal:
            running.step()
            if running.rows >= goal * (len(samples) + 1) // 100:
                samples.append((running.rows, _resident(), path.stat().st_size, max(running.kept().values())))
                rows, resident, size, kept = samples[-1]
                told = f"rows {rows:,}, resident {resident >> 20} MB, file {size >> 20} MB, state rows {kept:,}"
                print(told, file=sys.stderr)
        assert max(kept for *_, kept in samples) <= running.rate * (LONGEST_S + 5)
        # What Python, Arrow and DuckDB take to come into their stride is in the first tenth.
        early, late = samples[len(samples) // 10 : len(samples) // 2], samples[len(samples) // 2 :]
        for column, slack in ((1, 64 << 20), (2, 64 << 20)):
            assert max(each[column] for each in late) <= 1.1 * max(each[column] for each in early) + slack
    finally:
        running.state.close()


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
