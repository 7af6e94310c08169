"""`headrace function`, and delivery as Parquet through one, against a server."""

from __future__ import annotations

import json
import time
import uuid
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.cli_server import Headrace, Server

CODE = """
import os

def handler(event, context):
    print("seen", event)
    if event.get("raise"):
        raise ValueError("no such plane")
    return {"seen": event, "level": os.environ.get("LEVEL")}
"""
MILES = """
import base64
import json

def handler(event, context):
    return {"records": [miles(record) for record in event["records"]]}

def miles(record):
    trip = json.loads(base64.b64decode(record["data"]))
    data = json.dumps({**trip, "miles": trip["km"] / 1.609344})
    return {"recordId": record["recordId"], "result": "Ok", "data": base64.b64encode(data.encode()).decode()}
"""


@pytest.fixture
def name() -> str:
    return f"f-{uuid.uuid4().hex[:10]}"


def test_a_function_from_its_making_to_its_end(headrace: Headrace, name: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(CODE)
    made = headrace("function", "create", name, str(file), "--env", "LEVEL=strict", "--memory-mb", "512")
    assert (made.exit_code, made.stdout) == (0, ""), made.output
    assert f"function {name} is there" in made.stderr
    assert name in headrace("function", "list").stdout
    assert name in json.loads(headrace("function", "list", "--json").stdout)

    called = headrace("function", "call", name, '{"a": 1}')
    assert json.loads(called.stdout) == {"seen": {"a": 1}, "level": "strict"}
    assert "seen {'a': 1}" in called.stderr
    assert json.loads(headrace("function", "call", name, "-", stdin='{"b": 2}').stdout)["seen"] == {"b": 2}
    failed = headrace("function", "call", name, '{"raise": true}')
    assert failed.exit_code == 1
    assert "no such plane" in failed.stderr

    file.write_text("def handler(event, context): return 'new'")
    assert "has new code" in headrace("function", "create", name, str(file)).stderr
    assert json.loads(headrace("function", "call", name).stdout) == "new"

    assert headrace("function", "delete", name, "--yes").exit_code == 0
    gone = headrace("function", "call", name)
    assert gone.exit_code == 1
    assert "Function not found" in gone.stderr


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_or_an_archive(headrace: Headrace, name: str, tmp_path: Path, packed: bool) -> None:
    folder = tmp_path / "code"
    (folder / "parts").mkdir(parents=True)
    (folder / "main.py").write_text("from parts.word import WORD\ndef run(event, context): return WORD")
    (folder / "parts" / "word.py").write_text("WORD = 'inner'")
    code = folder
    if packed:
        code = tmp_path / "code.zip"
        with zipfile.ZipFile(code, "w") as archive:
            for path in folder.rglob("*.py"):
                archive.write(path, path.relative_to(folder))
    missing = headrace("function", "create", name, str(code))
    assert (missing.exit_code, "--handler is needed" in missing.stderr) == (2, True)
    assert headrace("function", "create", name, str(code), "--handler", "main.run").exit_code == 0
    assert headrace("function", "call", name).stdout == '"inner"\n'


def test_bad_input(headrace: Headrace, name: str, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(CODE)
    (tmp_path / "empty").mkdir()
    for arguments, exit_code, words in (
        (("create", name, str(tmp_path / "f.py"), "--env", "LEVEL"), 2, "is not NAME=VALUE"),
        (("create", name, str(tmp_path / "empty"), "--handler", "a.b"), 1, "is an empty folder"),
        (("create", name, str(tmp_path / "f.py"), "--runtime", "java21"), 1, "java21 is not supported"),
        (("create", name, str(tmp_path / "none.py")), 2, "does not exist"),
        (("call", name, "{"), 1, "Function not found"),
        (("delete", name), 1, "Function not found"),
    ):
        done = headrace("function", *arguments)
        assert (done.exit_code, words in done.stderr) == (exit_code, True), done.output


def test_parquet_through_a_function(headrace: Headrace, server: Server, name: str, tmp_path: Path) -> None:
    (tmp_path / "miles.py").write_text(MILES)
    assert headrace("function", "create", name, str(tmp_path / "miles.py")).exit_code == 0
    columns = ("--parquet", "city string, km double, miles decimal(9,2)")
    made = headrace("firehose", "create", name, "--bucket", name, *columns, "--interval-s", "0", "--function", name)
    assert made.exit_code == 0, made.output
    (tmp_path / "trips.ndjson").write_text('{"city": "Oslo", "km": 8.04672}\n')
    put = headrace("put", f"firehose/{name}", str(tmp_path / "trips.ndjson"))
    assert put.exit_code == 0, put.output
    described = json.loads(headrace("firehose", "describe", name, "--json").stdout)
    hints = described["Destinations"][0]["ExtendedS3DestinationDescription"]["BufferingHints"]
    assert hints == {"SizeInMBs": 128, "IntervalInSeconds": 0}
    bucket = server.data / "buckets" / name
    while not (files := list(bucket.rglob("*.parquet"))):
        time.sleep(0.02)
    (row,) = pq.read_table(files[0], partitioning=None).to_pylist()
    assert (row["city"], row["km"], float(row["miles"])) == ("Oslo", 8.04672, 5.0)
    again = headrace("firehose", "create", name, "--bucket", name, "--parquet", "city string")
    assert "has other columns: city string, km double" in again.stderr
    wrong = headrace("firehose", "create", f"{name}-2", "--bucket", name, "--parquet", "city")
    assert "'city' is not a column and its type" in wrong.stderr
