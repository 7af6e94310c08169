"""Rows of an application's streams on stdout, as they are made."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import click
import msgspec

from gateway.cli import output
from gateway.cli.connection import Target
from gateway.cli.failure import Failure

WAIT_MS = 10_000
"""How long one question waits for rows."""


async def watch(target: Target, name: str, stream: str | None, limit: int | None) -> None:
    """Until `limit` rows have been shown."""
    path = f"/native/v1/applications/{quote(name, safe='')}"
    async with target.http() as client:
        streams = (await client.ask(path)).get("streams", {})
        if stream is not None and streams and stream not in streams:
            raise Failure(f"application {name} has no stream {stream}", hint=f"it has {', '.join(streams)}")
        after, written = (await client.ask(f"{path}/rows"))["next"], 0
        while limit is None or written < limit:
            answer = await client.ask(f"{path}/rows?after={after}&wait_ms={WAIT_MS}", wait_ms=WAIT_MS)
            after = answer["next"]
            for each in answer["seen"]:
                if stream not in (None, each["stream"]):
                    continue
                for row in each["rows"][: None if limit is None else limit - written]:
                    _write(target, each["stream"], row)
                    written += 1
            await asyncio.sleep(0)


def _write(target: Target, stream: str, row: dict[str, Any]) -> None:
    if target.json:
        output.json_line({"stream": stream, "row": row})
        return
    time = row.pop("ROWTIME")
    click.echo(f"{time}  {stream}  {msgspec.json.encode(row).decode()}")
