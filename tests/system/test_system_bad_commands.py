"""Commands and SQL that cannot be, on a real server: what was wrong and where, the exit code, and no traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from tests.system.bad_input_support import Caller, loaded, unimpressed
from tests.system.process import ServerProcess

FITTING = [b'{"user":"ann","amount":1}', b'{"user":"eve","amount":2}']
UNFITTING = {
    b'{"user":"bob","amount":"many"}': ("CoercionError", 'column amount: "many" cannot become INTEGER'),
    b"\xff": ("InvalidEncoding", "the record is not UTF-8 text"),
    b"nope": ("InvalidJson", "the record is not JSON"),
}
COLUMNS = ("--columns", "orders=user VARCHAR(10), amount INTEGER")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with unimpressed(tmp_path_factory.mktemp("bad") / "data") as server:
        client = server.client("kinesis")
        client.create_stream(StreamName="orders", ShardCount=1)
        for data in (FITTING[0], *UNFITTING, FITTING[1]):
            client.put_record(StreamName="orders", Data=data, PartitionKey="k")
        yield server


@pytest.fixture(autouse=True)
def endpoint(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("HEADRACE_ENDPOINT", server.url)
    yield
    caller = Caller(server.port)
    assert caller.healthy()
    caller.close()


def headrace(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="headrace")


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=" ".join(case["run"]).replace("\n", " ")) for case in loaded("commands")]
)
def test_a_command_that_cannot_be(case: dict[str, Any]) -> None:
    shown = headrace(*case["run"])
    assert isinstance(shown.exception, SystemExit), shown.exc_info
    assert (shown.exit_code, shown.stdout) == (case["exit"], "")
    assert re.fullmatch(case["stderr"], shown.stderr), shown.stderr


@pytest.mark.parametrize(
    "text",
    [
        f"SELECT {'(' * 5000}1{')' * 5000}",
        f"SELECT STREAM {'(' * 5000}1{')' * 5000} FROM orders",
        f"SELECT STREAM {'+'.join(['1'] * 5000)} FROM orders",
    ],
    ids=["batch", "parentheses", "sum"],
)
def test_sql_that_nests_too_deeply(text: str) -> None:
    shown = headrace("sql", text, "--no-follow")
    assert (shown.exit_code, shown.stderr) == (1, "headrace: the program is nested too deeply\n")


@pytest.mark.parametrize(("arguments", "code"), [(("sql", "SELEC 1"), 1), (("sql", "--nonsense"), 2)])
def test_the_process_ends_as_the_command_does(server: ServerProcess, arguments: tuple[str, ...], code: int) -> None:
    command = [sys.executable, "-m", "gateway.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_rows_that_do_not_fit_go_to_the_error_stream(tmp_path: Path) -> None:
    kept = tmp_path / "errors.ndjson"
    shown = headrace(
        *("sql", 'SELECT STREAM "user", "amount" FROM orders', "--no-follow", "--json", *COLUMNS),
        *("--to", f"error_stream={kept}"),
    )
    assert shown.exit_code == 0, shown.stderr
    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [{"user": row["user"], "amount": row["amount"]} for row in rows] == [json.loads(data) for data in FITTING]
    assert shown.stderr == (
        '3 rows went to error_stream, the first: CoercionError: column amount: "many" cannot become INTEGER\n'
    )
    errors = [json.loads(line) for line in kept.read_text().splitlines()]
    told = {bytes.fromhex(error["DATA_ROW"]): (error["ERROR_NAME"], error["MESSAGE"]) for error in errors}
    assert told == UNFITTING
    assert len(errors) == len(UNFITTING)


def test_records_that_do_not_fit_a_batch_query_are_told() -> None:
    shown = headrace("sql", 'SELECT "user", amount FROM orders', "--json", *COLUMNS)
    assert shown.exit_code == 0
    assert [json.loads(line) for line in shown.stdout.splitlines()] == [json.loads(data) for data in FITTING]
    assert shown.stderr == (
        '3 records of orders did not fit and are left out: column amount: "many" cannot become INTEGER\n'
    )
