"""``headrace stream export`` and ``headrace stream replay``: a range of a stream into a file, or into another stream."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import click
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from gateway.cli import output
from gateway.cli.connection import Target, connected, find_stream
from gateway.cli.failure import Failure
from gateway.cli.running import run
from gateway.cli.tail import starting_point
from gateway.cli.times import FORMS, point_ms
from streams.core.records import Batch
from streams.sdk.client import Start
from streams.sdk.history import history

SCHEMA = pa.schema(
    [
        pa.field("shard", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("partition_key", pa.string(), nullable=False),
        pa.field("arrival", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("data", pa.binary(), nullable=False),
    ]
)
"""Of an exported Parquet file; a line of NDJSON has the same members, and `data_base64` where data is not UTF-8."""

ROW_GROUP_SIZE = 16 << 20
"""Bytes of records that are gathered for a row group: what an export holds in memory."""

PAUSE_S_MAX = 1.0
"""A replay that waits looks at least so often whether it should end."""


def until_point(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """A click callback."""
    if text is None:
        return None
    at_ms = point_ms(text)
    if at_ms is None:
        raise click.BadParameter(f"{text!r} is no point in time: {FORMS}")
    return at_ms


def ranged(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose a range of time."""
    command = click.option(
        "--until", "until_ms", callback=until_point, metavar="TIME", help=f"Records before it: {FORMS}.  [now]"
    )(command)
    return click.option(
        "--from",
        "start",
        callback=starting_point,
        default="trim_horizon",
        show_default=True,
        metavar="START",
        help=f"trim_horizon, {FORMS}.",
    )(command)


@click.command()
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@ranged
@click.option(
    "--format",
    "kind",
    type=click.Choice(["parquet", "ndjson"]),
    help="By default what the file's ending says: .parquet, .ndjson or .jsonl.",
)
@connected
def export(target: Target, name: str, file: Path, start: Start, until_ms: int | None, kind: str | None) -> None:
    """Write the records of the stream NAME into FILE.

    What is there when it begins, each shard in its order. The file appears when it is whole; one of that name is
    replaced."""
    kind = kind or {".parquet": "parquet", ".ndjson": "ndjson", ".jsonl": "ndjson"}.get(file.suffix)
    if kind is None:
        raise Failure(f"{file} says no format", hint="name it .parquet or .ndjson, or add --format")

    async def work() -> int:
        async with target.client() as client:
            await find_stream(client, name)
            batches = history(client, name, start, until_ms)
            return await (_parquet if kind == "parquet" else _ndjson)(batches, file)

    count = run(target, work())
    if target.json:
        output.json_line({"records": count, "file": str(file)})
    else:
        output.talk(f"{count} records in {file}")


@click.command()
@click.argument("name")
@click.argument("into")
@ranged
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="1 keeps the time between records, 10 is ten times as fast, 0 as fast as it goes.",
)
@connected
def replay(target: Target, name: str, into: str, start: Start, until_ms: int | None, speed: float) -> None:
    """Put the records of the stream NAME into the stream INTO again.

    With their keys and data; they arrive when they are put. Records of one key keep their order."""
    if name == into:
        raise Failure("a stream cannot be replayed into itself", hint="headrace stream create makes another one")

    async def work() -> int:
        count = 0
        async with target.client() as client:
            await find_stream(client, name)
            await find_stream(client, into)
            pace = _Pace(speed)
            async for batch in history(client, name, start, until_ms):
                async for part in pace.parts(batch):
                    await client.put(into, part.records)
                    count += len(part)
        return count

    count = run(target, work())
    if target.json:
        output.json_line({"records": count})
    else:
        output.talk(f"{count} records of {name} put into {into}")


class _Pace:
    """Cuts batches into what is due, and waits for the rest."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first_ms: int | None = None
        self._began = 0.0

    async def parts(self, batch: Batch) -> AsyncIterator[Batch]:
        if not self._speed:
            yield batch
            return
        loop = asyncio.get_running_loop()
        arrivals = batch.records.arrival_ms()
        if self._first_ms is None:
            self._first_ms, self._began = int(arrivals[0]), loop.time()
        done = 0
        while done < len(batch):
            passed_ms = (loop.time() - self._began) * 1000 * self._speed
            due = int((arrivals <= self._first_ms + passed_ms).sum())
            if due > done:
                yield Batch(batch.shard, batch.first + done, batch.first + due, batch.records.slice(done, due - done))
                done = due
            else:
                left_s = (int(arrivals[done]) - self._first_ms - passed_ms) / self._speed / 1000
                await asyncio.sleep(min(max(left_s, 0.001), PAUSE_S_MAX))


async def _parquet(batches: AsyncIterator[Batch], file: Path) -> int:
    count, size = 0, 0
    gathered: list[pa.RecordBatch] = []
    draft = _draft(file)
    try:
        with pq.ParquetWriter(draft, SCHEMA, compression="zstd") as writer:
            async for batch in batches:
                gathered.append(_rows(batch))
                count += len(batch)
                size += batch.records.size
                if size >= ROW_GROUP_SIZE:
                    await asyncio.to_thread(writer.write_table, pa.Table.from_batches(gathered))
                    gathered, size = [], 0
            if gathered:
                writer.write_table(pa.Table.from_batches(gathered))
        os.replace(draft, file)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return count


async def _ndjson(batches: AsyncIterator[Batch], file: Path) -> int:
    count = 0
    draft = _draft(file)
    try:
        with draft.open("wb") as out:
            async for batch in batches:
                out.write(await asyncio.to_thread(_lines, batch))
                count += len(batch)
        os.replace(draft, file)
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return count


def _draft(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.part")


def _rows(batch: Batch) -> pa.RecordBatch:
    records = batch.records
    columns = [
        pa.repeat(batch.shard, len(batch)),
        pa.array(range(batch.first, batch.next), pa.int64()),
        records.partition_key,
        pa.array(records.arrival_ms()).cast(pa.timestamp("ms", tz="UTC")),
        records.data,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _lines(batch: Batch) -> bytes:
    records = batch.records
    columns = (records.partition_key.to_pylist(), records.data.to_pylist(), records.arrival_ms().tolist())
    lines = []
    for offset, (key, data, arrival_ms) in enumerate(zip(*columns, strict=True), batch.first):
        line: dict[str, object] = {
            "shard": batch.shard,
            "offset": offset,
            "partition_key": key,
            "arrival": arrival_ms / 1000,
        }
        try:
            line["data"] = data.decode()
        except UnicodeDecodeError:
            line["data_base64"] = base64.b64encode(data).decode()
        lines.append(msgspec.json.encode(line))
    lines.append(b"")
    return b"\n".join(lines)
