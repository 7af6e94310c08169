"""Partial rows that are made over Arrow are those that DuckDB makes of the same rows."""

from __future__ import annotations

from typing import Any
from unittest import mock

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import direct, numbering, parse
from analytics.compiler import compile_program
from analytics.pending import Pending
from analytics.plan import Pump
from analytics.spans import Left
from connectors.formats.schema import Column

COLUMNS = {"K": pa.int32(), "N": pa.int64(), "S": pa.string(), "T": pa.timestamp("ms")}
STEP = "STEP(a.ROWTIME BY INTERVAL '10' SECOND)"
DAY = "FLOOR(a.ROWTIME TO DAY)"
HOP = "HOP(a.ROWTIME, INTERVAL '2' SECOND, INTERVAL '10' SECOND)"
AGGREGATES = (
    "COUNT(*), COUNT(n), SUM(n), MIN(n), MAX(n), AVG(k)",
    "COUNT(*), MIN(s), MAX(s), MIN(t), MAX(t), COUNT(s)",
    "SUM(CASE WHEN n < 5 THEN 1 ELSE 0 END), SUM(CASE WHEN n >= 5 OR k = 1 THEN n END), MAX(CASE WHEN k = 1 THEN 200 "
    "WHEN n > 0 THEN k ELSE 7 END), COUNT(k), SUM(k), AVG(n)",
    "COUNT(DISTINCT n), COUNT(DISTINCT CASE WHEN k > 0 THEN n END), COUNT(DISTINCT s), SUM(k), COUNT(*), SUM(DISTINCT k)",
)
QUERIES = [
    f"{AGGREGATES[number]} FROM src AS a WHERE k < 3 OR n = 0 GROUP BY {keys}"
    for number, keys in (
        (0, f"k, {STEP}"),
        (1, DAY),
        (2, f"s, n, {STEP}"),
        (3, f"k, {STEP}"),
        (0, f"s, n, {HOP}"),
        (3, f"t, {DAY}"),
    )
]
LARGE = st.one_of(st.integers(-9, 9), st.sampled_from([2**62, -(2**62), 2**50, 10**9]))
ROWS = st.lists(
    st.tuples(
        st.integers(-3, 100_000_000).map(lambda ms: ms // 700 * 700 if ms > 40_000 else ms),
        st.one_of(st.none(), st.integers(-1, 3)),
        st.one_of(st.none(), LARGE),
        st.one_of(st.none(), st.sampled_from(["", "ab", "ä€", "b", "aa"])),
        st.one_of(st.none(), st.integers(-(10**12), 10**12)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def pumps() -> list[Pump]:
    columns = [Column(name, kind) for name, kind in COLUMNS.items()]
    made = []
    for select in QUERIES:
        shape = ", ".join(f"c{number} {kind}" for number, kind in enumerate(_kinds(select)))
        sql = f"CREATE STREAM o ({shape}); CREATE PUMP p AS INSERT INTO o SELECT STREAM {select}"
        made.append(compile_program(parse(sql), {"SRC": columns}, {}).pumps[0])
    return made


def _kinds(select: str) -> list[str]:
    texts = {"MIN(s)": "VARCHAR(4)", "MAX(s)": "VARCHAR(4)", "MIN(t)": "TIMESTAMP", "MAX(t)": "TIMESTAMP"}
    aggregates = next(each for each in AGGREGATES if select.startswith(each))
    return [texts.get(each, "BIGINT") for each in aggregates.split(", ")]


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    values = list(zip(*rows, strict=True)) or [[]] * (len(COLUMNS) + 1)
    kinds = [pa.timestamp("ms"), *COLUMNS.values()]
    arrays = [
        pa.array(each, pa.int64() if pa.types.is_timestamp(kind) else kind).cast(kind)
        for each, kind in zip(values, kinds, strict=True)
    ]
    return pa.Table.from_arrays(arrays, ["rt", *(f"c{number}" for number in range(len(COLUMNS)))])


@settings(max_examples=40)
@given(ROWS, st.integers(0, 25), st.booleans())
def test_partial_rows_are_those_of_duckdb(
    pumps: list[Pump], rows: list[tuple[Any, ...]], cut: int, apart: bool
) -> None:
    source = pa.concat_tables([table(rows[:cut]), table(rows[cut:])])
    with duckdb.connect() as connection, mock.patch.object(numbering, "_CLOSE", 0 if apart else 4):
        connection.register("src", source)
        for pump in pumps:
            assert pump.rows is not None
            assert pump.window is not None
            assert pump.window.fold is not None, "all of them are made over Arrow"
            query = direct.compiled(pump.rows)
            assert query is not None
            made = query.rows(source, lambda pump=pump: connection.sql(pump.rows.select("src")).to_arrow_table().schema)
            assert made is not None
            state = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in pump.window.state)
            partial = pump.window.partial.format(source=f"({pump.rows.select('src')})")
            wanted = f"SELECT {state} FROM ({partial})"
            if not len(made):
                assert not len(pump.window.fold.partial(made))
                assert connection.sql(wanted).fetchall() == []
                continue
            try:
                found = pump.window.fold.partial(made)
            except Left:
                assert max(abs(row[2] or 0) for row in rows) > 2**40, "numbers were too large for it"
                continue
            assert found.column_names == [name for name, _ in pump.window.state]
            connection.register("found", found)
            assert sorted(connection.sql(f"SELECT {state} FROM found").fetchall(), key=repr) == sorted(
                connection.sql(wanted).fetchall(), key=repr
            )


@settings(max_examples=40)
@given(ROWS, st.integers(0, 25))
def test_partial_rows_are_merged_as_duckdb_does(pumps: list[Pump], rows: list[tuple[Any, ...]], cut: int) -> None:
    with duckdb.connect() as connection:
        for pump in pumps:
            window, query = pump.window, pump.rows and direct.compiled(pump.rows)
            assert window is not None
            assert query is not None
            if window.stamp is None:
                continue
            parts = []
            for source in (table(rows[:cut]), table(rows[cut:])):
                connection.register("src", source)
                state = ", ".join(f"CAST({name} AS {duck}) AS {name}" for name, duck in window.state)
                partial = window.partial.format(source=f"({pump.rows.select('src')})")
                parts.append(connection.sql(f"SELECT {state} FROM ({partial})").to_arrow_table())
            connection.register("parts", pa.concat_tables(parts))
            wanted = connection.sql(window.merge.format(source="parts")).fetchall()
            assert window.fold is not None
            if not any(map(len, parts)):
                assert wanted == []
                continue
            try:
                merged = window.fold.merged(parts)
            except Left:
                assert max(abs(row[2] or 0) for row in rows) > 2**40, "numbers were too large for it"
                continue
            connection.register("merged", Pending(connection).stamped(window, merged))
            names = ", ".join(name for name, _ in window.state)
            assert connection.sql(f"SELECT {names}, rt FROM merged").fetchall() == wanted


def test_aggregates_that_need_the_order_of_rows_or_have_a_point_are_left_to_duckdb() -> None:
    columns = [Column("K", pa.int32()), Column("D", pa.float64()), Column("M", pa.decimal128(8, 2))]
    for aggregate in ("FIRST_VALUE(k)", "STDDEV_POP(k)", "SUM(d)", "AVG(m)", "MAX(m)", "COUNT(DISTINCT d)"):
        sql = f"""CREATE STREAM o (x DOUBLE);
        CREATE PUMP p AS INSERT INTO o SELECT STREAM {aggregate} FROM src AS a GROUP BY FLOOR(a.ROWTIME TO DAY)"""
        (pump,) = compile_program(parse(sql), {"SRC": columns}, {}).pumps
        assert pump.window is not None
        assert pump.window.fold is None, aggregate
