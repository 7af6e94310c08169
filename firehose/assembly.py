"""`Assembly`: the driver of a lane, put together from its configuration and what all lanes of this process share."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from connectors.files import Store
from connectors.functions import query as queries
from connectors.functions.pool import FunctionPool
from connectors.functions.registry import Functions
from firehose.configuration import Destination
from firehose.context import Context
from firehose.conversion import Conversion
from firehose.delivery import Delivery
from firehose.drift import DriftPolicy, DriftReader
from firehose.driver import Driver
from firehose.events import MSK
from firehose.evolution import Kind
from firehose.lanes import destination_of, read_size, spills
from firehose.manifests import Manifests
from firehose.memory import Memory
from firehose.meters import Meter
from firehose.pages import FolderPages, LogPages, Pages, folder_of, notebook_name
from firehose.pipeline import Pipeline
from firehose.posting import Poster
from firehose.query import TIMEOUT_S, Query
from firehose.resources import check_drift
from firehose.rows import RowReader
from firehose.schemas import row_reader
from firehose.source import Source
from firehose.spill import Spill
from firehose.staging import Staging, staging_shelf
from firehose.stream import Lane
from firehose.transform import Transform
from streams.control.depot import Depot
from streams.control.notebook import Notebooks
from streams.core.errors import InvalidArgument
from streams.sdk.client import Readable

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)


class Assembly:
    """Close it. `stores` opens the store behind a URL, `functions` are those that processors call, `depot` is where other
    processes find what is staged, and `notebooks` where they find manifests. `widen` gives the table that a lane writes columns for the keys that were found."""

    def __init__(
        self,
        context: Context,
        stores: Callable[[str], Store],
        functions: Functions,
        depot: Depot | None,
        notebooks: Notebooks | None,
        randomness: random.Random,
        widen: Callable[[Lane, Mapping[str, Kind]], Awaitable[None]],
    ) -> None:
        self._context = context
        self._book = context.book
        self._clock = context.clock
        self._settings = context.settings
        self._store = cache(stores)
        self._functions = functions
        self._depot = depot
        self._notebooks = notebooks
        self._random = randomness
        self._widen = widen
        scratch = self._settings.data_path / "functions" / "scratch"
        self._queries = FunctionPool(queries.function(TIMEOUT_S), scratch=scratch)
        self._session: aiohttp.ClientSession | None = None
        self.memory = Memory(self._settings.firehose_memory_max)
        self.disk = Memory(self._settings.firehose_spill_max)

    def driver(self, lane: Lane, meter: Meter) -> Driver:
        """One that has not started."""
        created, settings = lane.stream.created, self._settings
        destination = destination_of(lane, settings.firehose_compat)
        transform = None
        if destination.function is not None:
            transform = Transform(
                self._functions.invoke,
                destination.function,
                stream_arn=lane.arn,
                region=created.region,
                source_arn=lane.source.arn,
                topic=created.type == MSK,
                lenient=settings.firehose_compat == "emulator",
            )
        query = None if destination.query is None else Query(destination.query, self._queries.invoke)
        rows = None if destination.conversion is None else self._rows(lane, destination.conversion)
        manifests = Manifests(
            self.pages(lane.number, lane.id),
            lane,
            self._clock,
            None if destination.function is None else destination.function.arn,
        )
        spill = Spill(self._spilled(lane.number) / lane.id)
        spilling = spills(destination, settings.firehose_partitions_max)
        if not spilling:
            spill.begin()  # it may have done so under other settings
        delivery = Delivery(
            lane,
            lambda bucket: self._store(self.url_of(bucket)),
            Staging(
                self._staged(lane.number) / lane.id,
                lane,
                destination,
                self._clock,
                between=settings.firehose_delimiter == "between",
                depot=self._depot,
                spill=spill if spilling else None,
            ),
            self._book,
            self._clock,
            settings.firehose_retry_s,
            manifests,
            meter,
            self._poster(lane, destination, meter),
        )
        return Driver(
            lane,
            destination,
            Source(lambda: self._connect(lane), lane, self._book, self._clock, read_size(destination), manifests),
            Pipeline(
                lane,
                destination,
                self._clock,
                transform=transform,
                query=query,
                rows=rows,
                active_max=settings.firehose_partitions_max,
            ),
            delivery,
            self._book,
            self.memory,
            self._clock,
            settings.firehose_retry_s,
            meter,
            spill if spilling else None,
            self.disk,
        )

    def url_of(self, bucket: str) -> str:
        """The store of the settings, or else a folder of the data directory."""
        given = self._settings.buckets.get(bucket) or str(self._settings.data_path / "buckets" / bucket)
        return given if "://" in given else os.path.abspath(given)

    def pages(self, number: int, lane: str) -> Pages:
        """Where the manifests of a delivery stream's lane are. Called in the event loop."""
        if self._notebooks is not None:
            return LogPages(self._notebooks(notebook_name(number, lane)), asyncio.get_running_loop())
        return FolderPages(folder_of(self._settings.data_path, number) / lane)

    async def set_aside(self, number: int, lane: str, until: str) -> None:
        """The manifests of what a lane did before that version: another one of its name begins now."""
        if self._notebooks is not None:
            await self._notebooks(notebook_name(number, lane)).clear()
            return
        folder = folder_of(self._settings.data_path, number)
        if (folder / lane).exists():
            (folder / lane).rename(folder / f"{lane}-until-{until}")

    async def unstage(self, number: int) -> None:
        """What a delivery stream has staged is no more here."""
        await asyncio.to_thread(shutil.rmtree, self._staged(number), ignore_errors=True)

    async def remove(self, number: int, lanes: Iterable[str]) -> None:
        """Nothing of a delivery stream is left on this disk, nor where processes share it."""
        for folder in (self._staged(number), self._spilled(number), folder_of(self._settings.data_path, number)):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        for lane in lanes:
            if self._depot is not None:
                await self._depot.drop(staging_shelf(number, lane))
            if self._notebooks is not None:
                await self._notebooks(notebook_name(number, lane)).drop()

    async def close(self) -> None:
        await self._queries.close()
        if self._session is not None:
            await self._session.close()

    def _connect(self, lane: Lane) -> Readable:
        """Raises `InvalidArgument` for a topic of a cluster that the settings do not know."""
        if lane.stream.created.type == MSK:
            return self._context.topic(lane.source.arn or "", lane.source.stream)
        return self._context.client_for(lane.scope)

    def _rows(self, lane: Lane, conversion: Conversion) -> DriftReader:
        tags, columns = lane.stream.created.tags, lane.stream.created.columns
        try:
            check_drift(tags, conversion, columns)
            drift = DriftPolicy.of(tags)
        except InvalidArgument as error:
            # Only tags from before they meant anything: nothing may keep a server from its start.
            log.warning("%s: unknown keys are left out: %s", lane.title, error.message)
            drift = DriftPolicy()

        async def evolve(found: Mapping[str, Kind]) -> RowReader:
            await self._widen(lane, found)
            return row_reader(lane.stream.created.columns, conversion)

        reader = row_reader(columns, conversion)
        return DriftReader(reader, drift, evolve if drift.policy == "evolve" else None)

    def _poster(self, lane: Lane, destination: Destination, meter: Meter) -> Poster | None:
        if destination.endpoint is None:
            return None
        endpoint = destination.endpoint.endpoint(lane.arn, self._settings.firehose_compat)

        from connectors.http_client import new_session, post  # a client, which few delivery streams need

        async def send(request_id: str, body: bytes) -> None:
            if self._session is None:
                self._session = new_session()
            await post(self._session, endpoint, request_id, body)

        return Poster(send, destination.endpoint.budget_s, self._clock, self._random, lane.title, meter)

    def _staged(self, number: int) -> Path:
        return self._settings.data_path / "firehose" / "staging" / str(number)

    def _spilled(self, number: int) -> Path:
        return self._settings.data_path / "firehose" / "spill" / str(number)
