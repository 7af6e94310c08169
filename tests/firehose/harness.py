"""A whole delivery: log, streams, delivery streams, time that a test moves, and a folder. It can be crashed and reopened."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from connectors.files import Store, open_store
from connectors.functions.registry import Functions
from firehose import Firehose
from firehose.pages import FolderPages, LogPages, Pages, folder_of, notebook_name
from firehose.stream import DeliveryStream, Lane
from firehose.verifying import Report, verify_lane
from streams.control.depot import open_depot
from streams.control.divided import DividedJournal
from streams.control.notebook import Notebook, open_notebooks
from streams.core.clock import ManualClock
from streams.core.records import Records
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import PARTS
from streams.log.log import Log
from streams.log.memory import MemoryLog
from streams.sdk.local import LocalClient
from streams.service import Service
from streams.wire.protocol import JSON, protocol

SCOPE = Scope()
ROLE = "arn:aws:iam::000000000000:role/firehose"


class House:
    """Log and folder outlive `close`; everything above is built anew by `open`. `parts` are those of the work that it takes
    where processes share the log."""

    scope = SCOPE

    def __init__(
        self,
        folder: Path,
        *,
        log: Log | None = None,
        clock: ManualClock | None = None,
        stores: Callable[[str], Store] = open_store,
        journal_log: Callable[[Log], Log] = lambda log: log,
        parts: Collection[int] = range(PARTS),
        **settings: Any,
    ) -> None:
        self.folder = folder
        self.clock = clock or ManualClock()
        self.log = log or MemoryLog(self.clock)
        self.settings = Settings(data=str(folder), **settings)
        self.warm: Functions | None = None
        """Functions that outlive `close` too, where a test sets them."""
        self._stores = stores
        self._journal_log = journal_log
        self._parts = parts

    async def open(self) -> House:
        self._loop = asyncio.get_running_loop()
        self.service = Service(self.log, clock=self.clock, settings=self.settings)
        await self.service.open()
        self.client = LocalClient(self.service, SCOPE)
        if self.log.shared:  # the next process is on another machine, as far as what is staged goes
            await asyncio.to_thread(shutil.rmtree, self.folder / "firehose" / "staging", ignore_errors=True)
        self.firehose = Firehose(
            DividedJournal(self._journal_log(self.log), "control/firehose"),
            lambda scope: LocalClient(self.service, scope),
            settings=self.settings,
            clock=self.clock,
            stores=self._stores,
            functions=self.warm,
            depot=open_depot(self.log, ""),
            notebooks=open_notebooks(self.log),
        )
        await self.firehose.open()
        if self.log.shared:
            await self.firehose.take(self._parts)
        return self

    async def close(self) -> None:
        await self.firehose.close(drain_s=0.2)
        await self.service.close()

    async def __aenter__(self) -> House:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(self, operation: str, **request: Any) -> Any:
        return await self.firehose.call(operation, decoded("firehose", operation, request), SCOPE)

    async def glue(self, operation: str, **request: Any) -> Any:
        return await self.firehose.glue.call(operation, decoded("glue", operation, request), SCOPE)

    async def create(self, name: str = "flights", *, kinesis: str | None = None, **destination: Any) -> None:
        source: dict[str, Any] = {}
        if kinesis is not None:
            source = {
                "DeliveryStreamType": "KinesisStreamAsSource",
                "KinesisStreamSourceConfiguration": {"KinesisStreamARN": SCOPE.stream_arn(kinesis), "RoleARN": ROLE},
            }
        await self.call(
            "CreateDeliveryStream",
            DeliveryStreamName=name,
            **source,
            ExtendedS3DestinationConfiguration=s3(**destination),
        )

    async def put(self, stream: str, data: list[bytes], keys: list[str] | None = None) -> None:
        await self.client.put(stream, Records.of(keys or [f"k{i}" for i in range(len(data))], data))

    async def pass_time(self, seconds: float) -> None:
        """Lets everything that can run run, then moves the clock."""
        await self.settle()
        self.clock.advance(seconds)
        await self.settle()

    async def settle(self) -> None:
        """Until nothing has happened for a while: threads and processes are real, so this waits for real."""
        await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[], bool], *, step_s: float = 0.0) -> None:
        """Runs, moving the clock by `step_s` each turn, until `condition` holds."""
        async with asyncio.timeout(60):
            while not condition():
                if step_s:
                    self.clock.advance(step_s)
                await asyncio.sleep(0.005)

    def streams(self) -> list[DeliveryStream]:
        return list(self.firehose._book.catalog)

    def settled(self) -> int:
        """Records of the one delivery stream that are settled, without a gap before them."""
        (stream,) = self.streams()
        return sum(stream.main.positions().values())

    def delivered(self) -> bool:
        """Something is there, and nothing is half done."""
        return bool(self.objects()) and not any(
            lane.plans for stream in self.streams() for lane in stream.lanes.values()
        )

    def verified(self) -> list[Report]:
        """Of each lane, by its manifests. Where processes share the log, in a thread."""
        lanes = [lane for stream in self.streams() for lane in stream.lanes.values()]
        return [verify_lane(lane, self.pages(lane), self.store) for lane in lanes]

    def pages(self, lane: Lane) -> Pages:
        if self.log.shared:
            return LogPages(Notebook(self.log, notebook_name(lane.number, lane.id)), self._loop)
        return FolderPages(folder_of(self.folder, lane.number) / lane.id)

    def store(self, bucket: str) -> Store:
        """As the settings say, as a user looks into it: whatever goes wrong on the delivery's own way."""
        return open_store(self.settings.buckets.get(bucket) or str(self.folder / "buckets" / bucket))

    def findings(self) -> list[str]:
        return [f"{one.kind}: {one.where}: {one.what}" for report in self.verified() for one in report.findings]

    def delivered_main(self) -> bool:
        """`delivered`, whatever the lane of originals does."""
        return bool(self.objects()) and not any(stream.main.plans for stream in self.streams())

    def objects(self, bucket: str = "lake") -> dict[str, bytes]:
        store = self.store(bucket)
        return {key: store.open(key).read() for key in store.keys("")}


def decoded(service: str, operation: str, request: Mapping[str, Any]) -> Any:
    return protocol(service).decode(operation, JSON, msgspec.json.encode(request))


def s3(bucket: str = "lake", *, size: int | None = 1, interval: int | None = 60, **members: Any) -> dict[str, Any]:
    hints = {} if size is None else {"BufferingHints": {"SizeInMBs": size, "IntervalInSeconds": interval}}
    return {"RoleARN": ROLE, "BucketARN": f"arn:aws:s3:::{bucket}", **hints, **members}


def processing(*processors: dict[str, Any]) -> dict[str, Any]:
    return {"ProcessingConfiguration": {"Enabled": True, "Processors": list(processors)}}


def function(name: str, **parameters: Any) -> dict[str, Any]:
    return step("Lambda", LambdaArn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}", **parameters)


def step(kind: str, **parameters: Any) -> dict[str, Any]:
    """A processor."""
    return {
        "Type": kind,
        "Parameters": [{"ParameterName": key, "ParameterValue": str(value)} for key, value in parameters.items()],
    }


NEWLINES = {"Type": "AppendDelimiterToRecord", "Parameters": []}
