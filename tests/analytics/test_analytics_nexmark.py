"""Nexmark: the generator has the published shape, and every query gives the rows that a batch query gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from analytics_support import World, world

from benchmarks.nexmark import events, runs
from benchmarks.nexmark.queries import MISSING, QUERIES
from benchmarks.nexmark.query import Query

COUNT = 20_000
COUNT_JSON = 6_000
"""Each query reads and decodes all of them anew."""


@pytest.fixture(scope="module")
def batches() -> list[pa.Table]:
    # Small batches, so that windows close and delayed events fall into later ones.
    rows = pa.concat_tables(events.events(COUNT))
    return [rows.slice(first, 7_000) for first in range(0, COUNT, 7_000)]


def test_events_have_the_published_shape() -> None:
    rows = pa.concat_tables(events.events(250_000))
    kinds = np.bincount(rows.column("event_type").to_numpy())
    assert kinds.tolist() == [5_000, 15_000, 230_000]
    for kind, first in ((events.PERSON, "id"), (events.AUCTION, "id")):
        ids = rows.filter(pa.compute.equal(rows.column("event_type"), kind)).column(first).to_pylist()
        assert sorted(ids) == list(range(1_000, 1_000 + len(ids)))
    bids = rows.filter(pa.compute.equal(rows.column("event_type"), events.BID))
    hot = np.mean(bids.column("auction").to_numpy() % 100 == 0)
    assert 0.5 < hot < 0.52
    assert 0.75 < np.mean((bids.column("bidder").to_numpy() - 1) % 100 == 0) < 0.77
    prices = bids.column("price").to_numpy()
    assert prices.min() >= 100
    assert prices.max() <= 100_000_000
    assert abs(np.mean(np.log10(prices)) - 5) < 0.02


def test_one_event_in_ten_is_up_to_three_seconds_late() -> None:
    rows = pa.concat_tables(events.events(250_000))
    times = rows.column("dateTime").cast(pa.int64()).to_numpy()
    assert sorted(times.tolist()) == [events.BEGIN_MS + number * 1000 // events.RATE for number in range(250_000)]
    behind = np.maximum.accumulate(times) - times
    assert 0.09 < np.mean(behind > 0) < 0.11
    assert 2_900 < behind.max() <= events.DELAY_MS_MAX < events.LATENESS_MS


def test_a_seed_gives_the_same_events() -> None:
    first, again = (pa.concat_tables(events.events(5_000, seed=7)) for _ in range(2))
    assert first.equals(again)
    assert not first.equals(pa.concat_tables(events.events(5_000, seed=8)))


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_arrow_batches_give_the_rows_of_the_batch_query(query: Query, batches: list[pa.Table]) -> None:
    wanted = runs.wanted(query, batches)
    assert len(wanted)
    assert runs.differences(runs.from_arrow(query, batches, keep=True), wanted) == 0


async def test_json_in_the_log_gives_the_rows_of_the_batch_query(batches: list[pa.Table], tmp_path: Path) -> None:
    side = runs.write_side(tmp_path)
    async with world() as client:
        batches = [batches[0].slice(first, 2_000) for first in range(0, COUNT_JSON, 2_000)]
        assert await runs.put(client, batches) > 250 * COUNT_JSON
        for query in QUERIES:
            wanted = await _wanted(query, client, batches)
            run = await runs.from_log(query, client, side, keep=True)
            assert run.events == COUNT_JSON
            assert runs.differences(run, wanted) == 0, query.name


async def _wanted(query: Query, client: World, batches: list[pa.Table]) -> pa.Table:
    return await runs.wanted_of_log(query, client) if query.arrival else runs.wanted(query, batches)


def test_every_query_is_run_or_its_absence_explained() -> None:
    names = [query.name for query in QUERIES] + [missing.name for missing in MISSING]
    assert sorted(names, key=lambda name: int(name[1:])) == [f"q{number}" for number in range(23)]
    assert all(missing.reason for missing in MISSING)
