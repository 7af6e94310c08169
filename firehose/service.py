"""`Firehose`: delivery streams, whole. Operations by name through `call`; each stream's driver behind it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from connectors.delivered.contract import Contents, Index
from connectors.files import Store, open_store
from connectors.functions.registry import Functions
from firehose import delivery_streams, descriptions, encryption, records, tags, updates
from firehose.assembly import Assembly
from firehose.book import Book
from firehose.configuration import keeps_originals
from firehose.context import Context
from firehose.delivered import contents_of, index_of
from firehose.driver import Driver
from firehose.events import BACKUP, DIRECT_PUT, Event, SchemaTaken
from firehose.evolution import Kind
from firehose.evolving import Evolving
from firehose.glue import Glue
from firehose.inflow import Inflow
from firehose.meters import Meter
from firehose.pages import Pages
from firehose.quotas import Quotas
from firehose.stream import DeliveryStream, Lane
from firehose.threads import beside
from streams.control.depot import Depot
from streams.control.journal import Journal
from streams.control.notebook import Notebooks
from streams.core.clock import Clock, SystemClock
from streams.core.errors import ResourceNotFound, UnsupportedOperation
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.work import ALONE, Work, delivery_item, part_of
from streams.sdk.client import Client

log = logging.getLogger(__name__)

Operation = Callable[[Context, Any, Scope], Awaitable[Any]]

OPERATIONS: dict[str, Operation] = {
    "CreateDeliveryStream": delivery_streams.create_delivery_stream,
    "DeleteDeliveryStream": delivery_streams.delete_delivery_stream,
    "DescribeDeliveryStream": descriptions.describe_delivery_stream,
    "ListDeliveryStreams": descriptions.list_delivery_streams,
    "UpdateDestination": updates.update_destination,
    "PutRecord": records.put_record,
    "PutRecordBatch": records.put_record_batch,
    "StartDeliveryStreamEncryption": encryption.start_delivery_stream_encryption,
    "StopDeliveryStreamEncryption": encryption.stop_delivery_stream_encryption,
    "TagDeliveryStream": tags.tag_delivery_stream,
    "UntagDeliveryStream": tags.untag_delivery_stream,
    "ListTagsForDeliveryStream": tags.list_tags_for_delivery_stream,
}

_ANYWHERE = frozenset(
    {"DescribeDeliveryStream", "ListDeliveryStreams", "PutRecord", "PutRecordBatch", "ListTagsForDeliveryStream"}
)
"""Operations that any process answers; the others are for the owner of the delivery stream."""

DRAIN_S = 5.0
"""How long a delivery that is under way may take when the process stops; what is not done then is resumed at the start."""


class Firehose:
    """Delivery streams over the given journal. `client_for` answers the streams of a scope.

    Where processes share the log, this one delivers the streams of the parts that it takes; `depot` is then where others
    find what is staged, `notebooks` where all find manifests.

    `functions` are those that processors call; who gives them closes them.
    Without any they are the settings' own.
    `glue` is the data catalog whose tables are the schemas of format conversion; it speaks Glue's operations.
    """

    implemented: frozenset[str] = frozenset(OPERATIONS)

    def __init__(
        self,
        journal: Journal,
        client_for: Callable[[Scope], Client],
        *,
        settings: Settings | None = None,
        clock: Clock | None = None,
        stores: Callable[[str], Store] = open_store,
        randomness: random.Random | None = None,
        functions: Functions | None = None,
        work: Work = ALONE,
        depot: Depot | None = None,
        notebooks: Notebooks | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._book = Book(journal, self._clock, work)
        self._book.renewed = self._renewed
        self._book.followed = self._followed
        self._parts: frozenset[int] = frozenset()
        self._renewing: set[asyncio.Task[None]] = set()
        self._own = functions is None
        self._functions = functions or Functions.of(self._settings)
        self._drivers: dict[tuple[int, str], Driver] = {}
        self._meters: dict[tuple[int, str], Meter] = {}
        self._changing = asyncio.Lock()
        self._quotas = Quotas(self._clock, on=self._settings.limits == "aws")
        self._adopting: set[asyncio.Task[None]] = set()
        self._context = Context(
            self._book,
            self._functions,
            client_for,
            self._settings,
            self._clock,
            self._quotas,
            self._start,
            self._stop,
            Inflow(),
            self._restart,
            self._trouble,
        )
        self._assembly = Assembly(
            *(self._context, stores, self._functions, depot, notebooks, randomness or random.Random(), self._widen)
        )
        self.glue = Glue(self._book, self._adopted)
        self._evolving = Evolving(self._book, lambda part: not self._book.shared or part in self._parts)

    async def open(self) -> None:
        """Replays what exists and goes on delivering where the last process stopped; where processes share the log, only
        once parts are taken."""
        await self._book.open()
        if not self._book.shared:
            for stream in self._book.catalog:
                await self._go_on(stream)

    async def take(self, parts: Collection[int]) -> None:
        """Goes on with the delivery streams of these parts where their process before stopped. Raises `LogError`."""
        await self._book.claim(parts)
        self._parts |= frozenset(parts)
        for stream in self._book.catalog:
            if _part(stream) in parts:
                await self._go_on(stream)

    async def release(self, parts: Collection[int], drain_s: float = DRAIN_S) -> None:
        """Delivers those of these parts no more; what is under way gets `drain_s` to end."""
        self._parts -= frozenset(parts)
        async with self._changing:
            mine = {stream.number for stream in self._book.catalog if _part(stream) in parts}
            keys = [key for key in self._drivers if key[0] in mine]
            running = [self._drivers.pop(key) for key in keys]
            await asyncio.gather(*(driver.stop(drain_s) for driver in running), return_exceptions=True)
        await self._book.quiet()
        self._book.release(parts)
        for key in keys:
            self._meters.pop(key, None)
            # What is staged is in the depot; here it would lie about until this process has the stream again.
            await self._assembly.unstage(key[0])

    def _renewed(self) -> None:
        """Drivers hold on to what the catalog no longer is."""
        task = asyncio.create_task(self._begin_again(), name="delivery streams begin again")
        self._renewing.add(task)
        task.add_done_callback(self._renewing.discard)

    def _followed(self, events: Sequence[Event]) -> None:
        """A version of a table that any process made is taken by the delivery streams here."""
        self._evolving.followed(events)
        numbers = [event.number for event in events if isinstance(event, SchemaTaken)]
        if numbers:
            task = asyncio.create_task(self._adopted(numbers), name="delivery streams have another schema")
            self._renewing.add(task)
            task.add_done_callback(self._renewing.discard)

    async def _begin_again(self) -> None:
        async with self._changing:
            drivers, self._drivers = self._drivers, {}
            await asyncio.gather(*(driver.stop() for driver in drivers.values()), return_exceptions=True)
            for stream in self._book.catalog:
                if _part(stream) in self._parts and stream.deleting_ms is None:
                    self._start(stream)

    async def _go_on(self, stream: DeliveryStream) -> None:
        if stream.deleting_ms is not None:
            await delivery_streams.finish_deleting(self._context, stream)
        else:
            self._start(stream)

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Stops reading, waits up to `drain_s` for deliveries that are under way, and ends the functions' processes.

        What is buffered stays in the log. Closing twice does nothing."""
        for task in self._adopting:
            task.cancel()
        await asyncio.gather(*self._adopting, return_exceptions=True)
        drivers, self._drivers = self._drivers, {}
        await asyncio.gather(*(driver.stop(drain_s) for driver in drivers.values()))
        if self._own:
            await self._functions.close()
        await self._assembly.close()
        await asyncio.gather(*self._renewing, return_exceptions=True)
        await self._evolving.close()
        await self._book.close()

    async def call(self, operation: str, request: Any, scope: Scope) -> Any:
        """The reply of a Firehose operation. Raises `RequestError`."""
        run = OPERATIONS.get(operation)
        if run is None:
            raise UnsupportedOperation(f"Headrace does not offer {operation} yet.")
        self._quotas.call(operation, scope)
        if operation.startswith(("Create", "Describe", "List", "Update")):
            await self._book.current()  # a table, for one, that another process has just made
        try:
            return await run(self._context, request, scope)
        except ResourceNotFound:
            if not self._book.shared:
                raise
            # Another process may have made it a moment ago.
            await self._book.current()
            return await run(self._context, request, scope)

    async def item(self, operation: str, request: Any, scope: Scope) -> str | None:
        """The item of the work whose owner answers a request; None where any process does."""
        if operation in _ANYWHERE:
            return None
        return delivery_item(scope, request.delivery_stream_name)

    def positions(self, scope: Scope, name: str) -> dict[str, int]:
        """How far the delivery stream has come: the first offset of each shard of its source that is not delivered.
        Raises `ResourceNotFound`."""
        return self._context.stream(scope, name).main.positions()

    async def delivered(self, scope: Scope, name: str) -> Index:
        """What a delivery stream has delivered, for readers of its source. Raises `ResourceNotFound`, `InvalidArgument`."""
        stream = self._context.stream(scope, name)
        return await beside(index_of, stream, self._pages(stream))

    async def contents(self, scope: Scope, name: str, place: str) -> Contents:
        """One object of it. Raises `ResourceNotFound`."""
        stream = self._context.stream(scope, name)
        return await beside(contents_of, stream, self._pages(stream), place, self._assembly.url_of)

    def _pages(self, stream: DeliveryStream) -> dict[str, Pages]:
        return {lane: self._assembly.pages(stream.number, lane) for lane in stream.lanes}

    def meters(self) -> Iterator[tuple[DeliveryStream, str, Meter]]:
        """Of each lane that runs: its delivery stream, its name, and what it has done since the start."""
        for stream in self._book.catalog:
            for lane in stream.lanes:
                if (stream.number, lane) in self._drivers:
                    yield stream, lane, self._meters[stream.number, lane]

    def resource(self, request: Any, scope: Scope) -> str | None:
        """The ARN of the delivery stream that a request is about; None where it is about none."""
        name = getattr(request, "delivery_stream_name", None)
        return None if name is None else scope.delivery_stream_arn(name)

    def source(self, scope: Scope, name: str) -> tuple[str, bool] | None:
        """The stream that a delivery stream's records are in, and whether they are put into it directly; None where there is
        no such delivery stream."""
        stream = self._book.catalog.get(scope, name)
        return None if stream is None else (stream.source.stream, stream.created.type == DIRECT_PUT)

    def _start(self, stream: DeliveryStream) -> None:
        for lane in stream.lanes.values():
            if lane.id == BACKUP and not keeps_originals(stream.created.destination):
                continue
            meter = self._meters.setdefault((stream.number, lane.id), Meter())
            driver = self._assembly.driver(lane, meter)
            self._drivers[stream.number, lane.id] = driver
            driver.start()

    def _trouble(self, stream: DeliveryStream) -> str | None:
        running = (self._drivers.get((stream.number, lane)) for lane in stream.lanes)
        return next((driver.trouble for driver in running if driver is not None and driver.trouble), None)

    async def _widen(self, lane: Lane, found: Mapping[str, Kind]) -> None:
        """Who makes the columns goes on with them; other followers of the table begin again. Where processes share the log,
        all of them do: see `_followed`."""
        others = set(await self._evolving.add(lane.stream, found)) - {lane.number}
        if others and not self._book.shared:
            task = asyncio.create_task(self._adopted(sorted(others)))
            self._adopting.add(task)
            task.add_done_callback(self._adopting.discard)

    async def _stop(self, stream: DeliveryStream) -> None:
        async with self._changing:
            await self._halt(stream)
        for lane in stream.lanes:
            self._meters.pop((stream.number, lane), None)
        self._quotas.forget(stream.number)
        await self._assembly.remove(stream.number, stream.lanes)

    async def _restart(self, stream: DeliveryStream, change: Callable[[], Awaitable[Any]]) -> Any:
        """What is under way is cut short: what was planned is finished as it was planned, all else is read again."""
        async with self._changing:
            await self._halt(stream)
            copying = stream.lanes.get(BACKUP)
            try:
                return await change()
            finally:
                if copying is not None and stream.lanes[BACKUP] is not copying:
                    # The copy ended when the type of the destination changed: another one begins now.
                    await self._assembly.set_aside(stream.number, BACKUP, stream.version)
                if stream.deleting_ms is None and self._mine(stream):
                    self._start(stream)

    def _mine(self, stream: DeliveryStream) -> bool:
        return not self._book.shared or _part(stream) in self._parts

    async def _adopted(self, numbers: Sequence[int]) -> None:
        """These delivery streams have another schema: what they hold is read again, under it."""
        for stream in self._book.catalog:
            if stream.number in numbers and self._mine(stream):
                await self._restart(stream, self._book.quiet)

    async def _halt(self, stream: DeliveryStream) -> None:
        running = [self._drivers.pop(key) for key in list(self._drivers) if key[0] == stream.number]
        await asyncio.gather(*(driver.stop() for driver in running))


def _part(stream: DeliveryStream) -> int:
    return part_of(delivery_item(stream.scope, stream.name))
