"""``headrace stream verify``: proves of a data directory that nothing in its log is missing or damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.cli import output
from gateway.cli.failure import Failure
from gateway.cli.settings_options import data_directory, settings_file
from streams.control.catalog import Catalog
from streams.control.controller import JOURNAL, catalog_of
from streams.control.journal import Replay
from streams.core import settings
from streams.core.errors import HeadraceError, LogUnreachable
from streams.core.records import Records
from streams.log.opening import tier_objects
from streams.log.sealing import keyring
from streams.log.verifying import ShardReport, Verification


@click.command()
@click.argument("names", nargs=-1)
@data_directory()
@settings_file("Settings file (TOML): of the data directory, and of the key that it is encrypted with.")
@click.option("--json", "as_json", is_flag=True, help="Write a JSON object for each shard, not lines for people.")
def verify(names: tuple[str, ...], data: str | None, file: Path | None, as_json: bool) -> None:
    """Read the log of a data directory from end to end, all of it or only the streams NAMES, and say what is wrong.

    No server may have it open; nothing is changed. Exit code 1 where records are missing or damaged."""
    try:
        chosen = settings.load(file, options={"data": data})
        keys = keyring(chosen.encryption_key, chosen.encryption_keys_old)
        found = Verification(chosen.data_path / "log", keys, tier_objects(chosen))
    except HeadraceError as error:
        raise Failure(error.message) from error
    try:
        damaged = _verify(found, names, as_json=as_json)
    except LogUnreachable as error:
        raise Failure(error.message) from error
    finally:
        found.close()
    if damaged:
        raise Failure(f"{damaged} {'shard is' if damaged == 1 else 'shards are'} damaged")


def _verify(found: Verification, names: tuple[str, ...], *, as_json: bool) -> int:
    """How many shards are damaged."""
    catalog = _catalog(found)
    shards = found.shards()
    if names:
        wanted = {f"streams/{stream.id}/" for stream in catalog.streams.values() if stream.name in names}
        missing = sorted(set(names) - {stream.name for stream in catalog.streams.values()})
        if missing:
            raise Failure(f"the data directory has no stream {missing[0]}")
        shards = [shard for shard in shards if shard.startswith(tuple(wanted))]
    damaged = 0
    for shard in shards:
        report = found.verify(shard)
        damaged += not report.whole
        title = _title(catalog, shard)
        if as_json:
            output.json_line(_plain(report, title))
            continue
        state = "whole" if report.whole else "DAMAGED"
        held = f"records {report.first} to {report.next - 1} ({report.records})" if report.records else "no records"
        click.echo(
            f"{title}: {state}, {held} in {report.frames} frames, {report.segments} segments, {report.bytes} bytes"
        )
        for finding in report.findings:
            click.echo(f"  {finding.kind}: {finding.path}, byte {finding.position}: {finding.what}")
    return damaged


def _catalog(found: Verification) -> Catalog:
    """What the directory's journal tells of its streams; a damaged one tells less."""
    replay = Replay(None, [])

    def follow(records: Records) -> None:
        nonlocal replay
        replay = replay.followed_by(records)

    if JOURNAL in found.shards():
        found.verify(JOURNAL, follow)
    try:
        return catalog_of(replay)
    except (ValueError, KeyError) as error:
        output.talk(f"the catalog cannot be read, so streams have no names here: {error}")
        return Catalog()


def _title(catalog: Catalog, shard: str) -> str:
    """``orders shardId-000000000000`` for a shard of a stream that is known; else its name in the log."""
    parts = shard.split("/")
    stream = catalog.by_id(parts[1]) if len(parts) == 3 and parts[0] == "streams" else None
    return shard if stream is None else f"{stream.name} {parts[2]}"


def _plain(report: ShardReport, title: str) -> dict[str, Any]:
    plain = msgspec.to_builtins(report, enc_hook=str)
    return {"shard": title, "whole": report.whole, **{key: one for key, one in plain.items() if key != "name"}}
