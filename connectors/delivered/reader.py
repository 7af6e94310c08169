"""A stream whose log goes on where its delivered objects end: the same positions, the same answers, further back.

A record is read from the log where the log has it, else from an object. So nothing is read twice and nothing is left out,
whatever retention takes meanwhile, and a position means the same to whoever keeps it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from connectors.delivered.archive import Archive, HistoryGap
from streams.core.exchange import (
    FETCH_SIZE_MAX,
    LATEST,
    TRIM_HORIZON,
    Fetch,
    Start,
    StreamDescription,
)
from streams.core.records import Batch
from streams.core.shards import Shard
from streams.sdk.client import Readable


class Reaching:
    """`Readable` over `log` and, of the archive's stream, what is older. `known` are the shards that a reader who goes on
    knows; empty for one who begins."""

    def __init__(self, log: Readable, archive: Archive, known: Collection[str] = ()) -> None:
        self._log = log
        self._archive = archive
        self._known = set(known)
        self._trimmed: dict[str, int] = {}
        """Where the log begins, as far as it is known; it only ever moves on."""
        self._gone: dict[str, int] = {}
        """Shards that the stream does not list any more, and where they end."""
        self._ends: dict[str, int] = {}
        """The same of closed ones that it lists."""

    async def describe_stream(self, stream: str) -> StreamDescription:
        """With the shards of which only objects have records, closed; a reader who goes on gets those that it knows, and what came
        of them."""
        listed = await self._log.describe_stream(stream)
        if stream != self._archive.stream:
            return listed
        self._check(listed)
        names = {shard.id for shard in listed.shards}
        self._ends |= {shard.id: shard.end for shard in listed.shards if shard.end is not None}
        past: list[Shard] = []
        wanted = set(self._known)
        for shard in sorted(self._archive.shards.values(), key=lambda shard: shard.index):
            if shard.id in names or not self._archive.runs(shard.id):
                continue
            if not self._known or shard.id in wanted or wanted & set(shard.parents):
                wanted.add(shard.id)
                end = self._archive.end(shard.id) if shard.end is None else shard.end
                self._gone[shard.id] = end
                past.append(replace(shard, end=end))
        return replace(listed, shards=tuple(sorted((*past, *listed.shards), key=lambda shard: shard.index)))

    async def find(self, stream: str, start: Start, shards: tuple[str, ...] | None = None) -> dict[str, int]:
        """Raises `HistoryGap` where there are records from `start` on that are nowhere."""
        positions = await self._log.find(stream, start, shards)
        if stream != self._archive.stream:
            return positions
        await self.describe_stream(stream)
        trimmed = positions if start == TRIM_HORIZON else await self._log.find(stream, TRIM_HORIZON, shards)
        self._trimmed |= trimmed
        ends = {**trimmed, **{shard: end for shard, end in self._gone.items() if shards is None or shard in shards}}
        for shard, end in ends.items():
            at = positions.get(shard, end)
            if start != LATEST and at <= end:
                positions[shard] = await self._earlier(shard, start, end)
            else:
                positions[shard] = at
        return positions

    async def fetch(
        self, stream: str, positions: Mapping[str, int], *, size_max: int = FETCH_SIZE_MAX, wait_ms: int = 0
    ) -> Fetch:
        """Raises `HistoryGap` where a position is before the log's first record, and no object has it."""
        if stream != self._archive.stream:
            return await self._log.fetch(stream, positions, size_max=size_max, wait_ms=wait_ms)
        if self._known:
            self._known |= positions.keys()
        while True:
            past = {shard: at for shard, at in positions.items() if at < self._begins(shard)}
            batches, left = [], size_max
            for shard, at in past.items():
                if left <= 0:
                    break
                batches.append(await self._past(shard, at, left))
                left -= batches[-1].records.size
            ended = tuple(shard for shard, at in positions.items() if self._gone.get(shard) == at)
            asked = {shard: at for shard, at in positions.items() if shard not in past and shard not in self._gone}
            fetch = Fetch(())
            if asked:
                waiting_ms = 0 if batches or ended else wait_ms
                fetch = await self._log.fetch(stream, asked, size_max=max(1, left), wait_ms=waiting_ms)
            passed = {batch.shard: batch.first for batch in fetch.batches if batch.first > asked[batch.shard]}
            passed |= await self._emptied(stream, asked, fetch)
            aged = await self._aged(stream, asked, fetch)
            if not passed and not aged:
                tips = {**{shard: self._gone[shard] for shard in positions if shard in self._gone}, **fetch.tips}
                if past.keys() - tips.keys():
                    tips |= await self._log.find(stream, LATEST, tuple(past.keys() - tips.keys()))
                return Fetch((*batches, *fetch.batches), (*ended, *fetch.ended), tips)
            # Retention went on: these are read from objects now.
            self._trimmed |= passed

    async def close(self) -> None:
        """Closes the log's client; the archive is closed by whoever has opened it."""
        await self._log.close()

    async def _aged(self, stream: str, asked: Mapping[str, int], fetch: Fetch) -> bool:
        """Whether a shard is said to have ended that is not listed any more, and was not read to its end."""
        reached = {**asked, **{batch.shard: batch.next for batch in fetch.batches}}
        doubtful = [shard for shard in fetch.ended if reached[shard] < self._ends.get(shard, 1 << 62)]
        if not doubtful:
            return False
        listed = {shard.id for shard in (await self.describe_stream(stream)).shards}
        for shard in doubtful:
            end = self._ends.get(shard, 0)
            if shard not in listed and reached[shard] < end:
                raise self._archive.gap(shard, reached[shard], end) or AssertionError("what has runs is listed")
        return any(shard in self._gone and asked[shard] < self._gone[shard] for shard in doubtful)

    async def _emptied(self, stream: str, asked: Mapping[str, int], fetch: Fetch) -> dict[str, int]:
        """The shards of which the log has nothing left, although there was more."""
        got = {batch.shard for batch in fetch.batches}
        silent = [shard for shard, at in asked.items() if shard not in got and fetch.tips.get(shard, at) > at]
        if not silent:
            return {}
        begins = await self._log.find(stream, TRIM_HORIZON, tuple(silent))
        return {shard: at for shard, at in begins.items() if at > asked[shard]}

    def _begins(self, shard: str) -> int:
        return self._gone.get(shard, self._trimmed.get(shard, 0))

    async def _past(self, shard: str, at: int, size_max: int) -> Batch:
        until = self._begins(shard)
        if self._archive.run(shard, at) is None:
            await self._archive.open()  # more has been delivered since
        return await self._archive.read(shard, at, until, size_max)

    async def _earlier(self, shard: str, start: Start, end: int) -> int:
        """Where `start` is before `end`, in objects; `end` where it is not."""
        first = self._archive.first(shard)
        if first is None or first >= end:
            return end
        if start != TRIM_HORIZON:
            first = await self._archive.find(shard, start.timestamp_ms, first, end)
        wrong = self._archive.gap(shard, first, end)
        if wrong is not None:
            raise HistoryGap(f"{wrong.message}; begin at a time after them")
        return first

    def _check(self, listed: StreamDescription) -> None:
        if listed.id != self._archive.stream_id:
            raise HistoryGap(
                f"delivery stream {self._archive.name} has delivered of an earlier stream {listed.name}, which was deleted:"
                " none of its records are of this one"
            )
