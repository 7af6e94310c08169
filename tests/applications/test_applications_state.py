"""A program in the place of another, on the same state: what stays, what begins anew, and what is delivered all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from analytics import Application, Input, Output
from connectors.formats.schema import Column
from tests.analytics.analytics_support import Crash, World, world

COUNTING = """
CREATE STREAM "COUNTS" ("n" INTEGER);
CREATE PUMP p AS INSERT INTO "COUNTS" SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001"
GROUP BY STEP("SOURCE_SQL_STREAM_001".ROWTIME BY INTERVAL '1' HOUR);
CREATE STREAM "ALL" ("id" INTEGER);
CREATE PUMP q AS INSERT INTO "ALL" SELECT STREAM "id" FROM "SOURCE_SQL_STREAM_001";
"""
OTHER = COUNTING.replace("COUNT(*)", 'SUM("id")')
COLUMNS = [Column("id", pa.int32())]


def application(client: World, path: Path, program: str, generation: int, **more: Any) -> Application:
    outputs = [Output("ALL", stream="all", number=1), Output("COUNTS", stream="counts", number=2)]
    return Application(
        program,
        client=client,
        inputs=[Input("in", columns=COLUMNS)],
        outputs=more.pop("outputs", outputs),
        path=str(path / "state.duckdb"),
        clock=client.clock,
        generation=generation,
        **more,
    )


async def run(client: World, path: Path, program: str, generation: int, **more: Any) -> None:
    async with application(client, path, program, generation, **more) as made:
        await made.run(until_end=True)


async def begun(client: World, path: Path) -> None:
    """Three rows are committed; the application ends before one of them is known to be delivered."""
    for stream in ("in", "all", "counts"):
        await client.create_stream(stream)
    await client.give("in", [b'{"id": 1}', b'{"id": 2}', b'{"id": 3}'])
    client.crash_after_puts = 0
    with pytest.raises(Crash):
        await run(client, path, COUNTING, 1)
    client.crash_after_puts = None


async def test_other_code_goes_on_where_the_old_one_was(tmp_path: Path) -> None:
    async with world() as client:
        await begun(client, tmp_path)
        await client.give("in", [b'{"id": 10}'])
        await run(client, tmp_path, OTHER, 1)
        assert [row["id"] for row in await client.rows("all")] == [1, 2, 3, 10]
        # The old window is gone with its meaning, and the new one begins with what came after.
        assert [row["n"] for row in await client.rows("counts")] == [10]


async def test_the_same_code_keeps_its_windows(tmp_path: Path) -> None:
    async with world() as client:
        await begun(client, tmp_path)
        await client.give("in", [b'{"id": 10}'])
        # The output of all rows has been taken away: what was on its way there is let go.
        await run(client, tmp_path, COUNTING, 1, outputs=[Output("COUNTS", stream="counts", number=2)])
        assert [row["n"] for row in await client.rows("counts")] == [4]


async def test_another_generation_begins_anew_and_delivers_the_rest(tmp_path: Path) -> None:
    async with world() as client:
        await begun(client, tmp_path)
        await run(client, tmp_path, COUNTING, 2)
        assert [row["id"] for row in await client.rows("all")] == [1, 2, 3, 1, 2, 3]
        assert [row["n"] for row in await client.rows("counts")] == [3]
