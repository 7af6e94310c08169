"""Batches of rows whose schemas grew on the way: one table, of the widest."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

_ORDER = (pa.bool_(), pa.int32(), pa.int64(), pa.float64(), pa.string())
"""Each of these holds what stands before it."""


def one_table(batches: Sequence[pa.RecordBatch]) -> pa.Table:
    """All rows of `batches` (at least one). Schemas may differ in columns at the end, which are NULL where they are missing,
    and in how wide a column is."""
    widest = max((batch.schema for batch in batches), key=len)
    if all(batch.schema == widest for batch in batches):
        return pa.Table.from_batches(batches)
    kinds = dict(zip(widest.names, widest.types, strict=True))
    for batch in batches:
        for field in batch.schema:
            kinds[field.name] = _wider(kinds[field.name], field.type)
    schema = pa.schema(list(kinds.items()))
    return pa.concat_tables([_as(batch, schema) for batch in batches])


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one == other:
        return one
    return max(one, other, key=_ORDER.index)


def _as(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    names = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in names else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
