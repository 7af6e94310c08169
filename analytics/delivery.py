"""What leaves an application: rows become the bytes of its outputs, which are delivered after the commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from analytics.errors import SqlError, closest
from analytics.journal import Entry
from analytics.outputs import Output, Target, target
from analytics.plan import StreamPlan
from analytics.program import ERROR_STREAM
from analytics.state import State
from streams.core.clock import Clock
from streams.sdk.client import Client


class Delivery:
    """The outputs of an application. `delivered` are the entries whose delivery the state does not know of yet."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = list(outputs)
        self._streams: Mapping[str, StreamPlan] = {}
        self._targets: dict[int, Target] = {}
        self.delivered: list[int] = []

    def check(self, streams: Mapping[str, StreamPlan]) -> None:
        """`streams` are all that there are, by name. Raises `SqlError` for outputs that do not fit them."""
        self._streams = streams
        for output in self._outputs:
            self._check(output)

    def open(self, state: State, client: Client, clock: Clock) -> None:
        self._targets = {number: target(output, number, client, state.id, clock) for number, output in self._numbered()}
        self._sizes, self._last_id = state.sizes(), state.last_id()

    def _numbered(self) -> list[tuple[int, Output]]:
        return [(at if output.number is None else output.number, output) for at, output in enumerate(self._outputs)]

    def _check(self, output: Output) -> None:
        if output.source is None:
            return
        if output.source not in self._streams:
            near = closest(output.source, self._streams)
            raise SqlError(f"there is no in-application stream {output.source} to put out", suggestion=near)
        if self._streams[output.source].retain is not None:
            what = f"{output.source} is a table: its rows change, and an output cannot take that back"
            raise SqlError(what, expected="a batch query of it")
        names = [column.name for column in self._streams[output.source].columns]
        if output.partition_key is not None and output.partition_key not in names:
            near = closest(output.partition_key, names)
            raise SqlError(f"stream {output.source} has no column {output.partition_key}", suggestion=near)

    def encode(self, step_rows: Mapping[str, pa.Table], faulty: list[pa.Table]) -> list[Entry]:
        """`step_rows` by the physical name of their stream; `faulty` are those of the error stream."""
        rows = dict(step_rows)
        if faulty:
            rows[ERROR_STREAM] = pa.concat_tables(faulty)
        entries = []
        for number, output in self._numbered():
            for name, stream in self._streams.items():
                if output.source in (None, name) and stream.physical in rows:
                    at = self._sizes.get(number, 0)
                    for batch in named(rows[stream.physical], stream):
                        self._last_id += 1
                        data = self._targets[number].encode(name, batch, at)
                        entries.append(Entry(self._last_id, number, at, data))
                        at += len(data)
                    self._sizes[number] = at
        return entries

    async def close(self) -> None:
        """Of what its targets have open."""
        for each in self._targets.values():
            await each.close()

    async def deliver(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.output in self._targets:  # else the output has been taken away, and nobody waits for its rows
                await self._targets[entry.output].deliver(entry)
            self.delivered.append(entry.id)


def named(rows: pa.Table, stream: StreamPlan) -> list[pa.RecordBatch]:
    """Rows as the program declares them, ROWTIME first."""
    fields = [("ROWTIME", pa.timestamp("ms")), *((column.name, column.type.arrow) for column in stream.columns)]
    order = ["rt", *(f"c{number}" for number in range(len(stream.columns)))]
    arrays = [rows.column(name).cast(kind) for name, (_, kind) in zip(order, fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)).combine_chunks().to_batches()
