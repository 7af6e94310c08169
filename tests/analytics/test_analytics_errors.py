"""What is wrong with a program is said with its place, what was found, what was expected, and what was probably meant.

``errors.txt`` holds programs, each followed by ``=> `` and the exact message.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import SqlError, parse
from analytics.compiler import compile_program
from connectors.formats.schema import Column

INPUTS = {
    "SOURCE_SQL_STREAM_001": [
        Column("TICKER", pa.string()),
        Column("ticker", pa.string()),
        Column("heartRate", pa.int32()),
        Column("PRICE", pa.float64()),
        Column("AT", pa.timestamp("ms")),
    ],
    "OTHER": [Column("TICKER", pa.string())],
}
REFERENCES = {"NAMES": [Column("code", pa.string())]}


def _cases() -> list[tuple[str, str]]:
    cases, lines = [], []
    for line in (Path(__file__).parent / "errors.txt").read_text().splitlines():
        if line.startswith("=> "):
            cases.append(("\n".join(lines).lstrip("\n"), line[3:]))
            lines = []
        else:
            lines.append(line)
    return cases


@pytest.mark.parametrize(("sql", "message"), _cases(), ids=lambda value: value[-40:])
def test_a_wrong_program_is_refused_with_its_place(sql: str, message: str) -> None:
    with pytest.raises(SqlError) as caught:
        compile_program(parse(sql), INPUTS, REFERENCES)
    assert caught.value.message == message


def test_an_error_has_its_parts() -> None:
    with pytest.raises(SqlError) as caught:
        parse("CREATE\n  STREM x (a INT)")
    error = caught.value
    assert (error.line, error.column, error.found, error.suggestion) == (2, 3, "STREM", "STREAM")


def test_a_program_is_bounded() -> None:
    with pytest.raises(SqlError, match="at most 102,400"):
        parse("-" * 102_401)
    with pytest.raises(SqlError):
        parse("SELECT STREAM " + "(" * 5_000 + "a" + ")" * 5_000 + " FROM s")


WORDS = st.sampled_from(
    [
        "CREATE",
        "OR",
        "REPLACE",
        "STREAM",
        "PUMP",
        "AS",
        "INSERT",
        "INTO",
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP",
        "BY",
        "STEP",
        "(",
        ")",
        ",",
        ";",
        "a",
        '"b"',
        "1",
        "INTERVAL",
        "HOUR",
        "*",
        "//",
        "=",
        "JOIN",
        "ON",
        "FLOOR",
        "TO",
        "ROWTIME",
        "NULL",
        "CASE",
        "INTEGER",
        "'x'",
        ".",
        "-",
        "UNION",
        "OVER",
        "WITH",
        "DROP",
        "ALTER",
        "EXPLAIN",
        "SET",
        "SHOW",
        "DESCRIBE",
        "PRAGMA",
    ]
)


@given(st.lists(WORDS, max_size=25).map(" ".join))
def test_no_text_does_anything_but_parse_or_say_why_not(text: str) -> None:
    with contextlib.suppress(SqlError):
        compile_program(parse(text), INPUTS, REFERENCES)
