"""The embedded engine does what the memory engine does, whatever is asked of it, through closing and reopening."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.clock import ManualClock
from streams.core.errors import HeadraceError
from streams.core.records import ProducerMark
from streams.log.embedded import EmbeddedLog
from streams.log.log import Log
from streams.log.memory import MemoryLog
from tests.log.engines import records, rows, tier

SHARDS = st.sampled_from(["a", "b/1"])
ROWS = st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=300)), max_size=6)
MARKS = st.none() | st.builds(ProducerMark, st.sampled_from(["p", "q"]), st.integers(0, 5))
OFFSETS = st.integers(-1, 40)

STEPS = st.one_of(
    st.tuples(st.just("create"), SHARDS),
    st.tuples(st.just("append"), SHARDS, ROWS, MARKS),
    st.tuples(st.just("each"), st.dictionaries(SHARDS, ROWS.filter(bool), min_size=1)),
    st.tuples(st.just("read"), SHARDS, OFFSETS, st.integers(1, 1000)),
    st.tuples(st.just("find"), SHARDS, st.integers(0, 20)),
    st.tuples(st.just("trim"), SHARDS, OFFSETS),
    st.tuples(st.just("drop"), SHARDS),
    st.tuples(st.just("advance"), st.floats(-2, 5)),
    st.tuples(st.just("reopen")),
    st.tuples(st.just("pack")),
)


async def answer(log: Log, clock: ManualClock, step: tuple) -> object:  # type: ignore[type-arg]
    """What the log answers to a step, as plain data."""
    try:
        match step:
            case ("create", shard):
                return await log.create(shard)
            case ("append", shard, some, mark):
                return await log.append(shard, records(some), mark)
            case ("each", by_shard):
                some = records([row for rows in by_shard.values() for row in rows])
                outcomes = await log.append_each(
                    list(by_shard), list(itertools.accumulate(map(len, by_shard.values()))), some
                )
                return [(type(one), one.message) if isinstance(one, HeadraceError) else one for one in outcomes]
            case ("read", shard, offset, size_max):
                batch = await log.read(shard, offset, size_max)
                return batch.first, batch.next, rows(batch.records), batch.records.arrival_ms().tolist()
            case ("find", shard, seconds):
                return await log.find(shard, ManualClock().now_ms() + seconds * 1000)
            case ("trim", shard, before):
                return await log.trim(shard, before)
            case ("drop", shard):
                return await log.drop(shard)
    except HeadraceError as error:
        return type(error), error.message
    raise AssertionError(step)


@pytest.mark.parametrize("kind", ["plain", "packed", "tiered"])
@given(steps=st.lists(STEPS, max_size=30))
@settings(max_examples=60)
def test_every_answer_is_the_oracles(kind: str, steps: list[tuple]) -> None:  # type: ignore[type-arg]
    async def run(path: Path) -> None:
        options: dict[str, Any] = {} if kind == "plain" else {"compress": True}
        if kind == "tiered":
            options["tier"] = tier(path, after_ms=1000)
        clock = ManualClock()
        oracle = MemoryLog(clock)
        log = await EmbeddedLog.open(path, clock=clock, segment_size_max=700, **options)
        for step in steps:
            if step[0] == "advance":
                clock.advance(step[1])
            elif step[0] == "reopen":
                await log.close()
                log = await EmbeddedLog.open(path, clock=clock, segment_size_max=700, **options)
            elif step[0] == "pack":
                await log.packed()
                await log.tiered()
            else:
                assert await answer(log, clock, step) == await answer(oracle, clock, step), step
            assert await log.shards() == await oracle.shards()
            for shard in await log.shards():
                assert await log.bounds(shard) == await oracle.bounds(shard)
        await log.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "log"))
