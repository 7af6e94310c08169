"""``headrace firehose verify``: proves of a data directory that every record that was delivered is in exactly one object."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from firehose.book import catalog_of
from firehose.catalog import Catalog
from firehose.manifests import folder_of
from firehose.verifying import Report, verify_lane
from gateway.cli import output
from gateway.cli.failure import Failure
from gateway.cli.firehose_stores import stores
from streams.control.journal import Replay
from streams.core import settings
from streams.core.errors import HeadraceError
from streams.core.records import Records
from streams.core.settings import Settings
from streams.log.opening import tier_objects
from streams.log.sealing import keyring
from streams.log.verifying import Verification

JOURNAL = "control/firehose"


@click.command()
@click.argument("names", nargs=-1)
@click.option("--data", type=click.Path(file_okay=False), help="Data directory.  [./headrace-data]")
@click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="HEADRACE_CONFIG",
    show_envvar=True,
    help="Settings file (TOML): of the data directory, of the buckets, and of the key that it is encrypted with.",
)
@click.option("--sizes", is_flag=True, help="Compare only the sizes of objects, not their contents.")
@click.option(
    "--json", "as_json", is_flag=True, help="Write a JSON object for each delivery stream, not lines for people."
)
def verify(names: tuple[str, ...], data: str | None, file: Path | None, sizes: bool, as_json: bool) -> None:
    """Follow the manifests of all delivery streams, or of NAMES, from log to objects, and say what is wrong: records in two
    places or in none, objects that are gone or changed.

    No server may have the data directory open; nothing is changed. Exit code 1 where something is wrong."""
    try:
        chosen = settings.load(file, options={"data": data})
        catalog = _catalog(chosen)
    except HeadraceError as error:
        raise Failure(error.message) from error
    missing = sorted(set(names) - {stream.name for stream in catalog})
    if missing:
        raise Failure(f"the data directory has no delivery stream {missing[0]}")
    wrong = 0
    for stream in sorted(catalog, key=lambda stream: stream.name):
        for lane in stream.lanes.values() if not names or stream.name in names else ():
            folder = folder_of(chosen.data_path, lane.number) / lane.id
            try:
                report = verify_lane(lane, folder, stores(chosen), contents=not sizes)
            except (OSError, HeadraceError) as error:
                raise Failure(f"{stream.name}: its store cannot be read: {error}") from error
            wrong += report.wrong
            _show(report, as_json=as_json)
    if wrong:
        raise Failure(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")


def _catalog(chosen: Settings) -> Catalog:
    """Raises `LogError` where there is no log, or a server has it open."""
    found = Verification(
        chosen.data_path / "log", keyring(chosen.encryption_key, chosen.encryption_keys_old), tier_objects(chosen)
    )
    replay = Replay(None, [])

    def follow(records: Records) -> None:
        nonlocal replay
        replay = replay.followed_by(records)

    try:
        if JOURNAL in found.shards():
            report = found.verify(JOURNAL, follow)
            if not report.whole:
                raise Failure(f"the journal of deliveries is damaged: {report.findings[0].what}")
        return catalog_of(replay)
    finally:
        found.close()


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
