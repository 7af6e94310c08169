"""The user's schema: what typed `Rows` (an Arrow record batch) look like, and where each column comes from."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, its Arrow type, and the JSON path that feeds it (``$.a.b``; None: ``$.<name>``).

    Types are the ones that SQL knows: int8 … int64, float32, float64, bool, string, binary, date32, timestamp(ms),
    decimal128(p, s); and out of JSON, lists, maps and structs of them.
    """

    name: str
    type: pa.DataType
    path: str | None = None


@dataclass(frozen=True, slots=True)
class RowFault:
    """One record that did not become a row: its index in the batch, a short code and a sentence."""

    index: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """`rows` are the good records in order, ``source[i]`` (int64) the index of row i's record; `faults` are the rest."""

    rows: pa.RecordBatch
    source: pa.Array
    faults: tuple[RowFault, ...]
