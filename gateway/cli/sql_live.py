"""The applications of a server, for a batch query: ``application.stream``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import pyarrow as pa

from streams.sdk.http import HttpClient


@dataclass(frozen=True, slots=True)
class ServedApplications:
    """`analytics.live.Applications` through the native door."""

    client: HttpClient

    async def tables(self, application: str) -> Mapping[str, Mapping[str, str]]:
        found = await self.client.ask(f"{_path(application)}/tables")
        return {name: each["columns"] for name, each in found.items()}

    async def read(self, application: str, wanted: Mapping[str, Sequence[str] | None]) -> Mapping[str, pa.Table]:
        text = json.dumps({name: None if columns is None else list(columns) for name, columns in wanted.items()})
        data = pa.BufferReader(await self.client.load(f"{_path(application)}/tables?read={quote(text, safe='')}"))
        found = {}
        for name in wanted:
            with pa.ipc.open_stream(data) as reader:
                found[name] = reader.read_all()
        return found


def _path(application: str) -> str:
    return f"/native/v1/applications/{quote(application, safe='')}"
