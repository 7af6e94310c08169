"""``headrace stream``: make, list, describe and delete streams; `transfer` adds export and replay, `mirror` and `groups` what their names say."""

from __future__ import annotations

import datetime as dt
import re

import click

from gateway.cli import output
from gateway.cli.connection import Target, connected, find_stream
from gateway.cli.failure import Failure
from gateway.cli.groups import groups
from gateway.cli.mirror import mirror
from gateway.cli.running import run
from gateway.cli.transfer import export, replay
from gateway.cli.verify import verify
from streams.sdk.client import StreamDescription

SHARDS_MAX = 10_000
RETENTION_HOURS_MIN, RETENTION_HOURS_MAX = 24, 8760
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


def new_name(ctx: click.Context, param: click.Parameter, name: str) -> str:
    """A click callback. With a slash the server would make a stream that no list shows."""
    if not _NAME.fullmatch(name):
        raise Failure(f"a stream's name has 1 to 128 letters, digits, _ . and -: {name!r}")
    return name


@click.group()
def stream() -> None:
    """Make, list, describe, export, replay and delete streams."""


@stream.command()
@click.argument("name", callback=new_name)
@click.option(
    "--shards", type=click.IntRange(1, SHARDS_MAX), default=1, show_default=True, help="Shards to begin with."
)
@click.option(
    "--retention-hours",
    type=click.IntRange(RETENTION_HOURS_MIN, RETENTION_HOURS_MAX),
    default=RETENTION_HOURS_MIN,
    show_default=True,
    help="How long records are kept.",
)
@click.option(
    "--packed",
    is_flag=True,
    help="Keep many records in one where the log is on Kafka: for small records. The same as the tag headrace:packed=true.",
)
@connected
def create(target: Target, name: str, shards: int, retention_hours: int, packed: bool) -> None:
    """Make the stream NAME; returns when it takes records."""

    async def work() -> StreamDescription:
        async with target.client() as client:
            await client.create_stream(name, shards, retention_hours=retention_hours, packed=packed)
            return await client.describe_stream(name)

    made = run(target, work())
    assert made is not None
    if target.json:
        output.json_line(_plain(made))
    else:
        output.talk(f"stream {name} takes records, {shards} {'shard' if shards == 1 else 'shards'}")


@stream.command("list")
@connected
def list_(target: Target) -> None:
    """List the streams."""

    async def work() -> list[StreamDescription]:
        async with target.client() as client:
            return [await client.describe_stream(name) for name in await client.list_streams()]

    found = run(target, work()) or []
    if target.json:
        output.json_line([_plain(one) for one in found])
    elif found:
        rows = [(one.name, one.status, _open(one), one.retention_hours, _time(one.created_ms)) for one in found]
        output.table(["stream", "status", "shards", "retention h", "created"], rows)
    else:
        output.talk("no streams yet; headrace stream create NAME makes one")


@stream.command()
@click.argument("name")
@connected
def describe(target: Target, name: str) -> None:
    """Show the stream NAME, its shards and what they hold."""

    async def work() -> tuple[StreamDescription, dict[str, tuple[int, int]]]:
        from streams.sdk.client import LATEST, TRIM_HORIZON

        async with target.client() as client:
            found = await find_stream(client, name)
            first, after = await client.find(name, TRIM_HORIZON), await client.find(name, LATEST)
            return found, {shard: (first[shard], after[shard]) for shard in first if shard in after}

    seen = run(target, work())
    assert seen is not None
    found, held = seen
    if target.json:
        output.json_line(_plain(found, held))
        return
    output.talk(
        f"{found.name}: {found.status}, {_open(found)} open shards, kept {found.retention_hours} h, {found.arn}"
    )
    rows = [
        (
            shard.id,
            "open" if shard.open else "closed",
            " ".join(shard.parents) or None,
            f"{shard.hash_range.first:032x}",
            f"{shard.hash_range.last:032x}",
            *held.get(shard.id, (None, None)),
        )
        for shard in found.shards
    ]
    output.table(["shard", "status", "parents", "first hash key", "last hash key", "first offset", "next offset"], rows)


@stream.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@connected
def delete(target: Target, name: str, yes: bool) -> None:
    """Delete the stream NAME and its records."""

    async def check() -> None:
        async with target.client() as client:
            await find_stream(client, name)

    async def work() -> None:
        async with target.client() as client:
            await client.delete_stream(name)

    run(target, check())
    if not yes:
        click.confirm(f"Delete the stream {name} and all of its records?", abort=True, err=True)
    run(target, work())
    output.talk(f"stream {name} and its records are gone")


stream.add_command(export)
stream.add_command(replay)
stream.add_command(mirror)
stream.add_command(groups)
stream.add_command(verify)


def _open(found: StreamDescription) -> int:
    return sum(shard.open for shard in found.shards)


def _time(milliseconds: int) -> str:
    return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).isoformat(timespec="seconds")


def _plain(found: StreamDescription, held: dict[str, tuple[int, int]] | None = None) -> dict[str, object]:
    """The description as JSON has it; hash keys as decimal text, since they do not fit into JSON's numbers."""
    shards: list[dict[str, object]] = []
    for shard in found.shards:
        plain: dict[str, object] = {
            "shard": shard.id,
            "open": shard.open,
            "parents": list(shard.parents),
            "first_hash_key": str(shard.hash_range.first),
            "last_hash_key": str(shard.hash_range.last),
        }
        if held is not None and shard.id in held:
            plain["first_offset"], plain["next_offset"] = held[shard.id]
        shards.append(plain)
    return {
        "name": found.name,
        "arn": found.arn,
        "status": found.status,
        "retention_hours": found.retention_hours,
        "created": _time(found.created_ms),
        "shards": shards,
    }
