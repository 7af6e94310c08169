"""What delivery streams have done since the server started, and how far behind they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Meter:
    """Of one lane. `records`, `bytes` and `objects` are those that reached their destination, the error output included;
    `failed` are records by the type of error output that they went to, `refusals` the tries of a delivery that failed.

    `buffered` bytes wait in memory and `spilled` on disk, in `partitions`; `oldest_ms` is the arrival of the oldest record that was read and is
    not delivered, None where there is none.
    """

    records: int = 0
    bytes: int = 0
    objects: int = 0
    dropped: int = 0
    refusals: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    buffered: int = 0
    spilled: int = 0
    partitions: int = 0
    oldest_ms: int | None = None
