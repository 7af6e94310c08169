"""The embedded engine: every shard a folder of segments, one writer thread for all of them.

The event loop owns what readers see (`Shard`); the writer thread owns the files' ends (`Tail`). A commit passes from
the one to the other in one call, after the sync.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from streams.core.clock import Clock, SystemClock
from streams.core.errors import HeadraceError, LogClosed, LogCorrupt, LogError, OffsetOutOfRange, ShardUnknown
from streams.core.records import Batch, ProducerMark, Records
from streams.log import loading, packing
from streams.log.blocks import Blocks
from streams.log.columns import lay_out
from streams.log.commits import CommitLog
from streams.log.copying import Part
from streams.log.directory import Directory
from streams.log.disk import Disk
from streams.log.gathering import gathered
from streams.log.log import Appended, Appends, side_by_side
from streams.log.names import check_name
from streams.log.packer import Packer
from streams.log.reads import Reads
from streams.log.requests import Answers, Append
from streams.log.sealing import Keyring
from streams.log.segments import Segment
from streams.log.shard import Shard
from streams.log.stubs import Remote, read_stub, write_stub
from streams.log.tiering import Tier, TierOptions
from streams.log.writer import Outcome, Sync, Writer, settle_appends

log = logging.getLogger(__name__)

APPEND_SIZE_MAX = 512 << 20
"""Bytes of one append: it is written at once, and all of it waits in memory."""

_EMPTY = Records.empty().with_arrival(0)


class EmbeddedLog:
    """See `streams.log.log.Log`. Open it with `EmbeddedLog.open`."""

    shared = False

    def __init__(
        self,
        directory: Directory,
        disk: Disk,
        clock: Clock,
        sync: Sync,
        interval_ms: int,
        pending_max: int,
        *,
        compress: bool,
        keyring: Keyring | None,
        tier: TierOptions | None,
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._shards: dict[str, Shard] = {}
        self._segment_size_max = 0
        self._pending = 0
        self._pending_max = pending_max
        self._room: deque[asyncio.Future[None]] = deque()
        self._changing = asyncio.Lock()
        self._wanted: set[str] = set()
        self._closed = False
        self._commits = CommitLog(disk, directory.path)
        self._writer = Writer(clock, sync, interval_ms, self._commits, self._committed)
        self._packer = Packer(disk, self._replace) if compress else None
        self._keyring = keyring
        self._tier: Tier | None = None
        self._read_stub: loading.ReadStub | None = None
        if tier is not None:
            blocks = Blocks(directory.tier_cache, tier.cache_size_max)
            tier_id = directory.tier_of(tier.objects.url)
            self._tier = Tier(tier, tier_id, disk, clock, blocks, self._replace_by_stub, self._seal)
            self._read_stub = lambda path: read_stub(disk, path, tier.objects, blocks)
        self._reads = Reads(disk, self._tier)

    @classmethod
    async def open(
        cls,
        path: Path | str,
        *,
        clock: Clock | None = None,
        sync: Sync = "always",
        sync_interval_ms: int = 50,
        segment_size_max: int = 128 << 20,
        pending_size_max: int = 256 << 20,
        compress: bool = False,
        keyring: Keyring | None = None,
        tier: TierOptions | None = None,
        disk: Disk | None = None,
    ) -> Self:
        """The log in the directory `path`, which is made if there is none; a torn tail of an earlier crash is cut. If
        `compress`, segments are packed in the background once they grow no more. With a `keyring` frames are sealed. With
        a `tier`, which needs `compress`, packed segments move there once they are old.

        Raises `LogError` where another process has it open, its format is another version's, or segments of it lie elsewhere
        and there is no `tier`.
        """
        assert compress or tier is None, "only packed segments are moved"
        disk = disk or Disk()
        directory = await asyncio.to_thread(Directory, Path(path), disk, keyring)
        try:
            noted = directory.tiered()
            if tier is None and noted is not None:
                raise LogError(f"segments of {path} lie at {noted[1]}: set log_tier_url to where they are now")
            log = cls(
                *(directory, disk, clock or SystemClock(), sync, sync_interval_ms, pending_size_max),
                compress=compress,
                keyring=keyring,
                tier=tier,
            )
            log._segment_size_max = segment_size_max
            log._shards = await asyncio.to_thread(
                loading.load, disk, directory, log._commits, segment_size_max, keyring, log._read_stub
            )
        except BaseException:
            directory.close()
            raise
        log._writer.start()
        if log._packer is not None:
            for shard in log._shards.values():
                for segment in shard.segments[:-1]:
                    if not segment.packed:
                        log._packer.sealed(shard, segment)
            log._packer.start()
        if log._tier is not None:
            log._tier.start(lambda: log._shards.values())
        return log

    async def create(self, shard: str) -> None:
        self._check_open()
        check_name(shard)
        self._wanted.add(shard)
        async with self._changing:
            self._check_open()
            if shard in self._shards:
                return
            # Together with all that are waiting for it.
            wanted = {shard} | self._wanted - self._shards.keys()
            self._wanted.clear()
            self._shards |= await self._writer.call(lambda: self._create(wanted))

    async def append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> int:
        at = self._shard(shard)
        if not len(records):
            return at.next
        return (await self._append(shard, records, mark)).first

    def append_each(self, shards: Sequence[str], ends: Sequence[int], records: Records) -> asyncio.Future[Appends]:
        found = [at for at in map(self._shards.get, shards) if at is not None]
        size = records.size
        if self._closed or len(found) < len(shards) or (self._pending and self._pending + size > self._pending_max):
            return side_by_side(self._append, shards, ends, records)
        parts = lay_out(records, ends)
        answers = Answers(len(shards))
        self._pending += size
        self._writer.submit(
            [
                Append(at.tail, shard, content, size, answers, place)
                for place, (shard, at, (content, size)) in enumerate(zip(shards, found, parts, strict=True))
            ]
        )
        return answers.future

    async def _append(self, shard: str, records: Records, mark: ProducerMark | None = None) -> Appended:
        """Once there is room."""
        at = self._shard(shard)
        size = records.size
        assert size <= APPEND_SIZE_MAX, f"an append of {size} bytes; split it below {APPEND_SIZE_MAX}"
        while self._pending and self._pending + size > self._pending_max:
            await self._wait_room()
            at = self._shard(shard)
        self._pending += size
        answers = Answers(1)
        self._writer.submit([Append(at.tail, shard, records, size, answers, 0, mark)])
        (outcome,) = await answers.future
        if isinstance(outcome, HeadraceError):
            raise outcome
        return outcome

    async def read(self, shard: str, offset: int, size_max: int) -> Batch:
        at = self._shard(shard)
        if not at.first <= offset <= at.next:
            raise OffsetOutOfRange(f"{shard} holds [{at.first}, {at.next}), not {offset}")
        if offset == at.next:
            return Batch(shard, offset, offset, _EMPTY)
        next_, changes = at.next, at.changes
        index = at.segment_of(offset)
        segment = at.segments[index]
        position = at.place(offset, segment)
        found = await self._reads.first(at.segments[index:], position, offset, size_max)
        if found is None:
            if at.dropped:
                raise ShardUnknown(f"shard {shard} was dropped")
            if at.first > offset:
                raise OffsetOutOfRange(f"{shard} was trimmed to [{at.first}, {at.next}) while {offset} was read")
            if at.changes != changes:
                return await self.read(shard, offset, size_max)
            # Nothing whole is left there: a reader goes on behind the damage.
            return Batch(shard, next_, next_, _EMPTY)
        segment, reading = found
        count = len(reading.records)
        at.remember(reading.first + count, segment, reading.position)
        return Batch(shard, reading.first, reading.first + count, reading.records)

    async def wait(self, shard: str, offset: int) -> None:
        at = self._shard(shard)
        if offset >= at.next:
            await at.waiters.until(offset)

    async def bounds(self, shard: str) -> tuple[int, int]:
        at = self._shard(shard)
        return at.first, at.next

    async def find(self, shard: str, arrival_ms: int) -> int:
        at = self._shard(shard)
        changes = at.changes
        try:
            for segment in list(at.segments):
                if segment.arrival_ms >= arrival_ms:
                    found = await self._reads.find(segment, arrival_ms)
                    if found is not None:
                        return max(found, at.first)
        except FileNotFoundError as error:
            if at.changes == changes:
                raise LogCorrupt(f"{error.filename} is missing") from error
            return await self.find(shard, arrival_ms)
        return at.next

    async def seen(self, shard: str, mark: ProducerMark) -> int | None:
        # The writer's own table, read from here: one look-up, which no change of it can tear.
        return self._shard(shard).tail.marks.seen(mark)

    async def trim(self, shard: str, before: int) -> None:
        at = self._shard(shard)
        async with self._changing:
            self._check_open()
            first = min(before, at.next)
            if first <= at.first or at.dropped:
                return
            await self._writer.call(lambda: self._directory.write_first(shard, first))
            at.first = first
            gone = [segment for segment in at.segments if segment.next <= first]
            if not gone:
                return
            if gone[-1] is at.segments[-1]:
                # The growing segment may go too, once nothing grows in it and no producer's last append is known from it.
                sealed = await self._writer.call(lambda: at.tail.seal_if(first))
                if not sealed:
                    gone.pop()
            at.segments = [segment for segment in at.segments if segment not in gone]
            at.places.clear()
            at.changes += 1
            for segment in gone:
                self._reads.forget(segment)
            await self._writer.call(lambda: loading.remove(self._disk, gone))
            if self._tier is not None:
                self._tier.gone(gone)

    async def drop(self, shard: str) -> None:
        self._check_open()
        async with self._changing:
            self._check_open()
            at = self._shards.pop(shard, None)
            if at is None:
                return
            at.dropped = True
            at.changes += 1
            at.waiters.fail(ShardUnknown(f"shard {shard} was dropped"))
            try:
                grave = await self._writer.call(lambda: self._drop(at))
            except LogError:
                self._shards[shard], at.dropped = at, False
                raise
        await asyncio.to_thread(self._directory.bury, grave)
        if self._tier is not None:
            self._tier.gone(at.segments)

    async def shards(self) -> list[str]:
        self._check_open()
        return sorted(self._shards)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        closed = LogClosed("the log was closed")
        for waiting in self._room:
            if not waiting.done():
                waiting.set_exception(closed)
        for at in self._shards.values():
            at.waiters.fail(closed)
        if self._tier is not None:
            await self._tier.stop()
        if self._packer is not None:
            await self._packer.stop()
        async with self._changing:
            try:
                await self._writer.call(self._writer.seal_open)
            except LogError as error:
                log.error("the log was closed without its last sync: %s", error)
            finally:
                await self._writer.stop()
                self._directory.close()

    def _shard(self, name: str) -> Shard:
        self._check_open()
        try:
            return self._shards[name]
        except KeyError:
            raise ShardUnknown(f"no shard {name} in this log") from None

    def _check_open(self) -> None:
        if self._closed:
            raise LogClosed("the log is closed")

    async def _wait_room(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._room.append(waiting)
        await waiting

    def _committed(self, outcomes: list[Outcome]) -> None:
        """A commit is durable: readers may see it, waiters wake, appends are answered. On the event loop."""
        for outcome in outcomes:
            self._pending -= sum(append.size for append in outcome.appends)
            at = self._shards.get(outcome.shard)
            if at is None or outcome.written is None or at.tail is not outcome.appends[0].tail:
                continue
            for segment, header in outcome.written.frames:
                sealed = at.extend(segment, header)
                if sealed is not None and not sealed.packed and self._packer is not None:
                    self._packer.sealed(at, sealed)
            at.waiters.wake(at.next)
        settle_appends(outcomes)
        while self._room:
            waiting = self._room.popleft()
            if not waiting.done():
                waiting.set_result(None)

    def gathered(self, shard: str, offset: int) -> Iterator[Part]:
        """What a shard has from `offset` on, for a copy: in parts, with the marks. Blocks. Raises `LogCorrupt`."""
        at = self._shard(shard)
        return gathered(self._disk, shard, max(offset, at.first), list(at.segments))

    async def packed(self) -> None:
        """Everything that was sealed until now is packed, or cannot be. At once where nothing is compressed."""
        if self._packer is not None:
            await self._packer.idle()

    async def _replace(self, at: Shard, segment: Segment, packed: Segment) -> bool:
        """The packed segment takes the place of the other one; whether that is still wanted. Raises `OSError`."""
        async with self._changing:
            if self._closed or not at.holds(segment):
                return False
            await asyncio.to_thread(packing.publish, self._disk, segment, packed)
            at.replace(segment, packed)
            await asyncio.to_thread(loading.remove, self._disk, [segment])
        if self._tier is not None:
            self._tier.look()
        return True

    async def tiered(self) -> None:
        """Everything that was packed until now, and is old enough, has moved, or cannot. At once where nothing moves."""
        if self._tier is not None:
            await self._tier.idle()

    async def _replace_by_stub(
        self, at: Shard, segment: Segment, stub: Segment, marks: dict[str, tuple[int, int]]
    ) -> bool:
        """As `_replace`, for the stub of a packed segment that is elsewhere now. Raises `OSError`."""
        async with self._changing:
            if self._closed or not at.holds(segment):
                return False
            assert isinstance(stub.remote, Remote)
            await asyncio.to_thread(write_stub, self._disk, stub, stub.remote, marks)
            at.replace(segment, stub)
            await asyncio.to_thread(loading.remove, self._disk, [segment])
            return True

    async def _seal(self, at: Shard) -> None:
        """The shard's growing segment grows no more, and is packed."""
        async with self._changing:
            if self._closed or at.dropped:
                return
            segment = await self._writer.call(at.tail.seal)
        if segment is not None and self._packer is not None:
            self._packer.sealed(at, segment)

    def _create(self, shards: set[str]) -> dict[str, Shard]:
        self._directory.create(shards)
        return {
            shard: loading.load_shard(
                *(self._disk, self._directory, shard, self._directory.folder(shard)),
                *(self._segment_size_max, self._keyring, self._read_stub),
            )
            for shard in shards
        }

    def _drop(self, at: Shard) -> Path:
        self._writer.forget(at.tail)
        return self._directory.drop(at.name)
