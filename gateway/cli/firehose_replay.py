"""``headrace firehose replay``: what went to the error output is put again."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from connectors.files import Store
from firehose.failures import Failed, read_failures
from firehose.outputs import bucket_name
from firehose.replays import enveloped
from gateway.cli import output
from gateway.cli.connection import Target, connected
from gateway.cli.failure import Failure
from gateway.cli.firehose_call import call
from gateway.cli.firehose_stores import stores
from gateway.cli.settings_options import data_directory, settings_file
from streams.core import settings
from streams.core.errors import HeadraceError

MARK = ".replayed"
"""An object of this ending says that the one without it was put again."""

BATCH_RECORDS_MAX, BATCH_SIZE_MAX = 500, 4 << 20
RECORD_SIZE_MAX = 1_024_000
"""Limits of one put, AWS's."""

TRIES_MAX = 5
"""Puts of a batch of which some records were refused for now."""


@dataclass(slots=True)
class Found:
    """What stands under a prefix: objects to replay, how many were replayed before, and records by error code."""

    keys: list[str] = field(default_factory=list)
    replayed: int = 0
    records: int = 0
    size: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    attempts: int = 0


@click.command()
@click.argument("name")
@click.argument("prefix")
@click.option("--bucket", help="Bucket of the error output.  [that of the delivery stream]")
@data_directory("Data directory that holds the bucket.")
@settings_file("Settings file (TOML) that says where buckets are.")
@click.option("--again", is_flag=True, help="Also what was replayed before.")
@click.option("--yes", is_flag=True, help="Put the records; without it, only say what would be put.")
@connected
def replay(
    target: Target,
    name: str,
    prefix: str,
    bucket: str | None,
    data: str | None,
    file: Path | None,
    again: bool,
    yes: bool,
) -> None:
    """Put the records of the error output under PREFIX into the delivery stream NAME again, as they were.

    Without --yes nothing is put. An object whose records are all in gets a mark beside it and is left out the next time; a
    replay that is broken off repeats the object that it was at. A record that fails again says how often it was tried in
    all. Records of a delivery stream with a Kinesis source go into that stream, where its other readers see them too."""
    description = call(target, "describe_delivery_stream", DeliveryStreamName=name)["DeliveryStreamDescription"]
    way = _way(target, name, description)
    try:
        chosen = settings.load(file, options={"data": data})
        store = stores(chosen)(bucket or _bucket(description))
        found = _look(store, prefix, again=again)
    except (OSError, HeadraceError) as error:
        raise Failure(str(error)) from error
    if yes:
        for key in found.keys:
            _replay(store, key, way)
    _show(target, prefix, found, done=yes)


Put = Callable[[list[Failed]], None]


def _look(store: Store, prefix: str, *, again: bool) -> Found:
    keys = store.keys(prefix)
    marked = {key.removesuffix(MARK) for key in keys if key.endswith(MARK)}
    found = Found()
    for key in keys:
        if key.endswith(MARK):
            continue
        if key in marked and not again:
            found.replayed += 1
            continue
        found.keys.append(key)
        for failed in _failures(store, key):
            found.records += 1
            found.size += len(failed.raw_data)
            found.codes[failed.code] += 1
            found.attempts = max(found.attempts, failed.attempts_made)
    return found


def _failures(store: Store, key: str) -> Iterator[Failed]:
    with store.open(key) as file:
        try:
            yield from read_failures(file)
        except ValueError as error:
            raise Failure(f"{key}: {error}", hint="give a prefix under which there is error output only") from error


def _replay(store: Store, key: str, way: Put) -> None:
    records = 0
    for batch in _batches(_failures(store, key)):
        way(batch)
        records += len(batch)
    mark = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "records": records}
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "mark"
        staged.write_text(json.dumps(mark) + "\n")
        if store.size(key + MARK) is None:
            store.publish(staged, key + MARK)


def _batches(records: Iterable[Failed]) -> Iterator[list[Failed]]:
    batch: list[Failed] = []
    size = 0
    for failed in records:
        weight = len(failed.raw_data) + 64
        if batch and (len(batch) == BATCH_RECORDS_MAX or size + weight > BATCH_SIZE_MAX):
            yield batch
            batch, size = [], 0
        batch.append(failed)
        size += weight
    if batch:
        yield batch


def _way(target: Target, name: str, description: dict[str, Any]) -> Put:
    """How records get back to where they came from. Raises `Failure` where they cannot."""
    kinds = {processor["Type"] for processor in _processors(description)}
    if {"Decompression", "RecordDeAggregation"} <= kinds:
        raise Failure(
            f"{name} takes records out of compressed ones: what failed cannot be put back alone",
            hint="put the original records again",
        )
    if description["DeliveryStreamType"] == "DirectPut":
        return _direct(target, name)
    if description["DeliveryStreamType"] == "MSKAsSource":
        topic = description["Source"]["MSKSourceDescription"]["TopicName"]
        raise Failure(
            f"{name} reads the Kafka topic {topic}, which is somebody else's",
            hint="put the rawData of what failed back into it with Kafka's own tools",
        )
    arn = description["Source"]["KinesisStreamSourceDescription"]["KinesisStreamARN"]
    return _kinesis(target, arn.rpartition("/")[2])


def _direct(target: Target, name: str) -> Put:
    def put(batch: list[Failed]) -> None:
        data = [enveloped(failed.raw_data, failed.attempts_made) for failed in batch]
        # The limit is one of records, and the envelope is ours: without it a record is only not counted.
        data = [
            one if len(one) <= RECORD_SIZE_MAX else failed.raw_data for one, failed in zip(data, batch, strict=True)
        ]
        for _ in range(TRIES_MAX):
            reply = call(target, "put_record_batch", DeliveryStreamName=name, Records=[{"Data": one} for one in data])
            answers = zip(data, reply["RequestResponses"], strict=True)
            data = [one for one, answer in answers if "ErrorCode" in answer]
            if not data:
                return
        raise Failure(f"the server takes no more records of {name} just now", hint="replay again later")

    return put


def _kinesis(target: Target, stream: str) -> Put:
    client = target.aws("kinesis")

    def put(batch: list[Failed]) -> None:
        records = [{"Data": failed.raw_data, "PartitionKey": os.urandom(8).hex()} for failed in batch]
        for _ in range(TRIES_MAX):
            answers = client.put_records(StreamName=stream, Records=records)["Records"]
            records = [one for one, answer in zip(records, answers, strict=True) if "ErrorCode" in answer]
            if not records:
                return
        raise Failure(f"the server takes no more records of {stream} just now", hint="replay again later")

    return put


def _destination(description: dict[str, Any]) -> dict[str, Any]:
    (destination,) = description["Destinations"]
    http: dict[str, Any] | None = destination.get("HttpEndpointDestinationDescription")
    s3: dict[str, Any] = destination.get("ExtendedS3DestinationDescription", {})
    return s3 if http is None else http


def _processors(description: dict[str, Any]) -> list[dict[str, Any]]:
    processing = _destination(description).get("ProcessingConfiguration", {})
    processors: list[dict[str, Any]] = processing.get("Processors", []) if processing.get("Enabled") else []
    return processors


def _bucket(description: dict[str, Any]) -> str:
    destination = _destination(description)
    return bucket_name(destination.get("S3DestinationDescription", destination)["BucketARN"])


def _show(target: Target, prefix: str, found: Found, *, done: bool) -> None:
    if target.json:
        counts = {"objects": len(found.keys), "replayed_before": found.replayed, "records": found.records}
        output.json_line(
            {**counts, "bytes": found.size, "codes": found.codes, "attempts_max": found.attempts, "put": done}
        )
        return
    if found.codes:
        output.table(["error", "records"], sorted(found.codes.items()))
    before = f"; {found.replayed} objects were replayed before" if found.replayed else ""
    what = f"{found.records} records of {len(found.keys)} objects, {found.size} bytes"
    if not found.keys:
        output.talk(f"nothing to replay under {prefix}{before}")
    elif done:
        output.talk(f"{what}, were put again{before}")
    else:
        output.talk(f"{what}, would be put again{before}; --yes puts them")
