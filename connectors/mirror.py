"""`Mirror`: follows a stream of any Kinesis endpoint and puts its records into a stream of ours, each exactly once.

What is about to be put (from which record to which, of which shard, under which number) is in a state file before the put,
and the put carries that number (`ProducerMark`). A mirror that was killed reads exactly that range again and puts it under
the same number, which the log takes once. A shard's records keep their order, and its children's come after them.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from connectors.kinesis import SourceBatch, SourceRecord, SourceShard
from connectors.streams import StreamSink
from streams.core.clock import Clock, SystemClock
from streams.core.durable import sync_folder
from streams.core.errors import HeadraceError
from streams.core.hashing import hash_key
from streams.core.records import Records
from streams.sdk.client import Client


class MirrorError(HeadraceError):
    """The mirror cannot go on: what is wrong, and what would be right."""


class Place(msgspec.Struct, forbid_unknown_fields=True):
    """How far a shard is mirrored. Records up to the one numbered `after` are in the target; those behind it up to `upto` are
    being put under `number`. Numbers of records are text: they have 56 digits."""

    number: int = 0
    after: str | None = None
    upto: str | None = None
    ended: bool = False


class State(msgspec.Struct, forbid_unknown_fields=True):
    """Of one mirror. `made` is when the source's stream was, and `start_ms` where shards begin that were there first."""

    source: str
    stream: str
    made: float
    target: str
    producer: str
    start_ms: int | None
    first: list[str]
    places: dict[str, Place] = {}


@dataclass(slots=True)
class Progress:
    """Since this mirror began: records put, and how far each shard that is being read is behind, ms."""

    records: int = 0
    behind_ms: dict[str, int] = field(default_factory=dict)


class Source(Protocol):
    """What is followed: see `KinesisSource`."""

    async def created(self) -> float: ...

    async def shards(self) -> list[SourceShard]: ...

    def read(self, shard: str, *, after: int | None, start_ms: int | None) -> AsyncIterator[SourceBatch]: ...

    def close(self) -> None: ...


class Mirror:
    """From the source's stream into `target`. `identity` says which endpoint the source is: a state file is of one source and
    one target. It is made where there is none; `start_ms` is then where the shards begin (None: the oldest record).

    Records whose key does not lie in their shard were put with an explicit hash key, which no reader is told: they keep
    together, since they get the shard's first hash key.
    """

    def __init__(
        self,
        source: Source,
        client: Client,
        target: str,
        file: Path,
        *,
        identity: str,
        stream: str,
        start_ms: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._source = source
        self._client = client
        self._target = target
        self._file = file
        self._identity = identity
        self._stream = stream
        self._start_ms = start_ms
        self._clock = clock or SystemClock()
        self._follow = True
        self._reading: dict[str, asyncio.Task[None]] = {}
        self.progress = Progress()

    async def run(self, *, follow: bool = True) -> None:
        """Until it is cancelled, or the stream's last shard has ended; without `follow`, until everything that is there has
        been put. Raises `MirrorError`, what the source refuses, and what the target does."""
        self._follow = follow
        with _locked(self._file):
            book = _Book(self._file, await self._opened())
            await book.save()
            done: set[str] = set()
            try:
                while await self._begin(book, done):
                    await asyncio.wait(self._reading.values(), return_when=asyncio.FIRST_COMPLETED)
                    for shard, task in list(self._reading.items()):
                        if task.done():
                            del self._reading[shard]
                            task.result()
                            done.add(shard)
            finally:
                for task in self._reading.values():
                    task.cancel()
                await asyncio.gather(*self._reading.values(), return_exceptions=True)

    async def _opened(self) -> State:
        """What the file says, or that of a new mirror."""
        made = await self._source.created()
        try:
            state = msgspec.json.decode(self._file.read_bytes(), type=State)
        except FileNotFoundError:
            first = [shard.id for shard in await self._source.shards()]
            producer = uuid.uuid4().hex
            return State(self._identity, self._stream, made, self._target, producer, self._start_ms, first)
        except msgspec.DecodeError as error:
            raise MirrorError(f"{self._file} is no state of a mirror: {error}") from error
        if (state.source, state.stream, state.target) != (self._identity, self._stream, self._target):
            raise MirrorError(
                f"{self._file} belongs to the mirror of {state.stream} at {state.source} into {state.target}: "
                "give this one a file of its own"
            )
        if state.made != made:
            raise MirrorError(
                f"the stream {self._stream} was deleted and made anew since {self._file} was begun: "
                "give the new one a file of its own"
            )
        return state

    async def _begin(self, book: _Book, done: set[str]) -> bool:
        """Begins all shards whose parents have ended; whether anything is being read."""
        shards = await self._source.shards()
        places = book.state.places
        listed = {shard.id for shard in shards}
        for gone in places.keys() - listed:
            del places[gone]
        ended = {shard for shard, place in places.items() if place.ended}
        for shard in shards:
            if shard.id in ended or shard.id in self._reading or shard.id in done:
                continue
            if all(parent in ended or parent not in listed for parent in shard.parents):
                work = self._mirror(shard, book, places.setdefault(shard.id, Place()))
                self._reading[shard.id] = asyncio.create_task(work, name=f"mirror of {shard.id}")
        return bool(self._reading)

    async def _mirror(self, shard: SourceShard, book: _Book, place: Place) -> None:
        """Until the shard ends; without `follow`, until nothing more is there."""
        sink = StreamSink(self._client, self._target, f"{book.state.producer}/{shard.id}", clock=self._clock)
        after = None if place.after is None else int(place.after)
        start_ms = book.state.start_ms if shard.id in book.state.first else None
        begun: list[SourceRecord] = []
        async for batch in self._source.read(shard.id, after=after, start_ms=start_ms):
            records = batch.records
            self.progress.behind_ms[shard.id] = batch.behind_ms
            if place.upto is not None:
                # A mirror before this one may have put these, under this number.
                begun += (one for one in records if one.number <= int(place.upto))
                records = [one for one in records if one.number > int(place.upto)]
                if not records and not self._all_there(begun, place, batch):
                    continue
                await self._put(sink, shard, place, begun)
            if records:
                place.number += 1
                place.upto = str(records[-1].number)
                await book.save()
                await self._put(sink, shard, place, records)
            if not batch.records and not batch.behind_ms:
                if not shard.open:
                    break  # some endpoints never say that a shard has ended
                if not self._follow:
                    await book.save()
                    return
        if place.upto is not None:
            await self._put(sink, shard, place, begun)
        place.ended = True
        self.progress.behind_ms.pop(shard.id, None)
        await book.save()

    @staticmethod
    def _all_there(begun: Sequence[SourceRecord], place: Place, batch: SourceBatch) -> bool:
        """Whether the range that was begun has been read whole, or what is left of it behind the source's retention."""
        whole = bool(begun) and str(begun[-1].number) == place.upto
        return whole or (not batch.records and not batch.behind_ms)

    async def _put(self, sink: StreamSink, shard: SourceShard, place: Place, records: Sequence[SourceRecord]) -> None:
        """The range that is begun is done."""
        if records:
            await sink.put(place.number, _records(records, shard))
            self.progress.records += len(records)
        place.after, place.upto = place.upto, None


class _Book:
    """The state and its file. Saves that are asked for while one is under way become one."""

    def __init__(self, file: Path, state: State) -> None:
        self.state = state
        self._file = file
        self._one = asyncio.Lock()
        self._asked = 0
        self._saved = 0

    async def save(self) -> None:
        """The state as it is now is on disk when it returns. Raises `MirrorError`."""
        self._asked += 1
        asked = self._asked
        async with self._one:
            if self._saved >= asked:
                return
            saving, content = self._asked, msgspec.json.encode(self.state)
            try:
                await asyncio.to_thread(_replace, self._file, content)
            except OSError as error:
                raise MirrorError(f"{self._file} cannot be written: {error.strerror or error}") from error
            self._saved = saving


def _records(some: Sequence[SourceRecord], shard: SourceShard) -> Records:
    keys = [one.key for one in some]
    first = shard.hash_range.first.to_bytes(16, "big")
    given = [None if int.from_bytes(hash_key(key), "big") in shard.hash_range else first for key in keys]
    return Records.of(keys, [one.data for one in some], given if any(given) else None)


def _replace(file: Path, content: bytes) -> None:
    """Durable when it returns."""
    fresh = file.with_name(f".{file.name}.new")
    with fresh.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    sync_folder(file.parent)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One mirror at a time uses the file. The lock is beside it, since the file itself is replaced."""
    try:
        lock = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise MirrorError(f"{file} cannot be used: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MirrorError(f"another mirror is using {file}") from None
        yield
    finally:
        os.close(lock)
