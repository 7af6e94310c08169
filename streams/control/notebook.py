"""Notebooks: lines about one thing in a log that processes share, which one process at a time writes and all may read.

A notebook is a shard of the log, of which the oldest records are trimmed when they are too old. A line is the data of one
record, or of several where it is long; keys say which:

    key   = "claim"                           whoever writes from here on
          / "line" epoch place count          `epoch` is the offset of its writer's claim

Lines of a writer count up to the claim of the next one: a process that was away, and goes on writing, has written nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from streams.core.errors import OffsetOutOfRange, ShardUnknown
from streams.core.records import Batch, Records
from streams.log.log import Log

NAMES = "manifests/"
"""What the shards of notebooks begin with."""

CHUNK_SIZE = 1 << 20
"""Bytes of one record of a line."""

APPEND_SIZE = 8 << 20
"""Bytes of one append, but for a record that is larger."""

READ_SIZE = 8 << 20

_CLAIM = "claim"
_LINE = "line"


@dataclass(frozen=True, slots=True)
class Noted:
    """A line. `offset` is that of its first record, `epoch` its writer's."""

    offset: int
    epoch: int
    text: bytes


class Notebook:
    """`name` is two segments of a shard's name."""

    def __init__(self, log: Log, name: str) -> None:
        self.shard = f"{NAMES}{name}"
        self._log = log
        self._epoch = 0

    async def claim(self) -> None:
        """What others write from now on is nothing. Raises `LogError`."""
        await self._log.create(self.shard)
        self._epoch = await self._log.append(self.shard, Records.of([_CLAIM], [b""]))

    async def write(self, lines: Sequence[bytes]) -> None:
        """Durable when it returns. Where it raises, some of the lines may be there: they may be written again. Raises
        `LogError`, `LogFull`."""
        for records in encode(lines, self._epoch):
            await self._log.append(self.shard, records)

    async def read(self) -> AsyncIterator[list[Noted]]:
        """All lines that count, in order, some at a time; none where nobody has written. Raises `LogError`."""
        try:
            position, end = await self._log.bounds(self.shard)
        except ShardUnknown:
            return
        reading = Reading()
        while position < end:
            try:
                batch = await self._log.read(self.shard, position, READ_SIZE)
            except OffsetOutOfRange:  # trimmed meanwhile
                position = (await self._log.bounds(self.shard))[0]
                continue
            if lines := reading.take(batch):
                yield lines
            position = batch.next

    async def at(self, offset: int) -> bytes:
        """The line that begins there. Raises ValueError where none does, `LogError`."""
        reading, position = Reading(), offset
        try:
            while True:
                batch = await self._log.read(self.shard, position, 2 * CHUNK_SIZE)
                if lines := reading.take(batch):
                    if lines[0].offset == offset:
                        return lines[0].text
                    break
                if batch.next == position:
                    break
                position = batch.next
        except (OffsetOutOfRange, ShardUnknown):
            pass
        raise ValueError("no line begins there (any more)")

    async def forget(self, before_ms: int) -> None:
        """Lines from before that time are gone. Raises `LogError`."""
        await self._log.trim(self.shard, await self._log.find(self.shard, before_ms))

    async def clear(self) -> None:
        """There is nothing in it any more. Raises `LogError`."""
        try:
            await self._log.trim(self.shard, (await self._log.bounds(self.shard))[1])
        except ShardUnknown:
            pass

    async def drop(self) -> None:
        await self._log.drop(self.shard)


class Reading:
    """A machine: batches of a notebook in order, lines out."""

    def __init__(self) -> None:
        self._epoch = -1
        self._first = 0
        self._parts: list[bytes] = []

    def take(self, batch: Batch) -> list[Noted]:
        lines = []
        keys, data = batch.records.partition_key.to_pylist(), batch.records.data.to_pylist()
        for offset, key, value in zip(batch.offsets.tolist(), keys, data, strict=True):
            kind, *rest = key.split(" ")
            if kind == _CLAIM:
                self._epoch, self._parts = offset, []
                continue
            epoch, place, count = map(int, rest)
            if epoch < self._epoch:
                continue
            self._epoch = epoch  # its claim may have been trimmed
            if place == 0:  # what was cut short before is written again
                self._first, self._parts = offset, []
            if place != len(self._parts):
                continue
            self._parts.append(value)
            if len(self._parts) == count:
                lines.append(Noted(self._first, epoch, b"".join(self._parts)))
                self._parts = []
        return lines


def encode(lines: Sequence[bytes], epoch: int) -> list[Records]:
    """Appends."""
    appends: list[Records] = []
    keys: list[str] = []
    data: list[bytes] = []
    size = 0
    for line in lines:
        count = max(1, -(-len(line) // CHUNK_SIZE))
        for place in range(count):
            chunk = line[place * CHUNK_SIZE : (place + 1) * CHUNK_SIZE]
            if data and size + len(chunk) > APPEND_SIZE:
                appends.append(Records.of(keys, data))
                keys, data, size = [], [], 0
            keys.append(f"{_LINE} {epoch} {place} {count}")
            data.append(chunk)
            size += len(chunk)
    return [*appends, Records.of(keys, data)] if data else appends


Notebooks = Callable[[str], Notebook]


def open_notebooks(log: Log) -> Notebooks | None:
    """By name. None where one process has the log for itself."""
    return (lambda name: Notebook(log, name)) if log.shared else None
