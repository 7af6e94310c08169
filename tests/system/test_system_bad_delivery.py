"""Functions, records and schemas that go wrong behind a real server: no record is lost, none is doubled."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import pytest

from connectors.formats.json_plan import VALUE_SHOWN_MAX
from firehose.errors import MESSAGE_SIZE_MAX
from tests.system.bad_input_support import ROLE, unimpressed
from tests.system.process import ServerProcess

T = TypeVar("T")

TESTS = Path(__file__).parent.parent
OF_FIREHOSE = TESTS / "firehose" / "functions.py"
OF_OURS = TESTS / "system" / "bad_input" / "functions.py"
FUNCTION_TIMEOUT_S = 2
DELIVERED_S_MAX = 60.0

SENT = [b"plain", b"\xff\xfe\0 no text \x80", b'{"a": 1}', "😀".encode()]

FAILED = "Lambda.FunctionError"
FAIL = {
    "raising": FAILED,
    "hanging": "Lambda.FunctionTimedOut",
    "leaving": FAILED,
    "dying": FAILED,
    "eating": FAILED,
    "nothing": FAILED,
    "text": FAILED,
    "not_json": FAILED,
    "unknown_result": FAILED,
    "bad_base64": FAILED,
    "without_data": FAILED,
    "too_large": FAILED,
    "not_a_function": FAILED,
    "not_there": FAILED,
    "deep": FAILED,
    "nan": FAILED,
    "numbers": FAILED,
    "surrogate": FAILED,
    "long_winded": FAILED,
    "interrupted": FAILED,
    "long_result": FAILED,
    "unspeakable": FAILED,
}
"""Functions that fail all of their records, and the code under which they fail."""

FIRST = {"first_missing": "Lambda.MissingRecordId", "first_twice": "Lambda.DuplicatedRecordId"}
"""Functions that fail the first record of a call."""

WORK = ["noisy", "strangers", "binary", "closing"]
"""Functions that look bad and are not."""

OURS = {
    *WORK,
    "deep",
    "nan",
    "numbers",
    "surrogate",
    "long_winded",
    "interrupted",
    "result_of_megabytes",
    "unspeakable",
}


def reference(name: str) -> str:
    return f"{OF_OURS if name in OURS else OF_FIREHOSE}:{name}"


def bucket(name: str) -> str:
    return name.replace("_", "-")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """With a delivery stream for every function, each of which has been put the same records in one batch."""
    names = [*FAIL, *FIRST, *WORK]
    environment = {
        "HEADRACE_FUNCTIONS": json.dumps({name: reference(name) for name in names}),
        "HEADRACE_FUNCTION_TIMEOUT_S": str(FUNCTION_TIMEOUT_S),
    }
    with unimpressed(tmp_path_factory.mktemp("bad") / "data", environment) as server:
        for name in names:
            create(server, name, function=name)
            batch = server.client("firehose").put_record_batch(
                DeliveryStreamName=name, Records=[{"Data": data} for data in SENT]
            )
            assert batch["FailedPutCount"] == 0
        yield server


def create(server: ServerProcess, name: str, function: str | None = None, **destination: Any) -> None:
    processors: list[dict[str, Any]] = [{"Type": "AppendDelimiterToRecord", "Parameters": []}]
    if function is not None:
        arn = f"arn:aws:lambda:us-east-1:000000000000:function:{function}"
        parameters = {"LambdaArn": arn, "NumberOfRetries": "0"}
        processors.insert(
            0,
            {
                "Type": "Lambda",
                "Parameters": [{"ParameterName": key, "ParameterValue": value} for key, value in parameters.items()],
            },
        )
    server.client("firehose").create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "RoleARN": ROLE,
            "BucketARN": f"arn:aws:s3:::{bucket(name)}",
            "Prefix": "good/",
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            "BufferingHints": {"SizeInMBs": 64, "IntervalInSeconds": 0},
            "ProcessingConfiguration": {"Enabled": True, "Processors": processors},
            **destination,
        },
    )


def until(server: ServerProcess, found: Callable[[], T | None]) -> T:
    deadline = time.monotonic() + DELIVERED_S_MAX
    while (answer := found()) is None:
        assert time.monotonic() < deadline, server.tail()
        time.sleep(0.02)
    return answer


def delivered(server: ServerProcess, name: str, count: int) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The lines of all objects and of all error objects, once there are `count` of them."""
    folder = server.data / "buckets" / bucket(name)

    def found() -> tuple[list[bytes], list[dict[str, Any]]] | None:
        good = [line for path in files(folder / "good") for line in path.read_bytes().split(b"\n")[:-1]]
        errors = [json.loads(line) for path in files(folder / "errors") for line in path.read_bytes().splitlines()]
        return (good, errors) if len(good) + len(errors) >= count else None

    return until(server, found)


def files(folder: Path) -> list[Path]:
    """Those of lines."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".parquet"]


def originals(errors: list[dict[str, Any]]) -> Counter[bytes]:
    return Counter(base64.b64decode(error["rawData"]) for error in errors)


@pytest.mark.parametrize("name", FAIL)
def test_a_function_that_fails_its_records(server: ServerProcess, name: str) -> None:
    good, errors = delivered(server, name, len(SENT))
    assert good == []
    assert originals(errors) == Counter(SENT)
    assert {error["errorCode"] for error in errors} == {FAIL[name]}
    for error in errors:
        assert 0 < len(error["errorMessage"]) <= MESSAGE_SIZE_MAX
        assert error["attemptsMade"] == 1


@pytest.mark.parametrize("name", FIRST)
def test_a_function_that_fails_one_of_its_records(server: ServerProcess, name: str) -> None:
    good, errors = delivered(server, name, len(SENT))
    assert Counter(good) + originals(errors) == Counter(SENT)
    assert [error["errorCode"] for error in errors] == [FIRST[name]]


@pytest.mark.parametrize("name", WORK)
def test_a_function_that_looks_bad_and_is_not(server: ServerProcess, name: str) -> None:
    assert delivered(server, name, len(SENT)) == (SENT, [])


def test_bytes_that_are_no_text_are_delivered_as_they_were(server: ServerProcess) -> None:
    create(server, "bytes")
    sent = [bytes(set(range(256)) - {10}), b"", b"\xff\xfe", b"\xed\xa0\x80", b"\0"]
    client = server.client("firehose")
    assert (
        client.put_record_batch(DeliveryStreamName="bytes", Records=[{"Data": data} for data in sent])["FailedPutCount"]
        == 0
    )
    assert delivered(server, "bytes", len(sent)) == (sent, [])


def test_records_that_do_not_fit_the_schema(server: ServerProcess) -> None:
    glue = server.client("glue")
    glue.create_database(DatabaseInput={"Name": "air"})
    columns = [{"Name": "number", "Type": "int"}, {"Name": "at", "Type": "timestamp"}]
    glue.create_table(DatabaseName="air", TableInput={"Name": "flights", "StorageDescriptor": {"Columns": columns}})
    create(
        server,
        "schema",
        DataFormatConversionConfiguration={
            "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "air", "TableName": "flights"},
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
        },
        ProcessingConfiguration={"Enabled": False},
    )
    fitting = {
        b'{"number": 1, "at": "2026-01-01T00:00:00Z"}': {"number": 1, "at": datetime(2026, 1, 1)},
        b'{"number": null}': {"number": None, "at": None},
        b'{"number": 2, "more": [1]}': {"number": 2, "at": None},
    }
    bad = {
        b'{"number": "many"}': 'column number: "many" cannot become INTEGER',
        b'{"number": 9999999999}': 'column number: "9999999999" cannot become INTEGER',
        b'{"number": {}}': 'column number: "{}" cannot become INTEGER',
        b'{"number": "' + b"9" * 100_000 + b'"}': f'column number: "{"9" * VALUE_SHOWN_MAX}…" cannot become INTEGER',
        b'{"at": "soon"}': 'column at: "soon" cannot become TIMESTAMP',
        b"[1]": "the record is JSON, but an array, not an object",
        b"7": "the record is JSON, but a number, not an object",
        b"{": "the record is not JSON",
        b"[" * 100_000: "the record is not JSON",
        b"": "the record is not JSON",
        b"\xff": "the record is not UTF-8 text",
    }
    records = [{"Data": data} for data in [*fitting, *bad, *fitting]]
    server.client("firehose").put_record_batch(DeliveryStreamName="schema", Records=records)
    _, errors = delivered(server, "schema", len(bad))
    assert {base64.b64decode(error["rawData"]): error["lastErrorMessage"] for error in errors} == bad
    assert len(errors) == len(bad)
    folder = server.data / "buckets" / "schema"
    assert not [path for path in (folder / "errors").iterdir() if path.name != "format-conversion-failed"]
    rows = until(server, lambda: next((folder / "good").rglob("*.parquet"), None))
    assert pq.read_table(rows).to_pylist() == [*fitting.values()] * 2


def test_a_function_that_nobody_has_named(server: ServerProcess) -> None:
    client = server.client("firehose")
    with pytest.raises(client.exceptions.InvalidArgumentException) as raised:
        create(server, "nameless", function="nameless")
    assert raised.value.response["Error"]["Message"] == (
        "Function nameless does not exist: create it, or name it in the setting 'functions'."
    )
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_delivery_stream(DeliveryStreamName="nameless")


def test_after_all_that_no_record_is_there_twice(server: ServerProcess) -> None:
    for name in [*FAIL, *FIRST, *WORK]:
        good, errors = delivered(server, name, len(SENT))
        assert Counter(good) + originals(errors) == Counter(SENT), name
