"""`GroupConsumer`: the records of a stream, shared by all members of a consumer group, each shard in order."""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections import deque
from collections.abc import Mapping
from hashlib import blake2b
from types import TracebackType
from typing import Self

from streams.core.clock import Clock, SystemClock
from streams.core.errors import HeadraceError, ResourceInUse, ValidationError
from streams.core.records import Batch, ProducerMark, Records
from streams.sdk.client import FETCH_SIZE_MAX, TRIM_HORIZON, Client, Fetch, Progress, Receipt, Start
from streams.sdk.consumer import WAIT_MS
from streams.sdk.leases import Held, Leases
from streams.sdk.retry import pauses, retriable
from streams.sdk.waiting import news_within

log = logging.getLogger(__name__)

LEASE_S = 10.0
"""How long a member may be silent before its shards are given to others."""

PUTS_MAX = 1 << 10
"""Puts while one batch is worked on: their numbers are part of its mark."""

_OFFSET_MAX = 1 << 52
"""Offsets up to which marks can be made: at a million records a second, a century of one shard."""


class GroupConsumer:
    """An async iterator of `Batch`es. All members of `group` together get every record of the stream; each shard goes to
    one member at a time, in order, parents before children through any split and merge.

    Asking for the next batch means that the one before is done: that is saved, durably, before the next is handed out.
    A member that says nothing for `lease_s` has lost its shards, and whoever gets them repeats what was not saved; a
    member that lost a shard while it worked on a batch of it finds that batch handed out elsewhere, too. `close` (or
    leaving ``async with``) gives the shards back at once. `start` is where a new group begins.

    `put` writes to a stream exactly once: what is put while a batch is worked on is there once, whether the batch is
    repeated or not, as long as the same records are made of the same batch.
    """

    def __init__(
        self,
        client: Client,
        stream: str,
        group: str,
        *,
        member: str | None = None,
        start: Start = TRIM_HORIZON,
        lease_s: float = LEASE_S,
        size_max: int = FETCH_SIZE_MAX,
        clock: Clock | None = None,
        randomness: random.Random | None = None,
    ) -> None:
        self._client = client
        self._stream = stream
        self._group = group
        self.member = member or uuid.uuid4().hex
        """This member's name, another one in each process."""
        self._size_max = size_max
        self._clock = clock or SystemClock()
        self._randomness = randomness or random.Random()
        self._ready: deque[tuple[Held, Batch]] = deque()
        self._working: tuple[Held, Batch] | None = None
        self._puts = 0
        self._news = asyncio.Event()
        self._leases = Leases(
            *(client, stream, group, self.member, start, round(lease_s * 1000), self._clock, self._randomness),
            busy=self._busy,
            news=self._news,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._stream_id = ""
        self._stopped = False

    @property
    def shards(self) -> list[str]:
        """The shards that this member reads now."""
        return sorted(shard for shard, held in self._leases.held.items() if not held.leaving)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """The next batch, waiting for it as long as it takes; the one before is done. Cancel it freely. Ends after
        `stop`."""
        await self._open()
        await self._done()
        while not self._stopped:
            self._check()
            taken = self._take()
            if taken is not None:
                self._working, self._puts = taken, 0
                return taken[1]
            self._news.clear()
            await news_within(self._news, self._clock, self._leases.left_s())
        raise StopAsyncIteration

    async def commit(self) -> None:
        """The batch that was handed out last is done, as if the next were asked for. Raises `ResourceInUse` where its shard
        has been given to another member meanwhile, which repeats it."""
        if self._working is None:
            return
        held, batch = self._owned(self._working)
        await self._leases.save({batch.shard: Progress(held.generation, batch.next)})
        self._working = None
        held.done = batch.next
        if held.leaving or held.done == held.end:
            self._leases.drop(batch.shard)

    async def put(self, stream: str, records: Records) -> Receipt:
        """Puts to `stream` what was made of the batch that is worked on, exactly once, durable when it returns.

        Raises `ResourceInUse` where the batch's shard has been given to another member, which repeats the batch;
        `ValidationError` where no batch is worked on.
        """
        if self._working is None:
            raise ValidationError("put is for what was made of a batch, between two batches of the iteration")
        held, batch = self._owned(self._working)
        if self._puts == PUTS_MAX or batch.next >= _OFFSET_MAX:
            raise ValidationError(f"a batch may be answered by {PUTS_MAX} puts: put more records at a time")
        if held.intent != batch.next:
            # Whoever repeats the batch repeats exactly this one, so that the marks mean the same records.
            await self._leases.save({batch.shard: Progress(held.generation, batch.first, batch.next)})
            held.intent = batch.next
        mark = ProducerMark(self._producer(batch.shard), batch.next * PUTS_MAX + self._puts)
        self._puts += 1
        for pause in pauses(self._randomness):
            try:
                return await self._client.put(stream, records, mark)
            except Exception as error:
                if not retriable(error):
                    raise
                log.warning("stream %s does not take a put of group %s: %s", stream, self._group, error)
            await self._clock.sleep(pause)
        raise AssertionError("pauses never end")

    def stop(self) -> None:
        """The iteration ends before its next batch."""
        self._stopped = True
        self._news.set()

    async def close(self) -> None:
        """Stops, and gives the shards back. A batch that was handed out and not committed is handed out again, elsewhere."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._tasks:
            try:
                await self._client.leave_group(self._stream, self._group, self.member)
            except HeadraceError as error:
                # Its lease tells the same, a little later.
                log.warning("member %s of group %s could not say that it leaves: %s", self.member, self._group, error)
        self._tasks = []
        self._leases.held.clear()
        self._ready.clear()

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                await self._done()
            finally:
                await self.close()
        else:
            await self.close()

    async def _open(self) -> None:
        if self._tasks or self._stopped:
            return
        self._stream_id = (await self._client.describe_stream(self._stream)).id
        self._leases.synced_ms = self._clock.now_ms()
        self._tasks = [
            asyncio.create_task(self._leases.keep(), name=f"member of {self._group}"),
            asyncio.create_task(self._fetch(), name=f"reader of {self._group}"),
        ]

    async def _done(self) -> None:
        """As `commit`, for who only asks for the next batch: a shard that was lost is no error, its batch is repeated."""
        try:
            await self.commit()
        except ResourceInUse as error:
            self._working = None
            log.warning("member %s of group %s: a batch is repeated elsewhere: %s", self.member, self._group, error)

    def _busy(self, shard: str) -> bool:
        return self._working is not None and self._working[1].shard == shard

    def _check(self) -> None:
        """Raises what ended a task."""
        for task in self._tasks:
            if task.done():
                task.result()

    def _owned(self, working: tuple[Held, Batch]) -> tuple[Held, Batch]:
        """Raises `ResourceInUse` where the shard of what is worked on is not ours any more, or is so anew."""
        held, batch = working
        if self._leases.held.get(batch.shard) is not held:
            raise ResourceInUse(f"{batch.shard} of stream {self._stream} was lost to another member of {self._group}.")
        return working

    def _take(self) -> tuple[Held, Batch] | None:
        """The next batch of a shard that is still ours, as it was when the batch was fetched."""
        if self._leases.expire():
            self._ready.clear()
        while self._ready:
            held, batch = self._ready.popleft()
            self._leases.turned.set()
            if self._leases.held.get(batch.shard) is held and not held.leaving:
                return held, batch
        return None

    async def _fetch(self) -> None:
        """Keeps one fetch ahead of whoever iterates."""
        retry = pauses(self._randomness)
        try:
            while True:
                self._leases.turned.clear()
                asked = self._asked()
                if self._ready or not asked:
                    await self._leases.turned.wait()
                    continue
                try:
                    fetch = await self._fetched(asked)
                except Exception as error:
                    if not retriable(error):
                        raise
                    log.warning("stream %s does not answer: %s", self._stream, error)
                    await self._clock.sleep(next(retry))
                    continue
                retry = pauses(self._randomness)
                if fetch is None:
                    continue
                for batch in fetch.batches:
                    await self._ahead(batch, *asked[batch.shard])
                for shard in fetch.ended:
                    await self._ended(shard, asked[shard][0], fetch.tips.get(shard))
        finally:
            self._news.set()

    async def _fetched(self, asked: Mapping[str, tuple[Held, int]]) -> Fetch | None:
        """The next records; None once other shards are to be asked."""
        positions = {shard: position for shard, (_, position) in asked.items()}
        fetching = asyncio.ensure_future(
            self._client.fetch(self._stream, positions, size_max=self._size_max, wait_ms=WAIT_MS)
        )
        try:
            while not fetching.done() and self._asked() == asked:
                self._leases.turned.clear()
                turned = asyncio.ensure_future(self._leases.turned.wait())
                await asyncio.wait((fetching, turned), return_when=asyncio.FIRST_COMPLETED)
                turned.cancel()
            return fetching.result() if fetching.done() else None
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)

    def _asked(self) -> dict[str, tuple[Held, int]]:
        """What is to be fetched, and from where on."""
        return {
            shard: (held, held.position)
            for shard, held in self._leases.held.items()
            if not held.leaving and held.end is None
        }

    async def _ahead(self, batch: Batch, held: Held, asked: int) -> None:
        """A batch that was begun before is handed out exactly as it was."""
        if self._leases.held.get(batch.shard) is not held:
            return
        if batch.first > asked:
            log.warning(
                "%s of stream %s: records %d to %d passed out of retention before they were read",
                *(batch.shard, self._stream, asked, batch.first - 1),
            )
        if held.intent is not None and held.intent > held.done:
            batch = await self._whole(batch, held.intent)
        held.position = batch.next
        self._ready.append((held, batch))
        self._news.set()

    async def _whole(self, batch: Batch, end: int) -> Batch:
        """From where `batch` begins to `end`, in one."""
        parts = [batch.records]
        position = batch.next
        while position < end:
            fetch = await self._client.fetch(self._stream, {batch.shard: position}, size_max=self._size_max)
            if not fetch.batches:
                break
            parts.append(fetch.batches[0].records)
            position = fetch.batches[0].next
        records = Records.concat(parts)
        count = min(len(records), end - batch.first)
        if count <= 0:
            return batch
        return Batch(batch.shard, batch.first, batch.first + count, records.slice(0, count))

    async def _ended(self, shard: str, held: Held, tip: int | None) -> None:
        """The shard is closed and all of it has been fetched. Of another lease of it, that says nothing: its batches have
        still to be fetched, and it would wait for them for ever."""
        if self._leases.held.get(shard) is not held:
            return
        if tip is not None and held.position < tip:
            return  # a batch that was begun before is shorter than what came: the rest is fetched again
        held.end = held.position
        if held.done == held.end and not self._busy(shard):
            try:
                await self._leases.save({shard: Progress(held.generation, held.end)})
            except ResourceInUse:
                return
            self._leases.drop(shard)

    def _producer(self, shard: str) -> str:
        name = f"{self._stream_id}\0{self._group}\0{shard}"
        return "group-" + blake2b(name.encode(), digest_size=20).hexdigest()
