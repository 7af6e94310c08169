"""Applications live: time, stops, restarts, outputs of every kind, and what is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from analytics_support import NOW_MS, Sink, world
from hypothesis import given, settings
from hypothesis import strategies as st

import analytics
from analytics import Application, Input, Output, Reference, SqlError, continuous, is_continuous, query
from connectors.formats.schema import Column
from streams.core.clock import ManualClock
from streams.core.errors import ResourceNotFound, ValidationError
from streams.core.scope import delivery_source

COLUMNS = [Column("k", pa.string()), Column("v", pa.int64()), Column("t", pa.timestamp("ms"))]
COUNTS = """
CREATE STREAM counts (k VARCHAR(8), n INTEGER, total BIGINT);
CREATE PUMP p AS INSERT INTO counts
SELECT STREAM "k", COUNT(*), SUM("v") FROM SOURCE_SQL_STREAM_001 AS s GROUP BY "k", STEP(s.ROWTIME BY INTERVAL '10' SECOND);
"""
PASS = """
CREATE STREAM d (k VARCHAR(8), v BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "k", "v" FROM SOURCE_SQL_STREAM_001;
"""


def record(k: str | None, v: int, t: int | None = None) -> bytes:
    return json.dumps({"k": k, "v": v, "t": t}).encode()


async def until(condition: Callable[[], bool], clock: ManualClock | None = None) -> None:
    """Lets the loop and its threads run until something has happened, while time passes on `clock`."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)
            if clock is not None:
                clock.advance(0.1)


async def test_public_names_are_chosen() -> None:
    assert analytics.__all__ == [
        "Application",
        "Input",
        "Output",
        "Program",
        "Progress",
        "Reference",
        "SqlError",
        "continuous",
        "is_continuous",
        "parse",
        "query",
    ]


async def test_the_clock_closes_windows_of_arrival_without_a_record() -> None:
    async with world() as client:
        await client.create_stream("input", 2)
        sink = Sink()
        application = Application(
            COUNTS,
            client=client,
            inputs=[Input("input", columns=COLUMNS)],
            outputs=[Output("COUNTS", callback=sink)],
            clock=client.clock,
        )
        running = asyncio.create_task(application.run())
        await client.give("input", [record("a", 1), record("a", 2), record("b", 5)], ["x", "y", "z"])
        await until(lambda: application.open_until_ms is not None)
        assert sink.rows == []
        client.clock.advance(12)
        await client.give("input", [record("c", 1)])
        await until(lambda: len(sink.rows) == 2, client.clock)
        await until(lambda: len(sink.rows) == 3, client.clock)
        assert [(row["K"], row["N"], row["TOTAL"]) for _, _, row in sink.rows] == [
            ("a", 2, 3),
            ("b", 1, 5),
            ("c", 1, 1),
        ]
        application.stop()
        await running
        await application.close()


async def test_a_stopped_application_goes_on_where_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "state.duckdb")
    async with world() as client:
        await client.create_stream("input")
        await client.create_stream("out")

        def application() -> Application:
            return Application(
                COUNTS,
                client=client,
                inputs=[Input("input", columns=COLUMNS, rowtime="t")],
                outputs=[Output("COUNTS", stream="out", partition_key="K")],
                path=path,
                clock=client.clock,
            )

        await client.give("input", [record("a", 1, 1_700_000_001), record("a", 2, 1_700_000_002)])
        first = application()
        running = asyncio.create_task(first.run())
        await until(lambda: first.open_until_ms is not None)
        first.stop()
        await running
        await first.close()
        await client.give("input", [record("a", 3, 1_700_000_003), record("a", 4, 1_700_000_031)])
        async with application() as second:
            assert second.open_until_ms is not None
            await second.run(until_end=True)
        assert await client.rows("out") == [{"K": "a", "N": 3, "TOTAL": 6}, {"K": "a", "N": 1, "TOTAL": 4}]
        (tmp_path / "text").write_text("no database")
        with pytest.raises(SqlError, match=r"the state in .*text cannot be opened: The file .* not a valid"):
            await Application(
                PASS, client=client, inputs=[Input("input", columns=COLUMNS)], path=str(tmp_path / "text")
            ).open()
        with pytest.raises(SqlError, match="belongs to another program"):
            await Application(PASS, client=client, inputs=[Input("input", columns=COLUMNS)], path=path).open()


async def test_rows_reach_files_and_delivery_streams(tmp_path: Path) -> None:
    async with world() as client:
        await client.create_stream("input")
        await client.create_stream(delivery_source("lake"))
        await client.give("input", [record("a", 1), record(None, 2), record("c", 3)])
        outputs = [
            Output("D", file=str(tmp_path / "d.ndjson")),
            Output("D", file=str(tmp_path / "d.csv")),
            Output("D", file=str(tmp_path / "d.parquet")),
            Output("D", delivery_stream="lake"),
        ]
        async with Application(
            PASS, client=client, inputs=[Input("input")], outputs=outputs, clock=client.clock, batch_rows=2
        ) as application:
            await application.run(until_end=True)
        expected = [{"K": "a", "V": 1}, {"K": None, "V": 2}, {"K": "c", "V": 3}]
        assert [json.loads(line) for line in (tmp_path / "d.ndjson").read_text().splitlines()] == expected
        assert (tmp_path / "d.csv").read_text().splitlines() == ['"K","V"', '"a",1', ",2", '"c",3']
        assert pa.parquet.read_table(tmp_path / "d.parquet").to_pylist() == expected
        assert await client.rows(delivery_source("lake")) == expected


async def test_hidden_columns_of_an_input() -> None:
    sql = """CREATE STREAM d (at TIMESTAMP, shard VARCHAR(32), part VARCHAR(32), number VARCHAR(60));
    CREATE PUMP p AS INSERT INTO d
    SELECT STREAM APPROXIMATE_ARRIVAL_TIME, SHARD_ID, PARTITION_KEY, SEQUENCE_NUMBER FROM SOURCE_SQL_STREAM_001"""
    async with world() as client:
        await client.create_stream("input")
        await client.give("input", [b"{}", b"x", b"{}"], ["p1", "p2", "p3"])
        sink = Sink()
        async with Application(
            sql,
            client=client,
            inputs=[Input("input", columns=COLUMNS)],
            outputs=[Output("D", callback=sink)],
            clock=client.clock,
        ) as application:
            await application.run(until_end=True)
        rows = [row for _, _, row in sink.rows]
        assert [(row["SHARD"], row["PART"]) for row in rows] == [
            ("shardId-000000000000", "p1"),
            ("shardId-000000000000", "p3"),
        ]
        assert int(rows[1]["NUMBER"]) - int(rows[0]["NUMBER"]) == 2 << 80
        assert sink.rows[0][1] == rows[0]["AT"].replace(" ", "T") + "Z"


async def test_counting_needs_no_column() -> None:
    async with world() as client:
        await client.create_stream("flights", 3)
        await client.give("flights", [record("a", 1), b"junk", record("b", 2)], ["x", "y", "z"])
        sink = Sink()
        application = await continuous(
            "SELECT STREAM COUNT(*) AS n FROM Flights GROUP BY FLOOR(Flights.ROWTIME TO MINUTE)",
            client,
            sink,
            clock=client.clock,
        )
        async with application:
            await application.run(until_end=True)
        assert {(stream, row.get("N")) for stream, _, row in sink.rows} == {("RESULT", 2), ("error_stream", None)}


async def test_what_an_application_refuses(tmp_path: Path) -> None:
    async with world() as client:
        await client.create_stream("input")
        inputs = [Input("input", columns=COLUMNS)]

        async def refused(match: str, kind: type[Exception] = ValidationError, sql: str = PASS, **more: object) -> None:
            options = {"inputs": inputs, "client": client, **more}
            with pytest.raises(kind, match=match):
                await Application(sql, **options).open()  # type: ignore[arg-type]  # any mix of options

        await refused("holds no JSON records", inputs=[Input("input")])
        await refused(
            'has no column T; did you mean "t"?'.replace("?", r"\?"),
            inputs=[Input("input", columns=COLUMNS, rowtime="T")],
        )
        await refused("column v is not a TIMESTAMP", inputs=[Input("input", columns=COLUMNS, rowtime="v")])
        await refused("no in-application stream E", SqlError, outputs=[Output("E", stream="x")])
        await refused("has no column k; did you mean K", SqlError, outputs=[Output("D", stream="x", partition_key="k")])
        await refused("there is no file", references=[Reference("R", str(tmp_path / "none.csv"))])
        (tmp_path / "bad.csv").write_text("a,b\n1\n")
        await refused("does not read as csv", references=[Reference("R", str(tmp_path / "bad.csv"))])
        (tmp_path / "bad.json").write_text('{"a":1}\n[]\n')
        await refused(
            "line 2: the record is JSON, but an array", references=[Reference("R", str(tmp_path / "bad.json"))]
        )
        await refused("is not csv, parquet or json", references=[Reference("R", "x.xml")])
        await refused("none", ResourceNotFound, inputs=[Input("none", columns=COLUMNS)])
        with pytest.raises(ValidationError, match="one of stream"):
            Output("D")


async def test_batch_queries_and_their_errors() -> None:
    async with world() as client:
        await client.create_stream("my-stream", 2)
        await client.give("my-stream", [record("a", 1), record("b", 2), b"junk"], ["x", "y", "z"])
        result = await query(
            'SELECT k, v, SHARD_ID IS NOT NULL AS s, "OFFSET" >= 0 AS o FROM "My-Stream" ORDER BY v', client
        )
        assert result.to_pylist() == [
            {"k": "a", "v": 1, "s": True, "o": True},
            {"k": "b", "v": 2, "s": True, "o": True},
        ]
        result = await query('SELECT DISTINCT ROWTIME FROM "my-stream"', client)
        assert result.column(0).cast(pa.int64()).to_pylist() == [NOW_MS]
        told: list[tuple[str, int, str]] = []
        await query('SELECT k FROM "my-stream"', client, faulty=lambda *what: told.append(what))
        assert told == [("my-stream", 1, "the record is not JSON")]
        for sql, message in [
            ("SELECT 1 FROM my_stream", 'line 1, column 15: there is no stream my_stream; did you mean "my-stream"?'),
            ("DELETE FROM x", "line 1, column 1: a batch query is one SELECT; found DELETE; expected SELECT"),
            ("SELECT 1;\nSELECT 2", "line 2, column 8: a batch query is one SELECT, and this belongs to another"),
            ("", "line 1, column 1: a batch query is one SELECT; expected SELECT"),
            ("SELECT", "line 1, column 7: a SELECT says nothing of what it selects; expected columns or *"),
            ("SELECT " + "(" * 5000 + "1" + ")" * 5000, "the program is nested too deeply"),
            ("SELECT 'x", "the text ends inside"),
            ('SELECT vv FROM "my-stream"', "line 1, column 8: there is no column vv; did you mean v?"),
            (
                'SELECT k\nFROM "my-stream" AS s WHERE s.kk = 1',
                "line 2, column 31: there is no column kk; did you mean k?",
            ),
            ('SELECT upperr(k) FROM "my-stream"', "line 1, column 8: there is no function upperr; did you mean upper?"),
            ('SELECT k, sum(v) FROM "my-stream"', "line 1, column 8: column"),
            ('SELECT x.k FROM "my-stream"', 'line 1, column 8: Referenced table "x" not found'),
        ]:
            with pytest.raises(SqlError) as caught:
                await query(sql, client)
            assert message in caught.value.message


async def test_a_continuous_query_may_name_rowtime() -> None:
    async with world() as client:
        await client.create_stream("input")
        await client.give("input", [record("a", 1), record("b", 2)])
        batches: list[pa.RecordBatch] = []
        application = await continuous(
            "SELECT STREAM ROWTIME, k, v * 2 AS double FROM input AS i WHERE i.v > 1",
            client,
            lambda _, rows: batches.append(rows),
            clock=client.clock,
        )
        async with application:
            await application.run(until_end=True)
        assert [batch.schema.names for batch in batches] == [["ROWTIME", "K", "DOUBLE"]]
        assert batches[0].to_pylist()[0]["DOUBLE"] == 4
        with pytest.raises(SqlError, match='there is no stream inputs; did you mean "input"'):
            await continuous("SELECT STREAM * FROM inputs", client, print)


def test_a_continuous_query_says_stream() -> None:
    assert is_continuous("SELECT STREAM a FROM s")
    assert not is_continuous("SELECT a FROM s")
    assert not is_continuous(PASS)


ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-(2**40), 2**40), st.integers(0, 100)), max_size=60)


@settings(max_examples=15)
@given(rows=ROWS, batch_rows=st.integers(1, 40), shards=st.integers(1, 3))
def test_the_stream_result_is_the_batch_result(rows: list[tuple[str, int, int]], batch_rows: int, shards: int) -> None:
    async def check() -> None:
        async with world() as client:
            await client.create_stream("input", shards)
            if rows:
                await client.give(
                    "input", [record(k, v, 1_700_000_000 + t) for k, v, t in rows], [k for k, _, _ in rows]
                )
            sink = Sink()
            async with Application(
                COUNTS,
                client=client,
                inputs=[Input("input", columns=COLUMNS, rowtime="t", lateness_ms=100_000)],
                outputs=[Output(None, callback=sink)],
                clock=client.clock,
                batch_rows=batch_rows,
            ) as application:
                await application.run(until_end=True)
            sql = """SELECT k, count(*), sum(v)::BIGINT FROM input GROUP BY k, STEP(ROWTIME BY INTERVAL '10' SECOND)"""
            batch = await query(sql, client, columns={"input": COLUMNS}, rowtime={"input": "t"})
            expected = Counter(tuple(row.values()) for row in batch.to_pylist())
            assert Counter(tuple(row.values()) for _, _, row in sink.rows) == expected

    asyncio.run(check())
