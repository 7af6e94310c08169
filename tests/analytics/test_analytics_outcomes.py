"""Conditions of which parts fail: what they come to, whatever DuckDB computes first and whatever else is in the batch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import parse
from analytics.compiler import compile_program
from analytics.engine import Engine
from analytics.operators.work import END
from analytics.outcomes import computed, patient
from analytics.plan import Plan, RowQuery
from analytics.state import State
from connectors.formats.schema import Column

LINES = [
    [part.strip() for part in line.split("|")]
    for line in (Path(__file__).parent / "outcomes.txt").read_text().splitlines()
    if not line.startswith("#")
]
BOOLEANS = {"T": True, "F": False, "U": None}
KINDS = {"ID": pa.int32(), "N": pa.int32(), "Z": pa.int32(), **dict.fromkeys(BOOLEANS, pa.bool_())}
SHOWN = {"TRUE": True, "FALSE": False, "NULL": None}
TESTED, SOUND, BROKEN = 0, 1, 2
"""Rows by their ID: the one of the table; one for which nothing fails; and one that fails wherever it gets."""


@pytest.mark.parametrize(("condition", "chosen", "selected"), LINES, ids=[line[0] for line in LINES])
def test_what_fails_decides_only_where_it_matters(condition: str, chosen: str, selected: str) -> None:
    condition = condition.replace("X", "(N / Z = 1)")
    sql = f"""CREATE STREAM w (id INTEGER, broken INTEGER);
        CREATE PUMP pw AS INSERT INTO w SELECT STREAM ID, 1 / (2 - ID) FROM s WHERE {condition};
        CREATE STREAM c (id INTEGER, broken INTEGER, condition BOOLEAN);
        CREATE PUMP pc AS INSERT INTO c SELECT STREAM ID, 1 / (2 - ID), {condition} FROM s;"""
    wanted = (
        [True] if chosen == "in" else [],
        [] if selected == "fails" else [SHOWN[selected]],
        {name for name, outcome in (("PW", chosen), ("PC", selected)) if outcome == "fails"},
    )
    plan = compile_program(parse(sql), {"S": [Column(name, kind) for name, kind in KINDS.items()]}, {})
    state = State(None, sql)
    try:
        engine = Engine(plan, state.connection)
        for batch in ((TESTED,), *itertools.permutations([TESTED, SOUND, BROKEN])):
            assert outcome(engine, plan, batch) == wanted, batch
    finally:
        state.close()


def outcome(engine: Engine, plan: Plan, batch: Sequence[int]) -> tuple[list[bool], list[bool | None], set[str]]:
    """What becomes of the row in each of the streams, and the pumps for which it fails."""
    rows = [{"ID": each, "N": 7, "Z": 0 if each == TESTED else 7, **BOOLEANS} for each in batch]
    arrays = {f"c{i}": pa.array([row[name] for row in rows], kind) for i, (name, kind) in enumerate(KINDS.items())}
    table = pa.table({"rt": pa.array([0] * len(rows)).cast(pa.timestamp("ms")), **arrays})
    source = plan.inputs["S"].physical
    step = engine.step({source: table}, {source: END}, 0)
    made = [step.rows.get(plan.streams[name].physical) for name in ("W", "C")]
    found = [[row for row in each.to_pylist() if row["c0"] == TESTED] if each is not None else [] for each in made]
    failed = {row["c6"] for each in step.faulty for row in each.to_pylist() if b'"ID":0' in bytes.fromhex(row["c5"])}
    return [True for _ in found[0]], [row["c2"] for row in found[1]], failed


NUMBERS = st.sampled_from(["(t0.n0 // t0.z0)", "(t0.n1 // t0.z1)", "t0.n0", "t0.n1", "1", "0"])
PARTS = (
    st.builds("({} {} 1)".format, NUMBERS, st.sampled_from(["=", ">", "IS DISTINCT FROM"]))
    | st.builds("({} BETWEEN {} AND {})".format, NUMBERS, NUMBERS, NUMBERS)
    | st.builds("({} IN ({}, {}))".format, NUMBERS, NUMBERS, NUMBERS)
)
CONDITIONS = st.recursive(
    PARTS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner)
        | st.builds("(NOT {})".format, inner)
        | st.builds("({} IS {})".format, inner, st.sampled_from(["NULL", "TRUE", "NOT FALSE"]))
        | st.builds("CASE WHEN {} THEN {} ELSE {} END".format, inner, inner, inner)
        | st.builds("coalesce({}, {})".format, inner, inner)
    ),
    max_leaves=6,
)
"""Over two pairs of columns: ``n // z`` fails where z is 0."""
VALUES = "(VALUES (1, 1), (0, 1), (NULL, 1), (1, 0))"


@settings(max_examples=15, derandomize=True, deadline=None)
@given(CONDITIONS, st.lists(CONDITIONS, max_size=2), st.permutations(range(16)), st.integers(1, 5))
def test_what_duckdb_gives_at_once_is_what_it_gives_row_by_row(
    condition: str, selected: list[str], order: list[int], size: int
) -> None:
    """A statement that does not fail gives what the patient one gives, over whatever part of all rows."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE every AS SELECT 0 AS rt, row_number() OVER () - 1 AS rn, * "
            f"FROM {VALUES} AS a(n0, z0) CROSS JOIN {VALUES} AS b(n1, z1)"
        )
        columns = (("rn", "t0.rn"), *((f"c{number}", sql) for number, sql in enumerate(selected)))
        query = computed(connection, RowQuery(columns, "", condition))
        slow = patient(connection, query)
        rows = {row[0]: row for row in connection.sql(slow.tried("every")).fetchall()}
        failed = {number for (number,) in connection.sql(slow.guard("every")).fetchall()}
        assert not failed & rows.keys()
        for first in range(0, 16, size):
            part = order[first : first + size]
            listed = f"(SELECT * FROM every WHERE rn IN ({', '.join(map(str, part))}))"
            try:
                found = {row[0]: row for row in connection.sql(query.select(listed)).fetchall()}
            except duckdb.Error:
                continue
            assert not failed.intersection(part)
            assert found == {number: row for number, row in rows.items() if number in part}
