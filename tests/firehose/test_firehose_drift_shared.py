"""Schema drift where processes share a log: whose keys are found writes records, another process has the data catalog."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from streams.core.clock import ManualClock
from streams.core.work import GLUE, PARTS, delivery_item, part_of
from streams.kafka.address import parse
from streams.kafka.log import KafkaLog
from tests.firehose.harness import SCOPE, House
from tests.firehose.test_firehose_drift import DECLARED, create, delivered, register, versions

CATALOG = part_of(GLUE)
NAMES = ("flights", "other")
assert CATALOG not in [part_of(delivery_item(SCOPE, name)) for name in NAMES]


@pytest.fixture
async def logs(kafka_url: str) -> AsyncIterator[list[KafkaLog]]:
    """Of two processes, with one clock."""
    clock = ManualClock()
    async with contextlib.AsyncExitStack() as stack:
        opened = [await KafkaLog.open(parse(kafka_url), clock=clock) for _ in range(2)]
        for log in opened:
            stack.push_async_callback(log.close)
        yield opened


def houses(folder: Path, logs: list[KafkaLog]) -> tuple[House, House]:
    """One that delivers, and one that has the data catalog."""
    parts = (set(range(PARTS)) - {CATALOG}, {CATALOG})
    one, other = (
        House(
            folder / name, log=log, clock=log._clock, parts=taken, buckets={name: str(folder / name) for name in LAKES}
        )  # type: ignore[arg-type]
        for name, log, taken in zip(("delivers", "catalog"), logs, parts, strict=True)
    )
    return one, other


LAKES = ("lake", "other")


def rows(folder: Path, lake: str = "lake") -> list[dict[str, Any]]:
    paths = sorted((folder / lake).rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


async def test_the_process_that_has_the_catalog_makes_the_columns(tmp_path: Path, logs: list[KafkaLog]) -> None:
    """For the delivery stream that asks, and for another one that follows the table."""
    house, catalog = houses(tmp_path, logs)
    async with catalog:
        await register(catalog, DECLARED)
        async with house:
            await create(house, "evolve")
            await create(house, "freeze", "other", BucketARN="arn:aws:s3:::other")
            await house.put("firehose/flights", [b'{"id": 1, "carrier": "AA"}', b'{"id": 2, "gate": 7}'])
            await house.until(lambda: len(rows(tmp_path)) == 2, step_s=1)
            await house.put("firehose/flights", [b'{"id": 3, "gate": 2.5, "late": true}'])
            await house.put("firehose/other", [b'{"id": 4, "gate": 1.5}'])
            await house.until(lambda: len(rows(tmp_path)) == 3 and len(rows(tmp_path, "other")) == 1, step_s=1)
            assert await versions(catalog) == await versions(house)
            assert [columns for _, columns in await versions(house)][::-1] == [
                ["id", "carrier"],
                ["id", "carrier", "gate"],
                ["id", "carrier", "gate", "late"],
            ]
            assert {one.created.table_version for one in house.streams()} == {"2"}
    assert rows(tmp_path) == [
        {"id": 1, "carrier": "AA", "gate": None},
        {"id": 2, "carrier": None, "gate": 7},
        {"id": 3, "carrier": None, "gate": 2.5, "late": True},
    ]


async def test_what_is_asked_while_nobody_has_the_catalog_is_asked_again(
    tmp_path: Path, logs: list[KafkaLog], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firehose.evolving.ASK_AGAIN_S", 0.2)
    house, catalog = houses(tmp_path, logs)
    async with house:
        async with catalog:
            await register(catalog, DECLARED)
        await create(house, "evolve")
        await house.put("firehose/flights", [b'{"id": 1, "gate": 7}'])
        await house.until(lambda: bool(house.firehose._evolving._asked))
        await house.pass_time(30)
        await asyncio.sleep(0.5)
        assert not rows(tmp_path), "no record is read before its columns are there"
        async with catalog:
            await delivered(house, 1)
        # And where the catalog comes to the process that asks.
        await house.put("firehose/flights", [b'{"id": 2, "late": true}'])
        await house.until(lambda: bool(house.firehose._evolving._asked))
        await house.firehose.take([CATALOG])
        await house.until(lambda: len(rows(tmp_path)) == 2, step_s=1)
    assert rows(tmp_path) == [
        {"id": 1, "carrier": None, "gate": 7},
        {"id": 2, "carrier": None, "gate": None, "late": True},
    ]
