"""The language item by item: what the list claims is proven, and expressions have the values that are written down.

``values.txt`` holds expressions over the columns of `ROW`, each with its value as JSON, or ``!`` and the error that its
row becomes.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from analytics_support import NOW_MS

from analytics import SqlError, parse
from analytics.compiler import RESULT, compile_program
from analytics.engine import Engine
from analytics.monotonic import direction
from analytics.operators.work import END
from analytics.relation import Field, Relation, Scope
from analytics.resolved import resolve
from analytics.state import State
from connectors.formats.json import encode_json
from connectors.formats.schema import Column
from tools import language

ROW: dict[str, tuple[pa.DataType, Any]] = {
    "N": (pa.int32(), 7),
    "ZERO": (pa.int32(), 0),
    "X": (pa.float64(), 2.5),
    "S": (pa.string(), "123456789"),
    "TS": (pa.timestamp("ms"), dt.datetime(2004, 9, 27, 15, 4, 5, 678_000)),
    "D": (pa.date32(), dt.date(2004, 9, 27)),
    "B": (pa.bool_(), True),
    "NOTHING": (pa.int32(), None),
    "NOTEXT": (pa.string(), None),
}
VALUES = language.values()


def computed(expressions: Sequence[str]) -> tuple[list[Any], list[tuple[str, str]]]:
    """The values of expressions over the one row, and the faults that it became instead."""
    listed = ", ".join(f"{expression} AS x{number}" for number, expression in enumerate(expressions))
    columns = [Column(name, kind) for name, (kind, _) in ROW.items()]
    plan = compile_program(parse(f"SELECT STREAM {listed} FROM s"), {"S": columns}, {})
    state = State(None, "values")
    try:
        Engine.create(plan, state.connection)
        arrays = {f"c{number}": pa.array([value], kind) for number, (kind, value) in enumerate(ROW.values())}
        table = pa.table({"rt": pa.array([NOW_MS]).cast(pa.timestamp("ms")), **arrays})
        source = plan.inputs["S"].physical
        step = Engine(plan, state.connection).step({source: table}, {source: END}, NOW_MS)
        faults = [(row["c2"], row["c3"]) for faulty in step.faulty for row in faulty.to_pylist()]
        made = step.rows.get(plan.streams[RESULT].physical)
        if made is None or not len(made):
            return [], faults
        rows = made.drop_columns(["rt"]).combine_chunks().to_batches()[0]
        return list(json.loads(encode_json(rows)[0].as_py()).values()), faults
    finally:
        state.close()


@pytest.mark.parametrize("name", sorted(VALUES))
def test_expressions_have_their_values(name: str) -> None:
    good = [(expression, json.loads(value)) for expression, value in VALUES[name] if value[:2] not in ("! ", "? ")]
    values, faults = computed([expression for expression, _ in good])
    assert faults == []
    assert list(zip([expression for expression, _ in good], values, strict=True)) == good
    for expression, value in VALUES[name]:
        if value.startswith("! "):
            values, faults = computed([expression])
            assert (expression, values, [f"{kind}: {message}" for kind, message in faults]) == (
                expression,
                [],
                [value[2:]],
            )
        elif value.startswith("? "):
            with pytest.raises(SqlError) as caught:
                computed([expression])
            assert (expression, caught.value.message.partition(": ")[2]) == (expression, value[2:])


@pytest.mark.parametrize(
    ("innermost", "around", "expected"),
    [
        ("N", "({0} / X)", 7 / 2.5**20),
        ("X", "(X / {0})", 2.5),
        ("1.00", "(1.00 / {0})", 1.0),
        ("N", "MOD(1000, {0} + 5)", 1),
        ("X", "LN(EXP({0}))", 2.5),
        ("N", "CAST(CAST({0} AS VARCHAR(20)) AS INTEGER)", 7),
        ("TS", "CEIL({0} TO MINUTE)", "2004-09-27 15:05:00.000"),
        ("N", "STEP({0} BY 1)", 7),
        ("S", "SUBSTRING({0}, N - 6, 9)", "123456789"),
        ("S", "OVERLAY({0} PLACING 'a' FROM 1 FOR N - 6)", "a23456789"),
    ],
)
def test_what_fails_for_some_rows_stands_twenty_times_in_itself(innermost: str, around: str, expected: Any) -> None:
    """Whoever wrote an operand as often as its guard names it would write a million of them."""
    expression = innermost
    for _ in range(20):
        expression = around.format(expression)
    values, faults = computed([expression])
    assert faults == []
    assert values == [pytest.approx(expected)]


def test_the_list_claims_what_is_proven() -> None:
    assert list(language.unproven()) == []


def test_a_column_without_a_name_has_its_number() -> None:
    plan = compile_program(parse("SELECT STREAM 1, a, 2 + 3 FROM s"), {"S": [Column("A", pa.int32())]}, {})
    assert [column.name for column in plan.streams[RESULT].columns] == ["EXPR$0", "A", "EXPR$2"]


@pytest.mark.parametrize(
    ("names", "duck"),
    [
        ("INT, INTEGER", "INTEGER"),
        ("DECIMAL(5,2), DEC(5,2), NUMERIC(5,2)", "DECIMAL(5,2)"),
        ("DECIMAL, DEC, NUMERIC", "DECIMAL(18,0)"),
        ("DOUBLE, DOUBLE PRECISION, FLOAT, FLOAT(24)", "DOUBLE"),
        ("REAL", "REAL"),
        ("CHAR(4), CHARACTER(4), VARCHAR(4), CHARACTER VARYING(4), CHAR VARYING(4), VARCHAR(70000)", "VARCHAR"),
        ("BINARY(4), VARBINARY(4), BINARY VARYING(4)", "BLOB"),
        ("TIMESTAMP, TIMESTAMP(3)", "TIMESTAMP_MS"),
        ("TIME, TIME(0)", "TIME"),
    ],
)
def test_types_have_all_their_names(names: str, duck: str) -> None:
    types = re.findall(r"[A-Z ]+(?:\([\d,]+\))?", names)
    columns = ", ".join(f"c{number} {kind}" for number, kind in enumerate(types))
    program = parse(f"CREATE STREAM d ({columns}); CREATE PUMP p AS INSERT INTO d (c0) SELECT STREAM NULL FROM s")
    assert [column.type.duck for column in program.streams["D"].columns] == [duck] * len(types)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("ROWTIME", 1),
        ("s.ROWTIME + INTERVAL '1' HOUR", 1),
        ("INTERVAL '1' HOUR + ROWTIME", 1),
        ("FLOOR(ROWTIME TO HOUR)", 1),
        ("STEP(ROWTIME BY INTERVAL '1' HOUR)", 1),
        ("(ROWTIME - TIMESTAMP '1970-01-01 00:00:00') SECOND / 10", 1),
        ("(TIMESTAMP '2030-01-01 00:00:00' - ROWTIME) SECOND", -1),
        ("MONOTONIC(N)", 1),
        ("-MONOTONIC(N)", -1),
        ("MONOTONIC(N) + MONOTONIC(N)", 1),
        ("MONOTONIC(N) - MONOTONIC(N)", None),
        ("3 * MONOTONIC(N)", 1),
        ("MONOTONIC(N) * -3", -1),
        ("100 / MONOTONIC(N)", -1),
        ("SUBSTRING(MONOTONIC(S) FROM 1 FOR 4)", 1),
        ("SUBSTRING(MONOTONIC(S) FROM 2 FOR 4)", None),
        ("CURRENT_ROW_TIMESTAMP", 1),
        ("N", None),
        ("5", 0),
        ("UPPER(MONOTONIC(S))", None),
    ],
)
def test_what_is_deduced_to_be_monotonic(expression: str, expected: int | None) -> None:
    query = parse(f"SELECT STREAM {expression} FROM s").query
    assert query is not None
    relation = Relation("S", "s", (Field("N", "c0", "INTEGER"), Field("S", "c1", "VARCHAR")), True)
    scope = Scope(sources={"S": ("t0", relation)})
    assert direction(resolve(query.expressions[0], scope)) == expected
