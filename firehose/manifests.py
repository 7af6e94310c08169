"""Manifests: what each object holds, one line of JSON for each, beside the data that the log holds.

    firehose/manifests/NUMBER/LANE/yyyy-MM-dd.ndjson     of the data directory; NUMBER is the delivery stream's own

    {"kind": "base", …}      first in each file: which offsets had been settled by then
    {"kind": "object", …}    one object: where it is, its bytes and their SHA-256, its records and where they came from
    {"kind": "request", …}   the same for a request that an HTTP endpoint has taken; its key is the request's id
    {"kind": "dropped", …}   records that a function dropped, or in which there was nothing
    {"kind": "lost", …}      the source's retention ended before these were read
    {"kind": "passed", …}    offsets of a Kafka topic that hold no record: ends of transactions, what was aborted or compacted
    {"kind": "rebased", …}   the source is another stream under the same name: positions begin anew
    {"kind": "shards", …}    what the source consists of now

Lines of a plan are on disk before the journal says that the plan is delivered. A crash in between writes them again, maybe
into the file of another day, whose base knows nothing of them: who reads takes each once. A crash may also leave half a line
at the end; its plan was not delivered, so it comes again.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from connectors.delivered.contract import Layout, ShardEntry
from firehose.events import Plan
from firehose.ledger import Coverage, Parts
from firehose.stream import Lane
from streams.core.clock import Clock
from streams.core.durable import sync_folder
from streams.core.shards import Shard

KEPT_MAX = 400
"""Files of one lane, days: a year and some, so that a year can be looked at as a whole."""


class Cover(msgspec.Struct, omit_defaults=True):
    """`Coverage` in JSON: offsets [first, next) of a shard; all of them, or those whose bit is set in `bits` (zstd of
    big-endian packed bits, base64), or those that `steps` lead to (zstd of the differences, int64); and `parts` of records that were taken apart, `count` of them (see
    `firehose.ledger.Parts`)."""

    shard: str
    first: int
    next: int
    bits: bytes | None = None
    count: int = 0
    parts: bytes | None = None
    steps: bytes | None = None

    @staticmethod
    def of(coverage: Coverage) -> Cover:
        parts = coverage.parts
        count, packed = (0, None) if parts is None else (parts.count, parts.packed)
        return Cover(coverage.shard, coverage.first, coverage.next, coverage.bits, count, packed, coverage.steps)

    def coverage(self, *, parts: bool = True) -> Coverage:
        """Without `parts` only the records that it covers whole."""
        packed = self.parts if parts else None
        of_parts = None if packed is None else Parts(self.count, packed)
        return Coverage(self.shard, self.first, self.next, self.bits, of_parts, self.steps)


class _Line(msgspec.Struct, tag_field="kind", omit_defaults=True):
    pass


class Base(_Line, tag="base"):
    """`positions` are the first offsets that are not settled; `ahead` is what is settled after them."""

    at_ms: int
    positions: dict[str, int]
    ahead: list[Cover]
    splits: int = 0


class Object(_Line, tag="object"):
    """`oldest_ms` and `newest_ms` are the arrivals of its first and last record, `version` the delivery stream's
    configuration, `transform` the function that its records went through. `plan` is the delivery that it was part of; `layout` says how
    records lie in it."""

    at_ms: int
    plan: str
    bucket: str
    key: str
    size: int
    sha256: str
    records: int
    oldest_ms: int
    newest_ms: int
    version: str
    coverage: list[Cover]
    transform: str | None = None
    splits: int = 0
    layout: Layout | None = None


class Request(Object, tag="request"):
    pass


class Dropped(_Line, tag="dropped"):
    at_ms: int
    plan: str
    coverage: list[Cover]
    splits: int = 0


class Lost(_Line, tag="lost"):
    """Offsets [first, before)."""

    at_ms: int
    shard: str
    before: int
    first: int = 0

    @property
    def coverage(self) -> Coverage:
        return Coverage(self.shard, self.first, self.before)


class Passed(_Line, tag="passed"):
    at_ms: int
    coverage: list[Cover]


class Rebased(_Line, tag="rebased"):
    at_ms: int
    positions: dict[str, int]


class Shards(_Line, tag="shards"):
    """`stream` is the id of the source's incarnation. A shard whose records are over is listed no more by then."""

    at_ms: int
    stream: str
    shards: list[ShardEntry]


Line = Base | Object | Request | Dropped | Lost | Passed | Rebased | Shards

_FILE = re.compile(r"\d{4}-\d\d-\d\d\.ndjson")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


def folder_of(data: Path, number: int) -> Path:
    """Of a delivery stream's manifests in a data directory; each lane has a folder of its name in it."""
    return data / "firehose" / "manifests" / str(number)


class Manifests:
    """Writes those of one lane. Methods block, and may be called from any thread."""

    def __init__(self, folder: Path, lane: Lane, clock: Clock, transform: str | None) -> None:
        self._folder = folder
        self._lane = lane
        self._clock = clock
        self._transform = transform
        self._listed: tuple[str, list[ShardEntry]] | None = None
        self._writing = threading.Lock()  # what is lost is noted while a delivery is under way

    def begin(self) -> None:
        """Before anything is delivered: notes what had been by then, where nothing is noted yet."""
        if not any(self._folder.glob("*.ndjson")):
            self._write([])

    def delivered(self, plan: Plan, missing: Sequence[str]) -> None:
        """All of the plan but what is `missing` is where it belongs."""
        now_ms = self._clock.now_ms()
        lines: list[Line] = []
        for one in plan.objects:
            if one.key in missing:
                continue
            kind = Request if one.request else Object
            lines.append(
                kind(
                    *(now_ms, plan.id, one.bucket, one.key, one.size, one.sha256, one.records),
                    *(one.oldest_ms, one.newest_ms, one.version or self._lane.version),
                    [Cover.of(part) for part in one.coverage],
                    self._transform,
                    plan.splits,
                    one.layout,
                )
            )
        if plan.dropped:
            lines.append(Dropped(now_ms, plan.id, [Cover.of(part) for part in plan.dropped], plan.splits))
        if lines:
            self._write(lines)

    def lost(self, shard: str, before: int, first: int = 0) -> None:
        self._write([Lost(self._clock.now_ms(), shard, before, first)])

    def passed(self, coverage: Sequence[Coverage]) -> None:
        self._write([Passed(self._clock.now_ms(), [Cover.of(part) for part in coverage])])

    def listed(self, stream: str, shards: Sequence[Shard]) -> None:
        """The source consists of these."""
        entries = [ShardEntry.of(shard) for shard in shards]
        if (stream, entries) != self._listed:
            self._write([Shards(self._clock.now_ms(), stream, entries)])
            self._listed = (stream, entries)

    def rebased(self, positions: dict[str, int]) -> None:
        self._write([Rebased(self._clock.now_ms(), positions)])

    def _write(self, lines: Sequence[Line]) -> None:
        with self._writing:
            self._append(lines)

    def _append(self, lines: Sequence[Line]) -> None:
        day = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        path = self._folder / f"{day:%Y-%m-%d}.ndjson"
        fresh = not path.exists()
        if fresh:
            self._folder.mkdir(parents=True, exist_ok=True)
            lines = [self._base(), *lines]
        with path.open("ab") as file:
            if not fresh and not _ends_whole(path):
                file.write(b"\n")
            file.write(b"".join(_encode(line) + b"\n" for line in lines))
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            sync_folder(self._folder)
            self._forget(day - timedelta(days=KEPT_MAX))

    def _base(self) -> Base:
        ahead = [(shard, ledger.ahead(shard)) for shard, ledger in self._lane.ledgers.items()]
        covers = [Cover.of(coverage) for _, coverage in ahead if coverage is not None]
        return Base(self._clock.now_ms(), self._lane.positions(), covers, self._lane.stream.splits)

    def _forget(self, before: datetime) -> None:
        for path in self._folder.glob("*.ndjson"):
            if path.stem < f"{before:%Y-%m-%d}":
                path.unlink()


def read_manifests(folder: Path) -> Iterator[tuple[Path, Line]]:
    """All lines of a lane in order, each once, with the file that it is in. Raises ValueError for what is no line and
    stands where a crash cannot have left it."""
    for path, _, line in _once(folder):
        yield path, line


def lines_of(folder: Path) -> Iterator[tuple[str, Line]]:
    """The same with the place of each, which `line_at` takes."""
    for path, at, line in _once(folder):
        yield f"{path.name}:{at}", line


def line_at(folder: Path, place: str) -> Line:
    """Raises ValueError for what is no place, `OSError` where there is no file (any more)."""
    name, _, at = place.partition(":")
    if not _FILE.fullmatch(name) or not at.isdecimal():
        raise ValueError("it is no place of a manifest")
    with (folder / name).open("rb") as file:
        file.seek(int(at))
        return _decode(file.readline())


def _once(folder: Path) -> Iterator[tuple[Path, int, Line]]:
    seen: set[tuple[str, str]] = set()
    for path, at, line in _read(folder):
        match line:
            case Object() | Request():
                identity = (line.plan, line.key)
            case Dropped():
                identity = (line.plan, "")
            case _:
                yield path, at, line
                continue
        if identity not in seen:
            seen.add(identity)
            yield path, at, line


def noted_again(folder: Path) -> set[str]:
    """The plans whose lines stand in the files of several days: the journal did not have them yet when the first of those
    days ended. As far as the lines can be read."""
    first: dict[str, Path] = {}
    again: set[str] = set()
    try:
        for path, _, line in _read(folder):
            if isinstance(line, Object | Dropped) and first.setdefault(line.plan, path) != path:
                again.add(line.plan)
    except ValueError:
        pass
    return again


def _read(folder: Path) -> Iterator[tuple[Path, int, Line]]:
    """With the byte of the file at which each line begins."""
    for path in sorted(folder.glob("*.ndjson")):
        following = 0
        for number, text in enumerate(path.read_bytes().split(b"\n"), 1):
            at, following = following, following + len(text) + 1
            if not text:
                continue
            try:
                line = _decode(text)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if not text.endswith(b"}"):  # half a line: its plan was written again
                    continue
                raise ValueError(f"{path}, line {number}: {error}") from error
            yield path, at, line


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
