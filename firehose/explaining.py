"""What would become of a record: the pipeline of a destination, run over samples, with nothing delivered.

The same code that delivers runs over each sample alone: decompression, function, jq query, conversion and names. Only what
a delivery knows and a sample does not is left open: the UUID in the name of an object.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from firehose.buffer import DATA, DROPPED, Piece
from firehose.configuration import Destination
from firehose.conversion import Conversion
from firehose.drift import DriftPolicy, DriftReader
from firehose.events import DIRECT_PUT, KINESIS, MAIN, MSK, ColumnSpec, Created, SourceSpec
from firehose.evolution import Kind, evolved
from firehose.outputs import Compat
from firehose.partitions import keys_of
from firehose.pipeline import Pipeline
from firehose.query import Query
from firehose.resources import check_drift
from firehose.rows import RowReader
from firehose.schemas import row_reader
from firehose.staging import Staging
from firehose.stream import DeliveryStream, Lane
from firehose.transform import Invoke, Transform
from streams.core.clock import Clock
from streams.core.records import Records
from streams.core.scope import Scope
from streams.core.shards import HashRange, Shard

OPEN = "UUID"
"""In a key, where a delivery would put the UUID of an object."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a sample, or of one part of it. `route` is "object", "request", "dropped", or the type of the error
    output; `key` is the object's; `keys` are its partition keys by their expressions; `data` is what is delivered, or what
    stands in `rawData`; `row` is what was read out of it where rows are written, and `drift` what becomes of keys that the
    table has no column for."""

    sample: int
    route: str
    key: str | None = None
    keys: dict[str, str] = field(default_factory=dict)
    data: bytes | None = None
    row: dict[str, Any] | None = None
    code: str | None = None
    message: str | None = None
    drift: str | None = None


class Explainer:
    """Of one destination: its type, its configuration as `complete` answered it, and the columns of its table.

    `source_arn` is that of a Kinesis source, or of the cluster of a topic; the policy of schema drift is among the `tags`. `invoke` calls functions, `ask` the jq query.
    """

    def __init__(
        self,
        name: str,
        scope: Scope,
        kind: str,
        configuration: dict[str, Any],
        columns: Sequence[ColumnSpec],
        clock: Clock,
        *,
        source_arn: str | None,
        compat: Compat,
        tags: Mapping[str, str],
        invoke: Invoke,
        ask: Callable[[bytes], Awaitable[bytes]],
    ) -> None:
        now_ms = clock.now_ms()
        created = Created(
            number=0,
            account=scope.account,
            region=scope.region,
            name=name,
            at_ms=now_ms,
            type=_type_of(source_arn),
            source=SourceSpec("", "", source_arn),
            positions={},
            destination=configuration,
            columns=tuple(columns),
            tags=dict(tags),
            kind=kind,
        )
        lane = Lane(DeliveryStream(created), MAIN, created.source, {})
        self._destination = destination = Destination.of(kind, configuration, compat)
        self._clock = clock
        self._shard = Shard("shardId-000000000000", 0, "", HashRange(0, 2**128 - 1), now_ms)
        self._staging = Staging(Path(), lane, destination, clock)
        transform = None
        if destination.function is not None:
            function = destination.function
            transform = Transform(
                invoke,
                function,
                stream_arn=lane.arn,
                region=scope.region,
                source_arn=source_arn,
                topic=created.type == MSK,
                lenient=compat == "emulator",
            )
        conversion = destination.conversion
        self._drift = Drifted(tags, columns, conversion) if conversion is not None else None
        self._pipeline = Pipeline(
            lane,
            destination,
            clock,
            transform=transform,
            query=None if destination.query is None else Query(destination.query, ask),
            rows=None if self._drift is None else self._drift.reader,
        )

    @property
    def query(self) -> str | None:
        """The jq program, which has to compile."""
        return self._destination.query

    async def explain(self, samples: Sequence[bytes]) -> list[Explanation]:
        """Of each sample, in order."""
        found = []
        for number, sample in enumerate(samples):
            records = Records.of(["sample"], [sample]).with_arrival(self._clock.now_ms())
            pieces = await self._pipeline.process(self._shard, np.zeros(1, np.int64), records, ())
            told = None if self._drift is None else self._drift.told()
            found += [replace(one, drift=told) for piece in pieces for one in self._explained(number, piece)]
        return found

    def _explained(self, sample: int, piece: Piece) -> list[Explanation]:
        kind = piece.partition.kind
        if kind == DROPPED:
            return [Explanation(sample, "dropped")]
        key = self._key(piece)
        if kind != DATA:
            return [_failed(sample, kind, key, line) for line in piece.payload.to_pylist()]
        if self._destination.endpoint is not None:
            return [Explanation(sample, "request", data=data) for data in piece.payload.column("data").to_pylist()]
        expressions = keys_of(self._destination.output.prefix.keys, piece.partition)
        keys = {expression.value: value for expression, value in expressions.items()}
        if isinstance(piece.payload, pa.RecordBatch):
            return [Explanation(sample, "object", key, keys, row=row) for row in piece.payload.to_pylist()]
        return [Explanation(sample, "object", key, keys, data) for data in piece.payload.to_pylist()]

    def _key(self, piece: Piece) -> str:
        identity = uuid.uuid4()
        return self._staging.key(identity, piece.partition, piece.oldest_ms).replace(str(identity), OPEN)


def _type_of(source_arn: str | None) -> str:
    if source_arn is None:
        return DIRECT_PUT
    return MSK if ":kafka:" in source_arn else KINESIS


class Drifted:
    """The policy of schema drift at work, on a table that only this one knows."""

    def __init__(self, tags: Mapping[str, str], columns: Sequence[ColumnSpec], conversion: Conversion) -> None:
        check_drift(tags, conversion, columns)
        self._policy = DriftPolicy.of(tags)
        self._columns = list(columns)
        self._conversion = conversion
        self._unknown: list[str] = []
        self._changed: list[str] = []
        evolving = self._policy.policy == "evolve"
        reader = row_reader(columns, conversion)
        self.reader = DriftReader(reader, self._policy, self._evolve if evolving else None, watch=self._unknown.extend)

    def told(self) -> str | None:
        """What became of the keys of the last sample that no column takes; None where there were none."""
        keys = ", ".join(json.dumps(key, ensure_ascii=False) for key in self._unknown)
        changed = ", ".join(self._changed)
        self._unknown.clear()
        self._changed.clear()
        if changed:
            return f"evolve: {changed}"
        if not keys:
            return None
        became = {
            "freeze": "left out",
            "evolve": "null, or no name for a column: left out",
            "error": "the record goes to the error output",
            "text": f"kept in the column {self._policy.column}",
        }
        return f"{self._policy.policy}: {keys}: {became[self._policy.policy]}"

    async def _evolve(self, found: Mapping[str, Kind]) -> RowReader:
        before = {spec.name: spec.type for spec in self._columns}
        feeds = row_reader(self._columns, self._conversion).columns
        self._columns = evolved(self._columns, feeds, found)
        for spec in self._columns:
            was = before.get(spec.name)
            if was is None:
                self._changed.append(f"new column {spec.name} {spec.type}")
            elif was != spec.type:
                self._changed.append(f"column {spec.name} {was} becomes {spec.type}")
        return row_reader(self._columns, self._conversion)


class _Line(msgspec.Struct, rename="camel"):
    raw_data: bytes
    error_code: str | None = None
    error_message: str | None = None
    last_error_code: str | None = None
    last_error_message: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


def _failed(sample: int, kind: str, key: str, text: bytes) -> Explanation:
    line = _decode(text)
    code, message = line.error_code or line.last_error_code, line.error_message or line.last_error_message
    return Explanation(sample, kind, key, data=line.raw_data, code=code, message=message)
