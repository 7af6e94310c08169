"""Many active partitions of one delivery stream, in a process of its own, so that its memory is its own:
``python -m benchmarks.delivery_partitions SIZE_MB``. Says what it took as JSON.

The delivery stream's clock stands still while all records are read: every partition is open then, and none is due. Then the
buffering interval passes, and all are delivered.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil

from firehose import Firehose
from gateway.cli.tuning import tune
from streams.control.journal import Journal
from streams.core.clock import ManualClock
from streams.core.records import Records
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.log.opening import open_log
from streams.sdk.local import LocalClient
from streams.service import Service
from streams.wire.protocol import JSON, protocol

PARTITIONS = 10_000
SIZE = 300
ROLE = "arn:aws:iam::000000000000:role/bench"
SCOPE = Scope()
INTERVAL_S = 900
SAMPLE_S = 0.1
"""How often the memory of the jq processes is looked at."""


class Taken(msgspec.Struct):
    """What one run took. `rss` is the most that the process itself had resident, files that it had mapped included,
    `workers_rss` the same of its jq processes together; `spilled` bytes were on disk when all partitions were open."""

    records: int
    bytes: int
    partitions: int
    objects: int
    buffered_s: float
    delivered_s: float
    cpu_s: float
    rss: int
    workers_rss: int
    spilled: int


def measure(size_mb: int) -> Taken:
    """In a process of its own."""
    command = [sys.executable, "-m", "benchmarks.delivery_partitions", str(size_mb)]
    return msgspec.json.decode(subprocess.run(command, check=True, capture_output=True).stdout, type=Taken)


async def run(size_mb: int) -> Taken:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-", dir=os.environ.get("HEADRACE_BENCH_DIR")) as folder:
        clock = ManualClock()
        settings = Settings(data=folder, log_sync="os", log_compress=False, firehose_partitions_max=PARTITIONS)
        log = await open_log(settings, Path(folder) / "log", clock)
        service = Service(log, clock=clock, settings=settings)
        await service.open()

        def new() -> Firehose:
            return Firehose(
                Journal(log, "control/firehose"),
                lambda scope: LocalClient(service, scope),
                settings=settings,
                clock=clock,
            )

        firehose = new()
        await firehose.open()
        request = {"DeliveryStreamName": "bench", "ExtendedS3DestinationConfiguration": _destination()}
        create = protocol("firehose").decode("CreateDeliveryStream", JSON, msgspec.json.encode(request))
        await firehose.call("CreateDeliveryStream", create, SCOPE)
        await firehose.close()
        count = size_mb * 1_000_000 // SIZE
        await _put(LocalClient(service, SCOPE), count)
        firehose = new()
        began, cpu = time.perf_counter(), _cpu_s()
        workers = asyncio.create_task(_watch())
        await firehose.open()
        ((_, _, meter),) = firehose.meters()
        (driver,) = firehose._drivers.values()
        while sum(chunk.records for chunk in driver._buffer._chunks.values()) < count:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.1)
        partitions, buffered_s, spilled = meter.partitions, time.perf_counter() - began, meter.spilled
        clock.advance(INTERVAL_S)
        while sum(firehose.positions(SCOPE, "bench").values()) < count:  # noqa: ASYNC110 - files appear in silence
            await asyncio.sleep(0.05)
        delivered_s, cpu_s = time.perf_counter() - began - buffered_s, _cpu_s() - cpu
        workers.cancel()
        objects = meter.objects
        await firehose.close()
        await service.close()
        await log.close()
        return Taken(
            records=count,
            bytes=count * SIZE,
            partitions=partitions,
            objects=objects,
            buffered_s=buffered_s,
            delivered_s=delivered_s,
            cpu_s=cpu_s,
            rss=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            workers_rss=_peak[0],
            spilled=spilled,
        )


async def _put(client: LocalClient, count: int) -> None:
    for first in range(0, count, 10_000):
        numbers = range(first, min(count, first + 10_000))
        records = [b'{"customer":%d,"number":%d,"note":"' % (n * 7919 % PARTITIONS, n) for n in numbers]
        records = [record + b"x" * (SIZE - 2 - len(record)) + b'"}' for record in records]
        await client.put("firehose/bench", Records.of(["k"] * len(records), records))


def _destination() -> dict[str, Any]:
    query = {"MetadataExtractionQuery": "{customer: .customer}", "JsonParsingEngine": "JQ-1.6"}
    parameters = [{"ParameterName": name, "ParameterValue": value} for name, value in query.items()]
    return {
        "RoleARN": ROLE,
        "BucketARN": "arn:aws:s3:::bench",
        "Prefix": "customer=!{partitionKeyFromQuery:customer}/",
        "ErrorOutputPrefix": "errors/",
        "BufferingHints": {"SizeInMBs": 128, "IntervalInSeconds": INTERVAL_S},
        "DynamicPartitioningConfiguration": {"Enabled": True},
        "ProcessingConfiguration": {
            "Enabled": True,
            "Processors": [
                {"Type": "MetadataExtraction", "Parameters": parameters},
                {"Type": "AppendDelimiterToRecord", "Parameters": []},
            ],
        },
    }


_peak = [0]


async def _watch() -> None:
    ours = psutil.Process()
    while True:
        sizes = []
        for child in ours.children(recursive=True):
            try:
                sizes.append(child.memory_info().rss)
            except psutil.NoSuchProcess:
                continue  # it has ended since
        _peak[0] = max(_peak[0], sum(sizes))
        await asyncio.sleep(SAMPLE_S)


def _cpu_s() -> float:
    """Of this process and of those that it has now."""
    times = [psutil.Process().cpu_times()]
    times += [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(one.user + one.system for one in times)


if __name__ == "__main__":
    tune()
    sys.stdout.write(json.dumps(msgspec.to_builtins(asyncio.run(run(int(sys.argv[1]))))))
