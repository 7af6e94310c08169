"""The records of a stream into a DuckDB table, for a query over history: fetched, decoded side by side, inserted in order.

In memory at any time are `DECODERS` + 2 fetches with their rows, and what the connection's memory limit allows.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from analytics.errors import SqlError
from connectors.formats.json import decode_json
from connectors.formats.json_plan import sql_type
from connectors.formats.schema import Column, RowFault
from streams.core.records import Batch
from streams.sdk.client import Readable, Start

DECODERS = min(4, os.cpu_count() or 1)
"""Fetches that are decoded at a time; beyond four, the one connection that takes the rows is what the time goes to."""

EXTRA = {"ROWTIME": "TIMESTAMP_MS", "PARTITION_KEY": "VARCHAR", "SHARD_ID": "VARCHAR", "OFFSET": "BIGINT"}
"""Columns that every stream has beside those of its records: arrival (or the event-time column), key and place."""

Faulty = Callable[[str, int, str], None]
"""Told of records that became no rows: the stream, how many of a fetch, and why the first."""


@dataclass(frozen=True, slots=True)
class Table:
    """A stream as DuckDB will know it: `physical` has `columns`, and those of `EXTRA` that `extra` names."""

    stream: str
    physical: str
    columns: Sequence[Column]
    rowtime: str | None
    extra: Sequence[str]


def create(connection: duckdb.DuckDBPyConnection, table: Table) -> None:
    """The table, empty."""
    connection.execute(f"CREATE TABLE {table.physical} ({', '.join(_shape(table))})")


async def load(
    connection: duckdb.DuckDBPyConnection, table: Table, client: Readable, start: Start, faulty: Faulty
) -> None:
    """Fills the table with what the stream holds now, from `start` on."""
    decoding: deque[asyncio.Future[tuple[pa.Table, Sequence[RowFault]]]] = deque()

    async def insert() -> None:
        rows, faults = await decoding.popleft()
        await asyncio.to_thread(_insert, connection, table, rows)
        if faults:
            faulty(table.stream, len(faults), faults[0].message)

    with ThreadPoolExecutor(DECODERS, "query decodes") as threads:
        loop = asyncio.get_running_loop()
        try:
            async for batches in _history(client, table.stream, start):
                decoding.append(loop.run_in_executor(threads, _rows, table, batches))
                if len(decoding) > DECODERS:
                    await insert()
            while decoding:
                await insert()
        finally:
            await asyncio.gather(*decoding, return_exceptions=True)


async def _history(client: Readable, stream: str, start: Start) -> AsyncIterator[list[Batch]]:
    """What every shard holds when the first fetch is answered, each shard in its order."""
    positions = await client.find(stream, start)
    tips: dict[str, int] = {}
    while positions:
        fetch = await client.fetch(stream, positions)
        tips = tips or dict(fetch.tips)
        positions |= {batch.shard: batch.next for batch in fetch.batches}
        batches = [_until(batch, tips.get(batch.shard, batch.next)) for batch in fetch.batches]
        if batches:
            yield batches
        quiet = set(fetch.ended) if fetch.batches else set(positions)
        positions = {shard: at for shard, at in positions.items() if shard not in quiet and at < tips.get(shard, 0)}


def _until(batch: Batch, end: int) -> Batch:
    count = max(0, min(batch.next, end) - batch.first)
    return Batch(batch.shard, batch.first, batch.first + count, batch.records.slice(0, count))


def _shape(table: Table) -> list[str]:
    """Names and types. Names that DuckDB would take for one get a number."""
    names: list[str] = []
    for column in table.columns:
        taken, name, number = {each.lower() for each in names}, column.name, 1
        while name.lower() in taken:
            name, number = f"{column.name}_{number}", number + 1
        names.append(name)
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    shape = [f"{name} {sql_type(column.type)}" for name, column in zip(quoted, table.columns, strict=True)]
    # Without any column, only the number of the rows counts.
    return shape + [f'"{name}" {EXTRA[name]}' for name in table.extra] or ["nothing INTEGER"]


def _rows(table: Table, batches: Sequence[Batch]) -> tuple[pa.Table, Sequence[RowFault]]:
    """The rows of some batches, decoded at once: a call costs as much as a thousand records."""
    decoded = decode_json(pa.concat_arrays([batch.records.data for batch in batches]), table.columns)
    arrays = list(decoded.rows.columns)
    for name in table.extra:
        if name == "ROWTIME" and table.rowtime is not None:
            arrays.append(arrays[_number(table, table.rowtime)])
        else:
            arrays.append(pa.concat_arrays([_EXTRA[name](batch) for batch in batches]).take(decoded.source))
    arrays = arrays or [pa.nulls(len(decoded.source), pa.int32())]
    return pa.table(arrays, names=[f"c{number}" for number in range(len(arrays))]), decoded.faults


def _number(table: Table, name: str) -> int:
    for number, column in enumerate(table.columns):
        if column.name == name:
            return number
    raise SqlError(f"rowtime: stream {table.stream} has no column {name}")


_EXTRA: dict[str, Callable[[Batch], pa.Array]] = {
    "ROWTIME": lambda batch: pa.array(batch.records.arrival_ms()).cast(pa.timestamp("ms")),
    "PARTITION_KEY": lambda batch: batch.records.partition_key,
    "SHARD_ID": lambda batch: pa.repeat(batch.shard, len(batch)),
    "OFFSET": lambda batch: pa.array(np.arange(batch.first, batch.next)),
}


def _insert(connection: duckdb.DuckDBPyConnection, table: Table, rows: pa.Table) -> None:
    connection.register("part", rows)
    connection.execute(f"INSERT INTO {table.physical} SELECT * FROM part")
    connection.unregister("part")
