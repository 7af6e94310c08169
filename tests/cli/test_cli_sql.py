from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli.cli_server import HEADRACE, Headrace, Server

ROWS = "".join(
    f'{{"user":"{user}","amount":{amount},"at":"2026-01-01T{hour:02d}:{minute:02d}:00Z"}}\n'
    for user, amount, hour, minute in [("ann", 1, 9, 0), ("bob", 2, 9, 30), ("ann", 4, 9, 59), ("ann", 8, 10, 1)]
)
WINDOWS = """
CREATE OR REPLACE STREAM hourly (hour TIMESTAMP, who VARCHAR(16), total BIGINT);
CREATE OR REPLACE PUMP p AS INSERT INTO hourly
SELECT STREAM STEP(s.ROWTIME BY INTERVAL '1' HOUR), s."user", SUM(s."amount")
FROM orders AS s GROUP BY STEP(s.ROWTIME BY INTERVAL '1' HOUR), s."user";
"""
COLUMNS = "user VARCHAR(16), amount INTEGER, at TIMESTAMP"
EXPECTED = {("2026-01-01 09", "ann", 5), ("2026-01-01 09", "bob", 2), ("2026-01-01 10", "ann", 8)}


@pytest.fixture
def orders(headrace: Headrace, stream: str) -> str:
    assert headrace("put", stream, "--key", "k", stdin=ROWS).exit_code == 0
    return stream


def windows(stdout: str) -> set[tuple[str, str, int]]:
    rows = [json.loads(line) for line in stdout.splitlines()]
    return {(row["HOUR"].replace("T", " ")[:13], row["WHO"], row["TOTAL"]) for row in rows}


def program(orders: str) -> list[str]:
    return ["--input", f"ORDERS={orders}", "--columns", f"{orders}={COLUMNS}", "--rowtime", "at"]


def test_a_batch_query_for_people(headrace: Headrace, orders: str) -> None:
    shown = headrace("sql", f'SELECT "user", sum(amount) AS total FROM "{orders}" GROUP BY 1 ORDER BY 1')
    assert shown.exit_code == 0, shown.output
    lines = [line.split() for line in shown.stdout.splitlines() if line.split()]
    assert lines[0] == ["user", "total"]
    assert lines[2:] == [["ann", "13"], ["bob", "2"]]


def test_a_batch_query_for_programs(headrace: Headrace, orders: str) -> None:
    statement = f'SELECT "user", count(*) AS n FROM "{orders}" GROUP BY 1 ORDER BY 1'
    shown = headrace("sql", statement, "--json")
    assert [json.loads(line) for line in shown.stdout.splitlines()] == [
        {"user": "ann", "n": 3},
        {"user": "bob", "n": 1},
    ]
    assert headrace("sql", statement, "--output", "csv").stdout.splitlines() == ['"user","n"', '"ann",3', '"bob",1']


def test_a_batch_query_with_a_file(headrace: Headrace, orders: str, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("user,name\nann,Ann Lee\nbob,Bob Ray\n")
    (tmp_path / "query.sql").write_text(
        f"SELECT n.name, sum(o.amount) AS total FROM \"{orders}\" o JOIN read_csv('{tmp_path}/names.csv') n USING (user) "
        "GROUP BY 1 ORDER BY 1"
    )
    shown = headrace("sql", "-f", str(tmp_path / "query.sql"), "--json")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout.splitlines()[0]) == {"name": "Ann Lee", "total": 13}


def test_the_statement_can_come_from_stdin(headrace: Headrace, orders: str) -> None:
    assert json.loads(headrace("sql", "--json", stdin=f'SELECT count(*) AS n FROM "{orders}"').stdout) == {"n": 4}


def test_a_program_to_the_end_of_what_is_there(headrace: Headrace, orders: str) -> None:
    shown = headrace("sql", WINDOWS, *program(orders), "--no-follow", "--json")
    assert shown.exit_code == 0, shown.output
    assert windows(shown.stdout) == EXPECTED


def test_a_program_for_people_and_as_csv(headrace: Headrace, orders: str) -> None:
    shown = headrace("sql", WINDOWS, *program(orders), "--no-follow").stdout.splitlines()
    assert shown[0].split() == ["ROWTIME", "HOUR", "WHO", "TOTAL"]
    assert len(shown) == 4
    assert headrace("sql", WINDOWS, *program(orders), "--no-follow", "--output", "csv").stdout.count("ROWTIME") == 1


def test_a_query_that_streams(headrace: Headrace, orders: str) -> None:
    statement = f'SELECT STREAM s."user", s."amount" * 2 AS twice FROM "{orders}" AS s WHERE s."amount" > 2'
    shown = headrace("sql", statement, "--no-follow", "--json")
    assert shown.exit_code == 0, shown.output
    assert [json.loads(line)["TWICE"] for line in shown.stdout.splitlines()] == [8, 16]


def test_a_program_with_a_reference_table_into_a_stream_and_a_file(
    headrace: Headrace, orders: str, tmp_path: Path
) -> None:
    (tmp_path / "names.csv").write_text("user,name\nann,Ann Lee\n")
    joined = """
    CREATE STREAM named (name VARCHAR(16), amount INTEGER);
    CREATE PUMP p AS INSERT INTO named
    SELECT STREAM n."name", s."amount" FROM orders AS s JOIN names AS n ON s."user" = n."user";
    """
    assert headrace("stream", "create", f"{orders}-named").exit_code == 0
    shown = headrace(
        "sql", joined, *program(orders)[:4], "--reference", f"names={tmp_path}/names.csv", "--no-follow", "--json",
        "--to", f"NAMED=stream:{orders}-named",
    )  # fmt: skip
    assert shown.exit_code == 0, shown.output
    assert len(shown.stdout.splitlines()) == 3
    copied = headrace("tail", f"{orders}-named", "--from", "trim_horizon", "--no-follow", "--json").stdout.splitlines()
    rows = [json.loads(json.loads(line)["data"]) for line in copied]
    assert sorted(row["AMOUNT"] for row in rows) == [1, 4, 8]

    done = headrace("sql", WINDOWS, *program(orders), "--no-follow", "--to", f"HOURLY={tmp_path}/hourly.ndjson")
    assert done.exit_code == 0, done.output
    assert windows((tmp_path / "hourly.ndjson").read_text()) == EXPECTED


def test_a_program_goes_on_from_its_state(headrace: Headrace, orders: str, tmp_path: Path) -> None:
    statement = f'SELECT STREAM s."amount" FROM "{orders}" AS s'
    arguments = ["sql", statement, "--no-follow", "--json", "--state", str(tmp_path / "state.duckdb")]
    assert len(headrace(*arguments).stdout.splitlines()) == 4
    headrace("put", orders, "--key", "k", stdin='{"amount": 16}\n')
    assert [json.loads(line)["amount"] for line in headrace(*arguments).stdout.splitlines()] == [16]


def test_rows_that_do_not_fit_are_told(headrace: Headrace, orders: str) -> None:
    headrace("put", orders, "--key", "k", stdin="not json\n")
    shown = headrace("sql", f'SELECT STREAM s."amount" FROM "{orders}" AS s', "--no-follow", "--json")
    assert shown.exit_code == 0
    assert len(shown.stdout.splitlines()) == 4
    assert "1 row went to error_stream" in shown.stderr


def test_a_streaming_query_prints_windows_as_they_close(server: Server, headrace: Headrace, orders: str) -> None:
    arguments = [*program(orders), "--json", "--endpoint", server.url]
    with subprocess.Popen(
        [*HEADRACE, "sql", WINDOWS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        first = running.stdout.readline() + running.stdout.readline()
        assert windows(first) == {row for row in EXPECTED if row[0].endswith("09")}
        headrace("put", orders, "--key", "k", stdin='{"user":"eve","amount":1,"at":"2026-01-01T11:00:00Z"}\n')
        assert windows(running.stdout.readline()) == {("2026-01-01 10", "ann", 8)}
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 0
        assert running.stderr.read() == ""


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        (
            "SELEC 1",
            "line 1, column 1: a batch query is one SELECT; found SELEC; expected SELECT; did you mean SELECT?",
        ),
        ("; -- a note\n SELEC 1", "line 2, column 2: a batch query is one SELECT; found SELEC"),
        ("DROP STREAM x", "line 1, column 1: a batch query is one SELECT; found DROP; expected SELECT"),
        (".streams", ".streams is a command of the prompt, which `headrace sql` alone opens on a terminal"),
        ("SELECT nonsense FROM {orders}", "nonsense"),
        ("SELECT * FROM no_such_stream", "no_such_stream"),
        ("SELECT STREAM nonsense FROM {orders}", "NONSENSE"),
        ("SELECT STREAM * FORM {orders}", "line 1"),
        ("SELECT STREAM * FROM no_such_stream", "there is no stream no_such_stream"),
        ("CREATE STREAM x (a INTEGER)", "no pump and no query"),
        ("CREATE TABLE x (a INTEGER)", "a table says how much it keeps"),
        ("DROP TABLE x", "line 1"),
    ],
)
def test_sql_that_is_wrong_gets_its_place(headrace: Headrace, orders: str, statement: str, sentence: str) -> None:
    shown = headrace("sql", statement.format(orders=f'"{orders}"'), "--no-follow")
    assert shown.exit_code == 1, shown.output
    assert shown.stderr.startswith("headrace: ")
    assert sentence in shown.stderr
    assert "Traceback" not in shown.output
    assert shown.stdout == ""


def test_the_place_is_pointed_at(headrace: Headrace) -> None:
    shown = headrace("sql", "CREATE PUMP p AS\nINSERT OUT x SELECT 1")
    lines = shown.stderr.splitlines()
    assert "line 2, column 8" in lines[0]
    assert lines[1:] == ["  INSERT OUT x SELECT 1", "         ^"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["SELECT 1", "-f", "-"],
        ["SELECT 1", "--json", "--output", "csv"],
        ["SELECT 1", "--input", "A"],
        ["SELECT 1", "--input", "A=b"],
        ["SELECT 1", "--reference", "a=b.csv"],
        ["SELECT 1", "--columns", "a=b NOTYPE"],
        ["SELECT 1", "--lateness", "-1"],
        ["  "],
    ],
    ids=" ".join,
)
def test_options_that_do_not_fit_are_wrong_usage(headrace: Headrace, arguments: list[str]) -> None:
    shown = headrace("sql", *arguments, stdin="")
    assert shown.exit_code == 2, shown.output


def test_a_reference_file_that_does_not_exist(headrace: Headrace, orders: str) -> None:
    shown = headrace(
        "sql", f'SELECT STREAM s."user" FROM "{orders}" AS s JOIN names AS n ON s."user" = n."user"',
        "--reference", "names=/nowhere/names.csv", "--no-follow",
    )  # fmt: skip
    assert shown.exit_code == 1
    assert "there is no file /nowhere/names.csv" in shown.stderr


def test_a_programs_rows_go_to_a_delivery_stream(headrace: Headrace, server: Server, orders: str) -> None:
    name = f"d-{orders}"
    assert headrace("firehose", "create", name, "--bucket", name, "--interval-s", "0").exit_code == 0
    done = headrace("sql", WINDOWS, *program(orders), "--to", f"HOURLY=firehose:{name}", "--no-follow")
    assert done.exit_code == 0, done.output
    deadline = time.monotonic() + 30
    lines: list[str] = []
    while len(lines) < len(EXPECTED):
        assert time.monotonic() < deadline, lines
        files = [path for path in (server.data / "buckets" / name).rglob("*") if path.is_file()]
        lines = [line for path in files for line in path.read_text().replace("}{", "}\n{").splitlines()]
    assert windows("\n".join(lines)) == EXPECTED
