"""Rows as one Parquet file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.parquet as pq

Compression = Literal["SNAPPY", "GZIP", "UNCOMPRESSED"]

_CODECS: Mapping[str, str] = {"SNAPPY": "snappy", "GZIP": "gzip", "UNCOMPRESSED": "none"}
ROW_GROUP_ROWS = 1 << 20
"""Rows of a row group: what readers hold at once."""


def write_parquet(
    file: BinaryIO, batches: Sequence[pa.RecordBatch], compression: Compression = "SNAPPY", *, dictionary: bool = True
) -> None:
    """Writes all rows of `batches` (one schema, at least one batch). The same rows give the same bytes."""
    pq.write_table(
        pa.Table.from_batches(batches),
        file,
        compression=_CODECS[compression],
        use_dictionary=dictionary,
        row_group_size=ROW_GROUP_ROWS,
    )
