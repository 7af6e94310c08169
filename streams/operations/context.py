"""What every operation is given: the log, the catalog, the clock, the settings, and the streams at work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from random import Random
from typing import TypeVar, cast

from streams.control import decisions
from streams.control.catalog import Catalog
from streams.control.controller import Controller
from streams.control.decisions import Decision, find_stream
from streams.control.queue import QUEUES
from streams.control.stream import ORIGIN, Key, Stream
from streams.core.clock import Clock
from streams.core.errors import ShardUnknown
from streams.core.scope import Scope
from streams.core.settings import Settings
from streams.core.waits import first
from streams.core.work import ALONE, Work
from streams.groups.coordinator import Coordinator
from streams.groups.registry import Coordinators
from streams.log.log import Log, SharedLog
from streams.operations.fanout import Fanout
from streams.operations.faults import Faults
from streams.operations.fence import FencedLog
from streams.operations.holding import Holding
from streams.operations.lag import Lag
from streams.operations.live import Live
from streams.operations.metrics import Metrics
from streams.operations.throttles import Throttles
from streams.operations.tokens import Tokens
from streams.operations.waits import arrival
from streams.queues.registry import Queues

STRAY_MS = 600_000
"""How long a shard without an owner may be another process's that is about to create a stream: far longer than any request
lasts."""

T = TypeVar("T")


class Context:
    """`random` gives that many random bytes."""

    def __init__(
        self,
        log: Log,
        controller: Controller,
        clock: Clock,
        settings: Settings,
        random: Callable[[int], bytes],
        work: Work = ALONE,
    ) -> None:
        self.controller = controller
        self.holding: Holding | None = None
        following = controller.following
        if following is not None:
            by = random(8).hex()
            self.holding = Holding(controller, following, clock, by)
            log = FencedLog(cast(SharedLog, log), controller, following, by)
            following.changed = self._others_changed
        self.log = log
        self.clock = clock
        self.settings = settings
        self.random = random
        self.throttles = Throttles(clock, on=settings.limits == "aws")
        self.faults = Faults(settings.faults, clock, Random(settings.faults_seed))
        self.guarded = self.throttles.on or self.faults.on
        self.metrics = Metrics()
        self.lag = Lag(clock)
        self.fanout = Fanout(self._news)
        self.work = work
        self.queues = Queues(log, clock, work)
        self.coordinators = Coordinators(log, clock, work)
        self._live: dict[str, Live] = {}
        self._strays: dict[str, int] = {}

    async def opened(self) -> None:
        """The controller has its catalog, and with it the key of our tokens and the streams that consumer groups read."""
        self.tokens = Tokens(self.catalog.key)
        await self.coordinators.open()
        if self.holding is not None:
            self.holding.changed()

    async def groups(self, stream_id: str) -> Coordinator:
        """Of the stream's consumer groups. Raises `ServiceUnavailable` where they are another process's."""
        return await self.coordinators.of(stream_id)

    async def release(self, parts: Collection[int]) -> None:
        """Queues and consumer groups of these parts of the work are others' when it returns."""
        await asyncio.gather(self.queues.release(parts), self.coordinators.release(parts))

    def stop(self) -> None:
        """Whoever waits is answered."""
        self.fanout.stop()
        self.queues.stop()
        self.coordinators.stop()

    async def close(self) -> None:
        await self.queues.close()
        await self.coordinators.close()
        if self.holding is not None:
            await self.holding.stop()

    async def news(self) -> bool:
        """Whether other processes may have changed something that was not known here; it is then."""
        await self.controller.current()
        return self.log.shared

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
            live.hold(self.holding is not None and self.holding.by_others(stream.id))
        elif live.stream is not stream:
            live.refresh(stream)
        return live

    def changed(self, stream: Stream) -> None:
        """The stream may be another one by now: whoever waits on it looks again."""
        live = self._live.get(stream.id)
        now = self.catalog.by_id(stream.id)
        if live is not None and now is not None and now is not live.stream:
            live.refresh(now)

    def _others_changed(self) -> None:
        """Another process has changed the catalog, or this one."""
        assert self.holding is not None, "called where processes share a log"
        for stream_id, live in self._live.items():
            self.changed(live.stream)
            live.hold(self.holding.by_others(stream_id))
        self.holding.changed()

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

    async def reshard(self, stream: Stream, decide: Callable[[Catalog, int, Mapping[int, int]], Decision[T]]) -> T:
        """As the controller's `execute`, with the end of each open shard of the stream; what is appended to it waits."""

        def checked(catalog: Catalog, now_ms: int, ends: Mapping[int, int]) -> Decision[T]:
            if self.holding is not None:
                self.holding.check(stream.id)
            return decide(catalog, now_ms, ends)

        return await self.controller.execute_within(self._resharding(stream), checked)

    @asynccontextmanager
    async def _resharding(self, stream: Stream) -> AsyncIterator[Mapping[int, int]]:
        """Appends to the stream are held back; gives the end of each open shard. Left when the catalog has changed, it
        lets them go on to the new shards."""
        async with nullcontext() if self.holding is None else self.holding.hold(stream.id):
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

        Under the controller's lock, since a creation makes its shards before the stream that owns them; those of another
        process are given `STRAY_MS`.
        """
        async with self.controller.quiet():
            await self.queues.keep(self.catalog.queues)
            self.coordinators.keep({stream.id for stream in self.catalog.streams.values()})
            owned = {name for stream in self.catalog.streams.values() for name in stream.logs()}
            owned |= {queue.log for queue in self.catalog.queues.values()}
            strays = [
                name for name in await self.log.shards() if name.startswith((ORIGIN, QUEUES)) and name not in owned
            ]
            orphans = self._orphans(strays)
            for name in orphans:
                await self.log.drop(name)
        self.metrics.forget({stream.id for stream in self.catalog.streams.values()})
        self._live = {key: live for key, live in self._live.items() if self.catalog.by_id(key) is not None}

    def _orphans(self, strays: Sequence[str]) -> list[str]:
        """Those that nobody is about to own."""
        if not self.log.shared:
            self.catalog.gone.clear()
            return list(strays)
        now_ms = self.now_ms()
        gone, self.catalog.gone = self.catalog.gone, set()
        self._strays = {name: self._strays.get(name, now_ms) for name in strays}
        return [
            name
            for name, since_ms in self._strays.items()
            if name in gone or name.rpartition("/")[0] in gone or now_ms - since_ms > STRAY_MS
        ]
