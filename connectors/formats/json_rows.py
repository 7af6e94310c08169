"""The rows in JSON records: where a record is not one object but holds several, one after the other or in an array.

A **row path** leads from a record to its rows: ``$`` (the record), ``$.orders`` or ``$.orders[0:]`` (each element of the
array, or the one object there). A column's path may go through one array, ``$.items[0:].price``: then every element makes
a row, beside which the other columns are repeated; an empty array makes one row without it. ``$.items[0:]`` alone is the
whole array, as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats import duck
from connectors.formats.json import decode_json
from connectors.formats.json_plan import parse_path
from connectors.formats.schema import Column, Decoded, RowFault
from streams.core.errors import ValidationError

_ARRAY = r"\[(?:0:|\*|:)\]"
_ROW_PATH = re.compile(rf"""\$(?P<path>(?:\.(?:[^.\[\]"'$*]+|"[^"]+"))*)(?P<all>{_ARRAY})?""")
_THROUGH = re.compile(rf"""(?P<array>\$(?:\.(?:[^.\[\]"'$*]+|"[^"]+"))+){_ARRAY}(?P<below>(?:\..+)?)""")
_DOCUMENTS_MAX = 100_000
"""Documents of one record: more than fit into a megabyte with a key in each."""


class JsonRows:
    """How the `columns` are read out of records. Raises `ValidationError` for paths that are none."""

    def __init__(self, columns: Sequence[Column], row_path: str = "$") -> None:
        found = _ROW_PATH.fullmatch(row_path)
        if found is None:
            raise ValidationError(f"the row path {row_path!r} is not of the form $, $.name or $.name[0:]")
        self._row_path = "$" + found["path"]
        self._elements = found["all"] is not None or bool(found["path"])
        arrays, plain = {}, []
        for column in columns:
            through = None if column.path is None else _THROUGH.fullmatch(column.path)
            if through is not None and not through["below"]:
                column, through = replace(column, path=through["array"]), None
            if through is not None:
                arrays[column.name] = through["array"]
            plain.append(column if through is None else replace(column, path="$" + through["below"]))
        if len(set(arrays.values())) > 1:
            raise ValidationError(f"a schema goes through one array, not through {' and '.join(set(arrays.values()))}")
        self._array = next(iter(arrays.values()), None)
        self._columns = plain if self._array is None else [_below(each, each.name in arrays) for each in plain]
        for column in self._columns:
            parse_path(column)

    def decode(self, data: pa.Array, numbers: Sequence[int]) -> Decoded:
        """The columns of these numbers. `data` is binary; a row's source is the index of its record."""
        columns = [self._columns[number] for number in numbers]
        if not self._elements and self._array is None:
            return _documents(data, columns)
        texts, index, faults = self._spread(data)
        decoded = decode_json(texts, columns)
        source = index[decoded.source.to_numpy()]
        faults += [replace(fault, index=int(index[fault.index])) for fault in decoded.faults]
        return Decoded(decoded.rows, pa.array(source), tuple(sorted(faults, key=lambda fault: fault.index)))

    def texts(self, data: pa.Array) -> pa.Array:
        """The rows in `data` as JSON texts (binary)."""
        return self._spread(data)[0]

    def _spread(self, data: pa.Array) -> tuple[pa.Array, np.ndarray, list[RowFault]]:
        texts, faults = _utf8(data)
        documents, index = _separated(texts)
        path = duck.literal(self._row_path)
        rows = (
            f"SELECT i, unnest(CASE WHEN NOT json_valid(t) THEN [t] WHEN json_type(t, {path}) = 'ARRAY' THEN "
            f"CAST(json_extract(t, {duck.literal(self._row_path + '[*]')}) AS VARCHAR[]) "
            f"WHEN json_extract(t, {path}) IS NULL THEN [] ELSE [CAST(json_extract(t, {path}) AS VARCHAR)] END) AS t FROM v"
        )
        if self._array is not None:
            array, elements = duck.literal(self._array), duck.literal(self._array + "[*]")
            rows = (
                "SELECT i, CASE WHEN e IS NULL AND NOT json_valid(t) THEN t ELSE '{\"r\":' || t || ',\"e\":' || "
                "coalesce(e, 'null') || '}' END AS t FROM (SELECT i, t, unnest(CASE WHEN NOT json_valid(t) THEN [NULL] "
                f"WHEN json_type(t, {array}) = 'ARRAY' AND json_array_length(t, {array}) > 0 THEN "
                f"CAST(json_extract(t, {elements}) AS VARCHAR[]) ELSE [NULL] END) AS e FROM ({rows}))"
            )
        spread = duck.run(rows, v=pa.table({"i": index, "t": documents}))
        return spread.column("t").combine_chunks().cast(pa.binary()), spread.column("i").to_numpy(), faults


def _below(column: Column, element: bool) -> Column:
    path = column.path if column.path is not None else f'$."{column.name}"'
    return replace(column, path=("$.e" if element else "$.r") + path[1:])


def _documents(data: pa.Array, columns: Sequence[Column]) -> Decoded:
    """Records that are one object each, which is the fast way; what is none may be several, one after the other."""
    decoded = decode_json(data, columns)
    suspects = [fault.index for fault in decoded.faults if fault.code == "InvalidJson"]
    if not suspects:
        return decoded
    texts = data.take(pa.array(suspects)).cast(pa.string())
    parts, index = _separated(texts)
    several = decode_json(parts.cast(pa.binary()), columns)
    at = np.array(suspects)[index]
    source = np.concatenate([decoded.source.to_numpy(), at[several.source.to_numpy()]])
    order = np.argsort(source, kind="stable")
    rows = pa.concat_batches([decoded.rows, several.rows]).take(pa.array(order))
    faults = [fault for fault in decoded.faults if fault.code != "InvalidJson"]
    faults += [replace(fault, index=int(at[fault.index])) for fault in several.faults]
    return Decoded(rows, pa.array(source[order]), tuple(sorted(faults, key=lambda fault: fault.index)))


def _utf8(data: pa.Array) -> tuple[pa.Array, list[RowFault]]:
    try:
        return data.cast(pa.string()), []
    except pa.ArrowInvalid:
        pass
    kept, faults = [], []
    for number, value in enumerate(data.to_pylist()):
        try:
            kept.append(value.decode())
        except UnicodeDecodeError:
            kept.append(" ")
            faults.append(RowFault(number, "InvalidEncoding", "the record is not UTF-8 text"))
    return pa.array(kept, pa.string()), faults


def _separated(texts: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Each text that is several JSON documents, taken apart; blank ones are left out."""
    valid = duck.run("SELECT coalesce(json_valid(t), false) AS ok FROM v", v=pa.table({"t": texts})).column(0)
    if pc.all(valid).as_py():
        return texts, np.arange(len(texts))
    parts: list[str] = []
    index: list[int] = []
    for number, (text, ok) in enumerate(zip(texts.to_pylist(), valid.to_pylist(), strict=True)):
        found = [text] if ok else _taken_apart(text)
        parts += found
        index += [number] * len(found)
    return pa.array(parts, pa.string()), np.array(index, np.int64)


def _taken_apart(text: str) -> list[str]:
    """The documents in a text, up to the first thing that is none, which stands whole at the end."""
    decoder, at = json.JSONDecoder(), 0
    found: list[str] = []
    while len(found) < _DOCUMENTS_MAX:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        if at == len(text):
            return found
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        found.append(text[at:end])
        at = end
    return [*found, text[at:]]
