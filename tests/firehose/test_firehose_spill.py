"""Partitions that wait on disk: far more than AWS's bound, in memory that is bounded."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firehose.buffer import DROPPED, Buffer, Chunk, Partition, Piece
from firehose.memory import Memory
from firehose.spill import Spill
from tests.firehose.harness import NEWLINES, House, function, processing
from tests.firehose.test_firehose_conversion import conversion, partitioned, query, register
from tests.firehose.test_firehose_crash import Crasher, crash_over_and_over, crasher, die, found, new_house

__all__ = ["crasher"]

PREFIX = "c=!{partitionKeyFromQuery:c}/"
SMALL = 20_000
"""Bytes of memory with which a few thousand records spill again and again."""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivery streams have hardly any memory."""

    class Small(Memory):
        def __init__(self, size_max: int) -> None:
            super().__init__(size_max if size_max >= 1 << 30 else SMALL)

    monkeypatch.setattr("firehose.assembly.Memory", Small)


def by_folder(house: House) -> dict[str, Counter[bytes]]:
    folders: dict[str, Counter[bytes]] = defaultdict(Counter)
    for name, content in house.objects().items():
        folders[name.rpartition("/")[0]].update(content.splitlines())
    return folders


def records(partitions: int, each: int) -> list[bytes]:
    return [b'{"c": %d, "n": %d}' % (number % partitions, number) for number in range(partitions * each)]


def rows(count: int, kind: int, dice: random.Random) -> Any:
    """The payload of a piece: records as they are, or rows of one of two schemas."""
    if kind == 0:
        return pa.array([dice.randbytes(dice.randrange(9)) for _ in range(count)], pa.binary())
    columns: dict[str, Any] = {"a": [dice.choice([None, dice.random()]) for _ in range(count)]}
    if kind == 2:
        columns["offset"] = [dice.choice(["x", "yy", None]) for _ in range(count)]
    types = [("a", pa.float64()), ("offset", pa.dictionary(pa.int32(), pa.string()))][: len(columns)]
    return pa.RecordBatch.from_pydict(columns, pa.schema(types))


Made = tuple[int, int, int, int, bool]
MADE = st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(1, 6), st.integers(0, 2), st.booleans())


@settings(max_examples=60)
@given(st.lists(st.one_of(MADE, st.sampled_from(["spill", "take"])), max_size=40), st.integers(0, 2**32))
def test_what_comes_back_is_what_went(
    tmp_path_factory: pytest.TempPathFactory, made: list[Made | str], seed: int
) -> None:
    """Pieces of several shards, forms and partitions, whole records and parts of records, through any number of files."""
    dice, offsets = random.Random(seed), itertools.count()
    spill, buffer = Spill(tmp_path_factory.mktemp("spill") / "lane"), Buffer(1 << 30, 1 << 30, shared=True)
    spill.begin()
    held: dict[Partition, list[Piece]] = defaultdict(list)

    def take(partitions: list[Partition]) -> None:
        chunks = buffer.take(partitions)
        for chunk in chunks:
            whole = chunk.loaded(spill.read(chunk))
            assert told(whole.pieces) == told(held.pop(chunk.partition))
            assert whole.records == chunk.records == sum(len(piece.offsets) for piece in whole.pieces)
            assert (whole.size, whole.oldest_ms, whole.newest_ms) == (chunk.size, chunk.oldest_ms, chunk.newest_ms)
        spill.rest()
        spill.release(chunks)

    for one in made:
        if one == "spill":
            spill.write(buffer.in_memory())
            buffer.unloaded()
            assert buffer.weight == 0
        elif one == "take":
            take(buffer.partitions()[::2])
        elif isinstance(one, tuple):
            partition, shard, count, kind, parts = one
            piece = Piece(
                Partition("data", (str(partition),)),
                f"shard-{shard}",
                np.array([next(offsets) for _ in range(count)]),
                rows(count, kind, dice),
                10 * count,
                partition,
                partition + count,
                *((np.arange(count, dtype=np.int32), np.full(count, count, np.int32)) if parts else ()),
            )
            held[piece.partition].append(piece)
            buffer.add(piece, 0)
    take(buffer.partitions())
    assert not held
    assert spill.size == buffer.weight == 0
    assert not list((spill._folder).glob("*")), "files go with their last row"


def told(pieces: list[Piece]) -> Counter[Any]:
    """All that matters of each record."""
    told: Counter[Any] = Counter()
    for piece in pieces:
        values = piece.payload.to_pylist()
        subs = [None] * len(values) if piece.subs is None else piece.subs.tolist()
        counts = [None] * len(values) if piece.counts is None else piece.counts.tolist()
        for row in zip(piece.offsets.tolist(), values, subs, counts, strict=True):
            offset, value, sub, count = row
            if (sub, count) == (0, 1):
                sub = count = None  # a record that was not taken apart, among some that were
            told[piece.shard, offset, repr(value), sub, count] += 1
    return told


def test_what_was_dropped_stays_in_memory(tmp_path: Path) -> None:
    spill, buffer = Spill(tmp_path / "lane"), Buffer(1, 1)
    buffer.add(Piece(Partition(DROPPED), "s", np.arange(3), None, 0, 0, 0), 0)
    assert buffer.in_memory() == []
    spill.write([])
    buffer.unloaded()
    assert buffer.weight > 0
    assert [chunk.records for chunk in buffer.take([])] == [3]


def test_a_disk_that_is_full_leaves_everything_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spill = Spill(tmp_path / "lane")
    chunks = []
    for kind in (0, 1):
        chunk = Chunk(Partition("data", (str(kind),)), 0)
        chunk.add(Piece(chunk.partition, "s", np.arange(3), rows(3, kind, random.Random(1)), 3, 0, 0))
        chunks.append(chunk)
    new_file, files = pa.ipc.new_file, 0

    def second_fails(*arguments: Any) -> Any:
        nonlocal files
        files += 1
        if files == 2:
            raise OSError(28, "No space left on device")
        return new_file(*arguments)

    monkeypatch.setattr(pa.ipc, "new_file", second_fails)
    with pytest.raises(OSError, match="No space"):
        spill.write(chunks)
    assert [len(chunk.pieces) for chunk in chunks] == [1, 1]
    assert not any(chunk.extents for chunk in chunks)
    assert spill.size == 0
    assert not list((tmp_path / "lane").iterdir())


async def test_three_thousand_partitions_wait_on_disk(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_partitions_max=4000, firehose_memory_max=16 << 20) as house:
        await house.create(**{**partitioned(PREFIX), "BufferingHints": HINTS}, **processing(query("{c: .c}"), NEWLINES))
        sent = records(3000, 14)
        for at in range(0, len(sent), 1000):
            await house.put("firehose/flights", [one + b" " * 400 for one in sent[at : at + 1000]])
        ((_, _, meter),) = house.firehose.meters()
        (driver,) = house.firehose._drivers.values()
        await house.until(lambda: buffered(driver) == len(sent) and meter.buffered < 12 << 20)
        assert meter.partitions == 3000
        assert meter.spilled > 8 << 20
        assert not house.objects(), "nothing is due yet"
        house.clock.advance(60)
        await house.until(lambda: house.settled() == len(sent), step_s=1)
        folders = by_folder(house)
        assert len(folders) == len(house.objects()) == 3000, "an object for each, of all its records"
        for c in range(3000):
            wanted = Counter(b'{"c": %d, "n": %d}' % (c, c + 3000 * turn) for turn in range(14))
            assert Counter(line.rstrip() for line in folders[f"c={c}"].elements()) == wanted
        await house.until(lambda: meter.spilled == 0)
        assert not list((tmp_path / "firehose" / "spill").rglob("*.arrow"))
        assert not house.findings()


HINTS = {"SizeInMBs": 64, "IntervalInSeconds": 60}


def buffered(driver: Any) -> int:
    return sum(chunk.records for chunk in driver._buffer._chunks.values())


async def test_beyond_the_setting_records_still_go_to_the_error_output(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_partitions_max=700) as house:
        await house.create(**{**partitioned(PREFIX), "BufferingHints": HINTS}, **processing(query("{c: .c}"), NEWLINES))
        await house.put("firehose/flights", records(710, 1))
        await house.until(house.delivered, step_s=30)
        folders = by_folder(house)
        (errors,) = (lines for folder, lines in folders.items() if folder.startswith("errors"))
        assert len(folders) == 701
        assert errors.total() == 10
        assert all(b"Active partitions limit of 700 exceeded" in line for line in errors)


@pytest.mark.usefixtures("small")
async def test_rows_wait_on_disk_too(tmp_path: Path) -> None:
    async with House(tmp_path, firehose_partitions_max=1000) as house:
        await register(house, [("c", "int"), ("n", "bigint")])
        await house.create(
            **{**conversion(), **partitioned(PREFIX), "BufferingHints": HINTS}, **processing(query("{c: .c}"))
        )
        sent = records(40, 20)
        for at in range(0, len(sent), 100):
            await house.put("firehose/flights", [*sent[at : at + 100], b'{"c": 1, "n": "x"}'])
        ((_, _, meter),) = house.firehose.meters()
        await house.until(lambda: meter.spilled > 0)
        await house.until(lambda: house.settled() == len(sent) + 8, step_s=30)
        read: Counter[tuple[int, int]] = Counter()
        for name, content in house.objects().items():
            if name.startswith("c="):
                read.update((row["c"], row["n"]) for row in pq.read_table(pa.BufferReader(content)).to_pylist())
        assert read == Counter((number % 40, number) for number in range(len(sent)))
        assert sum(len(content.splitlines()) for name, content in house.objects().items() if "failed" in name) == 8
        assert not house.findings()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("part", range(2))
async def test_every_record_is_in_one_object_through_crashes(
    tmp_path: Path, crasher: Crasher, seed: int, part: int
) -> None:
    house = new_house(tmp_path, crasher, firehose_partitions_max=1000)
    async with house:
        await house.client.create_stream("air", 2)
        query_ = 'if type == "number" then {c: (. % 37)} else {} end'
        await house.create(kinesis="air", **partitioned(PREFIX), **processing(query(query_), NEWLINES))
    sent = await crash_over_and_over(
        house,
        crasher,
        seed + part,
        8,
        lambda r: r.randrange(1, 90),
        turn_s=0.03,
        patient=True,
        data=lambda n: b"%d" % n,
    )
    assert found(house) == Counter(sent)


@pytest.mark.usefixtures("small")
async def test_a_restart_begins_with_an_empty_folder_and_a_deletion_leaves_none(tmp_path: Path) -> None:
    house = House(tmp_path, firehose_partitions_max=1000)
    spilled = tmp_path / "firehose" / "spill"
    async with house:
        await house.create(**{**partitioned(PREFIX), "BufferingHints": HINTS}, **processing(query("{c: .c}"), NEWLINES))
        await house.put("firehose/flights", records(100, 10))
        await house.until(lambda: len(list(spilled.rglob("*.arrow"))) > 0)
        await die(house)
    stray = next(spilled.rglob("*.arrow")).with_name("stray.arrow")
    stray.write_bytes(b"x")
    async with house:
        await house.until(lambda: not stray.exists())
        await house.until(lambda: house.settled() == 1000, step_s=30)
        assert sum(lines.total() for lines in by_folder(house).values()) == 1000
        await house.put("firehose/flights", records(100, 10))
        await house.until(lambda: len(list(spilled.rglob("*.arrow"))) > 0)
        await house.call("DeleteDeliveryStream", DeliveryStreamName="flights")
        assert not list(spilled.iterdir())
    house = House(tmp_path, log=house.log, clock=house.clock, firehose_partitions_max=500)
    left = spilled / "2" / "main" / "0.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x")
    async with house:
        await house.create(**{**partitioned(PREFIX), "BufferingHints": HINTS}, **processing(query("{c: .c}"), NEWLINES))
        await house.put("firehose/flights", records(10, 1))
        await house.until(lambda: house.settled() == 10, step_s=30)
        assert not left.exists(), "what was left under other settings goes too"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("trouble", ["the disk is full", "the bound is reached"])
async def test_what_cannot_wait_on_disk_is_delivered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """As AWS does where a buffer may not grow: in smaller objects, and nothing is lost."""
    async with House(tmp_path, firehose_partitions_max=1000) as house:
        if trouble == "the disk is full":

            def full(self: Spill, chunks: Any) -> None:
                raise OSError(28, "No space left on device")

            monkeypatch.setattr(Spill, "write", full)
        else:
            house.firehose._assembly.disk._size_max = 1
        await house.create(**{**partitioned(PREFIX), "BufferingHints": HINTS}, **processing(query("{c: .c}"), NEWLINES))
        sent = records(50, 40)
        (driver,) = house.firehose._drivers.values()
        for at in range(0, len(sent), 500):
            await house.put("firehose/flights", sent[at : at + 500])
            await house.until(lambda came=at + 500: buffered(driver) + house.settled() == came)
        await house.until(lambda: house.settled() > len(sent) // 2)
        await house.until(lambda: house.settled() == len(sent), step_s=30)
        assert found(house) == Counter(sent)
        assert len(house.objects()) > 50
        assert not house.findings()


@pytest.mark.usefixtures("small")
async def test_keys_from_a_function_and_records_that_fail_wait_on_disk(tmp_path: Path) -> None:
    functions = {"sort_out": "tests.firehose.functions:sort_out"}
    async with House(tmp_path, functions=functions, firehose_partitions_max=1000) as house:
        prefix = "k=!{partitionKeyFromLambda:kind}/"
        await house.create(
            **{**partitioned(prefix), "BufferingHints": HINTS},
            **processing(function("sort_out", BufferIntervalInSeconds=0), NEWLINES),
        )
        sent = [b"%s%s%d" % (b"kkkdf"[n % 5 : n % 5 + 1], b"abc"[n % 3 : n % 3 + 1], n) for n in range(3000)]
        for at in range(0, len(sent), 300):
            await house.put("firehose/flights", sent[at : at + 300])
        await house.until(lambda: house.settled() == len(sent), step_s=30)
        kept = Counter(one for one in sent if not one.startswith(b"d"))
        assert found(house) == kept
        assert not house.findings()
