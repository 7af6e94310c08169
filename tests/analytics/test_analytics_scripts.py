"""Functions in Python: what bounds their time, and where else than in programs they work."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import pyarrow as pa
import pytest
from analytics_support import Sink, World, world

from analytics import Application, Input, Output, SqlError, query
from analytics.limits import FunctionsTooSlow, Limits
from connectors.formats.schema import Column

SLOW = """
CREATE FUNCTION slow (x INTEGER) RETURNS INTEGER LANGUAGE PYTHON AS $$
def slow(x):
    while x % 2:
        try:
            pass
        except Exception:
            pass
    return x
$$;
CREATE STREAM d (v INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM slow("v") FROM SOURCE_SQL_STREAM_001;
"""
WAITS = SLOW.replace(
    "while x % 2:", "import sys; sys.modules['test_analytics_scripts_event'].wait(); return x\n    while 0:"
)


async def run(client: World, sql: str, values: Sequence[int], limits: Limits) -> Sink:
    await client.create_stream("input")
    await client.give("input", [json.dumps({"v": value}).encode() for value in values])
    sink = Sink()
    application = Application(
        sql,
        client=client,
        inputs=[Input("input", columns=[Column("v", pa.int32())])],
        outputs=[Output(None, callback=sink)],
        clock=client.clock,
        limits=limits,
    )
    async with application:
        await application.run(until_end=True)
    return sink


async def test_a_row_for_which_a_function_does_not_end_is_a_fault() -> None:
    async with world() as client:
        sink = await run(client, SLOW, [2, 3, 4, 3, 6], Limits(call_s=0.2))
        assert [row["V"] for stream, _, row in sink.rows if stream == "D"] == [2, 4, 6]
        faults = [(row["ERROR_NAME"], row["MESSAGE"]) for stream, _, row in sink.rows if stream == "error_stream"]
        assert faults == [("FunctionError", "function SLOW: it took longer than 0.2 s")] * 2


async def test_a_batch_of_such_rows_ends_the_application_with_a_sentence() -> None:
    async with world() as client:
        with pytest.raises(FunctionsTooSlow, match=r"took more than 0\.5 s, SLOW the last"):
            await run(client, SLOW, range(1, 40, 2), Limits(call_s=0.2, batch_s=0.5))


async def test_who_cannot_be_interrupted_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    event, told = threading.Event(), []

    def stuck(text: str) -> None:
        told.append(text)
        event.set()

    monkeypatch.setitem(__import__("sys").modules, "test_analytics_scripts_event", event)  # type: ignore[arg-type]
    async with world() as client:
        sink = await run(client, WAITS, [1], Limits(stuck, call_s=0.1, grace_s=0.1))
    assert told[0] == "function SLOW does not come to an end, and cannot be interrupted"
    assert [row["MESSAGE"] for _, _, row in sink.rows] == ["function SLOW: it took longer than 0.1 s"]


FUNCTIONS = """-- Two ways to say it.
CREATE FUNCTION twice (x BIGINT) RETURNS BIGINT LANGUAGE PYTHON AS $$
def twice(x):
    return x * 2 if x != 50 else 1 // 0
$$;
CREATE OR REPLACE FUNCTION thrice (x BIGINT) RETURNS BIGINT RETURN x * 3;
"""


async def test_a_batch_query_may_bring_its_functions() -> None:
    async with world() as client:
        await client.create_stream("input")
        await client.give("input", [json.dumps({"v": value}).encode() for value in (1, 2, 50)])
        sql = "SELECT v, twice(v), thrice(v) AS t FROM input WHERE v < 50 ORDER BY [v]"
        assert (await query(FUNCTIONS + sql, client)).to_pylist() == [
            {"v": 1, "TWICE(v)": 2, "t": 3},
            {"v": 2, "TWICE(v)": 4, "t": 6},
        ]
        for sql, message in [
            ("SELECT twice(v) FROM input", "function TWICE: ZeroDivisionError: integer division or modulo by zero"),
            ("SELECT twise(v) FROM input", "line 7, column 8: there is no function twise"),
            ("SELECT twice(v, 1) FROM input", "line 7, column 8: function TWICE is called with 2 arguments"),
        ]:
            with pytest.raises(SqlError) as caught:
                await query(FUNCTIONS + sql, client)
            assert message in caught.value.message


async def test_a_module_that_fails_is_no_function() -> None:
    async with world() as client:
        with pytest.raises(SqlError, match="function SLOW: its text fails: NameError: name 'nothing' is not defined"):
            await run(client, SLOW.replace("def slow", "nothing\ndef slow"), [1], Limits())
