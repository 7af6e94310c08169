"""A copy of the original records beside the destination: whole, once, with its own place in the source."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from connectors.files import Store, open_store
from firehose.events import BACKUP
from streams.core.errors import InvalidArgument
from streams.sdk.aggregation import UserRecord, encode
from tests.firehose.harness import NEWLINES, House, function, processing, s3
from tests.firehose.test_firehose_crash import Crash, Crasher, crasher, die, new_house
from tests.firehose.test_firehose_updates import extended, update

__all__ = ["crasher"]

SORT = {"sort_out": "tests.firehose.functions:sort_out"}


def backed_up(**members: Any) -> dict[str, Any]:
    return {"S3BackupMode": "Enabled", "S3BackupConfiguration": s3("originals", **members)}


def done(house: House) -> bool:
    (stream,) = house.streams()
    main, backup = stream.lanes.values()
    settled = main.positions() == backup.positions() and sum(main.positions().values()) > 0
    return settled and not main.plans and not backup.plans


async def test_dropped_and_failed_records_are_in_the_copy_as_they_were(tmp_path: Path) -> None:
    async with House(tmp_path, functions=SORT) as house:
        await house.create(**backed_up(Prefix="raw/"), **processing(function("sort_out"), NEWLINES))
        await house.put("firehose/flights", [b"k1", b"d2", b"f3"])
        await house.until(lambda: done(house), step_s=10)
        ((name, content),) = house.objects("originals").items()
        assert name.startswith("raw/2023/11/14/22/flights-1-")
        assert content == b"k1d2f3"
        assert sorted(content[:2] for content in house.objects().values()) == [b"k1", b'{"']


async def test_the_copy_has_hints_and_a_compression_of_its_own(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.create(interval=900, **backed_up(CompressionFormat="GZIP"))
        description = await extended(house)
        assert description["S3BackupMode"] == "Enabled"
        assert description["S3BackupDescription"]["BufferingHints"] == {"SizeInMBs": 1, "IntervalInSeconds": 60}
        assert "S3BackupConfiguration" not in description
        await house.put("firehose/flights", [b"1"])
        await house.until(lambda: bool(house.objects("originals")), step_s=10)
        assert not house.objects()
        ((name, content),) = house.objects("originals").items()
        assert name.endswith(".gz")
        assert gzip.decompress(content) == b"1"


async def test_aggregates_are_taken_apart_before_the_copy(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        await house.client.create_stream("air")
        await house.create(kinesis="air", **backed_up())
        await house.put("air", [encode([UserRecord("AA", b"one,"), UserRecord("UA", b"two,")])])
        await house.until(lambda: done(house), step_s=10)
        assert list(house.objects("originals").values()) == [b"one,two,"]


async def test_a_copy_that_is_begun_later_has_what_was_waiting(tmp_path: Path) -> None:
    house = House(tmp_path)
    async with house:
        await house.create(**processing(NEWLINES))
        await house.put("firehose/flights", [b"old"])
        await house.until(house.delivered, step_s=10)
        await house.put("firehose/flights", [b"waiting"])
        await house.settle()
        await update(house, S3BackupMode="Enabled", S3BackupUpdate=s3("originals"))
        await house.put("firehose/flights", [b"new"])
        await house.until(lambda: done(house) and house.settled() == 3, step_s=10)
        assert b"".join(house.objects("originals").values()) == b"waitingnew"
        with pytest.raises(InvalidArgument, match=r"Disabling S3 backup is not currently supported\."):
            await update(house, "2", S3BackupMode="Disabled")
        await update(house, "2", S3BackupUpdate={"Prefix": "raw/"})
        backup = (await extended(house))["S3BackupDescription"]
        assert (backup["Prefix"], backup["BucketARN"]) == ("raw/", "arn:aws:s3:::originals")
    async with house:
        await house.pass_time(1000)
        assert b"".join(house.objects("originals").values()) == b"waitingnew"


async def test_a_store_that_is_away_holds_only_its_own_lane_up(tmp_path: Path) -> None:
    def stores(url: str) -> Store:
        if url.endswith("originals") and away:
            raise OSError("away")
        return open_store(url)

    away = True
    async with House(tmp_path, stores=stores) as house:
        await house.create(**backed_up(), **processing(NEWLINES))
        await house.put("firehose/flights", [b"1"])
        await house.until(house.delivered_main, step_s=10)
        assert not house.objects("originals")
        away = False
        await house.until(lambda: done(house), step_s=10)
        assert list(house.objects("originals").values()) == [b"1"]


async def test_both_lanes_have_every_record_once_through_crashes(tmp_path: Path, crasher: Crasher, seed: int) -> None:
    randomness = random.Random(seed)
    house = new_house(tmp_path, crasher)
    async with house:
        await house.client.create_stream("air", 2)
        await house.create(kinesis="air", **backed_up(), **processing(NEWLINES))
    sent: list[bytes] = []
    for _ in range(20):
        crasher.arm(randomness.randrange(1, 24))
        try:
            await house.open()
            for _ in range(4):
                records = [b"%06d" % (len(sent) + i) for i in range(randomness.randrange(1, 40))]
                await house.put("air", records)
                sent += records
                house.clock.advance(randomness.choice((1, 30, 61)))
                await asyncio.sleep(0.005)
        except Crash:
            pass
        await die(house)
    crasher.arm(10**9)
    async with house:
        house.clock.advance(61)
        (stream,) = house.streams()
        tips = (await house.client.fetch("air", stream.main.positions())).tips
        lanes = [stream.main, stream.lanes[BACKUP]]
        await house.until(lambda: all(lane.positions() == tips and not lane.plans for lane in lanes), step_s=20)
        assert not house.findings()
    assert Counter(b"".join(house.objects().values()).splitlines()) == Counter(sent)
    copy = b"".join(house.objects("originals").values())
    assert Counter(copy[at : at + 6] for at in range(0, len(copy), 6)) == Counter(sent)
