"""Manifests: what each object holds, one line of JSON for each, beside the data that the log holds (see `pages`).

    {"kind": "base", …}      first on each page: which offsets had been settled by then
    {"kind": "object", …}    one object: where it is, its bytes and their SHA-256, its records and where they came from
    {"kind": "request", …}   the same for a request that an HTTP endpoint has taken; its key is the request's id
    {"kind": "dropped", …}   records that a function dropped, or in which there was nothing
    {"kind": "lost", …}      the source's retention ended before these were read
    {"kind": "passed", …}    offsets of a Kafka topic that hold no record: ends of transactions, what was aborted or compacted
    {"kind": "rebased", …}   the source is another stream under the same name: positions begin anew
    {"kind": "shards", …}    what the source consists of now

Lines of a plan are durable before the journal says that the plan is delivered. A crash in between writes them again, maybe
onto another page, whose base knows nothing of them: who reads takes each once. A crash may also leave half a line at the end
of a file; its plan was not delivered, so it comes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from connectors.delivered.contract import Layout, ShardEntry
from firehose.events import Plan
from firehose.ledger import Coverage, Parts
from firehose.pages import Pages, Placed
from firehose.stream import Lane
from streams.core.clock import Clock
from streams.core.shards import Shard


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

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class Manifests:
    """Writes those of one lane. What a method notes is durable when it returns. Each raises `OSError`, `LogError`, `LogFull`."""

    def __init__(self, pages: Pages, lane: Lane, clock: Clock, transform: str | None) -> None:
        self._pages = pages
        self._lane = lane
        self._clock = clock
        self._transform = transform
        self._listed: tuple[str, list[ShardEntry]] | None = None
        self._writing = asyncio.Lock()  # what is lost is noted while a delivery is under way

    async def begin(self) -> None:
        """Before anything is delivered: notes what had been by then, where nothing is noted yet."""
        if not await self._pages.begun():
            await self._write([])

    async def delivered(self, plan: Plan, missing: Sequence[str]) -> None:
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
            await self._write(lines)

    async def lost(self, shard: str, before: int, first: int = 0) -> None:
        await self._write([Lost(self._clock.now_ms(), shard, before, first)])

    async def passed(self, coverage: Sequence[Coverage]) -> None:
        await self._write([Passed(self._clock.now_ms(), [Cover.of(part) for part in coverage])])

    async def listed(self, stream: str, shards: Sequence[Shard]) -> None:
        """The source consists of these."""
        entries = [ShardEntry.of(shard) for shard in shards]
        if (stream, entries) != self._listed:
            await self._write([Shards(self._clock.now_ms(), stream, entries)])
            self._listed = (stream, entries)

    async def rebased(self, positions: dict[str, int]) -> None:
        await self._write([Rebased(self._clock.now_ms(), positions)])

    async def _write(self, lines: Sequence[Line]) -> None:
        async with self._writing:
            await self._pages.write(
                [_encode(line) for line in lines], lambda: _encode(self._base()), self._clock.now_ms()
            )

    def _base(self) -> Base:
        ahead = [(shard, ledger.ahead(shard)) for shard, ledger in self._lane.ledgers.items()]
        covers = [Cover.of(coverage) for _, coverage in ahead if coverage is not None]
        return Base(self._clock.now_ms(), self._lane.positions(), covers, self._lane.stream.splits)


def read_manifests(pages: Pages) -> Iterator[tuple[str, Line]]:
    """All lines of a lane in order, each once, with the page that it is on. Raises ValueError for what is no line and
    stands where a crash cannot have left it; what `Pages.read` raises."""
    for placed, line in _once(pages):
        yield placed.page, line


def lines_of(pages: Pages) -> Iterator[tuple[str, Line]]:
    """The same with the place of each, which `line_at` takes."""
    for placed, line in _once(pages):
        yield placed.place, line


def line_at(pages: Pages, place: str) -> Line:
    """Raises ValueError for what is no place, `OSError` where nothing is there (any more)."""
    return _decode(pages.at(place))


def _once(pages: Pages) -> Iterator[tuple[Placed, Line]]:
    seen: set[tuple[str, str]] = set()
    for placed, line in _read(pages):
        match line:
            case Object() | Request():
                identity = (line.plan, line.key)
            case Dropped():
                identity = (line.plan, "")
            case _:
                yield placed, line
                continue
        if identity not in seen:
            seen.add(identity)
            yield placed, line


def noted_again(pages: Pages) -> set[str]:
    """The plans whose lines stand on several pages: the journal did not have them yet when the first of those ended. As
    far as the lines can be read."""
    first: dict[str, str] = {}
    again: set[str] = set()
    try:
        for placed, line in _read(pages):
            if isinstance(line, Object | Dropped) and first.setdefault(line.plan, placed.page) != placed.page:
                again.add(line.plan)
    except ValueError:
        pass
    return again


def _read(pages: Pages) -> Iterator[tuple[Placed, Line]]:
    for placed in pages.read():
        try:
            line = _decode(placed.text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not placed.text.endswith(b"}"):  # half a line: its plan was written again
                continue
            raise ValueError(f"{placed.where}: {error}") from error
        yield placed, line
