"""Delivery streams that do everything that delivery does, producers that note what was acknowledged, and a count of where
each record came to be."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import itertools
import json
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pyarrow.parquet as pq
from aws_kinesis_agg.aggregator import RecordAggregator

from tests.system.process import ServerProcess

STREAM = "events"
ROLE = "arn:aws:iam::000000000000:role/firehose"
HERE = Path(__file__).parent
FUNCTIONS = {"scatter": f"{HERE / 'delivery_function.py'}:scatter"}
FAILURES = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
KINDS = ["good"] * 7 + ["drop", "fail", "bad"]
NEWLINES = {"Type": "AppendDelimiterToRecord", "Parameters": []}
PAUSE_S = 0.03
"""Between two requests of a producer: what comes in must be able to go out between two kills."""
SHARDS_MAX = 6


def environment() -> dict[str, str]:
    """Of the server."""
    return {
        "HEADRACE_FIREHOSE_COMPAT": "emulator",
        "HEADRACE_FIREHOSE_PARTITIONS_MAX": "1000",
        "HEADRACE_FIREHOSE_RETRY_S": "0.1",
        "HEADRACE_FUNCTIONS": json.dumps(FUNCTIONS),
    }


@contextlib.contextmanager
def endpoint(file: Path) -> Iterator[str]:
    """The URL of an endpoint process."""
    command = [sys.executable, str(HERE / "delivery_endpoint.py"), str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/"
    finally:
        process.kill()
        process.wait()


def create(server: ServerProcess, url: str) -> None:
    """The source stream, and four delivery streams."""
    server.client("kinesis").create_stream(StreamName=STREAM, ShardCount=2)
    glue = server.client("glue")
    glue.create_database(DatabaseInput={"Name": "kills"})
    columns = [{"Name": "id", "Type": "string"}, {"Name": "n", "Type": "int"}]
    glue.create_table(DatabaseName="kills", TableInput={"Name": "rows", "StorageDescriptor": {"Columns": columns}})
    firehose = server.client("firehose")
    source = {
        "DeliveryStreamType": "KinesisStreamAsSource",
        "KinesisStreamSourceConfiguration": {
            "KinesisStreamARN": f"arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}",
            "RoleARN": ROLE,
        },
    }
    firehose.create_delivery_stream(
        DeliveryStreamName="direct",
        ExtendedS3DestinationConfiguration={
            **_s3("direct", 0),
            "CompressionFormat": "GZIP",
            "ProcessingConfiguration": {"Enabled": True, "Processors": [NEWLINES]},
            "S3BackupMode": "Enabled",
            "S3BackupConfiguration": _s3("direct-originals"),
        },
    )
    call = {"LambdaArn": "arn:aws:lambda:us-east-1:000000000000:function:scatter", "BufferIntervalInSeconds": "0"}
    function = [{"ParameterName": name, "ParameterValue": value} for name, value in call.items()]
    firehose.create_delivery_stream(
        DeliveryStreamName="scattered",
        **source,
        ExtendedS3DestinationConfiguration={
            **_s3("scattered"),
            "Prefix": "key=!{partitionKeyFromLambda:key}/",
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            "DynamicPartitioningConfiguration": {"Enabled": True},
            "ProcessingConfiguration": {
                "Enabled": True,
                "Processors": [{"Type": "Lambda", "Parameters": function}, NEWLINES],
            },
        },
    )
    firehose.create_delivery_stream(
        DeliveryStreamName="columns",
        **source,
        ExtendedS3DestinationConfiguration={
            **_s3("columns"),
            "DataFormatConversionConfiguration": {
                "SchemaConfiguration": {"RoleARN": ROLE, "DatabaseName": "kills", "TableName": "rows"},
                "InputFormatConfiguration": {"Deserializer": {"OpenXJsonSerDe": {}}},
                "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
            },
        },
    )
    firehose.create_delivery_stream(
        DeliveryStreamName="pushed",
        **source,
        HttpEndpointDestinationConfiguration={
            "EndpointConfiguration": {"Url": url},
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 1},
            "RetryOptions": {"DurationInSeconds": 7200},
            "S3BackupMode": "AllData",
            "S3Configuration": {**_s3("pushed"), "Prefix": "originals/", "ErrorOutputPrefix": "failed/"},
        },
    )


def _s3(bucket: str, interval_s: int = 1) -> dict[str, Any]:
    hints = {"SizeInMBs": 1, "IntervalInSeconds": interval_s}
    return {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{bucket}", "BufferingHints": hints}


class Load:
    """Threads that put numbered records of all kinds until the server is gone, and note what was acknowledged."""

    def __init__(self, server: ServerProcess, randomness: random.Random) -> None:
        self.server = server
        self.direct: dict[str, str] = {}
        """Id → kind of what a delivery stream has acknowledged, and in `events` what the source stream has."""
        self.events: dict[str, str] = {}
        self._random = randomness
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self._stopped.clear()
        producers = (self._put_records, self._put_aggregated, self._put_directly, self._reshard)
        self._threads = [threading.Thread(target=self._until_it_fails, args=(producer,)) for producer in producers]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _until_it_fails(self, produce: Callable[[], None]) -> None:
        while not self._stopped.wait(PAUSE_S):
            try:
                produce()
            except FAILURES:
                if produce != self._reshard:  # a shard that is being resharded refuses
                    return

    def _records(self, count: int) -> dict[str, str]:
        return {f"r-{next(self._numbers):08d}": self._random.choice(KINDS) for _ in range(count)}

    def _put_records(self) -> None:
        records = self._records(20)
        entries = [{"Data": _data(id_, kind), "PartitionKey": id_} for id_, kind in records.items()]
        reply = self.server.client("kinesis").put_records(StreamName=STREAM, Records=entries)
        for (id_, kind), entry in zip(records.items(), reply["Records"], strict=True):
            if "SequenceNumber" in entry:
                self.events[id_] = kind

    def _put_aggregated(self) -> None:
        records = self._records(12)
        aggregator = RecordAggregator()
        key = next(iter(records))  # one key: all parts belong to the shard that the record goes to
        for id_, kind in records.items():
            aggregator.add_user_record(key, _data(id_, kind).decode())
        _, _, data = aggregator.clear_and_get().get_contents()
        self.server.client("kinesis").put_record(StreamName=STREAM, Data=data, PartitionKey=key)
        self.events.update(records)

    def _put_directly(self) -> None:
        records = self._records(15)
        entries = [{"Data": _data(id_, kind)} for id_, kind in records.items()]
        reply = self.server.client("firehose").put_record_batch(DeliveryStreamName="direct", Records=entries)
        for (id_, kind), entry in zip(records.items(), reply["RequestResponses"], strict=True):
            if "RecordId" in entry:
                self.direct[id_] = kind

    def _reshard(self) -> None:
        """Now and then a shard is split, or two neighbours are merged."""
        if self._random.random() > PAUSE_S / 2:
            return
        kinesis = self.server.client("kinesis")
        listed = [one for one in _shards(kinesis) if "EndingSequenceNumber" not in one["SequenceNumberRange"]]
        listed.sort(key=lambda one: int(one["HashKeyRange"]["StartingHashKey"]))
        if len(listed) < 2 or (len(listed) < SHARDS_MAX and self._random.random() < 0.5):
            one = self._random.choice(listed)
            first, last = (int(one["HashKeyRange"][f"{which}HashKey"]) for which in ("Starting", "Ending"))
            kinesis.split_shard(
                StreamName=STREAM, ShardToSplit=one["ShardId"], NewStartingHashKey=str((first + last) // 2 + 1)
            )
        else:
            at = self._random.randrange(len(listed) - 1)
            kinesis.merge_shards(
                StreamName=STREAM, ShardToMerge=listed[at]["ShardId"], AdjacentShardToMerge=listed[at + 1]["ShardId"]
            )


def _shards(kinesis: Any) -> list[dict[str, Any]]:
    reply = kinesis.list_shards(StreamName=STREAM)
    found: list[dict[str, Any]] = reply["Shards"]
    while "NextToken" in reply:
        reply = kinesis.list_shards(NextToken=reply["NextToken"])
        found += reply["Shards"]
    return found


def _data(id_: str, kind: str) -> bytes:
    return json.dumps({"id": id_, "kind": kind, "n": "many" if kind == "bad" else 1}).encode()


class Found:
    """Where every record is, by reading what was delivered. Objects never change, so each is read once."""

    def __init__(self, buckets: Path, taken: Path) -> None:
        self._buckets = buckets
        self._taken = taken
        self._read: dict[Path, list[str]] = {}

    def records(self) -> dict[str, Counter[str]]:
        """Id → how often, of each place."""
        # All that is there by now, and nothing that comes while places are counted.
        for path in sorted(self._buckets.rglob("*")):
            if path not in self._read and path.is_file():
                self._read[path] = list(_ids_of(path))
        places: dict[str, Counter[str]] = {
            "direct": Counter(self._ids("direct")),
            "direct, originals": Counter(self._ids("direct-originals")),
            "scattered": Counter(self._ids("scattered", "key=")),
            "scattered, failed": Counter(self._ids("scattered", "errors/processing-failed/")),
            "columns": Counter(self._ids("columns", "20")),
            "columns, failed": Counter(self._ids("columns", "format-conversion-failed/")),
            "pushed": Counter(self._posted()),
            "pushed, failed": Counter(self._ids("pushed", "failed/http-endpoint-failed/")),
            "pushed, originals": Counter(self._ids("pushed", "originals/")),
        }
        assert sum(map(len, self._read.values())) + places["pushed"].total() == sum(
            place.total() for place in places.values()
        ), "an object is where nobody looks for one"
        return places

    def _ids(self, bucket: str, prefix: str = "") -> Iterator[str]:
        within = f"{self._buckets / bucket}/{prefix}"
        for path, ids in self._read.items():
            if str(path).startswith(within):
                yield from ids

    def _posted(self) -> Iterator[str]:
        if self._taken.exists():
            for line in self._taken.read_text().splitlines():
                yield from (json.loads(record)["id"] for record in json.loads(line))


def _ids_of(path: Path) -> Iterator[str]:
    """A torn gzip member or Parquet footer fails here."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        yield from pq.read_table(io.BytesIO(content)).column("id").to_pylist()
        return
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    for line in _objects(content.decode()):
        yield line["id"] if "rawData" not in line else json.loads(base64.b64decode(line["rawData"]))["id"]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """JSON objects in a row: originals have no delimiter."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        found, at = decoder.raw_decode(text, at)
        yield found
        while at < len(text) and text[at] == "\n":
            at += 1


def lost(load: Load, places: dict[str, Counter[str]]) -> list[str]:
    """What was acknowledged and is not where it belongs."""
    events, failed = load.events, {"drop": "", "fail": "scattered, failed"}
    wanted = [("direct", load.direct), ("direct, originals", load.direct), ("pushed, originals", events)]
    missing = [f"{place}: {id_}" for place, ids in wanted for id_ in ids if id_ not in places[place]]
    for id_, kind in events.items():
        belongs = [failed.get(kind, "scattered"), "columns, failed" if kind == "bad" else "columns"]
        missing += [f"{place}: {id_}" for place in belongs if place and id_ not in places[place]]
        if id_ not in places["pushed"] and id_ not in places["pushed, failed"]:
            missing.append(f"pushed: {id_}")
    return missing


def doubled(places: dict[str, Counter[str]]) -> list[str]:
    """What is in two places of one delivery stream, acknowledged or not."""
    together = {
        "direct": places["direct"],
        "direct, originals": places["direct, originals"],
        "scattered": places["scattered"] + places["scattered, failed"],
        "columns": places["columns"] + places["columns, failed"],
        "pushed": places["pushed"] + places["pushed, failed"],
        "pushed, originals": places["pushed, originals"],
    }
    return [f"{name}: {id_}" for name, found in together.items() for id_, count in found.items() if count > 1]


def misplaced(load: Load, places: dict[str, Counter[str]]) -> list[str]:
    """What a function dropped and is there all the same."""
    there = {*places["scattered"], *places["scattered, failed"]}
    return [f"scattered: {id_}" for id_, kind in load.events.items() if kind == "drop" and id_ in there]
