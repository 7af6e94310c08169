"""What every operation is given: the log, the catalog, the clock, the settings, and the streams at work."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from random import Random

from streams.control import decisions
from streams.control.catalog import Catalog
from streams.control.controller import Controller
from streams.control.decisions import find_stream
from streams.control.queue import QUEUES
from streams.control.stream import ORIGIN, Key, Stream
from streams.core.clock import Clock
from streams.core.errors import ShardUnknown
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.waits import first
from streams.groups.coordinator import Coordinator
from streams.log.log import Log
from streams.operations.arrivals import Arrivals
from streams.operations.fanout import Fanout
from streams.operations.faults import Faults
from streams.operations.lag import Lag
from streams.operations.live import Live
from streams.operations.metrics import Metrics
from streams.operations.throttles import Throttles
from streams.operations.tokens import Tokens
from streams.operations.waits import arrival
from streams.queues.registry import Queues


class Context:
    """`random` gives that many random bytes."""

    def __init__(
        self, log: Log, controller: Controller, clock: Clock, settings: Settings, random: Callable[[int], bytes]
    ) -> None:
        self.log = log
        self.controller = controller
        self.clock = clock
        self.settings = settings
        self.random = random
        self.arrivals = Arrivals(log, clock)
        self.throttles = Throttles(clock, on=settings.limits == "aws")
        self.faults = Faults(settings.faults, clock, Random(settings.faults_seed))
        self.guarded = self.throttles.on or self.faults.on
        self.metrics = Metrics()
        self.lag = Lag(clock)
        self.fanout = Fanout(self._news)
        self.queues = Queues(log, clock)
        self._live: dict[str, Live] = {}

    async def opened(self) -> None:
        """The controller has its catalog, and with it the key of our tokens and the streams that consumer groups read."""
        self.tokens = Tokens(self.catalog.key)
        self.groups = await Coordinator.open(self.log, self.clock)

    @property
    def catalog(self) -> Catalog:
        return self.controller.catalog

    def now_ms(self) -> int:
        return self.clock.now_ms()

    def stream(self, scope: Scope, name: str) -> Stream:
        """Raises `ResourceNotFound`."""
        return find_stream(self.catalog, Key(scope.account, scope.region, name), self.clock.now_ms())

    def live(self, stream: Stream) -> Live:
        live = self._live.get(stream.id)
        if live is None:
            live = self._live[stream.id] = Live(self.log, stream, self.metrics)
        elif live.stream is not stream:
            live.refresh(stream)
        return live

    def changed(self, stream: Stream) -> None:
        """The stream may be another one by now: whoever waits on it looks again."""
        live = self._live.get(stream.id)
        now = self.catalog.by_id(stream.id)
        if live is not None and now is not None and now is not live.stream:
            live.refresh(now)

    async def _news(self, log: str, offset: int) -> int | None:
        """Waits for a record at `offset` of a shard, by its name in the log, or for a change of its stream; its tip then."""
        stream = self.catalog.by_id(log.split("/")[1])
        if stream is None:
            return None
        await first(self.live(stream).change.wait(), arrival(self.log, log, offset))
        try:
            return (await self.log.bounds(log))[1]
        except ShardUnknown:
            return None

    @asynccontextmanager
    async def resharding(self, stream: Stream) -> AsyncIterator[Mapping[int, int]]:
        """Appends to the stream are held back; gives the end of each open shard. Left when the catalog has changed, it
        lets them go on to the new shards."""
        live = self.live(self.stream(stream.scope, stream.name))
        async with live.closed_gate() as ends:
            yield ends
            live.refresh(self.catalog.streams[live.stream.key])

    async def delete(self, stream: Stream, delete_ms: int, with_consumers: bool = True) -> None:
        """DELETING for so long, then gone; `sweep` ends it."""
        await self.controller.execute(
            lambda catalog, now_ms: decisions.delete_stream(catalog, now_ms, stream.key, delete_ms, with_consumers)
        )
        await self.drop_orphans()

    async def sweep(self) -> None:
        """Forgets what is over: deleted streams whose time has come, closed shards whose records have aged out."""
        if decisions.sweep(self.catalog, self.now_ms()).events:
            await self.controller.execute(decisions.sweep)
        await self.drop_orphans()

    async def drop_orphans(self) -> None:
        """Drops the shards of the log that no stream or queue owns: of deleted ones, expired shards, creations cut short.

        Under the controller's lock, since a creation makes its shards before the stream that owns them.
        """
        async with self.controller.quiet():
            await self.queues.keep(self.catalog.queues)
            self.groups.keep({stream.id for stream in self.catalog.streams.values()})
            owned = {name for stream in self.catalog.streams.values() for name in stream.logs()}
            owned |= {queue.log for queue in self.catalog.queues.values()}
            orphans = [
                name for name in await self.log.shards() if name.startswith((ORIGIN, QUEUES)) and name not in owned
            ]
            for name in orphans:
                await self.log.drop(name)
        self.arrivals.forget(orphans)
        self.metrics.forget({stream.id for stream in self.catalog.streams.values()})
        self._live = {key: live for key, live in self._live.items() if self.catalog.by_id(key) is not None}
