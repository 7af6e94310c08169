"""Tables in, tables out: what stands between the Arrow world (pyarrow, polars, pandas, DuckDB …) and `Records`.

In: a column of the table holds the records, or every row becomes one JSON object of its columns. As JSON, timestamps are
text (``2026-01-31 23:59:59.123456``, with ``+00`` where they have a time zone), NaN and infinities are null, and binary
is base64. DuckDB encodes, in columns and outside of the interpreter's lock.
Out: the columns of `streams.core.records.SCHEMA`, after a column `shard`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from streams.core.errors import ValidationError
from streams.core.records import SCHEMA, Records
from streams.sdk.client import TRIM_HORIZON, Client, Start

BULK_SIZE_MAX = 8 << 20
"""Bytes of one put of a table: one disk sync costs as much as writing about this."""
RANDOM_RUN_MAX = 64
"""Neighbours that share a random partition key: a service hashes each key once, and thousands of keys still spread."""
PARTITION_KEY_MAX = 256
"""Characters of a partition key, as in Kinesis."""

TABLE_SCHEMA = pa.schema([pa.field("shard", pa.string(), nullable=False), *SCHEMA])
"""What `read_table` gives."""


def records_of(table: Any, data: str | None, partition_key: str | None, randomness: random.Random) -> Iterator[Records]:
    """The table's rows as `Records` of at most `BULK_SIZE_MAX` bytes, encoded as they are asked for: see
    `Producer.put_batch`. Raises `ValidationError` for what is no table, and for columns that cannot be used."""
    encoder = Encoder(data, partition_key, randomness)
    for part in _parts(table):
        yield from split(encoder.encode(part), BULK_SIZE_MAX)


def _parts(table: Any) -> Iterator[pa.RecordBatch]:
    """The table in record batches of about `BULK_SIZE_MAX` bytes: large ones are sliced, small ones gathered."""
    small: list[pa.RecordBatch] = []
    size = 0
    for batch in _batches(table):
        if not batch.num_rows:
            continue
        if size + batch.nbytes > BULK_SIZE_MAX and small:
            yield _gathered(small)
            small, size = [], 0
        if batch.nbytes <= BULK_SIZE_MAX:
            small.append(batch)
            size += batch.nbytes
        else:
            rows = max(1, BULK_SIZE_MAX * batch.num_rows // batch.nbytes)
            yield from (batch.slice(first, rows) for first in range(0, batch.num_rows, rows))
    if small:
        yield _gathered(small)


def _gathered(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _batches(table: Any) -> Iterable[pa.RecordBatch]:
    if isinstance(table, pa.RecordBatch):
        return [table]
    if hasattr(table, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(table)
    raise ValidationError(
        f"{type(table).__name__} is no table: give a pyarrow, polars or pandas one, or an Arrow stream"
    )


class Encoder:
    """Record batches of one schema in, as many `Records` out."""

    def __init__(self, data: str | None, partition_key: str | None, randomness: random.Random) -> None:
        self._data = data
        self._partition_key = partition_key
        self._keys = np.random.default_rng(randomness.getrandbits(64))
        self._duckdb: Any = None

    def encode(self, part: pa.RecordBatch) -> Records:
        """Raises `ValidationError`: which column is missing or cannot be used, and what there is."""
        names = part.schema.names
        key_column = self._partition_key or ("partition_key" if "partition_key" in names else None)
        keys = self._random_keys(len(part)) if key_column is None else self._given_keys(part, key_column)
        data_column = self._data or ("data" if "data" in names and set(names) <= set(TABLE_SCHEMA.names) else None)
        return Records(self._json(part) if data_column is None else _given_data(part, data_column), keys)

    def _given_keys(self, part: pa.RecordBatch, name: str) -> pa.Array:
        keys = _column(part, name)
        if pa.types.is_dictionary(keys.type):
            keys = keys.dictionary_decode()
        keys = keys.cast(pa.string())
        if keys.null_count:
            keys = pc.coalesce(keys, self._random_keys(len(keys)))
        if len(keys) and pc.min(pc.binary_length(keys)).as_py() == 0:
            raise ValidationError(f"column {name!r} holds an empty partition key; null stands for a random one")
        if len(keys) and pc.max(pc.binary_length(keys)).as_py() > PARTITION_KEY_MAX:
            longest = pc.max(pc.utf8_length(keys)).as_py()
            if longest > PARTITION_KEY_MAX:
                raise ValidationError(f"column {name!r}: partition keys have at most {PARTITION_KEY_MAX} characters")
        return keys

    def _random_keys(self, count: int) -> pa.Array:
        run = max(1, min(count // 1000, RANDOM_RUN_MAX))
        keys = pa.array(self._keys.integers(0, 2**32, -(-count // run))).cast(pa.string())
        return keys.take(pa.array(np.arange(count) // run))

    def _json(self, part: pa.RecordBatch) -> pa.Array:
        """One JSON object a row. Columns are renamed, for SQL's names ignore case and JSON's do not."""
        import duckdb  # a tenth of a second that only tables of typed columns cost

        if self._duckdb is None:
            self._duckdb = duckdb.connect(config={"threads": 1})
            self._duckdb.execute("SET TimeZone = 'UTC'")
        fields = [field for field in part.schema if field.name != "partition_key"]
        if not fields:
            raise ValidationError("the table has no column that could become data")
        columns = pa.RecordBatch.from_arrays(
            [part.column(part.schema.get_field_index(field.name)) for field in fields],
            names=[f"c{index}" for index in range(len(fields))],
        )
        pairs = _pairs((field.name, f"c{index}", field.type) for index, field in enumerate(fields))
        self._duckdb.register("part", columns)
        text = self._duckdb.sql(f"SELECT json_object({pairs})::VARCHAR FROM part").to_arrow_table().column(0)
        self._duckdb.unregister("part")
        return pa.concat_arrays([chunk.cast(pa.string()).cast(pa.binary()) for chunk in text.chunks])


def split(records: Records, size_max: int) -> list[Records]:
    """The same records in slices of at most `size_max` bytes each, but at least one record; without a copy."""
    if records.size <= size_max:
        return [records] if len(records) else []
    ends = np.cumsum(
        pc.add(pc.binary_length(records.data), pc.binary_length(records.partition_key)).to_numpy(), dtype=np.int64
    )
    pieces = []
    first, before = 0, 0
    while first < len(records):
        after = max(first + 1, int(np.searchsorted(ends, before + size_max, "right")))
        pieces.append(records.slice(first, after - first))
        first, before = after, int(ends[after - 1])
    return pieces


async def read_table(client: Client, stream: str, *, start: Start = TRIM_HORIZON, limit: int | None = None) -> pa.Table:
    """What the stream holds now, from `start` to its newest record at the time of the call, as a table of
    `TABLE_SCHEMA`: shard by shard, parents before children, at most `limit` records. pyarrow, and with it polars
    (``polars.DataFrame(table)``), pandas (``table.to_pandas()``) and DuckDB read it without a copy."""
    order = [shard.id for shard in (await client.describe_stream(stream)).shards]
    positions = {shard: at for shard, at in (await client.find(stream, start)).items() if shard in order}
    tips: dict[str, int] | None = None
    found: dict[str, list[pa.Table]] = {shard: [] for shard in order}
    left = limit
    while positions and left != 0:
        fetch = await client.fetch(stream, positions)
        tips = dict(fetch.tips) if tips is None else tips
        for batch in fetch.batches:
            count = min(batch.next, tips[batch.shard]) - batch.first
            count = count if left is None else min(count, left)
            if count > 0:
                found[batch.shard].append(_with_shard(batch.shard, batch.to_arrow().slice(0, count)))
                left = None if left is None else left - count
            positions[batch.shard] = batch.next
        quiet = set(fetch.ended) if fetch.batches else set(positions)
        positions = {shard: at for shard, at in positions.items() if shard not in quiet and at < tips[shard]}
    return pa.concat_tables([TABLE_SCHEMA.empty_table(), *(table for shard in order for table in found[shard])])


def _given_data(part: pa.RecordBatch, name: str) -> pa.Array:
    data = _column(part, name)
    if not (_is_text(data.type) or _is_binary(data.type)):
        raise ValidationError(f"column {name!r} holds {data.type}; data are binary or text")
    if data.null_count:
        raise ValidationError(f"column {name!r} has {data.null_count} nulls: a record without data")
    return data.cast(pa.binary())


def _with_shard(shard: str, batch: pa.RecordBatch) -> pa.Table:
    return pa.Table.from_arrays([pa.repeat(shard, len(batch)), *batch.columns], schema=TABLE_SCHEMA)


def _column(part: pa.RecordBatch, name: str) -> pa.Array:
    index = part.schema.get_field_index(name)
    if index < 0:
        raise ValidationError(f"the table has no single column {name!r}; it has {', '.join(part.schema.names)}")
    return part.column(index)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return any(
        check(kind)
        for check in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        )
    )


def _pairs(fields: Any) -> str:
    """The arguments of `json_object` for (name, SQL expression, Arrow type) triples."""
    return ", ".join(f"'{name.replace(chr(39), chr(39) * 2)}', {_value(sql, kind)}" for name, sql, kind in fields)


def _value(sql: str, kind: pa.DataType) -> str:
    """SQL for a value that JSON can hold."""
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({sql}) THEN {sql} END"
    if _is_binary(kind):
        return f"base64({sql})"
    if pa.types.is_struct(kind):
        inner = _pairs(
            (field.name, f"struct_extract_at({sql}, {index})", field.type)
            for index, field in enumerate([kind.field(i) for i in range(kind.num_fields)], start=1)
        )
        return f"CASE WHEN {sql} IS NOT NULL THEN json_object({inner}) END"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list_transform({sql}, lambda x: {_value('x', kind.value_type)})"
    return sql
