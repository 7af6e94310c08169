"""A small world for applications: a log in memory, the service over it, a client; and programs as folders of files."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa

from analytics import Application, Input, Output, Reference
from analytics.trial import parse_lines, records_of
from connectors.delivered.archive import Archive
from connectors.formats.json import encode_json
from connectors.formats.schema import Column
from streams.core.clock import ManualClock
from streams.core.records import ProducerMark, Records
from streams.log.memory import MemoryLog
from streams.sdk.client import Receipt
from streams.sdk.local import LocalClient
from streams.sdk.tables import read_table
from streams.service import Service

NOW_MS = 1_750_000_000_000
ERROR_COLUMNS = ("ERROR_NAME", "MESSAGE", "PUMP_NAME")


class Crash(Exception):
    """A kill, as far as the application can tell."""


class World(LocalClient):
    """A client that can be made to crash right after a put has been done."""

    def __init__(self, service: Service, clock: ManualClock) -> None:
        super().__init__(service)
        self.clock = clock
        self.crash_after_puts: int | None = None

    async def put(self, stream: str, records: Records, mark: ProducerMark | None = None) -> Receipt:
        receipt = await super().put(stream, records, mark)
        if self.crash_after_puts is not None:
            self.crash_after_puts -= 1
            if self.crash_after_puts < 0:
                raise Crash
        return receipt

    async def load(self, input: dict[str, list[bytes]]) -> int:
        """Streams with these records; their number."""
        for stream, records in input.items():
            await self.create_stream(stream)
            await self.give(stream, records)
        return sum(map(len, input.values()))

    async def give(self, stream: str, records: Sequence[bytes], keys: Sequence[str] | None = None) -> None:
        await super().put(stream, Records.of(keys or ["k"] * len(records), records))

    async def rows(self, stream: str) -> list[Any]:
        return [json.loads(data) for data in (await read_table(self, stream)).column("data").to_pylist()]


@contextlib.asynccontextmanager
async def world() -> AsyncIterator[World]:
    clock = ManualClock(NOW_MS)
    log = MemoryLog(clock)
    service = Service(log, clock=clock)
    await service.open()
    try:
        yield World(service, clock)
    finally:
        await service.close()
        await log.close()


@dataclass(frozen=True)
class Case:
    """``app.sql``, ``input.ndjson``, ``expected.ndjson``; perhaps ``batch.sql``, ``options.toml`` and reference files."""

    folder: Path

    @property
    def sql(self) -> str:
        return (self.folder / "app.sql").read_text()

    @property
    def options(self) -> dict[str, Any]:
        path = self.folder / "options.toml"
        return tomllib.loads(path.read_text()) if path.exists() else {}

    @property
    def input(self) -> dict[str, list[bytes]]:
        """Records by stream: lines are rows with a time, as ``headrace sql test`` has them, or records of one stream."""
        text = (self.folder / "input.ndjson").read_text()
        if not self.timed:
            return {"input": text.encode().splitlines()}
        lines = parse_lines(text, "input.ndjson")
        streams = dict.fromkeys(line.stream for line in lines)
        return {stream: records_of([line for line in lines if line.stream == stream]) for stream in streams}

    def shuffled(self, random: Random, bound_ms: int) -> dict[str, list[bytes]]:
        """The input with rows that lie up to a bound behind later ones; rows of the same time keep their order."""
        found = {}
        for stream, records in self.input.items():
            times = [dt.datetime.fromisoformat(json.loads(record)["ROWTIME"][:-1]) for record in records]
            delays = {time: dt.timedelta(milliseconds=random.randrange(bound_ms)) for time in sorted(set(times))}
            order = sorted(
                range(len(records)), key=lambda i: (times[i] + delays[times[i]], times[i], i)
            )  # used at once
            found[stream] = [records[i] for i in order]
        return found

    @property
    def batch(self) -> dict[str, str]:
        """The batch query of each stream that has one: behind a line ``-- into STREAM``."""
        path = self.folder / "batch.sql"
        if not path.exists():
            return {}
        before, *rest = re.split(r"^-- into (.+)\n", path.read_text(), flags=re.MULTILINE)
        assert not before, "a query says which stream it gives"
        return dict(zip(rest[::2], rest[1::2], strict=True))

    @property
    def timed(self) -> bool:
        return (self.folder / "input.ndjson").read_text().startswith('{"stream"')

    @property
    def expected(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "expected.ndjson").read_text().splitlines()]

    @property
    def columns(self) -> list[Column] | None:
        declared = self.options.get("columns")
        return declared and [Column(name, pa.type_for_alias(kind)) for name, kind in declared.items()]

    def application(
        self,
        client: World,
        outputs: Sequence[Output],
        lateness_ms: int = 0,
        history: dict[str, Archive] | None = None,
        **more: Any,
    ) -> Application:
        options = self.options
        shared = {"columns": self.columns, "lateness_ms": options.get("lateness_ms", lateness_ms)}
        if self.timed:
            past = history or {}
            inputs = [
                Input(name, name=name, rowtime="ROWTIME", future_ms=1 << 52, history=past.get(name), **shared)
                for name in self.input
            ]
        else:
            inputs = [Input("input", rowtime=options.get("rowtime", "arrival"), **shared)]
        return Application(
            self.sql,
            client=client,
            inputs=inputs,
            references=[Reference(n, str(self.folder / file)) for n, file in options.get("references", {}).items()],
            outputs=outputs,
            clock=client.clock,
            **more,
        )


def cases() -> list[Case]:
    return [Case(path) for path in sorted((Path(__file__).parent / "programs").iterdir())]


class Sink:
    """A callback that remembers (stream, rowtime or None for errors, row as JSON)."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str | None, dict[str, Any]]] = []

    def __call__(self, stream: str, rows: pa.RecordBatch) -> None:
        for text in encode_json(rows).to_pylist():
            row = json.loads(text)
            time = row.pop("ROWTIME")
            self.rows.append((stream, time.replace(" ", "T") + "Z", row))


async def add_tables(application: Application, sink: Sink) -> None:
    """The rows that the program's tables have now."""
    for name, rows in (await application.read(dict.fromkeys(application.tables))).items():
        for batch in rows.to_batches():
            sink(name, batch)


def comparable(rows: Sequence[tuple[str, str | None, dict[str, Any]]], like: Sequence[dict[str, Any]]) -> Counter[str]:
    """Rows of the streams that `like` names, as a multiset; times only where it has them."""
    timed = {line["stream"] for line in like if "rowtime" in line}
    named = {line["stream"] for line in like}
    return Counter(
        text(stream, time if stream in timed else None, row) for stream, time, row in rows if stream in named
    )


def wanted(lines: Sequence[dict[str, Any]]) -> Counter[str]:
    return Counter(text(line["stream"], line.get("rowtime"), line["row"]) for line in lines)


def text(stream: str, time: str | None, row: dict[str, Any]) -> str:
    if stream == "error_stream":
        row = {name: row[name] for name in ERROR_COLUMNS}
    return json.dumps([stream, time, row], sort_keys=True)
