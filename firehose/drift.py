"""Schema drift: what a delivery stream does with keys that its table has no column for.

    freeze   they are left out, as on AWS
    evolve   they become columns, under a new version of the table
    error    the record goes to the error output
    text     they are kept as JSON text, in one column of the table

The policy is a tag of the delivery stream, so that every client of the protocol can say it. Only the keys of a record
itself are looked at, not those of objects in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.json_lookup import bools, table
from connectors.formats.schema import Decoded, RowFault
from firehose.evolution import Kind, kinds_of
from firehose.rows import RowReader
from streams.core.errors import InvalidArgument

TAG = "headrace:drift"
TAG_COLUMN = "headrace:drift-column"
COLUMN = "_rest"
"""Where unknown keys are kept, unless the second tag names another column."""

Policy = Literal["freeze", "evolve", "error", "text"]

UNKNOWN_KEYS = "UnknownKeys"
"""The code of a `RowFault`."""
KEYS_SHOWN_MAX = 10


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """`column` is for "text" alone."""

    policy: Policy = "freeze"
    column: str = COLUMN

    @staticmethod
    def of(tags: Mapping[str, str]) -> DriftPolicy:
        """Raises `InvalidArgument` for a policy that there is not."""
        given = tags.get(TAG, "freeze")
        for policy in get_args(Policy):
            if given == policy:
                return DriftPolicy(policy, tags.get(TAG_COLUMN, COLUMN).lower())
        raise InvalidArgument(f"Tag {TAG} is one of {', '.join(get_args(Policy))}, not {given}.")


Evolve = Callable[[Mapping[str, Kind]], Awaitable[RowReader | None]]
"""Takes unknown keys with what is in them into the table; the reader of what that is then, None where nothing changed."""


class DriftReader:
    """Reads the rows of a delivery stream under its policy. Without `evolve` the table is as it is."""

    def __init__(
        self,
        reader: RowReader,
        drift: DriftPolicy,
        evolve: Evolve | None = None,
        *,
        watch: Callable[[list[str]], None] | None = None,
    ) -> None:
        """`watch` is told the unknown keys of what is to be read."""
        self._reader = reader
        self._drift = drift
        self._evolve = evolve
        self._watch = watch

    async def prepare(self, data: pa.Array) -> None:
        """Before records (binary) are read: with `evolve`, the table has columns for them from now on."""
        reader = self._reader
        if self._watch is not None and len(data):
            self._watch([key for key in _keys(_texts(data)) if reader.key(key) not in reader.columns])
        if self._evolve is None or not len(data):
            return
        found = await asyncio.to_thread(_evolvable, reader, data)
        if found:
            self._reader = await self._evolve(found) or self._reader

    def read(self, data: pa.Array) -> Decoded:
        """`data` is binary, one record each."""
        reader = self._reader
        decoded = reader.read(data)
        if self._drift.policy == "error":
            return _refused(reader, data, decoded)
        return _kept(reader, data, decoded, self._drift.column) if self._drift.policy == "text" else decoded


def _evolvable(reader: RowReader, data: pa.Array) -> dict[str, Kind]:
    """Of the keys that are none of the table, and those of columns that may widen: what is in them, by name."""
    texts = _texts(data)
    spelled = [
        key for key in _keys(texts) if reader.key(key) not in reader.columns or reader.key(key) in reader.evolved
    ]
    found: dict[str, Kind] = {}
    if not spelled:
        return found
    for key, kind in kinds_of(_objects(texts), spelled).items():
        name = reader.key(key)
        found[name] = kind if name not in found else found[name].joined(kind)
    return {name: kind for name, kind in found.items() if not kind.within(reader.evolved.get(name))}


def _refused(reader: RowReader, data: pa.Array, decoded: Decoded) -> Decoded:
    """The records with unknown keys are faults."""
    unknown, rows = _unknown(reader, data.take(decoded.source))
    if not len(rows):
        return decoded
    good = np.ones(decoded.rows.num_rows, bool)
    good[rows] = False
    source = decoded.source.to_numpy()
    faults = []
    for place in source[rows].tolist():
        keys = [key for key in json.loads(data[place].as_py()) if key in unknown]
        shown = ", ".join(json.dumps(key, ensure_ascii=False) for key in keys[:KEYS_SHOWN_MAX])
        more = f" and {len(keys) - KEYS_SHOWN_MAX} more" if len(keys) > KEYS_SHOWN_MAX else ""
        faults.append(RowFault(place, UNKNOWN_KEYS, f"the table has no columns for {shown}{more}"))
    both = sorted([*decoded.faults, *faults], key=lambda fault: fault.index)
    return Decoded(decoded.rows.filter(pa.array(good)), pa.array(source[good]), tuple(both))


def _kept(reader: RowReader, data: pa.Array, decoded: Decoded, column: str) -> Decoded:
    """The rows with what is left of each record in `column`, NULL where that is nothing."""
    here = data.take(decoded.source)
    unknown, rows = _unknown(reader, here, but=column)
    rest = pa.nulls(decoded.rows.num_rows, pa.string())
    if len(rows):
        texts = here.take(pa.array(rows)).cast(pa.string())
        # A merge patch takes away what it has null for.
        patch = duck.literal(json.dumps({key: None for key in _keys(texts) if key not in unknown}, ensure_ascii=False))
        left = duck.run(f"SELECT CAST(json_merge_patch(t, {patch}) AS VARCHAR) AS r FROM v", v=table(texts))
        place = np.full(decoded.rows.num_rows, -1, np.int64)
        place[rows] = np.arange(len(rows))
        rest = left.column(0).combine_chunks().take(pa.array(place, mask=place < 0))
    names = [name.lower() for name in decoded.rows.schema.names]
    number = names.index(column)
    return Decoded(
        decoded.rows.set_column(number, decoded.rows.schema.field(number), rest), decoded.source, decoded.faults
    )


def _unknown(reader: RowReader, data: pa.Array, but: str | None = None) -> tuple[set[str], np.ndarray]:
    """Keys of the records (JSON objects) that no column takes, as they are written, and which records (int64) have such.
    A column `but` takes none."""
    texts = data.cast(pa.string())
    known = reader.columns.keys() - {but}
    unknown = {key for key in _keys(texts) if reader.key(key) not in known}
    if not unknown:
        return unknown, np.zeros(0, np.int64)
    keys = ", ".join(map(duck.literal, sorted(unknown)))
    hits = duck.run(f"SELECT list_has_any(json_keys(t), [{keys}]) AS hit FROM v", v=table(texts)).column(0)
    return unknown, np.flatnonzero(bools(hits.combine_chunks().fill_null(False)))


def _keys(texts: pa.Array) -> list[str]:
    """The keys of those texts that are JSON objects, each once as it is written, in order."""
    keys = "json_keys(t)"
    try:
        found = duck.run(f"SELECT DISTINCT unnest({keys}) AS k FROM v", v=table(texts))
    except (duckdb.Error, UnicodeDecodeError):  # one of them is no JSON
        keys = f"CASE WHEN json_valid(t) THEN {keys} END"
        found = duck.run(f"SELECT DISTINCT unnest({keys}) AS k FROM v", v=table(texts))
    return sorted(found.column(0).to_pylist())


def _texts(data: pa.Array) -> pa.Array:
    """The records that are text."""
    try:
        return data.cast(pa.string())
    except pa.ArrowInvalid:
        whole = [record for record in data.to_pylist() if _is_text(record)]
        return pa.array(whole, pa.binary()).cast(pa.string())


def _objects(texts: pa.Array) -> pa.Array:
    """Those that are JSON objects."""
    kinds = "SELECT coalesce(CASE WHEN json_valid(t) THEN json_type(t) = 'OBJECT' END, false) AS ok FROM v"
    hits = duck.run(kinds, v=table(texts)).column(0).combine_chunks()
    return texts if pc.all(hits).as_py() else texts.filter(hits)


def _is_text(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True
