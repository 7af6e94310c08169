"""``headrace stream groups``: the consumer groups of a stream, and how far each has come."""

from __future__ import annotations

import click
import msgspec

from gateway.cli import output
from gateway.cli.connection import Target, connected
from gateway.cli.running import run
from streams.core.exchange import GroupDescription


@click.command()
@click.argument("name")
@click.option("--forget", metavar="GROUP", help="Forget the group GROUP and its positions.")
@connected
def groups(target: Target, name: str, forget: str | None) -> None:
    """Show the consumer groups of the stream NAME: who reads each shard, and how many records are still to come."""

    async def work() -> list[GroupDescription]:
        async with target.client() as client:
            if forget is not None:
                await client.forget_group(name, forget)
            return await client.describe_groups(name)

    found = run(target, work())
    assert found is not None
    if target.json:
        output.json_line([msgspec.to_builtins(one) for one in found])
        return
    if forget is not None:
        output.talk(f"group {forget} of stream {name} is forgotten")
        return
    rows = [
        (group.name, shard.id, shard.member or "(nobody)", shard.position, shard.tip - shard.position)
        for group in found
        for shard in group.shards
    ]
    if rows:
        output.table(["group", "shard", "member", "next", "behind"], rows)
    else:
        output.talk(f"stream {name} has no consumer group that has anything left to read")
