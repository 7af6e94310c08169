"""The delivery stream of the demo, made with boto3: transform, convert, partition, deliver."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from gateway.demo.puts import client

NAME = "flights-to-parquet"
BUCKET = "flights"
FUNCTION = "flights"
HANDLER = "gateway.demo.transform:handler"
INTERVAL_S = 2
"""How long a month is buffered. AWS asks for at least 60 s; a demo should end sooner."""
STALL_S = 30.0
"""No new file for this long: something is wrong, and the reconciliation will say what."""

_ROLE = "arn:aws:iam::000000000000:role/demo"
_COLUMNS = {
    "year": "int",
    "day": "int",
    "dep_time": "int",
    "sched_dep_time": "int",
    "dep_delay": "int",
    "arr_time": "int",
    "sched_arr_time": "int",
    "arr_delay": "int",
    "carrier": "string",
    "flight": "int",
    "tailnum": "string",
    "origin": "string",
    "dest": "string",
    "air_time": "int",
    "distance": "int",
    "hour": "int",
    "minute": "int",
    "time_hour": "timestamp",
    "delay_class": "string",
}
"""Columns of the Parquet files, in Glue's types; the month is in the path."""


def create(endpoint: str, stream_arn: str) -> None:
    """Makes the table of the schema and the delivery stream from the stream's present end on."""
    glue = client("glue", endpoint)
    glue.create_database(DatabaseInput={"Name": "demo"})
    columns = [{"Name": name, "Type": kind} for name, kind in _COLUMNS.items()]
    glue.create_table(DatabaseName="demo", TableInput={"Name": "flights", "StorageDescriptor": {"Columns": columns}})
    firehose = client("firehose", endpoint)
    firehose.create_delivery_stream(
        DeliveryStreamName=NAME,
        DeliveryStreamType="KinesisStreamAsSource",
        KinesisStreamSourceConfiguration={"KinesisStreamARN": stream_arn, "RoleARN": _ROLE},
        ExtendedS3DestinationConfiguration=_destination(),
    )
    while _status(firehose) == "CREATING":
        time.sleep(0.05)


def _destination() -> dict[str, Any]:
    function = [
        {"ParameterName": "LambdaArn", "ParameterValue": f"arn:aws:lambda:us-east-1:000000000000:function:{FUNCTION}"},
        {"ParameterName": "BufferSizeInMBs", "ParameterValue": "3"},
    ]
    return {
        "RoleARN": _ROLE,
        "BucketARN": f"arn:aws:s3:::{BUCKET}",
        "Prefix": "flights/month=!{partitionKeyFromLambda:month}/",
        "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
        "BufferingHints": {"SizeInMBs": 128, "IntervalInSeconds": INTERVAL_S},
        "DynamicPartitioningConfiguration": {"Enabled": True},
        "ProcessingConfiguration": {"Enabled": True, "Processors": [{"Type": "Lambda", "Parameters": function}]},
        "DataFormatConversionConfiguration": {
            "Enabled": True,
            "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
            "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
            "SchemaConfiguration": {"DatabaseName": "demo", "TableName": "flights", "RoleARN": _ROLE},
        },
    }


def wait(bucket: Path, count: int, advance: Callable[[int], None]) -> None:
    """Returns when `count` records lie in the bucket, as rows or as errors, or when nothing new has come for `STALL_S`.
    `advance` is told how many have come since it was last told."""
    rows: dict[Path, int] = {}
    told = 0
    moved = time.monotonic()
    while told < count and time.monotonic() - moved < STALL_S:
        for path in bucket.rglob("*"):
            if path not in rows and path.is_file() and not path.name.startswith("."):
                rows[path] = _records(path)
        if (seen := sum(rows.values())) > told:
            advance(seen - told)
            told, moved = seen, time.monotonic()
        else:
            time.sleep(0.1)


def _records(path: Path) -> int:
    """Rows of a Parquet file by its footer; lines of an error file."""
    if path.suffix == ".parquet":
        return int(pq.ParquetFile(path).metadata.num_rows)
    return len(path.read_bytes().splitlines())


def _status(firehose: Any) -> str:
    found = firehose.describe_delivery_stream(DeliveryStreamName=NAME)
    return str(found["DeliveryStreamDescription"]["DeliveryStreamStatus"])
