from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.cli_server import HEADRACE, Headrace, Server


def records(headrace: Headrace, stream: str, *arguments: str) -> list[dict[str, Any]]:
    shown = headrace("tail", stream, "--from", "trim_horizon", "--no-follow", "--json", *arguments)
    assert shown.exit_code == 0, shown.output
    return [json.loads(line) for line in shown.stdout.splitlines()]


def test_lines_of_a_file_become_records(headrace: Headrace, stream: str, tmp_path: Path) -> None:
    file = tmp_path / "lines.txt"
    file.write_bytes(b"one\ntwo\r\n\nthree")
    put = headrace("put", stream, str(file), "--key", "k")
    assert put.exit_code == 0, put.output
    assert put.stdout == ""
    assert "3 records in" in put.stderr
    found = records(headrace, stream)
    assert [record["data"] for record in found] == ["one", "two", "three"]
    assert {record["key"] for record in found} == {"k"}
    assert len({record["shard"] for record in found}) == 1
    assert [record["offset"] for record in found] == [0, 1, 2]
    assert [int(record["sequence"]) for record in found] == sorted(int(record["sequence"]) for record in found)
    assert all(record["arrival"].endswith("Z") for record in found)


def test_lines_of_stdin_spread_over_the_shards(headrace: Headrace, stream: str) -> None:
    put = headrace("put", stream, "--json", stdin="".join(f"{n}\n" for n in range(1000)))
    assert json.loads(put.stdout)["records"] == 1000
    found = records(headrace, stream)
    assert sorted(int(record["data"]) for record in found) == list(range(1000))
    assert len({record["shard"] for record in found}) == 2


def test_the_key_can_be_a_field(headrace: Headrace, stream: str) -> None:
    put = headrace("put", stream, "-", "--key-field", "user", stdin='{"user":"ann","n":1}\n{"user":7}\n')
    assert put.exit_code == 0, put.output
    assert sorted(record["key"] for record in records(headrace, stream)) == ["7", "ann"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("not json", "line 2 is not JSON"),
        ('{"other":1}', "line 2 has no field 'user'"),
        ("[1]", "line 2 has no field 'user'"),
        ('{"user":{}}', "line 2 has no field 'user'"),
    ],
)
def test_a_line_without_the_key_is_named(headrace: Headrace, stream: str, line: str, sentence: str) -> None:
    put = headrace("put", stream, "--key-field", "user", stdin=f'{{"user":"ann"}}\n{line}\n')
    assert put.exit_code == 1
    assert sentence in put.stderr


def test_two_keys_are_wrong_usage(headrace: Headrace, stream: str) -> None:
    assert headrace("put", stream, "--key", "a", "--key-field", "b", stdin="x").exit_code == 2


def test_a_file_that_does_not_exist_is_wrong_usage(headrace: Headrace, stream: str) -> None:
    put = headrace("put", stream, "/nowhere/at-all.txt")
    assert put.exit_code == 2
    assert "/nowhere/at-all.txt" in put.stderr


def test_nothing_put_is_nothing_wrong(headrace: Headrace, stream: str) -> None:
    put = headrace("put", stream, stdin="")
    assert put.exit_code == 0
    assert "0 records" in put.stderr
    assert records(headrace, stream) == []


def test_bytes_that_are_not_text(headrace: Headrace, stream: str) -> None:
    headrace("put", stream, stdin=b"\xff\xfe\x00\n")
    found = records(headrace, stream)
    assert base64.b64decode(found[0]["data_base64"]) == b"\xff\xfe\x00"
    assert "\\xff\\xfe" in headrace("tail", stream, "--from", "trim_horizon", "--no-follow").stdout


def test_tail_for_people_shows_where_and_what(headrace: Headrace, stream: str) -> None:
    headrace("put", stream, "--key", "ann", stdin="hello\n")
    shown = headrace("tail", stream, "--from", "-1h", "--no-follow").stdout.split()
    assert shown[1] in ("0/0", "1/0")
    assert shown[2:] == ["ann", "hello"]


def test_tail_stops_at_its_limit(headrace: Headrace, stream: str) -> None:
    headrace("put", stream, "--key", "k", stdin="a\nb\nc\n")
    assert [record["data"] for record in records(headrace, stream, "--limit", "2")] == ["a", "b"]


def test_tail_from_a_time(headrace: Headrace, stream: str) -> None:
    headrace("put", stream, "--key", "k", stdin="before\n")
    arrival = records(headrace, stream)[0]["arrival"]
    while headrace("tail", stream, "--from", "latest", "--no-follow").stdout:
        pass
    cut = str(time.time() + 0.002)
    time.sleep(0.005)  # arrival times are the machine's own: the next record must be later than the cut
    headrace("put", stream, "--key", "k", stdin="after\n")
    shown = headrace("tail", stream, "--from", cut, "--no-follow", "--json").stdout.splitlines()
    assert [json.loads(line)["data"] for line in shown] == ["after"]
    shown = headrace("tail", stream, "--from", arrival, "--no-follow", "--json").stdout.splitlines()
    assert [json.loads(line)["data"] for line in shown] == ["before", "after"]


def test_tail_of_what_is_new_when_nothing_is(headrace: Headrace, stream: str) -> None:
    headrace("put", stream, stdin="old\n")
    shown = headrace("tail", stream, "--no-follow")
    assert shown.exit_code == 0
    assert shown.stdout == ""


@pytest.mark.parametrize("start", ["yesterday", "-10", "-5w", "2026-13-01"])
def test_a_start_that_is_none_is_wrong_usage(headrace: Headrace, stream: str, start: str) -> None:
    shown = headrace("tail", stream, f"--from={start}")
    assert shown.exit_code == 2
    assert "is no starting point" in shown.stderr


def test_tail_follows_until_it_is_interrupted(server: Server, headrace: Headrace, stream: str) -> None:
    command = [*HEADRACE, "tail", stream, "--from", "trim_horizon", "--json", "--endpoint", server.url]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as tailing:
        assert tailing.stdout is not None
        assert tailing.stderr is not None
        for number in range(3):
            headrace("put", stream, stdin=f"live {number}\n")
            assert json.loads(tailing.stdout.readline())["data"] == f"live {number}"
        tailing.send_signal(signal.SIGINT)
        assert tailing.wait(timeout=60) == 0
        assert tailing.stderr.read() == ""


def test_put_reads_a_pipe_as_it_comes(server: Server, headrace: Headrace, stream: str) -> None:
    """A line is in the stream though the writer of the pipe has not ended, and Ctrl-C ends a put that waits."""
    command = [*HEADRACE, "put", stream, "--endpoint", server.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as putting:
        assert putting.stdin is not None
        putting.stdin.write(b"from a pipe\n")
        putting.stdin.flush()
        shown = headrace("tail", stream, "--from", "trim_horizon", "--limit", "1", "--json")
        assert json.loads(shown.stdout)["data"] == "from a pipe"
        putting.send_signal(signal.SIGINT)
        assert putting.wait(timeout=60) == 130
        assert putting.stderr is not None
        assert b"Traceback" not in putting.stderr.read()


def test_a_reader_that_goes_away_ends_tail_quietly(server: Server, headrace: Headrace, stream: str) -> None:
    headrace("put", stream, stdin="".join(f"{n}\n" for n in range(20_000)))
    command = [*HEADRACE, "tail", stream, "--from", "trim_horizon", "--endpoint", server.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tailing:
        assert tailing.stdout is not None
        assert tailing.stderr is not None
        tailing.stdout.readline()
        tailing.stdout.close()
        tailing.wait(timeout=60)
        assert tailing.stderr.read() == b""
