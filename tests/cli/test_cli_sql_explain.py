"""``headrace sql explain``: pumps, their SQL, their state, and what an open window waits for."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.cli_server import HEADRACE, Headrace, Server
from tests.cli.test_cli_sql import COLUMNS, ROWS

PROGRAM = """
CREATE OR REPLACE STREAM cheap (who VARCHAR(16), amount INTEGER);
CREATE OR REPLACE STREAM hourly (hour TIMESTAMP, who VARCHAR(16), total BIGINT);
CREATE OR REPLACE STREAM running (who VARCHAR(16), total BIGINT);
CREATE OR REPLACE PUMP few AS INSERT INTO cheap
SELECT STREAM s."user", s."amount" FROM orders AS s WHERE s."amount" < 5;
CREATE OR REPLACE PUMP hours AS INSERT INTO hourly
SELECT STREAM STEP(c.ROWTIME BY INTERVAL '1' HOUR), c.who, SUM(c.amount)
FROM cheap AS c GROUP BY STEP(c.ROWTIME BY INTERVAL '1' HOUR), c.who;
CREATE OR REPLACE PUMP sums AS INSERT INTO running
SELECT STREAM c.who, SUM(c.amount) OVER (PARTITION BY c.who RANGE INTERVAL '2' HOUR PRECEDING) FROM cheap AS c;
"""


@pytest.fixture
def program(headrace: Headrace, stream: str, tmp_path: Path) -> list[str]:
    """The program's file, and its options."""
    assert headrace("put", stream, "--key", "k", stdin=ROWS).exit_code == 0
    (tmp_path / "app.sql").write_text(PROGRAM)
    given = ["--input", f"ORDERS={stream}", "--columns", f"{stream}={COLUMNS}", "--rowtime", "at"]
    return [str(tmp_path / "app.sql"), *given]


def test_pumps_and_what_they_keep(headrace: Headrace, program: list[str]) -> None:
    shown = headrace("sql", "explain", *program)
    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.stdout.splitlines() if not line.startswith(" ")]
    assert lines[:2] == ["FEW: ORDERS → CHEAP", "HOURS: CHEAP → HOURLY"]
    assert lines[2].startswith("SUMS: CHEAP → "), "in several steps"
    assert lines[-1].endswith(" → RUNNING")
    assert "computes each row by itself" in shown.stdout
    assert "keeps nothing" in shown.stdout
    assert "keeps partial aggregates of open windows, a row a group: w" in shown.stdout
    assert "keeps rows that a later frame reaches" in shown.stdout
    assert "0 rows, 0 bytes" in shown.stdout


def test_why_a_window_is_open(headrace: Headrace, server: Server, program: list[str], tmp_path: Path) -> None:
    file, *options = program
    state = tmp_path / "state.db"
    running = subprocess.Popen(
        [*HEADRACE, "sql", "-f", file, *options, "--state", str(state), "--json", "--endpoint", server.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    while "HOURLY" not in running.stdout.readline():
        pass  # the first window has closed
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    shown = headrace("sql", "explain", *program, "--state", str(state))
    assert shown.exit_code == 0, shown.output
    assert "ORDERS: its time has come to 2026-01-01 10:01:00.000" in shown.stdout
    assert "no window is open" in shown.stdout, "the order of 10:01 is not cheap"
    found = json.loads(headrace("sql", "explain", *program, "--state", str(state), "--json").stdout)
    (kept,) = [kept for pump in found["pumps"] for kept in pump["kept"] if pump["name"] == "SUMS" and kept["rows"]]
    assert (kept["rows"], kept["bytes"] > 0) == (3, True)
    assert (found["open_until_ms"], found["waiting_for"]) == (None, [])


def test_a_window_that_waits(
    headrace: Headrace, server: Server, program: list[str], stream: str, tmp_path: Path
) -> None:
    later = '{"user":"eve","amount":1,"at":"2026-01-01T11:30:00Z"}\n'
    assert headrace("put", stream, "--key", "k", stdin=later).exit_code == 0
    test_state = tmp_path / "state.db"
    file, *options = program
    running = subprocess.Popen(
        [*HEADRACE, "sql", "-f", file, *options, "--state", str(test_state), "--json", "--endpoint", server.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdout is not None
    while "HOURLY" not in running.stdout.readline():
        pass
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=60)
    shown = headrace("sql", "explain", *program, "--state", str(test_state))
    assert (
        "the first open window ends at 2026-01-01 12:00:00.000: it closes when the time of ORDERS has come there"
        in shown.stdout
    ), shown.stdout


def test_what_cannot_be_explained(headrace: Headrace, program: list[str], tmp_path: Path) -> None:
    query = tmp_path / "query.sql"
    query.write_text("SELECT 1")
    assert "this is a batch query: it keeps nothing" in headrace("sql", "explain", str(query)).stderr
    (tmp_path / "other.db").write_bytes(b"not a database")
    assert "cannot be opened" in headrace("sql", "explain", *program, "--state", str(tmp_path / "other.db")).stderr
    query.write_text('SELECT STREAM "amont" FROM orders')
    wrong = headrace("sql", "explain", str(query), *program[1:])
    assert wrong.exit_code == 1
    assert "amont" in wrong.stderr
