"""What the demo asks of the stream: hourly delays by a continuous SQL application, and history by batch SQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import uvloop

import analytics
from analytics import Application, Input, Output, Progress, Reference
from connectors.formats.schema import Column
from gateway.demo.flights import Files
from gateway.demo.reconcile import Key, Rows, visibility
from streams.sdk.client import LATEST, TRIM_HORIZON
from streams.sdk.consumer import Consumer
from streams.sdk.http import HttpClient

HOURLY = """
CREATE OR REPLACE STREAM hourly (
    hour TIMESTAMP, carrier VARCHAR(2), airline VARCHAR(64), flights BIGINT, departed BIGINT, mean_delay DOUBLE
);
CREATE OR REPLACE PUMP hourly_pump AS INSERT INTO hourly
SELECT STREAM STEP(f.ROWTIME BY INTERVAL '1' HOUR), f."carrier", a."name",
       COUNT(*), COUNT(f."dep_delay"), AVG(f."dep_delay")
FROM flights AS f JOIN airlines AS a ON f."carrier" = a."carrier"
GROUP BY STEP(f.ROWTIME BY INTERVAL '1' HOUR), f."carrier", a."name";
"""

COLUMNS = (
    Column("carrier", pa.string()),
    Column("dep_delay", pa.float64()),
    Column("time_hour", pa.timestamp("ms")),
)
"""What the program reads of a flight. The delay is a DOUBLE, since the mean of INTEGERs is one in this language."""


WEATHER_COLUMNS = (*COLUMNS, Column("origin", pa.string()), Column("dep_time", pa.int32()))


@dataclass(slots=True)
class Hourly:
    """What came out of the application."""

    windows: dict[Key, Key] = field(default_factory=dict)
    """(hour, carrier) → (airline, flights, flights that left, their mean delay)."""
    twice: int = 0
    """Windows that came more than once."""
    faulty: int = 0
    """Rows of the error stream."""

    def take(self, stream: str, rows: pa.RecordBatch) -> None:
        if stream == "error_stream":
            self.faulty += len(rows)
            return
        for _, hour, carrier, *values in zip(*rows.to_pydict().values(), strict=True):
            self.twice += (hour, carrier) in self.windows
            self.windows[hour, carrier] = tuple(values)


def hourly(endpoint: str, stream: str, files: Files, state: Path, count: int, advance: Callable[[int], None]) -> Hourly:
    """The windows of `count` records, computed as they arrive; `advance` is told how many more have been read.

    Time is the scheduled hour of departure: a window closes when every shard has come past it. When all records are in,
    the application is stopped, and a second one goes on from its state and closes the windows that are still open.
    """
    return uvloop.run(_hourly(endpoint, stream, files, state, count, advance))


async def _hourly(
    endpoint: str, stream: str, files: Files, state: Path, count: int, advance: Callable[[int], None]
) -> Hourly:
    found = Hourly()
    seen = 0

    def progressed(progress: Progress) -> None:
        nonlocal seen
        seen += progress.records
        advance(progress.records)
        if seen >= count:
            application.stop()

    client = HttpClient(endpoint)

    def new() -> Application:
        return Application(
            HOURLY,
            client=client,
            inputs=[Input(stream, name="FLIGHTS", columns=COLUMNS, rowtime="time_hour")],
            references=[Reference("AIRLINES", str(files.airlines))],
            outputs=[Output(source="HOURLY", callback=found.take), Output(source="error_stream", callback=found.take)],
            path=str(state),
            progress=progressed,
        )

    try:
        application = new()
        async with application:
            await application.run()
        application = new()
        async with application:
            await application.run(until_end=True)
    finally:
        await client.close()
    return found


def weather(endpoint: str, stream: str, files: Files) -> Rows:
    """(visibility class,) → (flights that left, their mean delay): batch SQL over the log, joined with a file."""
    return uvloop.run(_weather(endpoint, stream, files))


async def _weather(endpoint: str, stream: str, files: Files) -> Rows:
    client = HttpClient(endpoint)
    sql = f"""
        SELECT {visibility("w.visib")}, count(*), avg(f.dep_delay)
        FROM {stream} AS f JOIN read_csv('{files.weather}') AS w
        ON f.origin = w.origin AND f.time_hour = w.time_hour AT TIME ZONE 'UTC'
        WHERE f.dep_time IS NOT NULL GROUP BY 1
    """
    try:
        rows = await analytics.query(sql, client, columns={stream: WEATHER_COLUMNS})
    finally:
        await client.close()
    return {(kind,): (flights, delay) for kind, flights, delay in zip(*rows.to_pydict().values(), strict=True)}


def count(endpoint: str, stream: str) -> Counter[str]:
    """Records in the log by shard, as a consumer counts them."""
    return uvloop.run(_count(endpoint, stream))


async def _count(endpoint: str, stream: str) -> Counter[str]:
    client = HttpClient(endpoint)
    found: Counter[str] = Counter()
    try:
        start, ends = await client.find(stream, TRIM_HORIZON), await client.find(stream, LATEST)
        left = {shard for shard, end in ends.items() if start[shard] < end}
        async with Consumer(client, stream, positions=start) as consumer:
            while left:
                batch = await anext(consumer)
                found[batch.shard] += len(batch)
                if batch.next >= ends[batch.shard]:
                    left.discard(batch.shard)
    finally:
        await client.close()
    return found
