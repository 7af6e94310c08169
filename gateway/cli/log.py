"""``headrace log copy``: a log into another engine, or another place, at the same offsets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from gateway.cli import output
from gateway.cli.failure import Failure
from gateway.cli.settings_options import settings_file
from streams import copying
from streams.control.catalog import Catalog
from streams.control.controller import JOURNAL, catalog_of
from streams.control.journal import Replay, counting
from streams.control.stream import ORIGIN
from streams.core import settings
from streams.core.errors import HeadraceError, LogError
from streams.core.records import Batch
from streams.log.copying import Copied, Source, copy


@click.group()
def log() -> None:
    """Copy logs."""


@log.command("copy")
@click.argument("source")
@click.argument("target")
@settings_file("Settings file (TOML): of the key that data directories are encrypted with, and where old segments lie.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object for each shard, not lines for people.")
def copy_(source: str, target: str, file: Path | None, as_json: bool) -> None:
    """Copy the log at SOURCE to TARGET, which must be empty: each file:///DATA, a data directory, or
    kafka://host:9092/prefix, as in the setting `log`.

    \b
    headrace log copy file:///var/lib/headrace kafka://k1:9092,k2:9092/headrace?replication=3
    headrace log copy kafka://k1:9092/headrace file:///var/lib/headrace-2

    No server may run on either of them. Records keep their offsets, arrivals, keys and producers' marks, so that positions
    and sequence numbers stay valid, and servers on the copy go on where those on the source stopped. Everything is read
    back and compared. A copy that was stopped goes on where it was when it is started again."""
    try:
        chosen = settings.load(file)
        copied = asyncio.run(_copy(chosen, source, target, as_json=as_json))
    except HeadraceError as error:
        raise Failure(error.message) from error
    if not as_json:
        records = sum(one.sum.records for one in copied)
        output.talk(f"{len(copied)} shards, {records} records: the copy holds what the source does")


async def _copy(chosen: settings.Settings, source: str, target: str, *, as_json: bool) -> list[Copied]:
    def told(shard: str, copied: Copied | None) -> None:
        if copied is None:
            output.talk(f"copying {shard}")
        elif as_json:
            output.json_line(_plain(copied))
        else:
            held = f"{copied.sum.records} records from {copied.sum.first} on, checksum {copied.sum.checksum:08x}"
            output.talk(f"{shard}: {held}")

    reading = await copying.open_source(chosen, source)
    try:
        catalog = await _catalog(reading)
        known = {stream.log(shard) for stream in catalog.streams.values() for shard in stream.shards}
        packed = [f"{ORIGIN}{stream.id}/" for stream in catalog.streams.values() if stream.packed]
        writing = await copying.open_target(chosen, target)
        try:
            return await copy(
                reading,
                writing,
                copying.identity(source),
                wanted=lambda shard: not shard.startswith(ORIGIN) or shard in known,
                packed=packed,
                told=told,
            )
        finally:
            await writing.close()
    finally:
        await reading.close()


async def _catalog(source: Source) -> Catalog:
    """The streams that the log's journal tells of. Raises `LogError`."""
    replay = Replay(None, [])
    bounds = (await source.shards()).get(JOURNAL)
    if bounds is not None:
        async for part in source.parts(JOURNAL, bounds[0]):
            replay = replay.followed_by(counting(Batch(JOURNAL, part.first, part.next, part.records)))
    try:
        return catalog_of(replay)
    except (ValueError, KeyError) as error:
        raise LogError(f"the journal of streams, {JOURNAL}, cannot be read: {error}") from error


def _plain(copied: Copied) -> dict[str, Any]:
    found = copied.sum
    return {
        "shard": copied.shard,
        "first": found.first,
        "next": found.next,
        "records": found.records,
        "checksum": f"{found.checksum:08x}",
    }
