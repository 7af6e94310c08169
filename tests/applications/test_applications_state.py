"""A program in the place of another, on the same state: what stays, what begins anew, and what is delivered all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pytest

from analytics import Application, Input, Output, SqlError
from analytics.engine import Changes
from analytics.frontier import InputTime, TimeRule
from analytics.journal import TABLE, Entry, Journal
from analytics.older import CONVERTED, VERSION
from analytics.state import State
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


def made_older(path: Path, version: int) -> None:
    """The database as earlier releases had it: tables for deliveries and for progress, or for its parts."""
    with duckdb.connect(str(path / "state.duckdb")) as connection:
        run = connection.execute
        journal = Journal(connection)
        journal.load()
        progress = journal.progress
        run("CREATE TABLE outbox (id BIGINT, output INTEGER, begins BIGINT, bytes BLOB)")
        for entry in journal.outbox():
            run("INSERT INTO outbox VALUES (?, ?, ?, ?)", [entry.id, entry.output, entry.at, entry.data])
        if version == 3:
            parts = [progress.places, progress.frontiers, progress.outputs]
            run("CREATE TABLE progress (bytes BLOB)")
            run("INSERT INTO progress VALUES (?)", [msgspec.msgpack.encode(parts)])
        else:
            run(
                "CREATE TABLE positions (input VARCHAR, shard VARCHAR, next BIGINT, high_ms BIGINT, seen_ms BIGINT, "
                "PRIMARY KEY (input, shard)); CREATE TABLE frontiers (input VARCHAR PRIMARY KEY, at_ms BIGINT); "
                "CREATE TABLE outputs (output INTEGER PRIMARY KEY, size BIGINT, last BIGINT)"
            )
            for name, places in progress.places.items():
                for shard, place in places.items():
                    run("INSERT INTO positions VALUES (?, ?, ?, ?, ?)", [name, shard, *msgspec.to_builtins(place)])
            for name, at_ms in progress.frontiers.items():
                run("INSERT INTO frontiers VALUES (?, ?)", [name, at_ms])
            for output, (size, last) in progress.outputs.items():
                run("INSERT INTO outputs VALUES (?, ?, ?)", [output, size, last])
        run(f"DROP TABLE {TABLE}")
        run("UPDATE about SET version = ?", [version])


@pytest.mark.parametrize("version", CONVERTED)
async def test_a_state_of_the_version_before_goes_on_exactly_once(tmp_path: Path, version: int) -> None:
    async with world() as client:
        await begun(client, tmp_path)
        made_older(tmp_path, version)
        await client.give("in", [b'{"id": 10}'])
        await run(client, tmp_path, COUNTING, 1)
        assert [row["id"] for row in await client.rows("all")] == [1, 2, 3, 10]
        assert [row["n"] for row in await client.rows("counts")] == [4]
        state = State(str(tmp_path / "state.duckdb"), COUNTING + f"\n-- SOURCE_SQL_STREAM_001 {COLUMNS}", 1)
        assert state.connection.execute("SELECT version FROM about").fetchall() == [(VERSION,)]
        state.close()


@pytest.mark.parametrize("version", [min(CONVERTED) - 1, VERSION + 1])
def test_a_state_that_cannot_be_read_is_refused_and_left_as_it_is(tmp_path: Path, version: int) -> None:
    path = str(tmp_path / "state.duckdb")
    State(path, "a program").close()
    with duckdb.connect(path) as connection:
        connection.execute("UPDATE about SET version = ?", [version])
    with pytest.raises(SqlError, match=f"has version {version}; this program reads version {VERSION}"):
        State(path, "a program")
    with duckdb.connect(path) as connection:
        assert connection.execute("SELECT version FROM about").fetchall() == [(version,)]


def test_what_was_rolled_back_is_not_remembered(tmp_path: Path) -> None:
    state = State(str(tmp_path / "state.duckdb"), "a program")
    time = InputTime(TimeRule(), at_ms=7)
    state.commit(Changes(), {"in": ({"s": 5}, time)}, [Entry(1, 0, 0, b"abc")], [])
    with pytest.raises(duckdb.Error):
        state.commit(Changes(added={"nowhere": pa.table({"a": [1]})}), {"in": ({"s": 9}, time)}, [], [])
    with pytest.raises(duckdb.Error):
        state.commit(Changes(), {"in": ({"s": 9}, time)}, [Entry(2, 1 << 40, 3, b"d")], [])
    assert state.positions("in") == {"s": 5}
    assert (state.sizes(), state.last_id()) == ({0: 3}, 1)
    state.close()
    again = State(str(tmp_path / "state.duckdb"), "a program")
    assert again.positions("in") == {"s": 5}
    assert again.outbox() == [Entry(1, 0, 0, b"abc")]
    again.close()
