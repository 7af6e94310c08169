"""What a delivery stream has delivered, for a reader of its source: read from its manifests (see `connectors.delivered`).

A reader wants the records as the source had them. The lane of originals has them where a delivery stream keeps one; else the
main lane has, unless a function or the taking apart of records has made others of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import msgspec

from connectors.delivered.contract import Contents, Entry, Hole, Index, Run, ShardEntry, packed
from firehose.events import BACKUP, MAIN
from firehose.ledger import Coverage, Ledger
from firehose.manifests import Base, Dropped, Line, Lost, Object, Passed, Rebased, Request, Shards, line_at, lines_of
from firehose.pages import Pages
from firehose.stream import DeliveryStream
from streams.core.errors import InvalidArgument, ResourceNotFound

LOST = "their retention ended before they were delivered"
PASSED = "the topic has no records there"
DROPPED = "they were dropped, or held nothing"
FUNCTION = "a function has made others of them: {key}"
REQUEST = "they went to an HTTP endpoint"
APART = "they were taken apart, or delivered by a release that did not note their order: {key}"
UNKNOWN = "no manifest says where they are"


def lane_of(stream: DeliveryStream) -> str:
    """The lane that has the records as the source had them, if any has."""
    return BACKUP if BACKUP in stream.lanes else MAIN


def index_of(stream: DeliveryStream, pages: Mapping[str, Pages]) -> Index:
    """`pages` hold the manifests of each lane. Blocks; raises `OSError`, `LogError`, `ResourceNotFound` where there are none,
    `InvalidArgument` for manifests that cannot be read."""
    lane = lane_of(stream)
    reading = _Reading()
    try:
        for place, line in lines_of(pages[lane]):
            reading.take(f"{lane}/{place}", line)
    except ValueError as error:
        raise InvalidArgument(f"The manifests of delivery stream {stream.name} cannot be read: {error}.") from error
    if not reading.begun:
        raise ResourceNotFound(f"Delivery stream {stream.name} has no manifests: it has delivered nothing yet.")
    source = stream.lanes[lane].source
    return Index(
        stream.name,
        source.stream,
        source.id,
        list(reading.shards.values()),
        {shard: runs for shard in reading.settled if (runs := reading.runs(shard))},
        {shard: sorted(holes, key=lambda hole: hole.first) for shard, holes in reading.holes.items()},
        reading.objects,
    )


def contents_of(
    stream: DeliveryStream, pages: Mapping[str, Pages], place: str, url_of: Callable[[str], str]
) -> Contents:
    """The object at a `place` that the index gave; `url_of` is that of a bucket's store. Raises `ResourceNotFound`."""
    lane, _, rest = place.partition("/")
    try:
        if lane not in stream.lanes:
            raise ValueError(f"there is no lane {lane}")
        line = line_at(pages[lane], rest)
    except (OSError, ValueError) as error:
        what = f"Delivery stream {stream.name} has no object at {place[:200]!r}: {error}."
        raise ResourceNotFound(what) from error
    if not isinstance(line, Object) or line.layout is None:
        raise ResourceNotFound(f"Delivery stream {stream.name} has no object to read back at {place[:200]!r}.")
    layout = line.layout
    covered = {cover.shard: cover.coverage(parts=False) for cover in line.coverage}
    counts = tuple(covered[shard].count() for shard in layout.shards)
    if layout.offsets is None:
        offsets = tuple(packed(covered[shard].offsets()) for shard in layout.shards)
    else:
        offsets = (layout.offsets,)
    return Contents(url_of(line.bucket), line.key, line.size, line.sha256, line.records, layout, counts, offsets)


class _Reading:
    """A machine: lines of one lane in order. `settled` is what they account for, of which `holes` cannot be read back."""

    def __init__(self) -> None:
        self._begin()
        self.begun = False

    def _begin(self) -> None:
        self.begun = True
        self.objects: list[Entry] = []
        self.shards: dict[str, ShardEntry] = {}
        self.settled: dict[str, Ledger] = {}
        self.first: dict[str, int] = {}
        self.holes: dict[str, list[Hole]] = defaultdict(list)

    def take(self, place: str, line: Line) -> None:
        match line:
            case Base():
                self._base(line)
            case Shards():
                for entry in line.shards:
                    self.shards[entry.id] = entry
            case Lost():
                first = max(line.first, self._ledger(line.shard).low)
                self._settle(Coverage(line.shard, first, max(first, line.before)), LOST)
            case Passed():
                for cover in line.coverage:
                    self._settle(cover.coverage(), PASSED)
            case Rebased():
                # Nothing from before is of this source.
                self._begin()
                for shard, position in line.positions.items():
                    self._ledger(shard, position)
            case Dropped():
                for cover in line.coverage:
                    self._settle(cover.coverage(parts=False), DROPPED)
            case Object():
                self._object(place, line)

    def runs(self, shard: str) -> list[Run]:
        """What can be read back, in order."""
        found, at = [], self.first[shard]
        end = self.settled[shard].low
        for hole in sorted(self.holes.get(shard, ()), key=lambda hole: hole.first):
            if hole.first > at:
                found.append(Run(at, min(hole.first, end)))
            at = max(at, hole.next)
        if at < end:
            found.append(Run(at, end))
        return [run for run in found if run.first < run.next]

    def _ledger(self, shard: str, position: int = 0) -> Ledger:
        if shard not in self.settled:
            self.settled[shard], self.first[shard] = Ledger(position), position
        return self.settled[shard]

    def _base(self, line: Base) -> None:
        for shard, position in line.positions.items():
            if self.begun:
                self._skip(shard, position, UNKNOWN)
            else:
                self._ledger(shard, position)
        self.begun = True
        for cover in line.ahead:
            coverage = cover.coverage(parts=False)
            if self._ledger(cover.shard).again(coverage) < coverage.count():
                self._settle(coverage, UNKNOWN)

    def _skip(self, shard: str, before: int, why: str) -> None:
        ledger = self._ledger(shard)
        if before > ledger.low:
            self.holes[shard].append(Hole(ledger.low, before, why))
            ledger.skip_to(before)

    def _object(self, place: str, line: Object) -> None:
        why = None
        if isinstance(line, Request):
            why = REQUEST
        elif line.transform is not None:
            why = FUNCTION.format(key=line.key)
        elif line.layout is None:
            why = APART.format(key=line.key)
        covered = [cover.coverage(parts=False) for cover in line.coverage]
        for coverage in covered:
            self._settle(coverage, why)
        if line.layout is not None and why is None:
            bounds = {coverage.shard: (coverage.first, coverage.next) for coverage in covered}
            self.objects.append(Entry(place, line.key, bounds, line.oldest_ms, line.newest_ms, line.layout.form))

    def _settle(self, coverage: Coverage, why: str | None) -> None:
        if coverage.next > coverage.first:
            self._ledger(coverage.shard).settle(msgspec.structs.replace(coverage, parts=None))
            if why is not None:
                first = max(coverage.first, self.first[coverage.shard])
                self.holes[coverage.shard].append(Hole(first, coverage.next, why))
