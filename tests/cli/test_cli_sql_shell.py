"""The SQL prompt on a real terminal: statements, commands, completion, history, and a program with its status line."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyarrow.parquet as pq
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from analytics.application import Progress
from gateway.cli.connection import Target
from gateway.cli.sql_commands import Commands
from gateway.cli.sql_completion import SqlCompleter
from gateway.cli.sql_program import Options, parameter
from gateway.cli.sql_session import Session
from gateway.cli.sql_shell import complete
from gateway.cli.sql_status import line
from streams.sdk.client import TRIM_HORIZON
from tests.cli.cli_server import Headrace, Server

ROWS = '{"city":"Oslo","km":3}\n{"city":"Rome","km":8}\n{"city":"Oslo","km":5}\n'
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]")


class Terminal:
    """A prompt on a pseudo terminal. `until` waits for a text and answers all that came before it, without colours."""

    def __init__(self, url: str, history: Path, *options: str) -> None:
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "gateway.cli", "sql", *options],
            env={
                "HEADRACE_ENDPOINT": url,
                "HEADRACE_HISTORY": str(history),
                "TERM": "xterm",
                "PATH": "",
                "COLUMNS": "200",
                "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here answers where the cursor is: each prompt would wait a second
            },
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 200),
        )

    def type(self, text: str) -> None:
        self.process.send(text)

    def until(self, text: str) -> str:
        self.process.expect_exact(text)
        return _ESCAPES.sub("", self.process.before)

    def answer(self, text: str) -> str:
        """What is written before the next prompt."""
        self.type(f"{text}\r")
        self.until("\x1b[?2004l")  # the line has been taken
        return self.until("\x1b[?2004h")


@pytest.fixture
def terminal(server: Server, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def start(*options: str) -> Terminal:
        made.append(Terminal(server.url, tmp_path / "history", *options))
        made[-1].until("\x1b[?2004h")
        return made[-1]

    yield start
    for one in made:
        one.process.kill(signal.SIGKILL)
        one.process.wait()  # `close` gives a process a tenth of a second to be gone
        one.process.close()


@pytest.fixture
def rides(headrace: Headrace, stream: str) -> str:
    assert headrace("put", stream, "--key-field", "city", stdin=ROWS).exit_code == 0
    return stream


def test_statements_and_commands(terminal: Callable[..., Terminal], rides: str, tmp_path: Path) -> None:
    shell = terminal()
    shown = shell.answer(f'SELECT city, sum(km) AS km\rFROM "{rides}"\rGROUP BY city ORDER BY city;')
    assert re.search(r"Oslo\s+8", shown), shown
    assert rides in shell.answer(".streams")
    schema = shell.answer(f".schema {rides}")
    assert re.search(r"km\s+INTEGER.*ROWTIME", schema, re.DOTALL), schema
    assert "there is no command .schemas" in shell.answer(".schemas")
    assert f"did you mean {rides}" in shell.answer(f".schema {rides[:-1]}x")
    shell.answer(".mode json")
    shell.answer(".param least 5")
    assert '{"n":2}' in shell.answer(f'SELECT count(*) AS n FROM "{rides}" WHERE km >= $least;')
    assert "there is no value for $most" in shell.answer(f'SELECT count(*) FROM "{rides}" WHERE km < $most;')
    shell.answer(".timer on")
    assert re.search(r"\d\.\d{3} s", shell.answer("SELECT 1 AS x;"))
    file = tmp_path / "out.parquet"
    shell.answer(f".output {file}")
    assert f"3 rows in {file}" in shell.answer(f'SELECT * FROM "{rides}";')
    assert sorted(pq.read_table(file)["km"].to_pylist()) == [3, 5, 8]
    assert "there is no folder" in shell.answer(f".output {tmp_path}/none/out.csv")
    assert "says no format" in shell.answer(f".output {tmp_path}/out.txt")
    assert f"1 row in {file}" in shell.answer("SELECT 1 AS x;"), "results go where they went"
    shell.answer(".output")
    (tmp_path / "q.sql").write_text(f'SELECT max(km) AS most FROM "{rides}"')
    assert '{"most":8}' in shell.answer(f".read {tmp_path}/q.sql")
    assert "semicolon" in shell.answer(".help")
    shell.type(".quit\r")
    shell.process.expect(pexpect.EOF)
    shell.process.close()
    assert shell.process.exitstatus == 0


def test_history_and_keys(terminal: Callable[..., Terminal], rides: str) -> None:
    first = terminal("--output", "json")
    assert '{"x":41}' in first.answer("SELECT 41 AS x;")
    first.type("SELECT nothing\x03")  # Ctrl-C gives up the line
    first.until("\x1b[?2004h")
    first.type("\x04")
    first.process.expect(pexpect.EOF)
    again = terminal("--output", "json")
    assert '{"x":41}' in again.answer("\x1b[A")  # up: what was typed last


def test_a_program_runs_until_it_is_stopped(terminal: Callable[..., Terminal], rides: str) -> None:
    shell = terminal("--output", "json")
    shell.type(f'SELECT STREAM "city", "km" FROM "{rides}" WHERE "km" > 4;\r')
    shell.until('{"ROWTIME"')
    shell.until("records/s")
    shell.type("\x03")
    shell.until("\x1b[?2004h")
    assert '{"y":2}' in shell.answer("SELECT 2 AS y;"), "the prompt goes on"


def completer(server: Server) -> SqlCompleter:
    options = Options({}, {}, {}, {}, None, 0.0, TRIM_HORIZON)
    return SqlCompleter(Commands(Session(Target(server.url, "us-east-1", False), options, "table", True, [], None)))


def offered(found: SqlCompleter, text: str, *, asked: bool = True) -> list[str]:
    return [
        one.text for one in found.get_completions(Document(text, len(text)), CompleteEvent(completion_requested=asked))
    ]


def test_completion(server: Server, rides: str, tmp_path: Path) -> None:
    found = completer(server)
    assert offered(found, ".sch") == [".schema"]
    assert rides in offered(found, ".schema ")
    assert offered(found, ".mode t") == ["table"]
    assert f'"{rides}"' in offered(found, f"SELECT * FROM {rides[:4]}"), "it needs quotes"
    assert offered(found, f'SELECT ci FROM "{rides}" WHERE k')[0] == "km", "columns first"
    assert "date_trunc" in offered(found, "SELECT date_tr")
    assert "SELECT" in offered(found, "sel")
    assert offered(found, "SELECT ", asked=False) == []
    (tmp_path / "program.sql").touch()
    assert "ogram.sql" in offered(found, f".read {tmp_path}/pr")


def test_a_server_that_is_away_completes_nothing(free_port: int) -> None:
    options = Options({}, {}, {}, {}, None, 0.0, TRIM_HORIZON)
    target = Target(f"http://127.0.0.1:{free_port}", "us-east-1", False)
    found = SqlCompleter(Commands(Session(target, options, "table", True, [], None)))
    assert offered(found, ".schema x") == []
    assert "SELECT" in offered(found, "SELE")


def test_a_result_in_a_file_and_parameters(headrace: Headrace, rides: str, tmp_path: Path) -> None:
    for ending, expected in (("csv", '"city"\n"Rome"\n'), ("ndjson", '{"city":"Rome"}\n')):
        file = tmp_path / f"out.{ending}"
        statement = f'SELECT city FROM "{rides}" WHERE city = $city OR km = $km'
        done = headrace("sql", "-o", str(file), "--param", "city=Rome", "--param", "km=8", statement)
        assert done.exit_code == 0, done.output
        assert file.read_text() == expected
    assert "says no format" in headrace("sql", "-o", str(tmp_path / "x.doc"), "SELECT 1").stderr
    assert (
        "cannot be written: there is no folder /nowhere" in headrace("sql", "-o", "/nowhere/x.csv", "SELECT 1").stderr
    )
    missing = headrace("sql", "--param", "citi=Rome", f'SELECT 1 FROM "{rides}" WHERE city = $city')
    assert 'there is no value for $city; did you mean "citi"?' in missing.stderr
    assert missing.stderr.splitlines()[-1].strip() == "^"
    assert "a parameter has a name" in headrace("sql", "SELECT ?").stderr
    assert "is not NAME=VALUE" in headrace("sql", "--param", "x", "SELECT 1").stderr


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("1.5", 1.5), ("true", True), ("null", None), ("Oslo", "Oslo"), ('"5"', "5"), ("[1]", "[1]"), ("", "")],
)
def test_values_of_parameters(text: str, value: object) -> None:
    assert parameter(text) == value


@pytest.mark.parametrize(
    ("text", "whole"), [("", True), (".help", True), ("SELECT 1", False), ("SELECT 1;", True), ("SELECT 1;\n ", True)]
)
def test_what_enter_runs(text: str, whole: bool) -> None:
    assert complete(text) is whole


def test_the_status_line() -> None:
    at = 1_767_225_600_000
    running = Progress(10, 1, 0, {"A": at, "B": at + 5}, 80, at + 60_000)
    assert line(running, 1200.4) == (
        "1,200 records/s · 80 behind · at 2026-01-01 00:00:00.000 · next window closes at 2026-01-01 00:01:00.000"
    )
    assert line(Progress(0, 0, 0, {"A": at, "B": None}, 0, None), 0) == "0 records/s · 0 behind · waiting for B"
