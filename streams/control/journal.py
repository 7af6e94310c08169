"""A journal: the events that made a state, in a shard of the log. Appending is the commit; restart is replay.

One shard of the log holds one journal. A record's partition key says what it is: ``event`` or ``snapshot``; its data
are bytes that the owner encodes. A snapshot stands for everything before it, which is then trimmed, so that replay stays
short. A crash between the two leaves older records before the snapshot; replay starts from the last snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from streams.core.records import Records
from streams.log.log import Log

_READ_SIZE = 8 << 20
_EVENT = "event"
_SNAPSHOT = "snapshot"


@dataclass(frozen=True, slots=True)
class Replay:
    """What a journal held: the last snapshot, if there is one, and the events after it, in order."""

    snapshot: bytes | None
    events: list[bytes]

    def followed_by(self, records: Records) -> Replay:
        """What the journal held with these records at its end. Takes the events over."""
        marks = pc.indices_nonzero(pc.equal(records.partition_key, _SNAPSHOT)).to_pylist()
        if marks:
            return Replay(records.data[marks[-1]].as_py(), records.data.slice(marks[-1] + 1).to_pylist())
        self.events.extend(records.data.to_pylist())
        return self


class Journal:
    """The journal `name` (a shard of `log`, by convention ``control/…``). One owner appends to it."""

    def __init__(self, log: Log, name: str) -> None:
        self._log = log
        self._name = name
        self._events_since_snapshot = 0

    @property
    def events_since_snapshot(self) -> int:
        """How many events a restart would replay: its owner writes a snapshot when this grows."""
        return self._events_since_snapshot

    async def open(self) -> Replay:
        """Creates the journal where it does not exist; reads it."""
        await self._log.create(self._name)
        replay = Replay(None, [])
        offset, end = await self._log.bounds(self._name)
        while offset < end:
            batch = await self._log.read(self._name, offset, _READ_SIZE)
            replay = replay.followed_by(batch.records)
            offset = batch.next
        self._events_since_snapshot = len(replay.events)
        return replay

    async def append(self, events: Sequence[bytes]) -> None:
        """All of them or none, durable when it returns. Raises `LogFull`."""
        if events:
            await self._log.append(self._name, Records.of([_EVENT] * len(events), events))
            self._events_since_snapshot += len(events)

    async def snapshot(self, state: bytes) -> None:
        """`state` stands for all events so far, which are forgotten."""
        offset = await self._log.append(self._name, Records.of([_SNAPSHOT], [state]))
        self._events_since_snapshot = 0
        await self._log.trim(self._name, offset)
