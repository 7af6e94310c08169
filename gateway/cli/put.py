"""``headrace put``: lines of a file or of stdin become records."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, BinaryIO

import click
import msgspec
import pyarrow as pa

from gateway.cli import output
from gateway.cli.connection import Target, connected, find_stream
from gateway.cli.failure import Failure
from gateway.cli.running import run
from streams.sdk.producer import Producer

_BLOCK_SIZE = 4 << 20
"""Bytes that are read before they are put: enough that a put costs next to nothing per line."""

DELIVERY = "firehose/"
"""What the name of a delivery stream is preceded by, where records are put into it."""

Key = Callable[[bytes, int], str]
"""The partition key of a line with this number, counted from 1. None in its place: keys are random."""


@click.command()
@click.argument("stream")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--key", help="Partition key of all records: they stay in order, in one shard.")
@click.option("--key-field", help="Field of the JSON objects whose value is the partition key.")
@connected
def put(target: Target, stream: str, file: BinaryIO, key: str | None, key_field: str | None) -> None:
    """Put the lines of FILE (or of stdin) into STREAM, a record a line. firehose/NAME is the delivery stream NAME.

    Line ends are not part of the records. Without a key, every record gets a random one, so that they spread over all shards. Empty lines are skipped. The
    command ends when all records are durable, and says how many there were."""
    if key is not None and key_field is not None:
        raise click.UsageError("--key and --key-field exclude each other")
    keys = _keys(key, key_field)

    async def work() -> int:
        async with target.client() as client:
            if not stream.startswith(DELIVERY):
                await find_stream(client, stream)
            return await _put(Producer(client, stream), file, keys)

    began = time.perf_counter()
    count = run(target, work()) or 0
    elapsed = time.perf_counter() - began
    if target.json:
        output.json_line({"records": count, "seconds": round(elapsed, 3)})
    else:
        output.talk(f"{count:,} records in {elapsed:.2f} s, {count / elapsed:,.0f} records/s")


async def _put(producer: Producer, file: BinaryIO, keys: Key | None) -> int:
    total = _size(file)
    with output.progress() as shown:
        task = shown.add_task("MB", total=None if total is None else total >> 20, note="")
        count = seen = 0
        began = time.perf_counter()
        async with producer:
            async for lines in _blocks(file):
                columns: dict[str, Any] = {"data": pa.array(lines, pa.binary())}
                if keys is not None:
                    columns["partition_key"] = [keys(line, number) for number, line in enumerate(lines, count + 1)]
                count += await producer.put_batch(pa.table(columns), data="data")
                seen += sum(map(len, lines)) + len(lines)
                rate = count / (time.perf_counter() - began)
                shown.update(task, completed=seen >> 20, note=f"{count:,} records, {rate:,.0f}/s")
    return count


def _keys(key: str | None, field: str | None) -> Key | None:
    if key is not None:
        return lambda line, number: key
    if field is None:
        return None

    def of_field(line: bytes, number: int) -> str:
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            raise Failure(f"line {number} is not JSON: {error}") from error
        value = row.get(field) if isinstance(row, dict) else None
        if value is None or isinstance(value, dict | list):
            raise Failure(f"line {number} has no field {field!r} to take the partition key from")
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()

    return of_field


async def _blocks(file: BinaryIO) -> AsyncIterator[list[bytes]]:
    """The lines that are not empty, in blocks: as many as there are for now."""
    rest = b""
    while chunk := await _read(file):
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line for line in (line.rstrip(b"\r") for line in lines) if line]
    if rest:
        yield [rest]


async def _read(file: BinaryIO) -> bytes:
    """What there is, at most a block; empty at the end. Waits for a pipe without holding up anything, Ctrl-C least."""
    if file.seekable():
        return file.read(_BLOCK_SIZE)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(file.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(file.fileno())
    return os.read(file.fileno(), _BLOCK_SIZE)


def _size(file: BinaryIO) -> int | None:
    """Bytes of a file that can be measured; None for a pipe."""
    if not file.seekable():
        return None
    here = file.tell()
    end = file.seek(0, 2)
    file.seek(here)
    return end
