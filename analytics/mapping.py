"""How records become columns where the application says so: the input schema of the API, JSON or CSV."""

from __future__ import annotations

from collections.abc import Mapping as Table
from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from connectors.formats.csv import decode_csv, delimiter
from connectors.formats.json_rows import JsonRows
from connectors.formats.schema import Column, Decoded


class Mapping(Protocol):
    """Reads some of its columns, by number, out of records. Any thread may do it."""

    def decode(self, data: pa.Array, numbers: Sequence[int]) -> Decoded: ...


class JsonMapping:
    """`row_path` as `connectors.formats.json_rows` has it. `lengths` are those of VARCHAR(n), by the column's number: what
    is longer is cut, as the product does."""

    def __init__(self, columns: Sequence[Column], lengths: Table[int, int], row_path: str = "$") -> None:
        self._rows = JsonRows(columns, row_path)
        self._lengths = lengths

    def decode(self, data: pa.Array, numbers: Sequence[int]) -> Decoded:
        return _cut(self._rows.decode(data, numbers), numbers, self._lengths)


class CsvMapping:
    """Columns by position."""

    def __init__(
        self,
        columns: Sequence[Column],
        lengths: Table[int, int],
        row_delimiter: str = "\n",
        column_delimiter: str = ",",
    ) -> None:
        self._columns = list(columns)
        self._lengths = lengths
        self._delimiters = delimiter(row_delimiter), delimiter(column_delimiter)

    def decode(self, data: pa.Array, numbers: Sequence[int]) -> Decoded:
        columns = [self._columns[number] for number in numbers]
        return _cut(decode_csv(data, columns, numbers, *self._delimiters), numbers, self._lengths)


def _cut(decoded: Decoded, numbers: Sequence[int], lengths: Table[int, int]) -> Decoded:
    if not any(number in lengths for number in numbers):
        return decoded
    arrays = [
        pc.utf8_slice_codeunits(array, 0, lengths[number]) if number in lengths else array
        for number, array in zip(numbers, decoded.rows.columns, strict=True)
    ]
    return Decoded(pa.RecordBatch.from_arrays(arrays, schema=decoded.rows.schema), decoded.source, decoded.faults)
