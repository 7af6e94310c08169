"""Applications as boto3 makes them, and waiting for what they do."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

WAIT_S = 60.0
"""How long something may take that takes a second: machines are shared."""

PAUSE_S_MAX = 0.2
"""Between two questions: an answer costs CPU that what is waited for may need."""

ROLE = "arn:aws:iam::000000000000:role/any"
ACCOUNT = "arn:aws:{service}:us-east-1:000000000000:{kind}/{name}"

FILTER = """
CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" ("ticker" VARCHAR(4), price DOUBLE);
CREATE OR REPLACE PUMP "STREAM_PUMP" AS INSERT INTO "DESTINATION_SQL_STREAM"
SELECT STREAM "ticker", "price" FROM "SOURCE_SQL_STREAM_001" WHERE "price" > 10;
"""


def stream_arn(name: str) -> str:
    return ACCOUNT.format(service="kinesis", kind="stream", name=name)


def delivery_stream_arn(name: str) -> str:
    return ACCOUNT.format(service="firehose", kind="deliverystream", name=name)


def function_arn(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"


def schema(*columns: tuple[str, str], csv: str | None = None, row_path: str = "$") -> dict[str, Any]:
    """An input schema; `csv` is the delimiter of columns."""
    if csv is not None:
        parameters = {"CSVMappingParameters": {"RecordRowDelimiter": "\n", "RecordColumnDelimiter": csv}}
        listed = [{"Name": name, "SqlType": kind} for name, kind in columns]
    else:
        parameters = {"JSONMappingParameters": {"RecordRowPath": row_path}}
        listed = [{"Name": name, "SqlType": kind, "Mapping": f"$.{name}"} for name, kind in columns]
    kind = "JSON" if csv is None else "CSV"
    return {
        "RecordFormat": {"RecordFormatType": kind, "MappingParameters": parameters},
        "RecordEncoding": "UTF-8",
        "RecordColumns": listed,
    }


TICKERS = schema(("ticker", "VARCHAR(4)"), ("price", "DOUBLE"))


def source(stream: str, columns: dict[str, Any] = TICKERS, **more: Any) -> dict[str, Any]:
    return {
        "NamePrefix": "SOURCE_SQL_STREAM",
        "KinesisStreamsInput": {"ResourceARN": stream_arn(stream), "RoleARN": ROLE},
        "InputSchema": columns,
        **more,
    }


def output(name: str, stream: str, kind: str = "JSON") -> dict[str, Any]:
    return {
        "Name": name,
        "KinesisStreamsOutput": {"ResourceARN": stream_arn(stream), "RoleARN": ROLE},
        "DestinationSchema": {"RecordFormatType": kind},
    }


def until(found: Callable[[], T | None], what: str) -> T:
    """Asks until there is an answer: what goes on in other processes has no event to wait for."""
    end, pause_s = time.monotonic() + WAIT_S, 0.02
    while time.monotonic() < end:
        answer = found()
        if answer:
            return answer
        time.sleep(pause_s)
        pause_s = min(1.3 * pause_s, PAUSE_S_MAX)
    raise AssertionError(f"never: {what}")


def reaches(analytics: Any, name: str, status: str) -> None:
    def seen() -> bool:
        return analytics.describe_application(ApplicationName=name)["ApplicationDetail"]["ApplicationStatus"] == status

    until(seen, f"application {name} is {status}")


def begin(analytics: Any, name: str, position: str = "TRIM_HORIZON") -> None:
    """Started, and running."""
    found = analytics.describe_application(ApplicationName=name)["ApplicationDetail"]["InputDescriptions"]
    starts = [
        {"Id": each["InputId"], "InputStartingPositionConfiguration": {"InputStartingPosition": position}}
        for each in found
    ]
    analytics.start_application(ApplicationName=name, InputConfigurations=starts)
    reaches(analytics, name, "RUNNING")


def end(analytics: Any, name: str) -> None:
    analytics.stop_application(ApplicationName=name)
    reaches(analytics, name, "READY")


def put(kinesis: Any, stream: str, records: list[Any]) -> None:
    """Each a dict, or bytes."""
    data = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    for first in range(0, len(data), 500):
        entries = [{"Data": each, "PartitionKey": str(number)} for number, each in enumerate(data[first : first + 500])]
        assert kinesis.put_records(StreamName=stream, Records=entries)["FailedRecordCount"] == 0


def records(kinesis: Any, stream: str) -> list[bytes]:
    """All that a stream holds, a shard after the other."""
    found: list[bytes] = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            answer = kinesis.get_records(ShardIterator=iterator)
            found += [record["Data"] for record in answer["Records"]]
            if not answer["Records"] and answer["MillisBehindLatest"] == 0:
                break
            iterator = answer.get("NextShardIterator")
    return found


def rows(kinesis: Any, stream: str, count: int) -> list[dict[str, Any]]:
    """The rows in an output stream, once there are `count`."""

    def enough() -> list[bytes] | None:
        found = records(kinesis, stream)
        return found if len(found) >= count else None

    return [json.loads(data) for data in until(enough, f"{count} rows in {stream}")]
