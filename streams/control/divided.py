"""A journal that many processes write to, each the parts of it that are its own (`streams.core.work`).

All of them read all of it, so each knows the whole state. Who is to write to a part claims it first:

    key   = "claim"                              data: the parts, decimal, with commas
          / "part" part epoch                    an event of that part; `epoch` is the offset of its claim
          / "snapshot" expected claims           claims = *( epoch ":" parts ";" ), in force at the snapshot

An event counts only under the latest claim of its part. So a process that was away, and whose parts others have claimed
meanwhile, may go on to write: it changes nothing, and reads so. Nobody waits for anybody, and events of different parts
never get in each other's way. A snapshot is written by anybody who has read up to its place.

Records of a journal that one owner wrote (`Journal.own`) count as they did. A log that was copied into a folder has one owner
again, who reads all of this and writes no claims.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence

from streams.control import journal
from streams.control.journal import Journal, Replay
from streams.core.errors import JournalMoved
from streams.core.records import Batch, Records
from streams.log.log import Log

_CLAIM = "claim"
_PART = "part"


class Counting:
    """A machine: the records of such a journal in order, and of them those that count."""

    def __init__(self) -> None:
        self.claims: dict[int, int] = {}
        """The epoch of each part's latest claim."""

    def take(self, first: int, records: Records) -> Records:
        """Those that count of what lies from `first` on, their keys only their kinds."""
        kinds: list[str] = []
        data: list[bytes] = []
        for offset, (key, value) in enumerate(
            zip(records.partition_key.to_pylist(), records.data.to_pylist(), strict=True), first
        ):
            kind = self._kind(key, value, offset)
            if kind is not None:
                kinds.append(kind)
                data.append(value)
        return Records.of(kinds, data)

    def _kind(self, key: str, value: bytes, offset: int) -> str | None:
        """What a record is, if it counts."""
        kind, *rest = key.split(" ")
        if kind == _CLAIM:
            self.claims.update(dict.fromkeys(map(int, value.split(b",")), offset))
            return None
        if kind == _PART:
            part, epoch = map(int, rest)
            return journal.EVENT if self.claims.get(part) == epoch else None
        if kind not in (journal.EVENT, journal.SNAPSHOT) or (rest and int(rest[0]) != offset):
            return None
        if kind == journal.SNAPSHOT and len(rest) > 1:
            self.claims = _read_claims(rest[1])
        return kind


class DividedJournal(Journal):
    def __init__(self, log: Log, name: str) -> None:
        super().__init__(log, name)
        self._read = Counting()

    async def claim(self, parts: Collection[int], apply: Callable[[Replay], None]) -> int:
        """The epoch under which this process writes to the parts from now on. All that others have written to them is
        applied when it returns, and what they write from now on is nothing."""
        data = ",".join(map(str, sorted(parts))).encode()
        epoch = await self._log.append(self._name, Records.of([_CLAIM], [data]))
        await self.catch_up(apply, epoch + 1)
        return epoch

    async def write(self, part: int, epoch: int, events: Sequence[bytes], apply: Callable[[Replay], None]) -> None:
        """All of them or none; durable and applied when it returns. Raises `JournalMoved` where the part is another
        process's by now: then they may count, or not."""
        keys = [f"{_PART} {part} {epoch}"] * len(events)
        first = await self._log.append(self._name, Records.of(keys, events))
        await self.catch_up(apply, first + len(events))
        if self._read.claims.get(part) != epoch:
            raise JournalMoved(f"another process has taken part {part} of the journal {self._name}")

    async def snapshot(self, state: bytes) -> None:
        """`state` is that of `position`. Raises `JournalMoved` where somebody has written there meanwhile."""
        if not self.shared:
            await super().snapshot(state)
            return
        expected = self._position
        key = f"snapshot {expected} {self._written_claims()}"
        offset = await self._log.append(self._name, Records.of([key], [state]))
        if offset != expected:
            raise JournalMoved(f"{self._name} went on while a snapshot of it was written")
        await self._log.trim(self._name, offset)

    def _counting(self, batch: Batch) -> Records:
        return self._read.take(batch.first, batch.records)

    def _written_claims(self) -> str:
        parts: dict[int, list[str]] = defaultdict(list)
        for part, epoch in sorted(self._read.claims.items()):
            parts[epoch].append(str(part))
        return "".join(f"{epoch}:{','.join(names)};" for epoch, names in parts.items())


def _read_claims(text: str) -> dict[int, int]:
    claims = {}
    for group in text.split(";")[:-1]:
        epoch, _, parts = group.partition(":")
        claims.update(dict.fromkeys(map(int, parts.split(",")), int(epoch)))
    return claims
