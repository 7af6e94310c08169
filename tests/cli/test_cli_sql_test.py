"""``headrace sql test``: rows in, rows out, and what differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

PROGRAM = """
CREATE STREAM counts (ticker VARCHAR(4), n INTEGER, mean DOUBLE);
CREATE PUMP p AS INSERT INTO counts
SELECT STREAM ticker, COUNT(*), AVG(price) FROM SOURCE_SQL_STREAM_001 AS s
GROUP BY ticker, STEP(s.ROWTIME BY INTERVAL '1' MINUTE);
"""
READS_ERRORS = """
CREATE STREAM errors (message VARCHAR(99));
CREATE PUMP q AS INSERT INTO errors SELECT STREAM MESSAGE FROM "error_stream";
"""
INPUT = [
    ("SOURCE_SQL_STREAM_001", "2026-01-01T00:00:00.000Z", {"ticker": "A", "price": 1.0}),
    ("SOURCE_SQL_STREAM_001", "2026-01-01T00:00:30.000Z", {"ticker": "A", "price": 2.0}),
    ("SOURCE_SQL_STREAM_001", "2026-01-01T00:01:30.000Z", {"ticker": "B", "price": 4.0}),
]
EXPECTED = [
    ("COUNTS", "2026-01-01T00:01:00.000Z", {"TICKER": "A", "N": 2, "MEAN": 1.5}),
    ("COUNTS", "2026-01-01T00:02:00.000Z", {"TICKER": "B", "N": 1, "MEAN": 4}),
]
Rows = list[tuple[str, str, dict[str, object]]]


def run(folder: Path, program: str = PROGRAM, given: Rows = INPUT, expected: Rows = EXPECTED, *more: str) -> Result:
    paths = [folder / "app.sql", folder / "input.ndjson", folder / "expected.ndjson"]
    paths[0].write_text(program)
    for path, rows in zip(paths[1:], (given, expected), strict=True):
        lines = [json.dumps({"stream": stream, "rowtime": time, "row": row}) for stream, time, row in rows]
        path.write_text("\n".join(lines))
    return CliRunner().invoke(main, ["sql", "test", *map(str, paths), *more])


def test_rows_as_expected(tmp_path: Path) -> None:
    result = run(tmp_path)
    assert (result.exit_code, result.stderr) == (0, "2 rows as expected\n")


def test_a_difference_is_shown(tmp_path: Path) -> None:
    result = run(tmp_path, expected=[EXPECTED[0], ("COUNTS", EXPECTED[1][1], {"TICKER": "B", "N": 2, "MEAN": 4})])
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "COUNTS: 1 missing, 1 not expected",
        '- 2026-01-01T00:02:00.000Z {"TICKER": "B", "N": 2, "MEAN": 4}',
        '+ 2026-01-01T00:02:00.000Z {"TICKER": "B", "N": 1, "MEAN": 4.0}',
    ]


def test_rows_that_failed_are_told(tmp_path: Path) -> None:
    late = ("SOURCE_SQL_STREAM_001", "2026-01-01T00:00:20.000Z", {"ticker": "A", "price": 9.0})
    result = run(tmp_path, given=[*INPUT, late])
    assert result.exit_code == 0, "what goes to error_stream is only compared where it is expected"
    result = run(tmp_path, given=[*INPUT, late], expected=[])
    assert result.exit_code == 0
    wrong = [("COUNTS", EXPECTED[0][1], {"TICKER": "A", "N": 3, "MEAN": 4}), EXPECTED[1]]
    assert "1 in error_stream, the first: LateRow" in run(tmp_path, given=[*INPUT, late], expected=wrong).stderr
    assert run(tmp_path, PROGRAM, [*INPUT, late], wrong, "--lateness", "90").exit_code == 0
    fault: Rows = [("error_stream", None, {"ERROR_NAME": "LateRow"})]  # type: ignore[list-item]  # no time is compared
    assert run(tmp_path, given=[*INPUT, late], expected=fault).exit_code == 0


def test_a_schema_declares_what_is_not_found(tmp_path: Path) -> None:
    columns = [
        {"Name": "TICKER", "SqlType": "VARCHAR(4)", "Mapping": "$.a.b"},
        {"Name": "PRICE", "SqlType": "DECIMAL(6,2)", "Mapping": "$.price"},
    ]
    (tmp_path / "schema.json").write_text(json.dumps({"SOURCE_SQL_STREAM_001": {"RecordColumns": columns}}))
    given: Rows = [(INPUT[0][0], INPUT[0][1], {"a": {"b": "X"}, "price": "1.25"})]
    assert (
        run(
            tmp_path, given=given, expected=[("COUNTS", EXPECTED[0][1], {"TICKER": "X", "N": 1, "MEAN": 1.25})]
        ).exit_code
        == 0
    )
    (tmp_path / "schema.json").write_text(json.dumps({"RecordColumns": [{"Name": "TICKER", "SqlType": "WORDS"}]}))
    assert "'WORDS' is not a type of column TICKER" in run(tmp_path).stderr


@pytest.mark.parametrize(
    ("program", "given", "expected", "message"),
    [
        (PROGRAM.replace("ticker,", "tickr,"), INPUT, EXPECTED, 'has no column TICKR; did you mean "ticker"?'),
        (PROGRAM, INPUT, [("COUNT", EXPECTED[0][1], {})], "there is no in-application stream COUNT to expect rows of; did you mean COUNTS?"),
        (PROGRAM, [("SOURCE", INPUT[0][1], {"a": 1})], EXPECTED, "no row of the input is of a stream SOURCE_SQL_STREAM_001"),
        (PROGRAM + READS_ERRORS, INPUT, EXPECTED, "error_stream cannot be read by the program"),
        (PROGRAM, [(INPUT[0][0], "yesterday", {"a": 1})], EXPECTED, "rowtime is a time like"),
        (PROGRAM, [(INPUT[0][0], None, {"a": 1})], EXPECTED, "has no rowtime"),
        (PROGRAM, [(INPUT[0][0], INPUT[0][1], 1)], EXPECTED, "line 1: a line is"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, program: str, given: Rows, expected: Rows, message: str) -> None:
    result = run(tmp_path, program, given, expected)
    assert result.exit_code == 1
    assert message in result.stderr


SCRIPTS = """
CREATE FUNCTION shout (word VARCHAR(8)) RETURNS VARCHAR(9) LANGUAGE PYTHON AS $$
def shout(word):
    if word == "B":
        raise ValueError("no shouting here")
    return word.lower() + "!"
$$;
CREATE FUNCTION twice (x DOUBLE) RETURNS DOUBLE LANGUAGE ARROW AS $$
import pyarrow.compute as pc
def twice(x):
    return pc.multiply(x, 2.0)
$$;
CREATE STREAM shouted (word VARCHAR(9), price DOUBLE);
CREATE PUMP p AS INSERT INTO shouted SELECT STREAM shout(ticker), twice(price) FROM SOURCE_SQL_STREAM_001;
"""


def test_functions_of_the_program(tmp_path: Path) -> None:
    """By row and over Arrow arrays; what one raises is a row of error_stream."""
    rows: Rows = [
        ("SHOUTED", INPUT[0][1], {"WORD": "a!", "PRICE": 2}),
        ("SHOUTED", INPUT[1][1], {"WORD": "a!", "PRICE": 4}),
    ]
    expected = [*rows, ("error_stream", "2026-01-01T00:01:30.000Z", {"ERROR_NAME": "FunctionError", "PUMP_NAME": "P"})]
    result = run(tmp_path, SCRIPTS, expected=expected)
    assert (result.exit_code, result.stderr) == (0, "3 rows as expected\n"), result.stdout
    result = run(tmp_path, SCRIPTS, expected=[*rows, ("SHOUTED", INPUT[2][1], {"WORD": "b!", "PRICE": 8})])
    assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "SHOUTED: 1 missing, 0 not expected")
    assert "no shouting here" in result.stderr
    wrong = SCRIPTS.replace("return pc.multiply(x, 2.0)", "return [")
    result = run(tmp_path, wrong)
    assert result.exit_code == 1
    assert "line 8, column 17: function TWICE is no Python in its line 4" in result.stderr


CLEAN = """
import base64, json

def clean(event, context):
    answers = []
    for record in event["records"]:
        row = json.loads(base64.b64decode(record["data"]))
        assert list(row) == ["ticker", "price"], "what the source never had"
        seconds = record["kinesisStreamRecordMetadata"]["approximateArrivalTimestamp"] // 1000 % 60
        result = {"B": "Dropped", "C": "ProcessingFailed"}.get(row["ticker"], "Ok")
        data = json.dumps({"ticker": row["ticker"], "price": row["price"] * 10, "second": seconds})
        answers.append({"recordId": record["recordId"], "result": result, "data": base64.b64encode(data.encode()).decode()})
    return {"records": answers}

def broken(event, context):
    raise KeyError("records")
"""


def test_a_function_before_an_input(tmp_path: Path) -> None:
    (tmp_path / "functions.py").write_text(CLEAN)
    program = """CREATE STREAM cleaned (price DOUBLE, at_second INTEGER);
    CREATE PUMP p AS INSERT INTO cleaned SELECT STREAM "price", "second" FROM SOURCE_SQL_STREAM_001;"""
    given = [*INPUT, ("SOURCE_SQL_STREAM_001", "2026-01-01T00:02:00.000Z", {"ticker": "C", "price": 5.0})]
    expected: Rows = [
        ("CLEANED", INPUT[0][1], {"PRICE": 10, "AT_SECOND": 0}),
        ("CLEANED", INPUT[1][1], {"PRICE": 20, "AT_SECOND": 30}),
        ("error_stream", "2026-01-01T00:02:00.000Z", {"ERROR_NAME": "ProcessingFailed"}),
    ]
    before = f"--function=SOURCE_SQL_STREAM_001={tmp_path}/functions.py"
    result = run(tmp_path, program, given, expected, f"{before}:clean")
    assert (result.exit_code, "declare its columns in schema.json" in result.stderr) == (1, True)
    columns = [("ticker", "VARCHAR(4)"), ("price", "DOUBLE"), ("second", "INTEGER")]
    listed = [{"Name": name, "SqlType": kind, "Mapping": f"$.{name}"} for name, kind in columns]
    (tmp_path / "schema.json").write_text(json.dumps({"SOURCE_SQL_STREAM_001": {"RecordColumns": listed}}))
    result = run(tmp_path, program, given, expected, f"{before}:clean")
    assert (result.exit_code, result.stderr) == (0, "3 rows as expected\n"), result.stdout
    result = run(tmp_path, program, given, expected, f"{before}:broken")
    assert (result.exit_code, "KeyError" in result.stderr) == (1, True), result.stderr
    result = run(tmp_path, program, given, expected, "--function=OTHER=functions.py:clean")
    assert (result.exit_code, "the program reads no stream of this name" in result.stderr) == (1, True)
