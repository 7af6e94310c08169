"""JSON records ⇄ typed rows: one JSON object a record, decoded and encoded a batch at a time by DuckDB.

Decoding reads only the columns that are asked for. Where a value is not of its column's type:

    missing, null      NULL, for every type
    number             into integers only if it is whole and fits, else a fault; into text as its digits; into BOOLEAN
                       0 = false, others true; into a timestamp as epoch seconds, or milliseconds from 10¹¹ on
    text               into numbers if it is one, else a fault; into BOOLEAN 'true' (or 't', 'yes', 'y', '1') in any case
                       = true, others false; into dates and timestamps in ISO form (``2013-01-01``, with ``T`` or a space
                       before the time, with a zone or without = UTC), else a fault; into BINARY as base64
    true, false        1, 0 as numbers; 'true', 'false' as text; a fault as a time
    array, object      their JSON text in a text column, else a fault

A record that is no JSON object, or holds a value that does not convert, becomes a `RowFault`; the batch goes on:

    InvalidEncoding    not UTF-8
    InvalidJson        not JSON
    NotAnObject        JSON, but not an object
    CoercionError      a value that its column cannot hold
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.discovery import infer_columns
from connectors.formats.json_plan import Plan
from connectors.formats.schema import Column, Decoded, RowFault

__all__ = ["decode_json", "encode_json", "infer_columns"]


def decode_json(data: pa.Array, columns: Sequence[Column]) -> Decoded:
    """`data` is binary. A column's `path` is ``$.a.b``; other paths raise `ValidationError`."""
    plan = _plan(tuple(columns))
    texts, broken = _texts(data)
    first = duck.run(plan.fast("v"), v=pa.table({"t": texts}))
    values = [first.column(i).combine_chunks() for i in range(len(plan.columns))]
    nothing = first.column("nothing").to_numpy()
    doubtful = nothing.copy()
    for column in values:
        if column.null_count:
            doubtful |= column.is_null().to_numpy(zero_copy_only=False)
    faults = {index: RowFault(index, "InvalidEncoding", "the record is not UTF-8 text") for index in broken}
    if doubtful.any():
        indices = np.flatnonzero(doubtful)
        values = _second_look(plan, texts, values, indices, faults)
    rows = pa.RecordBatch.from_arrays(values, schema=plan.schema) if values else _without_columns(len(data))
    source = np.arange(len(data), dtype=np.int64)
    if faults:
        good = np.ones(len(data), bool)
        good[list(faults)] = False
        rows, source = rows.filter(pa.array(good)), source[good]
    return Decoded(rows, pa.array(source), tuple(faults[index] for index in sorted(faults)))


def _without_columns(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_struct_array(pa.array([{}] * count, pa.struct([])))


def encode_json(rows: pa.RecordBatch) -> pa.Array:
    """Binary: one JSON object a row, keys in the order of the columns, NULL as null. Timestamps are
    ``yyyy-MM-dd HH:mm:ss.SSS``, binary is base64, a number that is not finite is null."""
    if rows.num_rows == 0:
        return pa.array([], pa.binary())
    pairs = ", ".join(
        f"{duck.literal(field.name)}, {_encoded(f'c{index}', field.type)}" for index, field in enumerate(rows.schema)
    )
    # DuckDB's names ignore case and JSON's do not.
    plain = pa.table(list(rows.columns), names=[f"c{index}" for index in range(rows.num_columns)])
    if not pairs:
        return pa.array([b"{}"] * rows.num_rows, pa.binary())
    result = duck.run(f"SELECT CAST(json_object({pairs}) AS VARCHAR) AS t FROM v", v=plain)
    return result.column(0).cast(pa.binary()).combine_chunks()


def _encoded(sql: str, kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return f"strftime(CAST({sql} AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g')"
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({sql}) THEN {sql} END"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return f"base64({sql})"
    return sql


@lru_cache(maxsize=256)
def _plan(columns: tuple[Column, ...]) -> Plan:
    return Plan(columns)


def _texts(data: pa.Array) -> tuple[pa.Array, list[int]]:
    """`data` as a string array without a copy; records that are not UTF-8 are emptied and their indices returned."""
    try:
        return data.cast(pa.string()), []
    except pa.ArrowInvalid:
        pass
    broken, kept = [], data.to_pylist()
    for index, value in enumerate(kept):
        try:
            value.decode()
        except UnicodeDecodeError:
            broken.append(index)
            kept[index] = b""
    return pa.array(kept, pa.binary()).cast(pa.string()), broken


def _second_look(
    plan: Plan, texts: pa.Array, values: list[pa.Array], indices: np.ndarray, faults: dict[int, RowFault]
) -> list[pa.Array]:
    """NULLs are missing values, values in an unusual form, or faults: the rows that hold one are read again as text."""
    again = duck.run(plan.slow("v"), v=pa.table({"t": texts.take(pa.array(indices))}))
    kinds = again.column("kind").to_pylist()
    for at, kind in enumerate(kinds):
        index = int(indices[at])
        if kind != "OBJECT" and index not in faults:
            faults[index] = _not_an_object(index, kind)
    places = np.full(len(texts), -1, np.int64)
    places[indices] = np.arange(len(indices))
    result = []
    for number, old in enumerate(values):
        result.append(old)
        if not old.null_count:
            continue
        raw = again.column(f"raw{number}").combine_chunks()
        new = again.column(f"value{number}").combine_chunks()
        if new.null_count < len(new):
            result[-1] = pc.coalesce(old, new.take(pa.array(places, mask=places < 0)))
        unread = pc.and_(raw.is_valid(), new.is_null()).to_numpy(zero_copy_only=False)
        for at in np.flatnonzero(unread).tolist():
            index = int(indices[at])
            if index not in faults:
                faults[index] = RowFault(index, "CoercionError", plan.complaint(number, raw[at].as_py()))
    return result


def _not_an_object(index: int, kind: str | None) -> RowFault:
    if kind is None:
        return RowFault(index, "InvalidJson", "the record is not JSON")
    return RowFault(index, "NotAnObject", f"the record is JSON, but {_KINDS.get(kind, 'a number')}, not an object")


_KINDS = {"ARRAY": "an array", "VARCHAR": "a string", "BOOLEAN": "true or false", "NULL": "null"}
