"""What a producer has done, in numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ProducerMetrics:
    """Since the producer began. All but the last only grow.

    records, bytes    that are durable (bytes of data and keys)
    failed_records    that were given up
    puts              requests that were answered well; `retries` those that had to be asked again
    put_ms            milliseconds that the puts took together, retries and their pauses included; `put_ms_max` the longest
    buffered_bytes    that wait or are under way now
    """

    records: int = 0
    bytes: int = 0
    failed_records: int = 0
    puts: int = 0
    retries: int = 0
    put_ms: int = 0
    put_ms_max: int = 0
    buffered_bytes: int = 0

    def put(self, records: int, size: int, taken_ms: int) -> None:
        self.records += records
        self.bytes += size
        self.puts += 1
        self.put_ms += taken_ms
        self.put_ms_max = max(self.put_ms_max, taken_ms)
