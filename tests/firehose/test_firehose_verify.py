"""Manifests of objects, and what verifying by them finds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from firehose.events import Delivered, Plan, Planned
from firehose.ledger import Coverage
from firehose.manifests import Manifests
from firehose.pages import FolderPages, folder_of
from streams.core.clock import ManualClock
from streams.core.errors import ResourceNotFound
from tests.firehose.harness import NEWLINES, SCOPE, House, function, processing, step
from tests.firehose.test_firehose_backup import backed_up
from tests.firehose.test_firehose_conversion import partitioned, query
from tests.firehose.test_firehose_updates import update
from tests.operations.test_operations_shared import SharedLog

SORT = {"sort_out": "tests.firehose.functions:sort_out"}


def manifest(folder: Path, lane: str = "main") -> list[dict[str, Any]]:
    paths = sorted((folder_of(folder, 1) / lane).glob("*.ndjson"))
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


async def delivered(house: House, count: int = 1) -> None:
    for turn in range(count):
        await house.put("firehose/flights", [b"k%d" % turn, b"k%d!" % turn])
        await house.until(lambda want=2 * turn + 2: house.settled() == want, step_s=10)


async def test_a_manifest_tells_of_every_object(tmp_path: Path) -> None:
    async with House(tmp_path, functions=SORT) as house:
        await house.create(**processing(function("sort_out"), NEWLINES))
        await house.put("firehose/flights", [b"k1", b"d2", b"f3"])
        await house.until(lambda: house.settled() == 3, step_s=10)
        base, shards, *objects, dropped = manifest(tmp_path)
        assert [one["id"] for one in shards["shards"]] == ["shardId-000000000000"]
        assert (base["kind"], base["positions"]) == ("base", {"shardId-000000000000": 0})
        assert dropped["coverage"] == [{"shard": "shardId-000000000000", "first": 1, "next": 2}]
        contents = house.objects()
        assert {one["key"] for one in objects} == set(contents)
        for one in objects:
            content = contents[one["key"]]
            assert (one["size"], one["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
            assert (one["records"], one["version"], one["bucket"]) == (1, "1", "lake")
            assert one["transform"].endswith(":function:sort_out")
            assert one["oldest_ms"] == one["newest_ms"] == 1_700_000_000_000
        (report,) = house.verified()
        assert (report.objects, report.records, report.dropped, report.wrong) == (2, 2, 1, 0)
        assert report.settled == {"shardId-000000000000": 3}
        assert report.bytes == sum(map(len, contents.values()))


async def test_parts_copies_days_and_updates_are_whole(tmp_path: Path) -> None:
    house = House(tmp_path, firehose_compat="emulator")
    async with house:
        await house.create(
            **partitioned("c=!{partitionKeyFromQuery:c}/"),
            **backed_up(),
            **processing(step("RecordDeAggregation", SubRecordType="JSON"), query("{c: .c}"), NEWLINES),
        )
        for turn in range(4):
            await house.put("firehose/flights", [b'{"c":"a"}{"c":"b"}', b'{"c":"%d"}' % turn])
            await house.until(lambda want=2 * turn + 2: house.settled() == want, step_s=10)
            house.clock.advance(86_400)
            await update(house, str(turn + 1), FileExtension=f".v{turn}")
        assert not house.findings()
        assert len(list((folder_of(tmp_path, 1) / "main").glob("*.ndjson"))) == 4
    async with house:
        # What the stop cut short is done first: until then a copy may not be whole.
        await house.until(
            lambda: [(lane.wrong, lane.records) for lane in house.verified()] == [(0, 12), (0, 8)], step_s=10
        )


async def test_objects_that_are_gone_or_changed(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house, 3)
        gone, short, changed = sorted((tmp_path / "buckets" / "lake").rglob("flights*"))
        gone.unlink()
        short.write_bytes(b"x")
        changed.write_bytes(changed.read_bytes()[::-1])
        kinds = [finding.partition(":")[0] for finding in house.findings()]
        assert sorted(kinds) == ["damaged", "damaged", "missing"]


@pytest.mark.parametrize("which", [2, 3, 4])
async def test_a_line_that_is_missing_is_a_gap(tmp_path: Path, which: int) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house, 3)
        (path,) = (folder_of(tmp_path, 1) / "main").glob("*.ndjson")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:which] + lines[which + 1 :]))
        (finding,) = house.findings()
        assert finding.startswith("gap: shardId-000000000000: 2 records from offset")
        assert "in no manifest" in finding


async def test_records_in_two_places_overlap(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house, 2)
        (path,) = (folder_of(tmp_path, 1) / "main").glob("*.ndjson")
        lines = path.read_text().splitlines()
        again = json.loads(lines[2])
        again["plan"] = "another"
        path.write_text("\n".join([*lines, json.dumps(again), ""]))
        overlap, name = house.findings()
        assert "2 of its records in shardId-000000000000 are in an earlier place too" in overlap
        assert "two plans made an object of this name" in name


async def test_a_line_twice_or_half_a_line_is_what_a_crash_leaves(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house:
        await house.create(**processing(NEWLINES))
        await delivered(house)
        (path,) = (folder_of(tmp_path, 1) / "main").glob("*.ndjson")
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines, lines[2], lines[2][:-20]]))
        assert not house.findings()
    async with house:
        await house.put("firehose/flights", [b"3"])
        await house.until(lambda: house.settled() == 3, step_s=10)
        assert not house.findings()
        assert house.verified()[0].objects == 2


async def test_a_plan_that_was_noted_and_not_committed(tmp_path: Path) -> None:
    """The process ended between the manifest and the journal: the plan is open, and nothing is wrong."""
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house)
        lane = house.streams()[0].main
        plan = Plan("half", (), (Coverage("shardId-000000000000", 2, 3),))
        await house.firehose._book.commit(Planned(1, plan))
        await Manifests(FolderPages(folder_of(tmp_path, 1) / "main"), lane, house.clock, None).delivered(plan, ())
        assert not house.findings()
        await house.firehose._book.commit(Delivered(1, "half"))
        assert not house.findings()


async def test_manifests_that_are_gone_or_spoilt(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house)
        (path,) = (folder_of(tmp_path, 1) / "main").glob("*.ndjson")
        text = path.read_text()
        path.write_text(text.replace('"records":2', '"records":"two"'))
        assert [finding.partition(":")[0] for finding in house.findings()] == ["manifest", "gap"]
        path.unlink()
        assert house.findings() == [f"manifest: {path.parent}: there are no manifests, and records have been delivered"]


async def test_what_the_source_lost_is_told(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house:
        await house.client.create_stream("air")
        await house.create(kinesis="air", **processing(NEWLINES))
        await house.put("air", [b"1", b"2", b"3"])
        await house.settle()
    await house.log.trim(house_shard(house), 2)
    async with house:
        await house.until(lambda: house.settled() == 3, step_s=10)
        (report,) = house.verified()
        assert (report.lost, report.records, report.wrong) == (2, 1, 0)


def house_shard(house: House) -> str:
    """The log's name of the source's only shard."""
    (shard,) = (name for name in house.log._shards if name.startswith("streams/"))
    return str(shard)


async def test_a_day_that_ends_between_the_manifest_and_the_journal(tmp_path: Path) -> None:
    """What the old day's file says stands again in the new one's, after a base that knows nothing of it."""
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house)
        lane = house.streams()[0].main
        manifests = Manifests(FolderPages(folder_of(tmp_path, 1) / "main"), lane, house.clock, None)
        plan = Plan("late", (), (Coverage("shardId-000000000000", 2, 3),))
        await house.firehose._book.commit(Planned(1, plan))
        await manifests.delivered(plan, ())
        house.clock.advance(86_400)
        await manifests.lost("shardId-000000000000", 1)
        assert not house.findings(), "the new day's base does not have the plan, nor has the journal"
        await manifests.delivered(plan, ())
        assert not house.findings()
        await house.firehose._book.commit(Delivered(1, "late"))
        assert not house.findings()
        house.clock.advance(86_400)
        await Manifests(FolderPages(folder_of(tmp_path, 1) / "main"), lane, house.clock, None).lost(
            "shardId-000000000000", 1
        )
        assert not house.findings(), "nor does a later day mind"
        (report,) = house.verified()
        assert (report.records, report.dropped, report.settled) == (2, 1, {"shardId-000000000000": 3})


async def test_a_loss_that_was_noted_and_not_committed(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(**processing(NEWLINES))
        await delivered(house)
        lane = house.streams()[0].main
        await Manifests(FolderPages(folder_of(tmp_path, 1) / "main"), lane, house.clock, None).lost(
            "shardId-000000000000", 7
        )
        assert not house.findings()
        house.clock.advance(86_400)
        await Manifests(FolderPages(folder_of(tmp_path, 1) / "main"), lane, house.clock, None).lost(
            "shardId-000000000000", 7
        )
        assert not house.findings()
        assert house.verified()[0].lost == 5


async def test_a_stop_waits_for_the_manifest_that_is_being_written(tmp_path: Path, monkeypatch: Any) -> None:
    """The thread that writes it goes on when its delivery is cut short, and whoever starts next writes the same file."""
    began, go_on, writing = threading.Event(), threading.Event(), FolderPages._append

    def slow(self: FolderPages, lines: Sequence[bytes], *rest: Any) -> None:
        if any(b'"object"' in line for line in lines):
            began.set()
            assert go_on.wait(30)
        writing(self, lines, *rest)

    house = House(tmp_path)
    async with house:
        await house.create(**processing(NEWLINES))
        monkeypatch.setattr(FolderPages, "_append", slow)
        await house.put("firehose/flights", [b"1", b"2"])
        await house.until(began.is_set, step_s=10)
        stopping = asyncio.create_task(house.firehose.close(drain_s=0))
        await house.settle()
        assert not stopping.done()
        go_on.set()
        await stopping
    async with house:
        await house.until(lambda: house.settled() == 2)
        assert not house.findings()


async def test_a_lane_that_moves_between_processes_has_one_manifest(tmp_path: Path) -> None:
    """The second takes over while the first does not know it, and goes on writing."""
    log = SharedLog(clock := ManualClock(), random.Random(0))
    buckets = {"lake": str(tmp_path / "lake")}
    first, second = (House(tmp_path / name, log=log, clock=clock, buckets=buckets) for name in ("one", "two"))
    async with first:
        await first.create(**processing(NEWLINES))
        await delivered(first, 2)
        lane = first.streams()[0].main
        zombie = Manifests(first.pages(lane), lane, clock, None)
        await zombie.lost("shardId-000000000000", 0)
    async with second:
        await second.put("firehose/flights", [b"3"])
        await second.until(lambda: second.settled() == 5, step_s=10)
        await zombie.lost("shardId-000000000000", 7)
        assert not await asyncio.to_thread(second.findings)
        (report,) = await asyncio.to_thread(second.verified)
        assert (report.objects, report.records, report.lost) == (3, 5, 0)
        index = await second.firehose.delivered(SCOPE, "flights")
        assert [(run.first, run.next) for run in index.runs["shardId-000000000000"]] == [(0, 5)]
        assert index.holes == {}
        for entry in index.objects:
            contents = await second.firehose.contents(SCOPE, "flights", entry.place)
            assert contents.records == sum(contents.counts) > 0
        with pytest.raises(ResourceNotFound, match="no line begins there"):
            await second.firehose.contents(SCOPE, "flights", "main/0")
        pages = second.pages(second.streams()[0].main)
        await second.call("DeleteDeliveryStream", DeliveryStreamName="flights")
        await second.until(lambda: not second.streams())
        assert await asyncio.to_thread(lambda: list(pages.read())) == []


async def test_days_and_updates_are_whole_where_processes_share_the_log(tmp_path: Path) -> None:
    log = SharedLog(clock := ManualClock(), random.Random(0))
    async with House(tmp_path, log=log, clock=clock) as house:
        await house.create(**processing(NEWLINES))
        for turn in range(3):
            await house.put("firehose/flights", [b"%d" % turn])
            await house.until(lambda want=turn + 1: house.settled() == want, step_s=10)
            house.clock.advance(86_400)
            await update(house, str(turn + 1), FileExtension=f".v{turn}")
        assert not await asyncio.to_thread(house.findings)
        assert (await asyncio.to_thread(house.verified))[0].objects == 3
        house.clock.advance(400 * 86_400)
        await house.put("firehose/flights", [b"late"])
        await house.until(lambda: house.settled() == 4, step_s=10)
        (report,) = await asyncio.to_thread(house.verified)
        assert (report.objects, report.wrong) == (1, 0), "what is older than 400 days is forgotten, and its day's base"
