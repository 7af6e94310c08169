"""CSV records → typed rows, by position: a record holds one row or several, without a header.

Fields may stand in double quotes, in which delimiters and line ends are text and ``""`` is a quote. What an empty field is
depends on its column: empty text, else NULL. A row that is too short has NULLs at its end; fields beyond the columns are
passed over. Values convert as `connectors.formats.json` says of text; a row with one that does not becomes a `RowFault`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.json_plan import VALUE_SHOWN_MAX, converting, sql_type
from connectors.formats.json_values import typed
from connectors.formats.schema import Column, Decoded, RowFault

csv.field_size_limit(1 << 30)  # Python's own is 128 KiB; a record is bounded already

_ESCAPES = {r"\n": "\n", r"\r\n": "\r\n", r"\r": "\r", r"\t": "\t", r"\u0001": "\x01"}


def delimiter(text: str) -> str:
    r"""A delimiter as it was meant: templates often say ``\n`` with two characters."""
    return _ESCAPES.get(text, text)


def decode_csv(
    data: pa.Array, columns: Sequence[Column], positions: Sequence[int], row_delimiter: str, column_delimiter: str
) -> Decoded:
    """`data` is binary; column i is field ``positions[i]`` of a row. Blank rows are passed over."""
    texts, index, faults = _split(data, row_delimiter)
    fields = _fields(texts, positions, column_delimiter)
    values: list[pa.Array] = []
    bad: dict[int, str] = {}
    for column, field in zip(columns, fields, strict=True):
        field = _given(field, column.type)
        value = _converted(field, column.type)
        for row in np.flatnonzero(pc.and_(field.is_valid(), value.is_null()).to_numpy(zero_copy_only=False)).tolist():
            bad.setdefault(row, _complaint(column, field[row].as_py()))
        values.append(value)
    schema = pa.schema([(column.name, column.type) for column in columns])
    rows = (
        pa.RecordBatch.from_arrays(values, schema=schema)
        if columns
        else pa.RecordBatch.from_struct_array(pa.array([{}] * len(texts), pa.struct([])))
    )
    if bad:
        good = np.ones(len(texts), bool)
        good[list(bad)] = False
        faults += [RowFault(int(index[row]), "CoercionError", message) for row, message in bad.items()]
        rows, index = rows.filter(pa.array(good)), index[good]
    return Decoded(rows, pa.array(index), tuple(sorted(faults, key=lambda fault: fault.index)))


def _split(data: pa.Array, row_delimiter: str) -> tuple[pa.Array, np.ndarray, list[RowFault]]:
    """The rows of all records, and the index of the record of each."""
    faults = []
    try:
        texts = data.cast(pa.string())
    except pa.ArrowInvalid:
        kept = []
        for number, value in enumerate(data.to_pylist()):
            try:
                kept.append(value.decode())
            except UnicodeDecodeError:
                kept.append("")
                faults.append(RowFault(number, "InvalidEncoding", "the record is not UTF-8 text"))
        texts = pa.array(kept, pa.string())
    if pc.any(pc.match_substring(texts, '"')).as_py():
        pieces = [_quoted_rows(text, row_delimiter) for text in texts.to_pylist()]
        rows = pa.array([row for piece in pieces for row in piece], pa.string())
        index = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    else:
        lists = pc.split_pattern(texts, row_delimiter)
        rows, index = lists.flatten(), pc.list_parent_indices(lists).to_numpy()
    rows = pc.utf8_rtrim(rows, "\r\n")
    blank = pc.equal(rows, "").to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(~blank)), index[~blank].astype(np.int64), faults


def _quoted_rows(text: str, row_delimiter: str) -> list[str]:
    """The rows of a text in which a delimiter between quotes is none."""
    rows: list[str] = []
    kept: list[str] = []
    inside = False
    for piece in text.split(row_delimiter):
        kept.append(piece)
        inside ^= piece.count('"') % 2 == 1
        if not inside:
            rows.append(row_delimiter.join(kept))
            kept = []
    return [*rows, row_delimiter.join(kept)] if kept else rows


def _fields(texts: pa.Array, positions: Sequence[int], column_delimiter: str) -> list[pa.Array]:
    if len(texts) and pc.any(pc.match_substring(texts, '"')).as_py():
        rows = [_parsed(text, column_delimiter) for text in texts.to_pylist()]
        return [pa.array([row[at] if at < len(row) else None for row in rows], pa.string()) for at in positions]
    lists = pc.split_pattern(texts, column_delimiter)
    flat, offsets = lists.flatten(), lists.offsets.to_numpy()
    first, sizes = offsets[:-1] - offsets[0], np.diff(offsets)
    return [flat.take(pa.array(np.minimum(first + at, max(0, len(flat) - 1)), mask=sizes <= at)) for at in positions]


def _parsed(text: str, column_delimiter: str) -> list[str]:
    if len(column_delimiter) == 1:
        try:
            return next(csv.reader([text], delimiter=column_delimiter), [])
        except csv.Error:
            pass  # a line end that stands alone in the row: then quotes are only at the ends of fields
    return [field.strip('"').replace('""', '"') for field in text.split(column_delimiter)]


def _given(field: pa.Array, kind: pa.DataType) -> pa.Array:
    """What a field says: nothing where it is empty, unless its column is text."""
    if pa.types.is_string(kind):
        return field
    trimmed = pc.utf8_trim_whitespace(field)
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)


def _converted(field: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_string(kind):
        return field
    known = _plain(field, kind)
    if known is not None:
        return known
    return duck.run(converting(kind), v=pa.table({"t": field})).column(0).combine_chunks().cast(kind)


def _plain(field: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Where all of a column is plainly of its type, which Arrow sees ten times as fast as DuckDB; else None."""
    if len(field) == 0 or field.null_count == len(field):
        return pa.nulls(len(field), kind)
    if pa.types.is_temporal(kind):
        return typed(field, kind)
    try:
        if pa.types.is_integer(kind) and not any(pc.any(pc.match_substring(field, sign)).as_py() for sign in "xX"):
            return field.cast(kind)
        if pa.types.is_floating(kind):
            numbers = field.cast(kind)
            return numbers if pc.all(pc.is_finite(numbers)).as_py() else None
    except pa.ArrowInvalid:
        pass
    return None


def _complaint(column: Column, value: str) -> str:
    short = value if len(value) <= VALUE_SHOWN_MAX else value[:VALUE_SHOWN_MAX] + "…"
    kind = sql_type(column.type).removesuffix("_MS")
    return f"column {column.name}: {json.dumps(short, ensure_ascii=False)} cannot become {kind}"


def encode_csv(rows: pa.RecordBatch) -> pa.Array:
    """Binary: one line of fields a row, without a line end. NULL is empty; text with a comma, a quote or a line end stands
    in quotes; timestamps are ``yyyy-MM-dd HH:mm:ss.SSS``, binary is base64."""
    if rows.num_rows == 0:
        return pa.array([], pa.binary())
    fields = [_encoded(f"c{number}", field.type) for number, field in enumerate(rows.schema)]
    plain = pa.table(list(rows.columns), names=[f"c{number}" for number in range(rows.num_columns)])
    listed = " || ',' || ".join(fields)
    return (
        duck.run(f"SELECT CAST({listed} AS VARCHAR) AS t FROM v", v=plain).column(0).cast(pa.binary()).combine_chunks()
    )


def _encoded(sql: str, kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        text = f"strftime(CAST({sql} AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g')"
    elif pa.types.is_binary(kind):
        text = f"base64({sql})"
    elif pa.types.is_string(kind):
        quoted = f"""'"' || replace({sql}, '"', '""') || '"'"""
        text = f"""CASE WHEN regexp_matches({sql}, '[",\\r\\n]') THEN {quoted} ELSE {sql} END"""
    else:
        text = f"CAST({sql} AS VARCHAR)"
    return f"coalesce({text}, '')"
