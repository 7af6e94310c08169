"""When records arrived, in seconds: the part of a sequence number that only the log knows.

The log stamps records as it commits them: with its clock, but never less than the record before. An append that began
and ended within one second, in a shard whose records and in a service whose clock have not been ahead of that second,
can only have been stamped with it; that is nearly every append, and costs nothing. Otherwise the record is read back.
"""

from __future__ import annotations

from streams.core.clock import Clock
from streams.log.log import Log


class Arrivals:
    """`clock` is the log's own."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._latest_s = 0
        self._known: set[str] = set()

    async def second(self, shard: str, offset: int, before_ms: int) -> int:
        """Arrival of the record at `offset`, whose append has returned and began at `before_ms`."""
        before, after = before_ms // 1000, self._clock.now_ms() // 1000
        if before == after and shard in self._known and self._latest_s <= after:
            self._latest_s = after
            return after
        batch = await self._log.read(shard, offset, 1)
        arrival = int(batch.records.arrival_ms()[0]) // 1000
        self._latest_s = max(self._latest_s, arrival, after)
        self._known.add(shard)
        return arrival

    def observe(self) -> None:
        """Something was appended just now by somebody who does not ask when."""
        self._latest_s = max(self._latest_s, self._clock.now_ms() // 1000)

    def forget(self, shards: list[str]) -> None:
        """The shards are gone."""
        self._known.difference_update(shards)
