"""Watermarks beside a few lines of Python that judge row by row; what the stream of late rows is."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from analytics_machine import CUTS, ROWS, Row, run
from analytics_support import Sink, world
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import Application, Input, Output
from connectors.formats.schema import Column

TIMES = "TO_TIMESTAMP(UNIX_TIMESTAMP(s.ROWTIME) + v * 1000)"


def judged(rows: list[Row], bound: int) -> list[tuple[bool, int, int]]:
    """(late, time, how far time had come) of each row; rows of one instant are judged by those before it."""
    found, high, reached = [], None, None
    for number, (time, _, value) in enumerate(rows):
        if number == 0 or rows[number - 1][0] != time:
            reached = None if high is None else high - bound
        event = time + value
        found.append((reached is not None and event < reached, event, reached))
        high = event if high is None else max(high, event)
    return found


@settings(max_examples=12)
@given(ROWS, CUTS, st.integers(0, 6))
def test_watermarks(rows: list[Row], cuts: list[tuple[int, int, bool]], bound: int) -> None:
    declared = f"(k VARCHAR(4), v BIGINT, WATERMARK FOR ROWTIME AS ROWTIME - INTERVAL '{bound}' SECOND)"
    fill = f"CREATE STREAM e {declared}; CREATE PUMP p AS INSERT INTO e SELECT STREAM k, v, {TIMES} AS ROWTIME FROM s;"
    kept = f"{fill} CREATE STREAM out (k VARCHAR(4), v BIGINT); CREATE PUMP q AS INSERT INTO out SELECT STREAM * FROM e"
    late = kept.replace("FROM e", "FROM (SELECT STREAM k, UNIX_TIMESTAMP(LATE_ROWTIME) / 1000 FROM e_late)")
    every = list(zip(rows, judged(rows, bound), strict=True))
    assert run(kept, {"S": rows}, cuts) == Counter((at, k, v) for (_, k, v), (bad, at, _) in every if not bad)
    assert run(late, {"S": rows}, cuts) == Counter((reached, k, at) for (_, k, _), (bad, at, reached) in every if bad)


@settings(max_examples=12)
@given(ROWS, CUTS, st.integers(0, 6))
def test_windows_behind_a_watermark(rows: list[Row], cuts: list[tuple[int, int, bool]], bound: int) -> None:
    sql = f"""CREATE STREAM e (k VARCHAR(4), at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '{bound}' SECOND);
    CREATE PUMP p AS INSERT INTO e SELECT STREAM k, {TIMES} FROM s;
    CREATE STREAM out (k VARCHAR(4), n BIGINT);
    CREATE PUMP q AS INSERT INTO out SELECT STREAM k, COUNT(*) FROM e GROUP BY k, STEP(e.ROWTIME BY INTERVAL '7' SECOND)"""
    counted: Counter[tuple[int, str]] = Counter()
    for (_, key, _), (bad, at, _) in zip(rows, judged(rows, bound), strict=True):
        if not bad:
            counted[(at // 7 * 7 + 7, key)] += 1
    assert run(sql, {"S": rows}, cuts) == Counter({(at, key, n): 1 for (at, key), n in counted.items()})


async def test_time_that_comes_from_the_events_closes_windows_of_rows_that_came_by_arrival() -> None:
    """ROWTIME of the input is the arrival, as in applications of the API; the windows are those of the events."""
    sql = """CREATE STREAM e (n INTEGER, at TIMESTAMP, WATERMARK FOR at AS at - INTERVAL '5' SECOND);
    CREATE PUMP p AS INSERT INTO e SELECT STREAM n, at FROM src;
    CREATE STREAM out (total INTEGER);
    CREATE PUMP q AS INSERT INTO out SELECT STREAM SUM(n) FROM e GROUP BY FLOOR(e.ROWTIME TO MINUTE)"""
    async with world() as client:
        await client.create_stream("src")
        sink = Sink()
        columns = [Column("N", pa.int32()), Column("AT", pa.timestamp("ms"))]
        application = Application(
            sql,
            client=client,
            inputs=[Input("src", name="SRC", columns=columns)],
            outputs=[Output(None, callback=sink)],
            clock=client.clock,
        )
        async with application:
            for number, at in enumerate(["08:00:10", "08:01:02", "08:00:59", "08:01:06"]):
                await client.give("src", [b'{"N": %d, "AT": "2025-03-01 %s"}' % (10**number, at.encode())])
                client.clock.advance(2)
            await application.run(until_end=True)
        assert [(t, r) for s, t, r in sink.rows if s == "OUT"] == [
            ("2025-03-01T08:01:00.000Z", {"TOTAL": 101}),
            ("2025-03-01T08:02:00.000Z", {"TOTAL": 1010}),
        ]
