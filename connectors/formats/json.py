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

An array or an object in a column of arrays, maps or structs is read value by value by the same rules; a struct takes the
keys that it names. What is no array there, or no object, is a fault.

A record that is no JSON object, or holds a value that does not convert, becomes a `RowFault`; the batch goes on:

    InvalidEncoding    not UTF-8
    InvalidJson        not JSON
    NotAnObject        JSON, but not an object
    CoercionError      a value that its column cannot hold
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, reduce

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck, json_plain
from connectors.formats.dialect import LENIENT, Dialect
from connectors.formats.discovery import infer_columns
from connectors.formats.json_lookup import Keys, asked, at, bools, spread, table
from connectors.formats.json_nested import Node, nested
from connectors.formats.json_plan import KINDS, Plan, is_nested
from connectors.formats.json_scan import scan
from connectors.formats.json_strict import check_kinds
from connectors.formats.json_values import ambiguous, typed
from connectors.formats.schema import Column, Decoded, RowFault

__all__ = ["decode_json", "encode_json", "infer_columns"]


def decode_json(data: pa.Array, columns: Sequence[Column], dialect: Dialect = LENIENT) -> Decoded:
    """`data` is binary. A column's `path` is ``$.a.b``; other paths raise `ValidationError`. A strict `dialect` fails
    records that the table above would convert."""
    faults: dict[int, RowFault] = {}
    if columns:
        plan = _plan(tuple(columns))
        # The kernel knows neither a strict dialect's times nor its rules.
        rows = None if dialect.strict else _scanned_rows(plan, data, faults)
        if rows is None:
            rows = _asked_rows(plan, _checked(data, faults), faults, dialect)
    else:
        _no_objects(_checked(data, faults), range(len(data)), faults)
        rows = pa.RecordBatch.from_struct_array(pa.array([{}] * len(data), pa.struct([])))
    source = np.arange(len(data), dtype=np.int64)
    if faults:
        good = np.ones(len(data), bool)
        good[list(faults)] = False
        rows, source = rows.filter(pa.array(good)), source[good]
    return Decoded(rows, pa.array(source), tuple(faults[index] for index in sorted(faults)))


PLAIN_ROWS_MAX = 10_000
"""Rows from which on DuckDB writes them as fast as Arrow does; for a hundred, its statement costs ten times as much."""


def encode_json(rows: pa.RecordBatch) -> pa.Array:
    """Binary: one JSON object a row, keys in the order of the columns, NULL as null. Timestamps are
    ``yyyy-MM-dd HH:mm:ss.SSS``, binary is base64, a number that is not finite is null."""
    if rows.num_rows == 0:
        return pa.array([], pa.binary())
    if rows.num_rows < PLAIN_ROWS_MAX:
        written = json_plain.written(rows)
        if written is not None:
            return written
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


def _checked(data: pa.Array, faults: dict[int, RowFault]) -> pa.Array:
    """`data` as a string array without a copy; records that are not UTF-8 are emptied, and added to `faults`."""
    try:
        return data.cast(pa.string())
    except pa.ArrowInvalid:
        pass
    kept = data.to_pylist()
    for index, value in enumerate(kept):
        try:
            value.decode()
        except UnicodeDecodeError:
            faults[index] = RowFault(index, "InvalidEncoding", "the record is not UTF-8 text")
            kept[index] = b""
    return pa.array(kept, pa.binary()).cast(pa.string())


def _scanned_rows(plan: Plan, data: pa.Array, faults: dict[int, RowFault]) -> pa.RecordBatch | None:
    """A row for each record, most of them without DuckDB; None where that cannot be. `faults` are added to."""
    found = scan(plan.scan, data)
    if found is None:
        return None
    if not found.ascii:
        try:
            data.cast(pa.string())
        except pa.ArrowInvalid:
            return None
    arrays, left = found.arrays, found.left
    if len(left):
        own: dict[int, RowFault] = {}
        asked = _asked_rows(plan, _checked(data.take(pa.array(left)), own), own, LENIENT)
        faults |= {int(left[place]): replace(fault, index=int(left[place])) for place, fault in own.items()}
        places = np.arange(len(data))
        places[left] = len(data) + np.arange(len(left))
        order = pa.array(places)
        arrays = [
            pa.concat_arrays([read, other]).take(order) for read, other in zip(arrays, asked.columns, strict=True)
        ]
    return pa.RecordBatch.from_arrays(arrays, schema=plan.schema)


def _asked_rows(plan: Plan, texts: pa.Array, faults: dict[int, RowFault], dialect: Dialect) -> pa.RecordBatch:
    """A row for each text, all of it read by DuckDB; `faults` are added to."""
    raws = at(_read(plan, texts), plan.places)
    nothing = _indices(reduce(pc.and_, [raw.is_null() for raw in raws]))
    if nothing:
        _no_objects(texts, nothing, faults)
    plan.trusted = not any(index in faults and faults[index].code == "InvalidJson" for index in nothing)
    left_out = sum(index in faults for index in nothing)
    if dialect.strict:
        good = np.setdiff1d(np.arange(len(texts)), np.array(list(faults), np.int64))
        kinds, names = [column.type for column in plan.columns], [column.name for column in plan.columns]
        check_kinds(texts.take(pa.array(good)), plan.paths, kinds, names, good, faults)
    values = [_plain(raw, column.type, dialect) for raw, column in zip(raws, plan.columns, strict=True)]
    unread = [
        number
        for number, (value, column) in enumerate(zip(values, plan.columns, strict=True))
        if value is not None and ambiguous(column.type) and value.null_count > left_out
    ]
    looked = _look(plan, texts, values, unread) if unread else {}
    for number, column in enumerate(plan.columns):
        if is_nested(column.type):
            continue
        value, raw = values[number], looked.get(number, raws[number])
        if value is None:
            value = asked(raw, column.type)
        elif number in looked and raw.null_count < len(raw):
            value = pc.coalesce(value, asked(raw, column.type))
        values[number] = value
        if value.null_count and (number in looked or not ambiguous(column.type)):
            for index in _indices(pc.and_(raw.is_valid(), value.is_null())):
                if index not in faults:
                    faults[index] = RowFault(index, "CoercionError", plan.complaint(number, raw[index].as_py()))
    _nest(plan, texts, values, faults, dialect)
    return pa.RecordBatch.from_arrays(values, schema=plan.schema)


def _plain(raw: pa.Array, kind: pa.DataType, dialect: Dialect) -> pa.Array | None:
    """`typed`, by the dialect's patterns where it has them; nested values stay as they are."""
    if is_nested(kind):
        return raw
    return dialect.times(raw, kind) if dialect.reads(kind) else typed(raw, kind)


def _nest(plan: Plan, texts: pa.Array, values: list[pa.Array], faults: dict[int, RowFault], dialect: Dialect) -> None:
    """Gives the nested columns among `values` their types."""
    numbers = [number for number, column in enumerate(plan.columns) if is_nested(column.type)]
    rows = np.arange(len(texts))
    trees = [Node(plan.columns[n].type, plan.paths[n], plan.columns[n].name, values[n], rows) for n in numbers]
    for number, value in zip(numbers, nested(trees, texts, faults, dialect), strict=True):
        values[number] = value


def _read(plan: Plan, texts: pa.Array) -> pa.Table:
    """The structs of some texts."""
    if plan.trusted:
        try:
            return duck.run(plan.trusting, v=table(texts))
        except (duckdb.Error, UnicodeDecodeError):
            # The message repeats the text up to some byte, in the middle of a character if need be.
            pass
    return duck.run(plan.sql, v=table(texts))


def _look(plan: Plan, texts: pa.Array, values: Sequence[pa.Array], numbers: Sequence[int]) -> dict[int, pa.Array]:
    """The texts of what became NULL in the columns `numbers`: NULL where a value is missing, or was read. Columns of
    which every NULL is a key that is not there are left out: events of several kinds in a stream have many of them."""
    numbers = _keyed(plan, texts, values, numbers)
    if not numbers:
        return {}
    nulls = [values[number].is_null() for number in numbers]
    wanted = np.logical_or.reduce([mask.to_numpy(zero_copy_only=False) for mask in nulls])
    sql, places = plan.look(numbers)
    found = at(duck.run(sql, v=table(texts.filter(pa.array(wanted)))), places)
    nothing = pa.scalar(None, pa.string())
    return {
        number: pc.if_else(mask, spread(text, wanted), nothing)
        for number, mask, text in zip(numbers, nulls, found, strict=True)
    }


def _keyed(plan: Plan, texts: pa.Array, values: Sequence[pa.Array], numbers: Sequence[int]) -> list[int]:
    """Those of some columns that have a NULL in a text which may have their key; a backslash may hide it."""
    keys = Keys(texts)
    return [number for number in numbers if keys.any(plan.key(number), bools(values[number].is_null()))]


def _indices(mask: pa.Array) -> list[int]:
    found: list[int] = np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist()
    return found


def _no_objects(texts: pa.Array, indices: Sequence[int], faults: dict[int, RowFault]) -> None:
    """Adds the faults of those of some texts that are no JSON objects."""
    found = duck.run(KINDS, v=table(texts.take(pa.array(indices, pa.int64())))).column(0).to_pylist()
    for index, kind in zip(indices, found, strict=True):
        if kind == "OBJECT" or index in faults:
            continue
        if kind is None:
            faults[index] = RowFault(index, "InvalidJson", "the record is not JSON")
        else:
            what = f"the record is JSON, but {_KINDS.get(kind, 'a number')}, not an object"
            faults[index] = RowFault(index, "NotAnObject", what)


_KINDS = {"ARRAY": "an array", "VARCHAR": "a string", "BOOLEAN": "true or false", "NULL": "null"}
