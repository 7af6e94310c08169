"""Proves of one lane, by its manifests, that every record which is settled is in exactly one place, and that the places are
as they were made.

The manifests are replayed into a ledger of their own. A line that covers what a line before it has covered is an overlap; a
difference between that ledger and the journal's in the end is a gap. Then each object is looked up in its store.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np

from connectors.files import Store
from firehose.events import MAIN
from firehose.ledger import Coverage, Ledger
from firehose.manifests import (
    Base,
    Dropped,
    Line,
    Lost,
    Object,
    Passed,
    Rebased,
    Request,
    noted_again,
    read_manifests,
)
from firehose.pages import Pages
from firehose.stream import Lane

Kind = Literal["overlap", "gap", "missing", "damaged", "manifest"]

FINDINGS_MAX = 1_000
"""Findings that a report keeps: a bucket that is gone would give one for each object."""

_READ_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """`overlap`: records that are in two places; `gap`: settled by the journal and in no place, or the other way round;
    `missing`, `damaged`: an object that is not there, or is not what was put there; `manifest`: a line that cannot be
    read, or does not go on where the one before it ended."""

    kind: Kind
    where: str
    what: str


@dataclass(slots=True)
class Report:
    """`records` are those in objects and requests, `looked` objects of which `bytes` were read; `findings` are the first
    `FINDINGS_MAX` of `wrong`."""

    stream: str
    lane: str
    objects: int = 0
    requests: int = 0
    records: int = 0
    dropped: int = 0
    lost: int = 0
    bytes: int = 0
    settled: dict[str, int] = field(default_factory=dict)
    wrong: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: Kind, where: str, what: str) -> None:
        self.wrong += 1
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(kind, where, what))


def verify_lane(lane: Lane, pages: Pages, open_store: Callable[[str], Store], *, contents: bool = True) -> Report:
    """`pages` hold the lane's manifests. Without `contents` only the sizes of objects are compared. Raises what a store
    raises that cannot be asked, and what `Pages.read` raises."""
    report = Report(lane.name, lane.id)
    settled = _replay(lane, pages, report)
    if settled is None:
        if lane.id == MAIN and lane.positions() != lane.stream.created.positions:
            report.add("manifest", pages.title, "there are no manifests, and records have been delivered")
        return report
    report.settled = {shard: ledger.low for shard, ledger in settled.items()}
    held = _held(lane, pages)
    for shard in sorted({*settled, *held}):
        _compare(shard, settled.get(shard, Ledger(0)), held.get(shard, Ledger(0)), report)
    for line in _lines(pages):
        if isinstance(line, Object) and not isinstance(line, Request):
            _look(line, open_store(line.bucket), report, contents=contents)
    return report


def _replay(lane: Lane, pages: Pages, report: Report) -> dict[str, Ledger] | None:
    """What the manifests say is settled; None without any."""
    settled: dict[str, Ledger] | None = None
    splits = 0
    owners: Counter[str] = Counter()
    # What the journal did not have yet when a page was begun. Its lines stand before the base all the same.
    open_ = {*noted_again(pages), *lane.plans}
    ahead: list[Coverage] = []
    passed: dict[str, Coverage] = {}
    """What no object has, the last of each shard: the journal may not have had it yet when a page was begun."""
    lines = read_manifests(pages)
    while True:
        try:
            page, line = next(lines)
        except StopIteration:
            if settled is not None and lane.stream.splits > splits:
                _forget_parts(settled)
            return settled
        except ValueError as error:
            report.add("manifest", pages.title, str(error))
            return settled
        if settled is None and not isinstance(line, Base):
            report.add("manifest", page, "it does not begin with what had been settled by then")
            settled = {}
        of_parts = getattr(line, "splits", splits)
        if of_parts > splits:
            splits = of_parts
            _forget_parts(settled or {})
            ahead = [msgspec.structs.replace(coverage, parts=None) for coverage in ahead]
        match line:
            case Base():
                base = _ledgers(line)
                for coverage in ahead:
                    base.setdefault(coverage.shard, Ledger(0)).settle(coverage)
                for shard, coverage in passed.items():
                    base.setdefault(shard, Ledger(0)).settle(coverage)
                if settled is not None:
                    for shard in sorted({*base, *settled}):
                        _compare(shard, settled.get(shard, Ledger(0)), base.get(shard, Ledger(0)), report, page)
                settled = base
            case Lost():
                assert settled is not None
                ledger = settled.setdefault(line.shard, Ledger(0))
                report.lost += max(0, line.before - max(line.first, ledger.low))
                passed[line.shard] = line.coverage
                ledger.settle(line.coverage)
            case Passed():
                assert settled is not None
                for cover in line.coverage:
                    passed[cover.shard] = cover.coverage()
                    settled.setdefault(cover.shard, Ledger(0)).settle(passed[cover.shard])
            case Rebased():
                ahead, passed = [], {}
                settled = {shard: Ledger(position) for shard, position in line.positions.items()}
            case Object() | Dropped():
                assert settled is not None
                where = line.key if isinstance(line, Object) else "dropped"
                for cover in line.coverage:
                    coverage = cover.coverage(parts=of_parts == splits)
                    ledger = settled.setdefault(coverage.shard, Ledger(0))
                    again = covered_again(ledger, coverage)
                    if again:
                        what = f"{again} of its records in {coverage.shard} are in an earlier place too"
                        report.add("overlap", where, what)
                    ledger.settle(coverage)
                    if line.plan in open_:
                        ahead.append(coverage)
                    if isinstance(line, Dropped):
                        report.dropped += coverage.count()
                if isinstance(line, Object):
                    owners[f"{line.bucket}/{line.key}"] += 1
                    report.objects += not isinstance(line, Request)
                    report.requests += isinstance(line, Request)
                    report.records += line.records
                    if not isinstance(line, Request) and owners[f"{line.bucket}/{line.key}"] > 1:
                        report.add("overlap", where, "two plans made an object of this name")


def _held(lane: Lane, pages: Pages) -> dict[str, Ledger]:
    """What the journal says is settled, and what it is about to: a process that ended between the manifest's lines of a
    plan and the journal's word for it left the plan open."""
    held = {shard: ledger.copy() for shard, ledger in lane.ledgers.items()}
    passed: dict[str, Coverage] = {}
    for line in _lines(pages):
        if isinstance(line, Object | Dropped) and line.plan in lane.plans:
            for cover in line.coverage:
                coverage = cover.coverage(parts=line.splits == lane.stream.splits)
                held.setdefault(cover.shard, Ledger(0)).settle(coverage)
        elif isinstance(line, Lost):
            passed[line.shard] = line.coverage
        elif isinstance(line, Passed):
            passed |= {cover.shard: cover.coverage() for cover in line.coverage}
        elif isinstance(line, Rebased):
            passed = {}
    for shard, coverage in passed.items():  # noted first, then in the journal
        held.setdefault(shard, Ledger(0)).settle(coverage)
    return held


def _forget_parts(ledgers: Mapping[str, Ledger]) -> None:
    """Of records that come apart in another way from here on."""
    for ledger in ledgers.values():
        ledger.forget_parts()


def covered_again(ledger: Ledger, coverage: Coverage) -> int:
    """How many records, or parts of records, of `coverage` are settled already."""
    again = ledger.again(coverage)
    if coverage.parts is not None:
        entries = list(coverage.parts.entries())
        offsets = np.array([offset for offset, _, _ in entries], np.int64)
        subs = np.array([sub for _, sub, _ in entries], np.int64)
        whole = np.array([ledger.settled(offset, offset + 1)[0] for offset in offsets.tolist()], np.bool_)
        again += int((whole | ~ledger.unsettled_parts(offsets, subs)).sum())
    return again


def _ledgers(base: Base) -> dict[str, Ledger]:
    ledgers = {shard: Ledger(position) for shard, position in base.positions.items()}
    for cover in base.ahead:
        ledgers.setdefault(cover.shard, Ledger(0)).settle(cover.coverage())
    return ledgers


def _compare(shard: str, told: Ledger, held: Ledger, report: Report, where: str = "the journal") -> None:
    """`told` by the manifests, `held` by the journal or by a later manifest."""
    end = max(told.end, held.end)
    first = min(told.low, held.low)
    differs = np.flatnonzero(told.settled(first, end) != held.settled(first, end)) if end > first else np.zeros(0)
    if len(differs):
        at = first + int(differs[0])
        side = "in no manifest" if held.settled(at, at + 1)[0] else "in a manifest, and not settled"
        report.add("gap", shard, f"{len(differs)} records from offset {at} on are {side} by {where}")
    elif told.ahead(shard) != held.ahead(shard):
        report.add("gap", shard, f"parts of records are settled otherwise by {where}")


def _lines(pages: Pages) -> Iterator[Line]:
    """As far as they can be read: what cannot was reported before."""
    try:
        for _, line in read_manifests(pages):
            yield line
    except ValueError:
        return


def _look(one: Object, store: Store, report: Report, *, contents: bool) -> None:
    where = f"{one.bucket}/{one.key}"
    size = store.size(one.key)
    if size is None:
        report.add("missing", where, f"it is not there; {one.records} records were in it")
    elif size != one.size:
        report.add("damaged", where, f"it has {size} bytes, and {one.size} were put there")
    elif contents:
        digest = hashlib.sha256()
        with store.open(one.key) as file:
            while block := file.read(_READ_SIZE):
                digest.update(block)
                report.bytes += len(block)
        if digest.hexdigest() != one.sha256:
            report.add("damaged", where, "its bytes are not those that were put there")
