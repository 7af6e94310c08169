"""The function contract: what goes in, what may come out, and where each kind of wrong answer ends."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from firehose.errors import MESSAGE_SIZE_MAX
from tests.firehose.harness import NEWLINES, House, function, processing

FUNCTIONS = "tests.firehose.functions"


def house(tmp_path: Path, *names: str, **settings: Any) -> House:
    return House(tmp_path, functions={name: f"{FUNCTIONS}:{name}" for name in names}, **settings)


async def delivered(tmp_path: Path, name: str, data: list[bytes], **parameters: Any) -> dict[str, bytes]:
    """Every object after `data` went through the function, under its prefix."""
    async with house(tmp_path, name, function_timeout_s=parameters.pop("timeout_s", 60.0)) as home:
        await home.create(size=5, **processing(function(name, **parameters), NEWLINES))
        await home.put("firehose/flights", data)
        await home.until(home.delivered, step_s=10)
        return home.objects()


def failed(objects: dict[str, bytes]) -> list[dict[str, Any]]:
    """The lines of the error output."""
    return [
        json.loads(line)
        for name, content in objects.items()
        if name.startswith("processing-failed/2023/11/14/22/flights-1-")
        for line in content.splitlines()
    ]


def good(objects: dict[str, bytes]) -> list[bytes]:
    return [line for name, content in objects.items() if name.startswith("2023/") for line in content.splitlines()]


async def test_records_come_back_changed_in_order(tmp_path: Path) -> None:
    objects = await delivered(tmp_path, "upper", [b"a%d" % n for n in range(1000)])
    assert good(objects) == [b"A%d" % n for n in range(1000)]


async def test_dropped_and_failed(tmp_path: Path) -> None:
    objects = await delivered(tmp_path, "sort_out", [b"k1", b"d2", b"f3", b"k4"])
    assert good(objects) == [b"k1", b"k4"]
    (line,) = failed(objects)
    arn = "arn:aws:lambda:us-east-1:000000000000:function:sort_out"
    assert line == {
        "attemptsMade": 1,
        "arrivalTimestamp": 1_700_000_000_000,
        "attemptEndingTimestamp": line["attemptEndingTimestamp"],
        "rawData": base64.b64encode(b"f3").decode(),
        "errorCode": "Lambda.ProcessingFailedStatus",
        "errorMessage": "ProcessingFailed status set for record",
        "lambdaArn": arn,
        "lambdaARN": arn,
    }


async def test_the_event_of_a_direct_put(tmp_path: Path) -> None:
    objects = await delivered(tmp_path, "echo_event", [b"\x00\xff", b"second"])
    event = json.loads(good(objects)[0])
    assert set(event) == {"invocationId", "deliveryStreamArn", "region", "records"}
    assert event["deliveryStreamArn"] == "arn:aws:firehose:us-east-1:000000000000:deliverystream/flights"
    assert event["records"][0] == {
        "recordId": event["records"][0]["recordId"],
        "approximateArrivalTimestamp": 1_700_000_000_000,
        "data": base64.b64encode(b"\x00\xff").decode(),
    }


async def test_the_event_of_a_kinesis_source(tmp_path: Path) -> None:
    async with house(tmp_path, "echo_event") as home:
        await home.client.create_stream("air")
        await home.create(kinesis="air", **processing(function("echo_event"), NEWLINES))
        await home.put("air", [b"one"], ["carrier"])
        await home.until(home.delivered, step_s=10)
        event = json.loads(good(home.objects())[0])
    assert event["sourceKinesisStreamArn"] == "arn:aws:kinesis:us-east-1:000000000000:stream/air"
    metadata = event["records"][0]["kinesisRecordMetadata"]
    assert len(metadata.pop("sequenceNumber")) == 56
    assert metadata == {
        "shardId": "shardId-000000000000",
        "partitionKey": "carrier",
        "approximateArrivalTimestamp": 1_700_000_000_000,
        "subsequenceNumber": "",
    }


async def test_large_batches_are_called_in_slices(tmp_path: Path) -> None:
    data = [b"%06d" % n + b"x" * 1000 for n in range(3000)]
    objects = await delivered(tmp_path, "upper", data, BufferSizeInMBs=0.2)
    assert good(objects) == [record.upper() for record in data]


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("raising", "Lambda.FunctionError", "ValueError: no such plane"),
        ("leaving", "Lambda.FunctionError", "exit status 3"),
        ("dying", "Lambda.FunctionError", "signal: killed"),
        ("eating", "Lambda.FunctionError", "MemoryError"),
        ("nothing", "Lambda.FunctionError", "output is in required format"),
        ("text", "Lambda.FunctionError", "output is in required format"),
        ("not_json", "Lambda.FunctionError", "not JSON serializable"),
        ("unknown_result", "Lambda.FunctionError", "output is in required format"),
        ("long_result", "Lambda.FunctionError", "x…"),
        ("bad_base64", "Lambda.FunctionError", "output is in required format"),
        ("without_data", "Lambda.FunctionError", "output is in required format"),
        ("too_large", "Lambda.FunctionError", "payload size (6291556 bytes)"),
        ("not_a_function", "Lambda.FunctionError", "object is not callable"),
    ],
)
async def test_a_call_that_fails_is_repeated_then_all_its_records_fail(
    tmp_path: Path, name: str, code: str, words: str
) -> None:
    objects = await delivered(tmp_path, name, [b"1", b"2"], NumberOfRetries=1)
    lines = failed(objects)
    assert not good(objects)
    assert [base64.b64decode(line["rawData"]) for line in lines] == [b"1", b"2"]
    assert {line["errorCode"] for line in lines} == {code}
    assert {line["attemptsMade"] for line in lines} == {2}
    assert words in lines[0]["errorMessage"]
    assert len(lines[0]["errorMessage"]) <= MESSAGE_SIZE_MAX


async def test_a_function_that_hangs(tmp_path: Path) -> None:
    objects = await delivered(tmp_path, "hanging", [b"1"], NumberOfRetries=0, timeout_s=0.5)
    (line,) = failed(objects)
    assert line["errorCode"] == "Lambda.FunctionTimedOut"


async def test_a_retry_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_TEST_MARK", str(tmp_path / "mark"))
    objects = await delivered(tmp_path, "raising_once", [b"1", b"2"])
    assert good(objects) == [b"1", b"2"]
    assert not failed(objects)


@pytest.mark.parametrize(
    ("name", "code"), [("first_missing", "Lambda.MissingRecordId"), ("first_twice", "Lambda.DuplicatedRecordId")]
)
async def test_a_record_that_does_not_come_back_once_fails_alone(tmp_path: Path, name: str, code: str) -> None:
    objects = await delivered(tmp_path, name, [b"1", b"2", b"3"])
    (line,) = failed(objects)
    assert (base64.b64decode(line["rawData"]), line["errorCode"]) == (b"1", code)
    assert good(objects) == [b"2", b"3"]


async def test_a_function_that_is_not_configured_any_more(tmp_path: Path) -> None:
    before = house(tmp_path, "upper")
    async with before:
        await before.create(**processing(function("upper"), NEWLINES))
    after = House(tmp_path, log=before.log, clock=before.clock)
    async with after:
        await after.put("firehose/flights", [b"1"])
        await after.until(after.delivered, step_s=10)
        (line,) = failed(after.objects())
        assert line["errorCode"] == "Lambda.ResourceNotFound"


async def test_only_dropped_records_move_the_positions(tmp_path: Path) -> None:
    home = house(tmp_path, "sort_out")
    async with home:
        await home.create(**processing(function("sort_out"), NEWLINES))
        await home.put("firehose/flights", [b"d1", b"d2"])
        stream = home.streams()[0]
        await home.until(lambda: stream.main.positions() == {"shardId-000000000000": 2}, step_s=10)
        assert not home.objects()
