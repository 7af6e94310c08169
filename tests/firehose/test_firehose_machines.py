"""The parts without I/O: buffer, ledger, prefixes, times, names."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firehose.buffer import DROPPED, OVERHEAD_SIZE, PIECE_SIZE, Buffer, Partition, Piece
from firehose.javatime import format_time
from firehose.ledger import Coverage, Ledger
from firehose.manifests import Cover
from firehose.names import key_fits
from firehose.prefix import Prefix, PrefixError


def piece(partition: Partition, size: int, records: int = 1) -> Piece:
    return Piece(partition, "shard", np.arange(records), None, size, 0, 0)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(-5, 40)), max_size=60),
    st.integers(0, 50),
)
def test_the_buffer_loses_nothing_and_flushes_in_time(pieces: list[tuple[int, int, int]], interval_ms: int) -> None:
    """After each step whatever is due is taken: then no chunk is as large or as old as the bounds."""
    buffer = Buffer(100, interval_ms)
    now = taken = records = 0
    opened: dict[Partition, int] = {}
    held: dict[Partition, int] = {}
    for put, (kind, size, passed) in enumerate(pieces, 1):
        now += passed
        partition = Partition("data", (str(kind),))
        buffer.add(piece(partition, size), now)
        opened.setdefault(partition, now)
        held[partition] = held.get(partition, 0) + size
        opened = {key: min(at, now) for key, at in opened.items()}
        due = buffer.due(now)
        assert set(due) == {key for key in held if held[key] >= 100 or now - opened[key] >= interval_ms}
        for chunk in buffer.take(due):
            taken += chunk.size
            records += chunk.records
            assert chunk.size == held.pop(chunk.partition)
            del opened[chunk.partition]
        deadline = buffer.deadline_ms()
        assert deadline == (min(opened.values()) + interval_ms if opened else None)
        assert buffer.weight == sum(held.values()) + (OVERHEAD_SIZE + PIECE_SIZE) * (put - records)
    rest = buffer.take(buffer.partitions())
    assert taken + sum(chunk.size for chunk in rest) == sum(size for _, size, _ in pieces)
    assert len(buffer) == buffer.weight == 0


def test_dropped_records_go_along_with_any_flush() -> None:
    buffer = Buffer(10, 1000)
    buffer.add(piece(Partition(DROPPED), 0), 0)
    buffer.add(piece(Partition(), 10), 1)
    assert [chunk.partition.kind for chunk in buffer.take(buffer.due(1))] == ["data", DROPPED]
    buffer.add(piece(Partition(DROPPED), 0), 0)
    assert [chunk.partition.kind for chunk in buffer.take(buffer.due(1000))] == [DROPPED]


@given(st.integers(0, 20), st.lists(st.sets(st.integers(0, 80), min_size=1), max_size=12), st.integers(0, 100))
def test_the_ledger_is_a_set_of_offsets(low: int, parts: list[set[int]], skipped: int) -> None:
    ledger, model = Ledger(low), set(range(low))
    for part in parts:
        ledger.settle(Coverage.of_offsets("s", np.array(sorted(part, reverse=True))))
        model |= part
    if skipped > low:
        ledger.skip_to(skipped)
        model |= set(range(skipped))
    assert ledger.low == next(offset for offset in range(200) if offset not in model)
    assert ledger.settled(0, 120).tolist() == [offset in model for offset in range(120)]
    assert ledger.settled(7, 9).tolist() == [offset in model for offset in (7, 8)]
    again = Ledger(ledger.low)
    ahead = ledger.ahead("s")
    if ahead is not None:
        again.settle(ahead)
    assert again.settled(0, 120).tolist() == ledger.settled(0, 120).tolist()


def test_the_coverage_of_interleaved_records_is_small() -> None:
    coverage = Coverage.of_offsets("s", np.arange(0, 12_000_000, 12))
    assert coverage.bits is not None
    assert len(coverage.bits) < 1 << 16
    assert int(coverage.mask().sum()) == 1_000_000


@given(
    st.lists(st.sets(st.integers(0, 3_000), min_size=1, max_size=30), max_size=8),
    st.integers(0, 1_000),
)
def test_few_among_many_are_kept_one_by_one(parts: list[set[int]], low: int) -> None:
    """As the ledger of bits says it, through the manifest's JSON."""
    ledger, model = Ledger(low), set(range(low))
    for part in parts:
        offsets = np.array(sorted(part, reverse=True))
        coverage = Cover.of(Coverage.of_offsets("s", offsets)).coverage()
        assert (coverage.steps is None) == (int(offsets.max() - offsets.min()) <= 64 * len(offsets))
        assert coverage.offsets().tolist() == sorted(part)
        assert np.flatnonzero(coverage.mask()).tolist() == [offset - coverage.first for offset in sorted(part)]
        assert coverage.count() == len(part)
        assert ledger.again(coverage) == len(part & model)
        ledger.settle(coverage)
        model |= part
        assert ledger.again(coverage) == len(part)
    assert ledger.settled(0, 3_001).tolist() == [offset in model for offset in range(3_001)]
    assert ledger.low == next(offset for offset in range(4_000) if offset not in model)


MOMENT = datetime(2013, 7, 4, 15, 5, 9, 78_000, UTC)
BERLIN = MOMENT.astimezone(ZoneInfo("Europe/Berlin"))

TIMES = [
    ("yyyy/MM/dd/HH/", "2013/07/04/15/"),
    ("yy-M-d H:m:s.SSS", "13-7-4 15:5:9.078"),
    ("uuuu'year' ''E EEEE", "2013year 'Thu Thursday"),
    ("MMM MMMM LLL", "Jul July Jul"),
    ("DDD hh a kk KK e", "185 03 PM 15 03 4"),
    ("XXX X xx Z", "Z Z +0000 +0000"),
    ("'it''s'", "it's"),
]


@pytest.mark.parametrize(("pattern", "text"), TIMES)
def test_java_patterns(pattern: str, text: str) -> None:
    assert format_time(pattern, MOMENT) == text


def test_java_patterns_with_a_zone() -> None:
    assert format_time("yyyy-MM-dd HH XXX xx x z VV", BERLIN) == "2013-07-04 17 +02:00 +0200 +02 CEST Europe/Berlin"


PREFIXES: list[tuple[str, str]] = [
    ("", "2013/07/04/15/"),
    ("legacy", "legacy2013/07/04/15/"),
    ("a/!{firehose:random-string}/", "a/RANDOM/2013/07/04/15/"),
    ("y=!{timestamp:yyyy}/m=!{timestamp:MM}/", "y=2013/m=07/"),
    ("k=!{partitionKeyFromLambda:k}/", "k=value/"),
    ("!{partitionKeyFromQuery:k}-!{firehose:random-string}", "value-RANDOM"),
]


@pytest.mark.parametrize(("prefix", "text"), PREFIXES)
def test_prefixes(prefix: str, text: str) -> None:
    parsed = Prefix.parse(prefix).with_default_time()
    keys = dict.fromkeys(parsed.keys, "value")
    assert parsed.evaluate(MOMENT, lambda: "RANDOM", keys) == text


BAD_PREFIXES: list[tuple[Any, str]] = [
    ("!{", "may only begin"),
    ("!{timestamp}", "may only begin"),
    ("!{nothing:x}", "namespace 'nothing'"),
    ("!{firehose:x}", "firehose:x"),
    ("!{timestamp:iii}", "Unknown pattern letter: i"),
    ("!{partitionKeyFromQuery:}", "names nothing"),
]


@pytest.mark.parametrize(("prefix", "words"), BAD_PREFIXES)
def test_prefixes_that_cannot_be(prefix: str, words: str) -> None:
    with pytest.raises(PrefixError, match=words):
        Prefix.parse(prefix)


def test_keys_that_no_store_can_have() -> None:
    assert key_fits("a/" * 500)
    assert not key_fits("a" * 256)
    assert not key_fits("ä/" * 400)
