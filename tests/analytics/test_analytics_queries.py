"""Queries in expressions over random tables and rows, NULLs among them: what a stream gives is what DuckDB gives at once."""

from __future__ import annotations

from collections import Counter

import duckdb
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.operators.work import END
from analytics.state import State
from connectors.formats.schema import Column

CELLS = st.one_of(st.none(), st.integers(0, 4))
PAIRS = st.tuples(CELLS, CELLS)
VALUES = """n, m, n IN (SELECT {a} FROM t), n NOT IN (SELECT {a} FROM t WHERE t.{b} < s.m),
  EXISTS (SELECT 1 FROM t WHERE t.{a} = s.n AND t.{b} <> s.m), (SELECT MAX({b}) FROM t WHERE t.{a} <= s.n),
  (SELECT COUNT({b}) FROM t WHERE t.{a} = s.m)"""


@settings(max_examples=15)
@given(st.lists(PAIRS, max_size=6), st.lists(PAIRS, max_size=12), st.integers(1, 5))
def test_queries_in_expressions_are_as_in_batch(
    table: list[tuple[int | None, int | None]], rows: list[tuple[int | None, int | None]], size: int
) -> None:
    sql = f"""CREATE STREAM out (n BIGINT, m BIGINT, listed BOOLEAN, other BOOLEAN, there BOOLEAN, top BIGINT, many BIGINT);
    CREATE PUMP p AS INSERT INTO out SELECT STREAM {VALUES.format(a='"a"', b='"b"')} FROM s
    WHERE NOT EXISTS (SELECT 1 FROM t WHERE t."a" = 4 AND t."b" = s.m)"""
    names = [Column("N", pa.int64()), Column("M", pa.int64())]
    plan = compile_program(parse(sql), {"S": names}, {"T": [Column("a", pa.int64()), Column("b", pa.int64())]})
    state = State(None, sql)
    found: Counter[tuple[object, ...]] = Counter()
    try:
        _fill(state.connection, plan.references["T"].physical, ("c0", "c1"), table)
        engine, source = Engine(plan, state.connection), plan.inputs["S"].physical
        for begin in range(0, len(rows), size):
            part = rows[begin : begin + size]
            times = pa.array([0] * len(part), pa.int64()).cast(pa.timestamp("ms"))
            columns = {f"c{i}": pa.array([row[i] for row in part], pa.int64()) for i in range(2)}
            step = engine.step({source: pa.table({"rt": times, **columns})}, {source: END}, 0)
            assert step.faulty == []
            made = step.rows.get(plan.streams["OUT"].physical)
            found.update(tuple(row[f"c{i}"] for i in range(7)) for row in ([] if made is None else made.to_pylist()))
    finally:
        state.close()
    with duckdb.connect() as connection:
        _fill(connection, "t", ("a", "b"), table)
        _fill(connection, "s", ("n", "m"), rows)
        whole = f"""SELECT {VALUES.format(a="a", b="b")} FROM s
        WHERE NOT EXISTS (SELECT 1 FROM t WHERE t.a = 4 AND t.b = s.m)"""
        assert found == Counter(connection.execute(whole).fetchall())


def _fill(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: tuple[str, str],
    rows: list[tuple[int | None, int | None]],
) -> None:
    connection.execute(f"CREATE TABLE {name} ({columns[0]} BIGINT, {columns[1]} BIGINT)")
    for row in rows:
        connection.execute(f"INSERT INTO {name} VALUES (?, ?)", list(row))
