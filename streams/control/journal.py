"""A journal: the events that made a state, in a shard of the log. Appending is the commit; restart is replay.

One shard of the log holds one journal. A record's partition key says what it is; its data are bytes that the owner encodes.

    kind       = "event" / "snapshot" / "owner"
    key        = kind [ " " expected ]        ; expected: a decimal offset

A snapshot stands for everything before it, which is then trimmed, so that replay stays short. A crash between the two
leaves older records before the snapshot; replay starts from the last snapshot.

Where processes share the log, whoever decides on a state says which offset comes next in it. A record counts only at the
offset that it expects: two that decide on the same state expect the same offset, one of them gets it, and everybody sees
which one. The other reads on and decides again. So there is no leader.

A journal that is to have one owner begins, for each of them, with an ``owner`` record: where it lies, nothing does that the
owner before expected to write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from streams.core.errors import JournalMoved, OffsetOutOfRange
from streams.core.records import Batch, Records
from streams.log.log import Log

_READ_SIZE = 8 << 20
EVENT = "event"
SNAPSHOT = "snapshot"
_OWNER = "owner"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal held: the last snapshot, if there is one, and the events after it, in order."""

    snapshot: bytes | None
    events: list[bytes]

    def followed_by(self, records: Records) -> Replay:
        """What the journal held with these records at its end. Takes the events over."""
        marks = pc.indices_nonzero(pc.equal(records.partition_key, SNAPSHOT)).to_pylist()
        if marks:
            return Replay(records.data[marks[-1]].as_py(), records.data.slice(marks[-1] + 1).to_pylist())
        self.events.extend(records.data.to_pylist())
        return self


class Journal:
    """The journal `name` (a shard of `log`, by convention ``control/…``).

    With `own`, `append` and `snapshot` one owner writes to it, and is told by `JournalMoved` where another has become it. With
    `propose`, `add` and `catch_up` any number of processes share it.
    """

    def __init__(self, log: Log, name: str) -> None:
        self.shared = log.shared
        self._log = log
        self._name = name
        self._position = 0
        self._events_since_snapshot = 0
        self._reading = asyncio.Lock()

    @property
    def events_since_snapshot(self) -> int:
        """How many events a restart would replay: its owner writes a snapshot when this grows."""
        return self._events_since_snapshot

    @property
    def position(self) -> int:
        """The offset after all that was read or written here: what is decided on that state expects it."""
        return self._position

    async def open(self) -> Replay:
        """Creates the journal where it does not exist; reads it."""
        await self._log.create(self._name)
        return await self._replay()

    async def own(self) -> Replay:
        """As `open`; whoever owned it before can no longer write."""
        replay = await self.open()
        while self.shared:
            if await self._write(_OWNER, [b""], self._position) == self._position:
                self._position += 1
                break
            replay = await self._replay()
        return replay

    async def append(self, events: Sequence[bytes]) -> None:
        """All of them or none, durable when it returns. Raises `LogFull`, `JournalMoved`."""
        if events:
            first = await self._write_next(EVENT, events)
            self._position = first + len(events)
            self._events_since_snapshot += len(events)

    async def snapshot(self, state: bytes) -> None:
        """`state`, which is that of `position`, stands for all events so far, which are forgotten. Raises `LogFull`,
        `JournalMoved`: then it does not."""
        offset = await self._write_next(SNAPSHOT, [state])
        self._position = max(self._position, offset + 1)
        self._events_since_snapshot = 0
        await self._log.trim(self._name, offset)

    async def propose(self, events: Sequence[bytes], expected: int) -> bool:
        """Events decided on the state of the position `expected`; False where another was first: they are then nothing.
        Durable when it returns, and seen by `catch_up`, also here."""
        return await self._write(EVENT, events, expected) == expected

    async def add(self, events: Sequence[bytes]) -> None:
        """Events that hold whatever came before them. Durable when it returns, and seen by `catch_up`, also here."""
        await self._log.append(self._name, Records.of([EVENT] * len(events), events))

    async def behind(self) -> bool:
        """Whether there is more than has been read."""
        # What nothing is appended to answers with its next offset: one question, where the bounds are two.
        return await self._log.append(self._name, Records.empty()) > self._position

    async def wait(self) -> None:
        """Returns when there is more than has been read."""
        await self._log.wait(self._name, self._position)

    async def catch_up(self, apply: Callable[[Replay], None], to: int | None = None) -> None:
        """Reads what has come, or as far as `to`, an offset after records that are known to be there. `apply` gets it in
        order, and has applied it when `position` is behind it. There is a snapshot in it where what was next has been
        forgotten meanwhile."""
        async with self._reading:
            first, end = await self._log.bounds(self._name) if to is None else (0, to)
            while self._position < end:
                try:
                    if self._position < first:
                        raise OffsetOutOfRange(f"{self._name} begins at {first}")
                    batch = await self._log.read(self._name, self._position, _READ_SIZE)
                except OffsetOutOfRange:
                    apply(await self._replay())
                    return
                records = self._counting(batch)
                is_event = pc.equal(records.partition_key, EVENT)
                apply(Replay(None, records.data.filter(is_event).to_pylist()))
                self._position = batch.next
                # A snapshot says what is known here already.
                snapshots = pc.indices_nonzero(pc.invert(is_event)).to_pylist()
                if snapshots:
                    self._events_since_snapshot = len(records) - snapshots[-1] - 1
                else:
                    self._events_since_snapshot += len(records)

    async def _replay(self) -> Replay:
        position, end = await self._log.bounds(self._name)
        replay = Replay(None, [])
        while position < end:
            try:
                batch = await self._log.read(self._name, position, _READ_SIZE)
            except OffsetOutOfRange:
                if not self.shared:
                    raise
                return await self._replay()  # somebody has shortened it
            replay = replay.followed_by(self._counting(batch))
            position = batch.next
        self._position = position
        self._events_since_snapshot = len(replay.events)
        return replay

    def _counting(self, batch: Batch) -> Records:
        """The records of a batch that count, their keys only their kinds. Called with each batch once, in order."""
        return counting(batch)

    async def _write_next(self, kind: str, data: Sequence[bytes]) -> int:
        """At `position`, or behind records that count for nothing. Raises `JournalMoved`."""
        while True:
            expected = self._position
            first = await self._write(kind, data, expected)
            if first == expected:
                return first
            position, end = expected, (await self._log.bounds(self._name))[1]
            while position < end:
                batch = await self._log.read(self._name, position, _READ_SIZE)
                if len(counting(batch, (EVENT, SNAPSHOT, _OWNER))):
                    raise JournalMoved(
                        f"another process has written to the journal {self._name}, and this one no longer can"
                    )
                position = batch.next
            self._position = max(self._position, end)

    async def _write(self, kind: str, data: Sequence[bytes], expected: int) -> int:
        keys = [kind] * len(data)
        if self.shared:
            keys = [f"{kind} {offset}" for offset in range(expected, expected + len(data))]
            return await self._log.append(self._name, Records.of(keys, data))
        await self._log.append(self._name, Records.of(keys, data))
        return expected


def counting(batch: Batch, kinds_wanted: Collection[str] = (EVENT, SNAPSHOT)) -> Records:
    """The records of a journal that lie where they expect to, their keys only their kinds."""
    records = batch.records
    if not pc.any(pc.match_substring(records.partition_key, " ")).as_py():
        return records
    kinds: list[str] = []
    data: list[bytes] = []
    for offset, (key, value) in enumerate(
        zip(records.partition_key.to_pylist(), records.data.to_pylist(), strict=True), batch.first
    ):
        kind, _, expected = key.partition(" ")
        if kind in kinds_wanted and (not expected or int(expected) == offset):
            kinds.append(kind)
            data.append(value)
    return Records.of(kinds, data)
