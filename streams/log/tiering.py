"""Tiering: packed segments that are old enough move to an object store; what remains here of each is a stub.

    BASE.zlog  → object TIER-ID/SHARD/BASE-TOKEN.zlog → BASE.tier → BASE.zlog is removed

Whenever the machine stops, the file or the stub is there: where both are, the next opening removes the file. An object that
no stub names was left by a stop before its stub, or after the segment was trimmed: it is looked for at each start, and
deleted. Readers notice nothing but the time that it takes.

One task does all of it, an object at a time: appends and reads never wait for it. What the store refuses is tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from streams.core.clock import Clock
from streams.core.errors import LogUnreachable
from streams.log.blocks import Blocks
from streams.log.disk import Disk
from streams.log.objects import Objects
from streams.log.segments import PACKED, Segment, read_sidecar
from streams.log.shard import Shard
from streams.log.stubs import Remote, checksums, stub_path

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""How often old segments are looked for, and what the store refused is tried again."""

READERS = 8
"""Reads of objects side by side, in threads of their own: a store that hangs must not hold up reads of this disk."""

Marks = dict[str, tuple[int, int]]
Publish = Callable[[Shard, Segment, Segment, Marks], Awaitable[bool]]
Seal = Callable[[Shard], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TierOptions:
    """Where segments go whose last record arrived `after_ms` ago, those of shards whose names begin with `prefix`; of what is
    read there, `cache_size_max` bytes are kept here."""

    objects: Objects
    after_ms: int
    cache_size_max: int
    prefix: str = ""


class Tier:
    """From `start` to `stop`. `publish` is awaited with a shard, a segment, the one that is to take its place, and the
    producers' marks at its end; it answers whether it has, and raises `OSError`. `seal` ends the growing segment of a
    shard, so that it may be packed."""

    def __init__(
        self, options: TierOptions, tier_id: str, disk: Disk, clock: Clock, blocks: Blocks, publish: Publish, seal: Seal
    ) -> None:
        self._objects = options.objects
        self._after_ms = options.after_ms
        self._prefix = options.prefix
        self._id = tier_id
        self._disk = disk
        self._clock = clock
        self._blocks = blocks
        self._publish = publish
        self._seal = seal
        self._shards: Callable[[], Iterable[Shard]] = tuple
        self._doomed: set[str] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._stopped = False
        self._swept = False
        self._pool = ThreadPoolExecutor(READERS, "log-tier")
        self._task: asyncio.Task[None] | None = None

    def start(self, shards: Callable[[], Iterable[Shard]]) -> None:
        """`shards` answers those that there are, at any time."""
        self._shards = shards
        self._task = asyncio.create_task(self._run(), name="log-tier")

    def look(self) -> None:
        """Something was packed: it may be old enough already."""
        self._idle.clear()
        self._wake.set()

    def gone(self, segments: Iterable[Segment]) -> None:
        """Nobody reads them any more, durably."""
        for segment in segments:
            if segment.remote is not None:
                self._blocks.forget(segment.remote.name)
                self._doomed.add(segment.remote.name)
        if self._doomed:
            self.look()

    async def idle(self) -> None:
        """All that is due now is moved or deleted, or the store refuses it."""
        if not self._stopped:
            self.look()
        await self._idle.wait()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """In a thread that may wait for the store."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    async def stop(self) -> None:
        """After the object that is under way."""
        self._stopped = True
        self._wake.set()
        if self._task is not None:
            await self._task
        self._pool.shutdown(wait=False)

    async def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                await self._look()
            except LogUnreachable as error:
                log.warning("cold segments stay where they are for now: %s", error.message)
            except OSError as error:
                log.warning("cold segments stay where they are for now: %s", error)
            except Exception:
                log.exception("cold segments stay where they are for now")
            if not self._wake.is_set():
                self._idle.set()
                await self._pause()
        self._idle.set()

    async def _pause(self) -> None:
        """Until there is something to do, or it is time to look."""
        sleeping = asyncio.ensure_future(self._clock.sleep(LOOK_S))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeping, waking):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _look(self) -> None:
        if not self._swept:
            await self._sweep()
            self._swept = True
        for name in sorted(self._doomed):
            if self._stopped:
                return
            await self.run(self._objects.delete, name)
            self._doomed.discard(name)
        before_ms = self._clock.now_ms() - self._after_ms
        for shard in [shard for shard in self._shards() if shard.name.startswith(self._prefix)]:
            last = shard.segments[-1] if shard.segments else None
            if last is not None and not last.packed and last.index.arrivals and last.index.arrivals[0] <= before_ms:
                await self._seal(shard)
            for segment in list(shard.segments):
                if self._stopped:
                    return
                if segment.path.suffix == PACKED and segment.arrival_ms <= before_ms:
                    await self._move(shard, segment)

    async def _sweep(self) -> None:
        """Deletes objects of this log that no stub names."""
        known = {
            segment.remote.name for shard in self._shards() for segment in shard.segments if segment.remote is not None
        }
        for name in await self.run(self._objects.names, self._id):
            if name not in known and not self._stopped:
                log.info("%s/%s: no stub names it, it is deleted", self._objects.url, name)
                await self.run(self._objects.delete, name)

    async def _move(self, shard: Shard, segment: Segment) -> None:
        vouched = await asyncio.to_thread(read_sidecar, self._disk, segment.path)
        if vouched is None or not shard.holds(segment):
            # Without its sidecar nobody knows the producers' marks but who scans it: it stays, and does no harm.
            return
        name = f"{self._id}/{shard.name}/{segment.path.stem}-{secrets.token_hex(4)}{PACKED}"
        moved = False
        try:
            sums = await self.run(self._put, segment, name)
            remote = Remote(self._objects, self._blocks, name, segment.size, sums)
            stub = Segment(
                *(stub_path(segment.path), segment.base, segment.next, segment.size, segment.arrival_ms),
                index=segment.index,
                seal=segment.seal,
                remote=remote,
            )
            moved = await self._publish(shard, segment, stub, vouched[1])
        except FileNotFoundError:
            pass  # trimmed or dropped meanwhile
        finally:
            if not moved:
                self._doomed.add(name)

    def _put(self, segment: Segment, name: str) -> list[int]:
        sums = checksums(self._disk, segment.path, segment.size)
        self._objects.put(segment.path, name)
        return sums
