"""On-demand streams scale by themselves, where limits are "aws": to double the peak of the last 30 days, as AWS does it.

A shard takes 1 MiB and 1,000 records a second; a stream has at least four, and as many as its warm throughput needs. It at
most doubles at a look, and shrinks to half at most, and only once 30 days have been seen: who restarts the server begins to
count anew. Without limits one shard takes what the machine can, and more of them would only make batches smaller.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from streams.control import resharding
from streams.control.catalog import Catalog
from streams.control.decisions import Decision
from streams.control.stream import Stream
from streams.core.errors import HeadraceError
from streams.operations.context import Context
from streams.operations.throttles import WRITE_RECORDS_MAX, WRITE_SIZE_MAX

_logger = logging.getLogger(__name__)

LOOK_S = 60.0
"""The time over which a rate is taken."""

SHARDS_MIN, SHARDS_MAX = 4, 200
"""Of an on-demand stream, where its warm throughput does not ask for more: AWS gives 200 MiB a second at most."""

HEADROOM = 2
"""Times the peak that a stream has room for."""

PEAK_DAYS = 30
_DAY_MS = 86_400_000


@dataclass(slots=True)
class _Seen:
    """Of one stream: its counts at the last look, and the highest need of each day, in shards."""

    since_ms: int
    looked_ms: int
    bytes: int
    records: int
    peaks: dict[int, float] = field(default_factory=dict)

    def note(self, now_ms: int, size: int, records: int) -> None:
        passed_s = (now_ms - self.looked_ms) / 1000
        if passed_s > 0:
            need = max(
                (size - self.bytes) / passed_s / WRITE_SIZE_MAX, (records - self.records) / passed_s / WRITE_RECORDS_MAX
            )
            day = now_ms // _DAY_MS
            self.peaks[day] = max(self.peaks.get(day, 0.0), need)
            self.peaks = {one: peak for one, peak in self.peaks.items() if one > day - PEAK_DAYS}
        self.looked_ms, self.bytes, self.records = now_ms, size, records

    def target(self, now_ms: int, shards: int, warm_mibps: int) -> int:
        """How many shards there should be."""
        least = max(SHARDS_MIN, warm_mibps)
        wanted = max(least, min(SHARDS_MAX, math.ceil(HEADROOM * max(self.peaks.values(), default=0.0))))
        if wanted < shards and now_ms - self.since_ms < PEAK_DAYS * _DAY_MS:
            return shards
        return max(math.ceil(shards / 2), min(shards * 2, wanted))


class Scaler:
    """Looks every minute, from `start` to `stop`; does nothing where limits are not "aws"."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._seen: dict[str, _Seen] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._context.throttles.on:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._look()
            except Exception:
                _logger.exception("on-demand scaling")
            await self._context.clock.sleep(LOOK_S)

    async def _look(self) -> None:
        context, now_ms = self._context, self._context.now_ms()
        streams = [one for one in context.catalog.streams.values() if one.on_demand and not one.hidden]
        self._seen = {one.id: self._seen[one.id] for one in streams if one.id in self._seen}
        for stream in streams:
            counts = context.metrics.total(stream)
            seen = self._seen.get(stream.id)
            if seen is None:
                self._seen[stream.id] = _Seen(now_ms, now_ms, counts.incoming_bytes, counts.incoming_records)
                continue
            seen.note(now_ms, counts.incoming_bytes, counts.incoming_records)
            shards = stream.open_count
            target = seen.target(now_ms, shards, stream.warm_mibps or 0)
            if target != shards and stream.status(now_ms) == "ACTIVE":
                await self._scale(stream, target)

    async def _scale(self, stream: Stream, target: int) -> None:
        shards_max = self._context.settings.shards_max

        def decide(catalog: Catalog, now_ms: int, ends: Mapping[int, int]) -> Decision[int]:
            return resharding.scale(catalog, now_ms, stream.key, target, ends, shards_max)

        try:
            before = await self._context.reshard(stream, decide)
        except HeadraceError as error:
            _logger.warning("stream %s does not scale to %d shards: %s", stream.name, target, error.message)
            return
        _logger.info("on-demand stream %s: %d shards become %d", stream.name, before, target)
