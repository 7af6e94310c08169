"""What has gone in and out, counted: plain numbers that a scrape reads, since counting must cost nothing on a hot path.

Per stream always; per shard where enhanced monitoring is on for the stream.
"""

from __future__ import annotations

from collections.abc import Iterator

from streams.control.stream import Stream

COUNTS = (
    "incoming_bytes",
    "incoming_records",
    "outgoing_bytes",
    "outgoing_records",
    "write_throttled_records",
    "read_throttled_calls",
    "failed_records",
)
"""What only grows, with `iterator_age_ms` beside it, which is the last one seen."""


class Counts:
    """Of one stream, or one shard. `iterator_age_ms` is how far the last reader was behind."""

    __slots__ = (*COUNTS, "iterator_age_ms")

    def __init__(self) -> None:
        self.incoming_bytes = 0
        self.incoming_records = 0
        self.outgoing_bytes = 0
        self.outgoing_records = 0
        self.write_throttled_records = 0
        self.read_throttled_calls = 0
        self.failed_records = 0
        self.iterator_age_ms = 0


class Metrics:
    """Counts by stream id, and by shard id within."""

    def __init__(self) -> None:
        self._streams: dict[str, Counts] = {}
        self._shards: dict[str, dict[str, Counts]] = {}

    def of(self, stream: Stream, shard: str) -> tuple[Counts, ...]:
        """Where something that happens at a shard is counted."""
        counts = self.total(stream)
        if not stream.metrics:
            return (counts,)
        shards = self._shards.setdefault(stream.id, {})
        return counts, shards.setdefault(shard, Counts())

    def total(self, stream: Stream) -> Counts:
        """Of the whole stream."""
        counts = self._streams.get(stream.id)
        if counts is None:
            counts = self._streams[stream.id] = Counts()
        return counts

    def put(self, stream: Stream, shard: str, records: int, size: int) -> None:
        for counts in self.of(stream, shard):
            counts.incoming_records += records
            counts.incoming_bytes += size

    def failed(self, stream: Stream, shard: str, records: int, throttled: int) -> None:
        """Of records that were refused one by one; `throttled` of them by a limit."""
        for counts in self.of(stream, shard):
            counts.failed_records += records
            counts.write_throttled_records += throttled

    def got(self, stream: Stream, shard: str, records: int, size: int, behind_ms: int) -> None:
        for counts in self.of(stream, shard):
            counts.outgoing_records += records
            counts.outgoing_bytes += size
            counts.iterator_age_ms = behind_ms

    def read_throttled(self, stream: Stream, shard: str) -> None:
        for counts in self.of(stream, shard):
            counts.read_throttled_calls += 1

    def streams(self) -> Iterator[tuple[str, Counts, dict[str, Counts]]]:
        """Stream ids with their counts, and those of their shards."""
        for stream_id, counts in self._streams.items():
            yield stream_id, counts, self._shards.get(stream_id, {})

    def forget(self, streams: set[str]) -> None:
        """All but `streams`, by id, are gone."""
        self._streams = {key: one for key, one in self._streams.items() if key in streams}
        self._shards = {key: one for key, one in self._shards.items() if key in streams}
