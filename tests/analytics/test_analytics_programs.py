"""Programs as data, each run straight, rebatched, out of order, killed at every commit and resumed, and as one batch query.

``batch.sql`` has a query for each stream that a batch query can give. Where a program, or a stream of it, is not run in a
way, its ``options.toml`` says why: ``no_disorder``, ``no_batch``."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from analytics_support import Case, Crash, Sink, add_tables, cases, comparable, text, wanted, world

from analytics import Output, Progress, parse, query
from connectors.formats.json import encode_json

CASES = pytest.mark.parametrize("case", cases(), ids=lambda case: case.folder.name)


SOAK = pytest.mark.soak


@CASES
@pytest.mark.parametrize(
    "batches",
    [(1_000,), (1, 2, 3, 5), *(pytest.param((rows,), marks=SOAK) for rows in (1, 3))],
    ids=["whole", "small", "1", "3"],
)
async def test_a_program_gives_its_rows_however_it_is_batched(case: Case, batches: tuple[int, ...], seed: int) -> None:
    batch_rows = random.Random(seed).choice(batches)
    async with world() as client:
        await client.load(case.input)
        sink = Sink()
        async with case.application(client, [Output(None, callback=sink)], batch_rows=batch_rows) as application:
            await application.run(until_end=True)
            await add_tables(application, sink)
        assert comparable(sink.rows, case.expected) == wanted(case.expected)


@pytest.mark.parametrize("case", [case for case in cases() if case.timed], ids=lambda case: case.folder.name)
async def test_rows_out_of_order_within_the_bound_give_the_same(case: Case, seed: int) -> None:
    bound_ms = 120_000
    async with world() as client:
        await client.load(case.shuffled(random.Random(seed), bound_ms))
        sink = Sink()
        outputs = [Output(None, callback=sink)]
        async with case.application(client, outputs, lateness_ms=bound_ms, batch_rows=4) as application:
            await application.run(until_end=True)
            await add_tables(application, sink)
        assert comparable(sink.rows, case.expected) == wanted(case.expected)


@CASES
@pytest.mark.parametrize("kill", ["after the commit", "after the put"])
@pytest.mark.parametrize("commits", [5, pytest.param(None, marks=SOAK)], ids=["", "small"])
async def test_a_program_killed_at_every_commit_gives_every_row_once(
    case: Case, kill: str, commits: int | None, tmp_path: Path
) -> None:
    """In about so many `commits`, or in one of every three records."""
    async with world() as client:
        count = await client.load(case.input)
        tables = {name for name, stream in parse(case.sql).streams.items() if stream.retain is not None}
        streams = sorted({line["stream"] for line in case.expected} - tables)
        sink = Sink()
        for stream in streams:
            await client.create_stream(stream, 2)
        outputs = [Output(stream, stream=stream) for stream in streams]
        batch_rows = 3 if commits is None else max(3, -(-count // commits))

        def crash(progress: Progress) -> None:
            if progress.records or progress.rows or progress.faulty:
                raise Crash  # a forest keeps what it has learnt at every start: that is a commit, and moves nothing on

        for attempt in itertools.count():
            assert attempt < 10 * count + 100, "the application does not come to its end"
            client.crash_after_puts = None if kill == "after the commit" else attempt * 5 % 23
            application = case.application(
                client,
                outputs,
                batch_rows=batch_rows,
                path=str(tmp_path / "state.duckdb"),
                progress=crash if kill == "after the commit" else None,
            )
            try:
                async with application:
                    await application.run(until_end=True)
                    await add_tables(application, sink)
            except Crash:
                continue
            break
        assert attempt > 0 or not streams
        client.crash_after_puts = None
        found = Counter([text(stream, None, row) for stream in streams for row in await client.rows(stream)])
        found.update(text(name, None, row) for name, _, row in sink.rows)
        assert found == Counter(text(line["stream"], None, line["row"]) for line in case.expected)


@CASES
def test_a_program_says_in_which_way_it_is_not_run(case: Case) -> None:
    streams = {line["stream"] for line in case.expected}
    unsaid = case.options.get("no_batch", {})
    if isinstance(unsaid, str):
        assert not case.batch
    else:
        assert streams == case.batch.keys() | unsaid.keys()
        assert not case.batch.keys() & unsaid.keys()
    assert ("no_disorder" in case.options) != case.timed


@CASES
async def test_the_batch_query_gives_the_same_rows(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    if not case.batch:
        pytest.skip(case.options["no_batch"])
    monkeypatch.chdir(case.folder)  # reference tables are files there
    async with world() as client:
        await client.load(case.input)
        columns = dict.fromkeys(case.input, case.columns) if case.columns else None
        for stream, sql in case.batch.items():
            result = await query(sql, client, columns=columns)
            found = Sink()
            for batch in result.to_batches():
                for data in encode_json(batch).to_pylist():
                    found.rows.append((stream, None, json.loads(data)))
            lines = [
                {k: v for k, v in line.items() if k != "rowtime"} for line in case.expected if line["stream"] == stream
            ]
            assert (stream, comparable(found.rows, lines)) == (stream, wanted(lines))
