"""`headrace stream export` and `replay`: ranges of time, formats, order, and what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.cli_server import Headrace

LINES = [json.dumps({"key": f"k{number % 5}", "number": number}) for number in range(200)]


@pytest.fixture
def filled(headrace: Headrace, stream: str, tmp_path: Path) -> str:
    """`stream` with `LINES` under five keys."""
    file = tmp_path / "lines.ndjson"
    file.write_text("\n".join(LINES))
    assert headrace("put", stream, str(file), "--key-field", "key").exit_code == 0
    return stream


def numbers(rows: list[tuple[str, bytes]]) -> dict[str, list[int]]:
    """By partition key, in the order of the rows."""
    found: dict[str, list[int]] = {}
    for key, data in rows:
        found.setdefault(key, []).append(json.loads(data)["number"])
    return found


EXPECTED = {f"k{key}": list(range(key, 200, 5)) for key in range(5)}


def test_an_export_is_every_record_in_order(headrace: Headrace, filled: str, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    done = headrace("stream", "export", filled, str(file))
    assert done.exit_code == 0, done.output
    assert f"200 records in {file}" in done.stderr
    table = pq.read_table(file)
    assert table.schema.names == ["shard", "offset", "partition_key", "arrival", "data"]
    rows = list(zip(table["partition_key"].to_pylist(), table["data"].to_pylist(), strict=True))
    assert numbers(rows) == EXPECTED
    lines = tmp_path / "out.ndjson"
    assert json.loads(headrace("stream", "export", filled, str(lines), "--json").stdout)["records"] == 200
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    assert numbers([(one["partition_key"], one["data"].encode()) for one in told]) == EXPECTED
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lines.ndjson", "out.ndjson", "out.parquet"]


def test_bytes_that_are_no_text(headrace: Headrace, stream: str, tmp_path: Path) -> None:
    file = tmp_path / "raw.bin"
    file.write_bytes(b"\xff\xfe")
    assert headrace("put", stream, str(file)).exit_code == 0
    out = tmp_path / "out.jsonl"
    assert headrace("stream", "export", stream, str(out)).exit_code == 0
    (line,) = out.read_text().splitlines()
    assert json.loads(line)["data_base64"] == "//4="


def test_a_range_of_time(headrace: Headrace, filled: str, tmp_path: Path) -> None:
    def count(*options: str) -> int:
        done = headrace("stream", "export", filled, str(tmp_path / "x.ndjson"), "--json", *options)
        assert done.exit_code == 0, done.output
        return int(json.loads(done.stdout)["records"])

    assert count("--until", "-1h") == 0
    assert count("--from", "-1h") == 200
    assert count("--from", "-2h", "--until", "2099-01-01") == 200
    assert count("--from", "latest") == 0


@pytest.mark.parametrize("speed", ["0", "1000"])
def test_a_replay_keeps_the_order_of_each_key(headrace: Headrace, filled: str, tmp_path: Path, speed: str) -> None:
    target = f"{filled}-again-{speed}"
    headrace("stream", "create", target, "--shards", "3")
    done = headrace("stream", "replay", filled, target, "--speed", speed)
    assert done.exit_code == 0, done.output
    assert f"200 records of {filled} put into {target}" in done.stderr
    out = tmp_path / "again.ndjson"
    headrace("stream", "export", target, str(out))
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert numbers([(one["partition_key"], one["data"].encode()) for one in told]) == EXPECTED
    headrace("stream", "delete", target, "--yes")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["export", "STREAM", "out.csv"], "says no format"),
        (["export", "STREAM", "out.parquet", "--until", "soon"], "is no point in time"),
        (["export", "STREAM", "out.parquet", "--from", "soon"], "is no starting point"),
        (["export", "nothing-here", "out.parquet"], "there is no stream 'nothing-here'"),
        (["export", "STREAM", "/nowhere/out.parquet"], "/nowhere/out.parquet cannot be written"),
        (["export", "STREAM", "/nowhere/out.ndjson"], "/nowhere/out.ndjson cannot be written"),
        (["replay", "STREAM", "STREAM"], "cannot be replayed into itself"),
        (["replay", "STREAM", "nothing-here"], "there is no stream 'nothing-here'"),
        (["replay", "STREAM", "x", "--speed", "-1"], "-1"),
    ],
)
def test_what_cannot_be(headrace: Headrace, filled: str, arguments: list[str], text: str) -> None:
    done = headrace("stream", *[filled if one == "STREAM" else one for one in arguments])
    assert done.exit_code != 0
    assert text in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.output
