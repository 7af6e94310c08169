"""What AWS documents and no other file shows: quotas, names of objects, the order of the steps, odds and ends."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from firehose.quotas import throughput
from streams.core.errors import InvalidArgument, LimitExceeded, Throttling
from streams.core.settings import FunctionSettings
from tests.firehose.harness import NEWLINES, House, function, processing, s3, step
from tests.firehose.test_firehose_conversion import conversion, partitioned, query, register
from tests.firehose.test_firehose_splitting import DECOMPRESSION, EXTRACTION, JSON_PARTS, logs
from tests.firehose.test_firehose_updates import extended

MIB = 1 << 20


# Quotas ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "hint", "mib", "requests"),
    [
        ("us-east-1", None, 5, 2_000),
        ("eu-north-1", None, 1, 1_000),
        ("us-east-1", 10, 10, 4_000),
        ("us-east-1", 2, 5, 2_000),
    ],
)
def test_throughput_of_a_region_and_a_hint(region: str, hint: int | None, mib: int, requests: int) -> None:
    taken = throughput(region, hint)
    assert (taken.mib, taken.requests) == (mib, requests)


async def test_what_a_delivery_stream_takes_a_second(tmp_path: Path) -> None:
    async with House(tmp_path, limits="aws") as house:
        await house.call(
            "CreateDeliveryStream",
            DeliveryStreamName="d",
            DirectPutSourceConfiguration={"ThroughputHintInMBs": 8},
            ExtendedS3DestinationConfiguration=s3(),
        )
        described = (await house.call("DescribeDeliveryStream", DeliveryStreamName="d"))["DeliveryStreamDescription"]
        assert described["Source"] == {"DirectPutSourceDescription": {"ThroughputHintInMBs": 8}}
        batch: dict[str, Any] = {"DeliveryStreamName": "d", "Records": [{"Data": "A" * 1_365_332}] * 4}
        taken = [await house.call("PutRecordBatch", **batch) for _ in range(3)]
        assert [answer["FailedPutCount"] for answer in taken] == [0, 0, 4]
        assert {entry["ErrorCode"] for entry in taken[2]["RequestResponses"]} == {"ServiceUnavailableException"}
        house.clock.advance(1)
        assert (await house.call("PutRecordBatch", **batch))["FailedPutCount"] == 0
    async with House(tmp_path / "other") as house:
        await house.create("d")
        assert sum([(await house.call("PutRecordBatch", **batch))["FailedPutCount"] for _ in range(4)]) == 0


async def test_control_operations_have_a_rate(tmp_path: Path) -> None:
    async with House(tmp_path, limits="aws") as house:
        await house.create("d")
        for _ in range(5):
            await house.call("DescribeDeliveryStream", DeliveryStreamName="d")
        with pytest.raises(Throttling, match="Rate exceeded"):
            await house.call("DescribeDeliveryStream", DeliveryStreamName="d")
        await house.call("ListDeliveryStreams")
        house.clock.advance(0.2)
        await house.call("DescribeDeliveryStream", DeliveryStreamName="d")


async def test_a_quota_of_delivery_streams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firehose.delivery_streams.DELIVERY_STREAMS_MAX", 1)
    async with House(tmp_path) as house:
        await house.create("d")
        with pytest.raises(LimitExceeded, match="You have already consumed your firehose quota of 1 hoses"):
            await house.create("e")


# Requests -------------------------------------------------------------------------------------------------------------


async def test_the_one_destination_and_what_comes_after_it(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create("d")

        async def destinations(**members: Any) -> list[str]:
            answer = await house.call("DescribeDeliveryStream", DeliveryStreamName="d", **members)
            assert answer["DeliveryStreamDescription"]["HasMoreDestinations"] is False
            return [one["DestinationId"] for one in answer["DeliveryStreamDescription"]["Destinations"]]

        assert await destinations(Limit=1) == ["destinationId-000000000001"]
        assert await destinations(ExclusiveStartDestinationId="destinationId-000000000000") != []
        assert await destinations(ExclusiveStartDestinationId="destinationId-000000000001") == []


async def test_a_database_is_no_source(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        with pytest.raises(InvalidArgument, match="DatabaseAsSource is not supported by this server yet"):
            await house.call(
                "CreateDeliveryStream",
                DeliveryStreamName="d",
                DeliveryStreamType="DatabaseAsSource",
                ExtendedS3DestinationConfiguration=s3(),
            )


async def test_parameters_of_the_delimiter_are_not_kept(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(step("AppendDelimiterToRecord", Delimiter="\\n")))
        assert (await extended(house))["ProcessingConfiguration"]["Processors"] == [NEWLINES]


async def test_hints_where_rows_or_partitions_are_made(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await register(house)
        await house.create(size=None, **conversion())
        assert (await extended(house))["BufferingHints"] == {"SizeInMBs": 128, "IntervalInSeconds": 300}
        await house.create("p", size=None, **partitioned("!{partitionKeyFromQuery:k}/"), **processing(query("{k: .k}")))
        answer = await house.call("DescribeDeliveryStream", DeliveryStreamName="p")
        (destination,) = answer["DeliveryStreamDescription"]["Destinations"]
        assert destination["ExtendedS3DestinationDescription"]["BufferingHints"]["SizeInMBs"] == 128


# The pipeline ---------------------------------------------------------------------------------------------------------


async def test_the_steps_in_their_order(tmp_path: Path) -> None:
    """Messages are extracted and come apart, the function sees each alone, keys are those of its answer, then comes gzip:
    whatever order the processors were given in."""
    steps = (query("{c: .C}"), JSON_PARTS, EXTRACTION, DECOMPRESSION)
    functions = {"upper": "tests.firehose.functions:upper"}
    async with House(tmp_path, functions=functions, firehose_compat="emulator") as house:
        by_key = partitioned("c=!{partitionKeyFromQuery:c}/")
        await house.create(CompressionFormat="GZIP", **by_key, **processing(*steps, function("upper")))
        batch = logs('{"c": "aa"}', '{"c": "bb"}', '{"c": "aa"}')
        await house.put("firehose/flights", [batch])
        await house.until(house.delivered, step_s=10)
        found = {name.partition("/")[0]: gzip.decompress(content) for name, content in house.objects().items()}
    assert found == {"c=AA": b'{"C": "AA"}{"C": "AA"}', "c=BB": b'{"C": "BB"}'}


async def test_three_tiers_in_one_pipeline(tmp_path: Path) -> None:
    """Code, SQL and jq in a row: what fails in any of them is in the error output as it was put."""
    functions = {
        "miles": FunctionSettings(
            sql="SELECT c, km / 1.609344 AS miles FROM records WHERE km > 0", columns="c VARCHAR, km DOUBLE"
        ),
        "pick": FunctionSettings(jq='if .c == "no" then error("no such city") else {c, m: (.miles | round)} end'),
        "all": FunctionSettings(steps=("upper", "miles", "pick")),
        "upper": "tests.firehose.functions:keep",
    }
    async with House(tmp_path, functions=functions) as house:
        await house.create(size=5, **processing(function("all", NumberOfRetries=0), NEWLINES))
        sent = [b'{"c": "a", "km": 8}', b'{"c": "b", "km": -1}', b'{"c": "no", "km": 1}', b"no json"]
        await house.put("firehose/flights", sent)
        await house.until(house.delivered, step_s=10)
        objects = house.objects()
        await house.until(lambda: house.settled() == 4, step_s=10)
    (good,) = (content for name, content in objects.items() if name.startswith("2023/"))
    assert good == b'{"c":"a","m":5}\n'
    lines = [
        json.loads(line)
        for name, content in objects.items()
        if name.startswith("processing-failed/")
        for line in content.splitlines()
    ]
    failed = {base64.b64decode(line["rawData"]): line["errorMessage"] for line in lines}
    assert set(failed) == {b'{"c": "no", "km": 1}', b"no json"}
    assert "no such city" in failed[b'{"c": "no", "km": 1}']
    assert "InvalidJson" in failed[b"no json"]


async def test_keys_of_a_query_and_of_a_function_together(tmp_path: Path) -> None:
    functions = {"by_month": "tests.firehose.functions:by_month"}
    async with House(tmp_path, functions=functions, firehose_compat="emulator") as house:
        prefix = "c=!{partitionKeyFromQuery:c}/m=!{partitionKeyFromLambda:month}/"
        await house.create(**partitioned(prefix), **processing(function("by_month"), query("{c: .carrier}")))
        rows = [b'{"carrier": "AA", "month": 3, "dep": 1}', b'{"carrier": "UA", "month": 4, "dep": 1}']
        await house.put("firehose/flights", rows)
        await house.until(lambda: len(house.objects()) == 2, step_s=10)
        assert {name.rpartition("/")[0] for name in house.objects()} == {"c=AA/m=3", "c=UA/m=4"}


# Names of objects -----------------------------------------------------------------------------------------------------

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
AT = "2023-11-14-22-13-20"
NAMES: list[tuple[dict[str, Any], str]] = [
    ({}, f"2023/11/14/22/flights-1-{AT}-{UUID}"),
    ({"CompressionFormat": "GZIP"}, f"2023/11/14/22/flights-1-{AT}-{UUID}\\.gz"),
    ({"CompressionFormat": "ZIP"}, f"2023/11/14/22/flights-1-{AT}-{UUID}\\.zip"),
    ({"CompressionFormat": "Snappy"}, f"2023/11/14/22/flights-1-{AT}-{UUID}\\.snappy"),
    ({"CompressionFormat": "HADOOP_SNAPPY"}, f"2023/11/14/22/flights-1-{AT}-{UUID}\\.snappy"),
    ({"CompressionFormat": "GZIP", "FileExtension": ".json"}, f"2023/11/14/22/flights-1-{AT}-{UUID}\\.json"),
    ({"CompressionFormat": "GZIP", "FileExtension": ""}, f"2023/11/14/22/flights-1-{AT}-{UUID}\\.gz"),
    (
        {
            "Prefix": "!{timestamp:yyyy}/!{timestamp:HH-mm-ss}/",
            "ErrorOutputPrefix": "e/!{firehose:error-output-type}/",
            "CustomTimeZone": "Asia/Tokyo",
        },
        f"2023/07-13-20/flights-1-2023-11-15-07-13-20-{UUID}",
    ),
]


@pytest.mark.parametrize(("members", "name"), NAMES, ids=range(len(NAMES)))
async def test_names_of_objects(tmp_path: Path, members: dict[str, Any], name: str) -> None:
    """All times in a name are the arrival of the oldest record."""
    async with House(tmp_path) as house:
        await house.create(**members)
        await house.put("firehose/flights", [b"oldest"])
        await house.settle()
        house.clock.advance(5)
        await house.put("firehose/flights", [b"younger"])
        await house.until(house.delivered, step_s=10)
        (found,) = house.objects()
        assert re.fullmatch(name, found), found


async def test_a_random_string_is_fresh_each_time(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(
            Prefix="!{firehose:random-string}/!{firehose:random-string}/",
            ErrorOutputPrefix="e/!{firehose:error-output-type}/",
        )
        for turn in range(2):
            await house.put("firehose/flights", [b"x"])
            await house.until(lambda turn=turn: len(house.objects()) == turn + 1, step_s=10)
        strings = [part for name in house.objects() for part in name.split("/")[:2]]
        assert len(set(strings)) == 4
        assert all(re.fullmatch("[A-Za-z0-9]{11}", one) for one in strings)
