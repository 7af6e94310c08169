"""``headrace firehose verify``: proves of a log that every record that was delivered is in exactly one object."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import click
import msgspec

from firehose.book import catalog_of
from firehose.catalog import Catalog
from firehose.pages import FolderPages, LogPages, Pages, folder_of, notebook_name
from firehose.stream import Lane
from firehose.verifying import Report, verify_lane
from gateway.cli import output
from gateway.cli.failure import Failure
from gateway.cli.firehose_stores import stores
from gateway.cli.settings_options import data_directory, settings_file
from streams import copying
from streams.control.divided import Counting, DividedJournal
from streams.control.journal import Replay
from streams.control.notebook import Notebook
from streams.core import settings
from streams.core.clock import SystemClock
from streams.core.errors import HeadraceError
from streams.core.records import Records
from streams.core.settings import Settings
from streams.log.opening import tier_objects
from streams.log.sealing import keyring
from streams.log.verifying import Verification
from streams.opening import open_log

JOURNAL = "control/firehose"


@click.command()
@click.argument("names", nargs=-1)
@data_directory()
@settings_file("Settings file (TOML): of the data directory, of the buckets, and of the key that it is encrypted with.")
@click.option("--sizes", is_flag=True, help="Compare only the sizes of objects, not their contents.")
@click.option(
    "--json", "as_json", is_flag=True, help="Write a JSON object for each delivery stream, not lines for people."
)
def verify(names: tuple[str, ...], data: str | None, file: Path | None, sizes: bool, as_json: bool) -> None:
    """Follow the manifests of all delivery streams, or of NAMES, from log to objects, and say what is wrong: records in two
    places or in none, objects that are gone or changed.

    No server may have the data directory open, or a share in the work of the log where the setting `log` names one that
    processes share; nothing is changed. Exit code 1 where something is wrong."""
    try:
        chosen = settings.load(file, options={"data": data})
        wrong = asyncio.run(_verify(chosen, names, sizes=sizes, as_json=as_json))
    except HeadraceError as error:
        raise Failure(error.message) from error
    if wrong:
        raise Failure(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")


async def _verify(chosen: Settings, names: Sequence[str], *, sizes: bool, as_json: bool) -> int:
    """How much is wrong. Raises `HeadraceError`, `Failure`."""
    async with _shared(chosen) if chosen.log else _folder(chosen) as (catalog, pages_of):
        missing = sorted(set(names) - {stream.name for stream in catalog})
        if missing:
            raise Failure(f"{'the log' if chosen.log else 'the data directory'} has no delivery stream {missing[0]}")
        wrong = 0
        for stream in sorted(catalog, key=lambda stream: stream.name):
            for lane in stream.lanes.values() if not names or stream.name in names else ():
                look = partial(verify_lane, lane, pages_of(lane), stores(chosen), contents=not sizes)
                try:
                    report = await asyncio.to_thread(look)
                except (OSError, HeadraceError) as error:
                    raise Failure(f"{stream.name} cannot be followed: {error}") from error
                wrong += report.wrong
                _show(report, as_json=as_json)
        return wrong


Found = tuple[Catalog, Callable[[Lane], Pages]]
"""The delivery streams, and where their manifests are."""


@contextlib.asynccontextmanager
async def _folder(chosen: Settings) -> AsyncIterator[Found]:
    """Of a data directory. Raises `LogError` where there is no log, or a server has it open."""
    found = Verification(
        chosen.data_path / "log", keyring(chosen.encryption_key, chosen.encryption_keys_old), tier_objects(chosen)
    )
    replay, counting = Replay(None, []), Counting()
    following = 0

    def follow(records: Records) -> None:
        nonlocal replay, following
        replay = replay.followed_by(counting.take(following, records))
        following += len(records)

    try:
        if JOURNAL in found.shards():
            following = found.first(JOURNAL)
            report = found.verify(JOURNAL, follow)
            if not report.whole:
                raise Failure(f"the journal of deliveries is damaged: {report.findings[0].what}")
        yield catalog_of(replay), lambda lane: FolderPages(folder_of(chosen.data_path, lane.number) / lane.id)
    finally:
        found.close()


@contextlib.asynccontextmanager
async def _shared(chosen: Settings) -> AsyncIterator[Found]:
    """Of a log that processes share. Raises `LogError` where they do so now."""
    source = await copying.open_source(chosen, chosen.log)
    try:
        there = JOURNAL in await source.shards()
    finally:
        await source.close()
    if not there:
        raise Failure("the log has no delivery streams")
    log = await open_log(chosen, chosen.data_path / "log", SystemClock())
    try:
        loop = asyncio.get_running_loop()
        catalog = catalog_of(await DividedJournal(log, JOURNAL).open())
        yield catalog, lambda lane: LogPages(Notebook(log, notebook_name(lane.number, lane.id)), loop)
    finally:
        await log.close()


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        output.json_line({**msgspec.to_builtins(report), "whole": not report.wrong})
        return
    title = report.stream if report.lane == "main" else f"{report.stream} ({report.lane})"
    state = "WRONG" if report.wrong else "whole"
    places = f"{report.objects} objects" + (f" and {report.requests} requests" if report.requests else "")
    rest = "".join(f", {count} {what}" for count, what in ((report.dropped, "dropped"), (report.lost, "lost")) if count)
    click.echo(f"{title}: {state}, {report.records} records in {places}{rest}, {report.bytes} bytes read")
    for finding in report.findings:
        click.echo(f"  {finding.kind}: {finding.where}: {finding.what}")
    if report.wrong > len(report.findings):
        click.echo(f"  and {report.wrong - len(report.findings)} more")
