"""Tables of a program beside a few lines of Python that go row by row: random rows, random batches, restarts between."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path
from typing import Any

import duckdb
import pytest
from analytics_machine import CUTS, ROWS, Row, run_tables
from analytics_support import NOW_MS, world
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import Application, Input, SqlError, query
from analytics.live import StateFile
from streams.core.errors import ValidationError

RETAIN = st.tuples(st.one_of(st.none(), st.integers(1, 3)), st.one_of(st.none(), st.integers(1, 12))).filter(any)


def declared(retain: tuple[int | None, int | None]) -> str:
    keys, seconds = retain
    parts = ([] if keys is None else [f"{keys} KEYS"]) + ([] if seconds is None else [f"INTERVAL '{seconds}' SECOND"])
    return f"RETAIN {', '.join(parts)}"


def groups(rows: list[Row], retain: tuple[int | None, int | None]) -> dict[str, list[Row]]:
    """The rows that count of each group that is kept in the end, when time has come to the last row."""
    keys, seconds = retain
    found: OrderedDict[str, list[Row]] = OrderedDict()
    for row in rows:
        for key in [key for key, kept in found.items() if seconds is not None and kept[-1][0] + seconds < row[0]]:
            del found[key]
        if row[1] not in found and keys is not None and len(found) == keys:
            found.popitem(last=False)
        found.setdefault(row[1], []).append(row)
        found.move_to_end(row[1])
    return found


MANY = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("abcdef"), st.integers(-5, 5)), max_size=25).map(
    lambda rows: sorted(rows, key=lambda row: row[0])
)


@settings(max_examples=20)
@given(MANY, CUTS, RETAIN)
def test_groups_without_a_window(
    rows: list[Row], cuts: list[tuple[int, int, bool]], retain: tuple[int | None, int | None]
) -> None:
    sql = f"""CREATE TABLE t (k VARCHAR(4), n BIGINT, total BIGINT, mean BIGINT, least BIGINT, first BIGINT, last BIGINT)
      {declared(retain)};
    CREATE PUMP p AS INSERT INTO t SELECT STREAM k, COUNT(*), SUM(v), AVG(v), MIN(v), FIRST_VALUE(v), LAST_VALUE(v)
    FROM s GROUP BY k HAVING COUNT(*) > 1"""
    expected: list[tuple[Any, ...]] = []
    for key, kept in groups(rows, retain).items():
        values = [value for _, _, value in kept]
        if len(values) > 1:
            mean = duckdb.execute("SELECT ? // ?", [sum(values), len(values)]).fetchall()[0][0]
            expected.append((kept[-1][0], key, len(values), sum(values), mean, min(values), values[0], values[-1]))
    assert sorted(run_tables(sql, {"S": rows}, cuts)) == sorted(expected)


@settings(max_examples=10)
@given(ROWS, CUTS)
def test_a_table_is_what_the_batch_query_gives(rows: list[Row], cuts: list[tuple[int, int, bool]]) -> None:
    sql = """CREATE TABLE t (minute TIMESTAMP, n BIGINT) RETAIN 100 KEYS;
    CREATE PUMP p AS INSERT INTO t SELECT STREAM STEP(s.ROWTIME BY INTERVAL '7' SECOND), COUNT(*) FROM s
    WHERE v > 0 GROUP BY STEP(s.ROWTIME BY INTERVAL '7' SECOND)"""
    found = {minute.second + 60 * minute.minute: n for _, minute, n in run_tables(sql, {"S": rows}, cuts)}
    assert found == {
        at: sum(1 for time, _, value in rows if value > 0 and time // 7 * 7 == at)
        for at in {time // 7 * 7 for time, _, value in rows if value > 0}
    }


@settings(max_examples=5)
@given(ROWS, CUTS)
def test_a_table_of_one_row(rows: list[Row], cuts: list[tuple[int, int, bool]]) -> None:
    sql = """CREATE TABLE t (n BIGINT) RETAIN 1 KEY;
    CREATE PUMP p AS INSERT INTO t SELECT STREAM COUNT(*) FROM s"""
    assert [n for _, n in run_tables(sql, {"S": rows}, cuts)] == ([len(rows)] if rows else [])


async def test_what_is_read_while_it_runs_is_one_commit() -> None:
    sql = """CREATE TABLE a (n BIGINT) RETAIN 1 KEY; CREATE TABLE b (v BIGINT, n BIGINT) RETAIN 1000 KEYS;
    CREATE STREAM c (v BIGINT);
    CREATE PUMP p AS INSERT INTO a SELECT STREAM COUNT(*) FROM src;
    CREATE PUMP q AS INSERT INTO b SELECT STREAM "v", COUNT(*) FROM src GROUP BY "v";
    CREATE PUMP r AS INSERT INTO c SELECT STREAM "v" / "z" FROM src;"""
    async with world() as client:
        await client.create_stream("src")
        rows = [
            b'{"t": "2025-01-01 00:00:%02d.%03d", "v": %d, "z": %d}' % (n // 100, n % 100, n % 7, n % 5)
            for n in range(900)
        ]
        await client.give("src", rows)
        seen: list[tuple[int, int, int, int]] = []
        async with Application(
            sql,
            client=client,
            inputs=[Input("src", name="SRC", rowtime="t")],
            references=[],
            outputs=[],
            batch_rows=30,
            rows_kept=100,
            clock=client.clock,
        ) as application:
            running = asyncio.create_task(application.run(until_end=True))
            while not running.done():
                found = await application.read({"A": None, "B": ["N"], "C": ["ROWTIME", "V"], "error_stream": None})
                total = sum(found["A"].column("N").to_pylist())
                assert total == sum(found["B"].column("N").to_pylist())
                assert len(found["C"]) <= 100
                seen.append((total, len(found["C"]), len(found["error_stream"]), found["C"].num_columns))
                await asyncio.sleep(0)
            await running
            with pytest.raises(SqlError, match="there is no in-application stream D"):
                await application.read({"D": None})
            with pytest.raises(SqlError, match="B has no column X"):
                await application.read({"B": ["X"]})
            found = await application.read({"A": None, "C": ["V"], "error_stream": ["ERROR_NAME"]})
            assert found["A"].column("N").to_pylist() == [900]
            assert found["C"].to_pylist() == [{"V": n % 7 // (n % 5)} for n in range(900) if n % 5][-100:]
            assert set(found["error_stream"].column("ERROR_NAME").to_pylist()) == {"DivideByZero"}
        assert len(set(seen)) > 1


async def test_a_query_over_the_state_of_a_program_that_stopped(tmp_path: Path) -> None:
    path = str(tmp_path / "state.duckdb")
    sql = """CREATE TABLE t (k VARCHAR(4), n BIGINT) RETAIN 10 KEYS; CREATE STREAM c (k VARCHAR(4), "k" VARCHAR(4));
    CREATE PUMP p AS INSERT INTO t SELECT STREAM "k", COUNT(*) FROM src GROUP BY "k";
    CREATE PUMP q AS INSERT INTO c SELECT STREAM "k", "k" || '!' FROM src"""
    async with world() as client:
        await client.create_stream("src")
        await client.give("src", [b'{"t": "2025-01-01 00:00:00", "k": "%s"}' % key for key in (b"x", b"y", b"x")])
        async with Application(
            sql, client=client, inputs=[Input("src", name="SRC", rowtime="t")], path=path, clock=client.clock
        ) as application:
            await application.run(until_end=True)
            with pytest.raises(ValidationError, match="cannot be read"):
                await query("SELECT * FROM state.t", client, applications=StateFile(path))
        state = StateFile(path)
        asked = "SELECT k, n, (SELECT count(*) FROM src) AS every FROM state.t WHERE t.n > 1"
        assert (await query(asked, client, applications=state)).to_pylist() == [{"K": "x", "N": 2, "every": 3}]
        both = await query("SELECT k, k_1 FROM state.c ORDER BY 1 LIMIT 1", client, applications=state)
        assert both.to_pylist() == [{"K": "x", "k_1": "x!"}]
        with pytest.raises(SqlError, match="application state has no stream u"):
            await query("SELECT * FROM state.u", client, applications=state)
        with pytest.raises(SqlError, match="there is no column m"):
            await query("SELECT m FROM state.t", client, applications=state)
        with pytest.raises(SqlError, match="there is no application state"):
            await query("SELECT * FROM state.t", client)


async def test_times_of_streams_are_times_to_every_function() -> None:
    """DuckDB's epoch_ms does not take the TIMESTAMP_MS that ROWTIME is."""
    async with world() as client:
        await client.load({"s": [b'{"at": "1969-12-31 23:59:59.999", "n": 1500}']})
        sql = """SELECT epoch_ms(rowtime) AS r, epoch_ms(at) AS a, epoch_ms(n) AS n, epoch_ms(DATE '1970-01-02') AS d,
        epoch_ms(INTERVAL 2 SECOND) AS i, epoch_ms(TIMESTAMPTZ '1970-01-01 00:00:01+00') AS z FROM s"""
        (row,) = (await query(sql, client)).to_pylist()
        assert row.pop("n").isoformat() == "1970-01-01T00:00:01.500000"
        assert row == {"r": NOW_MS, "a": -1, "d": 86_400_000, "i": 2_000, "z": 1_000}
        assert (await query("SELECT epoch_ms(rowtime) FROM s", client)).column_names == ["epoch_ms(rowtime)"]
