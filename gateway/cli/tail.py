"""``headrace tail``: a stream's records as they arrive."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import click

from gateway.cli import output
from gateway.cli.connection import Target, connected, find_stream
from gateway.cli.running import run
from gateway.cli.times import FORMS, point_ms
from streams.core import sequence
from streams.core.records import Batch
from streams.core.shards import Shard
from streams.sdk.client import LATEST, TRIM_HORIZON, Client, Start, at_timestamp
from streams.sdk.consumer import Consumer


def starting_point(ctx: click.Context, param: click.Parameter, text: str) -> Start:
    """``trim_horizon``, ``latest``, ``-10m`` (ago: s, m, h, d), an ISO 8601 time or seconds since 1970."""
    named = {"trim_horizon": TRIM_HORIZON, "latest": LATEST}.get(text.strip().lower())
    if named is not None:
        return named
    at_ms = point_ms(text)
    if at_ms is not None:
        return at_timestamp(at_ms)
    raise click.BadParameter(f"{text!r} is no starting point: trim_horizon, latest, {FORMS}")


@dataclass(slots=True)
class Printer:
    """Writes records to stdout, at most `limit` of them."""

    json: bool
    limit: int | None
    shards: dict[str, Shard]
    written: int = 0

    @property
    def full(self) -> bool:
        return self.limit is not None and self.written >= self.limit

    def write(self, batch: Batch) -> None:
        count = len(batch) if self.limit is None else min(len(batch), self.limit - self.written)
        records = batch.records.slice(0, count)
        columns = (records.partition_key.to_pylist(), records.data.to_pylist(), records.arrival_ms().tolist())
        for offset, (key, data, arrival_ms) in enumerate(zip(*columns, strict=True), batch.first):
            if self.json:
                output.json_line(self._plain(batch.shard, offset, key, data, arrival_ms))
            else:
                when = _time(arrival_ms).strftime("%H:%M:%S.%f")[:-3]
                click.echo(f"{when}  {_number(batch.shard)}/{offset}  {key}  {data.decode(errors='backslashreplace')}")
        self.written += count

    def _plain(self, shard: str, offset: int, key: str, data: bytes, arrival_ms: int) -> dict[str, object]:
        known = self.shards.get(shard)
        number = None if known is None else sequence.of_record(known.created_ms, known.index, offset, arrival_ms)
        plain: dict[str, object] = {
            "shard": shard,
            "offset": offset,
            "sequence": None if number is None else str(number),
            "key": key,
            "arrival": _time(arrival_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        try:
            plain["data"] = data.decode()
        except UnicodeDecodeError:
            plain["data_base64"] = base64.b64encode(data).decode()
        return plain


@click.command()
@click.argument("stream")
@click.option(
    "--from",
    "start",
    callback=starting_point,
    default="latest",
    show_default=True,
    metavar="START",
    help="trim_horizon, latest, -10m (ago: s, m, h, d), an ISO 8601 time or seconds since 1970.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after N records.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, or end at what is there now.")
@connected
def tail(target: Target, stream: str, start: Start, limit: int | None, follow: bool) -> None:
    """Show the records of STREAM as they arrive.

    A line holds the time, shard/offset, the partition key and the data. With --json every record is an object on a line of its own: shard, offset, sequence (number), key, arrival, and data
    as text, or data_base64 where the bytes are not UTF-8. Ctrl-C ends it."""

    async def work() -> None:
        async with target.client() as client:
            found = await find_stream(client, stream)
            printer = Printer(target.json, limit, {shard.id: shard for shard in found.shards})
            ends = None if follow else await client.find(stream, LATEST)
            await _tail(client, stream, start, ends, printer)

    run(target, work(), endless=follow)


async def _tail(client: Client, stream: str, start: Start, ends: Mapping[str, int] | None, printer: Printer) -> None:
    """Until `printer` is full, or every shard of `ends` is read to its position there."""
    positions = await client.find(stream, start)
    left = None if ends is None else {shard for shard, end in ends.items() if positions.get(shard, 0) < end}
    if left is not None and not left:
        return
    async with Consumer(client, stream, positions=positions) as consumer:
        async for batch in consumer:
            if batch.shard not in printer.shards:
                found = await client.describe_stream(stream)
                printer.shards |= {shard.id: shard for shard in found.shards}
            printer.write(batch)
            if left is not None and ends is not None and batch.next >= ends.get(batch.shard, 0):
                left.discard(batch.shard)
            if printer.full or (left is not None and not left):
                return


def _time(milliseconds: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC)


def _number(shard: str) -> str:
    """``6`` for ``shardId-000000000006``."""
    return shard.rpartition("-")[2].lstrip("0") or "0"
